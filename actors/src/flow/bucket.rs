//! A bucket of tokens: one comes at even intervals, so many are kept, and each message takes one. A pure core: time is handed in.
//!
//! It keeps no count but a moment, the one at which it will be full again (the generic cell rate algorithm of ITU-T I.371): nothing has
//! to be refilled, and nothing is lost by rounding.

use std::time::Duration;

/// Tokens for messages.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Between two tokens.
    interval: Duration,
    /// What an empty bucket takes to be full.
    depth: Duration,
    full_at: Duration,
}

impl Bucket {
    /// A full bucket that holds `burst` tokens and gets `tokens` more in each `per`. Neither is ever less than one.
    pub(super) fn new(tokens: u32, per: Duration, burst: u32) -> Self {
        // Rounded up, so that never more go through than the limit says.
        let nanos = per.as_nanos().div_ceil(u128::from(tokens.max(1))).max(1);
        let interval = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        Self { interval, depth: interval.saturating_mul(burst.max(1)), full_at: Duration::ZERO }
    }

    /// Takes a token, or says how long it is until there is one.
    pub(super) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let wait = self.wait_behind(0, now);
        if wait.is_zero() {
            self.full_at = self.full_at.max(now).saturating_add(self.interval);
            return Ok(());
        }
        Err(wait)
    }

    /// How long it is until there is a token for whoever comes now, when so many are in front.
    pub(super) fn wait_behind(&self, others: u32, now: Duration) -> Duration {
        let taken = self.interval.saturating_mul(others.saturating_add(1));
        let full_at = self.full_at.max(now).saturating_add(taken);
        full_at.saturating_sub(self.depth).saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_goes_through_and_then_one_at_each_interval() {
        let mut bucket = Bucket::new(10, SECOND, 3);
        for _ in 0..3 {
            assert_eq!(bucket.take(ms(50)), Ok(()));
        }
        assert_eq!(bucket.take(ms(50)), Err(ms(100)));
        assert_eq!(bucket.take(ms(149)), Err(ms(1)));
        assert_eq!(bucket.take(ms(150)), Ok(()));
        assert_eq!(bucket.take(ms(150)), Err(ms(100)));
    }

    #[test]
    fn no_more_is_kept_than_a_burst() {
        let mut bucket = Bucket::new(1000, SECOND, 2);
        assert_eq!([bucket.take(ms(0)), bucket.take(ms(0))], [Ok(()); 2]);
        let later = ms(3_600_000);
        assert_eq!([bucket.take(later), bucket.take(later)], [Ok(()); 2]);
        assert_eq!(bucket.take(later), Err(ms(1)));
    }

    #[test]
    fn those_in_front_are_waited_for() {
        let mut bucket = Bucket::new(10, SECOND, 1);
        assert_eq!(bucket.wait_behind(2, ms(0)), ms(200));
        assert_eq!(bucket.take(ms(0)), Ok(()));
        assert_eq!(bucket.wait_behind(2, ms(0)), ms(300));
        assert_eq!(bucket.wait_behind(2, ms(90)), ms(210));
    }

    proptest! {
        /// In no span of time go more through than a burst and what comes in that span.
        #[test]
        fn no_span_has_more_than_its_share(
            (tokens, burst) in (1_u32..2000, 1_u32..50),
            steps in prop::collection::vec(0_u64..40_000_000, 1..300),
        ) {
            let mut bucket = Bucket::new(tokens, SECOND, burst);
            let mut now = Duration::ZERO;
            let mut passed = Vec::new();
            for step in steps {
                now += Duration::from_nanos(step);
                if bucket.take(now).is_ok() {
                    passed.push(now);
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, to) in passed.iter().enumerate().skip(first) {
                    let share = f64::from(burst) + (*to - *from).as_secs_f64() * f64::from(tokens);
                    prop_assert!((last - first + 1) as f64 <= share + 1e-6);
                }
            }
        }
    }
}
