//! From C's pointers to checked Rust values. Every function here relies on what the header asks of the caller: that
//! a pointer that is not NULL points to what its type and its count say.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::raw::c_char;
use std::time::Duration;

use super::structs::{c4c_call, c4c_error, c4c_frame, c4c_info, c4c_io, c4c_options, c4c_stats, c4c_video_options};
use super::types::{c4c_location, c4c_pixel_format, c4c_range};
use crate::error::{Error, Result, Status};
use crate::image::{self, AnyFrames, DeviceFrame, Frame, FrameInfo, Matrix, Orientation, PixelFormat};
use crate::options::VideoOptions;
use crate::runtime::Call;

/// No struct of any version of this interface is larger: what says so is garbage, and its tail is not looked at.
const LARGEST: usize = 4096;

/// A struct that crosses the border: its first field is its size, and all bytes zero is a value of it.
///
/// # Safety
/// Both must be true of the type.
pub(super) unsafe trait Plain: Copy {
    /// The size of the struct when it was first published.
    const FIRST_SIZE: usize;

    fn zeroed() -> Self {
        // SAFETY: the trait's promise.
        unsafe { MaybeUninit::zeroed().assume_init() }
    }
}

// SAFETY: `#[repr(C)]` structs that begin with `struct_size` and hold numbers, raw pointers and optional functions.
unsafe impl Plain for c4c_error {
    const FIRST_SIZE: usize = 512;
}
// SAFETY: as above.
unsafe impl Plain for c4c_call {
    const FIRST_SIZE: usize = 24;
}
// SAFETY: as above.
unsafe impl Plain for c4c_options {
    const FIRST_SIZE: usize = 96;
}
// SAFETY: as above.
unsafe impl Plain for c4c_frame {
    const FIRST_SIZE: usize = 96;
}
// SAFETY: as above.
unsafe impl Plain for c4c_video_options {
    const FIRST_SIZE: usize = 64;
}
// SAFETY: as above.
unsafe impl Plain for c4c_info {
    const FIRST_SIZE: usize = 200;
}
// SAFETY: as above.
unsafe impl Plain for c4c_stats {
    const FIRST_SIZE: usize = 192;
}
// SAFETY: as above.
unsafe impl Plain for c4c_io {
    const FIRST_SIZE: usize = 32;
}

/// The caller's size of the struct at `pointer`, which is not NULL.
pub(super) fn check_size<T: Plain>(pointer: *const T, name: &str) -> Result<usize> {
    // SAFETY: the caller passes a struct of ours, whose first field is a u32.
    let size = unsafe { pointer.cast::<u32>().read_unaligned() } as usize;
    if size < T::FIRST_SIZE {
        return Err(Error::invalid(format_args!(
            "{name}.struct_size is {size}, expected sizeof(the struct), {}",
            size_of::<T>()
        )));
    }
    let newer = || Error::unsupported(format_args!("{name} has fields set that this version of libc4c does not know"));
    if size > LARGEST {
        return Err(newer());
    }
    for at in size_of::<T>()..size {
        // SAFETY: the caller says that the struct has `size` bytes.
        if unsafe { pointer.cast::<u8>().add(at).read() } != 0 {
            return Err(newer());
        }
    }
    Ok(size)
}

/// The caller's struct; fields that an older caller does not have are zero.
pub(super) fn struct_at<T: Plain>(pointer: *const T, name: &str) -> Result<T> {
    if pointer.is_null() {
        return Err(Error::invalid(format_args!("{name} is NULL")));
    }
    let size = check_size(pointer, name)?.min(size_of::<T>());
    let mut value = T::zeroed();
    // SAFETY: the caller's struct has `size` bytes, ours at least as many.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), size) };
    Ok(value)
}

/// The same, NULL being the struct with all defaults.
pub(super) fn struct_or_default<T: Plain>(pointer: *const T, name: &str) -> Result<T> {
    if pointer.is_null() {
        Ok(T::zeroed())
    } else {
        struct_at(pointer, name)
    }
}

/// Fills the caller's struct, whose size has been checked, but for its size.
pub(super) fn write_struct<T: Plain>(pointer: *mut T, value: T) {
    const SIZE_FIELD: usize = size_of::<u32>();
    // SAFETY: `check_size` has been through it, so the struct has as many bytes as it says, at least a u32.
    unsafe {
        let room = (pointer.cast::<u32>().read_unaligned() as usize).min(size_of::<T>());
        let from = (&raw const value).cast::<u8>().add(SIZE_FIELD);
        std::ptr::copy_nonoverlapping(from, pointer.cast::<u8>().add(SIZE_FIELD), room - SIZE_FIELD);
    }
}

/// A NUL-terminated UTF-8 string, or None for NULL.
pub(super) fn text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the header asks for NUL-terminated strings that live for the call.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|_| Error::invalid(format_args!("{name} is not UTF-8")))
}

/// A string that must be there.
pub(super) fn required_text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    text(pointer, name)?.ok_or_else(|| Error::invalid(format_args!("{name} is NULL")))
}

/// An array of `n` texts.
pub(super) fn texts<'a>(pointer: *const *const c_char, n: usize) -> Result<Vec<&'a str>> {
    strings(pointer, n, "texts", "n_texts")
}

/// An array of `n` strings, called `name` in messages.
pub(super) fn strings<'a>(pointer: *const *const c_char, n: usize, name: &str, count: &str) -> Result<Vec<&'a str>> {
    let pointers = array(pointer, n, name, count)?;
    pointers.iter().enumerate().map(|(i, &text)| required_text(text, &format!("{name}[{i}]"))).collect()
}

/// An array of `n` elements, called `name` in messages, and `n` there `count`.
pub(super) fn array<'a, T>(pointer: *const T, n: usize, name: &str, count: &str) -> Result<&'a [T]> {
    if pointer.is_null() {
        return Err(Error::invalid(format_args!("{name} is NULL")));
    }
    check_count::<T>(n, count)?;
    if !pointer.is_aligned() {
        return Err(Error::invalid(format_args!("{name} is not aligned")));
    }
    // SAFETY: the header asks for `n` elements that live for the call; pointer and length have been checked.
    Ok(unsafe { std::slice::from_raw_parts(pointer, n) })
}

fn check_count<T>(n: usize, count: &str) -> Result<()> {
    match n {
        0 => Err(Error::invalid(format_args!("{count} is 0"))),
        n if n > isize::MAX as usize / size_of::<T>() => {
            Err(Error::invalid(format_args!("{count} is {n}, more than memory holds")))
        }
        _ => Ok(()),
    }
}

/// A call's limits; NULL is none.
pub(super) fn call(pointer: *const c4c_call) -> Result<Call> {
    let call = struct_or_default(pointer, "call")?;
    reserved(call.reserved, "call")?;
    let timeout = match call.timeout_us {
        0 => None,
        us => match u64::try_from(us) {
            Ok(us) => Some(Duration::from_micros(us)),
            Err(_) => return Err(Error::invalid(format_args!("call.timeout_us is {us}, it cannot be negative"))),
        },
    };
    // SAFETY: the header asks for NULL or a token that lives when the call begins.
    let cancel = unsafe { call.cancel.as_ref() }.map(|c| c.token.clone());
    Ok(Call::new(timeout, cancel))
}

pub(super) fn reserved(value: u32, name: &str) -> Result<()> {
    match value {
        0 => Ok(()),
        _ => Err(Error::unsupported(format_args!("{name}.reserved is {value}, this version knows only 0"))),
    }
}

/// Room for vectors in the caller's memory.
pub(super) struct Output {
    pointer: *mut f32,
    len: usize,
}

impl Output {
    /// Room for `rows` vectors of `dim` floats.
    pub(super) fn new(pointer: *mut f32, room: usize, rows: usize, dim: usize) -> Result<Self> {
        if pointer.is_null() {
            return Err(Error::invalid("out is NULL"));
        }
        if !pointer.is_aligned() {
            return Err(Error::invalid("out is not aligned for float"));
        }
        match rows.checked_mul(dim) {
            Some(len) if len <= room => Ok(Output { pointer, len }),
            _ => Err(Error::new(
                Status::BufferTooSmall,
                format_args!("out_len is {room}, {rows} vectors of {dim} floats need {}", rows as u128 * dim as u128),
            )),
        }
    }

    /// Writes one row of several, once all of them are known.
    pub(super) fn write_row(&self, i: usize, dim: usize, values: &[f32]) -> Result<()> {
        if values.len() != dim || (i + 1) * dim > self.len {
            return Err(Error::internal(format_args!("row {i} has {} floats, not {dim}", values.len())));
        }
        // SAFETY: the caller says that there is room for at least `len` floats, of which these are a part.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.pointer.add(i * dim), dim) };
        Ok(())
    }

    /// Writes all of the result, once it is complete.
    pub(super) fn write(self, values: &[f32]) -> Result<()> {
        if values.len() != self.len {
            return Err(Error::internal(format_args!("{} floats were computed, not {}", values.len(), self.len)));
        }
        // SAFETY: the caller says that there is room for at least `len` floats, which `values` cannot overlap.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.pointer, self.len) };
        Ok(())
    }
}

/// The frames of one video: at most as many as one may have.
pub(super) fn clip<'a>(pointer: *const c4c_frame, n: usize) -> Result<AnyFrames<'a>> {
    if !pointer.is_null() && n > VideoOptions::MAX_FRAMES {
        return Err(Error::invalid(format_args!("n_frames is {n}, expected at most {}", VideoOptions::MAX_FRAMES)));
    }
    frames(pointer, n)
}

/// An array of `n` frames. The first one's size is the distance from one to the next, and its location that of all.
pub(super) fn frames<'a>(pointer: *const c4c_frame, n: usize) -> Result<AnyFrames<'a>> {
    if pointer.is_null() {
        return Err(Error::invalid("frames is NULL"));
    }
    check_count::<c4c_frame>(n, "n_frames")?;
    let stride = check_size(pointer, "frames[0]")?;
    let first = struct_at(pointer, "frames[0]")?.location;
    let one = |i: usize| {
        let name = format!("frames[{i}]");
        let frame = struct_at(pointer.wrapping_byte_add(i * stride), &name)?;
        if frame.struct_size as usize != stride {
            return Err(Error::invalid(format_args!(
                "{name}.struct_size is {}, frames[0] has {stride}",
                frame.struct_size
            )));
        }
        if frame.location != first {
            return Err(Error::invalid(format_args!("{name}.location is {}, frames[0] has {first}", frame.location)));
        }
        Ok((name, frame))
    };
    let named = |name: &str, e: Error| Error::new(e.status(), format_args!("{name}: {e}"));
    Ok(match location(first).map_err(|e| named("frames[0]", e))? {
        Location::Host => {
            let frame = |i| one(i).and_then(|(name, frame)| host_frame(&frame).map_err(|e| named(&name, e)));
            AnyFrames::Host((0..n).map(frame).collect::<Result<Vec<_>>>()?.into())
        }
        Location::Cuda => {
            let frame = |i| one(i).and_then(|(name, frame)| device_frame(&frame).map_err(|e| named(&name, e)));
            AnyFrames::Device((0..n).map(frame).collect::<Result<_>>()?)
        }
    })
}

enum Location {
    Host,
    Cuda,
}

fn location(number: u32) -> Result<Location> {
    match number {
        host if host == c4c_location::C4C_LOCATION_HOST as u32 => Ok(Location::Host),
        cuda if cuda == c4c_location::C4C_LOCATION_CUDA as u32 => Ok(Location::Cuda),
        other => Err(Error::invalid(format_args!("location {other} is unknown"))),
    }
}

fn host_frame<'a>(frame: &c4c_frame) -> Result<Frame<'a>> {
    let (info, planes) = picture(frame)?;
    if frame.device_index != 0 {
        let index = frame.device_index;
        return Err(Error::invalid(format_args!("device_index is {index}, expected 0 with C4C_LOCATION_HOST")));
    }
    if !frame.stream.is_null() {
        return Err(Error::invalid("stream is set, expected NULL with C4C_LOCATION_HOST"));
    }
    let slices = planes.iter().map(|plane| {
        // Bottom-up pictures begin at their highest row in memory.
        let lowest = match plane.stride < 0 {
            true => plane.top.wrapping_sub((plane.rows - 1) * plane.stride.unsigned_abs()),
            false => plane.top,
        };
        // SAFETY: the header asks for all rows of the plane at distances of `stride` that live for the call.
        (unsafe { std::slice::from_raw_parts(lowest, plane.bytes) }, plane.stride)
    });
    Frame::of(info, &slices.collect::<Vec<_>>())
}

fn device_frame(frame: &c4c_frame) -> Result<DeviceFrame> {
    let (info, planes) = picture(frame)?;
    let planes = planes.iter().map(|plane| (plane.top, plane.stride)).collect();
    let device = tch::Device::Cuda(frame.device_index as usize);
    // SAFETY: the header asks for all rows of the planes at distances of their strides in that device's memory, made by what the
    // stream has been given so far, and that they live for the call.
    Ok(unsafe { DeviceFrame::new(info, planes, device, frame.stream) })
}

/// A plane that has been checked, but not looked at.
struct Plane {
    top: *const u8,
    stride: isize,
    /// From the lowest to the highest address.
    bytes: usize,
    rows: usize,
}

/// All that can be wrong with a frame wherever it lies.
fn picture(frame: &c4c_frame) -> Result<(FrameInfo, Vec<Plane>)> {
    const RGB24: u32 = c4c_pixel_format::C4C_PIXEL_RGB24 as u32;
    const BGR24: u32 = c4c_pixel_format::C4C_PIXEL_BGR24 as u32;
    const RGBA: u32 = c4c_pixel_format::C4C_PIXEL_RGBA as u32;
    const BGRA: u32 = c4c_pixel_format::C4C_PIXEL_BGRA as u32;
    const GRAY8: u32 = c4c_pixel_format::C4C_PIXEL_GRAY8 as u32;
    const I420: u32 = c4c_pixel_format::C4C_PIXEL_I420 as u32;
    const NV12: u32 = c4c_pixel_format::C4C_PIXEL_NV12 as u32;
    let format = match frame.format {
        RGB24 => PixelFormat::Rgb24,
        BGR24 => PixelFormat::Bgr24,
        RGBA => PixelFormat::Rgba,
        BGRA => PixelFormat::Bgra,
        GRAY8 => PixelFormat::Gray8,
        I420 => PixelFormat::I420,
        NV12 => PixelFormat::Nv12,
        other => return Err(Error::invalid(format_args!("format {other} is unknown"))),
    };
    let (width, height) = (frame.width as usize, frame.height as usize);
    if width == 0 || height == 0 {
        return Err(Error::invalid(format_args!("{width}x{height} pixels; both sides must be at least 1")));
    }
    let mut planes = Vec::with_capacity(format.planes());
    for plane in 0..format.planes() {
        if frame.planes[plane].is_null() {
            return Err(Error::invalid(format_args!("planes[{plane}] is NULL")));
        }
        let stride = isize::try_from(frame.strides[plane]).map_err(|_| {
            Error::invalid(format_args!("strides[{plane}] is {}, more than memory holds", frame.strides[plane]))
        })?;
        let bytes = image::extent(format, plane, width, height, stride)
            .map_err(|e| Error::new(e.status(), format_args!("planes[{plane}]: {e}")))?;
        let rows = if plane == 0 { height } else { height.div_ceil(2) };
        planes.push(Plane { top: frame.planes[plane], stride, bytes, rows });
    }
    let matrix = match frame.color_matrix {
        0 | 1 => Matrix::Bt601,
        2 => Matrix::Bt709,
        3 => Matrix::Bt2020,
        other => return Err(Error::invalid(format_args!("color_matrix {other} is unknown"))),
    };
    let yuv = format.planes() > 1;
    let full_range = match frame.color_range {
        range if range == c4c_range::C4C_RANGE_UNKNOWN as u32 => !yuv,
        range if range == c4c_range::C4C_RANGE_FULL as u32 => true,
        range if range == c4c_range::C4C_RANGE_LIMITED as u32 && yuv => false,
        range if range == c4c_range::C4C_RANGE_LIMITED as u32 => {
            return Err(Error::unsupported("color_range: RGB and gray frames are taken in full range only"));
        }
        other => return Err(Error::invalid(format_args!("color_range {other} is unknown"))),
    };
    let quarters = match frame.rotation {
        0 | 90 | 180 | 270 => frame.rotation / 90,
        other => return Err(Error::invalid(format_args!("rotation is {other}, expected 0, 90, 180 or 270"))),
    };
    reserved(frame.reserved, "frame")?;
    let orientation = Orientation::clockwise(quarters);
    Ok((FrameInfo { format, width, height, matrix, full_range, orientation }, planes))
}
