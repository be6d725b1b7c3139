//! Keeps FFmpeg's messages about this library's work away from the host's stderr.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::os::raw::{c_char, c_int};
use std::ptr;
use std::sync::Once;

extern "C" {
    fn c4c_av_log_install();
    fn c4c_av_log_quiet(change: c_int);
    fn c4c_av_log_keep(text: *mut c_char, size: usize);
    fn c4c_av_log_threaded(change: c_int);
}

/// What decoders add to the level of their messages, so that `av_log.c` knows them on any thread.
pub(super) const LEVEL_OFFSET: c_int = 128;

/// While it lives, this thread's FFmpeg messages are dropped.
pub(super) struct Quiet(PhantomData<*const ()>);

impl Quiet {
    pub(super) fn enter() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            // The texts of FFmpeg's errors.
            ffmpeg_next::util::error::register_all();
            // SAFETY: installing stores a function pointer that lives as long as the library.
            unsafe { c4c_av_log_install() };
        });
        // SAFETY: changes a counter of this thread only; the guard is not Send, so `drop` runs on the same thread.
        unsafe { c4c_av_log_quiet(1) };
        Quiet(PhantomData)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: as in `enter`, whose change this takes back.
        unsafe { c4c_av_log_quiet(-1) };
    }
}

/// While it lives, what this thread's FFmpeg calls errors is kept: its codes say little. There is one at a time on a
/// thread, and a [`Quiet`] around it.
pub(super) struct Captured {
    text: Box<[c_char; 1024]>,
    /// Of this thread.
    _here: PhantomData<*const ()>,
}

impl Captured {
    pub(super) fn begin() -> Self {
        let mut text = Box::new([0; 1024]);
        // SAFETY: room of its own, which `drop` takes back on this thread, since the guard is not Send.
        unsafe { c4c_av_log_keep(text.as_mut_ptr(), text.len()) };
        Captured { text, _here: PhantomData }
    }

    /// Its lines, joined.
    pub(super) fn text(self) -> String {
        // SAFETY: C ends with a zero what it writes there, and it began as zeros.
        let text = unsafe { CStr::from_ptr(self.text.as_ptr()) }.to_string_lossy();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // SAFETY: as in `begin`, whose change this takes back.
        unsafe { c4c_av_log_keep(ptr::null_mut(), 0) };
    }
}

/// Belongs to a decoder that has threads of its own.
pub(super) struct Threaded(());

impl Threaded {
    pub(super) fn new() -> Self {
        // SAFETY: changes an atomic counter.
        unsafe { c4c_av_log_threaded(1) };
        Threaded(())
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        // SAFETY: as in `new`, whose change this takes back.
        unsafe { c4c_av_log_threaded(-1) };
    }
}
