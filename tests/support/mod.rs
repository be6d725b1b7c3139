//! What the tests and the demo share: seeded checkpoints, synthetic frames, vectors. `tests/oracle/generator.py` makes the
//! same numbers, so that an oracle in Python can say what is expected; change both together.
#![allow(dead_code)]

pub mod checkpoint;
pub mod media;
pub mod memory;

use std::path::PathBuf;

/// 1 - cosine, in float64.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
    1.0 - dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

pub fn norm(v: &[f32]) -> f64 {
    v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// Packed RGB: gradients that move with `k`, and noise.
pub fn frame(k: usize, width: usize, height: usize) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for c in 0..3 {
                let gradient = x * 255 / width + k * 20 + c * 60 + (y * 4 / height) * 37;
                let noise = checkpoint::mix((((k * height + y) * width + x) * 3 + c) as u64) & 31;
                rgb.push(((gradient + noise as usize) & 255) as u8);
            }
        }
    }
    rgb
}

pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// The float32 vectors of a golden file, `dim` floats each.
pub fn golden_vectors(name: &str, dim: usize) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(golden(name)).unwrap();
    let floats: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    floats.chunks_exact(dim).map(<[f32]>::to_vec).collect()
}
