//! From a picture in memory to the square of RGB bytes that the vision tower sees, as Pillow makes it.

mod device;
mod frame;
mod resize;

use std::borrow::Cow;

pub(crate) use device::{DeviceFrame, DevicePreprocessor, YuvToRgb};
pub(crate) use frame::FrameInfo;
pub use frame::{extent, Frame, Matrix, Orientation, PixelFormat};
pub use resize::Preprocessor;

/// The frames of one call, which all lie in memory of the same kind.
pub(crate) enum AnyFrames<'a> {
    Host(Cow<'a, [Frame<'a>]>),
    Device(Vec<DeviceFrame>),
}

impl AnyFrames<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            AnyFrames::Host(frames) => frames.len(),
            AnyFrames::Device(frames) => frames.len(),
        }
    }
}

impl<'a> From<&'a [Frame<'a>]> for AnyFrames<'a> {
    fn from(frames: &'a [Frame<'a>]) -> Self {
        AnyFrames::Host(frames.into())
    }
}
