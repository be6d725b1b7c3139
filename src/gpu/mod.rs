//! libtorch's GPUs beyond what tch offers of them: streams, memory, and recorded work. Not linked with CUDA.

mod cpp;
mod stream;

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::ptr::NonNull;

use crate::error::{Error, Result, Status};
use crate::thread::guarded;
use cpp::{done, said};
pub(crate) use stream::Gpu;
use stream::{may_record, record_no_more, RECORDING};

extern "C" {
    fn c4c_gpu_count(count: *mut i32, why: *mut c_char, room: usize) -> i32;
    fn c4c_gpu_synchronize(device: i32, why: *mut c_char, room: usize) -> i32;
    fn c4c_gpu_held(device: i32, bytes: *mut u64, why: *mut c_char, room: usize) -> i32;
    fn c4c_gpu_trim(device: i32, why: *mut c_char, room: usize) -> i32;
    fn c4c_graph_pool(pool: *mut u64, why: *mut c_char, room: usize) -> i32;
    fn c4c_graph_begin(pool: *const u64, why: *mut c_char, room: usize) -> *mut c_void;
    fn c4c_graph_end(graph: *mut c_void, why: *mut c_char, room: usize) -> i32;
    fn c4c_graph_replay(graph: *mut c_void, why: *mut c_char, room: usize) -> i32;
    fn c4c_graph_free(graph: *mut c_void);
    #[cfg(test)]
    fn c4c_graph_symbol(i: usize) -> *const c_char;
}

fn number(device: usize) -> i32 {
    i32::try_from(device).unwrap_or(i32::MAX)
}

/// How many GPUs libtorch can use, once its CUDA half is loaded; of 0 the reason, or that it has none to tell.
pub(crate) fn count() -> std::result::Result<usize, String> {
    let mut count = 0;
    // SAFETY: what libtorch throws is caught; one number is written, and the message has the stated room.
    let (code, why) = said(|why, room| unsafe { c4c_gpu_count(&mut count, why, room) });
    match (code, count) {
        (0, 1..) => Ok(count as usize),
        (0, _) if why.is_empty() => Err("libtorch finds no CUDA device that it can use".into()),
        _ => Err(format!("libtorch says: {}", why.lines().next().unwrap_or_default())),
    }
}

thread_local! {
    static HERE: RefCell<Option<Gpu>> = const { RefCell::new(None) };
}

/// From now on this thread's work goes to GPU `device`, on a stream of its own, and its warnings to nobody.
pub(crate) fn enter(device: usize) -> Result<()> {
    let gpu = Gpu::enter(device)?;
    HERE.with_borrow_mut(|here| *here = Some(gpu));
    Ok(())
}

/// Waits for what this thread gave to GPU `device`.
pub(crate) fn synchronize(device: usize) -> Result<()> {
    // SAFETY: any number may be asked for, and what libtorch throws is caught; the message has the stated room.
    done(|why, room| unsafe { c4c_gpu_synchronize(number(device), why, room) })
}

/// Bytes of GPU `device` that libtorch holds for this process.
pub(crate) fn held(device: usize) -> Result<u64> {
    let mut bytes = 0;
    // SAFETY: as in `synchronize`; one number is written.
    done(|why, room| unsafe { c4c_gpu_held(number(device), &mut bytes, why, room) })?;
    Ok(bytes)
}

/// Gives back what libtorch keeps of all GPUs for later; `device` is one that is in use.
pub(crate) fn trim(device: usize) -> Result<()> {
    let _nobody_records = RECORDING.lock();
    // SAFETY: as in `synchronize`.
    done(|why, room| unsafe { c4c_gpu_trim(number(device), why, room) })
}

/// Memory for recordings that are replayed one at a time.
#[derive(Clone, Copy)]
pub(crate) struct Pool([u64; 2]);

impl Pool {
    pub(crate) fn new() -> Result<Self> {
        let mut pool = [0; 2];
        // SAFETY: as in `synchronize`; two numbers are written.
        done(|why, room| unsafe { c4c_graph_pool(pool.as_mut_ptr(), why, room) })?;
        Ok(Pool(pool))
    }
}

/// Work of a stream, recorded.
pub(crate) struct Graph(NonNull<c_void>);

// SAFETY: it is a handle of CUDA's, which belongs to the process; one thread uses it at a time.
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `work` gives to this thread's stream, which is not done meanwhile.
    pub(crate) fn record<T>(pool: Pool, work: impl FnOnce() -> Result<T>) -> Result<(Graph, T)> {
        let alone = RECORDING.lock();
        if !may_record() {
            return Err(Error::new(Status::Backend, "an earlier recording failed, or too many threads use GPUs"));
        }
        // SAFETY: as in `synchronize`; two numbers are read.
        let graph = said(|why, room| unsafe { c4c_graph_begin(pool.0.as_ptr(), why, room) });
        let Some(graph) = NonNull::new(graph.0).map(Graph) else {
            record_no_more();
            return Err(Error::libtorch(&graph.1));
        };
        // The stream must not stay in the state of recording, whatever came of the work.
        let made = guarded(work);
        // SAFETY: a handle that c4c_graph_begin gave.
        let ended = done(|why, room| unsafe { c4c_graph_end(graph.0.as_ptr(), why, room) });
        if ended.is_err() {
            // libtorch still refers to it.
            std::mem::forget(graph);
            record_no_more();
            // Why the work failed says more than that its recording did.
            return Err(made.err().or(ended.err()).unwrap_or_else(|| Error::internal("a recording did not end")));
        }
        // Freeing it wants to be alone, too.
        drop(alone);
        Ok((graph, made?))
    }

    /// Does again what was recorded, on this thread's stream.
    pub(crate) fn replay(&self) -> Result<()> {
        // SAFETY: a handle that c4c_graph_begin gave, and whose recording has ended.
        done(|why, room| unsafe { c4c_graph_replay(self.0.as_ptr(), why, room) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let _nobody_records = RECORDING.lock();
        // SAFETY: a handle that c4c_graph_begin gave and whose recording has ended, freed once.
        unsafe { c4c_graph_free(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::process::Command;

    use super::*;

    /// What is looked up by name is there, in the libtorch that this is built with.
    #[test]
    fn libtorch_cuda_has_what_is_looked_up() {
        let library = crate::runtime::torch_folder().unwrap().join("libtorch_cuda.so");
        if !library.exists() {
            return;
        }
        let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().unwrap();
        let symbols = String::from_utf8(symbols.stdout).unwrap();
        let defined: std::collections::HashSet<&str> =
            symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
        let mut looked_up = 0;
        loop {
            // SAFETY: any number may be asked for; names are constant strings.
            let name = unsafe { c4c_graph_symbol(looked_up) };
            if name.is_null() {
                break;
            }
            // SAFETY: as above.
            let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
            assert!(defined.contains(name), "{name}");
            looked_up += 1;
        }
        assert!(looked_up > 0);
    }

    /// Without CUDA every door is closed with a sentence, and none with a crash.
    #[test]
    fn nothing_crashes_without_cuda() {
        if crate::runtime::cuda_devices().is_ok() {
            return;
        }
        let errors = [
            enter(0).unwrap_err(),
            synchronize(0).unwrap_err(),
            held(0).unwrap_err(),
            trim(0).unwrap_err(),
            Pool::new().map(drop).unwrap_err(),
            Graph::record(Pool([0, 0]), || Ok(())).map(drop).unwrap_err(),
            Graph::record(Pool([0, 0]), || Ok(())).map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.status(), Status::Backend);
            assert!(error.message().len() > "libtorch: ".len(), "{error}");
        }
    }
}
