//! Bringing messages to other nodes: one batch of a pair at a time, again and again until it is acknowledged.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::{Rc, Weak},
    time::Duration,
};

use actogen::{Context, ContextId, Remote};
use tokio::sync::{Semaphore, oneshot};

use super::{Engine, Release, outbox::Pair};
use crate::{
    events::JournalEvent,
    id::NodeName,
    keeper::Keeper,
    rows,
    store::{Batch, StoreError, Table},
    wire::{Deliver, Hello, Taken, Welcome},
};

/// Messages and bytes that are brought at once.
const BATCH: (usize, usize) = (256, 256 * 1024);

/// How long another node may take to make a batch durable.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long after an attempt that failed the next one is made, at first and at last.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// How long until a receiver that waits for its operator is asked again.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// The epoch of a journal that was never restored.
const FIRST_EPOCH: u64 = 1;

/// How far an epoch may be ahead that another node remembers.
const MOST_EPOCHS: u64 = 1 << 16;

/// Batches that are under way to one node at once: those to a node that is silent hold nobody else up.
const AT_ONCE: usize = 16;

/// What is known of other nodes.
pub(crate) struct Couriers {
    pub(crate) context: Context,
    keepers: HashMap<NodeName, Remote<Keeper>>,
    greeted: HashSet<NodeName>,
    /// The epochs of what is sent to others, as far as they have been looked up.
    epochs: HashMap<NodeName, u64>,
    /// The contexts that others have shown to be, by the mesh's names.
    pub(crate) shown: HashMap<NodeName, ContextId>,
    at_once: HashMap<NodeName, Rc<Semaphore>>,
}

impl Couriers {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            keepers: HashMap::new(),
            greeted: HashSet::new(),
            epochs: HashMap::new(),
            shown: HashMap::new(),
            at_once: HashMap::new(),
        }
    }

    fn at_once(&mut self, node: &NodeName) -> Rc<Semaphore> {
        let make = || Rc::new(Semaphore::new(AT_ONCE));
        self.at_once.entry(node.clone()).or_insert_with(make).clone()
    }

    fn forget(&mut self, node: &NodeName) {
        self.keepers.remove(node);
        self.greeted.remove(node);
    }
}

type Me = Weak<RefCell<Engine>>;

/// What came of trying to bring a batch.
enum Outcome {
    Taken(u64),
    /// Try again after the usual pause.
    Later,
    /// Try again much later.
    MuchLater,
    /// Try again at once: something about it has changed.
    Again,
    /// There is nothing to bring any more, or nobody to bring it for.
    Done,
}

/// Brings a pair's messages for as long as there are some.
pub(super) fn serve(me: Me, pair: Pair) {
    tokio::task::spawn_local(async move {
        let mut pause = PAUSE.0;
        loop {
            match bring(&me, &pair).await {
                Outcome::Done => return,
                Outcome::Again => {}
                Outcome::Taken(upto) => {
                    let Some(core) = me.upgrade() else { return };
                    let is_progress = core.borrow_mut().acknowledged(&pair, upto);
                    drop(core);
                    if is_progress {
                        pause = PAUSE.0;
                    } else {
                        // A node that acknowledges what it was not sent is not asked without end.
                        tokio::time::sleep(jittered(LONG_PAUSE)).await;
                    }
                }
                Outcome::Later => {
                    tokio::time::sleep(jittered(pause)).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                Outcome::MuchLater => tokio::time::sleep(jittered(LONG_PAUSE)).await,
            }
        }
    });
}

/// Between half of it and all of it, so that many do not come at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    let mut random = [0];
    // Without random numbers they come at once.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause * u32::from(random[0]) / 512
}

async fn bring(me: &Me, pair: &Pair) -> Outcome {
    let (from, to) = pair;
    let Some(core) = me.upgrade() else { return Outcome::Done };
    let at_once = core.borrow_mut().couriers.at_once(&to.node);
    drop(core);
    let Ok(_one) = at_once.acquire().await else { return Outcome::Done };
    let after = match acknowledged(me, pair).await {
        Ok(Some(after)) => after,
        Ok(None) => return Outcome::Done,
        Err(_) => return Outcome::Later,
    };
    let Some(keeper) = greeted(me, &to.node).await else { return Outcome::Later };
    let Some(core) = me.upgrade() else { return Outcome::Done };
    let (deliver, last) = {
        let mut engine = core.borrow_mut();
        let sent = engine.outbox.batch(pair, BATCH.0, BATCH.1);
        let node = engine.node.clone();
        let epoch = engine.couriers.epochs.get(&to.node).copied().unwrap_or(FIRST_EPOCH);
        let Some(outgoing) = engine.outbox.pairs.get_mut(pair) else { return Outcome::Done };
        let Some(last) = sent.last().map(|sent| sent.number) else { return Outcome::Again };
        outgoing.queue.iter_mut().take(sent.len()).for_each(|sent| sent.again = true);
        let deliver = Deliver {
            from: crate::id::Place { node, actor: from.clone() },
            epoch,
            to: to.actor.clone(),
            after,
            forced: outgoing.forced,
            again: sent.iter().any(|sent| sent.again),
            messages: sent.into_iter().map(|sent| (sent.number, sent.message)).collect(),
        };
        (deliver, last)
    };
    drop(core);
    let answer = keeper.send(deliver).within(PATIENCE).await;
    let Some(core) = me.upgrade() else { return Outcome::Done };
    let mut engine = core.borrow_mut();
    match answer {
        Ok(Taken::UpTo(upto)) => {
            if let Some(outgoing) = engine.outbox.pairs.get_mut(pair) {
                outgoing.forced = false;
            }
            Outcome::Taken(upto.min(last))
        }
        Ok(Taken::Gap(_)) => {
            // What it lacks was acknowledged and is gone: it is told to go on, once.
            let outgoing = engine.outbox.pairs.get_mut(pair);
            match outgoing.map(|outgoing| std::mem::replace(&mut outgoing.forced, true)) {
                Some(false) => Outcome::Again,
                _ => Outcome::Later,
            }
        }
        Ok(Taken::OldEpoch | Taken::Stranger) => {
            engine.couriers.forget(&to.node);
            Outcome::Later
        }
        Ok(Taken::Paused) => Outcome::MuchLater,
        Ok(Taken::Busy | Taken::Failed) => Outcome::Later,
        Err(_) => {
            engine.couriers.forget(&to.node);
            Outcome::Later
        }
    }
}

/// The number up to which a pair's messages are acknowledged; nothing when it has none to bring, and its task ends.
async fn acknowledged(me: &Me, pair: &Pair) -> Result<Option<u64>, StoreError> {
    let reading = {
        let Some(core) = me.upgrade() else { return Ok(None) };
        let mut engine = core.borrow_mut();
        if engine.failed().is_some() {
            return Ok(None);
        }
        let Some(outgoing) = engine.outbox.pairs.get_mut(pair) else { return Ok(None) };
        if outgoing.queue.is_empty() {
            outgoing.is_served = false;
            if outgoing.trims == 0 {
                engine.outbox.pairs.remove(pair);
            }
            return Ok(None);
        }
        if let Some(after) = outgoing.acknowledged {
            return Ok(Some(after));
        }
        let key = rows::pair(&pair.0, &pair.1);
        engine.writer.read(move |store| store.get(Table::Pair, &key))
    };
    let row = reading.await?;
    let number = row.and_then(|row| row.try_into().ok()).map_or(0, u64::from_be_bytes);
    let Some(core) = me.upgrade() else { return Ok(None) };
    let mut engine = core.borrow_mut();
    if let Some(outgoing) = engine.outbox.pairs.get_mut(pair) {
        outgoing.acknowledged = Some(number);
    }
    Ok(Some(number))
}

/// A node's keeper that has been greeted; nothing when it cannot be had now.
async fn greeted(me: &Me, node: &NodeName) -> Option<Remote<Keeper>> {
    let (context, known) = {
        let core = me.upgrade()?;
        let engine = core.borrow();
        let known = engine.couriers.keepers.get(node).cloned();
        if let Some(keeper) = &known
            && engine.couriers.greeted.contains(node)
        {
            return Some(keeper.clone());
        }
        (engine.couriers.context.clone(), known)
    };
    let keeper = match known {
        Some(keeper) => keeper,
        None => context.resolve::<Keeper>(&node.claim()).await.ok()?,
    };
    let epoch = epoch(me, node).await?;
    let hello = {
        let core = me.upgrade()?;
        let mut engine = core.borrow_mut();
        engine.couriers.keepers.insert(node.clone(), keeper.clone());
        Hello { node: engine.node.clone(), epoch, openings: engine.openings.clone() }
    };
    let welcome = keeper.send(hello).within(PATIENCE).await;
    let core = me.upgrade()?;
    match welcome {
        Ok(Welcome::Fine) => {
            core.borrow_mut().couriers.greeted.insert(node.clone());
            Some(keeper)
        }
        Ok(Welcome::Restored { epoch }) => {
            let raised = core.borrow_mut().raise_epoch(node, epoch);
            drop(core);
            // Whether or not it comes: the next attempt greets anew.
            let _ = raised.await;
            None
        }
        Ok(Welcome::Stranger | Welcome::Failed) | Err(_) => {
            core.borrow_mut().couriers.forget(node);
            None
        }
    }
}

/// The epoch of what is sent to a node.
async fn epoch(me: &Me, node: &NodeName) -> Option<u64> {
    let reading = {
        let core = me.upgrade()?;
        let engine = core.borrow();
        if let Some(epoch) = engine.couriers.epochs.get(node) {
            return Some(*epoch);
        }
        let key = rows::of_node(node);
        engine.writer.read(move |store| store.get(Table::Epoch, &key))
    };
    let row = reading.await.ok()?;
    let epoch = row.and_then(|row| row.try_into().ok()).map_or(FIRST_EPOCH, u64::from_be_bytes);
    let core = me.upgrade()?;
    // Another pair's task may have raised it meanwhile.
    let known = *core.borrow_mut().couriers.epochs.entry(node.clone()).or_insert(epoch);
    Some(known)
}

impl Engine {
    /// Another node remembers more than this journal has. From now on messages to it are of a new epoch, so that none is taken for one of
    /// those that were sent before the backup was restored. Those to others are not: whoever remembers more says so itself, and nobody can
    /// make a journal forget what a third has acknowledged.
    fn raise_epoch(&mut self, by: &NodeName, seen: u64) -> oneshot::Receiver<()> {
        let (done, raised) = oneshot::channel();
        let epoch = self.couriers.epochs.entry(by.clone()).or_insert(FIRST_EPOCH);
        // One that was never reached by honest means would leave no room for another.
        if *epoch > seen || seen - *epoch > MOST_EPOCHS {
            let _ = done.send(());
            return raised;
        }
        *epoch = seen + 1;
        let epoch = *epoch;
        self.couriers.greeted.remove(by);
        let mut batch = Batch::default();
        batch.put(Table::Epoch, rows::of_node(by), epoch.to_be_bytes().to_vec());
        let said = Release::Say(JournalEvent::Restored { by: by.clone(), epoch });
        self.submit(batch, vec![said, Release::Done(done)]);
        raised
    }
}
