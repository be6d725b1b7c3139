//! What a video is read from, and the guard against everything that the caller did not name.

use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io::{Cursor, SeekFrom};
use std::os::raw::{c_int, c_void};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;

use ffmpeg_next as ffmpeg;

use ffmpeg::ffi;
use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::media::Type;
use ffmpeg::Dictionary;

use super::io::{Io, Media};
use crate::error::{Error, Result, Status};
use crate::options::VideoOptions;
use crate::runtime::Call;

/// What a video is read from.
pub enum Source<'a> {
    /// A local file, or a URL where [`VideoOptions::allow_network`] says so.
    Path(&'a Path),
    /// A whole file in memory.
    Memory(&'a [u8]),
    /// Whatever gives bytes.
    Media(Box<dyn Media + 'a>),
}

impl Source<'_> {
    /// Whether reading may wait for somebody else, however long.
    pub(super) fn stalls(&self, options: &VideoOptions) -> bool {
        match self {
            Source::Path(path) => options.allow_network && is_network(path),
            Source::Memory(_) => false,
            Source::Media(_) => true,
        }
    }
}

/// An open container.
pub(super) struct Opened<'a> {
    // Closed before what it reads from.
    pub input: Input,
    /// None for URLs, which FFmpeg reads itself.
    pub io: Option<Io<'a>>,
    /// The call's limits where FFmpeg asks for them; a context keeps its address.
    interrupt: Box<Call>,
    /// What messages call it.
    pub name: String,
    pub stream: usize,
    /// Pixels of each stream's frames, as the container states them.
    stated: Vec<u64>,
}

/// What FFmpeg may use to open a URL and what a playlist names there: nothing local.
const NETWORK: &str = "http,https,httpproxy,tcp,tls,udp,rtp,srtp,rtsp,rtsps,crypto,hls";

/// A server that sends nothing for so long is given up, whatever the call's deadline.
const SILENCE_US: &str = "30000000";

impl<'a> Opened<'a> {
    /// Opens the source and chooses the stream.
    pub(super) fn new(source: Source<'a>, options: &VideoOptions, call: &Call) -> Result<Self> {
        call.check()?;
        let (media, name): (Box<dyn Media + 'a>, String) = match source {
            Source::Path(path) if options.allow_network && is_network(path) => return Self::url(path, options, call),
            Source::Path(path) => (Box::new(open_file(path)?), path.display().to_string()),
            Source::Memory(bytes) => (Box::new(Cursor::new(bytes)), "the data in memory".into()),
            Source::Media(media) => (media, "the data read".into()),
        };
        Self::media(media, name, options, call)
    }

    fn media(media: Box<dyn Media + 'a>, name: String, options: &VideoOptions, call: &Call) -> Result<Self> {
        let io = Io::new(media, call)?;
        let interrupt = Box::new(call.clone());
        // The file itself is read through `io`; whatever else a playlist or a container wants to open is refused.
        let formats = formats(&[]);
        let settings = Dictionary::from_iter([("protocol_whitelist", "none"), ("format_whitelist", &formats)]);
        // Only its ending matters, as a hint.
        let ending = name.rsplit('/').next().unwrap_or_default().replace('\0', "");
        match open_input(&ending, Some(&io), &interrupt, settings, options.max_pixels) {
            Ok((input, stated)) => {
                let opened = Opened { input, io: Some(io), interrupt, name, stream: 0, stated };
                match opened.io_error() {
                    Some(error) => Err(error),
                    None => opened.choose(options),
                }
            }
            Err(e) => {
                call.check()?;
                Err(match (e, io.error()) {
                    (_, Some(error)) => cannot_read(&name, &error),
                    (e, _) if is_out_of_memory(&e) => out_of_memory(),
                    (e, None) => open_error(&name, io.head(), e),
                })
            }
        }
    }

    fn url(path: &Path, options: &VideoOptions, call: &Call) -> Result<Self> {
        let name = path.to_string_lossy().into_owned();
        // FFmpeg knows schemes in lower case only.
        let name = match name.split_once("://") {
            Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
            None => name,
        };
        let interrupt = Box::new(call.clone());
        let formats = formats(&["hls", "rtsp", "sdp", "rtp"]);
        let mut settings = Dictionary::from_iter([("protocol_whitelist", NETWORK), ("format_whitelist", &formats)]);
        // RTSP's own option is of another name.
        settings.set(if name.starts_with("rtsp") { "timeout" } else { "rw_timeout" }, SILENCE_US);
        match open_input(&name, None, &interrupt, settings, options.max_pixels) {
            Ok((input, stated)) => Opened { input, io: None, interrupt, name, stream: 0, stated }.choose(options),
            Err(e) => {
                call.check()?;
                Err(url_error(&name, e))
            }
        }
    }

    /// Opens the same once more and begins at its beginning.
    ///
    /// # Errors
    /// As the first time; `Unsupported` where it cannot be read twice.
    pub(super) fn reopen(self, options: &VideoOptions) -> Result<Self> {
        let Opened { input, io, interrupt, name, .. } = self;
        drop(input);
        let Some(io) = io else { return Self::url(Path::new(&name), options, &interrupt) };
        let mut media = io.into_media();
        media.seek(SeekFrom::Start(0)).map_err(|e| cannot_read(&name, &e))?;
        Self::media(media, name, options, &interrupt)
    }

    /// The call's limits.
    pub(super) fn call(&self) -> &Call {
        &self.interrupt
    }

    /// Whether packets can be read once more.
    pub(super) fn is_seekable(&self) -> bool {
        match &self.io {
            Some(io) => io.is_seekable(),
            None => {
                // SAFETY: public fields of an open context; RTSP has no `pb`.
                unsafe {
                    let context = self.input.as_ptr();
                    let unseekable = (*context).ctx_flags & ffi::AVFMTCTX_UNSEEKABLE as c_int != 0;
                    // HLS reads its segments through contexts of its own.
                    let bytes = (*context).pb.is_null() || (*(*context).pb).seekable != 0;
                    !unseekable && bytes && (*context).duration != ffi::AV_NOPTS_VALUE
                }
            }
        }
    }

    /// Whether the end of the connection is the only end that there is.
    pub(super) fn is_of_unknown_length(&self) -> bool {
        // SAFETY: an open context, whose `pb` is null or valid.
        unsafe {
            let pb = (*self.input.as_ptr()).pb;
            self.io.is_none() && !pb.is_null() && ffi::avio_size(pb) < 0
        }
    }

    /// What ended the reading, if that was not the end: the call's limits, or the media itself.
    pub(super) fn io_error(&self) -> Option<Error> {
        if let Err(error) = self.interrupt.check() {
            return Some(error);
        }
        self.io.as_ref()?.error().map(|e| cannot_read(&self.name, &e))
    }

    fn choose(mut self, options: &VideoOptions) -> Result<Self> {
        self.stream = choose_stream(&self.input, options, &self.name)?;
        self.check_size(options)?;
        for index in 0..self.input.nb_streams() as usize {
            if index != self.stream {
                if let Some(mut other) = self.input.stream_mut(index) {
                    // SAFETY: `discard` is a public field that the user sets before reading packets.
                    unsafe { (*other.as_mut_ptr()).discard = ffi::AVDiscard::AVDISCARD_ALL };
                }
            }
        }
        Ok(self)
    }

    fn check_size(&self, options: &VideoOptions) -> Result<()> {
        let stated = self.stated.get(self.stream).copied().unwrap_or(0);
        let pixels = pixels(&self.stream()?).max(stated);
        if pixels > options.max_pixels {
            return Err(Error::new(
                Status::Limit,
                format_args!("video: {pixels} pixels a frame are more than max_pixels ({})", options.max_pixels),
            ));
        }
        Ok(())
    }

    /// The chosen stream.
    pub(super) fn stream(&self) -> Result<ffmpeg::format::stream::Stream<'_>> {
        self.input.stream(self.stream).ok_or_else(|| Error::internal("the chosen video stream is gone"))
    }
}

/// Of a frame of the stream, as far as that is known.
fn pixels(stream: &ffmpeg::format::stream::Stream) -> u64 {
    // SAFETY: the parameters of a stream of an open input, which are only read.
    let (width, height) = unsafe {
        let parameters = (*stream.as_ptr()).codecpar;
        ((*parameters).width, (*parameters).height)
    };
    u64::from(width.unsigned_abs()) * u64::from(height.unsigned_abs())
}

unsafe extern "C" fn interrupted(call: *mut c_void) -> c_int {
    // SAFETY: FFmpeg hands back the pointer that it was given, which outlives the context.
    unsafe { &*call.cast::<Call>() }.check().is_err().into()
}

/// Opens the container that `io` reads, or else what the URL names, and reads what it says of its streams.
fn open_input(
    url: &str,
    io: Option<&Io>,
    interrupt: &Call,
    settings: Dictionary,
    max_pixels: u64,
) -> std::result::Result<(Input, Vec<u64>), ffmpeg::Error> {
    let url = CString::new(url).map_err(|_| ffmpeg::Error::InvalidData)?;
    // SAFETY: a fresh context with the reader and the interrupt that the caller keeps alive; avformat_open_input frees it
    // when it fails, and what it gave back of the settings is taken over again.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM });
        }
        (*context).interrupt_callback.callback = Some(interrupted);
        (*context).interrupt_callback.opaque = ptr::from_ref(interrupt).cast_mut().cast();
        if let Some(io) = io {
            (*context).pb = io.as_ptr();
            (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        }
        let mut settings = settings.disown();
        let opened = ffi::avformat_open_input(&mut context, url.as_ptr(), ptr::null(), &mut settings);
        drop(Dictionary::own(settings));
        if opened < 0 {
            return Err(ffmpeg::Error::from(opened));
        }
        // Closes the context from here on.
        let mut input = Input::wrap(context);
        // Probing forgets a size that it is not allowed.
        let stated = (0..input.nb_streams() as usize).map(|i| input.stream(i).map_or(0, |s| pixels(&s))).collect();
        match find_stream_info(&mut input, max_pixels) {
            e if e < 0 => Err(ffmpeg::Error::from(e)),
            _ => Ok((input, stated)),
        }
    }
}

/// Reads what the container says of its streams, and where that is too little, decodes some of them, within the bound.
///
/// # Safety
/// `input` must be an open context.
unsafe fn find_stream_info(input: &mut Input, max_pixels: u64) -> c_int {
    let streams = input.nb_streams() as usize;
    let pixels = i64::try_from(max_pixels).unwrap_or(i64::MAX).to_string();
    let bound = || Dictionary::from_iter([("max_pixels", pixels.as_str())]);
    // SAFETY: as many dictionaries as there are streams now, each taken back afterwards.
    unsafe {
        let mut bounds: Vec<*mut ffi::AVDictionary> = (0..streams).map(|_| bound().disown()).collect();
        let found = ffi::avformat_find_stream_info(input.as_mut_ptr(), bounds.as_mut_ptr());
        bounds.into_iter().for_each(|bound| drop(Dictionary::own(bound)));
        found
    }
}

/// Every container but lists of other files, which are never opened from here, and text that FFmpeg draws as pictures.
fn formats(but: &[&str]) -> String {
    const OTHERS: [&str; 16] = [
        "hls",
        "dash",
        "imf",
        "concat",
        "webm_dash_manifest",
        "sdp",
        "rtsp",
        "rtp",
        "sap",
        "tty",
        "xbin",
        "bin",
        "adf",
        "idf",
        "image2",
        "rawvideo",
    ];
    let mut names = Vec::new();
    let mut state = ptr::null_mut();
    loop {
        // SAFETY: FFmpeg's list of containers, whose members are constant.
        let name = unsafe {
            match ffi::av_demuxer_iterate(&mut state).as_ref() {
                Some(format) => CStr::from_ptr(format.name),
                None => break,
            }
        };
        let name = name.to_string_lossy();
        let refused = |n: &str| OTHERS.contains(&n) && !but.contains(&n);
        if !name.split(',').any(refused) {
            names.push(name.into_owned());
        }
    }
    names.join(",")
}

fn cannot_read(name: &str, what: &dyn std::fmt::Display) -> Error {
    Error::new(Status::MediaIo, format_args!("video: cannot read `{name}`: {what}"))
}

/// Whether memory is short indeed. FFmpeg says so, too, of damaged files, whose sizes no allocator gives.
pub(super) fn is_out_of_memory(error: &ffmpeg::Error) -> bool {
    /// More than decoding a frame of usual size takes.
    const SOME: usize = 64 << 20;
    matches!(error, ffmpeg::Error::Other { errno: ffmpeg::error::ENOMEM }) && {
        // SAFETY: memory that is freed at once, or null.
        unsafe {
            let some = ffi::av_malloc(SOME);
            ffi::av_free(some);
            some.is_null()
        }
    }
}

pub(super) fn out_of_memory() -> Error {
    Error::new(Status::OutOfMemory, "video: no memory to decode it")
}

fn open_file(path: &Path) -> Result<File> {
    let fail = |what: &dyn std::fmt::Display| cannot_read(&path.to_string_lossy(), what);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(_) if is_network(path) => {
            return Err(Error::new(
                Status::Forbidden,
                format_args!("video: `{}` is a URL; C4C_ALLOW_NETWORK lets it be opened", path.display()),
            ))
        }
        Err(_) if is_url(path) => {
            return Err(Error::new(
                Status::Forbidden,
                format_args!("video: `{}` is a URL of a kind that is never opened", path.display()),
            ))
        }
        Err(e) => return Err(fail(&e)),
    };
    // Before opening: a named pipe without a writer would block.
    if !metadata.is_file() {
        return Err(fail(&if metadata.is_dir() { "it is a folder" } else { "it is no regular file" }));
    }
    // Nor may it have become one by now.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|e| fail(&e))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(fail(&"it is no regular file")),
        Err(e) => Err(fail(&e)),
    }
}

/// Whether this is a URL of a kind that may be opened if the caller allows the network.
fn is_network(path: &Path) -> bool {
    let text = path.to_string_lossy().to_ascii_lowercase();
    ["http://", "https://", "rtsp://", "rtsps://"].iter().any(|scheme| text.starts_with(scheme))
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

fn choose_stream(input: &Input, options: &VideoOptions, name: &str) -> Result<usize> {
    let none = |what: std::fmt::Arguments| Error::new(Status::NoVideo, format_args!("video: `{name}` {what}"));
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

fn open_error(name: &str, head: &[u8], error: ffmpeg::Error) -> Error {
    if names_other_files(head) {
        return Error::new(
            Status::Forbidden,
            format_args!("video: `{name}` is a playlist that names other files, which are not opened"),
        );
    }
    Error::new(Status::MediaFormat, format_args!("video: `{name}` is no media file that can be read: {error}"))
}

fn url_error(name: &str, error: ffmpeg::Error) -> Error {
    let status = match error {
        ffmpeg::Error::InvalidData | ffmpeg::Error::DemuxerNotFound => Status::MediaFormat,
        // What the list of allowed protocols refuses.
        ffmpeg::Error::ProtocolNotFound
        | ffmpeg::Error::Other { errno: ffmpeg::error::EINVAL | ffmpeg::error::EPERM } => Status::Forbidden,
        e if is_out_of_memory(&e) => return out_of_memory(),
        _ => Status::MediaIo,
    };
    let hint = match status {
        Status::MediaFormat => ", or a playlist of what is not to be had or never opened",
        Status::Forbidden => ", or it leads to what is never opened",
        _ => "",
    };
    Error::new(status, format_args!("video: cannot open `{name}`: {error}{hint}"))
}

/// Whether the file is a playlist (HLS, DASH, FFmpeg's concat), by its first bytes.
fn names_other_files(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    text.starts_with("#EXTM3U") || text.starts_with("ffconcat") || text.contains("<MPD")
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
        assert!(is_network(Path::new("HTTPS://host/a")) && !is_network(Path::new("ftp://host/a")));
    }
}
