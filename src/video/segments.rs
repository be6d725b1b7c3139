//! Sliding windows over a long video from one decode.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{square, visit, Found, Sink, Source, Terms, Timeline, Work};
use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;
use crate::runtime::Call;

/// Frames of all windows together, each counted as often as it stands for one: more than a day in steps of a second.
const MOST_PICKS: usize = 2_000_000;

/// Squares that wait for the windows that they are part of, in bytes.
const MOST_WAITING: usize = 192 << 20;

/// A part of a video and the frames that stand for it.
pub(crate) struct Window {
    pub start_us: i64,
    pub end_us: i64,
    /// Of RGB bytes, one per frame.
    pub squares: Vec<Arc<Vec<u8>>>,
}

/// What `segments` tells.
pub(crate) enum Progress {
    /// What came before was wrong: the stream turned out to be another than its container says.
    Begin,
    Window(Window),
}

/// Hands every window of `window_us` at each `step_us` to `each`, with the frames that `options` pick in it: the same as
/// of that part of the video alone.
///
/// # Errors
/// As [`super::squares`]; `Limit` where so many windows overlap that their frames take too much memory; what `each` returns.
pub(crate) fn segments(
    source: Source,
    terms: &Terms,
    (window_us, step_us): (i64, i64),
    each: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Found> {
    let work = Work::new(terms, &source, &square)?;
    let mut sink = Segments {
        options: terms.options,
        call: terms.call,
        window_us,
        step_us,
        numbers: Vec::new(),
        windows: Vec::new(),
        next: 0,
        squares: BTreeMap::new(),
        each,
    };
    visit(source, &work, &mut sink)
}

/// Start, end, and the numbers of its frames.
type Plan = (i64, i64, Vec<u64>);

struct Segments<'s> {
    options: &'s VideoOptions,
    call: &'s Call,
    window_us: i64,
    step_us: i64,
    numbers: Vec<u64>,
    windows: Vec<Plan>,
    /// The first window that is not complete.
    next: usize,
    /// By their frames' numbers.
    squares: BTreeMap<u64, Arc<Vec<u8>>>,
    each: &'s mut dyn FnMut(Progress) -> Result<()>,
}

impl Segments<'_> {
    fn windows(&self, timeline: &Timeline) -> Result<Vec<Plan>> {
        let end_us = self.options.end_us.unwrap_or(i64::MAX);
        let window = |(start_us, end_us)| {
            self.call.check()?;
            let part = VideoOptions { start_us, end_us: Some(end_us), ..self.options.clone() };
            Ok((start_us, end_us, timeline.picks(&part)?))
        };
        // Says so where the part does not exist at all.
        timeline.picks(self.options)?;
        let most = MOST_PICKS / self.options.num_frames.max(1);
        let windows = timeline.windows(self.options.start_us, end_us, (self.window_us, self.step_us), most)?;
        windows.into_iter().map(window).collect()
    }
}

impl Sink for Segments<'_> {
    fn plan(&self, timeline: &Timeline) -> Result<Vec<u64>> {
        let mut numbers: Vec<u64> = self.windows(timeline)?.into_iter().flat_map(|(.., picks)| picks).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn agree(&self, one: &Timeline, other: &Timeline) -> bool {
        matches!((self.windows(one), self.windows(other)), (Ok(one), Ok(other)) if one == other)
    }

    fn begin(&mut self, timeline: &Timeline) -> Result<()> {
        self.windows = self.windows(timeline)?;
        self.numbers = self.plan(timeline)?;
        self.next = 0;
        self.squares.clear();
        (self.each)(Progress::Begin)
    }

    fn take(&mut self, position: usize, square: Vec<u8>) -> Result<()> {
        let number = self.numbers[position];
        let size = square.len();
        self.squares.insert(number, Arc::new(square));
        while let Some((start_us, end_us, picks)) = self.windows.get(self.next) {
            if picks.last().is_none_or(|&last| last > number) {
                break;
            }
            let squares = picks.iter().filter_map(|pick| self.squares.get(pick).cloned()).collect();
            let window = Window { start_us: *start_us, end_us: *end_us, squares };
            (self.each)(Progress::Window(window))?;
            self.next += 1;
            let first = self.windows.get(self.next).and_then(|(.., picks)| picks.first());
            self.squares = first.map_or_else(BTreeMap::new, |first| self.squares.split_off(first));
        }
        if self.squares.len() * size > MOST_WAITING {
            return Err(Error::new(
                Status::Limit,
                "video: too many windows overlap; make step_us larger, window_us smaller, or num_frames fewer",
            ));
        }
        Ok(())
    }
}
