//! What has become of messages.

use std::{
    fmt,
    ops::{Add, Sub},
};

use serde::{Deserialize, Serialize};

/// Counters of one context, or the sums of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accounts {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) refused: u64,
    pub(super) dead: u64,
    pub(super) unknown: u64,
}

impl Accounts {
    pub(super) fn of(stats: &actogen::Stats) -> Self {
        let &actogen::Stats { sent, delivered, refused, unknown, .. } = stats;
        Self { sent, delivered, refused, dead: stats.dead(), unknown }
    }

    /// Whether every message is accounted for (protocol rule 22).
    pub(super) fn balance(&self) -> bool {
        self.sent == self.delivered + self.refused + self.dead + self.unknown
    }

    fn with(self, other: Self, change: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            sent: change(self.sent, other.sent),
            delivered: change(self.delivered, other.delivered),
            refused: change(self.refused, other.refused),
            dead: change(self.dead, other.dead),
            unknown: change(self.unknown, other.unknown),
        }
    }
}

impl Add for Accounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
}

impl Sub for Accounts {
    type Output = Self;

    /// What came since an earlier reading.
    fn sub(self, earlier: Self) -> Self {
        self.with(earlier, |now, then| now - then)
    }
}

impl fmt::Display for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, delivered, refused, dead, unknown } = self;
        write!(
            f,
            "{sent} sent, {delivered} delivered, {refused} refused, {dead} dead, {unknown} unknown"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_over_all_contexts_is_what_was_sent() {
        let here = Accounts { sent: 10, refused: 3, dead: 2, ..Accounts::default() };
        let there = Accounts { delivered: 4, dead: 1, ..Accounts::default() };
        assert!(!here.balance() && (here + there).balance());
        let later = here + Accounts { sent: 1, ..Accounts::default() };
        assert!(!(later + there).balance());
        assert_eq!(later - here, Accounts { sent: 1, ..Accounts::default() });
        let lost = later + there + Accounts { unknown: 1, ..Accounts::default() };
        assert!(lost.balance());
    }
}
