//! Decodes a stream from its beginning to its end and keeps the wanted frames.

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::threading;
use ffmpeg::ffi;
use ffmpeg::util::frame::video::Video as VideoFrame;
use ffmpeg::Packet;

use super::convert::Converter;
use super::source::{out_of_memory, Source};
use super::{log, Sampled};
use crate::error::{Error, Result, Status};
use crate::image::Preprocessor;
use crate::options::VideoOptions;

/// Has decoders report what they would otherwise conceal.
const STRICT: i32 = ffi::AV_EF_CRCCHECK | ffi::AV_EF_BITSTREAM | ffi::AV_EF_BUFFER | ffi::AV_EF_EXPLODE;

/// Decodes all of `source` and preprocesses the frames whose numbers are in `picks`, which is ascending.
pub(super) fn run(
    mut source: Source,
    options: &VideoOptions,
    picks: &[u64],
    preprocessor: &mut Preprocessor,
) -> Result<Sampled> {
    let limit = Limit { max_pixels: options.max_pixels, exceeded: AtomicBool::new(false) };
    let mut decoder = open(&source, options, &limit)?;
    let mut keep = Keep {
        picks,
        next: 0,
        count: 0,
        corrupt: 0,
        pixels: preprocessor.room(picks.len())?,
        converter: Converter::new(),
        preprocessor,
        options,
        limit: &limit,
    };
    let (mut packet, mut frame) = (Packet::empty(), VideoFrame::empty());
    loop {
        let more = match source.read(&mut packet) {
            Ok(more) => more,
            Err(e) if options.strict_decode || e.status() != Status::Decode => return Err(e),
            Err(_) => {
                keep.corrupt += 1;
                false
            }
        };
        if !more {
            break;
        }
        if packet.is_corrupt() {
            keep.flawed("the container marks a packet as damaged")?;
        }
        // A decoder that is full asks for its frames to be taken before it takes the packet.
        loop {
            match decoder.send_packet(&packet) {
                Err(e) if is_again(&e) => {
                    if !keep.drain(&mut decoder, &mut frame)? {
                        break keep.flawed("the decoder neither takes a packet nor gives a frame")?;
                    }
                }
                Err(e) => break keep.corrupted(e)?,
                Ok(()) => break,
            }
        }
        keep.drain(&mut decoder, &mut frame)?;
    }
    if let Some(error) = source.io_error() {
        return Err(error);
    }
    if let Err(e) = decoder.send_eof() {
        keep.corrupted(e)?;
    }
    keep.drain(&mut decoder, &mut frame)?;
    Ok(Sampled { pixels: keep.pixels, total: keep.count, corrupt: keep.corrupt })
}

/// What the decoder's own threads check before they take memory for a frame.
struct Limit {
    max_pixels: u64,
    exceeded: AtomicBool,
}

unsafe extern "C" fn get_buffer(context: *mut ffi::AVCodecContext, frame: *mut ffi::AVFrame, flags: i32) -> i32 {
    // SAFETY: FFmpeg calls this with the context that `open` prepared, whose `opaque` is the limit, and with a frame
    // whose size is set.
    unsafe {
        let limit = &*(*context).opaque.cast::<Limit>();
        let pixels = u64::from((*frame).width.unsigned_abs()) * u64::from((*frame).height.unsigned_abs());
        if pixels > limit.max_pixels {
            limit.exceeded.store(true, Ordering::Relaxed);
            return -ffi::EINVAL;
        }
        ffi::avcodec_default_get_buffer2(context, frame, flags)
    }
}

/// `limit` must outlive the decoder.
fn open(source: &Source, options: &VideoOptions, limit: &Limit) -> Result<ffmpeg::decoder::Video> {
    let stream = source.stream()?;
    let codec = stream.parameters().id();
    let failed =
        |e: ffmpeg::Error| Error::new(Status::MediaFormat, format_args!("video: no decoder for codec {codec:?}: {e}"));
    let mut context = ffmpeg::codec::context::Context::from_parameters(stream.parameters()).map_err(failed)?;
    let threads = options.decode_threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    context.set_threading(threading::Config {
        kind: threading::Type::Frame,
        count: threads.unwrap_or(1),
        ..Default::default()
    });
    // SAFETY: public fields of a context that is not open yet, set as FFmpeg's documentation says; `limit` outlives it.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).log_level_offset = log::LEVEL_OFFSET;
        (*raw).opaque = ptr::from_ref(limit).cast_mut().cast();
        (*raw).get_buffer2 = Some(get_buffer);
        (*raw).pkt_timebase = stream.time_base().into();
        if options.strict_decode {
            (*raw).err_recognition |= STRICT;
        }
    }
    context.decoder().video().map_err(failed)
}

fn is_again(error: &ffmpeg::Error) -> bool {
    matches!(error, ffmpeg::Error::Other { errno } if *errno == ffmpeg::error::EAGAIN)
}

/// Counts the frames as they come out and keeps those that are wanted.
struct Keep<'a> {
    picks: &'a [u64],
    next: usize,
    count: u64,
    corrupt: u64,
    pixels: Vec<u8>,
    converter: Converter,
    preprocessor: &'a mut Preprocessor,
    options: &'a VideoOptions,
    limit: &'a Limit,
}

impl Keep<'_> {
    /// Takes every frame that is ready; whether there was any. At the end of the stream, a decoder with errors behind it
    /// still has frames to give, so an error ends nothing unless there is no end of them.
    fn drain(&mut self, decoder: &mut ffmpeg::decoder::Video, frame: &mut VideoFrame) -> Result<bool> {
        /// More in a row than decoders give before they give up themselves.
        const MOST_ERRORS: usize = 1000;
        let mut any = false;
        let mut errors = 0;
        while errors < MOST_ERRORS {
            match decoder.receive_frame(frame) {
                Ok(()) => {
                    (any, errors) = (true, 0);
                    self.frame(frame)?;
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
        if self.limit.exceeded.load(Ordering::Relaxed) {
            return Err(Error::new(
                Status::Limit,
                format_args!("video: a frame has more pixels than max_pixels ({})", self.options.max_pixels),
            ));
        }
        match error {
            ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM } => Err(out_of_memory()),
            error => self.flawed(&error.to_string()),
        }
    }

    fn flawed(&mut self, what: &str) -> Result<()> {
        self.corrupt += 1;
        if self.options.strict_decode {
            return Err(Error::new(
                Status::Decode,
                format_args!("video: the data after frame {} is corrupt: {what}", self.count),
            ));
        }
        Ok(())
    }

    fn frame(&mut self, frame: &VideoFrame) -> Result<()> {
        // SAFETY: a frame that the decoder filled; public fields, only read.
        let flawed = unsafe { (*frame.as_ptr()).decode_error_flags } != 0 || frame.is_corrupt();
        if flawed {
            self.flawed("the decoder concealed a damaged frame")?;
        }
        let wanted = self.picks[self.next..].iter().take_while(|&&pick| pick == self.count).count();
        if wanted > 0 {
            self.keep(frame, wanted)?;
            self.next += wanted;
        }
        self.count += 1;
        Ok(())
    }

    fn keep(&mut self, frame: &VideoFrame, times: usize) -> Result<()> {
        let rgb = self.converter.rgb(frame)?;
        let size = self.preprocessor.output_len();
        let squares = &mut self.pixels[self.next * size..][..times * size];
        let (first, copies) = squares.split_at_mut(size);
        self.preprocessor.run(&rgb, first)?;
        copies.chunks_exact_mut(size).for_each(|copy| copy.copy_from_slice(first));
        Ok(())
    }
}
