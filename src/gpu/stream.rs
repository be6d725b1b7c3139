//! Threads on GPUs: each has a device and a stream of ours while it is there, and a host's thread its own again afterwards.
//!
//! CUDA's recordings want that nobody else uses their stream, and libtorch's that there is one at a time in a process.

use std::collections::HashSet;
use std::ffi::{c_char, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::LazyLock;

use parking_lot::Mutex;

use super::cpp::done;
use crate::error::{Error, Result};

/// As C++ sees it; the comments are there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Entered {
    device: i32,
    entered: i32,
    stream: i64,
    own: i64,
    warnings: i64,
}

extern "C" {
    fn c4c_stream_enter(device: i32, own: i64, entered: *mut Entered, why: *mut c_char, room: usize) -> i32;
    fn c4c_stream_follow(entered: *const Entered, stream: *mut c_void, why: *mut c_char, room: usize) -> i32;
    fn c4c_stream_leave(entered: *const Entered);
}

/// libtorch's pool gives the same streams again after so many.
const POOL: usize = 32;

#[derive(Default)]
struct Streams {
    /// Those that no thread has now, with their devices. libtorch keeps freed memory for the stream that had it, so that there
    /// must not be more of them than threads that are here at once.
    idle: Vec<(usize, i64)>,
    /// All that were taken out of the pool.
    made: HashSet<(usize, i64)>,
}

static STREAMS: LazyLock<Mutex<Streams>> = LazyLock::new(Mutex::default);

/// Held while something is recorded, and while something is done that must not be done then.
pub(crate) static RECORDING: Mutex<()> = Mutex::new(());

static NO_RECORDINGS: AtomicBool = AtomicBool::new(false);

/// Whether passes may be recorded. To be asked with [`RECORDING`] held.
pub(crate) fn may_record() -> bool {
    !NO_RECORDINGS.load(Ordering::Relaxed)
}

/// From now on nothing is recorded in this process. To be said with [`RECORDING`] held.
pub(crate) fn record_no_more() {
    NO_RECORDINGS.store(true, Ordering::Relaxed);
}

/// This thread's stay on a GPU. When it ends, what was begun here has ended, and the thread has the device and the stream that
/// it had before.
pub(crate) struct Gpu {
    device: usize,
    entered: Entered,
    /// Other threads have the stream, too.
    shared: bool,
    /// The thread's.
    _here: PhantomData<*mut ()>,
}

impl Gpu {
    /// For a device that CUDA has.
    ///
    /// # Errors
    /// `Backend` where libtorch refuses.
    pub(crate) fn enter(device: usize) -> Result<Self> {
        let idle = {
            let idle = &mut STREAMS.lock().idle;
            idle.iter().rposition(|&(of, _)| of == device).map(|i| idle.swap_remove(i))
        };
        if let Some((_, own)) = idle {
            let entered = Gpu::enter_with(device, own);
            if entered.is_err() {
                STREAMS.lock().idle.extend(idle);
            }
            return entered;
        }
        for _ in 0..POOL {
            let mut gpu = Gpu::enter_with(device, 0)?;
            if STREAMS.lock().made.insert((device, gpu.entered.own)) {
                return Ok(gpu);
            }
            gpu.shared = true;
        }
        // What this thread does would be a part of what another records.
        let _nobody_records = RECORDING.lock();
        record_no_more();
        let mut gpu = Gpu::enter_with(device, 0)?;
        gpu.shared = true;
        Ok(gpu)
    }

    fn enter_with(device: usize, own: i64) -> Result<Self> {
        let number = i32::try_from(device).map_err(Error::internal)?;
        let mut entered = Entered::default();
        // SAFETY: writes `entered` and at most as many bytes of text as it is told.
        done(|why, room| unsafe { c4c_stream_enter(number, own, &mut entered, why, room) })?;
        Ok(Gpu { device, entered, shared: false, _here: PhantomData })
    }

    pub(crate) fn device(&self) -> usize {
        self.device
    }

    /// Lets what comes wait until the work that `stream` has been given so far is done; does not wait itself.
    ///
    /// # Safety
    /// `stream` is NULL or a `cudaStream_t` of this device.
    pub(crate) unsafe fn follow(&self, stream: *mut c_void) -> Result<()> {
        // SAFETY: the caller's promise; reads `entered` and writes at most as many bytes of text as it is told.
        done(|why, room| unsafe { c4c_stream_follow(&self.entered, stream, why, room) })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: what `enter` has filled, on the same thread, since this type cannot leave it.
        unsafe { c4c_stream_leave(&self.entered) };
        if !self.shared {
            STREAMS.lock().idle.push((self.device, self.entered.own));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Status;
    use crate::runtime::cuda_devices;

    #[test]
    fn without_cuda_there_is_a_reason() {
        if cuda_devices().is_ok() {
            return;
        }
        let error = Gpu::enter(0).map(|_| ()).unwrap_err();
        assert_eq!(error.status(), Status::Backend);
        assert!(error.message().contains("cuda"), "{error}");
        assert!(STREAMS.lock().idle.is_empty());
    }
}
