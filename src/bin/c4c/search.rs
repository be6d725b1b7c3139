//! `c4c search`: the videos of an index, or the parts of long ones, that fit words best.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use c4c::{Call, Modality, Model};
use serde_json::Value;

use crate::common::{tell, Failure, ModelArgs};
use crate::fingerprint;
use crate::library::{Hit, Library};
use crate::walk::{json, shown, Stamp};

#[derive(clap::Args)]
pub struct Args {
    /// What to look for; several are looked for one after the other. - reads them from standard input, one a line.
    #[arg(required = true, value_name = "WORDS")]
    queries: Vec<String>,
    /// The index.
    #[arg(short, long, value_name = "FILE", default_value = "library.db")]
    index: PathBuf,
    /// How many results.
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// The most results from one video that is indexed as windows.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    per_video: u32,
    /// Writes JSON lines, one for each result.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let library = Library::open(&args.index)?;
    let model = load(args, &library)?;
    let vectors = library.counts()?.vectors;
    if vectors == 0 {
        tell(format_args!("{} holds no videos yet", shown(library.path())));
    }
    let mut first = true;
    let mut search = |words: &str| -> Result<(), Failure> {
        let start = Instant::now();
        let vector = model.embed_text(&[words], &Call::default())?;
        let embedded = start.elapsed();
        let hits = library.nearest(&vector.row(0).to_vec(), args.k as usize, args.per_video as usize)?;
        let searched = start.elapsed() - embedded;
        let mut stdout = std::io::stdout().lock();
        if args.json {
            hits.iter().zip(1..).try_for_each(|(hit, rank)| writeln!(stdout, "{}", object(words, rank, hit)))?;
        } else {
            let several = args.queries.len() > 1 || args.queries.iter().any(|query| query == "-");
            if several {
                writeln!(stdout, "{}{}", if first { "" } else { "\n" }, shown(words.as_ref()))?;
            }
            table(&mut stdout, &hits)?;
        }
        stdout.flush()?;
        first = false;
        let (embedded, searched) = (milliseconds(embedded), milliseconds(searched));
        tell(format_args!("embedded in {embedded} ms, searched {vectors} vectors in {searched} ms"));
        Ok(())
    };
    for query in &args.queries {
        if query != "-" {
            search(query)?;
            continue;
        }
        for line in std::io::stdin().lock().split(b'\n') {
            let line = line?;
            let words = String::from_utf8_lossy(&line);
            if !words.trim().is_empty() {
                search(words.trim())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The model that the index was made with, or that was named and is the same; of its towers the text's alone.
fn load(args: &Args, library: &Library) -> Result<Model, Failure> {
    let made_with = &library.settings().model;
    let path = args.model.named().unwrap_or(made_with);
    if !path.exists() {
        let (path, index) = (shown(path), shown(library.path()));
        return Err(Failure::new(format_args!(
            "there is no checkpoint {path}; name with --model where the one is that {index} was made with"
        )));
    }
    let start = Instant::now();
    let model = args.model.load_from(path.to_owned(), Modality::Text)?;
    fingerprint::check(&model, library.settings(), library.path())?;
    tell(format_args!("loaded {} in {} ms", shown(path), milliseconds(start.elapsed())));
    Ok(model)
}

fn table(to: &mut impl Write, hits: &[Hit]) -> std::io::Result<()> {
    let here = std::env::current_dir().unwrap_or_default();
    writeln!(to, "{:>4}  {:>7}  {:<17}  path", "rank", "score", "time")?;
    for (hit, rank) in hits.iter().zip(1..) {
        let time = format!("{}-{}", clock(hit.start_us, i64::div_euclid), clock(hit.end_us, div_ceil));
        let path = shown(hit.path.strip_prefix(&here).unwrap_or(&hit.path));
        let state = match state(hit) {
            "present" => String::new(),
            other => format!("  ({other})"),
        };
        writeln!(to, "{rank:>4}  {:>7.4}  {time:<17}  {path}{state}", hit.score)?;
    }
    Ok(())
}

fn object(words: &str, rank: usize, hit: &Hit) -> Value {
    let mut fields = json(&hit.path);
    let more: [(&str, Value); 6] = [
        ("query", words.into()),
        ("rank", rank.into()),
        ("score", hit.score.into()),
        ("start", (hit.start_us as f64 / 1e6).into()),
        ("end", (hit.end_us as f64 / 1e6).into()),
        ("state", state(hit).into()),
    ];
    fields.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(fields)
}

/// What has become of the file since it was embedded.
fn state(hit: &Hit) -> &'static str {
    match Path::metadata(&hit.path) {
        Ok(metadata) if Stamp::of(&metadata) == hit.stamp => "present",
        Ok(_) => "changed",
        Err(_) => "missing",
    }
}

/// Microseconds as h:mm:ss, rounded as told.
fn clock(us: i64, divide: fn(i64, i64) -> i64) -> String {
    let seconds = divide(us, 1_000_000);
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn div_ceil(a: i64, b: i64) -> i64 {
    -(-a).div_euclid(b)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told() {
        assert_eq!(clock(3_723_999_999, i64::div_euclid), "1:02:03");
        assert_eq!(clock(3_723_000_001, div_ceil), "1:02:04");
        assert_eq!(clock(30_000_000, div_ceil), "0:00:30");
    }
}
