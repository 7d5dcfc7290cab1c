//! What has changed since the rows were last rewritten: in memory, over the rows on the disk.

use std::{collections::BTreeMap, ops::Bound};

use super::{Batch, Row, Table};

/// What a row's memory costs beside its bytes.
const ROW: usize = 96;

/// Rows that have changed, and rows that are gone.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    rows: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    bytes: usize,
}

impl Overlay {
    pub(super) fn apply(&mut self, batch: &Batch) {
        for change in batch.changes() {
            let value = change.value.clone();
            let added = value.as_ref().map_or(0, Vec::len);
            match self.rows.insert((change.table, change.key.clone()), value) {
                None => self.bytes += change.key.len() + ROW,
                Some(old) => self.bytes -= old.map_or(0, |old| old.len()),
            }
            self.bytes += added;
        }
    }

    /// Bytes in memory, nearly.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is known of a row: its value, or that it is gone; nothing when it has not changed.
    pub(super) fn get(&self, table: Table, key: &[u8]) -> Option<Option<&[u8]>> {
        self.rows.get(&(table, key.to_vec())).map(Option::as_deref)
    }

    /// All changes, in the order of the rows.
    pub(super) fn changes(&self) -> impl Iterator<Item = (Table, &[u8], Option<&[u8]>)> {
        self.rows.iter().map(|((table, key), value)| (*table, &**key, value.as_deref()))
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
    }

    /// The first rows between two keys: those of the disk, which come in order, with what has changed over them.
    pub(super) fn merged<E>(
        &self,
        table: Table,
        (from, to): (Bound<&[u8]>, Bound<&[u8]>),
        most: usize,
        disk: impl Iterator<Item = Result<Row, E>>,
    ) -> Result<Vec<Row>, E> {
        let bound = |bound: Bound<&[u8]>| bound.map(|key| (table, key.to_vec()));
        let from = match bound(from) {
            Bound::Unbounded => Bound::Included((table, Vec::new())),
            from => from,
        };
        let is_within = |key: &[u8]| match to {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        let changed = self.rows.range((from, Bound::Unbounded));
        let mut changed =
            changed.take_while(|((of, key), _)| *of == table && is_within(key)).peekable();
        let mut disk = disk.peekable();
        let mut merged = Vec::new();
        while merged.len() < most {
            if let Some(Err(_)) = disk.peek() {
                if let Some(row) = disk.next() {
                    merged.push(row?);
                }
                continue;
            }
            let on_disk = disk.peek().and_then(|row| row.as_ref().ok()).map(|(key, _)| &**key);
            let over = changed.peek().map(|((_, key), _)| &**key);
            let takes_over = match (on_disk, over) {
                (None, None) => break,
                (Some(_), None) => false,
                (None, Some(_)) => true,
                (Some(on_disk), Some(over)) => over <= on_disk,
            };
            if !takes_over {
                if let Some(row) = disk.next() {
                    merged.push(row?);
                }
                continue;
            }
            if on_disk == over {
                disk.next();
            }
            if let Some(((_, key), Some(value))) = changed.next() {
                merged.push((key.clone(), value.clone()));
            }
        }
        Ok(merged)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    proptest! {
        #[test]
        fn what_is_read_is_as_if_the_changes_were_made(
            disk in proptest::collection::btree_map(
                proptest::collection::vec(0u8..4, 0..3), proptest::collection::vec(any::<u8>(), 0..3), 0..12),
            changes in proptest::collection::vec(
                (proptest::collection::vec(0u8..4, 0..3), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3))), 0..12),
            from in proptest::collection::vec(0u8..4, 0..3),
            to in proptest::collection::vec(0u8..4, 0..3),
            most in 0usize..20,
        ) {
            let mut overlay = Overlay::default();
            let mut made: Rows = disk.clone();
            let mut batch = Batch::default();
            for (key, value) in changes {
                match value {
                    Some(value) => {
                        batch.put(Table::Out, key.clone(), value.clone());
                        made.insert(key, value);
                    }
                    None => {
                        batch.remove(Table::Out, key.clone());
                        made.remove(&key);
                    }
                }
            }
            // Rows of a neighbouring table never show.
            batch.put(Table::Pair, vec![1], vec![1]);
            overlay.apply(&batch);
            prop_assume!(from <= to);
            let bounds = (Bound::Included(&*from), Bound::Excluded(&*to));
            let rows = |rows: &Rows| -> Vec<Row> {
                rows.range(from.clone()..to.clone()).map(|(key, value)| (key.clone(), value.clone())).collect()
            };
            let merged = overlay.merged(Table::Out, bounds, most, rows(&disk).into_iter().map(Ok::<_, Infallible>));
            let expected: Vec<Row> = rows(&made).into_iter().take(most).collect();
            prop_assert_eq!(merged, Ok(expected));
        }
    }
}
