//! Counting in worker processes, some of which may die.
//!
//! Each worker counts one file at a time, and what it found is added only when all of it has come back. So a worker that dies
//! loses exactly the file that it was counting, and nothing is counted twice: the file goes back to the head of the queue.

use std::{cell::Cell, collections::VecDeque, io, path::Path};

use actogen::prelude::*;
use futures_util::{
    StreamExt,
    future::{self, LocalBoxFuture},
    stream::FuturesUnordered,
};

use super::{
    counter::{Chunk, Counter, Finish, PART, Part},
    files::{Chunks, Found, Remark},
    progress::Progress,
    sum::{Counted, Sum},
    tally::Tally,
};

/// A file whose worker died this often is given up: it may be what kills them.
const TRIES: u32 = 3;

/// No worker is left, and no other could be started.
#[derive(Debug, thiserror::Error)]
#[error("no worker process could be started: {0}")]
pub struct NoWorker(String);

/// Counts the files in as many worker processes. With `kill_one`, one of them is killed when half of the bytes are counted.
///
/// # Errors
/// [`NoWorker`] when files are left and nobody to count them.
pub async fn count(
    cx: &Context,
    files: Vec<Found>,
    workers: usize,
    kill_one: bool,
    progress: &Progress,
) -> Result<Sum, NoWorker> {
    let workers = workers.min(files.len());
    let queue = files.into_iter().map(|file| Task { file, tries: 0 }).collect();
    let plot = Plot { due: Cell::new(kill_one), half: progress.total().div_ceil(2) };
    let mut crew = Crew {
        cx,
        progress,
        plot: &plot,
        queue,
        idle: Vec::new(),
        under_way: FuturesUnordered::new(),
        hired: 0,
        sum: Sum::default(),
    };
    for _ in 0..workers {
        crew.hire();
    }
    crew.work().await?;
    let sum = crew.sum;
    if plot.due.get() {
        progress.say("no worker was killed: there was nothing to count");
    }
    Ok(sum)
}

/// A file to count.
#[derive(Debug)]
struct Task {
    file: Found,
    /// How many workers have died over it.
    tries: u32,
}

/// A process that counts.
#[derive(Debug)]
struct Worker {
    number: usize,
    child: Child,
    counter: Remote<Counter>,
}

/// The intent to kill one worker.
#[derive(Debug)]
struct Plot {
    due: Cell<bool>,
    /// So many bytes counted are half of all.
    half: u64,
}

impl Plot {
    /// True once: when these bytes are the ones that make the half full.
    fn strikes(&self, done: u64) -> bool {
        self.due.get() && done >= self.half && self.due.replace(false)
    }
}

/// What happens to a crew.
enum Event {
    Hired(Result<Worker, String>),
    Worked(Worker, Task, Result<Counted, Trouble>),
}

/// Why a file was not counted.
enum Trouble {
    /// It cannot be read.
    Unreadable(io::Error),
    /// Its worker is of no more use.
    Lost(String),
}

impl<M> From<SendError<M>> for Trouble {
    fn from(error: SendError<M>) -> Self {
        Self::Lost(match error.reason() {
            Some(reason) => format!("IS_DEAD {reason:?}: {error}"),
            None => error.to_string(),
        })
    }
}

struct Crew<'a> {
    cx: &'a Context,
    progress: &'a Progress,
    plot: &'a Plot,
    queue: VecDeque<Task>,
    idle: Vec<Worker>,
    under_way: FuturesUnordered<LocalBoxFuture<'a, Event>>,
    hired: usize,
    sum: Sum,
}

impl<'a> Crew<'a> {
    async fn work(&mut self) -> Result<(), NoWorker> {
        loop {
            while !self.queue.is_empty()
                && let Some(worker) = self.idle.pop()
                && let Some(task) = self.queue.pop_front()
            {
                self.assign(worker, task);
            }
            match self.under_way.next().await {
                None => return Ok(()),
                Some(Event::Hired(Ok(worker))) => self.idle.push(worker),
                Some(Event::Hired(Err(why))) => {
                    if self.is_deserted() {
                        return Err(NoWorker(why));
                    }
                    self.progress.say(format_args!("one worker less: {why}"));
                }
                Some(Event::Worked(worker, task, outcome)) => {
                    self.settle(worker, task, outcome).await;
                }
            }
        }
    }

    /// Whether files are left and nobody is there, or on the way, to count them.
    fn is_deserted(&self) -> bool {
        !self.queue.is_empty() && self.idle.is_empty() && self.under_way.is_empty()
    }

    fn hire(&mut self) {
        self.hired += 1;
        let (cx, number) = (self.cx, self.hired);
        self.under_way.push(Box::pin(async move { Event::Hired(hire(cx, number).await) }));
    }

    fn assign(&mut self, worker: Worker, task: Task) {
        let (progress, plot) = (self.progress, self.plot);
        self.under_way.push(Box::pin(async move {
            let outcome = worker.count(&task.file.path, progress, plot).await;
            Event::Worked(worker, task, outcome)
        }));
    }

    async fn settle(&mut self, worker: Worker, mut task: Task, outcome: Result<Counted, Trouble>) {
        match outcome {
            Ok(counted) => {
                self.sum.add(&task.file.path, counted, self.progress);
                self.idle.push(worker);
            }
            Err(Trouble::Unreadable(error)) => {
                let remark = Remark { path: task.file.path, what: error.into() };
                self.sum.remark(&remark, self.progress);
                self.idle.push(worker);
            }
            Err(Trouble::Lost(why)) => {
                let Task { file, tries } = &mut task;
                let (number, pid, path) = (worker.number, worker.child.pid(), file.path.display());
                self.progress.say(format_args!(
                    "worker {number} (process {pid}) was lost over {path}: {why}"
                ));
                *tries += 1;
                if *tries < TRIES {
                    self.progress.say(format_args!("{path} will be counted again"));
                    self.queue.push_front(task);
                } else {
                    self.sum.fail(
                        format_args!("{path}: {tries} workers were lost over it"),
                        self.progress,
                    );
                }
                // It may be a process that no longer answers: it must not count on, nor outlive this.
                worker.child.kill().await;
                if self.is_deserted() {
                    self.progress.say("no worker is left: starting another");
                    self.hire();
                }
            }
        }
    }
}

async fn hire(cx: &Context, number: usize) -> Result<Worker, String> {
    let child = cx.launch(Launch::local()).await.map_err(|error| error.to_string())?;
    let counter = child.spawn::<Counter>(()).await.map_err(|error| error.to_string())?;
    Ok(Worker { number, child, counter })
}

impl Worker {
    async fn count(
        &self,
        path: &Path,
        progress: &Progress,
        plot: &Plot,
    ) -> Result<Counted, Trouble> {
        let mut at = 0;
        let outcome = self.stream(path, &mut at, progress, plot).await;
        if outcome.is_err() {
            progress.fall_back(at);
        }
        outcome
    }

    /// Sends the file to the counter, and fetches what it found. `at` is how far it came.
    async fn stream(
        &self,
        path: &Path,
        at: &mut u64,
        progress: &Progress,
        plot: &Plot,
    ) -> Result<Counted, Trouble> {
        let mut chunks = Chunks::open(path, PART).await.map_err(Trouble::Unreadable)?;
        let mut next = chunks.next().await;
        while let Some(bytes) = next.map_err(Trouble::Unreadable)? {
            let length = bytes.len() as u64;
            let chunk = self.counter.send(Chunk { at: *at, bytes });
            // The next chunk is read while this one is counted, and sent when it has been: a slow worker slows the reader down.
            let taken;
            (taken, next) = if plot.strikes(progress.done() + length) {
                progress.say(format_args!("half is counted: killing worker {}", self.number));
                let (taken, next, ()) =
                    future::join3(chunk, chunks.next(), self.child.kill()).await;
                (taken, next)
            } else {
                future::join(chunk, chunks.next()).await
            };
            taken?.map_err(|error| Trouble::Lost(error.to_string()))?;
            *at += length;
            progress.advance(length);
        }
        if *at == 0 {
            return Ok(Counted::default());
        }
        self.fetch(*at).await
    }

    async fn fetch(&self, length: u64) -> Result<Counted, Trouble> {
        let lost = |why: &dyn std::fmt::Display| Trouble::Lost(why.to_string());
        let report = self.counter.send(Finish { length }).await?.map_err(|error| lost(&error))?;
        let mut bytes = report.part.to_vec();
        while (bytes.len() as u64) < report.length {
            let part = self.counter.send(Part { at: bytes.len() as u64 }).await?;
            if part.is_empty() {
                return Err(lost(&"its report ends too early"));
            }
            bytes.extend_from_slice(&part);
        }
        let tally = Tally::from_bytes(&bytes).map_err(|error| lost(&error))?;
        Ok(Counted { tally, invalid: report.invalid })
    }
}
