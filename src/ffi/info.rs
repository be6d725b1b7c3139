//! What a model is and what it has done.

use std::time::Duration;

use super::guard::{guard, write_text};
use super::model::{c4c_model, enter};
use super::read::{self, Plain};
use super::structs::{c4c_error, c4c_info, c4c_stats};
use super::types::{c4c_activation, c4c_head, c4c_modality, c4c_precision, c4c_status};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::options::{Activation, Device, Head, Modality, Precision};
use crate::runtime::Stats;

/// What was loaded, and how it runs.
///
/// @param model  not NULL
/// @param out    receives the answer; not NULL; `struct_size` set, the rest zero
/// @param err    filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_get_info(model: *const c4c_model, out: *mut c4c_info, err: *mut c4c_error) -> c4c_status {
    guard(err, || tell(model, out, info))
}

/// What the model has done since it was made, and what it holds at this moment. Counts of calls that run meanwhile may lag
/// behind each other.
///
/// @param model  not NULL
/// @param out    receives the answer; not NULL; `struct_size` set, the rest zero
/// @param err    filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT
///
/// Thread-safety: any number of threads may call this on one model. It waits for no forward pass.
#[no_mangle]
pub unsafe extern "C" fn c4c_get_stats(
    model: *const c4c_model,
    out: *mut c4c_stats,
    err: *mut c4c_error,
) -> c4c_status {
    guard(err, || tell(model, out, |model| stats(&model.stats())))
}

/// Fills the caller's struct with what `say` says of the model.
fn tell<T: Plain>(model: *const c4c_model, out: *mut T, say: impl FnOnce(&Model) -> T) -> Result<()> {
    let running = enter(model)?;
    if out.is_null() {
        return Err(Error::invalid("out is NULL"));
    }
    read::check_size(out.cast_const(), "out")?;
    read::write_struct(out, say(running.model()));
    Ok(())
}

fn stats(stats: &Stats) -> c4c_stats {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    let mean = |items: u64, passes: u64| if passes == 0 { 0.0 } else { items as f64 / passes as f64 };
    c4c_stats {
        calls: stats.calls,
        running: stats.running,
        failed_argument: stats.failed_argument,
        failed_media: stats.failed_media,
        failed_memory: stats.failed_memory,
        failed_other: stats.failed_other,
        cancelled: stats.cancelled,
        timed_out: stats.timed_out,
        texts: stats.texts,
        images: stats.images,
        text_batches: stats.text_batches,
        image_batches: stats.image_batches,
        mean_text_batch: mean(stats.texts, stats.text_batches),
        mean_image_batch: mean(stats.images, stats.image_batches),
        queued_texts: stats.queued_texts,
        queued_images: stats.queued_images,
        waiting_calls: stats.waiting_calls,
        bytes_held: stats.bytes_held,
        queue_us: micros(stats.queue),
        decode_us: micros(stats.decode),
        preprocess_us: micros(stats.preprocess),
        text_forward_us: micros(stats.text_forward),
        image_forward_us: micros(stats.image_forward),
        device_bytes: stats.device_bytes,
        ..c4c_stats::zeroed()
    }
}

fn info(model: &Model) -> c4c_info {
    let (info, options) = (model.info(), model.options());
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut out = c4c_info::zeroed();
    out.dim = number(model.dim());
    out.modality = match model.modality() {
        Modality::Both => c4c_modality::C4C_MODALITY_BOTH,
        Modality::Text => c4c_modality::C4C_MODALITY_TEXT,
        Modality::Video => c4c_modality::C4C_MODALITY_VIDEO,
    } as u32;
    out.head = match info.head {
        Head::Mean => c4c_head::C4C_HEAD_MEAN,
        Head::SeqTransf => c4c_head::C4C_HEAD_SEQ_TRANSF,
        Head::SeqLstm => c4c_head::C4C_HEAD_SEQ_LSTM,
        Head::TightTransf => c4c_head::C4C_HEAD_TIGHT_TRANSF,
    } as u32;
    out.activation = match info.activation {
        Activation::QuickGelu => c4c_activation::C4C_ACTIVATION_QUICK_GELU,
        Activation::Gelu => c4c_activation::C4C_ACTIVATION_GELU,
    } as u32;
    out.precision = match info.precision {
        Precision::F32 => c4c_precision::C4C_PRECISION_F32,
        Precision::Bf16 => c4c_precision::C4C_PRECISION_BF16,
        Precision::F16 => c4c_precision::C4C_PRECISION_F16,
        Precision::Int8 => c4c_precision::C4C_PRECISION_INT8,
    } as u32;
    out.num_threads = number(info.num_threads);
    out.max_batch = number(info.max_batch);
    out.max_words = number(options.max_words);
    if let Some(vision) = &info.arch.vision {
        out.image_size = number(vision.resolution());
        out.patch_size = number(vision.patch);
        out.vision_width = number(vision.width);
        out.vision_layers = number(vision.layers);
    }
    if let Some(text) = &info.arch.text {
        out.text_width = number(text.width);
        out.text_layers = number(text.layers);
        out.context_length = number(text.context);
        out.vocab_size = number(text.vocab);
    }
    out.logit_scale = info.logit_scale.unwrap_or(0.0);
    let mut devices = Device::names(&info.devices);
    if devices.len() >= out.device.len() {
        devices = format!("{} GPUs", info.devices.len());
    }
    write_text(&mut out.device, &devices);
    write_text(&mut out.device_note, info.device_note.as_deref().unwrap_or_default());
    write_text(&mut out.model_name, info.arch.name());
    write_text(&mut out.weights, &info.weights);
    out
}
