//! Where and on which thread the model runs, and who has to wait for whom.

mod call;
mod calm;
mod cores;
mod cpp;
mod device;
mod engine;
mod lane;
mod log;
mod permits;
mod queue;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod worker;

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub use call::{Call, Cancel};
pub(crate) use cores::{Cores, Turn};
pub(crate) use cpp::{done, said};
#[cfg(test)]
pub(crate) use device::torch_folder;
pub use device::{cuda_devices, Device, Devices};
pub(crate) use device::{cuda_is_in_use, resolve};
pub(crate) use engine::Request;
pub use engine::{Engine, Load};
pub use log::{Level, Log};
pub use queue::{Finish, Limits};
pub use stats::Stats;
pub(crate) use stream::{may_record, record_no_more, Gpu, RECORDING};

use crate::error::{Error, Result};

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

/// Turns a panic into an error, so that one bad request does not end a thread.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic))))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a bug in libc4c, please report it: {}", text.unwrap_or("panic without a message"))
}
