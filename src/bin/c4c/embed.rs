//! `c4c embed`: vectors of videos or of texts.

use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use c4c::{Call, Modality, Model, Source};
use clap::ValueEnum;
use ndarray::{Array2, ArrayView1};
use ndarray_npy::WriteNpyExt;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::common::{cancelled_by_interrupt, tell, Failure, ModelArgs};
use crate::many::{bar, microseconds, or_interrupted, positive, told, videos, SamplingArgs};
use crate::output::Output;
use crate::walk::{json, reason, shown};

/// How many are embedded before their lines are written: enough for any number of cores.
const AT_ONCE: usize = 256;

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["videos", "text", "text_file"]))]
pub struct Args {
    /// Video files, one vector each.
    #[arg(value_name = "VIDEO")]
    videos: Vec<PathBuf>,
    /// Texts, one vector each.
    #[arg(long, num_args = 1.., value_name = "TEXT")]
    text: Vec<String>,
    /// A file with a text in every line, or - for stdin.
    #[arg(long, value_name = "FILE")]
    text_file: Option<PathBuf>,
    /// What is written. Without it, what the ending of the output's name says, else jsonl.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where to; without it, stdout. The file appears complete or not at all.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One vector for each part of a video that is so many seconds long, instead of one for all of it.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["text", "text_file"], value_parser = positive)]
    segment: Option<f64>,
    /// Seconds from the beginning of a part to that of the next; without it, as long as the parts.
    #[arg(long, value_name = "SECONDS", requires = "segment", value_parser = positive)]
    step: Option<f64>,
    /// In npy and raw, a video that cannot be embedded becomes a row of NaN; otherwise nothing is written then.
    #[arg(long, conflicts_with = "segment")]
    fill_nan: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// NumPy's: one float32 array of [vectors, floats], in the order of the arguments.
    Npy,
    /// A JSON object per line.
    Jsonl,
    /// Little-endian float32, one vector after the other.
    Raw,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    or_interrupted(embed(args))
}

fn embed(args: &Args) -> Result<ExitCode, Failure> {
    let format = args.format();
    if format != Format::Jsonl && args.output.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::new(
            "npy and raw are no text for a terminal; name a file with -o, or take --format jsonl",
        ));
    }
    if format != Format::Jsonl && args.segment.is_some() && args.videos.len() > 1 {
        return Err(Failure::new("rows do not say of which video they are a part; take --format jsonl, or one video"));
    }
    let texts = args.texts()?;
    let model = args.model.load(if texts.is_some() { Modality::Text } else { Modality::Video })?;
    let call = Call::new(None, Some(cancelled_by_interrupt()?));
    let mut sink = Sink::new(format, args, model.dim())?;
    match &texts {
        Some(texts) => embed_texts(&model, texts, &call, &mut sink)?,
        None => embed_videos(&model, args, &call, &mut sink)?,
    }
    sink.finish()
}

impl Args {
    fn format(&self) -> Format {
        let ending = self.output.as_ref().and_then(|path| path.extension()).and_then(|ending| ending.to_str());
        let by_ending = ending.and_then(|ending| Format::from_str(ending, true).ok());
        self.format.or(by_ending).unwrap_or(Format::Jsonl)
    }

    /// The texts to be embedded, if it is texts.
    fn texts(&self) -> Result<Option<Vec<String>>, Failure> {
        match &self.text_file {
            Some(path) => Ok(Some(lines(path)?)),
            None => Ok((!self.text.is_empty()).then(|| self.text.clone())),
        }
    }
}

/// The lines of a file, or of stdin.
fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let failed = |e: std::io::Error| Failure::new(format_args!("{}: {}", shown(path), reason(&e)));
    let from: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let line = |(i, line): (usize, std::io::Result<String>)| match line {
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Err(Failure::new(format_args!("{}: line {} is not UTF-8", shown(path), i + 1)))
        }
        line => line.map_err(failed),
    };
    BufReader::new(from).lines().enumerate().map(line).collect()
}

fn embed_texts(model: &Model, texts: &[String], call: &Call, sink: &mut Sink) -> Result<(), Failure> {
    for texts in texts.chunks(AT_ONCE) {
        let views: Vec<&str> = texts.iter().map(String::as_str).collect();
        for (text, vector) in views.iter().zip(model.embed_text(&views, call)?.rows()) {
            sink.vector(&Map::from_iter([("text".into(), Value::from(*text))]), None, vector)?;
        }
        sink.output.flush()?;
    }
    Ok(())
}

fn embed_videos(model: &Model, args: &Args, call: &Call, sink: &mut Sink) -> Result<(), Failure> {
    let options = args.sampling.options();
    let paths: Vec<&Path> = args.videos.iter().map(PathBuf::as_path).collect();
    let bar = bar(paths.len(), !sink.is_terminal());
    let Some(segment) = args.segment else {
        for paths in paths.chunks(AT_ONCE) {
            for (path, vector) in paths.iter().zip(videos(model, paths, &options, call, &bar)?) {
                match vector {
                    Ok(vector) => sink.vector(&json(path), None, vector.view())?,
                    Err(e) => bar.suspend(|| sink.failure(path, &e))?,
                }
            }
            sink.output.flush()?;
        }
        return Ok(());
    };
    let window = (microseconds(segment), microseconds(args.step.unwrap_or(segment)));
    for path in paths {
        match model.embed_segments(Source::Path(path), &options, window, call) {
            Ok(segments) => {
                for (vector, &times) in segments.vectors.rows().into_iter().zip(&segments.times_us) {
                    sink.vector(&json(path), Some(times), vector)?;
                }
            }
            Err(e) => {
                call.check()?;
                bar.suspend(|| sink.failure(path, &e))?;
            }
        }
        sink.output.flush()?;
        bar.inc(1);
    }
    Ok(())
}

/// A line of jsonl.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    of: &'a Map<String, Value>,
    /// In seconds from the first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Takes vectors and failures in the order of the arguments. Lines are written as they come; a matrix, which has no
/// place for a failure, at the end.
struct Sink {
    output: Output,
    format: Format,
    dim: usize,
    fill_nan: bool,
    rows: Vec<f32>,
    failed: usize,
}

impl Sink {
    fn new(format: Format, args: &Args, dim: usize) -> Result<Sink, Failure> {
        let output = Output::open(args.output.as_deref())?;
        Ok(Sink { output, format, dim, fill_nan: args.fill_nan, rows: Vec::new(), failed: 0 })
    }

    fn is_terminal(&self) -> bool {
        self.output.is_terminal()
    }

    fn vector(
        &mut self,
        of: &Map<String, Value>,
        times_us: Option<(i64, i64)>,
        vector: ArrayView1<f32>,
    ) -> Result<(), Failure> {
        if self.format != Format::Jsonl {
            self.rows.extend(vector);
            return Ok(());
        }
        let times = times_us.map(|(start, end)| (start as f64 / 1e6, end as f64 / 1e6));
        let (start, end) = (times.map(|t| t.0), times.map(|t| t.1));
        let vector = vector.to_vec();
        self.output.json(&Line { of, start, end, vector: Some(&vector), error: None })
    }

    fn failure(&mut self, path: &Path, error: &c4c::Error) -> Result<(), Failure> {
        tell(told(path, error));
        self.failed += 1;
        if self.format == Format::Jsonl {
            let error = Some(error.to_string());
            return self.output.json(&Line { of: &json(path), start: None, end: None, vector: None, error });
        }
        self.rows.extend(std::iter::repeat_n(f32::NAN, self.dim));
        Ok(())
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// When a matrix would have a hole.
    fn finish(mut self) -> Result<ExitCode, Failure> {
        if self.format != Format::Jsonl && self.failed > 0 && !self.fill_nan {
            return Err(Failure::new(format_args!(
                "nothing was written, since {} could not be embedded; leave such videos out, take --fill-nan for rows \
                 of NaN, or --format jsonl",
                if self.failed == 1 { "a video".into() } else { format!("{} videos", self.failed) }
            )));
        }
        match self.format {
            Format::Jsonl => {}
            Format::Npy => npy(&mut self.output, std::mem::take(&mut self.rows), self.dim)?,
            Format::Raw => self.rows.iter().try_for_each(|value| self.output.write_all(&value.to_le_bytes()))?,
        }
        self.output.finish()?;
        Ok(ExitCode::from(u8::from(self.failed > 0)))
    }
}

/// Writes rows of `dim` floats as one array.
fn npy(to: &mut Output, rows: Vec<f32>, dim: usize) -> Result<(), Failure> {
    let rows = Array2::from_shape_vec((rows.len() / dim, dim), rows).map_err(Failure::new)?;
    match rows.write_npy(to) {
        Err(ndarray_npy::WriteNpyError::Io(e)) => Err(e.into()),
        written => written.map_err(Failure::new),
    }
}
