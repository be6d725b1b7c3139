//! Many files at once into vectors: some are decoded while the model works on others.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use c4c::{Call, Cancel, Model, Segments, Source, Status, VideoOptions};
use crossbeam_channel::{bounded, Receiver, RecvTimeoutError, Sender};

use crate::common::Failure;
use crate::walk::Found;

/// What has become of a file.
pub type Outcome = (Found, c4c::Result<Segments>);

/// The most outcomes that are kept together, and the longest that one waits for others: what a kill can lose.
const BATCH: usize = 32;
const DELAY: Duration = Duration::from_secs(1);

/// Embeds the windows of every file, so many microseconds long and from one's start to the next one's, and hands the
/// outcomes to `keep` on the calling thread, in the order in which they are done. When `cancel` fires it ends early and
/// hands over what is done; that is no error.
///
/// # Errors
/// What `keep` returns; nothing is begun after that.
pub fn embed_all(
    model: &Model,
    files: &[Found],
    (options, window_us): (&VideoOptions, (i64, i64)),
    cancel: &Cancel,
    keep: &mut dyn FnMut(&[Outcome]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // Half of the threads wait for the model while the others decode.
    let workers = (2 * cores).min(files.len());
    let decode_threads = Some((cores / files.len().max(1)).max(1));
    let options = VideoOptions { decode_threads, ..options.clone() };
    // Fired also when `keep` fails.
    let call = Call::new(None, Some(cancel.clone()));
    let next = AtomicUsize::new(0);
    let (done, outcomes) = bounded(workers.max(1));
    let work = |done: Sender<Outcome>| {
        while let Some(found) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = model.embed_segments(Source::Path(&found.path), &options, window_us, &call);
            let cancelled = outcome.as_ref().is_err_and(|e| e.status() == Status::Cancelled);
            if cancelled || done.send((found.clone(), outcome)).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        let kept = (|| {
            for _ in 0..workers {
                let (work, done) = (&work, done.clone());
                std::thread::Builder::new().name("c4c-index".into()).spawn_scoped(scope, move || work(done))?;
            }
            drop(done);
            keep_all(&outcomes, keep)
        })();
        // Whoever still works is not waited for longer than it takes to notice.
        drop(outcomes);
        if kept.is_err() {
            cancel.fire();
        }
        kept
    })
}

fn keep_all(
    outcomes: &Receiver<Outcome>,
    keep: &mut dyn FnMut(&[Outcome]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut batch = Vec::new();
    loop {
        let Ok(first) = outcomes.recv() else { return Ok(()) };
        let until = Instant::now() + DELAY;
        batch.push(first);
        while batch.len() < BATCH {
            match outcomes.recv_deadline(until) {
                Ok(outcome) => batch.push(outcome),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        keep(&batch)?;
        batch.clear();
    }
}
