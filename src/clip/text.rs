//! The text tower.

use ndarray::Array2;
use tch::{Device, Kind, Tensor};

use super::block::{at_least_rows, load_stack, stack_on, AttendPooled, Block, LayerNorm, Spans, ROWS};
use super::lane::{Lane, Pass};
use super::native::{Shape, Tower};
use super::team::Team;
use super::{to_rows, Ids, Style};
use crate::error::{Error, Result};
use crate::weights::{Checkpoint, TextArch};

pub(super) struct TextTower {
    arch: TextArch,
    way: Way,
}

enum Way {
    Native(Tower),
    Plain(Plain),
}

/// In libtorch's tensors: for GPUs, and for CPUs that have nothing better.
struct Plain {
    /// `[vocab, width]`
    tokens: Tensor,
    /// `[context, width]`
    positions: Tensor,
    blocks: Vec<Block>,
    ln_final: LayerNorm,
    /// `[width, embed]`
    projection: Tensor,
    /// Texts are padded to one length, for GPUs: passes of few shapes, and more work rather than more steps.
    padded: bool,
}

impl TextTower {
    pub(super) fn load(weights: &mut Checkpoint, arch: &TextArch, embed: usize, style: Style) -> Result<Self> {
        let width = arch.width;
        let tokens = "token_embedding.weight";
        let positions = weights.take("positional_embedding", &[arch.context, width])?;
        let ln_final = LayerNorm::load(weights, "ln_final", width, style.eps)?;
        let projection = weights.take("text_projection", &[width, embed])?;
        let (prefix, layers) = ("transformer.resblocks.", arch.layers);
        let shape = style.blocks(width, arch.heads);
        let arch = arch.clone();
        let Some(precision) = style.native else {
            let blocks = load_stack(weights, prefix, layers, shape)?;
            let tokens = weights.take(tokens, &[arch.vocab, width])?.f_to_kind(style.kind)?;
            let positions = positions.f_to_kind(style.residual)?;
            let way = Way::Plain(Plain { tokens, positions, blocks, ln_final, projection, padded: style.on_gpu });
            return Ok(TextTower { arch, way });
        };
        let mut tower = Tower::new(
            precision,
            Shape { causal: 1, vocab: arch.vocab as i64, context: arch.context as i64, ..shape.tower(embed) },
        )?;
        tower.set_positions(&positions)?;
        tower.set_last(&ln_final, &projection)?;
        tower.load(weights, prefix, layers, style, Some(tokens))?;
        Ok(TextTower { arch, way: Way::Native(tower) })
    }

    /// Texts as ids that end with the end token, to raw embeddings, `[n, embed]`. A text is read at its last id.
    pub(super) fn encode(&self, texts: &[&Ids], team: &Team, lane: &Lane) -> Result<Array2<f32>> {
        if let Some(text) = texts.iter().find(|t| t.is_empty() || t.len() > self.arch.context) {
            return Err(Error::internal(format_args!("a text of {} ids reached the model", text.len())));
        }
        if let Some(id) = texts.iter().flat_map(|t| t.iter()).find(|&&id| id as usize >= self.arch.vocab) {
            return Err(Error::weights_mismatch(format_args!(
                "the vocabulary has {} entries, but the tokenizer makes id {id}",
                self.arch.vocab
            )));
        }
        match &self.way {
            Way::Native(tower) => tower.texts(texts, team),
            Way::Plain(tower) => tower.encode(texts, self.arch.context, lane),
        }
    }

    /// The same tower on a device; where it is there already, in the same memory.
    pub(super) fn on(&self, device: Device) -> Result<Self> {
        match &self.way {
            Way::Native(_) => Err(Error::internal("a CPU's tower is not for other devices")),
            Way::Plain(tower) => Ok(TextTower { arch: self.arch.clone(), way: Way::Plain(tower.on(device)?) }),
        }
    }
}

impl Plain {
    fn on(&self, device: Device) -> Result<Self> {
        Ok(Plain {
            tokens: self.tokens.f_to_device(device)?,
            positions: self.positions.f_to_device(device)?,
            blocks: stack_on(&self.blocks, device)?,
            ln_final: self.ln_final.on(device)?,
            projection: self.projection.f_to_device(device)?,
            padded: self.padded,
        })
    }

    fn encode(&self, texts: &[&Ids], context: usize, lane: &Lane) -> Result<Array2<f32>> {
        if !self.padded {
            let packed = Packed::new(texts)?;
            let x = Tensor::f_embedding(&self.tokens, &packed.ids, -1, false, false)?
                .f_add(&self.positions.f_index_select(0, &packed.positions)?)?;
            return to_rows(&self.transform(x, &packed)?.f_index_select(0, &packed.order)?);
        }
        let mut all = Array2::zeros((texts.len(), self.projection.size()[1] as usize));
        for group in Padded::groups(texts) {
            let texts: Vec<&Ids> = group.iter().map(|&i| texts[i]).collect();
            let rows = to_rows(&self.together(&texts, context, lane)?)?;
            group.iter().zip(rows.rows()).for_each(|(&i, row)| all.row_mut(i).assign(&row));
        }
        Ok(all)
    }

    /// Texts padded to one length.
    fn together(&self, texts: &[&Ids], context: usize, lane: &Lane) -> Result<Tensor> {
        let rows = lane.rows(texts.len());
        let (length, inputs) = Padded::inputs(texts, rows, context, lane)?;
        let pass = |inputs: &[Tensor]| {
            let [ids, ends, visible] = inputs else { return Err(Error::internal("a pass over texts without texts")) };
            let x = Tensor::f_embedding(&self.tokens, ids, -1, false, false)?;
            let x = self.positions.f_narrow(0, 0, length)?.f_add(&x)?;
            self.transform(x, &Padded { ends, visible })
        };
        Ok(lane.run(Pass::Texts { rows, length }, &inputs, &pass)?.f_narrow(0, 0, texts.len() as i64)?)
    }

    /// Embedded tokens to `[texts, embed]`.
    fn transform(&self, mut x: Tensor, spans: &impl Spans) -> Result<Tensor> {
        let pooled = match self.blocks.split_last() {
            None => spans.pool(&x)?,
            Some((last, blocks)) => {
                for block in blocks {
                    x = block.forward(&x, spans)?;
                }
                last.forward_pooled(&x, spans)?
            }
        };
        at_least_rows(&self.ln_final.forward(&pooled.f_to_kind(Kind::Float)?)?, |x| Ok(x.f_matmul(&self.projection)?))
    }
}

/// How far texts are padded: lengths for attention are multiples of it.
const STEP: usize = 16;

/// Texts of one length, `[texts, length, width]`. What pads comes behind the text, where attention is causal and nobody looks.
struct Padded<'t> {
    /// `[texts]`: where the last token of each is, counted through all texts.
    ends: &'t Tensor,
    /// `[texts, 1, 1, length]` of bool: what the last token sees.
    visible: &'t Tensor,
}

impl Padded<'_> {
    /// So many tokens, padding and all, are no more work than the launching of another pass would be.
    const FEW: usize = 8192;

    /// Which texts are padded together: all of a small pass, else those that are padded to the same length.
    fn groups(texts: &[&Ids]) -> Vec<Vec<usize>> {
        let mut sorted: Vec<usize> = (0..texts.len()).collect();
        let length = |i: usize| texts[i].len().next_multiple_of(STEP);
        if sorted.iter().map(|&i| length(i)).max().unwrap_or(0) * texts.len() <= Self::FEW {
            return vec![sorted];
        }
        sorted.sort_by_key(|&i| length(i));
        sorted.chunk_by(|&a, &b| length(a) == length(b)).map(<[usize]>::to_vec).collect()
    }

    /// The length, and ids, ends and what is visible of `rows` texts; those that are not there are of one token.
    fn inputs(texts: &[&Ids], rows: i64, context: usize, lane: &Lane) -> Result<(i64, [Tensor; 3])> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(1);
        let length = longest.next_multiple_of(STEP).min(context);
        let nothing: Ids = vec![0];
        let all = texts.iter().copied().chain(std::iter::repeat(&nothing)).take(rows as usize);
        let (mut ids, mut ends, mut visible) = (Vec::new(), Vec::new(), Vec::new());
        for (i, text) in all.enumerate() {
            ids.extend(text.iter().map(|&id| i64::from(id)));
            ids.resize((i + 1) * length, 0);
            ends.push((i * length + text.len()) as i64 - 1);
            visible.extend((0..length).map(|k| k < text.len()));
        }
        let length = length as i64;
        let inputs = [
            lane.put(Tensor::f_from_slice(&ids)?.f_view([rows, length])?)?,
            lane.put(Tensor::f_from_slice(&ends)?)?,
            lane.put(Tensor::f_from_slice(&visible)?.f_view([rows, 1, 1, length])?)?,
        ];
        Ok((length, inputs))
    }
}

impl Spans for Padded<'_> {
    fn attend(&self, qkv: &Tensor, attend: &dyn Fn(&Tensor, bool) -> Result<Tensor>) -> Result<Tensor> {
        attend(qkv, true)
    }

    fn pool(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_flatten(0, 1)?.f_index_select(0, self.ends)?)
    }

    fn attend_pooled(&self, query: &Tensor, kv: &Tensor, attend: &AttendPooled) -> Result<Tensor> {
        Ok(attend(&query.f_unsqueeze(1)?, kv, Some(self.visible))?.f_squeeze_dim(1)?)
    }
}

/// Texts of any lengths one after the other, `[tokens, width]`: nothing is padded where most of the work is. Attention takes
/// those of about the same length together, padded to a length that hangs on a text's own alone, so that its vector has
/// the same bits whatever company it is in.
struct Packed {
    /// `[tokens]`
    ids: Tensor,
    /// `[tokens]`: the place of each in its text.
    positions: Tensor,
    groups: Vec<Group>,
    /// `[tokens]`: where each is in what the groups give, one after the other.
    back: Tensor,
    /// `[texts]`: where the last token of each is.
    ends: Tensor,
    /// `[texts]`: which of the packed texts each of the given ones is.
    order: Tensor,
}

/// Texts that attention takes together.
struct Group {
    count: i64,
    /// To which they are padded.
    length: i64,
    /// `[count · length]`: where each token is. What pads comes behind the text, where attention is causal and nobody
    /// looks; it may be any token.
    places: Tensor,
    /// `[count, 1, 1, length]` of bool: what the last token sees.
    visible: Tensor,
}

impl Packed {
    fn new(texts: &[&Ids]) -> Result<Self> {
        let mut sorted: Vec<usize> = (0..texts.len()).collect();
        sorted.sort_by_key(|&i| texts[i].len().div_ceil(STEP));
        let (mut ids, mut positions, mut back, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut groups, mut padded) = (Vec::new(), 0);
        for group in sorted.chunk_by(|&a, &b| texts[a].len().div_ceil(STEP) == texts[b].len().div_ceil(STEP)) {
            let length = group.iter().map(|&i| texts[i].len()).max().unwrap_or(0).next_multiple_of(STEP);
            let (mut places, mut visible) = (Vec::new(), Vec::new());
            for text in group.iter().map(|&i| texts[i]) {
                let (first, n) = (ids.len(), text.len());
                places.extend((0..length).map(|k| (first + k.min(n - 1)) as i64));
                visible.extend((0..length).map(|k| k < n));
                back.extend((padded..padded + n).map(|k| k as i64));
                padded += length;
                positions.extend(0..n as i64);
                ids.extend(text.iter().map(|&id| i64::from(id)));
                ends.push(ids.len() as i64 - 1);
            }
            let (count, length) = (group.len() as i64, length as i64);
            groups.push(Group {
                count,
                length,
                places: Tensor::f_from_slice(&places)?,
                visible: Tensor::f_from_slice(&visible)?.f_view([count, 1, 1, length])?,
            });
        }
        // Fewer would be filled up for each product anew.
        let missing = (ROWS as usize).saturating_sub(ids.len());
        for rows in [&mut ids, &mut positions, &mut back] {
            rows.extend(std::iter::repeat_n(0, missing));
        }
        let mut order = vec![0i64; texts.len()];
        (0..).zip(&sorted).for_each(|(at, &text)| order[text] = at);
        Ok(Packed {
            ids: Tensor::f_from_slice(&ids)?,
            positions: Tensor::f_from_slice(&positions)?,
            groups,
            back: Tensor::f_from_slice(&back)?,
            ends: Tensor::f_from_slice(&ends)?,
            order: Tensor::f_from_slice(&order)?,
        })
    }
}

impl Group {
    /// `[tokens, width]` of all texts to `[count, length, width]` of the group's.
    fn take(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_index_select(0, &self.places)?.f_view([self.count, self.length, -1])?)
    }
}

impl Spans for Packed {
    fn attend(&self, qkv: &Tensor, attend: &dyn Fn(&Tensor, bool) -> Result<Tensor>) -> Result<Tensor> {
        let seen = |group: &Group| Ok(attend(&group.take(qkv)?, true)?.f_flatten(0, 1)?);
        let seen = self.groups.iter().map(seen).collect::<Result<Vec<_>>>()?;
        Ok(joined(seen)?.f_index_select(0, &self.back)?)
    }

    fn pool(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_index_select(0, &self.ends)?)
    }

    fn attend_pooled(&self, query: &Tensor, kv: &Tensor, attend: &AttendPooled) -> Result<Tensor> {
        let mut first = 0;
        let mut seen = Vec::new();
        for group in &self.groups {
            let query = query.f_narrow(0, first, group.count)?.f_unsqueeze(1)?;
            seen.push(attend(&query, &group.take(kv)?, Some(&group.visible))?.f_squeeze_dim(1)?);
            first += group.count;
        }
        joined(seen)
    }
}

/// One behind the other, without a copy where there is one only.
fn joined(mut parts: Vec<Tensor>) -> Result<Tensor> {
    match (parts.len(), parts.pop()) {
        (1, Some(part)) => Ok(part),
        (_, last) => {
            parts.extend(last);
            Ok(Tensor::f_cat(&parts, 0)?)
        }
    }
}
