//! Which model made an index: told by what it makes of a fixed text and of a fixed pair of pictures, so that a
//! checkpoint may be moved, renamed or stored in another layout.

use std::path::Path;

use c4c::{Call, Frame, Modality, Model, PixelFormat};

use crate::common::Failure;
use crate::library::Settings;
use crate::walk::shown;

/// The text whose vector is kept.
const TEXT: &str = "a red ball rolls from left to right over a wooden table";
/// The width and height of the two pictures.
const SIDE: usize = 64;
/// The largest 1 − cosine between one model's vectors: eight bits are within 0.0002 of single precision, and other
/// models further away by orders of magnitude.
const SAME: f64 = 0.01;

/// The vector of the fixed text, `dim` floats.
///
/// # Errors
/// On a model without text tower.
pub fn text(model: &Model) -> Result<Vec<f32>, Failure> {
    Ok(model.embed_text(&[TEXT], &Call::default())?.row(0).to_vec())
}

/// The vector of the fixed pair of pictures, `dim` floats.
///
/// # Errors
/// On a model without vision tower, or whose head gives no vectors.
pub fn video(model: &Model) -> Result<Vec<f32>, Failure> {
    let pictures = [picture(0), picture(1)];
    let frame = |rgb| Frame::packed(PixelFormat::Rgb24, SIDE, SIDE, rgb);
    let frames = [frame(&pictures[0])?, frame(&pictures[1])?];
    Ok(model.embed_frames(&frames, &Call::default())?.to_vec())
}

/// Packed RGB: coloured gradients, and a bright square that moves to the right.
fn picture(k: usize) -> Vec<u8> {
    let square = |x: usize, y: usize| (24..40).contains(&y) && (8 + 32 * k..24 + 32 * k).contains(&x);
    let pixel = |i: usize| {
        let (x, y) = (i % SIDE, i / SIDE);
        if square(x, y) {
            [255, 240, 32]
        } else {
            [(x * 4) as u8, (y * 4) as u8, (255 - 2 * (x + y)) as u8]
        }
    };
    (0..SIDE * SIDE).flat_map(pixel).collect()
}

/// Whether the index in `library` was made with this model.
///
/// # Errors
/// Names what differs, and the way out.
pub fn check(model: &Model, settings: &Settings, library: &Path) -> Result<(), Failure> {
    let given = &model.options().weights_path;
    let differs = |what: String| {
        Err(Failure::new(format_args!(
            "{} was made with another model: {what}. It was made with {}; name that one with --model, or index into \
             another file with -o",
            shown(library),
            shown(&settings.model)
        )))
    };
    if model.dim() != settings.dim {
        let (dim, path) = (model.dim(), shown(given));
        return differs(format!("its vectors have {} floats, those of {path} {dim}", settings.dim));
    }
    let mut probes = Vec::new();
    if model.modality().text() {
        probes.push(("text", text(model)?, &settings.probe_text));
    }
    if model.modality().video() {
        probes.push(("pair of pictures", video(model)?, &settings.probe_video));
    }
    for (what, here, there) in probes {
        let cosine = cosine(&here, there);
        let same = 1.0 - cosine <= SAME;
        if !same {
            let path = shown(given);
            return differs(format!("the cosine of its vector of a fixed {what} and that of {path} is {cosine:.3}"));
        }
    }
    Ok(())
}

/// Whether an index made with this model can be filled and searched.
///
/// # Errors
/// Where a tower is missing.
pub fn has_both_towers(model: &Model) -> Result<(), Failure> {
    let missing = match model.modality() {
        Modality::Both => return Ok(()),
        Modality::Text => "vision",
        Modality::Video => "text",
    };
    let path = shown(&model.options().weights_path);
    Err(Failure::new(format_args!("{path} has no {missing} tower; an index needs a checkpoint with both")))
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines() {
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
    }

    #[test]
    fn the_pictures_differ() {
        let (first, second) = (picture(0), picture(1));
        assert_eq!(first.len(), SIDE * SIDE * 3);
        assert_ne!(first, second);
    }
}
