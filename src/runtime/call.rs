//! How a call ends before its time: its deadline, or somebody who cancels it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, at, bounded, never, Receiver, Sender};
use parking_lot::Mutex;

use crate::error::{Error, Result, Status};

/// Cancels the calls that it was given to. Clones are the same token; once fired it stays so.
#[derive(Clone)]
pub struct Cancel(Arc<Token>);

struct Token {
    fired: AtomicBool,
    /// Nothing is ever sent: that the sender is gone wakes whoever waits.
    sender: Mutex<Option<Sender<()>>>,
    receiver: Receiver<()>,
}

impl Cancel {
    pub fn new() -> Self {
        let (sender, receiver) = bounded(0);
        Cancel(Arc::new(Token { fired: AtomicBool::new(false), sender: Mutex::new(Some(sender)), receiver }))
    }

    /// Ends the calls that have this token, and all later ones, with `Cancelled`.
    pub fn fire(&self) {
        self.0.fired.store(true, Ordering::Relaxed);
        self.0.sender.lock().take();
    }

    pub fn is_fired(&self) -> bool {
        self.0.fired.load(Ordering::Relaxed)
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_fired())
    }
}

/// The limits of one call; by default none.
#[derive(Clone, Debug, Default)]
pub struct Call {
    deadline: Option<Instant>,
    cancel: Option<Cancel>,
}

impl Call {
    /// A call that has `timeout` from now on and ends when `cancel` fires.
    pub fn new(timeout: Option<Duration>, cancel: Option<Cancel>) -> Self {
        // A timeout beyond what the clock can tell is none.
        Call { deadline: timeout.and_then(|t| Instant::now().checked_add(t)), cancel }
    }

    /// The same limits, and `token` in the place of the call's own, which whoever fires it has to watch.
    pub(crate) fn also(&self, token: &Cancel) -> Call {
        Call { deadline: self.deadline, cancel: Some(token.clone()) }
    }

    /// # Errors
    /// `Cancelled` or `Timeout`, once that is so.
    pub fn check(&self) -> Result<()> {
        if self.cancel.as_ref().is_some_and(Cancel::is_fired) {
            return Err(Error::new(Status::Cancelled, "the call was cancelled"));
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(timeout()),
            _ => Ok(()),
        }
    }

    /// Waits for what comes through `channel`; None when nobody is left to send it.
    pub(crate) fn wait<T>(&self, channel: &Receiver<T>) -> Result<Option<T>> {
        self.wait_or(channel, &never())
    }

    /// The same; None also when so much time has passed.
    pub(crate) fn wait_at_most<T>(&self, channel: &Receiver<T>, time: Duration) -> Result<Option<T>> {
        self.wait_or(channel, &after(time))
    }

    fn wait_or<T>(&self, channel: &Receiver<T>, over: &Receiver<Instant>) -> Result<Option<T>> {
        let deadline = self.deadline.map_or_else(never, at);
        let cancelled = self.cancel.as_ref().map_or_else(never, |c| c.0.receiver.clone());
        crossbeam_channel::select! {
            recv(channel) -> value => Ok(value.ok()),
            recv(cancelled) -> _ => Err(Error::new(Status::Cancelled, "the call was cancelled")),
            recv(deadline) -> _ => Err(timeout()),
            recv(over) -> _ => Ok(None),
        }
    }
}

fn timeout() -> Error {
    Error::new(Status::Timeout, "the call's deadline passed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_wakes_those_who_wait() {
        let (cancel, (_sender, receiver)) = (Cancel::new(), bounded::<()>(1));
        let call = Call::new(None, Some(cancel.clone()));
        assert!(call.check().is_ok());
        let waiting = std::thread::spawn({
            let call = call.clone();
            move || call.wait(&receiver).unwrap_err().status()
        });
        cancel.fire();
        assert_eq!(waiting.join().unwrap(), Status::Cancelled);
        assert_eq!(call.check().unwrap_err().status(), Status::Cancelled);
    }

    #[test]
    fn deadlines_pass() {
        let (sender, receiver) = bounded(1);
        let call = Call::new(Some(Duration::from_millis(5)), None);
        assert_eq!(call.wait(&receiver).unwrap_err().status(), Status::Timeout);
        assert_eq!(call.check().unwrap_err().status(), Status::Timeout);
        sender.send(7).unwrap();
        assert_eq!(Call::default().wait(&receiver).unwrap(), Some(7));
        assert!(Call::new(Some(Duration::MAX), None).check().is_ok());
    }
}
