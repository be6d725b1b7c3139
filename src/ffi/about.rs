//! What can be asked without a model.

use std::ffi::{CStr, CString};
use std::os::raw::c_char;

use ndarray::ArrayView2;
use once_cell::sync::Lazy;

use super::guard::{guard, guard_with, quiet_panics};
use super::read::{self, Output};
use super::structs::c4c_error;
use super::types::{c4c_status, c4c_status_code, C4C_ABI_VERSION};
use crate::error::{Error, Result};
use crate::runtime::cuda_devices;
use crate::similarity;

macro_rules! names {
    ($($name:ident),* $(,)?) => {
        [$((c4c_status_code::$name as c4c_status, concat!(stringify!($name), "\0"))),*]
    };
}

const NAMES: [(c4c_status, &str); 24] = names![
    C4C_OK,
    C4C_E_INVALID_ARGUMENT,
    C4C_E_BUFFER_TOO_SMALL,
    C4C_E_UNSUPPORTED,
    C4C_E_CLOSED,
    C4C_E_FORKED,
    C4C_E_WEIGHTS_IO,
    C4C_E_WEIGHTS_FORMAT,
    C4C_E_WEIGHTS_MISMATCH,
    C4C_E_MODALITY,
    C4C_E_TOKENIZER,
    C4C_E_TEXT_TOO_LONG,
    C4C_E_DEVICE,
    C4C_E_OUT_OF_MEMORY,
    C4C_E_BACKEND,
    C4C_E_MEDIA_IO,
    C4C_E_MEDIA_FORMAT,
    C4C_E_NO_VIDEO,
    C4C_E_DECODE,
    C4C_E_LIMIT,
    C4C_E_FORBIDDEN,
    C4C_E_CANCELLED,
    C4C_E_TIMEOUT,
    C4C_E_INTERNAL,
];

/// The name of a status, such as "C4C_E_WEIGHTS_IO"; "unknown status" for a number that has none. The string is constant.
///
/// Thread-safety: any thread, any time.
#[no_mangle]
pub extern "C" fn c4c_status_name(status: c4c_status) -> *const c_char {
    let found = NAMES.iter().find(|(code, _)| *code == status);
    found.map_or("unknown status\0", |(_, name)| name).as_ptr().cast()
}

/// The version of the loaded library, such as "0.1.0". The string is constant.
///
/// Thread-safety: any thread, any time.
#[no_mangle]
pub extern "C" fn c4c_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The C4C_ABI_VERSION that the loaded library was built with; compare it with the header's.
///
/// Thread-safety: any thread, any time.
#[no_mangle]
pub extern "C" fn c4c_abi_version() -> u32 {
    C4C_ABI_VERSION
}

/// One line of JSON about the loaded library: its version ("c4c"), the ABI's ("abi"), those of libtorch and of the FFmpeg
/// in use ("libtorch", "ffmpeg"), whether it can compute on CUDA where the machine does ("cuda"), and the machine it was built
/// for ("target").
/// The string lives as long as the library.
///
/// Thread-safety: any thread, any time.
#[no_mangle]
pub extern "C" fn c4c_build_info() -> *const c_char {
    static INFO: Lazy<CString> = Lazy::new(|| {
        let info = format!(
            "{{\"c4c\":\"{}\",\"abi\":{C4C_ABI_VERSION},\"libtorch\":\"{}\",\"cuda\":true,\"ffmpeg\":\"{}\",\"target\":\"{}-{}\"}}",
            env!("CARGO_PKG_VERSION"),
            env!("C4C_LIBTORCH_VERSION"),
            crate::video::ffmpeg_version().replace(['"', '\\'], ""),
            std::env::consts::ARCH,
            std::env::consts::OS,
        );
        CString::new(info).unwrap_or_else(|_| CStr::to_owned(c"{}"))
    });
    INFO.as_ptr()
}

/// How many GPUs this process can use through CUDA. Where there is none, the reason is in `err->message` although the call
/// succeeds: no driver, a libtorch for the CPU only, a library that is missing.
///
/// @param out_count  receives the number; not NULL; untouched on error
/// @param err        filled on failure, and where the number is 0; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT
///
/// The first call of a process, or the first c4c_create for a GPU or "auto", loads libtorch's CUDA half and wakes the driver; the
/// answer does not change later. A child forked after that cannot use CUDA, as with every program; one forked before can.
///
/// Thread-safety: any thread, any time.
#[no_mangle]
pub unsafe extern "C" fn c4c_cuda_devices(out_count: *mut u32, err: *mut c4c_error) -> c4c_status {
    quiet_panics();
    guard_with(err, || {
        if out_count.is_null() {
            return Err(Error::invalid("out_count is NULL"));
        }
        let (count, why) = match cuda_devices() {
            Ok(n) => (u32::try_from(n).unwrap_or(u32::MAX), None),
            Err(why) => (0, Some(why)),
        };
        // SAFETY: not NULL, and the header asks for a pointer that can be written.
        unsafe { out_count.write(count) };
        Ok(why)
    })
}

/// Cosine similarity of every vector of one set with every one of another: for unit vectors, as this library makes them, their
/// dot products.
///
/// @param a        `[n_a, dim]`, row by row; vectors of any length but zero
/// @param n_a      at least 1
/// @param b        `[n_b, dim]`
/// @param n_b      at least 1
/// @param dim      floats in one vector, at least 1
/// @param out      receives `[n_a, n_b]` floats between -1 and 1; untouched on error
/// @param out_len  floats that `out` has room for
/// @param err      filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT, also for a vector of length zero or with a value that is no number;
///         C4C_E_BUFFER_TOO_SMALL; C4C_E_OUT_OF_MEMORY
///
/// Thread-safety: any thread may call this.
#[no_mangle]
pub unsafe extern "C" fn c4c_similarity(
    a: *const f32,
    n_a: usize,
    b: *const f32,
    n_b: usize,
    dim: usize,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    guard(err, || {
        let a = vectors((a, "a"), (n_a, "n_a"), dim)?;
        let b = vectors((b, "b"), (n_b, "n_b"), dim)?;
        let out = Output::new(out, out_len, n_a, n_b)?;
        similarity::cosines(a, b, &mut |i, row| out.write_row(i, n_b, row))
    })
}

fn vectors<'a>(
    (pointer, name): (*const f32, &str),
    (n, count): (usize, &str),
    dim: usize,
) -> Result<ArrayView2<'a, f32>> {
    let Some(len) = n.checked_mul(dim) else {
        return Err(Error::invalid(format_args!("{count} is {n}, more than memory holds")));
    };
    let which = if n > 0 && dim == 0 { "dim" } else { count };
    ArrayView2::from_shape((n, dim), read::array(pointer, len, name, which)?).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn every_status_has_its_name() {
        for (code, name) in NAMES.iter().skip(1) {
            let status = Status::from_code(*code).unwrap();
            let rust: String = format!("{status:?}").to_ascii_lowercase();
            let c: String =
                name.trim_start_matches("C4C_E_").trim_end_matches('\0').replace('_', "").to_ascii_lowercase();
            assert_eq!(c, rust);
        }
        let known = (-200..0).filter(|&code| Status::from_code(code).is_some()).count();
        assert_eq!(known, NAMES.len() - 1);
    }
}
