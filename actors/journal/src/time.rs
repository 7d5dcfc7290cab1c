//! The journal's time: milliseconds since 1970, by a clock that never goes back while the process lives.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A point in time, in milliseconds since 1970.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub(crate) struct Millis(pub(crate) u64);

impl Millis {
    pub(crate) fn after(self, delay: Duration) -> Self {
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(delay))
    }

    pub(crate) fn before(self, time: Duration) -> Self {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(time))
    }

    pub(crate) fn until(self, later: Self) -> Duration {
        Duration::from_millis(later.0.saturating_sub(self.0))
    }
}

impl From<Millis> for SystemTime {
    fn from(Millis(millis): Millis) -> Self {
        UNIX_EPOCH + Duration::from_millis(millis)
    }
}

/// The system's time when the journal was opened, and from then on the time that has passed: adjusting the system's clock moves no timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    opened: Millis,
    since: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let opened = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let opened = Millis(u64::try_from(opened.as_millis()).unwrap_or(u64::MAX));
        Self { opened, since: Instant::now() }
    }

    pub(crate) fn opened(&self) -> Millis {
        self.opened
    }

    pub(crate) fn now(&self) -> Millis {
        self.opened.after(self.since.elapsed())
    }
}
