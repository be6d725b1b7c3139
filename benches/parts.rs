//! How long the parts take: preprocessing, tokenizing, decoding, the forward passes and loading, each alone. No other
//! process should be busy meanwhile.
//!
//!     cargo bench --bench parts [-- FILTER]
//!
//! Videos come from the ffmpeg command, or `C4C_BENCH_VIDEO` names one. The weights are random and of ViT-B/32's size:
//! two files of 353 MB, which are gone when it ends. `C4C_BENCH_THREADS` sets the threads of a forward pass and of decoding.

#[path = "../tests/support/mod.rs"]
mod support;

use std::cell::LazyCell;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use c4c::{
    pictures, Call, Frame, Log, Modality, Model, Options, PixelFormat, Precision, Source, Tokenizer, VideoOptions,
};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use support::checkpoint::{Sizes, Writer, B32, TINY};

const TEXT: &str = "a man in a red jacket rides his bicycle along the beach";

fn main() {
    // In the target folder, where a run that is killed leaves nothing that `cargo clean` does not remove.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    tokenize(&mut criterion);
    preprocess(&mut criterion, folder.path());
    decode(&mut criterion, folder.path());
    let pickle = LazyCell::new(|| checkpoint(folder.path(), "b32.bin"));
    let safetensors = LazyCell::new(|| checkpoint(folder.path(), "b32.safetensors"));
    embed(&mut criterion, &pickle);
    load(&mut criterion, &pickle, &safetensors);
    criterion.final_summary();
}

/// From text to ids.
fn tokenize(criterion: &mut Criterion) {
    let tokenizer = Tokenizer::clip();
    // It is built when the first text comes.
    tokenizer.encode("").unwrap();
    let mut group = group(criterion, "tokenize", 1.0);
    for count in [1, 32] {
        let texts = texts(count);
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count} texts"), |b| {
            b.iter(|| {
                for text in &texts {
                    black_box(tokenizer.model_ids(text, Options::DEFAULT_MAX_WORDS, false).unwrap());
                }
            })
        });
    }
    group.finish();
}

/// From a frame in memory to the square that the model sees, on the calling thread. The time is what the model itself counts
/// for it: the forward pass behind it, of a model that is as small as it can be, is left out.
fn preprocess(criterion: &mut Criterion, folder: &Path) {
    let model = LazyCell::new(|| {
        let path = folder.join("small.bin");
        let sizes = Sizes { vision_width: 64, vision_layers: 1, ..TINY };
        Writer::new(&sizes, 1).torch_save(&path, "");
        let options = Options { modality: Modality::Video, num_threads: Some(1), ..Options::new(path) };
        Model::load(options, Log::default()).unwrap()
    });
    let mut group = group(criterion, "preprocess", 0.5);
    group.throughput(Throughput::Elements(1));
    for format in [PixelFormat::Rgb24, PixelFormat::I420] {
        for (width, height) in [(320, 240), (1280, 720), (1920, 1080)] {
            let data = LazyCell::new(|| support::frame(0, width, height));
            group.bench_function(format!("{format:?}/{width}x{height}").to_lowercase(), |b| {
                let frame = match format {
                    PixelFormat::Rgb24 => Frame::packed(format, width, height, &data).unwrap(),
                    _ => i420(&data, width, height),
                };
                let model = &*model;
                b.iter_custom(|times| {
                    let before = model.stats().preprocess;
                    for _ in 0..times {
                        model.embed_images(&[frame], &Call::default()).unwrap();
                    }
                    model.stats().preprocess - before
                })
            });
        }
    }
    group.finish();
}

/// A YUV picture out of the first bytes of `data`.
fn i420(data: &[u8], width: usize, height: usize) -> Frame<'_> {
    let (luma, rest) = data.split_at(width * height);
    let (u, rest) = rest.split_at(width * height / 4);
    let v = &rest[..width * height / 4];
    let half = (width / 2) as isize;
    Frame::planar(PixelFormat::I420, width, height, &[(luma, width as isize), (u, half), (v, half)]).unwrap()
}

/// From a file to the twelve frames that stand for it, in RGB of their own size.
fn decode(criterion: &mut Criterion, folder: &Path) {
    let video = LazyCell::new(|| {
        std::env::var_os("C4C_BENCH_VIDEO").map_or_else(
            || {
                let path = folder.join("video.mp4");
                support::media::test_video(&path, "320x240", 25, 250, &["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
                path
            },
            PathBuf::from,
        )
    });
    let mut group = group(criterion, "decode", 2.0);
    let mut threads = vec![Some(1), threads()];
    threads.dedup();
    for decode_threads in threads {
        let name = decode_threads.map_or("a thread per core".into(), |n| format!("threads: {n}"));
        group.bench_function(format!("12 frames/{name}"), |b| {
            let options = VideoOptions { decode_threads, ..Default::default() };
            let video = video.as_path();
            b.iter(|| pictures(Source::Path(video), &options, &Call::default()).unwrap())
        });
    }
    group.finish();
}

/// From texts and from small pictures to their vectors: with tokenizing and preprocessing, but nearly all of it is the
/// forward pass.
fn embed(criterion: &mut Criterion, weights: &LazyCell<PathBuf, impl FnOnce() -> PathBuf>) {
    for precision in [Precision::F32, Precision::Bf16] {
        let model = LazyCell::new(|| {
            let options =
                Options { precision: Some(precision), num_threads: threads(), ..Options::new(weights.as_path()) };
            Model::load(options, Log::default()).unwrap()
        });
        let mut group = group(criterion, &format!("embed/{precision:?}").to_lowercase(), 2.0);
        group.sampling_mode(SamplingMode::Flat);
        for count in [1, 32] {
            let texts = texts(count);
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{count} texts"), |b| {
                let model = &*model;
                b.iter(|| model.embed_text(&texts, &Call::default()).unwrap())
            });
        }
        for count in [1, 12] {
            let pictures: Vec<Vec<u8>> = (0..count).map(|k| support::frame(k, 224, 224)).collect();
            let frames: Vec<Frame> =
                pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, 224, 224, rgb).unwrap()).collect();
            group.throughput(Throughput::Elements(count as u64));
            group.bench_function(format!("{count} images"), |b| {
                let model = &*model;
                b.iter(|| model.embed_images(&frames, &Call::default()).unwrap())
            });
        }
        group.finish();
    }
}

/// From a file, which the system has in memory, to a model that is ready. Releasing the model is left out.
fn load(
    criterion: &mut Criterion,
    pickle: &LazyCell<PathBuf, impl FnOnce() -> PathBuf>,
    safetensors: &LazyCell<PathBuf, impl FnOnce() -> PathBuf>,
) {
    let mut group = group(criterion, "load", 2.0);
    group.sampling_mode(SamplingMode::Flat);
    for precision in [Precision::F32, Precision::Bf16] {
        let mut bench = |container: &str, path: &dyn Fn() -> PathBuf| {
            group.bench_function(format!("{container}/{precision:?}").to_lowercase(), |b| {
                let path = path();
                b.iter_batched(
                    || Options { precision: Some(precision), num_threads: threads(), ..Options::new(&path) },
                    |options| Model::load(options, Log::default()).unwrap(),
                    // Two models are never in memory at once.
                    BatchSize::PerIteration,
                )
            });
        };
        bench("pickle", &|| pickle.to_path_buf());
        bench("safetensors", &|| safetensors.to_path_buf());
    }
    group.finish();
}

/// Few samples, since a run of them all should end within two minutes.
fn group<'c>(criterion: &'c mut Criterion, name: &str, seconds: f64) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs_f64(seconds));
    group
}

/// A random ViT-B/32, in the container that the name tells.
fn checkpoint(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let writer = Writer::new(&B32, 1);
    match path.extension().is_some_and(|extension| extension == "safetensors") {
        true => writer.safetensors(&path),
        false => writer.torch_save(&path, ""),
    }
    path
}

/// Sentences of 13 to 14 ids that differ.
fn texts(count: usize) -> Vec<String> {
    (0..count).map(|i| if i == 0 { TEXT.into() } else { format!("{TEXT} {i}") }).collect()
}

/// `None`: as many as there are cores.
fn threads() -> Option<usize> {
    std::env::var("C4C_BENCH_THREADS").ok().map(|n| n.parse().expect("C4C_BENCH_THREADS is a number"))
}
