//! The calling thread on a GPU: for a while it has the device and a stream of ours, then those of the host again.

use std::ffi::{c_char, c_void, CStr};
use std::marker::PhantomData;

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// As C++ sees it; the comments are there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Entered {
    device: i32,
    entered: i32,
    stream: i64,
    own: i64,
}

extern "C" {
    fn c4c_stream_enter(device: i32, own: i64, entered: *mut Entered, why: *mut c_char, room: usize) -> i32;
    fn c4c_stream_follow(entered: *const Entered, stream: *mut c_void, why: *mut c_char, room: usize) -> i32;
    fn c4c_stream_leave(entered: *const Entered);
}

/// Streams that no thread has now, with their devices. libtorch keeps freed memory for the stream that had it, so that there
/// must not be more of them than threads that are here at once.
static IDLE: Mutex<Vec<(usize, i64)>> = Mutex::new(Vec::new());

/// This thread's stay on a GPU. When it ends, what was begun here has ended, and the thread has the device and the stream that
/// it had before.
pub(super) struct Gpu {
    device: usize,
    entered: Entered,
    /// The thread's.
    _here: PhantomData<*mut ()>,
}

impl Gpu {
    /// For a device that CUDA has.
    ///
    /// # Errors
    /// `Backend` where libtorch refuses.
    pub(super) fn enter(device: usize) -> Result<Self> {
        let number = i32::try_from(device).map_err(Error::internal)?;
        let mut entered = Entered::default();
        let idle = {
            let mut idle = IDLE.lock();
            idle.iter().rposition(|&(of, _)| of == device).map(|i| idle.swap_remove(i))
        };
        let own = idle.map_or(0, |(_, own)| own);
        // SAFETY: writes `entered` and at most as many bytes of text as it is told.
        let done = told(|why, room| unsafe { c4c_stream_enter(number, own, &mut entered, why, room) });
        if done.is_err() {
            IDLE.lock().extend(idle);
        }
        done.map(|()| Gpu { device, entered, _here: PhantomData })
    }

    pub(super) fn device(&self) -> usize {
        self.device
    }

    /// Lets what comes wait until the work that `stream` has been given so far is done; does not wait itself.
    ///
    /// # Safety
    /// `stream` is NULL or a `cudaStream_t` of this device.
    pub(super) unsafe fn follow(&self, stream: *mut c_void) -> Result<()> {
        // SAFETY: the caller's promise; reads `entered` and writes at most as many bytes of text as it is told.
        told(|why, room| unsafe { c4c_stream_follow(&self.entered, stream, why, room) })
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // SAFETY: what `enter` has filled, on the same thread, since this type cannot leave it.
        unsafe { c4c_stream_leave(&self.entered) };
        IDLE.lock().push((self.device, self.entered.own));
    }
}

/// Calls C++ with room for a reason, which is the error where it does not return 0.
fn told(call: impl FnOnce(*mut c_char, usize) -> i32) -> Result<()> {
    let mut why = [0u8; 512];
    match call(why.as_mut_ptr().cast(), why.len()) {
        0 => Ok(()),
        _ => Err(Error::libtorch(&CStr::from_bytes_until_nul(&why).unwrap_or_default().to_string_lossy())),
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
        assert!(IDLE.lock().is_empty());
    }
}
