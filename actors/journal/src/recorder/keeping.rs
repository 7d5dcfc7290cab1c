//! Keeps messages within bounds: what comes is appended, and the oldest go.

use std::{collections::HashMap, ops::Bound, time::Duration};

use actogen::{ContextId, Sequence};
use bytes::Bytes;

use super::rows::{self as kept, About, Kept, Place};
use crate::{
    rows,
    store::{Batch, Store, StoreError, Table},
    time::Millis,
};

/// Messages that one commit drops beyond those that it appends: a bound that has been lowered is reached in steps.
const DROPS: u64 = 1024;

/// Rows that are read at once: each may hold a large message.
pub(super) const ROWS: usize = 16;

/// How much a recorder keeps. The oldest messages go as soon as one of the bounds is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many messages.
    pub messages: u64,
    /// So many bytes, of the messages with 160 beside each. The file is larger, and does not become smaller.
    pub bytes: u64,
    /// So long.
    pub time: Duration,
}

impl Default for Keep {
    /// A million messages, 1 GiB, seven days.
    fn default() -> Self {
        Self { messages: 1_000_000, bytes: 1 << 30, time: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// A message that is to be kept.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) record: Bytes,
    /// By whom, where in his series, and under which hash it is signed.
    pub(super) signed: Option<(ContextId, Sequence, [u8; 32])>,
}

/// What has become of what came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) recorded: u64,
    /// Of these, a copy was there already.
    pub(super) again: u64,
    pub(super) dropped: u64,
}

/// The messages that are kept in a store.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) about: About,
    keep: Keep,
}

impl Keeping {
    /// What a store has, or a new one.
    pub(super) fn open(store: &mut dyn Store, keep: Keep, now: Millis) -> Result<Self, StoreError> {
        if store.get(Table::Meta, rows::META)?.is_some() {
            let text =
                format!("{} is a journal's: give the recorder a file of its own", store.place());
            return Err(StoreError::Failed(text));
        }
        let about = match store.get(Table::Meta, kept::ABOUT)? {
            Some(row) => rows::opened::<About>("what the recorder knows of its store", &row)?,
            None => {
                let about = About::new(now);
                let mut batch = Batch::default();
                batch.put(Table::Meta, kept::ABOUT.to_vec(), rows::sealed(&about));
                store.commit(&batch)?;
                about
            }
        };
        if about.format > kept::FORMAT {
            let (place, found) = (store.place(), about.format);
            return Err(StoreError::Newer { place, found, known: kept::FORMAT });
        }
        Ok(Self { about, keep })
    }

    /// Keeps messages, in this order, and drops what is over the bounds: in one commit, behind which all of them are durable.
    pub(super) fn append(
        &mut self,
        store: &mut dyn Store,
        incoming: Vec<Incoming>,
        now: Millis,
    ) -> Result<Outcome, StoreError> {
        let (mut about, mut batch, mut outcome) =
            (self.about.clone(), Batch::default(), Outcome::default());
        about.last = about.last.max(now);
        let mut new: HashMap<Vec<u8>, [u8; 32]> = HashMap::new();
        for Incoming { record, signed } in incoming {
            let row = Kept { at: about.last, record };
            if let Some((publisher, sequence, hash)) = signed {
                let key = kept::key_of(publisher, sequence);
                let known = match new.get(&key) {
                    Some(hash) => Some(*hash),
                    None => match store.get(Table::Sequence, &key)? {
                        Some(row) => Some(kept::place(&row)?.hash),
                        None => None,
                    },
                };
                match known {
                    Some(known) if known == hash => {
                        outcome.again += 1;
                        continue;
                    }
                    // Its publisher has signed two messages for one place. Both are kept; the place is the first one's.
                    Some(_) => {}
                    None => {
                        let place = Place { position: about.next, hash };
                        batch.put(Table::Sequence, key.clone(), rows::sealed(&place));
                        new.insert(key, hash);
                    }
                }
            }
            about.bytes += row.charge();
            batch.put(Table::Record, kept::of_position(about.next), rows::sealed(&row));
            about.next += 1;
            outcome.recorded += 1;
        }
        outcome.dropped = self.drop_oldest(store, &mut about, &mut batch, outcome.recorded)?;
        if about.next == self.about.next && outcome.dropped == 0 {
            return Ok(outcome);
        }
        batch.put(Table::Meta, kept::ABOUT.to_vec(), rows::sealed(&about));
        store.commit(&batch)?;
        self.about = about;
        Ok(outcome)
    }

    /// Whether something is over the bounds that no message has pushed out.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        let about = &self.about;
        about.count() > self.keep.messages
            || (about.bytes > self.keep.bytes && about.count() > 1)
            // The oldest that is kept is younger than the last that was dropped; its own time is in the store.
            || about.count() > 0 && now.before(self.keep.time) > about.dropped.unwrap_or(about.began)
    }

    fn drop_oldest(
        &self,
        store: &mut dyn Store,
        about: &mut About,
        batch: &mut Batch,
        appended: u64,
    ) -> Result<u64, StoreError> {
        let (oldest, most) = (about.last.before(self.keep.time), DROPS + 2 * appended);
        let mut dropped = 0;
        // What is not in the store yet is the newest.
        while about.first < self.about.next && dropped < most {
            let key = kept::of_position(about.first);
            let rows = store.scan(Table::Record, Bound::Included(&key), Bound::Unbounded, ROWS)?;
            for (key, row) in rows {
                let row = kept::kept(&row)?;
                let is_over = about.count() > self.keep.messages
                    // The newest stays, however large it is.
                    || (about.bytes > self.keep.bytes && about.count() > 1)
                    || row.at < oldest;
                if !is_over || dropped >= most {
                    return Ok(dropped);
                }
                self.forget(store, &row, about.first, batch)?;
                batch.remove(Table::Record, key);
                about.bytes = about.bytes.saturating_sub(row.charge());
                about.dropped = Some(row.at);
                about.first += 1;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Takes the place of a message that goes out of its publisher's order.
    fn forget(
        &self,
        store: &mut dyn Store,
        row: &Kept,
        position: u64,
        batch: &mut Batch,
    ) -> Result<(), StoreError> {
        let Some((publisher, sequence)) = actogen::Record::from_bytes(&row.record)
            .ok()
            .and_then(|record| Some((record.publisher(), record.sequence()?)))
        else {
            return Ok(());
        };
        let key = kept::key_of(publisher, sequence);
        if let Some(place) = store.get(Table::Sequence, &key)?
            && kept::place(&place)?.position == position
        {
            batch.remove(Table::Sequence, key);
        }
        Ok(())
    }
}
