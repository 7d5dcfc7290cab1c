//! The works that are done by both, ours and the reference, and how long.

use std::time::{Duration, Instant};

use crate::note::SMALL;

/// A kind of work between two processes. What its figures mean is said by [`Workload::figures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// One-way messages of this many bytes, as fast as they are taken, until all have been handled.
    Tell(usize),
    /// Requests of [`SMALL`] bytes, each sent when the one before is answered.
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

impl Workload {
    /// What a run gives, in this order.
    pub(crate) fn figures(self) -> usize {
        match self {
            // The 50th and the 99th percentile.
            Self::Ask => 2,
            Self::Tell(_) | Self::AskInFlight | Self::Bulk | Self::Allocations => 1,
        }
    }
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

/// Requests' times, in nanoseconds, as the figures of [`Workload::Ask`] in microseconds.
pub(crate) fn latencies(mut nanoseconds: Vec<u64>) -> Option<Vec<f64>> {
    [50, 99]
        .into_iter()
        .map(|percent| crate::statistics::percentile(&mut nanoseconds, percent))
        .map(|time| time.map(|time| time as f64 / 1000.0))
        .collect()
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
        let figures = latencies((1..=100).map(|n| n * 1000).collect()).unwrap();
        assert_eq!(figures, [50.0, 99.0]);
        assert_eq!(figures.len(), Workload::Ask.figures());
        assert_eq!(latencies(Vec::new()), None);
    }
}
