//! The frames that stand for videos, for programs that train on what the library will see: reads file names from stdin, one a
//! line, and writes for each, to stdout, three little-endian u32 (frames, height, width) and so many RGB24 frames.

use std::io::{BufRead, Write};
use std::path::Path;

use c4c::{pictures, Call, Source, VideoOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for path in std::io::stdin().lock().lines() {
        let path = path?;
        let (pictures, ..) = pictures(Source::Path(Path::new(&path)), &VideoOptions::default(), &Call::default())
            .map_err(|e| format!("{path}: {e}"))?;
        let (width, height) = pictures.first().map_or((0, 0), |p| (p.width, p.height));
        for number in [pictures.len(), height, width] {
            out.write_all(&u32::try_from(number)?.to_le_bytes())?;
        }
        for picture in &pictures {
            out.write_all(&picture.rgb)?;
        }
    }
    Ok(())
}
