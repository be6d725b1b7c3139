//! Turns at decoding: as many threads at once, over all calls and models of the process, as there are cores to use.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::permits::{Permit, Permits};
use super::Call;
use crate::error::Result;

/// How long a turn lasts while others wait: most videos are done within it, and a film holds up nobody for longer.
const TURN: Duration = Duration::from_millis(500);

/// The cores that decoding may use.
#[derive(Clone)]
pub(crate) struct Cores(Arc<Permits>);

impl Cores {
    /// Those of the process. Only what was taken before a fork is counted in the parent, and only there.
    pub(crate) fn of_process() -> Self {
        static SHARED: Mutex<(u32, Weak<Permits>)> = Mutex::new((0, Weak::new()));
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        let permits = match shared.1.upgrade() {
            Some(permits) if shared.0 == process => permits,
            _ => Permits::new(available()),
        };
        *shared = (process, Arc::downgrade(&permits));
        Cores(permits)
    }

    /// Waits for so many cores, or for all where there are fewer, as long as `call` allows.
    pub(crate) fn turn(&self, threads: usize, call: &Call) -> Result<Turn> {
        Ok(Turn { permit: Some(self.0.take(threads, call)?), since: Instant::now() })
    }

    pub(crate) fn count(&self) -> usize {
        self.0.total()
    }

    /// How many calls wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

/// The cores that the process may use, by its affinity and its control group.
pub(crate) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Cores that a call may use until this is dropped.
pub(crate) struct Turn {
    /// None for those who need not wait.
    permit: Option<Permit>,
    since: Instant,
}

impl Turn {
    /// For who waits for something else most of the time, and must not keep others from their turn meanwhile.
    pub(crate) fn free() -> Self {
        Turn { permit: None, since: Instant::now() }
    }

    /// Lets others have theirs when this one has lasted long enough, and comes back when it is its turn again.
    pub(crate) fn breathe(&mut self, call: &Call) -> Result<()> {
        if self.permit.is_some() && self.since.elapsed() >= TURN {
            self.permit = self.permit.take().map(|permit| permit.let_others(call)).transpose()?;
            self.since = Instant::now();
        }
        Ok(())
    }
}
