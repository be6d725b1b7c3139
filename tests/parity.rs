//! The forward pass against an oracle's vectors, for generated checkpoints in every layout (tests/oracle/make_golden.py).

mod support;

use std::path::{Path, PathBuf};

use c4c::{Frame, Log, Model, Options, PixelFormat};
use support::checkpoint::{Sizes, Writer, B32, TINY};
use support::{distance, frame, golden_vectors, norm};

/// What both float32 implementations may differ by; the worst seen is 4e-9, from the resizing.
const BOUND: f64 = 1e-6;

fn texts() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(support::golden("texts.json")).unwrap()).unwrap()
}

fn load(path: &Path) -> Model {
    Model::load(Options::new(path), Log::default()).unwrap()
}

fn check(name: &str, ours: &[f32], expected: &[f32]) {
    let distance = distance(ours, expected);
    println!("{name}: 1 - cosine = {distance:.1e}");
    assert!(distance <= BOUND, "{name}: {distance:e}");
    assert!((norm(ours) - 1.0).abs() < 1e-6, "{name}: norm {}", norm(ours));
}

fn check_all(path: &Path, golden: &str, sizes: &Sizes) {
    let model = load(path);
    assert_eq!(model.dim(), sizes.embed);
    let expected = golden_vectors(golden, sizes.embed);
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let vectors = model.embed_text(&texts).unwrap();
    for ((text, ours), expected) in texts.iter().zip(vectors.rows()).zip(&expected) {
        check(&format!("{text:.30?}"), ours.as_slice().unwrap(), expected);
    }
    let pictures: Vec<Vec<u8>> = (0..12).map(|k| frame(k, 320, 240)).collect();
    let frames: Vec<Frame> =
        pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 320, 240, rgb).unwrap()).collect();
    check("video", model.embed_frames(&frames).unwrap().as_slice().unwrap(), &expected[texts.len()]);
    let sizes = [(320, 240), (90, 160), (224, 224)];
    let pictures: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(k, &(w, h))| frame(k, w, h)).collect();
    let frames: Vec<Frame> =
        pictures.iter().zip(sizes).map(|(rgb, (w, h))| Frame::packed(PixelFormat::Rgb24, w, h, rgb).unwrap()).collect();
    let vectors = model.embed_images(&frames).unwrap();
    for (i, ours) in vectors.rows().into_iter().enumerate() {
        check(&format!("image {i}"), ours.as_slice().unwrap(), &expected[texts.len() + 1 + i]);
    }
}

#[test]
fn tiny_in_every_layout() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let writer = Writer::new(&TINY, 1);
    writer.torch_save(&path("clip4clip.bin"), "");
    writer.torch_save(&path("ddp.bin"), "module.");
    writer.safetensors(&path("openai.safetensors"));
    writer.hugging_face(&path("hf.safetensors"));
    for name in ["clip4clip.bin", "ddp.bin", "openai.safetensors", "hf.safetensors"] {
        println!("{name}");
        check_all(&path(name), "tiny.f32", &TINY);
    }
}

#[test]
fn full_size() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("b32.bin");
    if !path.exists() {
        let part = path.with_extension("part");
        Writer::new(&B32, 1).torch_save(&part, "");
        std::fs::rename(part, &path).unwrap();
    }
    check_all(&path, "b32.f32", &B32);
    assert_eq!(load(&path).info().arch.name(), "clip_vit_b32");
}

#[test]
fn company_does_not_change_a_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.bin");
    Writer::new(&TINY, 1).torch_save(&path, "");
    let model = load(&path);
    let texts: Vec<String> = (0..75).map(|i| "word ".repeat(i % 31) + &i.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = model.embed_text(&texts).unwrap();
    for (i, text) in texts.iter().enumerate() {
        let alone = model.embed_text(&[text]).unwrap();
        assert!(distance(alone.as_slice().unwrap(), together.row(i).as_slice().unwrap()) < 1e-9, "{text}");
    }
}

#[test]
fn options_change_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.bin");
    Writer::new(&TINY, 1).torch_save(&path, "");
    let with = |change: fn(&mut Options)| {
        let mut options = Options::new(&path);
        change(&mut options);
        Model::load(options, Log::default()).unwrap()
    };
    let text = ["a man is riding a motorcycle through a long and winding road"];
    let unit = with(|_| ()).embed_text(&text).unwrap();
    let raw = with(|o| o.raw_output = true).embed_text(&text).unwrap();
    assert!((norm(raw.as_slice().unwrap()) - 1.0).abs() > 0.01);
    assert!(distance(unit.as_slice().unwrap(), raw.as_slice().unwrap()) < 1e-12);

    let gelu = with(|o| o.activation = c4c::Activation::Gelu).embed_text(&text).unwrap();
    assert!(distance(unit.as_slice().unwrap(), gelu.as_slice().unwrap()) > 1e-6);

    let cut = with(|o| o.max_words = 5).embed_text(&text).unwrap();
    let short = with(|_| ()).embed_text(&["a man is"]).unwrap();
    assert!(distance(cut.as_slice().unwrap(), short.as_slice().unwrap()) < 1e-12);

    let small_batches = with(|o| o.max_batch = Some(5));
    let pictures: Vec<Vec<u8>> = (0..12).map(|k| frame(k, 64, 48)).collect();
    let frames: Vec<Frame> =
        pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 64, 48, rgb).unwrap()).collect();
    let one = with(|_| ()).embed_frames(&frames).unwrap();
    let other = small_batches.embed_frames(&frames).unwrap();
    assert!(distance(one.as_slice().unwrap(), other.as_slice().unwrap()) < 1e-12);
}
