//! The default store: one redb file.

use std::{
    fmt,
    ops::Bound,
    path::{Path, PathBuf},
};

use redb::{Database, DatabaseError, ReadableDatabase, StorageBackend, TableDefinition};

use super::{Batch, Row, Store, StoreError, Table};

/// All rows lie in one tree: a commit then writes one path for neighbours, and one root.
const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");

/// Bytes of the file that are kept in memory. What actors need often they hold themselves.
const CACHE: usize = 64 * 1024 * 1024;

/// One redb file on this machine, committed in two phases: after a crash the last commit that was acknowledged is there, whatever was
/// being written. One process has it open at a time.
pub struct FileStore {
    place: String,
    database: Database,
    two_phases: bool,
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
        let path = path.as_ref();
        let place = path.display().to_string();
        if path.exists() {
            let opened = Database::builder().set_cache_size(CACHE).create(path);
            return Self::prepared(
                place.clone(),
                opened.map_err(|error| not_opened(&place, error))?,
            );
        }
        Self::made(path, place)
    }

    /// A new file, which gets its name when it is whole: one that is broken off while it is made would be no database.
    fn made(path: &Path, place: String) -> Result<Self, StoreError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let unfinished = PathBuf::from(name);
        let make = || Database::builder().set_cache_size(CACHE).create(&unfinished);
        let made = match make() {
            // Whoever has it locked makes it now; without a lock it was broken off.
            Err(error)
                if !matches!(error, DatabaseError::DatabaseAlreadyOpen) && unfinished.exists() =>
            {
                std::fs::remove_file(&unfinished).map_err(failed)?;
                make()
            }
            made => made,
        };
        let database = made.map_err(|error| not_opened(&place, error))?;
        let store = Self::prepared(place, database)?;
        // Unlike a renaming, this takes nobody else's place.
        std::fs::hard_link(&unfinished, path).map_err(failed)?;
        std::fs::remove_file(&unfinished).map_err(failed)?;
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

    /// Commits in one phase: faster, and safe against the loss of the process and of power as well, but an attacker who chooses what is stored
    /// and crashes the machine at will may leave it damaged. For measuring.
    #[must_use]
    pub fn in_one_phase(mut self) -> Self {
        self.two_phases = false;
        self
    }

    fn prepared(place: String, database: Database) -> Result<Self, StoreError> {
        let write = database.begin_write().map_err(failed)?;
        // Reading asks for a table that is there.
        write.open_table(ROWS).map_err(failed)?;
        write.commit().map_err(failed)?;
        Ok(Self { place, database, two_phases: true })
    }
}

impl Store for FileStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
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
        let from = match from.map(|key| full(table, key)) {
            Bound::Unbounded => Bound::Included(vec![table as u8]),
            bound => bound,
        };
        let to = match to.map(|key| full(table, key)) {
            Bound::Unbounded => Bound::Excluded(vec![table as u8 + 1]),
            bound => bound,
        };
        let (from, to) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
        let found = rows.range::<&[u8]>((from, to)).map_err(failed)?;
        found
            .take(most)
            .map(|row| {
                let (key, value) = row.map_err(failed)?;
                Ok((key.value()[1..].to_vec(), value.value().to_vec()))
            })
            .collect()
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut write = self.database.begin_write().map_err(failed)?;
        write.set_two_phase_commit(self.two_phases);
        {
            let mut rows = write.open_table(ROWS).map_err(failed)?;
            let mut key = Vec::with_capacity(64);
            for change in batch.changes() {
                key.clear();
                key.push(change.table as u8);
                key.extend_from_slice(&change.key);
                match &change.value {
                    Some(value) => {
                        drop(rows.insert(key.as_slice(), value.as_slice()).map_err(failed)?)
                    }
                    None => drop(rows.remove(key.as_slice()).map_err(failed)?),
                }
            }
        }
        write.commit().map_err(failed)
    }

    fn compact(&mut self) -> Result<bool, StoreError> {
        self.database.compact().map_err(failed)
    }
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

/// Makes a new file's name durable, which is its folder's.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_path_buf(),
        _ => PathBuf::from("."),
    };
    std::fs::File::open(folder)?.sync_all()
}
