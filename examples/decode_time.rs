//! Times the decoding of the twelve frames that stand for a video: `decode_time FILE THREADS` opens the file, decodes and
//! converts them to RGB at their own size once, and prints the milliseconds and the growth of the peak of memory as JSON.

use c4c::{pictures, Call, Source, VideoOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: decode_time FILE [THREADS]")?;
    let decode_threads = arguments.next().map(|n| n.parse()).transpose()?;
    let options = VideoOptions { decode_threads, ..Default::default() };
    let before = peak_kib();
    let start = std::time::Instant::now();
    let (pictures, ..) = pictures(Source::Path(path.as_ref()), &options, &Call::default())?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    assert!(!pictures.is_empty());
    println!("{{\"ms\": {ms:.2}, \"peak_kib\": {}}}", peak_kib() - before);
    Ok(())
}

/// The largest resident size that this process has had.
fn peak_kib() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills the struct that it is given; all zero is a value of it.
    unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init().ru_maxrss
    }
}
