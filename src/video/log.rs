//! Keeps FFmpeg's messages about this library's work away from the host's stderr.

use std::marker::PhantomData;
use std::os::raw::c_int;
use std::sync::Once;

extern "C" {
    fn c4c_av_log_install();
    fn c4c_av_log_quiet(change: c_int);
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
