//! One decoder: packets with numbers in, frames with the same numbers out. Where a device decodes, that ends with a
//! decoder on the CPU if it does not take the stream.

use std::sync::atomic::Ordering;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::Context;
use ffmpeg::ffi;
use ffmpeg::util::frame::video::Video as VideoFrame;
use ffmpeg::Packet;

use super::open::{self, Limit, CPU, UNDECIDED};
use super::source::{is_out_of_memory, out_of_memory, Opened};
use super::{log, Work};
use crate::error::{Error, Result, Status};

/// More errors in a row than decoders give before they give up themselves.
const MOST_ERRORS: usize = 1000;

/// A decoder and what it is asked to look at.
pub(super) struct Decoder {
    inner: ffmpeg::decoder::Video,
    /// Dropped after the decoder, whose threads end with it.
    threaded: Option<log::Threaded>,
    /// While a device has not taken the stream: the decoder for the CPU, to be opened, and its threads.
    spare: Option<(Context, usize)>,
    /// It went from a device to the CPU, and nobody has asked yet.
    moved: bool,
    threads: usize,
    frame: VideoFrame,
    limit: Box<Limit>,
    strict: bool,
    /// It states a frame beyond the limit by an error of its own.
    by_dav1d: bool,
    /// Frames that FFmpeg takes for not recovered yet are shown.
    pub unrecovered: bool,
    /// How many packets and frames were damaged.
    pub corrupt: u64,
}

/// A frame that came out.
pub(super) struct Decoded<'a> {
    /// In main memory or on a device.
    pub frame: &'a VideoFrame,
    /// The format that it has, or would have if the CPU had decoded it.
    pub software: ffi::AVPixelFormat,
    /// The number of its packet, if that had one.
    pub number: Option<i64>,
    /// When it is shown, if its packet had no number.
    pub pts: Option<i64>,
    /// The decoder calls it damaged.
    pub flawed: bool,
}

/// Takes a frame; tells whether its damage, if it has any, is of concern.
pub(super) type Take<'t> = dyn FnMut(Decoded) -> Result<bool> + 't;

impl Decoder {
    pub(super) fn open(opened: &Opened, work: &Work, threads: usize) -> Result<Decoder> {
        Self::of(opened, work, threads, false)
    }

    /// The same for one that begins anywhere. Of H.264 that begins at a recovery point, FFmpeg 5 loses the frames that are
    /// still to come at the end, since it does not count them as recovered; this has them come out nevertheless.
    pub(super) fn open_anywhere(opened: &Opened, work: &Work, threads: usize) -> Result<Decoder> {
        let unrecovered = opened.stream()?.parameters().id() == ffmpeg::codec::Id::H264;
        Self::of(opened, work, threads, unrecovered)
    }

    /// Whether a device is asked to decode the stream.
    pub(super) fn has_device(opened: &Opened, work: &Work) -> Result<bool> {
        Ok(open::device(opened, work)?.is_some())
    }

    fn of(opened: &Opened, work: &Work, threads: usize, unrecovered: bool) -> Result<Decoder> {
        let options = work.options;
        let codec = opened.stream()?.parameters().id();
        let limit = Box::new(Limit::new(options.max_pixels));
        // Where it must not conceal, FFmpeg's MPEG-4 decoder on several threads can abort the process, and that of H.264 tells
        // of damage only sometimes.
        let threads = if options.strict_decode { 1 } else { threads };
        let context = |threads| open::context(opened, options, &limit, threads, unrecovered);
        let on_device = match open::device(opened, work)? {
            // FFmpeg has threads wait for each other where a device decodes, and each takes a surface of it.
            Some((device, codec)) => open::hand_over(context(1)?, device, codec)?,
            None => None,
        };
        let (inner, threaded, spare, threads) = match on_device {
            Some(inner) => (inner, None, Some((context(threads)?, threads)), 1),
            None => {
                let (inner, threaded) = open::start(context(threads)?, threads)?;
                (inner, threaded, None, threads)
            }
        };
        Ok(Decoder {
            inner,
            threaded,
            spare,
            moved: false,
            threads,
            frame: VideoFrame::empty(),
            limit,
            strict: options.strict_decode,
            by_dav1d: codec == ffmpeg::codec::Id::AV1,
            unrecovered,
            corrupt: 0,
        })
    }

    /// How many cores it keeps busy.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Whether it went from a device to the CPU since this was asked last.
    pub(super) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Goes over to the CPU if the device has not taken the stream, which shows at the first packet with a picture;
    /// whether it did.
    fn settle(&mut self) -> Result<bool> {
        match (self.limit.choice.load(Ordering::Relaxed), self.spare.take()) {
            (CPU, Some((context, threads))) => {
                (self.inner, self.threaded) = open::start(context, threads)?;
                (self.threads, self.moved) = (threads, true);
                Ok(true)
            }
            (UNDECIDED, spare) => {
                self.spare = spare;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Decodes a packet and hands every frame that is ready to `take`. Its frame will have `number`, or else the packet's
    /// own time.
    pub(super) fn decode(&mut self, packet: &mut Packet, number: Option<i64>, take: &mut Take) -> Result<()> {
        if packet.is_corrupt() {
            self.flawed("the container marks a packet as damaged")?;
        }
        if number.is_some() {
            // Decoders hand the time of a packet to its frame and do not look at it.
            packet.set_pts(number);
            packet.set_dts(number);
        }
        // A decoder that is full asks for its frames to be taken before it takes the packet.
        loop {
            let sent = self.inner.send_packet(packet);
            // Nothing has come out yet.
            if self.spare.is_some() && self.settle()? {
                continue;
            }
            match sent {
                Err(e) if is_again(&e) => {
                    if !self.drain(take)? {
                        break self.flawed("the decoder neither takes a packet nor gives a frame")?;
                    }
                }
                Err(e) => break self.corrupted(e)?,
                Ok(()) => break,
            }
        }
        self.drain(take)?;
        Ok(())
    }

    /// Hands the rest of the frames to `take`, and makes the decoder ready for packets from elsewhere.
    pub(super) fn finish(&mut self, take: &mut Take) -> Result<()> {
        if let Err(e) = self.inner.send_eof() {
            self.corrupted(e)?;
        }
        self.drain(take)?;
        self.inner.flush();
        Ok(())
    }

    /// Drops what it holds and makes it ready for packets from elsewhere.
    pub(super) fn forget(&mut self) {
        self.inner.flush();
    }

    /// Takes every frame that is ready; whether there was any. At the end of the stream, a decoder with errors behind it
    /// still has frames to give, so an error ends nothing unless there is no end of them.
    fn drain(&mut self, take: &mut Take) -> Result<bool> {
        let mut any = false;
        let mut errors = 0;
        while errors < MOST_ERRORS {
            match self.inner.receive_frame(&mut self.frame) {
                Ok(()) => {
                    (any, errors) = (true, 0);
                    // SAFETY: a frame that the decoder filled; public fields, only read.
                    let flags = unsafe { (*self.frame.as_ptr()).decode_error_flags };
                    let flawed = flags != 0 || (self.frame.is_corrupt() && !self.unrecovered);
                    // SAFETY: as above.
                    let pts = known(unsafe { (*self.frame.as_ptr()).best_effort_timestamp });
                    // SAFETY: public fields of an open decoder and of its frame, only read.
                    let software = unsafe { software(self.inner.as_ptr(), self.frame.as_ptr()) };
                    let decoded = Decoded { frame: &self.frame, software, number: self.frame.pts(), pts, flawed };
                    if take(decoded)? && flawed {
                        self.flawed("the decoder concealed a damaged frame")?;
                    }
                }
                Err(ffmpeg::Error::Eof) => break,
                Err(e) if is_again(&e) => break,
                Err(e) => {
                    errors += 1;
                    self.corrupted(e)?;
                }
            }
        }
        Ok(any)
    }

    fn corrupted(&mut self, error: ffmpeg::Error) -> Result<()> {
        let too_large = matches!(error, ffmpeg::Error::Other { errno: ffmpeg::error::ERANGE }) && self.by_dav1d;
        if self.limit.exceeded.load(Ordering::Relaxed) || too_large {
            return Err(Error::new(
                Status::Limit,
                format_args!("video: a frame has more pixels than max_pixels ({})", self.limit.max_pixels),
            ));
        }
        match error {
            error if is_out_of_memory(&error) => Err(out_of_memory()),
            error => self.flawed(&error.to_string()),
        }
    }

    fn flawed(&mut self, what: &str) -> Result<()> {
        self.corrupt += 1;
        match self.strict {
            true => Err(Error::new(Status::Decode, format_args!("video: the data is corrupt: {what}"))),
            false => Ok(()),
        }
    }
}

/// The format of a frame, or that which it would have if the CPU had decoded it.
///
/// # Safety
/// An open decoder and a frame of it.
unsafe fn software(context: *const ffi::AVCodecContext, frame: *const ffi::AVFrame) -> ffi::AVPixelFormat {
    // SAFETY: as promised.
    unsafe {
        match (*frame).hw_frames_ctx.is_null() {
            true => (*context).pix_fmt,
            false => (*context).sw_pix_fmt,
        }
    }
}

fn is_again(error: &ffmpeg::Error) -> bool {
    matches!(error, ffmpeg::Error::Other { errno } if *errno == ffmpeg::error::EAGAIN)
}

fn known(time: i64) -> Option<i64> {
    (time != ffi::AV_NOPTS_VALUE).then_some(time)
}
