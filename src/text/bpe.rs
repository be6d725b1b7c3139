//! CLIP's byte-level BPE, on the `tokenizers` library with CLIP's merge table built in.

use tokenizers::models::bpe::{Vocab, BPE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior, Token,
};

use super::failed;
use crate::error::Result;

/// The id that begins every text.
pub(super) const START: u32 = 49406;
/// The id that ends every text, at whose first place the text's embedding is read.
pub(super) const END: u32 = 49407;

const START_TEXT: &str = "<|startoftext|>";
const END_TEXT: &str = "<|endoftext|>";

/// CLIP's 48,894 merges, one a line, best first; `build.rs` cuts them out of the published table.
const MERGES: &str = include_str!(concat!(env!("OUT_DIR"), "/merges.txt"));

/// Words as CLIP splits them. The special tokens come first, so that they are recognised inside a text.
const WORDS: &str = r"(?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// CLIP's vocabulary and how text is split into its words.
pub(super) struct ClipBpe {
    split: Split,
    bytes: ByteLevel,
    bpe: BPE,
}

impl ClipBpe {
    pub(super) fn new() -> Result<Self> {
        let merges: Vec<(String, String)> = MERGES
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect();
        let bpe = BPE::builder()
            .vocab_and_merges(vocabulary(&merges), merges)
            .end_of_word_suffix("</w>".into())
            .build()
            .map_err(failed)?;
        let split =
            Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Removed, true).map_err(failed)?;
        Ok(ClipBpe { split, bytes: ByteLevel::new(false, false, false), bpe })
    }

    /// The ids of a clean text, without start and end.
    pub(super) fn encode(&self, clean: &str) -> Result<Vec<u32>> {
        let mut words = PreTokenizedString::from(clean);
        self.split.pre_tokenize(&mut words).map_err(failed)?;
        self.bytes.pre_tokenize(&mut words).map_err(failed)?;
        words
            .tokenize(|word| match word.get() {
                START_TEXT => Ok(vec![Token::new(START, START_TEXT.into(), (0, 0))]),
                END_TEXT => Ok(vec![Token::new(END, END_TEXT.into(), (0, 0))]),
                word => self.bpe.tokenize(word),
            })
            .map_err(failed)?;
        let splits = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
        Ok(splits.into_iter().flat_map(|(_, _, tokens)| tokens.iter().flatten()).map(|token| token.id).collect())
    }
}

/// Every token's id by its place: the 256 byte symbols, the same at the end of a word, one per merge, the two specials.
fn vocabulary(merges: &[(String, String)]) -> Vocab {
    let bytes = byte_symbols();
    let tokens = bytes
        .iter()
        .map(char::to_string)
        .chain(bytes.iter().map(|c| format!("{c}</w>")))
        .chain(merges.iter().map(|(a, b)| format!("{a}{b}")))
        .chain([START_TEXT.into(), END_TEXT.into()]);
    tokens.zip(0u32..).collect()
}

/// The printable stand-ins of all bytes, in the order of CLIP's vocabulary: the bytes that stand for themselves, then
/// the others, which take the characters from U+0100 on.
fn byte_symbols() -> Vec<char> {
    let printable = |b: &u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..256u32).filter(|b| !printable(b)).count() as u32;
    (0..256).filter(printable).chain(256..256 + others).filter_map(char::from_u32).collect()
}
