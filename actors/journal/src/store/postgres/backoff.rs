//! How long until a server is asked again.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Pauses that double, up to an end.
#[derive(Debug)]
pub(super) struct Backoff {
    end: Instant,
    pause: Duration,
}

impl Backoff {
    /// Pauses until this time from now is over.
    pub(super) fn within(time: Duration) -> Self {
        Self { end: Instant::now() + time, pause: PAUSES.0 }
    }

    /// Pauses; whether there is time left.
    pub(super) async fn pause(&mut self) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        // Of many nodes that lose one server not all come back at once. Without chance they do, and no worse.
        let chance = getrandom::u32().unwrap_or(u32::MAX);
        let half = self.pause / 2;
        let pause = half + half.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        tokio::time::sleep(pause.min(left)).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_come_to_an_end() {
        let begun = Instant::now();
        let mut backoff = Backoff::within(Duration::from_secs(10));
        let mut pauses = 0;
        while backoff.pause().await {
            pauses += 1;
        }
        assert_eq!(begun.elapsed().as_secs(), 10);
        assert!((9..30).contains(&pauses), "{pauses}");
    }
}
