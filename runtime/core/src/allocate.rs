//! Ids and incarnations, given out by the root alone (protocol rules 1 and 24).

use crate::id::{ContextId, Incarnation};

/// How many ids are reserved at once: one durable write serves that many admissions.
const BLOCK: u64 = 1024;

/// The root's allocator.
///
/// Ids rise and are never used again. Nothing of a block of ids is used before the block is durable: [`Allocator::due`] says when
/// one must be reserved, and [`Allocator::reserved`] that it is. A root that starts again takes the next term and begins behind
/// what was reserved last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocator {
    term: u64,
    admissions: u64,
    next: u64,
    reserved_below: u64,
}

/// What must be durable before an allocation is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The root's term.
    pub term: u64,
    /// Every id below this is taken.
    pub ids_below: u64,
}

impl Allocator {
    /// The allocator of a root's new life, after a life that had reserved up to `last` (zeros for a fresh authority).
    pub fn resume(last: Reservation) -> Self {
        let next = last.ids_below.max(1);
        Self { term: last.term + 1, admissions: 0, next, reserved_below: 0 }
    }

    /// The root's term.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// What must be made durable before the next id is given out; `taken_below` says up to where ids have been taken beside this
    /// allocator, such as by identities issued beforehand.
    pub fn due(&self, taken_below: u64) -> Option<Reservation> {
        (self.next >= self.reserved_below)
            .then(|| Reservation { term: self.term, ids_below: self.next.max(taken_below) + BLOCK })
    }

    /// What was due is durable.
    pub fn reserved(&mut self, reservation: Reservation) {
        self.next = self.next.max(reservation.ids_below - BLOCK);
        self.reserved_below = reservation.ids_below;
    }

    /// A fresh id and the incarnation of its first life; `None` while a reservation is due.
    pub fn allocate(&mut self) -> Option<(ContextId, Incarnation)> {
        if self.next >= self.reserved_below {
            return None;
        }
        let id = ContextId(self.next);
        self.next += 1;
        Some((id, self.admit()))
    }

    /// The incarnation of another life of a context that already has its id.
    pub fn admit(&mut self) -> Incarnation {
        self.admissions += 1;
        Incarnation::new(self.term, self.admissions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn fresh() -> Allocator {
        Allocator::resume(Reservation { term: 0, ids_below: 0 })
    }

    #[test]
    fn m11_ids_are_never_reused_across_restarts_of_the_root() {
        let (mut ids, mut lives) = (BTreeSet::new(), BTreeSet::new());
        let mut durable = Reservation { term: 0, ids_below: 0 };
        for life in 0..4_u64 {
            let mut allocator = Allocator::resume(durable);
            for _ in 0..life * 700 {
                if let Some(due) = allocator.due(durable.ids_below) {
                    assert!(due.term > durable.term || due.ids_below > durable.ids_below);
                    assert_eq!(
                        allocator.allocate(),
                        None,
                        "nothing is given out before it is durable"
                    );
                    durable = due;
                    allocator.reserved(due);
                }
                let (id, incarnation) = allocator.allocate().expect("a block is reserved");
                assert!(id.0 < durable.ids_below && !id.is_root());
                assert!(ids.insert(id) && lives.insert(incarnation));
            }
        }
        assert_eq!(ids.len(), 4200);
    }

    #[test]
    fn a_reservation_that_failed_is_due_again_and_costs_no_id() {
        let mut allocator = fresh();
        let due = allocator.due(0);
        assert_eq!(allocator.due(0), due);
        allocator.reserved(due.unwrap());
        assert_eq!(allocator.due(0), None);
        assert_eq!(allocator.allocate(), Some((ContextId(1), Incarnation::new(1, 1))));
    }

    #[test]
    fn ids_taken_beside_the_allocator_are_stepped_over() {
        let mut allocator = fresh();
        let due = allocator.due(500).unwrap();
        assert_eq!(due.ids_below, 500 + BLOCK);
        allocator.reserved(due);
        assert_eq!(allocator.allocate().unwrap().0, ContextId(500));
    }

    #[test]
    fn a_later_life_of_a_context_has_a_higher_incarnation() {
        let mut allocator = fresh();
        let (first, second) = (allocator.admit(), allocator.admit());
        let mut restarted = Allocator::resume(Reservation { term: allocator.term(), ids_below: 9 });
        assert_eq!((allocator.term(), restarted.term()), (1, 2));
        assert!(first < second && second < restarted.admit());
    }
}
