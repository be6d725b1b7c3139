//! The vision tower.

use tch::{Kind, Tensor};

use super::block::{load_stack, Block, BlockShape, LayerNorm};
use crate::error::Result;
use crate::options::Activation;
use crate::weights::{Checkpoint, VisionArch};

/// CLIP's per-channel mean and standard deviation of RGB values between 0 and 1.
const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

pub(super) struct VisionTower {
    /// `[width, patch·patch·3]`, for bytes in the order row, column, channel: the convolution with the division by 255
    /// and by the standard deviation folded in.
    patches: Tensor,
    /// `[patches, width]`: their positions, less what the subtraction of the mean amounts to after the convolution.
    positions: Tensor,
    /// `[1, width]`: the class token with its position.
    class: Tensor,
    ln_pre: LayerNorm,
    blocks: Vec<Block>,
    ln_post: LayerNorm,
    /// `[width, embed]`
    proj: Tensor,
    arch: VisionArch,
}

impl VisionTower {
    pub(super) fn load(
        weights: &mut Checkpoint,
        arch: &VisionArch,
        embed: usize,
        activation: Activation,
    ) -> Result<Self> {
        let (width, patch) = (arch.width, arch.patch);
        let conv = weights.take("visual.conv1.weight", &[width, 3, patch, patch])?;
        let positions = weights.take("visual.positional_embedding", &[arch.grid * arch.grid + 1, width])?;
        let class = weights.take("visual.class_embedding", &[width])?;

        // ((u/255 - mean)/std) · W  =  u · W/(255 std)  -  Σ (mean/std) W
        let channel = |values: [f64; 3]| Tensor::f_from_slice(&values.map(|v| v as f32))?.f_view([1, 3, 1, 1]);
        let scaled = conv.f_div(&channel(STD)?)?;
        let shift = scaled.f_mul(&channel(MEAN)?)?.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float)?;
        let patches = scaled.f_div_scalar(255.0)?.f_permute([0, 2, 3, 1])?.f_reshape([width as i64, -1])?;

        let shape = BlockShape { width, heads: arch.heads, eps: LayerNorm::EPS, activation };
        Ok(VisionTower {
            patches,
            class: positions.f_narrow(0, 0, 1)?.f_add(&class)?,
            positions: positions.f_narrow(0, 1, (arch.grid * arch.grid) as i64)?.f_sub(&shift)?,
            ln_pre: LayerNorm::load(weights, "visual.ln_pre", width, LayerNorm::EPS)?,
            blocks: load_stack(weights, "visual.transformer.resblocks.", arch.layers, shape)?,
            ln_post: LayerNorm::load(weights, "visual.ln_post", width, LayerNorm::EPS)?,
            proj: weights.take("visual.proj", &[width, embed])?,
            arch: arch.clone(),
        })
    }

    /// Bytes of one image.
    pub(super) fn image_len(&self) -> usize {
        self.arch.resolution() * self.arch.resolution() * 3
    }

    /// Images of RGB bytes, rows from the top, to `[n, embed]` raw embeddings.
    pub(super) fn encode(&self, pixels: &[u8]) -> Result<Tensor> {
        let n = (pixels.len() / self.image_len()) as i64;
        let (grid, patch, width) = (self.arch.grid as i64, self.arch.patch as i64, self.arch.width as i64);
        let tokens = Tensor::f_from_data_size(pixels, &[n, grid, patch, grid, patch * 3], Kind::Uint8)?
            .f_permute([0, 1, 3, 2, 4])?
            .f_to_kind(Kind::Float)?
            .f_reshape([n, grid * grid, patch * patch * 3])?
            .f_linear::<&Tensor>(&self.patches, None)?
            .f_add(&self.positions)?;
        let class = self.class.f_expand([n, 1, width], false)?;
        let mut x = self.ln_pre.forward(&Tensor::f_cat(&[&class, &tokens], 1)?)?;
        let Some((last, blocks)) = self.blocks.split_last() else {
            return self.finish(&x.f_narrow(1, 0, 1)?);
        };
        for block in blocks {
            x = block.forward(&x, false)?;
        }
        // Only the class token is read, so the last block computes no other.
        let class = Tensor::f_zeros([n, 1, 1], (Kind::Int64, tch::Device::Cpu))?;
        self.finish(&last.forward_pooled(&x, &class, None)?)
    }

    fn finish(&self, class: &Tensor) -> Result<Tensor> {
        Ok(self.ln_post.forward(&class.f_squeeze_dim(1)?)?.f_matmul(&self.proj)?)
    }
}
