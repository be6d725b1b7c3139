//! The container of `torch.save` since PyTorch 1.6: an uncompressed zip with a pickle and one member per storage.

use std::collections::HashMap;
use std::io::Cursor;

use zip::read::{ArchiveOffset, Config};

use super::pickle::{Machine, Storage};
use super::RawTensor;
use crate::error::{Error, Result};

/// The tensors of the archive in `bytes` by their dotted names, and whether it is a TorchScript archive. That is read
/// like any other: its modules are the pickle's objects, and its code is not looked at.
pub(super) fn read(bytes: &[u8]) -> Result<(bool, Vec<(String, RawTensor)>)> {
    let archive = Archive::open(bytes)?;
    let program = archive
        .members
        .keys()
        .find(|n| *n == "data.pkl" || n.ends_with("/data.pkl"))
        .ok_or_else(|| Error::weights_format("a zip archive without a `data.pkl`, so not from torch.save"))?;
    let prefix = program.trim_end_matches("data.pkl");
    let order = format!("{prefix}byteorder");
    if archive.members.contains_key(&order) && archive.stored(&order)?.1 != b"little" {
        return Err(Error::weights_format("written on a big-endian machine; save it again on a little-endian one"));
    }
    let mut machine = Machine::new(archive.stored(program)?.1);
    let root = machine.run()?;
    let tensors = machine.tensors(root, |storage| archive.locate(prefix, storage))?;
    Ok((archive.members.contains_key(&format!("{prefix}constants.pkl")), tensors))
}

struct Member {
    start: Option<u64>,
    size: u64,
    /// Why the bytes cannot be used as they lie there.
    unusable: Option<&'static str>,
}

struct Archive<'a> {
    bytes: &'a [u8],
    members: HashMap<String, Member>,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let damaged = |e| Error::weights_format(format_args!("the zip archive is damaged or cut short: {e}"));
        // Where nothing lies in front of the archive, its directory is where it says. Looking for it elsewhere goes wrong with
        // the records that PyTorch puts behind it, if the first member's name has a certain length.
        let there = Config { archive_offset: ArchiveOffset::Known(0) };
        let zip = zip::ZipArchive::with_config(there, Cursor::new(bytes));
        let mut zip = zip.or_else(|_| zip::ZipArchive::new(Cursor::new(bytes))).map_err(damaged)?;
        let mut members = HashMap::new();
        for index in 0..zip.len() {
            let file = zip.by_index_raw(index).map_err(damaged)?;
            let unusable = if file.encrypted() {
                Some("is encrypted")
            } else if file.compression() != zip::CompressionMethod::Stored {
                Some("is compressed, which torch.save never does")
            } else {
                None
            };
            let member = Member { start: file.data_start(), size: file.size(), unusable };
            members.insert(file.name().map_err(damaged)?.into_owned(), member);
        }
        Ok(Archive { bytes, members })
    }

    /// A member's place in the file and its bytes.
    fn stored(&self, name: &str) -> Result<(usize, &'a [u8])> {
        let member = self
            .members
            .get(name)
            .ok_or_else(|| Error::weights_format(format_args!("`{name}` is missing from the archive")))?;
        if let Some(why) = member.unusable {
            return Err(Error::weights_format(format_args!("`{name}` {why}; save the state dict again")));
        }
        let start = member.start.and_then(|s| usize::try_from(s).ok());
        let size = usize::try_from(member.size).ok();
        start
            .zip(size)
            .and_then(|(start, size)| Some((start, self.bytes.get(start..start.checked_add(size)?)?)))
            .ok_or_else(|| Error::weights_format(format_args!("`{name}` reaches beyond the end of the file")))
    }

    /// Where a storage begins in the file.
    fn locate(&self, prefix: &str, storage: &Storage) -> Result<usize> {
        let (start, data) = self.stored(&format!("{prefix}data/{}", storage.key))?;
        match storage.bytes() {
            Some(needed) if needed <= data.len() => Ok(start),
            _ => Err(Error::weights_format(format_args!(
                "storage `{}` has {} bytes, its tensors need {} elements",
                storage.key,
                data.len(),
                storage.numel
            ))),
        }
    }
}
