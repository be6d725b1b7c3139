//! Turns at decoding: as many threads at once, over all calls and models of the process, as there are cores to use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use once_cell::sync::Lazy;
use parking_lot::Mutex;

use super::permits::{Permit, Permits};
use super::Call;
use crate::error::Result;

/// How long a turn lasts while others wait: most videos are done within it, and a film holds up nobody for longer.
const TURN: Duration = Duration::from_millis(500);

/// Whoever has a turn and decodes nothing for so long waits for something else, a dead file server or the model, and keeps
/// nobody from decoding.
const STUCK: Duration = Duration::from_secs(1);

/// The cores that decoding may use.
#[derive(Clone)]
pub(crate) struct Cores(Arc<State>);

struct State {
    permits: Arc<Permits>,
    start: Instant,
    /// When somebody who has a turn was last seen to decode, in milliseconds from the start.
    beat: AtomicU64,
}

impl State {
    fn of(cores: usize) -> Self {
        State { permits: Permits::new(cores), start: Instant::now(), beat: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn beat(&self) {
        self.beat.store(self.now(), Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        u128::from(self.now().saturating_sub(self.beat.load(Ordering::Relaxed))) >= STUCK.as_millis()
    }
}

impl Cores {
    /// Those of the process.
    pub(crate) fn of_process() -> Self {
        static SHARED: Lazy<Mutex<(u32, Weak<State>)>> = Lazy::new(Mutex::default);
        Cores(super::of_process(&SHARED, || State::of(available())))
    }

    /// Waits for so many cores, or for all where there are fewer, as long as `call` allows. Where those who have them
    /// decode nothing, there is nothing to wait for.
    pub(crate) fn turn(&self, threads: usize, call: &Call) -> Result<Turn> {
        let permit = self.0.permits.take_unless(threads, call, &|| self.0.is_stuck())?;
        self.0.beat();
        Ok(Turn { permit, state: Arc::clone(&self.0), since: Instant::now() })
    }

    pub(crate) fn count(&self) -> usize {
        self.0.permits.total()
    }

    /// How many decoders wait for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.0.permits.waiting()
    }
}

/// The cores that the process may use, by its affinity and its control group.
pub(crate) fn available() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Cores that a call may use until this is dropped.
pub(crate) struct Turn {
    /// None for who did not get them and goes on nevertheless.
    permit: Option<Permit>,
    state: Arc<State>,
    since: Instant,
}

impl Turn {
    /// To be told often while decoding goes on. Lets others have their turn when this one has lasted long enough, and comes
    /// back when it is its turn again.
    pub(crate) fn breathe(&mut self, call: &Call) -> Result<()> {
        let Some(permit) = self.permit.take() else { return Ok(()) };
        self.state.beat();
        self.permit = match self.since.elapsed() >= TURN && self.state.permits.waiting() > 0 {
            false => Some(permit),
            true => {
                let n = permit.count();
                drop(permit);
                self.since = Instant::now();
                self.state.permits.take_unless(n, call, &|| self.state.is_stuck())?
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(n: usize) -> Cores {
        Cores(Arc::new(State::of(n)))
    }

    #[test]
    fn who_decodes_nothing_keeps_nobody_waiting() {
        let cores = cores(2);
        let stuck = cores.turn(2, &Call::default()).unwrap();
        let other = cores.turn(1, &Call::default()).unwrap();
        assert!(other.permit.is_none());
        drop(stuck);
        assert!(cores.turn(2, &Call::default()).unwrap().permit.is_some());
    }

    #[test]
    fn a_long_turn_ends_when_others_wait() {
        let cores = cores(1);
        let mut film = cores.turn(1, &Call::default()).unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| cores.turn(1, &Call::default()).unwrap().permit.is_some());
            while !other.is_finished() {
                film.breathe(&Call::default()).unwrap();
            }
            assert!(other.join().unwrap());
        });
        assert!(film.permit.is_some());
        // One that is over is not begun again by whoever has no time left.
        let late = Call::new(Some(Duration::ZERO), None);
        assert!(cores.turn(1, &late).is_err());
    }
}
