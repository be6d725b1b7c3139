//! From the embeddings of a video's frames to the video's.

use tch::{Kind, Tensor};

use crate::error::Result;

/// CLIP4Clip's meanP: the mean of the frames' unit vectors, `[n, embed]` to `[1, embed]`. Not the unit vector of the
/// mean: frames count alike, however long their vectors are.
pub(super) fn mean(frames: &Tensor) -> Result<Tensor> {
    let norms = frames.f_norm_scalaropt_dim(2.0, [1i64], true)?;
    Ok(frames.f_div(&norms)?.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)
}
