//! Requests of one kind in line for the model, and which of their items share a forward pass.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Sender;
use ndarray::Array2;

use super::permits::Permit;
use crate::error::{Error, Result, Status};

/// What goes through the model.
pub(crate) trait Item {
    /// How much of a pass it takes.
    fn length(&self) -> usize;
}

/// An item on its way.
pub(super) struct Ticket<T> {
    pub request: u64,
    /// Which of the request's rows its result is.
    pub row: usize,
    pub item: T,
    pub since: Instant,
    /// The room that its part of the request takes, given back with the last of them.
    pub _room: Arc<Permit>,
}

/// What becomes of a request's rows when all are there, and who waits for it.
pub(super) struct Ending<F> {
    pub finish: F,
    pub reply: Sender<Result<Array2<f32>>>,
    pub rows: Array2<f32>,
}

struct Request<T, F> {
    items: VecDeque<Ticket<T>>,
    /// How many have come; more may while there is nothing to finish with.
    expected: usize,
    done: usize,
    rows: Vec<f32>,
    /// Lengths that went into passes since the request was last put behind the others.
    served: usize,
    finish: Option<F>,
    reply: Sender<Result<Array2<f32>>>,
}

pub(crate) struct Lane<T, F> {
    requests: HashMap<u64, Request<T, F>>,
    /// The requests with items, by whose turn it is.
    line: VecDeque<u64>,
    waiting: usize,
    /// Of the items that wait, added up.
    length: usize,
    next: u64,
}

impl<T: Item, F> Lane<T, F> {
    pub(super) fn new() -> Self {
        Lane { requests: HashMap::new(), line: VecDeque::new(), waiting: 0, length: 0, next: 0 }
    }

    /// How many items wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How much of a pass those take that wait.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Since when the first in line waits.
    pub(super) fn since(&self) -> Option<Instant> {
        Some(self.requests.get(self.line.front()?)?.items.front()?.since)
    }

    /// A request whose items come later.
    pub(super) fn open(&mut self, reply: Sender<Result<Array2<f32>>>) -> u64 {
        let id = self.next;
        self.next += 1;
        let request =
            Request { items: VecDeque::new(), expected: 0, done: 0, rows: Vec::new(), served: 0, finish: None, reply };
        self.requests.insert(id, request);
        id
    }

    /// More items; false if the request has failed meanwhile.
    pub(super) fn push(&mut self, id: u64, items: Vec<T>, room: Permit) -> bool {
        let Some(request) = self.requests.get_mut(&id) else { return false };
        if request.items.is_empty() {
            self.line.push_back(id);
        }
        let (since, room) = (Instant::now(), Arc::new(room));
        self.waiting += items.len();
        self.length += items.iter().map(T::length).sum::<usize>();
        let first = request.expected;
        request.expected += items.len();
        let ticket = |(row, item)| Ticket { request: id, row, item, since, _room: Arc::clone(&room) };
        request.items.extend((first..).zip(items).map(ticket));
        true
    }

    /// No more items come. Some where all of them are done already.
    pub(super) fn close(&mut self, id: u64, finish: F) -> Option<Ending<F>> {
        self.requests.get_mut(&id)?.finish = Some(finish);
        self.ended(id)
    }

    /// Whether anybody still waits for what this is a part of.
    pub(super) fn is_wanted(&self, ticket: &Ticket<T>) -> bool {
        self.requests.contains_key(&ticket.request)
    }

    /// Forgets a request and what it has waiting.
    pub(super) fn remove(&mut self, id: u64) -> Option<impl Sized> {
        let request = self.requests.remove(&id)?;
        self.waiting -= request.items.len();
        self.length -= request.items.iter().map(|t| t.item.length()).sum::<usize>();
        if !request.items.is_empty() {
            self.line.retain(|other| *other != id);
        }
        Some(request)
    }

    /// What goes into the next pass: items in the order of the line, as long as their lengths do not exceed `most` together,
    /// and one at least. A request that has had a whole pass to itself, or as good as that, goes behind the others.
    pub(super) fn batch(&mut self, most: usize) -> Vec<Ticket<T>> {
        let (mut batch, mut length) = (Vec::new(), 0);
        let mut behind = Vec::new();
        while let Some(&id) = self.line.front() {
            let Some(request) = self.requests.get_mut(&id) else { break };
            let mut next = None;
            while let Some(item) = request.items.front().map(|t| t.item.length()) {
                next = Some(item);
                if length + item > most && !batch.is_empty() {
                    break;
                }
                length += item;
                request.served += item;
                batch.extend(request.items.pop_front());
                next = None;
            }
            match next {
                None => {
                    request.served = 0;
                    self.line.pop_front();
                }
                Some(next) if request.served > 0 && request.served + next > most => {
                    request.served = 0;
                    behind.extend(self.line.pop_front());
                }
                Some(_) => break,
            }
        }
        self.line.extend(behind);
        self.waiting -= batch.len();
        self.length -= length;
        batch
    }

    /// Files the rows of a pass; what has come to its end by that is returned.
    pub(super) fn deliver(&mut self, tickets: &[&Ticket<T>], rows: &Array2<f32>) -> Vec<Ending<F>> {
        let mut touched: Vec<u64> = Vec::new();
        for (ticket, row) in tickets.iter().zip(rows.rows()) {
            // Whoever asked may have gone.
            let Some(request) = self.requests.get_mut(&ticket.request) else { continue };
            let all = request.expected * row.len();
            if request.rows.try_reserve(all.saturating_sub(request.rows.len())).is_err() {
                let n = request.expected;
                self.fail(ticket, Error::new(Status::OutOfMemory, format_args!("no memory for {n} vectors")));
                continue;
            }
            request.rows.resize(all, 0.0);
            for (to, from) in request.rows[ticket.row * row.len()..].iter_mut().zip(row) {
                *to = *from;
            }
            request.done += 1;
            touched.push(ticket.request);
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().filter_map(|id| self.ended(id)).collect()
    }

    /// Ends the request that this item is of, which cannot be computed.
    pub(super) fn fail(&mut self, ticket: &Ticket<T>, error: Error) {
        if let Some(request) = self.requests.get(&ticket.request) {
            let _ = request.reply.send(Err(error));
            drop(self.remove(ticket.request));
        }
    }

    fn ended(&mut self, id: u64) -> Option<Ending<F>> {
        let request = self.requests.get(&id)?;
        if request.finish.is_none() || request.done < request.expected {
            return None;
        }
        let Request { finish, reply, rows, expected, .. } = self.requests.remove(&id)?;
        let dim = rows.len() / expected.max(1);
        let rows = Array2::from_shape_vec((expected, dim), rows).ok()?;
        Some(Ending { finish: finish?, reply, rows })
    }
}
