//! Seeded random checkpoints of full structure: every value is a hash of its tensor's name and its place, so that any
//! program in any language makes the same file.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;

use half::f16;

/// The sizes of a model.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub vision_width: usize,
    pub vision_layers: usize,
    pub patch: usize,
    pub grid: usize,
    pub text_width: usize,
    pub text_layers: usize,
    pub embed: usize,
    pub context: usize,
    pub vocab: usize,
}

/// Small enough to load in milliseconds, with widths that differ so that a missing transpose shows.
pub const TINY: Sizes = Sizes {
    vision_width: 128,
    vision_layers: 2,
    patch: 32,
    grid: 7,
    text_width: 64,
    text_layers: 3,
    embed: 96,
    context: 77,
    vocab: 49408,
};

/// As small as a model can be, for tests that damage thousands of them.
pub const MICRO: Sizes = Sizes {
    vision_width: 64,
    vision_layers: 1,
    patch: 4,
    grid: 2,
    text_width: 64,
    text_layers: 1,
    embed: 64,
    context: 4,
    vocab: 8,
};

/// For the heads, which are as wide as the text tower.
pub const SMALL: Sizes = Sizes { vision_width: 192, text_width: 128, embed: 128, ..TINY };

/// ViT-B/32.
pub const B32: Sizes = Sizes {
    vision_width: 768,
    vision_layers: 12,
    patch: 32,
    grid: 7,
    text_width: 512,
    text_layers: 12,
    embed: 512,
    context: 77,
    vocab: 49408,
};

/// A tensor: `mean` plus values of standard deviation `std`, uniformly distributed.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub mean: f32,
    pub std: f64,
    /// Stored in half precision by CLIP4Clip's training.
    pub half: bool,
}

/// How the names of the heads' tensors begin; they have no `clip.` in front.
const HEADS: [&str; 5] = ["frame_position_embeddings", "transformerClip", "lstm_visual", "cross", "similarity_dense"];

impl Tensor {
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn values(&self, seed: u64) -> Vec<f32> {
        let hash =
            self.name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let start = mix(seed ^ hash);
        let scale = (self.std * 3f64.sqrt()) as f32;
        let value = |i: usize| {
            let bits = mix(start.wrapping_add(i as u64)) >> 40;
            (bits as f32 * 2f32.powi(-23) - 1.0) * scale + self.mean
        };
        (0..self.numel()).map(value).collect()
    }
}

/// SplitMix64.
pub fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// All tensors of a model under OpenAI's names, at about the scale of a freshly initialised CLIP.
pub fn tensors(sizes: &Sizes) -> Vec<Tensor> {
    let mut list = List(Vec::new());
    let (vw, tw) = (sizes.vision_width, sizes.text_width);
    let inverse_root = |n: usize| 1.0 / (n as f64).sqrt();
    list.add("positional_embedding", &[sizes.context, tw], 0.0, 0.01, false);
    list.add("text_projection", &[tw, sizes.embed], 0.0, inverse_root(tw), true);
    list.add("logit_scale", &[], 4.6052, 0.0, false);
    list.add("visual.class_embedding", &[vw], 0.0, inverse_root(vw), false);
    list.add("visual.positional_embedding", &[sizes.grid * sizes.grid + 1, vw], 0.0, inverse_root(vw), false);
    list.add("visual.proj", &[vw, sizes.embed], 0.0, inverse_root(vw), true);
    list.add("visual.conv1.weight", &[vw, 3, sizes.patch, sizes.patch], 0.0, 0.02, true);
    list.layer_norm("visual.ln_pre", vw);
    list.layer_norm("visual.ln_post", vw);
    list.layer_norm("ln_final", tw);
    list.blocks("visual.transformer.resblocks", vw, sizes.vision_layers);
    list.blocks("transformer.resblocks", tw, sizes.text_layers);
    list.add("token_embedding.weight", &[sizes.vocab, tw], 0.0, 0.02, false);
    list.0
}

/// The tensors of a head for a model of these sizes; "3d" for the patches that see three frames.
pub fn head(sizes: &Sizes, head: &str) -> Vec<Tensor> {
    let mut list = List(Vec::new());
    let width = sizes.embed;
    let inverse_root = 1.0 / (width as f64).sqrt();
    if head == "seqTransf" || head == "seqLSTM" {
        list.add("frame_position_embeddings.weight", &[77, width], 0.0, 0.3, false);
    }
    match head {
        "seqTransf" => list.blocks("transformerClip.resblocks", width, 4),
        "seqLSTM" => {
            list.add("lstm_visual.weight_ih_l0", &[4 * width, width], 0.0, inverse_root, false);
            list.add("lstm_visual.weight_hh_l0", &[4 * width, width], 0.0, inverse_root, false);
            list.add("lstm_visual.bias_ih_l0", &[4 * width], 0.0, 0.1, false);
            list.add("lstm_visual.bias_hh_l0", &[4 * width], 0.0, 0.1, false);
        }
        "tightTransf" => {
            list.add("cross.embeddings.position_embeddings.weight", &[77, width], 0.0, 0.3, false);
            list.blocks("cross.transformer.resblocks", width, 4);
            list.layer_norm("cross.pooler.ln_pool", width);
            list.add("cross.pooler.dense.weight", &[width, width], 0.0, inverse_root, false);
            list.add("cross.pooler.dense.bias", &[width], 0.0, 0.1, false);
            list.add("similarity_dense.weight", &[1, width], 0.0, inverse_root, false);
            list.add("similarity_dense.bias", &[1], 0.0, 0.1, false);
        }
        "3d" => {
            let shape = [sizes.vision_width, 3, 3, sizes.patch, sizes.patch];
            list.add("visual.conv2.weight", &shape, 0.0, 0.012, true);
        }
        other => assert_eq!(other, "meanP"),
    }
    // Heads are trained and stored in single precision.
    list.0.iter_mut().for_each(|t| t.half &= t.name.starts_with("visual."));
    list.0
}

struct List(Vec<Tensor>);

impl List {
    fn add(&mut self, name: &str, shape: &[usize], mean: f32, std: f64, half: bool) {
        self.0.push(Tensor { name: name.into(), shape: shape.into(), mean, std, half });
    }

    fn layer_norm(&mut self, name: &str, width: usize) {
        self.add(&format!("{name}.weight"), &[width], 1.0, 0.2, false);
        self.add(&format!("{name}.bias"), &[width], 0.0, 0.1, false);
    }

    fn blocks(&mut self, prefix: &str, width: usize, layers: usize) {
        let inner = 1.0 / (width as f64).sqrt();
        let outer = 1.0 / ((width * 2 * layers) as f64).sqrt();
        let hidden = 1.0 / ((2 * width) as f64).sqrt();
        for layer in 0..layers {
            let block = format!("{prefix}.{layer}");
            self.add(&format!("{block}.attn.in_proj_weight"), &[3 * width, width], 0.0, inner, true);
            self.add(&format!("{block}.attn.in_proj_bias"), &[3 * width], 0.0, 0.1, true);
            self.add(&format!("{block}.attn.out_proj.weight"), &[width, width], 0.0, outer, true);
            self.add(&format!("{block}.attn.out_proj.bias"), &[width], 0.0, 0.05, true);
            self.add(&format!("{block}.mlp.c_fc.weight"), &[4 * width, width], 0.0, hidden, true);
            self.add(&format!("{block}.mlp.c_fc.bias"), &[4 * width], 0.0, 0.1, true);
            self.add(&format!("{block}.mlp.c_proj.weight"), &[width, 4 * width], 0.0, outer, true);
            self.add(&format!("{block}.mlp.c_proj.bias"), &[width], 0.0, 0.05, true);
            self.layer_norm(&format!("{block}.ln_1"), width);
            self.layer_norm(&format!("{block}.ln_2"), width);
        }
    }
}

/// The weights as CLIP4Clip stores them: those marked `half` rounded to half precision.
pub fn bytes(tensor: &Tensor, seed: u64) -> Vec<u8> {
    let values = tensor.values(seed);
    if tensor.half {
        values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect()
    } else {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}

/// A writer of checkpoints. The fields are what tests tamper with.
pub struct Writer {
    pub tensors: Vec<Tensor>,
    pub seed: u64,
}

impl Writer {
    pub fn new(sizes: &Sizes, seed: u64) -> Self {
        Writer { tensors: tensors(sizes), seed }
    }

    pub fn with_head(sizes: &Sizes, seed: u64, head: &str) -> Self {
        let mut writer = Writer::new(sizes, seed);
        writer.tensors.extend(self::head(sizes, head));
        writer
    }

    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|t| t.name == name).unwrap()
    }

    /// What CLIP4Clip's training writes: `torch.save` of a state dict with every name behind `clip.`; `wrapper` goes in
    /// front of that.
    pub fn torch_save(&self, path: &Path, wrapper: &str) {
        self.torch_save_under("archive", path, wrapper);
    }

    /// PyTorch names the root of the archive after the file.
    pub fn torch_save_under(&self, root: &str, path: &Path, wrapper: &str) {
        let mut zip = zip::ZipWriter::new(BufWriter::new(File::create(path).unwrap()));
        let stored = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .with_alignment(64);
        let mut member = |name: String, bytes: &[u8]| {
            zip.start_file(name, stored).unwrap();
            zip.write_all(bytes).unwrap();
        };
        member(format!("{root}/data.pkl"), &self.pickle(wrapper));
        member(format!("{root}/byteorder"), b"little");
        for (i, tensor) in self.tensors.iter().enumerate() {
            member(format!("{root}/data/{i}"), &bytes(tensor, self.seed));
        }
        member(format!("{root}/version"), b"3\n");
        zip.finish().unwrap();
    }

    /// The same in the container of PyTorch before 1.6.
    pub fn legacy_save(&self, path: &Path) {
        let mut file = BufWriter::new(File::create(path).unwrap());
        file.write_all(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.").unwrap();
        file.write_all(b"\x80\x02}X\x0d\0\0\0little_endian\x88s.").unwrap();
        file.write_all(&self.pickle("")).unwrap();
        let keys: Vec<u8> = (0..self.tensors.len()).flat_map(|i| text(&i.to_string())).collect();
        file.write_all(&[&b"\x80\x02]("[..], &keys, b"e."].concat()).unwrap();
        for tensor in &self.tensors {
            file.write_all(&(tensor.numel() as u64).to_le_bytes()).unwrap();
            file.write_all(&bytes(tensor, self.seed)).unwrap();
        }
        file.flush().unwrap();
    }

    /// A TorchScript archive as OpenAI published its models: modules are objects, and there is code beside them.
    pub fn torch_script(&self, path: &Path) {
        let mut zip = zip::ZipWriter::new(BufWriter::new(File::create(path).unwrap()));
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let mut member = |name: String, bytes: &[u8]| {
            zip.start_file(name, stored).unwrap();
            zip.write_all(bytes).unwrap();
        };
        for (i, tensor) in self.tensors.iter().enumerate() {
            member(format!("ViT/data/{i}"), &bytes(tensor, self.seed));
        }
        member("ViT/code/__torch__.py".into(), b"class Node(Module):\n  pass\n");
        let mut program = b"\x80\x02".to_vec();
        let all: Vec<(&str, usize)> = self.tensors.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
        self.module(&all, &mut program);
        program.push(b'.');
        member("ViT/data.pkl".into(), &program);
        member("ViT/constants.pkl".into(), b"\x80\x02).");
        zip.finish().unwrap();
    }

    /// An object whose state holds the tensors by their first name, and an object for each first part of longer ones.
    fn module(&self, tensors: &[(&str, usize)], p: &mut Vec<u8>) {
        p.extend(b"c__torch__.Node\nNode\n)\x81}(");
        p.extend([&text("training")[..], b"\x89", &text("_is_full_backward_hook"), b"N"].concat());
        let mut inner: std::collections::BTreeMap<&str, Vec<(&str, usize)>> = Default::default();
        for &(name, i) in tensors {
            match name.split_once('.') {
                Some((module, rest)) => inner.entry(module).or_default().push((rest, i)),
                None => {
                    p.extend(text(name));
                    self.rebuild(i, p);
                }
            }
        }
        for (name, tensors) in inner {
            p.extend(text(name));
            self.module(&tensors, p);
        }
        p.extend(b"ub");
    }

    fn pickle(&self, wrapper: &str) -> Vec<u8> {
        let mut p = b"\x80\x02ccollections\nOrderedDict\n)R(".to_vec();
        for (i, tensor) in self.tensors.iter().enumerate() {
            let clip = if HEADS.iter().any(|h| tensor.name.starts_with(h)) { "" } else { "clip." };
            p.extend(text(&format!("{wrapper}{clip}{}", tensor.name)));
            self.rebuild(i, &mut p);
        }
        p.extend(b"u.");
        p
    }

    /// The call that makes tensor `i`.
    fn rebuild(&self, i: usize, p: &mut Vec<u8>) {
        let tensor = &self.tensors[i];
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        p.extend(text("storage"));
        p.extend(format!("ctorch\n{}Storage\n", if tensor.half { "Half" } else { "Float" }).bytes());
        p.extend([text(&i.to_string()), text("cpu"), int(tensor.numel())].concat());
        p.extend(b"tQ");
        p.extend(int(0));
        p.extend(b"(");
        tensor.shape.iter().for_each(|&d| p.extend(int(d)));
        p.extend(b"t(");
        for axis in 0..tensor.shape.len() {
            p.extend(int(tensor.shape[axis + 1..].iter().product()));
        }
        p.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }

    /// safetensors under OpenAI's names, rounded as CLIP4Clip rounds.
    pub fn safetensors(&self, path: &Path) {
        let tensors = self.tensors.iter().map(|t| (t.name.clone(), t.clone(), bytes(t, self.seed)));
        write_safetensors(path, tensors.collect());
    }

    /// safetensors as transformers' CLIPModel names and shapes them.
    pub fn hugging_face(&self, path: &Path) {
        let mut out = Vec::new();
        for tensor in &self.tensors {
            let data = bytes(tensor, self.seed);
            for (name, shape, data) in to_hugging_face(tensor, data) {
                out.push((name, Tensor { shape, ..tensor.clone() }, data));
            }
        }
        write_safetensors(path, out);
    }
}

/// BINUNICODE
fn text(s: &str) -> Vec<u8> {
    [&b"X"[..], &(s.len() as u32).to_le_bytes(), s.as_bytes()].concat()
}

/// BININT
fn int(n: usize) -> Vec<u8> {
    [&b"J"[..], &(n as i32).to_le_bytes()].concat()
}

fn to_hugging_face(tensor: &Tensor, data: Vec<u8>) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let size = if tensor.half { 2 } else { 4 };
    let (tower, rest) = match tensor.name.strip_prefix("visual.") {
        Some(rest) => ("vision_model", rest),
        None => ("text_model", tensor.name.as_str()),
    };
    let embeddings = format!("{tower}.embeddings");
    let renamed = match rest {
        "proj" | "text_projection" => {
            let (rows, columns) = (tensor.shape[0], tensor.shape[1]);
            let at = |r: usize, c: usize| &data[(r * columns + c) * size..][..size];
            let transposed = (0..columns).flat_map(|c| (0..rows).flat_map(move |r| at(r, c))).copied().collect();
            let name = if rest == "proj" { "visual_projection.weight" } else { "text_projection.weight" };
            return vec![(name.into(), vec![columns, rows], transposed)];
        }
        "logit_scale" => "logit_scale".into(),
        "positional_embedding" => format!("{embeddings}.position_embedding.weight"),
        "class_embedding" => format!("{embeddings}.class_embedding"),
        "conv1.weight" => format!("{embeddings}.patch_embedding.weight"),
        "token_embedding.weight" => format!("{embeddings}.token_embedding.weight"),
        other => {
            let renamed = other
                .replace("ln_pre", "pre_layrnorm")
                .replace("ln_post", "post_layernorm")
                .replace("ln_final", "final_layer_norm")
                .replace("transformer.resblocks", "encoder.layers")
                .replace("attn.out_proj", "self_attn.out_proj")
                .replace("ln_", "layer_norm")
                .replace("mlp.c_fc", "mlp.fc1")
                .replace("mlp.c_proj", "mlp.fc2");
            format!("{tower}.{renamed}")
        }
    };
    match renamed.split_once("attn.in_proj_") {
        None => vec![(renamed, tensor.shape.clone(), data)],
        Some((layer, kind)) => {
            let mut shape = tensor.shape.clone();
            shape[0] /= 3;
            let thirds = data.chunks_exact(data.len() / 3).zip(["q", "k", "v"]);
            thirds
                .map(|(part, p)| (format!("{layer}self_attn.{p}_proj.{kind}"), shape.clone(), part.to_vec()))
                .collect()
        }
    }
}

pub fn write_safetensors(path: &Path, tensors: Vec<(String, Tensor, Vec<u8>)>) {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, tensor, data) in &tensors {
        let dtype = if tensor.half { "F16" } else { "F32" };
        let entry = serde_json::json!({"dtype": dtype, "shape": tensor.shape, "data_offsets": [at, at + data.len()]});
        header.insert(name.clone(), entry);
        at += data.len();
    }
    let mut json = serde_json::to_vec(&header).unwrap();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&json).unwrap();
    for (_, _, data) in &tensors {
        file.write_all(data).unwrap();
    }
    file.flush().unwrap();
    assert_eq!(file.stream_position().unwrap(), (8 + json.len() + at) as u64);
}
