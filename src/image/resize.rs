//! CLIP's preprocessing as torchvision and Pillow (before 13) do it on 8-bit pictures: the shorter side to the model's
//! resolution with Pillow's antialiased bicubic filter, then the middle square.
//!
//! Only the rows and columns that the square needs are touched. Against Pillow about one byte in two hundred differs, by
//! one level (`fast_image_resize` keeps 15 bits of a coefficient, Pillow 22).

use std::ops::Range;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::{Frame, Orientation, PixelFormat};
use crate::error::{Error, Result, Status};

/// Turns frames of any size into squares of RGB bytes. Keeps its buffers from one frame to the next.
pub struct Preprocessor {
    side: usize,
    resizer: Resizer,
    rgb: Vec<u8>,
    upright: Vec<u8>,
    /// The part of the picture after the horizontal pass.
    narrow: Vec<u8>,
}

/// What happens along one axis: which part of the picture the square shows, and which pixels that needs.
pub(super) struct Axis {
    /// The part of the picture that becomes the square, in pixels.
    pub(super) start: f64,
    pub(super) length: f64,
    /// The pixels that the filter reads for it.
    pub(super) needed: Range<usize>,
}

impl Axis {
    /// Those of a picture, left to right and top to bottom.
    pub(super) fn both(width: usize, height: usize, side: usize) -> [Self; 2] {
        let (resized_width, resized_height) = resized(width, height, side);
        [Axis::new(width, resized_width, side), Axis::new(height, resized_height, side)]
    }

    /// `size` pixels become `resized`, of which the middle `side` are kept.
    fn new(size: usize, resized: usize, side: usize) -> Self {
        let crop = half_to_even(resized - side);
        if size == resized {
            return Axis { start: crop as f64, length: side as f64, needed: crop..crop + side };
        }
        let scale = size as f64 / resized as f64;
        let start = crop as f64 * scale;
        let length = if side == resized { size as f64 } else { side as f64 * scale };
        // Half the filter's width, and a pixel for rounding.
        let margin = 2.0 * scale.max(1.0) + 1.0;
        let first = (start - margin).max(0.0) as usize;
        let last = ((start + length + margin).ceil() as usize).min(size);
        Axis { start, length, needed: first..last }
    }

    /// The same axis of a picture of which only the needed pixels are left.
    fn cut(self) -> Self {
        Axis { start: self.start - self.needed.start as f64, length: self.length, needed: 0..self.needed.len() }
    }
}

impl Preprocessor {
    /// For squares of `side` pixels.
    pub fn new(side: usize) -> Self {
        Preprocessor { side, resizer: Resizer::new(), rgb: Vec::new(), upright: Vec::new(), narrow: Vec::new() }
    }

    /// Bytes of one square.
    pub fn output_len(&self) -> usize {
        self.side * self.side * 3
    }

    /// Room for the squares of `n` frames, all zero.
    ///
    /// # Errors
    /// `OutOfMemory` where that is more than there is.
    pub fn room(&self, n: usize) -> Result<Vec<u8>> {
        let mut room = Vec::new();
        let bytes = self.output_len().saturating_mul(n);
        room.try_reserve_exact(bytes)
            .map_err(|_| Error::new(Status::OutOfMemory, format_args!("no memory for {n} frames ({bytes} bytes)")))?;
        room.resize(bytes, 0);
        Ok(room)
    }

    /// Writes the square of `frame` into `out`: rows from the top, RGB interleaved, [`Self::output_len`] bytes.
    ///
    /// # Errors
    /// `Internal` when `out` has another length or the resizing library refuses a size.
    pub fn run(&mut self, frame: &Frame, out: &mut [u8]) -> Result<()> {
        if frame.is_yuv() {
            return Err(Error::internal("a YUV frame was not converted"));
        }
        if frame.orientation() != Orientation::default() {
            let mut upright = std::mem::take(&mut self.upright);
            let (width, height) = frame.to_rgb(&mut upright);
            let done = Frame::packed(PixelFormat::Rgb24, width, height, &upright).and_then(|f| self.run(&f, out));
            self.upright = upright;
            return done;
        }
        let (width, height) = (frame.width(), frame.height());
        let [mut x, mut y] = Axis::both(width, height, self.side);
        let (source, source_width, source_height) = match frame.as_packed_rgb() {
            Some(bytes) => (bytes, width, height),
            None => {
                frame.copy_rgb(x.needed.clone(), y.needed.clone(), &mut self.rgb);
                (x, y) = (x.cut(), y.cut());
                (self.rgb.as_slice(), x.needed.len(), y.needed.len())
            }
        };
        let rows = y.needed.len();
        self.narrow.resize(self.side * rows * 3, 0);

        // Width first, 8 bits between the passes: one call for both axes would begin with the height.
        let picture = image_ref(source, source_width, source_height)?;
        let mut narrow = image(&mut self.narrow, self.side, rows)?;
        let options = bicubic().crop(x.start, y.needed.start as f64, x.length, rows as f64);
        self.resizer.resize(&picture, &mut narrow, &options).map_err(Error::internal)?;

        let mut square = image(out, self.side, self.side)?;
        let options = bicubic().crop(0.0, y.start - y.needed.start as f64, self.side as f64, y.length);
        self.resizer.resize(&narrow, &mut square, &options).map_err(Error::internal)
    }
}

fn bicubic() -> ResizeOptions {
    // Catmull-Rom is the cubic with a = -0.5, which is Pillow's.
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).use_alpha(false)
}

fn image_ref(bytes: &[u8], width: usize, height: usize) -> Result<ImageRef<'_>> {
    ImageRef::new(side(width)?, side(height)?, bytes, PixelType::U8x3).map_err(Error::internal)
}

fn image(bytes: &mut [u8], width: usize, height: usize) -> Result<Image<'_>> {
    Image::from_slice_u8(side(width)?, side(height)?, bytes, PixelType::U8x3).map_err(Error::internal)
}

fn side(pixels: usize) -> Result<u32> {
    u32::try_from(pixels).map_err(|_| Error::invalid(format_args!("a frame of {pixels} pixels a side is too large")))
}

/// The shorter side becomes `side`, the longer one is scaled likewise and truncated.
fn resized(width: usize, height: usize, side: usize) -> (usize, usize) {
    let scaled = |long: usize, short: usize| (side as u128 * long as u128 / short as u128) as usize;
    if width <= height {
        (side, scaled(height, width))
    } else {
        (scaled(width, height), side)
    }
}

/// Half of `n`, halves rounded to even, as Python's `round` does in torchvision's centre crop.
fn half_to_even(n: usize) -> usize {
    n / 2 + (n % 2) * (n / 2 % 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_crops_are_torchvision_s() {
        assert_eq!(resized(320, 240, 224), (298, 224));
        assert_eq!(resized(1080, 1920, 224), (224, 398));
        assert_eq!(resized(3, 7, 224), (224, 522));
        assert_eq!([173, 175, 174, 0, 1].map(half_to_even), [86, 88, 87, 0, 0]);
    }

    fn noise(n: usize) -> Vec<u8> {
        let mut seed = 1u32;
        let mut next = || {
            seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
            (seed >> 24) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    /// Pillow's filter in exact arithmetic for one axis, `taps(n_in, n_out)[i]` being the first pixel and the weights.
    fn taps(n_in: usize, n_out: usize) -> Vec<(usize, Vec<i64>)> {
        let scale = n_in as f64 / n_out as f64;
        let widening = scale.max(1.0);
        let cubic = |t: f64| match t.abs() {
            t if t < 1.0 => (1.5 * t - 2.5) * t * t + 1.0,
            t if t < 2.0 => (((t - 5.0) * t + 8.0) * t - 4.0) * -0.5,
            _ => 0.0,
        };
        let one = |i: usize| {
            let centre = (i as f64 + 0.5) * scale;
            let low = (centre - 2.0 * widening + 0.5).max(0.0) as usize;
            let high = ((centre + 2.0 * widening + 0.5) as usize).min(n_in);
            let weights: Vec<f64> = (low..high).map(|x| cubic((x as f64 - centre + 0.5) / widening)).collect();
            let sum: f64 = weights.iter().sum();
            (low, weights.iter().map(|w| (w / sum * f64::from(1 << 22)).round() as i64).collect())
        };
        (0..n_out).map(one).collect()
    }

    fn pillow(rgb: &[u8], width: usize, height: usize, side: usize) -> Vec<u8> {
        let (w, h) = resized(width, height, side);
        let round = |sum: i64| ((sum + (1 << 21)) >> 22).clamp(0, 255) as u8;
        let mut wide = vec![0; w * height * 3];
        for (i, (low, weights)) in taps(width, w).iter().enumerate() {
            for (y, c) in (0..height).flat_map(|y| (0..3).map(move |c| (y, c))) {
                let at = |k: usize| i64::from(rgb[(y * width + low + k) * 3 + c]);
                wide[(y * w + i) * 3 + c] = round(weights.iter().enumerate().map(|(k, f)| f * at(k)).sum());
            }
        }
        let (left, top) = (half_to_even(w - side), half_to_even(h - side));
        let vertical = taps(height, h);
        let mut out = Vec::new();
        for (low, weights) in &vertical[top..top + side] {
            for x in left * 3..(left + side) * 3 {
                let at = |k: usize| i64::from(wide[(low + k) * w * 3 + x]);
                out.push(round(weights.iter().enumerate().map(|(k, f)| f * at(k)).sum()));
            }
        }
        out
    }

    #[test]
    fn close_to_pillow_on_noise() {
        let sizes = [
            (64, 48),
            (48, 64),
            (33, 32),
            (32, 32),
            (7, 3),
            (3, 50),
            (200, 31),
            (32, 77),
            (100, 40),
            (1, 1),
            (41, 999),
        ];
        for (width, height) in sizes {
            let rgb = noise(width * height * 3);
            let frame = Frame::packed(PixelFormat::Rgb24, width, height, &rgb).unwrap();
            let mut preprocessor = Preprocessor::new(32);
            let mut out = vec![0; preprocessor.output_len()];
            preprocessor.run(&frame, &mut out).unwrap();
            let expected = pillow(&rgb, width, height, 32);
            let off: Vec<u8> = out.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).collect();
            let (worst, differing) = (off.iter().max().unwrap(), off.iter().filter(|&&d| d > 0).count());
            assert!(*worst <= 2 && differing * 50 <= off.len(), "{width}x{height}: {differing} bytes by up to {worst}");
        }
    }

    #[test]
    fn cut_and_converted_pictures_give_the_same_square() {
        let (width, height) = (90, 50);
        let rgb = noise(width * height * 3);
        let mut preprocessor = Preprocessor::new(32);
        let mut expected = vec![0; preprocessor.output_len()];
        preprocessor.run(&Frame::packed(PixelFormat::Rgb24, width, height, &rgb).unwrap(), &mut expected).unwrap();
        let bgra: Vec<u8> = rgb.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0], 9]).collect();
        let mut out = vec![0; preprocessor.output_len()];
        preprocessor.run(&Frame::packed(PixelFormat::Bgra, width, height, &bgra).unwrap(), &mut out).unwrap();
        assert_eq!(out, expected);
    }
}
