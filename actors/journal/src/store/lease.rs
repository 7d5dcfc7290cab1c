//! How a journal knows that it is still its store's only writer.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::StoreError;

/// Of a lease's time so much is not used, in parts of a hundred: clocks do not run equally fast.
const SPARED: u32 = 10;

/// A lease on a store that others can reach as well: for a time nobody else takes the store over.
///
/// A commit needs none of this, since the store checks it itself. An answer that comes of memory alone does: another writer may have changed what it
/// says. Clones are the same lease; the store renews it, and the journal looks.
#[derive(Clone, Default)]
pub struct Lease(Arc<watch::Sender<Term>>);

#[derive(Clone, Debug, Default)]
struct Term {
    /// From when on, and how long.
    held: Option<(Asked, Duration)>,
    lost: Option<StoreError>,
}

/// When a lease was asked for: its time runs from here, since whoever grants it may do so at once and be slow to say it.
///
/// By two clocks. The first stands still while the machine is suspended, and the second may be set back.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    steady: Instant,
    wall: SystemTime,
}

impl Asked {
    /// Now.
    pub fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// The longer of the times that the two clocks tell.
    fn elapsed(self) -> Duration {
        self.steady.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("is_held", &self.is_held()).finish_non_exhaustive()
    }
}

impl Lease {
    /// It was asked for then, and granted for this time.
    pub fn grant(&self, asked: Asked, time: Duration) {
        self.0.send_modify(|term| term.held = Some((asked, time)));
    }

    /// It is over for good, whatever its time.
    pub fn lose(&self, why: StoreError) {
        self.0.send_modify(|term| {
            term.held = None;
            term.lost.get_or_insert(why);
        });
    }

    /// Whether nobody else can have taken the store over yet. A tenth of the time is left out.
    pub fn is_held(&self) -> bool {
        let term = self.0.borrow();
        let within = |(asked, time): (Asked, Duration)| {
            asked.elapsed() < time.saturating_mul(100 - SPARED) / 100
        };
        term.held.is_some_and(within)
    }

    /// Waits until it is over for good, and says why.
    pub async fn lost(&self) -> StoreError {
        let mut terms = self.0.subscribe();
        let lost = terms.wait_for(|term| term.lost.is_some()).await;
        // The sender lives as long as this does.
        lost.ok().and_then(|term| term.lost.clone()).unwrap_or(StoreError::Fenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_held_for_its_time_from_when_it_was_asked_for() {
        let lease = Lease::default();
        assert!(!lease.is_held(), "nobody has granted it");
        lease.grant(Asked::now(), Duration::from_secs(60));
        assert!(lease.is_held());
        let minute_ago = |steady, wall| {
            let (mut asked, minute) = (Asked::now(), Duration::from_secs(60));
            if steady {
                asked.steady -= minute;
            }
            if wall {
                asked.wall -= minute;
            }
            asked
        };
        for asked in [minute_ago(true, false), minute_ago(false, true)] {
            lease.grant(asked, Duration::from_secs(63));
            assert!(!lease.is_held(), "{asked:?}");
            lease.grant(asked, Duration::from_secs(90));
            assert!(lease.is_held(), "{asked:?}");
        }
    }

    #[tokio::test]
    async fn a_lease_that_is_lost_stays_so() {
        let lease = Lease::default();
        let other = lease.clone();
        let waiting = tokio::spawn(async move { other.lost().await });
        lease.lose(StoreError::Fenced);
        lease.lose(StoreError::Failed("later".to_owned()));
        assert_eq!(waiting.await.unwrap(), StoreError::Fenced);
        assert!(!lease.is_held());
    }
}
