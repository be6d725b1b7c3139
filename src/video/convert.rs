//! Any decoded frame to packed RGB at its own size, by swscale, honouring the frame's colour tags; and YUV frames of the
//! caller's on the same way.

use std::ptr;

use ffmpeg_next as ffmpeg;

use ffmpeg::ffi;
use ffmpeg::format::Pixel;
use ffmpeg::util::frame::video::Video as VideoFrame;

use super::log;
use super::source::{out_of_memory, Opened};
use crate::error::{Error, Result, Status};
use crate::image::{Frame, Matrix, Orientation, PixelFormat, YuvToRgb};
use crate::options::{Color, VideoOptions};

extern "C" {
    /// See `orientation.c`.
    fn c4c_av_orientation(stream: *const ffi::AVStream, frame: *const ffi::AVFrame) -> std::os::raw::c_int;
}

/// Bytes: whole vectors of 64, holding whole pixels.
const ROW_ALIGNMENT: usize = 192;

/// What a conversion depends on.
#[derive(Clone, Copy, PartialEq)]
struct Key {
    format: Pixel,
    width: i32,
    height: i32,
    /// The matrix as swscale and the standards number it.
    matrix: i32,
    full_range: bool,
}

/// Converts frames; keeps swscale's tables as long as the frames stay alike.
pub(crate) struct Converter {
    context: *mut ffi::SwsContext,
    key: Option<Key>,
    rgb: Vec<u8>,
    color: Color,
    /// How the container asks for the pictures to be turned, where that is done at all.
    orientation: Option<Orientation>,
}

// SAFETY: swscale's context has no ties to the thread that made it.
unsafe impl Send for Converter {}

impl Converter {
    /// For the frames of an open stream.
    pub(super) fn new(opened: &Opened, options: &VideoOptions) -> Result<Self> {
        let orientation = match options.apply_rotation {
            // SAFETY: an open stream; no frame.
            true => Some(orientation(unsafe { c4c_av_orientation(opened.stream()?.as_ptr(), ptr::null()) })),
            false => None,
        };
        let mut converter = Converter::for_frames();
        converter.color = options.color;
        converter.orientation = orientation;
        Ok(converter)
    }

    /// For frames that somebody else has decoded.
    pub(crate) fn for_frames() -> Self {
        Converter { context: ptr::null_mut(), key: None, rgb: Vec::new(), color: Color::Tagged, orientation: None }
    }

    /// The caller's frame as RGB: the very bytes that a file with this frame in it gives.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn yuv(&mut self, yuv: &Frame) -> Result<Frame<'_>> {
        let _quiet = log::Quiet::enter();
        let (width, height) = (yuv.width(), yuv.height());
        // As FFmpeg bounds pictures.
        if (width as u64 + 128) * (height as u64 + 128) >= i32::MAX as u64 / 8 {
            return Err(Error::new(
                Status::Limit,
                format_args!("a YUV frame of {width}x{height} pixels is too large to convert"),
            ));
        }
        let mut frame = VideoFrame::empty();
        frame.set_format(Pixel::YUV420P);
        frame.set_width(width as u32);
        frame.set_height(height as u32);
        // SAFETY: format and size are set; buffers of FFmpeg's own, whose rows have the padding that swscale reads.
        if unsafe { ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0) } < 0 {
            return Err(out_of_memory());
        }
        for plane in 0..3 {
            let stride = frame.stride(plane);
            let out = frame.data_mut(plane);
            yuv.copy_plane(plane, |y, row| out[y * stride..][..row.len()].copy_from_slice(row));
        }
        let range =
            if yuv.is_full_range() { ffi::AVColorRange::AVCOL_RANGE_JPEG } else { ffi::AVColorRange::AVCOL_RANGE_MPEG };
        // SAFETY: public fields of a frame of ours.
        unsafe {
            (*frame.as_mut_ptr()).colorspace = color_space(yuv.matrix());
            (*frame.as_mut_ptr()).color_range = range;
        }
        Ok(self.rgb(&frame)?.turned(yuv.orientation()))
    }

    /// The frame as RGB.
    ///
    /// # Errors
    /// `Unsupported` for a pixel format that swscale cannot read.
    pub(super) fn rgb(&mut self, frame: &VideoFrame) -> Result<Frame<'_>> {
        let key = key(frame, self.color);
        if self.key != Some(key) {
            self.prepare(key)?;
        }
        let orientation = match self.orientation {
            None => Orientation::default(),
            Some(stream) => {
                // SAFETY: a frame that the decoder filled; no stream.
                match unsafe { c4c_av_orientation(ptr::null(), frame.as_ptr()) } {
                    ..0 => stream,
                    own => self::orientation(own),
                }
            }
        };
        let (width, height) = (key.width as usize, key.height as usize);
        // Where a row has no room for a whole vector, swscale leaves its last pixels out.
        let row = (width * 3).next_multiple_of(ROW_ALIGNMENT);
        self.rgb.clear();
        self.rgb.try_reserve_exact(row * height).map_err(|_| out_of_memory())?;
        self.rgb.resize(row * height, 0);
        let planes = [self.rgb.as_mut_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut()];
        let strides = [row as i32, 0, 0, 0];
        // SAFETY: the context was made for frames of this format and size, whose planes and strides the decoder set;
        // the output has room for `height` rows of the stride that is passed.
        let rows = unsafe {
            let raw = frame.as_ptr();
            ffi::sws_scale(
                self.context,
                (*raw).data.as_ptr().cast(),
                (*raw).linesize.as_ptr(),
                0,
                key.height,
                planes.as_ptr(),
                strides.as_ptr(),
            )
        };
        if rows != key.height {
            return Err(Error::internal(format_args!("swscale converted {rows} of {} rows", key.height)));
        }
        let bytes = &self.rgb[..row * (height - 1) + width * 3];
        Ok(Frame::strided(PixelFormat::Rgb24, width, height, bytes, row as isize)?.turned(orientation))
    }

    fn prepare(&mut self, key: Key) -> Result<()> {
        self.key = None;
        let format = ffi::AVPixelFormat::from(key.format);
        // SAFETY: plain values; a null context is refused below, and the old one is freed once.
        self.context = unsafe {
            ffi::sws_freeContext(self.context);
            ffi::sws_getContext(
                key.width,
                key.height,
                format,
                key.width,
                key.height,
                ffi::AVPixelFormat::AV_PIX_FMT_RGB24,
                ffi::SWS_BILINEAR as i32,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if self.context.is_null() {
            return Err(Error::new(
                Status::Unsupported,
                format_args!("video: frames of pixel format {:?} cannot be converted", key.format),
            ));
        }
        // SAFETY: the context is valid, and the coefficient tables are constants of swscale. A refusal means that the
        // source is no YUV and needs no matrix.
        unsafe {
            ffi::sws_setColorspaceDetails(
                self.context,
                ffi::sws_getCoefficients(key.matrix),
                key.full_range.into(),
                ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT as i32),
                1,
                0,
                1 << 16,
                1 << 16,
            );
        }
        self.key = Some(key);
        Ok(())
    }
}

impl Drop for Converter {
    fn drop(&mut self) {
        // SAFETY: null or a context that this value owns.
        unsafe { ffi::sws_freeContext(self.context) };
    }
}

fn color_space(matrix: Matrix) -> ffi::AVColorSpace {
    match matrix {
        Matrix::Bt601 => ffi::AVColorSpace::AVCOL_SPC_SMPTE170M,
        Matrix::Bt709 => ffi::AVColorSpace::AVCOL_SPC_BT709,
        Matrix::Bt2020 => ffi::AVColorSpace::AVCOL_SPC_BT2020_NCL,
    }
}

/// What swscale's fast conversion of YUV 4:2:0 multiplies with: its table of the matrix, rounded to 13 bits behind the point.
pub(crate) fn yuv_to_rgb(matrix: Matrix, full_range: bool) -> YuvToRgb {
    // SAFETY: four numbers for each matrix, constants of swscale.
    let table = unsafe { *ffi::sws_getCoefficients(color_space(matrix) as i32).cast::<[i32; 4]>() };
    let rounded = |sixteen_bits: i64| ((sixteen_bits + 4) >> 3) as f64;
    // The table is for limited range.
    let chroma = |number: i32| rounded(if full_range { i64::from(number) * 224 / 255 } else { number.into() });
    let [v_to_red, u_to_blue, u_to_green, v_to_green] = table;
    YuvToRgb {
        black: if full_range { 0.0 } else { 16.0 },
        luma: rounded(if full_range { 1 << 16 } else { (1 << 16) * 255 / 219 }),
        v_to_red: chroma(v_to_red),
        u_to_green: chroma(-u_to_green),
        v_to_green: chroma(-v_to_green),
        u_to_blue: chroma(u_to_blue),
    }
}

/// As `orientation.c` codes it.
fn orientation(code: std::os::raw::c_int) -> Orientation {
    match code {
        ..0 => Orientation::default(),
        code => Orientation { transpose: code & 1 != 0, flip_x: code & 2 != 0, flip_y: code & 4 != 0 },
    }
}

fn key(frame: &VideoFrame, color: Color) -> Key {
    // The J formats are deprecated spellings of full range.
    let (format, full) = match frame.format() {
        Pixel::YUVJ420P => (Pixel::YUV420P, true),
        Pixel::YUVJ422P => (Pixel::YUV422P, true),
        Pixel::YUVJ444P => (Pixel::YUV444P, true),
        Pixel::YUVJ440P => (Pixel::YUV440P, true),
        Pixel::YUVJ411P => (Pixel::YUV411P, true),
        other => (other, false),
    };
    // SAFETY: public fields of a frame that the decoder filled. Read as the numbers that they are: containers put any
    // value there, and an enum must not hold one that it does not have.
    let (matrix, range) = unsafe {
        let raw = frame.as_ptr();
        ((&raw const (*raw).colorspace).cast::<i32>().read(), (&raw const (*raw).color_range).cast::<i32>().read())
    };
    let (matrix, range) = match color {
        Color::Tagged => (matrix, range),
        Color::Operator => (ffi::SWS_CS_DEFAULT as i32, 0),
    };
    Key {
        format,
        width: frame.width() as i32,
        height: frame.height() as i32,
        // Untagged is BT.601, which is swscale's default for every number that it does not know.
        matrix,
        full_range: full || range == ffi::AVColorRange::AVCOL_RANGE_JPEG as i32,
    }
}
