//! An opened media file: the guard against everything but plain files, the choice of the stream, packets.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::packet::Flags;
use ffmpeg::format::context::{Input, StreamIo};
use ffmpeg::format::stream::Disposition;
use ffmpeg::media::Type;
use ffmpeg::{Dictionary, Packet};

use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;

/// Reading in pieces of this size costs few calls for high bit rates and little memory for low ones.
const BUFFER: usize = 256 * 1024;

/// An open file and the video stream chosen in it.
pub(super) struct Source {
    input: Input,
    stream: usize,
}

impl Source {
    /// Opens the file at `path` and chooses the stream.
    pub(super) fn open(path: &Path, options: &VideoOptions) -> Result<Self> {
        let file = open_file(path)?;
        let refused = |e: ffmpeg::Error| open_error(path, e);
        let io = StreamIo::from_read_seek_with_capacity(file, BUFFER).map_err(refused)?;
        let mut limits = Dictionary::new();
        // The file itself is read through `io`; whatever else a playlist or a container wants to open is refused.
        limits.set("protocol_whitelist", "none");
        let name = path.file_name().map(|n| n.to_string_lossy());
        let input = ffmpeg::format::input_from_stream(io, name.as_deref(), Some(limits)).map_err(refused)?;
        let stream = choose_stream(&input, options, path)?;
        let mut source = Source { input, stream };
        source.check_size(options)?;
        source.ignore_other_streams();
        Ok(source)
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

fn open_file(path: &Path) -> Result<File> {
    let fail = |what: &dyn std::fmt::Display| {
        Error::new(Status::MediaIo, format_args!("video: cannot read `{}`: {what}", path.display()))
    };
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

/// Whether FFmpeg would take the text for a protocol and not for a path: a scheme of two characters or more, as in
/// `http://…`, `concat:…` or `subfile,,…`.
fn is_url(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let scheme = text.split([':', ',']).next().unwrap_or_default();
    scheme.len() > 1
        && scheme.len() < text.len()
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
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
        for path in ["a.mp4", "/tmp/a:b.mp4", "./a:b", "C:\\x.mp4", "dir/a,b.mp4", "a"] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
    }
}
