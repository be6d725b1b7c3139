//! Which frames are taken: key frames, rates, parts, approximately; many videos in one call, and windows over a long one.

mod support;

use std::io::{Cursor, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use c4c::{pictures, Call, Log, Media, Model, Options, Sampling, Seek, Source, Status, VideoOptions};
use support::checkpoint::{Writer, TINY};
use support::media::{ffmpeg, test_video};

/// A folder with a model and a video of 10 seconds, 25 frames a second, with a key frame every 20 frames.
struct Setup {
    folder: tempfile::TempDir,
    video: PathBuf,
}

impl Setup {
    fn new(name: &str, encode: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let video = folder.path().join(name);
        test_video(&video, "128x96", 25, 250, encode);
        Setup { folder, video }
    }

    fn h264(name: &str) -> Self {
        let groups = "keyint=20:min-keyint=20:scenecut=0";
        Setup::new(name, &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "2", "-x264-params", groups])
    }

    fn model(&self) -> Model {
        let weights = self.folder.path().join("tiny.bin");
        Writer::new(&TINY, 1).torch_save(&weights, "");
        Model::load(Options::new(weights), Log::default()).unwrap()
    }

    fn numbers(&self, options: VideoOptions) -> Vec<u64> {
        numbers(&self.video, options)
    }
}

fn numbers(path: &Path, options: VideoOptions) -> Vec<u64> {
    let (pictures, ..) = pictures(Source::Path(path), &options, &Call::default()).unwrap();
    pictures.iter().map(|p| p.number).collect()
}

#[test]
fn key_frames_rates_and_parts() {
    let setup = Setup::h264("video.mp4");
    let key =
        |num_frames| setup.numbers(VideoOptions { sampling: Sampling::KeyFrames, num_frames, ..Default::default() });
    assert_eq!(key(4096), (0..250).step_by(20).collect::<Vec<u64>>());
    assert_eq!(key(3), [0, 120, 240]);
    let rate = |fps, start_us, end_us| {
        let sampling = Sampling::Fps(fps);
        setup.numbers(VideoOptions { sampling, start_us, end_us, num_frames: 100, ..Default::default() })
    };
    assert_eq!(rate(1.0, 0, None), (0..250).step_by(25).collect::<Vec<u64>>());
    assert_eq!(rate(2.0, 4_000_000, Some(6_000_000)), [100, 112, 125, 137]);
    let part = VideoOptions { start_us: 2_000_000, end_us: Some(3_000_000), num_frames: 3, ..Default::default() };
    assert_eq!(setup.numbers(part), [50, 62, 74]);
    let behind = VideoOptions { start_us: 10_000_000, ..Default::default() };
    let error = pictures(Source::Path(&setup.video), &behind, &Call::default()).unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument);
    assert!(error.message().contains("start_us"), "{error}");
}

/// A stream that has to be decoded as a whole takes the same choices.
#[test]
fn parts_of_streams_without_an_index() {
    let setup = Setup::new("video.avi", &["-c:v", "mpeg4", "-g", "20", "-sc_threshold", "1000000000"]);
    let part = VideoOptions { start_us: 2_000_000, end_us: Some(3_000_000), num_frames: 3, ..Default::default() };
    assert_eq!(setup.numbers(part), [50, 62, 74]);
    let key = VideoOptions { sampling: Sampling::KeyFrames, num_frames: 100, ..Default::default() };
    assert_eq!(setup.numbers(key), (0..250).step_by(20).collect::<Vec<u64>>());
    let behind = VideoOptions { start_us: 60_000_000, ..Default::default() };
    let error = pictures(Source::Path(&setup.video), &behind, &Call::default()).unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument);
}

/// Where the container tells the truth, approximate sampling is exact.
#[test]
fn approximate_sampling_of_honest_files() {
    for name in ["video.mp4", "video.mkv", "video.mov"] {
        let setup = Setup::h264(name);
        for options in [
            VideoOptions::default(),
            VideoOptions { num_frames: 40, ..Default::default() },
            VideoOptions { start_us: 1_000_000, end_us: Some(4_000_000), ..Default::default() },
            VideoOptions { sampling: Sampling::Fps(1.0), ..Default::default() },
            VideoOptions { sampling: Sampling::KeyFrames, ..Default::default() },
        ] {
            let find = |seek| {
                let options = VideoOptions { seek, ..options.clone() };
                let (pictures, ..) = pictures(Source::Path(&setup.video), &options, &Call::default()).unwrap();
                pictures.into_iter().map(|p| p.rgb).collect::<Vec<_>>()
            };
            assert!(find(Seek::Approximate) == find(Seek::Exact), "{name}: {options:?}");
        }
    }
}

#[test]
fn approximate_sampling_of_files_that_promise_too_much() {
    let setup = Setup::h264("video.mp4");
    let longer = setup.folder.path().join("longer.mkv");
    let inputs = ["-i", setup.video.to_str().unwrap(), "-f", "lavfi", "-i", "sine=duration=15", "-c:v", "copy"];
    ffmpeg(&[&inputs[..], &["-c:a", "flac", longer.to_str().unwrap()]].concat());
    let approximate = VideoOptions { seek: Seek::Approximate, ..Default::default() };
    let (pictures, ..) = pictures(Source::Path(&longer), &approximate, &Call::default()).unwrap();
    assert_eq!(pictures.len(), 12);
    assert!(pictures[11].rgb == pictures[10].rgb);
}

#[test]
fn many_videos_in_one_call() {
    let setup = Setup::h264("video.mp4");
    let model = setup.model();
    let folder = setup.folder.path();
    let broken = folder.join("broken.mp4");
    std::fs::write(&broken, b"no video").unwrap();
    let missing = folder.join("missing.mp4");
    let paths: Vec<&Path> = [&setup.video, &missing, &setup.video, &broken, &setup.video]
        .into_iter()
        .cycle()
        .take(23)
        .map(PathBuf::as_path)
        .collect();
    let options = VideoOptions::default();
    let alone = model.embed_video_path(&setup.video, &options, &Call::default()).unwrap();
    let mut told = Vec::new();
    let mut progress = |done| {
        told.push(done);
        true
    };
    let rows = model.embed_video_paths(&paths, &options, &Call::default(), &mut progress).unwrap();
    assert_eq!(told, (1..=23).collect::<Vec<_>>());
    for (path, row) in paths.iter().zip(&rows) {
        match path.file_name().unwrap().to_str().unwrap() {
            "video.mp4" => assert_eq!(row.as_ref().unwrap(), alone),
            "missing.mp4" => assert_eq!(row.as_ref().unwrap_err().status(), Status::MediaIo),
            _ => assert_eq!(row.as_ref().unwrap_err().status(), Status::MediaFormat),
        }
    }
    let ended = model.embed_video_paths(&paths, &options, &Call::default(), &mut |done| done < 3).unwrap_err();
    assert_eq!(ended.status(), Status::Cancelled);
    let short = Call::new(Some(Duration::from_micros(1)), None);
    let late = model.embed_video_paths(&paths, &options, &short, &mut |_| true).unwrap_err();
    assert_eq!(late.status(), Status::Timeout);
}

#[test]
fn windows_are_parts() {
    for (name, whole) in [("video.mp4", false), ("video.avi", true)] {
        let setup = match whole {
            false => Setup::h264(name),
            true => Setup::new(name, &["-c:v", "mpeg4", "-bf", "2", "-g", "20"]),
        };
        let model = setup.model();
        let options = VideoOptions { num_frames: 5, ..Default::default() };
        for (window, step) in [(2_000_000, 1_000_000), (3_000_000, 4_000_000), (700_000, 300_000), (60_000_000, 1)] {
            let source = Source::Path(&setup.video);
            let segments = model.embed_segments(source, &options, (window, step), &Call::default()).unwrap();
            assert_eq!(segments.vectors.nrows(), segments.times_us.len());
            let (mut start, mut times) = (0, Vec::new());
            while start < 10_000_000 && times.last().is_none_or(|&(_, end)| end < 10_000_000) {
                times.push((start, (start + window).min(10_000_000)));
                start += step;
            }
            assert_eq!(segments.times_us, times, "{name} {window} {step}");
            for (row, &(start_us, end_us)) in segments.vectors.rows().into_iter().zip(&times) {
                let part = VideoOptions { start_us, end_us: Some(end_us), ..options.clone() };
                let alone = model.embed_video_path(&setup.video, &part, &Call::default()).unwrap();
                assert_eq!(row, alone, "{name}: {start_us} to {end_us}");
            }
        }
        let none = model.embed_segments(Source::Path(&setup.video), &options, (0, 1), &Call::default()).unwrap_err();
        assert_eq!(none.status(), Status::InvalidArgument);
    }
}

/// Containers that go on behind bytes that they did not get must not have other frames stand for the video.
#[test]
fn a_read_or_seek_that_fails_once() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum At {
        Never,
        Read(usize),
        Seek(usize),
    }
    struct Fails {
        bytes: Cursor<Vec<u8>>,
        reads: usize,
        seeks: usize,
        at: At,
    }
    impl Media for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.reads += 1;
            let most = buffer.len().min(4096);
            match At::Read(self.reads) == self.at {
                true => Err(std::io::Error::other("the cable was pulled")),
                false => self.bytes.read(&mut buffer[..most]),
            }
        }

        fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
            self.seeks += 1;
            match At::Seek(self.seeks) == self.at {
                true => Err(std::io::Error::other("the cable was pulled")),
                false => self.bytes.seek(to),
            }
        }

        fn size(&mut self) -> Option<u64> {
            Some(self.bytes.get_ref().len() as u64)
        }
    }
    for name in ["video.mkv", "video.ts", "video.mp4", "video.avi"] {
        let setup = Setup::h264(name);
        let bytes = std::fs::read(&setup.video).unwrap();
        let sample = |at, seek| {
            let media = Fails { bytes: Cursor::new(bytes.clone()), reads: 0, seeks: 0, at };
            let options = VideoOptions { seek, start_us: 4_000_000, end_us: Some(6_000_000), ..Default::default() };
            pictures(Source::Media(Box::new(media)), &options, &Call::default()).map(|(pictures, ..)| pictures)
        };
        for seek in [Seek::Exact, Seek::Approximate] {
            let whole = sample(At::Never, seek).unwrap();
            for at in (1..80).flat_map(|n| [At::Read(n), At::Seek(n)]) {
                match sample(at, seek) {
                    Ok(pictures) => assert!(pictures == whole, "{name} {seek:?}: {at:?}"),
                    Err(e) => assert_eq!(e.status(), Status::MediaIo, "{name} {seek:?}: {at:?}: {e}"),
                }
            }
        }
    }
}

/// Windows that overlap by nearly all of their length are refused before memory runs out.
#[test]
fn windows_that_take_too_much_memory() {
    let setup = Setup::new("video.mkv", &["-c:v", "libx264", "-pix_fmt", "yuv420p", "-preset", "ultrafast"]);
    let weights = setup.folder.path().join("large.bin");
    let mut sizes = TINY;
    sizes.grid = 640 / sizes.patch;
    Writer::new(&sizes, 1).torch_save(&weights, "");
    let model = Model::load(Options::new(weights), Log::default()).unwrap();
    let options = VideoOptions { num_frames: 250, ..Default::default() };
    let error = model.embed_segments(Source::Path(&setup.video), &options, (9_900_000, 40_000), &Call::default());
    let error = error.unwrap_err();
    assert_eq!(error.status(), Status::Limit);
    assert!(error.message().contains("step_us"), "{error}");
    let error = model.embed_segments(Source::Path(&setup.video), &options, (1, 1), &Call::default()).unwrap_err();
    assert_eq!(error.status(), Status::Limit);
}

/// Where the part ends is counted from the first frame that comes out, and by the frames that are shown.
#[test]
fn parts_of_streams_with_a_hidden_beginning() {
    let setup = Setup::h264("video.mp4");
    let folder = setup.folder.path();
    let (ts, cut, edited) = (folder.join("video.ts"), folder.join("cut.ts"), folder.join("edited.mp4"));
    let mp4 = setup.video.to_str().unwrap();
    ffmpeg(&["-i", mp4, "-c", "copy", ts.to_str().unwrap()]);
    let bytes = std::fs::read(&ts).unwrap();
    // Behind the first key frame.
    std::fs::write(&cut, &bytes[bytes.len() / 20 / 188 * 188..]).unwrap();
    ffmpeg(&["-ss", "1.3", "-i", mp4, "-c", "copy", edited.to_str().unwrap()]);
    for path in [&cut, &edited] {
        let all = VideoOptions { num_frames: 4096, ..Default::default() };
        let (frames, ..) = pictures(Source::Path(path), &all, &Call::default()).unwrap();
        for end_us in [400_000, 1_000_000, 2_000_000, 7_000_000] {
            let expected: Vec<u64> = frames.iter().filter(|f| f.time_us < end_us).map(|f| f.number).collect();
            let part = VideoOptions { end_us: Some(end_us), ..all.clone() };
            assert_eq!(numbers(path, part), expected, "{}: to {end_us}", path.display());
        }
    }
}
