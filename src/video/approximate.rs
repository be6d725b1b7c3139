//! Finds frames by the duration and the frame rate that the container states, without looking at all of it.

use std::cell::Cell;

use ffmpeg_next as ffmpeg;

use ffmpeg::ffi;
use ffmpeg::ffi::AVPixelFormat;
use ffmpeg::util::frame::video::Video as VideoFrame;

use super::convert::Converter;
use super::decoder::{Decoded, Decoder};
use super::demux::{peeker, Demuxer};
use super::index::microseconds;
use super::peek::Peeker;
use super::sample::{Shown, Timeline};
use super::source::{out_of_memory, Opened};
use super::{unique, Found, Sink, Work};
use crate::error::{Error, Result, Status};
use crate::image::Preprocessor;
use crate::options::Sampling;

/// More frames than a container may promise.
const MOST_FRAMES: i64 = 3_000_000;
/// Where the container has no index: how far ahead a frame must be for a seek.
const FAR_US: i64 = 5_000_000;

/// What the container states of its stream.
struct Stated {
    timeline: Timeline,
    /// Half of the time that a frame is shown.
    half_us: i64,
    time_base: ffmpeg::Rational,
    /// The time of the first frame, in the time base.
    start: i64,
    peeker: Option<Peeker>,
}

pub(super) fn run<'a>(mut opened: Opened<'a>, work: &Work<'a>, sink: &mut dyn Sink) -> Result<Found> {
    if work.options.sampling == Sampling::KeyFrames && opened.is_seekable() {
        load_index(&mut opened);
    }
    let stated = stated(&opened, work)?;
    let numbers = unique(&sink.plan(&stated.timeline)?);
    sink.begin(&stated.timeline)?;
    let targets: Vec<i64> = numbers.iter().map(|&n| stated.timeline.frames[n as usize].time_us).collect();
    let name = opened.name.clone();
    let seekable = opened.is_seekable();
    let mut decoder = Decoder::open(&opened, work, work.threads())?;
    let mut converter = Converter::new(&opened, work.options)?;
    let mut preprocessor = Preprocessor::new(work.side);
    let mut demuxer = Demuxer::new(opened, work.options);

    let position = Cell::new(0);
    let (mut last, mut software) = (VideoFrame::empty(), AVPixelFormat::AV_PIX_FMT_NONE);
    let mut frame = |decoded: Decoded| -> Result<bool> {
        keep(&mut last, decoded.frame)?;
        software = decoded.software;
        let time = decoded.pts.map(|pts| microseconds(pts.saturating_sub(stated.start), stated.time_base));
        // A frame without a time is the next one.
        while targets.get(position.get()).is_some_and(|&t| time.is_none_or(|time| time >= t - stated.half_us)) {
            let at = position.replace(position.get() + 1);
            sink.take(at, work.picture(&mut converter, &mut preprocessor, decoded.frame, software)?)?;
            if time.is_none() {
                break;
            }
        }
        Ok(true)
    };
    // The target that was sought for, and where packets were read last.
    let (mut sought, mut read_us) = (None, i64::MIN);
    let mut turn = work.turn(decoder.threads(), work.call)?;
    while let Some(&target) = targets.get(position.get()) {
        work.call.check()?;
        work.breathe(&mut turn, &mut decoder)?;
        if seekable && sought != Some(position.get()) {
            sought = Some(position.get());
            if demuxer.is_ahead(target, read_us, stated.start, stated.time_base)? {
                decoder.forget();
                demuxer.seek_time(target, stated.start, stated.time_base)?;
            }
        }
        let Some(mut packet) = demuxer.read_or_end(work.options.strict_decode)? else { break };
        let time = |pts: Option<i64>| pts.map(|p| microseconds(p.saturating_sub(stated.start), stated.time_base));
        read_us = time(packet.dts()).or(time(packet.pts())).unwrap_or(read_us);
        // Frames that no other needs and that are shown too early; in H.265 others may need them yet.
        let early = time(packet.pts()).is_some_and(|t| t < target - 3 * stated.half_us);
        let peek = stated.peeker.as_ref().filter(|_| early).map(|p| p.look(packet.data().unwrap_or_default(), false));
        if !peek.is_some_and(|peek| peek.droppable) {
            decoder.decode(&mut packet, None, &mut frame)?;
        }
    }
    if position.get() < targets.len() {
        decoder.finish(&mut frame)?;
    }
    // The container promised more than there is: the last frame stands for what is missing.
    let missing = position.get()..targets.len();
    if missing.start < missing.end && last.width() == 0 {
        return Err(Error::new(Status::MediaFormat, format_args!("video: not one frame of `{name}` can be decoded")));
    }
    for at in missing {
        sink.take(at, work.picture(&mut converter, &mut preprocessor, &last, software)?)?;
    }
    demuxer.check_io()?;
    let total = stated.timeline.frames.len() as u64;
    Ok(Found { total, corrupt: decoder.corrupt, ..Found::default() })
}

fn stated(opened: &Opened, work: &Work) -> Result<Stated> {
    let stream = opened.stream()?;
    let time_base = stream.time_base();
    let known = |time: i64| (time != ffi::AV_NOPTS_VALUE).then_some(time);
    let in_all = known(opened.input.duration()).filter(|&us| us > 0);
    let duration_us = known(stream.duration()).map(|d| microseconds(d, time_base)).filter(|&us| us > 0).or(in_all);
    // A little beyond the end that is asked for, so that it is the sampling that cuts there.
    let end = work.options.end_us.map(|end| end.saturating_add(1_000_000));
    let end_us = match (duration_us, end) {
        (Some(duration), end) => duration.min(end.unwrap_or(i64::MAX)),
        (None, Some(end)) => end,
        (None, None) => {
            return Err(Error::new(
                Status::Limit,
                format_args!("video: `{}` states no duration; set end_us, or use C4C_SEEK_EXACT", opened.name),
            ))
        }
    };
    let rate = match (stream.avg_frame_rate(), stream.rate()) {
        (rate, _) if rate.numerator() > 0 && rate.denominator() > 0 => f64::from(rate),
        (_, rate) if rate.numerator() > 0 && rate.denominator() > 0 => f64::from(rate),
        _ => 25.0,
    };
    let frames = ((end_us as f64 / 1e6 * rate).round() as i64).max(1);
    if frames > MOST_FRAMES {
        return Err(Error::new(
            Status::Limit,
            format_args!("video: the container states {frames} frames; set start_us and end_us"),
        ));
    }
    let start = known(stream.start_time()).unwrap_or(0);
    let mut frames: Vec<Shown> =
        (0..frames).map(|i| Shown { time_us: (i as f64 * 1e6 / rate).round() as i64, key: false }).collect();
    let half_us = (5e5 / rate).round() as i64;
    if work.options.sampling == Sampling::KeyFrames {
        key_frames(&stream, &mut frames, rate)?;
    }
    let peeker = peeker(&stream).filter(|_| stream.parameters().id() != ffmpeg::codec::Id::HEVC);
    Ok(Stated { timeline: Timeline { frames, end_us }, half_us, time_base, start, peeker })
}

/// Has the container read its index: Matroska's leaves that until somebody seeks.
fn load_index(opened: &mut Opened) {
    let flags = ffi::AVSEEK_FLAG_BACKWARD as i32;
    // SAFETY: an open context and one of its streams. Where the seek fails, reading goes on where it is.
    unsafe { ffi::av_seek_frame(opened.input.as_mut_ptr(), opened.stream as i32, 0, flags) };
}

/// Marks the frames at which the container's own index says that decoding can begin.
fn key_frames(stream: &ffmpeg::format::stream::Stream, frames: &mut [Shown], rate: f64) -> Result<()> {
    let mut first = None;
    // SAFETY: a stream of an open context; entries are valid until packets are read, and are only read.
    unsafe {
        let raw = stream.as_ptr().cast_mut();
        for i in 0..ffi::avformat_index_get_entries_count(raw) {
            let entry = ffi::avformat_index_get_entry(raw, i);
            if entry.is_null() || (*entry).flags() & ffi::AVINDEX_KEYFRAME as i32 == 0 {
                continue;
            }
            // Times of decoding or of showing, as the container has it; the first key frame is the first frame either way.
            let first = *first.get_or_insert((*entry).timestamp);
            let time = microseconds((*entry).timestamp.saturating_sub(first), stream.time_base());
            let number = (time as f64 / 1e6 * rate).round().max(0.0) as usize;
            if let Some(frame) = frames.get_mut(number) {
                frame.key = true;
            }
        }
    }
    match first {
        Some(_) => Ok(()),
        None => Err(Error::unsupported(
            "video.sampling: the container has no index of key frames, so KEYFRAMES needs C4C_SEEK_EXACT",
        )),
    }
}

/// Keeps a reference to the frame.
fn keep(last: &mut VideoFrame, frame: &VideoFrame) -> Result<()> {
    // SAFETY: two frames that FFmpeg allocated; the first gives up what it held.
    let kept = unsafe {
        ffi::av_frame_unref(last.as_mut_ptr());
        ffi::av_frame_ref(last.as_mut_ptr(), frame.as_ptr())
    };
    match kept {
        0.. => Ok(()),
        _ => Err(out_of_memory()),
    }
}

impl Demuxer<'_> {
    /// Whether a seek to `target` leads beyond what was read last.
    fn is_ahead(&self, target: i64, read_us: i64, start: i64, time_base: ffmpeg::Rational) -> Result<bool> {
        let stream = self.opened()?.stream()?;
        let time = pts(target, start, time_base);
        // SAFETY: a stream of an open context; the entry is only read.
        let key = unsafe {
            let raw = stream.as_ptr().cast_mut();
            let entry = ffi::avformat_index_get_entry_from_timestamp(raw, time, ffi::AVSEEK_FLAG_BACKWARD as i32);
            let indexed = ffi::avformat_index_get_entries_count(raw) > 1;
            (indexed && !entry.is_null()).then(|| (*entry).timestamp)
        };
        Ok(match key {
            Some(key) => microseconds(key.saturating_sub(start), time_base) > read_us,
            None => target > FAR_US && (read_us == i64::MIN || target - read_us > FAR_US),
        })
    }

    fn seek_time(&mut self, target: i64, start: i64, time_base: ffmpeg::Rational) -> Result<()> {
        self.seek_to(pts(target, start, time_base)).map(drop)
    }
}

fn pts(time_us: i64, start: i64, time_base: ffmpeg::Rational) -> i64 {
    let (n, d) = (i128::from(time_base.numerator()).max(1) * 1_000_000, i128::from(time_base.denominator()));
    start.saturating_add(i64::try_from(i128::from(time_us) * d / n).unwrap_or(i64::MAX))
}
