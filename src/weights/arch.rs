//! A model's hyper-parameters, read from the shapes of its weights as CLIP's own `build_model` does.

use super::names::Part;
use super::{Checkpoint, TowerConfig};
use crate::error::{Error, Result};
use crate::options::{Head, Modality, ModelName};

/// Columns of an attention head in every CLIP but ViT-H, whose vision tower is told by its width.
const HEAD_WIDTH: usize = 64;
const HUGE: usize = 1280;
const HUGE_HEAD_WIDTH: usize = 80;

/// Larger pictures than any CLIP takes would only be a way to have memory allocated.
const MAX_RESOLUTION: usize = 1024;

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
    /// CLIP4Clip's `linear_patch=3d`: a patch is seen together with those of the frames before and after.
    pub three_d: bool,
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
        // A file with one tower alone is half of a model; that the other is wanted by default is no reason to refuse it.
        let wanted = |part, other, asked: bool| {
            asked && (modality != Modality::Both || weights.has_part(part) || !weights.has_part(other))
        };
        let (with_vision, with_text) =
            (wanted(Part::Vision, Part::Text, modality.video()), wanted(Part::Text, Part::Vision, modality.text()));
        let vision = with_vision.then(|| VisionArch::infer(weights)).transpose()?;
        let text = with_text.then(|| TextArch::infer(weights)).transpose()?;
        let embed = match text {
            Some(_) => dim(weights, "text_projection", 2, 1)?,
            None => dim(weights, "visual.proj", 2, 1)?,
        };
        weights.discard(|part| match part {
            Part::Text => !with_text,
            Part::Vision => !with_vision,
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

    /// Whether frames are embedded together with their neighbours.
    pub fn three_d(&self) -> bool {
        self.vision.as_ref().is_some_and(|v| v.three_d)
    }

    fn check_name(&self, name: ModelName) -> Result<()> {
        let (text, patch) = match name {
            ModelName::ClipVitB32 => ("clip_vit_b32", 32),
            ModelName::ClipVitB16 => ("clip_vit_b16", 16),
        };
        let vision =
            VisionArch { width: 768, layers: 12, heads: 12, patch, grid: 224 / patch, three_d: self.three_d() };
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
        let three_d = weights.contains("visual.conv2.weight");
        let (conv, rank) = if three_d { ("visual.conv2.weight", 5) } else { ("visual.conv1.weight", 4) };
        let width = dim(weights, conv, rank, 0)?;
        let patch = dim(weights, conv, rank, rank - 1)?;
        let rows = dim(weights, "visual.positional_embedding", 2, 0)?;
        let grid = rows.saturating_sub(1).isqrt();
        if grid == 0 || grid * grid + 1 != rows || patch == 0 {
            return Err(Error::weights_mismatch(format_args!(
                "`{}` has {rows} rows, expected a square number of patches and one",
                weights.name_of("visual.positional_embedding")
            )));
        }
        if patch.saturating_mul(grid) > MAX_RESOLUTION {
            return Err(Error::unsupported(format_args!(
                "weights: pictures of {patch} x {grid} pixels a side, this version takes at most {MAX_RESOLUTION}"
            )));
        }
        Ok(VisionArch {
            width,
            layers: some_layers(weights, "visual.transformer.resblocks.")?,
            heads: heads(weights, "visual.conv1.weight", width, weights.vision_config())?,
            patch,
            grid,
            three_d,
        })
    }
}

impl TextArch {
    fn infer(weights: &Checkpoint) -> Result<Self> {
        let width = dim(weights, "ln_final.weight", 1, 0)?;
        Ok(TextArch {
            width,
            layers: some_layers(weights, "transformer.resblocks.")?,
            heads: heads(weights, "ln_final.weight", width, weights.text_config())?,
            context: dim(weights, "positional_embedding", 2, 0)?,
            vocab: dim(weights, "token_embedding.weight", 2, 0)?,
        })
    }
}

/// Which temporal head the file carries. `cross.*` is written by every training run that was not told to be loose, and
/// `frame_position_embeddings` by the LSTM's too, so neither decides alone.
pub(super) fn head(weights: &Checkpoint) -> Head {
    let carried = |head: Head| head.tensors().is_some_and(|prefix| weights.has_prefix(prefix));
    [Head::SeqTransf, Head::SeqLstm, Head::TightTransf].into_iter().find(|&head| carried(head)).unwrap_or(Head::Mean)
}

/// Dimension `axis` of a tensor that must have `rank` of them.
pub(super) fn dim(weights: &Checkpoint, name: &str, rank: usize, axis: usize) -> Result<usize> {
    let shape = weights.shape(name)?;
    if shape.len() == rank && !shape.contains(&0) {
        return Ok(shape[axis]);
    }
    Err(Error::weights_mismatch(format_args!(
        "`{}` has shape {shape:?}, expected {rank} dimensions",
        weights.name_of(name)
    )))
}

fn heads(weights: &Checkpoint, name: &str, width: usize, config: TowerConfig) -> Result<usize> {
    let name = weights.name_of(name);
    let usual = if width == HUGE && name.contains("conv1") { HUGE_HEAD_WIDTH } else { HEAD_WIDTH };
    let head_width = config.head_width.filter(|&w| w > 0).unwrap_or(usual);
    match config.heads {
        None if width.is_multiple_of(head_width) => Ok(width / head_width),
        None => Err(Error::weights_mismatch(format_args!(
            "`{name}` makes the model {width} wide, expected a multiple of {head_width}"
        ))),
        Some(heads) if heads > 0 && width.is_multiple_of(heads) => Ok(heads),
        Some(heads) => Err(Error::weights_mismatch(format_args!(
            "`{name}` makes the model {width} wide, which the {heads} attention heads of config.json cannot share"
        ))),
    }
}

/// One more than the highest block number; a gap below it is found when that block is taken.
pub(super) fn layers(weights: &Checkpoint, canonical: &str) -> usize {
    weights.block_numbers(canonical).max().map_or(0, |n| n.saturating_add(1))
}

/// The same for a tower, which has at least one.
fn some_layers(weights: &Checkpoint, canonical: &str) -> Result<usize> {
    match layers(weights, canonical) {
        0 => Err(Error::weights_mismatch(format_args!(
            "`{}` is missing",
            weights.name_of(&format!("{canonical}0.ln_1.weight"))
        ))),
        n => Ok(n),
    }
}
