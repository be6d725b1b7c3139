//! What a caller may choose, as validated, typed values. The C structs are turned into these in `ffi`.

use std::path::PathBuf;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x · σ(1.702 x)`
    #[default]
    QuickGelu,
    /// `x · Φ(x)`
    Gelu,
}

/// How frame embeddings become a video embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// CLIP4Clip's parameter-free head: the unit vector along the mean of the frames' unit vectors.
    Mean,
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
    /// A checkpoint file.
    pub weights_path: PathBuf,
    pub modality: Modality,
    pub model_name: Option<ModelName>,
    /// `None`: taken from the weights.
    pub head: Option<Head>,
    pub activation: Activation,
    /// Token ids a text is cut to, start and end token counted; at least 2, at most the model's context.
    pub max_words: usize,
    /// Skip the last L2 normalisation.
    pub raw_output: bool,
    /// A text with more than `max_words` ids is an error instead of being cut.
    pub strict_text: bool,
    /// Threads of one forward pass; `None`: one per core that the process may use.
    pub num_threads: Option<usize>,
    /// The most images in one forward pass; `None`: chosen.
    pub max_batch: Option<usize>,
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
            activation: Activation::default(),
            max_words: Self::DEFAULT_MAX_WORDS,
            raw_output: false,
            strict_text: false,
            num_threads: None,
            max_batch: None,
        }
    }
}

/// How a video file is sampled and decoded.
#[derive(Clone, Debug)]
pub struct VideoOptions {
    /// How many frames make the embedding, 1 to [`VideoOptions::MAX_FRAMES`].
    pub num_frames: usize,
    /// A corrupt frame is an error; otherwise what the decoder conceals is used and what it drops is not counted.
    pub strict_decode: bool,
    /// Threads of the decoder; `None`: chosen.
    pub decode_threads: Option<usize>,
    /// `None`: the best video stream.
    pub stream_index: Option<usize>,
    /// The most pixels that one frame may have.
    pub max_pixels: u64,
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
            strict_decode: false,
            decode_threads: None,
            stream_index: None,
            max_pixels: Self::DEFAULT_MAX_PIXELS,
        }
    }
}
