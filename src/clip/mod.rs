//! The forward passes: images and token ids in, embeddings and scores out. On libtorch; every call is fallible.

mod block;
mod graph;
mod lane;
mod native;
mod team;
mod temporal;
#[cfg(test)]
mod tests;
mod text;
mod vision;

use std::sync::Arc;

use ndarray::Array2;
use tch::{Kind, Tensor};

use crate::error::{Error, Result, Status};
use crate::gpu;
use crate::options::{Activation, Device, Head, Modality, ModelName, Precision};
use crate::runtime::Log;
use crate::thread::guarded;
use crate::weights::{Arch, Checkpoint, TowerConfig};
use block::BlockShape;
use lane::{Lane, Pass};
use team::Team;
use temporal::Temporal;
use text::TextTower;
use vision::VisionTower;

/// A picture on its way to the model.
#[derive(Clone)]
pub struct Image {
    /// Rows of RGB bytes, a square of the model's resolution.
    pub own: Square,
    /// Its neighbours in the video, for models that look at three frames at once.
    pub before: Option<Square>,
    pub after: Option<Square>,
}

pub type Square = Arc<Vec<u8>>;

/// The ids of a text, ending with the one at which it is read.
pub type Ids = Vec<u32>;

/// How to read a checkpoint into a model.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    pub modality: Modality,
    pub model_name: Option<ModelName>,
    pub head: Option<Head>,
    pub activation: Option<Activation>,
    pub precision: Precision,
    pub device: Device,
    /// Whether the small passes of a GPU are recorded and replayed.
    pub cuda_graphs: bool,
    /// Threads of one forward pass, on a CPU.
    pub num_threads: usize,
    /// Receives what is noticed while the model is used.
    pub log: Log,
    /// Goes the way of GPUs on a CPU, which tests want.
    pub rehearse: bool,
}

/// What is the same in all blocks of a tower.
#[derive(Clone, Copy)]
struct Style {
    activation: Activation,
    eps: f64,
    /// In which type tensors form products, where they do.
    kind: Kind,
    /// In which type they are added up from block to block.
    residual: Kind,
    /// Tensors are arranged as GPUs want it.
    on_gpu: bool,
    /// The other way, where it can be gone.
    native: Option<Precision>,
    num_threads: usize,
}

impl Style {
    fn blocks(&self, width: usize, heads: usize) -> BlockShape {
        BlockShape {
            width,
            heads,
            eps: self.eps,
            activation: self.activation,
            kind: self.kind,
            residual: self.residual,
        }
    }
}

impl LoadOptions {
    /// What was asked for goes before what a file says, and that before what CLIP4Clip's models have.
    fn style(&self, config: TowerConfig) -> Style {
        let on_gpu = self.device != Device::Cpu || self.rehearse;
        Style {
            activation: self.activation.or(config.activation).unwrap_or(Activation::QuickGelu),
            eps: config.eps.unwrap_or(1e-5),
            kind: match self.precision {
                Precision::F32 => Kind::Float,
                Precision::Bf16 | Precision::Int8 => Kind::BFloat16,
                Precision::F16 => Kind::Half,
            },
            // As the original on a GPU; bfloat16 has too few digits for sums.
            residual: if self.precision == Precision::F16 { Kind::Half } else { Kind::Float },
            on_gpu,
            native: Some(self.precision).filter(|&precision| !on_gpu && native::can(precision)),
            num_threads: self.num_threads,
        }
    }
}

/// From now on this thread computes on `device`: on a GPU in a stream of its own.
pub fn enter(device: Device) -> Result<()> {
    match device {
        Device::Cpu => Ok(()),
        Device::Cuda(number) => gpu::enter(number),
    }
}

/// Computes a little on the GPU, on a thread of its own, and says why it cannot: one that this libtorch has no code for, or that
/// does not work, is found only so.
pub fn probe(device: Device) -> std::result::Result<(), String> {
    let compute = move || -> Result<()> {
        enter(device)?;
        let ones = Tensor::f_ones([8, 8], (Kind::Half, tensors(device)))?;
        match ones.f_matmul(&ones)?.f_sum(Kind::Float)?.f_double_value(&[])? {
            512.0 => Ok(()),
            other => Err(Error::internal(format_args!("it finds 8 times 64 to be {other}"))),
        }
    };
    let thread = crate::thread::spawn("c4c-probe", move || guarded(compute)).map_err(|e| e.to_string())?;
    let computed = thread.join().map_err(|_| "the thread that tried it has ended".to_string())?;
    computed.map_err(|e| e.message().to_string())
}

/// Waits for what the device has to do: other threads use the weights in streams of their own.
fn settle(device: Device) -> Result<()> {
    match device {
        Device::Cpu => Ok(()),
        Device::Cuda(number) => gpu::synchronize(number),
    }
}

fn tensors(device: Device) -> tch::Device {
    match device {
        Device::Cpu => tch::Device::Cpu,
        Device::Cuda(number) => tch::Device::Cuda(number),
    }
}

/// In which precision this device computes a model for which one was asked for, or none. On a GPU AUTO is F16, as the original
/// runs; on a CPU BF16 where its products are an instruction, else F32. Where they are not, BF16 would be slower than F32 and
/// less exact.
///
/// # Errors
/// `Unsupported` for INT8 on a GPU or a CPU without it, and for F16 on a CPU.
pub fn precision(asked: Option<Precision>, device: Device) -> Result<Precision> {
    if device != Device::Cpu {
        return match asked {
            Some(Precision::Int8) => Err(Error::unsupported(
                "options.precision: INT8 is for CPUs; set AUTO, F32, BF16 or F16, or options.device to \"cpu\"",
            )),
            asked => Ok(asked.unwrap_or(Precision::F16)),
        };
    }
    #[cfg(target_arch = "x86_64")]
    let fast = std::arch::is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    let fast = false;
    Ok(match asked {
        Some(Precision::F32) => Precision::F32,
        Some(Precision::F16) => {
            return Err(Error::unsupported("options.precision: F16 is for GPUs; set AUTO, F32, BF16 or INT8"))
        }
        Some(Precision::Bf16) if native::can(Precision::Bf16) || !native::can(Precision::F32) => Precision::Bf16,
        Some(Precision::Int8) if native::can(Precision::Int8) => Precision::Int8,
        Some(Precision::Int8) => {
            return Err(Error::unsupported("options.precision: this CPU has no INT8 products; set AUTO, F32 or BF16"))
        }
        None if fast && native::can(Precision::Bf16) => Precision::Bf16,
        _ => Precision::F32,
    })
}

/// A loaded model. Its tensors may be used by one thread at a time.
pub struct Clip {
    pub arch: Arch,
    pub head: Head,
    /// Of the vision tower, or of the text tower where that is alone.
    pub activation: Activation,
    /// The logarithm of the temperature, where the checkpoint has one.
    pub logit_scale: Option<f32>,
    /// What is wrong with the checkpoint, where that is only noted.
    pub problems: Vec<String>,
    vision: Option<VisionTower>,
    text: Option<TextTower>,
    temporal: Temporal,
    team: Team,
    lane: Lane,
}

impl Clip {
    /// Takes the model out of a checkpoint.
    ///
    /// # Errors
    /// `WeightsMismatch` for a tensor that is missing, superfluous or of the wrong shape, or a head that is not there.
    pub fn load(mut weights: Checkpoint, options: LoadOptions) -> Result<Clip> {
        weights.put_on(tensors(options.device));
        let head = options.head.unwrap_or_else(|| weights.head());
        if !weights.has_head(head) {
            return Err(Error::weights_mismatch(format_args!(
                "no `{}*`, so no {} head; set head to AUTO",
                head.tensors().unwrap_or_default(),
                head.name()
            )));
        }
        let arch = Arch::infer(&mut weights, options.modality, options.model_name)?;
        let temporal = Temporal::load(&mut weights, head, &arch)?;
        let (seeing, reading) = (options.style(weights.vision_config()), options.style(weights.text_config()));
        let vision =
            arch.vision.as_ref().map(|v| VisionTower::load(&mut weights, v, arch.embed, seeing)).transpose()?;
        let text = arch.text.as_ref().map(|t| TextTower::load(&mut weights, t, arch.embed, reading)).transpose()?;
        let logit_scale = match weights.contains("logit_scale") {
            true => Some(weights.take("logit_scale", &[])?.f_double_value(&[])? as f32),
            false => None,
        };
        settle(options.device)?;
        let helpers = if options.device == Device::Cpu { options.num_threads.saturating_sub(1) } else { 0 };
        Ok(Clip {
            activation: if vision.is_some() { seeing.activation } else { reading.activation },
            problems: weights.finish()?,
            arch,
            head,
            logit_scale,
            vision,
            text,
            temporal,
            team: Team::new(helpers),
            lane: Lane::new(tensors(options.device), options.cuda_graphs, &options.log),
        })
    }

    /// The same model for another thread, and perhaps another GPU. On the GPU on which it is, the weights are the same memory.
    ///
    /// # Errors
    /// `OutOfMemory`; `Internal` for a model on a CPU.
    pub fn on(&self, device: Device, options: &LoadOptions) -> Result<Clip> {
        let to = tensors(device);
        let clip = Clip {
            arch: self.arch.clone(),
            head: self.head,
            activation: self.activation,
            logit_scale: self.logit_scale,
            problems: Vec::new(),
            vision: self.vision.as_ref().map(|tower| tower.on(to)).transpose()?,
            text: self.text.as_ref().map(|tower| tower.on(to)).transpose()?,
            temporal: self.temporal.on(to)?,
            team: Team::new(0),
            lane: Lane::new(to, options.cuda_graphs, &options.log),
        };
        settle(device)?;
        Ok(clip)
    }

    /// Forgets what is kept for the next passes.
    pub fn clear(&self) {
        self.lane.clear();
    }

    /// How many frames a video may have, where the head says so.
    pub fn most_frames(&self) -> Option<usize> {
        self.temporal.most_frames()
    }

    /// One video's embedding from those of its frames, by the model's head: one row, not normalised.
    pub fn video(&self, frames: &Array2<f32>) -> Result<Array2<f32>> {
        let input = self.for_head(frames)?;
        if self.temporal.device() == tch::Device::Cpu {
            return to_rows(&self.temporal.video(&input)?);
        }
        let pass = Pass::Video { rows: frames.nrows() as i64 };
        to_rows(&self.lane.run(pass, &[input], &|inputs| self.temporal.video(&inputs[0]))?)
    }

    /// tightTransf's scores of texts against the frames of one video, given as raw embeddings: `[texts, 1]`.
    pub fn scores(&self, texts: &Array2<f32>, frames: &Array2<f32>) -> Result<Array2<f32>> {
        to_rows(&self.temporal.scores(&self.for_head(texts)?, &self.for_head(frames)?)?)
    }

    fn for_head(&self, rows: &Array2<f32>) -> Result<Tensor> {
        Ok(Tensor::try_from(rows)?.f_to_device(self.temporal.device())?)
    }

    /// Raw embeddings of texts in one pass, one row each.
    pub fn texts(&self, texts: &[&Ids]) -> Result<Array2<f32>> {
        let tower = self.text.as_ref().ok_or_else(|| Error::new(Status::Modality, "this model has no text tower"))?;
        self.lane.twice(|| tower.encode(texts, &self.team, &self.lane))
    }

    /// Raw embeddings of images in one pass, one row each.
    pub fn images(&self, images: &[&Image]) -> Result<Array2<f32>> {
        let tower =
            self.vision.as_ref().ok_or_else(|| Error::new(Status::Modality, "this model has no vision tower"))?;
        self.lane.twice(|| tower.encode(images, &self.team, &self.lane))
    }
}

/// Two-dimensional float32 values out of libtorch.
fn to_rows(tensor: &Tensor) -> Result<Array2<f32>> {
    let (rows, columns) = tensor.size2()?;
    let (rows, columns) = (rows as usize, columns as usize);
    let mut values = vec![0f32; rows * columns];
    let len = values.len();
    tensor.f_to_kind(Kind::Float)?.f_contiguous()?.f_copy_data(&mut values, len)?;
    Array2::from_shape_vec((rows, columns), values).map_err(Error::internal)
}
