//! How FFmpeg reads a file: through callbacks, so that it opens nothing by itself.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::raw::{c_int, c_void};
use std::ptr;

use ffmpeg_next::ffi;

use super::source::out_of_memory;
use crate::error::Result;
use crate::runtime::{guarded, Call};

/// Reading in pieces of this size costs few calls for high bit rates and little memory for low ones.
const BUFFER: usize = 256 * 1024;

/// How much of its beginning is kept, to tell what it is.
const HEAD: usize = 1024;

/// Bytes of a media file: a file, memory, or whatever the host reads them from.
pub trait Media {
    /// Reads up to `buffer.len()` bytes; 0 at the end.
    ///
    /// # Errors
    /// Where the bytes cannot be had; the video cannot be read then.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Goes to another place and tells which.
    ///
    /// # Errors
    /// For a place that does not exist: damaged files ask for such.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64>;

    /// Whether `seek` works.
    fn is_seekable(&self) -> bool {
        true
    }

    /// How many bytes there are, if that is known.
    fn size(&mut self) -> Option<u64>;
}

impl Media for std::fs::File {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        Seek::seek(self, to)
    }

    fn size(&mut self) -> Option<u64> {
        self.metadata().ok().map(|m| m.len())
    }
}

impl Media for io::Cursor<&[u8]> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        Seek::seek(self, to)
    }

    fn size(&mut self) -> Option<u64> {
        Some(self.get_ref().len() as u64)
    }
}

/// Media as FFmpeg sees it. Must outlive the context that reads it.
pub(super) struct Io<'a> {
    context: *mut ffi::AVIOContext,
    reader: *mut Reader<'a>,
}

struct Reader<'a> {
    media: Box<dyn Media + 'a>,
    /// What the media gave last: FFmpeg's own buffer may hold nothing yet, or, at the end, what it still needs.
    buffer: Vec<u8>,
    call: Call,
    /// How the media begins.
    head: Vec<u8>,
    /// The first error of the media itself, which FFmpeg does not tell from the end of a damaged one.
    error: Option<io::Error>,
}

impl<'a> Io<'a> {
    pub(super) fn new(media: Box<dyn Media + 'a>, call: &Call) -> Result<Self> {
        let seekable = media.is_seekable();
        let reader = Reader { media, buffer: vec![0; BUFFER], call: call.clone(), head: Vec::new(), error: None };
        let reader = Box::into_raw(Box::new(reader));
        // SAFETY: the buffer is FFmpeg's own as it must be, the callbacks match their types, and `reader` lives until
        // `drop`, after the context.
        let context = unsafe {
            let mut buffer: *mut u8 = ffi::av_malloc(BUFFER).cast();
            let seek: Option<unsafe extern "C" fn(*mut c_void, i64, c_int) -> i64> =
                if seekable { Some(seek) } else { None };
            let context = match buffer.is_null() {
                true => ptr::null_mut(),
                false => ffi::avio_alloc_context(buffer, BUFFER as c_int, 0, reader.cast(), Some(read), None, seek),
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

    /// What went wrong with the media itself, if anything did.
    pub(super) fn error(&self) -> Option<String> {
        // SAFETY: lives until `drop`; FFmpeg's callbacks run only within calls of the thread that holds this value.
        unsafe { (*self.reader).error.as_ref() }.map(io::Error::to_string)
    }

    /// The first bytes, as far as they have been read.
    pub(super) fn head(&self) -> &[u8] {
        // SAFETY: as in `error`.
        unsafe { &(*self.reader).head }
    }

    pub(super) fn is_seekable(&self) -> bool {
        // SAFETY: as in `error`.
        unsafe { (*self.reader).media.is_seekable() }
    }

    /// Takes the media back, to open it once more from its beginning.
    pub(super) fn into_media(self) -> Box<dyn Media + 'a> {
        // SAFETY: as in `error`; nothing reads through `self` any more.
        unsafe { std::mem::replace(&mut (*self.reader).media, Box::new(io::Cursor::new(&[][..]))) }
    }
}

impl Drop for Io<'_> {
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

impl Reader<'_> {
    fn failed(&mut self, error: io::Error) -> c_int {
        self.error.get_or_insert(error);
        -ffi::EIO
    }
}

/// May read less than was asked for: a damaged file asks for whatever sizes it states.
unsafe extern "C" fn read(opaque: *mut c_void, out: *mut u8, size: c_int) -> c_int {
    let size = usize::try_from(size).unwrap_or(0).min(BUFFER);
    // SAFETY: FFmpeg hands back the pointer that it was given.
    let reader = unsafe { &mut *opaque.cast::<Reader>() };
    loop {
        if reader.call.check().is_err() {
            return ffi::AVERROR_EXIT;
        }
        // Some containers go on behind bytes that they did not get, as if they were damaged.
        if reader.error.is_some() {
            return -ffi::EIO;
        }
        // A panic must not cross FFmpeg's frames.
        let (media, buffer) = (&mut reader.media, &mut reader.buffer[..size]);
        match guarded(|| Ok(media.read(buffer))).unwrap_or_else(|e| Err(io::Error::other(e))) {
            Ok(0) => return ffi::AVERROR_EOF,
            Ok(n) => {
                let n = n.min(size);
                if reader.head.is_empty() {
                    reader.head.extend_from_slice(&reader.buffer[..n.min(HEAD)]);
                }
                // SAFETY: FFmpeg's buffer has room for `size` bytes and is not ours.
                unsafe { ptr::copy_nonoverlapping(reader.buffer.as_ptr(), out, n) };
                return n as c_int;
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return reader.failed(e),
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
            return reader.media.size().and_then(|n| i64::try_from(n).ok()).unwrap_or(-i64::from(ffi::ENOSYS));
        }
        _ => None,
    };
    let Some(position) = position else { return -i64::from(ffi::EINVAL) };
    let media = &mut reader.media;
    let sought = guarded(|| {
        let sought = media.seek(position);
        // Damaged files ask for places that they do not have; only where there is one has the media failed.
        let inside =
            matches!((&sought, position), (Err(_), SeekFrom::Start(at)) if media.size().is_some_and(|n| at <= n));
        Ok((sought, inside))
    });
    match sought.unwrap_or_else(|e| (Err(io::Error::other(e)), true)) {
        (Ok(at), _) => at as i64,
        (Err(e), true) => reader.failed(e).into(),
        (Err(_), false) => -i64::from(ffi::EINVAL),
    }
}
