//! Writes a seeded random ViT-B/32 in CLIP4Clip's layout: real structure and real speed, but its vectors mean nothing.
//!
//!     cargo run --release --example make_checkpoint -- OUT [tiny]

#[path = "../tests/support/checkpoint.rs"]
#[allow(dead_code)]
mod checkpoint;

use checkpoint::{Writer, B32, TINY};

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(out) = args.next() else {
        eprintln!("usage: make_checkpoint OUT [tiny]");
        std::process::exit(2);
    };
    let sizes = if args.next().as_deref() == Some("tiny") { &TINY } else { &B32 };
    // Complete or not there: an interrupted run leaves no half file under the final name.
    let part = format!("{out}.part");
    Writer::new(sizes, 1).torch_save(part.as_ref(), "");
    std::fs::rename(&part, &out).expect("the checkpoint can be renamed into its place");
}
