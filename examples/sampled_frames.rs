//! Which frames stand for a video: `sampled_frames FILE [THREADS]` prints their numbers, times, sizes and a checksum of their
//! pixels, one line each, and how they were found.

use std::hash::{DefaultHasher, Hash, Hasher};

use c4c::{pictures, Call, Source, VideoOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: sampled_frames FILE [THREADS]")?;
    let decode_threads = arguments.next().map(|n| n.parse()).transpose()?;
    let strict_decode = std::env::var_os("STRICT").is_some();
    let options = VideoOptions { decode_threads, strict_decode, ..Default::default() };
    let (pictures, total, whole) = pictures(Source::Path(path.as_ref()), &options, &Call::default())?;
    for picture in pictures {
        let mut hash = DefaultHasher::new();
        picture.rgb.hash(&mut hash);
        println!(
            "{:>6} {:>12} us  {}x{}  {:016x}",
            picture.number,
            picture.time_us,
            picture.width,
            picture.height,
            hash.finish()
        );
    }
    println!("{total} frames; {}", whole.unwrap_or("only what the wanted ones need was decoded"));
    Ok(())
}
