//! The default store: one redb file.
//!
//! A commit puts its batch into a log, as one row, and into memory; the rows themselves are rewritten from memory when enough has come together, all
//! that changed in one of them at once. Both are transactions of redb, so the file is whole at any instant.

use std::{
    fmt,
    fs::File,
    ops::Bound,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableDatabase, StorageBackend, TableDefinition};

use crate::failpoint::FailPoints;

use super::{Batch, Row, Store, StoreError, Table, disk::Disk, overlay::Overlay};

/// All rows lie in one tree: a commit then writes one path for neighbours, and one root.
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// Batches that the rows do not have yet, by their numbers. A batch is one row here: it dirties a few pages, where its changes would dirty
/// one or more each.
const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");

/// Bytes of the file that are kept in memory. What actors need often they hold themselves.
const CACHE: usize = 64 * 1024 * 1024;

/// Bytes of batches after which the rows are rewritten.
const LOG_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of changed rows in memory after which they are written.
const OVERLAY_BYTES: usize = 8 * 1024 * 1024;

/// One redb file on this machine, committed in two phases: after a crash the last commit that was acknowledged is there, whatever was
/// being written. One process has it open at a time.
pub struct FileStore {
    place: String,
    database: Database,
    /// What the log has over the rows.
    overlay: Overlay,
    log: Log,
}

/// The batches that the rows do not have yet.
#[derive(Clone, Copy, Debug, Default)]
struct Log {
    next: u64,
    bytes: usize,
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl FileStore {
    /// Opens a file, or makes a new one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), FailPoints::default())
    }

    pub(crate) fn open_with(path: &Path, points: FailPoints) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        if path.exists() {
            // Where the process ended between giving a new file its name and taking the other one away.
            remove(&unfinished(path))?;
            let database = opened(path, points).map_err(|error| not_opened(&place, error))?;
            return Self::prepared(place, database);
        }
        Self::made(path, place, &points)
    }

    /// A new file, which gets its name when it is whole: one that is broken off while it is made would be no database.
    fn made(path: &Path, place: String, points: &FailPoints) -> Result<Self, StoreError> {
        let unfinished = unfinished(path);
        let made = match opened(&unfinished, points.clone()) {
            // Whoever has it locked makes it now; without a lock it was broken off.
            Err(error)
                if !matches!(error, DatabaseError::DatabaseAlreadyOpen) && unfinished.exists() =>
            {
                remove(&unfinished)?;
                opened(&unfinished, points.clone())
            }
            made => made,
        };
        let database = made.map_err(|error| not_opened(&place, error))?;
        let store = Self::prepared(place, database)?;
        // Unlike a renaming, this takes nobody else's place.
        std::fs::hard_link(&unfinished, path).map_err(failed)?;
        remove(&unfinished)?;
        sync_folder(path).map_err(failed)?;
        Ok(store)
    }

    /// A store over a disk of the caller's: for tests of what a disk may do.
    ///
    /// # Errors
    /// [`StoreError`].
    #[doc(hidden)]
    pub fn over(disk: impl StorageBackend) -> Result<Self, StoreError> {
        let place = "the journal".to_owned();
        let opened = Database::builder().set_cache_size(CACHE).create_with_backend(disk);
        let database = opened.map_err(|error| not_opened(&place, error))?;
        Self::prepared(place, database)
    }

    fn prepared(place: String, database: Database) -> Result<Self, StoreError> {
        let write = database.begin_write().map_err(failed)?;
        // Reading asks for tables that are there.
        write.open_table(ROWS).map_err(failed)?;
        write.open_table(LOG).map_err(failed)?;
        write.commit().map_err(failed)?;
        let (overlay, log) = (Overlay::default(), Log::default());
        let mut store = Self { place, database, overlay, log };
        store.replay()?;
        Ok(store)
    }

    /// Takes up what the log has over the rows.
    fn replay(&mut self) -> Result<(), StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let log = read.open_table(LOG).map_err(failed)?;
        for row in log.range::<u64>(..).map_err(failed)? {
            let (number, value) = row.map_err(failed)?;
            let (number, value) = (number.value(), value.value());
            let batch = unlogged(value).ok_or_else(|| StoreError::Damaged {
                place: self.place.clone(),
                what: format!("batch {number} of its log cannot be read"),
            })?;
            self.log.next = number + 1;
            self.log.bytes += value.len();
            self.overlay.apply(&batch);
        }
        Ok(())
    }

    /// Writes what has changed into the rows, and empties the log.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_two_phase_commit(true);
        {
            let mut rows = write.open_table(ROWS).map_err(failed)?;
            for (table, key, value) in self.overlay.changes() {
                let key = full(table, key);
                match value {
                    Some(value) => drop(rows.insert(key.as_slice(), value).map_err(failed)?),
                    None => drop(rows.remove(key.as_slice()).map_err(failed)?),
                }
            }
        }
        // All at once: batch by batch it would take longer than some processes live, and never come to its end.
        write.delete_table(LOG).map_err(failed)?;
        write.open_table(LOG).map_err(failed)?;
        write.commit().map_err(failed)?;
        self.overlay.clear();
        self.log.bytes = 0;
        Ok(())
    }
}

impl Store for FileStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(changed) = self.overlay.get(table, key) {
            return Ok(changed.map(<[u8]>::to_vec));
        }
        let read = self.database.begin_read().map_err(failed)?;
        let rows = read.open_table(ROWS).map_err(failed)?;
        let found = rows.get(full(table, key).as_slice()).map_err(failed)?;
        Ok(found.map(|value| value.value().to_vec()))
    }

    fn scan(
        &mut self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let read = self.database.begin_read().map_err(failed)?;
        let rows = read.open_table(ROWS).map_err(failed)?;
        let start = match from.map(|key| full(table, key)) {
            Bound::Unbounded => Bound::Included(vec![table as u8]),
            bound => bound,
        };
        let end = match to.map(|key| full(table, key)) {
            Bound::Unbounded => Bound::Excluded(vec![table as u8 + 1]),
            bound => bound,
        };
        let bounds = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
        let found = rows.range::<&[u8]>(bounds).map_err(failed)?;
        let found = found.map(|row| {
            let (key, value) = row.map_err(failed)?;
            Ok((key.value()[1..].to_vec(), value.value().to_vec()))
        });
        self.overlay.merged(table, (from, to), most, found)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let bytes = logged(batch);
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_two_phase_commit(true);
        {
            let mut log = write.open_table(LOG).map_err(failed)?;
            log.insert(self.log.next, bytes.as_slice()).map_err(failed)?;
        }
        write.commit().map_err(failed)?;
        self.log.next += 1;
        self.log.bytes += bytes.len();
        self.overlay.apply(batch);
        Ok(())
    }

    fn tidy(&mut self) -> Result<(), StoreError> {
        if self.log.bytes >= LOG_BYTES || self.overlay.bytes() >= OVERLAY_BYTES {
            self.rewrite()?;
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<bool, StoreError> {
        self.rewrite()?;
        self.database.compact().map_err(failed)
    }
}

/// A batch as a row of the log: for each change its table, whether the row stays, the lengths of key and value, and both.
fn logged(batch: &Batch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(batch.bytes() + batch.changes().len() * 10);
    for change in batch.changes() {
        let value = change.value.as_deref();
        bytes.extend_from_slice(&[change.table as u8, u8::from(value.is_some())]);
        let value = value.unwrap_or_default();
        bytes.extend_from_slice(&(change.key.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&change.key);
        bytes.extend_from_slice(value);
    }
    bytes
}

fn unlogged(mut bytes: &[u8]) -> Option<Batch> {
    let mut batch = Batch::default();
    while !bytes.is_empty() {
        let (&[table, stays], rest) = bytes.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(u32::from_le_bytes(*key) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value) as usize)?;
        let table = *Table::ALL.get(usize::from(table))?;
        match stays {
            1 => batch.put(table, key.to_vec(), value.to_vec()),
            _ => batch.remove(table, key.to_vec()),
        }
        bytes = rest;
    }
    Some(batch)
}

/// The database in a file, or a new one in a new or empty file.
fn opened(path: &Path, points: FailPoints) -> Result<Database, DatabaseError> {
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
    Database::builder().set_cache_size(CACHE).create_with_backend(Disk::new(file, points)?)
}

fn full(table: Table, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table as u8);
    full.extend_from_slice(key);
    full
}

fn failed(error: impl fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn not_opened(place: &str, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { place: place.to_owned() },
        DatabaseError::Storage(redb::StorageError::Corrupted(what)) => {
            StoreError::Damaged { place: place.to_owned(), what }
        }
        error => StoreError::Failed(format!("{place} cannot be opened: {error}")),
    }
}

/// What a file is called until it is whole.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Takes a file away, if it is there.
fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

/// Makes a new file's name durable, which is its folder's.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    File::open(folder)?.sync_all()
}
