//! One set of frames that stands for a video.

use super::{square, visit, Found, Sink, Source, Terms, Timeline, Work};
use crate::error::Result;
use crate::image::{Frame, Preprocessor};
use crate::options::VideoOptions;
use crate::runtime::{Call, Cores};

/// What `squares` tells.
pub(crate) enum Event {
    /// What came before was wrong: the stream turned out to be another than its container says.
    Begin,
    /// The next frame, and for how many in a row it stands: UNIFORM repeats those of videos that have fewer.
    Square(Vec<u8>, usize),
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

/// Decodes a video and hands the frames that `options` pick among all that it shows to `each`, as squares of RGB bytes.
///
/// # Errors
/// `MediaIo`, `MediaFormat`, `NoVideo`, `Limit`, `Forbidden`, `Unsupported`, `InvalidArgument` for a part that does not
/// exist, `Cancelled`, `Timeout`; `Decode` with `strict_decode`; what `each` returns.
pub(crate) fn squares(source: Source, terms: &Terms, each: &mut dyn FnMut(Event) -> Result<()>) -> Result<Found> {
    let work = Work::new(terms, &source, &square)?;
    let mut sink = Squares { options: terms.options, picks: Vec::new(), next: 0, each };
    visit(source, &work, &mut sink)
}

struct Squares<'s> {
    options: &'s VideoOptions,
    picks: Vec<u64>,
    next: usize,
    each: &'s mut dyn FnMut(Event) -> Result<()>,
}

impl Sink for Squares<'_> {
    fn plan(&self, timeline: &Timeline) -> Result<Vec<u64>> {
        timeline.picks(self.options)
    }

    fn begin(&mut self, timeline: &Timeline) -> Result<()> {
        self.picks = timeline.picks(self.options)?;
        self.next = 0;
        (self.each)(Event::Begin)
    }

    fn take(&mut self, _: usize, square: Vec<u8>) -> Result<()> {
        let rest = &self.picks[self.next..];
        let times = rest.iter().take_while(|pick| Some(*pick) == rest.first()).count();
        self.next += times;
        (self.each)(Event::Square(square, times))
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
    let terms = Terms { options, call, cores: &Cores::of_process(), side: 1 };
    let work = Work::new(&terms, &source, &finish)?;
    let mut sink = Pictures { options, numbers: Vec::new(), timeline: Timeline::default(), pictures: Vec::new() };
    let found = visit(source, &work, &mut sink)?;
    Ok((sink.pictures, found.total, found.whole))
}
