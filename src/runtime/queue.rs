//! What waits for the model: the lines, the room in them, and what comes next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ndarray::Array2;
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::guarded;
use super::lane::{Ending, Item, Lane, Ticket};
use super::permits::Permits;
use super::stats::Counters;
use crate::clip::{Clip, Ids, Image};
use crate::error::{Error, Result};

/// Bytes of images that may wait or be in a pass, but room for one more pass than there are threads at least.
const IMAGE_ROOM: usize = 64 << 20;
/// Bytes of token ids.
const TEXT_ROOM: usize = 4 << 20;

/// What can be computed, one raw embedding in a row for each item.
pub trait Compute {
    fn texts(&self, texts: &[&Ids]) -> Result<Array2<f32>>;
    fn images(&self, images: &[&Image]) -> Result<Array2<f32>>;
}

impl Compute for Clip {
    fn texts(&self, texts: &[&Ids]) -> Result<Array2<f32>> {
        Clip::texts(self, texts)
    }

    fn images(&self, images: &[&Image]) -> Result<Array2<f32>> {
        Clip::images(self, images)
    }
}

/// What is made of a request's rows, on the thread that owns the weights.
pub type Finish<C> = Box<dyn FnOnce(&C, Array2<f32>) -> Result<Array2<f32>> + Send>;

pub(super) type Job<C> = Box<dyn FnOnce(&C) + Send>;

/// How the engine runs.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads of one forward pass.
    pub num_threads: usize,
    /// The most images in one forward pass; at least 1.
    pub max_batch: usize,
    /// The most token ids in one forward pass, but for a text that has more alone.
    pub max_ids: usize,
    /// How long the first in line waits for company.
    pub max_batch_delay: Duration,
}

pub(crate) struct Queue<C> {
    pub(super) texts: Lane<Ids, Finish<C>>,
    pub(super) images: Lane<Image, Finish<C>>,
    /// Small work, which takes turns with the passes.
    pub(super) jobs: VecDeque<Job<C>>,
    /// The same for each thread alone.
    pub(super) own_jobs: Vec<VecDeque<Job<C>>>,
    job_went: bool,
    /// Whose turn the last pass was.
    texts_went: bool,
    /// There was nothing to do since.
    rested: bool,
    /// The last texts waited for a pass of images to end. The images after them go in half as large a pass: texts come often,
    /// and are shorter than what they wait for.
    texts_waited: bool,
    /// Nobody waits for company any more.
    pub(super) hurry: bool,
    /// No more work comes, or nobody is there to do it.
    pub(super) closed: bool,
}

pub(crate) struct Shared<C> {
    queue: Mutex<Queue<C>>,
    /// There is work, or no more will come.
    pub(super) wake: Condvar,
    pub(super) text_room: Arc<Permits>,
    pub(super) image_room: Arc<Permits>,
    pub(super) counters: Counters,
    pub(super) limits: Limits,
}

/// A kind of item that has a line of its own.
pub(crate) trait Queued<C>: Item + Sized + Send + 'static {
    fn lane(queue: &mut Queue<C>) -> &mut Lane<Self, Finish<C>>;
    fn room(shared: &Shared<C>) -> &Arc<Permits>;
    fn bytes(&self) -> usize;
}

impl Item for Ids {
    fn length(&self) -> usize {
        self.len()
    }
}

impl<C: 'static> Queued<C> for Ids {
    fn lane(queue: &mut Queue<C>) -> &mut Lane<Self, Finish<C>> {
        &mut queue.texts
    }

    fn room(shared: &Shared<C>) -> &Arc<Permits> {
        &shared.text_room
    }

    fn bytes(&self) -> usize {
        size_of_val(self.as_slice()) + size_of::<Ticket<Ids>>()
    }
}

impl Item for Image {
    fn length(&self) -> usize {
        1
    }
}

impl<C: 'static> Queued<C> for Image {
    fn lane(queue: &mut Queue<C>) -> &mut Lane<Self, Finish<C>> {
        &mut queue.images
    }

    fn room(shared: &Shared<C>) -> &Arc<Permits> {
        &shared.image_room
    }

    fn bytes(&self) -> usize {
        self.own.len()
    }
}

impl<C> Shared<C> {
    pub(super) fn new(limits: Limits, image_bytes: usize, threads: usize) -> Arc<Self>
    where
        C: 'static,
    {
        Arc::new(Shared {
            queue: Mutex::new(Queue::new(threads)),
            wake: Condvar::new(),
            text_room: Permits::new(TEXT_ROOM),
            image_room: Permits::new(IMAGE_ROOM.max((threads + 1) * limits.max_batch * image_bytes)),
            counters: Counters::default(),
            limits,
        })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock()
    }

    pub(super) fn open_queue(&self) -> Result<MutexGuard<'_, Queue<C>>> {
        Some(self.queue()).filter(|queue| !queue.closed).ok_or_else(ended)
    }
}

pub(super) fn ended() -> Error {
    Error::internal("the model's thread has ended")
}

/// What is left to do for a request whose rows are all there.
pub(super) fn end<C: 'static>(ending: Ending<Finish<C>>) -> Job<C> {
    let Ending { finish, reply, rows } = ending;
    Box::new(move |compute| drop(reply.send(guarded(|| finish(compute, rows)))))
}

/// What to do next.
pub(super) enum Step<C> {
    Job(Job<C>),
    Texts(Vec<Ticket<Ids>>),
    Images(Vec<Ticket<Image>>),
    /// Nothing, before this moment or before somebody comes.
    Rest(Option<Instant>),
    End,
}

impl<C: 'static> Queue<C> {
    fn new(threads: usize) -> Self {
        Queue {
            texts: Lane::new(),
            images: Lane::new(),
            jobs: VecDeque::new(),
            own_jobs: (0..threads).map(|_| VecDeque::new()).collect(),
            job_went: false,
            texts_went: false,
            rested: true,
            texts_waited: false,
            hurry: false,
            closed: false,
        }
    }

    /// Tells all who wait that nothing will come.
    pub(super) fn give_up(&mut self) {
        *self = Queue { closed: true, ..Queue::new(self.own_jobs.len()) };
    }

    /// Whether there is something to do for any thread.
    pub(super) fn has_work(&self) -> bool {
        !self.jobs.is_empty() || self.texts.waiting() + self.images.waiting() > 0
    }

    /// What thread `own` is to do next. Texts and images take turns, so that neither waits for more than one pass of the other.
    pub(super) fn next(&mut self, limits: &Limits, most_images: usize, own: usize) -> Step<C> {
        if let Some(job) = self.own_jobs.get_mut(own).and_then(VecDeque::pop_front) {
            return Step::Job(job);
        }
        let delay = if self.hurry { Duration::ZERO } else { limits.max_batch_delay };
        let due = |since: Option<Instant>, full: bool| match since {
            Some(since) if full || delay.is_zero() => Some(since),
            // A delay beyond what the clock can tell is none.
            Some(since) => Some(since.checked_add(delay).unwrap_or(since)),
            None => None,
        };
        let texts = due(self.texts.since(), self.texts.length() >= limits.max_ids);
        let images = due(self.images.since(), self.images.length() >= most_images);
        let now = if delay.is_zero() { None } else { Some(Instant::now()) };
        let ready = |due: Option<Instant>| due.is_some_and(|due| now.is_none_or(|now| due <= now));
        let (text, image) = (ready(texts), ready(images));
        // Jobs are short, but may be many.
        let job = if self.job_went && (text || image) { None } else { self.jobs.pop_front() };
        self.job_went = job.is_some();
        if let Some(job) = job {
            return Step::Job(job);
        }
        if !text && !image {
            self.rested = true;
            return match texts.into_iter().chain(images).min() {
                None if self.closed => Step::End,
                until => Step::Rest(until),
            };
        }
        let images_went = !self.texts_went;
        self.texts_went = text && (images_went || !image);
        let rested = std::mem::take(&mut self.rested);
        if self.texts_went {
            self.texts_waited = images_went && !rested;
            return Step::Texts(self.texts.batch(limits.max_ids));
        }
        self.texts_waited &= !images_went;
        let most = if self.texts_waited { most_images.div_ceil(2) } else { most_images };
        Step::Images(self.images.batch(most))
    }
}
