//! What remains in mind of contexts that had a route: bounded, the oldest forgotten first.

use std::collections::BTreeMap;

use crate::id::{ContextId, Incarnation, LinkId};

/// The route that a context had before it had none, or another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The link that led there.
    pub link: LinkId,
    /// The life that could be reached.
    pub incarnation: Incarnation,
}

/// At most a given number of tombstones. They tell `RouteLost` from `NoRoute`, and which link a router's dead reply may still
/// come by (protocol rule 12).
#[derive(Debug)]
pub struct Tombstones<S = Tombstone> {
    limit: usize,
    stones: BTreeMap<ContextId, (u64, S)>,
    /// Whose they are, oldest first.
    burials: BTreeMap<u64, ContextId>,
    buried: u64,
}

impl<S: Copy> Tombstones<S> {
    /// None yet, and never more than `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, stones: BTreeMap::new(), burials: BTreeMap::new(), buried: 0 }
    }

    /// Remembers a route that went.
    pub fn bury(&mut self, context: ContextId, tombstone: S) {
        self.raise(context);
        self.buried += 1;
        self.stones.insert(context, (self.buried, tombstone));
        self.burials.insert(self.buried, context);
        if self.stones.len() > self.limit
            && let Some((_, oldest)) = self.burials.pop_first()
        {
            self.stones.remove(&oldest);
        }
    }

    /// Forgets a context, which has a route again where it had one, as `is_back` says of the tombstone. One that leads elsewhere
    /// stays: words of routers on the old way may still come by it.
    pub fn raise_if(&mut self, context: ContextId, is_back: impl FnOnce(&S) -> bool) {
        if self.stones.get(&context).is_some_and(|(_, stone)| is_back(stone)) {
            self.raise(context);
        }
    }

    /// Forgets a context.
    pub fn raise(&mut self, context: ContextId) {
        if let Some((burial, _)) = self.stones.remove(&context) {
            self.burials.remove(&burial);
        }
    }

    /// What remains of a context.
    pub fn get(&self, context: ContextId) -> Option<S> {
        self.stones.get(&context).map(|&(_, tombstone)| tombstone)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.stones.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stones.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first_and_the_raised_at_once() {
        let stone = |n| Tombstone { link: LinkId(n), incarnation: Incarnation::new(1, n) };
        let mut stones = Tombstones::new(2);
        assert!(stones.is_empty());
        for n in 1..=2 {
            stones.bury(ContextId(n), stone(n));
        }
        stones.bury(ContextId(1), stone(10));
        stones.bury(ContextId(3), stone(3));
        assert!(!stones.is_empty());
        assert_eq!(stones.get(ContextId(2)), None, "it was the oldest after 1 was buried anew");
        assert_eq!(stones.get(ContextId(1)), Some(stone(10)));
        stones.raise_if(ContextId(1), |stone| stone.link == LinkId(11));
        assert_eq!(stones.get(ContextId(1)), Some(stone(10)));
        stones.raise_if(ContextId(1), |stone| stone.link == LinkId(10));
        assert_eq!((stones.get(ContextId(1)), stones.len(), stones.burials.len()), (None, 1, 1));
    }
}
