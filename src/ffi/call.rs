//! Tokens that cancel calls.

use super::types::c4c_cancel;
use crate::runtime::Cancel;

/// A new token, for `c4c_call.cancel`. One token may be given to any number of calls.
///
/// Thread-safety: any thread may call this.
#[no_mangle]
pub extern "C" fn c4c_cancel_new() -> *mut c4c_cancel {
    Box::into_raw(Box::new(c4c_cancel { token: Cancel::new() }))
}

/// Ends the calls that were given this token, and all that will be, with `C4C_E_CANCELLED`. A call notices within a
/// packet's decoding, a picture's or a text's preprocessing, or at once where it waits for room, for the model or for the
/// network; what the host's own functions and the file system take, it has to wait for. A forward pass that has begun is
/// finished, but nobody waits for it. NULL does nothing.
///
/// Thread-safety: any thread may call this, also while others use the token. Not async-signal-safe.
#[no_mangle]
pub unsafe extern "C" fn c4c_cancel_fire(c: *mut c4c_cancel) {
    // SAFETY: NULL or a token of ours that has not been freed.
    if let Some(cancel) = unsafe { c.as_ref() } {
        cancel.token.fire();
    }
}

/// Releases a token. Calls that were given it go on, and can no longer be cancelled. NULL is fine.
///
/// Thread-safety: nobody else may use the token from now on; calls that run with it are fine.
#[no_mangle]
pub unsafe extern "C" fn c4c_cancel_free(c: *mut c4c_cancel) {
    if !c.is_null() {
        // SAFETY: a token of ours that the caller gives up.
        drop(unsafe { Box::from_raw(c) });
    }
}
