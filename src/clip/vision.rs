//! The vision tower.

use std::sync::Arc;

use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use super::block::{at_least_rows, load_stack, Block, Even, LayerNorm};
use super::native::{Shape, Tower};
use super::team::Team;
use super::{to_rows, Image, Square, Style};
use crate::error::{Error, Result, Status};
use crate::weights::{Checkpoint, VisionArch};

/// CLIP's per-channel mean and standard deviation of RGB values between 0 and 1.
const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

pub(super) enum VisionTower {
    Native(Tower),
    Plain(Plain),
}

/// In libtorch's tensors, for CPUs that have nothing better.
pub(super) struct Plain {
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
        let class = positions.f_narrow(0, 0, 1)?.f_add(&class)?;
        let positions = positions.f_narrow(0, 1, patches as i64)?;
        let ln_pre = LayerNorm::load(weights, "visual.ln_pre", width, style.eps)?;
        let ln_post = LayerNorm::load(weights, "visual.ln_post", width, style.eps)?;
        let proj = weights.take("visual.proj", &[width, embed])?;
        let (prefix, layers) = ("visual.transformer.resblocks.", arch.layers);
        let shape = style.blocks(width, arch.heads);
        let Some(precision) = style.native else {
            let blocks = load_stack(weights, prefix, layers, shape)?;
            let patches = folded.f_to_kind(style.kind)?;
            let plain = Plain { patches, shift, positions, class, ln_pre, blocks, ln_post, proj, arch: arch.clone() };
            return Ok(VisionTower::Plain(plain));
        };
        let mut tower = Tower::new(
            precision,
            Shape {
                grid: arch.grid as i64,
                patch: patch as i64,
                taps: if arch.three_d { 3 } else { 1 },
                ..shape.tower(embed)
            },
        )?;
        let (folded, shifts) = (taps_beside_each_other(&folded, width)?, combinations(&shift, width)?);
        tower.set_patches(&folded, &shifts)?;
        tower.set_positions(&positions)?;
        tower.set_first(&class, &ln_pre)?;
        tower.set_last(&ln_post, &proj)?;
        tower.load(weights, prefix, layers, style, None)?;
        Ok(VisionTower::Native(tower))
    }

    /// Raw embeddings of images, `[n, embed]`, in one pass.
    pub(super) fn encode(&self, images: &[&Image], team: &Team) -> Result<Array2<f32>> {
        match self {
            VisionTower::Native(tower) => tower.images(images, team),
            VisionTower::Plain(tower) => to_rows(&tower.encode(images)?),
        }
    }
}

/// `[taps · width, inputs]` to `[width, taps · inputs]`
fn taps_beside_each_other(folded: &Tensor, width: usize) -> Result<Tensor> {
    let (rows, inputs) = folded.size2()?;
    let taps = rows / width as i64;
    Ok(folded.f_view([taps, width as i64, inputs])?.f_permute([1, 0, 2])?.f_reshape([width as i64, -1])?)
}

/// What the taps `[taps · width]` subtract together where only some of them are there: row `i` for those whose bits are set in `i`.
fn combinations(shift: &Tensor, width: usize) -> Result<Tensor> {
    let taps = shift.f_neg()?.f_view([-1, width as i64])?;
    let n = taps.size()[0];
    let bits: Vec<f32> = (0..1 << n).flat_map(|i| (0..n).map(move |tap| (i >> tap & 1) as f32)).collect();
    Ok(Tensor::f_from_slice(&bits)?.f_view([-1, n])?.f_matmul(&taps)?)
}

impl Plain {
    /// Images to `[n, embed]` raw embeddings, in one pass.
    fn encode(&self, images: &[&Image]) -> Result<Tensor> {
        let tokens = match self.arch.three_d {
            false => {
                let squares: Vec<&Square> = images.iter().map(|image| &image.own).collect();
                self.taps(&squares)?
            }
            true => self.with_neighbours(images)?,
        };
        self.transform(&tokens)
    }

    /// The squares' patches after the convolution, `[n, patches, taps · width]`, without their positions.
    fn taps(&self, squares: &[&Square]) -> Result<Tensor> {
        let (grid, patch) = (self.arch.grid as i64, self.arch.patch as i64);
        let n = squares.len() as i64;
        let bytes = squares.iter().map(|square| square.len()).sum();
        let mut pixels = Vec::new();
        pixels
            .try_reserve_exact(bytes)
            .map_err(|_| Error::new(Status::OutOfMemory, format_args!("no memory for {n} images ({bytes} bytes)")))?;
        squares.iter().for_each(|square| pixels.extend_from_slice(square));
        if pixels.is_empty() || pixels.len() as i64 != n * grid * patch * grid * patch * 3 {
            return Err(Error::internal(format_args!("{} bytes are not {n} images", pixels.len())));
        }
        Ok(Tensor::f_from_data_size(&pixels, &[n, grid, patch, grid, patch * 3], Kind::Uint8)?
            .f_permute([0, 1, 3, 2, 4])?
            .f_to_kind(self.patches.kind())?
            .f_reshape([n, grid * grid, patch * patch * 3])?
            .f_linear::<&Tensor>(&self.patches, None)?
            .f_sub(&self.shift)?)
    }

    /// Each image's tokens `[n, patches, width]` from its own patches and those of the frames beside it.
    fn with_neighbours(&self, images: &[&Image]) -> Result<Tensor> {
        /// A frame of the same video lies no farther back.
        const NEAR: usize = 3;
        // Those that follow each other share their neighbours.
        let mut squares: Vec<&Square> = Vec::new();
        let mut places = [Vec::new(), Vec::new(), Vec::new()];
        for &image in images {
            for (places, square) in
                places.iter_mut().zip([image.before.as_ref(), Some(&image.own), image.after.as_ref()])
            {
                places.push(square.map(|square| {
                    let near = squares.iter().rev().take(NEAR).position(|other| Arc::ptr_eq(other, square));
                    let back = near.unwrap_or_else(|| {
                        squares.push(square);
                        0
                    });
                    (squares.len() - 1 - back) as i64
                }));
            }
        }
        let width = self.arch.width as i64;
        let taps = self.taps(&squares)?;
        // Outside the clip there is nothing, which is not the same as black.
        let nothing = Tensor::f_zeros([1, taps.size()[1], taps.size()[2]], (Kind::Float, Device::Cpu))?;
        let taps = Tensor::f_cat(&[taps, nothing], 0)?;
        let last = taps.size()[0] - 1;
        let mut sum: Option<Tensor> = None;
        for tap in [1, 0, 2] {
            let rows: Vec<i64> = places[tap].iter().map(|at| at.unwrap_or(last)).collect();
            let part = taps.f_narrow(2, tap as i64 * width, width)?.f_index_select(0, &Tensor::f_from_slice(&rows)?)?;
            sum = Some(match sum {
                None => part,
                Some(sum) => sum.f_add(&part)?,
            });
        }
        sum.ok_or_else(|| Error::internal("a convolution without taps"))
    }

    fn transform(&self, tokens: &Tensor) -> Result<Tensor> {
        let (n, _, width) = tokens.size3()?;
        let class = self.class.f_expand([n, 1, width], false)?;
        let mut x = self.ln_pre.forward(&Tensor::f_cat(&[class, tokens.f_add(&self.positions)?], 1)?)?;
        let pooled = match self.blocks.split_last() {
            None => x.f_select(1, 0)?,
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(&x, &Even)?;
                }
                // Only the class token is read, so the last block computes no other.
                last.forward_pooled(&x, &Even)?
            }
        };
        at_least_rows(&self.ln_post.forward(&pooled)?, |x| Ok(x.f_matmul(&self.proj)?))
    }
}
