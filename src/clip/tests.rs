//! The way that GPUs are gone, on the CPU's tensors: the same steps on the same numbers.

#[path = "../../tests/support/checkpoint.rs"]
#[allow(dead_code)]
mod checkpoint;

use std::path::Path;

use super::*;
use checkpoint::{mix, Sizes, Writer, B32, SMALL};

const SIZES: Sizes = Sizes { vision_layers: 3, ..SMALL };

fn file(folder: &Path, head: &str) -> std::path::PathBuf {
    let path = folder.join(format!("{head}.bin"));
    Writer::with_head(&SIZES, 7, head).torch_save(&path, "");
    path
}

fn load(path: &Path, precision: Precision, rehearse: bool) -> Clip {
    let options = LoadOptions { precision, num_threads: 2, rehearse, ..LoadOptions::default() };
    Clip::load(Checkpoint::open(path).unwrap(), options).unwrap()
}

fn images(n: usize) -> Vec<Image> {
    let side = SIZES.grid * SIZES.patch;
    let square = |k: usize| {
        let smooth = |i: usize| (i % side + k * 40) % 256;
        Square::new(
            (0..side * side * 3)
                .map(|i| ((smooth(i / 3) + mix((k << 32 | i) as u64) as usize % 64) % 256) as u8)
                .collect(),
        )
    };
    let squares: Vec<Square> = (0..n).map(square).collect();
    let at = |i: usize| squares.get(i).cloned();
    (0..n).map(|i| Image { own: squares[i].clone(), before: i.checked_sub(1).and_then(at), after: at(i + 1) }).collect()
}

fn texts() -> Vec<Ids> {
    let length = |i: usize| [3, 16, 17, 32, 77, 5, 1][i % 7];
    (0..20).map(|i| (0..length(i)).map(|k| mix((i * 100 + k) as u64) as u32 % SIZES.vocab as u32).collect()).collect()
}

fn furthest(a: &Array2<f32>, b: &Array2<f32>) -> f64 {
    assert_eq!(a.dim(), b.dim());
    let dot = |x: ndarray::ArrayView1<f32>, y: ndarray::ArrayView1<f32>| -> f64 {
        x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    let far = a.rows().into_iter().zip(b.rows()).map(|(x, y)| 1.0 - dot(x, y) / (dot(x, x) * dot(y, y)).sqrt());
    far.fold(0.0, f64::max)
}

/// Everything that a model computes: images, their video, texts.
fn vectors(clip: &Clip) -> [Array2<f32>; 3] {
    tch::no_grad(|| {
        let images = images(5);
        let frames = clip.images(&images.iter().collect::<Vec<_>>()).unwrap();
        let texts = texts();
        let texts = clip.texts(&texts.iter().collect::<Vec<_>>()).unwrap();
        [clip.video(&frames).unwrap(), frames, texts]
    })
}

#[test]
fn gpus_compute_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for head in ["meanP", "seqTransf", "seqLSTM", "3d"] {
        let path = file(folder.path(), head);
        let expected = vectors(&load(&path, Precision::F32, false));
        for (precision, bound) in [(Precision::F32, 1e-6), (Precision::F16, 1e-5), (Precision::Bf16, 5e-4)] {
            let found = vectors(&load(&path, precision, true));
            for (found, expected) in found.iter().zip(&expected) {
                let far = furthest(found, expected);
                assert!(far <= bound, "{head} {precision:?}: {far}");
            }
        }
    }
}

/// tightTransf's scores, too.
#[test]
fn gpus_score_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "tightTransf");
    let scores = |rehearse| {
        let clip = load(&path, Precision::F32, rehearse);
        tch::no_grad(|| {
            let (images, texts) = (images(5), texts());
            let frames = clip.images(&images.iter().collect::<Vec<_>>()).unwrap();
            let texts = clip.texts(&texts.iter().collect::<Vec<_>>()).unwrap();
            clip.scores(&texts, &frames).unwrap()
        })
    };
    let far = (scores(true) - scores(false)).mapv(f32::abs).into_iter().fold(0.0, f32::max);
    assert!(far <= 1e-4, "{far}");
}

/// What another thread gets is the same model in the same memory.
#[test]
fn threads_share_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "seqTransf");
    let clip = load(&path, Precision::F16, true);
    let options = LoadOptions { precision: Precision::F16, rehearse: true, ..LoadOptions::default() };
    let other = clip.on(Device::Cpu, &options).unwrap();
    assert_eq!(vectors(&clip), vectors(&other));
    let (Some(VisionTower::Plain(one)), Some(VisionTower::Plain(two))) = (&clip.vision, &other.vision) else {
        panic!("not the way of GPUs");
    };
    assert!(one.shares_memory(two));
    // A CPU's own way has its threads inside.
    assert_eq!(load(&path, Precision::F32, false).on(Device::Cpu, &options).err().unwrap().status(), Status::Internal);
}

/// Half precision has room for the weights of real patches, which a division by 255 makes small, and for their sums.
#[test]
fn patches_of_real_size_in_half_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b32.bin");
    Writer::new(&Sizes { vision_layers: 1, text_layers: 1, ..B32 }, 3).torch_save(&path, "");
    let encode = |precision, rehearse| {
        let clip = load(&path, precision, rehearse);
        tch::no_grad(|| clip.images(&images(4).iter().collect::<Vec<_>>()).unwrap())
    };
    let expected = encode(Precision::F32, false);
    let far = furthest(&encode(Precision::F16, true), &expected);
    assert!(far <= 1e-6, "{far}");
}

/// Many texts, one of them long, are not all padded to its length, and come back in their order.
#[test]
fn texts_of_a_length_are_padded_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "meanP");
    let many: Vec<Ids> = texts().into_iter().cycle().take(200).collect();
    let many: Vec<&Ids> = many.iter().collect();
    let clip = load(&path, Precision::F32, true);
    let (all, few) = tch::no_grad(|| (clip.texts(&many).unwrap(), clip.texts(&many[..20]).unwrap()));
    assert_eq!(all.nrows(), 200);
    for (i, row) in all.rows().into_iter().enumerate() {
        let far = furthest(
            &row.to_owned().insert_axis(ndarray::Axis(0)),
            &few.row(i % 20).to_owned().insert_axis(ndarray::Axis(0)),
        );
        assert!(far <= 1e-6, "{i}: {far}");
    }
}
