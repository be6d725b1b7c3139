//! The container of `torch.save` before PyTorch 1.6: five pickles one after the other (a magic number, a version, the
//! machine that wrote it, the object, the storages' keys), then every storage's length and bytes.

use std::collections::HashMap;

use super::pickle::{Machine, Value};
use super::RawTensor;
use crate::error::{Error, Result};

/// The first pickle, whole: the magic number as a long integer.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const VERSION: i64 = 1001;

/// Whether the file begins as such a container does.
pub(super) fn is(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The tensors of the file in `bytes`, by their dotted names.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, RawTensor)>> {
    let mut machine = Machine::new(bytes);
    machine.run()?;
    let version = machine.run()?;
    if version != Value::Int(VERSION) {
        return Err(Error::weights_format(format_args!("an unknown version of torch.save's old format ({version:?})")));
    }
    let system = machine.run()?;
    if machine.get(system, "little_endian") != Some(Value::Bool(true)) {
        return Err(Error::weights_format("written on a big-endian machine; save it again on a little-endian one"));
    }
    let root = machine.run()?;
    let keys = machine.run()?;
    let keys = machine.strings(keys).ok_or_else(|| Error::weights_format("the list of storages is damaged"))?;
    let places = places(bytes, machine.rest(), &machine, &keys)?;
    machine.tensors(root, |storage| {
        // A hostile pickle may describe one storage twice, differently.
        match (places.get(storage.key), storage.bytes()) {
            (Some(&(start, length)), Some(needed)) if needed <= length => Ok(start),
            (None, _) => Err(Error::weights_format(format_args!("storage `{}` is missing from the file", storage.key))),
            _ => Err(Error::weights_format(format_args!("storage `{}` is described in two ways", storage.key))),
        }
    })
}

/// Where each storage's first element lies, and how many bytes it has.
fn places<'a>(
    bytes: &[u8],
    mut at: usize,
    machine: &Machine<'a>,
    keys: &[&'a str],
) -> Result<HashMap<&'a str, (usize, usize)>> {
    let known: HashMap<&str, _> = machine.storages().iter().map(|s| (s.key, s)).collect();
    let mut places = HashMap::new();
    for key in keys {
        let short = || Error::weights_format(format_args!("the file ends within storage `{key}`"));
        let storage = known
            .get(key)
            .ok_or_else(|| Error::weights_format(format_args!("storage `{key}` belongs to no tensor")))?;
        let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or_else(short)?;
        if u64::from_le_bytes(*length) != storage.numel as u64 {
            return Err(Error::weights_format(format_args!(
                "storage `{key}` has {} elements, its tensors need {}",
                u64::from_le_bytes(*length),
                storage.numel
            )));
        }
        let start = at + 8;
        let end = storage.bytes().and_then(|n| start.checked_add(n)).filter(|&end| end <= bytes.len());
        at = end.ok_or_else(short)?;
        places.insert(*key, (start, at - start));
    }
    Ok(places)
}
