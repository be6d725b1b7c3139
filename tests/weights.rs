//! Checkpoints that are not what they should be: each is an error that names the thing.

mod support;

use std::path::{Path, PathBuf};

use c4c::{Log, Modality, Model, ModelName, Options, Status};
use support::checkpoint::{Tensor, Writer, TINY};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bytes(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn tampered(&self, change: impl FnOnce(&mut Writer)) -> PathBuf {
        let path = self.path("tampered.bin");
        let mut writer = Writer::new(&TINY, 1);
        change(&mut writer);
        writer.torch_save(&path, "");
        path
    }
}

fn fails(options: Options, status: Status, part: &str) {
    match Model::load(options, Log::default()) {
        Ok(_) => panic!("it loads, expected {status:?} {part}"),
        Err(error) => {
            assert_eq!(error.status(), status, "{error}");
            assert!(error.message().contains(part), "`{error}` does not say `{part}`");
        }
    }
}

fn file_fails(path: &Path, status: Status, part: &str) {
    fails(Options::new(path), status, part);
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new();
    file_fails(&folder.path("none.bin"), Status::WeightsIo, "none.bin");
    file_fails(folder.0.path(), Status::WeightsIo, "a folder");
    #[cfg(unix)]
    file_fails(Path::new("/dev/null"), Status::WeightsIo, "no regular file");
}

#[test]
fn files_that_are_something_else() {
    let folder = Folder::new();
    file_fails(&folder.bytes("empty", b""), Status::WeightsFormat, "empty");
    file_fails(&folder.bytes("text", b"once upon a time there was a file"), Status::WeightsFormat, "neither");
    file_fails(&folder.bytes("short", b"PK"), Status::WeightsFormat, "neither");
    file_fails(&folder.bytes("zip", b"PK\x03\x04 and nothing more"), Status::WeightsFormat, "zip");
    file_fails(&folder.bytes("old", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."), Status::Unsupported, "1.6");
    let header = br#"{"a.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let other = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    file_fails(&folder.bytes("other", &other), Status::WeightsFormat, "`a.weight`");
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    file_fails(&folder.bytes("huge", &huge), Status::WeightsFormat, "safetensors");
}

#[test]
fn truncated_files() {
    let folder = Folder::new();
    let whole = folder.path("whole");
    for safetensors in [false, true] {
        let writer = Writer::new(&TINY, 1);
        if safetensors {
            writer.safetensors(&whole);
        } else {
            writer.torch_save(&whole, "");
        }
        let bytes = std::fs::read(&whole).unwrap();
        for cut in [1, 9, 100, bytes.len() / 2, bytes.len() - 1] {
            file_fails(&folder.bytes("cut", &bytes[..cut]), Status::WeightsFormat, "");
        }
    }
}

#[test]
fn wrong_tensors_are_named_as_the_file_names_them() {
    let folder = Folder::new();
    let missing = |name: &'static str| {
        folder.tampered(|w| w.tensors.retain(|t| t.name != name));
        folder.path("tampered.bin")
    };
    file_fails(&missing("visual.proj"), Status::WeightsMismatch, "`clip.visual.proj` is missing");
    let gap = missing("transformer.resblocks.1.ln_2.bias");
    file_fails(&gap, Status::WeightsMismatch, "`clip.transformer.resblocks.1.ln_2.bias` is missing");

    let path = folder.tampered(|w| w.tensor("visual.proj").shape = vec![128, 48]);
    file_fails(&path, Status::WeightsMismatch, "`clip.visual.proj` has shape [128, 48], expected [128, 96]");

    let path = folder.tampered(|w| w.tensor("visual.positional_embedding").shape = vec![51, 128]);
    file_fails(&path, Status::WeightsMismatch, "`clip.visual.positional_embedding` has 51 rows");

    let extra = Tensor { name: "visual.adapter".into(), shape: vec![3], mean: 0.0, std: 1.0, half: false };
    let path = folder.tampered(|w| w.tensors.push(extra.clone()));
    file_fails(&path, Status::WeightsMismatch, "`clip.visual.adapter` does not belong");

    let path = folder.tampered(|w| w.tensors.push(Tensor { name: "visual.conv2.weight".into(), ..extra }));
    file_fails(&path, Status::Unsupported, "linear_patch=2d");

    let hf = folder.path("hf.safetensors");
    let mut writer = Writer::new(&TINY, 1);
    writer.tensor("text_projection").shape = vec![64, 32];
    writer.hugging_face(&hf);
    let says = "`visual_projection.weight` has shape [96, 128], expected [32, 128]";
    file_fails(&hf, Status::WeightsMismatch, says);
}

#[test]
fn a_model_must_be_the_one_that_was_named() {
    let folder = Folder::new();
    let path = folder.tampered(|_| ());
    let options = Options { model_name: Some(ModelName::ClipVitB32), ..Options::new(&path) };
    fails(options, Status::WeightsMismatch, "clip_vit_b32");
    fails(Options { max_words: 78, ..Options::new(&path) }, Status::InvalidArgument, "at most 77");
}

#[test]
fn one_tower_alone() {
    let folder = Folder::new();
    let path = folder.tampered(|_| ());
    let load = |modality| Model::load(Options { modality, ..Options::new(&path) }, Log::default()).unwrap();
    let rgb = support::frame(0, 40, 30);
    let frame = c4c::Frame::packed(c4c::PixelFormat::Rgb24, 40, 30, &rgb).unwrap();

    let text = load(Modality::Text);
    assert_eq!(text.embed_text(&["a dog"]).unwrap().ncols(), 96);
    assert_eq!(text.embed_frames(&[frame]).unwrap_err().status(), Status::Modality);
    assert!(text.info().arch.vision.is_none());

    let video = load(Modality::Video);
    assert_eq!(video.embed_frames(&[frame]).unwrap().len(), 96);
    assert_eq!(video.embed_text(&["a dog"]).unwrap_err().status(), Status::Modality);
}

#[test]
fn a_file_with_one_tower() {
    let folder = Folder::new();
    let path = folder.tampered(|w| w.tensors.retain(|t| !t.name.starts_with("visual.")));
    assert!(Model::load(Options { modality: Modality::Text, ..Options::new(&path) }, Log::default()).is_ok());
    file_fails(&path, Status::WeightsMismatch, "`clip.visual.conv1.weight` is missing");
}

#[test]
fn heads_are_not_dropped_silently() {
    let folder = Folder::new();
    let head = |name: &str| Tensor { name: name.into(), shape: vec![4], mean: 0.0, std: 1.0, half: false };
    let path = folder.path("head.safetensors");
    let mut writer = Writer::new(&TINY, 1);
    writer.tensors.push(head("transformerClip.resblocks.0.ln_1.weight"));
    writer.safetensors(&path);
    file_fails(&path, Status::Unsupported, "seqTransf");
    let mean = Options { head: Some(c4c::Head::Mean), ..Options::new(&path) };
    assert!(Model::load(mean, Log::default()).is_ok());
}

/// Every byte of the directory and the pickle matters; none may take the process down.
#[test]
fn damaged_files_are_errors() {
    let folder = Folder::new();
    let path = folder.tampered(|_| ());
    let whole = std::fs::read(&path).unwrap();
    let pickle_end = 40_000.min(whole.len());
    let directory = whole.len() - 12_000;
    let mut seed = 3u64;
    let mut loaded = 0;
    for round in 0..400 {
        let mut bytes = whole.clone();
        for _ in 0..1 + round % 4 {
            seed = support::checkpoint::mix(seed);
            let range = if round % 2 == 0 { 0..pickle_end } else { directory..whole.len() };
            let at = range.start + (seed as usize) % range.len();
            bytes[at] = (seed >> 40) as u8;
        }
        let file = folder.bytes("damaged", &bytes);
        match Model::load(Options::new(&file), Log::default()) {
            Ok(_) => loaded += 1,
            Err(error) => assert_ne!(error.status(), Status::Internal, "{error}"),
        }
    }
    assert!(loaded < 400);
}
