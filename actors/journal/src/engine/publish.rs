//! Publishing what turns have published: each until it has left, or until those who must have acknowledged it.
//!
//! ```text
//!   turn ── row `Waits` ── durable ──> leaves, again and again ──> result ── row `Came` ──> the actor's turn ── no row
//!                                                                               └── one commit, or two ──┘
//! ```
//!
//! A process that is killed before the result is durable publishes again, under the same id.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::{Rc, Weak},
    time::Duration,
};

use actogen::{Context, NotSent, Publish, PublishError, ReliableError};
use tokio::task::AbortHandle;

use super::{
    Engine,
    active::{Arrived, Source},
    courier::{PAUSE, jittered},
};
use crate::{
    id::ActorId,
    packed::Packed,
    publication::{Publication, PublishOutcome, PublishResult, Published, Requires, Unconfirmed},
    rows,
    store::{Batch, Table},
};

/// Whose publish, and which.
type Key = (ActorId, u64);

type Me = Weak<RefCell<Engine>>;

/// What is being published.
#[derive(Debug, Default)]
pub(super) struct Publishes {
    /// What nobody must acknowledge, in the order in which it leaves.
    plain: VecDeque<(Key, Rc<Publication>)>,
    /// A task sends it.
    is_served: bool,
    /// The tasks of those that wait for acknowledgements.
    waiting: HashMap<Key, AbortHandle>,
}

impl Publishes {
    pub(super) fn len(&self) -> usize {
        self.plain.len() + self.waiting.len()
    }

    /// Nothing more leaves. What is not done with is in the store.
    pub(super) fn stop(&mut self) {
        self.plain.clear();
        self.waiting.drain().for_each(|(_, task)| task.abort());
    }
}

impl Drop for Publishes {
    fn drop(&mut self) {
        self.stop();
    }
}

fn publish<'a>(context: &'a Context, publication: &Publication) -> Publish<'a> {
    let Packed { tag, codec, body } = publication.message.clone();
    actogen::__private::publish_encoded(context, &publication.topic, (tag, codec), body)
}

/// Sends what nobody must acknowledge, one after the other, for as long as there is some.
async fn serve(me: Me) {
    let mut pause = PAUSE.0;
    loop {
        let (context, key, publication) = {
            let Some(core) = me.upgrade() else { return };
            let mut engine = core.borrow_mut();
            let Some((key, publication)) = engine.publishes.plain.front().cloned() else {
                engine.publishes.is_served = false;
                return;
            };
            (engine.couriers.context.clone(), key, publication)
        };
        match publish(&context, &publication).signed().id(publication.id).await {
            Ok(_) => {
                pause = PAUSE.0;
                let Some(core) = me.upgrade() else { return };
                core.borrow_mut().has_left(&key);
            }
            // There is no room for it now, or the context ends.
            Err(_) => {
                tokio::time::sleep(jittered(pause)).await;
                pause = (pause * 2).min(PAUSE.1);
            }
        }
    }
}

/// Publishes until there is a result. One that a process before this may have sent has not been sent to nobody.
async fn wait(
    me: Me,
    key: Key,
    publication: Rc<Publication>,
    requires: Requires,
    mut may_have_left: bool,
) {
    let mut pause = PAUSE.0;
    let mut why = "its time was over before it could be sent".to_owned();
    let outcome = loop {
        let (context, left) = {
            let Some(core) = me.upgrade() else { return };
            let engine = core.borrow();
            (engine.couriers.context.clone(), engine.clock.now().until(requires.deadline))
        };
        if left.is_zero() {
            break match may_have_left {
                true => PublishOutcome::Timeout(Unconfirmed::by_all(&requires.names)),
                false => PublishOutcome::NotSent(why),
            };
        }
        match attempt(&context, &publication, &requires, left).await {
            Ok(outcome) => break outcome,
            Err(NotYet { why: said, has_left }) => {
                why = said;
                may_have_left |= has_left;
            }
        }
        tokio::time::sleep(jittered(pause).min(left)).await;
        pause = (pause * 2).min(PAUSE.1);
    };
    if let Some(core) = me.upgrade() {
        core.borrow_mut().has_come(&key, &publication, outcome);
    }
}

/// Something stood in the way that passes.
struct NotYet {
    why: String,
    has_left: bool,
}

async fn attempt(
    context: &Context,
    publication: &Publication,
    requires: &Requires,
    left: Duration,
) -> Result<PublishOutcome, NotYet> {
    let begun = tokio::time::Instant::now();
    let reliable = publish(context, publication)
        .require(requires.names.iter().cloned())
        .level(requires.level)
        .within(left)
        .id(publication.id);
    let not_yet = |why: String, has_left| Err(NotYet { why, has_left });
    match reliable.await {
        Ok(confirmed) => Ok(PublishOutcome::Confirmed { acked: confirmed.acked }),
        // Before its time that is the end of the context.
        Err(ReliableError::Timeout(_)) if begun.elapsed() < left => {
            not_yet("the context ends".to_owned(), true)
        }
        Err(ReliableError::Timeout(partial)) => Ok(PublishOutcome::Timeout((*partial).into())),
        Err(ReliableError::Rejected(partial)) => Ok(PublishOutcome::Rejected((*partial).into())),
        Err(ReliableError::UnknownRecipient(names)) => Ok(PublishOutcome::UnknownRecipient(names)),
        Err(ReliableError::NotSent(NotSent::Publish(PublishError::Topic(error)))) => {
            Ok(PublishOutcome::NotSent(error.to_string()))
        }
        Err(error) => not_yet(error.to_string(), false),
    }
}

impl Engine {
    /// Publishes what is durable.
    pub(super) fn publish(
        &mut self,
        id: ActorId,
        number: u64,
        publication: Publication,
        may_have_left: bool,
    ) {
        let (key, publication) = ((id, number), Rc::new(publication));
        let me = self.me.clone();
        match &publication.requires {
            Some(requires) if !requires.names.is_empty() => {
                let (publication, requires) = (publication.clone(), requires.clone());
                let waits = wait(me, key.clone(), publication, requires, may_have_left);
                let task = tokio::task::spawn_local(waits).abort_handle();
                self.publishes.waiting.insert(key, task);
            }
            _ => {
                self.publishes.plain.push_back((key, publication));
                if !self.publishes.is_served {
                    self.publishes.is_served = true;
                    tokio::task::spawn_local(serve(me));
                }
            }
        }
    }

    /// What nobody must acknowledge has left.
    fn has_left(&mut self, key: &Key) {
        if self.publishes.plain.front().is_none_or(|(first, _)| first != key) {
            // The store has failed meanwhile.
            return;
        }
        let Some((_, publication)) = self.publishes.plain.pop_front() else { return };
        if publication.requires.is_some() {
            // It requires nobody: all of them have acknowledged it.
            let outcome = PublishOutcome::Confirmed { acked: Default::default() };
            return self.has_come(key, &publication, outcome);
        }
        let mut batch = Batch::default();
        batch.remove(Table::Publish, rows::numbered(&key.0, key.1));
        self.submit(batch, Vec::new());
        self.arrived(&key.0, &publication.message);
        self.work();
    }

    /// A result is there: it is kept, and the actor's turn comes.
    fn has_come(&mut self, key: &Key, publication: &Publication, outcome: PublishOutcome) {
        self.publishes.waiting.remove(key);
        if self.failed.is_some() {
            return;
        }
        let (id, number) = key;
        let result =
            PublishResult { id: publication.id, topic: publication.topic.clone(), outcome };
        let message = match Packed::of(&result) {
            Ok(message) => message,
            Err(error) => return tracing::error!("a result cannot be encoded: {error}"),
        };
        let mut batch = Batch::default();
        let came = rows::sealed(&Published::Came(message.clone()));
        batch.put(Table::Publish, rows::numbered(id, *number), came);
        self.submit(batch, Vec::new());
        self.arrived(id, &publication.message);
        // Its turn is made durable behind the result, or together with it.
        self.take(id, Arrived::new(Source::Published(*number), message, false));
    }

    /// Takes up a publish that the process before this was in the middle of.
    pub(super) fn take_up_publish(&mut self, id: ActorId, number: u64, published: Published) {
        match published {
            Published::Waits(publication) => {
                self.outbox.charge(&id, &publication.message);
                self.publish(id, number, publication, true);
            }
            Published::Came(message) => {
                self.arrive(&id, Arrived::new(Source::Published(number), message, true));
            }
        }
    }
}
