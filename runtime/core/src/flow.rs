//! Pausing senders: what a mailbox that fills up tells those who fill it, and what these keep in mind (protocol rule 17).
//!
//! A mailbox that is a third full tells each context that sends to it to pause; when it has drained to a sixth, it tells them to
//! go on. What is on its way meanwhile finds room in the rest. A pause is a lease: it ends by itself unless it is renewed, so
//! that a lost word hangs nobody. It is accepted only for mailboxes of the context that says it, since its key holds that context.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    id::{ContextId, Handle},
    time::Moment,
};

/// How long a pause lasts unless it is renewed.
pub const LEASE: Duration = Duration::from_secs(5);

/// How often a mailbox that stays full renews its pauses.
pub const RENEW: Duration = Duration::from_secs(2);

/// The pauses that others have asked of this context: a sender's side.
#[derive(Debug)]
pub struct Pauses {
    limit: usize,
    leases: BTreeMap<(ContextId, Handle), Moment>,
}

impl Pauses {
    /// None yet, and never more than `limit`: a pause beyond that is ignored, and its mailbox refuses what it cannot hold.
    pub fn new(limit: usize) -> Self {
        Self { limit, leases: BTreeMap::new() }
    }

    /// A mailbox asks for a pause, or renews it.
    pub fn pause(&mut self, now: Moment, context: ContextId, handle: Handle) {
        if self.leases.len() >= self.limit {
            self.leases.retain(|_, until| *until > now);
        }
        if self.leases.len() < self.limit || self.leases.contains_key(&(context, handle)) {
            self.leases.insert((context, handle), now + LEASE);
        }
    }

    /// A mailbox has room again; true if it was paused.
    pub fn resume(&mut self, context: ContextId, handle: Handle) -> bool {
        self.leases.remove(&(context, handle)).is_some()
    }

    /// How long a mailbox is still paused, unless it resumes before.
    pub fn left(&mut self, now: Moment, context: ContextId, handle: Handle) -> Option<Duration> {
        let until = *self.leases.get(&(context, handle))?;
        let left = until - now;
        if left.is_zero() {
            self.leases.remove(&(context, handle));
            return None;
        }
        Some(left)
    }

    /// A context is gone, and its pauses with it.
    pub fn forget(&mut self, context: ContextId) {
        self.leases.retain(|&(paused, _), _| paused != context);
    }

    /// How many mailboxes are paused.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

/// Whom one mailbox has asked to pause: a receiver's side.
#[derive(Debug, Default)]
pub struct Pressure {
    told: BTreeSet<ContextId>,
}

/// The most senders that one mailbox pauses; those beyond meet its bound.
const MAX_TOLD: usize = 1024;

impl Pressure {
    /// A message of this source has come while the mailbox is over its mark; true if the source shall be told to pause.
    pub fn press(&mut self, source: ContextId) -> bool {
        self.told.len() < MAX_TOLD && self.told.insert(source)
    }

    /// Those who are paused now.
    pub fn told(&self) -> impl Iterator<Item = ContextId> + '_ {
        self.told.iter().copied()
    }

    /// The mailbox has drained: gives those who shall be told to go on.
    pub fn ease(&mut self) -> BTreeSet<ContextId> {
        std::mem::take(&mut self.told)
    }

    /// Whether somebody is paused.
    pub fn is_on(&self) -> bool {
        !self.told.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: ContextId = ContextId(2);
    const BOX: Handle = Handle(4000);

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_pause_ends_when_it_is_resumed_or_its_lease_is_over() {
        let mut pauses = Pauses::new(10);
        pauses.pause(at(0), B, BOX);
        assert_eq!(pauses.left(at(1), B, BOX), Some(Duration::from_secs(4)));
        assert_eq!(
            pauses.left(at(1), ContextId(3), BOX),
            None,
            "another context's mailbox of that handle is not meant"
        );
        pauses.pause(at(2), B, BOX);
        assert_eq!(pauses.left(at(6), B, BOX), Some(Duration::from_secs(1)), "it was renewed");
        assert_eq!(pauses.left(at(7), B, BOX), None);
        assert!(pauses.is_empty());
        pauses.pause(at(8), B, BOX);
        assert!(pauses.resume(B, BOX) && !pauses.resume(B, BOX));
        assert_eq!(pauses.left(at(8), B, BOX), None);
    }

    #[test]
    fn pauses_are_bounded_and_go_with_their_context() {
        let mut pauses = Pauses::new(2);
        for handle in 0..5 {
            pauses.pause(at(0), B, Handle(4000 + handle));
        }
        assert_eq!(pauses.len(), 2);
        pauses.pause(at(1), B, BOX);
        assert_eq!(pauses.left(at(1), B, BOX), Some(LEASE), "one that is there can be renewed");
        pauses.pause(at(9), ContextId(3), BOX);
        assert_eq!(pauses.len(), 1, "what is over makes room");
        pauses.pause(at(9), B, BOX);
        pauses.forget(ContextId(3));
        assert!(!pauses.is_empty() && pauses.left(at(9), ContextId(3), BOX).is_none());
        assert_eq!(pauses.left(at(9), B, BOX), Some(LEASE), "others' pauses stay");
        pauses.forget(B);
        assert!(pauses.is_empty());
    }

    #[test]
    fn a_lease_makes_room_from_the_moment_on_when_it_is_over() {
        let mut pauses = Pauses::new(1);
        pauses.pause(at(0), B, BOX);
        let other = ContextId(3);
        pauses.pause(at(4), other, BOX);
        assert_eq!(pauses.left(at(4), other, BOX), None, "there is no room");
        assert_eq!(pauses.left(at(4), B, BOX), Some(Duration::from_secs(1)));
        pauses.pause(at(5), other, BOX);
        assert_eq!(pauses.left(at(5), other, BOX), Some(LEASE));
    }

    #[test]
    fn each_sender_is_told_once_until_the_mailbox_has_drained() {
        let mut pressure = Pressure::default();
        assert!(pressure.press(B) && !pressure.press(B) && pressure.press(ContextId(3)));
        assert!(pressure.is_on());
        assert_eq!(pressure.told().count(), 2);
        assert_eq!(pressure.ease(), [B, ContextId(3)].into());
        assert!(!pressure.is_on() && pressure.press(B));
    }

    #[test]
    fn a_mailbox_pauses_no_more_senders_than_it_keeps_in_mind() {
        let mut pressure = Pressure::default();
        let told = (0..2000).filter(|&n| pressure.press(ContextId(n))).count();
        assert_eq!((told, pressure.told().count()), (1024, 1024));
    }
}
