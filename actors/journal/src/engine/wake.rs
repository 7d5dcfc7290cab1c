//! Waking an actor: reading its rows, and making it of them.

use bytes::Bytes;

use super::{Engine, active::Phase, patch};
use crate::{
    actor::{Instance, Keep, Kind},
    events::JournalEvent,
    id::ActorId,
    rows::{self, Changed, Delta, Reading, State},
    store::{Store, StoreError, Table, scan_prefix},
};

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
        let turn =
            Reading(&key[prefix.len()..]).number().ok_or_else(|| rows::bad_key(Table::Delta))?;
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
    if saved.is_none() && events.is_empty() && kind.keep != Keep::Events {
        // As it begins, so that reading it changes nothing. What is written first is the whole.
        saved = Some(instance.save()?.into());
        weight = usize::MAX;
    }
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
