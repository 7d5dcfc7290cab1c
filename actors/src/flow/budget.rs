//! A budget for retries: so many for a hundred first attempts, and a few in any case. A pure core, and the shared handle on it.
//!
//! Retries are meant for few failures. When everything fails, retries multiply the load on what is already in trouble; a budget that all
//! senders share ends that, whatever each of them would do by itself.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::window::Window;

const FIRSTS: usize = 0;
const RETRIES: usize = 1;

/// What retries may be spent by all who share this: some for each hundred first attempts of the last while, and a minimum. Clones are handles
/// on the same budget.
///
/// The default allows 10 % and, beside those, 10 retries in ten seconds.
#[derive(Clone)]
pub struct RetryBudget {
    begun: Instant,
    budget: Arc<Mutex<Budget>>,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self::new(10, 10, Duration::from_secs(10))
    }
}

impl RetryBudget {
    /// A retry for each hundred first attempts times `percent`, and `minimum` beside those, in any span of this length. The span moves in
    /// tenths.
    pub fn new(percent: u32, minimum: u32, span: Duration) -> Self {
        let budget = Budget { percent, minimum, window: Window::new(span), refused: 0 };
        Self { begun: Instant::now(), budget: Arc::new(Mutex::new(budget)) }
    }

    /// How many retries were refused.
    pub fn refused(&self) -> u64 {
        self.budget.lock().refused
    }

    pub(super) fn first(&self) {
        self.budget.lock().first(self.begun.elapsed());
    }

    pub(super) fn retry(&self) -> bool {
        self.budget.lock().retry(self.begun.elapsed())
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = self.budget.lock();
        f.debug_struct("RetryBudget")
            .field("percent", &budget.percent)
            .field("minimum", &budget.minimum)
            .field("refused", &budget.refused)
            .finish_non_exhaustive()
    }
}

struct Budget {
    percent: u32,
    minimum: u32,
    window: Window,
    refused: u64,
}

impl Budget {
    fn first(&mut self, now: Duration) {
        self.window.add(FIRSTS, now);
    }

    /// Spends a retry; false if none is left.
    fn retry(&mut self, now: Duration) -> bool {
        let [firsts, retries] = self.window.sums(now);
        let share = firsts.saturating_mul(self.percent.into()) / 100;
        if retries >= share.saturating_add(self.minimum.into()) {
            self.refused += 1;
            return false;
        }
        self.window.add(RETRIES, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_first_attempts_and_a_minimum_may_be_spent() {
        let second = Duration::from_secs(1);
        let mut budget =
            Budget { percent: 10, minimum: 2, window: Window::new(10 * second), refused: 0 };
        assert!(budget.retry(second) && budget.retry(second));
        assert!(!budget.retry(second), "that was the minimum");
        for _ in 0..39 {
            budget.first(2 * second);
        }
        for _ in 0..3 {
            assert!(budget.retry(2 * second));
        }
        assert!(!budget.retry(2 * second));
        assert_eq!(budget.refused, 2);
        // What was spent in the first second is forgotten, what was earned in the next is not.
        assert!(budget.retry(11 * second) && budget.retry(11 * second));
        assert!(!budget.retry(11 * second));
        assert!(budget.retry(60 * second) && budget.retry(60 * second));
        assert!(!budget.retry(60 * second), "the minimum is left");
    }
}
