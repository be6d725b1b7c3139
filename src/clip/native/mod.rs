//! The towers in C++ on libtorch's micro-kernels, where the CPU has them; `tower.cpp` says how. Everything that is unsafe
//! about them is in this file.

use std::ffi::{c_char, c_void, CStr};
use std::ptr::{null, NonNull};
use std::sync::Arc;

use ndarray::Array2;
use once_cell::sync::Lazy;
use parking_lot::Mutex;
use tch::{Device, Kind, Tensor};

use super::block::{LayerNorm, QUICK};
use super::team::{in_parallel, Shared, Team};
use super::{Ids, Image, Square, Style};
use crate::error::{Error, Result};
use crate::options::Precision;
use crate::weights::Checkpoint;

/// As C++ sees it; the comments are there.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    pub kind: i64,
    pub outer_kind: i64,
    pub width: i64,
    pub heads: i64,
    pub embed: i64,
    pub eps: f32,
    pub quick: i64,
    pub causal: i64,
    pub grid: i64,
    pub patch: i64,
    pub taps: i64,
    pub vocab: i64,
    pub context: i64,
}

extern "C" {
    fn c4c_native_can(kind: i64) -> bool;
    fn c4c_tower_new(shape: *const Shape, message: *mut c_char, size: usize) -> *mut c_void;
    fn c4c_tower_free(tower: *mut c_void);
    fn c4c_tower_linear(
        tower: *mut c_void,
        layer: i32,
        which: i32,
        w: *const c_void,
        kind: i64,
        factor: f32,
        bias: *const f32,
        outputs: i64,
        inputs: i64,
        message: *mut c_char,
        size: usize,
    ) -> bool;
    fn c4c_tower_norm(
        tower: *mut c_void,
        layer: i32,
        which: i32,
        weight: *const f32,
        bias: *const f32,
        message: *mut c_char,
        size: usize,
    ) -> bool;
    fn c4c_tower_rows(
        tower: *mut c_void,
        which: i32,
        data: *const c_void,
        kind: i64,
        rows: i64,
        message: *mut c_char,
        size: usize,
    ) -> bool;
    fn c4c_pass_images(
        tower: *mut c_void,
        n: i64,
        squares: *const *const u8,
        out: *mut f32,
        message: *mut c_char,
        size: usize,
    ) -> *mut c_void;
    fn c4c_pass_texts(
        tower: *mut c_void,
        n: i64,
        ids: *const u32,
        lengths: *const i64,
        out: *mut f32,
        message: *mut c_char,
        size: usize,
    ) -> *mut c_void;
    fn c4c_pass_work(pass: *mut c_void);
    fn c4c_pass_error(pass: *const c_void) -> *const c_char;
    fn c4c_pass_free(pass: *mut c_void);
}

/// The layers of a tower by the numbers that C++ gives them.
const QKV: i32 = 0;
const OUT: i32 = 1;
const FC: i32 = 2;
const PROJ: i32 = 3;
const PATCHES: i32 = 4;
const PROJECTION: i32 = 5;
const LN_1: i32 = 0;
const LN_2: i32 = 1;
const LN_PRE: i32 = 2;
const LN_POST: i32 = 3;
const POSITIONS: i32 = 0;
const FIRST: i32 = 1;
const SHIFTS: i32 = 2;
const TABLE: i32 = 3;

fn number(precision: Precision) -> i64 {
    match precision {
        Precision::F32 => 0,
        Precision::Bf16 => 1,
        Precision::Int8 => 2,
        // Not one that it knows; `can` keeps it away.
        Precision::F16 => -1,
    }
}

/// Whether the towers can be computed here with products of this kind. What passes between the products is float32 in any case.
pub(super) fn can(precision: Precision) -> bool {
    static CAN: Lazy<[bool; 3]> = Lazy::new(|| {
        if !has_micro_kernels() {
            return [false; 3];
        }
        // SAFETY: takes any number, touches nothing of ours, and catches what libtorch throws.
        [0, 1, 2].map(|kind| unsafe { c4c_native_can(kind) })
    });
    // Attention and the last layer are float32 whatever the rest is, and INT8 leaves some layers to bfloat16.
    let [f32, bf16, int8] = *CAN;
    match precision {
        Precision::F32 => f32,
        Precision::Bf16 => f32 && bf16,
        Precision::Int8 => f32 && bf16 && int8,
        Precision::F16 => false,
    }
}

/// Whether the process may make memory executable that it has written to, as oneDNN does with its micro-kernels; where it may not,
/// oneDNN would run what is not there. systemd's `MemoryDenyWriteExecute` and SELinux's `execmem` are about this.
#[cfg(target_arch = "x86_64")]
fn may_write_code() -> bool {
    const SIZE: usize = 1 << 16;
    let (data, code) = (libc::PROT_READ | libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC);
    // SAFETY: memory of its own, which nothing is written to and nothing is run from, given back at once.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), SIZE, data, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if memory == libc::MAP_FAILED {
            return false;
        }
        let may = libc::mprotect(memory, SIZE, code) == 0;
        libc::munmap(memory, SIZE);
        may
    }
}

/// Whether oneDNN has micro-kernels for this CPU. Where not, libtorch would hand single-precision tiles to a BLAS one by one,
/// which is slower than whole matrices.
fn has_micro_kernels() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let told = ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"].into_iter().find_map(|name| std::env::var(name).ok());
        let told = told.unwrap_or_default().to_ascii_uppercase();
        std::arch::is_x86_feature_detected!("avx2") && !matches!(told.as_str(), "SSE41" | "AVX") && may_write_code()
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A tower, packed. Its buffers are those of one pass at a time.
pub(super) struct Tower {
    tower: NonNull<c_void>,
    shape: Shape,
    passing: Mutex<()>,
}

/// A matrix of a checkpoint and where it goes.
struct Part {
    name: String,
    shape: [usize; 2],
    place: Place,
}

enum Place {
    Table,
    Linear { layer: usize, which: i32, factor: f64, bias: Vec<f32> },
}

// SAFETY: it hangs on no thread.
unsafe impl Send for Tower {}
// SAFETY: several threads at once only ever put different parts into it, and passes are begun by one at a time (`passing`).
unsafe impl Sync for Tower {}

impl Drop for Tower {
    fn drop(&mut self) {
        // SAFETY: made by c4c_tower_new, freed once; a pass that is still held does not touch it any more.
        unsafe { c4c_tower_free(self.tower.as_ptr()) }
    }
}

/// Calls C++ with room for a message, which is the error where it returns nothing, or false.
fn told<T: Told>(call: impl FnOnce(*mut c_char, usize) -> T) -> Result<T::Good> {
    let mut message = [0u8; 512];
    let told = call(message.as_mut_ptr().cast(), message.len());
    told.good().ok_or_else(|| {
        let text = CStr::from_bytes_until_nul(&message).unwrap_or_default();
        Error::libtorch(&text.to_string_lossy())
    })
}

/// What C++ returns.
trait Told {
    type Good;
    fn good(self) -> Option<Self::Good>;
}

impl Told for bool {
    type Good = ();
    fn good(self) -> Option<()> {
        self.then_some(())
    }
}

impl Told for *mut c_void {
    type Good = NonNull<c_void>;
    fn good(self) -> Option<NonNull<c_void>> {
        NonNull::new(self)
    }
}

impl Tower {
    /// An empty one, for products of a kind that [`can`] be had.
    pub(super) fn new(precision: Precision, shape: Shape) -> Result<Self> {
        let kind = number(precision);
        let shape = Shape { kind, outer_kind: kind.min(number(Precision::Bf16)), ..shape };
        // SAFETY: the shape is read before it returns, the message has the room that it says.
        let tower = told(|text, size| unsafe { c4c_tower_new(&shape, text, size) })?;
        Ok(Tower { tower, shape, passing: Mutex::new(()) })
    }

    /// Takes the blocks `{prefix}0` to `{prefix}{layers - 1}` out of a checkpoint, and the `[vocabulary, width]` of a text tower.
    pub(super) fn load(
        &mut self,
        weights: &mut Checkpoint,
        prefix: &str,
        layers: usize,
        style: Style,
        table: Option<&str>,
    ) -> Result<()> {
        let width = self.shape.width as usize;
        // x·σ(1.702x) = silu(1.702x) / 1.702, with the factors in the layers on either side.
        let quick = if self.shape.quick == 0 { 1.0 } else { QUICK };
        let vocab = [self.shape.vocab as usize, width];
        let mut parts: Vec<Part> =
            table.into_iter().map(|name| Part { name: name.into(), shape: vocab, place: Place::Table }).collect();
        for layer in 0..layers {
            let name = format!("{prefix}{layer}");
            // The layer's norms come first, so that one that is not there ends this whatever a file claims.
            for (which, norm) in [(LN_1, "ln_1"), (LN_2, "ln_2")] {
                self.norm(layer, which, &LayerNorm::load(weights, &format!("{name}.{norm}"), width, style.eps)?)?;
            }
            let linears = [
                (QKV, "attn.in_proj_weight", "attn.in_proj_bias", [3 * width, width], 1.0, 1.0),
                (OUT, "attn.out_proj.weight", "attn.out_proj.bias", [width, width], 1.0, 1.0),
                (FC, "mlp.c_fc.weight", "mlp.c_fc.bias", [4 * width, width], quick, quick),
                (PROJ, "mlp.c_proj.weight", "mlp.c_proj.bias", [width, 4 * width], 1.0 / quick, 1.0),
            ];
            for (which, weight, bias, shape, factor, bias_factor) in linears {
                let bias = weights.take(&format!("{name}.{bias}"), &shape[..1])?.f_mul_scalar(bias_factor)?;
                let bias = Vec::<f32>::try_from(&bias)?;
                let place = Place::Linear { layer, which, factor, bias };
                parts.push(Part { name: format!("{name}.{weight}"), shape, place });
            }
        }
        let this = &*self;
        let packed = in_parallel(&parts, style.num_threads, |part| {
            weights.look_at(&part.name, &part.shape, |values| this.put(part, values))
        });
        for (part, packed) in parts.iter().zip(packed) {
            match packed {
                Some(packed) => {
                    weights.skip(&part.name);
                    packed?;
                }
                // libtorch brings threads of its own for it.
                None => self.put(part, &weights.take(&part.name, &part.shape)?)?,
            }
        }
        Ok(())
    }

    fn put(&self, part: &Part, values: &Tensor) -> Result<()> {
        match &part.place {
            Place::Table => self.rows(TABLE, values),
            Place::Linear { layer, which, factor, bias } => self.linear(*layer, *which, values, *factor, Some(bias)),
        }
    }

    /// `[outputs, inputs]` of the layer that makes tokens of pixels, and what each combination of taps adds, `[.., width]`.
    pub(super) fn set_patches(&mut self, weight: &Tensor, shifts: &Tensor) -> Result<()> {
        self.linear(0, PATCHES, weight, 1.0, None)?;
        self.rows(SHIFTS, shifts)
    }

    /// `[positions, width]`
    pub(super) fn set_positions(&mut self, positions: &Tensor) -> Result<()> {
        self.rows(POSITIONS, positions)
    }

    /// `[1, width]`: the class token with its position, and the norm before all blocks.
    pub(super) fn set_first(&mut self, class: &Tensor, ln_pre: &LayerNorm) -> Result<()> {
        self.rows(FIRST, class)?;
        self.norm(0, LN_PRE, ln_pre)
    }

    /// The norm after all blocks, and `[width, embed]`.
    pub(super) fn set_last(&mut self, ln_post: &LayerNorm, projection: &Tensor) -> Result<()> {
        self.norm(0, LN_POST, ln_post)?;
        self.linear(0, PROJECTION, &projection.f_transpose(0, 1)?, 1.0, None)
    }

    fn linear(&self, layer: usize, which: i32, weight: &Tensor, factor: f64, bias: Option<&[f32]>) -> Result<()> {
        let (outputs, inputs) = weight.size2()?;
        let (weight, kind) = floating(weight)?;
        if bias.is_some_and(|bias| bias.len() as i64 != outputs) {
            return Err(Error::internal("a bias is not as long as its layer's outputs"));
        }
        let (tower, layer, factor) = (self.tower.as_ptr(), layer as i32, factor as f32);
        let (w, bias) = (weight.data_ptr().cast_const(), bias.map_or(null(), |bias| bias.as_ptr()));
        told(|text, size| {
            // SAFETY: values of that kind without gaps, as many as the sizes say; they are copied before it returns.
            unsafe { c4c_tower_linear(tower, layer, which, w, kind, factor, bias, outputs, inputs, text, size) }
        })
    }

    fn norm(&self, layer: usize, which: i32, norm: &LayerNorm) -> Result<()> {
        let (weight, bias) = (plain(&norm.weight)?, plain(&norm.bias)?);
        self.check(&[&weight, &bias], 1)?;
        told(|text, size| {
            // SAFETY: float32 values without gaps, of the tower's width; they are copied before it returns.
            unsafe {
                let (weight, bias) = (floats(&weight), floats(&bias));
                c4c_tower_norm(self.tower.as_ptr(), layer as i32, which, weight, bias, text, size)
            }
        })
    }

    fn rows(&self, which: i32, values: &Tensor) -> Result<()> {
        let (values, kind) = floating(values)?;
        let rows = values.numel() / self.shape.width as usize;
        self.check(&[&values], rows)?;
        told(|text, size| {
            // SAFETY: values of that kind without gaps, rows of the tower's width; they are copied before it returns.
            unsafe {
                let (tower, data) = (self.tower.as_ptr(), values.data_ptr().cast_const());
                c4c_tower_rows(tower, which, data, kind, rows as i64, text, size)
            }
        })
    }

    fn check(&self, tensors: &[&Tensor], rows: usize) -> Result<()> {
        match tensors.iter().all(|tensor| tensor.numel() == rows * self.shape.width as usize) {
            true => Ok(()),
            false => Err(Error::internal("a tensor is not as wide as its tower")),
        }
    }

    /// Raw embeddings of images, `[n, embed]`.
    pub(super) fn images(&self, images: &[&Image], team: &Team) -> Result<Array2<f32>> {
        let side = (self.shape.grid * self.shape.patch) as usize;
        let right = |square: &Square| square.len() == 3 * side * side;
        let mut squares: Vec<*const u8> = Vec::with_capacity(3 * images.len());
        for image in images {
            let three = [image.before.as_ref(), Some(&image.own), image.after.as_ref()];
            if !three.iter().flatten().all(|square| right(square)) {
                return Err(Error::internal("a picture is not of the model's size"));
            }
            squares.extend(three.map(|square| square.map_or(null(), |square| square.as_ptr())));
        }
        self.pass(images.len(), team, |out, text, size| {
            // SAFETY: three pointers for each image, to squares of the tower's size or null, and rows of `out` for each; all live
            // until the pass is over.
            unsafe {
                let n = images.len() as i64;
                c4c_pass_images(self.tower.as_ptr(), n, squares.as_ptr(), out, text, size)
            }
        })
    }

    /// Raw embeddings of texts, `[n, embed]`, whose ids are of the vocabulary and no more than there are positions.
    pub(super) fn texts(&self, texts: &[&Ids], team: &Team) -> Result<Array2<f32>> {
        let (context, vocab) = (self.shape.context as usize, self.shape.vocab as u32);
        if texts.iter().any(|ids| ids.is_empty() || ids.len() > context || ids.iter().any(|&id| id >= vocab)) {
            return Err(Error::internal("a text is not of this model"));
        }
        let ids: Vec<u32> = texts.iter().flat_map(|ids| ids.iter().copied()).collect();
        let lengths: Vec<i64> = texts.iter().map(|ids| ids.len() as i64).collect();
        self.pass(texts.len(), team, |out, text, size| {
            // SAFETY: as many lengths as texts, which add up to the number of ids, all within the tables; both are copied. `out`
            // has a row for each text and lives until the pass is over.
            unsafe {
                let n = lengths.len() as i64;
                c4c_pass_texts(self.tower.as_ptr(), n, ids.as_ptr(), lengths.as_ptr(), out, text, size)
            }
        })
    }

    fn pass(
        &self,
        rows: usize,
        team: &Team,
        begin: impl FnOnce(*mut f32, *mut c_char, usize) -> *mut c_void,
    ) -> Result<Array2<f32>> {
        let mut out = Array2::zeros((rows, self.shape.embed as usize));
        if rows == 0 {
            return Ok(out);
        }
        let _alone = self.passing.lock();
        let pass = Arc::new(Pass(told(|text, size| begin(out.as_mut_ptr(), text, size))?));
        team.run(Arc::clone(&pass));
        pass.result().map(|()| out)
    }
}

/// A pass on its way.
struct Pass(NonNull<c_void>);

// SAFETY: its work is for several threads at once, by atomic counters; its result is read when all have left it.
unsafe impl Send for Pass {}
// SAFETY: as above.
unsafe impl Sync for Pass {}

impl Shared for Pass {
    fn work(&self) {
        // SAFETY: made by c4c_pass_images or c4c_pass_texts; what it borrows lives while `Team::run` has not returned, and no
        // helper begins after that.
        unsafe { c4c_pass_work(self.0.as_ptr()) }
    }
}

impl Pass {
    fn result(&self) -> Result<()> {
        // SAFETY: the pass is over, so nobody writes the text, which lives as long as the pass.
        unsafe {
            let text = c4c_pass_error(self.0.as_ptr());
            match text.is_null() {
                true => Ok(()),
                false => Err(Error::libtorch(&CStr::from_ptr(text).to_string_lossy())),
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // SAFETY: freed once; freeing touches neither the tower nor what the pass borrowed.
        unsafe { c4c_pass_free(self.0.as_ptr()) }
    }
}

/// Values without gaps, of a kind that C++ reads, and the kind's number there.
fn floating(tensor: &Tensor) -> Result<(Tensor, i64)> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
    match tensor.kind() {
        Kind::Float => Ok((tensor, 0)),
        Kind::BFloat16 => Ok((tensor, 1)),
        Kind::Half => Ok((tensor, 3)),
        _ => Ok((tensor.f_to_kind(Kind::Float)?, 0)),
    }
}

/// Float32 values without gaps.
fn plain(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?)
}

fn floats(tensor: &Tensor) -> *const f32 {
    tensor.data_ptr().cast_const().cast()
}
