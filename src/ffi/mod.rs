//! The C ABI. The only `extern "C"` functions of the crate, and the only code that touches the caller's memory.
//!
//! `types` and `structs` declare what the header says; `guard` keeps panics in and fills `c4c_error`; `read` turns what
//! comes over the border into checked Rust values; the other files are the calls.

// C names, and C's manner of saying what is safe: in the header's words, which the functions' comments become.
#![allow(non_camel_case_types, clippy::missing_safety_doc)]

mod about;
mod call;
mod embed;
mod guard;
mod info;
mod model;
mod read;
mod segments;
mod structs;
mod types;
mod video;

pub use about::*;
pub use call::*;
pub use embed::*;
pub use info::*;
pub use model::*;
pub use segments::*;
pub use structs::*;
pub use types::*;
pub use video::*;
