//! Opens decoders, with the bounds that they keep, on a device or on the CPU.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::{threading, Context};
use ffmpeg::ffi;

use super::source::{out_of_memory, Opened};
use super::{hwaccel, log, Work};
use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;
use crate::thread::without_signals;

/// Has decoders report what they would otherwise conceal.
const STRICT: i32 = ffi::AV_EF_CRCCHECK | ffi::AV_EF_BITSTREAM | ffi::AV_EF_BUFFER | ffi::AV_EF_EXPLODE;

/// What the decoder's own threads check before they take memory for a frame.
pub(super) struct Limit {
    pub max_pixels: u64,
    /// There was a larger frame.
    pub exceeded: AtomicBool,
    /// Where a device may decode: what FFmpeg has chosen.
    pub choice: AtomicU8,
}

impl Limit {
    pub(super) fn new(max_pixels: u64) -> Self {
        Limit { max_pixels, exceeded: AtomicBool::new(false), choice: AtomicU8::new(UNDECIDED) }
    }
}

pub(super) const UNDECIDED: u8 = 0;
pub(super) const DEVICE: u8 = 1;
pub(super) const CPU: u8 = 2;

/// The device that is asked to decode the stream, and the decoder of FFmpeg's that hands over to it.
pub(super) fn device(opened: &Opened, work: &Work) -> Result<Option<(hwaccel::Device, ffmpeg::Codec)>> {
    // Devices do not tell of damage.
    let device = work.device.filter(|_| !work.options.strict_decode);
    let id = opened.stream()?.parameters().id().into();
    Ok(device.and_then(|device| Some((device, hwaccel::codec(id)?))))
}

/// A decoder of the stream that is not open yet.
pub(super) fn context(
    opened: &Opened,
    options: &VideoOptions,
    limit: &Limit,
    threads: usize,
    unrecovered: bool,
) -> Result<Context> {
    let stream = opened.stream()?;
    let codec = stream.parameters().id();
    let mut context = Context::from_parameters(stream.parameters()).map_err(|e| failed(codec, e))?;
    context.set_threading(threading::Config { kind: threading::Type::Frame, count: threads, ..Default::default() });
    // SAFETY: public fields of a context that is not open yet, set as FFmpeg's documentation says; `limit` has an
    // address of its own and outlives the context.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).log_level_offset = log::LEVEL_OFFSET;
        (*raw).opaque = ptr::from_ref::<Limit>(limit).cast_mut().cast();
        (*raw).get_buffer2 = Some(get_buffer);
        if codec == ffmpeg::codec::Id::AV1 {
            // dav1d takes its memory elsewhere.
            (*raw).max_pixels = i64::try_from(options.max_pixels).unwrap_or(i64::MAX);
        }
        (*raw).pkt_timebase = stream.time_base().into();
        if options.strict_decode {
            (*raw).err_recognition |= STRICT;
        }
        if unrecovered {
            (*raw).flags |= ffi::AV_CODEC_FLAG_OUTPUT_CORRUPT as i32;
        }
    }
    Ok(context)
}

/// Opens a decoder on the CPU.
pub(super) fn start(context: Context, threads: usize) -> Result<(ffmpeg::decoder::Video, Option<log::Threaded>)> {
    let codec = context.id();
    let threaded = (threads > 1).then(log::Threaded::new);
    let inner = without_signals(|| context.decoder().video()).map_err(|e| failed(codec, e))?;
    Ok((inner, threaded))
}

/// Opens a decoder that hands over to a device; None if it does not open so.
pub(super) fn hand_over(
    mut context: Context,
    device: hwaccel::Device,
    codec: ffmpeg::Codec,
) -> Result<Option<ffmpeg::decoder::Video>> {
    // SAFETY: public fields of a context that is not open yet; the reference is the context's from here on.
    unsafe {
        let raw = context.as_mut_ptr();
        (*raw).hw_device_ctx = device.share();
        if (*raw).hw_device_ctx.is_null() {
            return Err(out_of_memory());
        }
        (*raw).extra_hw_frames = hwaccel::HELD;
        (*raw).get_format = Some(get_format);
        // What is too large is refused by `get_format`, which says so.
        (*raw).max_pixels = i64::MAX;
    }
    Ok(without_signals(|| context.decoder().open_as(codec)).and_then(|opened| opened.video()).ok())
}

fn failed(codec: ffmpeg::codec::Id, error: ffmpeg::Error) -> Error {
    match error {
        ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN } => {
            Error::new(Status::OutOfMemory, "video: no threads for the decoder; set decode_threads to 1")
        }
        e => Error::new(Status::MediaFormat, format_args!("video: no decoder for codec {codec:?}: {e}")),
    }
}

/// Whether the size of the frames to come is within the limit.
///
/// # Safety
/// A context that [`context`] prepared.
unsafe fn within_limit(context: *const ffi::AVCodecContext) -> bool {
    // SAFETY: as promised; `opaque` is the limit.
    unsafe {
        let limit = &*(*context).opaque.cast::<Limit>();
        // The size that is shown: what is coded is a little larger.
        let (width, height) = ((*context).width, (*context).height);
        let pixels = u64::from(width.unsigned_abs()) * u64::from(height.unsigned_abs());
        if pixels > limit.max_pixels {
            limit.exceeded.store(true, Ordering::Relaxed);
        }
        pixels <= limit.max_pixels
    }
}

/// The last of a list: the format in main memory, if there is one.
///
/// # Safety
/// A list that ends with NONE.
unsafe fn last(offered: *const ffi::AVPixelFormat) -> ffi::AVPixelFormat {
    // SAFETY: as promised, so that nothing behind its end is read.
    unsafe {
        let mut last = offered;
        while *last != ffi::AVPixelFormat::AV_PIX_FMT_NONE && *last.add(1) != ffi::AVPixelFormat::AV_PIX_FMT_NONE {
            last = last.add(1);
        }
        *last
    }
}

/// Chooses the device where it is offered. FFmpeg then asks it for a decoder, and if that fails, asks here again
/// without it.
unsafe extern "C" fn get_format(
    context: *mut ffi::AVCodecContext,
    offered: *const ffi::AVPixelFormat,
) -> ffi::AVPixelFormat {
    // SAFETY: FFmpeg calls this with a context that `hand_over` prepared, whose size is set, and with a list that ends
    // with NONE.
    unsafe {
        // Before the device takes memory for it.
        if !within_limit(context) {
            return ffi::AVPixelFormat::AV_PIX_FMT_NONE;
        }
        let limit = &*(*context).opaque.cast::<Limit>();
        let chosen = match hwaccel::takes((*context).width, (*context).height) {
            true => ffi::avcodec_default_get_format(context, offered),
            false => last(offered),
        };
        let choice = if chosen == ffi::AVPixelFormat::AV_PIX_FMT_CUDA { DEVICE } else { CPU };
        limit.choice.store(choice, Ordering::Relaxed);
        chosen
    }
}

unsafe extern "C" fn get_buffer(context: *mut ffi::AVCodecContext, frame: *mut ffi::AVFrame, flags: i32) -> i32 {
    // SAFETY: FFmpeg calls this with the context that `open` prepared, whose `opaque` is the limit, and with a frame
    // whose size is set.
    unsafe {
        if !within_limit(context) {
            return -ffi::EINVAL;
        }
        ffi::avcodec_default_get_buffer2(context, frame, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffi::AVPixelFormat::{self, *};

    /// What is chosen of a list for frames of this size, and what is noted of it.
    fn choose(offered: &[AVPixelFormat], width: i32, height: i32) -> (AVPixelFormat, u8, bool) {
        let limit = Limit::new(640 * 480);
        let list = [offered, &[AV_PIX_FMT_NONE]].concat();
        // SAFETY: a context as `hand_over` prepares it, but that the device is none that could be used, which nobody
        // here does.
        let chosen = unsafe {
            let mut raw = ffi::avcodec_alloc_context3(ffi::avcodec_find_decoder(ffi::AVCodecID::AV_CODEC_ID_H264));
            (*raw).opaque = ptr::from_ref(&limit).cast_mut().cast();
            (*raw).hw_device_ctx = ffi::av_hwdevice_ctx_alloc(ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA);
            ((*raw).width, (*raw).height) = (width, height);
            let chosen = get_format(raw, list.as_ptr());
            ffi::avcodec_free_context(&mut raw);
            chosen
        };
        (chosen, limit.choice.into_inner(), limit.exceeded.into_inner())
    }

    #[test]
    fn the_device_is_chosen_where_it_is_offered() {
        if hwaccel::codec(ffi::AVCodecID::AV_CODEC_ID_H264).is_none() {
            return println!("FFmpeg was built without NVDEC");
        }
        let vdpau_first = [AV_PIX_FMT_VDPAU, AV_PIX_FMT_CUDA, AV_PIX_FMT_YUV420P];
        assert_eq!(choose(&vdpau_first, 640, 480), (AV_PIX_FMT_CUDA, DEVICE, false));
        assert_eq!(choose(&[AV_PIX_FMT_VAAPI, AV_PIX_FMT_YUV420P], 640, 480), (AV_PIX_FMT_YUV420P, CPU, false));
        assert_eq!(choose(&[AV_PIX_FMT_YUV444P], 640, 480), (AV_PIX_FMT_YUV444P, CPU, false));
        assert_eq!(choose(&vdpau_first, 639, 480), (AV_PIX_FMT_YUV420P, CPU, false));
        assert_eq!(choose(&vdpau_first, 640, 479), (AV_PIX_FMT_YUV420P, CPU, false));
        assert_eq!(choose(&vdpau_first, 640, 482), (AV_PIX_FMT_NONE, UNDECIDED, true));
    }
}
