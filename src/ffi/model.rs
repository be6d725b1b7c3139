//! Making, describing and freeing a model.

use std::ffi::CString;
use std::os::raw::c_char;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::guard::{guard, guard_with, quiet_panics};
use super::read;
use super::structs::{c4c_error, c4c_options};
use super::types::{c4c_log_fn, c4c_option_flag, c4c_status};
use crate::error::{Error, Result, Status};
use crate::model::Model;
use crate::options::{Activation, Devices, Head, Modality, ModelName, Options, Precision};
use crate::runtime::{Call, Level, Log};

/// A loaded model. Made by c4c_create, released by c4c_free.
pub struct c4c_model {
    model: Model,
    /// The process that created it; its threads are in no other.
    process: u32,
    calls: Mutex<Calls>,
    idle: Condvar,
}

#[derive(Default)]
struct Calls {
    running: usize,
    closed: bool,
}

impl c4c_model {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock()
    }
}

/// A call in progress; the model cannot go away while it lives.
pub(super) struct Running<'a>(&'a c4c_model);

impl Running<'_> {
    pub(super) fn model(&self) -> &Model {
        &self.0.model
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut calls = self.0.calls();
        calls.running -= 1;
        if calls.running == 0 {
            self.0.idle.notify_all();
        }
    }
}

/// Begins a call on the handle at `pointer`.
pub(super) fn enter<'a>(pointer: *const c4c_model) -> Result<Running<'a>> {
    // SAFETY: the header asks for NULL or a model that c4c_create made and whose c4c_free has not returned.
    let handle = unsafe { pointer.as_ref() }.ok_or_else(|| Error::invalid("model is NULL"))?;
    if handle.process != std::process::id() {
        return Err(Error::new(
            Status::Forked,
            "model: the process was forked after c4c_create; create a model in the child",
        ));
    }
    let mut calls = handle.calls();
    if calls.closed {
        return Err(Error::new(Status::Closed, "model: it is being freed"));
    }
    calls.running += 1;
    Ok(Running(handle))
}

/// Runs and counts a call that embeds or scores: panics become a status, errors fill the caller's struct.
pub(super) fn embedding(
    model: *const c4c_model,
    err: *mut c4c_error,
    body: impl FnOnce(&Model) -> Result<()>,
) -> c4c_status {
    embedding_with(model, err, |model| body(model).map(|()| None))
}

/// The same for a body that may have something to say although it succeeds.
pub(super) fn embedding_with(
    model: *const c4c_model,
    err: *mut c4c_error,
    body: impl FnOnce(&Model) -> Result<Option<String>>,
) -> c4c_status {
    guard_with(err, || {
        let running = enter(model)?;
        running.model().count(|| body(running.model()))
    })
}

/// Loads a model.
///
/// @param options    what to load and how to run it; not NULL, and `weights_path` set
/// @param out_model  receives the model; not NULL; untouched on error
/// @param err        filled on failure; may be NULL
/// @return C4C_OK; C4C_E_WEIGHTS_IO, C4C_E_WEIGHTS_FORMAT, C4C_E_WEIGHTS_MISMATCH; C4C_E_TOKENIZER;
///         C4C_E_DEVICE; C4C_E_INVALID_ARGUMENT, C4C_E_UNSUPPORTED naming the field; C4C_E_OUT_OF_MEMORY, also where
///         threads are refused; C4C_E_BACKEND
///
/// Loading maps the file; do not truncate it meanwhile. Afterwards it is not needed any more.
///
/// Thread-safety: any thread; several models may be created at once.
#[no_mangle]
pub unsafe extern "C" fn c4c_create(
    options: *const c4c_options,
    out_model: *mut *mut c4c_model,
    err: *mut c4c_error,
) -> c4c_status {
    quiet_panics();
    guard(err, || {
        let (options, log) = read_options(&read::struct_at(options, "options")?)?;
        if out_model.is_null() {
            return Err(Error::invalid("out_model is NULL"));
        }
        let model = Model::load(options, log);
        give_back_memory();
        let handle = Box::new(c4c_model {
            model: model?,
            process: std::process::id(),
            calls: Mutex::default(),
            idle: Condvar::new(),
        });
        // SAFETY: not NULL, and the header asks for a pointer that can be written.
        unsafe { out_model.write(Box::into_raw(handle)) };
        Ok(())
    })
}

/// Releases a model: refuses new calls (C4C_E_CLOSED), waits for the running ones, gives back its memory and its thread.
/// What stays is libtorch's: a pool of idle threads that the first model of the process brings up. NULL is allowed. In a child
/// that was forked after c4c_create it gives back nothing, since the threads are the parent's.
///
/// Thread-safety: once per model, from any thread; the pointer is dead when it returns.
#[no_mangle]
pub unsafe extern "C" fn c4c_free(model: *mut c4c_model) {
    if model.is_null() {
        return;
    }
    guard(std::ptr::null_mut(), || {
        // SAFETY: the header asks for a model that c4c_create made and that is freed once.
        let handle = unsafe { &*model };
        let forked = handle.process != std::process::id();
        if !forked {
            let mut calls = handle.calls();
            calls.closed = true;
            handle.model.hurry();
            while calls.running > 0 {
                handle.idle.wait(&mut calls);
            }
        }
        // SAFETY: made by Box::into_raw in c4c_create; no call is running and none can begin.
        let handle = unsafe { Box::from_raw(model) };
        if forked {
            handle.model.abandon();
        } else {
            drop(handle);
            give_back_memory();
        }
        Ok(())
    });
}

/// Gives back memory that is held for speed and not in use: the recordings of a GPU's passes, what libtorch keeps of the GPUs'
/// memory, and what the C library keeps of the process's. The next calls are slower until it has been taken again.
///
/// @param model  not NULL
/// @param err    filled on failure; may be NULL
/// @return C4C_OK; C4C_E_INVALID_ARGUMENT; C4C_E_BACKEND
///
/// Waits for the passes that run. What libtorch keeps belongs to all models of the process.
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_trim(model: *const c4c_model, err: *mut c4c_error) -> c4c_status {
    guard(err, || {
        let running = enter(model)?;
        running.model().trim(&Call::default())?;
        give_back_memory();
        Ok(())
    })
}

/// glibc keeps what is freed, hundreds of megabytes after a model; the host may need them.
fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Floats in one embedding: 512 for ViT-B. 0 for NULL.
///
/// Thread-safety: any number of threads may call this on one model.
#[no_mangle]
pub unsafe extern "C" fn c4c_dim(model: *const c4c_model) -> usize {
    // SAFETY: the header asks for NULL or a model that has not been freed.
    unsafe { model.as_ref() }.map_or(0, |handle| handle.model.dim())
}

/// Checks the fields in their order.
fn read_options(options: &c4c_options) -> Result<(Options, Log)> {
    let modality = match options.modality {
        0 => Modality::Both,
        1 => Modality::Text,
        2 => Modality::Video,
        other => return Err(Error::invalid(format_args!("options.modality {other} is unknown"))),
    };
    let model_name = match read::text(options.model_name, "options.model_name")? {
        None => None,
        Some(name) => Some(ModelName::parse(name).ok_or_else(|| {
            Error::invalid(format_args!(
                "options.model_name is `{name}`, expected `clip_vit_b32`, `clip_vit_b16`, or NULL for any"
            ))
        })?),
    };
    let weights = read::required_text(options.weights_path, "options.weights_path")?;
    let tokenizer_path = read::text(options.tokenizer_path, "options.tokenizer_path")?.map(Into::into);
    let devices = devices(read::text(options.device, "options.device")?.unwrap_or("auto"))?;
    let precision = match options.precision {
        0 => None,
        1 => Some(Precision::F32),
        2 => Some(Precision::Bf16),
        3 => Some(Precision::F16),
        4 => Some(Precision::Int8),
        other => return Err(Error::invalid(format_args!("options.precision {other} is unknown"))),
    };
    let head = match options.head {
        0 => None,
        1 => Some(Head::Mean),
        2 => Some(Head::SeqTransf),
        3 => Some(Head::SeqLstm),
        4 => Some(Head::TightTransf),
        other => return Err(Error::invalid(format_args!("options.head {other} is unknown"))),
    };
    let activation = match options.activation {
        0 => None,
        1 => Some(Activation::QuickGelu),
        2 => Some(Activation::Gelu),
        other => return Err(Error::invalid(format_args!("options.activation {other} is unknown"))),
    };
    let max_words = match options.max_words {
        0 => Options::DEFAULT_MAX_WORDS,
        n => n as usize,
    };
    let (raw, strict) = (c4c_option_flag::C4C_RAW_OUTPUT as u32, c4c_option_flag::C4C_STRICT_TEXT as u32);
    let eager = c4c_option_flag::C4C_NO_CUDA_GRAPHS as u32;
    if options.flags & !(raw | strict | eager) != 0 {
        return Err(Error::invalid(format_args!("options.flags {:#x} has unknown bits", options.flags)));
    }
    let num_threads = at_most(options.num_threads, 1024, "options.num_threads")?;
    let max_batch = at_most(options.max_batch, 4096, "options.max_batch")?;
    let max_batch_delay = Duration::from_micros(options.max_batch_delay_us.into());
    let level = match options.log_level {
        0 | 3 => Level::Info,
        1 => Level::Error,
        2 => Level::Warn,
        4 => Level::Debug,
        other => return Err(Error::invalid(format_args!("options.log_level {other} is unknown"))),
    };
    read::reserved(options.reserved, "options")?;
    let options_out = Options {
        weights_path: weights.into(),
        modality,
        model_name,
        head,
        activation,
        devices,
        cuda_graphs: options.flags & eager == 0,
        precision,
        tokenizer_path,
        max_words,
        raw_output: options.flags & raw != 0,
        strict_text: options.flags & strict != 0,
        num_threads,
        max_batch,
        max_batch_delay,
    };
    Ok((options_out, log(options.log, options.log_user_data.cast(), level)))
}

/// A count within a bound; None for 0, which leaves the choice to the library.
pub(super) fn at_most(value: u32, bound: u32, name: &str) -> Result<Option<usize>> {
    match value {
        0 => Ok(None),
        n if n <= bound => Ok(Some(n as usize)),
        n => Err(Error::invalid(format_args!("{name} is {n}, expected at most {bound}"))),
    }
}

fn devices(names: &str) -> Result<Devices> {
    Devices::parse(names).ok_or_else(|| {
        Error::invalid(format_args!(
            "options.device is `{names}`, expected \"auto\", \"cpu\", \"cuda\", \"cuda:N\", several such as \"cuda:0,cuda:1\", or \"cuda:*\""
        ))
    })
}

/// The host's receiver of messages and what it wants to be handed.
struct Receiver {
    call: unsafe extern "C" fn(*mut std::os::raw::c_void, i32, *const c_char),
    user_data: *mut std::os::raw::c_void,
}

// SAFETY: the header says that the callback is called from any thread, perhaps from several at once.
unsafe impl Send for Receiver {}
// SAFETY: as above.
unsafe impl Sync for Receiver {}

impl Receiver {
    fn send(&self, level: Level, message: &str) {
        // A NUL inside would end the message early; there is none in any text of ours, but paths come from outside.
        if let Ok(text) = CString::new(message.replace('\0', "")) {
            // SAFETY: the host's function with the host's argument, as the header describes it.
            unsafe { (self.call)(self.user_data, level as i32, text.as_ptr()) };
        }
    }
}

fn log(call: c4c_log_fn, user_data: *mut std::os::raw::c_void, level: Level) -> Log {
    match call {
        None => Log::default(),
        Some(call) => {
            let receiver = Receiver { call, user_data };
            Log::new(level, move |level, message| receiver.send(level, message))
        }
    }
}
