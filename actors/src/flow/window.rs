//! How often two kinds of things have happened in the last span of time. A pure core: time is handed in.
//!
//! The span moves in tenths, so that the memory is the same however much happens: what is counted is at most the span old, and all that is
//! at most nine tenths of it old is counted.

use std::time::Duration;

const SLICES: usize = 10;

/// Counts of the last span.
#[derive(Clone, Debug)]
pub(super) struct Window {
    slice: Duration,
    counts: [[u64; 2]; SLICES],
    /// The number of the slice that was counted in last.
    newest: u64,
}

impl Window {
    pub(super) fn new(span: Duration) -> Self {
        let slice = (span / SLICES as u32).max(Duration::from_nanos(1));
        Self { slice, counts: [[0; 2]; SLICES], newest: 0 }
    }

    fn advance(&mut self, now: Duration) {
        let number = now.as_nanos() / self.slice.as_nanos();
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        let passed = number.saturating_sub(self.newest).min(SLICES as u64);
        for back in 0..passed {
            self.counts[((number - back) % SLICES as u64) as usize] = [0; 2];
        }
        self.newest = self.newest.max(number);
    }

    /// Counts one of the first kind (0) or the second (1).
    pub(super) fn add(&mut self, kind: usize, now: Duration) {
        self.advance(now);
        self.counts[(self.newest % SLICES as u64) as usize][kind] += 1;
    }

    /// How many there were of each kind.
    pub(super) fn sums(&mut self, now: Duration) -> [u64; 2] {
        self.advance(now);
        self.counts.iter().fold([0; 2], |sums, counts| [sums[0] + counts[0], sums[1] + counts[1]])
    }

    pub(super) fn clear(&mut self) {
        self.counts = [[0; 2]; SLICES];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_is_older_than_the_span_is_forgotten() {
        let mut window = Window::new(ms(1000));
        window.add(0, ms(0));
        window.add(1, ms(450));
        window.add(1, ms(999));
        assert_eq!(window.sums(ms(999)), [1, 2]);
        assert_eq!(window.sums(ms(1000)), [0, 2]);
        assert_eq!(window.sums(ms(1399)), [0, 2]);
        assert_eq!(window.sums(ms(1400)), [0, 1]);
        assert_eq!(window.sums(ms(1_000_000)), [0, 0]);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_loses_nothing() {
        let mut window = Window::new(ms(10));
        window.add(0, ms(100));
        window.add(0, ms(50));
        assert_eq!(window.sums(ms(100)), [2, 0]);
        window.clear();
        assert_eq!(window.sums(ms(100)), [0, 0]);
    }

    #[test]
    fn a_span_of_nothing_counts_the_present() {
        let mut window = Window::new(Duration::ZERO);
        window.add(0, ms(1));
        assert_eq!(window.sums(ms(1)), [1, 0]);
        assert_eq!(window.sums(ms(2)), [0, 0]);
    }
}
