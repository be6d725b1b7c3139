//! The three ways in which checkpoints name CLIP's tensors, and OpenAI's names as the canonical ones.

use std::collections::BTreeMap;
use std::fmt;

use super::RawTensor;
use crate::error::{Error, Result};

/// Who named the tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// CLIP4Clip: OpenAI's names behind `clip.`, and the heads beside them.
    Clip4Clip,
    OpenAi,
    HuggingFace,
}

/// How names in the file relate to canonical ones.
#[derive(Clone, Debug)]
pub struct Layout {
    naming: Naming,
    /// What wrappers put in front of every name, such as DataParallel's `module.`.
    wrapper: String,
    /// OpenCLIP's CustomTextCLIP has the text tower behind `text.`.
    text_prefix: bool,
    /// Some OpenCLIP models have the text projection as a Linear's weight, which is transposed.
    linear_projection: bool,
}

/// What a tensor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Text,
    Vision,
    Head,
    /// `logit_scale`
    Shared,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.naming {
            Naming::Clip4Clip => "clip4clip",
            Naming::OpenAi => "openai",
            Naming::HuggingFace => "huggingface",
        })
    }
}

/// The tensors of a file that make up one canonical tensor, stacked along the first dimension.
pub(super) struct Source {
    pub names: Vec<String>,
    pub transposed: bool,
}

impl Source {
    fn one(name: String) -> Self {
        Source { names: vec![name], transposed: false }
    }
}

/// Whether OpenAI's name is one of the text tower's, which has no prefix of its own.
fn is_text(name: &str) -> bool {
    ["transformer.", "token_embedding.", "ln_final.", "positional_embedding", "text_projection"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

const HEADS: [&str; 5] =
    ["frame_position_embeddings.", "transformerClip.", "lstm_visual.", "cross.", "similarity_dense."];

/// Integers and masks that some exporters store beside the weights.
const BUFFERS: [&str; 7] = [
    "input_resolution",
    "context_length",
    "vocab_size",
    "attn_mask",
    "text.attn_mask",
    "text_model.embeddings.position_ids",
    "vision_model.embeddings.position_ids",
];

impl Layout {
    /// Where the canonical tensor `name` comes from.
    pub(super) fn source(&self, name: &str) -> Source {
        let head = HEADS.iter().any(|h| name.starts_with(h));
        match self.naming {
            Naming::Clip4Clip if !head => Source::one(format!("clip.{name}")),
            Naming::HuggingFace if !head => hugging_face(name),
            _ => self.open_clip(name),
        }
    }

    fn open_clip(&self, name: &str) -> Source {
        let prefix = if self.text_prefix && is_text(name) { "text." } else { "" };
        if self.linear_projection && name == "text_projection" {
            return Source { names: vec![format!("{prefix}text_projection.weight")], transposed: true };
        }
        Source::one(format!("{prefix}{name}"))
    }

    /// Whether a Hugging Face configuration goes with it.
    pub(super) fn is_hugging_face(&self) -> bool {
        self.naming == Naming::HuggingFace
    }

    /// A name as the file spells it.
    pub(super) fn in_file(&self, name: &str) -> String {
        format!("{}{name}", self.wrapper)
    }

    /// What the tensor `name` of the file belongs to; None for one that no CLIP has.
    pub(super) fn part(&self, name: &str) -> Option<Part> {
        if HEADS.iter().any(|h| name.starts_with(h)) {
            return Some(Part::Head);
        }
        if name == "logit_scale" || name == "clip.logit_scale" {
            return Some(Part::Shared);
        }
        let starts = |prefixes: &[&str]| prefixes.iter().any(|p| name.starts_with(p));
        let (vision, text) = match self.naming {
            Naming::HuggingFace => {
                (starts(&["vision_model.", "visual_projection."]), starts(&["text_model.", "text_projection."]))
            }
            Naming::Clip4Clip => {
                let name = name.strip_prefix("clip.")?;
                (name.starts_with("visual."), is_text(name))
            }
            Naming::OpenAi => (name.starts_with("visual."), is_text(name.strip_prefix("text.").unwrap_or(name))),
        };
        match (vision, text) {
            (true, _) => Some(Part::Vision),
            (_, true) => Some(Part::Text),
            _ => None,
        }
    }

    /// The prefix in the file of the blocks that canonically begin with `prefix`, such as `visual.transformer.resblocks.`.
    pub(super) fn blocks(&self, prefix: &str) -> String {
        let probe = format!("{prefix}0.ln_1.weight");
        let name = self.source(&probe).names.swap_remove(0);
        let end = name.find(".0.").map_or(name.len(), |i| i + 1);
        name[..end].to_string()
    }
}

/// Finds out how the file names its tensors; drops buffers, and what lies beside a wrapped state dict.
pub(super) fn canonicalise(tensors: Vec<(String, RawTensor)>) -> Result<(Layout, BTreeMap<String, RawTensor>)> {
    let tensors: BTreeMap<String, RawTensor> = tensors.into_iter().collect();
    let under = |prefix: &str| tensors.range(prefix.to_string()..).next().is_some_and(|(k, _)| k.starts_with(prefix));
    let wrappers = ["", "module.", "state_dict.", "state_dict.module.", "model.", "model.module."];
    let found = wrappers.into_iter().find_map(|wrapper| {
        let has = |names: &[&str]| names.iter().any(|n| under(&format!("{wrapper}{n}")));
        let naming = if has(&["clip.visual.", "clip.token_embedding."]) {
            Naming::Clip4Clip
        } else if has(&["text_model.", "vision_model."]) {
            Naming::HuggingFace
        } else if has(&["visual.", "token_embedding.", "text.token_embedding."]) {
            Naming::OpenAi
        } else {
            return None;
        };
        Some((naming, wrapper.to_string()))
    });
    let Some((naming, wrapper)) = found else {
        let example = tensors.keys().next().map_or("no tensor at all".to_string(), |k| format!("`{k}`"));
        return Err(Error::weights_format(format_args!("not a CLIP checkpoint: it holds {example}")));
    };
    let clip = if naming == Naming::Clip4Clip { "clip." } else { "" };
    if under(&format!("{wrapper}{clip}visual.layer1.")) {
        return Err(Error::weights_format("a CLIP with a ResNet; only Vision Transformers can be used"));
    }
    let open_ai = naming == Naming::OpenAi;
    let text_prefix = open_ai && under(&format!("{wrapper}text."));
    let text = if text_prefix { "text." } else { "" };
    let linear_projection = open_ai && under(&format!("{wrapper}{text}text_projection.weight"));
    let bare = |name: &str| name.strip_prefix(clip).unwrap_or(name).to_string();
    let mut kept = BTreeMap::new();
    for (name, tensor) in tensors {
        match name.strip_prefix(wrapper.as_str()) {
            Some(name) if BUFFERS.contains(&bare(name).as_str()) => {}
            Some(name) => drop(kept.insert(name.to_string(), tensor)),
            // Optimiser state and the like beside `state_dict`.
            None if wrapper != "module." => {}
            None => {
                return Err(Error::weights_mismatch(format_args!(
                    "`{name}` does not begin with `{wrapper}` as the others do"
                )))
            }
        }
    }
    Ok((Layout { naming, wrapper, text_prefix, linear_projection }, kept))
}

/// The names of transformers' `CLIPModel`.
fn hugging_face(canonical: &str) -> Source {
    let (tower, rest) = match canonical.strip_prefix("visual.") {
        Some(rest) => ("vision_model", rest),
        None => ("text_model", canonical),
    };
    if let Some(block) = rest.strip_prefix("transformer.resblocks.") {
        let (layer, tensor) = block.split_once('.').unwrap_or((block, ""));
        let layer = format!("{tower}.encoder.layers.{layer}");
        if let Some(kind) = tensor.strip_prefix("attn.in_proj_") {
            return Source {
                names: ["q", "k", "v"].iter().map(|p| format!("{layer}.self_attn.{p}_proj.{kind}")).collect(),
                transposed: false,
            };
        }
        let pairs = [
            ("attn.out_proj.", "self_attn.out_proj."),
            ("ln_1.", "layer_norm1."),
            ("ln_2.", "layer_norm2."),
            ("mlp.c_fc.", "mlp.fc1."),
            ("mlp.c_proj.", "mlp.fc2."),
        ];
        for (ours, theirs) in pairs {
            if let Some(kind) = tensor.strip_prefix(ours) {
                return Source::one(format!("{layer}.{theirs}{kind}"));
            }
        }
    }
    let name = match canonical {
        "text_projection" => return Source { names: vec!["text_projection.weight".into()], transposed: true },
        "visual.proj" => return Source { names: vec!["visual_projection.weight".into()], transposed: true },
        "token_embedding.weight" => "text_model.embeddings.token_embedding.weight",
        "positional_embedding" => "text_model.embeddings.position_embedding.weight",
        "ln_final.weight" => "text_model.final_layer_norm.weight",
        "ln_final.bias" => "text_model.final_layer_norm.bias",
        "visual.class_embedding" => "vision_model.embeddings.class_embedding",
        "visual.conv1.weight" => "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding" => "vision_model.embeddings.position_embedding.weight",
        // The misspelling is in transformers itself.
        "visual.ln_pre.weight" => "vision_model.pre_layrnorm.weight",
        "visual.ln_pre.bias" => "vision_model.pre_layrnorm.bias",
        "visual.ln_post.weight" => "vision_model.post_layernorm.weight",
        "visual.ln_post.bias" => "vision_model.post_layernorm.bias",
        other => other,
    };
    Source::one(name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hugging_face_names() {
        let s = hugging_face("visual.transformer.resblocks.3.attn.in_proj_bias");
        assert_eq!(s.names[1], "vision_model.encoder.layers.3.self_attn.k_proj.bias");
        assert_eq!(
            hugging_face("transformer.resblocks.0.mlp.c_fc.weight").names[0],
            "text_model.encoder.layers.0.mlp.fc1.weight"
        );
        assert!(hugging_face("visual.proj").transposed);
        assert_eq!(hugging_face("logit_scale").names[0], "logit_scale");
    }

    #[test]
    fn block_prefixes() {
        let layout = |naming| Layout { naming, wrapper: String::new(), text_prefix: false, linear_projection: false };
        let blocks = |naming| layout(naming).blocks("visual.transformer.resblocks.");
        assert_eq!(blocks(Naming::Clip4Clip), "clip.visual.transformer.resblocks.");
        assert_eq!(blocks(Naming::HuggingFace), "vision_model.encoder.layers.");
    }
}
