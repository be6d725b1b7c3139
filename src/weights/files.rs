//! From a path to mapped files: a checkpoint, the shards that an index lists, or a model folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::{legacy, safetensors, zip, RawTensor};
use crate::error::{Error, Result, Status};

/// What a model folder may hold, best first.
const IN_FOLDER: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
];

/// More shards than any CLIP is split into.
const MAX_SHARDS: usize = 256;

pub(super) struct Files {
    pub maps: Vec<Mmap>,
    /// The container's name.
    pub format: &'static str,
    pub tensors: Vec<(String, RawTensor)>,
    /// Where configuration files would lie.
    pub folder: PathBuf,
}

/// Opens whatever is at `path`.
pub(super) fn open(path: &Path) -> Result<Files> {
    let file = if path.is_dir() { in_folder(path)? } else { path.to_path_buf() };
    let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
    let map = map(&file)?;
    if map.trim_ascii_start().first() == Some(&b'{') {
        return shards(&map, folder);
    }
    let (format, tensors) = tensors(&map)?;
    Ok(Files { maps: vec![map], format, tensors, folder })
}

fn in_folder(folder: &Path) -> Result<PathBuf> {
    let found = IN_FOLDER.iter().map(|name| folder.join(name)).find(|path| path.exists());
    found.ok_or_else(|| {
        Error::new(
            Status::WeightsIo,
            format_args!("weights: the folder `{}` has none of {}", folder.display(), IN_FOLDER.join(", ")),
        )
    })
}

/// The files that a Hugging Face index names, which lie beside it.
fn shards(index: &[u8], folder: PathBuf) -> Result<Files> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|e| {
        Error::weights_format(format_args!("a JSON file that is no index of shards (`weight_map`): {e}"))
    })?;
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    if names.is_empty() || names.len() > MAX_SHARDS {
        return Err(Error::weights_format(format_args!("the index names {} files", names.len())));
    }
    let mut files = Files { maps: Vec::new(), format: "sharded", tensors: Vec::new(), folder };
    for name in names {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(Error::weights_format(format_args!("the index names `{name}`, which is not beside it")));
        }
        let map = map(&files.folder.join(name))?;
        for (tensor, mut raw) in tensors(&map)?.1 {
            if index.weight_map.get(&tensor) == Some(name) {
                raw.file = files.maps.len();
                files.tensors.push((tensor, raw));
            }
        }
        files.maps.push(map);
    }
    Ok(files)
}

/// What the file in `bytes` is, and its tensors.
fn tensors(bytes: &[u8]) -> Result<(&'static str, Vec<(String, RawTensor)>)> {
    if bytes.starts_with(b"PK\x03\x04") {
        let (script, tensors) = zip::read(bytes)?;
        Ok((if script { "torchscript" } else { "torch.save" }, tensors))
    } else if legacy::is(bytes) {
        Ok(("torch.save-legacy", legacy::read(bytes)?))
    } else {
        Ok(("safetensors", safetensors::read(bytes)?))
    }
}

fn map(path: &Path) -> Result<Mmap> {
    let io = |e: std::io::Error| {
        Error::new(Status::WeightsIo, format_args!("weights: cannot read `{}`: {e}", path.display()))
    };
    // Before opening: a named pipe without a writer would block.
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(Error::new(
            Status::WeightsIo,
            format_args!("weights: `{}` is no regular file, expected a checkpoint", path.display()),
        ));
    }
    if metadata.len() == 0 {
        return Err(Error::weights_format("the file is empty"));
    }
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is only read. As with every mapped file, whoever truncates it meanwhile takes the pages away;
    // the map is gone once the model is loaded.
    unsafe { Mmap::map(&file) }.map_err(io)
}
