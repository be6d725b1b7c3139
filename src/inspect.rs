//! What a checkpoint holds, for people who have a file and no documentation of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clip::{Clip, LoadOptions};
use crate::error::Result;
use crate::options::{Activation, Head};
use crate::weights::{Arch, Checkpoint};

/// A checkpoint, and everything that would keep it from being loaded.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Container and naming, such as `torch.save/clip4clip`.
    pub weights: String,
    pub arch: Arch,
    /// The head that is used by default.
    pub head: Head,
    /// The activation that is used by default.
    pub activation: Activation,
    /// Whether a configuration file beside the weights states the activation.
    pub activation_is_stated: bool,
    pub logit_scale: Option<f32>,
    /// The model folder's tokenizer.
    pub tokenizer: Option<PathBuf>,
    /// Tensors and values of each element type.
    pub dtypes: BTreeMap<String, (usize, usize)>,
    /// Tensors that are missing, mis-shaped or superfluous, each in a sentence.
    pub problems: Vec<String>,
}

/// Reads a checkpoint whole and tells what it is.
///
/// # Errors
/// As [`crate::Model::load`], for a file that is no checkpoint, or one that does not even tell its architecture.
pub fn inspect(path: &Path) -> Result<Inspection> {
    let mut weights = Checkpoint::open(path)?;
    weights.collect_problems();
    let stated = weights.vision_config().activation.or(weights.text_config().activation);
    let (name, dtypes, tokenizer) = (weights.describe(), weights.dtypes(), weights.tokenizer());
    let clip = Clip::load(weights, LoadOptions::default())?;
    Ok(Inspection {
        weights: name,
        arch: clip.arch,
        head: clip.head,
        activation: clip.activation,
        activation_is_stated: stated.is_some(),
        logit_scale: clip.logit_scale,
        tokenizer,
        dtypes,
        problems: clip.problems,
    })
}
