//! The pre-LN transformer block that both towers are made of.

use tch::{Device, Kind, Tensor};

use super::native::Shape;
use crate::error::Result;
use crate::options::Activation;
use crate::weights::Checkpoint;

/// The factor in QuickGELU's sigmoid.
pub(super) const QUICK: f64 = 1.702;

/// CLIP's `ln_*`: biased variance, then scale and shift.
pub(super) struct LayerNorm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    pub(super) fn load(weights: &mut Checkpoint, name: &str, width: usize, eps: f64) -> Result<Self> {
        Ok(LayerNorm {
            weight: weights.take(&format!("{name}.weight"), &[width])?,
            bias: weights.take(&format!("{name}.bias"), &[width])?,
            width: width as i64,
            eps,
        })
    }

    /// Rounds to the type of what it normalises.
    pub(super) fn to_kind(&self, kind: Kind) -> Result<Self> {
        Ok(LayerNorm { weight: self.weight.f_to_kind(kind)?, bias: self.bias.f_to_kind(kind)?, ..*self })
    }

    pub(super) fn on(&self, device: Device) -> Result<Self> {
        Ok(LayerNorm { weight: self.weight.f_to_device(device)?, bias: self.bias.f_to_device(device)?, ..*self })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm([self.width], Some(&self.weight), Some(&self.bias), self.eps, false)?)
    }
}

/// `y = x Wᵀ + b`
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Rounds to the type in which the products are formed.
    fn to_kind(&self, kind: Kind) -> Result<Self> {
        Ok(Linear { weight: self.weight.f_to_kind(kind)?, bias: self.bias.f_to_kind(kind)? })
    }

    fn on(&self, device: Device) -> Result<Self> {
        Ok(Linear { weight: self.weight.f_to_device(device)?, bias: self.bias.f_to_device(device)? })
    }

    fn load(weights: &mut Checkpoint, name: &str, outputs: usize, inputs: usize) -> Result<Self> {
        Linear::named(weights, &format!("{name}.weight"), &format!("{name}.bias"), outputs, inputs)
    }

    fn named(weights: &mut Checkpoint, weight: &str, bias: &str, outputs: usize, inputs: usize) -> Result<Self> {
        Ok(Linear { weight: weights.take(weight, &[outputs, inputs])?, bias: weights.take(bias, &[outputs])? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        at_least_rows(&x.f_to_kind(self.weight.kind())?, |x| Ok(x.f_linear(&self.weight, Some(&self.bias))?))
    }

    /// The part of the outputs from `start` on, as a layer of its own on the same memory.
    fn outputs(&self, start: i64, length: i64) -> Result<Linear> {
        Ok(Linear { weight: self.weight.f_narrow(0, start, length)?, bias: self.bias.f_narrow(0, start, length)? })
    }
}

/// With fewer rows than this, matrix products take other ways and round otherwise; with more, a row's result does not hang
/// on how many there are. Measured with libtorch 2.11 on x86-64.
pub(super) const ROWS: i64 = 12;

/// `product` of `[…, width]`, with rows of zeros added where there are few: so that a vector has the same bits whatever
/// company it was computed in. GPUs promise nothing of the kind.
pub(super) fn at_least_rows(x: &Tensor, product: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let size = x.size();
    let rows: i64 = size[..size.len() - 1].iter().product();
    if rows >= ROWS || x.device() != Device::Cpu {
        return product(x);
    }
    let flat = x.f_reshape([rows, -1])?.f_constant_pad_nd([0, 0, 0, ROWS - rows])?;
    let mut shape = size;
    shape.pop();
    shape.push(-1);
    Ok(product(&flat)?.f_narrow(0, 0, rows)?.f_reshape(shape)?)
}

/// How the tokens of several sequences lie in one tensor.
pub(super) trait Spans {
    /// Applies `attend`, which takes `[sequences, tokens, 3 · width]` and whether a token sees only those before it and
    /// itself, to the sequences in `qkv`.
    fn attend(&self, qkv: &Tensor, attend: &dyn Fn(&Tensor, bool) -> Result<Tensor>) -> Result<Tensor>;

    /// The pooled token of each sequence, `[sequences, width]`.
    fn pool(&self, x: &Tensor) -> Result<Tensor>;

    /// Applies `attend` to the queries of the pooled tokens, `[sequences, 1, width]`, and `[sequences, tokens, 2 · width]`; its
    /// mask says which of the tokens are seen.
    fn attend_pooled(&self, query: &Tensor, kv: &Tensor, attend: &AttendPooled) -> Result<Tensor>;
}

pub(super) type AttendPooled<'a> = dyn Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor> + 'a;

/// Sequences of the same length, `[sequences, tokens, width]`, in which all tokens see all others and the first is pooled.
pub(super) struct Even;

impl Spans for Even {
    fn attend(&self, qkv: &Tensor, attend: &dyn Fn(&Tensor, bool) -> Result<Tensor>) -> Result<Tensor> {
        attend(qkv, false)
    }

    fn pool(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_select(1, 0)?)
    }

    fn attend_pooled(&self, query: &Tensor, kv: &Tensor, attend: &AttendPooled) -> Result<Tensor> {
        Ok(attend(&query.f_unsqueeze(1)?, kv, None)?.f_squeeze_dim(1)?)
    }
}

/// `x += Attn(LN1(x)); x += MLP(LN2(x))`
pub(super) struct Block {
    ln_1: LayerNorm,
    /// Queries, keys and values in this order, each `width` rows.
    qkv: Linear,
    out: Linear,
    ln_2: LayerNorm,
    fc: Linear,
    proj: Linear,
    width: i64,
    heads: i64,
    activation: Activation,
}

/// The sizes and choices that all blocks of a stack share.
#[derive(Clone, Copy)]
pub(super) struct BlockShape {
    pub width: usize,
    pub heads: usize,
    pub eps: f64,
    pub activation: Activation,
    /// In which type the products are formed.
    pub kind: Kind,
    /// In which type the sum is that passes from block to block, and is normalised.
    pub residual: Kind,
}

impl BlockShape {
    /// The same for a tower that computes without tensors.
    pub(super) fn tower(&self, embed: usize) -> Shape {
        Shape {
            width: self.width as i64,
            heads: self.heads as i64,
            embed: embed as i64,
            eps: self.eps as f32,
            quick: i64::from(self.activation == Activation::QuickGelu),
            ..Shape::default()
        }
    }
}

/// Loads the blocks `{prefix}0` to `{prefix}{layers - 1}`.
pub(super) fn load_stack(
    weights: &mut Checkpoint,
    prefix: &str,
    layers: usize,
    shape: BlockShape,
) -> Result<Vec<Block>> {
    // Not collected from a sized iterator: a hostile file may claim any number of layers.
    let mut blocks = Vec::new();
    for layer in 0..layers {
        blocks.push(Block::load(weights, &format!("{prefix}{layer}"), shape)?);
    }
    Ok(blocks)
}

/// The same blocks on a device; where they are there already, in the same memory.
pub(super) fn stack_on(blocks: &[Block], device: Device) -> Result<Vec<Block>> {
    blocks.iter().map(|block| block.on(device)).collect()
}

impl Block {
    fn load(weights: &mut Checkpoint, name: &str, shape: BlockShape) -> Result<Self> {
        let BlockShape { width, heads, eps, activation, kind, residual } = shape;
        let attn = format!("{name}.attn");
        let mut fc = Linear::load(weights, &format!("{name}.mlp.c_fc"), 4 * width, width)?;
        let mut proj = Linear::load(weights, &format!("{name}.mlp.c_proj"), width, 4 * width)?;
        if activation == Activation::QuickGelu {
            // x·σ(1.702x) = silu(1.702x) / 1.702, with the factors in the layers on either side.
            // In place: new pages cost more than the arithmetic.
            let _ = fc.weight.f_mul_scalar_(QUICK)?;
            let _ = fc.bias.f_mul_scalar_(QUICK)?;
            let _ = proj.weight.f_div_scalar_(QUICK)?;
        }
        Ok(Block {
            ln_1: LayerNorm::load(weights, &format!("{name}.ln_1"), width, eps)?.to_kind(residual)?,
            qkv: Linear::named(
                weights,
                &format!("{attn}.in_proj_weight"),
                &format!("{attn}.in_proj_bias"),
                3 * width,
                width,
            )?
            .to_kind(kind)?,
            out: Linear::load(weights, &format!("{attn}.out_proj"), width, width)?.to_kind(kind)?,
            ln_2: LayerNorm::load(weights, &format!("{name}.ln_2"), width, eps)?.to_kind(residual)?,
            fc: fc.to_kind(kind)?,
            proj: proj.to_kind(kind)?,
            width: width as i64,
            heads: heads as i64,
            activation,
        })
    }

    pub(super) fn on(&self, device: Device) -> Result<Self> {
        Ok(Block {
            ln_1: self.ln_1.on(device)?,
            qkv: self.qkv.on(device)?,
            out: self.out.on(device)?,
            ln_2: self.ln_2.on(device)?,
            fc: self.fc.on(device)?,
            proj: self.proj.on(device)?,
            ..*self
        })
    }

    /// All tokens, of sequences that `spans` tells apart, to the same.
    pub(super) fn forward(&self, x: &Tensor, spans: &impl Spans) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.ln_1.forward(x)?)?;
        let seen = spans.attend(&qkv, &|qkv, causal| {
            let part = |i: i64| self.split_heads(&qkv.f_narrow(2, i * self.width, self.width)?);
            self.join_heads(&attend(&part(0)?, &part(1)?, &part(2)?, None, causal)?)
        })?;
        let x = x.f_add(&self.out.forward(&seen)?)?;
        self.mlp(&x)
    }

    /// Only the token of each sequence that is pooled, `[sequences, width]`. Gives what [`Block::forward`] gives there.
    pub(super) fn forward_pooled(&self, x: &Tensor, spans: &impl Spans) -> Result<Tensor> {
        let normed = self.ln_1.forward(x)?;
        let query = self.qkv.outputs(0, self.width)?.forward(&spans.pool(&normed)?)?;
        let kv = self.qkv.outputs(self.width, 2 * self.width)?.forward(&normed)?;
        let seen = spans.attend_pooled(&query, &kv, &|query, kv, visible| {
            let part = |i: i64| self.split_heads(&kv.f_narrow(2, i * self.width, self.width)?);
            self.join_heads(&attend(&self.split_heads(query)?, &part(0)?, &part(1)?, visible, false)?)
        })?;
        let x = spans.pool(x)?.f_add(&self.out.forward(&seen)?)?;
        self.mlp(&x)
    }

    fn mlp(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = self.fc.forward(&self.ln_2.forward(x)?)?;
        let hidden = match self.activation {
            Activation::QuickGelu => hidden.f_silu()?,
            Activation::Gelu => hidden.f_gelu("none")?,
        };
        Ok(x.f_add(&self.proj.forward(&hidden)?)?)
    }

    /// `[batch, tokens, width]` to `[batch, heads, tokens, width / heads]`
    fn split_heads(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, width) = x.size3()?;
        Ok(x.f_reshape([batch, tokens, self.heads, width / self.heads])?.f_transpose(1, 2)?)
    }

    /// The inverse of [`Block::split_heads`].
    fn join_heads(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, _, tokens, _) = x.size4()?;
        Ok(x.f_transpose(1, 2)?.f_reshape([batch, tokens, self.width])?)
    }
}

/// `softmax(q kᵀ / √d) v`, masked.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, visible: Option<&Tensor>, causal: bool) -> Result<Tensor> {
    Ok(Tensor::f_scaled_dot_product_attention(q, k, v, visible, 0.0, causal, None, false)?)
}
