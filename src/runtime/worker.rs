//! The thread that owns the weights. libtorch's tensors are not Sync and `no_grad` is a thread's own, so everything that
//! touches them happens here; callers send work and wait for its result.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Mutex;
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, unbounded, Sender};
use ndarray::Array2;

use super::Call;
use crate::clip::Clip;
use crate::error::{Error, Result, Status};

type Job = Box<dyn FnOnce(&Clip) + Send>;

/// Handle to the thread. Dropping it lets queued work finish and waits for the thread to end.
pub struct Worker {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread and loads the model on it; returns what `describe` says of the loaded model.
    ///
    /// # Errors
    /// What `load` returns, or `OutOfMemory` when no thread can be started.
    pub fn start<T: Send + 'static>(
        num_threads: usize,
        load: impl FnOnce() -> Result<Clip> + Send + 'static,
        describe: impl FnOnce(&Clip) -> T + Send + 'static,
    ) -> Result<(Worker, T)> {
        let (jobs, queue) = unbounded::<Job>();
        let (ready, loaded) = bounded(1);
        let body = move || {
            let _no_grad = tch::no_grad_guard();
            set_num_threads(num_threads);
            match guarded(load) {
                Err(error) => drop(ready.send(Err(error))),
                Ok(clip) => {
                    let told = ready.send(Ok(describe(&clip)));
                    drop(ready);
                    if told.is_ok() {
                        queue.iter().for_each(|job| job(&clip));
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("c4c-worker".into())
            .spawn(body)
            .map_err(|e| Error::new(Status::OutOfMemory, format_args!("cannot start the model's thread: {e}")))?;
        let worker = Worker { jobs: Some(jobs), thread: Some(thread) };
        let description = loaded.recv().map_err(|_| Error::internal("the model's thread ended while loading"))??;
        Ok((worker, description))
    }

    /// Runs `work` on the model and waits for its result, at most as long as `call` allows. Work whose caller has gone
    /// is not begun.
    ///
    /// # Errors
    /// What `work` returns; `Internal` when it panics; `Cancelled` and `Timeout` by the call's limits.
    pub fn run(
        &self,
        call: &Call,
        work: impl FnOnce(&Clip) -> Result<Array2<f32>> + Send + 'static,
    ) -> Result<Array2<f32>> {
        let ended = || Error::internal("the model's thread has ended");
        call.check()?;
        let (reply, result) = bounded(1);
        let limits = call.clone();
        let job = Box::new(move |clip: &Clip| drop(reply.send(guarded(|| limits.check().and_then(|()| work(clip))))));
        self.jobs.as_ref().ok_or_else(ended)?.send(job).map_err(|_| ended())?;
        call.wait(&result)?.ok_or_else(ended)?
    }

    /// Gives up the thread without waiting, for a forked child in which it does not exist.
    pub fn abandon(mut self) {
        std::mem::forget(self.jobs.take());
        std::mem::forget(self.thread.take());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // The body catches panics; there is nobody to tell of another.
            let _ = thread.join();
        }
    }
}

/// Sets how many threads this one's forward passes use. libtorch has one number for the process, which every thread
/// takes over when it first asks for it and keeps; so it is set and asked for with nobody in between.
fn set_num_threads(n: usize) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    tch::set_num_threads(i32::try_from(n).unwrap_or(i32::MAX));
    tch::get_num_threads();
}

/// Turns a panic into an error, so that one bad request does not end the thread.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a bug in libc4c, please report it: {}", text.unwrap_or("panic without a message"))
}
