//! Threads of a guest in somebody else's process.

use std::any::Any;
use std::io;
use std::mem::MaybeUninit;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::error::{Error, Result};

/// What a thread has brought upon itself, and what profilers send to each: such signals are nobody else's to take.
const OWN: [libc::c_int; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGPROF,
];

/// Turns a panic into an error, so that one bad request does not end a thread.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a bug in libc4c, please report it: {}", text.unwrap_or("panic without a message"))
}

/// Starts a thread that gets none of the host's signals; all of ours are.
pub(crate) fn spawn<T, F>(name: &str, body: F) -> io::Result<JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    without_signals(|| Builder::new().name(name.into()).spawn(body))
}

/// The same within a scope.
pub(crate) fn spawn_scoped<'scope, T, F>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    body: F,
) -> io::Result<ScopedJoinHandle<'scope, T>>
where
    T: Send + 'scope,
    F: FnOnce() -> T + Send + 'scope,
{
    without_signals(|| Builder::new().name(name.into()).spawn_scoped(scope, body))
}

/// Does `start`, whose new threads, here or in libraries that it calls, get none of the signals that are sent to the process:
/// a host's handlers run on the host's threads, and what it has blocked to wait for is not delivered to ours. A new thread
/// inherits the mask of the one that makes it.
pub(crate) fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let _restored = Blocked::new();
    start()
}

struct Blocked(Option<libc::sigset_t>);

impl Blocked {
    fn new() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set that the others take, and pthread_sigmask `before` where it returns 0; it
        // changes nothing but this thread's mask.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in OWN {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            let failed = libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr()) != 0;
            Self((!failed).then(|| before.assume_init()))
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // SAFETY: the mask that this thread had; the type does not leave the thread that made it.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, std::ptr::null_mut()) };
        }
    }
}
