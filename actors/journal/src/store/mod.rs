//! Where turns are made durable: ordered rows in a few tables, changed by batches that are there whole or not at all.
//!
//! | room | concept |
//! |---|---|
//! | here | [`Store`], what the journal asks of a store; [`Batch`] |
//! | `file` | [`FileStore`]: one redb file, the default |
//! | `memory` | [`MemoryStore`]: gone with its process; for trying code, and below it faults for tests |
//! | `postgres` | `PostgresStore`, by the feature `postgres`: in a database server, where another machine can take over |
//! | `lease` | [`Lease`]: whether a store that others reach as well is still its journal's |

mod disk;
mod file;
mod lease;
mod memory;
mod overlay;
#[cfg(feature = "postgres")]
mod postgres;

use std::ops::Bound;

#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresSettings, PostgresStore};
pub use self::{
    file::FileStore,
    lease::{Asked, Lease},
    memory::MemoryStore,
};

/// Rows that are read at once where there may be many.
pub(crate) const PAGE: usize = 1024;

/// A group of rows with keys of one shape. The numbers are part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Table {
    /// What the store knows of itself: format, node, epoch, openings.
    Meta = 0,
    /// An actor's last checkpoint.
    State = 1,
    /// What has changed since an actor's checkpoint, turn by turn.
    Delta = 2,
    /// The last message that an actor has taken from each of its senders.
    Seen = 3,
    /// Messages that have been sent and are not acknowledged.
    Out = 4,
    /// How far each pair's messages have been acknowledged.
    Pair = 5,
    /// Messages that are due at a time.
    Timer = 6,
    /// Answers to requests from outside, kept until the asker has settled them.
    Reply = 7,
    /// Messages that have failed, or may have killed the process, and how often.
    Attempt = 8,
    /// Messages that were given up.
    Dead = 9,
    /// The last turns of actors, where they are kept.
    History = 10,
    /// Other nodes, as they were last seen.
    Peer = 11,
    /// The epochs of what is sent to other nodes.
    Epoch = 12,
    /// What has been published and is not done with.
    Publish = 13,
    /// Published messages that were handled, in a [window](crate::StoreWindow).
    Handled = 14,
    /// Published messages that a [recorder](crate::Recorder) keeps.
    Record = 15,
    /// Where a recorder keeps the signed messages of each publisher.
    Sequence = 16,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Meta,
        Self::State,
        Self::Delta,
        Self::Seen,
        Self::Out,
        Self::Pair,
        Self::Timer,
        Self::Reply,
        Self::Attempt,
        Self::Dead,
        Self::History,
        Self::Peer,
        Self::Epoch,
        Self::Publish,
        Self::Handled,
        Self::Record,
        Self::Sequence,
    ];

    /// The table's name, as stores and the command line show it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::State => "state",
            Self::Delta => "delta",
            Self::Seen => "seen",
            Self::Out => "out",
            Self::Pair => "pair",
            Self::Timer => "timer",
            Self::Reply => "reply",
            Self::Attempt => "attempt",
            Self::Dead => "dead",
            Self::History => "history",
            Self::Peer => "peer",
            Self::Epoch => "epoch",
            Self::Publish => "publish",
            Self::Handled => "handled",
            Self::Record => "record",
            Self::Sequence => "sequence",
        }
    }
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table.
    pub table: Table,
    /// The row's key.
    pub key: Vec<u8>,
    /// Its new value, or nothing when it goes.
    pub value: Option<Vec<u8>>,
}

/// Changes that become durable together. Of two changes of one row the later one stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
    bytes: usize,
}

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.changes.push(Change { table, key, value: Some(value) });
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, table: Table, key: Vec<u8>) {
        self.bytes += key.len();
        self.changes.push(Change { table, key, value: None });
    }

    /// Takes another batch's changes behind its own.
    pub fn append(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.changes.extend(other.changes);
    }

    /// The changes, in order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has it open.
    #[error("{place} is open in another process: a store has one writer; stop that one first")]
    InUse {
        /// The store.
        place: String,
    },
    /// It was written by a newer version; it has not been touched.
    #[error(
        "{place} was written in format {found}, and this build reads up to {known}: use a newer build; nothing was changed"
    )]
    Newer {
        /// The store.
        place: String,
        /// The format found.
        found: u32,
        /// The newest one known.
        known: u32,
    },
    /// What it holds is damaged.
    #[error("{place} is damaged: {what}: restore a backup, and see `actogen journal verify`")]
    Damaged {
        /// The store.
        place: String,
        /// What was found.
        what: String,
    },
    /// The system refused to read or write. After a failed commit nobody knows what is on the disk: it is not tried again.
    #[error("the journal's store failed: {0}")]
    Failed(String),
    /// Another writer has taken the store over.
    #[error("this journal's store has been taken over by another writer")]
    Fenced,
}

/// A store of rows. It is asked from one thread, the journal's writer, which may wait for the disk.
pub trait Store: Send + 'static {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// A row's value.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first rows between two keys, in the order of their bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(
        &mut self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Makes a batch durable, whole or not at all: when this gives `Ok` it survives the loss of the process and of the machine's power.
    ///
    /// # Errors
    /// [`StoreError`]. Whether the batch is durable is not known then, and the store is not to be used any more.
    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// How it is known that nobody else has taken the store over; nothing where nobody can. The journal asks once, and answers nothing of memory
    /// alone while the lease is not held.
    fn lease(&self) -> Option<Lease> {
        None
    }

    /// Makes sure that nobody else has taken the store over, as a commit of nothing, and that the [lease](Self::lease) is held again.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn confirm(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Does what a commit has left to do, when nobody waits for it.
    ///
    /// # Errors
    /// As [`Self::commit`].
    fn tidy(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Frees what removed rows have left behind; gives whether anything was won.
    ///
    /// # Errors
    /// [`StoreError`].
    fn compact(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

/// The rows whose keys begin so, in pages of this many.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn scan_prefix(
    store: &mut dyn Store,
    table: Table,
    prefix: &[u8],
    most: usize,
) -> Result<Vec<Row>, StoreError> {
    let end = after_prefix(prefix);
    let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    store.scan(table, Bound::Included(prefix), to, most)
}

/// Calls this with each row of a table, in order, reading page by page.
///
/// # Errors
/// [`StoreError`], and those of the call.
pub(crate) fn each_row(
    store: &mut dyn Store,
    table: Table,
    mut take: impl FnMut(&mut dyn Store, &[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut last: Option<Vec<u8>> = None;
    loop {
        let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = store.scan(table, from, Bound::Unbounded, PAGE)?;
        let Some((key, _)) = page.last() else { return Ok(()) };
        last = Some(key.clone());
        for (key, value) in page {
            take(store, &key, &value)?;
        }
    }
}

/// The first key behind all those that begin so; none when there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_its_last_byte_that_can_grow_does() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff]), None);
        assert_eq!(after_prefix(b""), None);
    }

    #[test]
    fn tables_keep_their_numbers() {
        for (number, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, number);
        }
    }
}
