//! The head's own similarity of texts and a video.

use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView1, Axis};

use super::frames::{as_they_are, head, Kin};
use super::Model;
use crate::error::{Error, Result, Status};
use crate::image::{AnyFrames, Frame};
use crate::options::Head;
use crate::runtime::Call;

/// How many texts tightTransf scores in one pass.
const PAIRS: usize = 32;

impl Model {
    /// How well each text goes with the video that these frames make, by the model's head: for tightTransf what its
    /// transformer says, for the others the cosine times the temperature, `exp(logit_scale)`.
    ///
    /// # Errors
    /// As [`Model::embed_text`] and [`Model::embed_frames`]; `Unsupported` if the checkpoint has no temperature.
    pub fn score(&self, texts: &[&str], frames: &[Frame], call: &Call) -> Result<Array1<f32>> {
        self.score_any(texts, &frames.into(), call)
    }

    /// The same, wherever the frames lie; `Device` where that is a GPU that cannot be used.
    pub(crate) fn score_any(&self, texts: &[&str], frames: &AnyFrames, call: &Call) -> Result<Array1<f32>> {
        self.check_count(frames.len())?;
        if self.info.head != Head::TightTransf && self.info.logit_scale.is_none() {
            return Err(Error::unsupported(
                "the checkpoint has no `logit_scale`, so there is no score; compare vectors",
            ));
        }
        self.resolution()?;
        let texts = self.raw_texts(texts, call)?;
        let scores = match self.info.head {
            Head::TightTransf => self.tight_scores(&texts, frames, call)?,
            _ => {
                let video = self.frames(frames, Kin::Video, call, head())?;
                let scale = f64::from(self.info.logit_scale.unwrap_or_default()).exp();
                texts.rows().into_iter().map(|text| (cosine(text, video.row(0)) * scale) as f32).collect()
            }
        };
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores),
            false => Err(Error::new(Status::Backend, "the model computed a score that is not finite")),
        }
    }

    fn tight_scores(&self, texts: &Array2<f32>, frames: &AnyFrames, call: &Call) -> Result<Array1<f32>> {
        let frames = Arc::new(self.frames(frames, Kin::Video, call, as_they_are())?);
        let mut scores = Vec::with_capacity(texts.nrows());
        for texts in texts.axis_chunks_iter(Axis(0), PAIRS) {
            let (texts, frames) = (texts.to_owned(), Arc::clone(&frames));
            scores.extend(self.engine.run(call, move |clip| clip.scores(&texts, &frames))?);
        }
        Ok(scores.into())
    }
}

fn cosine(a: ArrayView1<f32>, b: ArrayView1<f32>) -> f64 {
    let dot = |a: ArrayView1<f32>, b: ArrayView1<f32>| {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
