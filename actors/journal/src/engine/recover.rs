//! What a journal was in the middle of when it was last open.

use super::timers::{self, Key};
use crate::{
    id::{ActorId, NodeName, Place},
    packed::Packed,
    publication::Published,
    rows::{self, Meta, Reading},
    store::{Batch, Store, StoreError, Table, each_row},
};

/// Openings that are remembered: a backup may be that many openings old and is still found to be one.
const OPENINGS: usize = 64;

/// What a journal was in the middle of.
pub(crate) struct Recovered {
    pub(crate) node: NodeName,
    pub(crate) openings: Vec<(u64, u64)>,
    pub(crate) out: Vec<(ActorId, Place, u64, Packed)>,
    pub(crate) timers: Vec<(Key, Packed)>,
    pub(crate) published: Vec<(ActorId, u64, Published)>,
}

/// Reads what a store knows of itself, notes that it is opened, and finds what was on its way.
pub(crate) fn recover(
    store: &mut dyn Store,
    name: Option<&NodeName>,
    fresh: &NodeName,
    mark: u64,
) -> Result<Recovered, StoreError> {
    if store.get(Table::Meta, crate::recorder::ABOUT)?.is_some() {
        let text = format!("{} is a recorder's: give the journal a file of its own", store.place());
        return Err(StoreError::Failed(text));
    }
    let mut meta = match store.get(Table::Meta, rows::META)? {
        None => Meta {
            format: rows::FORMAT,
            node: name.unwrap_or(fresh).as_str().to_owned(),
            openings: Vec::new(),
        },
        Some(row) => rows::opened::<Meta>("what the store knows of itself", &row)?,
    };
    if meta.format > rows::FORMAT {
        let (place, found) = (store.place(), meta.format);
        return Err(StoreError::Newer { place, found, known: rows::FORMAT });
    }
    if let Some(name) = name
        && name.as_str() != meta.node
    {
        let text =
            format!("{} is the journal of node {:?}, not of {name}", store.place(), meta.node);
        return Err(StoreError::Failed(text));
    }
    let number = meta.openings.last().map_or(0, |(number, _)| *number) + 1;
    meta.openings.push((number, mark));
    let over = meta.openings.len().saturating_sub(OPENINGS);
    meta.openings.drain(..over);
    let mut batch = Batch::default();
    batch.put(Table::Meta, rows::META.to_vec(), rows::sealed(&meta));
    store.commit(&batch)?;
    let node = NodeName::new(&meta.node).map_err(|_| rows::bad_key(Table::Meta))?;
    let (out, timers) = (out(store)?, timers::read_page(store, None)?);
    let published = published(store)?;
    Ok(Recovered { node, openings: meta.openings, out, timers, published })
}

/// All messages that are on their way.
fn out(store: &mut dyn Store) -> Result<Vec<(ActorId, Place, u64, Packed)>, StoreError> {
    let mut found = Vec::new();
    each_row(store, Table::Out, |_, key, value| {
        let mut reading = Reading(key);
        let (Some(from), Some(to), Some(number)) =
            (reading.actor(), reading.place(), reading.number())
        else {
            return Err(rows::bad_key(Table::Out));
        };
        found.push((from, to, number, rows::opened("a message on its way", value)?));
        Ok(())
    })?;
    Ok(found)
}

/// All that has been published and is not done with.
fn published(store: &mut dyn Store) -> Result<Vec<(ActorId, u64, Published)>, StoreError> {
    let mut found = Vec::new();
    each_row(store, Table::Publish, |_, key, value| {
        let mut reading = Reading(key);
        let (Some(actor), Some(number)) = (reading.actor(), reading.number()) else {
            return Err(rows::bad_key(Table::Publish));
        };
        found.push((actor, number, rows::opened("a publish", value)?));
        Ok(())
    })?;
    Ok(found)
}
