//! The calls that embed videos.

use std::io::{self, SeekFrom};
use std::os::raw::{c_char, c_void};
use std::path::Path;

use ndarray::Array1;

use super::model::{at_most, c4c_model, embedding, embedding_with};
use super::read::{self, Output};
use super::structs::{c4c_call, c4c_error, c4c_io, c4c_video_options};
use super::types::{c4c_progress_fn, c4c_status, c4c_video_flag, C4C_SEEK_SIZE};
use crate::error::{Error, Result};
use crate::options::{Color, HwAccel, Sampling, Seek, VideoOptions};
use crate::video::{Media, Source};

/// Embeds a video file.
///
/// @param model    not NULL
/// @param path     a local file, UTF-8. With C4C_ALLOW_NETWORK also an http, https or rtsp URL
/// @param video    how to sample and decode it, or NULL for 12 frames as the operator takes them
/// @param call     limits of the call, or NULL. They reach every wait for the network
/// @param out      receives `c4c_dim(model)` floats of unit length; untouched on error
/// @param out_len  floats that `out` has room for
/// @param err      filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT, also for a `start_us` behind the video's end; C4C_E_BUFFER_TOO_SMALL;
///         C4C_E_UNSUPPORTED; C4C_E_MODALITY on a model without vision tower; C4C_E_MEDIA_IO, C4C_E_MEDIA_FORMAT,
///         C4C_E_NO_VIDEO, C4C_E_LIMIT, C4C_E_FORBIDDEN; C4C_E_DECODE with C4C_STRICT_DECODE; C4C_E_DEVICE with `hwaccel`;
///         C4C_E_CANCELLED, C4C_E_TIMEOUT
///
/// The first such call in a process gives FFmpeg a log callback, which drops the messages about this library's own work
/// (and, while it decodes on several threads, those that do not tell whose they are) and hands all others to
/// av_log_default_callback. A host with a callback of its own sets it after that call.
///
/// Thread-safety: any number of threads may call this on one model. The file is read on the calling thread and decoded on
/// threads that end with the call.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_video_path(
    model: *const c4c_model,
    path: *const c_char,
    video: *const c4c_video_options,
    call: *const c4c_call,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    embedding(model, err, |model| {
        let path = read::required_text(path, "path")?;
        let video = video_options(video)?;
        let call = read::call(call)?;
        let out = Output::new(out, out_len, 1, model.dim())?;
        write(out, model.embed_video(Source::Path(Path::new(path)), &video, &call)?)
    })
}

/// Embeds a video file that is in memory as a whole.
///
/// @param model    not NULL
/// @param data     the file's bytes; borrowed for the call
/// @param size     at least 1
/// @param video    as c4c_embed_video_path
/// @param call     limits of the call, or NULL
/// @param out      receives `c4c_dim(model)` floats of unit length; untouched on error
/// @param out_len  floats that `out` has room for
/// @param err      filled on failure; may be NULL
/// @return as c4c_embed_video_path
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_video_memory(
    model: *const c4c_model,
    data: *const c_void,
    size: usize,
    video: *const c4c_video_options,
    call: *const c4c_call,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    embedding(model, err, |model| {
        let data = read::array(data.cast::<u8>(), size, "data", "size")?;
        let video = video_options(video)?;
        let call = read::call(call)?;
        let out = Output::new(out, out_len, 1, model.dim())?;
        write(out, model.embed_video(Source::Memory(data), &video, &call)?)
    })
}

/// Embeds a video that the host reads.
///
/// A source without `seek` is read once, and its packets are kept in memory: at most 256 MiB, else C4C_E_LIMIT. An MP4 file
/// whose index is at its end cannot be read so.
///
/// @param model    not NULL
/// @param io       not NULL; where the bytes come from
/// @param video    as c4c_embed_video_path
/// @param call     limits of the call, or NULL. They are looked at between two calls of `read`
/// @param out      receives `c4c_dim(model)` floats of unit length; untouched on error
/// @param out_len  floats that `out` has room for
/// @param err      filled on failure; may be NULL
/// @return as c4c_embed_video_path; C4C_E_MEDIA_IO when `read` failed
///
/// Thread-safety: any number of threads may call this on one model. The functions of `io` are called on the calling thread.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_video_io(
    model: *const c4c_model,
    io: *const c4c_io,
    video: *const c4c_video_options,
    call: *const c4c_call,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    embedding(model, err, |model| {
        let media = Host::new(read::struct_at(io, "io")?)?;
        let video = video_options(video)?;
        let call = read::call(call)?;
        let out = Output::new(out, out_len, 1, model.dim())?;
        write(out, model.embed_video(Source::Media(Box::new(media)), &video, &call)?)
    })
}

/// Embeds many video files: several are decoded at once, while the model works on others.
///
/// A file that cannot be embedded costs its own row only, which stays untouched; `statuses` tells which and why, and the
/// message in `err` what was wrong with the first of them although the call as such succeeds.
///
/// @param model               not NULL
/// @param paths               `n_paths` files as c4c_embed_video_path takes them
/// @param n_paths             at least 1
/// @param video               as c4c_embed_video_path, for all of them
/// @param call                limits of the call as a whole, or NULL
/// @param progress            told after each file how many are done, on the calling thread; may be NULL
/// @param progress_user_data  handed to `progress`
/// @param out                 receives `n_paths` rows of `c4c_dim(model)` floats; untouched on error
/// @param out_len             floats that `out` has room for
/// @param statuses            receives `n_paths` results; untouched on error. NULL: the first file that fails is an error of
///                            the call
/// @param err                 filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT; C4C_E_BUFFER_TOO_SMALL; C4C_E_MODALITY; C4C_E_DEVICE with `hwaccel`;
///         C4C_E_CANCELLED, also when `progress` returned non-zero; C4C_E_TIMEOUT; a file's status where `statuses` is NULL
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_video_paths(
    model: *const c4c_model,
    paths: *const *const c_char,
    n_paths: usize,
    video: *const c4c_video_options,
    call: *const c4c_call,
    progress: c4c_progress_fn,
    progress_user_data: *mut c_void,
    out: *mut f32,
    out_len: usize,
    statuses: *mut c4c_status,
    err: *mut c4c_error,
) -> c4c_status {
    embedding_with(model, err, |model| {
        let paths = read::strings(paths, n_paths, "paths", "n_paths")?;
        let paths: Vec<&Path> = paths.into_iter().map(Path::new).collect();
        let video = video_options(video)?;
        let call = read::call(call)?;
        let dim = model.dim();
        let out = Output::new(out, out_len, n_paths, dim)?;
        if !statuses.is_aligned() {
            return Err(Error::invalid("statuses is not aligned"));
        }
        let mut progress = |done: usize| match progress {
            // SAFETY: the host's function with the host's argument, as the header describes it.
            Some(call) => unsafe { call(progress_user_data, done, n_paths) == 0 },
            None => true,
        };
        let rows = model.embed_video_paths(&paths, &video, &call, &mut progress)?;
        let failed = rows.iter().zip(&paths).find_map(|(row, path)| row.as_ref().err().map(|e| (e, path)));
        let message = failed.map(|(e, path)| {
            let n = rows.iter().filter(|row| row.is_err()).count();
            Error::new(e.status(), format_args!("{n} of {n_paths} files failed; the first, `{}`: {e}", path.display()))
        });
        match message {
            Some(error) if statuses.is_null() => return Err(error),
            _ => {}
        }
        for (i, row) in rows.iter().enumerate() {
            if let Ok(row) = row {
                out.write_row(i, dim, &row.to_vec())?;
            }
            if !statuses.is_null() {
                let status = row.as_ref().err().map_or(0, |e| e.status().code());
                // SAFETY: the header asks for room for `n_paths` numbers; the pointer has been checked.
                unsafe { statuses.add(i).write(status) };
            }
        }
        Ok(message.map(|e| e.message().to_string()))
    })
}

fn write(out: Output, vector: Array1<f32>) -> Result<()> {
    out.write(&vector.into_raw_vec_and_offset().0)
}

/// Media that the host reads.
struct Host(c4c_io);

impl Host {
    fn new(io: c4c_io) -> Result<Self> {
        read::reserved(io.reserved, "io")?;
        match io.read {
            Some(_) => Ok(Host(io)),
            None => Err(Error::invalid("io.read is NULL")),
        }
    }

    fn seek(&mut self, offset: i64, whence: i32) -> io::Result<u64> {
        let Some(seek) = self.0.seek else { return Err(io::ErrorKind::Unsupported.into()) };
        // SAFETY: the host's function with the host's argument, as the header describes it.
        let at = unsafe { seek(self.0.user_data, offset, whence) };
        u64::try_from(at).map_err(|_| io::Error::other(format!("io.seek returned {at}")))
    }
}

impl Media for Host {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(read) = self.0.read else { return Ok(0) };
        // SAFETY: the host's function with the host's argument, and a buffer of the stated size.
        let n = unsafe { read(self.0.user_data, buffer.as_mut_ptr(), buffer.len()) };
        match usize::try_from(n) {
            Ok(n) if n <= buffer.len() => Ok(n),
            Ok(n) => Err(io::Error::other(format!("io.read returned {n}, more than the {} asked for", buffer.len()))),
            Err(_) => Err(io::Error::other(format!("io.read returned {n}"))),
        }
    }

    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
        match to {
            SeekFrom::Start(at) => Host::seek(self, i64::try_from(at).map_err(too_far)?, libc::SEEK_SET),
            SeekFrom::Current(by) => Host::seek(self, by, libc::SEEK_CUR),
            SeekFrom::End(by) => Host::seek(self, by, libc::SEEK_END),
        }
    }

    fn is_seekable(&self) -> bool {
        self.0.seek.is_some()
    }

    fn size(&mut self) -> Option<u64> {
        Host::seek(self, 0, C4C_SEEK_SIZE).ok()
    }
}

/// Checks the fields in their order.
pub(super) fn video_options(video: *const c4c_video_options) -> Result<VideoOptions> {
    let video = read::struct_or_default(video, "video")?;
    let most = VideoOptions::MAX_FRAMES as u32;
    let num_frames = at_most(video.num_frames, most, "video.num_frames")?.unwrap_or(VideoOptions::DEFAULT_NUM_FRAMES);
    if video.sampling > 2 {
        return Err(Error::invalid(format_args!("video.sampling {} is unknown", video.sampling)));
    }
    let seek = match video.seek {
        0 => Seek::Exact,
        1 => Seek::Approximate,
        other => return Err(Error::invalid(format_args!("video.seek {other} is unknown"))),
    };
    let sampling = match (video.sampling, video.fps) {
        (0, 0.0) => Sampling::Uniform,
        (1, 0.0) => Sampling::KeyFrames,
        (2, fps) if fps > 0.0 && fps.is_finite() => Sampling::Fps(fps),
        (2, fps) => return Err(Error::invalid(format_args!("video.fps is {fps}, FPS sampling needs a positive rate"))),
        (_, fps) => return Err(Error::invalid(format_args!("video.fps is {fps}, it is for FPS sampling only"))),
    };
    for (value, name) in [(video.start_us, "start_us"), (video.end_us, "end_us")] {
        if value < 0 {
            return Err(Error::invalid(format_args!("video.{name} is {value}, it cannot be negative")));
        }
    }
    if video.end_us != 0 && video.end_us <= video.start_us {
        return Err(Error::invalid(format_args!(
            "video.end_us is {}, expected more than start_us, {}",
            video.end_us, video.start_us
        )));
    }
    let color = match video.color {
        0 => Color::Tagged,
        1 => Color::Operator,
        other => return Err(Error::invalid(format_args!("video.color {other} is unknown"))),
    };
    let hwaccel = match (video.hwaccel, video.hwaccel_device) {
        (0, 0) => None,
        (0, n) => {
            return Err(Error::invalid(format_args!("video.hwaccel_device is {n}, it is for C4C_HWACCEL_CUDA only")))
        }
        (1, n) => Some(HwAccel::Cuda(n as usize)),
        (other, _) => return Err(Error::invalid(format_args!("video.hwaccel {other} is unknown"))),
    };
    let has = |flag: c4c_video_flag| video.flags & flag as u32 != 0;
    let known =
        [c4c_video_flag::C4C_APPLY_ROTATION, c4c_video_flag::C4C_ALLOW_NETWORK, c4c_video_flag::C4C_STRICT_DECODE];
    if video.flags & !known.into_iter().fold(0, |bits, flag| bits | flag as u32) != 0 {
        return Err(Error::invalid(format_args!("video.flags {:#x} has unknown bits", video.flags)));
    }
    Ok(VideoOptions {
        num_frames,
        sampling,
        seek,
        start_us: video.start_us,
        end_us: (video.end_us != 0).then_some(video.end_us),
        color,
        apply_rotation: has(c4c_video_flag::C4C_APPLY_ROTATION),
        allow_network: has(c4c_video_flag::C4C_ALLOW_NETWORK),
        strict_decode: has(c4c_video_flag::C4C_STRICT_DECODE),
        decode_threads: at_most(video.decode_threads, 256, "video.decode_threads")?,
        stream_index: video.stream_index_plus_1.checked_sub(1).map(|i| i as usize),
        max_pixels: match video.max_pixels {
            0 => VideoOptions::DEFAULT_MAX_PIXELS,
            n => n,
        },
        hwaccel,
    })
}
