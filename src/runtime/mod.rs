//! Where and on which thread the model runs.

mod call;
mod log;
mod worker;

pub use call::{Call, Cancel};
pub use log::{Level, Log};
pub(crate) use worker::guarded;
pub use worker::Worker;
