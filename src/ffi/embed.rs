//! The calls that embed texts and pictures.

use std::os::raw::c_char;

use super::model::{c4c_model, embedding};
use super::read::{self, Output};
use super::structs::{c4c_call, c4c_error, c4c_frame};
use super::types::c4c_status;

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
///         C4C_E_TEXT_TOO_LONG with C4C_STRICT_TEXT; C4C_E_CANCELLED, C4C_E_TIMEOUT by the call's limits
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
    embedding(model, err, |model| {
        let texts = read::texts(texts, n_texts)?;
        let call = read::call(call)?;
        let out = Output::new(out, out_len, n_texts, model.dim())?;
        let vectors = model.embed_text(&texts, &call)?;
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
///         C4C_E_MODALITY on a model without vision tower; C4C_E_DEVICE for frames on a GPU that cannot be used;
///         C4C_E_CANCELLED, C4C_E_TIMEOUT by the call's limits
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
    embedding(model, err, |model| {
        let frames = read::clip(frames, n_frames)?;
        let call = read::call(call)?;
        let out = Output::new(out, out_len, 1, model.dim())?;
        out.write(&model.embed_any_frames(&frames, &call)?.into_raw_vec_and_offset().0)
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
    embedding(model, err, |model| {
        let frames = read::frames(frames, n_frames)?;
        let call = read::call(call)?;
        let out = Output::new(out, out_len, n_frames, model.dim())?;
        let vectors = model.embed_any_images(&frames, &call)?;
        out.write(&vectors.into_raw_vec_and_offset().0)
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
///         C4C_E_MODALITY on a model without one of the towers; C4C_E_LIMIT with too many frames for the head;
///         C4C_E_DEVICE for frames on a GPU that cannot be used
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
    embedding(model, err, |model| {
        let texts = read::texts(texts, n_texts)?;
        let frames = read::clip(frames, n_frames)?;
        let call = read::call(call)?;
        let out = Output::new(out, out_len, n_texts, 1)?;
        out.write(&model.score_any(&texts, &frames, &call)?.into_raw_vec_and_offset().0)
    })
}
