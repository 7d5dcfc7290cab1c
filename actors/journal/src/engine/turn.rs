//! Running a handler, and the rows that its turn writes.

use bytes::Bytes;

use super::{
    Engine, Release,
    active::{Active, Arrived, Phase, Source, Trial},
    patch,
    step::{attempt_row, own},
};
use crate::{
    actor::{Fault, Instance, Keep, Kind},
    id::ActorId,
    publication::Published,
    rows::{self, Changed, Delta, Past, Reply, State},
    store::{Batch, Table},
    turn::{Effects, Given},
    wire::Refusal,
};

/// Turns between two checkpoints, at most.
const CHANGES: u64 = 64;
/// As [`CHANGES`], for actors that are kept as events: their checkpoints cost more, since nothing else is ever encoded.
const EVENTS: u64 = 1024;
/// Bytes of changes between two checkpoints that are worth nothing to save.
const FREE: usize = 4096;

impl Engine {
    /// Runs the message in front; whether the actor may go on.
    pub(super) fn run(&mut self, id: &ActorId, active: &mut Active) -> bool {
        let Some(&kind) = self.kinds.get(id.kind()) else { return false };
        let Phase::Awake(instance) = &mut active.phase else { return false };
        let Some(front) = active.inbox.front() else { return false };
        let mut seed = [0; 16];
        if let Err(error) = getrandom::fill(&mut seed) {
            return self.failed_turn(
                id,
                active,
                format!("the system gives no random numbers: {error}"),
            );
        }
        let given =
            Given { own: own(self, id), at: self.clock.now(), seed, numbered: active.numbered };
        self.points.pass("turn.before");
        let mut outcome = run_and_encode(&kind, &mut **instance, &front.message, &given);
        self.points.pass("turn.after");
        if self.settings.twice && outcome.is_ok() {
            outcome = again(&kind, id, active, &given, outcome);
        }
        let ran = match outcome {
            Ok(ran) => ran,
            Err(fault) => return self.undo(&kind, id, active, fault),
        };
        active.used = tokio::time::Instant::now();
        self.keep(&kind, id, active, given, ran);
        true
    }

    /// The turn came to nothing: the actor is made anew of what it was.
    fn undo(&mut self, kind: &Kind, id: &ActorId, active: &mut Active, fault: Fault) -> bool {
        match before(kind, id, active) {
            Ok(instance) => active.phase = Phase::Awake(instance),
            Err(why) => {
                active.phase = Phase::Broken(
                    format!("it failed, and its last state cannot be read: {why}").into(),
                )
            }
        }
        let refusal = match fault {
            Fault::Failed(why) => return self.failed_turn(id, active, why),
            Fault::Unknown(tag) => Refusal::UnknownMessage(tag),
            Fault::Malformed(why) => Refusal::Malformed(why),
        };
        if matches!(active.inbox.front(), Some(Arrived { source: Source::Client { .. }, .. })) {
            return self.refuse_asker(id, active, refusal);
        }
        self.failed_turn(id, active, refusal.to_string())
    }

    /// Writes down what a turn has come to, and what it is to release.
    fn keep(&mut self, kind: &Kind, id: &ActorId, active: &mut Active, given: Given, ran: Ran) {
        let Some(arrived) = active.pop() else { return };
        let Ran { answer, effects, state } = ran;
        let is_changed = match &state {
            Some(state) => active.saved.as_deref() != Some(&**state),
            None => !effects.events.is_empty(),
        };
        let does = !effects.sent.is_empty()
            || !effects.timers.is_empty()
            || !effects.cancelled.is_empty()
            || !effects.published.is_empty()
            || effects.ends;
        if effects.sleeps {
            active.sleeps = true;
        }
        if !is_changed
            && !does
            && arrived.trial == Trial::Fresh
            && matches!(arrived.source, Source::Client { .. })
        {
            // It has only read. What it has read must be durable before anybody hears of it.
            self.stats.reads += 1;
            if let Source::Client { asker, .. } = arrived.source {
                self.answer_at(active.ticket, asker, Ok(answer.into()));
            }
            return;
        }
        self.stats.turns += 1;
        let (mut batch, mut releases) = (Batch::default(), Vec::new());
        active.turn += 1;
        active.numbered = effects.numbered;
        if self.settings.history > 0 {
            self.past_rows(id, active, &given, &arrived, state.as_deref(), &mut batch);
        }
        if effects.ends {
            self.end(kind, id, active, &mut batch);
        } else {
            changed_rows(kind, id, active, state, &effects, &mut batch);
        }
        self.effect_rows(id, active, effects, &mut batch, &mut releases);
        if arrived.trial != Trial::Fresh {
            batch.remove(Table::Attempt, attempt_row(id, &arrived.source));
        }
        let mut kept = None;
        let arrived = match arrived {
            Arrived { source: Source::Client { client, number, settled, asker }, .. } => {
                let answer = Bytes::from(answer);
                self.reply_rows(id, active, (client, number, settled), &answer, &mut batch);
                releases.push(Release::Answer(asker, Ok(answer.clone())));
                kept = Some((client, number, answer));
                None
            }
            arrived => Some(arrived),
        };
        if let Some(arrived) = arrived {
            self.taken_rows(id, active, arrived, &mut batch, &mut releases);
        }
        active.ticket = self.submit(batch, releases);
        if let Some((client, number, answer)) = kept {
            let answers = active.answers.entry(client).or_default();
            answers.known.insert(number, (answer, active.ticket));
        }
    }

    fn past_rows(
        &self,
        id: &ActorId,
        active: &Active,
        given: &Given,
        arrived: &Arrived,
        state: Option<&[u8]>,
        batch: &mut Batch,
    ) {
        let past = Past {
            at: given.at,
            seed: given.seed,
            from: arrived.source.text(),
            message: arrived.message.clone(),
            state: Bytes::copy_from_slice(state.unwrap_or_default()),
        };
        batch.put(Table::History, rows::numbered(id, active.turn), rows::sealed(&past));
        if let Some(old) = active.turn.checked_sub(self.settings.history) {
            batch.remove(Table::History, rows::numbered(id, old));
        }
    }

    /// The actor's state is gone. What it has numbered is not: receivers would take what its next life sends for old.
    fn end(&mut self, kind: &Kind, id: &ActorId, active: &mut Active, batch: &mut Batch) {
        remove_changes(id, active, batch);
        active.born = active.numbered;
        (active.saved, active.events) = (None, Vec::new());
        active.phase = Phase::Awake((kind.begin)(id));
        active.sleeps = true;
        self.state_row(id, active, batch);
    }

    /// The checkpoint, as it is.
    pub(super) fn state_row(&self, id: &ActorId, active: &mut Active, batch: &mut Batch) {
        let Some(kind) = self.kinds.get(id.kind()) else { return };
        if kind.keep == Keep::Events && !active.events.is_empty() {
            // The checkpoint is older than the events, which stand on their own rows.
            return;
        }
        checkpoint(kind, id, active, batch);
    }

    fn effect_rows(
        &mut self,
        id: &ActorId,
        active: &mut Active,
        effects: Effects,
        batch: &mut Batch,
        releases: &mut Vec<Release>,
    ) {
        for sending in effects.sent {
            batch.put(
                Table::Out,
                rows::out(id, &sending.to, sending.number),
                rows::sealed(&sending.message),
            );
            self.outbox.charge(id, &sending.message);
            releases.push(Release::Send(id.clone(), sending));
        }
        for (timer, message) in effects.timers {
            batch.put(
                Table::Timer,
                rows::timer(timer.due, id, timer.number),
                rows::sealed(&message),
            );
            releases.push(Release::Timer((timer.due, id.clone(), timer.number), message));
        }
        for (number, publication) in effects.published {
            self.outbox.charge(id, &publication.message);
            let waits = Published::Waits(publication);
            batch.put(Table::Publish, rows::numbered(id, number), rows::sealed(&waits));
            let Published::Waits(publication) = waits else { continue };
            releases.push(Release::Publish(id.clone(), number, publication));
        }
        for timer in effects.cancelled {
            batch.remove(Table::Timer, rows::timer(timer.due, id, timer.number));
            self.timers.forget(&(timer.due, id.clone(), timer.number));
            // It may have fired and wait behind this very message. The one in front was this turn's own.
            active.forget_timer(timer);
        }
    }

    fn reply_rows(
        &self,
        id: &ActorId,
        active: &mut Active,
        (client, number, settled): (u128, u64, u64),
        answer: &Bytes,
        batch: &mut Batch,
    ) {
        let answers = active.answers.entry(client).or_default();
        answers.settled = answers.settled.max(settled.min(number));
        let open = answers.known.split_off(&answers.settled);
        for settled in std::mem::replace(&mut answers.known, open).into_keys() {
            batch.remove(Table::Reply, rows::reply(id, client, settled));
        }
        let reply =
            Reply { settled: answers.settled, at: self.clock.now(), answer: answer.clone() };
        batch.put(Table::Reply, rows::reply(id, client, number), rows::sealed(&reply));
    }
}

/// What a handler has come to.
struct Ran {
    answer: Vec<u8>,
    effects: Effects,
    /// The state, encoded, unless the actor is kept as events.
    state: Option<Vec<u8>>,
}

fn run_and_encode(
    kind: &Kind,
    instance: &mut dyn Instance,
    message: &crate::packed::Packed,
    given: &Given,
) -> Result<Ran, Fault> {
    let (answer, effects) = instance.run(message, given.clone())?;
    let state = match kind.keep {
        Keep::Events => None,
        Keep::Snapshot | Keep::Deltas => Some(
            instance
                .save()
                .map_err(|error| Fault::Failed(format!("the state cannot be encoded: {error}")))?,
        ),
    };
    Ok(Ran { answer, effects, state })
}

/// The actor as it was before the turn.
fn before(kind: &Kind, id: &ActorId, active: &Active) -> Result<Box<dyn Instance>, String> {
    let mut instance = match &active.saved {
        Some(saved) => (kind.load)(kind.version, saved)?,
        None => (kind.begin)(id),
    };
    for event in &active.events {
        instance.replay(event)?;
    }
    Ok(instance)
}

/// Runs a turn once more, on the state from before it: whatever is not the same comes from somewhere else than the state, the message
/// and the turn.
fn again(
    kind: &Kind,
    id: &ActorId,
    active: &Active,
    given: &Given,
    first: Result<Ran, Fault>,
) -> Result<Ran, Fault> {
    let first = first?;
    let Some(front) = active.inbox.front() else { return Ok(first) };
    let mut instance = before(kind, id, active).map_err(Fault::Failed)?;
    let second = run_and_encode(kind, &mut *instance, &front.message, given);
    let what = match &second {
        Err(_) => "the second time it failed",
        Ok(second) if second.state != first.state => "the states differ",
        Ok(second) if second.effects != first.effects => {
            "what they sent, timed or recorded differs"
        }
        Ok(second) if second.answer != first.answer => "the answers differ",
        Ok(_) => return Ok(first),
    };
    Err(Fault::Failed(format!(
        "the handler is not deterministic: of two runs of one turn, {what}. Take time and randomness from `Turn`, and keep \
         what you iterate in an order (`BTreeMap`, `Vec`)"
    )))
}

/// Writes what has changed in the state.
fn changed_rows(
    kind: &Kind,
    id: &ActorId,
    active: &mut Active,
    state: Option<Vec<u8>>,
    effects: &Effects,
    batch: &mut Batch,
) {
    let change = match (kind.keep, state) {
        (Keep::Events, _) => {
            let events: Vec<Bytes> = effects.events.iter().cloned().map(Bytes::from).collect();
            active.events.extend(events.iter().cloned());
            Some(Changed::Events(events))
        }
        (Keep::Deltas, Some(state)) => {
            let change = active.saved.as_deref().map(|old| patch::between(old, &state));
            active.saved = Some(state.into());
            change
        }
        (_, state) => {
            active.saved = state.map(Bytes::from);
            None
        }
    };
    let (turns, bytes) = active.since_checkpoint;
    let weight = change.as_ref().map_or(0, patch::weight);
    let all = bytes.saturating_add(weight);
    let most = if kind.keep == Keep::Events { EVENTS } else { CHANGES };
    let size = active.saved.as_ref().map_or(0, Bytes::len);
    let is_due = turns >= most || all >= size / 2 + FREE || active.turn == 1;
    match change {
        // A checkpoint that cannot be made leaves the turn to stand as a change: it was good.
        Some(change) if !is_due || (kind.keep == Keep::Events && !fold_events(active)) => {
            let delta = Delta { numbered: active.numbered, change };
            batch.put(Table::Delta, rows::numbered(id, active.turn), rows::sealed(&delta));
            active.since_checkpoint = (turns + 1, all);
        }
        _ => {
            remove_changes(id, active, batch);
            checkpoint(kind, id, active, batch);
        }
    }
}

/// Makes the checkpoint of an actor that is kept as events; false where its state cannot be encoded.
fn fold_events(active: &mut Active) -> bool {
    let Phase::Awake(instance) = &active.phase else { return false };
    let Ok(state) = instance.save() else { return false };
    (active.saved, active.events) = (Some(state.into()), Vec::new());
    true
}

fn remove_changes(id: &ActorId, active: &mut Active, batch: &mut Batch) {
    let (turns, _) = std::mem::take(&mut active.since_checkpoint);
    for turn in active.turn.saturating_sub(turns)..active.turn {
        batch.remove(Table::Delta, rows::numbered(id, turn));
    }
}

fn checkpoint(kind: &Kind, id: &ActorId, active: &mut Active, batch: &mut Batch) {
    let state = State {
        version: kind.version,
        codec: kind.codec,
        turn: active.turn,
        numbered: active.numbered,
        born: active.born,
        state: active.saved.clone(),
    };
    batch.put(Table::State, rows::of_actor(id), rows::sealed(&state));
}
