//! `c4c eval`: retrieval scores of a model on a set of captioned videos.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use c4c::{Call, Cancel, Modality};
use ndarray::{Array1, Array2, Axis};
use ndarray_npy::WriteNpyExt;
use serde::Serialize;

use crate::captions::Captions;
use crate::common::{cancelled_by_interrupt, tell, Failure, ModelArgs};
use crate::many::{bar, device_names, or_interrupted, precision_name, told, videos, SamplingArgs};
use crate::metrics::{ranks, Scores, Vectors};
use crate::output::Output;
use crate::walk::{escaped, reason, shown};

#[derive(clap::Args)]
pub struct Args {
    /// Which text describes which video: MSR-VTT's MSRVTT_JSFUSION_test.csv or MSRVTT_data.json, any csv with columns
    /// video (or video_id, or path) and caption (or sentence, or text), or JSON lines with fields of these names, or a
    /// list captions.
    #[arg(long, value_name = "FILE")]
    captions: PathBuf,
    /// The folder in which a video is found by its name, with or without an ending.
    #[arg(long, value_name = "DIR")]
    videos: PathBuf,
    /// Only what the caption file says to be of this split; of MSRVTT_data.json `test` unless given.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Goes on without videos that are missing or cannot be decoded. Figures on a part do not compare with those on
    /// all.
    #[arg(long)]
    skip_missing: bool,
    /// Also the texts' R@1 for each group, by the caption file's column or field of that name.
    #[arg(long)]
    by_group: bool,
    /// Writes the rank of every text and of every video as csv.
    #[arg(long, value_name = "FILE")]
    ranks: Option<PathBuf>,
    /// Writes texts.npy and videos.npy into this folder, in the order of --ranks.
    #[arg(long, value_name = "DIR")]
    vectors: Option<PathBuf>,
    /// The report as one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Serialize)]
struct Report {
    model: String,
    device: String,
    precision: String,
    num_frames: usize,
    texts: usize,
    videos: usize,
    /// The videos that are missing or cannot be decoded.
    left_out: Vec<String>,
    text_to_video: Scores,
    video_to_text: Scores,
    /// By `--by-group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<BTreeMap<String, Group>>,
    seconds: Seconds,
}

#[derive(Serialize)]
struct Group {
    texts: usize,
    /// Text to video, in percent.
    r1: f64,
}

#[derive(Default, Serialize)]
struct Seconds {
    load: f64,
    videos: f64,
    texts: f64,
    ranks: f64,
}

/// One vector each, `[n, dim]`.
struct Embedded {
    texts: Array2<f32>,
    videos: Array2<f32>,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    or_interrupted(eval(args))
}

fn eval(args: &Args) -> Result<ExitCode, Failure> {
    let captions = Captions::read(&args.captions, args.split.as_deref())?;
    if args.by_group && captions.texts.iter().all(|text| text.group.is_none()) {
        return Err(Failure::new(format_args!(
            "{} says nothing of groups; --by-group needs a column or field `group`",
            shown(&args.captions)
        )));
    }
    let cancel = cancelled_by_interrupt()?;
    let call = Call::new(None, Some(cancel.clone()));
    let (captions, files, mut left_out) = present(args, captions, &call, &cancel)?;
    // What cannot be written is found out before the work is done.
    let ranks_file = args.ranks.as_deref().map(|path| Output::open(Some(path))).transpose()?;
    if let Some(folder) = &args.vectors {
        let failed = |e| Failure::new(format_args!("cannot make {}: {}", shown(folder), reason(&e)));
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut seconds = Seconds::default();
    let model = timed(&mut seconds.load, || args.model.load(Modality::Both))?;
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let rows = timed(&mut seconds.videos, || {
        videos(&model, &paths, &args.sampling.options(), &call, &bar(paths.len(), true))
    })?;
    for (path, row) in paths.iter().zip(&rows) {
        row.as_ref().err().into_iter().for_each(|e| tell(told(path, e)));
    }
    let (captions, rows) = decoded(args, captions, rows, &mut left_out)?;
    let texts: Vec<&str> = captions.texts.iter().map(|text| text.text.as_str()).collect();
    let texts = timed(&mut seconds.texts, || Ok(model.embed_text(&texts, &call)?))?;
    let embedded = Embedded { texts, videos: rows };
    let (of_texts, of_videos) = timed(&mut seconds.ranks, || Ok(both(&captions, &embedded)))?;
    let report = Report {
        model: shown(&model.options().weights_path),
        device: device_names(&model),
        precision: precision_name(&model),
        num_frames: args.sampling.options().num_frames,
        texts: captions.texts.len(),
        videos: captions.videos.len(),
        left_out,
        text_to_video: Scores::of(&of_texts),
        video_to_text: Scores::of(&of_videos),
        groups: args.by_group.then(|| groups(&captions, &of_texts)),
        seconds,
    };
    report.print(args.json)?;
    if let Some(file) = ranks_file {
        write_ranks(file, &captions, &of_texts, &of_videos)?;
    }
    if let Some(folder) = &args.vectors {
        write_vectors(folder, &embedded)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn timed<T>(seconds: &mut f64, run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let start = Instant::now();
    let outcome = run();
    *seconds = start.elapsed().as_secs_f64();
    outcome
}

/// The videos that have files, with these and the names of the others.
fn present(
    args: &Args,
    captions: Captions,
    call: &Call,
    cancel: &Cancel,
) -> Result<(Captions, Vec<PathBuf>, Vec<String>), Failure> {
    let files = captions.files(&args.videos, cancel)?;
    call.check()?;
    let there: Vec<bool> = files.iter().map(Option::is_some).collect();
    let missing: Vec<String> = names(&captions, &there);
    for name in &missing {
        tell(format_args!("{}: there is no such video below {}", escaped(name), shown(&args.videos)));
    }
    enough(args, missing.len(), captions.videos.len())?;
    Ok((captions.keep(&there), files.into_iter().flatten().collect(), missing))
}

/// The videos that could be embedded, with their vectors; the names of the others go to `left_out`.
fn decoded(
    args: &Args,
    captions: Captions,
    rows: Vec<c4c::Result<Array1<f32>>>,
    left_out: &mut Vec<String>,
) -> Result<(Captions, Array2<f32>), Failure> {
    let good: Vec<bool> = rows.iter().map(Result::is_ok).collect();
    let bad = names(&captions, &good);
    enough(args, bad.len(), captions.videos.len())?;
    left_out.extend(bad);
    let rows: Vec<Array1<f32>> = rows.into_iter().flatten().collect();
    let views: Vec<_> = rows.iter().map(Array1::view).collect();
    Ok((captions.keep(&good), ndarray::stack(Axis(0), &views).map_err(Failure::new)?))
}

fn names(captions: &Captions, good: &[bool]) -> Vec<String> {
    captions.videos.iter().zip(good).filter(|(_, good)| !**good).map(|(name, _)| name.clone()).collect()
}

fn enough(args: &Args, bad: usize, all: usize) -> Result<(), Failure> {
    match bad {
        0 => Ok(()),
        bad if bad == all => Err(Failure::new("none of the videos can be used")),
        _ if args.skip_missing => Ok(()),
        bad => Err(Failure::new(format_args!(
            "{bad} of {all} videos cannot be used, and figures on a part do not compare with those on all; \
             --skip-missing leaves them out all the same"
        ))),
    }
}

/// The ranks of the texts' videos, and of the videos' texts.
fn both(captions: &Captions, embedded: &Embedded) -> (Vec<usize>, Vec<usize>) {
    let (of_texts, of_videos) = (captions.video_of_each(), Vec::from_iter(0..captions.videos.len()));
    let texts = Vectors { rows: embedded.texts.view(), videos: &of_texts };
    let videos = Vectors { rows: embedded.videos.view(), videos: &of_videos };
    (ranks(texts, videos), ranks(videos, texts))
}

fn groups(captions: &Captions, ranks: &[usize]) -> BTreeMap<String, Group> {
    let mut by_name = BTreeMap::<String, Vec<usize>>::new();
    for (text, &rank) in captions.texts.iter().zip(ranks) {
        by_name.entry(escaped(text.group.as_deref().unwrap_or_default())).or_default().push(rank);
    }
    by_name.into_iter().map(|(name, ranks)| (name, Group { texts: ranks.len(), r1: Scores::of(&ranks).r1 })).collect()
}

/// `direction,video,text,group,rank`
fn write_ranks(
    mut output: Output,
    captions: &Captions,
    of_texts: &[usize],
    of_videos: &[usize],
) -> Result<(), Failure> {
    let mut csv = csv::Writer::from_writer(&mut output);
    let texts = captions.texts.iter().zip(of_texts).map(|(text, rank)| {
        let group = text.group.as_deref().unwrap_or_default();
        ["text_to_video", &captions.videos[text.video], &text.text, group, &rank.to_string()].map(str::to_owned)
    });
    let videos = captions.videos.iter().zip(of_videos);
    let videos = videos.map(|(video, rank)| ["video_to_text", video, "", "", &rank.to_string()].map(str::to_owned));
    csv.write_record(["direction", "video", "text", "group", "rank"]).map_err(Failure::new)?;
    texts.chain(videos).try_for_each(|row| csv.write_record(row)).map_err(Failure::new)?;
    csv.flush()?;
    drop(csv);
    output.finish()
}

fn write_vectors(folder: &Path, embedded: &Embedded) -> Result<(), Failure> {
    for (name, rows) in [("texts.npy", &embedded.texts), ("videos.npy", &embedded.videos)] {
        let mut output = Output::open(Some(&folder.join(name)))?;
        rows.write_npy(&mut output).map_err(Failure::new)?;
        output.finish()?;
    }
    Ok(())
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        let mut to = Output::open(None)?;
        if json {
            to.json(self)?;
            return to.finish();
        }
        writeln!(to, "{:<16}{:>7}{:>7}{:>7}{:>9}{:>9}", "", "R@1", "R@5", "R@10", "median", "mean")?;
        for (name, s) in [("text to video", &self.text_to_video), ("video to text", &self.video_to_text)] {
            writeln!(
                to,
                "{name:<16}{:>7.1}{:>7.1}{:>7.1}{:>9.1}{:>9.1}",
                s.r1, s.r5, s.r10, s.median_rank, s.mean_rank
            )?;
        }
        if let Some(groups) = &self.groups {
            let width = groups.keys().map(|name| name.chars().count()).max().unwrap_or(0).max(14) + 2;
            writeln!(to, "\n{:<width$}{:>7}{:>7}", "text to video", "R@1", "texts")?;
            for (name, group) in groups {
                writeln!(to, "{name:<width$}{:>7.1}{:>7}", group.r1, group.texts)?;
            }
        }
        let Seconds { load, videos, texts, ranks } = &self.seconds;
        writeln!(
            to,
            "\n{} of {}, {} frames each; {}, {} on {}",
            count(self.texts, "text"),
            count(self.videos, "video"),
            self.num_frames,
            self.model,
            self.precision,
            self.device
        )?;
        if !self.left_out.is_empty() {
            writeln!(
                to,
                "left out: {}; this does not compare with figures on all",
                count(self.left_out.len(), "video")
            )?;
        }
        writeln!(
            to,
            "seconds: {load:.1} to load, {videos:.1} for the videos, {texts:.1} for the texts, {ranks:.1} for the ranks"
        )?;
        to.finish()
    }
}

fn count(n: usize, of: &str) -> impl Display {
    format!("{n} {of}{}", if n == 1 { "" } else { "s" })
}
