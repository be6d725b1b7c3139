//! Keeps the threads of a forward pass from spinning.
//!
//! libtorch's threads come from GNU OpenMP. When those of a pass wait for each other, they spin for milliseconds, and where
//! another thread, a decoder perhaps, has one core, they keep the one for whom they wait from the other: passes become
//! several times slower. OpenMP sleeps soon where it knows of more threads than cores. The environment could tell it the same,
//! but that belongs to the host, and is read before anybody can ask.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, Sender};
use once_cell::sync::Lazy;
use parking_lot::Mutex;
use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::thread;

/// A team of a few threads that sleep, so that there are more threads than cores. Gone with the last handle.
pub(super) struct Calm {
    awake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Calm {
    /// Where more than these are needed, a few cores of many are busy, and one that spins is missed less.
    const MOST_THREADS: usize = 8;

    /// The one of the process, for a model whose passes take `num_threads`. What cannot be had is done without.
    pub(super) fn of_process(num_threads: usize) -> Arc<Calm> {
        static SHARED: Lazy<Mutex<(u32, Weak<Calm>)>> = Lazy::new(Mutex::default);
        super::of_process(&SHARED, || Calm::beside(num_threads))
    }

    fn beside(num_threads: usize) -> Self {
        // OpenMP counts one thread, and of each team those beyond its first.
        let needed = (cpus() + 2).saturating_sub(num_threads).max(2);
        let (awake, sleep) = bounded::<()>(0);
        let (ready, is_ready) = bounded(1);
        let body = move || {
            let team = super::engine::with_threads(needed, || team(needed));
            let _ = ready.send(());
            if team.is_ok() {
                let _ = sleep.recv();
            }
        };
        let wanted = num_threads > 1 && needed <= Self::MOST_THREADS;
        let thread = wanted.then(|| thread::spawn("c4c-calm", body).ok()).flatten();
        if thread.is_some() {
            // So that libtorch's number is not left as it is on that thread.
            let _ = is_ready.recv();
        }
        Calm { awake: Some(awake), thread }
    }
}

impl Drop for Calm {
    fn drop(&mut self) {
        drop(self.awake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Work enough that this thread's team is of `n`; it stays until the thread ends.
fn team(n: usize) -> Result<()> {
    /// libtorch gives a thread at least so many elements.
    const SHARE: usize = 32768;
    let mut bytes = Tensor::f_zeros([(n * SHARE) as i64], (Kind::Uint8, Device::Cpu))?;
    let _ = bytes.f_bitwise_not_()?;
    Ok(())
}

/// The processors that OpenMP counts, by the affinity of whoever loaded it; a quota is unknown to it.
fn cpus() -> usize {
    // SAFETY: the set is a plain bit field of the stated size that the call fills; zero is a value of it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        match libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) {
            0 => libc::CPU_COUNT(&set) as usize,
            _ => super::cores::available(),
        }
    }
}
