//! Looking into a store that no journal has open: what is in it, whether it is whole, and taking it elsewhere.

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{
    id::ActorId,
    packed::Packed,
    publication::Published,
    recorder::{KeptRow, PlaceRow},
    rows::{self, Attempt, Dead, Delta, Meta, Past, Peer, Reading, Reply, Seen, State},
    store::{Batch, Store, StoreError, Table, each_row, scan_prefix},
    window::Handled,
};

/// A store's contents in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The node whose journal it is.
    pub node: String,
    /// The format it is written in.
    pub format: u32,
    /// How often it has been opened.
    pub openings: u64,
    /// Rows and their bytes, by table.
    pub tables: BTreeMap<&'static str, (u64, u64)>,
}

/// An actor as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StoredActor {
    /// Its name.
    pub actor: String,
    /// Turns that have been written.
    pub turn: u64,
    /// The version of its state's shape.
    pub version: u32,
    /// Bytes of its last checkpoint; nothing when it has ended.
    pub state_bytes: Option<u64>,
    /// Turns written since that.
    pub changes: u64,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadMessage {
    /// For whom it was.
    pub actor: String,
    /// Its number among the actor's.
    pub number: u64,
    /// When it was given up.
    pub at: SystemTime,
    /// Who sent it.
    pub from: String,
    /// Why it was given up.
    pub why: String,
    /// The tag of its type.
    pub tag: u64,
    /// Its body, as it was encoded.
    pub body: Vec<u8>,
}

/// A turn of the past, where the journal [keeps them](crate::JournalBuilder::history).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PastTurn {
    /// Which of the actor's turns.
    pub turn: u64,
    /// When it ran.
    pub at: SystemTime,
    /// Who sent the message.
    pub from: String,
    /// The tag of the message's type.
    pub tag: u64,
    /// The message's body, as it was encoded.
    pub message: Vec<u8>,
    /// The state behind the turn, as it was encoded; empty where the actor is kept as events.
    pub state: Vec<u8>,
}

/// Something about a store that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The table.
    pub table: &'static str,
    /// The row's key, in a form that can be read.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
}

/// A row as it is taken elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExportedRow {
    /// The number of its table.
    pub table: u8,
    /// Its key, in hexadecimal digits.
    pub key: String,
    /// Its value, in hexadecimal digits.
    pub value: String,
}

fn meta(store: &mut dyn Store) -> Result<Meta, StoreError> {
    let row = store.get(Table::Meta, rows::META)?;
    let place = store.place();
    let row =
        row.ok_or_else(|| StoreError::Failed(format!("{place} is no journal, or an empty one")))?;
    let meta = rows::opened::<Meta>("what the store knows of itself", &row)?;
    if meta.format > rows::FORMAT {
        return Err(StoreError::Newer { place, found: meta.format, known: rows::FORMAT });
    }
    Ok(meta)
}

/// A store's contents in numbers.
///
/// # Errors
/// [`StoreError`].
pub fn summary(store: &mut dyn Store) -> Result<Summary, StoreError> {
    let Meta { format, node, openings } = meta(store)?;
    let mut tables = BTreeMap::new();
    for table in Table::ALL {
        let (mut rows, mut bytes) = (0, 0);
        each_row(store, table, |_, key, value| {
            rows += 1;
            bytes += (key.len() + value.len()) as u64;
            Ok(())
        })?;
        tables.insert(table.name(), (rows, bytes));
    }
    let openings = openings.last().map_or(0, |(number, _)| *number);
    Ok(Summary { node, format, openings, tables })
}

/// Calls this with each actor, in the order of their names.
///
/// # Errors
/// [`StoreError`].
pub fn actors(store: &mut dyn Store, mut take: impl FnMut(StoredActor)) -> Result<(), StoreError> {
    each_row(store, Table::State, |store, key, value| {
        let state = rows::opened::<State>("a state", value)?;
        let changes = scan_prefix(store, Table::Delta, key, usize::MAX)?;
        let turns = changes.iter().filter_map(|(row, _)| Reading(&row[key.len()..]).number());
        let newer: Vec<u64> = turns.filter(|turn| *turn > state.turn).collect();
        take(StoredActor {
            actor: text(key),
            turn: newer.last().copied().unwrap_or(state.turn),
            version: state.version,
            state_bytes: state.state.map(|state| state.len() as u64),
            changes: newer.len() as u64,
        });
        Ok(())
    })
}

/// All dead letters.
///
/// # Errors
/// [`StoreError`].
pub fn dead_letters(store: &mut dyn Store) -> Result<Vec<DeadMessage>, StoreError> {
    let mut found = Vec::new();
    each_row(store, Table::Dead, |_, key, value| {
        let Dead { at, from, why, message } = rows::opened("a dead letter", value)?;
        let mut reading = Reading(key);
        let actor = reading.actor().map(|actor| actor.to_string()).unwrap_or_default();
        let number = reading.number().unwrap_or_default();
        let Packed { tag, body, .. } = message;
        found.push(DeadMessage {
            actor,
            number,
            at: at.into(),
            from,
            why,
            tag,
            body: body.to_vec(),
        });
        Ok(())
    })?;
    Ok(found)
}

/// What becomes of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// It is handed to its actor again when the journal is opened, as a timer of the actor's that is due: it has as many attempts as any message,
    /// and no order with others.
    SendAgain,
    /// It is forgotten.
    Discard,
}

/// Why a dead letter could not be settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such letter.
    #[error("{0} has no dead letter of the number {1}")]
    Unknown(ActorId, u64),
    /// Its actor has ended, and what begins anew under its name gets nothing of what was before.
    #[error("{0} has ended since its dead letter {1} was given up: it can only be discarded")]
    Ended(ActorId, u64),
}

/// Takes a dead letter out, for good or to be handled once more.
///
/// # Errors
/// [`SettleError`]; the letter is where it was then.
pub fn settle(
    store: &mut dyn Store,
    actor: &ActorId,
    number: u64,
    how: Settle,
) -> Result<(), SettleError> {
    let row = rows::numbered(actor, number);
    let letter = store.get(Table::Dead, &row)?;
    let letter = letter.ok_or_else(|| SettleError::Unknown(actor.clone(), number))?;
    let mut batch = Batch::default();
    batch.remove(Table::Dead, row);
    if how == Settle::SendAgain {
        let Dead { at, message, .. } = rows::opened("a dead letter", &letter)?;
        let state = store.get(Table::State, &rows::of_actor(actor))?;
        let state: Option<State> =
            state.map(|state| rows::opened("a state", &state)).transpose()?;
        if state.is_some_and(|state| state.born >= number) {
            return Err(SettleError::Ended(actor.clone(), number));
        }
        // The number was drawn from those of the actor's messages and timers: no timer has it.
        batch.put(Table::Timer, rows::timer(at, actor, number), rows::sealed(&message));
    }
    store.commit(&batch)?;
    Ok(())
}

/// The turns of an actor that are kept, the oldest first.
///
/// # Errors
/// [`StoreError`].
pub fn past(store: &mut dyn Store, actor: &ActorId) -> Result<Vec<PastTurn>, StoreError> {
    let prefix = rows::of_actor(actor);
    let rows = scan_prefix(store, Table::History, &prefix, usize::MAX)?;
    let turn = |(key, value): (Vec<u8>, Vec<u8>)| {
        let Past { at, from, message, state, .. } = rows::opened("a turn of the past", &value)?;
        let turn = Reading(&key[prefix.len()..]).number().unwrap_or_default();
        let Packed { tag, body, .. } = message;
        Ok(PastTurn {
            turn,
            at: at.into(),
            from,
            tag,
            message: body.to_vec(),
            state: state.to_vec(),
        })
    };
    rows.into_iter().map(turn).collect()
}

/// Reads every row, and says what is wrong with those that are not whole. Gives how many were read.
///
/// # Errors
/// [`StoreError`] when the store cannot be read at all.
pub fn verify(store: &mut dyn Store, mut take: impl FnMut(Finding)) -> Result<u64, StoreError> {
    meta(store)?;
    let mut count = 0;
    for table in Table::ALL {
        each_row(store, table, |_, key, value| {
            count += 1;
            if let Err(error) = checked(table, value) {
                take(Finding { table: table.name(), key: text(key), what: error.to_string() });
            }
            Ok(())
        })?;
    }
    Ok(count)
}

fn checked(table: Table, value: &[u8]) -> Result<(), StoreError> {
    let what = table.name();
    match table {
        Table::Meta => rows::opened::<Meta>(what, value).map(drop),
        Table::State => rows::opened::<State>(what, value).map(drop),
        Table::Delta => rows::opened::<Delta>(what, value).map(drop),
        Table::Seen => rows::opened::<Seen>(what, value).map(drop),
        Table::Out | Table::Timer => rows::opened::<Packed>(what, value).map(drop),
        Table::Publish => rows::opened::<Published>(what, value).map(drop),
        Table::Handled => rows::opened::<Handled>(what, value).map(drop),
        Table::Reply => rows::opened::<Reply>(what, value).map(drop),
        Table::Attempt => rows::opened::<Attempt>(what, value).map(drop),
        Table::Dead => rows::opened::<Dead>(what, value).map(drop),
        Table::History => rows::opened::<Past>(what, value).map(drop),
        Table::Peer => rows::opened::<Peer>(what, value).map(drop),
        Table::Record => rows::opened::<KeptRow>(what, value).map(drop),
        Table::Sequence => rows::opened::<PlaceRow>(what, value).map(drop),
        Table::Pair | Table::Epoch if value.len() == 8 => Ok(()),
        Table::Pair | Table::Epoch => {
            let what = format!("{what}: {} bytes are no number", value.len());
            Err(StoreError::Damaged { place: "the journal".to_owned(), what })
        }
    }
}

/// Calls this with every row, as it is taken elsewhere.
///
/// # Errors
/// [`StoreError`].
pub fn export(
    store: &mut dyn Store,
    mut take: impl FnMut(ExportedRow) -> std::io::Result<()>,
) -> Result<u64, StoreError> {
    meta(store)?;
    let mut count = 0;
    for table in Table::ALL {
        each_row(store, table, |_, key, value| {
            count += 1;
            let row = ExportedRow { table: table as u8, key: hex(key), value: hex(value) };
            take(row)
                .map_err(|error| StoreError::Failed(format!("a row cannot be written: {error}")))
        })?;
    }
    Ok(count)
}

/// Fills an empty store with exported rows; gives how many.
///
/// # Errors
/// [`StoreError`] when the store is not empty, a row cannot be read, or it fails.
pub fn import(
    store: &mut dyn Store,
    rows: impl Iterator<Item = std::io::Result<ExportedRow>>,
) -> Result<u64, StoreError> {
    if store.get(Table::Meta, rows::META)?.is_some() {
        let place = store.place();
        return Err(StoreError::Failed(format!(
            "{place} has a journal in it: import into a new file"
        )));
    }
    let (mut batch, mut count, mut about) = (Batch::default(), 0, None);
    for row in rows {
        let row = row.map_err(|error| StoreError::Failed(format!("row {}: {error}", count + 1)))?;
        let table = Table::ALL.get(usize::from(row.table)).copied();
        let (Some(table), Some(key), Some(value)) = (table, unhex(&row.key), unhex(&row.value))
        else {
            return Err(StoreError::Failed(format!("row {} is none", count + 1)));
        };
        count += 1;
        // Last of all, so that an import that was broken off is no journal.
        if table == Table::Meta {
            about = Some((key, value));
            continue;
        }
        checked(table, &value)?;
        batch.put(table, key, value);
        if batch.bytes() > 4 << 20 {
            store.commit(&std::mem::take(&mut batch))?;
        }
    }
    let Some((key, value)) = about else {
        return Err(StoreError::Failed(
            "these rows are no whole journal: the one about itself is missing".to_owned(),
        ));
    };
    checked(Table::Meta, &value)?;
    batch.put(Table::Meta, key, value);
    store.commit(&batch)?;
    Ok(count)
}

/// A key with its zero bytes as spaces and what is no text in hexadecimal digits.
fn text(key: &[u8]) -> String {
    let mut parts = Vec::new();
    let mut rest = key;
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        match std::str::from_utf8(&rest[..end]) {
            Ok(part) if !part.is_empty() && !part.chars().any(char::is_control) => {
                parts.push(part.to_owned())
            }
            _ => break,
        }
        rest = &rest[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(hex(rest));
    }
    parts.join(" ")
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A string takes whatever is written to it.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_were_written() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        for wrong in ["a", "zz", "+1", "ä0"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
