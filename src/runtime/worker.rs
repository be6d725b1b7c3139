//! The loop that takes work out of the lines and runs it.

use std::time::Instant;

use ndarray::Array2;

use super::guarded;
use super::lane::Ticket;
use super::queue::{end, Compute, Queued, Shared, Step};
use super::stats::{self, Counters};
use crate::error::{Error, Result, Status};

/// After so many passes that went well, one that memory was short for is tried with more again.
const PATIENCE: u32 = 100;

pub(super) struct Worker<'w, C: 'static> {
    shared: &'w Shared<C>,
    compute: &'w C,
    /// Its number among the model's threads.
    own: usize,
    /// What memory allowed of late; None: as many as are wanted.
    most_images: Option<usize>,
    /// Passes since then.
    good: u32,
}

impl<'w, C: Compute> Worker<'w, C> {
    pub(super) fn new(shared: &'w Shared<C>, compute: &'w C, own: usize) -> Self {
        Worker { shared, compute, own, most_images: None, good: 0 }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(&mut self) {
        loop {
            match self.next() {
                Step::Job(job) => job(self.compute),
                Step::Texts(tickets) => drop(self.pass(&tickets, C::texts, |c| &c.texts)),
                Step::Images(tickets) => {
                    let too_many = self.pass(&tickets, C::images, |c| &c.images);
                    self.adapt(too_many);
                }
                Step::Rest(_) => {}
                Step::End => return,
            }
        }
    }

    fn next(&self) -> Step<C> {
        let limits = &self.shared.limits;
        let mut queue = self.shared.queue();
        loop {
            match queue.next(limits, self.most_images.unwrap_or(limits.max_batch), self.own) {
                Step::Rest(None) => self.shared.wake.wait(&mut queue),
                Step::Rest(Some(until)) => drop(self.shared.wake.wait_until(&mut queue, until)),
                step => {
                    if queue.has_work() {
                        // For another thread, if there is one that rests.
                        self.shared.wake.notify_one();
                    }
                    return step;
                }
            }
        }
    }

    /// One forward pass, or several where that fails: halves find their way around a want of memory, and what is wrong
    /// with one item is not the fault of its company. Returns for how few items memory was short, if it was.
    fn pass<T: Queued<C>>(
        &self,
        tickets: &[Ticket<T>],
        run: fn(&C, &[&T]) -> Result<Array2<f32>>,
        lane: fn(&Counters) -> &stats::Lane,
    ) -> Option<usize> {
        let start = Instant::now();
        for ticket in tickets {
            stats::add(&self.shared.counters.queue, start.saturating_duration_since(ticket.since));
        }
        self.attempt(&tickets.iter().collect::<Vec<_>>(), run, lane)
    }

    fn attempt<T: Queued<C>>(
        &self,
        tickets: &[&Ticket<T>],
        run: fn(&C, &[&T]) -> Result<Array2<f32>>,
        lane: fn(&Counters) -> &stats::Lane,
    ) -> Option<usize> {
        if tickets.is_empty() {
            return None;
        }
        let start = Instant::now();
        let items: Vec<&T> = tickets.iter().map(|t| &t.item).collect();
        let rows = guarded(|| run(self.compute, &items)).and_then(|rows| match rows.nrows() == tickets.len() {
            true => Ok(rows),
            false => Err(Error::internal(format_args!("{} rows for {} items", rows.nrows(), tickets.len()))),
        });
        match (rows, tickets) {
            (Ok(rows), _) => {
                lane(&self.shared.counters).passed(tickets.len(), start.elapsed());
                let endings = T::lane(&mut self.shared.queue()).deliver(tickets, &rows);
                endings.into_iter().for_each(|ending| end(ending)(self.compute));
                None
            }
            (Err(error), [ticket]) => {
                T::lane(&mut self.shared.queue()).fail(ticket, error);
                None
            }
            (Err(error), tickets) => {
                let halves = tickets.chunks(tickets.len().div_ceil(2)).map(|half| {
                    let queue = &mut *self.shared.queue();
                    half.iter().copied().filter(|ticket| T::lane(queue).is_wanted(ticket)).collect::<Vec<_>>()
                });
                let halves = halves.map(|half| self.attempt(&half, run, lane)).collect::<Vec<_>>();
                let memory = (error.status() == Status::OutOfMemory).then_some(tickets.len());
                halves.into_iter().flatten().chain(memory).min()
            }
        }
    }

    /// Passes become as small as memory demands, and after a while larger again.
    fn adapt(&mut self, too_many: Option<usize>) {
        if let Some(n) = too_many {
            (self.most_images, self.good) = (Some((n / 2).max(1)), 0);
        }
        let Some(most) = self.most_images else { return };
        self.good += 1;
        if self.good > PATIENCE {
            self.good = 0;
            self.most_images = Some(2 * most).filter(|&more| more < self.shared.limits.max_batch);
        }
    }
}
