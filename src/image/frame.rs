//! A borrowed picture, checked once so that every row can be read safely.

use crate::error::{Error, Result};

/// How pixels lie in memory, 8 bits a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelFormat {
    Rgb24,
    Bgr24,
    Rgba,
    Bgra,
    Gray8,
    /// A plane of luma, then one of U and one of V, both of half the width and height, rounded up.
    I420,
    /// A plane of luma, then one in which U and V alternate, of half the height.
    Nv12,
}

impl PixelFormat {
    /// Bytes of one pixel in the first plane.
    pub fn bytes(self) -> usize {
        match self {
            PixelFormat::Rgb24 | PixelFormat::Bgr24 => 3,
            PixelFormat::Rgba | PixelFormat::Bgra => 4,
            PixelFormat::Gray8 | PixelFormat::I420 | PixelFormat::Nv12 => 1,
        }
    }

    /// How many planes it has.
    pub fn planes(self) -> usize {
        match self {
            PixelFormat::I420 => 3,
            PixelFormat::Nv12 => 2,
            _ => 1,
        }
    }

    /// The bytes of a row, and the rows, of one of its planes.
    pub(crate) fn plane_size(self, plane: usize, width: usize, height: usize) -> Result<(usize, usize)> {
        if width == 0 || height == 0 {
            return Err(Error::invalid(format_args!(
                "the frame is {width}x{height} pixels; both sides must be at least 1"
            )));
        }
        let row = match (self, plane) {
            (_, 0) => width.checked_mul(self.bytes()),
            (PixelFormat::Nv12, _) => width.div_ceil(2).checked_mul(2),
            _ => Some(width.div_ceil(2)),
        };
        let row = row.ok_or_else(|| Error::invalid(format_args!("a row of {width} pixels is larger than memory")))?;
        Ok((row, if plane == 0 { height } else { height.div_ceil(2) }))
    }
}

/// How a picture is turned to be upright: first transposed, then mirrored along its new axes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Orientation {
    /// Rows become columns.
    pub transpose: bool,
    /// Left becomes right.
    pub flip_x: bool,
    /// Top becomes bottom.
    pub flip_y: bool,
}

impl Orientation {
    /// A turn by so many quarters, clockwise.
    pub fn clockwise(quarters: u32) -> Self {
        let turn = |transpose, flip_x, flip_y| Orientation { transpose, flip_x, flip_y };
        match quarters % 4 {
            0 => turn(false, false, false),
            1 => turn(true, true, false),
            2 => turn(false, true, true),
            _ => turn(true, false, true),
        }
    }
}

/// How YUV becomes RGB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matrix {
    #[default]
    Bt601,
    Bt709,
    /// With non-constant luminance.
    Bt2020,
}

/// Rows of bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Plane<'a> {
    data: &'a [u8],
    /// Where the top row begins in `data`.
    top: usize,
    /// Bytes from a row to the one below it; negative in bottom-up pictures.
    stride: isize,
}

impl<'a> Plane<'a> {
    /// `rows` rows of `row` bytes, `stride` apart.
    fn new(data: &'a [u8], row: usize, rows: usize, stride: isize) -> Result<Self> {
        match span(row, rows, stride)? {
            bytes if bytes == data.len() => {
                let top = if stride < 0 { (rows - 1) * stride.unsigned_abs() } else { 0 };
                Ok(Plane { data, top, stride })
            }
            bytes => Err(Error::invalid(format_args!("the frame has {} bytes, expected {bytes}", data.len()))),
        }
    }

    /// The `len` bytes of row `y`, counted from the top.
    fn row(&self, y: usize, len: usize) -> &'a [u8] {
        let away = y * self.stride.unsigned_abs();
        let start = if self.stride < 0 { self.top - away } else { away };
        &self.data[start..start + len]
    }
}

/// What a picture is, wherever it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameInfo {
    pub(crate) format: PixelFormat,
    /// Pixels in a row, as it lies in memory.
    pub(crate) width: usize,
    /// Rows, as they lie in memory.
    pub(crate) height: usize,
    pub(crate) matrix: Matrix,
    pub(crate) full_range: bool,
    pub(crate) orientation: Orientation,
}

/// A picture of `width` × `height` pixels in somebody's memory.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    info: FrameInfo,
    planes: [Plane<'a>; 3],
}

impl<'a> Frame<'a> {
    /// A picture whose rows follow each other without gaps, top row first.
    ///
    /// # Errors
    /// `InvalidArgument` when `data` is not exactly as long as such a picture, or the format has several planes.
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
    /// `InvalidArgument` when a side is zero, a stride is shorter than a row, `data` has another length, or the format has
    /// several planes.
    pub fn strided(format: PixelFormat, width: usize, height: usize, data: &'a [u8], stride: isize) -> Result<Self> {
        Frame::planar(format, width, height, &[(data, stride)])
    }

    /// A picture of one or more planes, each given as in [`Frame::strided`], in the order of the format's name. YUV is
    /// BT.601 of limited range unless [`Frame::with_colors`] says otherwise; a chroma plane has half as many rows and
    /// columns as the picture, rounded up.
    ///
    /// # Errors
    /// As [`Frame::strided`].
    pub fn planar(format: PixelFormat, width: usize, height: usize, planes: &[(&'a [u8], isize)]) -> Result<Self> {
        if planes.len() != format.planes() {
            return Err(Error::invalid(format_args!(
                "a {format:?} frame has {} planes, not {}",
                format.planes(),
                planes.len()
            )));
        }
        let info = FrameInfo {
            format,
            width,
            height,
            matrix: Matrix::default(),
            full_range: false,
            orientation: Orientation::default(),
        };
        Frame::of(info, planes)
    }

    /// A picture of as many planes as its format has.
    pub(crate) fn of(info: FrameInfo, planes: &[(&'a [u8], isize)]) -> Result<Self> {
        let mut frame = Frame { info, planes: Default::default() };
        for (i, (plane, &(data, stride))) in frame.planes.iter_mut().zip(planes).enumerate() {
            let (row, rows) = info.format.plane_size(i, info.width, info.height)?;
            *plane = Plane::new(data, row, rows, stride)?;
        }
        Ok(frame)
    }

    /// The same picture, its YUV meant so. Without effect on RGB and gray.
    pub fn with_colors(self, matrix: Matrix, full_range: bool) -> Self {
        Frame { info: FrameInfo { matrix, full_range, ..self.info }, ..self }
    }

    /// The same picture, to be shown so.
    pub fn turned(self, orientation: Orientation) -> Self {
        Frame { info: FrameInfo { orientation, ..self.info }, ..self }
    }

    /// Pixels in a row, as it lies in memory.
    pub fn width(&self) -> usize {
        self.info.width
    }

    /// Rows, as they lie in memory.
    pub fn height(&self) -> usize {
        self.info.height
    }

    pub(crate) fn is_yuv(&self) -> bool {
        self.info.format.planes() > 1
    }

    pub(crate) fn matrix(&self) -> Matrix {
        self.info.matrix
    }

    pub(crate) fn is_full_range(&self) -> bool {
        self.info.full_range
    }

    pub(crate) fn orientation(&self) -> Orientation {
        self.info.orientation
    }

    /// Hands the rows of plane Y, U or V (0, 1, 2) of a YUV picture to `write` with their numbers.
    pub(crate) fn copy_plane(&self, plane: usize, mut write: impl FnMut(usize, &[u8])) {
        if plane == 0 || self.info.format != PixelFormat::Nv12 {
            let (row, rows) = match plane {
                0 => (self.info.width, self.info.height),
                _ => (self.info.width.div_ceil(2), self.info.height.div_ceil(2)),
            };
            (0..rows).for_each(|y| write(y, self.planes[plane].row(y, row)));
            return;
        }
        let mut row = Vec::with_capacity(self.info.width.div_ceil(2));
        for y in 0..self.info.height.div_ceil(2) {
            row.clear();
            let both = self.planes[1].row(y, self.info.width.div_ceil(2) * 2);
            row.extend(both[plane - 1..].iter().step_by(2));
            write(y, &row);
        }
    }

    /// The bytes of row `y`, counted from the top.
    fn row(&self, y: usize) -> &'a [u8] {
        self.planes[0].row(y, self.info.width * self.info.format.bytes())
    }

    /// The whole picture as packed RGB, where it already is that.
    pub(super) fn as_packed_rgb(&self) -> Option<&'a [u8]> {
        let packed = self.info.format == PixelFormat::Rgb24 && self.planes[0].stride == (self.info.width * 3) as isize;
        packed.then_some(self.planes[0].data)
    }

    /// The picture as packed RGB, upright: its width and height, and the bytes in `out`. Alpha is dropped.
    pub(crate) fn to_rgb(self, out: &mut Vec<u8>) -> (usize, usize) {
        let Orientation { transpose, flip_x, flip_y } = self.info.orientation;
        if self.info.orientation == Orientation::default() {
            self.copy_rgb(0..self.info.width, 0..self.info.height, out);
            return (self.info.width, self.info.height);
        }
        let mut flat = Vec::new();
        self.copy_rgb(0..self.info.width, 0..self.info.height, &mut flat);
        let (width, height) =
            if transpose { (self.info.height, self.info.width) } else { (self.info.width, self.info.height) };
        out.clear();
        out.reserve(flat.len());
        for y in 0..height {
            let y = if flip_y { height - 1 - y } else { y };
            for x in 0..width {
                let x = if flip_x { width - 1 - x } else { x };
                let pixel = if transpose { x * self.info.width + y } else { y * self.info.width + x };
                out.extend_from_slice(&flat[pixel * 3..][..3]);
            }
        }
        (width, height)
    }

    /// Writes a rectangle of the picture as packed RGB into `out`, which is emptied first. Alpha is dropped, as
    /// Pillow's `convert("RGB")` does.
    pub(super) fn copy_rgb(&self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(columns.len() * rows.len() * 3);
        let n = self.info.format.bytes();
        for y in rows {
            let row = &self.row(y)[columns.start * n..columns.end * n];
            match self.info.format {
                PixelFormat::Rgb24 => out.extend_from_slice(row),
                PixelFormat::Bgr24 | PixelFormat::Bgra => {
                    out.extend(row.chunks_exact(n).flat_map(|p| [p[2], p[1], p[0]]))
                }
                PixelFormat::Rgba => out.extend(row.chunks_exact(n).flat_map(|p| [p[0], p[1], p[2]])),
                // Of YUV the luma, which is all that there is without a conversion.
                PixelFormat::Gray8 | PixelFormat::I420 | PixelFormat::Nv12 => {
                    out.extend(row.iter().flat_map(|&v| [v, v, v]))
                }
            }
        }
    }
}

/// Bytes from the lowest to the highest address that plane number `plane` of such a picture touches.
///
/// # Errors
/// `InvalidArgument` when a side is zero, a stride is shorter than a row, or the picture is larger than memory.
pub fn extent(format: PixelFormat, plane: usize, width: usize, height: usize, stride: isize) -> Result<usize> {
    let (row, rows) = format.plane_size(plane, width, height)?;
    span(row, rows, stride)
}

fn span(row: usize, rows: usize, stride: isize) -> Result<usize> {
    if stride.unsigned_abs() < row {
        return Err(Error::invalid(format_args!("stride {stride} is shorter than a row of {row} bytes")));
    }
    let bytes = stride.unsigned_abs().checked_mul(rows - 1).and_then(|n| n.checked_add(row));
    bytes
        .filter(|&n| n <= isize::MAX as usize)
        .ok_or_else(|| Error::invalid(format_args!("a frame of {rows} rows of {row} bytes is larger than memory")))
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
        assert!(extent(PixelFormat::Rgb24, 0, 0, 1, 3).is_err());
        assert!(extent(PixelFormat::Rgb24, 0, 2, 2, 5).is_err());
        assert!(extent(PixelFormat::Rgb24, 0, 2, 2, isize::MIN).is_err());
        assert!(extent(PixelFormat::Rgba, 0, usize::MAX, 2, isize::MAX).is_err());
        assert!(Frame::packed(PixelFormat::Gray8, 2, 2, &[0; 3]).is_err());
    }

    #[test]
    fn pictures_are_turned() {
        // 0 1 2 / 3 4 5
        let data: Vec<u8> = (0..6).collect();
        let frame = Frame::packed(PixelFormat::Gray8, 3, 2, &data).unwrap();
        let turned = |quarters| {
            let mut out = Vec::new();
            let size = frame.turned(Orientation::clockwise(quarters)).to_rgb(&mut out);
            (size, out.into_iter().step_by(3).collect::<Vec<u8>>())
        };
        assert_eq!(turned(0), ((3, 2), vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(turned(1), ((2, 3), vec![3, 0, 4, 1, 5, 2]));
        assert_eq!(turned(2), ((3, 2), vec![5, 4, 3, 2, 1, 0]));
        assert_eq!(turned(3), ((2, 3), vec![2, 5, 1, 4, 0, 3]));
    }

    #[test]
    fn planes_of_yuv() {
        let (luma, u, v) = ([0; 9], [1, 2, 0, 3, 4], [5, 6, 0, 7, 8]);
        let i420 = Frame::planar(PixelFormat::I420, 3, 3, &[(&luma, 3), (&u, 3), (&v, 3)]).unwrap();
        let both = [1, 5, 2, 6, 3, 7, 4, 8];
        let nv12 = Frame::planar(PixelFormat::Nv12, 3, 3, &[(&luma, 3), (&both, 4)]).unwrap();
        for frame in [i420, nv12] {
            let mut rows = Vec::new();
            (0..3).for_each(|plane| frame.copy_plane(plane, |_, row| rows.push(row.to_vec())));
            assert_eq!(rows[3..], [[1, 2], [3, 4], [5, 6], [7, 8]]);
        }
        assert!(Frame::planar(PixelFormat::I420, 3, 3, &[(&luma, 3)]).is_err());
        assert!(Frame::planar(PixelFormat::Nv12, 3, 3, &[(&luma, 3), (&both, 3)]).is_err());
    }
}
