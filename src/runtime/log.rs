//! What the library has to say, to whoever asked to hear it. Silent by default.

use std::fmt;
use std::sync::Arc;

/// How important a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error = 1,
    Warn = 2,
    Info = 3,
    Debug = 4,
}

type Sink = dyn Fn(Level, &str) + Send + Sync;

/// A model's log. Clones share the receiver.
#[derive(Clone, Default)]
pub struct Log(Option<(Level, Arc<Sink>)>);

impl Log {
    /// Messages up to `level` go to `sink`, which is called on whatever thread has something to say.
    pub fn new(level: Level, sink: impl Fn(Level, &str) + Send + Sync + 'static) -> Self {
        Log(Some((level, Arc::new(sink))))
    }

    pub(crate) fn say(&self, level: Level, message: fmt::Arguments) {
        if let Some((most, sink)) = &self.0 {
            if level <= *most {
                sink(level, &message.to_string());
            }
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({:?})", self.0.as_ref().map(|(level, _)| level))
    }
}
