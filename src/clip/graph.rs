//! Passes that are recorded and replayed. A small pass is bounded by the launching of its hundred or so kernels; a replay is one launch.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

use tch::{Kind, Tensor};

use crate::error::{Error, Result, Status};
use crate::gpu::{Graph, Pool};
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

    /// Records what `work` does. `first`: there are no others.
    fn record(&self, first: bool, work: &mut dyn FnMut() -> Result<Tensor>) -> Result<(Self::Tape, Tensor)>;
    fn replay(&self, tape: &Self::Tape) -> Result<()>;
}

/// CUDA's graphs.
#[derive(Default)]
pub(super) struct Cuda {
    pool: Cell<Option<Pool>>,
}

impl Recorder for Cuda {
    type Tape = Graph;

    fn record(&self, first: bool, work: &mut dyn FnMut() -> Result<Tensor>) -> Result<(Graph, Tensor)> {
        // A pool does not outlive the recordings in it.
        let pool = match self.pool.get().filter(|_| !first) {
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
        let first = self.recordings.borrow().is_empty();
        let (tape, recorded) = self.recorder.record(first, &mut || pass(&inputs))?;
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Records nothing: what was computed while recording is there, and replays change it as a test wants.
    #[derive(Clone, Default)]
    struct Fake {
        /// What a replay adds to the output, or that it fails.
        off: Arc<Mutex<Option<f64>>>,
        fails: bool,
        /// Of each recording whether it was the first.
        first: Arc<Mutex<Vec<bool>>>,
        recorded: Arc<Mutex<usize>>,
        replayed: Arc<Mutex<usize>>,
    }

    impl Recorder for Fake {
        type Tape = Tensor;

        fn record(&self, first: bool, work: &mut dyn FnMut() -> Result<Tensor>) -> Result<(Tensor, Tensor)> {
            self.first.lock().unwrap().push(first);
            *self.recorded.lock().unwrap() += 1;
            if self.fails {
                return Err(Error::new(Status::Backend, "this cannot be recorded"));
            }
            let output = work()?;
            Ok((output.shallow_clone(), output))
        }

        fn replay(&self, output: &Tensor) -> Result<()> {
            *self.replayed.lock().unwrap() += 1;
            if let Some(off) = *self.off.lock().unwrap() {
                let _ = output.shallow_clone().f_add_scalar_(off)?;
            }
            Ok(())
        }
    }

    fn twice(inputs: &[Tensor]) -> Result<Tensor> {
        Ok(inputs[0].f_mul_scalar(2.0)?)
    }

    /// Runs it with `value`; what came out, and what was said.
    fn runs(fake: &Fake, values: &[f32]) -> (Vec<f32>, Vec<String>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&said);
        let log = Log::new(Level::Warn, move |_, text| sink.lock().unwrap().push(text.to_string()));
        let graphs = Graphs::<i64, Fake>::new(fake.clone(), &log);
        let run = |&value: &f32| {
            let input = Tensor::from_slice(&[value]);
            graphs.run(1, &[input], &twice).unwrap().double_value(&[0]) as f32
        };
        let out = values.iter().map(run).collect();
        let said = said.lock().unwrap().clone();
        (out, said)
    }

    #[test]
    fn the_second_pass_is_recorded_and_the_others_are_replayed() {
        let fake = Fake::default();
        let (out, said) = runs(&fake, &[1.0, 2.0, 3.0, 4.0]);
        // The fake computes nothing when it replays: what is there is of the recording.
        assert_eq!(out, [2.0, 4.0, 4.0, 4.0]);
        assert_eq!((*fake.recorded.lock().unwrap(), *fake.replayed.lock().unwrap()), (1, 3));
        assert!(said.is_empty());
    }

    #[test]
    fn a_replay_reads_its_inputs_where_the_recording_did() {
        let place = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&place);
        let graphs = Graphs::<i64, Fake>::new(Fake::default(), &Log::default());
        let pass = move |inputs: &[Tensor]| {
            seen.lock().unwrap().push(inputs[0].shallow_clone());
            twice(inputs)
        };
        for value in [1.0f32, 2.0, 3.0] {
            drop(graphs.run(1, &[Tensor::from_slice(&[value])], &pass).unwrap());
        }
        let seen = place.lock().unwrap();
        // As it is, as it is and recorded; the third went into what was recorded.
        let values: Vec<f64> = seen.iter().map(|input| input.double_value(&[0])).collect();
        assert_eq!(values, [1.0, 2.0, 3.0]);
        assert_ne!(seen[1].data_ptr(), seen[2].data_ptr());
    }

    #[test]
    fn a_replay_that_gives_something_else_is_not_used() {
        let fake = Fake { off: Arc::new(Mutex::new(Some(0.5))), ..Fake::default() };
        let (out, said) = runs(&fake, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(out, [2.0, 4.0, 6.0, 8.0]);
        assert_eq!(*fake.recorded.lock().unwrap(), 1);
        assert!(said.len() == 1 && said[0].contains("off by 0.5"), "{said:?}");
        let nan = Fake { off: Arc::new(Mutex::new(Some(f64::NAN))), ..Fake::default() };
        assert_eq!(runs(&nan, &[1.0, 2.0, 3.0]).0, [2.0, 4.0, 6.0]);
    }

    #[test]
    fn what_cannot_be_recorded_is_computed() {
        let fake = Fake { fails: true, ..Fake::default() };
        let (out, said) = runs(&fake, &[1.0, 2.0, 3.0, 4.0]);
        assert_eq!(out, [2.0, 4.0, 6.0, 8.0]);
        assert_eq!(*fake.recorded.lock().unwrap(), 1);
        assert!(said.len() == 1 && said[0].contains("this cannot be recorded"), "{said:?}");
    }

    #[test]
    fn what_is_cleared_is_recorded_again() {
        let fake = Fake::default();
        let graphs = Graphs::<i64, Fake>::new(fake.clone(), &Log::default());
        for _ in 0..2 {
            for key in [1, 1, 1, 2, 2] {
                drop(graphs.run(key, &[Tensor::from_slice(&[1.0f32])], &twice).unwrap());
            }
            graphs.clear();
        }
        assert_eq!(*fake.recorded.lock().unwrap(), 4);
        assert_eq!(*fake.first.lock().unwrap(), [true, false, true, false]);
    }
}
