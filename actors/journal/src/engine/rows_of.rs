//! What is read from the store.

use std::{ops::Bound, time::Duration};

use bytes::Bytes;

use super::{
    active::{Answers, Phase},
    patch,
    timers::{Key, PAGE},
};
use crate::{
    actor::{Instance, Kind},
    engine::Engine,
    events::JournalEvent,
    id::{ActorId, NodeName, Place},
    packed::Packed,
    rows::{self, Changed, Delta, Meta, Reading, Reply, Seen, State},
    store::{Batch, Store, StoreError, Table, scan_prefix},
    time::Millis,
};

/// Rows that are read at once where there may be many.
const ROWS: usize = 1024;

/// How often answers are looked through within the time for which they are kept.
const SWEEPS: u32 = 12;

/// Openings that are remembered: a backup may be that many openings old and is still found to be one.
const OPENINGS: usize = 64;

/// What a journal was in the middle of.
pub(crate) struct Recovered {
    pub(crate) node: NodeName,
    pub(crate) openings: Vec<(u64, u64)>,
    pub(crate) out: Vec<(ActorId, Place, u64, Packed)>,
    pub(crate) timers: Vec<(Key, Packed)>,
}

fn damaged(table: Table) -> StoreError {
    let what = format!("a key of the table {} cannot be read", table.name());
    StoreError::Damaged { place: "the journal".to_owned(), what }
}

/// Reads what a store knows of itself, notes that it is opened, and finds what was on its way.
pub(crate) fn recover(
    store: &mut dyn Store,
    name: Option<&NodeName>,
    fresh: &NodeName,
    mark: u64,
) -> Result<Recovered, StoreError> {
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
    let node = NodeName::new(&meta.node).map_err(|_| damaged(Table::Meta))?;
    let (out, timers) = (out(store)?, timers(store, None)?);
    Ok(Recovered { node, openings: meta.openings, out, timers })
}

/// All messages that are on their way.
fn out(store: &mut dyn Store) -> Result<Vec<(ActorId, Place, u64, Packed)>, StoreError> {
    let mut found = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    loop {
        let from = last.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = store.scan(Table::Out, from, Bound::Unbounded, ROWS)?;
        let Some((key, _)) = page.last() else { return Ok(found) };
        last = Some(key.clone());
        for (key, value) in page {
            let mut reading = Reading(&key);
            let (Some(from), Some(to), Some(number)) =
                (reading.actor(), reading.place(), reading.number())
            else {
                return Err(damaged(Table::Out));
            };
            found.push((from, to, number, rows::opened("a message on its way", &value)?));
        }
    }
}

/// The timers behind this one.
pub(crate) fn timers(
    store: &mut dyn Store,
    from: Option<&Key>,
) -> Result<Vec<(Key, Packed)>, StoreError> {
    let from = from.map(|(due, actor, number)| rows::timer(*due, actor, *number));
    let from = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let page = store.scan(Table::Timer, from, Bound::Unbounded, PAGE)?;
    let read = |(key, value): (Vec<u8>, Vec<u8>)| {
        let mut reading = Reading(&key);
        let (Some(due), Some(actor), Some(number)) =
            (reading.number(), reading.actor(), reading.number())
        else {
            return Err(damaged(Table::Timer));
        };
        Ok(((Millis(due), actor, number), rows::opened("a timer", &value)?))
    };
    page.into_iter().map(read).collect()
}

/// A page of answers: the last one's key, and the keys of those that are old.
#[derive(Debug, Default)]
struct OldAnswers {
    last: Option<Vec<u8>>,
    old: Vec<Vec<u8>>,
}

/// The page of answers behind this one; those from before this time are old.
fn old_answers(
    store: &mut dyn Store,
    from: Option<&[u8]>,
    before: Millis,
) -> Result<OldAnswers, StoreError> {
    let from = from.map_or(Bound::Unbounded, Bound::Excluded);
    let page = store.scan(Table::Reply, from, Bound::Unbounded, ROWS)?;
    let last = page.last().map(|(key, _)| key.clone());
    let mut old = Vec::new();
    for (key, value) in page {
        if rows::opened::<Reply>("an answer", &value)?.at < before {
            old.push(key);
        }
    }
    Ok(OldAnswers { last, old })
}

/// An actor's rows.
struct Found {
    state: Option<State>,
    deltas: Vec<(u64, Delta)>,
}

fn found(store: &mut dyn Store, id: &ActorId) -> Result<Found, StoreError> {
    let prefix = rows::of_actor(id);
    let state = store.get(Table::State, &prefix)?;
    let state = state.map(|row| rows::opened::<State>("a state", &row)).transpose()?;
    let page = scan_prefix(store, Table::Delta, &prefix, usize::MAX)?;
    let delta = |(key, value): (Vec<u8>, Vec<u8>)| {
        let turn = Reading(&key[prefix.len()..]).number().ok_or_else(|| damaged(Table::Delta))?;
        Ok((turn, rows::opened("what a turn has changed", &value)?))
    };
    Ok(Found { state, deltas: page.into_iter().map(delta).collect::<Result<_, StoreError>>()? })
}

/// An actor as it is made of its rows.
struct Woken {
    instance: Box<dyn Instance>,
    saved: Option<Bytes>,
    events: Vec<Bytes>,
    since_checkpoint: (u64, usize),
    turn: u64,
    numbered: u64,
    born: u64,
}

fn woken(kind: &Kind, id: &ActorId, found: Found) -> Result<Woken, String> {
    let Found { state, deltas } = found;
    let state = state.unwrap_or(State {
        version: kind.version,
        codec: kind.codec,
        turn: 0,
        numbered: 0,
        born: 0,
        state: None,
    });
    if state.version > kind.version {
        return Err(format!(
            "its state has version {}, and this build reads up to {}: use a newer build",
            state.version, kind.version
        ));
    }
    if state.codec != kind.codec && state.version == kind.version {
        return Err(format!(
            "its state has codec {}, and its kind is declared with {}: raise its version and migrate",
            state.codec, kind.codec
        ));
    }
    let (mut turn, mut numbered, mut bytes) = (state.turn, state.numbered, state.state);
    let (mut events, mut weight, mut count) = (Vec::new(), 0, 0);
    for (number, delta) in deltas {
        count += 1;
        // Those in front of the checkpoint are removed with the next one.
        if number <= state.turn {
            continue;
        }
        (turn, numbered) = (number, delta.numbered);
        weight += patch::weight(&delta.change);
        match delta.change {
            Changed::Patch { length, places } => {
                let old = bytes.take().unwrap_or_default();
                let new = patch::applied(&old, length, &places)
                    .ok_or("a change does not fit its state")?;
                bytes = Some(new.into());
            }
            Changed::Events(more) => events.extend(more),
        }
    }
    let mut instance = match &bytes {
        Some(bytes) => (kind.load)(state.version, bytes).map_err(|error| {
            format!("its state of version {} cannot be read: {error}", state.version)
        })?,
        None => (kind.begin)(id),
    };
    for event in &events {
        instance.replay(event).map_err(|error| format!("an event cannot be read: {error}"))?;
    }
    let mut saved = bytes;
    if state.version != kind.version && saved.is_some() {
        // A migrated state is written whole with the next turn: what would be a change is one of the older shape.
        saved = Some(instance.save()?.into());
        events.clear();
        weight = usize::MAX;
    }
    Ok(Woken {
        instance,
        saved,
        events,
        since_checkpoint: (count, weight),
        turn,
        numbered,
        born: state.born,
    })
}

impl Engine {
    /// Removes the answers of askers that have not been heard of for long, page by page, for as long as the engine lives.
    pub(super) fn sweep(&self) {
        let me = self.me.clone();
        let pause = (self.settings.memory / SWEEPS).max(Duration::from_millis(100));
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(pause).await;
                let mut from: Option<Vec<u8>> = None;
                loop {
                    let reading = {
                        let Some(core) = me.upgrade() else { return };
                        let engine = core.borrow();
                        let before = engine.clock.now().before(engine.settings.memory);
                        let from = from.clone();
                        engine.writer.read(move |store| old_answers(store, from.as_deref(), before))
                    };
                    let Ok(OldAnswers { last, old }) = reading.await else { return };
                    let Some(core) = me.upgrade() else { return };
                    if !old.is_empty() {
                        let mut batch = Batch::default();
                        old.into_iter().for_each(|key| batch.remove(Table::Reply, key));
                        core.borrow_mut().submit(batch, Vec::new());
                    }
                    if last.is_none() {
                        break;
                    }
                    from = last;
                }
            }
        });
    }

    /// Begins to read an actor's rows.
    pub(super) fn wake(&mut self, id: &ActorId) {
        let (me, id) = (self.me.clone(), id.clone());
        let reading = self.writer.read({
            let id = id.clone();
            move |store| found(store, &id)
        });
        tokio::task::spawn_local(async move {
            let rows = reading.await;
            let Some(core) = me.upgrade() else { return };
            let mut engine = core.borrow_mut();
            engine.points.pass("load.after");
            engine.woken(&id, rows);
            engine.work();
        });
    }

    fn woken(&mut self, id: &ActorId, rows: Result<Found, StoreError>) {
        let outcome = match (rows, self.kinds.get(id.kind())) {
            (Ok(rows), Some(kind)) => woken(kind, id, rows),
            (Ok(_), None) => Err(format!(
                "the journal was opened without the kind {:?}: give it to the builder with `kind`",
                id.kind()
            )),
            (Err(error @ StoreError::Damaged { .. }), _) => Err(error.to_string()),
            (Err(error), _) => return self.fail(&error),
        };
        let woken = match outcome {
            Ok(woken) => woken,
            Err(why) => return self.break_down(id, why),
        };
        let Some(active) = self.actors.get_mut(id) else { return };
        (active.saved, active.events) = (woken.saved, woken.events);
        active.since_checkpoint = woken.since_checkpoint;
        (active.turn, active.numbered, active.born) = (woken.turn, woken.numbered, woken.born);
        active.phase = Phase::Awake(woken.instance);
        self.is_ready(id);
    }

    /// Begins to read how far a sender's messages have been taken.
    pub(super) fn look_up_seen(&self, id: &ActorId, from: &Place) {
        let key = rows::pair(id, from);
        let reading = self.writer.read(move |store| match store.get(Table::Seen, &key)? {
            Some(row) => rows::opened::<Seen>("a watermark", &row),
            None => Ok(Seen::default()),
        });
        let from = from.clone();
        self.looked_up(id, reading, move |active, seen| {
            active.seen.insert(from, seen);
        });
    }

    /// Begins to read what an asker has been answered.
    pub(super) fn look_up_answers(&self, id: &ActorId, client: u128) {
        let prefix = rows::replies(id, client);
        let most = self.settings.answers + 1;
        let reading = self.writer.read(move |store| {
            let mut answers = Answers::default();
            for (key, value) in scan_prefix(store, Table::Reply, &prefix, most)? {
                let number = Reading(&key[prefix.len()..]).number();
                let number = number.ok_or_else(|| damaged(Table::Reply))?;
                let reply = rows::opened::<Reply>("an answer", &value)?;
                answers.settled = answers.settled.max(reply.settled);
                answers.known.insert(number, (reply.answer, 0));
            }
            Ok(answers)
        });
        self.looked_up(id, reading, move |active, answers| {
            active.answers.insert(client, answers);
        });
    }

    /// Begins to read how often the message in front has been tried.
    pub(super) fn look_up_attempts(&self, id: &ActorId, key: Vec<u8>) {
        let reading = self.writer.read(move |store| match store.get(Table::Attempt, &key)? {
            Some(row) => rows::opened::<rows::Attempt>("a count of attempts", &row),
            None => Ok(rows::Attempt::default()),
        });
        self.looked_up(id, reading, move |active, attempt| {
            if let Some(front) = active.inbox.front_mut() {
                front.trial = super::active::Trial::Known(attempt.count);
            }
        });
    }

    /// Hands an actor what was read for it, and lets it go on.
    fn looked_up<T: 'static>(
        &self,
        id: &ActorId,
        reading: impl Future<Output = Result<T, StoreError>> + 'static,
        take: impl FnOnce(&mut super::Active, T) + 'static,
    ) {
        let (me, id) = (self.me.clone(), id.clone());
        tokio::task::spawn_local(async move {
            let read = reading.await;
            let Some(core) = me.upgrade() else { return };
            let mut engine = core.borrow_mut();
            match read {
                Ok(read) => {
                    let durable = engine.durable;
                    if let Some(active) = engine.actors.get_mut(&id) {
                        active.reads = false;
                        active.forget_some(durable);
                        take(active, read);
                    }
                    engine.is_ready(&id);
                    engine.work();
                }
                Err(error @ StoreError::Damaged { .. }) => {
                    engine.break_down(&id, error.to_string())
                }
                Err(error) => engine.fail(&error),
            }
        });
    }

    /// An actor cannot be run any more. What waits for it is kept in the store.
    pub(super) fn break_down(&mut self, id: &ActorId, why: String) {
        if let Some(active) = self.actors.get_mut(id) {
            (active.phase, active.reads) = (Phase::Broken(why.as_str().into()), false);
        }
        self.say(JournalEvent::Broken { actor: id.clone(), why });
        self.is_ready(id);
        self.work();
    }
}
