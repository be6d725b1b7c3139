//! The commands embed, eval, bench and selftest of the tool, against the library that it is built on.

mod bench;
mod embed;
mod eval;
mod selftest;
#[path = "../support/mod.rs"]
mod support;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use c4c::{Call, Log, Model, Options, VideoOptions};
use support::checkpoint::{Writer, TINY};
use support::media::ffmpeg;

/// A tiny checkpoint and a few short videos, made once.
struct World {
    folder: tempfile::TempDir,
    model: Model,
}

const VIDEOS: [&str; 4] = ["bars.mp4", "fractal.mp4", "pattern.mp4", "red.mkv"];

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("tiny.bin");
        Writer::new(&TINY, 1).torch_save(&weights, "");
        std::fs::create_dir(folder.path().join("videos")).unwrap();
        let sources = ["smptebars=s=160x120", "mandelbrot=s=96x96", "testsrc2=s=160x120", "color=red:s=64x64"];
        for (name, source) in VIDEOS.iter().zip(sources) {
            let path = folder.path().join("videos").join(name);
            ffmpeg(&["-f", "lavfi", "-i", source, "-frames:v", "30", path.to_str().unwrap()]);
        }
        let model = Model::load(Options::new(weights), Log::default()).unwrap();
        World { folder, model }
    })
}

impl World {
    fn weights(&self) -> PathBuf {
        self.folder.path().join("tiny.bin")
    }

    fn video(&self, name: &str) -> PathBuf {
        self.folder.path().join("videos").join(name)
    }

    fn vector(&self, name: &str) -> Vec<f32> {
        self.model.embed_video_path(&self.video(name), &VideoOptions::default(), &Call::default()).unwrap().to_vec()
    }

    fn text(&self, text: &str) -> Vec<f32> {
        self.model.embed_text(&[text], &Call::default()).unwrap().row(0).to_vec()
    }
}

fn command(args: &[&dyn AsRef<OsStr>]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_c4c"));
    command.args(args.iter().map(AsRef::as_ref)).env("C4C_MODEL", world().weights()).stdin(Stdio::null());
    command
}

/// What a run that exits with `status` writes to stdout and to stderr.
fn run(status: i32, args: &[&dyn AsRef<OsStr>]) -> (Vec<u8>, String) {
    finished(status, command(args).output().unwrap())
}

fn finished(status: i32, output: Output) -> (Vec<u8>, String) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{stderr}{}", String::from_utf8_lossy(&output.stdout));
    (output.stdout, stderr)
}
