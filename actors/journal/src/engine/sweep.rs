//! Forgetting the answers of askers that are not heard of any more.

use std::{ops::Bound, time::Duration};

use super::Engine;
use crate::{
    id::ActorId,
    rows::{self, Reply},
    store::{Batch, PAGE, Store, StoreError, Table},
    time::Millis,
};

/// How often answers are looked through within the time for which they are kept.
const SWEEPS: u32 = 12;

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
    let page = store.scan(Table::Reply, from, Bound::Unbounded, PAGE)?;
    let last = page.last().map(|(key, _)| key.clone());
    let mut old = Vec::new();
    for (key, value) in page {
        if rows::opened::<Reply>("an answer", &value)?.at < before {
            old.push(key);
        }
    }
    Ok(OldAnswers { last, old })
}

impl Engine {
    /// Forgets what some askers were answered to the request with this number.
    pub(crate) fn forget_answers(&mut self, actor: &ActorId, askers: &[u128], number: u64) {
        if askers.is_empty() || self.failed.is_some() {
            return;
        }
        let mut batch = Batch::default();
        for asker in askers {
            batch.remove(Table::Reply, rows::reply(actor, *asker, number));
            if let Some(active) = self.actors.get_mut(actor) {
                active.answers.remove(asker);
            }
        }
        self.submit(batch, Vec::new());
    }

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
}
