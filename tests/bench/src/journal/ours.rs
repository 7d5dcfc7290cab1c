//! Journaled actors, and askers in the same process.

use std::{
    cell::{Cell, RefCell},
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use actogen::prelude::*;
use actogen_journal::{Journal, Journaled, JournaledActor, Turn};

use crate::{
    failure::Failure,
    workload::{Outcome, Span},
};

/// Bytes of an actor's state beside its count.
pub(super) const STATE: usize = 200;

/// Counts, and answers with the count.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Count", reply = "u64")]
struct Count;

#[derive(Debug, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "counter", messages(Count), begin = Counter::begin)]
struct Counter {
    count: u64,
    rest: Vec<u8>,
}

impl Counter {
    fn begin(_: &str) -> Self {
        Self { count: 0, rest: vec![7; STATE] }
    }
}

impl Actor for Counter {
    type Context = Turn<Self>;
}

impl Handler<Count> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Count, _: &mut Turn<Self>) -> u64 {
        self.count += 1;
        self.count
    }
}

/// A journal with its actors.
pub(super) struct Bench {
    journal: Journal,
    actors: Vec<Journaled<Counter>>,
    latencies: RefCell<Vec<Duration>>,
}

impl Bench {
    pub(super) async fn open(
        context: &Context,
        file: &Path,
        actors: usize,
    ) -> Result<Self, Failure> {
        let journal = Journal::builder(context, file).kind::<Counter>().open().await;
        let journal = journal.map_err(Failure::ours("opening a journal"))?;
        let actors = (0..actors)
            .map(|number| journal.actor(&number.to_string()))
            .collect::<Result<_, _>>()
            .map_err(Failure::ours("naming an actor"))?;
        Ok(Self { journal, actors, latencies: RefCell::default() })
    }

    /// Bytes that a turn has written so far, on average: keys and values of its rows.
    pub(super) fn bytes_of_a_turn(&self) -> usize {
        let stats = self.journal.stats();
        usize::try_from(stats.bytes / stats.turns.max(1)).unwrap_or(usize::MAX)
    }

    /// Turns that were taken since it was opened.
    pub(super) fn turns(&self) -> u64 {
        self.journal.stats().turns
    }

    /// Asks one actor once.
    pub(super) async fn ask(&self, actor: usize) -> Result<(), Failure> {
        let asked = self.journal.client().send(&self.actors[actor], Count).await;
        asked.map(drop).map_err(Failure::ours("asking an actor"))
    }

    /// What else there is to tell.
    pub(super) fn told(&self) -> String {
        let mut latencies = self.latencies.take();
        latencies.sort_unstable();
        let at = |share: usize| {
            let index = (latencies.len() * share / 100).min(latencies.len().saturating_sub(1));
            latencies.get(index).map_or(0, Duration::as_micros)
        };
        let stats = self.journal.stats();
        format!(
            "p50 {} us, p99 {} us; {} bytes a turn, {:.1} turns a commit",
            at(50),
            at(99),
            self.bytes_of_a_turn(),
            stats.turns as f64 / stats.commits.max(1) as f64
        )
    }

    /// Asks for so long, so many at once.
    pub(super) async fn run(&self, in_flight: usize, lasts: Duration) -> Result<Outcome, Failure> {
        let (span, done) = (Rc::new(Span::of(lasts)), Rc::new(Cell::new(0)));
        let askers: Vec<_> = (0..in_flight)
            .map(|asker| {
                let (client, actors) = (self.journal.client(), self.actors.clone());
                let (span, done) = (span.clone(), done.clone());
                tokio::task::spawn_local(async move {
                    let mut latencies = Vec::new();
                    let mut next = asker;
                    while !span.is_over() {
                        let begun = Instant::now();
                        client.send(&actors[next % actors.len()], Count).await?;
                        latencies.push(begun.elapsed());
                        done.set(done.get() + 1);
                        next += in_flight;
                    }
                    Ok::<_, actogen_journal::AskError>(latencies)
                })
            })
            .collect();
        for asker in askers {
            let asked = asker.await.map_err(Failure::ours("an asker"))?;
            self.latencies.borrow_mut().extend(asked.map_err(Failure::ours("asking an actor"))?);
        }
        Ok(span.rate(done.get()).into())
    }

    pub(super) async fn close(self) {
        self.journal.close().await;
    }
}
