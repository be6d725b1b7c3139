//! An opened media file: the guard against everything but plain files, the choice of the stream, packets.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::ptr;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::packet::Flags;
use ffmpeg::ffi;
use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::media::Type;
use ffmpeg::{Dictionary, Packet};

use super::io::Io;

use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;

/// An open file and the video stream chosen in it.
pub(super) struct Source {
    // Closed before what it reads from.
    input: Input,
    io: Io,
    stream: usize,
}

impl Source {
    /// Opens the file at `path` and chooses the stream.
    pub(super) fn open(path: &Path, options: &VideoOptions) -> Result<Self> {
        let io = Io::new(open_file(path)?)?;
        let input = open_input(&io, path).map_err(|e| match (e, io.error()) {
            (_, Some(error)) => cannot_read(path, &error),
            (ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM }, _) => out_of_memory(),
            (e, None) => open_error(path, e),
        })?;
        let stream = choose_stream(&input, options, path)?;
        let mut source = Source { input, io, stream };
        source.check_size(options)?;
        source.ignore_other_streams();
        Ok(source)
    }

    /// The error of the file itself that ended the reading, if that was one.
    pub(super) fn io_error(&self) -> Option<Error> {
        self.io.error().map(|e| Error::new(Status::MediaIo, format_args!("video: cannot read the file: {e}")))
    }

    fn check_size(&self, options: &VideoOptions) -> Result<()> {
        // SAFETY: the parameters belong to a stream of the open input and are only read.
        let (width, height) = unsafe {
            let parameters = (*self.stream()?.as_ptr()).codecpar;
            ((*parameters).width, (*parameters).height)
        };
        let pixels = u64::from(width.unsigned_abs()) * u64::from(height.unsigned_abs());
        if pixels > options.max_pixels {
            return Err(Error::new(
                Status::Limit,
                format_args!("video: {width}x{height} pixels are more than max_pixels ({})", options.max_pixels),
            ));
        }
        Ok(())
    }

    fn ignore_other_streams(&mut self) {
        for index in 0..self.input.nb_streams() as usize {
            if index != self.stream {
                if let Some(mut other) = self.input.stream_mut(index) {
                    // SAFETY: `discard` is a public field that the user sets before reading packets.
                    unsafe { (*other.as_mut_ptr()).discard = ffmpeg::ffi::AVDiscard::AVDISCARD_ALL };
                }
            }
        }
    }

    /// The chosen stream.
    pub(super) fn stream(&self) -> Result<ffmpeg::format::stream::Stream<'_>> {
        self.input.stream(self.stream).ok_or_else(|| Error::internal("the chosen video stream is gone"))
    }

    /// The next packet of the chosen stream; None at the end.
    ///
    /// # Errors
    /// `Decode` where the container is broken and nothing more can be read.
    pub(super) fn read(&mut self, packet: &mut Packet) -> Result<bool> {
        loop {
            // av_read_frame overwrites a packet without releasing what it held.
            *packet = Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.stream => return Ok(true),
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return Ok(false),
                Err(ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM }) => return Err(out_of_memory()),
                Err(e) => return Err(Error::new(Status::Decode, format_args!("video: the container is damaged: {e}"))),
            }
        }
    }

    /// How many frames the container promises: its own count, else the number of its packets. Leaves the source at an
    /// unspecified place.
    pub(super) fn expected_frames(mut self) -> Result<u64> {
        if let Ok(n @ 1..) = u64::try_from(self.stream()?.frames()) {
            return Ok(n);
        }
        let mut packet = Packet::empty();
        let mut count = 0;
        while let Ok(true) = self.read(&mut packet) {
            // Packets that only prepare the decoder, before an edit list's first frame.
            if !packet.flags().contains(Flags::from_bits_retain(ffmpeg::ffi::AV_PKT_FLAG_DISCARD)) {
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Opens the container that `io` reads, and reads what it says of its streams.
fn open_input(io: &Io, path: &Path) -> std::result::Result<Input, ffmpeg::Error> {
    let name = path.file_name().map(|n| n.to_string_lossy().replace('\0', ""));
    let name = CString::new(name.unwrap_or_default()).unwrap_or_default();
    let mut limits = Dictionary::new();
    // The file itself is read through `io`; whatever else a playlist or a container wants to open is refused.
    limits.set("protocol_whitelist", "none");
    // SAFETY: a fresh context with the reader that the caller keeps alive; avformat_open_input frees it when it fails,
    // and what it gave back of the options is taken over again.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM });
        }
        (*context).pb = io.as_ptr();
        (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        let mut options = limits.disown();
        let opened = ffi::avformat_open_input(&mut context, name.as_ptr(), ptr::null(), &mut options);
        drop(Dictionary::own(options));
        if opened < 0 {
            return Err(ffmpeg::Error::from(opened));
        }
        // Closes the context from here on.
        let mut input = Input::wrap(context);
        match ffi::avformat_find_stream_info(input.as_mut_ptr(), ptr::null_mut()) {
            e if e < 0 => Err(ffmpeg::Error::from(e)),
            _ => Ok(input),
        }
    }
}

fn cannot_read(path: &Path, what: &dyn std::fmt::Display) -> Error {
    Error::new(Status::MediaIo, format_args!("video: cannot read `{}`: {what}", path.display()))
}

pub(super) fn out_of_memory() -> Error {
    Error::new(Status::OutOfMemory, "video: no memory to decode it")
}

fn open_file(path: &Path) -> Result<File> {
    let fail = |what: &dyn std::fmt::Display| cannot_read(path, what);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if is_url(path) => {
            return Err(Error::new(
                Status::Forbidden,
                format_args!("video: `{}` is a URL; only paths of local files are opened", path.display()),
            ))
        }
        Err(e) => return Err(fail(&e)),
    };
    // Before opening: a named pipe without a writer would block.
    if !metadata.is_file() {
        return Err(fail(&if metadata.is_dir() { "it is a folder" } else { "it is no regular file" }));
    }
    File::open(path).map_err(|e| fail(&e))
}

/// Whether the text looks like a URL or one of FFmpeg's protocols that work on local files or streams, and not like a path.
fn is_url(path: &Path) -> bool {
    const LOCAL: [&str; 12] =
        ["async", "cache", "concat", "concatf", "crypto", "data", "fd", "file", "hls", "md5", "pipe", "unix"];
    let text = path.to_string_lossy();
    let scheme = text.split(':').next().unwrap_or_default();
    text.starts_with("subfile,")
        || text[scheme.len()..].starts_with("://")
        || (LOCAL.contains(&scheme) && scheme.len() < text.len())
}

fn choose_stream(input: &Input, options: &VideoOptions, path: &Path) -> Result<usize> {
    let none =
        |what: std::fmt::Arguments| Error::new(Status::NoVideo, format_args!("video: `{}` {what}", path.display()));
    match options.stream_index {
        Some(index) => match input.stream(index) {
            Some(stream) if stream.parameters().medium() == Type::Video => Ok(index),
            Some(_) => Err(none(format_args!("has no video in stream {index}"))),
            None => Err(none(format_args!("has {} streams, so no stream {index}", input.nb_streams()))),
        },
        None => match input.streams().best(Type::Video) {
            Some(stream) if !stream.disposition().contains(Disposition::ATTACHED_PIC) => Ok(stream.index()),
            Some(_) => Err(none(format_args!("has a cover picture but no video stream"))),
            None => Err(none(format_args!("has no video stream"))),
        },
    }
}

fn open_error(path: &Path, error: ffmpeg::Error) -> Error {
    if names_other_files(path) {
        return Error::new(
            Status::Forbidden,
            format_args!("video: `{}` is a playlist that names other files, which are not opened", path.display()),
        );
    }
    Error::new(
        Status::MediaFormat,
        format_args!("video: `{}` is no media file that can be read: {error}", path.display()),
    )
}

/// Whether the file is a playlist (HLS, DASH, FFmpeg's concat), by its first bytes.
fn names_other_files(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|f| f.take(1024).read_to_end(&mut head));
    let text = String::from_utf8_lossy(&head);
    read.is_ok() && (text.starts_with("#EXTM3U") || text.starts_with("ffconcat") || text.contains("<MPD"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_not_paths() {
        for url in ["http://host/a.mp4", "concat:a|b", "subfile,,start,0,end,0,,:a", "file:a", "pipe:0"] {
            assert!(is_url(Path::new(url)), "{url}");
        }
        for path in [
            "a.mp4",
            "/tmp/a:b.mp4",
            "./a:b",
            "C:\\x.mp4",
            "dir/a,b.mp4",
            "a",
            "file",
            "my.clip:1.mp4",
            "holiday,2024.mp4",
        ] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
    }
}
