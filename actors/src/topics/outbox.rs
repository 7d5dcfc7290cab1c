//! What is to go on to a neighbour and finds no room on the way: it waits here in its order, within a bound.

use std::collections::{BTreeMap, VecDeque};

use actogen_runtime::core::ContextId;

use super::actor::Carried;

/// The most bytes that wait for all neighbours together; what comes above that is dropped and counted.
const MOST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// What waits for each neighbour to which something is on its way.
    waiting: BTreeMap<ContextId, VecDeque<Carried>>,
    bytes: usize,
    /// Dropped because no more may wait.
    dropped: u64,
}

impl Outbox {
    /// Whether something is on its way to a neighbour or waits for that: what comes now comes behind.
    pub(super) fn is_busy(&self, neighbour: ContextId) -> bool {
        self.waiting.contains_key(&neighbour)
    }

    /// Something is on its way to a neighbour.
    pub(super) fn begin(&mut self, neighbour: ContextId) {
        self.waiting.entry(neighbour).or_default();
    }

    /// Lets something wait for a neighbour that is busy; false, and it is counted, when there is no room for that either.
    pub(super) fn push(&mut self, neighbour: ContextId, carried: Carried) -> bool {
        let bytes = self.bytes + carried.charge();
        match self.waiting.get_mut(&neighbour) {
            Some(waiting) if bytes <= MOST_BYTES => {
                self.bytes = bytes;
                waiting.push_back(carried);
                true
            }
            _ => {
                self.dropped += 1;
                false
            }
        }
    }

    /// What goes to a neighbour next, behind what has gone; when nothing waits it is not busy any more.
    pub(super) fn next(&mut self, neighbour: ContextId) -> Option<Carried> {
        let next = self.waiting.get_mut(&neighbour)?.pop_front();
        match &next {
            Some(next) => self.bytes -= next.charge(),
            None => drop(self.waiting.remove(&neighbour)),
        }
        next
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn carried(tag: u64, bytes: usize) -> Carried {
        let body = Bytes::from(vec![0; bytes]);
        let (topic, from) = ("a".to_owned(), ContextId(1));
        Carried { topic, from, tag, codec: 0, body, signed: None }
    }

    #[test]
    fn what_waits_goes_in_its_order_to_each_neighbour_and_what_is_too_much_is_counted() {
        let [near, far] = [ContextId(2), ContextId(3)];
        let mut outbox = Outbox::default();
        assert!(!outbox.is_busy(near));
        for neighbour in [near, far] {
            outbox.begin(neighbour);
            assert!(outbox.is_busy(neighbour));
            for tag in 0..3 {
                assert!(outbox.push(neighbour, carried(tag, MOST_BYTES / 7)));
            }
        }
        // The bound is that of all together, and what is small finds room still.
        assert!(!outbox.push(near, carried(9, MOST_BYTES / 7)));
        assert_eq!(outbox.dropped(), 1);
        assert!(outbox.push(near, carried(3, 10)));
        for tag in 0..4 {
            assert_eq!(outbox.next(near).map(|next| next.tag), Some(tag));
        }
        assert!(outbox.is_busy(near), "the last one is on its way");
        assert!(outbox.next(near).is_none() && !outbox.is_busy(near));
        while outbox.next(far).is_some() {}
        assert_eq!(outbox.bytes, 0);
    }
}
