//! Threads that help with a piece of work, for once or again and again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, Sender};
use parking_lot::Mutex;

use crate::thread;

/// Work that any number of threads do together, each calling it once; what is left over when one returns is nothing.
pub(super) trait Shared: Send + Sync + 'static {
    fn work(&self);
}

/// A thread for each helper. Dropping it waits for them to end.
pub(super) struct Team {
    helpers: Vec<(Sender<Arc<Job>>, JoinHandle<()>)>,
}

struct Job {
    work: Arc<dyn Shared>,
    /// Helpers that are at it, and [`CLOSED`] when no more may begin.
    inside: AtomicUsize,
}

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Job {
    fn help(&self) {
        if self.inside.fetch_add(1, Ordering::Acquire) & CLOSED == 0 {
            self.work.work();
        }
        self.inside.fetch_sub(1, Ordering::Release);
    }

    /// Waits for those that have begun, not for those that the system has not woken yet.
    fn close(&self) {
        self.inside.fetch_or(CLOSED, Ordering::AcqRel);
        while self.inside.load(Ordering::Acquire) != CLOSED {
            std::thread::yield_now();
        }
    }
}

impl Team {
    /// With fewer helpers where the system does not give as many threads.
    pub(super) fn new(helpers: usize) -> Team {
        let start = |i| {
            let (send, receive) = bounded::<Arc<Job>>(1);
            let body = move || receive.iter().for_each(|job| job.help());
            thread::spawn(&format!("c4c-helper-{i}"), body).ok().map(|thread| (send, thread))
        };
        Team { helpers: (1..=helpers).map_while(start).collect() }
    }

    /// Does `work` with all helpers that come in time.
    pub(super) fn run(&self, work: Arc<impl Shared>) {
        let job = Arc::new(Job { work, inside: AtomicUsize::new(0) });
        for (helper, _) in &self.helpers {
            // One that has not looked at the last job yet is not waited for.
            let _ = helper.try_send(Arc::clone(&job));
        }
        job.work.work();
        job.close();
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        for (helper, thread) in self.helpers.drain(..) {
            drop(helper);
            // It only ever runs what does not panic; there is nobody to tell.
            let _ = thread.join();
        }
    }
}

/// `work` on each item, by as many threads, or fewer where the system does not give as many; results in order.
pub(super) fn in_parallel<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let some = || {
        while let Some((i, item)) = {
            let i = next.fetch_add(1, Ordering::Relaxed);
            items.get(i).map(|item| (i, item))
        } {
            let result = work(item);
            done.lock().push((i, result));
        }
    };
    std::thread::scope(|scope| {
        let helpers = threads.min(items.len()).saturating_sub(1);
        let _started = (0..helpers).map_while(|_| thread::spawn_scoped(scope, "c4c-load", some).ok()).count();
        some();
    });
    let mut done = done.into_inner();
    done.sort_unstable_by_key(|&(i, _)| i);
    done.into_iter().map(|(_, result)| result).collect()
}
