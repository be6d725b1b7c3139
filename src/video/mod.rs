//! From a video to the frames that stand for it, preprocessed. The only part that knows FFmpeg.
//!
//! One pass over the packets tells which frames the stream shows ([`index`]), [`sample`] picks among them, and [`groups`]
//! decodes what the picked ones need. Streams whose packets tell too little, and those that turn out otherwise than
//! their packets told, are decoded from the beginning to the end ([`whole`]).

// The types of FFmpeg's constants change between its versions.
#![allow(clippy::unnecessary_cast)]

mod approximate;
mod convert;
mod decoder;
mod demux;
mod fields;
mod groups;
mod hwaccel;
mod index;
mod io;
mod log;
mod open;
mod peek;
mod sample;
mod segments;
mod source;
mod squares;
mod whole;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ffmpeg_next::ffi::AVPixelFormat;
use ffmpeg_next::util::frame::video::Video as VideoFrame;

use crate::error::{Error, Result, Status};
use crate::image::{Frame, Preprocessor};
use crate::options::{Seek, VideoOptions};
use crate::runtime::{Call, Cores, Turn};

pub(crate) use convert::{yuv_to_rgb, Converter};
pub use io::Media;
use sample::Timeline;
pub(crate) use segments::{segments, Progress};
pub use source::Source;
pub use squares::{pictures, Picture};
pub(crate) use squares::{squares, Event};

/// Makes bytes of a wanted frame.
type Finish<'w> = dyn Fn(&mut Preprocessor, &Frame) -> Result<Vec<u8>> + Sync + 'w;

/// On what terms a call finds its frames.
pub(crate) struct Terms<'w> {
    pub options: &'w VideoOptions,
    pub call: &'w Call,
    pub cores: &'w Cores,
    /// Of the squares that the preprocessor makes.
    pub side: usize,
}

/// What all parts of one call need to know.
struct Work<'w> {
    options: &'w VideoOptions,
    call: &'w Call,
    cores: &'w Cores,
    side: usize,
    finish: &'w Finish<'w>,
    /// Bytes come when they come.
    stalls: bool,
    /// What decodes instead of the CPU.
    device: Option<hwaccel::Device>,
    /// In nanoseconds, of all threads.
    preprocess: AtomicU64,
}

impl<'w> Work<'w> {
    fn new(terms: &Terms<'w>, source: &Source, finish: &'w Finish<'w>) -> Result<Self> {
        let Terms { options, call, cores, side } = *terms;
        let stalls = source.stalls(options);
        let device = options.hwaccel.map(hwaccel::Device::of).transpose()?;
        Ok(Work { options, call, cores, side, finish, stalls, device, preprocess: AtomicU64::new(0) })
    }

    /// With how many threads to decode.
    fn threads(&self) -> usize {
        self.options.decode_threads.unwrap_or_else(|| self.cores.count())
    }

    /// Waits until so many threads may decode. What may stall need not wait, and would keep others waiting.
    fn turn(&self, threads: usize, call: &Call) -> Result<Option<Turn>> {
        match self.stalls {
            true => Ok(None),
            false => self.cores.turn(threads, call).map(Some),
        }
    }

    /// Lets others decode where it is their turn; the decoder may need more cores by now than it began with.
    fn breathe(&self, turn: &mut Option<Turn>, decoder: &mut decoder::Decoder) -> Result<()> {
        if decoder.has_moved() {
            // Not while holding the old one: two who do that wait for each other.
            *turn = None;
            *turn = self.turn(decoder.threads(), self.call)?;
        }
        turn.as_mut().map_or(Ok(()), |turn| turn.breathe(self.call))
    }

    /// What is made of a frame. `software` is its format where a device has not decoded it.
    fn picture(
        &self,
        converter: &mut Converter,
        preprocessor: &mut Preprocessor,
        frame: &VideoFrame,
        software: AVPixelFormat,
    ) -> Result<Vec<u8>> {
        let start = Instant::now();
        let mut room = VideoFrame::empty();
        let frame = hwaccel::fetch(frame, software, &mut room)?;
        let picture = (self.finish)(preprocessor, &converter.rgb(frame)?);
        self.preprocess.fetch_add(u64::try_from(start.elapsed().as_nanos()).unwrap_or(0), Ordering::Relaxed);
        picture
    }
}

/// What the model sees of a frame.
fn square(preprocessor: &mut Preprocessor, frame: &Frame) -> Result<Vec<u8>> {
    let mut square = preprocessor.room(1)?;
    preprocessor.run(frame, &mut square)?;
    Ok(square)
}

/// Who wants frames.
trait Sink {
    /// The numbers of the frames that are wanted of this timeline, ascending; repeats come once.
    fn plan(&self, timeline: &Timeline) -> Result<Vec<u64>>;

    /// Whether frames that came by one timeline are right by the other.
    fn agree(&self, one: &Timeline, other: &Timeline) -> bool {
        let _ = (one, other);
        true
    }

    /// Frames of this timeline come next, beginning with the first: what came before was of a wrong one.
    fn begin(&mut self, timeline: &Timeline) -> Result<()>;

    /// The frame at this position among the wanted, repeats not counted. They come in order.
    fn take(&mut self, position: usize, picture: Vec<u8>) -> Result<()>;
}

/// How the frames were found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// How many frames the stream, or the part of it that had to be read, shows.
    pub total: u64,
    /// How many packets and frames were called corrupt, of those that were looked at.
    pub corrupt: u64,
    /// Why all of the stream was decoded, if it was.
    pub whole: Option<&'static str>,
    /// What converting, scaling and cropping took, of all threads.
    pub preprocess: Duration,
}

/// Whether what the options ask for can decode.
///
/// # Errors
/// `Device` with the reason why not.
pub(crate) fn check_hwaccel(options: &VideoOptions) -> Result<()> {
    options.hwaccel.map_or(Ok(()), |accel| hwaccel::Device::of(accel).map(drop))
}

/// Finds the frames that `sink` wants and hands them over.
fn visit<'a>(source: Source<'a>, work: &Work<'a>, sink: &mut dyn Sink) -> Result<Found> {
    let found = find(source, work, sink)?;
    Ok(Found { preprocess: Duration::from_nanos(work.preprocess.load(Ordering::Relaxed)), ..found })
}

fn find<'a>(source: Source<'a>, work: &Work<'a>, sink: &mut dyn Sink) -> Result<Found> {
    check_ffmpeg()?;
    let _quiet = log::Quiet::enter();
    let opened = source::Opened::new(source, work.options, work.call)?;
    let name = opened.name.clone();
    if work.options.seek == Seek::Approximate {
        return approximate::run(opened, work, sink);
    }
    let mut demuxer = demux::Demuxer::new(opened, work.options);
    let (why, mut timeline) = match demuxer.survey()? {
        demux::Survey::Unknown(why, timeline) => (why, timeline),
        demux::Survey::Known(mut index) => match indexed(&mut demuxer, &mut index, work, sink)? {
            groups::Outcome::Done => {
                demuxer.check_io()?;
                return Ok(Found { total: index.order.len() as u64, ..Found::default() });
            }
            groups::Outcome::Distrusted(why) => (why, index.timeline),
        },
    };
    // The first run tells the true frames. Where they are not what the container said, a second one picks by them.
    for _ in 0..2 {
        let planned = plan(sink, &timeline);
        if planned.is_some() {
            sink.begin(&timeline)?;
        }
        let numbers = planned.clone().unwrap_or_default();
        let mut take = |(position, picture)| sink.take(position, picture);
        let report = whole::run(&mut demuxer, &unique(&numbers), work, &mut take)?;
        demuxer.check_io()?;
        if report.timeline.frames.is_empty() {
            return Err(Error::new(
                Status::MediaFormat,
                format_args!("video: not one frame of `{name}` can be decoded"),
            ));
        }
        let total = report.timeline.frames.len() as u64;
        let found = Found { total, corrupt: report.corrupt, whole: Some(why), ..Found::default() };
        let right = sink.plan(&report.timeline)?;
        if planned == Some(right) && sink.agree(&timeline, &report.timeline) {
            return Ok(found);
        }
        timeline = report.timeline;
    }
    Err(Error::new(Status::Decode, format_args!("video: `{name}` decodes to other frames each time")))
}

fn indexed(
    demuxer: &mut demux::Demuxer,
    index: &mut index::Index,
    work: &Work,
    sink: &mut dyn Sink,
) -> Result<groups::Outcome> {
    if let groups::Outcome::Distrusted(why) = groups::settle_head(demuxer, index, work)? {
        return Ok(groups::Outcome::Distrusted(why));
    }
    if index.order.is_empty() {
        return Ok(groups::Outcome::Distrusted("its packets show no frame"));
    }
    let numbers = unique(&sink.plan(&index.timeline)?);
    sink.begin(&index.timeline)?;
    groups::run(demuxer, index, &numbers, work, &mut |(position, picture)| sink.take(position, picture))
}

/// What the sink wants of a timeline that may be wrong: nothing, where it makes no sense.
fn plan(sink: &dyn Sink, timeline: &Timeline) -> Option<Vec<u64>> {
    match timeline.frames.is_empty() {
        true => None,
        false => sink.plan(timeline).ok(),
    }
}

fn unique(numbers: &[u64]) -> Vec<u64> {
    let mut numbers = numbers.to_vec();
    numbers.dedup();
    numbers
}

/// Names that are visible to the whole process come first everywhere: the program's own FFmpeg, or one inside another library,
/// can stand where ours is expected. Of another version, its structs are others.
fn check_ffmpeg() -> Result<()> {
    use ffmpeg_next::ffi;
    // SAFETY: they return a constant.
    let loaded = unsafe {
        [
            ("libavutil", ffi::avutil_version(), ffi::LIBAVUTIL_VERSION_MAJOR),
            ("libavcodec", ffi::avcodec_version(), ffi::LIBAVCODEC_VERSION_MAJOR),
            ("libavformat", ffi::avformat_version(), ffi::LIBAVFORMAT_VERSION_MAJOR),
            ("libswscale", ffi::swscale_version(), ffi::LIBSWSCALE_VERSION_MAJOR),
        ]
    };
    match loaded.into_iter().find(|&(_, version, major)| i64::from(version >> 16) != i64::from(major)) {
        None => Ok(()),
        Some((name, version, major)) => Err(Error::new(
            Status::Unsupported,
            format_args!(
                "video: {name} {} answers here, where {major} is needed: the program or a library in it shows its own FFmpeg to \
                 the whole process; hide its names there, or load this library with RTLD_DEEPBIND",
                version >> 16
            ),
        )),
    }
}

/// FFmpeg's version as it runs.
pub fn ffmpeg_version() -> String {
    // SAFETY: av_version_info returns a constant NUL-terminated string.
    unsafe { std::ffi::CStr::from_ptr(ffmpeg_next::ffi::av_version_info()) }.to_string_lossy().into_owned()
}
