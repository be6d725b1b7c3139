//! What the weights do not tell: the activation, and numbers that are the same in all known models. Hugging Face and
//! OpenCLIP keep them in a JSON file beside the weights.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::options::Activation;

/// A tower's hyper-parameters where a file states them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TowerConfig {
    pub activation: Option<Activation>,
    /// The epsilon of every LayerNorm.
    pub eps: Option<f64>,
    pub heads: Option<usize>,
    /// Columns of one head, where that is stated instead.
    pub head_width: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Config {
    pub text: TowerConfig,
    pub vision: TowerConfig,
    pub tokenizer: Option<PathBuf>,
}

/// Reads the configuration in `folder` that goes with the naming of the weights; the defaults where there is none.
///
/// # Errors
/// `WeightsFormat` for a file that cannot be understood: guessing instead would give wrong numbers silently.
pub(super) fn beside(folder: &Path, hugging_face: bool) -> Result<Config> {
    if hugging_face {
        let mut config = match json(&folder.join("config.json"))? {
            // Other models' files may lie in the same folder.
            Some(json)
                if json.get("text_config").or(json.get("vision_config")).or(json.get("hidden_act")).is_some() =>
            {
                hugging_face_config(&json)?
            }
            _ => Config::default(),
        };
        config.tokenizer = Some(folder.join("tokenizer.json")).filter(|path| path.is_file());
        return Ok(config);
    }
    match json(&folder.join("open_clip_config.json"))? {
        Some(json) => Ok(open_clip_config(&json)),
        None => Ok(Config::default()),
    }
}

fn json(path: &Path) -> Result<Option<Value>> {
    match std::fs::read(path) {
        Err(_) => Ok(None),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::weights_format(format_args!("`{}` is no JSON: {e}", path.display()))),
    }
}

/// transformers' CLIPConfig, or the config of one half of the model.
fn hugging_face_config(json: &Value) -> Result<Config> {
    let tower = |name: &str| -> Result<TowerConfig> {
        let tower = json.get(name).unwrap_or(json);
        let activation = match tower.get("hidden_act").and_then(Value::as_str) {
            None => None,
            Some("quick_gelu") => Some(Activation::QuickGelu),
            Some("gelu") => Some(Activation::Gelu),
            Some(other) => {
                return Err(Error::unsupported(format_args!("weights: config.json has hidden_act `{other}`")));
            }
        };
        Ok(TowerConfig {
            activation,
            eps: tower.get("layer_norm_eps").and_then(Value::as_f64),
            heads: tower.get("num_attention_heads").and_then(Value::as_u64).map(|n| n as usize),
            head_width: None,
        })
    };
    Ok(Config { text: tower("text_config")?, vision: tower("vision_config")?, tokenizer: None })
}

/// OpenCLIP: exact GELU unless `quick_gelu` is set.
fn open_clip_config(json: &Value) -> Config {
    let model = json.get("model_cfg").unwrap_or(json);
    let quick = model.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false);
    let activation = Some(if quick { Activation::QuickGelu } else { Activation::Gelu });
    let tower = |name: &str| {
        let number = |key: &str| model.get(name)?.get(key)?.as_u64().map(|n| n as usize);
        TowerConfig { activation, eps: None, heads: number("heads"), head_width: number("head_width") }
    };
    Config { text: tower("text_cfg"), vision: tower("vision_cfg"), tokenizer: None }
}
