//! What is to be done with the message in front of an actor's inbox.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Engine, Release,
    active::{Active, Arrived, Phase, Source, Trial},
    refuse,
};
use crate::{
    events::JournalEvent,
    id::ActorId,
    rows::{self, Attempt, Dead, Seen},
    settings::Poison,
    store::{Batch, Table},
    wire::{Refusal, Taken},
};

/// What comes from another node has its sender's epoch; what comes from the same journal can be of no other one.
const OWN_EPOCH: u64 = 0;

impl Engine {
    /// Does what is to be done next for an actor; whether there may be more.
    pub(super) fn step(&mut self, id: &ActorId, active: &mut Active) -> bool {
        if active.reads || active.inbox.is_empty() {
            return false;
        }
        match &active.phase {
            Phase::Waking => return false,
            Phase::Broken(why) => {
                let refusal = Refusal::Broken(why.to_string());
                // What must not be forgotten is in the store, here or at its sender.
                while let Some(arrived) = active.pop() {
                    refuse(arrived.source, &refusal);
                }
                return false;
            }
            Phase::Awake(_) => {}
        }
        if self.uncommitted >= self.settings.uncommitted_bytes {
            self.stalled.insert(id.clone());
            return false;
        }
        let (most, bytes) = self.settings.outbox;
        if self.outbox.is_full(id, most, bytes, self.settings.all_outbox_bytes) {
            self.full.insert(id.clone());
            return false;
        }
        let Some(front) = active.inbox.front() else { return false };
        if front.not_before.is_some_and(|at| at > Instant::now()) {
            return false;
        }
        if let Some(place) = front.source.place() {
            if active.held.contains_key(place) {
                return self.hold_next(active);
            }
            if !active.seen.contains_key(place) {
                active.reads = true;
                self.look_up_seen(id, place);
                return false;
            }
        }
        if let Source::Client { client, .. } = &front.source
            && !active.answers.contains_key(client)
        {
            active.reads = true;
            self.look_up_answers(id, *client);
            return false;
        }
        if self.is_old(id, active) {
            return true;
        }
        self.tried(id, active)
    }

    /// Whether the message in front needs no turn; then it is gone.
    fn is_old(&mut self, id: &ActorId, active: &mut Active) -> bool {
        let Some(front) = active.inbox.front() else { return false };
        match &front.source {
            Source::Client { client, number, settled, .. } => {
                let Some(answers) = active.answers.get(client) else { return false };
                let outcome = if let Some((answer, ticket)) = answers.known.get(number) {
                    (*ticket, Ok(answer.clone()))
                } else if *number < answers.settled {
                    (0, Err(Refusal::Settled))
                } else if answers.is_full(*settled, self.settings.answers) {
                    (0, Err(Refusal::Busy))
                } else {
                    return false;
                };
                self.stats.duplicates += u64::from(outcome.1.is_ok());
                if let Some(Arrived { source: Source::Client { asker, .. }, .. }) = active.pop() {
                    self.answer_at(outcome.0, asker, outcome.1);
                }
                true
            }
            Source::Near { from, number } => {
                let seen = active.seen.get(from).copied().unwrap_or_default();
                if *number > seen.number {
                    return false;
                }
                let row = rows::out(&from.actor, &own(self, id), *number);
                let sender = from.actor.clone();
                self.stats.duplicates += 1;
                if let Some(arrived) = active.pop() {
                    let mut batch = Batch::default();
                    batch.remove(Table::Out, row);
                    self.submit(batch, vec![Release::Took(sender, arrived.message)]);
                }
                true
            }
            Source::Far { from, epoch, after, number, forced, .. } => {
                let seen = active.seen.get(from).copied().unwrap_or_default();
                let taken = if *epoch < seen.epoch {
                    Taken::OldEpoch
                } else if *epoch == seen.epoch && *number <= seen.number {
                    self.stats.duplicates += 1;
                    Taken::UpTo(seen.number)
                } else if *epoch == seen.epoch && *after > seen.number && !forced {
                    Taken::Gap(seen.number)
                } else {
                    return false;
                };
                if let Some(Arrived {
                    source: Source::Far { courier: Some(courier), .. }, ..
                }) = active.pop()
                {
                    self.release_at(active.ticket, Release::Tell(courier, taken));
                }
                true
            }
            Source::Timer(timer) => {
                if timer.number > active.born {
                    return false;
                }
                let mut batch = Batch::default();
                batch.remove(Table::Timer, rows::timer(timer.due, id, timer.number));
                active.pop();
                self.submit(batch, Vec::new());
                true
            }
            Source::Published(number) => {
                if *number > active.born {
                    return false;
                }
                let mut batch = Batch::default();
                batch.remove(Table::Publish, rows::numbered(id, *number));
                active.pop();
                self.submit(batch, Vec::new());
                true
            }
        }
    }

    /// A message that comes again may have killed the process: how often it is tried is written down before it is.
    fn tried(&mut self, id: &ActorId, active: &mut Active) -> bool {
        let Some(front) = active.inbox.front_mut() else { return false };
        let key = attempt_row(id, &front.source);
        match front.trial {
            Trial::Suspect => {
                active.reads = true;
                self.look_up_attempts(id, key);
                false
            }
            Trial::Known(count) if count >= self.settings.attempts => {
                let why = "it failed, or the process ended, whenever it was tried";
                self.give_up(id, active, count, why)
            }
            Trial::Known(count) => {
                front.trial = Trial::Noting(count + 1);
                let mut batch = Batch::default();
                batch.put(Table::Attempt, key, rows::sealed(&Attempt { count: count + 1 }));
                self.submit(batch, vec![Release::Noted(id.clone())]);
                false
            }
            Trial::Noting(_) => false,
            Trial::Fresh | Trial::Noted(_) => self.run(id, active),
        }
    }

    /// A message of a paused sender joins those that wait already.
    fn hold_next(&mut self, active: &mut Active) -> bool {
        let Some(mut arrived) = active.pop() else { return false };
        if let Source::Far { courier, .. } = &mut arrived.source {
            // Its sender keeps it, and brings it again.
            if let Some(courier) = courier.take() {
                let _ = courier.send(Taken::Paused);
            }
            return true;
        }
        let line = arrived.source.place().and_then(|place| active.held.get_mut(place));
        if let Some(line) = line {
            line.push_back(arrived);
        }
        true
    }

    /// The message in front has failed.
    pub(super) fn failed_turn(&mut self, id: &ActorId, active: &mut Active, why: String) -> bool {
        self.stats.failures += 1;
        let Some(front) = active.inbox.front() else { return false };
        if matches!(front.source, Source::Client { .. }) {
            return self.refuse_asker(id, active, Refusal::Failed(why));
        }
        let (count, from) = (front.trial.count(), front.source.text());
        self.say(JournalEvent::Failure { actor: id.clone(), from, count, why: why.clone() });
        if count >= self.settings.attempts {
            return self.give_up(id, active, count, &why);
        }
        let Some(front) = active.inbox.front_mut() else { return false };
        front.trial = Trial::Known(count);
        let doubled = self.settings.retry.saturating_mul(1 << (count - 1).min(10));
        let pause = doubled.min(Duration::from_secs(10));
        front.not_before = Some(Instant::now() + pause);
        let again = id.clone();
        self.later(pause + Duration::from_millis(1), move |engine| {
            engine.is_ready(&again);
            engine.work();
        });
        false
    }

    /// The request in front has come to nothing; its asker decides for itself whether it asks again.
    pub(super) fn refuse_asker(
        &mut self,
        id: &ActorId,
        active: &mut Active,
        refusal: Refusal,
    ) -> bool {
        let Some(Arrived { source, trial, .. }) = active.pop() else { return false };
        let row = attempt_row(id, &source);
        let Source::Client { asker, .. } = source else { return false };
        if trial == Trial::Fresh {
            self.answer_at(active.ticket, asker, Err(refusal));
        } else {
            let mut batch = Batch::default();
            batch.remove(Table::Attempt, row);
            active.ticket = self.submit(batch, vec![Release::Answer(asker, Err(refusal))]);
        }
        true
    }

    /// The message in front has failed as often as it may.
    fn give_up(&mut self, id: &ActorId, active: &mut Active, count: u32, why: &str) -> bool {
        let Some(mut arrived) = active.pop() else { return false };
        let (from, key) = (arrived.source.text(), attempt_row(id, &arrived.source));
        if let Source::Client { asker, .. } = arrived.source {
            let _ = asker.send(Err(Refusal::Poisonous(count)));
            return true;
        }
        match self.settings.poison {
            Poison::Park => {
                self.stats.dead += 1;
                let event = JournalEvent::DeadLetter {
                    actor: id.clone(),
                    from: from.clone(),
                    why: why.to_owned(),
                };
                let mut releases = vec![Release::Say(event)];
                active.numbered += 1;
                let dead = Dead {
                    at: self.clock.now(),
                    from,
                    why: why.to_owned(),
                    message: arrived.message.clone(),
                };
                let mut batch = Batch::default();
                batch.remove(Table::Attempt, key);
                batch.put(Table::Dead, rows::numbered(id, active.numbered), rows::sealed(&dead));
                self.taken_rows(id, active, arrived, &mut batch, &mut releases);
                self.state_row(id, active, &mut batch);
                active.ticket = self.submit(batch, releases);
                true
            }
            Poison::Pause => {
                self.say(JournalEvent::Paused { actor: id.clone(), from });
                if let Source::Far { courier, .. } = &mut arrived.source
                    && let Some(courier) = courier.take()
                {
                    let _ = courier.send(Taken::Paused);
                }
                match arrived.source.place().cloned() {
                    Some(place) => active.held.entry(place).or_default().push_back(arrived),
                    None => active.held_timers.push(arrived),
                }
                true
            }
            Poison::Stop => {
                refuse(arrived.source, &Refusal::Poisonous(count));
                let why = format!("it was stopped by a message from {from}: {why}");
                self.say(JournalEvent::Broken { actor: id.clone(), why: why.clone() });
                active.phase = Phase::Broken(why.into());
                true
            }
        }
    }

    /// Notes that a message has been taken, in the batch of the turn that took it.
    pub(super) fn taken_rows(
        &mut self,
        id: &ActorId,
        active: &mut Active,
        arrived: Arrived,
        batch: &mut Batch,
        releases: &mut Vec<Release>,
    ) {
        match arrived.source {
            // Its answer is the turn's.
            Source::Client { .. } => {}
            Source::Near { from, number } => {
                let seen = Seen { epoch: OWN_EPOCH, number };
                batch.put(Table::Seen, rows::pair(id, &from), rows::sealed(&seen));
                batch.remove(Table::Out, rows::out(&from.actor, &own(self, id), number));
                releases.push(Release::Took(from.actor.clone(), arrived.message));
                active.seen.insert(from, seen);
            }
            Source::Far { from, epoch, after, number, forced, courier } => {
                let before = active.seen.get(&from).copied().unwrap_or_default();
                if forced && before.epoch == epoch && after > before.number {
                    releases.push(Release::Say(JournalEvent::Missing {
                        actor: id.clone(),
                        from: from.clone(),
                        after: before.number,
                        before: number,
                    }));
                }
                let seen = Seen { epoch, number };
                batch.put(Table::Seen, rows::pair(id, &from), rows::sealed(&seen));
                releases.extend(courier.map(|courier| Release::Tell(courier, Taken::UpTo(number))));
                active.seen.insert(from, seen);
            }
            Source::Timer(timer) => {
                batch.remove(Table::Timer, rows::timer(timer.due, id, timer.number));
            }
            Source::Published(number) => {
                batch.remove(Table::Publish, rows::numbered(id, number));
            }
        }
    }
}

/// Where an actor here is.
pub(super) fn own(engine: &Engine, id: &ActorId) -> crate::id::Place {
    crate::id::Place { node: engine.node.clone(), actor: id.clone() }
}

pub(super) fn attempt_row(id: &ActorId, source: &Source) -> Vec<u8> {
    let mut key = rows::of_actor(id);
    key.extend_from_slice(&source.key());
    key
}
