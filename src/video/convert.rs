//! Any decoded frame to packed RGB at its own size, by swscale, honouring the frame's colour tags.

// The types of FFmpeg's constants change between its versions.
#![allow(clippy::unnecessary_cast)]

use std::ptr;

use ffmpeg_next as ffmpeg;

use ffmpeg::ffi;
use ffmpeg::format::Pixel;
use ffmpeg::util::frame::video::Video as VideoFrame;

use crate::error::{Error, Result, Status};
use crate::image::{Frame, PixelFormat};

/// Bytes: whole vectors of 64, holding whole pixels.
const ROW_ALIGNMENT: usize = 192;

/// What a conversion depends on.
#[derive(Clone, Copy, PartialEq)]
struct Key {
    format: Pixel,
    width: i32,
    height: i32,
    /// The matrix as swscale and the standards number it.
    matrix: i32,
    full_range: bool,
}

/// Converts frames; keeps swscale's tables as long as the frames stay alike.
pub(super) struct Converter {
    context: *mut ffi::SwsContext,
    key: Option<Key>,
    rgb: Vec<u8>,
}

impl Converter {
    pub(super) fn new() -> Self {
        Converter { context: ptr::null_mut(), key: None, rgb: Vec::new() }
    }

    /// The frame as RGB.
    ///
    /// # Errors
    /// `Unsupported` for a pixel format that swscale cannot read.
    pub(super) fn rgb(&mut self, frame: &VideoFrame) -> Result<Frame<'_>> {
        let key = key(frame);
        if self.key != Some(key) {
            self.prepare(key)?;
        }
        let (width, height) = (key.width as usize, key.height as usize);
        // Where a row has no room for a whole vector, swscale leaves its last pixels out.
        let row = (width * 3).next_multiple_of(ROW_ALIGNMENT);
        self.rgb.resize(row * height, 0);
        let planes = [self.rgb.as_mut_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut()];
        let strides = [row as i32, 0, 0, 0];
        // SAFETY: the context was made for frames of this format and size, whose planes and strides the decoder set;
        // the output has room for `height` rows of the stride that is passed.
        let rows = unsafe {
            let raw = frame.as_ptr();
            ffi::sws_scale(
                self.context,
                (*raw).data.as_ptr().cast(),
                (*raw).linesize.as_ptr(),
                0,
                key.height,
                planes.as_ptr(),
                strides.as_ptr(),
            )
        };
        if rows != key.height {
            return Err(Error::internal(format_args!("swscale converted {rows} of {} rows", key.height)));
        }
        let bytes = &self.rgb[..row * (height - 1) + width * 3];
        Frame::strided(PixelFormat::Rgb24, width, height, bytes, row as isize)
    }

    fn prepare(&mut self, key: Key) -> Result<()> {
        self.key = None;
        let format = ffi::AVPixelFormat::from(key.format);
        // SAFETY: plain values; a null context is refused below, and the old one is freed once.
        self.context = unsafe {
            ffi::sws_freeContext(self.context);
            ffi::sws_getContext(
                key.width,
                key.height,
                format,
                key.width,
                key.height,
                ffi::AVPixelFormat::AV_PIX_FMT_RGB24,
                ffi::SWS_BILINEAR as i32,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if self.context.is_null() {
            return Err(Error::new(
                Status::Unsupported,
                format_args!("video: frames of pixel format {:?} cannot be converted", key.format),
            ));
        }
        // SAFETY: the context is valid, and the coefficient tables are constants of swscale. A refusal means that the
        // source is no YUV and needs no matrix.
        unsafe {
            ffi::sws_setColorspaceDetails(
                self.context,
                ffi::sws_getCoefficients(key.matrix),
                key.full_range.into(),
                ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT as i32),
                1,
                0,
                1 << 16,
                1 << 16,
            );
        }
        self.key = Some(key);
        Ok(())
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        // SAFETY: null or a context that this value owns.
        unsafe { ffi::sws_freeContext(self.context) };
    }
}

fn key(frame: &VideoFrame) -> Key {
    // The J formats are deprecated spellings of full range.
    let (format, full) = match frame.format() {
        Pixel::YUVJ420P => (Pixel::YUV420P, true),
        Pixel::YUVJ422P => (Pixel::YUV422P, true),
        Pixel::YUVJ444P => (Pixel::YUV444P, true),
        Pixel::YUVJ440P => (Pixel::YUV440P, true),
        Pixel::YUVJ411P => (Pixel::YUV411P, true),
        other => (other, false),
    };
    // SAFETY: public fields of a frame that the decoder filled. Read as the numbers that they are: containers put any
    // value there, and an enum must not hold one that it does not have.
    let (matrix, range) = unsafe {
        let raw = frame.as_ptr();
        ((&raw const (*raw).colorspace).cast::<i32>().read(), (&raw const (*raw).color_range).cast::<i32>().read())
    };
    Key {
        format,
        width: frame.width() as i32,
        height: frame.height() as i32,
        // Untagged is BT.601, which is swscale's default for every number that it does not know.
        matrix,
        full_range: full || range == ffi::AVColorRange::AVCOL_RANGE_JPEG as i32,
    }
}
