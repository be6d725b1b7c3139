//! Passes that are recorded and replayed. A small pass is bounded by the launching of its hundred or so kernels; a replay is one launch.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

use tch::{no_grad, Kind, Tensor};

use super::{Graph, Pool};
use crate::error::{Error, Result, Status};
use crate::runtime::{Level, Log};

/// What was recorded, with the memory that it reads and writes.
struct Recording<G> {
    inputs: Vec<Tensor>,
    output: Tensor,
    tape: G,
}

/// What records.
pub(super) trait Recorder {
    type Tape;

    /// Records what `work` does.
    fn record(&self, work: &mut dyn FnMut() -> Result<Tensor>) -> Result<(Self::Tape, Tensor)>;
    fn replay(&self, tape: &Self::Tape) -> Result<()>;
}

/// CUDA's graphs.
#[derive(Default)]
pub(super) struct Cuda {
    pool: Cell<Option<Pool>>,
}

impl Recorder for Cuda {
    type Tape = Graph;

    fn record(&self, work: &mut dyn FnMut() -> Result<Tensor>) -> Result<(Graph, Tensor)> {
        let pool = match self.pool.get() {
            Some(pool) => pool,
            None => Pool::new()?,
        };
        self.pool.set(Some(pool));
        Graph::record(pool, work)
    }

    fn replay(&self, graph: &Graph) -> Result<()> {
        graph.replay()
    }
}

/// The recorded passes of one thread, told apart by what decides their shapes.
pub(super) struct Graphs<K, R: Recorder> {
    recorder: R,
    /// Passes of which there was one: the first of its kind prepares what must not be prepared while recording.
    seen: RefCell<HashSet<K>>,
    recordings: RefCell<HashMap<K, Recording<R::Tape>>>,
    /// There are no more recordings.
    given_up: Cell<bool>,
    log: Log,
}

impl<K: Copy + Eq + Hash + fmt::Debug, R: Recorder> Graphs<K, R> {
    /// How far a replayed vector may be from what the same kernels computed when they were launched: rounding aside, where a
    /// kernel adds up in any order.
    const FAR: f64 = 1e-2;

    pub(super) fn new(recorder: R, log: &Log) -> Self {
        Graphs {
            recorder,
            seen: RefCell::default(),
            recordings: RefCell::default(),
            given_up: Cell::default(),
            log: log.clone(),
        }
    }

    /// What `pass` makes of the inputs: as it is the first time, recorded the second, and replayed from then on. Of replays the
    /// output is good until the next call.
    pub(super) fn run(&self, key: K, inputs: &[Tensor], pass: &dyn Fn(&[Tensor]) -> Result<Tensor>) -> Result<Tensor> {
        if let Some(recording) = self.recordings.borrow_mut().get_mut(&key) {
            for (to, from) in recording.inputs.iter_mut().zip(inputs) {
                to.f_copy_(from)?;
            }
            self.recorder.replay(&recording.tape)?;
            return Ok(recording.output.shallow_clone());
        }
        let output = pass(inputs)?;
        if !self.given_up.get() && !self.seen.borrow_mut().insert(key) {
            match self.record(inputs, &output, pass) {
                Ok(recording) => drop(self.recordings.borrow_mut().insert(key, recording)),
                // There may be memory for it another time.
                Err(error) if error.status() == Status::OutOfMemory => {}
                Err(error) => {
                    self.given_up.set(true);
                    self.log.say(
                        Level::Warn,
                        format_args!("passes are not recorded any more; the last was {key:?}: {error}"),
                    );
                }
            }
        }
        Ok(output)
    }

    /// A recording that has been found to give what `pass` gave.
    fn record(
        &self,
        inputs: &[Tensor],
        output: &Tensor,
        pass: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    ) -> Result<Recording<R::Tape>> {
        let copy = |x: &Tensor| Ok(x.f_to_device_(x.device(), x.kind(), false, true)?);
        let inputs = inputs.iter().map(copy).collect::<Result<Vec<_>>>()?;
        let (tape, recorded) = self.recorder.record(&mut || no_grad(|| pass(&inputs)))?;
        self.recorder.replay(&tape)?;
        let largest = |x: &Tensor| -> Result<f64> { Ok(x.f_abs()?.f_max()?.f_double_value(&[])?) };
        let (off, size) = (largest(&recorded.f_sub(output)?.f_to_kind(Kind::Float)?)?, largest(output)?);
        // Not the other way round: what is no number is not near.
        if off <= Self::FAR * size {
            return Ok(Recording { inputs, output: recorded, tape });
        }
        Err(Error::internal(format_args!("replayed, the pass is off by {off}, where the largest value is {size}")))
    }

    /// Forgets all recordings; passes are recorded again when they come again.
    pub(super) fn clear(&self) {
        self.recordings.borrow_mut().clear();
        self.seen.borrow_mut().clear();
    }
}
