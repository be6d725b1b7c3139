//! The pre-LN transformer block that both towers are made of.

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::options::Activation;
use crate::weights::Checkpoint;

/// The factor in QuickGELU's sigmoid.
const QUICK: f64 = 1.702;

/// CLIP's `ln_*`: biased variance, then scale and shift.
pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
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

    fn load(weights: &mut Checkpoint, name: &str, outputs: usize, inputs: usize) -> Result<Self> {
        Linear::named(weights, &format!("{name}.weight"), &format!("{name}.bias"), outputs, inputs)
    }

    fn named(weights: &mut Checkpoint, weight: &str, bias: &str, outputs: usize, inputs: usize) -> Result<Self> {
        Ok(Linear { weight: weights.take(weight, &[outputs, inputs])?, bias: weights.take(bias, &[outputs])? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_to_kind(self.weight.kind())?.f_linear(&self.weight, Some(&self.bias))?)
    }

    /// The part of the outputs from `start` on, as a layer of its own on the same memory.
    fn outputs(&self, start: i64, length: i64) -> Result<Linear> {
        Ok(Linear { weight: self.weight.f_narrow(0, start, length)?, bias: self.bias.f_narrow(0, start, length)? })
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
    /// In which type the products are formed; what passes from block to block is float32.
    pub kind: Kind,
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

impl Block {
    fn load(weights: &mut Checkpoint, name: &str, shape: BlockShape) -> Result<Self> {
        let BlockShape { width, heads, eps, activation, kind } = shape;
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
            ln_1: LayerNorm::load(weights, &format!("{name}.ln_1"), width, eps)?,
            qkv: Linear::named(
                weights,
                &format!("{attn}.in_proj_weight"),
                &format!("{attn}.in_proj_bias"),
                3 * width,
                width,
            )?
            .to_kind(kind)?,
            out: Linear::load(weights, &format!("{attn}.out_proj"), width, width)?.to_kind(kind)?,
            ln_2: LayerNorm::load(weights, &format!("{name}.ln_2"), width, eps)?,
            fc: fc.to_kind(kind)?,
            proj: proj.to_kind(kind)?,
            width: width as i64,
            heads: heads as i64,
            activation,
        })
    }

    /// All tokens: `[batch, tokens, width]` to the same. With `causal`, a token sees only those before it and itself.
    pub(super) fn forward(&self, x: &Tensor, causal: bool) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.ln_1.forward(x)?)?;
        let part = |i: i64| self.split_heads(&qkv.f_narrow(2, i * self.width, self.width)?);
        let seen = attend(&part(0)?, &part(1)?, &part(2)?, None, causal)?;
        let x = x.f_add(&self.out.forward(&self.join_heads(&seen)?)?)?;
        self.mlp(&x)
    }

    /// Only the tokens that are pooled: of `[batch, tokens, width]` the one at `rows[b]`, `[batch, 1, 1]` of int64, as
    /// `[batch, 1, width]`. Gives what [`Block::forward`] gives there. `visible`, `[batch, 1, 1, tokens]` of bool,
    /// says which tokens it sees; None: all.
    pub(super) fn forward_pooled(&self, x: &Tensor, rows: &Tensor, visible: Option<&Tensor>) -> Result<Tensor> {
        let normed = self.ln_1.forward(x)?;
        let batch = x.size()[0];
        let index = rows.f_expand([batch, 1, self.width], false)?;
        let query = self.qkv.outputs(0, self.width)?.forward(&normed.f_gather(1, &index, false)?)?;
        let kv = self.qkv.outputs(self.width, 2 * self.width)?.forward(&normed)?;
        let part = |i: i64| self.split_heads(&kv.f_narrow(2, i * self.width, self.width)?);
        let seen = attend(&self.split_heads(&query)?, &part(0)?, &part(1)?, visible, false)?;
        let x = x.f_gather(1, &index, false)?.f_add(&self.out.forward(&self.join_heads(&seen)?)?)?;
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
