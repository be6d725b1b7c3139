//! Videos that somebody damaged or made up: whatever the bytes, the answer is pictures or an error of the file's, in time,
//! without a word on stderr, and in no more memory than frames within `max_pixels` take.
//!
//! `C4C_ROUNDS=20000 cargo test --release --test hostile_video -- --nocapture` runs longer than the ordinary 4,000 rounds, and
//! `C4C_ROUND=7` runs that one alone and leaves its bytes in `hostile_video.bytes` in Cargo's folder for the tests' files
//! (`target/tmp`). Where the process dies, `hostile_video.round` there tells the round. `tests/asan.sh` runs all of it under
//! AddressSanitizer.

mod support;

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use c4c::{pictures, Call, Color, Media, Picture, Result, Sampling, Seek, Source, Status, VideoOptions};
use support::checkpoint::mix;
use support::media::{ffmpeg, real_media};
use support::memory::{peak_memory, start_of_peak};

/// How long one round may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Room for twelve pictures of `MOST_PIXELS`, for what decoders keep, and for what allocators do.
const MOST_MEMORY: usize = 300 << 20;
const MOST_PIXELS: u64 = 1 << 22;

/// What may be wrong with a file, and with a part of a video that it does not have.
const BLAME: [Status; 7] = [
    Status::MediaFormat,
    Status::NoVideo,
    Status::Limit,
    Status::Decode,
    Status::InvalidArgument,
    Status::Forbidden,
    Status::Unsupported,
];

/// All tests look at the memory and the stderr of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Pseudo-random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = mix(self.0);
        (self.0 >> 16) as usize % n.max(1)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Takes what the process writes on stderr, below Rust's own, while it lives.
struct Stderr {
    taken: File,
    own: OwnedFd,
}

impl Stderr {
    fn take() -> Self {
        let taken = tempfile::tempfile().unwrap();
        // SAFETY: plain calls on open descriptors; the copy belongs to nobody else.
        let own = unsafe {
            let own = OwnedFd::from_raw_fd(libc::dup(2));
            assert_eq!(libc::dup2(taken.as_raw_fd(), 2), 2);
            own
        };
        Stderr { taken, own }
    }

    fn assert_empty(&self) {
        assert_eq!(self.taken.metadata().unwrap().len(), 0, "something was written on stderr");
    }
}

impl Drop for Stderr {
    /// Gives it back with what was written, which may be why a test failed.
    fn drop(&mut self) {
        // SAFETY: as in `take`.
        unsafe { libc::dup2(self.own.as_raw_fd(), 2) };
        let mut text = Vec::new();
        let read = self.taken.rewind().and_then(|()| self.taken.read_to_end(&mut text));
        let _ = read.and_then(|_| io::stderr().write_all(&text));
    }
}

/// A video that the mutations begin with.
struct Seed {
    name: String,
    bytes: Vec<u8>,
    /// Where something stands that looks like the name of a box or a chunk.
    tags: Vec<usize>,
}

impl Seed {
    fn new(name: &str, bytes: Vec<u8>) -> Self {
        Seed { name: name.into(), tags: tags(&bytes), bytes }
    }
}

const X264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"];
const X265: &[&str] = &["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=none"];

/// Name, size, frames, and how video and audio are encoded; without the latter there is none.
type Recipe = (&'static str, &'static str, u32, &'static [&'static [&'static str]]);

/// Every kind of container and codec that a stranger's file may come in.
const RECIPES: &[Recipe] = &[
    ("b_frames.mp4", "96x64", 40, &[X264, &["-bf", "2", "-g", "12", "-c:a", "aac"]]),
    ("fragmented.mp4", "64x48", 24, &[X264, &["-g", "8", "-movflags", "frag_keyframe+empty_moov+default_base_moof"]]),
    ("hevc.mp4", "96x64", 20, &[X265, &["-tag:v", "hvc1", "-g", "10"]]),
    ("qtrle.mov", "64x48", 10, &[&["-c:v", "qtrle"]]),
    ("open_gop.mkv", "160x120", 30, &[X264, &["-x264-params", "open-gop=1:keyint=10", "-c:a", "aac"]]),
    ("ffv1.mkv", "64x48", 10, &[&["-c:v", "ffv1", "-level", "3"]]),
    ("vp8.webm", "96x64", 20, &[&["-c:v", "libvpx", "-g", "8", "-c:a", "libvorbis"]]),
    ("vp9.webm", "96x64", 20, &[&["-c:v", "libvpx-vp9", "-cpu-used", "8", "-g", "8", "-c:a", "libopus"]]),
    ("av1.mkv", "64x64", 10, &[&["-c:v", "libaom-av1", "-cpu-used", "8", "-g", "5"]]),
    ("h264.ts", "96x64", 30, &[X264, &["-g", "10", "-c:a", "aac"]]),
    ("mpeg2.ts", "96x64", 20, &[&["-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"]]),
    ("hevc.ts", "96x64", 20, &[X265, &["-g", "10"]]),
    ("h264.flv", "96x64", 30, &[X264, &["-g", "10", "-c:a", "aac"]]),
    ("sorenson.flv", "96x64", 20, &[&["-c:v", "flv"]]),
    ("mpeg4.avi", "96x64", 30, &[&["-c:v", "mpeg4", "-bf", "2", "-c:a", "mp2"]]),
    ("mjpeg.avi", "96x64", 10, &[&["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]]),
    ("msvideo1.avi", "64x48", 10, &[&["-c:v", "msvideo1"]]),
    ("mpeg1.mpg", "96x64", 20, &[&["-c:v", "mpeg1video", "-bf", "2", "-c:a", "mp2"]]),
    ("theora.ogv", "96x64", 20, &[&["-c:v", "libtheora", "-c:a", "libvorbis"]]),
    ("h263.3gp", "128x96", 20, &[&["-c:v", "h263"]]),
    ("pictures.gif", "64x48", 10, &[&["-c:v", "gif"]]),
    ("mpeg2.mxf", "96x64", 15, &[&["-c:v", "mpeg2video", "-c:a", "pcm_s16le"]]),
    ("mpeg4.nut", "96x64", 20, &[&["-c:v", "mpeg4"]]),
    ("wmv2.wmv", "96x64", 20, &[&["-c:v", "wmv2", "-c:a", "wmav2"]]),
];

/// Encodes by a recipe, to the same bytes each time.
fn encode(folder: &Path, &(name, size, frames, how): &Recipe) -> PathBuf {
    let path = folder.join(name);
    let (picture, frames) = (format!("testsrc2=size={size}:rate=25"), frames.to_string());
    let tone = ["-f", "lavfi", "-i", "sine=sample_rate=48000"];
    let how = how.concat();
    let tone = if how.contains(&"-c:a") { &tone[..] } else { &[] };
    let input = ["-f", "lavfi", "-i", &picture];
    let same = ["-frames:v", &frames, "-shortest", "-threads", "1", "-fflags", "+bitexact", "-flags", "+bitexact"];
    ffmpeg(&[&input[..], tone, &same, &how, &[path.to_str().unwrap()]].concat());
    path
}

/// Copies the streams of a file to another one.
fn remux(from: &Path, before: &[&str], after: &[&str], name: &str) -> PathBuf {
    let to = from.with_file_name(name);
    let (from, out) = (from.to_str().unwrap(), to.to_str().unwrap());
    ffmpeg(&[before, &["-i", from, "-c", "copy", "-fflags", "+bitexact"], after, &[out]].concat());
    to
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn seeds(folder: &Path) -> Vec<Seed> {
    let mut paths: Vec<PathBuf> = RECIPES.iter().map(|recipe| encode(folder, recipe)).collect();
    paths.push(remux(&paths[0], &["-ss", "0.7"], &[], "edit_list.mov"));
    if let Some(media) = real_media() {
        let small = |path: &PathBuf| path.metadata().is_ok_and(|m| m.is_file() && m.len() < 120_000);
        let mut real: Vec<PathBuf> = media.read_dir().unwrap().map(|e| e.unwrap().path()).filter(small).collect();
        real.sort();
        paths.extend(real);
    }
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| Seed::new(&name(path), read(path))).collect()
}

/// Where a fourcc may stand, or one of the long EBML ids: those of what is large and of what lists it.
fn tags(bytes: &[u8]) -> Vec<usize> {
    const EBML: [[u8; 4]; 8] = [
        [0x1a, 0x45, 0xdf, 0xa3],
        [0x18, 0x53, 0x80, 0x67],
        [0x11, 0x4d, 0x9b, 0x74],
        [0x15, 0x49, 0xa9, 0x66],
        [0x16, 0x54, 0xae, 0x6b],
        [0x1f, 0x43, 0xb6, 0x75],
        [0x1c, 0x53, 0xbb, 0x6b],
        [0x12, 0x54, 0xc3, 0x67],
    ];
    let lower = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b' ';
    let is_tag = |w: &[u8]| {
        w.iter().all(lower) || w.iter().all(u8::is_ascii_uppercase) || EBML.iter().any(|id| id.as_slice() == w)
    };
    bytes.windows(4).enumerate().filter(|(_, w)| is_tag(w)).map(|(at, _)| at).collect()
}

/// A place in the file: half of them where headers are, and some at the end, where indices are.
fn place(n: usize, random: &mut Random) -> usize {
    const HEADERS: usize = 4096;
    match random.below(8) {
        0..4 => random.below(n.min(HEADERS)),
        4 => n - 1 - random.below(n.min(HEADERS)),
        _ => random.below(n),
    }
}

/// A run of bytes, most of them short.
fn run(n: usize, random: &mut Random) -> Range<usize> {
    let at = place(n, random);
    let longest = random.of(&[4, 16, 64, 256, 2048, 32768]);
    at..(at + 1 + random.below(longest)).min(n)
}

/// Damages bytes in one of the ways that bytes are damaged, or made up by somebody who knows how they are read.
fn damage(bytes: &mut Vec<u8>, tags: &[usize], other: &[u8], random: &mut Random) {
    let n = bytes.len();
    match random.below(10) {
        0 => bytes.truncate(place(n, random)),
        1..4 => {
            for _ in 0..random.of(&[1, 2, 5, 20, 100, 1000]) {
                bytes[place(n, random)] = random.below(256) as u8;
            }
        }
        4 => {
            let value = random.of(&[0, 0xff]);
            bytes[run(n, random)].fill(value);
        }
        5..8 => {
            for _ in 0..1 + random.below(3) {
                extreme(bytes, tags, random);
            }
        }
        8 => {
            let piece = &other[run(other.len(), random)];
            let at = place(n, random);
            let over = if random.coin() { (at + piece.len()).min(n) } else { at };
            bytes.splice(at..over, piece.iter().copied());
        }
        _ => {
            let block = run(n, random);
            let (piece, at) = (bytes[block.clone()].to_vec(), place(n, random));
            if random.coin() {
                bytes.splice(at..at, piece);
            } else if at + piece.len() <= n {
                bytes.copy_within(at..at + piece.len(), block.start);
                bytes[at..at + piece.len()].copy_from_slice(&piece);
            }
        }
    }
}

/// Writes a number that sizes, counts, offsets and times do not expect before or behind a name.
fn extreme(bytes: &mut [u8], tags: &[usize], random: &mut Random) {
    let value: u32 = random.of(&[0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]);
    let value = if random.coin() { value.to_be_bytes() } else { value.to_le_bytes() };
    let at = match tags {
        [] => place(bytes.len(), random),
        tags if random.coin() => random.of(tags).wrapping_sub(4),
        tags => random.of(tags) + 4 * (1 + random.below(20)),
    };
    if let Some(field) = bytes.get_mut(at..at.wrapping_add(4)) {
        field.copy_from_slice(&value);
    }
}

fn mutated(seeds: &[Seed], round: usize, random: &mut Random) -> Vec<u8> {
    let (seed, other) = (&seeds[round % seeds.len()], &seeds[random.below(seeds.len())]);
    let mut bytes = seed.bytes.clone();
    for _ in 0..1 + random.below(3) {
        if !bytes.is_empty() {
            damage(&mut bytes, &seed.tags, &other.bytes, random);
        }
    }
    bytes
}

fn options(random: &mut Random) -> VideoOptions {
    let sampling = [Sampling::Uniform, Sampling::Uniform, Sampling::KeyFrames, Sampling::Fps(3.0), Sampling::Fps(1e6)];
    let start_us = random.of(&[0, 0, 0, 0, 0, 0, 200_000, 5_000_000]);
    VideoOptions {
        num_frames: random.of(&[12, 12, 5, 1]),
        sampling: random.of(&sampling),
        seek: random.of(&[Seek::Exact, Seek::Exact, Seek::Approximate]),
        start_us,
        end_us: random.of(&[None, None, Some(start_us + 300_000), Some(start_us + 3_000_000)]),
        color: random.of(&[Color::Tagged, Color::Operator]),
        apply_rotation: random.coin(),
        strict_decode: random.below(4) == 0,
        decode_threads: random.of(&[Some(1), Some(2)]),
        max_pixels: MOST_PIXELS,
        ..Default::default()
    }
}

/// Gives bytes once, as a pipe does, or over and over.
struct Stream {
    bytes: Vec<u8>,
    at: usize,
    endless: bool,
}

impl Media for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.endless && self.at == self.bytes.len() {
            self.at = 0;
        }
        let n = buffer.len().min(self.bytes.len() - self.at);
        buffer[..n].copy_from_slice(&self.bytes[self.at..][..n]);
        self.at += n;
        Ok(n)
    }

    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn size(&mut self) -> Option<u64> {
        None
    }
}

fn decode(source: Source, options: &VideoOptions) -> Result<Vec<Picture>> {
    pictures(source, options, &Call::new(Some(DEADLINE), None)).map(|(pictures, ..)| pictures)
}

/// Whether there are pictures; what comes instead of them is an error of the file's.
fn judge(result: &Result<Vec<Picture>>) -> bool {
    match result {
        Ok(pictures) => {
            assert!((1..=12).contains(&pictures.len()), "{} pictures", pictures.len());
            let whole = |p: &Picture| p.width > 0 && p.rgb.len() == p.width * p.height * 3;
            assert!(pictures.iter().all(whole), "a picture of another size than it says");
        }
        Err(e) => assert!(BLAME.contains(&e.status()), "{:?}: {e}", e.status()),
    }
    result.is_ok()
}

/// Says which round it was when that fails.
struct Blame<'r>(usize, &'r Seed, &'r VideoOptions);

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("round {} of `{}` with {:?}", self.0, self.1.name, self.2);
        }
    }
}

fn from_environment(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|n| n.parse().unwrap())
}

/// One round: whether there were pictures, and how long that took.
fn one(seeds: &[Seed], round: usize, traces: &Path, keep: bool) -> (bool, Duration) {
    let mut random = Random(mix(round as u64));
    let (bytes, options) = (mutated(seeds, round, &mut random), options(&mut random));
    std::fs::write(traces.join("hostile_video.round"), round.to_string()).unwrap();
    if keep {
        std::fs::write(traces.join("hostile_video.bytes"), &bytes).unwrap();
    }
    let _blame = Blame(round, &seeds[round % seeds.len()], &options);
    let source = match random.below(8) {
        0 => Source::Media(Box::new(Stream { bytes, at: 0, endless: false })),
        _ => Source::Memory(&bytes),
    };
    let start = Instant::now();
    let result = decode(source, &options);
    let took = start.elapsed();
    (judge(&result), took)
}

#[test]
fn mutated_videos() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let seeds = seeds(folder.path());
    let only = from_environment("C4C_ROUND");
    let rounds = only.map_or(0..from_environment("C4C_ROUNDS").unwrap_or(4000), |n| n..n + 1);
    let (count, before) = (rounds.len(), start_of_peak());
    let (mut slowest, mut decoded) = ((Duration::ZERO, 0), 0);
    let stderr = Stderr::take();
    for round in rounds {
        let (pictures, took) = one(&seeds, round, Path::new(env!("CARGO_TARGET_TMPDIR")), only.is_some());
        slowest = slowest.max((took, round));
        decoded += usize::from(pictures);
        stderr.assert_empty();
    }
    drop(stderr);
    let grown = peak_memory().saturating_sub(before);
    let (files, (took, round)) = (seeds.len(), slowest);
    println!("{count} rounds over {files} files: {decoded} decoded, slowest {took:?} (round {round})");
    println!("memory grew by {} MiB", grown >> 20);
    assert!(took < DEADLINE);
    assert!(grown < MOST_MEMORY, "memory grew by {} MiB", grown >> 20);
}

/// Every seed is a video before somebody damages it, or damage to it would show nothing.
#[test]
fn undamaged_videos() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let stderr = Stderr::take();
    for recipe in RECIPES {
        let bytes = read(&encode(folder.path(), recipe));
        let pictures =
            decode(Source::Memory(&bytes), &VideoOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", recipe.0));
        assert!(pictures.iter().all(|p| format!("{}x{}", p.width, p.height) == recipe.1), "{}", recipe.0);
    }
    stderr.assert_empty();
}

/// What comes of bytes that nobody can have made by mistake, which must be soon.
fn attempt(name: &str, bytes: &[u8], options: &VideoOptions) -> std::result::Result<Vec<Picture>, Status> {
    let stderr = Stderr::take();
    let start = Instant::now();
    let result = decode(Source::Memory(bytes), options);
    let took = start.elapsed();
    judge(&result);
    assert!(took < DEADLINE / 2, "{name}: {took:?}");
    stderr.assert_empty();
    result.map_err(|e| e.status())
}

fn find(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).position(|w| w == part).unwrap_or_else(|| panic!("no {part:x?} in the file"))
}

fn made(folder: &Path, name: &str) -> Vec<u8> {
    read(&encode(folder, RECIPES.iter().find(|r| r.0 == name).unwrap()))
}

/// An element of Matroska.
fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    let size = (body.len() as u32 | 1 << 28).to_be_bytes();
    [id, &size, body].concat()
}

/// A Matroska file of one video stream and one frame at each time, in milliseconds; `more` says more of the stream.
fn mkv(codec: &str, (width, height): (u16, u16), more: &[u8], frames: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let size = [element(b"\xb0", &width.to_be_bytes()), element(b"\xba", &height.to_be_bytes())].concat();
    let numbers = [element(b"\xd7", &[1]), element(b"\x73\xc5", &[1]), element(b"\x83", &[1])].concat();
    let track = [numbers, element(b"\x86", codec.as_bytes()), element(b"\xe0", &size), more.to_vec()].concat();
    let cluster = |(time, frame): &(u64, Vec<u8>)| {
        let block = element(b"\xa3", &[&[0x81, 0, 0, 0x80], &frame[..]].concat());
        element(b"\x1f\x43\xb6\x75", &[element(b"\xe7", &time.to_be_bytes()), block].concat())
    };
    let segment = [
        element(b"\x15\x49\xa9\x66", &element(b"\x2a\xd7\xb1", &1_000_000u32.to_be_bytes())),
        element(b"\x16\x54\xae\x6b", &element(b"\xae", &track)),
        frames.iter().flat_map(cluster).collect(),
    ];
    let header = element(b"\x1a\x45\xdf\xa3", &element(b"\x42\x82", b"matroska"));
    [header, element(b"\x18\x53\x80\x67", &segment.concat())].concat()
}

/// Frames that no decoder makes sense of.
fn noise() -> Vec<(u64, Vec<u8>)> {
    (0..6).map(|n| (40 * n, (0..500).map(|i| mix(n << 16 | i) as u8).collect())).collect()
}

/// Containers that say 65,535 x 65,535 pixels. Decoders whose streams say otherwise may go by those.
#[test]
fn sizes_that_no_frame_has() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let short: &[u8] = &[0xff; 4];
    // Little-endian integers of AVI, and big-endian fixed-point numbers of MP4.
    let long: &[u8] = &[0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0];
    // What stands before the sizes and how far, and whether only the container has one.
    type Case<'a> = (&'a str, [(&'a [u8], usize, &'a [u8]); 2], bool);
    let cases: [Case; 4] = [
        ("qtrle.mov", [(b"tkhd", 80, long), (b"rle ", 28, short)], true),
        ("b_frames.mp4", [(b"tkhd", 80, long), (b"avc1\0\0\0\0", 28, short)], false),
        ("msvideo1.avi", [(b"avih", 40, long), (b"strf", 12, long)], true),
        ("mpeg4.avi", [(b"avih", 40, long), (b"strf", 12, long)], false),
    ];
    let refused = |status: Status| matches!(status, Status::Limit | Status::MediaFormat);
    for (name, patches, only) in cases {
        let mut bytes = made(folder.path(), name);
        for (before, offset, size) in patches {
            let at = find(&bytes, before) + offset;
            bytes[at..at + size.len()].copy_from_slice(size);
        }
        match attempt(name, &bytes, &VideoOptions::default()) {
            Ok(pictures) => assert!(!only && pictures.iter().all(|p| (p.width, p.height) == (96, 64)), "{name}"),
            Err(status) => assert!(refused(status), "{name}: {status:?}"),
        }
    }
    let huge = mkv("V_VP9", (u16::MAX, u16::MAX), &[], &noise());
    assert!(refused(attempt("huge.mkv", &huge, &VideoOptions::default()).unwrap_err()));
}

/// Frames that are shown in a hundred million years, or were.
#[test]
fn times_that_no_clock_shows() {
    let _alone = alone();
    let picture =
        ["-f", "lavfi", "-i", "testsrc2=size=64x48", "-frames:v", "1", "-pix_fmt", "yuvj420p", "-f", "mjpeg", "-"];
    let picture = ffmpeg(&picture);
    let far = i64::MAX as u64;
    let orders = [
        [0, 40, far],
        [0, far / 2, far],
        [far, 40, 0],
        [1 << 62, 1 << 63, 0],
        [far + 1, 0, far],
        [0, 1 << 40, 1 << 41],
    ];
    for times in orders {
        let bytes = mkv("V_MJPEG", (64, 48), &[], &times.map(|time| (time, picture.clone())));
        for sampling in [Sampling::Uniform, Sampling::KeyFrames, Sampling::Fps(1.0), Sampling::Fps(1e9)] {
            for seek in [Seek::Exact, Seek::Approximate] {
                for (start_us, end_us) in [(0, None), (1, Some(i64::MAX)), (i64::MAX - 1, None)] {
                    let options = VideoOptions { sampling, seek, start_us, end_us, ..Default::default() };
                    let _ = attempt(&format!("{times:?} {sampling:?} {start_us}"), &bytes, &options);
                }
            }
        }
    }
}

#[test]
fn encrypted_videos() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let plain = encode(folder.path(), &RECIPES[0]);
    let mut renamed = read(&plain);
    let name = find(&renamed, b"avc1\0\0\0\0");
    renamed[name..name + 4].copy_from_slice(b"encv");
    let key = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb"];
    let key = [&key[..], &["-encryption_kid", "a7e61c373e219033c21091fa607bf3b8"]].concat();
    let locked = read(&remux(&plain, &[], &key, "locked.mp4"));
    // ContentEncodings with AES and a key's name.
    let key = element(b"\x50\x35", &[element(b"\x47\xe1", &[5]), element(b"\x47\xe2", &[7; 16])].concat());
    let encoding = [element(b"\x50\x32", &[1]), element(b"\x50\x33", &[1]), key].concat();
    let encodings = element(b"\x6d\x80", &element(b"\x62\x40", &encoding));
    let matroska = mkv("V_VP9", (64, 48), &encodings, &noise());
    for (name, bytes) in [("encv.mp4", renamed), ("locked.mp4", locked), ("locked.mkv", matroska)] {
        for seek in [Seek::Exact, Seek::Approximate] {
            let result = attempt(name, &bytes, &VideoOptions { seek, ..Default::default() });
            assert!(result.is_err(), "{name}, {seek:?}");
        }
    }
}

#[test]
fn many_streams() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let one = encode(folder.path(), &RECIPES[1]);
    let maps = ["-map", "0:v"].repeat(120);
    for name in ["streams.mkv", "streams.ts", "streams.mp4"] {
        let bytes = read(&remux(&one, &[], &maps, name));
        for (stream_index, there) in [(None, true), (Some(119), true), (Some(120), false)] {
            let options = VideoOptions { stream_index, ..Default::default() };
            let result = attempt(name, &bytes, &options);
            assert_eq!(result.err(), (!there).then_some(Status::NoVideo), "{name}, stream {stream_index:?}");
        }
    }
}

#[test]
fn headers_without_frames() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let cluster: &[u8] = b"\x1f\x43\xb6\x75";
    // Where the frames begin.
    let cases: [(&str, &[u8]); 6] = [
        ("fragmented.mp4", b"moof"),
        ("b_frames.mp4", b"moov"),
        ("open_gop.mkv", cluster),
        ("vp9.webm", cluster),
        ("mpeg4.avi", b"movi"),
        ("pictures.gif", b"\x21\xf9\x04"),
    ];
    let cut = |(name, frames): (&'static str, &[u8])| {
        let mut bytes = made(folder.path(), name);
        bytes.truncate(find(&bytes, frames));
        (name, bytes)
    };
    let tables = made(folder.path(), "h264.ts")[..3 * 188].to_vec();
    for (name, bytes) in cases.map(cut).into_iter().chain([("tables.ts", tables), ("nothing", Vec::new())]) {
        let status = attempt(name, &bytes, &VideoOptions::default()).unwrap_err();
        assert!(matches!(status, Status::MediaFormat | Status::NoVideo), "{name}: {status:?}");
        let approximate = VideoOptions { seek: Seek::Approximate, ..Default::default() };
        assert!(attempt(name, &bytes, &approximate).is_err(), "{name}");
    }
}

/// What comes of it within two seconds, and no later than that.
fn watch(name: &str, bytes: Vec<u8>, seek: Seek, end_us: Option<i64>) -> Status {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let stderr = Stderr::take();
    let options = VideoOptions { seek, end_us, ..Default::default() };
    let start = Instant::now();
    let media = Source::Media(Box::new(Stream { bytes, at: 0, endless: true }));
    let error = pictures(media, &options, &Call::new(Some(TIMEOUT), None)).unwrap_err();
    let took = start.elapsed();
    println!("endless {name}, {seek:?} to {end_us:?}: {took:?}, {error}");
    // Not a measurement: freeing what it kept takes a while, too.
    assert!(took < TIMEOUT * 2, "{name}: {took:?}");
    stderr.assert_empty();
    error.status()
}

#[test]
fn endless_sources() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let before = start_of_peak();
    for name in ["h264.ts", "mpeg1.mpg"] {
        let bytes = made(folder.path(), name);
        let hours = Some(10_000_000_000);
        for (seek, end_us) in [(Seek::Exact, None), (Seek::Approximate, None), (Seek::Approximate, hours)] {
            let status = watch(name, bytes.clone(), seek, end_us);
            assert!(matches!(status, Status::Limit | Status::Timeout), "{name}: {status:?}");
        }
    }
    assert_eq!(watch("zeros", vec![0; 4096], Seek::Exact, None), Status::MediaFormat);
    let grown = peak_memory().saturating_sub(before);
    println!("endless sources: memory grew by {} MiB", grown >> 20);
    // 256 MiB of packets are kept, for a second pass; what is known of each comes on top.
    assert!(grown < (256 + 128) << 20, "memory grew by {} MiB", grown >> 20);
}
