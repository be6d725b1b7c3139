//! What stands between every call and its caller: panics become a status, errors fill the caller's struct.

use std::os::raw::c_char;
use std::sync::Once;

use super::read::{self, Plain};
use super::structs::c4c_error;
use super::types::{c4c_status, c4c_status_code};
use crate::error::{Error, Result};
use crate::runtime::guarded;

const OK: c4c_status = c4c_status_code::C4C_OK as c4c_status;

/// Runs a call's body. `err` is NULL or the caller's struct, as the header demands.
pub(super) fn guard(err: *mut c4c_error, body: impl FnOnce() -> Result<()>) -> c4c_status {
    guard_with(err, || body().map(|()| None))
}

/// The same for a body that may have something to say although it succeeds.
pub(super) fn guard_with(err: *mut c4c_error, body: impl FnOnce() -> Result<Option<String>>) -> c4c_status {
    if !err.is_null() {
        if let Err(error) = guarded(|| read::check_size(err.cast_const(), "err")) {
            // There is no trusting the rest of the struct, so no message either.
            return error.status().code();
        }
    }
    let result = guarded(body);
    if !err.is_null() {
        let filled = match &result {
            Ok(note) => message(OK, note.as_deref().unwrap_or_default()),
            Err(error) => message(error.status().code(), error.message()),
        };
        read::write_struct(err, filled);
    }
    result.err().map_or(OK, |error: Error| error.status().code())
}

fn message(status: c4c_status, text: &str) -> c4c_error {
    let mut error = c4c_error::zeroed();
    error.status = status;
    write_text(&mut error.message, text);
    error
}

/// Copies `text` into a C string of fixed room, cut at a character's boundary.
pub(super) fn write_text(room: &mut [c_char], text: &str) {
    let mut end = text.len().min(room.len() - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (to, &from) in room.iter_mut().zip(&text.as_bytes()[..end]) {
        *to = from as c_char;
    }
    room[end..].fill(0);
}

/// Keeps the messages of panics off the host's stderr; their text goes into `c4c_error`. The hook is that of this
/// library's own copy of the standard library.
pub(super) fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_characters() {
        let mut room = [1 as c_char; 8];
        write_text(&mut room, "abcdefé");
        assert_eq!(room, [b'a', b'b', b'c', b'd', b'e', b'f', 0, 0].map(|b| b as c_char));
    }

    #[test]
    fn panics_become_a_status() {
        let mut error = c4c_error::zeroed();
        error.struct_size = size_of::<c4c_error>() as u32;
        quiet_panics();
        let status = guard(&mut error, || panic!("boom"));
        assert_eq!((status, error.status), (-99, -99));
        assert_eq!(guard(&mut error, || Ok(())), 0);
        assert_eq!((error.status, error.message[0]), (0, 0));
        error.struct_size = 4;
        assert_eq!(guard(&mut error, || Ok(())), -1);
    }
}
