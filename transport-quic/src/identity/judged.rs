//! Certificates that have passed. Who signs many messages shows the same certificate with each, and its chain takes as long to check as the message's own
//! signature does.
//!
//! Only what does not change is remembered: that the authority has issued these very bytes, whom they are of, and from when until when they are
//! in force. Time and revocation are looked at again with each use.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use actogen_core::id::ContextId;
use actogen_runtime::names::ContextNames;

/// So many are remembered, each of at most 8 KiB; then the one that passed first is forgotten.
const MOST_JUDGED: usize = 256;

/// What a certificate says that has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) context: ContextId,
    pub(super) names: ContextNames,
    /// From when until when it is in force, both included, since 1970.
    pub(super) in_force: (Duration, Duration),
}

impl Standing {
    /// Whether it is in force at a time since 1970, if clocks may be apart by `slack`.
    pub(super) fn is_in_force(&self, now: Duration, slack: Duration) -> bool {
        let (from, until) = self.in_force;
        from.saturating_sub(slack) <= now && now <= until.saturating_add(slack)
    }
}

/// The certificates that have passed last, by all of their bytes.
#[derive(Debug, Default)]
pub(super) struct Judged {
    standings: HashMap<Arc<[u8]>, Standing>,
    order: VecDeque<Arc<[u8]>>,
}

impl Judged {
    pub(super) fn find(&self, certificate: &[u8]) -> Option<&Standing> {
        self.standings.get(certificate)
    }

    pub(super) fn passed(&mut self, certificate: &[u8], standing: Standing) {
        let certificate: Arc<[u8]> = certificate.into();
        if self.standings.insert(certificate.clone(), standing).is_some() {
            return;
        }
        self.order.push_back(certificate);
        if self.order.len() > MOST_JUDGED
            && let Some(oldest) = self.order.pop_front()
        {
            self.standings.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(context: u64) -> Standing {
        let in_force = (Duration::from_secs(100), Duration::from_secs(200));
        Standing { context: ContextId(context), names: ContextNames::default(), in_force }
    }

    #[test]
    fn both_ends_of_its_time_are_part_of_it_and_clocks_may_be_apart() {
        let is_in_force = |now, slack| {
            standing(1).is_in_force(Duration::from_secs(now), Duration::from_secs(slack))
        };
        let of = |slack| [94, 95, 99, 100, 200, 201, 205, 206].map(|now| is_in_force(now, slack));
        assert_eq!(of(0), [false, false, false, true, true, false, false, false]);
        assert_eq!(of(5), [false, true, true, true, true, true, true, false]);
    }

    #[test]
    fn those_that_passed_last_are_remembered_each_once() {
        let mut judged = Judged::default();
        for number in 0..=MOST_JUDGED as u64 {
            judged.passed(&number.to_le_bytes(), standing(number));
            judged.passed(&number.to_le_bytes(), standing(number));
        }
        assert_eq!(judged.find(&0_u64.to_le_bytes()), None);
        assert_eq!(judged.find(&1_u64.to_le_bytes()), Some(&standing(1)));
        assert_eq!((judged.standings.len(), judged.order.len()), (MOST_JUDGED, MOST_JUDGED));
    }
}
