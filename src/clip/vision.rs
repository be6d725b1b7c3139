//! The vision tower.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use super::block::{load_stack, Block, BlockShape, LayerNorm};
use super::Style;
use crate::error::{Error, Result};
use crate::weights::{Checkpoint, VisionArch};

/// CLIP's per-channel mean and standard deviation of RGB values between 0 and 1.
const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

pub(super) struct VisionTower {
    /// `[taps · width, patch · patch · 3]`, for bytes in the order row, column, channel: the convolution with the division
    /// by 255 and by the standard deviation folded in. One tap, or one each for the frame before, the frame itself and
    /// the frame after.
    patches: Tensor,
    /// `[taps · width]`: what the subtraction of the mean amounts to after the convolution.
    shift: Tensor,
    /// `[patches, width]`
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
    pub(super) fn load(weights: &mut Checkpoint, arch: &VisionArch, embed: usize, style: Style) -> Result<Self> {
        let (width, patch, patches) = (arch.width, arch.patch, arch.grid * arch.grid);
        let taps = if arch.three_d {
            // Kept by the training beside conv2, and not used any more.
            weights.skip("visual.conv1.weight");
            let conv = weights.take("visual.conv2.weight", &[width, 3, 3, patch, patch])?;
            // [width, channel, tap, …] to [tap · width, channel, …]
            conv.f_permute([2, 0, 1, 3, 4])?.f_reshape([-1, 3, patch as i64, patch as i64])?
        } else {
            weights.take("visual.conv1.weight", &[width, 3, patch, patch])?
        };
        // ((u/255 - mean)/std) · W  =  u · W/(255 std)  -  Σ (mean/std) W
        let channel = |values: [f64; 3]| Tensor::f_from_slice(&values.map(|v| v as f32))?.f_view([1, 3, 1, 1]);
        let scaled = taps.f_div(&channel(STD)?)?;
        let shift = scaled.f_mul(&channel(MEAN)?)?.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float)?;
        let folded =
            scaled.f_div_scalar(255.0)?.f_permute([0, 2, 3, 1])?.f_reshape([-1, (patch * patch * 3) as i64])?;

        let positions = weights.take("visual.positional_embedding", &[patches + 1, width])?;
        let class = weights.take("visual.class_embedding", &[width])?;
        let shape =
            BlockShape { width, heads: arch.heads, eps: style.eps, activation: style.activation, kind: style.kind };
        Ok(VisionTower {
            patches: folded.f_to_kind(style.kind)?,
            shift,
            class: positions.f_narrow(0, 0, 1)?.f_add(&class)?,
            positions: positions.f_narrow(0, 1, patches as i64)?,
            ln_pre: LayerNorm::load(weights, "visual.ln_pre", width, style.eps)?,
            blocks: load_stack(weights, "visual.transformer.resblocks.", arch.layers, shape)?,
            ln_post: LayerNorm::load(weights, "visual.ln_post", width, style.eps)?,
            proj: weights.take("visual.proj", &[width, embed])?,
            arch: arch.clone(),
        })
    }

    /// Images of RGB bytes, rows from the top, to `[n, embed]` raw embeddings, `max_batch` images in a pass. With
    /// `one_clip`, a model with 3d patches sees each with its neighbours.
    pub(super) fn encode(&self, pixels: &[u8], one_clip: bool, max_batch: usize) -> Result<Tensor> {
        let image = self.arch.resolution() * self.arch.resolution() * 3;
        if pixels.is_empty() || !pixels.len().is_multiple_of(image) {
            return Err(Error::internal(format_args!("{} bytes are no whole number of images", pixels.len())));
        }
        let n = pixels.len() / image;
        let neighbours = usize::from(one_clip && self.arch.three_d);
        let mut parts = Vec::new();
        for start in (0..n).step_by(max_batch) {
            let end = (start + max_batch).min(n);
            let (from, to) = (start.saturating_sub(neighbours), (end + neighbours).min(n));
            let tokens = self.tokens(&pixels[from * image..to * image], one_clip)?;
            let own = tokens.f_narrow(0, (start - from) as i64, (end - start) as i64)?;
            parts.push(self.transform(&own)?);
        }
        Ok(Tensor::f_cat(&parts, 0)?)
    }

    /// The images' patches as tokens without their positions, `[n, patches, width]`.
    fn tokens(&self, pixels: &[u8], one_clip: bool) -> Result<Tensor> {
        let (grid, patch, width) = (self.arch.grid as i64, self.arch.patch as i64, self.arch.width as i64);
        let n = pixels.len() as i64 / (grid * patch * grid * patch * 3);
        let taps = Tensor::f_from_data_size(pixels, &[n, grid, patch, grid, patch * 3], Kind::Uint8)?
            .f_permute([0, 1, 3, 2, 4])?
            .f_to_kind(self.patches.kind())?
            .f_reshape([n, grid * grid, patch * patch * 3])?
            .f_linear::<&Tensor>(&self.patches, None)?
            .f_sub(&self.shift)?;
        if !self.arch.three_d {
            return Ok(taps);
        }
        // Outside the clip there is nothing, which is not the same as black.
        let tap = |tap: i64, frames: Range<i64>| {
            taps.f_narrow(2, tap * width, width)?.f_narrow(0, frames.start, frames.end - frames.start)
        };
        let own = tap(1, 0..n)?;
        if !one_clip || n == 1 {
            return Ok(own);
        }
        let nothing = Tensor::f_zeros([1, grid * grid, width], (Kind::Float, Device::Cpu))?;
        let before = Tensor::f_cat(&[&nothing, &tap(0, 0..n - 1)?], 0)?;
        let after = Tensor::f_cat(&[&tap(2, 1..n)?, &nothing], 0)?;
        Ok(own.f_add(&before)?.f_add(&after)?)
    }

    fn transform(&self, tokens: &Tensor) -> Result<Tensor> {
        let (n, _, width) = tokens.size3()?;
        let class = self.class.f_expand([n, 1, width], false)?;
        let mut x = self.ln_pre.forward(&Tensor::f_cat(&[class, tokens.f_add(&self.positions)?], 1)?)?;
        let pooled = match self.blocks.split_last() {
            None => x.f_narrow(1, 0, 1)?,
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(&x, false)?;
                }
                // Only the class token is read, so the last block computes no other.
                let class = Tensor::f_zeros([n, 1, 1], (Kind::Int64, Device::Cpu))?;
                last.forward_pooled(&x, &class, None)?
            }
        };
        Ok(self.ln_post.forward(&pooled.f_squeeze_dim(1)?)?.f_matmul(&self.proj)?)
    }
}
