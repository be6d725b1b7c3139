//! One set of frames that stands for a video.

use super::{square, visit, Found, Sink, Source, Timeline, Work};
use crate::error::{Error, Result, Status};
use crate::image::{Frame, Preprocessor};
use crate::options::VideoOptions;
use crate::runtime::Call;

/// The frames that stand for a video, as the model wants them.
pub(crate) struct Sampled {
    /// One square of RGB bytes per frame, one after the other.
    pub pixels: Vec<u8>,
    pub found: Found,
}

/// A frame that stands for a video, as it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Which of the stream's frames it is.
    pub number: u64,
    /// When it is shown, counted from the first frame.
    pub time_us: i64,
    pub width: usize,
    pub height: usize,
    /// `height` rows of `width` pixels, three bytes each.
    pub rgb: Vec<u8>,
}

/// Decodes a video and keeps the frames that `options` pick among all that it shows, each as a square of `side` pixels.
/// UNIFORM repeats frames of videos that have fewer.
///
/// # Errors
/// `MediaIo`, `MediaFormat`, `NoVideo`, `Limit`, `Forbidden`, `Unsupported`, `InvalidArgument` for a part that does not
/// exist, `Cancelled`, `Timeout`; `Decode` with `strict_decode`.
pub(crate) fn squares(source: Source, options: &VideoOptions, call: &Call, side: usize) -> Result<Sampled> {
    let work = Work { options, call, side, finish: &square };
    let mut sink = Squares { options, picks: Vec::new(), next: 0, size: side * side * 3, pixels: Vec::new() };
    let found = visit(source, &work, &mut sink)?;
    Ok(Sampled { pixels: sink.pixels, found })
}

struct Squares<'o> {
    options: &'o VideoOptions,
    picks: Vec<u64>,
    next: usize,
    size: usize,
    pixels: Vec<u8>,
}

impl Sink for Squares<'_> {
    fn plan(&self, timeline: &Timeline) -> Result<Vec<u64>> {
        timeline.picks(self.options)
    }

    fn begin(&mut self, timeline: &Timeline) -> Result<()> {
        self.picks = timeline.picks(self.options)?;
        self.next = 0;
        self.pixels.clear();
        let bytes = self.picks.len() * self.size;
        self.pixels.try_reserve_exact(bytes).map_err(|_| {
            Error::new(Status::OutOfMemory, format_args!("no memory for {} frames ({bytes} bytes)", self.picks.len()))
        })
    }

    fn take(&mut self, _: usize, square: Vec<u8>) -> Result<()> {
        let number = self.picks[self.next];
        while self.picks.get(self.next) == Some(&number) {
            self.pixels.extend_from_slice(&square);
            self.next += 1;
        }
        Ok(())
    }
}

/// The frames that `options` pick, as they were decoded, and why all of the stream had to be decoded, if that was so.
/// Repeats come once.
///
/// # Errors
/// As [`crate::Model::embed_video`], less those of the model.
pub fn pictures(
    source: Source,
    options: &VideoOptions,
    call: &Call,
) -> Result<(Vec<Picture>, u64, Option<&'static str>)> {
    /// Behind the pixels, the width and the height.
    const SIZE: usize = 16;
    struct Pictures<'o> {
        options: &'o VideoOptions,
        numbers: Vec<u64>,
        timeline: Timeline,
        pictures: Vec<Picture>,
    }
    impl Sink for Pictures<'_> {
        fn plan(&self, timeline: &Timeline) -> Result<Vec<u64>> {
            timeline.picks(self.options)
        }

        fn begin(&mut self, timeline: &Timeline) -> Result<()> {
            self.numbers = timeline.picks(self.options)?;
            self.numbers.dedup();
            self.timeline = timeline.clone();
            self.pictures.clear();
            Ok(())
        }

        fn take(&mut self, position: usize, mut rgb: Vec<u8>) -> Result<()> {
            let size = rgb.split_off(rgb.len() - SIZE);
            let side = |at: usize| size[at..at + 8].iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
            let number = self.numbers[position];
            self.pictures.push(Picture {
                number,
                time_us: self.timeline.frames[number as usize].time_us,
                width: side(0),
                height: side(8),
                rgb,
            });
            Ok(())
        }
    }
    let finish = |_: &mut Preprocessor, frame: &Frame| {
        let mut rgb = Vec::with_capacity(frame.width() * frame.height() * 3 + SIZE);
        let (width, height) = frame.to_rgb(&mut rgb);
        rgb.extend([width as u64, height as u64].iter().flat_map(|side| side.to_le_bytes()));
        Ok(rgb)
    };
    let work = Work { options, call, side: 1, finish: &finish };
    let mut sink = Pictures { options, numbers: Vec::new(), timeline: Timeline::default(), pictures: Vec::new() };
    let found = visit(source, &work, &mut sink)?;
    Ok((sink.pictures, found.total, found.whole))
}
