//! Windows over a long video: `segments WEIGHTS FILE WINDOW_S STEP_S` prints how many there are, how long it took and by how
//! much memory grew after the model was loaded.

use c4c::{Call, Log, Model, Options, Source, VideoOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, path, window, step] = arguments.as_slice() else {
        return Err("usage: segments WEIGHTS FILE WINDOW_S STEP_S".into());
    };
    let micros = |text: &str| text.parse::<f64>().map(|s| (s * 1e6) as i64);
    let windows = (micros(window)?, micros(step)?);
    let model = Model::load(Options::new(weights), Log::default())?;
    // The first forward pass takes what every later one has.
    model.embed_segments(Source::Path(path.as_ref()), &first_minute(), (30_000_000, 30_000_000), &Call::default())?;
    let before = peak_mib();
    let start = std::time::Instant::now();
    let source = Source::Path(path.as_ref());
    let segments = model.embed_segments(source, &VideoOptions::default(), windows, &Call::default())?;
    println!(
        "{} segments in {:.1} s, memory grew by {} MiB",
        segments.times_us.len(),
        start.elapsed().as_secs_f64(),
        peak_mib() - before
    );
    Ok(())
}

fn first_minute() -> VideoOptions {
    VideoOptions { end_us: Some(60_000_000), ..Default::default() }
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}
