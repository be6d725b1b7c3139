//! One decoder: packets with numbers in, frames with the same numbers out.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::threading;
use ffmpeg::ffi;
use ffmpeg::util::frame::video::Video as VideoFrame;
use ffmpeg::Packet;

use super::log;
use super::source::{is_out_of_memory, out_of_memory, Opened};
use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;
use crate::thread::without_signals;

/// Has decoders report what they would otherwise conceal.
const STRICT: i32 = ffi::AV_EF_CRCCHECK | ffi::AV_EF_BITSTREAM | ffi::AV_EF_BUFFER | ffi::AV_EF_EXPLODE;

/// More errors in a row than decoders give before they give up themselves.
const MOST_ERRORS: usize = 1000;

/// A decoder and what it is asked to look at.
pub(super) struct Decoder {
    inner: ffmpeg::decoder::Video,
    /// Dropped after the decoder, whose threads end with it.
    _threaded: Option<log::Threaded>,
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

/// What the decoder's own threads check before they take memory for a frame.
struct Limit {
    max_pixels: u64,
    exceeded: AtomicBool,
}

/// A frame that came out.
pub(super) struct Decoded<'a> {
    pub frame: &'a VideoFrame,
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
    pub(super) fn open(opened: &Opened, options: &VideoOptions, threads: usize) -> Result<Decoder> {
        let stream = opened.stream()?;
        let codec = stream.parameters().id();
        let failed = |e: ffmpeg::Error| match e {
            ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN } => {
                Error::new(Status::OutOfMemory, "video: no threads for the decoder; set decode_threads to 1")
            }
            e => Error::new(Status::MediaFormat, format_args!("video: no decoder for codec {codec:?}: {e}")),
        };
        let limit = Box::new(Limit { max_pixels: options.max_pixels, exceeded: AtomicBool::new(false) });
        // Where it must not conceal, FFmpeg's MPEG-4 decoder on several threads can abort the process, and that of H.264 tells
        // of damage only sometimes.
        let threads = if options.strict_decode { 1 } else { threads };
        let mut context = ffmpeg::codec::context::Context::from_parameters(stream.parameters()).map_err(failed)?;
        context.set_threading(threading::Config { kind: threading::Type::Frame, count: threads, ..Default::default() });
        // SAFETY: public fields of a context that is not open yet, set as FFmpeg's documentation says; `limit` has an
        // address of its own and outlives the context.
        unsafe {
            let raw = context.as_mut_ptr();
            (*raw).log_level_offset = log::LEVEL_OFFSET;
            (*raw).opaque = ptr::from_ref::<Limit>(&limit).cast_mut().cast();
            (*raw).get_buffer2 = Some(get_buffer);
            if codec == ffmpeg::codec::Id::AV1 {
                // dav1d takes its memory elsewhere.
                (*raw).max_pixels = i64::try_from(options.max_pixels).unwrap_or(i64::MAX);
            }
            (*raw).pkt_timebase = stream.time_base().into();
            if options.strict_decode {
                (*raw).err_recognition |= STRICT;
            }
        }
        let _threaded = (threads > 1).then(log::Threaded::new);
        let inner = without_signals(|| context.decoder().video()).map_err(failed)?;
        let (frame, strict) = (VideoFrame::empty(), options.strict_decode);
        let by_dav1d = codec == ffmpeg::codec::Id::AV1;
        Ok(Decoder { inner, _threaded, frame, limit, strict, by_dav1d, unrecovered: false, corrupt: 0 })
    }

    /// The same for one that begins anywhere. Of H.264 that begins at a recovery point, FFmpeg 5 loses the frames that are
    /// still to come at the end, since it does not count them as recovered; this has them come out nevertheless.
    pub(super) fn open_anywhere(opened: &Opened, options: &VideoOptions, threads: usize) -> Result<Decoder> {
        let mut decoder = Decoder::open(opened, options, threads)?;
        if opened.stream()?.parameters().id() == ffmpeg::codec::Id::H264 {
            decoder.unrecovered = true;
            // SAFETY: a public field that may be set before any packet.
            unsafe { (*decoder.inner.as_mut_ptr()).flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as i32 };
        }
        Ok(decoder)
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
            match self.inner.send_packet(packet) {
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
                    let decoded = Decoded { frame: &self.frame, number: self.frame.pts(), pts, flawed };
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

unsafe extern "C" fn get_buffer(context: *mut ffi::AVCodecContext, frame: *mut ffi::AVFrame, flags: i32) -> i32 {
    // SAFETY: FFmpeg calls this with the context that `open` prepared, whose `opaque` is the limit, and with a frame
    // whose size is set.
    unsafe {
        let limit = &*(*context).opaque.cast::<Limit>();
        // The size that is shown: what is coded is a little larger.
        let (width, height) = ((*context).width, (*context).height);
        let pixels = u64::from(width.unsigned_abs()) * u64::from(height.unsigned_abs());
        if pixels > limit.max_pixels {
            limit.exceeded.store(true, Ordering::Relaxed);
            return -ffi::EINVAL;
        }
        ffi::avcodec_default_get_buffer2(context, frame, flags)
    }
}

fn is_again(error: &ffmpeg::Error) -> bool {
    matches!(error, ffmpeg::Error::Other { errno } if *errno == ffmpeg::error::EAGAIN)
}

fn known(time: i64) -> Option<i64> {
    (time != ffi::AV_NOPTS_VALUE).then_some(time)
}
