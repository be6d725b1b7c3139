//! The vision tower.

use std::sync::Arc;

use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use super::block::{at_least_rows, load_stack, stack_on, Block, Even, LayerNorm};
use super::lane::{Lane, Pass};
use super::native::{Shape, Tower};
use super::team::Team;
use super::{to_rows, Image, Square, Style};
use crate::error::{Error, Result};
use crate::weights::{Checkpoint, VisionArch};

/// CLIP's per-channel mean and standard deviation of RGB values between 0 and 1.
const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

pub(super) enum VisionTower {
    Native(Tower),
    Plain(Plain),
}

/// In libtorch's tensors: for GPUs, and for CPUs that have nothing better.
pub(super) struct Plain {
    /// `[taps · width, patch · patch · 3]`, for bytes in the order row, column, channel: the convolution with the division
    /// by 255 and by the standard deviation folded in. One tap, or one each for the frame before, the frame itself and
    /// the frame after.
    patches: Tensor,
    pixels: Pixels,
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

/// How bytes become what the convolution takes, and what is left to do after it.
enum Pixels {
    /// As they are.
    Bytes {
        /// `[taps · width]`: what the subtraction of the mean amounts to after the convolution.
        shift: Tensor,
    },
    /// For types with few digits: less the mean, rounded to a byte, so that sums stay small; and the convolution's weights, which
    /// the division by 255 makes as small as half precision gets, are [`Pixels::SCALE`] times as large.
    Centred {
        /// `[patch · 3]`: the rounded mean of each byte.
        centre: Tensor,
        /// `[taps · width]`: what is left of the mean.
        bias: Tensor,
        /// 1 / SCALE
        unscale: Tensor,
    },
}

impl Pixels {
    const SCALE: f64 = 64.0;

    fn on(&self, device: Device) -> Result<Self> {
        Ok(match self {
            Pixels::Bytes { shift } => Pixels::Bytes { shift: shift.f_to_device(device)? },
            Pixels::Centred { centre, bias, unscale } => Pixels::Centred {
                centre: centre.f_to_device(device)?,
                bias: bias.f_to_device(device)?,
                unscale: unscale.f_to_device(device)?,
            },
        })
    }
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
        let device = taps.device();
        let row = |values: &[f64]| {
            Tensor::f_from_slice(&values.iter().map(|&v| v as f32).collect::<Vec<_>>())?.f_to_device(device)
        };
        let channel = |values: [f64; 3]| row(&values)?.f_view([1, 3, 1, 1]);
        let scaled = taps.f_div(&channel(STD)?)?;
        let mean_of = |mean: [f64; 3]| {
            scaled.f_mul(&channel(mean)?)?.f_sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float)
        };
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
            let (patches, pixels) = match style.on_gpu {
                false => (folded.f_to_kind(style.kind)?, Pixels::Bytes { shift: mean_of(MEAN)? }),
                true => {
                    let centre = MEAN.map(|mean| (255.0 * mean).round());
                    let mut rest = MEAN;
                    rest.iter_mut().zip(centre).for_each(|(mean, centre)| *mean -= centre / 255.0);
                    let pixels = Pixels::Centred {
                        centre: row(&centre.repeat(patch))?.f_to_kind(style.kind)?,
                        bias: mean_of(rest)?.f_mul_scalar(-Pixels::SCALE)?.f_to_kind(style.kind)?,
                        unscale: row(&[1.0 / Pixels::SCALE])?.f_to_kind(style.residual)?,
                    };
                    (folded.f_mul_scalar(Pixels::SCALE)?.f_to_kind(style.kind)?, pixels)
                }
            };
            let plain = Plain {
                patches,
                pixels,
                positions: positions.f_to_kind(style.residual)?,
                class: class.f_to_kind(style.residual)?,
                ln_pre: ln_pre.to_kind(style.residual)?,
                blocks,
                ln_post,
                proj,
                arch: arch.clone(),
            };
            return Ok(VisionTower::Plain(plain));
        };
        let shift = mean_of(MEAN)?;
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
    pub(super) fn encode(&self, images: &[&Image], team: &Team, lane: &Lane) -> Result<Array2<f32>> {
        match self {
            VisionTower::Native(tower) => tower.images(images, team),
            VisionTower::Plain(tower) => to_rows(&tower.encode(images, lane)?),
        }
    }

    /// The same tower on a device; where it is there already, in the same memory.
    pub(super) fn on(&self, device: Device) -> Result<Self> {
        match self {
            VisionTower::Native(_) => Err(Error::internal("a CPU's tower is not for other devices")),
            VisionTower::Plain(tower) => Ok(VisionTower::Plain(tower.on(device)?)),
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
    fn on(&self, device: Device) -> Result<Self> {
        Ok(Plain {
            patches: self.patches.f_to_device(device)?,
            pixels: self.pixels.on(device)?,
            positions: self.positions.f_to_device(device)?,
            class: self.class.f_to_device(device)?,
            ln_pre: self.ln_pre.on(device)?,
            blocks: stack_on(&self.blocks, device)?,
            ln_post: self.ln_post.on(device)?,
            proj: self.proj.f_to_device(device)?,
            arch: self.arch.clone(),
        })
    }

    #[cfg(test)]
    pub(super) fn shares_memory(&self, other: &Plain) -> bool {
        self.patches.data_ptr() == other.patches.data_ptr() && self.proj.data_ptr() == other.proj.data_ptr()
    }

    /// Images to `[n, embed]` raw embeddings, in one pass.
    fn encode(&self, images: &[&Image], lane: &Lane) -> Result<Tensor> {
        if self.arch.three_d {
            let (n, rows) = (images.len(), lane.rows(images.len()) as usize);
            let filled: Vec<&Image> = images.iter().copied().cycle().take(rows).collect();
            return Ok(self.transform(&self.with_neighbours(&filled, lane)?)?.f_narrow(0, 0, n as i64)?);
        }
        let squares: Vec<&Square> = images.iter().map(|image| &image.own).collect();
        let rows = lane.rows(squares.len());
        let pixels = lane.pixels(&squares, rows)?;
        let pass = |inputs: &[Tensor]| self.transform(&self.taps(&inputs[0])?);
        Ok(lane.run(Pass::Images { rows }, &[pixels], &pass)?.f_narrow(0, 0, squares.len() as i64)?)
    }

    /// The squares' patches after the convolution, `[n, patches, taps · width]`, without their positions.
    fn taps(&self, pixels: &Tensor) -> Result<Tensor> {
        let (grid, patch) = (self.arch.grid as i64, self.arch.patch as i64);
        let (n, bytes) = pixels.size2()?;
        if bytes != grid * patch * grid * patch * 3 {
            return Err(Error::internal(format_args!(
                "a square of {bytes} bytes for {grid}x{grid} patches of {patch}"
            )));
        }
        let pixels = pixels.f_view([n, grid, patch, grid, patch * 3])?.f_permute([0, 1, 3, 2, 4])?;
        let (size, kind) = ([n, grid * grid, patch * patch * 3], self.patches.kind());
        match &self.pixels {
            Pixels::Bytes { shift } => {
                Ok(pixels.f_to_kind(kind)?.f_reshape(size)?.f_linear::<&Tensor>(&self.patches, None)?.f_sub(shift)?)
            }
            Pixels::Centred { centre, bias, .. } => {
                // One pass over memory: gathered, converted and centred.
                let gathered = Tensor::f_empty([n, grid, grid, patch, patch * 3], (kind, pixels.device()))?;
                let _ = pixels.f_sub_out(&gathered, centre)?;
                Ok(gathered.f_view(size)?.f_linear(&self.patches, Some(bias))?)
            }
        }
    }

    /// Each image's tokens `[n, patches, width]` from its own patches and those of the frames beside it.
    fn with_neighbours(&self, images: &[&Image], lane: &Lane) -> Result<Tensor> {
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
        let taps = self.taps(&lane.pixels(&squares, squares.len() as i64)?)?;
        // Outside the clip there is nothing, which is not the same as black.
        let nothing = Tensor::f_zeros([1, taps.size()[1], taps.size()[2]], (taps.kind(), taps.device()))?;
        let taps = Tensor::f_cat(&[taps, nothing], 0)?;
        let last = taps.size()[0] - 1;
        let mut sum: Option<Tensor> = None;
        for tap in [1, 0, 2] {
            let rows: Vec<i64> = places[tap].iter().map(|at| at.unwrap_or(last)).collect();
            let rows = lane.put(Tensor::f_from_slice(&rows)?)?;
            let part = taps.f_narrow(2, tap as i64 * width, width)?.f_index_select(0, &rows)?;
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
        let placed = match &self.pixels {
            Pixels::Bytes { .. } => tokens.f_add(&self.positions)?,
            Pixels::Centred { unscale, .. } => self.positions.f_addcmul(tokens, unscale)?,
        };
        let mut x = self.ln_pre.forward(&Tensor::f_cat(&[class, placed], 1)?)?;
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
        at_least_rows(&self.ln_post.forward(&pooled.f_to_kind(Kind::Float)?)?, |x| Ok(x.f_matmul(&self.proj)?))
    }
}
