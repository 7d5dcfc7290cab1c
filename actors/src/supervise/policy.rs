//! How a supervisor judges: which children go down together, who is begun anew, how often, and how soon.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which children begin anew when one has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Strategy {
    /// That one.
    #[default]
    OneForOne,
    /// All: they are ended, the last first, and begun again in order.
    OneForAll,
    /// That one and those added behind it, which may count on it.
    RestForOne,
}

/// Whether a child whose life is over gets another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Unless it ended normally.
    Transient,
    /// Never.
    Temporary,
}

/// How many failures a supervisor bears before it gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intensity {
    /// So many lives may be begun anew, of all children together,
    pub(super) restarts: u32,
    /// within any span of this length.
    pub(super) within: Duration,
    /// So often in a row one child may fail to start.
    pub(super) start_attempts: u32,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { restarts: 3, within: Duration::from_secs(5), start_attempts: 5 }
    }
}

/// How long is waited before a life is begun anew: a random part ("full jitter") of a time that doubles with each failure in a row, so
/// that many children that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub first: Duration,
    /// The longest wait at all.
    pub most: Duration,
    /// A life of this length was no failure in a row: the next wait is short again.
    pub stable_after: Duration,
}

impl Default for Backoff {
    /// Up to 100 ms, then up to twice as much each time until 30 s; a life of a minute counts as stable.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            most: Duration::from_secs(30),
            stable_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// From `first`, doubling, up to `most`; a life of `stable_after` begins the row anew.
    pub const fn new(first: Duration, most: Duration, stable_after: Duration) -> Self {
        Self { first, most, stable_after }
    }

    /// No wait at all.
    pub const fn none() -> Self {
        Self::new(Duration::ZERO, Duration::ZERO, Duration::MAX)
    }

    /// The wait after so many failures in a row before this one; `chance` is from 0 to 1.
    pub(crate) fn delay(&self, failures: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.min(31)));
        doubled.min(self.most).mul_f64(chance.clamp(0.0, 1.0))
    }
}

/// A number from 0 to 1 that nobody can guess, and that a simulation repeats.
pub(crate) fn chance(context: &actogen_runtime::Context) -> f64 {
    (context.fresh_number() >> 11) as f64 / (1_u64 << 53) as f64
}
