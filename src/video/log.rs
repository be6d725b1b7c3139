//! Keeps FFmpeg's messages about this library's work away from the host's stderr.

use std::marker::PhantomData;
use std::os::raw::c_int;
use std::sync::Once;

extern "C" {
    fn c4c_av_log_install();
    fn c4c_av_log_quiet(change: c_int);
}

/// What decoders add to the level of their messages, so that `av_log.c` knows them on any thread.
pub(super) const LEVEL_OFFSET: c_int = 128;

/// While it lives, this thread's FFmpeg messages are dropped.
pub(super) struct Quiet(PhantomData<*const ()>);

impl Quiet {
    pub(super) fn enter() -> Self {
        static INSTALL: Once = Once::new();
        // SAFETY: installing stores a function pointer that lives as long as the library.
        INSTALL.call_once(|| unsafe { c4c_av_log_install() });
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
