//! Where and on which thread the model runs, and who has to wait for whom.

mod call;
mod calm;
mod cores;
mod device;
mod engine;
mod lane;
mod log;
mod permits;
mod queue;
mod stats;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub use call::{Call, Cancel};
pub(crate) use cores::{Cores, Turn};
pub use device::cuda_devices;
#[cfg(test)]
pub(crate) use device::torch_folder;
pub(crate) use device::{cuda_is_in_use, resolve};
pub(crate) use engine::Request;
pub use engine::{Engine, Load};
pub use log::{Level, Log};
pub use queue::{Finish, Limits};
pub use stats::Stats;

pub(crate) use crate::thread::guarded;

/// One value for all models of a process, gone with the last that has it. A forked child makes its own.
fn of_process<T>(shared: &Mutex<(u32, Weak<T>)>, make: impl FnOnce() -> T) -> Arc<T> {
    let mut shared = shared.lock();
    let process = std::process::id();
    let value = match shared.1.upgrade() {
        Some(value) if shared.0 == process => value,
        _ => Arc::new(make()),
    };
    *shared = (process, Arc::downgrade(&value));
    value
}
