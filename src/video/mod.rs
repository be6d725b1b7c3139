//! From a video file to the sampled frames, preprocessed. The only part that knows FFmpeg.

mod convert;
mod decoder;
mod io;
mod log;
mod sample;
mod source;

use std::path::Path;

use crate::error::{Error, Result, Status};
use crate::image::Preprocessor;
use crate::options::VideoOptions;

/// The frames that stand for a video.
#[derive(Debug)]
pub struct Sampled {
    /// One square of RGB bytes per frame, one after the other.
    pub pixels: Vec<u8>,
    /// How many frames the stream shows.
    pub total: u64,
    /// How many packets and frames the decoder called corrupt.
    pub corrupt: u64,
}

/// Decodes the video at `path` and keeps the `num_frames` frames that the operator's uniform sampling picks among all
/// that the stream shows, each as a square of `side` pixels. Shorter videos repeat frames.
///
/// # Errors
/// `MediaIo`, `MediaFormat`, `NoVideo`, `Limit`, `Forbidden`, `Unsupported`; `Decode` with `strict_decode`.
pub fn sample_path(path: &Path, options: &VideoOptions, side: usize) -> Result<Sampled> {
    let _quiet = log::Quiet::enter();
    let mut expected = source::Source::open(path, options)?.expected_frames()?.max(1);
    // The last wanted frame is the stream's last, so every run finds out the true number of frames. Where the
    // container was wrong about it, a second run picks by the true one.
    for _ in 0..2 {
        let picks = sample::uniform(expected, options.num_frames);
        let run = decoder::run(source::Source::open(path, options)?, options, &picks, &mut Preprocessor::new(side))?;
        if run.total == 0 {
            return Err(Error::new(
                Status::MediaFormat,
                format_args!("video: not one frame of `{}` can be decoded", path.display()),
            ));
        }
        if run.total == expected {
            return Ok(run);
        }
        expected = run.total;
    }
    Err(Error::new(
        Status::Decode,
        format_args!("video: `{}` decodes to another number of frames each time", path.display()),
    ))
}

/// FFmpeg's version as it runs.
pub fn ffmpeg_version() -> String {
    // SAFETY: av_version_info returns a constant NUL-terminated string.
    unsafe { std::ffi::CStr::from_ptr(ffmpeg_next::ffi::av_version_info()) }.to_string_lossy().into_owned()
}
