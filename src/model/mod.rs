//! The model: what it can do, in the order in which it does it.

mod many;

pub use many::Segments;

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2, Axis};

use crate::clip::{Clip, LoadOptions};
use crate::error::{Error, Result, Status};
use crate::image::{Frame, Preprocessor};
use crate::options::{Activation, Head, Modality, Options, Precision, VideoOptions};
use crate::runtime::{Call, Level, Log, Worker};
use crate::text::Tokenizer;
use crate::video::{self, Converter, Found, Source};
use crate::weights::{Arch, Checkpoint};

/// The most images in one forward pass when nothing is asked for: large enough for the twelve frames of a video in one,
/// small enough that a long list of frames does not need memory in proportion.
const DEFAULT_MAX_BATCH: usize = 16;

/// A loaded CLIP4Clip. Any number of threads may use it at once.
///
/// Vectors are `dim` floats of unit length, unless raw output was asked for; texts and videos share one space, so that
/// the dot product of two vectors is their cosine similarity.
pub struct Model {
    options: Options,
    tokenizer: Option<Arc<Tokenizer>>,
    info: Info,
    log: Log,
    worker: Worker,
}

/// What was loaded, and how it runs.
#[derive(Clone, Debug)]
pub struct Info {
    pub arch: Arch,
    pub head: Head,
    pub activation: Activation,
    pub precision: Precision,
    /// The logarithm of the temperature, where the checkpoint has one.
    pub logit_scale: Option<f32>,
    /// The checkpoint's container and naming, such as `torch.save/clip4clip`.
    pub weights: String,
    pub num_threads: usize,
    pub max_batch: usize,
}

impl Model {
    /// Loads a checkpoint and makes it ready to embed.
    ///
    /// # Errors
    /// `WeightsIo`, `WeightsFormat`, `WeightsMismatch`, `InvalidArgument`, `Unsupported`, `OutOfMemory`; each message
    /// names the thing.
    pub fn load(options: Options, log: Log) -> Result<Model> {
        let num_threads =
            options.num_threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
        let max_batch = options.max_batch.unwrap_or(DEFAULT_MAX_BATCH);
        let weights = Checkpoint::open(&options.weights_path)?;
        let tokenizer = tokenizer(&options, &weights)?;
        let format = weights.describe();
        let load = LoadOptions {
            modality: options.modality,
            model_name: options.model_name,
            head: options.head,
            activation: options.activation,
            precision: options.precision,
            max_batch,
        };
        let describe = move |clip: &Clip| Info {
            arch: clip.arch.clone(),
            head: clip.head,
            activation: clip.activation,
            precision: load.precision,
            logit_scale: clip.logit_scale,
            weights: format,
            num_threads,
            max_batch,
        };
        let (worker, info) = Worker::start(num_threads, move || Clip::load(weights, load), describe)?;
        let model = Model { options, tokenizer, info, log, worker };
        model.check_context()?;
        model.log.say(
            Level::Info,
            format_args!(
                "loaded {} from {}, {num_threads} threads",
                model.info.arch,
                model.options.weights_path.display()
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
        let mut vectors = Array2::zeros((0, self.dim()));
        for batch in frames.chunks(self.info.max_batch) {
            let pixels = self.preprocess(batch, call)?;
            let rows = self.worker.run(call, move |clip| clip.images(&pixels))?;
            vectors.append(Axis(0), rows.view()).map_err(Error::internal)?;
        }
        self.finished(vectors)
    }

    /// One vector for the video that these frames make.
    ///
    /// # Errors
    /// `Modality` on a model without vision tower, or whose head gives no vector; `InvalidArgument` without frames or with
    /// more than [`VideoOptions::MAX_FRAMES`]; `Limit` with more than the head has positions for.
    pub fn embed_frames(&self, frames: &[Frame], call: &Call) -> Result<Array1<f32>> {
        self.gives_vectors()?;
        let pixels = self.preprocess_clip(frames, call)?;
        self.embed_pixels(pixels, call)
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
        let sampled = video::squares(source, options, call, self.resolution()?)?;
        self.tell(&name, &sampled.found);
        self.embed_pixels(sampled.pixels, call)
    }

    /// One vector for the video file at `path`, which may be a URL where the options allow it.
    ///
    /// # Errors
    /// As [`Model::embed_video`].
    pub fn embed_video_path(&self, path: &Path, options: &VideoOptions, call: &Call) -> Result<Array1<f32>> {
        self.embed_video(Source::Path(path), options, call)
    }

    /// Notes what was unusual about a video.
    fn tell(&self, name: &str, found: &Found) {
        if found.corrupt > 0 {
            self.log.say(
                Level::Warn,
                format_args!("{name}: {} corrupt places among {} frames", found.corrupt, found.total),
            );
        }
        if let Some(why) = found.whole {
            self.log.say(Level::Debug, format_args!("{name}: decoded from beginning to end, since {why}"));
        }
    }

    /// How well each text goes with the video that these frames make, by the model's head: for tightTransf what its
    /// transformer says, for the others the cosine times the temperature, `exp(logit_scale)`.
    ///
    /// # Errors
    /// As [`Model::embed_text`] and [`Model::embed_frames`]; `Unsupported` if the checkpoint has no temperature.
    pub fn score(&self, texts: &[&str], frames: &[Frame], call: &Call) -> Result<Array1<f32>> {
        let texts = self.raw_texts(texts, call)?;
        let pixels = self.preprocess_clip(frames, call)?;
        let scores = self.worker.run(call, move |clip| clip.scores(&texts, &pixels))?;
        match scores.iter().all(|score| score.is_finite()) {
            true => Ok(scores.column(0).to_owned()),
            false => Err(Error::new(Status::Backend, "the model computed a score that is not finite")),
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
        let ids = texts
            .iter()
            .enumerate()
            .map(|(i, text)| {
                tokenizer
                    .model_ids(text, self.options.max_words, self.options.strict_text)
                    .map_err(|e| Error::new(e.status(), format_args!("texts[{i}]: {e}")))
            })
            .collect::<Result<Vec<_>>>()?;
        self.worker.run(call, move |clip| clip.texts(&ids))
    }

    fn embed_pixels(&self, pixels: Vec<u8>, call: &Call) -> Result<Array1<f32>> {
        let vector = self.worker.run(call, move |clip| clip.video(&pixels))?;
        Ok(self.finished(vector)?.row(0).to_owned())
    }

    fn preprocess_clip(&self, frames: &[Frame], call: &Call) -> Result<Vec<u8>> {
        match frames.len() {
            0 => Err(Error::invalid("there are no frames")),
            n if n > VideoOptions::MAX_FRAMES => Err(Error::invalid(format_args!(
                "{n} frames are more than a video may have here ({})",
                VideoOptions::MAX_FRAMES
            ))),
            _ => self.preprocess(frames, call),
        }
    }

    fn preprocess(&self, frames: &[Frame], call: &Call) -> Result<Vec<u8>> {
        let mut converter = Converter::for_frames();
        let mut preprocessor = Preprocessor::new(self.resolution()?);
        let mut pixels = preprocessor.room(frames.len())?;
        for (frame, out) in frames.iter().zip(pixels.chunks_exact_mut(preprocessor.output_len())) {
            call.check()?;
            match frame.is_yuv() {
                true => preprocessor.run(&converter.yuv(frame)?, out)?,
                false => preprocessor.run(frame, out)?,
            }
        }
        Ok(pixels)
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

    /// Lets go of the model in a forked child, where its thread does not exist: nothing is released but the memory of
    /// the handle.
    pub(crate) fn abandon(self) {
        self.worker.abandon();
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
