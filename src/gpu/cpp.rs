//! Calls of our C++, which say in a text what is wrong.

use std::ffi::{c_char, CStr};

use crate::error::{Error, Result};

/// Room for a text.
const ROOM: usize = 1024;

/// What `call` returns, and what it says in the room that it gets for a text that ends with a zero.
pub(crate) fn said<T>(call: impl FnOnce(*mut c_char, usize) -> T) -> (T, String) {
    let mut why = [0u8; ROOM];
    let value = call(why.as_mut_ptr().cast(), ROOM);
    let why = CStr::from_bytes_until_nul(&why).unwrap_or_default();
    (value, why.to_string_lossy().into_owned())
}

/// The same for a call that returns 0, or another number and what libtorch threw.
pub(crate) fn done(call: impl FnOnce(*mut c_char, usize) -> i32) -> Result<()> {
    match said(call) {
        (0, _) => Ok(()),
        (_, why) => Err(Error::libtorch(&why)),
    }
}
