//! Decodes a stream from its beginning to its end: the only way to know the frames of some.

use std::cell::Cell;

use super::convert::Converter;
use super::decoder::{Decoded, Decoder};
use super::demux::Demuxer;
use super::index::microseconds;
use super::sample::{Shown, Timeline};
use super::Work;
use crate::error::{Error, Result, Status};
use crate::image::Preprocessor;

/// More frames than anybody decodes.
const MOST_FRAMES: usize = 3_000_000;

/// What decoding everything told.
pub(super) struct Report {
    pub timeline: Timeline,
    pub corrupt: u64,
}

/// Decodes everything, hands the frames with these numbers, which ascend, to `take` with their positions among them.
pub(super) fn run(
    demuxer: &mut Demuxer,
    numbers: &[u64],
    work: &Work,
    take: &mut dyn FnMut((usize, Vec<u8>)) -> Result<()>,
) -> Result<Report> {
    demuxer.rewind()?;
    let opened = demuxer.opened()?;
    let mut decoder = Decoder::open(opened, work, work.threads())?;
    let mut converter = Converter::new(opened, work.options)?;
    let mut preprocessor = Preprocessor::new(work.side);
    let (time_base, rate) = {
        let stream = opened.stream()?;
        (stream.time_base(), stream.avg_frame_rate())
    };
    // How long a frame without a time of its own is taken to be shown.
    let usual_us = match (rate.numerator(), rate.denominator()) {
        (n @ 1.., d @ 1..) => 1_000_000 * i64::from(d) / i64::from(n),
        _ => 40_000,
    };
    let mut frames: Vec<Shown> = Vec::new();
    let mut first_pts = None;
    let mut position = 0;
    let over = Cell::new(false);
    let mut each = |decoded: Decoded| -> Result<bool> {
        if frames.len() >= MOST_FRAMES {
            return Err(Error::new(Status::Limit, format_args!("video: more than {MOST_FRAMES} frames; set end_us")));
        }
        let after_last = frames.last().map_or(0, |last| last.time_us.saturating_add(usual_us));
        let time_us = match decoded.pts {
            Some(pts) => microseconds(pts.saturating_sub(*first_pts.get_or_insert(pts)), time_base),
            None => after_last,
        };
        // Time does not run backwards, whatever the stream says.
        let time_us = frames.last().map_or(time_us, |last| time_us.max(last.time_us));
        over.set(over.get() || work.options.end_us.is_some_and(|end| time_us >= end));
        if numbers.get(position) == Some(&(frames.len() as u64)) {
            take((position, work.picture(&mut converter, &mut preprocessor, decoded.frame, decoded.software)?))?;
            position += 1;
        }
        frames.push(Shown { time_us, key: decoded.frame.is_key() });
        Ok(true)
    };
    let mut damaged = 0;
    let mut turn = work.turn(decoder.threads(), work.call)?;
    loop {
        work.call.check()?;
        work.breathe(&mut turn, &mut decoder)?;
        let mut packet = match demuxer.read() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(e) if e.status() == Status::Decode && !work.options.strict_decode => {
                damaged = 1;
                break;
            }
            Err(e) => return Err(e),
        };
        decoder.decode(&mut packet, None, &mut each)?;
        if over.get() {
            break;
        }
    }
    decoder.finish(&mut each)?;
    let end_us = frames.last().map_or(0, |last| last.time_us.saturating_add(usual_us));
    Ok(Report { timeline: Timeline { frames, end_us }, corrupt: decoder.corrupt + damaged })
}
