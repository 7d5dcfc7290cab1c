//! How long a work lasts, and what is made of times.

use std::time::{Duration, Instant};

use crate::note::SMALL;

/// A run's time.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    began: Instant,
    lasts: Duration,
}

impl Span {
    /// Begins now.
    pub fn of(lasts: Duration) -> Self {
        Self { began: Instant::now(), lasts }
    }

    /// Whether nothing more is to be sent.
    pub fn is_over(&self) -> bool {
        self.began.elapsed() >= self.lasts
    }

    /// How many a second, of what was done from the beginning until now.
    pub fn rate(&self, done: u64) -> f64 {
        self.rate_until(done, Instant::now())
    }

    /// How many a second, of what was done from the beginning until then.
    pub fn rate_until(&self, done: u64, then: Instant) -> f64 {
        done as f64 / then.duration_since(self.began).as_secs_f64()
    }
}

/// How many messages of this size are sent between two looks at the clock, which costs as much as a small message does.
pub fn stride(bytes: usize) -> u64 {
    (64 * SMALL / bytes).max(1) as u64
}

/// The 50th and 99th percentile (nearest rank) of times in nanoseconds, in microseconds; `None` of nothing.
pub fn percentiles(mut nanoseconds: Vec<u64>) -> Option<[f64; 2]> {
    nanoseconds.sort_unstable();
    let of = |percent: usize| {
        let rank = (nanoseconds.len() * percent).div_ceil(100);
        nanoseconds.get(rank.saturating_sub(1)).map(|time| *time as f64 / 1000.0)
    };
    Some([of(50)?, of(99)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::MEDIUM;

    #[test]
    fn percentiles_are_by_nearest_rank_and_in_microseconds() {
        assert_eq!(percentiles((1..=100).rev().map(|n| n * 1000).collect()), Some([50.0, 99.0]));
        assert_eq!(percentiles(vec![5000]), Some([5.0, 5.0]));
        assert_eq!(percentiles(Vec::new()), None);
    }

    #[test]
    fn rates_are_per_second() {
        let span = Span::of(Duration::ZERO);
        assert!(span.is_over());
        let then = span.began + Duration::from_millis(500);
        assert_eq!(span.rate_until(100, then), 200.0);
    }

    #[test]
    fn the_clock_is_read_less_often_between_small_messages() {
        assert_eq!([stride(SMALL), stride(MEDIUM), stride(1 << 20)], [64, 4, 1]);
    }
}
