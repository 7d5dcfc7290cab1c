//! Jobs that wait, those that workers have, and who gets the next. A pure core: nothing is sent here.
//!
//! A job is held until a worker has answered for it. One whose worker is lost, or failed at it, goes back to the place that it had in the
//! queue, until it has been tried as often as it may.

use std::collections::{BTreeMap, VecDeque};

use super::{WorkError, WorkReport};

/// The most workers of one queue.
pub(super) const MOST_WORKERS: usize = 1024;

/// The most jobs that one worker may have at a time.
pub(super) const MOST_CREDIT: u32 = 1024;

/// The most workers of one context, where it has enlisted them itself.
pub(super) const MOST_OF_ONE: usize = 256;

/// How much a queue takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) jobs: usize,
    pub(super) bytes: usize,
    pub(super) tries: u32,
}

/// A job that is handed out: what comes of it is told by the number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Handed<W, J> {
    pub(super) turn: u64,
    pub(super) worker: W,
    pub(super) job: J,
}

struct Held<J> {
    job: J,
    bytes: usize,
    /// Its place in the queue.
    number: u64,
    /// Whoever may have begun it.
    tries: u32,
}

struct Worker {
    credit: u32,
    has: u32,
    /// It gets nothing for a moment.
    rests: bool,
    /// It has asked for no more.
    leaves: bool,
    /// The turn behind the one in which it was last given a job; 0 before that.
    last: u64,
}

/// Jobs and workers.
pub(super) struct Jobs<W, J> {
    pub(super) bounds: Bounds,
    waiting: VecDeque<Held<J>>,
    under_way: BTreeMap<u64, (W, Held<J>)>,
    workers: BTreeMap<W, Worker>,
    bytes: usize,
    next_number: u64,
    next_turn: u64,
    done: u64,
    redone: u64,
    given_up: u64,
    refused: u64,
}

impl<W: Copy + Ord, J: Clone> Jobs<W, J> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waiting: VecDeque::new(),
            under_way: BTreeMap::new(),
            workers: BTreeMap::new(),
            bytes: 0,
            next_number: 0,
            next_turn: 0,
            done: 0,
            redone: 0,
            given_up: 0,
            refused: 0,
        }
    }

    fn held(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Takes a job in.
    pub(super) fn submit(&mut self, job: J, bytes: usize) -> Result<(), WorkError> {
        let Bounds { jobs: most_jobs, bytes: most_bytes, .. } = self.bounds;
        let (jobs, has) = (self.held(), self.bytes);
        let refusal = if bytes > most_bytes {
            WorkError::TooLarge { bytes, most: most_bytes }
        } else if jobs >= most_jobs || has + bytes > most_bytes {
            WorkError::Full { jobs, bytes: has }
        } else {
            self.bytes += bytes;
            self.waiting.push_back(Held { job, bytes, number: self.next_number, tries: 0 });
            self.next_number += 1;
            return Ok(());
        };
        self.refused += 1;
        Err(refusal)
    }

    /// A worker wants jobs, so many at a time; whether it is a new one.
    pub(super) fn enlist(&mut self, worker: W, credit: u32) -> Result<bool, WorkError> {
        let credit = credit.clamp(1, MOST_CREDIT);
        let full = self.workers.len() >= MOST_WORKERS;
        let known = self.workers.get_mut(&worker);
        let is_new = known.is_none();
        match known {
            Some(known) => (known.credit, known.leaves) = (credit, false),
            None if full => return Err(WorkError::TooManyWorkers(MOST_WORKERS)),
            None => {
                let enlisted = Worker { credit, has: 0, rests: false, leaves: false, last: 0 };
                self.workers.insert(worker, enlisted);
            }
        }
        Ok(is_new)
    }

    /// A worker wants no more jobs; whether it has none and is gone.
    pub(super) fn dismiss(&mut self, worker: W) -> bool {
        if let Some(known) = self.workers.get_mut(&worker) {
            known.leaves = true;
        }
        self.is_gone(worker)
    }

    fn is_gone(&mut self, worker: W) -> bool {
        let gone = self.workers.get(&worker).is_some_and(|known| known.leaves && known.has == 0);
        if gone {
            self.workers.remove(&worker);
        }
        gone
    }

    /// Gives the next job to the worker with the most credit left; of several such, to the one that was given none for the longest time.
    pub(super) fn next(&mut self) -> Option<Handed<W, J>> {
        if self.waiting.is_empty() {
            return None;
        }
        let ready = self
            .workers
            .iter_mut()
            .filter(|(_, worker)| !worker.rests && !worker.leaves && worker.has < worker.credit);
        let best =
            ready.min_by_key(|(_, worker)| (u32::MAX - (worker.credit - worker.has), worker.last));
        let (worker, chosen) = best?;
        let worker = *worker;
        let mut held = self.waiting.pop_front()?;
        let turn = self.next_turn;
        self.next_turn += 1;
        (chosen.has, chosen.last) = (chosen.has + 1, self.next_turn);
        held.tries += 1;
        let job = held.job.clone();
        self.under_way.insert(turn, (worker, held));
        Some(Handed { turn, worker, job })
    }

    fn take_back(&mut self, turn: u64) -> Option<(W, Held<J>)> {
        let (worker, held) = self.under_way.remove(&turn)?;
        if let Some(known) = self.workers.get_mut(&worker) {
            known.has -= 1;
        }
        Some((worker, held))
    }

    /// A worker has done a job. Says whether that was its last one. What nobody waits for any more says nothing.
    pub(super) fn done(&mut self, turn: u64) -> bool {
        let Some((worker, held)) = self.take_back(turn) else { return false };
        self.bytes -= held.bytes;
        self.done += 1;
        self.is_gone(worker)
    }

    /// A worker has not done a job, and has certainly not begun it if `untouched`. Gives the job if it may not be tried again, and says whether the
    /// worker is gone with its last one.
    pub(super) fn failed(&mut self, turn: u64, untouched: bool) -> (Option<J>, bool) {
        let Some((worker, mut held)) = self.take_back(turn) else { return (None, false) };
        if untouched {
            held.tries -= 1;
        }
        (self.again(held), self.is_gone(worker))
    }

    /// A worker is lost. Gives those of its jobs that may not be tried again.
    pub(super) fn lost(&mut self, worker: W) -> Vec<J> {
        self.workers.remove(&worker);
        let had = self.under_way.iter().filter(|(_, (of, _))| *of == worker);
        let had: Vec<u64> = had.map(|(turn, _)| *turn).collect();
        let back: Vec<_> =
            had.into_iter().filter_map(|turn| self.under_way.remove(&turn)).collect();
        back.into_iter().filter_map(|(_, held)| self.again(held)).collect()
    }

    fn again(&mut self, held: Held<J>) -> Option<J> {
        if held.tries >= self.bounds.tries.max(1) {
            self.bytes -= held.bytes;
            self.given_up += 1;
            return Some(held.job);
        }
        self.redone += 1;
        let place = self.waiting.partition_point(|other| other.number < held.number);
        self.waiting.insert(place, held);
        None
    }

    /// A worker gets nothing until it is [rested](Self::rested).
    pub(super) fn rest(&mut self, worker: W) -> bool {
        let known = self.workers.get_mut(&worker);
        known.is_some_and(|known| !std::mem::replace(&mut known.rests, true))
    }

    pub(super) fn rested(&mut self, worker: W) {
        if let Some(known) = self.workers.get_mut(&worker) {
            known.rests = false;
        }
    }

    /// Everything that is held, when nobody will do it any more.
    pub(super) fn drain(&mut self) -> Vec<J> {
        let under_way = std::mem::take(&mut self.under_way).into_values().map(|(_, held)| held);
        let held: Vec<_> = under_way.chain(self.waiting.drain(..)).map(|held| held.job).collect();
        self.bytes = 0;
        self.given_up += held.len() as u64;
        held
    }

    pub(super) fn report(&self) -> WorkReport {
        WorkReport {
            waiting: self.waiting.len(),
            under_way: self.under_way.len(),
            bytes: self.bytes,
            workers: self.workers.len(),
            done: self.done,
            redone: self.redone,
            given_up: self.given_up,
            refused: self.refused,
        }
    }
}

#[cfg(test)]
mod tests;
