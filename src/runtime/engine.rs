//! The threads that own the weights, and the lines of work in front of them. libtorch's tensors are not Sync and `no_grad` is
//! a thread's own, so everything that touches them happens there: on one for a CPU, on several for GPUs; callers hand over pixels and token ids and wait for
//! their rows. Texts and images wait in lines of their own, and items of any callers share a forward pass.

use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, Receiver};
use ndarray::Array2;
use parking_lot::Mutex;

use super::calm::Calm;
use super::guarded;
use super::queue::{end, ended, Compute, Finish, Limits, Queued, Shared};
use super::stats::{Counters, Stats};
use super::worker::Worker;
use super::Call;
use crate::error::{Error, Result, Status};
use crate::thread;

/// Handle to the threads, of which each has its own device or its own way to it. Dropping it lets queued work finish and waits for
/// them to end.
pub struct Engine<C: 'static> {
    shared: Arc<Shared<C>>,
    threads: Vec<JoinHandle<()>>,
}

/// Makes what a thread computes with, on that thread.
pub type Load<C> = Box<dyn FnOnce() -> Result<C> + Send>;

impl<C: Compute> Engine<C> {
    /// Starts a thread for each of `loads`, at least one, and loads the model on them; returns what `describe` says of the first.
    /// The second number is how many bytes one image takes.
    ///
    /// # Errors
    /// What the loads return, the first of them first, or `OutOfMemory` when no thread can be started.
    pub fn start<T: Send + 'static>(
        limits: Limits,
        loads: Vec<Load<C>>,
        describe: impl FnOnce(&C) -> (T, usize) + Send + 'static,
    ) -> Result<(Engine<C>, T)> {
        threads_can_be_had(limits.num_threads)?;
        let (ready, loaded) = bounded(loads.len());
        let mut describe = Some(describe);
        let mut threads = Vec::new();
        let mut gives = Vec::new();
        let mut failed = None;
        for (own, load) in loads.into_iter().enumerate() {
            let (give, shared) = bounded::<Arc<Shared<C>>>(1);
            let (ready, describe) = (ready.clone(), describe.take());
            let body = move || {
                let _no_grad = tch::no_grad_guard();
                let _calm = Calm::of_process(limits.num_threads);
                with_threads(limits.num_threads, || ());
                match guarded(load) {
                    Err(error) => drop(ready.send((own, Err(error)))),
                    Ok(compute) => {
                        let told = ready.send((own, Ok(describe.map(|describe| describe(&compute)))));
                        drop(ready);
                        if let (Ok(()), Ok(shared)) = (told, shared.recv()) {
                            let worked = guarded(|| {
                                Worker::new(&shared, &compute, own).run();
                                Ok(())
                            });
                            if worked.is_err() {
                                // There is nobody to tell but those who wait.
                                shared.queue().give_up();
                                shared.wake.notify_all();
                            }
                        }
                    }
                }
            };
            match thread::spawn(&format!("c4c-worker-{own}"), body) {
                Ok(thread) => {
                    threads.push(thread);
                    gives.push(give);
                }
                Err(e) => {
                    let error = format_args!("cannot start the model's thread: {e}");
                    failed = Some((own, Error::new(Status::OutOfMemory, error)));
                    break;
                }
            }
        }
        drop(ready);
        let mut description = None;
        // All of them, so that none still loads when this returns.
        for (own, outcome) in loaded {
            match outcome {
                Ok(told) => description = told.or(description),
                Err(error) => failed = failed.filter(|(first, _)| *first < own).or(Some((own, error))),
            }
        }
        if let Some((_, error)) = failed {
            drop(gives);
            // They let go of what they have loaded.
            threads.into_iter().for_each(|thread| drop(thread.join()));
            return Err(error);
        }
        let ended = || Error::internal("the model's thread ended while loading");
        let (description, image_bytes) = description.ok_or_else(ended)?;
        let shared = Shared::new(limits, image_bytes, threads.len());
        gives.into_iter().for_each(|give| drop(give.send(Arc::clone(&shared))));
        Ok((Engine { shared, threads }, description))
    }
}

impl<C: 'static> Engine<C> {
    /// A request whose items may come bit by bit.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout`.
    pub(crate) fn request<T: Queued<C>>(&self, call: &Call) -> Result<Request<'_, C, T>> {
        call.check()?;
        let (reply, result) = bounded(1);
        let id = T::lane(&mut *self.shared.open_queue()?).open(reply);
        Ok(Request { shared: &self.shared, call: call.clone(), id, result, items: PhantomData })
    }

    /// Runs `work` on the model, after at most one pass that has not begun, and waits for its result as long as `call` allows.
    /// Work whose caller has gone is not begun.
    ///
    /// # Errors
    /// What `work` returns; `Internal` when it panics; `Cancelled` and `Timeout` by the call's limits.
    pub fn run<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&C) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        call.check()?;
        let (reply, result) = bounded(1);
        let limits = call.clone();
        let job = Box::new(move |compute: &C| {
            drop(reply.send(guarded(|| limits.check().and_then(|()| work(compute)))));
        });
        self.shared.open_queue()?.jobs.push_back(job);
        self.shared.wake.notify_one();
        call.wait(&result)?.ok_or_else(ended)?
    }

    /// Runs `work` on every thread, as [`Engine::run`] does on one, and waits for all of them.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_everywhere(&self, call: &Call, work: impl Fn(&C) -> Result<()> + Clone + Send + 'static) -> Result<()> {
        call.check()?;
        let (reply, results) = bounded(self.threads.len());
        for own in 0..self.threads.len() {
            let (reply, work) = (reply.clone(), work.clone());
            let job = Box::new(move |compute: &C| drop(reply.send(guarded(|| work(compute)))));
            self.shared.open_queue()?.own_jobs[own].push_back(job);
        }
        self.shared.wake.notify_all();
        // Theirs alone: where a thread has died nobody must be waited for.
        drop(reply);
        (0..self.threads.len()).try_for_each(|_| call.wait(&results)?.ok_or_else(ended)?)
    }

    /// From now on nobody waits for company.
    pub fn hurry(&self) {
        self.shared.queue().hurry = true;
        self.shared.wake.notify_all();
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    pub fn stats(&self) -> Stats {
        let rooms = [&self.shared.text_room, &self.shared.image_room];
        let (texts, images) = {
            let queue = self.shared.queue();
            (queue.texts.waiting(), queue.images.waiting())
        };
        Stats {
            queued_texts: texts as u64,
            queued_images: images as u64,
            waiting_calls: rooms.iter().map(|room| room.waiting() as u64).sum(),
            bytes_held: rooms.iter().map(|room| room.taken() as u64).sum(),
            ..self.shared.counters.read()
        }
    }

    /// Gives up the thread without waiting, for a forked child in which it does not exist and in which a lock may be held
    /// forever.
    pub fn abandon(self) {
        std::mem::forget(self);
    }
}

impl<C: 'static> Drop for Engine<C> {
    fn drop(&mut self) {
        {
            let mut queue = self.shared.queue();
            (queue.closed, queue.hurry) = (true, true);
        }
        self.shared.wake.notify_all();
        for thread in self.threads.drain(..) {
            // The body catches panics; there is nobody to tell of another.
            let _ = thread.join();
        }
    }
}

/// Items of one call on their way. Dropping it takes back what has not gone into a pass.
pub(crate) struct Request<'e, C: 'static, T: Queued<C>> {
    shared: &'e Shared<C>,
    call: Call,
    id: u64,
    result: Receiver<Result<Array2<f32>>>,
    items: PhantomData<T>,
}

impl<C: 'static, T: Queued<C>> Request<'_, C, T> {
    /// Hands over more items, waiting for room in the queue.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout`; what went wrong with the items before.
    pub(crate) fn push(&mut self, items: Vec<T>) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let bytes = items.iter().map(T::bytes).sum();
        let room = T::room(self.shared).take(bytes, &self.call)?;
        if !T::lane(&mut self.shared.queue()).push(self.id, items, room) {
            return self.wait().map(drop);
        }
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Says that these were all, and what to make of their rows.
    pub(crate) fn finish(&mut self, finish: Finish<C>) {
        let mut queue = self.shared.queue();
        let ending = T::lane(&mut queue).close(self.id, finish);
        if let Some(ending) = ending {
            queue.jobs.push_back(end(ending));
            self.shared.wake.notify_one();
        }
    }

    /// Waits for the result, as long as the call allows.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout`; what went wrong in the forward pass or in what was made of its rows.
    pub(crate) fn wait(&mut self) -> Result<Array2<f32>> {
        self.call.wait(&self.result)?.ok_or_else(ended)?
    }

    /// Whether [`Request::wait`] would not have to.
    pub(crate) fn is_done(&self) -> bool {
        !self.result.is_empty()
    }
}

impl<C: 'static, T: Queued<C>> Drop for Request<'_, C, T> {
    fn drop(&mut self) {
        let removed = T::lane(&mut self.shared.queue()).remove(self.id);
        // Many megabytes perhaps, and not under the lock.
        drop(removed);
    }
}

/// Tries whether libtorch will get its threads: where it does not, OpenMP ends the process.
///
/// # Errors
/// `OutOfMemory`.
fn threads_can_be_had(num_threads: usize) -> Result<()> {
    /// Beside those of the pass and of a pool of libtorch's that is as large: the model's own, and those that calm.
    const OTHERS: usize = 8;
    if num_threads < 2 {
        return Ok(());
    }
    let n = 2 * num_threads + OTHERS;
    let (go, wait) = bounded::<()>(0);
    let start = |_| {
        let wait = wait.clone();
        thread::spawn("c4c-probe", move || wait.recv().is_ok())
    };
    let threads = (0..n).map(start).collect::<std::io::Result<Vec<_>>>();
    drop(go);
    let no = |e| {
        Error::new(
            Status::OutOfMemory,
            format_args!("cannot start {n} threads ({e}); set num_threads to 1, or allow more"),
        )
    };
    threads.map_err(no)?.into_iter().for_each(|thread| drop(thread.join()));
    Ok(())
}

/// Runs `work` with so many threads for libtorch's use in it, and in all that this thread does later. libtorch has one number
/// for the process, which every thread takes over when it first asks for it and keeps; so it is set and asked for with nobody
/// in between.
pub(super) fn with_threads<T>(n: usize, work: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    tch::set_num_threads(i32::try_from(n).unwrap_or(i32::MAX));
    tch::get_num_threads();
    work()
}
