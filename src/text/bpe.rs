//! CLIP's byte-level BPE, on the `tokenizers` library with CLIP's merge table built in.

use std::sync::Arc;

use once_cell::sync::OnceCell;
use tokenizers::models::bpe::{Vocab, BPE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    Model, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior, Token,
};

use crate::error::{Error, Result, Status};

/// The id that begins every text.
const START: u32 = 49406;
/// The id that ends every text, at whose first place the text's embedding is read.
const END: u32 = 49407;

const START_TEXT: &str = "<|startoftext|>";
const END_TEXT: &str = "<|endoftext|>";

/// CLIP's 48,894 merges, one a line, best first; `build.rs` cuts them out of the published table.
const MERGES: &str = include_str!(concat!(env!("OUT_DIR"), "/merges.txt"));

/// Words as CLIP splits them. The special tokens come first, so that they are recognised inside a text.
const WORDS: &str = r"(?i)<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+";

/// Turns text into ids. One per process: the tables are shared by all models.
pub struct Tokenizer {
    split: Split,
    bytes: ByteLevel,
    bpe: BPE,
}

impl Tokenizer {
    /// The process-wide tokenizer with CLIP's vocabulary.
    ///
    /// # Errors
    /// `Tokenizer` if the built-in tables cannot be used.
    pub fn clip() -> Result<Arc<Tokenizer>> {
        static CLIP: OnceCell<Arc<Tokenizer>> = OnceCell::new();
        CLIP.get_or_try_init(|| Self::build().map(Arc::new)).cloned()
    }

    fn build() -> Result<Tokenizer> {
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
        Ok(Tokenizer { split, bytes: ByteLevel::new(false, false, false), bpe })
    }

    /// The ids of `text` between, and without, the start and the end id; the text is cleaned first.
    ///
    /// # Errors
    /// `Tokenizer` if the library fails, which no text is known to bring about.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut words = PreTokenizedString::from(super::clean(text).as_str());
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

    /// The ids that go into the model: start, the text cut to `max_words - 2` ids, end. Only what can matter is kept:
    /// the model reads the text at its first end id and never looks behind it, so a text that spells out the end
    /// token stops there, and there is no padding.
    ///
    /// # Errors
    /// `TextTooLong` if `strict` and the text had to be cut.
    pub fn model_ids(&self, text: &str, max_words: usize, strict: bool) -> Result<Vec<u32>> {
        let mut ids = self.encode(text)?;
        if strict && ids.len() + 2 > max_words {
            return Err(Error::new(
                Status::TextTooLong,
                format_args!("the text makes {} ids with start and end, max_words is {max_words}", ids.len() + 2),
            ));
        }
        ids.truncate(max_words.saturating_sub(2));
        if let Some(end) = ids.iter().position(|&id| id == END) {
            ids.truncate(end);
        }
        ids.insert(0, START);
        ids.push(END);
        Ok(ids)
    }
}

fn failed(error: tokenizers::Error) -> Error {
    Error::new(Status::Tokenizer, format_args!("tokenizer: {error}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_end_a_text_early() {
        let tokenizer = Tokenizer::clip().unwrap();
        let plain = tokenizer.model_ids("a dog", 32, false).unwrap();
        assert_eq!(tokenizer.model_ids("a dog <|endoftext|> and a cat", 32, false).unwrap(), plain);
        assert_eq!(tokenizer.encode("<|StartOfText|>!").unwrap()[0], START);
    }

    #[test]
    fn long_texts_keep_the_end() {
        let tokenizer = Tokenizer::clip().unwrap();
        let long = "word ".repeat(100);
        let ids = tokenizer.model_ids(&long, 32, false).unwrap();
        assert_eq!((ids.len(), ids[0], ids[31]), (32, START, END));
        let error = tokenizer.model_ids(&long, 32, true).unwrap_err();
        assert_eq!(error.status(), Status::TextTooLong);
        assert!(tokenizer.model_ids(&"word ".repeat(30), 32, true).is_ok());
    }

    #[test]
    fn no_text_makes_it_fail() {
        let tokenizer = Tokenizer::clip().unwrap();
        let mut seed = 7u64;
        for _ in 0..300 {
            let text: String = (0..40)
                .filter_map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    let bits = (seed >> 33) as u32;
                    char::from_u32(bits % [0x80, 0x250, 0x3000, 0x11_0000][(bits >> 24) as usize % 4])
                })
                .collect();
            let ids = tokenizer.model_ids(&text, 32, false).unwrap();
            assert!(ids.len() <= 32 && ids.iter().all(|&id| id <= END), "{text:?}");
        }
    }
}
