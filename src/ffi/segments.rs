//! Windows over a long video.

use std::os::raw::c_char;
use std::path::Path;

use super::model::{c4c_model, embedding};
use super::read;
use super::structs::{c4c_call, c4c_error, c4c_video_options};
use super::types::c4c_status;
use super::video::video_options;
use crate::error::{Error, Status};
use crate::model::Segments;
use crate::video::Source;

/// The vectors of a video's windows. Made by c4c_embed_segments, released by c4c_segments_free.
pub struct c4c_segments {
    vectors: Vec<f32>,
    times_us: Vec<(i64, i64)>,
}

/// Embeds every window of a long video from one decode: windows of `window_us` at 0, `step_us`, 2 `step_us` … up to the
/// first that reaches the end, which may be shorter. With C4C_SEEK_EXACT each vector is that of c4c_embed_video_path with the
/// window's `start_us` and `end_us`.
///
/// @param model         not NULL
/// @param path          as c4c_embed_video_path
/// @param video         as c4c_embed_video_path; `num_frames` are taken of every window, and `start_us` and `end_us` bound all
///                      of them. NULL: 12 frames each
/// @param window_us     at least 1
/// @param step_us       at least 1
/// @param call          limits of the call, or NULL
/// @param out_segments  receives the result, for c4c_segments_free; untouched on error
/// @param err           filled on failure; may be NULL
/// @return as c4c_embed_video_path; C4C_E_LIMIT also for more than 2,000,000 frames of all windows together, and where so many
///         windows overlap that their frames, before the model has seen them, take more than 192 MiB
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_embed_segments(
    model: *const c4c_model,
    path: *const c_char,
    video: *const c4c_video_options,
    window_us: i64,
    step_us: i64,
    call: *const c4c_call,
    out_segments: *mut *mut c4c_segments,
    err: *mut c4c_error,
) -> c4c_status {
    embedding(model, err, |model| {
        let path = read::required_text(path, "path")?;
        let video = video_options(video)?;
        for (value, name) in [(window_us, "window_us"), (step_us, "step_us")] {
            if value < 1 {
                return Err(Error::invalid(format_args!("{name} is {value}, expected at least 1")));
            }
        }
        let call = read::call(call)?;
        if out_segments.is_null() {
            return Err(Error::invalid("out_segments is NULL"));
        }
        let source = Source::Path(Path::new(path));
        let Segments { vectors, times_us } = model.embed_segments(source, &video, (window_us, step_us), &call)?;
        let segments = c4c_segments { vectors: vectors.into_raw_vec_and_offset().0, times_us };
        // SAFETY: the header asks for room for a pointer.
        unsafe { out_segments.write_unaligned(Box::into_raw(Box::new(segments))) };
        Ok(())
    })
}

/// How many segments there are; 0 for NULL.
///
/// Thread-safety: any number of threads may call this on one value.
#[no_mangle]
pub unsafe extern "C" fn c4c_segments_count(s: *const c4c_segments) -> usize {
    // SAFETY: NULL or a value of ours that has not been freed.
    unsafe { s.as_ref() }.map_or(0, |s| s.times_us.len())
}

/// The vectors: one row of `c4c_dim` floats for each segment. They live until c4c_segments_free; NULL for NULL.
///
/// Thread-safety: any number of threads may call this on one value.
#[no_mangle]
pub unsafe extern "C" fn c4c_segments_data(s: *const c4c_segments) -> *const f32 {
    // SAFETY: NULL or a value of ours that has not been freed.
    unsafe { s.as_ref() }.map_or(std::ptr::null(), |s| s.vectors.as_ptr())
}

/// When a segment begins and ends.
///
/// @param s         not NULL
/// @param i         below c4c_segments_count
/// @param start_us  receives microseconds from the first frame; may be NULL
/// @param end_us    likewise
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT
///
/// Thread-safety: any number of threads may call this on one value.
#[no_mangle]
pub unsafe extern "C" fn c4c_segments_time(
    s: *const c4c_segments,
    i: usize,
    start_us: *mut i64,
    end_us: *mut i64,
) -> c4c_status {
    // SAFETY: NULL or a value of ours that has not been freed.
    let times = unsafe { s.as_ref() }.and_then(|s| s.times_us.get(i));
    let Some(&(start, end)) = times else { return Status::InvalidArgument.code() };
    for (pointer, value) in [(start_us, start), (end_us, end)] {
        if !pointer.is_null() {
            // SAFETY: the header asks for room for a number.
            unsafe { pointer.write_unaligned(value) };
        }
    }
    0
}

/// Releases segments. NULL is fine.
///
/// Thread-safety: nobody else may use the value from now on.
#[no_mangle]
pub unsafe extern "C" fn c4c_segments_free(s: *mut c4c_segments) {
    if !s.is_null() {
        // SAFETY: a value of ours that the caller gives up.
        drop(unsafe { Box::from_raw(s) });
    }
}
