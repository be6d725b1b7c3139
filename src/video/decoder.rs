//! Decodes a stream from its beginning to its end and keeps the wanted frames.

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::threading;
use ffmpeg::util::frame::video::Video as VideoFrame;
use ffmpeg::Packet;

use super::convert::Converter;
use super::source::Source;
use super::{log, Sampled};
use crate::error::{Error, Result, Status};
use crate::image::Preprocessor;
use crate::options::VideoOptions;

/// Has decoders report what they would otherwise conceal.
const STRICT: i32 =
    ffmpeg::ffi::AV_EF_CRCCHECK | ffmpeg::ffi::AV_EF_BITSTREAM | ffmpeg::ffi::AV_EF_BUFFER | ffmpeg::ffi::AV_EF_EXPLODE;

/// Decodes all of `source` and preprocesses the frames whose numbers are in `picks`, which is ascending.
pub(super) fn run(
    mut source: Source,
    options: &VideoOptions,
    picks: &[u64],
    preprocessor: &mut Preprocessor,
) -> Result<Sampled> {
    let mut decoder = open(&source, options)?;
    let mut keep = Keep {
        picks,
        next: 0,
        count: 0,
        corrupt: 0,
        pixels: Vec::new(),
        converter: Converter::new(),
        preprocessor,
        options,
    };
    let mut packet = Packet::empty();
    loop {
        let more = match source.read(&mut packet) {
            Ok(more) => more,
            Err(e) if options.strict_decode => return Err(e),
            Err(_) => {
                keep.corrupt += 1;
                false
            }
        };
        if !more {
            break;
        }
        if packet.is_corrupt() {
            keep.corrupted(&"the container marks a packet as damaged")?;
        }
        // A decoder that is full asks for its frames to be taken before it takes the packet.
        loop {
            match decoder.send_packet(&packet) {
                Err(e) if is_again(&e) => {
                    if !keep.drain(&mut decoder)? {
                        break;
                    }
                }
                Err(e) => break keep.corrupted(&e)?,
                Ok(()) => break,
            }
        }
        keep.drain(&mut decoder)?;
    }
    if let Err(e) = decoder.send_eof() {
        keep.corrupted(&e)?;
    }
    keep.drain(&mut decoder)?;
    Ok(Sampled { pixels: keep.pixels, total: keep.count, corrupt: keep.corrupt })
}

fn open(source: &Source, options: &VideoOptions) -> Result<ffmpeg::decoder::Video> {
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
    // SAFETY: public fields of a context that is not open yet, set as FFmpeg's documentation says.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).log_level_offset = log::LEVEL_OFFSET;
        (*raw).max_pixels = i64::try_from(options.max_pixels).unwrap_or(i64::MAX);
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
}

impl Keep<'_> {
    /// Takes every frame that is ready; whether there was any.
    fn drain(&mut self, decoder: &mut ffmpeg::decoder::Video) -> Result<bool> {
        let mut any = false;
        loop {
            let mut frame = VideoFrame::empty();
            match decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    any = true;
                    self.frame(&frame)?;
                }
                Err(ffmpeg::Error::Eof) => return Ok(any),
                Err(e) if is_again(&e) => return Ok(any),
                Err(e) => {
                    self.corrupted(&e)?;
                    return Ok(any);
                }
            }
        }
    }

    fn corrupted(&mut self, what: &dyn std::fmt::Display) -> Result<()> {
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
            self.corrupted(&"the decoder concealed a damaged frame")?;
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
        let (width, height) = (frame.width() as usize, frame.height() as usize);
        if width as u64 * height as u64 > self.options.max_pixels {
            return Err(Error::new(
                Status::Limit,
                format_args!("video: a frame has {width}x{height} pixels, max_pixels is {}", self.options.max_pixels),
            ));
        }
        let rgb = self.converter.rgb(frame)?;
        let start = self.pixels.len();
        let end = start + self.preprocessor.output_len();
        self.pixels.resize(end, 0);
        self.preprocessor.run(&rgb, &mut self.pixels[start..])?;
        for _ in 1..times {
            self.pixels.extend_from_within(start..end);
        }
        Ok(())
    }
}
