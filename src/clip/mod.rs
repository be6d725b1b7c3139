//! The forward passes: images and token ids in, embeddings out. Float32 on libtorch; every call is fallible.

mod block;
mod temporal;
mod text;
mod vision;

use ndarray::Array2;
use tch::{Kind, Tensor};

use crate::error::{Error, Result, Status};
use crate::options::{Activation, Head, Modality, ModelName};
use crate::weights::{Arch, Checkpoint, HeadKeys};
use text::TextTower;
use vision::VisionTower;

/// How to read a checkpoint into a model.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    pub modality: Modality,
    pub model_name: Option<ModelName>,
    pub head: Option<Head>,
    pub activation: Activation,
    /// The most images in one forward pass.
    pub max_batch: usize,
}

/// A loaded model. Its tensors may be used by one thread at a time.
pub struct Clip {
    pub arch: Arch,
    pub head: Head,
    /// The logarithm of the temperature, where the checkpoint has one.
    pub logit_scale: Option<f32>,
    vision: Option<VisionTower>,
    text: Option<TextTower>,
    max_batch: usize,
}

impl Clip {
    /// Takes the model out of a checkpoint.
    ///
    /// # Errors
    /// `WeightsMismatch` for a tensor that is missing, superfluous or of the wrong shape; `Unsupported` for a head that
    /// is not computed yet.
    pub fn load(mut weights: Checkpoint, options: LoadOptions) -> Result<Clip> {
        let head = choose_head(weights.head(), options.head)?;
        let arch = Arch::infer(&mut weights, options.modality, options.model_name)?;
        weights.discard_head();
        let act = options.activation;
        let vision = arch.vision.as_ref().map(|v| VisionTower::load(&mut weights, v, arch.embed, act)).transpose()?;
        let text = arch.text.as_ref().map(|t| TextTower::load(&mut weights, t, arch.embed, act)).transpose()?;
        let logit_scale = match weights.contains("logit_scale") {
            true => Some(weights.take("logit_scale", &[])?.f_double_value(&[])? as f32),
            false => None,
        };
        weights.finish()?;
        Ok(Clip { arch, head, logit_scale, vision, text, max_batch: options.max_batch.max(1) })
    }

    /// Raw embeddings of texts, one row each. The ids of a text end with its end token.
    pub fn texts(&self, ids: &[Vec<u32>]) -> Result<Array2<f32>> {
        let tower = self.text.as_ref().ok_or_else(|| Error::new(Status::Modality, "this model has no text tower"))?;
        // Alike lengths share a pass, so that little of it is padding.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&i| ids[i].len());
        let mut out = Array2::zeros((ids.len(), self.arch.embed));
        for group in order.chunks(TextTower::MAX_BATCH) {
            let batch: Vec<&[u32]> = group.iter().map(|&i| ids[i].as_slice()).collect();
            let rows = to_rows(&tower.encode(&batch)?)?;
            for (row, &i) in rows.rows().into_iter().zip(group) {
                out.row_mut(i).assign(&row);
            }
        }
        Ok(out)
    }

    /// Raw embeddings of images, one row each. `pixels` holds squares of RGB bytes of the model's resolution.
    pub fn images(&self, pixels: &[u8]) -> Result<Array2<f32>> {
        let tower =
            self.vision.as_ref().ok_or_else(|| Error::new(Status::Modality, "this model has no vision tower"))?;
        let image = tower.image_len();
        if pixels.is_empty() || !pixels.len().is_multiple_of(image) {
            return Err(Error::internal(format_args!("{} bytes are no whole number of images", pixels.len())));
        }
        let parts = pixels.chunks(image * self.max_batch).map(|part| tower.encode(part)).collect::<Result<Vec<_>>>()?;
        to_rows(&Tensor::f_cat(&parts, 0)?)
    }

    /// One video's embedding from the raw ones of its frames, by the model's head: one row, not normalised.
    pub fn pool(&self, frames: &Array2<f32>) -> Result<Array2<f32>> {
        let frames = Tensor::try_from(frames)?;
        to_rows(&match self.head {
            Head::Mean => temporal::mean(&frames)?,
        })
    }
}

fn choose_head(found: HeadKeys, asked: Option<Head>) -> Result<Head> {
    let name = match (found, asked) {
        (HeadKeys::Mean, _) | (_, Some(Head::Mean)) => return Ok(Head::Mean),
        (HeadKeys::SeqTransf, None) => "seqTransf",
        (HeadKeys::SeqLstm, None) => "seqLSTM",
        (HeadKeys::TightTransf, None) => "tightTransf",
    };
    Err(Error::unsupported(format_args!(
        "head: the checkpoint carries the {name} head, which this version does not compute; set head to MEAN to use its \
         towers with mean pooling, as the operator does"
    )))
}

/// Two-dimensional float32 values out of libtorch.
fn to_rows(tensor: &Tensor) -> Result<Array2<f32>> {
    let (rows, columns) = tensor.size2()?;
    let (rows, columns) = (rows as usize, columns as usize);
    let mut values = vec![0f32; rows * columns];
    let len = values.len();
    tensor.f_to_kind(Kind::Float)?.f_contiguous()?.f_copy_data(&mut values, len)?;
    Array2::from_shape_vec((rows, columns), values).map_err(Error::internal)
}
