//! The model: what it can do, in the order in which it does it.

mod devices;
mod frames;
mod many;
mod score;
mod squares;

pub use many::Segments;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ndarray::{Array1, Array2};

use crate::clip::{self, precision, Clip, Ids, LoadOptions, Square};
use crate::error::{Error, Result, Status};
use crate::gpu;
use crate::image::{AnyFrames, Frame};
use crate::options::{Activation, Device, Head, Modality, Options, Precision, Sampling, VideoOptions};
use crate::runtime::{cuda_devices, resolve, Call, Cores, Engine, Finish, Level, Limits, Log, Stats};
use crate::text::Tokenizer;
use crate::video::{self, Event, Found, Source, Terms};
use crate::weights::{Arch, Checkpoint};
use devices::{give_back, loads, Kept};
use frames::{as_they_are, head, Frames, Kin};
use squares::{check_devices, Squares};

/// The most images in one forward pass when nothing is asked for: large enough for the twelve frames of a video in one,
/// small enough that a text does not wait long behind a pass.
const DEFAULT_MAX_BATCH: usize = 12;
/// The same on a GPU, where only larger passes have work for all of it: eight videos.
const GPU_MAX_BATCH: usize = 96;
/// The most token ids in one pass on a CPU, 32 texts of the usual length: more at once are hardly faster, and an image need not wait
/// long behind them.
const MAX_IDS: usize = 512;
/// The same on a GPU: 256 texts of the operator's 32 ids.
const GPU_MAX_IDS: usize = 8192;
/// How many texts are cleaned and cut into ids before they are handed over.
const TEXTS_AT_ONCE: usize = 32;

/// A loaded CLIP4Clip. Any number of threads may use it at once.
///
/// Vectors are `dim` floats of unit length, unless raw output was asked for; texts and videos share one space, so that
/// the dot product of two vectors is their cosine similarity.
pub struct Model {
    options: Options,
    tokenizer: Option<Arc<Tokenizer>>,
    info: Info,
    log: Log,
    cores: Cores,
    engine: Engine<Clip>,
    /// Dropped when the engine has gone.
    _kept: Kept,
}

/// What was loaded, and how it runs.
#[derive(Clone, Debug)]
pub struct Info {
    pub arch: Arch,
    pub head: Head,
    pub activation: Activation,
    pub precision: Precision,
    /// Where it computes.
    pub devices: Vec<Device>,
    /// Why that is a CPU, where a GPU would have been taken.
    pub device_note: Option<String>,
    /// The logarithm of the temperature, where the checkpoint has one.
    pub logit_scale: Option<f32>,
    /// The checkpoint's container and naming, such as `torch.save/clip4clip`.
    pub weights: String,
    pub num_threads: usize,
    pub max_batch: usize,
    /// The most frames that a video may have, where the head is bounded.
    pub most_frames: Option<usize>,
}

impl Model {
    /// Loads a checkpoint and makes it ready to embed.
    ///
    /// # Errors
    /// `WeightsIo`, `WeightsFormat`, `WeightsMismatch`, `InvalidArgument`, `Unsupported`, `Device`, `OutOfMemory`; each
    /// message names the thing.
    pub fn load(options: Options, log: Log) -> Result<Model> {
        if options.num_threads == Some(0) {
            return Err(Error::invalid("num_threads is 0, expected at least 1"));
        }
        let cores = Cores::of_process();
        let (devices, device_note) = resolve(&options.devices, cuda_devices, clip::probe)?;
        let kept = Kept(devices.clone());
        let (max_batch, max_ids) = match devices[0] {
            Device::Cpu => (DEFAULT_MAX_BATCH, MAX_IDS),
            Device::Cuda(_) => (GPU_MAX_BATCH, GPU_MAX_IDS),
        };
        let limits = Limits {
            num_threads: options.num_threads.unwrap_or_else(|| cores.count()),
            max_batch: options.max_batch.unwrap_or(max_batch).max(1),
            max_ids,
            max_batch_delay: options.max_batch_delay,
        };
        let precision = precision(options.precision, devices[0])?;
        let weights = Checkpoint::open(&options.weights_path)?;
        let tokenizer = tokenizer(&options, &weights)?;
        let format = weights.describe();
        let load = LoadOptions {
            modality: options.modality,
            model_name: options.model_name,
            head: options.head,
            activation: options.activation,
            precision,
            device: devices[0],
            cuda_graphs: options.cuda_graphs,
            num_threads: limits.num_threads,
            log: log.clone(),
            rehearse: false,
        };
        let described = devices.clone();
        let describe = move |clip: &Clip| {
            let info = Info {
                arch: clip.arch.clone(),
                head: clip.head,
                activation: clip.activation,
                precision,
                devices: described,
                device_note,
                logit_scale: clip.logit_scale,
                weights: format,
                num_threads: limits.num_threads,
                max_batch: limits.max_batch,
                most_frames: clip.most_frames(),
            };
            let side = clip.arch.vision.as_ref().map_or(0, |vision| vision.resolution());
            (info, 3 * side * side)
        };
        let (engine, info) = Engine::start(limits, loads(weights, &devices, load), describe)?;
        let model = Model { options, tokenizer, info, log, cores, engine, _kept: kept };
        model.check_context()?;
        let no_gpu = model.info.device_note.as_ref().map(|why| format!("; not a GPU: {why}")).unwrap_or_default();
        model.log.say(
            Level::Info,
            format_args!(
                "loaded {} from {}, on {}, {:?} products, {} threads{no_gpu}",
                model.info.arch,
                model.options.weights_path.display(),
                Device::names(&model.info.devices),
                model.info.precision,
                limits.num_threads
            ),
        );
        Ok(model)
    }

    fn check_context(&self) -> Result<()> {
        match &self.info.arch.text {
            Some(text) if self.options.max_words > text.context => Err(Error::invalid(format_args!(
                "max_words is {}, the model reads at most {}",
                self.options.max_words, text.context
            ))),
            _ => Ok(()),
        }
    }

    /// Which towers there are: what was asked for, less what the checkpoint does not hold.
    pub fn modality(&self) -> Modality {
        match (&self.info.arch.text, &self.info.arch.vision) {
            (Some(_), None) => Modality::Text,
            (None, _) => Modality::Video,
            _ => Modality::Both,
        }
    }

    /// What was loaded, and how it runs.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// What was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Floats in one vector.
    pub fn dim(&self) -> usize {
        self.info.arch.embed
    }

    /// One vector per text, `[texts, dim]`.
    ///
    /// # Errors
    /// `Modality` on a model without text tower; `TextTooLong` with `strict_text`.
    pub fn embed_text(&self, texts: &[&str], call: &Call) -> Result<Array2<f32>> {
        let vectors = self.raw_texts(texts, call)?;
        self.finished(vectors)
    }

    /// One vector per picture, `[frames, dim]`.
    ///
    /// # Errors
    /// `Modality` on a model without vision tower.
    pub fn embed_images(&self, frames: &[Frame], call: &Call) -> Result<Array2<f32>> {
        self.embed_any_images(&frames.into(), call)
    }

    /// The same, wherever the pictures lie; `Device` where that is a GPU that cannot be used.
    pub(crate) fn embed_any_images(&self, frames: &AnyFrames, call: &Call) -> Result<Array2<f32>> {
        self.resolution()?;
        if frames.len() == 0 {
            return Ok(Array2::zeros((0, self.dim())));
        }
        let rows = self.frames(frames, Kin::Strangers, call, as_they_are())?;
        self.finished(rows)
    }

    /// One vector for the video that these frames make.
    ///
    /// # Errors
    /// `Modality` on a model without vision tower, or whose head gives no vector; `InvalidArgument` without frames or with
    /// more than [`VideoOptions::MAX_FRAMES`]; `Limit` with more than the head has positions for.
    pub fn embed_frames(&self, frames: &[Frame], call: &Call) -> Result<Array1<f32>> {
        self.embed_any_frames(&frames.into(), call)
    }

    /// The same, wherever the frames lie; `Device` where that is a GPU that cannot be used.
    pub(crate) fn embed_any_frames(&self, frames: &AnyFrames, call: &Call) -> Result<Array1<f32>> {
        self.gives_vectors()?;
        self.check_count(frames.len())?;
        self.video(self.frames(frames, Kin::Video, call, head())?)
    }

    /// One vector for a video.
    ///
    /// # Errors
    /// `Modality` on a model without vision tower, or whose head gives no vector; those of reading and decoding:
    /// `MediaIo`, `MediaFormat`, `NoVideo`, `Decode`, `Limit`, `Forbidden`, `Unsupported`; `InvalidArgument` for a part
    /// that the video does not have.
    pub fn embed_video(&self, source: Source, options: &VideoOptions, call: &Call) -> Result<Array1<f32>> {
        self.gives_vectors()?;
        let name = match &source {
            Source::Path(path) => path.display().to_string(),
            _ => "video".into(),
        };
        if options.sampling == Sampling::Uniform {
            self.check_count(options.num_frames)?;
        }
        let mut request = Frames::new(self, Kin::Video, call)?;
        let mut waited = Duration::ZERO;
        let start = Instant::now();
        let found = video::squares(source, &self.terms(options, call)?, &mut |event| match event {
            Event::Begin => request.begin(),
            Event::Square(square, times) => {
                let (square, start) = (Square::new(square), Instant::now());
                let pushed = std::iter::repeat_n(square, times).try_for_each(|square| request.push(square));
                waited += start.elapsed();
                pushed
            }
        });
        self.found(&name, found, start.elapsed().saturating_sub(waited))?;
        request.finish(head())?;
        self.video(request.wait()?)
    }

    /// One vector for the video file at `path`, which may be a URL where the options allow it.
    ///
    /// # Errors
    /// As [`Model::embed_video`].
    pub fn embed_video_path(&self, path: &Path, options: &VideoOptions, call: &Call) -> Result<Array1<f32>> {
        self.embed_video(Source::Path(path), options, call)
    }

    /// Counts how long frames were looked for, and notes what was unusual about a video.
    fn found(&self, name: &str, found: Result<Found>, took: Duration) -> Result<()> {
        self.engine.counters().decoded(took);
        let found = found?;
        self.engine.counters().preprocessed(found.preprocess);
        if found.corrupt > 0 {
            self.log.say(
                Level::Warn,
                format_args!("{name}: {} corrupt places among {} frames", found.corrupt, found.total),
            );
        }
        if let Some(why) = found.whole {
            self.log.say(Level::Debug, format_args!("{name}: decoded from beginning to end, since {why}"));
        }
        Ok(())
    }

    /// Whether a video may have so many frames.
    fn check_count(&self, frames: usize) -> Result<()> {
        let most = VideoOptions::MAX_FRAMES;
        match (frames, self.info.most_frames) {
            (0, _) => Err(Error::invalid("there are no frames")),
            (n, _) if n > most => {
                Err(Error::invalid(format_args!("{n} frames are more than a video may have here ({most})")))
            }
            (n, Some(most)) if n > most => Err(Error::new(
                Status::Limit,
                format_args!(
                    "the {} head has positions for {most} frames, {n} are too many; take fewer",
                    self.info.head.name()
                ),
            )),
            _ => Ok(()),
        }
    }

    fn gives_vectors(&self) -> Result<()> {
        match self.info.head {
            Head::TightTransf => Err(Error::new(
                Status::Modality,
                "the tightTransf head compares a text with frames and gives no video vector; use the score, or set head to MEAN",
            )),
            _ => Ok(()),
        }
    }

    fn raw_texts(&self, texts: &[&str], call: &Call) -> Result<Array2<f32>> {
        let Some(tokenizer) = self.tokenizer.as_ref().filter(|_| self.info.arch.text.is_some()) else {
            return Err(Error::new(Status::Modality, "the model was loaded for video only; it cannot embed text"));
        };
        if texts.is_empty() {
            return Ok(Array2::zeros((0, self.dim())));
        }
        let mut request = self.engine.request::<Ids>(call)?;
        for (part, texts) in texts.chunks(TEXTS_AT_ONCE).enumerate() {
            let ids = (part * TEXTS_AT_ONCE..)
                .zip(texts)
                .map(|(i, text)| {
                    call.check()?;
                    tokenizer
                        .model_ids(text, self.options.max_words, self.options.strict_text)
                        .map_err(|e| Error::new(e.status(), format_args!("texts[{i}]: {e}")))
                })
                .collect::<Result<Vec<_>>>()?;
            request.push(ids)?;
        }
        request.finish(as_they_are());
        request.wait()
    }

    /// The rows of these pictures, and what `finish` makes of them.
    fn frames(&self, frames: &AnyFrames, kin: Kin, call: &Call, finish: Finish<Clip>) -> Result<Array2<f32>> {
        let mut squares = Squares::new(self.resolution()?);
        check_devices(frames)?;
        let mut request = Frames::new(self, kin, call)?;
        for i in 0..frames.len() {
            call.check()?;
            let start = Instant::now();
            let square = squares.of(frames, i)?;
            self.engine.counters().preprocessed(start.elapsed());
            request.push(square)?;
        }
        drop(squares);
        request.finish(finish)?;
        request.wait()
    }

    /// The one row that a head makes, as callers get it.
    fn video(&self, row: Array2<f32>) -> Result<Array1<f32>> {
        Ok(self.finished(row)?.row(0).to_owned())
    }

    fn terms<'t>(&'t self, options: &'t VideoOptions, call: &'t Call) -> Result<Terms<'t>> {
        Ok(Terms { options, call, cores: &self.cores, side: self.resolution()? })
    }

    fn resolution(&self) -> Result<usize> {
        match &self.info.arch.vision {
            Some(vision) => Ok(vision.resolution()),
            None => Err(Error::new(Status::Modality, "the model was loaded for text only; it cannot embed pictures")),
        }
    }

    /// The last L2 normalisation, in float64 so that nothing but the rounding to float32 is left.
    ///
    /// Random or damaged weights can overflow; a vector of NaNs would poison the caller's index silently.
    fn finished(&self, mut vectors: Array2<f32>) -> Result<Array2<f32>> {
        for mut row in vectors.rows_mut() {
            let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            if !norm.is_normal() {
                return Err(Error::new(
                    Status::Backend,
                    format_args!(
                        "the model computed a vector of length {norm}; are these the weights of a trained model?"
                    ),
                ));
            }
            if !self.options.raw_output {
                row.mapv_inplace(|v| (f64::from(v) / norm) as f32);
            }
        }
        Ok(vectors)
    }

    /// What it has done since it was loaded, and what it holds now.
    pub fn stats(&self) -> Stats {
        let stats = self.engine.stats();
        let held = self.info.devices.iter().map(|device| match device {
            Device::Cpu => 0,
            Device::Cuda(number) => gpu::held(*number).unwrap_or_default(),
        });
        Stats { waiting_calls: stats.waiting_calls + self.cores.waiting() as u64, device_bytes: held.sum(), ..stats }
    }

    /// Calls that wait for others to share a pass with wait no longer, now and from now on.
    pub(crate) fn hurry(&self) {
        self.engine.hurry();
    }

    /// Gives back what is held on GPUs for speed and not in use.
    ///
    /// # Errors
    /// `Backend`; `Cancelled` and `Timeout`.
    pub fn trim(&self, call: &Call) -> Result<()> {
        self.engine.run_everywhere(call, |clip| {
            clip.clear();
            Ok(())
        })?;
        give_back(&self.info.devices)
    }

    /// Counts a call of a user's from its beginning to its end.
    pub(crate) fn count<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        self.engine.counters().call(call)
    }

    /// Lets go of the model in a forked child, where its thread does not exist: nothing is released but the memory of
    /// the handle.
    pub(crate) fn abandon(self) {
        self.engine.abandon();
    }
}

fn tokenizer(options: &Options, weights: &Checkpoint) -> Result<Option<Arc<Tokenizer>>> {
    if !options.modality.text() {
        return Ok(None);
    }
    match options.tokenizer_path.clone().or_else(|| weights.tokenizer()) {
        Some(path) => Tokenizer::from_file(&path).map(|t| Some(Arc::new(t))),
        None => Ok(Some(Tokenizer::clip())),
    }
}
