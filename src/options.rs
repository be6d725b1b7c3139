//! What a caller may choose, as validated, typed values. The C structs are turned into these in `ffi`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Which towers are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modality {
    #[default]
    Both,
    Text,
    Video,
}

impl Modality {
    pub fn text(self) -> bool {
        self != Modality::Video
    }

    pub fn video(self) -> bool {
        self != Modality::Text
    }
}

/// The MLP's non-linearity. It cannot be read from the weights: OpenAI's models and their descendants use
/// QuickGELU, LAION's the exact (erf) GELU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · σ(1.702 x)`
    QuickGelu,
    /// `x · Φ(x)`
    Gelu,
}

/// How frame embeddings become a video's, or are scored against a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// CLIP4Clip's parameter-free meanP: the unit vector along the mean of the frames' unit vectors.
    Mean,
    /// A transformer over the frames, then as `Mean`.
    SeqTransf,
    /// An LSTM over the frames, then as `Mean`.
    SeqLstm,
    /// A transformer over a text and the frames, which gives a score and no vector.
    TightTransf,
}

impl Head {
    /// CLIP4Clip's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Head::Mean => "meanP",
            Head::SeqTransf => "seqTransf",
            Head::SeqLstm => "seqLSTM",
            Head::TightTransf => "tightTransf",
        }
    }

    /// How the names of its own tensors begin; None for the head that has none.
    pub(crate) fn tensors(self) -> Option<&'static str> {
        match self {
            Head::Mean => None,
            Head::SeqTransf => Some("transformerClip."),
            Head::SeqLstm => Some("lstm_visual."),
            Head::TightTransf => Some("cross."),
        }
    }
}

/// The arithmetic of both towers. Heads, normalisations and sums are always in single precision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    #[default]
    F32,
    /// Weights and the activations of matrix products in bfloat16.
    Bf16,
    /// Weights and activations in half precision, for GPUs: what the original runs there.
    F16,
    /// Weights and the activations of the blocks' matrix products in eight bits, with a step for each output and for each
    /// token; bfloat16 in the last product of each block and where pixels become tokens.
    Int8,
}

/// Which devices a model may compute on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// The first GPU where CUDA can be used, else the CPU.
    #[default]
    Auto,
    Cpu,
    /// GPUs by CUDA's numbers, each once.
    Cuda(Vec<usize>),
    /// All that CUDA has.
    EveryCuda,
}

impl Devices {
    /// `auto`, `cpu`, `cuda` (which is `cuda:0`), `cuda:1`, `cuda:0,cuda:1` or `cuda:*`.
    pub fn parse(names: &str) -> Option<Self> {
        match names {
            "auto" => return Some(Devices::Auto),
            "cpu" => return Some(Devices::Cpu),
            "cuda:*" => return Some(Devices::EveryCuda),
            _ => {}
        }
        let mut numbers = Vec::new();
        for name in names.split(',') {
            let number = match name.trim().strip_prefix("cuda")? {
                "" => 0,
                // Not `cuda:+1`, which would parse as a number.
                rest => rest.strip_prefix(':').filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?,
            };
            if numbers.contains(&number) {
                return None;
            }
            numbers.push(number);
        }
        Some(Devices::Cuda(numbers))
    }
}

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    #[default]
    Cpu,
    /// By CUDA's number.
    Cuda(usize),
}

impl Device {
    /// Several, as they are asked for: `cuda:0,cuda:1`.
    pub fn names(devices: &[Device]) -> String {
        devices.iter().map(Device::to_string).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// Model names with a fixed architecture; `None` in [`Options::model_name`] takes whatever the weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelName {
    ClipVitB32,
    ClipVitB16,
}

impl ModelName {
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "clip_vit_b32" => Some(ModelName::ClipVitB32),
            "clip_vit_b16" => Some(ModelName::ClipVitB16),
            _ => None,
        }
    }
}

/// What to load and how to run it.
#[derive(Clone, Debug)]
pub struct Options {
    /// A checkpoint file, an index of shards, or a model folder.
    pub weights_path: PathBuf,
    pub modality: Modality,
    pub model_name: Option<ModelName>,
    /// `None`: taken from the weights.
    pub head: Option<Head>,
    /// `None`: what a configuration file beside the weights says, else QuickGELU.
    pub activation: Option<Activation>,
    pub devices: Devices,
    /// `None`: F16 on a GPU; BF16 on a CPU that has instructions for it, else F32.
    pub precision: Option<Precision>,
    /// A `tokenizer.json`; `None`: the one in a Hugging Face model folder, else CLIP's own, built in.
    pub tokenizer_path: Option<PathBuf>,
    /// Token ids a text is cut to, start and end token counted; at most the model's context.
    pub max_words: usize,
    /// Skip the last L2 normalisation.
    pub raw_output: bool,
    /// A text with more than `max_words` ids is an error instead of being cut.
    pub strict_text: bool,
    /// Threads of one forward pass; `None`: one per core that the process may use.
    pub num_threads: Option<usize>,
    /// The most images in one forward pass; `None`: chosen.
    pub max_batch: Option<usize>,
    /// On GPUs: record the kernels of small passes and replay them, instead of launching each.
    pub cuda_graphs: bool,
    /// How long texts or images that do not fill a forward pass wait for others to join them.
    pub max_batch_delay: Duration,
}

impl Options {
    /// The operator's cut: 32 ids with start and end token.
    pub const DEFAULT_MAX_WORDS: usize = 32;

    /// The defaults, for the checkpoint at `weights_path`.
    pub fn new(weights_path: impl Into<PathBuf>) -> Self {
        Options {
            weights_path: weights_path.into(),
            modality: Modality::default(),
            model_name: None,
            head: None,
            activation: None,
            devices: Devices::default(),
            precision: None,
            tokenizer_path: None,
            max_words: Self::DEFAULT_MAX_WORDS,
            raw_output: false,
            strict_text: false,
            num_threads: None,
            max_batch: None,
            cuda_graphs: true,
            max_batch_delay: Duration::ZERO,
        }
    }
}

/// Which frames stand for a video.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Sampling {
    /// `num_frames` of all frames, evenly from the first to the last as the operator's `uniform_temporal_subsample` does.
    /// Short videos repeat frames.
    #[default]
    Uniform,
    /// The key frames: those at which decoding can begin. All of them, or `num_frames` taken from them evenly.
    KeyFrames,
    /// The frames that are shown at 0, 1/fps, 2/fps … seconds; all of them, or `num_frames` taken from them evenly.
    Fps(f64),
}

/// How frames are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seek {
    /// The very frames that a full decode would pick.
    #[default]
    Exact,
    /// By the duration and the frame rate that the container states; only what is needed is read.
    Approximate,
}

/// How decoded pictures become RGB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Color {
    /// By the matrix and range that the stream is tagged with, BT.601 limited where it is not.
    #[default]
    Tagged,
    /// As PyAV did in the operator's day: BT.601 whatever the tags say, limited range unless the pixel format itself is one
    /// of full range (`yuvj420p` and its like).
    Operator,
}

/// What decodes instead of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HwAccel {
    /// NVDEC of the GPU with this number of CUDA's, through FFmpeg.
    Cuda(usize),
}

/// How a video is sampled and decoded.
#[derive(Clone, Debug)]
pub struct VideoOptions {
    /// How many frames make the embedding, 1 to [`VideoOptions::MAX_FRAMES`].
    pub num_frames: usize,
    pub sampling: Sampling,
    pub seek: Seek,
    /// Only frames shown from here on count, in microseconds from the first frame.
    pub start_us: i64,
    /// Only frames shown before this count; `None`: to the end.
    pub end_us: Option<i64>,
    pub color: Color,
    /// Turns and mirrors pictures as the container asks players to; the operator does not.
    pub apply_rotation: bool,
    /// Opens http, https, rtsp and hls URLs, too.
    pub allow_network: bool,
    /// Damage in what the wanted frames need is an error; otherwise what the decoder conceals is used and what it drops is
    /// not counted.
    pub strict_decode: bool,
    /// Threads that decode; `None`: one per core that the process may use.
    pub decode_threads: Option<usize>,
    /// `None`: the best video stream.
    pub stream_index: Option<usize>,
    /// The most pixels that one frame may have.
    pub max_pixels: u64,
    /// What decodes; `None`: the CPU, which also decodes streams that the hardware does not, and all with `strict_decode`,
    /// since the hardware does not tell of damage.
    pub hwaccel: Option<HwAccel>,
}

impl VideoOptions {
    pub const DEFAULT_NUM_FRAMES: usize = 12;
    pub const MAX_FRAMES: usize = 4096;
    pub const DEFAULT_MAX_PIXELS: u64 = 8192 * 8192;
}

impl Default for VideoOptions {
    fn default() -> Self {
        VideoOptions {
            num_frames: Self::DEFAULT_NUM_FRAMES,
            sampling: Sampling::default(),
            seek: Seek::default(),
            start_us: 0,
            end_us: None,
            color: Color::default(),
            apply_rotation: false,
            allow_network: false,
            strict_decode: false,
            decode_threads: None,
            stream_index: None,
            max_pixels: Self::DEFAULT_MAX_PIXELS,
            hwaccel: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read() {
        assert_eq!(Devices::parse("auto"), Some(Devices::Auto));
        assert_eq!(Devices::parse("cuda"), Some(Devices::Cuda(vec![0])));
        assert_eq!(Devices::parse("cuda:3"), Some(Devices::Cuda(vec![3])));
        assert_eq!(Devices::parse("cuda:1, cuda:0"), Some(Devices::Cuda(vec![1, 0])));
        assert_eq!(Devices::parse("cuda:*"), Some(Devices::EveryCuda));
        let wrong = [
            "",
            "CUDA",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:x",
            "cuda:0,",
            "cuda:0,cuda:0",
            "cuda,cuda:0",
            "cpu,cuda",
            "gpu",
            "cuda:99999999999999999999",
            "cuda:0,cuda:*",
            "cuda 0",
            "mps",
        ];
        for name in wrong {
            assert_eq!(Devices::parse(name), None, "{name}");
        }
    }
}
