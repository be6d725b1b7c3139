//! From a sentence to the token ids that the model reads.

mod bpe;
mod clean;

use std::path::Path;
use std::sync::Arc;

use once_cell::sync::OnceCell;

use crate::error::{Error, Result, Status};
use bpe::{ClipBpe, END, START};

/// Turns text into ids.
pub struct Tokenizer(Kind);

enum Kind {
    /// As the original tokenizes captions. Built when the first text comes, which takes some 50 ms: a process that embeds
    /// videos alone has no use for it.
    Clip(Box<OnceCell<ClipBpe>>),
    /// Whatever a `tokenizer.json` says, with its own cleaning.
    File(Box<tokenizers::Tokenizer>),
}

impl Tokenizer {
    /// The tokenizer with CLIP's vocabulary; one for all models of the process.
    pub fn clip() -> Arc<Tokenizer> {
        static CLIP: OnceCell<Arc<Tokenizer>> = OnceCell::new();
        CLIP.get_or_init(|| Arc::new(Tokenizer(Kind::Clip(Box::default())))).clone()
    }

    /// The tokenizer that the `tokenizer.json` at `path` describes. Its own truncation and padding are left out.
    ///
    /// # Errors
    /// `Tokenizer` if the file cannot be read or understood.
    pub fn from_file(path: &Path) -> Result<Tokenizer> {
        let mut tokenizer = tokenizers::Tokenizer::from_file(path).map_err(|e| {
            Error::new(Status::Tokenizer, format_args!("tokenizer: `{}` cannot be used: {e}", path.display()))
        })?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(failed)?;
        Ok(Tokenizer(Kind::File(Box::new(tokenizer))))
    }

    /// All ids of `text`, with those that the model wants around it.
    ///
    /// # Errors
    /// `Tokenizer` if the library fails, which no text is known to bring about.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        match &self.0 {
            Kind::Clip(bpe) => {
                let mut ids = bpe.get_or_try_init(ClipBpe::new)?.encode(&clean::clean(text))?;
                ids.insert(0, START);
                ids.push(END);
                Ok(ids)
            }
            Kind::File(tokenizer) => Ok(tokenizer.encode(text, true).map_err(failed)?.get_ids().to_vec()),
        }
    }

    /// The ids that go into the model: those of the text cut to `max_words`, the last one kept. Only what can matter is
    /// returned: the model reads a text at the first place of its largest id, CLIP's end token, and never looks behind
    /// it, so a text that spells that token out stops there, and there is no padding.
    ///
    /// # Errors
    /// `TextTooLong` if `strict` and the text had to be cut.
    pub fn model_ids(&self, text: &str, max_words: usize, strict: bool) -> Result<Vec<u32>> {
        let mut ids = self.encode(text)?;
        let Some(&last) = ids.last() else {
            return Err(Error::new(Status::Tokenizer, "tokenizer: it makes no ids of the text, not even an end"));
        };
        if ids.len() > max_words {
            if strict {
                return Err(Error::new(
                    Status::TextTooLong,
                    format_args!("the text makes {} ids with start and end, max_words is {max_words}", ids.len()),
                ));
            }
            ids.truncate(max_words.saturating_sub(1));
            ids.push(last);
        }
        let largest = ids.iter().max().copied().unwrap_or(last);
        let read_at = ids.iter().position(|&id| id == largest).unwrap_or(0);
        ids.truncate(read_at + 1);
        Ok(ids)
    }
}

fn failed(error: tokenizers::Error) -> Error {
    Error::new(Status::Tokenizer, format_args!("tokenizer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_tokens_end_a_text_early() {
        let tokenizer = Tokenizer::clip();
        let plain = tokenizer.model_ids("a dog", 32, false).unwrap();
        assert_eq!(tokenizer.model_ids("a dog <|endoftext|> and a cat", 32, false).unwrap(), plain);
        assert_eq!(tokenizer.encode("<|StartOfText|>!").unwrap()[1], START);
    }

    #[test]
    fn long_texts_keep_the_end() {
        let tokenizer = Tokenizer::clip();
        let long = "word ".repeat(100);
        let ids = tokenizer.model_ids(&long, 32, false).unwrap();
        assert_eq!((ids.len(), ids[0], ids[31]), (32, START, END));
        let error = tokenizer.model_ids(&long, 32, true).unwrap_err();
        assert_eq!(error.status(), Status::TextTooLong);
        assert!(tokenizer.model_ids(&"word ".repeat(30), 32, true).is_ok());
        assert_eq!(tokenizer.model_ids(&long, 1, false).unwrap(), [END]);
    }

    #[test]
    fn no_text_makes_it_fail() {
        let tokenizer = Tokenizer::clip();
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
