//! CLIP4Clip's heads: from the embeddings of a video's frames to the video's, or to its score against a text. Always in
//! single precision.

use tch::{Device, Kind, Tensor};

use super::block::{load_stack, stack_on, Block, BlockShape, Even, LayerNorm};
use crate::error::{Error, Result};
use crate::options::{Activation, Head};
use crate::weights::{Arch, Checkpoint};

/// The epsilon of the heads' LayerNorms, which is not the towers'.
const EPS: f64 = 1e-12;
/// tightTransf has 8 attention heads whatever its width.
const CROSS_HEADS: usize = 8;

pub(super) enum Temporal {
    /// Nothing to compute before pooling, or nothing loaded because no frames will come.
    Mean,
    SeqTransf {
        /// `[most frames, embed]`
        positions: Tensor,
        blocks: Vec<Block>,
    },
    SeqLstm {
        /// Input and hidden weights and biases; gates in the order input, forget, cell, output. Always on the CPU: steps one
        /// after the other, which are small.
        parameters: [Tensor; 4],
    },
    TightTransf(Cross),
}

/// The transformer over a text and the frames.
pub(super) struct Cross {
    /// `[1 + most frames, embed]`
    positions: Tensor,
    blocks: Vec<Block>,
    pooler_norm: LayerNorm,
    pooler: (Tensor, Tensor),
    similarity: (Tensor, Tensor),
}

impl Temporal {
    /// Takes the tensors of `head`; other heads' that the file carries are left out.
    pub(super) fn load(weights: &mut Checkpoint, head: Head, arch: &Arch) -> Result<Self> {
        let embed = arch.embed;
        let shape = |heads| BlockShape {
            width: embed,
            heads,
            eps: EPS,
            activation: Activation::QuickGelu,
            kind: Kind::Float,
            residual: Kind::Float,
        };
        let temporal = match head {
            // A process that embeds texts alone has no use for a head, and tightTransf needs both sides.
            _ if arch.vision.is_none() => Temporal::Mean,
            Head::TightTransf if arch.text.is_none() => Temporal::Mean,
            Head::Mean => Temporal::Mean,
            Head::SeqTransf => {
                let prefix = "transformerClip.resblocks.";
                let layers = weights.layers(prefix);
                if !embed.is_multiple_of(64) {
                    return Err(Error::weights_mismatch(format_args!(
                        "seqTransf is {embed} wide, expected a multiple of 64"
                    )));
                }
                Temporal::SeqTransf {
                    positions: positions(weights, "frame_position_embeddings.weight", embed)?,
                    blocks: load_stack(weights, prefix, layers, shape(embed / 64))?,
                }
            }
            Head::SeqLstm => Temporal::SeqLstm {
                parameters: [
                    weights.take("lstm_visual.weight_ih_l0", &[4 * embed, embed])?.f_to_device(Device::Cpu)?,
                    weights.take("lstm_visual.weight_hh_l0", &[4 * embed, embed])?.f_to_device(Device::Cpu)?,
                    weights.take("lstm_visual.bias_ih_l0", &[4 * embed])?.f_to_device(Device::Cpu)?,
                    weights.take("lstm_visual.bias_hh_l0", &[4 * embed])?.f_to_device(Device::Cpu)?,
                ],
            },
            Head::TightTransf => {
                let prefix = "cross.transformer.resblocks.";
                let layers = weights.layers(prefix);
                if !embed.is_multiple_of(CROSS_HEADS) {
                    return Err(Error::weights_mismatch(format_args!(
                        "tightTransf is {embed} wide, expected a multiple of 8"
                    )));
                }
                Temporal::TightTransf(Cross {
                    positions: positions(weights, "cross.embeddings.position_embeddings.weight", embed)?,
                    blocks: load_stack(weights, prefix, layers, shape(CROSS_HEADS))?,
                    pooler_norm: LayerNorm::load(weights, "cross.pooler.ln_pool", embed, EPS)?,
                    pooler: (
                        weights.take("cross.pooler.dense.weight", &[embed, embed])?,
                        weights.take("cross.pooler.dense.bias", &[embed])?,
                    ),
                    similarity: (
                        weights.take("similarity_dense.weight", &[1, embed])?,
                        weights.take("similarity_dense.bias", &[1])?,
                    ),
                })
            }
        };
        weights.discard_heads();
        Ok(temporal)
    }

    /// The same head on a device; where it is there already, in the same memory.
    pub(super) fn on(&self, device: Device) -> Result<Self> {
        let pair = |(a, b): &(Tensor, Tensor)| -> Result<(Tensor, Tensor)> {
            Ok((a.f_to_device(device)?, b.f_to_device(device)?))
        };
        Ok(match self {
            Temporal::Mean => Temporal::Mean,
            Temporal::SeqTransf { positions, blocks } => {
                Temporal::SeqTransf { positions: positions.f_to_device(device)?, blocks: stack_on(blocks, device)? }
            }
            Temporal::SeqLstm { parameters } => {
                Temporal::SeqLstm { parameters: parameters.each_ref().map(Tensor::shallow_clone) }
            }
            Temporal::TightTransf(cross) => Temporal::TightTransf(Cross {
                positions: cross.positions.f_to_device(device)?,
                blocks: stack_on(&cross.blocks, device)?,
                pooler_norm: cross.pooler_norm.on(device)?,
                pooler: pair(&cross.pooler)?,
                similarity: pair(&cross.similarity)?,
            }),
        })
    }

    /// Where it computes.
    pub(super) fn device(&self) -> Device {
        match self {
            Temporal::Mean | Temporal::SeqLstm { .. } => Device::Cpu,
            Temporal::SeqTransf { positions, .. } => positions.device(),
            Temporal::TightTransf(cross) => cross.positions.device(),
        }
    }

    /// How many frames it has positions for, where they are numbered.
    pub(super) fn most_frames(&self) -> Option<usize> {
        let rows = |positions: &Tensor| usize::try_from(positions.size()[0]).unwrap_or(0);
        match self {
            Temporal::Mean | Temporal::SeqLstm { .. } => None,
            Temporal::SeqTransf { positions, .. } => Some(rows(positions)),
            // The first is the text's.
            Temporal::TightTransf(cross) => Some(rows(&cross.positions).saturating_sub(1)),
        }
    }

    /// `[frames, embed]` to `[1, embed]`: what the head adds to the frames, then the mean of their unit vectors. Not the
    /// unit vector of their mean: frames count alike, however long their vectors are.
    pub(super) fn video(&self, frames: &Tensor) -> Result<Tensor> {
        let frames = match self {
            Temporal::Mean => frames.shallow_clone(),
            Temporal::SeqTransf { positions, blocks } => {
                let mut x = frames.f_add(&first(positions, frames.size()[0])?)?.f_unsqueeze(0)?;
                for block in blocks {
                    x = block.forward(&x, &Even)?;
                }
                x.f_squeeze_dim(0)?.f_add(frames)?
            }
            Temporal::SeqLstm { parameters } => {
                let rest = Tensor::f_zeros([1, 1, frames.size()[1]], (Kind::Float, Device::Cpu))?;
                let start = [&rest, &rest];
                let parameters = parameters.each_ref();
                let (hidden, _, _) =
                    frames.f_unsqueeze(0)?.f_lstm(&start, &parameters, true, 1, 0.0, false, false, true)?;
                hidden.f_squeeze_dim(0)?.f_add(frames)?
            }
            Temporal::TightTransf(_) => return Err(Error::internal("tightTransf was asked for a video vector")),
        };
        Ok(unit(&frames)?.f_mean_dim([0i64].as_slice(), true, Kind::Float)?)
    }

    /// tightTransf's score of each text, `[texts, embed]`, against one video, `[frames, embed]`: `[texts, 1]`, in one pass.
    pub(super) fn scores(&self, texts: &Tensor, frames: &Tensor) -> Result<Tensor> {
        let Temporal::TightTransf(cross) = self else {
            return Err(Error::internal("only tightTransf scores pairs"));
        };
        let (count, width) = frames.size2()?;
        let positions = first(&cross.positions, count + 1)?;
        let frames = frames.f_unsqueeze(0)?.f_expand([texts.size()[0], count, width], false)?;
        let mut x = Tensor::f_cat(&[texts.f_unsqueeze(1)?, frames], 1)?.f_add(&positions)?;
        for block in &cross.blocks {
            x = block.forward(&x, &Even)?;
        }
        let pooled = cross.pooler_norm.forward(&x.f_select(1, 0)?)?.f_linear(&cross.pooler.0, Some(&cross.pooler.1))?;
        // QuickGELU, as everywhere in the heads.
        let pooled = pooled.f_mul_scalar(1.702)?.f_sigmoid()?.f_mul(&pooled)?;
        Ok(pooled.f_linear(&cross.similarity.0, Some(&cross.similarity.1))?)
    }
}

/// `x / ‖x‖` of every row; no epsilon.
fn unit(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_div(&x.f_norm_scalaropt_dim(2.0, [1i64], true)?)?)
}

fn positions(weights: &mut Checkpoint, name: &str, embed: usize) -> Result<Tensor> {
    let rows = weights.dim(name, 2, 0)?;
    weights.take(name, &[rows, embed])
}

/// The first `n` positions; nobody asks for more than there are.
fn first(positions: &Tensor, n: i64) -> Result<Tensor> {
    Ok(positions.f_narrow(0, 0, n)?)
}
