//! A vector does not hang on what else went through the model with it.

mod support;

use c4c::{Call, Frame, Log, Model, Options, PixelFormat, Precision, Status, VideoOptions};
use ndarray::Array2;
use support::checkpoint::{Writer, SMALL, TINY};
use support::{frame, media};

/// What company may change in an element of a unit vector on other processors, which may sum few rows in another order than
/// many.
const BOUND: f32 = 1e-6;

/// None where the processor has no such products.
fn model(precision: Precision, num_threads: usize) -> Option<Model> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.bin");
    Writer::new(&TINY, 1).torch_save(&path, "");
    let options = Options { precision: Some(precision), num_threads: Some(num_threads), ..Options::new(path) };
    match Model::load(options, Log::default()) {
        Err(error) if precision == Precision::Int8 && error.status() == Status::Unsupported => None,
        loaded => Some(loaded.unwrap()),
    }
}

const KINDS: [(Precision, usize); 7] = [
    (Precision::F32, 1),
    (Precision::F32, 2),
    (Precision::F32, 5),
    (Precision::Bf16, 1),
    (Precision::Bf16, 2),
    (Precision::Int8, 1),
    (Precision::Int8, 3),
];

/// Bits are promised on the processors on which they were measured.
fn bits() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

fn compare(what: &str, ours: &Array2<f32>, alone: &Array2<f32>) {
    let apart = ours.iter().zip(alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{what}: at most {apart:e} apart");
    assert!(apart <= if bits() { 0.0 } else { BOUND }, "{what}: {apart:e}");
}

#[test]
fn images() {
    let pictures: Vec<Vec<u8>> = (0..30).map(|k| frame(k, 60, 50)).collect();
    let frames: Vec<Frame> =
        pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 60, 50, rgb).unwrap()).collect();
    for (precision, threads) in KINDS {
        let Some(model) = model(precision, threads) else { continue };
        let embed = |frames: &[Frame]| model.embed_images(frames, &Call::default()).unwrap();
        let mut alone = Array2::zeros((0, model.dim()));
        frames.chunks(1).for_each(|one| alone.push_row(embed(one).row(0)).unwrap());
        for n in [1, 2, 3, 5, 7, 12, 13, 30] {
            let few = alone.slice(ndarray::s![..n, ..]).to_owned();
            compare(&format!("{precision:?}, {threads} threads, {n} images"), &embed(&frames[..n]), &few);
        }
    }
}

#[test]
fn texts() {
    let texts: Vec<String> = (0..90).map(|i| ["a dog runs", ""][i % 2].repeat(i % 37 / 3) + &"x ".repeat(i)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (precision, threads) in KINDS {
        let Some(model) = model(precision, threads) else { continue };
        let embed = |texts: &[&str]| model.embed_text(texts, &Call::default()).unwrap();
        let mut alone = Array2::zeros((0, model.dim()));
        texts.chunks(1).for_each(|one| alone.push_row(embed(one).row(0)).unwrap());
        for n in [1, 2, 3, 8, 31, 90] {
            let few = alone.slice(ndarray::s![..n, ..]).to_owned();
            let what = format!("{precision:?}, {threads} threads, {n} texts");
            compare(&what, &embed(&texts[..n]), &few);
        }
    }
}

/// A video in several passes is one video: with 3d patches, too, where each frame looks at its neighbours.
#[test]
fn videos_of_many_frames() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("video.mp4");
    media::test_video(&file, "64x48", 25, 60, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    let (flat, deep) = (folder.path().join("2d.bin"), folder.path().join("3d.bin"));
    Writer::new(&TINY, 1).torch_save(&flat, "");
    Writer::with_head(&SMALL, 3, "3d").torch_save(&deep, "");
    for path in [flat, deep] {
        let load =
            |max_batch| Model::load(Options { max_batch: Some(max_batch), ..Options::new(&path) }, Log::default());
        let [small, large] = [5, 64].map(|max_batch| load(max_batch).unwrap());
        let options = VideoOptions { num_frames: 47, ..Default::default() };
        let embed = |model: &Model| model.embed_video_path(&file, &options, &Call::default()).unwrap();
        let rows = |model: &Model| embed(model).insert_axis(ndarray::Axis(0));
        compare("47 frames in passes of 5", &rows(&small), &rows(&large));
        assert!(small.stats().image_batches >= 10 && large.stats().image_batches == 1);
    }
}

/// A frame that stands for many goes through the model once.
#[test]
fn one_frame_for_all() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("still.mp4");
    media::test_video(&file, "64x48", 25, 1, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    let model = model(Precision::F32, 1).unwrap();
    let all = model.embed_video_path(&file, &VideoOptions::default(), &Call::default()).unwrap();
    assert_eq!(model.stats().images, 1);
    let options = VideoOptions { num_frames: 1, ..Default::default() };
    let one = model.embed_video_path(&file, &options, &Call::default()).unwrap();
    assert!(all.iter().zip(&one).all(|(a, b)| (a - b).abs() <= BOUND));
}
