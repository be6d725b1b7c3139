//! Test videos made with the ffmpeg command, and read back with it: a decoder that shares no code with ours but
//! FFmpeg's.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs ffmpeg; its messages are shown when it fails.
pub fn ffmpeg(args: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(args).output();
    let output = output.expect("the tests need the ffmpeg command");
    assert!(output.status.success(), "ffmpeg {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A video of FFmpeg's test pattern: `encode` is what the command needs between input and output.
pub fn test_video(path: &Path, size: &str, rate: u32, frames: u32, encode: &[&str]) {
    let source = format!("testsrc2=size={size}:rate={rate}");
    let frames = frames.to_string();
    let path = path.to_str().unwrap();
    let args = [&["-f", "lavfi", "-i", &source, "-frames:v", &frames][..], encode, &[path]].concat();
    ffmpeg(&args);
}

/// Every frame of the best video stream as packed RGB, converted at full size by the same scaler. On one thread: what FFmpeg
/// conceals of damaged frames depends on how many there are.
pub fn decode_all(path: &Path, width: usize, height: usize) -> Vec<Vec<u8>> {
    let args = [
        "-threads",
        "1",
        "-noautorotate",
        "-i",
        path.to_str().unwrap(),
        "-vsync",
        "passthrough",
        "-sws_flags",
        "bilinear",
    ];
    let raw = ffmpeg(&[&args[..], &["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]].concat());
    assert_eq!(raw.len() % (width * height * 3), 0);
    raw.chunks_exact(width * height * 3).map(<[u8]>::to_vec).collect()
}

/// The folder of real videos, where somebody has one.
pub fn real_media() -> Option<PathBuf> {
    std::env::var_os("C4C_MEDIA").map(PathBuf::from).filter(|p| p.is_dir())
}
