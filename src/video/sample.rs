//! Which frames stand for a video. Pure arithmetic.

use crate::error::{Error, Result, Status};
use crate::options::{Sampling, VideoOptions};

/// A frame that a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When, counted from the first frame.
    pub time_us: i64,
    /// Whether decoding can begin at it, by the container's word.
    pub key: bool,
}

/// All frames of a stream in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    pub frames: Vec<Shown>,
    /// When the last frame is over.
    pub end_us: i64,
}

impl Timeline {
    /// Counts times from the first frame.
    pub(super) fn begin_at_zero(&mut self) {
        let first = self.frames.first().map_or(0, |f| f.time_us);
        self.frames.iter_mut().for_each(|f| f.time_us = f.time_us.saturating_sub(first));
        self.end_us = self.end_us.saturating_sub(first);
    }

    /// The numbers of the frames that stand for the part of the video that `options` name: ascending, with repeats.
    ///
    /// # Errors
    /// `InvalidArgument` when the video is over before that part.
    pub(super) fn picks(&self, options: &VideoOptions) -> Result<Vec<u64>> {
        let (first, last) = self.part(options.start_us, options.end_us.unwrap_or(i64::MAX))?;
        let among = |candidates: Vec<u64>| {
            let n = options.num_frames.min(candidates.len());
            uniform(candidates.len() as u64, n).into_iter().map(|i| candidates[i as usize]).collect()
        };
        Ok(match options.sampling {
            Sampling::Uniform => {
                uniform((last - first) as u64, options.num_frames).into_iter().map(|i| first as u64 + i).collect()
            }
            Sampling::KeyFrames => {
                let keys: Vec<u64> = (first..last).filter(|&i| self.frames[i].key).map(|i| i as u64).collect();
                // A part without a key frame still has a frame to show.
                among(if keys.is_empty() { vec![first as u64] } else { keys })
            }
            Sampling::Fps(fps) => among(self.at_rate(first, last, options, fps)),
        })
    }

    /// The frames from `first` to before `last` that are shown at `start + i / fps`.
    fn at_rate(&self, first: usize, last: usize, options: &VideoOptions, fps: f64) -> Vec<u64> {
        let mut numbers: Vec<u64> = Vec::new();
        // Times are in microseconds: a higher rate finds no other frames.
        let fps = fps.min(1e6);
        let end = options.end_us.unwrap_or(i64::MAX).min(self.end_us.max(self.frames[last - 1].time_us + 1));
        let mut at = first;
        // A rate above the video's takes every frame once.
        let mut step = 0u64;
        loop {
            let time = options.start_us.saturating_add((step as f64 * 1e6 / fps).round() as i64);
            if time >= end {
                return numbers;
            }
            while at + 1 < last && self.frames[at + 1].time_us <= time {
                at += 1;
            }
            if numbers.last() != Some(&(at as u64)) {
                numbers.push(at as u64);
            }
            // On to the first time at which another frame is shown.
            let Some(next) = self.frames.get(at + 1).filter(|_| at + 1 < last) else { return numbers };
            let ahead = ((next.time_us - options.start_us) as f64 * fps / 1e6).floor() as u64;
            step = (step + 1).max(ahead);
        }
    }

    /// The frames shown from `start_us` to before `end_us`, from the first to before the last. If none begins in there,
    /// the one that is on the screen at its start.
    fn part(&self, start_us: i64, end_us: i64) -> Result<(usize, usize)> {
        let first = self.frames.partition_point(|f| f.time_us < start_us);
        let last = self.frames.partition_point(|f| f.time_us < end_us);
        if first < last {
            return Ok((first, last));
        }
        match self.frames.get(first.wrapping_sub(1)) {
            Some(frame) if first < self.frames.len() || start_us < self.end_us || start_us == frame.time_us => {
                Ok((first - 1, first))
            }
            _ => Err(Error::invalid(format_args!(
                "video.start_us is {start_us}, but the video is over at {} us",
                self.end_us
            ))),
        }
    }

    /// The windows of `window_us` at every `step_us`, up to the first that reaches the end: their start and end.
    ///
    /// # Errors
    /// `Limit` for more than `most`.
    pub(super) fn windows(
        &self,
        start_us: i64,
        end_us: i64,
        (window_us, step_us): (i64, i64),
        most: usize,
    ) -> Result<Vec<(i64, i64)>> {
        let last = self.frames.last().map_or(0, |f| f.time_us.saturating_add(1));
        let end_us = end_us.min(self.end_us.max(last));
        let count = end_us.saturating_sub(start_us).saturating_sub(window_us).max(0) / step_us + 1;
        if count > most as i64 {
            return Err(Error::new(
                Status::Limit,
                format_args!(
                    "video: {count} windows, at most {most} of so many frames; make step_us larger or set end_us"
                ),
            ));
        }
        let mut windows: Vec<(i64, i64)> = Vec::new();
        let mut start = start_us;
        while start < end_us && windows.last().is_none_or(|&(_, end)| end < end_us) {
            windows.push((start, start.saturating_add(window_us).min(end_us)));
            start = start.saturating_add(step_us);
        }
        Ok(windows)
    }
}

/// The operator's `uniform_temporal_subsample`: `n` indices spread over `total` ≥ 1 frames from the first to the last,
/// in the float64 arithmetic of `numpy.linspace(0, total - 1, n).astype(int)`. Ascending; repeats frames of short
/// videos.
fn uniform(total: u64, n: usize) -> Vec<u64> {
    let last = total.saturating_sub(1);
    if n <= 1 {
        return vec![0; n];
    }
    let step = last as f64 / (n - 1) as f64;
    let mut picks: Vec<u64> = (0..n).map(|i| (i as f64 * step) as u64).collect();
    picks[n - 1] = last;
    picks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values by numpy.
    #[test]
    fn indices_are_numpy_s() {
        assert_eq!(uniform(5, 12), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4]);
        assert_eq!(uniform(100, 12), [0, 9, 18, 27, 36, 45, 54, 63, 72, 81, 90, 99]);
        assert_eq!(uniform(250, 12), [0, 22, 45, 67, 90, 113, 135, 158, 181, 203, 226, 249]);
        assert_eq!(uniform(1, 12), [0; 12]);
        assert_eq!(uniform(9, 1), [0]);
    }

    /// 679 totals up to 20,000 come out otherwise when the product is formed before the quotient; this is the first.
    #[test]
    fn the_step_is_rounded_first() {
        let ours = uniform(154, 64);
        let other: Vec<u64> = (0..64).map(|i| (f64::from(i) * 153.0 / 63.0) as u64).collect();
        assert_ne!(ours, other);
    }

    /// 100 frames at 10 per second, every tenth a key frame.
    fn timeline() -> Timeline {
        let frames = (0..100).map(|i| Shown { time_us: i * 100_000, key: i % 10 == 0 }).collect();
        Timeline { frames, end_us: 10_000_000 }
    }

    fn picks(options: VideoOptions) -> Vec<u64> {
        timeline().picks(&options).unwrap()
    }

    #[test]
    fn parts() {
        let part = |start_us, end_us| {
            picks(VideoOptions { start_us, end_us: Some(end_us), num_frames: 3, ..Default::default() })
        };
        assert_eq!(part(1_000_000, 2_000_000), [10, 14, 19]);
        assert_eq!(part(1_000_001, 2_000_001), [11, 15, 20]);
        assert_eq!(part(1_010_000, 1_020_000), [10, 10, 10]);
        assert_eq!(part(9_950_000, 20_000_000), [99, 99, 99]);
        let late = VideoOptions { start_us: 10_000_000, ..Default::default() };
        assert!(timeline().picks(&late).unwrap_err().message().contains("10000000"));
    }

    #[test]
    fn key_frames_and_rates() {
        let sample = |sampling, num_frames| picks(VideoOptions { sampling, num_frames, ..Default::default() });
        assert_eq!(sample(Sampling::KeyFrames, 12), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(sample(Sampling::KeyFrames, 3), [0, 40, 90]);
        assert_eq!(sample(Sampling::Fps(1.0), 12), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(sample(Sampling::Fps(1.0), 2), [0, 90]);
        assert_eq!(sample(Sampling::Fps(4.0), 40)[..5], [0, 2, 5, 7, 10]);
        assert_eq!(sample(Sampling::Fps(1e9), 4096).len(), 100);
        assert_eq!(sample(Sampling::Fps(f64::MAX), 4096).len(), 100);
        assert_eq!(sample(Sampling::Fps(f64::MIN_POSITIVE), 12), [0]);
        assert_eq!(sample(Sampling::Fps(1e-9), 12), [0]);
        let part = VideoOptions {
            sampling: Sampling::Fps(2.0),
            start_us: 1_250_000,
            end_us: Some(2_500_000),
            ..Default::default()
        };
        assert_eq!(picks(part), [13, 17, 22]);
        let between = VideoOptions {
            sampling: Sampling::KeyFrames,
            start_us: 1_100_000,
            end_us: Some(1_900_000),
            ..Default::default()
        };
        assert_eq!(picks(between), [11]);
    }

    #[test]
    fn windows_end_with_the_video() {
        let windows = |window, step| timeline().windows(0, i64::MAX, (window, step), 100).unwrap();
        assert_eq!(windows(4_000_000, 4_000_000).len(), 3);
        assert_eq!(windows(4_000_000, 3_000_000).last(), Some(&(6_000_000, 10_000_000)));
        assert_eq!(windows(i64::MAX, 1), [(0, 10_000_000)]);
        assert_eq!(windows(1_000_000, 6_000_000), [(0, 1_000_000), (6_000_000, 7_000_000)]);
        let cut = timeline().windows(9_000_000, 9_500_000, (1_000_000, 1), 100).unwrap();
        assert_eq!(cut, [(9_000_000, 9_500_000)]);
        assert_eq!(timeline().windows(0, i64::MAX, (1, 1), 100).unwrap_err().status(), Status::Limit);
        assert_eq!(timeline().windows(0, i64::MAX, (100_000, 100_000), 100).unwrap().len(), 100);
        assert!(timeline().windows(0, i64::MAX, (100_000, 100_000), 99).is_err());
    }
}
