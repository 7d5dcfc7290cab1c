//! What a recorder's rows look like.
//!
//! | table | key | value |
//! |---|---|---|
//! | meta | `recorder` | [`About`] |
//! | record | position | [`Kept`] |
//! | sequence | publisher, series, number | [`Place`] |
//!
//! Positions begin at 1 and have no holes; what goes goes from the front. Numbers in keys have eight bytes, the highest first.

use actogen::{ContextId, Sequence};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    rows,
    store::{StoreError, Table},
    time::Millis,
};

/// The newest format that this build reads and writes.
pub(super) const FORMAT: u32 = 1;

/// The key of what a recorder knows of its store.
pub(crate) const ABOUT: &[u8] = b"recorder";

/// What a message counts beside its own bytes: its rows' keys, checksums and places.
const OVERHEAD: u64 = 160;

/// What a recorder knows of its store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) format: u32,
    /// When it began.
    pub(super) began: Millis,
    /// The oldest message that is kept, and the next one.
    pub(super) first: u64,
    pub(super) next: u64,
    /// What the kept ones count together.
    pub(super) bytes: u64,
    /// When the last one was recorded.
    pub(super) last: Millis,
    /// When the last of those that are not kept any more was recorded, if some have been dropped.
    pub(super) dropped: Option<Millis>,
}

impl About {
    pub(super) fn new(began: Millis) -> Self {
        let (first, next, bytes) = (1, 1, 0);
        Self { format: FORMAT, began, first, next, bytes, last: began, dropped: None }
    }

    pub(super) fn count(&self) -> u64 {
        self.next - self.first
    }
}

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(super) at: Millis,
    pub(super) record: Bytes,
}

impl Kept {
    pub(super) fn charge(&self) -> u64 {
        OVERHEAD + self.record.len() as u64
    }
}

/// Where a signed message is kept, and the hash that is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(super) position: u64,
    pub(super) hash: [u8; 32],
}

pub(super) fn of_position(position: u64) -> Vec<u8> {
    position.to_be_bytes().to_vec()
}

pub(super) fn position_in(key: &[u8]) -> Result<u64, StoreError> {
    let bytes = key.try_into().map_err(|_| rows::bad_key(Table::Record))?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn of_sequence(publisher: ContextId, series: u64, number: u64) -> Vec<u8> {
    [publisher.0, series, number].iter().flat_map(|part| part.to_be_bytes()).collect()
}

pub(super) fn key_of(publisher: ContextId, sequence: Sequence) -> Vec<u8> {
    of_sequence(publisher, sequence.series, sequence.number)
}

/// The number of a message in its series.
pub(super) fn number_in(key: &[u8]) -> Result<u64, StoreError> {
    let bytes = key.last_chunk().ok_or_else(|| rows::bad_key(Table::Sequence))?;
    Ok(u64::from_be_bytes(*bytes))
}

pub(super) fn kept(row: &[u8]) -> Result<Kept, StoreError> {
    rows::opened("a recorded message", row)
}

pub(super) fn place(row: &[u8]) -> Result<Place, StoreError> {
    rows::opened("a recorded message's place", row)
}
