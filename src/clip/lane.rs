//! One thread's way to a device: how bytes get there, and passes that come again.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use super::graph::{Cuda, Graphs};
use crate::clip::Square;
use crate::error::{Error, Result, Status};
use crate::runtime::Log;

/// Passes of images and texts are filled up to one of these numbers of rows, so that there are not too many to record.
const ROWS: [i64; 14] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128];

/// And beyond these, to a multiple of this.
const STEP: i64 = 32;

/// With more rows than these, launching takes less time than the work, and nothing is recorded.
const MOST_ROWS: i64 = ROWS[ROWS.len() - 1];

/// What decides the shapes in a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    Images {
        rows: i64,
    },
    Texts {
        rows: i64,
        length: i64,
    },
    /// A head's, over a video's frames.
    Video {
        rows: i64,
    },
}

impl Pass {
    fn rows(self) -> i64 {
        match self {
            Pass::Images { rows } | Pass::Texts { rows, .. } | Pass::Video { rows } => rows,
        }
    }
}

/// How one thread uses one device. On a CPU there is nothing to it.
pub(super) struct Lane {
    device: Device,
    /// `[rows, bytes]` of the host's memory that the device copies from by itself.
    staging: RefCell<Option<Tensor>>,
    graphs: Option<Graphs<Pass, Cuda>>,
}

impl Lane {
    /// `graphs`: whether small passes are recorded.
    pub(super) fn new(device: Device, graphs: bool, log: &Log) -> Self {
        let graphs = (graphs && device != Device::Cpu).then(|| Graphs::new(Cuda::default(), log));
        Lane { device, staging: RefCell::new(None), graphs }
    }

    /// How many rows a pass of `n` gets. On GPUs there are few such numbers: for each, passes are recorded, and libraries of NVIDIA's
    /// prepare what they do for each shape.
    pub(super) fn rows(&self, n: usize) -> i64 {
        let n = n as i64;
        match self.device {
            Device::Cpu => n,
            _ => ROWS.into_iter().find(|&rows| rows >= n).unwrap_or((n + STEP - 1) / STEP * STEP),
        }
    }

    /// `pass`, and again without the memory that recordings hold where there was not enough of it.
    pub(super) fn twice<T>(&self, pass: impl Fn() -> Result<T>) -> Result<T> {
        match (pass(), &self.graphs) {
            (Err(error), Some(_)) if error.status() == Status::OutOfMemory => {
                self.clear();
                pass()
            }
            (result, _) => result,
        }
    }

    /// The squares' bytes on the device, `[rows, bytes of one]`. What is behind the squares is anything.
    pub(super) fn pixels(&self, squares: &[&Square], rows: i64) -> Result<Tensor> {
        let bytes = squares.first().map_or(0, |square| square.len());
        if bytes == 0 || rows < squares.len() as i64 || squares.iter().any(|square| square.len() != bytes) {
            return Err(Error::internal(format_args!("{} squares of {bytes} bytes for {rows} rows", squares.len())));
        }
        if self.device == Device::Cpu {
            let all = squares.len() * bytes;
            let mut pixels = Vec::new();
            pixels.try_reserve_exact(all).map_err(|_| {
                Error::new(Status::OutOfMemory, format_args!("no memory for {} images ({all} bytes)", squares.len()))
            })?;
            squares.iter().for_each(|square| pixels.extend_from_slice(square));
            return Ok(Tensor::f_from_data_size(&pixels, &[rows, bytes as i64], Kind::Uint8)?);
        }
        let mut staging = self.staging.borrow_mut();
        let staging = match staging.take().filter(|room| room.size()[0] >= rows) {
            Some(room) => staging.insert(room),
            None => {
                let room = Tensor::f_empty([rows, bytes as i64], (Kind::Uint8, Device::Cpu))?;
                staging.insert(room.f_pin_memory(self.device)?)
            }
        };
        // SAFETY: a contiguous tensor of bytes on the CPU that nobody else has, of as many as it says. The device has read what was in
        // it, since each pass ends with its results on the host; but for one that failed, whose results nobody gets.
        let room = unsafe { std::slice::from_raw_parts_mut(staging.data_ptr().cast::<u8>(), staging.numel()) };
        for (to, square) in room.chunks_exact_mut(bytes).zip(squares) {
            to.copy_from_slice(square);
        }
        Ok(staging.f_narrow(0, 0, rows)?.f_to_device_(self.device, Kind::Uint8, true, false)?)
    }

    /// On the device.
    pub(super) fn put(&self, tensor: Tensor) -> Result<Tensor> {
        Ok(tensor.f_to_device(self.device)?)
    }

    /// What `work` makes of the inputs, which are on the device; recorded or replayed where that is faster. It must give nothing to
    /// the host.
    pub(super) fn run(
        &self,
        pass: Pass,
        inputs: &[Tensor],
        work: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Tensor> {
        match &self.graphs {
            Some(graphs) if pass.rows() <= MOST_ROWS => graphs.run(pass, inputs, work),
            _ => work(inputs),
        }
    }

    /// Forgets what was kept for the next passes.
    pub(super) fn clear(&self) {
        self.staging.replace(None);
        if let Some(graphs) = &self.graphs {
            graphs.clear();
        }
    }
}
