//! How a line is, and what became of what went over it.

use std::time::Duration;

/// How a line between two contexts is.
///
/// ```
/// use actogen::testing::Conditions;
/// use std::time::Duration;
///
/// let radio = Conditions { delay: Duration::from_millis(30), loss: 0.02, ..Conditions::GOOD };
/// # assert!(radio != Conditions::GOOD);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// How long everything is on its way, each way.
    pub delay: Duration,
    /// A random part of this comes on top. What was sent earlier still arrives earlier.
    pub jitter: Duration,
    /// The share of datagrams that are lost, from 0 to 1.
    pub loss: f64,
    /// The share of datagrams that are held back for another [`delay`](Self::delay) and [`jitter`](Self::jitter), while those behind them pass.
    pub reorder: f64,
    /// The share of datagrams that arrive twice.
    pub duplicate: f64,
}

impl Conditions {
    /// Everything arrives, in its order, at once.
    pub const GOOD: Self = Self {
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        reorder: 0.0,
        duplicate: 0.0,
    };
}

impl Default for Conditions {
    fn default() -> Self {
        Self::GOOD
    }
}

/// How many datagrams went through a relay, and what became of the others. Those on their way are in none of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayStats {
    /// Passed on, a copy counted as another one.
    pub passed: u64,
    /// Lost by chance, as [`Conditions::loss`] says.
    pub lost: u64,
    /// Lost on a line that was cut.
    pub cut: u64,
    /// Dropped since too many bytes were on their way, or the system took no more.
    pub overflowed: u64,
    /// Held back, while others overtook them.
    pub held_back: u64,
    /// Copied.
    pub duplicated: u64,
}

impl std::ops::Add for RelayStats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            lost: self.lost + other.lost,
            cut: self.cut + other.cut,
            overflowed: self.overflowed + other.overflowed,
            held_back: self.held_back + other.held_back,
            duplicated: self.duplicated + other.duplicated,
        }
    }
}
