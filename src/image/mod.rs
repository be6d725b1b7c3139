//! From a picture in memory to the square of RGB bytes that the vision tower sees, as Pillow makes it.

mod frame;
mod resize;

pub use frame::{extent, Frame, Matrix, Orientation, PixelFormat};
pub use resize::Preprocessor;
