//! Durable timers: the next ones in memory, the rest in the store.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use super::{
    Engine,
    active::{Arrived, Source},
};
use crate::{
    id::ActorId,
    packed::Packed,
    rows::{self, Reading},
    store::{Store, StoreError, Table},
    time::Millis,
    turn::TimerId,
};

/// The most timers that are read from the store at once.
pub(crate) const PAGE: usize = 1024;

/// When, whose, and which: in the order of the rows.
pub(crate) type Key = (Millis, ActorId, u64);

#[derive(Debug, Default)]
pub(crate) struct Timers {
    known: BTreeMap<Key, Packed>,
    /// All up to this one are in memory, or have fired; without one, all are.
    horizon: Option<Key>,
    /// The page behind the horizon is being read, and may have been before what becomes durable meanwhile.
    is_reading: bool,
}

impl Timers {
    /// Takes the page that follows the horizon.
    pub(crate) fn read(&mut self, page: Vec<(Key, Packed)>) {
        self.is_reading = false;
        self.horizon =
            (page.len() >= PAGE).then(|| page.last().map(|(key, _)| key.clone())).flatten();
        self.known.extend(page);
        if let Some(horizon) = &self.horizon {
            // What was set meanwhile behind the page comes with the next one.
            let mut behind = self.known.split_off(horizon);
            if let Some((key, message)) = behind.pop_first() {
                self.known.insert(key, message);
            }
        }
    }

    /// A new one is durable.
    pub(crate) fn set(&mut self, key: Key, message: Packed) {
        if self.is_reading || self.horizon.as_ref().is_none_or(|horizon| key <= *horizon) {
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

    /// Behind which one more must be read, if all that is in memory has fired. What is read goes to [`Self::read`].
    pub(crate) fn begin_reading(&mut self) -> Option<Key> {
        let from = self.horizon.clone().filter(|_| self.known.is_empty());
        self.is_reading |= from.is_some();
        from
    }
}

/// The timers behind this one.
pub(super) fn read_page(
    store: &mut dyn Store,
    from: Option<&Key>,
) -> Result<Vec<(Key, Packed)>, StoreError> {
    let from = from.map(|(due, actor, number)| rows::timer(*due, actor, *number));
    let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let page = store.scan(Table::Timer, from, Bound::Unbounded, PAGE)?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let mut reading = Reading(&key);
        let (Some(due), Some(actor), Some(number)) =
            (reading.number(), reading.actor(), reading.number())
        else {
            return Err(rows::bad_key(Table::Timer));
        };
        Ok(((Millis(due), actor, number), rows::opened("a timer", &value)?))
    };
    page.into_iter().map(read).collect()
}

impl Engine {
    /// Fires timers when they are due, for as long as the engine lives.
    pub(super) fn watch_timers(&self) {
        let (me, changed) = (self.me.clone(), self.timers_changed.clone());
        tokio::task::spawn_local(async move {
            loop {
                let Some(core) = me.upgrade() else { return };
                let (wait, page) = {
                    let mut engine = core.borrow_mut();
                    if engine.failed.is_some() {
                        return;
                    }
                    engine.fire();
                    let wait = engine.timers.next().map(|due| engine.clock.now().until(due));
                    let page = engine.timers.begin_reading();
                    (
                        wait,
                        page.map(|from| {
                            engine.writer.read(move |store| read_page(store, Some(&from)))
                        }),
                    )
                };
                drop(core);
                match (page, wait) {
                    (Some(page), _) => {
                        let page = page.await;
                        let Some(core) = me.upgrade() else { return };
                        match page {
                            Ok(page) => core.borrow_mut().timers.read(page),
                            Err(error) => core.borrow_mut().fail(&error),
                        }
                    }
                    (None, Some(wait)) => {
                        // The clock counts in milliseconds: a little late, so as not to be too early.
                        let late = wait + Duration::from_millis(1);
                        let _ = tokio::time::timeout(late, changed.notified()).await;
                    }
                    (None, None) => changed.notified().await,
                }
            }
        });
    }

    fn fire(&mut self) {
        let now = self.clock.now();
        while let Some(((due, actor, number), message)) = self.timers.due(now) {
            let source = Source::Timer(TimerId { due, number });
            // One that was due before may be what ended the process.
            let again = due <= self.clock.opened();
            self.arrive(&actor, Arrived::new(source, message, again));
        }
        self.work();
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
        assert_eq!(timers.begin_reading(), Some(key(PAGE as u64 - 1)));
        timers.read(vec![(key(5000), packed())]);
        assert_eq!((timers.next(), timers.begin_reading()), (Some(Millis(5000)), None));
    }

    #[test]
    fn what_is_set_while_a_page_is_read_is_neither_lost_nor_early() {
        let id: ActorId = "a/b".parse().unwrap();
        let key = |n: u64| (Millis(n), id.clone(), n);
        let full = |from: u64| (from..from + PAGE as u64).map(|n| (key(n), packed())).collect();
        for (page, expected) in [(Vec::new(), Some(Millis(9000))), (full(2000), Some(Millis(2000)))]
        {
            let mut timers = Timers::default();
            timers.read(full(0));
            while timers.due(Millis(1999)).is_some() {}
            assert!(timers.begin_reading().is_some());
            timers.set(key(9000), packed());
            timers.read(page);
            assert_eq!(timers.next(), expected);
            // Behind a full page it comes with the next one, and only then.
            while timers.due(Millis(8999)).is_some() {}
            let is_known = timers.due(Millis(9000)).is_some();
            assert_eq!(is_known, expected == Some(Millis(9000)));
            assert_eq!(timers.begin_reading().is_some(), !is_known);
        }
    }
}
