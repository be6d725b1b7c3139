//! `c4c info`: what a checkpoint is.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use c4c::{inspect, Activation, Inspection};

use crate::common::Failure;

#[derive(clap::Args)]
pub struct Args {
    /// A checkpoint file, an index of shards, or a model folder.
    checkpoint: PathBuf,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let found = inspect(&args.checkpoint)?;
    print(&mut std::io::stdout().lock(), &found)?;
    Ok(ExitCode::from(u8::from(!found.problems.is_empty())))
}

fn print(to: &mut impl Write, found: &Inspection) -> std::io::Result<()> {
    let mut row = |name: &str, value: &str| writeln!(to, "{name:<14}{value}");
    row("layout", &found.weights)?;
    row("model", found.arch.name())?;
    if let Some(v) = &found.arch.vision {
        let patches = if v.three_d { "3d patches" } else { "patches" };
        let sizes = format!("{} layers of {}, {} heads", v.layers, v.width, v.heads);
        row("vision", &format!("{sizes}; {} px in {patches} of {}", v.resolution(), v.patch))?;
    }
    if let Some(t) = &found.arch.text {
        let sizes = format!("{} layers of {}, {} heads", t.layers, t.width, t.heads);
        row("text", &format!("{sizes}; context {}, vocabulary {}", t.context, t.vocab))?;
    }
    row("embedding", &found.arch.embed.to_string())?;
    row("head", found.head.name())?;
    let activation = match found.activation {
        Activation::QuickGelu => "QuickGELU",
        Activation::Gelu => "GELU",
    };
    let source = if found.activation_is_stated { "as stated beside the weights" } else { "assumed, nothing states it" };
    row("activation", &format!("{activation} ({source})"))?;
    if let Some(scale) = found.logit_scale {
        row("temperature", &format!("{:.4} (logit_scale {scale:.4})", scale.exp()))?;
    }
    if let Some(path) = &found.tokenizer {
        row("tokenizer", &path.display().to_string())?;
    }
    let parameters: usize = found.dtypes.iter().filter(|(name, _)| !name.starts_with("INT")).map(|(_, c)| c.1).sum();
    row("parameters", &parameters.to_string())?;
    for (dtype, (tensors, values)) in &found.dtypes {
        row("", &format!("{dtype}: {tensors} tensors, {values} values"))?;
    }
    match found.problems.len() {
        0 => row("problems", "none")?,
        n => row("problems", &n.to_string())?,
    }
    for problem in &found.problems {
        writeln!(to, "  {}", problem.trim_start_matches("weights: "))?;
    }
    to.flush()
}
