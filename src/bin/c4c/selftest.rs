//! `c4c selftest`: whether this machine computes the vectors that an independent implementation computed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use c4c::{Call, Frame, Model, Options, PixelFormat, Precision, Status, VideoOptions};
use ndarray::Array2;
use serde::Deserialize;

use crate::captions::Captions;
use crate::common::{demo_folder, load, Failure, RunArgs};
use crate::many::{device_names, precision_name};
use crate::metrics::{ranks, Vectors};
use crate::output::Output;
use crate::walk::{reason, shown};

/// The pictures that are made by formula.
const FRAMES: usize = 12;
const WIDTH: usize = 320;
const HEIGHT: usize = 240;

#[derive(clap::Args)]
pub struct Args {
    /// The folder with the expected vectors: golden.json, captions.jsonl, videos and pytorch_model.bin. The
    /// demonstration's unless given.
    #[arg(long, value_name = "DIR")]
    demo: Option<PathBuf>,
    /// Another file with the weights that the expected vectors are of.
    #[arg(short, long, value_name = "CHECKPOINT")]
    model: Option<PathBuf>,
    /// f32, bf16, f16 and int8 one after the other, as far as the device has them.
    #[arg(long, conflicts_with = "precision")]
    all_precisions: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// What an independent implementation computed, in single precision.
#[derive(Deserialize)]
struct Golden {
    texts: Vec<Text>,
    frames: Frames,
    videos: Vec<Video>,
}

#[derive(Deserialize)]
struct Text {
    text: String,
    vector: Vec<f32>,
}

#[derive(Deserialize)]
struct Frames {
    vector: Vec<f32>,
}

#[derive(Deserialize)]
struct Video {
    /// A file in `videos`.
    video: String,
    vector: Vec<f32>,
}

/// The largest 1 − cosine that is right.
struct Bounds {
    texts: f64,
    frames: f64,
    /// Decoding and scaling are not PyTorch's, so that a few bytes differ.
    videos: f64,
}

impl Bounds {
    fn of(precision: Precision) -> Bounds {
        match precision {
            Precision::F32 => Bounds { texts: 1e-6, frames: 1e-6, videos: 1e-6 },
            Precision::Bf16 | Precision::F16 => Bounds { texts: 5e-4, frames: 5e-4, videos: 5e-4 },
            Precision::Int8 => Bounds { texts: 2e-3, frames: 2e-3, videos: 2e-3 },
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let demo = match &args.demo {
        Some(folder) => folder.clone(),
        None => demo_folder().map_err(|_| {
            Failure::new("the demonstration (share/c4c/demo) is not installed here; name its folder with --demo")
        })?,
    };
    let golden = read(&demo.join("golden.json"))?;
    let captions = Captions::read(&demo.join("captions.jsonl"), None)?;
    let weights = args.model.clone().unwrap_or_else(|| demo.join("pytorch_model.bin"));
    let options = args.run.options(&weights);
    let precisions = match args.all_precisions {
        true => [Precision::F32, Precision::Bf16, Precision::F16, Precision::Int8].map(Some).to_vec(),
        false => vec![options.precision],
    };
    let (mut checks, mut device) = (Checks { to: Output::open(None)?, passed: 0, failed: 0 }, String::new());
    for precision in precisions {
        match load(Options { precision, ..options.clone() }) {
            Ok(model) => {
                device = device_names(&model);
                checks.model(&model, &golden, &captions, &demo.join("videos"))?
            }
            Err(Failure::Library(e)) if args.all_precisions && e.status() == Status::Unsupported => {
                writeln!(checks.to, "       {e}")?
            }
            Err(e) => return Err(e),
        }
    }
    let Checks { mut to, passed, failed } = checks;
    match failed {
        0 => writeln!(to, "all {passed} checks passed on {device}")?,
        failed => writeln!(to, "{failed} of {} checks FAILED on {device}", passed + failed)?,
    }
    to.finish()?;
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn read(path: &Path) -> Result<Golden, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::new(format_args!("{}: {}", shown(path), reason(&e))))?;
    serde_json::from_slice(&bytes).map_err(|e| Failure::new(format_args!("{}: {e}", shown(path))))
}

/// Prints a line for each check, and counts.
struct Checks {
    to: Output,
    passed: usize,
    failed: usize,
}

impl Checks {
    /// All checks of one model.
    fn model(&mut self, model: &Model, golden: &Golden, captions: &Captions, folder: &Path) -> Result<(), Failure> {
        let (call, precision) = (Call::default(), precision_name(model));
        let bounds = Bounds::of(model.info().precision);

        let texts: Vec<&str> = golden.texts.iter().map(|text| text.text.as_str()).collect();
        let rows = model.embed_text(&texts, &call)?;
        let pairs = golden.texts.iter().zip(rows.rows());
        let distances = pairs.map(|(text, row)| Ok((text.text.as_str(), distance(&text.vector, row.as_slice())?)));
        self.near(&precision, "texts", distances.collect::<Result<_, Failure>>()?, bounds.texts)?;

        let pictures: Vec<Vec<u8>> = (0..FRAMES).map(picture).collect();
        let frames = pictures.iter().map(|rgb| Frame::packed(PixelFormat::Rgb24, WIDTH, HEIGHT, rgb));
        let row = model.embed_frames(&frames.collect::<c4c::Result<Vec<_>>>()?, &call)?;
        let distances = vec![("frames", distance(&golden.frames.vector, row.as_slice())?)];
        self.near(&precision, "frames", distances, bounds.frames)?;

        let mut distances = Vec::new();
        let videos: Vec<&str> = golden.videos.iter().map(|video| video.video.as_str()).collect();
        for (video, row) in golden.videos.iter().zip(embed(model, folder, &videos)?) {
            match row {
                Ok(row) => distances.push((video.video.as_str(), distance(&video.vector, row.as_slice())?)),
                Err(e) => self.check(false, &precision, "videos", &format!("{}: {e}", video.video))?,
            }
        }
        self.near(&precision, "videos", distances, bounds.videos)?;
        self.retrieval(model, &precision, captions, folder)
    }

    /// Whether each caption finds its video.
    fn retrieval(&mut self, model: &Model, precision: &str, captions: &Captions, folder: &Path) -> Result<(), Failure> {
        let names: Vec<&str> = captions.videos.iter().map(String::as_str).collect();
        let mut videos = Array2::zeros((0, model.dim()));
        for (name, row) in names.iter().zip(embed(model, folder, &names)?) {
            match row {
                Ok(row) => videos.push_row(row.view()).map_err(Failure::new)?,
                Err(e) => return self.check(false, precision, "captions", &format!("{name}: {e}")),
            }
        }
        let texts: Vec<&str> = captions.texts.iter().map(|text| text.text.as_str()).collect();
        let texts = model.embed_text(&texts, &Call::default())?;
        let (of_texts, of_videos) = (captions.video_of_each(), Vec::from_iter(0..names.len()));
        let queries = Vectors { rows: texts.view(), videos: &of_texts };
        let ranks = ranks(queries, Vectors { rows: videos.view(), videos: &of_videos });
        let found = ranks.iter().filter(|&&rank| rank == 1).count();
        let mut what = format!("{found} of {} captions find their video first among {}", ranks.len(), names.len());
        for (caption, rank) in captions.texts.iter().zip(&ranks).filter(|(_, &rank)| rank > 1) {
            what += &format!("\n         `{}` has {} in place {rank}", caption.text, names[caption.video]);
        }
        self.check(found == ranks.len(), precision, "captions", &what)
    }

    /// Whether all of these are near to what was expected.
    fn near(&mut self, precision: &str, kind: &str, distances: Vec<(&str, f64)>, bound: f64) -> Result<(), Failure> {
        let Some(&(worst, far)) = distances.iter().max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return self.check(false, precision, kind, "there are none to compare");
        };
        // NaN is not within.
        let within = distances.iter().filter(|(_, distance)| *distance <= bound).count();
        let outside = distances.len() - within;
        let mut what = format!("1 - cosine at most {:.1e} of {}, bound {bound:.0e}", far.max(0.0), distances.len());
        if outside > 0 {
            what += &format!("; {outside} beyond, worst `{worst}`");
        }
        self.check(outside == 0, precision, kind, &what)
    }

    fn check(&mut self, good: bool, precision: &str, kind: &str, what: &str) -> Result<(), Failure> {
        if good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        writeln!(self.to, "{:<7}{precision:<5} {kind:<9} {what}", if good { "ok" } else { "FAILED" })?;
        // One after the other, as they come.
        Ok(self.to.flush()?)
    }
}

/// The vectors of these videos, or what was wrong with them.
fn embed(model: &Model, folder: &Path, names: &[&str]) -> Result<Vec<c4c::Result<ndarray::Array1<f32>>>, Failure> {
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    Ok(model.embed_video_paths(&paths, &VideoOptions::default(), &Call::default(), &mut |_| true)?)
}

/// 1 − cosine, in double precision.
fn distance(expected: &[f32], row: Option<&[f32]>) -> Result<f64, Failure> {
    let row = row.unwrap_or_default();
    if expected.len() != row.len() {
        return Err(Failure::new(format_args!(
            "the expected vectors have {} floats, the model's {}; they are of another model",
            expected.len(),
            row.len()
        )));
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    Ok(1.0 - dot(expected, row) / (dot(expected, expected) * dot(row, row)).sqrt())
}

/// Picture number `t`, as packed RGB: patterns that differ in each colour and move.
fn picture(t: usize) -> Vec<u8> {
    let byte = |i: usize| {
        let (c, x, y) = (i % 3, i / 3 % WIDTH, i / 3 / WIDTH);
        (x * (c + 1) + y * (3 - c) + 16 * t) as u8
    };
    (0..3 * WIDTH * HEIGHT).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_by_formula() {
        let picture = picture(2);
        // Of colour 1 at x = 300, y = 7: 300 · 2 + 7 · 2 + 16 · 2 = 646 = 2 · 256 + 134.
        assert_eq!(picture[(7 * WIDTH + 300) * 3 + 1], 134);
        assert_eq!((picture.len(), &picture[..6]), (320 * 240 * 3, &[32, 32, 32, 33, 34, 35][..]));
    }

    #[test]
    fn distances() {
        assert!(distance(&[1.0, 2.0], Some(&[2.0, 4.0])).unwrap().abs() < 1e-15);
        assert_eq!(distance(&[1.0, 0.0], Some(&[0.0, 1.0])).unwrap(), 1.0);
        assert!(distance(&[0.0, 0.0], Some(&[0.0, 1.0])).unwrap().is_nan());
        assert!(distance(&[1.0], Some(&[0.0, 1.0])).is_err());
    }
}
