//! The works that are done by both, ours and the reference, and how long.

use std::time::{Duration, Instant};

use crate::{note::SMALL, statistics};

/// A kind of work between two processes. Each gives one figure but [`Workload::Ask`], which gives two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// One-way messages of this many bytes, as fast as they are taken, until all have been handled.
    Tell(usize),
    /// Requests of [`SMALL`] bytes, each sent when the one before is answered: the 50th and the 99th percentile of their times.
    Ask,
    /// Requests of [`SMALL`] bytes, [`IN_FLIGHT`] unanswered at any time.
    AskInFlight,
    /// One-way messages with a payload of [`LARGE`](crate::note::LARGE) bytes, each handled as one owned, contiguous buffer.
    Bulk,
    /// Allocations of one-way messages of [`SMALL`] bytes, in both processes together.
    Allocations,
}

/// Requests under way at once in [`Workload::AskInFlight`].
pub(crate) const IN_FLIGHT: usize = 64;

/// How many messages of this size are sent between two looks at the clock, which costs as much as a small message does.
pub(crate) fn stride(bytes: usize) -> u64 {
    (64 * SMALL / bytes).max(1) as u64
}

/// How long a run lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    began: Instant,
    lasts: Duration,
}

impl Span {
    /// Begins now.
    pub(crate) fn of(lasts: Duration) -> Self {
        Self { began: Instant::now(), lasts }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.began.elapsed() >= self.lasts
    }

    /// How many a second: of what was done from the beginning until now, which is later than the end by what was still under way.
    pub(crate) fn rate(&self, done: u64) -> f64 {
        done as f64 / self.began.elapsed().as_secs_f64()
    }
}

/// What a run gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// As many as there are measures.
    pub(crate) figures: Vec<f64>,
    /// The distribution of the times that requests took, in microseconds, at [`crate::statistics::SHARES`]; empty where none is kept.
    pub(crate) distribution: Vec<f64>,
}

impl From<f64> for Outcome {
    fn from(figure: f64) -> Self {
        Self { figures: vec![figure], distribution: Vec::new() }
    }
}

/// Requests' times, in nanoseconds, as the outcome of [`Workload::Ask`]: its figures in microseconds, of which there are none without a
/// request, and the distribution.
pub(crate) fn latencies(mut nanoseconds: Vec<u64>) -> Outcome {
    let microseconds = |time: u64| time as f64 / 1000.0;
    let figures =
        [50, 99].iter().filter_map(|&percent| statistics::percentile(&mut nanoseconds, percent));
    let figures = figures.map(microseconds).collect();
    let distribution = statistics::distribution(&mut nanoseconds);
    Outcome { figures, distribution: distribution.into_iter().map(microseconds).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::MEDIUM;

    #[test]
    fn the_clock_is_read_less_often_between_small_messages() {
        assert_eq!(stride(SMALL), 64);
        assert_eq!(stride(MEDIUM), 4);
        assert_eq!(stride(1 << 20), 1);
    }

    #[test]
    fn latencies_are_percentiles_in_microseconds() {
        let outcome = latencies((1..=100).map(|n| n * 1000).collect());
        assert_eq!(outcome.figures, [50.0, 99.0]);
        assert_eq!(outcome.distribution.len(), statistics::SHARES.len());
        assert_eq!(outcome.distribution[7], 50.0);
        assert_eq!(latencies(Vec::new()), Outcome::default());
    }
}
