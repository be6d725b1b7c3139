//! The container of `torch.save` since PyTorch 1.6: an uncompressed zip with a pickle and one member per storage.

use std::collections::HashMap;
use std::io::Cursor;

use super::{pickle, RawTensor};
use crate::error::{Error, Result};

/// The tensors of the archive in `bytes`, by their dotted names.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, RawTensor)>> {
    let archive = Archive::open(bytes)?;
    let program = archive
        .members
        .keys()
        .find(|n| *n == "data.pkl" || n.ends_with("/data.pkl"))
        .ok_or_else(|| Error::weights_format("a zip archive without a `data.pkl`, so not from torch.save"))?;
    let prefix = program.trim_end_matches("data.pkl");
    if archive.members.contains_key(&format!("{prefix}constants.pkl")) {
        return Err(Error::unsupported(
            "weights: a TorchScript archive, which this version does not read; save the model's state_dict() alone",
        ));
    }
    if archive.members.contains_key(&format!("{prefix}byteorder"))
        && archive.stored(&format!("{prefix}byteorder"))?.1 != b"little"
    {
        return Err(Error::weights_format("written on a big-endian machine; save it again on a little-endian one"));
    }
    let (_, pickle) = archive.stored(program)?;
    let storages = Storages { archive: &archive, folder: format!("{prefix}data/") };
    Ok(pickle::read(pickle, &storages)?.tensors)
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
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
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
}

/// Where each storage of the archive lies.
struct Storages<'a> {
    archive: &'a Archive<'a>,
    folder: String,
}

impl pickle::Storages for Storages<'_> {
    fn locate(&self, key: &str, bytes: usize) -> Result<usize> {
        let (start, data) = self.archive.stored(&format!("{}{key}", self.folder))?;
        if data.len() < bytes {
            return Err(Error::weights_format(format_args!(
                "storage `{key}` has {} bytes, its tensors need {bytes}",
                data.len()
            )));
        }
        Ok(start)
    }
}
