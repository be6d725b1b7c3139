//! A borrowed picture, checked once so that every row can be read safely.

use crate::error::{Error, Result};

/// How pixels lie in memory: 8 bits a channel, channels interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    Rgb24,
    Bgr24,
    Rgba,
    Bgra,
    Gray8,
}

impl PixelFormat {
    /// Bytes of one pixel.
    pub fn bytes(self) -> usize {
        match self {
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => 3,
            PixelFormat::Rgba | PixelFormat::Bgra => 4,
            PixelFormat::Gray8 => 1,
        }
    }
}

/// A picture of `width` × `height` pixels in somebody's memory.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    format: PixelFormat,
    width: usize,
    height: usize,
    data: &'a [u8],
    /// Where the top row begins in `data`.
    top: usize,
    /// Bytes from a row to the one below it; negative in bottom-up pictures.
    stride: isize,
}

impl<'a> Frame<'a> {
    /// A picture whose rows follow each other without gaps, top row first.
    ///
    /// # Errors
    /// `InvalidArgument` when `data` is not exactly as long as such a picture.
    pub fn packed(format: PixelFormat, width: usize, height: usize, data: &'a [u8]) -> Result<Self> {
        let bytes = width.checked_mul(format.bytes()).and_then(|row| row.checked_mul(height));
        if bytes != Some(data.len()) || data.is_empty() {
            return Err(Error::invalid(format_args!(
                "a {format:?} frame of {width}x{height} pixels does not have {} bytes",
                data.len()
            )));
        }
        Frame::strided(format, width, height, data, (width * format.bytes()) as isize)
    }

    /// A picture with `stride` bytes between the beginnings of its rows. `data` begins at the row with the lowest
    /// address (the bottom row when `stride` is negative) and ends with the last pixel of the highest.
    ///
    /// # Errors
    /// `InvalidArgument` when a side is zero, a stride is shorter than a row, or `data` has another length.
    pub fn strided(format: PixelFormat, width: usize, height: usize, data: &'a [u8], stride: isize) -> Result<Self> {
        match extent(format, width, height, stride)? {
            bytes if bytes == data.len() => Ok(Frame {
                format,
                width,
                height,
                data,
                top: if stride < 0 { (height - 1) * stride.unsigned_abs() } else { 0 },
                stride,
            }),
            bytes => Err(Error::invalid(format_args!("the frame has {} bytes, expected {bytes}", data.len()))),
        }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes of row `y`, counted from the top.
    fn row(&self, y: usize) -> &'a [u8] {
        let start =
            if self.stride < 0 { self.top - y * self.stride.unsigned_abs() } else { y * self.stride.unsigned_abs() };
        &self.data[start..start + self.width * self.format.bytes()]
    }

    /// The whole picture as packed RGB, where it already is that.
    pub(super) fn as_packed_rgb(&self) -> Option<&'a [u8]> {
        (self.format == PixelFormat::Rgb24 && self.stride == (self.width * 3) as isize).then_some(self.data)
    }

    /// Writes a rectangle of the picture as packed RGB into `out`, which is emptied first. Alpha is dropped, as
    /// Pillow's `convert("RGB")` does.
    pub(super) fn copy_rgb(&self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(columns.len() * rows.len() * 3);
        let n = self.format.bytes();
        for y in rows {
            let row = &self.row(y)[columns.start * n..columns.end * n];
            match self.format {
                PixelFormat::Rgb24 => out.extend_from_slice(row),
                PixelFormat::Bgr24 | PixelFormat::Bgra => {
                    out.extend(row.chunks_exact(n).flat_map(|p| [p[2], p[1], p[0]]))
                }
                PixelFormat::Rgba => out.extend(row.chunks_exact(n).flat_map(|p| [p[0], p[1], p[2]])),
                PixelFormat::Gray8 => out.extend(row.iter().flat_map(|&v| [v, v, v])),
            }
        }
    }
}

/// Bytes from the lowest to the highest address that such a picture touches.
///
/// # Errors
/// `InvalidArgument` when a side is zero, a stride is shorter than a row, or the picture is larger than memory.
pub fn extent(format: PixelFormat, width: usize, height: usize, stride: isize) -> Result<usize> {
    if width == 0 || height == 0 {
        return Err(Error::invalid(format_args!(
            "the frame is {width}x{height} pixels; both sides must be at least 1"
        )));
    }
    let too_large = || Error::invalid(format_args!("a frame of {width}x{height} pixels is larger than memory"));
    let row = width.checked_mul(format.bytes()).ok_or_else(too_large)?;
    if stride.unsigned_abs() < row {
        return Err(Error::invalid(format_args!("stride {stride} is shorter than a row of {row} bytes")));
    }
    let rows = stride.unsigned_abs().checked_mul(height - 1).and_then(|n| n.checked_add(row));
    rows.filter(|&n| n <= isize::MAX as usize).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(frame: Frame) -> Vec<u8> {
        let mut out = Vec::new();
        frame.copy_rgb(0..frame.width(), 0..frame.height(), &mut out);
        out
    }

    #[test]
    fn every_format_gives_the_same_rgb() {
        let expected = [1, 2, 3, 4, 5, 6];
        let packed = |format, data| rgb(Frame::packed(format, 2, 1, data).unwrap());
        assert_eq!(packed(PixelFormat::Rgb24, &[1, 2, 3, 4, 5, 6]), expected);
        assert_eq!(packed(PixelFormat::Bgr24, &[3, 2, 1, 6, 5, 4]), expected);
        assert_eq!(packed(PixelFormat::Rgba, &[1, 2, 3, 99, 4, 5, 6, 0]), expected);
        assert_eq!(packed(PixelFormat::Bgra, &[3, 2, 1, 99, 6, 5, 4, 0]), expected);
        assert_eq!(packed(PixelFormat::Gray8, &[7, 8]), [7, 7, 7, 8, 8, 8]);
    }

    #[test]
    fn strides_run_both_ways() {
        let data = [1, 2, 0, 3, 4];
        let down = Frame::strided(PixelFormat::Gray8, 2, 2, &data, 3).unwrap();
        assert_eq!((down.row(0), down.row(1)), (&[1, 2][..], &[3, 4][..]));
        let up = Frame::strided(PixelFormat::Gray8, 2, 2, &data, -3).unwrap();
        assert_eq!((up.row(0), up.row(1)), (&[3, 4][..], &[1, 2][..]));
    }

    #[test]
    fn impossible_frames_are_refused() {
        assert!(extent(PixelFormat::Rgb24, 0, 1, 3).is_err());
        assert!(extent(PixelFormat::Rgb24, 2, 2, 5).is_err());
        assert!(extent(PixelFormat::Rgb24, 2, 2, isize::MIN).is_err());
        assert!(extent(PixelFormat::Rgba, usize::MAX, 2, isize::MAX).is_err());
        assert!(Frame::packed(PixelFormat::Gray8, 2, 2, &[0; 3]).is_err());
    }
}
