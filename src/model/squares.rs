//! From frames, wherever they lie, to the squares that the vision tower sees.

#[cfg(test)]
mod tests;

use tch::Device;

use crate::clip::Square;
use crate::error::{Error, Result, Status};
use crate::image::{AnyFrames, DeviceFrame, DevicePreprocessor, Frame, Preprocessor};
use crate::runtime::cuda_devices;
use crate::video::{yuv_to_rgb, Converter};

pub(super) struct Squares {
    converter: Converter,
    preprocessor: Preprocessor,
    device: DevicePreprocessor,
}

impl Squares {
    /// Of `side` pixels.
    pub(super) fn new(side: usize) -> Self {
        Squares {
            converter: Converter::for_frames(),
            preprocessor: Preprocessor::new(side),
            device: DevicePreprocessor::new(side),
        }
    }

    /// That of one of the frames. When it returns, the frame has been read.
    ///
    /// # Errors
    /// Of [`Preprocessor::run`] and [`Converter::yuv`]; for frames in a GPU's memory those of [`DevicePreprocessor::run`].
    pub(super) fn of(&mut self, frames: &AnyFrames, i: usize) -> Result<Square> {
        let mut square = self.preprocessor.room(1)?;
        match frames {
            AnyFrames::Host(frames) => self.host(&frames[i], &mut square)?,
            AnyFrames::Device(frames) => self
                .device(&frames[i], &mut square)
                .map_err(|e| Error::new(e.status(), format_args!("frames[{i}]: {e}")))?,
        }
        Ok(Square::new(square))
    }

    fn host(&mut self, frame: &Frame, square: &mut [u8]) -> Result<()> {
        match frame.is_yuv() {
            true => self.preprocessor.run(&self.converter.yuv(frame)?, square),
            false => self.preprocessor.run(frame, square),
        }
    }

    fn device(&mut self, frame: &DeviceFrame, square: &mut [u8]) -> Result<()> {
        let info = frame.info();
        if !frame.goes_whole() {
            return self.device.run(frame, &yuv_to_rgb(info.matrix, info.full_range), square);
        }
        let planes = self.device.fetch(frame)?;
        let planes: Vec<(&[u8], isize)> = planes.iter().map(|(bytes, row)| (&bytes[..], *row as isize)).collect();
        self.host(&Frame::of(*info, &planes)?, square)
    }
}

/// Whether the GPUs of these frames can be used. Loads libtorch's CUDA half if there is one to use.
///
/// # Errors
/// `Device` with the reason.
pub(super) fn check_devices(frames: &AnyFrames) -> Result<()> {
    let AnyFrames::Device(frames) = frames else { return Ok(()) };
    let number = |frame: &DeviceFrame| match frame.device() {
        Device::Cuda(number) => Some(number),
        _ => None,
    };
    for (i, number) in frames.iter().map(number).enumerate() {
        let Some(number) = number else { continue };
        let error = |field: &str, why: &str| {
            Error::new(
                Status::Device,
                format_args!("frames[{i}]: {field}: the frame is in GPU memory, which cannot be used: {why}"),
            )
        };
        match cuda_devices() {
            Ok(there) if number < there => {}
            Ok(there) => {
                let why =
                    format!("there is no cuda:{number} among the {there} CUDA devices, cuda:0 to cuda:{}", there - 1);
                return Err(error("device_index", &why));
            }
            Err(why) => return Err(error("location", &why)),
        }
    }
    Ok(())
}
