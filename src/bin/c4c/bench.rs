//! `c4c bench`: how fast this machine embeds.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use c4c::{Call, Frame, Head, Modality, Model, Options, PixelFormat, VideoOptions};
use serde::Serialize;

use crate::common::{load, Failure, ModelArgs};
use crate::many::{device_names, positive, precision_name};
use crate::output::Output;
use crate::walk::shown;

const TEXTS: [usize; 3] = [1, 32, 256];
const IMAGES: [usize; 3] = [1, 12, 96];
/// No measurement is repeated more often.
const MOST_ROUNDS: usize = 1000;

#[derive(clap::Args)]
pub struct Args {
    /// Video files, to be measured from the file to the vector.
    #[arg(value_name = "VIDEO")]
    videos: Vec<PathBuf>,
    /// About how long to measure. Everything is measured once after a warm-up, however long that takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = positive)]
    seconds: f64,
    /// The report as one JSON object.
    #[arg(long)]
    json: bool,
    /// Launches every kernel of every pass on a GPU, instead of replaying recorded passes.
    #[arg(long)]
    no_cuda_graphs: bool,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Serialize)]
struct Report {
    model: String,
    architecture: String,
    /// Those that compute: `cpu`, `cuda:0` and the like.
    device: String,
    /// Why it is the CPU, where a GPU would have been taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    device_note: Option<String>,
    /// What the system calls the processor, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu: Option<String>,
    precision: String,
    threads: usize,
    load_seconds: f64,
    /// From the beginning of loading to the first vector.
    first_vector_seconds: f64,
    measurements: Vec<Measurement>,
    /// Of the process, where the system tells: at the end, and at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_resident_bytes: Option<u64>,
}

/// A call that was repeated.
#[derive(Serialize)]
struct Measurement {
    what: String,
    /// Vectors that one call makes.
    batch: usize,
    rounds: usize,
    median_seconds: f64,
    fastest_seconds: f64,
    /// By the median.
    vectors_per_second: f64,
}

/// What is measured: its name, how many vectors it makes, and how.
type Work<'a> = (String, usize, Box<dyn Fn() -> c4c::Result<()> + 'a>);

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(path) = args.videos.iter().find(|path| !path.exists()) {
        return Err(Failure::new(format_args!("there is no {}", shown(path))));
    }
    let start = Instant::now();
    let options = args.model.options(args.model.path()?, Modality::Both);
    let model = load(Options { cuda_graphs: !args.no_cuda_graphs, ..options })?;
    let load_seconds = start.elapsed().as_secs_f64();
    first(&model)?;
    let first_vector_seconds = start.elapsed().as_secs_f64();
    let (texts, pictures) = (texts(), pictures(&model));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let frames = frames(&model, &pictures)?;
    let works = works(&model, &texts, &frames, args)?;
    let share = Duration::from_secs_f64((args.seconds / works.len().max(1) as f64).min(1e6));
    let measurements = works.iter().map(|work| measure(work, share)).collect::<Result<_, Failure>>()?;
    let report = Report {
        model: shown(&model.options().weights_path),
        architecture: model.info().arch.to_string(),
        device: device_names(&model),
        device_note: model.info().device_note.clone(),
        cpu: line("/proc/cpuinfo", "model name"),
        precision: precision_name(&model),
        threads: model.info().num_threads,
        load_seconds,
        first_vector_seconds,
        measurements,
        resident_bytes: memory("VmRSS"),
        peak_resident_bytes: memory("VmHWM"),
    };
    report.print(args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// The first vector that a program would ask for: of a text, or of a gray picture where the model reads no texts.
fn first(model: &Model) -> Result<(), Failure> {
    let call = Call::default();
    if model.modality().text() {
        return Ok(model.embed_text(&["a first text"], &call).map(drop)?);
    }
    let side = side(model);
    let gray = vec![128; side * side];
    let picture = Frame::packed(PixelFormat::Gray8, side, side, &gray)?;
    Ok(model.embed_images(&[picture], &call).map(drop)?)
}

/// Everything that this model can do.
fn works<'a>(
    model: &'a Model,
    texts: &'a [&'a str],
    frames: &'a [Frame<'a>],
    args: &'a Args,
) -> Result<Vec<Work<'a>>, Failure> {
    let (call, options) = (Call::default(), VideoOptions::default());
    let mut works: Vec<Work> = Vec::new();
    if model.modality().text() {
        for batch in TEXTS {
            let call = call.clone();
            let embed = move || model.embed_text(&texts[..batch], &call).map(drop);
            works.push(("text".into(), batch, Box::new(embed)));
        }
    }
    if model.modality().video() {
        for batch in IMAGES {
            let call = call.clone();
            let embed = move || model.embed_images(&frames[..batch], &call).map(drop);
            works.push(("image".into(), batch, Box::new(embed)));
        }
    }
    if !args.videos.is_empty() && model.info().head == Head::TightTransf {
        return Err(Failure::new("the tightTransf head gives no video vectors; leave the videos out"));
    }
    for path in &args.videos {
        let (call, options) = (call.clone(), options.clone());
        let embed = move || model.embed_video_path(path, &options, &call).map(drop);
        works.push((shown(path), 1, Box::new(embed)));
    }
    if args.videos.len() > 1 {
        let paths: Vec<&Path> = args.videos.iter().map(PathBuf::as_path).collect();
        let all = paths.len();
        let embed = move || {
            let rows = model.embed_video_paths(&paths, &options, &call, &mut |_| true)?;
            rows.into_iter().try_for_each(|row| row.map(drop))
        };
        works.push(("the videos in one call".into(), all, Box::new(embed)));
    }
    Ok(works)
}

/// Repeats a call, after one that does not count, until its share of the time is over.
fn measure((what, batch, call): &Work, share: Duration) -> Result<Measurement, Failure> {
    let start = Instant::now();
    let failed = |e: c4c::Error| Failure::new(format_args!("{what}: {e}"));
    call().map_err(failed)?;
    let mut rounds = Vec::new();
    while rounds.is_empty() || (start.elapsed() < share && rounds.len() < MOST_ROUNDS) {
        let start = Instant::now();
        call().map_err(failed)?;
        rounds.push(start.elapsed().as_secs_f64());
    }
    rounds.sort_by(f64::total_cmp);
    let (fastest_seconds, median_seconds) =
        (rounds[0], (rounds[(rounds.len() - 1) / 2] + rounds[rounds.len() / 2]) / 2.0);
    Ok(Measurement {
        what: what.clone(),
        batch: *batch,
        rounds: rounds.len(),
        median_seconds,
        fastest_seconds,
        vectors_per_second: *batch as f64 / median_seconds,
    })
}

/// Sentences of about the length that captions have, all different.
fn texts() -> Vec<String> {
    const WHO: [&str; 8] =
        ["a man", "a woman", "two children", "a brown dog", "a chef", "the singer", "a cyclist", "people"];
    const WHAT: [&str; 8] =
        ["is dancing", "runs", "talks about a car", "is cooking pasta", "plays", "jumps", "is singing", "fights"];
    const WHERE: [&str; 4] = ["on the beach", "in a kitchen", "in front of a large crowd", "near an old stone bridge"];
    let text = |i: usize| format!("{} {} {}", WHO[i % 8], WHAT[i / 8 % 8], WHERE[i / 64 % 4]);
    (0..256).map(text).collect()
}

/// Noise, as large as the model sees it.
fn pictures(model: &Model) -> Vec<Vec<u8>> {
    let side = side(model);
    let mut state = 1u64;
    let mut byte = || {
        // Knuth's MMIX generator; its high bits are the random ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..IMAGES[2]).map(|_| (0..3 * side * side).map(|_| byte()).collect()).collect()
}

fn frames<'a>(model: &Model, pictures: &'a [Vec<u8>]) -> Result<Vec<Frame<'a>>, Failure> {
    let side = side(model);
    if side == 0 {
        return Ok(Vec::new());
    }
    let frame = |rgb: &'a Vec<u8>| Frame::packed(PixelFormat::Rgb24, side, side, rgb);
    Ok(pictures.iter().map(frame).collect::<c4c::Result<_>>()?)
}

/// The width and height of what the model sees; 0 without a vision tower.
fn side(model: &Model) -> usize {
    model.info().arch.vision.as_ref().map_or(0, |vision| vision.resolution())
}

/// What comes after `name` and a colon in a file of Linux's.
fn line(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// Bytes of memory, by the name that Linux has for them.
fn memory(name: &str) -> Option<u64> {
    let kib: u64 = line("/proc/self/status", name)?.trim_end_matches(" kB").parse().ok()?;
    Some(kib * 1024)
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let mut to = Output::open(None)?;
        if json {
            to.json(self)?;
            return to.finish();
        }
        let mut row = |name: &str, value: String| writeln!(to, "{name:<14}{value}");
        row("model", format!("{}, {}", self.model, self.architecture))?;
        let cpu = self.cpu.as_ref().map(|cpu| format!(", {cpu}")).unwrap_or_default();
        row("device", format!("{}{cpu}, {} threads, {}", self.device, self.threads, self.precision))?;
        if let Some(why) = &self.device_note {
            row("", format!("not a GPU: {why}"))?;
        }
        row("load", format!("{:.2} s; {:.2} s to the first vector", self.load_seconds, self.first_vector_seconds))?;
        if let (Some(now), Some(peak)) = (self.resident_bytes, self.peak_resident_bytes) {
            row("memory", format!("{} MB resident, {} MB at most", now / 1_000_000, peak / 1_000_000))?;
        }
        let width = self.measurements.iter().map(|m| m.what.chars().count()).max().unwrap_or(0).max(12) + 2;
        let columns = ["batch", "median ms", "fastest", "vectors/s", "rounds"];
        writeln!(
            to,
            "\n{:<width$}{:>6}{:>12}{:>12}{:>12}{:>8}",
            "", columns[0], columns[1], columns[2], columns[3], columns[4]
        )?;
        for m in &self.measurements {
            let (median, fastest) = (m.median_seconds * 1e3, m.fastest_seconds * 1e3);
            let Measurement { what, batch, vectors_per_second, rounds, .. } = m;
            writeln!(to, "{what:<width$}{batch:>6}{median:>12.2}{fastest:>12.2}{vectors_per_second:>12.1}{rounds:>8}")?;
        }
        to.finish()
    }
}
