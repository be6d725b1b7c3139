//! Video files against a full decode by the ffmpeg command: the vector by path is that of the frames that it picks.

mod support;

use std::path::{Path, PathBuf};

use c4c::{pictures, Call, Frame, HwAccel, Log, Model, Options, PixelFormat, Source, Status, VideoOptions};
use support::checkpoint::{Writer, TINY};
use support::distance;
use support::media::{decode_all, ffmpeg, real_media, test_video};

struct Setup {
    folder: tempfile::TempDir,
    model: Model,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("tiny.bin");
        Writer::new(&TINY, 1).torch_save(&weights, "");
        let model = Model::load(Options::new(weights), Log::default()).unwrap();
        Setup { folder, model }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn embed(&self, path: &Path) -> c4c::Result<Vec<f32>> {
        self.model.embed_video_path(path, &VideoOptions::default(), &Call::default()).map(|v| v.to_vec())
    }

    fn frames(&self, frames: &[&Vec<u8>], width: usize, height: usize) -> Vec<f32> {
        let views: Vec<Frame> =
            frames.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, width, height, rgb).unwrap()).collect();
        self.model.embed_frames(&views, &Call::default()).unwrap().to_vec()
    }

    fn fails(&self, path: &Path, status: Status, part: &str) {
        let error = self.embed(path).unwrap_err();
        assert_eq!(error.status(), status, "{error}");
        assert!(error.message().contains(part), "`{error}` does not say `{part}`");
    }
}

fn picks(total: usize, n: usize) -> Vec<usize> {
    let step = (total - 1) as f64 / (n - 1) as f64;
    (0..n).map(|i| if i + 1 == n { total - 1 } else { (i as f64 * step) as usize }).collect()
}

fn check(setup: &Setup, path: &Path, width: usize, height: usize, expected_total: Option<usize>) {
    let all = decode_all(path, width, height);
    if let Some(total) = expected_total {
        assert_eq!(all.len(), total, "{}", path.display());
    }
    let picked: Vec<&Vec<u8>> = picks(all.len(), 12).iter().map(|&i| &all[i]).collect();
    let distance = distance(&setup.embed(path).unwrap(), &setup.frames(&picked, width, height));
    println!("{}: {} frames, 1 - cosine = {distance:.1e}", path.display(), all.len());
    assert!(distance < 1e-12, "{}: {distance:e}", path.display());
}

#[test]
fn the_frames_of_a_full_decode() {
    let setup = Setup::new();
    let x264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"];
    let cases: &[(&str, &str, u32, &[&str])] = &[
        ("b_frames.mp4", "320x240", 77, &[x264, &["-bf", "3", "-g", "25"]].concat()),
        ("open_gop.mkv", "160x120", 60, &[x264, &["-x264-params", "open-gop=1:keyint=15"]].concat()),
        ("odd_size.mp4", "162x98", 30, x264),
        ("short.mp4", "96x64", 5, x264),
        ("one.mp4", "96x64", 1, x264),
        ("bt709.mp4", "320x180", 24, &[x264, &["-colorspace", "bt709", "-color_range", "tv"]].concat()),
        ("full_range.mp4", "320x180", 24, &["-c:v", "libx264", "-pix_fmt", "yuvj420p"]),
        ("high444.mkv", "200x100", 24, &["-c:v", "libx264", "-pix_fmt", "yuv444p"]),
        ("stream.ts", "320x240", 50, &[x264, &["-g", "20"]].concat()),
        ("mpeg4.avi", "320x240", 50, &["-c:v", "mpeg4", "-q:v", "4", "-bf", "2"]),
        ("vp9.webm", "320x240", 40, &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k"]),
        ("gray.mkv", "320x240", 20, &["-c:v", "ffv1", "-pix_fmt", "gray"]),
        ("rgb.mkv", "150x100", 20, &["-c:v", "ffv1", "-pix_fmt", "bgr0"]),
    ];
    for &(name, size, frames, encode) in cases {
        let path = setup.path(name);
        test_video(&path, size, 25, frames, encode);
        let (width, height) = size.split_once('x').unwrap();
        check(&setup, &path, width.parse().unwrap(), height.parse().unwrap(), Some(frames as usize));
    }
}

/// An edit list hides the first frames, and the container still counts them.
#[test]
fn hidden_frames_are_not_counted() {
    let setup = Setup::new();
    let (whole, cut) = (setup.path("whole.mp4"), setup.path("cut.mp4"));
    test_video(&whole, "160x120", 25, 75, &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "75"]);
    ffmpeg(&["-ss", "1.0", "-i", whole.to_str().unwrap(), "-c", "copy", cut.to_str().unwrap()]);
    check(&setup, &cut, 160, 120, Some(50));
}

#[test]
fn audio_longer_than_the_video() {
    let setup = Setup::new();
    let path = setup.path("audio.mp4");
    let audio = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=4", "-f", "lavfi"];
    let rest = ["-i", "sine=duration=6", "-c:v", "libx264", "-pix_fmt", "yuv420p", path.to_str().unwrap()];
    ffmpeg(&[&audio[..], &rest].concat());
    check(&setup, &path, 160, 120, Some(100));
}

#[test]
fn files_that_are_no_video() {
    let setup = Setup::new();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(setup.path(name), bytes).unwrap();
        setup.path(name)
    };
    setup.fails(&setup.path("none.mp4"), Status::MediaIo, "none.mp4");
    setup.fails(setup.folder.path(), Status::MediaIo, "folder");
    setup.fails(&write("empty.mp4", b""), Status::MediaFormat, "empty.mp4");
    setup.fails(&write("text.mp4", b"this is no video, whatever its name says\n"), Status::MediaFormat, "text.mp4");
    setup.fails(&write("zeros.mp4", &[0; 100_000]), Status::MediaFormat, "zeros.mp4");
    let tone = setup.path("tone.m4a");
    ffmpeg(&["-f", "lavfi", "-i", "sine=duration=1", tone.to_str().unwrap()]);
    setup.fails(&tone, Status::NoVideo, "no video stream");
    setup.fails(Path::new("http://127.0.0.1:9/video.mp4"), Status::Forbidden, "URL");
    setup.fails(Path::new("concat:/etc/passwd|/etc/hosts"), Status::Forbidden, "URL");
}

/// A playlist could make the host's process read any file.
#[test]
fn playlists_do_not_open_other_files() {
    let setup = Setup::new();
    let segment = setup.path("segment.ts");
    test_video(&segment, "160x120", 25, 25, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
    let path = setup.path("list.m3u8");
    let list = format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n", segment.display());
    std::fs::write(&path, list).unwrap();
    setup.fails(&path, Status::Forbidden, "playlist");
    let concat = setup.path("list.ffconcat");
    std::fs::write(&concat, "ffconcat version 1.0\nfile segment.ts\n").unwrap();
    setup.fails(&concat, Status::Forbidden, "playlist");
}

#[test]
fn truncated_and_damaged_files() {
    let setup = Setup::new();
    for name in ["video.mp4", "video.mkv", "video.ts"] {
        let path = setup.path(name);
        test_video(&path, "160x120", 25, 50, &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "10"]);
        let whole = std::fs::read(&path).unwrap();
        let damaged = setup.path(&format!("damaged_{name}"));
        for round in 0..30u64 {
            let mut bytes = whole.clone();
            if round < 10 {
                bytes.truncate(whole.len() * round as usize / 10);
            } else {
                for k in 0..round {
                    let hash = support::checkpoint::mix(round << 32 | k);
                    bytes[hash as usize % whole.len()] = (hash >> 48) as u8;
                }
            }
            std::fs::write(&damaged, bytes).unwrap();
            match setup.embed(&damaged) {
                Ok(vector) => assert!((support::norm(&vector) - 1.0).abs() < 1e-6),
                Err(e) => assert!(
                    matches!(e.status(), Status::MediaFormat | Status::NoVideo | Status::Limit | Status::Decode),
                    "{e}"
                ),
            }
        }
        // A cut stream still shows its beginning; an MP4's index is at its end.
        std::fs::write(&damaged, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(setup.embed(&damaged).is_ok(), name != "video.mp4");
        // All frames, so that each is needed.
        let strict = VideoOptions { strict_decode: true, num_frames: 50, ..Default::default() };
        let mut bytes = whole.clone();
        bytes[whole.len() / 3..][..4000].fill(0x55);
        std::fs::write(&damaged, bytes).unwrap();
        assert!(setup.embed(&damaged).is_ok(), "{name}");
        let error = setup.model.embed_video_path(&damaged, &strict, &Call::default()).unwrap_err();
        assert_eq!(error.status(), Status::Decode, "{name}: {error}");
        assert!(setup.model.embed_video_path(&path, &strict, &Call::default()).is_ok(), "{name}");
    }
}

/// Frames behind a damaged one are still there at the end of the stream, whatever the decoder's threads hold back.
#[test]
fn damage_near_the_end_costs_one_frame() {
    let setup = Setup::new();
    let path = setup.path("pictures.mkv");
    test_video(&path, "64x48", 10, 20, &["-c:v", "png"]);
    let mut bytes = std::fs::read(&path).unwrap();
    let pictures: Vec<usize> = (0..bytes.len() - 8).filter(|&i| bytes[i..].starts_with(b"\x89PNG\r\n\x1a\n")).collect();
    assert_eq!(pictures.len(), 20);
    bytes[pictures[14]..][..200].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let embed = |threads| {
        let options = VideoOptions { decode_threads: Some(threads), ..Default::default() };
        setup.model.embed_video_path(&path, &options, &Call::default()).unwrap()
    };
    let one = embed(1);
    for threads in [2, 4, 8, 16] {
        assert_eq!(embed(threads), one, "{threads} threads");
    }
}

#[test]
fn frames_that_grow_beyond_the_limit() {
    let setup = Setup::new();
    let (small, large, path) = (setup.path("small.ts"), setup.path("large.ts"), setup.path("grows.ts"));
    let x264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p"];
    test_video(&small, "64x64", 25, 100, &x264);
    test_video(&large, "640x480", 25, 30, &x264);
    std::fs::write(&path, [std::fs::read(small).unwrap(), std::fs::read(large).unwrap()].concat()).unwrap();
    for decode_threads in [Some(1), Some(2), None] {
        let options = VideoOptions { max_pixels: 10_000, decode_threads, ..Default::default() };
        let error = setup.model.embed_video_path(&path, &options, &Call::default()).unwrap_err();
        assert_eq!(error.status(), Status::Limit, "{error}");
    }
    assert!(setup.embed(&path).is_ok());
}

#[test]
fn bounds_and_choices() {
    let setup = Setup::new();
    let path = setup.path("two.mkv");
    let inputs =
        ["-f", "lavfi", "-i", "testsrc2=size=320x240:duration=1", "-f", "lavfi", "-i", "testsrc=size=64x48:duration=1"];
    let output = ["-map", "0", "-map", "1", "-c:v", "ffv1", path.to_str().unwrap()];
    ffmpeg(&[&inputs[..], &output].concat());
    let embed = |options: VideoOptions| setup.model.embed_video_path(&path, &options, &Call::default());
    let best = embed(VideoOptions::default()).unwrap();
    let first = embed(VideoOptions { stream_index: Some(0), ..Default::default() }).unwrap();
    let second = embed(VideoOptions { stream_index: Some(1), ..Default::default() }).unwrap();
    assert_eq!(best, first);
    assert_ne!(best, second);
    let none = embed(VideoOptions { stream_index: Some(2), ..Default::default() }).unwrap_err();
    assert_eq!(none.status(), Status::NoVideo);
    let limit = embed(VideoOptions { max_pixels: 320 * 240 - 1, ..Default::default() }).unwrap_err();
    assert_eq!(limit.status(), Status::Limit, "{limit}");
    assert!(embed(VideoOptions { max_pixels: 320 * 240, ..Default::default() }).is_ok());
    for threads in [1, 3] {
        let same = embed(VideoOptions { decode_threads: Some(threads), ..Default::default() }).unwrap();
        assert_eq!(best, same);
    }
    let five = embed(VideoOptions { num_frames: 5, ..Default::default() }).unwrap();
    assert_ne!(best, five);
}

/// Where there is a GPU, its decoder gives the pictures of the CPU's, bit for bit, as the standards of these codecs
/// ask; where there is none, the error says why. What a GPU that is faked gives is tested in `hwaccel.rs`.
#[test]
fn nvdec_gives_the_same_pictures_or_says_why_not() {
    let setup = Setup::new();
    let vp9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p"];
    let cases: &[(&str, &str, &[&str])] = &[
        ("h264.mp4", "320x240", &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "20"]),
        ("cropped.mkv", "318x178", &["-c:v", "libx264", "-pix_fmt", "yuv420p"]),
        ("interlaced.ts", "320x240", &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-flags", "+ildct+ilme"]),
        ("full_range.mp4", "320x240", &["-c:v", "libx264", "-pix_fmt", "yuvj420p"]),
        ("h265.mp4", "320x240", &["-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p"]),
        ("10_bits.mkv", "320x240", &["-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p10le"]),
        ("vp9.webm", "320x240", &vp9),
        ("odd.webm", "321x179", &vp9),
        ("av1.mkv", "320x240", &["-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p"]),
        ("444.mkv", "320x240", &["-c:v", "libx264", "-pix_fmt", "yuv444p"]),
    ];
    let on_cpu = VideoOptions::default();
    let on_gpu = VideoOptions { hwaccel: Some(HwAccel::Cuda(0)), ..Default::default() };
    for &(name, size, encode) in cases {
        let path = setup.path(name);
        test_video(&path, size, 25, 60, encode);
        let decode = |options| pictures(Source::Path(&path), options, &Call::default());
        let (expected, ..) = decode(&on_cpu).unwrap();
        match decode(&on_gpu) {
            Ok((found, ..)) => assert!(found == expected, "{name}"),
            Err(e) => {
                println!("{e}");
                assert_eq!(e.status(), Status::Device, "{e}");
                let said = ["video.hwaccel: CUDA device 0", "C4C_HWACCEL_NONE"];
                assert!(said.iter().all(|part| e.message().contains(part)), "{e}");
                // SAFETY: the driver's own library, if there is one; nothing of it is called.
                let driver = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY) };
                assert_eq!(e.message().contains("libcuda.so.1"), driver.is_null(), "{e}");
            }
        }
    }
    // Of many files it is an error of the call, and of none of them.
    let none = VideoOptions { hwaccel: Some(HwAccel::Cuda(4095)), ..Default::default() };
    let path = setup.path("h264.mp4");
    let many = setup.model.embed_video_paths(&[&path, &path], &none, &Call::default(), &mut |_| true).unwrap_err();
    let windows =
        setup.model.embed_segments(Source::Path(&path), &none, (500_000, 500_000), &Call::default()).unwrap_err();
    let memory = std::fs::read(&path).unwrap();
    let one = setup.model.embed_video(Source::Memory(&memory), &none, &Call::default()).unwrap_err();
    for error in [&many, &windows, &one] {
        assert_eq!((error.status(), error.message()), (Status::Device, one.message()));
    }
}

/// Files that nobody here made, in the folder that C4C_MEDIA names.
#[test]
fn real_videos() {
    let Some(folder) = real_media() else {
        println!("C4C_MEDIA names no folder: nothing to do");
        return;
    };
    let setup = Setup::new();
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let probe = std::process::Command::new("ffprobe")
            .args(["-v", "quiet", "-select_streams", "v", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
            .arg(&path)
            .output()
            .unwrap();
        let probe = String::from_utf8_lossy(&probe.stdout).into_owned();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let sizes: Vec<&str> = probe.lines().collect();
        let result = setup.embed(&path);
        match sizes[..] {
            // Damaged files and files with several streams have their own tests.
            [size] if !name.contains("corrupted") => {
                let (width, height) = size.trim_end_matches(',').split_once(',').unwrap();
                check(&setup, &path, width.parse().unwrap(), height.parse().unwrap(), None);
                seen += 1;
            }
            [] => assert!(matches!(result.unwrap_err().status(), Status::NoVideo | Status::MediaFormat)),
            _ => assert!(result.is_ok(), "{name}"),
        }
    }
    assert!(seen > 0);
}
