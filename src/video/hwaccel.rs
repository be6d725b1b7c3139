//! Decoding by NVDEC, through FFmpeg. Frames stay on the GPU but for those that are wanted, which come back as the
//! software decoder would have given them, so that what follows is the same for both.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::raw::c_int;
use std::ptr;

use ffmpeg_next as ffmpeg;
use once_cell::sync::Lazy;
use parking_lot::Mutex;

use ffmpeg::ffi;
use ffmpeg::format::Pixel;
use ffmpeg::util::frame::video::Video as VideoFrame;

use super::source::out_of_memory;
use super::{check_ffmpeg, log};
use crate::error::{Error, Result, Status};
use crate::options::HwAccel;

const CUDA: ffi::AVHWDeviceType = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA;

/// How many frames may be held beside the decoder's own: the one that came last, and one that is kept in case none
/// follows.
pub(super) const HELD: c_int = 2;

/// FFmpeg's context on a GPU. Decoders share it, on any thread; it is never freed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device(*mut ffi::AVBufferRef);

// SAFETY: FFmpeg's device contexts are made to be shared: their counts are atomic, and nothing else of them changes.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// The device as options name it. Made when first asked for and kept: a context takes long to make and much of the
    /// GPU's memory, and the driver lets none outlive a fork, so that a child makes its own.
    ///
    /// # Errors
    /// `Device` with FFmpeg's reason.
    pub(super) fn of(accel: HwAccel) -> Result<Self> {
        static DEVICES: Lazy<Mutex<(u32, BTreeMap<usize, Device>)>> = Lazy::new(Mutex::default);
        check_ffmpeg()?;
        let _quiet = log::Quiet::enter();
        let HwAccel::Cuda(number) = accel;
        let mut devices = DEVICES.lock();
        let process = std::process::id();
        if devices.0 != process {
            *devices = (process, BTreeMap::new());
        }
        if let Some(device) = devices.1.get(&number) {
            return Ok(*device);
        }
        let made = match codecs().any(|codec| hands_over(codec, CUDA)) {
            true => Device::create(CUDA, &number.to_string()).and_then(with_nvdec),
            false => Err("FFmpeg was built without NVDEC".into()),
        };
        let device = made.map_err(|why| {
            Error::new(
                Status::Device,
                format_args!(
                    "video.hwaccel: CUDA device {number} cannot decode: {why}; C4C_HWACCEL_NONE decodes on the CPU"
                ),
            )
        })?;
        devices.1.insert(number, device);
        Ok(device)
    }

    /// A context of its own, and not the one that libtorch computes in: FFmpeg refuses that where it has other flags
    /// than its own.
    fn create(kind: ffi::AVHWDeviceType, name: &str) -> std::result::Result<Self, String> {
        let name = CString::new(name).map_err(|_| "its name has a zero byte")?;
        let mut device = ptr::null_mut();
        let captured = log::Captured::begin();
        // SAFETY: the name ends with a zero; a context is written only on success.
        let code = unsafe { ffi::av_hwdevice_ctx_create(&mut device, kind, name.as_ptr(), ptr::null_mut(), 0) };
        match (code, captured.text()) {
            (0.., _) => Ok(Device(device)),
            (code, said) if said.is_empty() => Err(ffmpeg::Error::from(code).to_string()),
            (_, said) => Err(said),
        }
    }

    /// A reference of somebody's own; null when memory is short.
    pub(super) fn share(self) -> *mut ffi::AVBufferRef {
        // SAFETY: never freed.
        unsafe { ffi::av_buffer_ref(self.0) }
    }
}

/// The device, if the driver has its half for video: FFmpeg would not find it until the first picture, and go on
/// without it.
fn with_nvdec(device: Device) -> std::result::Result<Device, String> {
    // SAFETY: a library of the driver's, which FFmpeg opens by the same name; it stays open.
    match unsafe { libc::dlopen(c"libnvcuvid.so.1".as_ptr(), libc::RTLD_LAZY) }.is_null() {
        false => Ok(device),
        true => {
            // SAFETY: the one reference to it.
            unsafe { ffi::av_buffer_unref(&mut { device.0 }) };
            Err("the driver's libnvcuvid.so.1 is missing (in a container: NVIDIA_DRIVER_CAPABILITIES needs `video`)"
                .into())
        }
    }
}

/// FFmpeg's decoder that reads streams of this codec and hands what is in them to NVDEC. Not one that is NVDEC's own
/// from end to end (`h264_cuvid`), which cannot go on without it and numbers frames in its own way.
pub(super) fn codec(id: ffi::AVCodecID) -> Option<ffmpeg::Codec> {
    // SAFETY: descriptions of codecs are constant. The number is read as one, since there may be others than the
    // bindings know.
    let number = |codec: *const ffi::AVCodec| unsafe { (&raw const (*codec).id).cast::<u32>().read() };
    let codec = codecs().find(|&codec| number(codec) == id as u32 && hands_over(codec, CUDA))?;
    // SAFETY: as above; it is only read.
    Some(unsafe { ffmpeg::Codec::wrap(codec.cast_mut()) })
}

/// All decoders of this FFmpeg.
fn codecs() -> impl Iterator<Item = *const ffi::AVCodec> {
    let mut state = ptr::null_mut();
    // SAFETY: FFmpeg's list of codecs, which are constant.
    std::iter::from_fn(move || Some(unsafe { ffi::av_codec_iterate(&mut state) }).filter(|codec| !codec.is_null()))
        // SAFETY: as above.
        .filter(|&codec| unsafe { ffi::av_codec_is_decoder(codec) } != 0)
}

fn hands_over(codec: *const ffi::AVCodec, kind: ffi::AVHWDeviceType) -> bool {
    let by_device = ffi::AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX as c_int;
    // SAFETY: a codec of FFmpeg's, whose configurations are constant. The kind is read as a number, as there may be
    // others than the bindings know.
    unsafe {
        let configurations = (0..).map(|i| ffi::avcodec_get_hw_config(codec, i)).take_while(|c| !c.is_null());
        let mut kinds = configurations
            .filter(|&c| (*c).methods & by_device != 0)
            .map(|c| (&raw const (*c).device_type).cast::<u32>().read());
        (*codec).capabilities & ffi::AV_CODEC_CAP_HARDWARE as c_int == 0 && kinds.any(|k| k == kind as u32)
    }
}

/// Whether NVDEC may have frames of this size. FFmpeg's way of laying out and copying its surfaces halves heights and
/// drops the odd row of chroma.
pub(super) fn takes(width: c_int, height: c_int) -> bool {
    width % 2 == 0 && height % 2 == 0
}

/// The frame in main memory, in the format that the software decoder would have given it: `software`, by the decoder's
/// word. One that is there already stays as it is.
///
/// # Errors
/// `Device` when the driver cannot copy it, `OutOfMemory`.
pub(super) fn fetch<'f>(
    frame: &'f VideoFrame,
    software: ffi::AVPixelFormat,
    room: &'f mut VideoFrame,
) -> Result<&'f VideoFrame> {
    // SAFETY: a frame that the decoder filled; public fields, only read.
    if unsafe { (*frame.as_ptr()).hw_frames_ctx.is_null() } {
        return Ok(frame);
    }
    let mut copy = VideoFrame::empty();
    // SAFETY: the first is empty, and gets buffers of its own in the format of the device's surfaces.
    let copied = unsafe { ffi::av_hwframe_transfer_data(copy.as_mut_ptr(), frame.as_ptr(), 0) };
    if copied < 0 {
        return Err(match ffmpeg::Error::from(copied) {
            ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM } => out_of_memory(),
            e => Error::new(
                Status::Device,
                format_args!(
                    "video.hwaccel: a frame cannot be copied from the GPU: {e}; C4C_HWACCEL_NONE decodes on the CPU"
                ),
            ),
        });
    }
    *room = match layout(copy.format().into(), software) {
        Some(layout) => layout.repack(&copy)?,
        None => copy,
    };
    // SAFETY: two frames, the first of ours alone. Decoders leave it to others to crop the left and the top of what is
    // on a device; without flags it is done as they do it to their own.
    let done = unsafe {
        ffi::av_frame_copy_props(room.as_mut_ptr(), frame.as_ptr())
            .min(ffi::av_frame_apply_cropping(room.as_mut_ptr(), 0))
    };
    match done {
        0.. => Ok(room),
        _ => Err(out_of_memory()),
    }
}

/// How the samples of one format become those of another, where they are the same: surfaces have U and V in turns, and
/// samples of more than eight bits in the high bits of sixteen.
#[derive(Debug, PartialEq)]
struct Layout {
    to: Pixel,
    /// Bytes of a sample.
    size: usize,
    /// Plane, first byte and bytes to the next one, of Y, U and V; each has a plane of its own in `to`.
    from: Vec<(usize, usize, usize)>,
    /// To the right.
    shift: u32,
    /// Of U and V, as powers of two.
    chroma: (u32, u32),
}

/// None where there is nothing to do, or no way to do it.
fn layout(from: ffi::AVPixelFormat, to: ffi::AVPixelFormat) -> Option<Layout> {
    if from == to {
        return None;
    }
    // SAFETY: null or constant.
    let (a, b) = unsafe { (ffi::av_pix_fmt_desc_get(from).as_ref()?, ffi::av_pix_fmt_desc_get(to).as_ref()?) };
    let no = (ffi::AV_PIX_FMT_FLAG_RGB
        | ffi::AV_PIX_FMT_FLAG_HWACCEL
        | ffi::AV_PIX_FMT_FLAG_PAL
        | ffi::AV_PIX_FMT_FLAG_BITSTREAM
        | ffi::AV_PIX_FMT_FLAG_BE) as u64;
    let components = usize::from(b.nb_components);
    let (source, target) = (a.comp.get(..components)?, b.comp.get(..components)?);
    let (first, wanted) = (source.first()?, target.first()?);
    let size = if wanted.depth > 8 { 2 } else { 1 };
    let shift = first.shift + first.depth - wanted.depth;
    let alike = (a.flags | b.flags) & no == 0
        && matches!(components, 1 | 3)
        && components <= usize::from(a.nb_components)
        && (first.depth > 8) == (wanted.depth > 8)
        && (components == 1 || (a.log2_chroma_w, a.log2_chroma_h) == (b.log2_chroma_w, b.log2_chroma_h))
        && target.iter().enumerate().all(|(i, c)| (c.plane, c.step, c.offset, c.shift) == (i as c_int, size, 0, 0));
    alike.then(|| Layout {
        to: to.into(),
        size: size as usize,
        from: source.iter().map(|c| (c.plane as usize, c.offset as usize, c.step as usize)).collect(),
        shift: shift.max(0) as u32,
        chroma: (u32::from(b.log2_chroma_w), u32::from(b.log2_chroma_h)),
    })
}

impl Layout {
    fn repack(&self, frame: &VideoFrame) -> Result<VideoFrame> {
        let mut out = VideoFrame::empty();
        out.set_format(self.to);
        out.set_width(frame.width());
        out.set_height(frame.height());
        // SAFETY: format and size are set; buffers of FFmpeg's own, whose rows have the padding that swscale reads.
        if unsafe { ffi::av_frame_get_buffer(out.as_mut_ptr(), 0) } < 0 {
            return Err(out_of_memory());
        }
        for (i, &(plane, offset, step)) in self.from.iter().enumerate() {
            let (across, down) = if i == 0 { (0, 0) } else { self.chroma };
            let columns = frame.width().div_ceil(1 << across) as usize;
            let rows = frame.height().div_ceil(1 << down) as usize;
            let (read, write) = (frame.stride(plane), out.stride(i));
            let (from, to) = (frame.data(plane), out.data_mut(i));
            for y in 0..rows {
                let from = &from[y * read + offset..];
                let to = &mut to[y * write..][..columns * self.size];
                match (self.size, step) {
                    (1, 1) => to.copy_from_slice(&from[..columns]),
                    (1, step) => to.iter_mut().zip(from.iter().step_by(step)).for_each(|(to, &from)| *to = from),
                    (size, step) => {
                        for (to, from) in to.chunks_exact_mut(size).zip(from.chunks(step)) {
                            let sample = u16::from_le_bytes([from[0], from[1]]) >> self.shift;
                            to.copy_from_slice(&sample.to_le_bytes());
                        }
                    }
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ffi::AVPixelFormat as Format;

    fn frame(format: Pixel, width: u32, height: u32) -> VideoFrame {
        let mut frame = VideoFrame::new(format, width, height);
        for plane in 0..frame.planes() {
            frame.data_mut(plane).iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 7 + plane * 31) as u8);
        }
        frame
    }

    #[test]
    fn what_is_in_main_memory_stays_as_it_is() {
        let (nv12, mut room) = (frame(Pixel::NV12, 64, 48), VideoFrame::empty());
        let same = fetch(&nv12, Format::AV_PIX_FMT_YUV420P, &mut room).unwrap();
        assert!(ptr::eq(same, &nv12));
        assert_eq!((same.format(), same.stride(0)), (Pixel::NV12, nv12.stride(0)));
    }

    #[test]
    fn surfaces_become_the_decoders_formats() {
        use Format::*;
        let shift = |from, to| layout(from, to).map(|layout| (layout.size, layout.shift));
        assert_eq!(shift(AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P), Some((1, 0)));
        assert_eq!(shift(AV_PIX_FMT_NV12, AV_PIX_FMT_YUVJ420P), Some((1, 0)));
        assert_eq!(shift(AV_PIX_FMT_NV12, AV_PIX_FMT_GRAY8), Some((1, 0)));
        assert_eq!(shift(AV_PIX_FMT_P010LE, AV_PIX_FMT_YUV420P10LE), Some((2, 6)));
        assert_eq!(shift(AV_PIX_FMT_P016LE, AV_PIX_FMT_YUV420P10LE), Some((2, 6)));
        assert_eq!(shift(AV_PIX_FMT_P016LE, AV_PIX_FMT_YUV420P12LE), Some((2, 4)));
        assert_eq!(shift(AV_PIX_FMT_P010LE, AV_PIX_FMT_YUV420P12LE), Some((2, 4)));
        assert_eq!(shift(AV_PIX_FMT_YUV444P16LE, AV_PIX_FMT_YUV444P12LE), Some((2, 4)));
        assert_eq!(shift(AV_PIX_FMT_YUV444P, AV_PIX_FMT_YUVJ444P), Some((1, 0)));
        // As they are: nothing to do, or other samples.
        for (from, to) in [
            (AV_PIX_FMT_NV12, AV_PIX_FMT_NV12),
            (AV_PIX_FMT_NV12, AV_PIX_FMT_NONE),
            (AV_PIX_FMT_NV12, AV_PIX_FMT_YUV420P10LE),
            (AV_PIX_FMT_NV12, AV_PIX_FMT_YUV422P),
            (AV_PIX_FMT_NV12, AV_PIX_FMT_RGB24),
            (AV_PIX_FMT_YUV444P, AV_PIX_FMT_GBRP),
            (AV_PIX_FMT_P010LE, AV_PIX_FMT_YUV420P10BE),
            (AV_PIX_FMT_GRAY8, AV_PIX_FMT_YUV420P),
            (AV_PIX_FMT_CUDA, AV_PIX_FMT_YUV420P),
        ] {
            assert_eq!(layout(from, to), None, "{from:?} {to:?}");
        }
    }

    /// A real device of FFmpeg's, where there is one that needs no hardware: Vulkan on the CPU.
    #[test]
    fn frames_come_from_a_device() {
        let _quiet = log::Quiet::enter();
        let device = match Device::create(ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VULKAN, "0") {
            Ok(device) => device,
            Err(why) => return println!("no Vulkan: {why}"),
        };
        let upload = |source: &VideoFrame| {
            let mut on_device = VideoFrame::empty();
            // SAFETY: fresh contexts and frames, each filled as FFmpeg's documentation says; the frame holds what it
            // needs.
            unsafe {
                let mut frames = ffi::av_hwframe_ctx_alloc(device.0);
                let context = (*frames).data.cast::<ffi::AVHWFramesContext>();
                (*context).format = Format::AV_PIX_FMT_VULKAN;
                (*context).sw_format = source.format().into();
                (*context).width = source.width() as c_int;
                (*context).height = source.height() as c_int;
                assert!(ffi::av_hwframe_ctx_init(frames) >= 0);
                assert!(ffi::av_hwframe_get_buffer(frames, on_device.as_mut_ptr(), 0) >= 0);
                assert!(ffi::av_hwframe_transfer_data(on_device.as_mut_ptr(), source.as_ptr(), 0) >= 0);
                ffi::av_buffer_unref(&mut frames);
            }
            on_device
        };
        for (surface, software, size) in [
            (Pixel::NV12, Pixel::YUV420P, 1),
            (Pixel::NV12, Pixel::YUVJ420P, 1),
            (Pixel::P010LE, Pixel::YUV420P10LE, 2),
        ] {
            let source = frame(surface, 160, 96);
            let mut on_device = upload(&source);
            // SAFETY: public fields of a frame of ours.
            unsafe {
                (*on_device.as_mut_ptr()).crop_top = 2;
                (*on_device.as_mut_ptr()).color_range = ffi::AVColorRange::AVCOL_RANGE_JPEG;
                (*on_device.as_mut_ptr()).pts = 77;
            }
            let mut room = VideoFrame::empty();
            let fetched = fetch(&on_device, software.into(), &mut room).unwrap();
            assert_eq!((fetched.format(), fetched.width(), fetched.height()), (software, 160, 94));
            // SAFETY: as above.
            let range = unsafe { (*fetched.as_ptr()).color_range };
            assert_eq!((range, fetched.pts()), (ffi::AVColorRange::AVCOL_RANGE_JPEG, Some(77)));
            let sample = |frame: &VideoFrame, plane: usize, x: usize, y: usize, shift: u32| {
                let at = &frame.data(plane)[y * frame.stride(plane) + x * size..][..size];
                at.iter().rev().fold(0u16, |sample, &byte| sample << 8 | u16::from(byte)) >> shift
            };
            let shift = if size == 2 { 6 } else { 0 };
            for (plane, x, y) in (0..3).flat_map(|p| (0..80).flat_map(move |x| (0..47).map(move |y| (p, x, y)))) {
                let expected = match plane {
                    0 => sample(&source, 0, x, y + 2, shift),
                    _ => sample(&source, 1, 2 * x + plane - 1, y + 1, shift),
                };
                assert_eq!(sample(fetched, plane, x, y, 0), expected, "{software:?} {plane} {x} {y}");
            }
        }
    }

    #[test]
    fn decoders_that_hand_over() {
        let name = |id| codec(id).map(|codec| codec.name().to_string());
        // Where FFmpeg was built without NVDEC there is none at all.
        if name(ffi::AVCodecID::AV_CODEC_ID_H264).is_some() {
            assert_eq!(name(ffi::AVCodecID::AV_CODEC_ID_H264).as_deref(), Some("h264"));
            assert_eq!(name(ffi::AVCodecID::AV_CODEC_ID_HEVC).as_deref(), Some("hevc"));
            assert_eq!(name(ffi::AVCodecID::AV_CODEC_ID_AV1).as_deref(), Some("av1"));
        }
        assert_eq!(name(ffi::AVCodecID::AV_CODEC_ID_PRORES), None);
        assert_eq!(name(ffi::AVCodecID::AV_CODEC_ID_NONE), None);
    }
}
