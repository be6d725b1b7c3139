//! Many vectors in one call: of many videos, or of the windows of a long one.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, Sender};
use ndarray::{Array1, Array2};

use super::frames::{head, Frames, Kin};
use super::Model;
use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;
use crate::runtime::{guarded, Call, Cancel, Level};
use crate::thread;
use crate::video::{self, Progress, Source};

/// The vectors of a video's windows.
#[derive(Clone, Debug)]
pub struct Segments {
    /// One row per window, in the order of time.
    pub vectors: Array2<f32>,
    /// When each window begins and ends, in microseconds from the first frame.
    pub times_us: Vec<(i64, i64)>,
}

impl Model {
    /// One vector for each of many video files, or what was wrong with it. Several files are decoded at once while the
    /// model works on others; `progress` is told, on the calling thread, how many are done, and ends the call by `false`.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout`; what is wrong with the model rather than with a file.
    pub fn embed_video_paths(
        &self,
        paths: &[&Path],
        options: &VideoOptions,
        call: &Call,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<Result<Array1<f32>>>> {
        self.gives_vectors()?;
        self.resolution()?;
        video::check_hwaccel(options)?;
        let threads = options.decode_threads.unwrap_or_else(|| self.cores.count());
        let side_by_side = threads.min(paths.len()).max(1);
        let alone = VideoOptions { decode_threads: Some((threads / side_by_side).max(1)), ..options.clone() };
        // While some wait for the model, others decode; as many as may was said by whoever said it.
        let workers = if options.decode_threads.is_none() { 2 * side_by_side } else { side_by_side }.min(paths.len());
        // The token ends the threads when this call ends, for whatever reason.
        let stop = Cancel::new();
        let within = call.also(&stop);
        let next = AtomicUsize::new(0);
        let (done, embedded) = bounded(workers);
        let embed = |done: Sender<_>| loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(i) else { return };
            let row = guarded(|| self.embed_video_path(path, &alone, &within));
            if done.send((i, row)).is_err() {
                return;
            }
        };
        let mut rows: Vec<Option<Result<Array1<f32>>>> = paths.iter().map(|_| None).collect();
        std::thread::scope(|scope| {
            let outcome = (|| {
                for i in 0..workers {
                    let (embed, done) = (&embed, done.clone());
                    thread::spawn_scoped(scope, &format!("c4c-video-{i}"), move || embed(done))
                        .map_err(|e| Error::new(Status::OutOfMemory, format_args!("cannot start a thread: {e}")))?;
                }
                drop(done);
                for finished in 1..=paths.len() {
                    let gone = || Error::internal("the decoding threads have ended");
                    let (i, row) = call.wait(&embedded)?.ok_or_else(gone)?;
                    // The limits are the call's, whoever noticed them first.
                    call.check()?;
                    if let Err(e) = &row {
                        self.log.say(Level::Warn, format_args!("{}: {e}", paths[i].display()));
                    }
                    rows[i] = Some(row);
                    if !progress(finished) {
                        return Err(Error::new(Status::Cancelled, "the progress callback ended the call"));
                    }
                }
                Ok(())
            })();
            stop.fire();
            drop(embedded);
            outcome
        })?;
        rows.into_iter().map(|row| row.ok_or_else(|| Error::internal("a video was lost"))).collect()
    }

    /// One vector for every window of `window_us` at each `step_us` of a video, from one decode: with exact seeking the
    /// same vectors as of these parts alone. The last window is the first to reach the end, and may be shorter.
    ///
    /// # Errors
    /// As [`Model::embed_video`]; `InvalidArgument` unless window and step are positive.
    pub fn embed_segments(
        &self,
        source: Source,
        options: &VideoOptions,
        (window_us, step_us): (i64, i64),
        call: &Call,
    ) -> Result<Segments> {
        self.gives_vectors()?;
        if window_us <= 0 || step_us <= 0 {
            return Err(Error::invalid("window_us and step_us must be positive"));
        }
        /// How many windows the decoding may be ahead of the model.
        const AHEAD: usize = 4;
        let empty = || Segments { vectors: Array2::zeros((0, self.dim())), times_us: Vec::new() };
        let mut segments = empty();
        let mut ahead: VecDeque<(Frames, (i64, i64))> = VecDeque::new();
        let mut waited = Duration::ZERO;
        let start = Instant::now();
        let mut each = |progress| -> Result<()> {
            let start = Instant::now();
            match progress {
                Progress::Begin => {
                    segments = empty();
                    ahead.clear();
                }
                Progress::Window(window) => {
                    let mut frames = Frames::new(self, Kin::Video, call)?;
                    window.squares.into_iter().try_for_each(|square| frames.push(square))?;
                    frames.finish(head())?;
                    ahead.push_back((frames, (window.start_us, window.end_us)));
                    while ahead.len() > AHEAD || ahead.front().is_some_and(|(first, _)| first.is_done()) {
                        self.next_segment(&mut ahead, &mut segments)?;
                    }
                }
            }
            waited += start.elapsed();
            Ok(())
        };
        let found = video::segments(source, &self.terms(options, call)?, (window_us, step_us), &mut each);
        self.found("video", found, start.elapsed().saturating_sub(waited))?;
        while !ahead.is_empty() {
            self.next_segment(&mut ahead, &mut segments)?;
        }
        Ok(segments)
    }

    fn next_segment(&self, ahead: &mut VecDeque<(Frames, (i64, i64))>, segments: &mut Segments) -> Result<()> {
        let Some((mut frames, times_us)) = ahead.pop_front() else { return Ok(()) };
        let vector = self.video(frames.wait()?)?;
        segments.vectors.push_row(vector.view()).map_err(Error::internal)?;
        segments.times_us.push(times_us);
        Ok(())
    }
}
