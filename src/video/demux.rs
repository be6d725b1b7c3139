//! The packets of the chosen stream: in order, and by their number.

use std::collections::HashMap;

use ffmpeg_next as ffmpeg;

use ffmpeg::{ffi, Packet};

use super::fields::Fields;
use super::index::{Builder, Index};
use super::peek::Peeker;
use super::sample::Timeline;
use super::source::{is_out_of_memory, out_of_memory, Opened};
use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;

/// Packets of one stream: more than half a day at 60 frames a second.
const MOST_PACKETS: usize = 3_000_000;
/// What is kept of a source that can be read only once, in bytes.
const MOST_KEPT: usize = 256 << 20;
/// What a packet takes beside its data, in bytes: about 350 of MPEG-TS, which adds more than others.
pub(super) const PACKET: usize = 512;
/// Packets that are read on to where a seek is not worth it.
const NEAR: u32 = 16;
/// Packets that are read behind a seek before the place that it led to counts as unknown.
const STRAY: usize = 1000;

/// Reads the packets of the chosen stream.
pub(super) struct Demuxer<'a> {
    opened: Option<Opened<'a>>,
    options: &'a VideoOptions,
    /// The number of the packet that comes next, where that is known.
    next: Option<u32>,
    /// A packet that was read to find out which it is.
    pending: Option<Packet>,
    /// All packets of a source that can be read only once, once they have been read.
    kept: Option<Vec<Packet>>,
    places: Option<HashMap<(i64, i64, u32), Option<u32>>>,
}

/// What one pass over the packets told.
pub(super) enum Survey {
    Known(Index),
    /// Only decoding all of it tells which frames there are; why, and how it looks from outside.
    Unknown(&'static str, Timeline),
}

impl<'a> Demuxer<'a> {
    pub(super) fn new(opened: Opened<'a>, options: &'a VideoOptions) -> Self {
        Demuxer { opened: Some(opened), options, next: Some(0), pending: None, kept: None, places: None }
    }

    pub(super) fn opened(&self) -> Result<&Opened<'a>> {
        self.opened.as_ref().ok_or_else(|| Error::internal("the media file is closed"))
    }

    /// # Errors
    /// What kept the media from being read as a whole, although the container went on.
    pub(super) fn check_io(&self) -> Result<()> {
        self.opened()?.io_error().map_or(Ok(()), Err)
    }

    /// The next packet; None at the end.
    ///
    /// # Errors
    /// `Decode` where the container is broken and nothing more can be read; `MediaIo`, `Cancelled`, `Timeout`.
    pub(super) fn read(&mut self) -> Result<Option<Packet>> {
        if let Some(packet) = self.pending.take() {
            self.next = self.next.map(|n| n + 1);
            return Ok(Some(packet));
        }
        if let Some(kept) = &self.kept {
            let at = self.next.unwrap_or(0);
            self.next = Some(at + 1);
            return Ok(kept.get(at as usize).cloned());
        }
        let Some(opened) = &mut self.opened else { return Err(Error::internal("the media file is closed")) };
        loop {
            // av_read_frame overwrites a packet without releasing what it held.
            let mut packet = Packet::empty();
            match packet.read(&mut opened.input) {
                Ok(()) if packet.stream() == opened.stream => {
                    self.next = self.next.map(|n| n + 1);
                    return Ok(Some(packet));
                }
                Ok(()) => opened.call().check()?,
                Err(e) => {
                    // Of whatever kind FFmpeg says it is.
                    if let Some(error) = opened.io_error() {
                        return Err(error);
                    }
                    return match e {
                        ffmpeg::Error::Eof => Ok(None),
                        ffmpeg::Error::Other { errno: ffmpeg::error::EIO } if opened.is_of_unknown_length() => Ok(None),
                        e if is_out_of_memory(&e) => Err(out_of_memory()),
                        e if opened.io.is_none() => Err(Error::new(
                            Status::MediaIo,
                            format_args!("video: reading `{}` ended: {e}", opened.name),
                        )),
                        e => Err(Error::new(Status::Decode, format_args!("video: the container is damaged: {e}"))),
                    };
                }
            }
        }
    }

    /// Reads all packets, or those up to the end of the wanted part, for what they tell of the frames.
    pub(super) fn survey(&mut self) -> Result<Survey> {
        let (peeker, time_base, seekable) = {
            let opened = self.opened()?;
            let stream = opened.stream()?;
            (peeker(&stream), stream.time_base(), opened.is_seekable())
        };
        let mut fields = Fields::new(&self.opened()?.stream()?)?;
        let mut builder = Builder::new(peeker, time_base);
        let (mut kept, mut bytes) = (Vec::new(), 0);
        let mut damaged = false;
        loop {
            self.opened()?.call().check()?;
            let packet = match self.read() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(e) if e.status() == Status::Decode && !self.options.strict_decode => {
                    damaged = true;
                    break;
                }
                Err(e) => return Err(e),
            };
            let field = fields.as_mut().is_some_and(|fields| fields.is_field(packet.data().unwrap_or_default()));
            builder.push(&packet, field);
            if builder.len() > MOST_PACKETS {
                let most = format_args!("video: more than {MOST_PACKETS} packets; set start_us and end_us");
                return Err(Error::new(Status::Limit, most));
            }
            let over = self.options.end_us.is_some_and(|end| builder.is_beyond(end));
            if !seekable {
                bytes += packet.size() + PACKET;
                kept.push(packet);
                if bytes > MOST_KEPT {
                    return Err(Error::new(
                        Status::Limit,
                        format_args!(
                            "video: `{}` can be read only once, and is larger than the {} MiB that are kept; set end_us or \
                             C4C_SEEK_APPROXIMATE",
                            self.opened()?.name,
                            MOST_KEPT >> 20
                        ),
                    ));
                }
            }
            if over {
                break;
            }
        }
        if !seekable {
            self.kept = Some(kept);
        }
        self.next = None;
        Ok(match builder.finish() {
            Ok(index) if !damaged => Survey::Known(index),
            Ok(index) => Survey::Unknown("its container is damaged", index.timeline),
            Err((doubt, timeline)) => Survey::Unknown(doubt, timeline),
        })
    }

    /// Goes to the first packet.
    pub(super) fn rewind(&mut self) -> Result<()> {
        if self.kept.is_none() && self.next != Some(0) {
            self.check_io()?;
            let opened = self.opened.take().ok_or_else(|| Error::internal("the media file is closed"))?;
            self.pending = None;
            self.opened = Some(opened.reopen(self.options)?);
        }
        self.next = Some(0);
        Ok(())
    }

    /// Goes to packet number `to`, so that `read` gives it next.
    ///
    /// # Errors
    /// `Decode` where the file does not give the same packets twice.
    pub(super) fn go_to(&mut self, to: u32, index: &Index) -> Result<()> {
        if self.kept.is_some() {
            self.next = Some(to);
            return Ok(());
        }
        let near = self.next.is_some_and(|next| next <= to && to - next <= NEAR);
        if !near && !self.seek(to, index)? {
            self.rewind()?;
        }
        while let Some(next) = self.next.filter(|&n| n < to) {
            self.opened()?.call().check()?;
            self.expect(next, index)?;
        }
        Ok(())
    }

    /// Reads packet number `number`, which is next.
    pub(super) fn expect(&mut self, number: u32, index: &Index) -> Result<Packet> {
        let changed = || Error::new(Status::Decode, "video: the file does not give the same packets twice");
        let packet = self.read()?.ok_or_else(changed)?;
        let entry = index.entries.get(number as usize).ok_or_else(changed)?;
        match place(&packet) == entry.place() {
            true => Ok(packet),
            false => Err(changed()),
        }
    }

    /// Seeks to packet number `to` or some before it; whether that worked.
    fn seek(&mut self, to: u32, index: &Index) -> Result<bool> {
        let pts = index.entries[to as usize].pts;
        // Containers seek by the time of decoding or of showing; the first of these may lead behind the packet.
        let earlier = index.entries[..to as usize].iter().rev().take(64).map(|e| e.pts).filter(|&t| t < pts).min();
        for time in [Some(pts), earlier].into_iter().flatten() {
            if self.seek_to(time)? && self.locate(to, index)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to a place from which the frame at `time` can be decoded; whether the container can do that.
    pub(super) fn seek_to(&mut self, time: i64) -> Result<bool> {
        let Some(opened) = &mut self.opened else { return Err(Error::internal("the media file is closed")) };
        let flags = ffi::AVSEEK_FLAG_BACKWARD as i32;
        (self.next, self.pending) = (None, None);
        // SAFETY: an open context and one of its streams.
        Ok(unsafe { ffi::av_seek_frame(opened.input.as_mut_ptr(), opened.stream as i32, time, flags) } >= 0)
    }

    /// The next packet; None at the end, for which a damaged container is taken unless `strict`.
    pub(super) fn read_or_end(&mut self, strict: bool) -> Result<Option<Packet>> {
        match self.read() {
            Err(e) if e.status() == Status::Decode && !strict => Ok(None),
            other => other,
        }
    }

    /// Reads on behind a seek until it is known where that led to; whether it is before packet number `to`.
    fn locate(&mut self, to: u32, index: &Index) -> Result<bool> {
        for _ in 0..STRAY {
            self.opened()?.call().check()?;
            let Some(packet) = self.read()? else { return Ok(false) };
            let places = self.places.get_or_insert_with(|| index.places());
            match places.get(&place(&packet)) {
                Some(Some(number)) if *number < to => {
                    self.next = Some(number + 1);
                    return Ok(true);
                }
                // It is read, and there is no way back by one.
                Some(Some(number)) if *number == to => {
                    self.next = Some(to);
                    self.pending = Some(packet);
                    return Ok(true);
                }
                Some(Some(_)) => return Ok(false),
                _ => {}
            }
        }
        Ok(false)
    }
}

fn place(packet: &Packet) -> (i64, i64, u32) {
    (packet.position() as i64, packet.pts().unwrap_or(i64::MIN), packet.size() as u32)
}

/// How the packets of a stream are read without decoding them, where that is possible.
pub(super) fn peeker(stream: &ffmpeg::format::stream::Stream) -> Option<Peeker> {
    let id = stream.parameters().id();
    // SAFETY: the parameters of an open stream, which are only read.
    let extradata = unsafe {
        let parameters = (*stream.as_ptr()).codecpar;
        let (data, size) = ((*parameters).extradata, (*parameters).extradata_size);
        match usize::try_from(size) {
            Ok(size @ 1..) if !data.is_null() => std::slice::from_raw_parts(data, size),
            _ => &[],
        }
    };
    Peeker::new(id, extradata)
}
