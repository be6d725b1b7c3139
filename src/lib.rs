//! `libc4c`: text and video embeddings with CLIP4Clip (arXiv 2104.08860) for native programs.
//!
//! The crate is made for its C ABI (`include/c4c.h`), and everything that the ABI does is a method of [`Model`].
//! A call flows one way: `ffi` → [`Model`] → `text` / `video` / `image` → `runtime` → `clip` → `weights`.
//! `gpu`, `thread`, `error` and `options` are below all of them.
//!
//! ```no_run
//! use c4c::{Call, Log, Model, Options, VideoOptions};
//!
//! let model = Model::load(Options::new("pytorch_model.bin"), Log::default())?;
//! let words = model.embed_text(&["a dog runs on the beach"], &Call::default())?;
//! let video = model.embed_video_path("dog.mp4".as_ref(), &VideoOptions::default(), &Call::default())?;
//! println!("similarity {}", words.row(0).dot(&video));
//! # Ok::<(), c4c::Error>(())
//! ```

// A panic is a way to kill the host; tests may.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod clip;
mod error;
pub mod ffi;
mod gpu;
mod image;
mod inspect;
mod model;
mod options;
mod runtime;
mod similarity;
mod text;
mod thread;
mod video;
mod weights;

pub use error::{Error, Result, Status};
pub use image::{Frame, Matrix, Orientation, PixelFormat};
pub use inspect::{inspect, Inspection};
pub use model::{Info, Model, Segments};
pub use options::{
    Activation, Color, Device, Devices, Head, HwAccel, Modality, ModelName, Options, Precision, Sampling, Seek,
    VideoOptions,
};
pub use runtime::{cuda_devices, Call, Cancel, Level, Log, Stats};
pub use text::Tokenizer;
pub use video::{pictures, Media, Picture, Source};
pub use weights::{Arch, TextArch, VisionArch};
