//! Where and on which thread the model runs.

mod log;
mod worker;

pub use log::{Level, Log};
pub(crate) use worker::guarded;
pub use worker::Worker;
