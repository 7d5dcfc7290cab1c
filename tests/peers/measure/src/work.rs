//! What there is to do, and the measures that it gives.

use std::time::Duration;

use crate::note::{MEDIUM, SMALL};

/// Requests under way at once where not one alone is.
pub const IN_FLIGHT: usize = 64;

/// Where sender and receiver are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In two processes on the loopback.
    Remote,
    /// On one thread.
    SameArbiter,
    /// In one process, each on a thread of its own.
    CrossArbiter,
}

/// What they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One-way messages of this many bytes, as fast as they are taken, until all have been handled.
    Tell(usize),
    /// Requests of [`SMALL`] bytes, so many unanswered at any time.
    Ask(usize),
    /// A program, again and again ([`savina`](crate::savina)).
    Play(Program),
}

/// One of Savina's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are known by these names")]
pub enum Program {
    PingPong,
    Counting,
    ForkJoin,
    ThreadRing,
    Big,
    Bank,
    BoundedBuffer,
}

/// Whether more or less of a measure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is.
    Higher,
    /// Less is.
    Lower,
}

/// One figure of a work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// As `actogen-bench` calls it, where it has the same one.
    pub name: &'static str,
    /// What the figure counts.
    pub unit: &'static str,
    /// Which way to look at a ratio.
    pub better: Better,
}

/// A work with the measures that its figures are, in their order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Its name in an [`Order`](crate::order::Order).
    pub name: &'static str,
    /// Where sender and receiver are.
    pub place: Place,
    /// What they do.
    pub kind: Kind,
    /// What its figures are.
    pub measures: &'static [Measure],
}

const fn rate(name: &'static str, unit: &'static str) -> Measure {
    Measure { name, unit, better: Better::Higher }
}

const fn time(name: &'static str) -> Measure {
    Measure { name, unit: "us", better: Better::Lower }
}

const fn work(name: &'static str, place: Place, kind: Kind, measures: &'static [Measure]) -> Work {
    Work { name, place, kind, measures }
}

const MESSAGES: &str = "messages/s";

const fn play(name: &'static str, program: Program, measures: &'static [Measure]) -> Work {
    work(name, Place::SameArbiter, Kind::Play(program), measures)
}

const fn play_on_two(name: &'static str, program: Program, measures: &'static [Measure]) -> Work {
    work(name, Place::CrossArbiter, Kind::Play(program), measures)
}

/// Every work there is.
pub const WORKS: &[Work] = &[
    work("tell64", Place::Remote, Kind::Tell(SMALL), &[rate("tell64", "messages/s")]),
    work("tell1k", Place::Remote, Kind::Tell(MEDIUM), &[rate("tell1k", "messages/s")]),
    work("ask64", Place::Remote, Kind::Ask(1), &[time("ask64_p50"), time("ask64_p99")]),
    work("ask64_x64", Place::Remote, Kind::Ask(IN_FLIGHT), &[rate("ask64_x64", "requests/s")]),
    work(
        "tell_same_arbiter",
        Place::SameArbiter,
        Kind::Tell(SMALL),
        &[rate("tell_same_arbiter", "messages/s")],
    ),
    work(
        "tell_cross_arbiter",
        Place::CrossArbiter,
        Kind::Tell(SMALL),
        &[rate("tell_cross_arbiter", "messages/s")],
    ),
    work(
        "ask_same_arbiter",
        Place::SameArbiter,
        Kind::Ask(1),
        &[time("ask_same_arbiter_p50"), time("ask_same_arbiter_p99")],
    ),
    work(
        "ask_cross_arbiter",
        Place::CrossArbiter,
        Kind::Ask(1),
        &[time("ask_cross_arbiter_p50"), time("ask_cross_arbiter_p99")],
    ),
    play("pingpong_local", Program::PingPong, &[rate("pingpong_local", MESSAGES)]),
    play("counting_local", Program::Counting, &[rate("counting_local", MESSAGES)]),
    play("forkjoin_local", Program::ForkJoin, &[rate("forkjoin_local", MESSAGES)]),
    play("threadring_local", Program::ThreadRing, &[rate("threadring_local", MESSAGES)]),
    play("big_local", Program::Big, &[rate("big_local", MESSAGES)]),
    play("bank_local", Program::Bank, &[rate("bank_local", MESSAGES)]),
    play("boundedbuffer_local", Program::BoundedBuffer, &[rate("boundedbuffer_local", MESSAGES)]),
    play_on_two("forkjoin_two", Program::ForkJoin, &[rate("forkjoin_two", MESSAGES)]),
    play_on_two("big_two", Program::Big, &[rate("big_two", MESSAGES)]),
    play_on_two("bank_two", Program::Bank, &[rate("bank_two", MESSAGES)]),
];

impl Work {
    /// The work of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        WORKS.iter().find(|work| work.name == name)
    }
}

/// What came of a work.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// As many as the work has measures, in their order.
    pub figures: Vec<f64>,
    /// Messages, or requests, that were sent.
    pub sent: u64,
    /// Messages that were handled, or requests that were answered.
    pub handled: u64,
}

/// Does works.
pub trait Worker {
    /// Does a work for so long, one for which [`Worker::without`] has no reason.
    ///
    /// # Errors
    /// What went wrong, losses excepted: these are in the outcome.
    fn run(
        &self,
        work: &Work,
        lasts: Duration,
    ) -> impl Future<Output = Result<Outcome, crate::Error>>;

    /// Why this work has no meaning here, if it has none; then it is never run.
    fn without(&self, work: &Work) -> Option<&'static str>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_work_and_each_measure_has_its_own_name() {
        let mut works: Vec<_> = WORKS.iter().map(|work| work.name).collect();
        let measures = WORKS.iter().flat_map(|work| work.measures);
        let mut measures: Vec<_> = measures.map(|measure| measure.name).collect();
        for names in [&mut works, &mut measures] {
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all);
        }
        assert_eq!(Work::find("ask64").map(|work| work.measures.len()), Some(2));
        assert_eq!(Work::find("ask65"), None);
    }

    #[test]
    fn sequential_requests_give_two_figures_and_all_else_one() {
        for work in WORKS {
            let figures = if work.kind == Kind::Ask(1) { 2 } else { 1 };
            assert_eq!(work.measures.len(), figures, "{}", work.name);
        }
    }
}
