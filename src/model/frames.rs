//! The frames of one call on their way through the model.

use ndarray::{Array2, Axis};

use super::Model;
use crate::clip::{Clip, Image, Square};
use crate::error::Result;
use crate::runtime::{Call, Finish, Request};

/// Frames that a call keeps to itself before it hands them over, at most.
const MOST_KEPT: usize = 64;

/// What the frames are to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// Each follows the one before it.
    Video,
    Strangers,
}

/// A video's one row from those of its frames.
pub(super) fn head() -> Finish<Clip> {
    Box::new(|clip, rows| clip.video(&rows))
}

pub(super) fn as_they_are() -> Finish<Clip> {
    Box::new(|_, rows| Ok(rows))
}

pub(super) struct Frames<'m> {
    model: &'m Model,
    call: Call,
    kin: Kin,
    /// Whether a frame's row hangs on its neighbours.
    three_d: bool,
    request: Request<'m, Clip, Image>,
    /// Frames that have not been handed over.
    kept: Vec<Image>,
    last: Option<Square>,
    /// Which row is each frame's; those that repeat the one before share it.
    rows: Vec<usize>,
}

impl<'m> Frames<'m> {
    pub(super) fn new(model: &'m Model, kin: Kin, call: &Call) -> Result<Self> {
        let three_d = kin == Kin::Video && model.info.arch.vision.as_ref().is_some_and(|vision| vision.three_d);
        Ok(Frames {
            model,
            call: call.clone(),
            kin,
            three_d,
            request: model.engine.request(call)?,
            kept: Vec::new(),
            last: None,
            rows: Vec::new(),
        })
    }

    /// Forgets what came so far.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.request = self.model.engine.request(&self.call)?;
        self.kept.clear();
        self.last = None;
        self.rows.clear();
        Ok(())
    }

    /// The next frame. Full batches are handed over while others are yet to come, and may have to wait for room; less would
    /// make the model begin with what it can do better together.
    pub(super) fn push(&mut self, square: Square) -> Result<()> {
        let again = self.last.as_ref().is_some_and(|last| Square::ptr_eq(last, &square));
        let row = self.rows.last().map_or(0, |row| row + usize::from(self.three_d || !again));
        self.rows.push(row);
        if self.kin == Kin::Video {
            self.model.check_count(self.rows.len())?;
        }
        if again && !self.three_d {
            return Ok(());
        }
        let mut image = Image { own: square.clone(), before: None, after: None };
        if self.three_d {
            image.before = self.last.clone();
            if let Some(before) = self.kept.last_mut() {
                before.after = Some(square.clone());
            }
        }
        self.last = Some(square);
        if self.kept.len() >= self.model.info.max_batch.min(MOST_KEPT) {
            self.hand_over()?;
        }
        self.kept.push(image);
        Ok(())
    }

    fn hand_over(&mut self) -> Result<()> {
        self.request.push(std::mem::take(&mut self.kept))
    }

    /// There are no more frames; `finish` makes the result of the rows of all of them.
    pub(super) fn finish(&mut self, finish: Finish<Clip>) -> Result<()> {
        self.hand_over()?;
        let rows = std::mem::take(&mut self.rows);
        self.request.finish(Box::new(move |clip, distinct: Array2<f32>| {
            if rows.len() == distinct.nrows() {
                return finish(clip, distinct);
            }
            finish(clip, distinct.select(Axis(0), &rows))
        }));
        Ok(())
    }

    pub(super) fn wait(&mut self) -> Result<Array2<f32>> {
        self.request.wait()
    }

    pub(super) fn is_done(&self) -> bool {
        self.request.is_done()
    }
}
