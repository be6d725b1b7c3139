//! The forward pass against an oracle's vectors, for generated checkpoints in every layout (tests/oracle/make_golden.py).

mod support;

use std::path::{Path, PathBuf};

use c4c::{Call, Frame, Head, Log, Model, Options, PixelFormat, Precision, Status};
use support::checkpoint::{Sizes, Writer, B32, SMALL, TINY};
use support::{distance, frame, golden_vectors, norm};

/// What both float32 implementations may differ by; the worst seen is 4e-9, from the resizing.
const BOUND: f64 = 1e-6;

fn texts() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(support::golden("texts.json")).unwrap()).unwrap()
}

/// A full-size checkpoint, made once for all tests and runs.
fn b32() -> PathBuf {
    static MAKE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = MAKE.lock();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("b32.bin");
    if !path.exists() {
        let part = path.with_extension("part");
        Writer::new(&B32, 1).torch_save(&part, "");
        std::fs::rename(part, &path).unwrap();
    }
    path
}

/// What AUTO means hangs on the CPU.
fn exact(path: &Path) -> Options {
    Options { precision: Some(Precision::F32), ..Options::new(path) }
}

fn load(path: &Path) -> Model {
    Model::load(exact(path), Log::default()).unwrap()
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
    let vectors = model.embed_text(&texts, &Call::default()).unwrap();
    for ((text, ours), expected) in texts.iter().zip(vectors.rows()).zip(&expected) {
        check(&format!("{text:.30?}"), ours.as_slice().unwrap(), expected);
    }
    let pictures: Vec<Vec<u8>> = (0..12).map(|k| frame(k, 320, 240)).collect();
    let frames: Vec<Frame> =
        pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 320, 240, rgb).unwrap()).collect();
    check("video", model.embed_frames(&frames, &Call::default()).unwrap().as_slice().unwrap(), &expected[texts.len()]);
    let sizes = [(320, 240), (90, 160), (224, 224)];
    let pictures: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(k, &(w, h))| frame(k, w, h)).collect();
    let frames: Vec<Frame> =
        pictures.iter().zip(sizes).map(|(rgb, (w, h))| Frame::packed(PixelFormat::Rgb24, w, h, rgb).unwrap()).collect();
    let vectors = model.embed_images(&frames, &Call::default()).unwrap();
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
    writer.legacy_save(&path("legacy.bin"));
    writer.torch_script(&path("openai.pt"));
    writer.safetensors(&path("openai.safetensors"));
    writer.hugging_face(&path("hf.safetensors"));
    for (name, format) in [
        ("clip4clip.bin", "torch.save/clip4clip"),
        ("ddp.bin", "torch.save/clip4clip"),
        ("legacy.bin", "torch.save-legacy/clip4clip"),
        ("openai.pt", "torchscript/openai"),
        ("openai.safetensors", "safetensors/openai"),
        ("hf.safetensors", "safetensors/huggingface"),
    ] {
        println!("{name}");
        check_all(&path(name), "tiny.f32", &TINY);
        assert_eq!(load(&path(name)).info().weights, format);
    }
}

/// Scores are of the size of logits, up to 100.
fn check_scores(name: &str, ours: &[f32], expected: &[f32]) {
    let worst = ours.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("{name}: scores differ by up to {worst:.1e}");
    assert!(worst <= 1e-4, "{name}: {ours:?}, expected {expected:?}");
}

#[test]
fn every_head() {
    let folder = tempfile::tempdir().unwrap();
    let golden = golden_vectors("heads.f32", 1).concat();
    let (vectors, scores) = golden.split_at(4 * SMALL.embed);
    let pictures: Vec<Vec<u8>> = (0..12).map(|k| frame(k, 224, 224)).collect();
    let frames: Vec<Frame> =
        pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 224, 224, rgb).unwrap()).collect();
    let texts = texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let load_head = |head: &str, max_batch| {
        let path = folder.path().join(head);
        Writer::with_head(&SMALL, 1, head).torch_save(&path, "");
        Model::load(Options { max_batch, ..exact(&path) }, Log::default()).unwrap()
    };
    for (i, head) in ["meanP", "seqTransf", "seqLSTM", "3d"].into_iter().enumerate() {
        let expected = &vectors[i * SMALL.embed..][..SMALL.embed];
        let model = load_head(head, None);
        check(head, model.embed_frames(&frames, &Call::default()).unwrap().as_slice().unwrap(), expected);
        // Frames that are split between passes are still one clip.
        let split = load_head(head, Some(5)).embed_frames(&frames, &Call::default()).unwrap();
        check(head, split.as_slice().unwrap(), expected);
        if head != "3d" {
            let ours = model.score(&texts, &frames, &Call::default()).unwrap();
            check_scores(head, ours.as_slice().unwrap(), &scores[i * texts.len()..][..texts.len()]);
        }
    }
    let model = load_head("tightTransf", None);
    let ours = model.score(&texts, &frames, &Call::default()).unwrap();
    check_scores("tightTransf", ours.as_slice().unwrap(), &scores[3 * texts.len()..]);
    let many: Vec<&str> = texts.iter().cycle().take(75).copied().collect();
    let ours = model.score(&many, &frames, &Call::default()).unwrap();
    check_scores("tightTransf", &ours.as_slice().unwrap()[70..], &scores[3 * texts.len()..][..5]);

    let error = model.embed_frames(&frames, &Call::default()).unwrap_err();
    assert_eq!(error.status(), Status::Modality, "{error}");
    assert!(model.embed_images(&frames, &Call::default()).is_ok());
    let many: Vec<Frame> = frames.iter().cycle().take(78).copied().collect();
    let bounded = load_head("seqTransf", None);
    assert_eq!(bounded.embed_frames(&many, &Call::default()).unwrap_err().status(), Status::Limit);
    assert_eq!(bounded.stats().images, 0);
    assert_eq!(model.score(&texts, &many[..77], &Call::default()).unwrap_err().status(), Status::Limit);
    assert!(load_head("seqLSTM", None).embed_frames(&many, &Call::default()).is_ok());
    assert_eq!(load_head("seqLSTM", None).info().head, Head::SeqLstm);
}

/// Rows less their mean: random weights make all vectors look alike, which hides errors.
fn centred(vectors: &ndarray::Array2<f32>) -> ndarray::Array2<f32> {
    let mean = vectors.mean_axis(ndarray::Axis(0)).unwrap();
    vectors - &mean
}

#[test]
fn lower_precisions_are_close() {
    let path = b32();
    let with = |precision| {
        Model::load(Options { precision: Some(precision), ..Options::new(&path) }, Log::default())
            .map_err(|e| e.status())
    };
    let exact = with(Precision::F32).unwrap();
    for (precision, bound) in [(Precision::Bf16, 1e-3), (Precision::Int8, 1e-2)] {
        let rounded = match with(precision) {
            Err(Status::Unsupported) if precision == Precision::Int8 => continue,
            rounded => rounded.unwrap(),
        };
        if rounded.info().precision == Precision::F32 && precision == Precision::Bf16 {
            continue;
        }
        assert_eq!(rounded.info().precision, precision);
        let pictures: Vec<Vec<u8>> = (0..12).map(|k| frame(k * 7, 320, 240)).collect();
        let frames: Vec<Frame> =
            pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 320, 240, rgb).unwrap()).collect();
        let texts: Vec<String> = texts().into_iter().chain(["a red bus".into(), "snow on a mountain".into()]).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let call = Call::default();
        let both =
            |model: &Model| [model.embed_text(&texts, &call).unwrap(), model.embed_images(&frames, &call).unwrap()];
        for (name, (exact, rounded)) in ["texts", "frames"].iter().zip(both(&exact).iter().zip(&both(&rounded))) {
            let (exact, rounded) = (centred(exact), centred(rounded));
            let distances =
                exact.rows().into_iter().zip(rounded.rows()).map(|(a, b)| distance(&a.to_vec(), &b.to_vec()));
            let worst = distances.fold(0.0, f64::max);
            println!("{name}: centred 1 - cosine of {precision:?} = {worst:.1e}");
            assert!(worst <= bound, "{precision:?} {name}: {worst:e}");
            assert!(worst > 1e-9, "{precision:?} {name}: nothing was rounded");
        }
    }
}

#[test]
fn full_size() {
    let path = b32();
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
    let together = model.embed_text(&texts, &Call::default()).unwrap();
    for (i, text) in texts.iter().enumerate() {
        let alone = model.embed_text(&[text], &Call::default()).unwrap();
        assert!(distance(alone.as_slice().unwrap(), together.row(i).as_slice().unwrap()) < 1e-9, "{text}");
    }
}

#[test]
fn options_change_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.bin");
    Writer::new(&TINY, 1).torch_save(&path, "");
    let with = |change: fn(&mut Options)| {
        let mut options = exact(&path);
        change(&mut options);
        Model::load(options, Log::default()).unwrap()
    };
    let text = ["a man is riding a motorcycle through a long and winding road"];
    let unit = with(|_| ()).embed_text(&text, &Call::default()).unwrap();
    let raw = with(|o| o.raw_output = true).embed_text(&text, &Call::default()).unwrap();
    assert!((norm(raw.as_slice().unwrap()) - 1.0).abs() > 0.01);
    assert!(distance(unit.as_slice().unwrap(), raw.as_slice().unwrap()) < 1e-12);

    let gelu = with(|o| o.activation = Some(c4c::Activation::Gelu)).embed_text(&text, &Call::default()).unwrap();
    assert!(distance(unit.as_slice().unwrap(), gelu.as_slice().unwrap()) > 1e-6);

    let cut = with(|o| o.max_words = 5).embed_text(&text, &Call::default()).unwrap();
    let short = with(|_| ()).embed_text(&["a man is"], &Call::default()).unwrap();
    assert!(distance(cut.as_slice().unwrap(), short.as_slice().unwrap()) < 1e-12);

    let small_batches = with(|o| o.max_batch = Some(5));
    let pictures: Vec<Vec<u8>> = (0..12).map(|k| frame(k, 64, 48)).collect();
    let frames: Vec<Frame> =
        pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 64, 48, rgb).unwrap()).collect();
    let one = with(|_| ()).embed_frames(&frames, &Call::default()).unwrap();
    let other = small_batches.embed_frames(&frames, &Call::default()).unwrap();
    assert!(distance(one.as_slice().unwrap(), other.as_slice().unwrap()) < 1e-12);
}

/// oneDNN can be told to do without newer instructions, once for a process; what it cannot do then is done in libtorch's tensors.
#[test]
#[cfg(target_arch = "x86_64")]
fn older_cpus_compute_the_same() {
    for isa in ["SSE41", "AVX2", "AVX512_CORE"] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "full_size", "every_head", "lower_precisions_are_close"])
            .env("ONEDNN_MAX_CPU_ISA", isa)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("3 passed"), "{isa}: {said}");
    }
}
