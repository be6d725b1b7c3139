//! What embedding many things has in common: sampling at a rate, progress, and ending early.

use std::path::Path;
use std::process::ExitCode;

use c4c::{Call, Device, Model, Sampling, Status, VideoOptions};
use indicatif::{ProgressBar, ProgressStyle};
use ndarray::Array1;

use crate::common::{num_frames, Failure, INTERRUPTED};
use crate::walk::{escaped, shown};

/// How videos are sampled, also as CLIP4Clip's own scripts do it.
#[derive(clap::Args, Clone)]
pub struct SamplingArgs {
    /// Frames that stand for a video, or for a segment of it, evenly from its first to its last.
    #[arg(long, value_name = "N", default_value_t = VideoOptions::DEFAULT_NUM_FRAMES, value_parser = num_frames)]
    num_frames: usize,
    /// Turns pictures as the container asks players to; CLIP4Clip does not.
    #[arg(long)]
    rotate: bool,
    /// Takes the frames from those shown at 0, 1/FPS, 2/FPS … seconds, instead of from all; CLIP4Clip's own scripts do
    /// so at 1.
    #[arg(long, value_name = "FPS", value_parser = positive)]
    fps: Option<f64>,
}

impl SamplingArgs {
    pub fn options(&self) -> VideoOptions {
        VideoOptions {
            num_frames: self.num_frames,
            sampling: self.fps.map_or(Sampling::Uniform, Sampling::Fps),
            apply_rotation: self.rotate,
            ..VideoOptions::default()
        }
    }
}

/// For clap: a number above zero.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("expected a number above zero".into()),
    }
}

/// For the library: seconds as microseconds, at least one.
pub fn microseconds(seconds: f64) -> i64 {
    ((seconds * 1e6).round() as i64).max(1)
}

/// A bar on stderr with rate and time left; without a terminal, or where it is not wanted, nothing.
pub fn bar(len: usize, wanted: bool) -> ProgressBar {
    if !wanted {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} videos, {per_sec}, {eta} left");
    ProgressBar::new(len as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// One vector for each video, or what was wrong with it; moves `bar` on by as many.
///
/// # Errors
/// As [`Model::embed_video_paths`].
pub fn videos(
    model: &Model,
    paths: &[&Path],
    options: &VideoOptions,
    call: &Call,
    bar: &ProgressBar,
) -> Result<Vec<c4c::Result<Array1<f32>>>, Failure> {
    let before = bar.position();
    Ok(model.embed_video_paths(paths, options, call, &mut |done| {
        bar.set_position(before + done as u64);
        true
    })?)
}

/// What was wrong with a video, and with which; the library's messages say which where they can.
pub fn told(path: &Path, error: &c4c::Error) -> String {
    let message = error.to_string();
    match message.contains(&*path.to_string_lossy()) {
        true => escaped(&message),
        false => format!("{}: {}", shown(path), escaped(&message)),
    }
}

/// What `run` comes to, where Ctrl-C may have ended it.
pub fn or_interrupted(run: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    match run {
        Err(Failure::Library(e)) if e.status() == Status::Cancelled => Ok(ExitCode::from(INTERRUPTED)),
        run => run,
    }
}

/// How the model's products are formed, by the name of the option.
pub fn precision_name(model: &Model) -> String {
    format!("{:?}", model.info().precision).to_lowercase()
}

/// What computes, by the name of the option: `cpu`, `cuda:0,cuda:1`.
pub fn device_names(model: &Model) -> String {
    Device::names(&model.info().devices)
}
