//! What a consumer has handled, kept in a store: a consumer that begins anew handles none of it a second time.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

use actogen::{ContextId, MessageId, Remembered, Window, WindowKey};
use serde::{Deserialize, Serialize};

use crate::{
    rows::{self, Reading},
    store::{Batch, Store, StoreError, Table, each_row},
    time::{Clock, Millis},
};

/// The longest reason of a rejection that is kept, in characters: what publishers are told is no longer.
const MOST_REASON: usize = 256;

/// A message that was handled, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handled {
    publisher: u64,
    id: MessageId,
    at: Millis,
    content: [u8; 32],
    rejected: Option<String>,
}

impl Handled {
    fn key(&self) -> WindowKey {
        WindowKey::new(ContextId(self.publisher), self.id)
    }
}

/// A [window](Window) in a store: give it to [`Consume::window`](actogen::Consume::window).
///
/// What it remembers is durable before it is acknowledged, so each message costs a commit, for which the consumer's thread waits. It is
/// bounded in number and in age; what it has forgotten is handled again if it comes again. A store whose commit fails remembers nothing more,
/// and nothing more is acknowledged: the consumer must be begun anew.
///
/// The store is the window's alone. An actor that is journaled itself needs none: see [`Journal::consume`](crate::Journal::consume).
///
/// ```no_run
/// # use std::time::Duration;
/// # use actogen::prelude::*;
/// # use actogen_journal::{StoreWindow, store::FileStore};
/// # #[derive(RemoteMessage, Serialize, Deserialize)]
/// # #[remote(name = "shop.Order")]
/// # struct Order;
/// # fn example(cx: &Context) -> actogen::Result<()> {
/// let store = FileStore::open("billing.window")?;
/// let window = StoreWindow::open(store, 100_000, Duration::from_secs(7 * 24 * 3600))?;
/// let orders = cx.consume::<Order>("shop.orders").window(window).deliveries()?;
/// # Ok(())
/// # }
/// ```
pub struct StoreWindow {
    store: Box<dyn Store>,
    clock: Clock,
    most: usize,
    age: Duration,
    /// The number of the row of each message.
    numbers: HashMap<WindowKey, u64>,
    /// By their numbers: the oldest first.
    handled: BTreeMap<u64, Handled>,
    failed: Option<StoreError>,
}

impl fmt::Debug for StoreWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreWindow({}, {} messages)", self.store.place(), self.handled.len())
    }
}

impl StoreWindow {
    /// The window in this store: of so many messages, one at least, none of which is older than this.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(store: impl Store, messages: usize, age: Duration) -> Result<Self, StoreError> {
        let mut store: Box<dyn Store> = Box::new(store);
        let mut handled = BTreeMap::new();
        each_row(&mut *store, Table::Handled, |_, key, value| {
            let number = Reading(key).number().ok_or_else(|| rows::bad_key(Table::Handled))?;
            handled.insert(number, rows::opened::<Handled>("a message that was handled", value)?);
            Ok(())
        })?;
        let numbers = handled.iter().map(|(number, handled)| (handled.key(), *number)).collect();
        let (clock, most) = (Clock::start(), messages.max(1));
        Ok(Self { store, clock, most, age, numbers, handled, failed: None })
    }

    /// How many messages it remembers.
    pub fn len(&self) -> usize {
        self.handled.len()
    }

    /// Whether it remembers nothing.
    pub fn is_empty(&self) -> bool {
        self.handled.is_empty()
    }

    fn forget(&mut self, number: u64, batch: &mut Batch) {
        if let Some(gone) = self.handled.remove(&number) {
            self.numbers.remove(&gone.key());
            batch.remove(Table::Handled, number.to_be_bytes().to_vec());
        }
    }
}

impl Window for StoreWindow {
    fn recall(&self, key: &WindowKey) -> Option<Remembered> {
        let handled = self.handled.get(self.numbers.get(key)?)?;
        let is_old = handled.at < self.clock.now().before(self.age);
        (!is_old).then(|| Remembered::new(handled.content, handled.rejected.clone()))
    }

    fn remember(&mut self, key: WindowKey, what: Remembered) -> Result<(), String> {
        if let Some(error) = &self.failed {
            return Err(error.to_string());
        }
        let (now, mut batch) = (self.clock.now(), Batch::default());
        if let Some(before) = self.numbers.get(&key).copied() {
            self.forget(before, &mut batch);
        }
        let oldest = now.before(self.age);
        while let Some((&number, first)) = self.handled.first_key_value()
            && (self.handled.len() >= self.most || first.at < oldest)
        {
            self.forget(number, &mut batch);
        }
        let number = self.handled.last_key_value().map_or(0, |(last, _)| last + 1);
        let handled = Handled {
            publisher: key.publisher.0,
            id: key.id,
            at: now,
            content: what.content,
            rejected: what.rejected.map(|why| why.chars().take(MOST_REASON).collect()),
        };
        batch.put(Table::Handled, number.to_be_bytes().to_vec(), rows::sealed(&handled));
        if let Err(error) = self.store.commit(&batch) {
            // Whether it is durable nobody knows: it is not acknowledged, and not known here.
            let text = error.to_string();
            self.failed = Some(error);
            return Err(text);
        }
        self.numbers.insert(key, number);
        self.handled.insert(number, handled);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Bound;

    use super::*;
    use crate::store::{FileStore, MemoryStore};

    const AGE: Duration = Duration::from_secs(3600);

    fn key(id: u128) -> WindowKey {
        WindowKey::new(ContextId(3), MessageId::new(id))
    }

    fn what(byte: u8, rejected: Option<&str>) -> Remembered {
        Remembered::new([byte; 32], rejected.map(Into::into))
    }

    #[test]
    fn what_was_remembered_is_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let store = FileStore::open(folder.path().join("window")).unwrap();
            StoreWindow::open(store, 10, AGE).unwrap()
        };
        let mut window = open();
        window.remember(key(1), what(1, None)).unwrap();
        window.remember(key(2), what(2, Some("no"))).unwrap();
        window.remember(key(1), what(1, Some("not any more"))).unwrap();
        drop(window);
        let window = open();
        assert_eq!(window.len(), 2);
        assert_eq!(window.recall(&key(1)), Some(what(1, Some("not any more"))));
        assert_eq!(window.recall(&key(2)), Some(what(2, Some("no"))));
        assert_eq!(window.recall(&WindowKey::new(ContextId(4), MessageId::new(1))), None);
    }

    #[test]
    fn it_is_bounded_in_number_and_in_age_in_memory_and_in_the_store() {
        let store = MemoryStore::default();
        let rows = || {
            let mut store = store.clone();
            store.scan(Table::Handled, Bound::Unbounded, Bound::Unbounded, 99).unwrap().len()
        };
        let mut window = StoreWindow::open(store.clone(), 3, AGE).unwrap();
        for id in 0..10 {
            window.remember(key(id), what(0, None)).unwrap();
        }
        assert_eq!((window.len(), rows()), (3, 3));
        assert_eq!((window.recall(&key(6)), window.recall(&key(7))), (None, Some(what(0, None))));
        // With no age at all everything is old as soon as the clock has gone on.
        let mut window = StoreWindow::open(store.clone(), 3, Duration::ZERO).unwrap();
        while window.recall(&key(9)).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
        window.remember(key(11), what(0, None)).unwrap();
        assert_eq!((window.len(), rows()), (1, 1));
    }

    #[test]
    fn a_store_that_fails_remembers_nothing() {
        struct Fails;
        impl Store for Fails {
            fn place(&self) -> String {
                "here".to_owned()
            }
            fn get(&mut self, _: Table, _: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
                Ok(None)
            }
            fn scan(
                &mut self,
                _: Table,
                _: Bound<&[u8]>,
                _: Bound<&[u8]>,
                _: usize,
            ) -> Result<Vec<crate::store::Row>, StoreError> {
                Ok(Vec::new())
            }
            fn commit(&mut self, _: &Batch) -> Result<(), StoreError> {
                Err(StoreError::Fenced)
            }
        }
        let mut window = StoreWindow::open(Fails, 3, AGE).unwrap();
        for _ in 0..2 {
            let why = window.remember(key(1), what(0, None)).unwrap_err();
            assert!(why.contains("taken over"), "{why}");
        }
        assert_eq!(window.recall(&key(1)), None);
    }
}
