//! A store that is gone with its process.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use parking_lot::Mutex;

use super::{Batch, Row, Store, StoreError, Table};

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;

/// A store in memory: what it holds is gone with the process. For trying code without a file, and for tests, in which a clone outlives
/// the journal that was killed.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
}

impl MemoryStore {
    /// What it holds now, as a store of its own: a backup.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { rows: Arc::new(Mutex::new(self.rows.lock().clone())) }
    }
}

impl Store for MemoryStore {
    fn place(&self) -> String {
        "the journal in memory".to_owned()
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.lock().get(&(table, key.to_vec())).cloned())
    }

    fn scan(
        &mut self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let from = from.map(|key| (table, key.to_vec()));
        let from =
            if from == Bound::Unbounded { Bound::Included((table, Vec::new())) } else { from };
        let is_before_end = |key: &[u8]| match to {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        let rows = self.rows.lock();
        let found = rows.range((from, Bound::Unbounded));
        let found = found.take_while(|((of, key), _)| *of == table && is_before_end(key));
        Ok(found.take(most).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut rows = self.rows.lock();
        for change in batch.changes() {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => drop(rows.insert(key, value.clone())),
                None => drop(rows.remove(&key)),
            }
        }
        Ok(())
    }
}
