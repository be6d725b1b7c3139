//! Pictures in the memory of a GPU, which makes their squares: only these leave it. The bytes are those that
//! [`Preprocessor`](super::Preprocessor) gives, since everything is whole numbers that floating point holds exactly.

mod taps;

use std::ffi::c_void;
use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::frame::FrameInfo;
use super::resize::Axis;
use super::{Orientation, PixelFormat};
use crate::error::{Error, Result, Status};
use crate::gpu::Gpu;
use taps::Taps;

/// So many pixels are worked on at a time. At their peak they take 35 bytes each.
const PIXELS_AT_ONCE: usize = 1 << 21;

/// A picture in the memory of a GPU. It is never looked at from the host.
pub(crate) struct DeviceFrame {
    info: FrameInfo,
    /// Where the top row begins, and bytes from a row to the one below it.
    planes: Vec<(*const u8, isize)>,
    device: Device,
    stream: *mut c_void,
}

/// How swscale makes RGB of YUV, with the coefficients in 8192ths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct YuvToRgb {
    /// The luma that is black.
    pub(crate) black: f64,
    pub(crate) luma: f64,
    pub(crate) v_to_red: f64,
    pub(crate) u_to_green: f64,
    pub(crate) v_to_green: f64,
    pub(crate) u_to_blue: f64,
}

impl DeviceFrame {
    /// A picture whose planes begin, top row first, at these addresses, with so many bytes from a row to the one below it.
    ///
    /// # Safety
    /// All rows of all planes of the format lie in memory of `device`, at strides at least as long as they are, and live as long
    /// as this value. For a GPU, `stream` is NULL or a `cudaStream_t` of it whose work so far makes them; they do not change
    /// while they are read.
    pub(crate) unsafe fn new(
        info: FrameInfo,
        planes: Vec<(*const u8, isize)>,
        device: Device,
        stream: *mut c_void,
    ) -> Self {
        DeviceFrame { info, planes, device, stream }
    }

    pub(crate) fn info(&self) -> &FrameInfo {
        &self.info
    }

    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// Whether it has to go to the host as a whole: YUV of odd height, where swscale takes a way of its own with chroma between
    /// rows, which hangs on its version. Cameras and decoders give even heights.
    pub(crate) fn goes_whole(&self) -> bool {
        self.info.format.planes() > 1 && self.info.height % 2 == 1
    }

    /// Rows of a plane from its top and a part of them as a tensor `[rows, columns, bytes]`, `bytes` to a column.
    fn plane(&self, plane: usize, rows: &Range<usize>, columns: &Range<usize>, bytes: usize) -> Result<Tensor> {
        let Some(&(top, stride)) = self.planes.get(plane).filter(|_| !rows.is_empty()) else {
            return Err(Error::internal(format_args!("there are no rows {rows:?} of plane {plane}")));
        };
        // There are no negative strides among tensors: bottom-up planes are taken from below and turned over.
        let lowest = if stride < 0 { rows.end - 1 } else { rows.start };
        let first = top.wrapping_offset(lowest as isize * stride).wrapping_add(columns.start * bytes);
        let shape = [rows.len(), columns.len(), bytes].map(|n| n as i64);
        let strides = [stride.unsigned_abs() as i64, bytes as i64, 1];
        // SAFETY: a part of the plane, whose rows are where `new` was promised that they are, for as long as `self` lives; no
        // tensor over it leaves this module.
        let tensor = unsafe { Tensor::f_from_blob(first, &shape, &strides, Kind::Uint8, self.device) };
        let tensor = tensor.map_err(|e| Error::invalid(format_args!("planes[{plane}]: {}", Error::from(e))))?;
        Ok(if stride < 0 { tensor.f_flip([0])? } else { tensor })
    }

    /// A part of the picture as it lies in memory, as RGB bytes: `[rows, columns, 3]`.
    fn rgb(&self, rows: &Range<usize>, columns: &Range<usize>, yuv: &YuvToRgb) -> Result<Tensor> {
        let format = self.info.format;
        if format.planes() > 1 {
            return self.yuv_as_rgb(rows, columns, yuv);
        }
        let pixels = self.plane(0, rows, columns, format.bytes())?;
        Ok(match format {
            PixelFormat::Bgr24 | PixelFormat::Bgra => pixels.f_narrow(2, 0, 3)?.f_flip([2])?,
            PixelFormat::Gray8 => pixels.f_expand([-1, -1, 3], false)?,
            _ => pixels.f_narrow(2, 0, 3)?,
        })
    }

    /// As swscale does it on x86 where the height is even: a pixel has the chroma of its block of four, and each product is
    /// rounded down. They all fit float32's 24 bits.
    fn yuv_as_rgb(&self, rows: &Range<usize>, columns: &Range<usize>, yuv: &YuvToRgb) -> Result<Tensor> {
        let blocks = |pixels: &Range<usize>| pixels.start / 2..pixels.end.div_ceil(2);
        let (block_rows, block_columns) = (blocks(rows), blocks(columns));
        let [u, v] = match self.info.format {
            PixelFormat::Nv12 => {
                let both = self.plane(1, &block_rows, &block_columns, 2)?;
                [both.f_narrow(2, 0, 1)?, both.f_narrow(2, 1, 1)?]
            }
            _ => [self.plane(1, &block_rows, &block_columns, 1)?, self.plane(2, &block_rows, &block_columns, 1)?],
        };
        let [u, v] = [u.f_to_kind(Kind::Float)?.f_sub_scalar_(128.0)?, v.f_to_kind(Kind::Float)?.f_sub_scalar_(128.0)?];
        let product = |values: &Tensor, by: f64| values.f_mul_scalar(by / 8192.0)?.f_floor_();
        let red = product(&v, yuv.v_to_red)?;
        let green = product(&u, yuv.u_to_green)?.f_add_(&product(&v, yuv.v_to_green)?)?;
        let blue = product(&u, yuv.u_to_blue)?;

        let (height, width) = (2 * block_rows.len() as i64, 2 * block_columns.len() as i64);
        let chroma = Tensor::f_cat(&[red, green, blue], 2)?;
        let blocks = chroma.f_unsqueeze(1)?.f_unsqueeze(3)?.f_expand([-1, 2, -1, 2, -1], false)?;
        let of = |whole: Tensor, dim: i64, pixels: &Range<usize>| {
            whole.f_narrow(dim, (pixels.start % 2) as i64, pixels.len() as i64)
        };
        let chroma = of(of(blocks.f_reshape([height, width, 3])?, 0, rows)?, 1, columns)?;
        let luma = self.plane(0, rows, columns, 1)?.f_to_kind(Kind::Float)?.f_sub_scalar_(yuv.black)?;
        Ok(chroma.f_add(&product(&luma, yuv.luma)?)?.f_clamp_(0.0, 255.0)?.f_to_kind(Kind::Uint8)?)
    }
}

/// How a picture of some size and orientation becomes a square, on one device.
struct Plan {
    device: Device,
    width: usize,
    height: usize,
    orientation: Orientation,
    /// Of the upright picture.
    x: Taps,
    y: Taps,
}

impl Plan {
    fn new(info: &FrameInfo, side: usize, device: Device) -> Result<Self> {
        let &FrameInfo { width, height, orientation, .. } = info;
        let Orientation { transpose, flip_x, flip_y } = orientation;
        let (upright_width, upright_height) = if transpose { (height, width) } else { (width, height) };
        let [x, y] = Axis::both(upright_width, upright_height, side);
        let x = Taps::new(&x, upright_width, side, flip_x, device)?;
        let y = Taps::new(&y, upright_height, side, flip_y, device)?;
        Ok(Plan { device, width, height, orientation, x, y })
    }

    fn is_for(&self, frame: &DeviceFrame) -> bool {
        let info = &frame.info;
        let asked = (frame.device, info.width, info.height, info.orientation);
        (self.device, self.width, self.height, self.orientation) == asked
    }
}

/// Turns frames of any size on GPUs into squares of RGB bytes in the process's memory. While it lives, the thread may have
/// another current device and another current stream than the host gave it.
pub(crate) struct DevicePreprocessor {
    side: usize,
    /// The last frame's.
    plan: Option<Plan>,
    gpu: Option<Gpu>,
}

impl DevicePreprocessor {
    /// For squares of `side` pixels.
    pub(crate) fn new(side: usize) -> Self {
        DevicePreprocessor { side, plan: None, gpu: None }
    }

    /// The square of `frame`: rows from the top, RGB interleaved. When it returns, the frame has been read.
    ///
    /// # Errors
    /// `InvalidArgument` for a plane that does not lie on the frame's device, `OutOfMemory`, `Backend`.
    pub(crate) fn run(&mut self, frame: &DeviceFrame, yuv: &YuvToRgb, out: &mut [u8]) -> Result<()> {
        self.enter(frame)?;
        let _no_grad = tch::no_grad_guard();
        let side = self.side;
        let plan = match self.plan.take().filter(|plan| plan.is_for(frame)) {
            Some(plan) => self.plan.insert(plan),
            None => self.plan.insert(Plan::new(&frame.info, side, frame.device)?),
        };
        let transpose = frame.info.orientation.transpose;
        // Width first, as on the CPU, some rows of the upright picture at a time.
        let some = (PIXELS_AT_ONCE / plan.x.needed.len()).max(1);
        let mut narrow = Vec::new();
        for start in plan.y.needed.clone().step_by(some) {
            let (x, y) = (&plan.x.needed, &(start..plan.y.needed.end.min(start + some)));
            let columns_of_pixels = match transpose {
                true => frame.rgb(x, y, yuv)?,
                false => frame.rgb(y, x, yuv)?.f_transpose(0, 1)?,
            };
            let flat = columns_of_pixels.f_reshape([x.len() as i64, 3 * y.len() as i64])?;
            narrow.push(plan.x.apply(&flat)?.f_view([side as i64, y.len() as i64, 3])?);
        }
        let rows = Tensor::f_cat(&narrow, 1)?.f_transpose(0, 1)?;
        let rows = rows.f_reshape([plan.y.needed.len() as i64, 3 * side as i64])?;
        let square = plan.y.apply(&rows)?.f_to_device(Device::Cpu)?;
        Ok(square.f_copy_data_u8(out, 3 * side * side)?)
    }

    /// The planes of `frame` in the process's memory, each of packed rows from the top, with the bytes of a row.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn fetch(&mut self, frame: &DeviceFrame) -> Result<Vec<(Vec<u8>, usize)>> {
        self.enter(frame)?;
        let _no_grad = tch::no_grad_guard();
        let info = &frame.info;
        let fetch = |plane: usize| {
            let (row, rows) = info.format.plane_size(plane, info.width, info.height)?;
            let there = frame.plane(plane, &(0..rows), &(0..row), 1)?;
            let here = there.f_contiguous()?.f_to_device(Device::Cpu)?;
            let mut bytes = Vec::new();
            let len = row * rows;
            bytes
                .try_reserve_exact(len)
                .map_err(|_| Error::new(Status::OutOfMemory, format_args!("no memory for a frame ({len} bytes)")))?;
            bytes.resize(len, 0);
            here.f_copy_data_u8(&mut bytes, len)?;
            Ok((bytes, row))
        };
        (0..info.format.planes()).map(fetch).collect()
    }

    /// Takes the thread to the frame's device, where it waits for the frame.
    fn enter(&mut self, frame: &DeviceFrame) -> Result<()> {
        let Device::Cuda(device) = frame.device else { return Ok(()) };
        let gpu = match self.gpu.take().filter(|gpu| gpu.device() == device) {
            Some(gpu) => self.gpu.insert(gpu),
            // The other one is left first.
            None => self.gpu.insert(Gpu::enter(device)?),
        };
        // SAFETY: `DeviceFrame::new` was promised a stream of this device.
        unsafe { gpu.follow(frame.stream) }
    }
}
