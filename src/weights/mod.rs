//! Checkpoint files: from bytes that a stranger wrote to named, shape-checked tensors. No code in a file ever runs.

mod arch;
mod config;
mod files;
mod legacy;
mod names;
mod pickle;
mod safetensors;
mod zip;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};
use tch::{Device, Kind, Tensor};

pub use arch::{Arch, TextArch, VisionArch};
pub use config::TowerConfig;
use names::{Layout, Part};

use crate::error::{Error, Result};
use crate::options::Head;

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
    /// Which of the checkpoint's files.
    file: usize,
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
        Some(RawTensor { dtype, file: 0, start: start.checked_add(first)?, extent, shape, strides })
    }

    /// The same view on a file in which everything lies `by` bytes further on; None beyond what memory can hold.
    fn moved(mut self, by: usize) -> Option<Self> {
        self.start = self.start.checked_add(by)?;
        self.start.checked_add(self.extent)?;
        Some(self)
    }

    /// Whether the elements lie row by row without gaps.
    fn is_dense(&self) -> bool {
        let mut next = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&d, &s)| {
            let dense = s == next || d == 1;
            next *= d;
            dense
        })
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

    /// This tensor in its own element type: a view of `map`, or a copy where the file does not align it.
    fn view(&self, map: &[u8]) -> Result<Tensor> {
        let kind = self.dtype.kind().ok_or_else(|| Error::internal("an integer tensor was asked for as weights"))?;
        let bytes = map
            .get(self.start..self.start + self.extent)
            .ok_or_else(|| Error::weights_format("a tensor lies beyond the end of the file"))?;
        let shape: Vec<i64> = self.shape.iter().map(|&d| d as i64).collect();
        let strides: Vec<i64> = self.strides.iter().map(|&d| d as i64).collect();
        if bytes.as_ptr().align_offset(self.dtype.size()) != 0 {
            let elements = (self.extent / self.dtype.size()) as i64;
            let flat = Tensor::f_from_data_size(bytes, &[elements], kind)?;
            return Ok(flat.f_as_strided(shape, strides, 0)?);
        }
        // SAFETY: the shape and strides stay within `bytes` (checked by `RawTensor::new`), the pointer is aligned for
        // the type, those who get the view (`copy`, `look_at`) are done with it while `map` is alive, and nothing writes
        // through it.
        Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), &shape, &strides, kind, Device::Cpu)? })
    }
}

/// An open checkpoint: all its tensors by name, to be taken out one by one under their canonical (OpenAI) names.
pub struct Checkpoint {
    maps: Vec<Mmap>,
    layout: Layout,
    format: &'static str,
    tensors: BTreeMap<String, RawTensor>,
    config: config::Config,
    /// Where missing, mis-shaped and superfluous tensors are noted instead of being errors.
    problems: Option<Vec<String>>,
    /// Where tensors go that are taken.
    device: Device,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checkpoint({}, {} tensors)", self.describe(), self.tensors.len())
    }
}

impl Checkpoint {
    /// Maps the file, the shards that an index names, or a model folder's, and reads their directories; the weights
    /// themselves are read when they are taken. What the files are is told by their content.
    ///
    /// # Errors
    /// `WeightsIo` when a file cannot be read; `WeightsFormat` when it is no checkpoint of a CLIP.
    pub fn open(path: &Path) -> Result<Self> {
        let files::Files { maps, format, tensors, folder } = files::open(path)?;
        let held: usize = maps.iter().map(|m| m.len()).sum();
        let described =
            tensors.iter().fold(0usize, |sum, (_, t)| sum.saturating_add(t.numel().saturating_mul(t.dtype.size())));
        if described > held.saturating_mul(2) {
            return Err(Error::weights_format("its tensors describe more data than the file holds"));
        }
        let (layout, tensors) = names::canonicalise(tensors)?;
        let config = config::beside(&folder, layout.is_hugging_face())?;
        Ok(Checkpoint { maps, layout, format, tensors, config, problems: None, device: Device::Cpu })
    }

    /// Notes what is wrong with tensors from here on, and gives zeros for those that cannot be used.
    pub fn collect_problems(&mut self) {
        self.problems.get_or_insert_default();
    }

    /// Puts tensors on `device` that are taken from here on.
    pub fn put_on(&mut self, device: Device) {
        self.device = device;
    }

    /// What a configuration file beside the weights says of the text tower.
    pub fn text_config(&self) -> TowerConfig {
        self.config.text
    }

    /// What a configuration file beside the weights says of the vision tower.
    pub fn vision_config(&self) -> TowerConfig {
        self.config.vision
    }

    /// The `tokenizer.json` of a Hugging Face model folder.
    pub fn tokenizer(&self) -> Option<PathBuf> {
        self.config.tokenizer.clone()
    }

    /// How many tensors, and values in them, there are of each element type.
    pub fn dtypes(&self) -> BTreeMap<String, (usize, usize)> {
        let mut counts = BTreeMap::new();
        for tensor in self.tensors.values() {
            let count: &mut (usize, usize) = counts.entry(format!("{:?}", tensor.dtype).to_uppercase()).or_default();
            count.0 += 1;
            count.1 += tensor.numel();
        }
        counts
    }

    /// Whether any tensor of a tower is there: the halves that transformers saves have only one.
    fn has_part(&self, part: Part) -> bool {
        self.tensors.keys().any(|name| self.layout.part(name) == Some(part))
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
        let taken = self.copy(canonical, shape);
        self.skip(canonical);
        match (taken, &mut self.problems) {
            (Err(error), Some(problems)) => {
                problems.push(error.message().to_string());
                Ok(Tensor::f_zeros(whole(shape), (Kind::Float, self.device))?)
            }
            (taken, _) => Ok(taken?.f_to_device(self.device)?),
        }
    }

    /// Shows a tensor to `look` where it lies in the mapped file, in the file's type. None where it is not there in one piece,
    /// row by row, in single precision or less: then it has to be taken. After this it is to be [skipped](Checkpoint::skip).
    pub fn look_at<T>(
        &self,
        canonical: &str,
        shape: &[usize],
        look: impl FnOnce(&Tensor) -> Result<T>,
    ) -> Option<Result<T>> {
        let source = self.layout.source(canonical);
        let [name] = &source.names[..] else { return None };
        let raw = self.tensors.get(name)?;
        let plain = matches!(raw.dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16);
        if source.transposed || !plain || raw.shape != shape || !raw.is_dense() {
            return None;
        }
        let seen = self.map(raw).and_then(|map| look(&raw.view(map)?));
        self.forget(raw);
        Some(seen)
    }

    fn map(&self, raw: &RawTensor) -> Result<&Mmap> {
        self.maps.get(raw.file).ok_or_else(|| Error::internal("a tensor of a file that is not open"))
    }

    /// Lets the system have the memory back in which a tensor of the file lies; it is in the file still.
    fn forget(&self, raw: &RawTensor) {
        if let Some(map) = self.maps.get(raw.file) {
            // SAFETY: the mapping is of a file and never written to, so what is read there again is what was there.
            let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, raw.start, raw.extent) };
            // It is only advice.
            drop(advised);
        }
    }

    fn copy(&self, canonical: &str, shape: &[usize]) -> Result<Tensor> {
        let source = self.layout.source(canonical);
        let rows = shape.first().copied().unwrap_or(1) / source.names.len();
        let mut part_shape = shape.to_vec();
        if source.names.len() > 1 {
            part_shape[0] = rows;
        }
        let mut parts = Vec::new();
        for name in &source.names {
            let mut raw = self.raw(name)?.clone();
            if source.transposed {
                raw = raw.transposed();
            }
            if raw.shape != part_shape {
                let mut shapes = [raw.shape, part_shape];
                if source.transposed {
                    shapes.iter_mut().for_each(|s| s.reverse());
                }
                let [found, expected] = shapes;
                return Err(Error::weights_mismatch(format_args!(
                    "`{}` has shape {found:?}, expected {expected:?}",
                    self.layout.in_file(name)
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
        let mut out = Tensor::f_empty(whole(shape), (Kind::Float, Device::Cpu))?;
        for (i, raw) in parts.iter().enumerate() {
            let view = raw.view(self.map(raw)?)?;
            if parts.len() == 1 {
                out.f_copy_(&view)?;
            } else {
                out.f_narrow(0, (i * rows) as i64, rows as i64)?.f_copy_(&view)?;
            }
            drop(view);
            self.forget(raw);
        }
        Ok(out)
    }

    /// Which temporal head the file carries.
    pub fn head(&self) -> Head {
        arch::head(self)
    }

    /// Whether the file carries this head.
    pub fn has_head(&self, head: Head) -> bool {
        head.tensors().is_none_or(|prefix| self.has_prefix(prefix))
    }

    /// How many blocks a stack has whose canonical names begin with `prefix`.
    pub fn layers(&self, prefix: &str) -> usize {
        arch::layers(self, prefix)
    }

    /// A tensor's dimension, of `rank`.
    ///
    /// # Errors
    /// `WeightsMismatch` when it is missing or has another rank.
    pub fn dim(&self, canonical: &str, rank: usize, axis: usize) -> Result<usize> {
        arch::dim(self, canonical, rank, axis)
    }

    /// Leaves a tensor out that is known and not needed.
    pub fn skip(&mut self, canonical: &str) {
        for name in self.layout.source(canonical).names {
            self.tensors.remove(&name);
        }
    }

    /// Drops the parts that are known and not wanted.
    fn discard(&mut self, unwanted: impl Fn(Part) -> bool) {
        let layout = &self.layout;
        self.tensors.retain(|name, _| !layout.part(name).is_some_and(&unwanted));
    }

    /// Drops the tensors of temporal heads that were not taken: a file may carry several.
    pub fn discard_heads(&mut self) {
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

    /// The names of the file's tensors that nobody took.
    fn left(&self) -> BTreeSet<String> {
        self.tensors.keys().map(|name| self.layout.in_file(name)).collect()
    }

    /// What nobody took does not belong in the model that was asked for. Returns the problems that were noted.
    ///
    /// # Errors
    /// `WeightsMismatch` naming the first such tensor, unless problems are only noted.
    pub fn finish(self) -> Result<Vec<String>> {
        let left = self.left();
        match (left.first(), self.problems) {
            (_, Some(mut problems)) => {
                problems.extend(left.iter().map(|name| format!("weights: `{name}` does not belong to this model")));
                Ok(problems)
            }
            (None, None) => Ok(Vec::new()),
            (Some(name), None) => Err(Error::weights_mismatch(format_args!(
                "`{name}` does not belong to this model ({} such tensors)",
                left.len()
            ))),
        }
    }
}

fn whole(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|&d| d as i64).collect()
}
