//! Time as the core sees it: an argument, never a clock.

use std::{
    fmt,
    ops::{Add, Sub},
    time::Duration,
};

/// A point on the host's monotonic clock, as the time since the context started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(Duration);

impl Moment {
    /// The start of the context.
    pub const START: Self = Self(Duration::ZERO);

    /// The moment that lies this long after the context's start.
    pub const fn after_start(since: Duration) -> Self {
        Self(since)
    }

    /// How long after the context's start this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Moment {
    type Output = Duration;
    /// How long before `self` the other moment was; zero if it was later.
    fn sub(self, rhs: Self) -> Duration {
        self.0.saturating_sub(rhs.0)
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{:?}", self.0)
    }
}
