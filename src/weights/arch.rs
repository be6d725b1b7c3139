//! A model's hyper-parameters, read from the shapes of its weights as CLIP's own `build_model` does.

use super::names::Part;
use super::{Checkpoint, HeadKeys};
use crate::error::{Error, Result};
use crate::options::{Modality, ModelName};

/// Attention heads of every CLIP are 64 wide.
const HEAD_WIDTH: usize = 64;

/// The vision tower's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisionArch {
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// Side of a square patch in pixels.
    pub patch: usize,
    /// Patches along one side.
    pub grid: usize,
}

impl VisionArch {
    /// Side of the square input image in pixels.
    pub fn resolution(&self) -> usize {
        self.patch * self.grid
    }
}

/// The text tower's sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextArch {
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// The longest sequence of ids.
    pub context: usize,
    pub vocab: usize,
}

/// Sizes of the towers that were loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arch {
    /// Floats in one embedding.
    pub embed: usize,
    pub vision: Option<VisionArch>,
    pub text: Option<TextArch>,
}

impl Arch {
    /// Reads the sizes of the towers that `modality` wants, and drops the other tower's tensors.
    ///
    /// # Errors
    /// `WeightsMismatch` when a tensor that tells a size is missing or odd, or the model is not `name`.
    pub fn infer(weights: &mut Checkpoint, modality: Modality, name: Option<ModelName>) -> Result<Arch> {
        let vision = modality.video().then(|| VisionArch::infer(weights)).transpose()?;
        let text = modality.text().then(|| TextArch::infer(weights)).transpose()?;
        let embed = match text {
            Some(_) => dim(weights, "text_projection", 2, 1)?,
            None => dim(weights, "visual.proj", 2, 1)?,
        };
        weights.discard(|part| match part {
            Part::Text => !modality.text(),
            Part::Vision => !modality.video(),
            Part::Head | Part::Shared => false,
        });
        let arch = Arch { embed, vision, text };
        match name {
            Some(name) => arch.check_name(name).map(|()| arch),
            None => Ok(arch),
        }
    }

    /// The name that model zoos give to this architecture.
    pub fn name(&self) -> &'static str {
        match &self.vision {
            Some(v) => match (v.width, v.layers, v.patch, v.resolution()) {
                (768, 12, 32, 224) => "clip_vit_b32",
                (768, 12, 16, 224) => "clip_vit_b16",
                (1024, 24, 14, 224) => "clip_vit_l14",
                (1024, 24, 14, 336) => "clip_vit_l14_336",
                _ => "custom",
            },
            None => "text only",
        }
    }

    fn check_name(&self, name: ModelName) -> Result<()> {
        let (text, patch) = match name {
            ModelName::ClipVitB32 => ("clip_vit_b32", 32),
            ModelName::ClipVitB16 => ("clip_vit_b16", 16),
        };
        let vision = VisionArch { width: 768, layers: 12, heads: 12, patch, grid: 224 / patch };
        let expected = TextArch { width: 512, layers: 12, heads: 8, context: 77, vocab: 49408 };
        let same = self.embed == 512
            && self.vision.as_ref().is_none_or(|v| *v == vision)
            && self.text.as_ref().is_none_or(|t| *t == expected);
        if same {
            return Ok(());
        }
        Err(Error::weights_mismatch(format_args!(
            "model_name is `{text}`, but the file holds {self}; pass NULL to take it as it is"
        )))
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (", self.name())?;
        if let Some(v) = &self.vision {
            write!(f, "vision {}x{}, {} px in patches of {}, ", v.layers, v.width, v.resolution(), v.patch)?;
        }
        if let Some(t) = &self.text {
            write!(f, "text {}x{}, context {}, ", t.layers, t.width, t.context)?;
        }
        write!(f, "embedding {})", self.embed)
    }
}

impl VisionArch {
    fn infer(weights: &Checkpoint) -> Result<Self> {
        if weights.contains("visual.conv2.weight") {
            return Err(Error::unsupported(
                "weights: `clip.visual.conv2.weight` makes this a model with 3d patches (linear_patch=3d), which this \
                 version does not compute; use a checkpoint trained with linear_patch=2d",
            ));
        }
        let conv = "visual.conv1.weight";
        let width = dim(weights, conv, 4, 0)?;
        let patch = dim(weights, conv, 4, 3)?;
        let rows = dim(weights, "visual.positional_embedding", 2, 0)?;
        let grid = rows.saturating_sub(1).isqrt();
        if grid == 0 || grid * grid + 1 != rows || patch == 0 {
            return Err(Error::weights_mismatch(format_args!(
                "`{}` has {rows} rows, expected a square number of patches and one",
                weights.name_of("visual.positional_embedding")
            )));
        }
        Ok(VisionArch {
            width,
            layers: layers(weights, "visual.transformer.resblocks."),
            heads: heads(weights, conv, width)?,
            patch,
            grid,
        })
    }
}

impl TextArch {
    fn infer(weights: &Checkpoint) -> Result<Self> {
        let width = dim(weights, "ln_final.weight", 1, 0)?;
        Ok(TextArch {
            width,
            layers: layers(weights, "transformer.resblocks."),
            heads: heads(weights, "ln_final.weight", width)?,
            context: dim(weights, "positional_embedding", 2, 0)?,
            vocab: dim(weights, "token_embedding.weight", 2, 0)?,
        })
    }
}

/// Which temporal head the file carries. `cross.*` is written by every training run that was not told to be loose, and
/// `frame_position_embeddings` by the LSTM's too, so neither decides alone.
pub(super) fn head(weights: &Checkpoint) -> HeadKeys {
    if weights.has_prefix("transformerClip.") {
        HeadKeys::SeqTransf
    } else if weights.has_prefix("lstm_visual.") {
        HeadKeys::SeqLstm
    } else if weights.has_prefix("cross.") {
        HeadKeys::TightTransf
    } else {
        HeadKeys::Mean
    }
}

/// Dimension `axis` of a tensor that must have `rank` of them.
fn dim(weights: &Checkpoint, name: &str, rank: usize, axis: usize) -> Result<usize> {
    let shape = weights.shape(name)?;
    if shape.len() == rank && !shape.contains(&0) {
        return Ok(shape[axis]);
    }
    Err(Error::weights_mismatch(format_args!(
        "`{}` has shape {shape:?}, expected {rank} dimensions",
        weights.name_of(name)
    )))
}

fn heads(weights: &Checkpoint, name: &str, width: usize) -> Result<usize> {
    if width.is_multiple_of(HEAD_WIDTH) {
        return Ok(width / HEAD_WIDTH);
    }
    Err(Error::weights_mismatch(format_args!(
        "`{}` makes the model {width} wide, expected a multiple of {HEAD_WIDTH}",
        weights.name_of(name)
    )))
}

/// One more than the highest block number; a gap below it is found when that block is taken.
fn layers(weights: &Checkpoint, canonical: &str) -> usize {
    weights.block_numbers(canonical).max().map_or(0, |n| n.saturating_add(1))
}
