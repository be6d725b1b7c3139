//! Models of widths that no trained one has, in every precision, against libtorch's tensors.

mod support;

use std::path::Path;

use c4c::{Call, Frame, Log, Model, Options, PixelFormat, Precision, Status};
use support::checkpoint::{Sizes, Writer, TINY};
use support::frame;

/// Width, heads, width of the embedding.
const SHAPES: [(usize, usize, usize); 9] =
    [(1, 1, 1), (2, 1, 3), (3, 3, 5), (5, 1, 70), (7, 1, 1), (12, 4, 9), (65, 5, 64), (66, 2, 130), (192, 3, 100)];

/// Set for the process that computes what the others are compared with, to the folder for it.
const EXPECTED: &str = "C4C_TEST_EXPECTED";

/// Raw embeddings of pictures and texts, one behind the other; None where the processor has no such products.
fn vectors(shape: (usize, usize, usize), precision: Precision) -> Option<Vec<f32>> {
    let (width, heads, embed) = shape;
    let folder = tempfile::tempdir().unwrap();
    let sizes = Sizes { vision_width: width, text_width: width, embed, patch: 28, grid: 8, ..TINY };
    Writer::new(&sizes, 1).hugging_face(&folder.path().join("model.safetensors"));
    let tower = format!(r#"{{"num_attention_heads": {heads}, "hidden_act": "{}"}}"#, ["quick_gelu", "gelu"][width % 2]);
    let config = format!(r#"{{"text_config": {tower}, "vision_config": {tower}}}"#);
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    let options = Options {
        precision: Some(precision),
        num_threads: Some(2),
        raw_output: true,
        max_batch: Some(40),
        ..Options::new(folder.path())
    };
    let model = match Model::load(options, Log::default()) {
        Err(error) if error.status() == Status::Unsupported => return None,
        loaded => loaded.unwrap(),
    };
    let pictures: Vec<Vec<u8>> = (0..40).map(|k| frame(k, 224, 224)).collect();
    let frames: Vec<Frame> =
        pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 224, 224, rgb).unwrap()).collect();
    let texts: Vec<String> = (0..90).map(|i| "a dog runs ".repeat(i % 9)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut all = model.embed_images(&frames, &Call::default()).unwrap().into_raw_vec_and_offset().0;
    all.extend(model.embed_text(&texts, &Call::default()).unwrap());
    Some(all)
}

fn file(folder: &Path, (width, heads, embed): (usize, usize, usize)) -> std::path::PathBuf {
    folder.join(format!("{width}-{heads}-{embed}"))
}

#[test]
fn odd_widths() {
    if let Some(folder) = std::env::var_os(EXPECTED) {
        for shape in SHAPES {
            let bytes: Vec<u8> = vectors(shape, Precision::F32).unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
            std::fs::write(file(Path::new(&folder), shape), bytes).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "odd_widths"])
        .env("ONEDNN_MAX_CPU_ISA", "SSE41")
        .env(EXPECTED, folder.path())
        .status();
    assert!(other.unwrap().success());
    for shape in SHAPES {
        let bytes = std::fs::read(file(folder.path(), shape)).unwrap();
        let expected: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let largest = expected.iter().fold(0f32, |most, v| most.max(v.abs()));
        for (precision, bound) in [(Precision::F32, 2e-6), (Precision::Bf16, 0.03), (Precision::Int8, 0.1)] {
            let Some(ours) = vectors(shape, precision) else { continue };
            assert_eq!(ours.len(), expected.len());
            let apart = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) / largest;
            println!("{shape:?} {precision:?}: at most {apart:.1e} of the largest apart");
            assert!(apart <= bound, "{shape:?} {precision:?}: {apart:e}");
        }
    }
}

/// What is not a number in the weights is told, not turned into a vector.
#[test]
fn weights_that_are_not_numbers() {
    let names =
        ["visual.transformer.resblocks.0.attn.in_proj_weight", "visual.transformer.resblocks.1.mlp.c_fc.weight"];
    for (name, precision) in names
        .into_iter()
        .flat_map(|name| [Precision::F32, Precision::Bf16, Precision::Int8].map(|precision| (name, precision)))
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tiny.safetensors");
        Writer::new(&TINY, 1).safetensors(&path);
        let mut bytes = std::fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        let start = 8 + header + json[name]["data_offsets"][0].as_u64().unwrap() as usize;
        let nan: &[u8] = if json[name]["dtype"] == "F16" { &[0x00, 0x7e] } else { &[0, 0, 0xc0, 0x7f] };
        bytes[start..start + nan.len()].copy_from_slice(nan);
        std::fs::write(&path, bytes).unwrap();
        let options = Options { precision: Some(precision), ..Options::new(&path) };
        let Ok(model) = Model::load(options, Log::default()) else { continue };
        let picture = frame(3, 224, 224);
        let frames = [Frame::packed(PixelFormat::Rgb24, 224, 224, &picture).unwrap()];
        let error = model.embed_images(&frames, &Call::default()).unwrap_err();
        assert_eq!(error.status(), Status::Backend, "{name} {precision:?}: {error}");
    }
}
