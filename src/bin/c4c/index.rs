//! `c4c index`: every video below some folders into one file, resuming where it was stopped.

use std::collections::HashSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use c4c::{Cancel, Modality, Model, Status, VideoOptions};
use serde_json::json;

use crate::common::{cancelled_by_interrupt, num_frames, tell, Failure, ModelArgs, INTERRUPTED};
use crate::fingerprint;
use crate::library::{Known, Library, Settings};
use crate::many::{bar, microseconds, positive, told};
use crate::pool::{embed_all, Outcome};
use crate::walk::{self, absolute, shown, Found, Rules, Walk};

/// The window unless another is asked for, in microseconds. CLIP4Clip was trained on clips of 10 to 32 s.
const WINDOW_US: i64 = 30_000_000;

#[derive(clap::Args)]
pub struct Args {
    /// Folders, with all that is below them, and files. Hidden ones are passed over.
    #[arg(required = true, value_name = "DIR")]
    roots: Vec<PathBuf>,
    /// The index; made where there is none, else gone on with.
    #[arg(short, long, value_name = "FILE", default_value = "library.db")]
    output: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Videos longer than so many seconds are windows of that length, each with a vector of its own; 30 unless given.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    segment: Option<f64>,
    /// From the start of a window to the start of the next one, in seconds; the length of a window unless given.
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    step: Option<f64>,
    /// One vector for each video, however long it is.
    #[arg(long, conflicts_with_all = ["segment", "step"])]
    whole: bool,
    /// Frames that stand for a video, or for a window of it, evenly from its first to its last; 12 unless given.
    #[arg(long, value_name = "N", value_parser = num_frames)]
    num_frames: Option<usize>,
    /// Turns pictures as the container asks players to; CLIP4Clip does not.
    #[arg(long)]
    rotate: bool,
    /// Tries every file, whatever its name ends with.
    #[arg(long)]
    all_files: bool,
    /// Follows symbolic links.
    #[arg(short = 'L', long)]
    follow: bool,
    /// Tries again what could not be embedded before and has not changed since.
    #[arg(long)]
    retry: bool,
    /// Drops from the index what is below DIR no more.
    #[arg(long)]
    prune: bool,
    /// Writes JSON lines: one for each file once it is in the index, and a summary.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let start = Instant::now();
    let cancel = cancelled_by_interrupt()?;
    let roots = absolute(&args.roots)?;
    let library = Library::open_to_write(&args.output)?;
    if let Some(library) = &library {
        check_settings(args, library)?;
    }
    let plan = Plan::new(args, &roots, library.as_ref(), &cancel)?;
    let mut report = Report { json: args.json, ..Report::default() };
    let (model, library) = match library {
        None if cancel.is_fired() => return Ok(stopped(&report, &plan)),
        None if plan.todo.is_empty() => {
            plan.unreadable.iter().for_each(tell);
            return Err(Failure::new("there are no videos; --all-files tries every file, whatever its name"));
        }
        None => {
            let model = load(args, args.model.path()?)?;
            let library = Library::create(&args.output, new_settings(args, &model)?)?;
            (Some(model), library)
        }
        // With nothing to embed, a model is loaded only to be told from the one that was named.
        Some(library) if cancel.is_fired() || plan.todo.is_empty() && args.model.named().is_none() => (None, library),
        Some(library) => {
            let model = load(args, model_path(args, &library)?)?;
            fingerprint::check(&model, library.settings(), library.path())?;
            (Some(model), library)
        }
    };
    if args.prune {
        library.forget(&plan.gone.iter().map(|(id, _)| *id).collect::<Vec<_>>())?;
        plan.gone.iter().try_for_each(|(_, path)| report.line(path, "dropped", &[]))?;
    }
    if let Some(model) = &model {
        let bar = bar(plan.todo.len(), !(args.json && std::io::stdout().is_terminal()));
        bar.enable_steady_tick(Duration::from_millis(250));
        let videos = VideoOptions {
            num_frames: library.settings().num_frames,
            apply_rotation: library.settings().rotate,
            ..VideoOptions::default()
        };
        let window = library.settings().window_us.unwrap_or((i64::MAX, i64::MAX));
        let kept = embed_all(model, &plan.todo, (&videos, window), &cancel, &mut |outcomes| {
            library.write(outcomes)?;
            bar.inc(outcomes.len() as u64);
            outcomes.iter().try_for_each(|outcome| report.outcome(outcome))
        });
        bar.finish_and_clear();
        kept?;
    }
    report.finish(args, &plan, &library, start.elapsed())?;
    let failed = report.failed > 0 || !plan.unreadable.is_empty();
    Ok(if cancel.is_fired() { stopped(&report, &plan) } else { ExitCode::from(u8::from(failed)) })
}

fn load(args: &Args, path: PathBuf) -> Result<Model, Failure> {
    let model = args.model.load_from(path, Modality::Both)?;
    fingerprint::has_both_towers(&model)?;
    Ok(model)
}

/// What was named, else what the index was made with.
fn model_path(args: &Args, library: &Library) -> Result<PathBuf, Failure> {
    let path = args.model.named().unwrap_or(&library.settings().model);
    match path.exists() {
        true => Ok(path.to_owned()),
        false => Err(Failure::new(format_args!("there is no checkpoint {}; name it with --model", shown(path)))),
    }
}

fn new_settings(args: &Args, model: &Model) -> Result<Settings, Failure> {
    let num_frames = args.num_frames.unwrap_or(VideoOptions::DEFAULT_NUM_FRAMES);
    if let Some(most) = model.info().most_frames.filter(|&most| num_frames > most) {
        let head = model.info().head.name();
        return Err(Failure::new(format_args!(
            "the {head} head has positions for {most} frames, {num_frames} are too many; lower --num-frames"
        )));
    }
    Ok(Settings {
        model: model.options().weights_path.canonicalize()?,
        dim: model.dim(),
        num_frames,
        rotate: args.rotate,
        window_us: asked_window(args).unwrap_or(Some((WINDOW_US, WINDOW_US))),
        probe_text: fingerprint::text(model)?,
        probe_video: fingerprint::video(model)?,
    })
}

/// The windows that were asked for, if any were: their length and step.
fn asked_window(args: &Args) -> Option<Option<(i64, i64)>> {
    match (args.whole, args.segment, args.step) {
        (true, ..) => Some(None),
        (false, None, None) => None,
        (false, window, step) => {
            let window = window.map_or(WINDOW_US, microseconds);
            Some(Some((window, step.map_or(window, microseconds))))
        }
    }
}

/// Whether what was asked for is what the index was made with; what was not asked for is.
fn check_settings(args: &Args, library: &Library) -> Result<(), Failure> {
    let made = library.settings();
    let differs = |made: String, asked: String, option: &str| {
        Err(Failure::new(format_args!(
            "{} was made with {made}, not {asked}; leave out {option}, or index into another file with -o",
            shown(library.path())
        )))
    };
    match args.num_frames {
        Some(asked) if asked != made.num_frames => {
            return differs(format!("{} frames a vector", made.num_frames), asked.to_string(), "--num-frames");
        }
        _ => {}
    }
    if args.rotate && !made.rotate {
        return differs("pictures as they are stored".into(), "turned ones".into(), "--rotate");
    }
    match asked_window(args) {
        Some(asked) if asked != made.window_us => {
            let option = if args.whole { "--whole" } else { "--segment and --step" };
            differs(windows(made.window_us), windows(asked), option)
        }
        _ => Ok(()),
    }
}

fn windows(window_us: Option<(i64, i64)>) -> String {
    let seconds = |us: i64| us as f64 / 1e6;
    match window_us {
        None => "one vector for each video".into(),
        Some((window, step)) => format!("windows of {} s every {} s", seconds(window), seconds(step)),
    }
}

/// What there is to do.
struct Plan {
    todo: Vec<Found>,
    /// Those of them whose older state is in the index.
    changed: usize,
    unchanged: usize,
    /// They have not changed since they failed.
    known_bad: usize,
    /// In the index, and below a root no more.
    gone: Vec<(i64, PathBuf)>,
    unreadable: Vec<String>,
}

impl Plan {
    fn new(args: &Args, roots: &[PathBuf], library: Option<&Library>, cancel: &Cancel) -> Result<Plan, Failure> {
        let rules = Rules { every_file: args.all_files, follow: args.follow };
        let Walk { videos, unreadable } = walk::walk(roots, rules, cancel);
        let files = library.map(Library::files).transpose()?.unwrap_or_default();
        let mut plan = Plan { todo: Vec::new(), changed: 0, unchanged: 0, known_bad: 0, gone: Vec::new(), unreadable };
        let there: HashSet<&Path> = videos.iter().map(|found| found.path.as_path()).collect();
        // What was not looked at is not gone.
        let is_gone = |path: &Path| {
            let below = roots.iter().any(|root| path.starts_with(root)) && !there.contains(path);
            let gone = [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory];
            below && path.symlink_metadata().is_err_and(|e| gone.contains(&e.kind()))
        };
        plan.gone =
            files.iter().filter(|(path, _)| is_gone(path)).map(|(path, known)| (known.id, path.clone())).collect();
        plan.gone.sort();
        let own = args.output.canonicalize().ok();
        for found in videos.into_iter().filter(|found| own.as_ref() != Some(&found.path)) {
            match files.get(&found.path) {
                Some(known) if known.stamp == found.stamp && known.status == 0 => plan.unchanged += 1,
                Some(known) if known.stamp == found.stamp && !args.retry && lasts(known) => plan.known_bad += 1,
                known => {
                    plan.changed += usize::from(known.is_some_and(|known| known.stamp != found.stamp));
                    plan.todo.push(found);
                }
            }
        }
        Ok(plan)
    }
}

/// Whether what a file failed with comes again as long as the file is what it is: anything but the moment's lack of
/// rights, of memory or of a disk's good will.
fn lasts(known: &Known) -> bool {
    use Status::{Decode, Forbidden, InvalidArgument, Limit, MediaFormat, NoVideo, Unsupported};
    let lasting = [Decode, Forbidden, InvalidArgument, Limit, MediaFormat, NoVideo, Unsupported];
    Status::from_code(known.status).is_some_and(|status| lasting.contains(&status))
}

/// What has been done, told as it is asked for.
#[derive(Default)]
struct Report {
    json: bool,
    indexed: usize,
    failed: usize,
    failures: Vec<String>,
}

impl Report {
    fn outcome(&mut self, (found, outcome): &Outcome) -> Result<(), Failure> {
        match outcome {
            Ok(segments) => {
                self.indexed += 1;
                self.line(&found.path, "indexed", &[("segments", segments.times_us.len().into())])
            }
            Err(e) => {
                self.failed += 1;
                if !self.json {
                    self.failures.push(told(&found.path, e));
                }
                self.line(&found.path, "failed", &[("error", e.message().into())])
            }
        }
    }

    fn line(&self, path: &Path, state: &str, more: &[(&str, serde_json::Value)]) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let mut fields = walk::json(path);
        fields.insert("state".into(), state.into());
        fields.extend(more.iter().map(|(name, value)| (name.to_string(), value.clone())));
        print(&serde_json::Value::Object(fields).to_string())
    }

    fn finish(&self, args: &Args, plan: &Plan, library: &Library, took: Duration) -> Result<(), Failure> {
        plan.unreadable.iter().for_each(tell);
        let counts = library.counts()?;
        let (gone, dropped) = if args.prune { (0, plan.gone.len()) } else { (plan.gone.len(), 0) };
        let seconds = took.as_secs_f64();
        if self.json {
            let summary = json!({
                "indexed": self.indexed, "failed": self.failed,
                "unchanged": plan.unchanged, "known_bad": plan.known_bad,
                "gone": gone, "dropped": dropped, "unreadable": plan.unreadable.len(), "seconds": seconds,
                "videos": counts.videos, "vectors": counts.vectors, "videos_failed": counts.failed,
            });
            return print(&json!({ "summary": summary }).to_string());
        }
        let mut lines = self.failures.iter().map(|failure| format!("failed: {failure}")).collect::<Vec<_>>();
        let tried = self.indexed + self.failed;
        let rate = tried as f64 / seconds.max(1e-9);
        let took = if tried > 0 { format!(" in {seconds:.1} s ({rate:.1} a second)") } else { String::new() };
        let mut parts = vec![format!("indexed {}{took}", self.indexed)];
        let mut part = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        part(plan.unchanged, "unchanged");
        part(plan.changed, "had changed");
        part(self.failed, "failed");
        part(plan.known_bad, "known to fail (--retry tries them again)");
        part(gone, "gone (--prune drops them)");
        part(dropped, "dropped");
        part(plan.unreadable.len(), "places unreadable");
        lines.push(parts.join(", "));
        let failed = if counts.failed > 0 { format!(", {} that failed", counts.failed) } else { String::new() };
        let name = shown(library.path());
        lines.push(format!("{name}: {} videos, {} vectors{failed}", counts.videos, counts.vectors));
        print(&lines.join("\n"))
    }
}

/// A line on stdout, at once: whoever reads it may rely on what it says.
fn print(line: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}

fn stopped(report: &Report, plan: &Plan) -> ExitCode {
    let (done, all) = (report.indexed + report.failed, plan.todo.len());
    tell(format_args!("stopped after {done} of {all} files; the same command goes on from here"));
    ExitCode::from(INTERRUPTED)
}
