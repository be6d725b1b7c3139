//! Things that callers share and that there is a fixed number of: bytes of room in a queue, cores.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{bounded, Sender};
use parking_lot::Mutex;

use super::Call;
use crate::error::{Error, Result};

/// Given out in the order in which they were asked for: whoever wants little does not overtake whoever wants much.
pub(crate) struct Permits {
    total: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    line: VecDeque<Waiter>,
    next: u64,
}

struct Waiter {
    id: u64,
    wants: usize,
    granted: Sender<()>,
}

impl State {
    fn serve(&mut self) {
        while let Some(first) = self.line.front().filter(|w| w.wants <= self.free) {
            self.free -= first.wants;
            // There is room for the one message, and whoever has gone gives back what was granted.
            let _ = first.granted.send(());
            self.line.pop_front();
        }
    }
}

impl Permits {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Permits { total, state: Mutex::new(State { free: total, line: VecDeque::new(), next: 0 }) })
    }

    /// Takes `n`, or all where that is more than there are; waits for them as long as `call` allows.
    ///
    /// # Errors
    /// `Cancelled` and `Timeout`.
    pub(crate) fn take(self: &Arc<Self>, n: usize, call: &Call) -> Result<Permit> {
        match self.take_unless(n, call, &|| false)? {
            Some(permit) => Ok(permit),
            None => Err(Error::internal("gave up waiting, although nobody asked for it")),
        }
    }

    /// The same, or None when `give_up` is found to be so while waiting; it is asked now and then.
    pub(crate) fn take_unless(
        self: &Arc<Self>,
        n: usize,
        call: &Call,
        give_up: &dyn Fn() -> bool,
    ) -> Result<Option<Permit>> {
        const NOW_AND_THEN: Duration = Duration::from_millis(250);
        let wants = n.min(self.total);
        let permit = || Permit { of: Arc::clone(self), n: wants };
        let (id, grant) = {
            let mut state = self.state.lock();
            if state.line.is_empty() && wants <= state.free {
                state.free -= wants;
                return Ok(Some(permit()));
            }
            let (granted, grant) = bounded(1);
            let id = state.next;
            state.next += 1;
            state.line.push_back(Waiter { id, wants, granted });
            (id, grant)
        };
        let outcome = loop {
            match call.wait_at_most(&grant, NOW_AND_THEN) {
                Ok(Some(_)) => return Ok(Some(permit())),
                Ok(None) if !give_up() => {}
                Ok(None) => break Ok(None),
                Err(error) => break Err(error),
            }
        };
        let mut state = self.state.lock();
        match state.line.iter().position(|w| w.id == id) {
            Some(place) => drop(state.line.remove(place)),
            // They came in the same moment.
            None => state.free += wants,
        }
        state.serve();
        outcome
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn taken(&self) -> usize {
        self.total - self.state.lock().free
    }

    /// How many wait for theirs.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().line.len()
    }
}

/// What was taken; it goes back when this is dropped.
pub(crate) struct Permit {
    of: Arc<Permits>,
    n: usize,
}

impl Permit {
    pub(crate) fn count(&self) -> usize {
        self.n
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.of.state.lock();
        state.free += self.n;
        state.serve();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::error::Status;
    use crate::runtime::Cancel;

    /// Asks on a thread of its own, and returns when it stands in the line.
    fn ask(permits: &Arc<Permits>, n: usize, call: Call, name: &'static str, came: &mpsc::Sender<&'static str>) {
        let before = permits.waiting();
        let (permits_, came) = (Arc::clone(permits), came.clone());
        std::thread::spawn(move || match permits_.take(n, &call) {
            Ok(permit) => came.send(name).map(|()| drop(permit)),
            Err(_) => came.send("gave up"),
        });
        while permits.waiting() == before {
            std::thread::yield_now();
        }
    }

    #[test]
    fn first_come_first_served() {
        let permits = Permits::new(10);
        let (came, order) = mpsc::channel();
        let all = permits.take(100, &Call::default()).unwrap();
        assert_eq!(permits.taken(), 10);
        ask(&permits, 9, Call::default(), "much", &came);
        ask(&permits, 2, Call::default(), "little", &came);
        drop(all);
        assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["much", "little"]);
        while permits.taken() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn who_gives_up_holds_up_nobody() {
        let permits = Permits::new(2);
        let (came, order) = mpsc::channel();
        let one = permits.take(1, &Call::default()).unwrap();
        let cancel = Cancel::new();
        ask(&permits, 2, Call::new(None, Some(cancel.clone())), "never", &came);
        ask(&permits, 1, Call::default(), "behind", &came);
        cancel.fire();
        let mut both = [order.recv().unwrap(), order.recv().unwrap()];
        both.sort_unstable();
        assert_eq!(both, ["behind", "gave up"]);
        let late = permits.take(2, &Call::new(Some(Duration::from_millis(2)), None));
        assert_eq!(late.err().unwrap().status(), Status::Timeout);
        drop(one);
        assert_eq!((permits.taken(), permits.waiting()), (0, 0));
    }
}
