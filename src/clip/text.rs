//! The text tower.

use tch::{Kind, Tensor};

use super::block::{load_stack, Block, BlockShape, LayerNorm};
use super::Style;
use crate::error::{Error, Result};
use crate::weights::{Checkpoint, TextArch};

pub(super) struct TextTower {
    /// `[vocab, width]`
    tokens: Tensor,
    /// `[context, width]`
    positions: Tensor,
    blocks: Vec<Block>,
    ln_final: LayerNorm,
    /// `[width, embed]`
    projection: Tensor,
    arch: TextArch,
}

impl TextTower {
    /// The most texts in one forward pass.
    pub(super) const MAX_BATCH: usize = 32;

    pub(super) fn load(weights: &mut Checkpoint, arch: &TextArch, embed: usize, style: Style) -> Result<Self> {
        let shape = BlockShape {
            width: arch.width,
            heads: arch.heads,
            eps: style.eps,
            activation: style.activation,
            kind: style.kind,
        };
        Ok(TextTower {
            tokens: weights.take("token_embedding.weight", &[arch.vocab, arch.width])?.f_to_kind(style.kind)?,
            positions: weights.take("positional_embedding", &[arch.context, arch.width])?,
            blocks: load_stack(weights, "transformer.resblocks.", arch.layers, shape)?,
            ln_final: LayerNorm::load(weights, "ln_final", arch.width, style.eps)?,
            projection: weights.take("text_projection", &[arch.width, embed])?,
            arch: arch.clone(),
        })
    }

    /// Texts as ids that end with the end token, to `[n, embed]` raw embeddings. A text is read at its last id; what a
    /// shorter one is padded with comes after that and, attention being causal, changes nothing.
    pub(super) fn encode(&self, texts: &[&[u32]]) -> Result<Tensor> {
        let n = texts.len() as i64;
        let longest = texts.iter().map(|t| t.len()).max().unwrap_or(0);
        if let Some(text) = texts.iter().find(|t| t.is_empty() || t.len() > self.arch.context) {
            return Err(Error::internal(format_args!("a text of {} ids reached the model", text.len())));
        }
        if let Some(id) = texts.iter().flat_map(|t| t.iter()).find(|&&id| id as usize >= self.arch.vocab) {
            return Err(Error::weights_mismatch(format_args!(
                "the vocabulary has {} entries, but the tokenizer makes id {id}",
                self.arch.vocab
            )));
        }
        let mut ids = vec![0i64; texts.len() * longest];
        for (row, text) in ids.chunks_exact_mut(longest).zip(texts) {
            for (to, &id) in row.iter_mut().zip(text.iter()) {
                *to = id.into();
            }
        }
        let ends: Vec<i64> = texts.iter().map(|t| t.len() as i64 - 1).collect();
        let length = longest as i64;
        let ids = Tensor::f_from_slice(&ids)?.f_view([n, length])?;
        let ends = Tensor::f_from_slice(&ends)?.f_view([n, 1, 1])?;

        let mut x = Tensor::f_embedding(&self.tokens, &ids, -1, false, false)?
            .f_add(&self.positions.f_narrow(0, 0, length)?)?;
        let pooled = match self.blocks.split_last() {
            None => x.f_gather(1, &ends.f_expand([n, 1, self.arch.width as i64], false)?, false)?,
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(&x, true)?;
                }
                let places = Tensor::f_arange(length, (Kind::Int64, tch::Device::Cpu))?.f_view([1, 1, 1, length])?;
                let visible = places.f_le_tensor(&ends.f_unsqueeze(1)?)?;
                last.forward_pooled(&x, &ends, Some(&visible))?
            }
        };
        Ok(self.ln_final.forward(&pooled.f_squeeze_dim(1)?)?.f_matmul(&self.projection)?)
    }
}
