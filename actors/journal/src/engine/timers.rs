//! Durable timers: the next ones in memory, the rest in the store.

use std::collections::BTreeMap;

use crate::{id::ActorId, packed::Packed, time::Millis};

/// The most timers that are read from the store at once.
pub(crate) const PAGE: usize = 1024;

/// When, whose, and which: in the order of the rows.
pub(crate) type Key = (Millis, ActorId, u64);

#[derive(Debug, Default)]
pub(crate) struct Timers {
    known: BTreeMap<Key, Packed>,
    /// All up to this one are in memory, or have fired; without one, all are.
    horizon: Option<Key>,
}

impl Timers {
    /// Takes the page that follows the horizon.
    pub(crate) fn read(&mut self, page: Vec<(Key, Packed)>) {
        self.horizon =
            (page.len() >= PAGE).then(|| page.last().map(|(key, _)| key.clone())).flatten();
        self.known.extend(page);
    }

    /// A new one is durable.
    pub(crate) fn set(&mut self, key: Key, message: Packed) {
        if self.horizon.as_ref().is_none_or(|horizon| key <= *horizon) {
            self.known.insert(key, message);
        }
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.known.remove(key);
    }

    /// One that is due.
    pub(crate) fn due(&mut self, now: Millis) -> Option<(Key, Packed)> {
        let first = self.known.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove_entry())
    }

    /// When there is something to do next: a timer, or more to read.
    pub(crate) fn next(&self) -> Option<Millis> {
        let horizon = || self.horizon.as_ref().map(|(due, ..)| *due);
        self.known.first_key_value().map(|((due, ..), _)| *due).or_else(horizon)
    }

    /// Behind which one more must be read, if all that is in memory has fired.
    pub(crate) fn wants(&self) -> Option<&Key> {
        self.horizon.as_ref().filter(|_| self.known.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Packed {
        Packed { tag: 1, codec: 0, body: bytes::Bytes::new() }
    }

    #[test]
    fn what_is_due_behind_the_horizon_is_read_later() {
        let id: ActorId = "a/b".parse().unwrap();
        let mut timers = Timers::default();
        let key = |n: u64| (Millis(n), id.clone(), n);
        timers.read((0..PAGE as u64).map(|n| (key(n), packed())).collect());
        timers.set(key(5000), packed());
        let mut fired = 0;
        while timers.due(Millis(9999)).is_some() {
            fired += 1;
        }
        assert_eq!(fired, PAGE);
        assert_eq!(timers.wants(), Some(&key(PAGE as u64 - 1)));
        timers.read(vec![(key(5000), packed())]);
        assert_eq!((timers.next(), timers.wants()), (Some(Millis(5000)), None));
    }
}
