//! Checkpoint files: from bytes that a stranger wrote to named, shape-checked tensors. No code in a file ever runs.

mod arch;
mod names;
mod pickle;
mod safetensors;
mod zip;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use tch::{Device, Kind, Tensor};

pub use arch::{Arch, TextArch, VisionArch};
pub use names::HeadKeys;
use names::{Layout, Part};

use crate::error::{Error, Result, Status};

/// Element types that a checkpoint may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    /// Integers and booleans, 1 to 8 bytes wide: only ever buffers, which are dropped.
    Int(u8),
}

impl Dtype {
    fn size(self) -> usize {
        match self {
            Dtype::F64 => 8,
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::Int(n) => n.into(),
        }
    }

    /// The libtorch type of a floating-point element; None for the others.
    fn kind(self) -> Option<Kind> {
        match self {
            Dtype::F64 => Some(Kind::Double),
            Dtype::F32 => Some(Kind::Float),
            Dtype::F16 => Some(Kind::Half),
            Dtype::Bf16 => Some(Kind::BFloat16),
            Dtype::Int(_) => None,
        }
    }

    /// From the name of torch's storage class.
    fn from_storage(name: &str) -> Option<Self> {
        Some(match name {
            "DoubleStorage" => Dtype::F64,
            "FloatStorage" => Dtype::F32,
            "HalfStorage" => Dtype::F16,
            "BFloat16Storage" => Dtype::Bf16,
            "LongStorage" => Dtype::Int(8),
            "IntStorage" => Dtype::Int(4),
            "ShortStorage" => Dtype::Int(2),
            "CharStorage" | "ByteStorage" | "BoolStorage" => Dtype::Int(1),
            _ => return None,
        })
    }
}

/// Where a tensor lies in the mapped file. Every element is within the file: that is checked at construction.
#[derive(Clone, Debug)]
pub(crate) struct RawTensor {
    dtype: Dtype,
    /// The byte of the first element.
    start: usize,
    /// Bytes from the first element to the end of the last one.
    extent: usize,
    shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
}

impl RawTensor {
    /// A view on the `bytes` bytes at `start`; None when it would reach beyond them.
    fn new(
        dtype: Dtype,
        start: usize,
        bytes: usize,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Option<Self> {
        if shape.len() != strides.len() || shape.len() > 8 {
            return None;
        }
        shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= isize::MAX as usize)?;
        let mut span = 0usize;
        if !shape.contains(&0) {
            for (&d, &s) in shape.iter().zip(&strides) {
                span = span.checked_add((d - 1).checked_mul(s)?)?;
            }
            span = span.checked_add(1)?;
        }
        let first = offset.checked_mul(dtype.size())?;
        let extent = span.checked_mul(dtype.size())?;
        if first.checked_add(extent)? > bytes {
            return None;
        }
        Some(RawTensor { dtype, start: start.checked_add(first)?, extent, shape, strides })
    }

    fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// The same values with the two dimensions of a matrix exchanged.
    fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    /// A view of this tensor in `map`, in its own element type, and its bytes where they had to be copied.
    fn view(&self, map: &[u8]) -> Result<Tensor> {
        let kind = self.dtype.kind().ok_or_else(|| Error::internal("an integer tensor was asked for as weights"))?;
        let bytes = &map[self.start..self.start + self.extent];
        let shape: Vec<i64> = self.shape.iter().map(|&d| d as i64).collect();
        let strides: Vec<i64> = self.strides.iter().map(|&d| d as i64).collect();
        if bytes.as_ptr().align_offset(self.dtype.size()) != 0 {
            let elements = (self.extent / self.dtype.size()) as i64;
            let flat = Tensor::f_from_data_size(bytes, &[elements], kind)?;
            return Ok(flat.f_as_strided(shape, strides, 0)?);
        }
        // SAFETY: the shape and strides stay within `bytes` (checked by `RawTensor::new`), the pointer is aligned for
        // the type, and the caller copies out of the view while `map` is alive; nothing writes through it.
        Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), &shape, &strides, kind, Device::Cpu)? })
    }
}

/// An open checkpoint: all its tensors by name, to be taken out one by one under their canonical (OpenAI) names.
pub struct Checkpoint {
    map: Mmap,
    layout: Layout,
    format: &'static str,
    tensors: BTreeMap<String, RawTensor>,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({} {:?}, {} tensors)", self.format, self.layout, self.tensors.len())
    }
}

impl Checkpoint {
    /// Maps the file and reads its directory; the weights themselves are read when they are taken.
    ///
    /// # Errors
    /// `WeightsIo` when the file cannot be read; `WeightsFormat` when it is no checkpoint of a CLIP.
    pub fn open(path: &Path) -> Result<Self> {
        let map = map_file(path)?;
        let (format, tensors) = match map.get(..4) {
            Some(b"PK\x03\x04") => ("torch.save", zip::read(&map)?),
            Some([0x80, ..]) => {
                return Err(Error::unsupported(
                    "weights: a pickle from before PyTorch 1.6; save it again with a current torch.save",
                ))
            }
            _ => ("safetensors", safetensors::read(&map)?),
        };
        let expanded: usize = tensors.iter().map(|(_, t)| t.numel().saturating_mul(t.dtype.size())).sum();
        if expanded > map.len().saturating_mul(2) {
            return Err(Error::weights_format("its tensors describe more data than the file holds"));
        }
        let (layout, tensors) = names::canonicalise(tensors)?;
        Ok(Checkpoint { map, layout, format, tensors })
    }

    /// Container and naming, as `c4c_get_info` reports them.
    pub fn describe(&self) -> String {
        format!("{}/{}", self.format, self.layout)
    }

    /// Whether any tensor's name in the file begins with `prefix`.
    fn has_prefix(&self, prefix: &str) -> bool {
        self.tensors.range(prefix.to_string()..).next().is_some_and(|(k, _)| k.starts_with(prefix))
    }

    /// The file's shape of a canonical tensor.
    fn shape(&self, canonical: &str) -> Result<Vec<usize>> {
        let source = self.layout.source(canonical);
        let raw = self.raw(&source.names[0])?;
        let mut shape = raw.shape.clone();
        if source.transposed {
            shape.reverse();
        }
        Ok(shape)
    }

    fn raw(&self, name: &str) -> Result<&RawTensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::weights_mismatch(format_args!("`{}` is missing", self.layout.in_file(name))))
    }

    /// Whether the file holds this canonical tensor.
    pub fn contains(&self, canonical: &str) -> bool {
        self.layout.source(canonical).names.iter().all(|n| self.tensors.contains_key(n))
    }

    /// Takes a tensor out as float32 on the CPU: one copy, from the mapped file into its final place.
    ///
    /// # Errors
    /// `WeightsMismatch`, naming the tensor as the file does, when it is missing or has another shape.
    pub fn take(&mut self, canonical: &str, shape: &[usize]) -> Result<Tensor> {
        let source = self.layout.source(canonical);
        let rows = shape.first().copied().unwrap_or(1) / source.names.len();
        let mut part_shape = shape.to_vec();
        if source.names.len() > 1 {
            part_shape[0] = rows;
        }
        let whole: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        let mut parts = Vec::new();
        for name in &source.names {
            let mut raw = self.raw(name)?.clone();
            if source.transposed {
                raw = raw.transposed();
            }
            let mut in_file = (raw.shape.clone(), part_shape.clone());
            if raw.shape != part_shape {
                if source.transposed {
                    in_file.0.reverse();
                    in_file.1.reverse();
                }
                return Err(Error::weights_mismatch(format_args!(
                    "`{}` has shape {:?}, expected {:?}",
                    self.layout.in_file(name),
                    in_file.0,
                    in_file.1
                )));
            }
            if raw.dtype.kind().is_none() {
                return Err(Error::weights_mismatch(format_args!(
                    "`{}` holds integers, expected floating-point weights",
                    self.layout.in_file(name)
                )));
            }
            parts.push(raw);
        }
        let mut out = Tensor::f_empty(&whole[..], (Kind::Float, Device::Cpu))?;
        for (i, raw) in parts.iter().enumerate() {
            let view = raw.view(&self.map)?;
            if parts.len() == 1 {
                out.f_copy_(&view)?;
            } else {
                out.f_narrow(0, (i * rows) as i64, rows as i64)?.f_copy_(&view)?;
            }
        }
        for name in &source.names {
            self.tensors.remove(name);
        }
        Ok(out)
    }

    /// Which temporal head the file carries.
    pub fn head(&self) -> HeadKeys {
        arch::head(self)
    }

    /// Drops the parts that are known and not wanted.
    fn discard(&mut self, unwanted: impl Fn(Part) -> bool) {
        let layout = &self.layout;
        self.tensors.retain(|name, _| !layout.part(name).is_some_and(&unwanted));
    }

    /// Drops the temporal head's tensors, for a model that is used without it.
    pub fn discard_head(&mut self) {
        self.discard(|part| part == Part::Head);
    }

    /// A canonical tensor's name as the file spells it.
    fn name_of(&self, canonical: &str) -> String {
        self.layout.in_file(&self.layout.source(canonical).names[0])
    }

    /// The numbers of the blocks whose canonical names begin with `prefix`.
    fn block_numbers(&self, prefix: &str) -> impl Iterator<Item = usize> + '_ {
        let prefix = self.layout.blocks(prefix);
        let end = prefix.clone();
        self.tensors
            .range(prefix..)
            .map_while(move |(name, _)| name.strip_prefix(end.as_str()))
            .filter_map(|rest| rest.split_once('.')?.0.parse().ok())
    }

    /// What nobody took does not belong in the model that was asked for.
    ///
    /// # Errors
    /// `WeightsMismatch` naming the first such tensor.
    pub fn finish(self) -> Result<()> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(Error::weights_mismatch(format_args!(
                "`{}` does not belong to this model ({} such tensors)",
                self.layout.in_file(name),
                self.tensors.len()
            ))),
        }
    }
}

fn map_file(path: &Path) -> Result<Mmap> {
    let io = |e: std::io::Error| {
        Error::new(Status::WeightsIo, format_args!("weights: cannot read `{}`: {e}", path.display()))
    };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "a folder" } else { "no regular file" };
        return Err(Error::new(
            Status::WeightsIo,
            format_args!("weights: `{}` is {what}, expected a checkpoint file", path.display()),
        ));
    }
    if metadata.len() == 0 {
        return Err(Error::weights_format("the file is empty"));
    }
    // SAFETY: the map is only read. As with every mapped file, whoever truncates it meanwhile takes the pages away;
    // the map is gone once the model is loaded.
    unsafe { Mmap::map(&file) }.map_err(io)
}
