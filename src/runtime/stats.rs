//! What a model has done so far.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::guarded;
use crate::error::{Result, Status};

/// Counters that every thread adds to. What belongs together may be seen one before the other.
#[derive(Default)]
pub struct Counters {
    begun: AtomicU64,
    ended: AtomicU64,
    failed: [AtomicU64; Failure::COUNT],
    decode: AtomicU64,
    preprocess: AtomicU64,
    pub(super) queue: AtomicU64,
    pub(super) texts: Lane,
    pub(super) images: Lane,
}

/// One kind of thing that goes through the model.
#[derive(Default)]
pub(super) struct Lane {
    items: AtomicU64,
    passes: AtomicU64,
    forward: AtomicU64,
}

impl Lane {
    pub(super) fn passed(&self, items: usize, took: Duration) {
        self.items.fetch_add(items as u64, Relaxed);
        self.passes.fetch_add(1, Relaxed);
        add(&self.forward, took);
    }
}

/// Why calls fail, as far as it is counted apart.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// The arguments, the model's state, or what the model is not made for.
    Argument,
    /// A video that cannot be read, decoded or taken.
    Media,
    Memory,
    Cancelled,
    TimedOut,
    Other,
}

impl Failure {
    const COUNT: usize = 6;

    fn of(status: Status) -> Self {
        match status {
            Status::InvalidArgument
            | Status::BufferTooSmall
            | Status::Unsupported
            | Status::Closed
            | Status::Forked
            | Status::Modality
            | Status::Tokenizer
            | Status::TextTooLong => Failure::Argument,
            Status::MediaIo
            | Status::MediaFormat
            | Status::NoVideo
            | Status::Decode
            | Status::Limit
            | Status::Forbidden => Failure::Media,
            Status::OutOfMemory => Failure::Memory,
            Status::Cancelled => Failure::Cancelled,
            Status::Timeout => Failure::TimedOut,
            Status::WeightsIo
            | Status::WeightsFormat
            | Status::WeightsMismatch
            | Status::Device
            | Status::Backend
            | Status::Internal => Failure::Other,
        }
    }
}

impl Counters {
    /// Counts a call from its beginning to its end.
    pub(crate) fn call<T>(&self, body: impl FnOnce() -> Result<T>) -> Result<T> {
        self.begun.fetch_add(1, Relaxed);
        let result = guarded(body);
        if let Err(error) = &result {
            self.failed[Failure::of(error.status()) as usize].fetch_add(1, Relaxed);
        }
        self.ended.fetch_add(1, Relaxed);
        result
    }

    pub(crate) fn decoded(&self, took: Duration) {
        add(&self.decode, took);
    }

    pub(crate) fn preprocessed(&self, took: Duration) {
        add(&self.preprocess, took);
    }

    pub(super) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        // The ends first, so that what runs is hardly ever told too small.
        let ended = read(&self.ended);
        let begun = read(&self.begun);
        let failed = |kind: Failure| read(&self.failed[kind as usize]);
        Stats {
            calls: begun,
            running: begun.saturating_sub(ended),
            failed_argument: failed(Failure::Argument),
            failed_media: failed(Failure::Media),
            failed_memory: failed(Failure::Memory),
            failed_other: failed(Failure::Other),
            cancelled: failed(Failure::Cancelled),
            timed_out: failed(Failure::TimedOut),
            texts: read(&self.texts.items),
            images: read(&self.images.items),
            text_batches: read(&self.texts.passes),
            image_batches: read(&self.images.passes),
            queue: Duration::from_nanos(read(&self.queue)),
            decode: Duration::from_nanos(read(&self.decode)),
            preprocess: Duration::from_nanos(read(&self.preprocess)),
            text_forward: Duration::from_nanos(read(&self.texts.forward)),
            image_forward: Duration::from_nanos(read(&self.images.forward)),
            ..Stats::default()
        }
    }
}

pub(super) fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
}

/// What a model has done since it was loaded, and what it holds at this moment.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Calls that embed or score, begun.
    pub calls: u64,
    /// Of these, not ended yet.
    pub running: u64,
    pub failed_argument: u64,
    pub failed_media: u64,
    pub failed_memory: u64,
    pub failed_other: u64,
    pub cancelled: u64,
    pub timed_out: u64,
    /// Texts and images that went through the model, and in how many forward passes.
    pub texts: u64,
    pub images: u64,
    pub text_batches: u64,
    pub image_batches: u64,
    /// Texts and images that wait for the model now.
    pub queued_texts: u64,
    pub queued_images: u64,
    /// Calls that wait for room in the queues, and decoders that wait for a core.
    pub waiting_calls: u64,
    /// Bytes of images and token ids that wait for the model or are in a forward pass.
    pub bytes_held: u64,
    /// How long texts and images waited for their pass, added up.
    pub queue: Duration,
    /// How long calls looked for frames and decoded, the waiting for cores and preprocessing beside it included.
    pub decode: Duration,
    /// Converting, scaling and cropping, over all threads.
    pub preprocess: Duration,
    pub text_forward: Duration,
    pub image_forward: Duration,
    /// Bytes of the model's GPUs that libtorch holds for the process.
    pub device_bytes: u64,
}
