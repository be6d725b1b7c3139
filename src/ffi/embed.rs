//! The calls that embed.

use std::os::raw::c_char;
use std::path::Path;

use super::guard::guard;
use super::model::{at_most, c4c_model, enter};
use super::read::{self, Output};
use super::structs::{c4c_call, c4c_error, c4c_frame, c4c_video_options};
use super::types::{c4c_status, c4c_video_flag};
use crate::error::{Error, Result};
use crate::options::VideoOptions;

/// Embeds texts.
///
/// @param model    not NULL
/// @param texts    `n_texts` NUL-terminated UTF-8 strings; borrowed for the call. An empty text has a vector, too
/// @param n_texts  at least 1
/// @param call     limits of the call, or NULL
/// @param out      receives `n_texts` rows of `c4c_dim(model)` floats, each of unit length; untouched on error
/// @param out_len  floats that `out` has room for
/// @param err      filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT; C4C_E_BUFFER_TOO_SMALL; C4C_E_MODALITY on a model without text tower;
///         C4C_E_TEXT_TOO_LONG with C4C_STRICT_TEXT
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_text(
    model: *const c4c_model,
    texts: *const *const c_char,
    n_texts: usize,
    call: *const c4c_call,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    guard(err, || {
        let running = enter(model)?;
        let texts = read::texts(texts, n_texts)?;
        read::call(call)?;
        let out = Output::new(out, out_len, n_texts, running.model().dim())?;
        let vectors = running.model().embed_text(&texts)?;
        out.write(&vectors.into_raw_vec_and_offset().0)
    })
}

/// Embeds one video given as frames: a single vector for all of them.
///
/// @param model     not NULL
/// @param frames    `n_frames` frames in the order of time, of any sizes; borrowed for the call
/// @param n_frames  1 to 4096. CLIP4Clip's models are trained on 12; none is dropped and none is added
/// @param call      limits of the call, or NULL
/// @param out       receives `c4c_dim(model)` floats of unit length; untouched on error
/// @param out_len   floats that `out` has room for
/// @param err       filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT; C4C_E_BUFFER_TOO_SMALL; C4C_E_UNSUPPORTED naming the field;
///         C4C_E_MODALITY on a model without vision tower
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_frames(
    model: *const c4c_model,
    frames: *const c4c_frame,
    n_frames: usize,
    call: *const c4c_call,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    guard(err, || {
        let running = enter(model)?;
        let frames = read::clip(frames, n_frames)?;
        read::call(call)?;
        let out = Output::new(out, out_len, 1, running.model().dim())?;
        out.write(&running.model().embed_frames(&frames)?.into_raw_vec_and_offset().0)
    })
}

/// Embeds pictures: one vector for each.
///
/// @param model     not NULL
/// @param frames    `n_frames` pictures of any sizes; borrowed for the call
/// @param n_frames  at least 1
/// @param call      limits of the call, or NULL
/// @param out       receives `n_frames` rows of `c4c_dim(model)` floats, each of unit length; untouched on error
/// @param out_len   floats that `out` has room for
/// @param err       filled on failure; may be NULL
/// @return as c4c_embed_frames
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_images(
    model: *const c4c_model,
    frames: *const c4c_frame,
    n_frames: usize,
    call: *const c4c_call,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    guard(err, || {
        let running = enter(model)?;
        let frames = read::frames(frames, n_frames)?;
        read::call(call)?;
        let out = Output::new(out, out_len, n_frames, running.model().dim())?;
        let vectors = running.model().embed_images(&frames)?;
        out.write(&vectors.into_raw_vec_and_offset().0)
    })
}

/// Embeds a video file.
///
/// @param model    not NULL
/// @param path     a local file, UTF-8; never opened as a URL
/// @param video    how to sample and decode it, or NULL for 12 frames as the operator takes them
/// @param call     limits of the call, or NULL
/// @param out      receives `c4c_dim(model)` floats of unit length; untouched on error
/// @param out_len  floats that `out` has room for
/// @param err      filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT; C4C_E_BUFFER_TOO_SMALL; C4C_E_UNSUPPORTED naming the field;
///         C4C_E_MODALITY on a model without vision tower; C4C_E_MEDIA_IO, C4C_E_MEDIA_FORMAT, C4C_E_NO_VIDEO,
///         C4C_E_LIMIT, C4C_E_FORBIDDEN; C4C_E_DECODE with C4C_STRICT_DECODE
///
/// The first such call in a process gives FFmpeg a log callback, which drops the messages about this library's own work
/// and hands all others to av_log_default_callback. A host with a callback of its own sets it after that call.
///
/// Thread-safety: any number of threads may call this on one model. The file is decoded on the calling thread and its
/// decoder's.
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
    guard(err, || {
        let running = enter(model)?;
        let path = read::required_text(path, "path")?;
        let video = video_options(&read::struct_or_default(video, "video")?)?;
        read::call(call)?;
        let out = Output::new(out, out_len, 1, running.model().dim())?;
        let vector = running.model().embed_video_path(Path::new(path), &video)?;
        out.write(&vector.into_raw_vec_and_offset().0)
    })
}

/// How well each text goes with one video given as frames, by the model's head. For meanP, seqTransf and seqLSTM that is
/// the cosine of their vectors times `exp(logit_scale)`; for tightTransf it is what its transformer over the text and the
/// frames gives, and this call is the only one that can tell.
///
/// @param model     not NULL, with both towers
/// @param texts     `n_texts` NUL-terminated UTF-8 strings; borrowed for the call
/// @param n_texts   at least 1
/// @param frames    `n_frames` frames in the order of time, of any sizes; borrowed for the call
/// @param n_frames  1 to 4096, and at most what the head has positions for
/// @param call      limits of the call, or NULL
/// @param out       receives `n_texts` floats, larger for a better fit; untouched on error
/// @param out_len   floats that `out` has room for
/// @param err       filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT; C4C_E_BUFFER_TOO_SMALL; C4C_E_UNSUPPORTED naming the field;
///         C4C_E_MODALITY on a model without one of the towers; C4C_E_LIMIT with too many frames for the head
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_score(
    model: *const c4c_model,
    texts: *const *const c_char,
    n_texts: usize,
    frames: *const c4c_frame,
    n_frames: usize,
    call: *const c4c_call,
    out: *mut f32,
    out_len: usize,
    err: *mut c4c_error,
) -> c4c_status {
    guard(err, || {
        let running = enter(model)?;
        let texts = read::texts(texts, n_texts)?;
        let frames = read::clip(frames, n_frames)?;
        read::call(call)?;
        let out = Output::new(out, out_len, n_texts, 1)?;
        out.write(&running.model().score(&texts, &frames)?.into_raw_vec_and_offset().0)
    })
}

/// Checks the fields in their order.
fn video_options(video: &c4c_video_options) -> Result<VideoOptions> {
    let most = VideoOptions::MAX_FRAMES as u32;
    let num_frames = at_most(video.num_frames, most, "video.num_frames")?.unwrap_or(VideoOptions::DEFAULT_NUM_FRAMES);
    match video.sampling {
        0 => {}
        1 | 2 => return Err(Error::unsupported("video.sampling: this version has UNIFORM only")),
        other => return Err(Error::invalid(format_args!("video.sampling {other} is unknown"))),
    }
    match video.seek {
        0 => {}
        1 => return Err(Error::unsupported("video.seek: this version has EXACT only")),
        other => return Err(Error::invalid(format_args!("video.seek {other} is unknown"))),
    }
    if video.fps != 0.0 {
        return Err(Error::invalid(format_args!("video.fps is {}, it is for FPS sampling only", video.fps)));
    }
    for (value, name) in [(video.start_us, "start_us"), (video.end_us, "end_us")] {
        if value < 0 {
            return Err(Error::invalid(format_args!("video.{name} is {value}, it cannot be negative")));
        }
        if value > 0 {
            return Err(Error::unsupported(format_args!(
                "video.{name}: this version takes the whole video; set it to 0"
            )));
        }
    }
    match video.color {
        0 => {}
        1 => return Err(Error::unsupported("video.color: this version has TAGGED only")),
        other => return Err(Error::invalid(format_args!("video.color {other} is unknown"))),
    }
    let rotation = c4c_video_flag::C4C_APPLY_ROTATION as u32;
    let network = c4c_video_flag::C4C_ALLOW_NETWORK as u32;
    let strict = c4c_video_flag::C4C_STRICT_DECODE as u32;
    if video.flags & !(rotation | network | strict) != 0 {
        return Err(Error::invalid(format_args!("video.flags {:#x} has unknown bits", video.flags)));
    }
    if video.flags & rotation != 0 {
        return Err(Error::unsupported("video.flags: this version does not apply rotation (C4C_APPLY_ROTATION)"));
    }
    if video.flags & network != 0 {
        return Err(Error::unsupported("video.flags: this version opens local files only (C4C_ALLOW_NETWORK)"));
    }
    Ok(VideoOptions {
        num_frames,
        strict_decode: video.flags & strict != 0,
        decode_threads: at_most(video.decode_threads, 256, "video.decode_threads")?,
        stream_index: video.stream_index_plus_1.checked_sub(1).map(|i| i as usize),
        max_pixels: match video.max_pixels {
            0 => VideoOptions::DEFAULT_MAX_PIXELS,
            n => n,
        },
    })
}
