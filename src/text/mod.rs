//! From a sentence to token ids, as the original tokenizes captions.

mod bpe;
mod clean;

pub use bpe::Tokenizer;
pub use clean::clean;
