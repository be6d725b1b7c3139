//! Checkpoints that somebody damaged or made up: whatever the bytes, reading them is an answer or an error, and takes no more
//! memory than the file warrants.
//!
//! `C4C_ROUNDS=100000 cargo test --release --test hostile_weights -- --nocapture` runs longer than the ordinary 1,500 rounds.

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use c4c::{inspect, Status};
use support::checkpoint::{mix, Writer, MICRO};
use support::memory::{peak_memory, start_of_peak};

/// Pseudo-random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = mix(self.0);
        (self.0 >> 16) as usize % n.max(1)
    }
}

/// Numbers that length fields, counts and opcodes do not expect.
const ODD: [u64; 8] = [0, 1, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

const OPCODES: &[u8] = b"().0NRQbcehjqrstuXKMJG}]\x80\x81\x85\x86\x87\x8a\x94\x95";

/// Both tests look at the memory of the whole process.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn damage(bytes: &mut Vec<u8>, random: &mut Random, structure: &[std::ops::Range<usize>]) {
    for _ in 0..1 + random.below(4) {
        let range = structure[random.below(structure.len())].clone();
        let at = (range.start + random.below(range.len())).min(bytes.len().saturating_sub(1));
        match random.below(8) {
            0 => bytes.truncate(at),
            1 => bytes[at..].iter_mut().take(4).zip(ODD[random.below(8)].to_le_bytes()).for_each(|(b, v)| *b = v),
            2 => bytes[at..].iter_mut().take(8).zip(ODD[random.below(8)].to_le_bytes()).for_each(|(b, v)| *b = v),
            3 => bytes[at] = OPCODES[random.below(OPCODES.len())],
            4 => {
                let end = (at + 1 + random.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            5 => drop(bytes.drain(at..(at + 1 + random.below(20)).min(bytes.len()))),
            6 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.below(256) as u8,
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Where a file's structure lies, as opposed to its weights.
fn structure(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let n = bytes.len();
    vec![0..n.min(400), 0..n.min(8000), n.saturating_sub(6000)..n, n.saturating_sub(200)..n]
}

fn write_seeds(folder: &Path) -> Vec<Vec<u8>> {
    let path = folder.join("seed");
    let writer = Writer::with_head(&MICRO, 1, "meanP");
    let writers: [&dyn Fn(); 5] = [
        &|| writer.torch_save(&path, ""),
        &|| writer.legacy_save(&path),
        &|| writer.torch_script(&path),
        &|| writer.safetensors(&path),
        &|| writer.hugging_face(&path),
    ];
    let mut seeds = Vec::new();
    for write in writers {
        write();
        assert_eq!(inspect(&path).unwrap().problems, Vec::<String>::new());
        seeds.push(std::fs::read(&path).unwrap());
    }
    seeds
}

#[test]
fn mutated_checkpoints() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let seeds = write_seeds(folder.path());
    let rounds: usize = std::env::var("C4C_ROUNDS").map_or(1500, |n| n.parse().unwrap());
    let path = folder.path().join("mutated");
    let largest = seeds.iter().map(Vec::len).max().unwrap();
    let before = start_of_peak();
    let mut slowest = Duration::ZERO;
    let mut accepted = 0;
    for round in 0..rounds {
        let mut random = Random(mix(round as u64));
        let mut bytes = seeds[round % seeds.len()].clone();
        let ranges = structure(&bytes);
        damage(&mut bytes, &mut random, &ranges);
        std::fs::write(&path, &bytes).unwrap();
        let start = Instant::now();
        match inspect(&path) {
            Ok(_) => accepted += 1,
            Err(error) => assert_ne!(error.status(), Status::Internal, "round {round}: {error}"),
        }
        slowest = slowest.max(start.elapsed());
    }
    let grown = peak_memory().saturating_sub(before);
    println!("{rounds} rounds: {accepted} read, slowest {slowest:?}, memory grew by {} KiB", grown / 1024);
    assert!(accepted < rounds);
    // Twice the file, and what allocators keep.
    assert!(grown < 2 * largest + (64 << 20), "memory grew by {grown} bytes for files of {largest}");
}

/// What a stranger would write who knows how the readers work.
#[test]
fn made_up_checkpoints() {
    let _alone = ALONE.lock();
    let folder = tempfile::tempdir().unwrap();
    let read = |bytes: &[u8]| {
        let path = folder.path().join("made_up");
        std::fs::write(&path, bytes).unwrap();
        inspect(&path).unwrap_err()
    };
    // A pickle in a zip, as torch.save writes it.
    let zipped = |pickle: &[u8]| {
        use std::io::Write;
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut zip = zip::ZipWriter::new(&mut bytes);
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("archive/data.pkl", stored).unwrap();
        zip.write_all(pickle).unwrap();
        zip.start_file("archive/data/0", stored).unwrap();
        zip.write_all(&[0; 64]).unwrap();
        zip.finish().unwrap();
        bytes.into_inner()
    };
    let before = start_of_peak();

    let code = read(&zipped(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R."));
    assert!(code.message().contains("`os.system`"), "{code}");
    let many = [&b"\x80\x02"[..], &b"]".repeat(3_000_000), b"."].concat();
    assert_eq!(read(&zipped(&many)).status(), Status::WeightsFormat);
    let memo = [&b"\x80\x02N"[..], &b"\x94".repeat(3_000_000), b"."].concat();
    assert_eq!(read(&zipped(&memo)).status(), Status::WeightsFormat);
    let long_key = [&b"\x80\x02}X\0\0\x10\0"[..], &b"k".repeat(1 << 20), b"}(X\x01\0\0\0aNu", b"s."].concat();
    assert_eq!(read(&zipped(&long_key)).status(), Status::WeightsFormat);

    // A tensor of 2^60 equal elements from one: strides may be zero.
    let mut huge =
        b"\x80\x02}X\x16\0\0\0token_embedding.weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage".to_vec();
    huge.extend(
        b"ctorch\nDoubleStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0\x8a\x08\0\0\0\0\0\0\0\x10\x85K\0\x85\x89",
    );
    huge.extend(b"ccollections\nOrderedDict\n)RtRs.");
    let error = read(&zipped(&huge));
    assert!(error.message().contains("more data than the file holds"), "{error}");

    let header = |json: &str| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &[0; 64]].concat();
    let overlap = r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}"#;
    let beyond = r#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,18446744073709551615]}}"#;
    let nested = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for json in [overlap, beyond, &format!(r#"{{"a":{nested}}}"#), "{}", "{\"__metadata__\":{}}"] {
        assert_eq!(read(&header(json)).status(), Status::WeightsFormat, "{json:.60}");
    }
    let index = format!(r#"{{"weight_map":{{"a":{nested}}}}}"#);
    assert_eq!(read(index.as_bytes()).status(), Status::WeightsFormat);

    let grown = peak_memory().saturating_sub(before);
    assert!(grown < 100 << 20, "memory grew by {} MiB", grown >> 20);
}
