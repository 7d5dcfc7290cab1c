//! What an actor must know of whoever sends before it takes the message: read once, and kept while it is awake.

use super::{
    Active, Engine,
    active::{Answers, Trial},
};
use crate::{
    id::{ActorId, Place},
    rows::{self, Reading, Reply, Seen},
    store::{StoreError, Table, scan_prefix},
};

impl Engine {
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
                let number = number.ok_or_else(|| rows::bad_key(Table::Reply))?;
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
                front.trial = Trial::Known(attempt.count);
            }
        });
    }

    /// Hands an actor what was read for it, and lets it go on.
    fn looked_up<T: 'static>(
        &self,
        id: &ActorId,
        reading: impl Future<Output = Result<T, StoreError>> + 'static,
        take: impl FnOnce(&mut Active, T) + 'static,
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
}
