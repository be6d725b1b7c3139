//! Checkpoints that are not what they should be: each is an error that names the thing.

mod support;

use std::path::{Path, PathBuf};

use c4c::{Activation, Call, Head, Log, Modality, Model, ModelName, Options, Status};
use support::checkpoint::{Tensor, Writer, MICRO, SMALL, TINY};

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

fn load(options: Options) -> Model {
    Model::load(options, Log::default()).unwrap()
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
    file_fails(folder.0.path(), Status::WeightsIo, "folder");
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
    file_fails(
        &folder.bytes("old", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."),
        Status::WeightsFormat,
        "ends too early",
    );
    file_fails(&folder.bytes("json", b"{\"model_type\": \"clip\"}"), Status::WeightsFormat, "weight_map");
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
    for kind in 0..3 {
        let writer = Writer::new(&TINY, 1);
        match kind {
            0 => writer.safetensors(&whole),
            1 => writer.torch_save(&whole, ""),
            _ => writer.legacy_save(&whole),
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
    let path = folder.tampered(|w| w.tensors.push(extra));
    file_fails(&path, Status::WeightsMismatch, "`clip.visual.adapter` does not belong");

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
    assert_eq!(text.embed_text(&["a dog"], &Call::default()).unwrap().ncols(), 96);
    assert_eq!(text.embed_frames(&[frame], &Call::default()).unwrap_err().status(), Status::Modality);
    assert!(text.info().arch.vision.is_none());

    let video = load(Modality::Video);
    assert_eq!(video.embed_frames(&[frame], &Call::default()).unwrap().len(), 96);
    assert_eq!(video.embed_text(&["a dog"], &Call::default()).unwrap_err().status(), Status::Modality);
}

/// transformers saves the halves of a model in files of their own.
#[test]
fn a_file_with_one_tower() {
    let folder = Folder::new();
    let path = folder.tampered(|w| w.tensors.retain(|t| !t.name.starts_with("visual.")));
    let model = load(Options::new(&path));
    assert_eq!(model.modality(), Modality::Text);
    assert!(model.embed_text(&["a dog"], &Call::default()).is_ok());
    let rgb = support::frame(0, 40, 30);
    let frame = c4c::Frame::packed(c4c::PixelFormat::Rgb24, 40, 30, &rgb).unwrap();
    assert_eq!(model.embed_frames(&[frame], &Call::default()).unwrap_err().status(), Status::Modality);
    let video = Options { modality: Modality::Video, ..Options::new(&path) };
    fails(video, Status::WeightsMismatch, "`clip.visual.conv1.weight` is missing");

    let half = folder.path("vision.safetensors");
    let mut writer = Writer::new(&TINY, 1);
    writer.tensors.retain(|t| t.name.starts_with("visual."));
    writer.hugging_face(&half);
    let model = load(Options::new(&half));
    assert_eq!((model.modality(), model.dim()), (Modality::Video, 96));
    assert_eq!(model.embed_text(&["a dog"], &Call::default()).unwrap_err().status(), Status::Modality);
}

#[test]
fn heads_are_taken_from_the_weights_or_as_asked() {
    let folder = Folder::new();
    let path = folder.path("head.bin");
    Writer::with_head(&SMALL, 1, "seqTransf").torch_save(&path, "");
    let with = |head| Options { head, ..Options::new(&path) };
    assert_eq!(load(with(None)).info().head, Head::SeqTransf);
    assert_eq!(load(with(Some(Head::Mean))).info().head, Head::Mean);
    fails(with(Some(Head::SeqLstm)), Status::WeightsMismatch, "no `lstm_visual.*`");
    let text = Options { modality: Modality::Text, ..Options::new(&path) };
    assert!(load(text).embed_text(&["a dog"], &Call::default()).is_ok());

    let mut writer = Writer::with_head(&SMALL, 1, "seqLSTM");
    writer.tensor("lstm_visual.weight_hh_l0").shape = vec![512, 64];
    writer.torch_save(&path, "");
    file_fails(&path, Status::WeightsMismatch, "`lstm_visual.weight_hh_l0` has shape [512, 64], expected [512, 128]");
}

#[test]
fn open_clip_s_variants() {
    let folder = Folder::new();
    let plain = folder.path("plain.safetensors");
    Writer::new(&TINY, 1).safetensors(&plain);
    let text = ["a red ball"];
    let expected = load(Options::new(&plain)).embed_text(&text, &Call::default()).unwrap();

    // CustomTextCLIP: the text tower behind `text.`, and a mask that is no weight.
    let custom = folder.path("custom.safetensors");
    let mut writer = Writer::new(&TINY, 1);
    let list = writer.tensors.iter().map(|t| (t.name.clone(), t.clone(), support::checkpoint::bytes(t, 1)));
    let mut list: Vec<_> = list
        .map(|(name, tensor, bytes)| match name.starts_with("visual.") || name == "logit_scale" {
            true => (name, tensor, bytes),
            false => (format!("text.{name}"), tensor, bytes),
        })
        .collect();
    let mask = Tensor { name: "attn_mask".into(), shape: vec![77, 77], mean: 0.0, std: 1.0, half: false };
    list.push(("text.attn_mask".into(), mask.clone(), support::checkpoint::bytes(&mask, 1)));
    support::checkpoint::write_safetensors(&custom, list);
    assert_eq!(load(Options::new(&custom)).embed_text(&text, &Call::default()).unwrap(), expected);

    // The configuration beside the weights tells the activation, unless the caller does.
    std::fs::write(folder.path("open_clip_config.json"), r#"{"model_cfg": {"embed_dim": 96}}"#).unwrap();
    assert_eq!(load(Options::new(&plain)).info().activation, Activation::Gelu);
    let asked = Options { activation: Some(Activation::QuickGelu), ..Options::new(&plain) };
    assert_eq!(load(asked).embed_text(&text, &Call::default()).unwrap(), expected);
    std::fs::write(folder.path("open_clip_config.json"), r#"{"model_cfg": {"quick_gelu": true}}"#).unwrap();
    assert_eq!(load(Options::new(&plain)).embed_text(&text, &Call::default()).unwrap(), expected);
    std::fs::write(folder.path("open_clip_config.json"), "{").unwrap();
    file_fails(&plain, Status::WeightsFormat, "open_clip_config.json");

    // ResNets have other tensors under `visual.`.
    writer.tensor("visual.conv1.weight").name = "visual.layer1.0.conv1.weight".into();
    writer.safetensors(&folder.path("resnet.safetensors"));
    file_fails(&folder.path("resnet.safetensors"), Status::WeightsFormat, "ResNet");
}

#[test]
fn a_hugging_face_folder() {
    let folder = Folder::new();
    file_fails(folder.0.path(), Status::WeightsIo, "none of model.safetensors");
    Writer::new(&TINY, 1).hugging_face(&folder.path("model.safetensors"));
    let text = ["a red ball"];
    let expected = load(Options::new(folder.0.path())).embed_text(&text, &Call::default()).unwrap();
    let config = |act: &str| {
        let json = format!(
            r#"{{"text_config": {{"hidden_act": "{act}", "num_attention_heads": 2}},
                "vision_config": {{"hidden_act": "gelu", "layer_norm_eps": 1e-5}}}}"#
        );
        std::fs::write(folder.path("config.json"), json).unwrap();
    };
    config("quick_gelu");
    let model = load(Options::new(folder.0.path()));
    let arch = &model.info().arch;
    assert_eq!((model.info().activation, arch.text.as_ref().unwrap().heads), (Activation::Gelu, 2));
    assert_ne!(model.embed_text(&text, &Call::default()).unwrap(), expected);
    config("relu");
    file_fails(folder.0.path(), Status::Unsupported, "`relu`");
    std::fs::remove_file(folder.path("config.json")).unwrap();

    // The folder's tokenizer, which knows one word and gives it the largest id.
    let tokenizer = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"a": 320, "red": 736, "ball": 49407, "?": 5}, "unk_token": "?"}}"#;
    std::fs::write(folder.path("tokenizer.json"), tokenizer).unwrap();
    let model = load(Options::new(folder.0.path()));
    let ours = model.embed_text(&["a red ball", "a red ball and more"], &Call::default()).unwrap();
    assert_ne!(ours.row(0), expected.row(0));
    assert!(support::distance(&ours.row(0).to_vec(), &ours.row(1).to_vec()) < 1e-9);
    let named = Options { tokenizer_path: Some(folder.path("tokenizer.json")), ..Options::new(folder.0.path()) };
    let named = load(named).embed_text(&["a red ball"], &Call::default()).unwrap();
    assert!(support::distance(&named.row(0).to_vec(), &ours.row(0).to_vec()) < 1e-9);
    std::fs::write(folder.path("tokenizer.json"), "{}").unwrap();
    file_fails(folder.0.path(), Status::Tokenizer, "tokenizer.json");
}

#[test]
fn shards() {
    let folder = Folder::new();
    let (one, two) = (folder.path("model-00001.safetensors"), folder.path("model-00002.safetensors"));
    let mut first = Writer::new(&TINY, 1);
    let mut second = Writer::new(&TINY, 1);
    first.tensors.retain(|t| t.name.starts_with("visual."));
    second.tensors.retain(|t| !t.name.starts_with("visual."));
    first.safetensors(&one);
    second.safetensors(&two);
    let names = |writer: &Writer, file: &str| -> Vec<(String, serde_json::Value)> {
        writer.tensors.iter().map(|t| (t.name.clone(), file.into())).collect()
    };
    let map: serde_json::Map<_, _> =
        names(&first, "model-00001.safetensors").into_iter().chain(names(&second, "model-00002.safetensors")).collect();
    let index = folder.path("model.safetensors.index.json");
    std::fs::write(&index, serde_json::json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    let model = load(Options::new(&index));
    assert_eq!(model.info().weights, "sharded/openai");
    let whole = folder.path("whole.safetensors");
    Writer::new(&TINY, 1).safetensors(&whole);
    let text = ["a red ball"];
    assert_eq!(
        model.embed_text(&text, &Call::default()).unwrap(),
        load(Options::new(whole)).embed_text(&text, &Call::default()).unwrap()
    );
    assert!(Model::load(Options::new(folder.0.path()), Log::default()).is_ok());

    std::fs::remove_file(&two).unwrap();
    file_fails(&index, Status::WeightsIo, "model-00002.safetensors");
    std::fs::write(&index, r#"{"weight_map": {"a": "../../etc/passwd"}}"#).unwrap();
    file_fails(&index, Status::WeightsFormat, "not beside it");
}

/// A tool's answer to an unknown file.
/// PyTorch names the archive's root after the file, and writes the records of a large archive behind any.
#[test]
fn file_names_of_any_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.bin");
    for length in 1..60 {
        Writer::new(&MICRO, 1).torch_save_under(&"r".repeat(length), &path, "");
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.split_off(bytes.len() - 22);
        assert_eq!(&end[..4], b"PK\x05\x06");
        let number = |at: usize, n: usize| end[at..at + n].iter().rev().fold(0u64, |sum, &b| sum << 8 | u64::from(b));
        let (count, size, start) = (number(10, 2), number(12, 4), number(16, 4));
        let records = bytes.len() as u64;
        // The end of the directory in 64 bits, and where it lies.
        bytes.extend(b"PK\x06\x06");
        bytes.extend(44u64.to_le_bytes());
        bytes.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        [count, count, size, start].iter().for_each(|n| bytes.extend(n.to_le_bytes()));
        bytes.extend(b"PK\x06\x07\0\0\0\0");
        bytes.extend(records.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(&end);
        std::fs::write(&path, bytes).unwrap();
        if let Err(e) = c4c::inspect(&path) {
            panic!("a root of {length} letters: {e}");
        }
    }
}

#[test]
fn inspection_names_everything() {
    let folder = Folder::new();
    let path = folder.path("model.bin");
    Writer::with_head(&SMALL, 1, "seqTransf").torch_save(&path, "");
    let found = c4c::inspect(&path).unwrap();
    assert_eq!((found.weights.as_str(), found.head), ("torch.save/clip4clip", Head::SeqTransf));
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!(
        found.dtypes.values().map(|c| c.0).sum::<usize>(),
        Writer::with_head(&SMALL, 1, "seqTransf").tensors.len()
    );

    let path = folder.tampered(|w| {
        w.tensors.retain(|t| t.name != "ln_final.bias");
        w.tensor("visual.proj").shape = vec![128, 48];
        w.tensor("visual.class_embedding").name = "visual.odd".into();
    });
    let expected = [
        "weights: `clip.ln_final.bias` is missing",
        "weights: `clip.visual.class_embedding` is missing",
        "weights: `clip.visual.odd` does not belong to this model",
        "weights: `clip.visual.proj` has shape [128, 48], expected [128, 96]",
    ];
    let mut problems = c4c::inspect(&path).unwrap().problems;
    problems.sort();
    assert_eq!(problems, expected);

    let tool =
        |path: &Path| std::process::Command::new(env!("CARGO_BIN_EXE_c4c")).arg("info").arg(path).output().unwrap();
    let output = tool(&path);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("problems      4\n") && text.contains("  `clip.ln_final.bias` is missing\n"), "{text}");
    assert_eq!(tool(&folder.path("none")).status.code(), Some(1));
    let good = folder.tampered(|_| ());
    assert_eq!(tool(&good).status.code(), Some(0));
}

/// The bits of a zip entry that say how its bytes are kept.
#[test]
fn archives_that_are_packed_or_locked() {
    let folder = Folder::new();
    let whole = std::fs::read(folder.tampered(|_| ())).unwrap();
    let entry = (0..whole.len()).find(|&i| whole[i..].starts_with(b"PK\x01\x02")).unwrap();
    let with = |offset: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[entry + offset] |= value;
        folder.bytes("archive", &bytes)
    };
    file_fails(&with(10, 8), Status::WeightsFormat, "`archive/data.pkl` is compressed");
    file_fails(&with(8, 1), Status::WeightsFormat, "`archive/data.pkl` is encrypted");
}

fn safetensors_of(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

/// A header may be of any length, also one whose first byte is another container's.
#[test]
fn headers_of_every_length() {
    let folder = Folder::new();
    let header = format!("{:<128}", r#"{"a.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#);
    let bytes = safetensors_of(&header, 4);
    assert_eq!(bytes[0], 0x80);
    file_fails(&folder.bytes("other", &bytes), Status::WeightsFormat, "`a.weight`");
}

/// Sizes that would only make memory go are refused before any is taken.
#[test]
fn pictures_of_absurd_size() {
    let folder = Folder::new();
    let mut writer = Writer::new(&TINY, 1);
    writer.tensor("visual.conv1.weight").shape = vec![128, 3, 200, 200];
    let path = folder.path("huge.bin");
    writer.torch_save(&path, "");
    file_fails(&path, Status::Unsupported, "at most 1024");
    let none = folder.tampered(|w| w.tensors.retain(|t| !t.name.contains("resblocks")));
    file_fails(&none, Status::WeightsMismatch, "resblocks.0.ln_1.weight` is missing");
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
