//! How FFmpeg reads a file: through callbacks, so that it opens nothing by itself.

use std::fs::File;
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::raw::{c_int, c_void};
use std::ptr;

use ffmpeg_next::ffi;

use super::source::out_of_memory;
use crate::error::Result;

/// Reading in pieces of this size costs few calls for high bit rates and little memory for low ones.
const BUFFER: usize = 256 * 1024;

/// A file as FFmpeg sees it. Must outlive the context that reads it.
pub(super) struct Io {
    context: *mut ffi::AVIOContext,
    reader: *mut Reader,
}

struct Reader {
    file: File,
    /// The first error of the file itself, which FFmpeg does not tell from the end of a damaged one.
    error: Option<std::io::Error>,
}

impl Io {
    pub(super) fn new(file: File) -> Result<Self> {
        let reader = Box::into_raw(Box::new(Reader { file, error: None }));
        // SAFETY: the buffer is FFmpeg's own as it must be, the callbacks match their types, and `reader` lives until
        // `drop`, after the context.
        let context = unsafe {
            let mut buffer: *mut u8 = ffi::av_malloc(BUFFER).cast();
            let context = match buffer.is_null() {
                true => ptr::null_mut(),
                false => {
                    ffi::avio_alloc_context(buffer, BUFFER as c_int, 0, reader.cast(), Some(read), None, Some(seek))
                }
            };
            if context.is_null() {
                ffi::av_freep((&raw mut buffer).cast());
            }
            context
        };
        let io = Io { context, reader };
        match io.context.is_null() {
            true => Err(out_of_memory()),
            false => Ok(io),
        }
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::AVIOContext {
        self.context
    }

    /// What went wrong with the file itself, if anything did.
    pub(super) fn error(&self) -> Option<String> {
        // SAFETY: lives until `drop`; FFmpeg's callbacks run only within calls of the thread that holds this value.
        unsafe { (*self.reader).error.as_ref() }.map(std::io::Error::to_string)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // SAFETY: both were made in `new`; FFmpeg may have exchanged the buffer, so it is freed where it is now.
        unsafe {
            if !self.context.is_null() {
                ffi::av_freep((&raw mut (*self.context).buffer).cast());
                ffi::avio_context_free(&mut self.context);
            }
            drop(Box::from_raw(self.reader));
        }
    }
}

impl Reader {
    fn failed(&mut self, error: std::io::Error) -> c_int {
        self.error.get_or_insert(error);
        -ffi::EIO
    }
}

/// May read less than was asked for: a damaged file asks for whatever sizes it states.
unsafe extern "C" fn read(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    let size = usize::try_from(size).unwrap_or(0).min(BUFFER);
    // SAFETY: FFmpeg hands back the pointer that it was given.
    let reader = unsafe { &mut *opaque.cast::<Reader>() };
    loop {
        // Not through `Read`: FFmpeg's buffer may hold nothing yet, or, at the end of the file, what it still needs.
        // SAFETY: the buffer has room for `size` bytes.
        match unsafe { libc::read(reader.file.as_raw_fd(), buffer.cast(), size) } {
            0 => return ffi::AVERROR_EOF,
            n if n > 0 => return n as c_int,
            _ => match std::io::Error::last_os_error() {
                e if e.kind() == ErrorKind::Interrupted => {}
                e => return reader.failed(e),
            },
        }
    }
}

unsafe extern "C" fn seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: FFmpeg hands back the pointer that it was given.
    let reader = unsafe { &mut *opaque.cast::<Reader>() };
    let position = match whence & !(ffi::AVSEEK_FORCE as c_int) {
        libc::SEEK_SET => u64::try_from(offset).ok().map(SeekFrom::Start),
        libc::SEEK_CUR => Some(SeekFrom::Current(offset)),
        libc::SEEK_END => Some(SeekFrom::End(offset)),
        whence if whence == ffi::AVSEEK_SIZE as c_int => {
            return reader.file.metadata().map_or_else(|e| reader.failed(e).into(), |m| m.len() as i64);
        }
        _ => None,
    };
    match position.map(|p| reader.file.seek(p)) {
        Some(Ok(at)) => at as i64,
        // Damaged files ask for places before their beginning; that is no error of the file's.
        Some(Err(_)) | None => -i64::from(ffi::EINVAL),
    }
}
