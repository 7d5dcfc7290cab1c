//! Which epoch of each source's path has been seen last, so that nothing of a broken path comes behind what has overtaken it
//! (protocol rule 7).
//!
//! A source that no path has broken for has the first epoch and is not kept here. What is kept outlasts withdrawals: frames that
//! were sent before the source heard of a loss may still come by a tree that has healed meanwhile. So a life of the source that
//! this context has not heard of, which begins with the first epoch, is taken for the broken path of the life before. Who is
//! dropped by the tree is therefore told so, and takes up the epoch ([`crate::wire::direct::Behind`]).

use std::collections::BTreeMap;

use crate::id::{ContextId, PathEpoch, StreamId};

/// A frame is dropped, and counted: it is of a path that has broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// What has been seen since.
    pub last: PathEpoch,
    /// Whether the source is to be told, if the frame has come by the tree: with the first of those dropped, the second, the
    /// fourth and so on, since that word may get lost.
    pub tell: bool,
}

#[derive(Debug)]
struct Seen {
    last: PathEpoch,
    /// How many have been dropped since it was seen.
    dropped: u64,
    /// Counts what has been seen first.
    age: u64,
}

/// The last epoch of each source and lane that has had more than one; at most a given number, the oldest forgotten first.
#[derive(Debug)]
pub struct Epochs {
    limit: usize,
    seen: BTreeMap<(ContextId, StreamId), Seen>,
    ages: BTreeMap<u64, (ContextId, StreamId)>,
    age: u64,
}

impl Epochs {
    /// None seen yet, and never more than `limit` kept. One that is forgotten for that matters only while frames of a path that
    /// broke before as many others have are still to come.
    pub fn new(limit: usize) -> Self {
        Self { limit, seen: BTreeMap::new(), ages: BTreeMap::new(), age: 0 }
    }

    /// A frame of a source's path has come on a lane ([`super::path::lane_of`]).
    ///
    /// # Errors
    /// [`Late`]: it goes no further.
    pub fn take(
        &mut self,
        source: ContextId,
        lane: StreamId,
        epoch: PathEpoch,
    ) -> Result<(), Late> {
        let last = match self.seen.get_mut(&(source, lane)) {
            Some(seen) if epoch < seen.last => {
                seen.dropped += 1;
                return Err(Late { last: seen.last, tell: seen.dropped.is_power_of_two() });
            }
            Some(seen) => seen.last,
            None => PathEpoch::FIRST,
        };
        if epoch > last {
            self.see(source, lane, epoch);
        }
        Ok(())
    }

    /// Another life of a source is known to have begun.
    pub fn forget(&mut self, source: ContextId) {
        for lane in StreamId::lanes() {
            self.remove((source, lane));
        }
    }

    /// How many sources and lanes are kept.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether no path has broken.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn see(&mut self, source: ContextId, lane: StreamId, last: PathEpoch) {
        self.remove((source, lane));
        if self.seen.len() >= self.limit
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.seen.remove(&oldest);
        }
        self.age += 1;
        self.seen.insert((source, lane), Seen { last, dropped: 0, age: self.age });
        self.ages.insert(self.age, (source, lane));
    }

    fn remove(&mut self, key: (ContextId, StreamId)) {
        if let Some(seen) = self.seen.remove(&key) {
            self.ages.remove(&seen.age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ContextId = ContextId(1);
    const LANE: StreamId = StreamId::lane(0);

    #[test]
    fn what_is_below_the_last_epoch_seen_is_dropped_on_its_own_lane() {
        let mut epochs = Epochs::new(10);
        let mut take = |source, lane, epoch| epochs.take(source, lane, PathEpoch(epoch)).is_ok();
        assert!(take(A, LANE, 0) && take(A, LANE, 2) && take(A, LANE, 2));
        assert!(!take(A, LANE, 1) && !take(A, LANE, 0));
        assert!(take(A, StreamId::lane(1), 0) && take(ContextId(2), LANE, 0));
        assert!(take(A, LANE, 3) && !take(A, LANE, 2));
        assert_eq!((epochs.len(), epochs.ages.len()), (1, 1));
        epochs.forget(A);
        assert!(epochs.is_empty() && epochs.ages.is_empty());
        assert_eq!(epochs.take(A, LANE, PathEpoch(0)), Ok(()), "a new life begins again");
    }

    #[test]
    fn who_is_dropped_is_told_again_and_again_and_ever_less_often() {
        let mut epochs = Epochs::new(10);
        epochs.take(A, LANE, PathEpoch(5)).unwrap();
        let mut told = Vec::new();
        for n in 1..=20 {
            let late = epochs.take(A, LANE, PathEpoch(0)).unwrap_err();
            assert_eq!(late.last, PathEpoch(5));
            told.extend(late.tell.then_some(n));
        }
        assert_eq!(told, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn the_epochs_kept_are_bounded_and_the_oldest_is_forgotten_first() {
        let mut epochs = Epochs::new(2);
        let mut take = |n, epoch| epochs.take(ContextId(n), LANE, PathEpoch(epoch)).is_ok();
        assert!(take(1, 1) && take(2, 1) && take(1, 2) && take(3, 1));
        assert!(take(2, 0), "it was the oldest after 1 was seen anew");
        assert!(!take(1, 1) && !take(3, 0));
        assert_eq!((epochs.len(), epochs.ages.len(), epochs.is_empty()), (2, 2, false));
    }
}
