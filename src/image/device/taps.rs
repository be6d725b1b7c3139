//! Which pixels make each pixel of the square along one axis, and with what weights: the very numbers that
//! `fast_image_resize` multiplies bytes with, so that a GPU gives the bytes that the CPU gives.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::super::resize::Axis;
use crate::error::{Error, Result};

/// Weights are whole numbers of 16 bits, as fine as the largest of them allows, but no finer than this.
const MOST_BITS: u32 = 21;

/// What happens along one axis, as tensors on a device.
pub(super) struct Taps {
    /// The pixels that are needed, as they lie in memory.
    pub(super) needed: Range<usize>,
    /// Pixels of all sums one after the other, counted from the first that is needed; int64.
    pixels: Tensor,
    /// Their weights; float64.
    weights: Tensor,
    /// Where each sum begins; int64.
    begins: Tensor,
}

impl Taps {
    /// For `side` pixels out of the `axis` of a picture of `size` pixels, which lie in reverse where it is `flipped`.
    pub(super) fn new(axis: &Axis, size: usize, side: usize, flipped: bool, device: Device) -> Result<Self> {
        let sums = sums(axis, size, side);
        let (mut pixels, mut weights, mut begins) = (Vec::new(), Vec::new(), Vec::with_capacity(side));
        for (first, of_sum) in sums {
            begins.push(pixels.len() as i64);
            for (pixel, weight) in (first..).zip(of_sum) {
                if !axis.needed.contains(&pixel) {
                    return Err(Error::internal(format_args!("pixel {pixel} is not among those that are needed")));
                }
                let place = if flipped { axis.needed.end - 1 - pixel } else { pixel - axis.needed.start };
                pixels.push(place as i64);
                weights.push(weight);
            }
        }
        let needed = match flipped {
            true => size - axis.needed.end..size - axis.needed.start,
            false => axis.needed.clone(),
        };
        Ok(Taps {
            needed,
            pixels: Tensor::f_from_slice(&pixels)?.f_to_device(device)?,
            weights: Tensor::f_from_slice(&weights)?.f_to_device(device)?,
            begins: Tensor::f_from_slice(&begins)?.f_to_device(device)?,
        })
    }

    /// `[needed, n]` bytes to `[side, n]`, rounded and clamped.
    ///
    /// Sums of a few rows each are what an embedding bag computes. Unlike a product with a matrix that is mostly zeros it needs
    /// no handle of a BLAS with its workspace for each thread, and no setting of the host's for matrix products (TF32, autocast,
    /// determinism) touches it. In float64 the sums are exact: whole numbers below 2^32 over a power of two.
    pub(super) fn apply(&self, rows: &Tensor) -> Result<Tensor> {
        const SUM: i64 = 0;
        let rows = rows.f_to_kind(Kind::Double)?;
        let (mut sums, ..) =
            Tensor::f_embedding_bag(&rows, &self.pixels, &self.begins, false, SUM, false, Some(&self.weights), false)?;
        // The conversion cuts the fraction off.
        Ok(sums.f_add_scalar_(0.5)?.f_clamp_(0.0, 255.0)?.f_to_kind(Kind::Uint8)?)
    }
}

/// For each pixel of the square the first one that it is made of, and the weights from there on.
fn sums(axis: &Axis, size: usize, side: usize) -> Vec<(usize, Vec<f64>)> {
    let scale = axis.length / side as f64;
    let widening = scale.max(1.0);
    let narrowing = 1.0 / widening;
    let radius = 2.0 * widening;
    let one = |i: usize| {
        let centre = axis.start + (i as f64 + 0.5) * scale;
        let first = (centre - radius).floor().max(0.0) as usize;
        let last = ((centre + radius).ceil() as usize).min(size);
        let weights: Vec<f64> = (first..last).map(|x| cubic((x as f64 - (centre - 0.5)) * narrowing)).collect();
        // Zeros at the beginning would widen what is needed.
        let zeros = weights.iter().take_while(|&&w| w == 0.0).count();
        let sum: f64 = weights.iter().sum();
        (first + zeros, weights[zeros..].iter().map(|w| w / sum).collect::<Vec<f64>>())
    };
    let mut sums: Vec<_> = (0..side).map(one).collect();
    let largest = sums.iter().flat_map(|(_, weights)| weights).fold(0.0, |a: f64, &b| a.max(b));
    let fits = |bits: u32| (largest * f64::from(1 << bits)).round() < f64::from(1 << 15);
    let bits = (1..=MOST_BITS).take_while(|&bits| fits(bits)).last().unwrap_or(0);
    let unit = f64::from(1 << bits);
    for (_, weights) in &mut sums {
        weights.iter_mut().for_each(|w| *w = (*w * unit).round() / unit);
        while weights.last() == Some(&0.0) {
            weights.pop();
        }
    }
    sums
}

/// The cubic with a = -0.5, Pillow's and Catmull-Rom's.
fn cubic(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
        _ => 0.0,
    }
}
