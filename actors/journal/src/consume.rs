//! A journaled actor as a consumer of what is published: the message is handled, and noted as handled, in one commit.
//!
//! A message is to the engine what a request from outside is: its publisher, id and content are the asker, and the verdict is the answer, which is
//! kept in the turn's commit and given again when the message comes again.

use std::{
    cell::RefCell,
    collections::{HashSet, VecDeque},
    rc::Weak,
    time::Duration,
};

use actogen::{
    __private::Body, Consume, Consumer, ConsumerActor, Consumption, Delivery, IntoVerdict,
    MessageOf, PublishError, Remote, RemoteMessage, Verdict,
};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    actor::JournaledActor,
    engine::{
        Engine,
        active::{Arrived, Source},
    },
    id::{ActorId, Journaled, Place},
    journal::Journal,
    packed::Packed,
    rows::{self, Reading, Reply},
    store::{Store, StoreError, Table, scan_prefix},
    wire::Refusal,
};

/// The number of the one request of each message. Those of askers begin at one, and none gets so far.
const NUMBER: u64 = u64::MAX;

/// How long the actor may take to begin with a message: it waits while the actor is full, or the store away.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long until what did not succeed is tried again, and an actor that is busy is asked again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(50));

/// Why an actor does not consume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumeError {
    /// The pattern is none, or the context ends.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The actor is another node's.
    #[error("{0} is no actor of this journal: let its own node consume")]
    Elsewhere(Place),
}

impl Journal {
    /// Has a journaled actor of this journal handle what is published: one message after the other, each in a turn. The handler's answer is
    /// its verdict, as for [`Consume::actor`]: `Ok` or no answer, or an error, which rejects the message. It leaves when the turn is durable, so an
    /// acknowledgement at the level Durable or Processed says that it is.
    ///
    /// That a message was handled is noted in its turn's commit: none is handled twice, over any number of restarts, as long as it is within the
    /// actor's [window](crate::JournalBuilder::window) and not older than the journal's [memory](crate::JournalBuilder::memory). A turn that changes
    /// nothing and sends nothing is not noted. Messages without a signature have no id, and are handled as often as they come.
    ///
    /// A handler that fails is tried again as often as [`Consume::deliveries_at_most`] says; then the message is rejected.
    ///
    /// # Errors
    /// [`ConsumeError`].
    pub fn consume<A, M>(
        &self,
        what: Consume<'_, M>,
        actor: &Journaled<A>,
    ) -> Result<Consumption, ConsumeError>
    where
        A: JournaledActor,
        M: MessageOf<A>,
        M::Result: IntoVerdict,
    {
        if actor.place().node != *self.node() {
            return Err(ConsumeError::Elsewhere(actor.place().clone()));
        }
        let turns = Turns { core: self.core(), actor: actor.place().actor.clone(), noted: None };
        let (_, consumption): (Remote<ConsumerActor<Turns, M>>, _) = what.run(turns)?;
        Ok(consumption)
    }
}

/// Hands messages over to an actor's turns.
struct Turns {
    core: Weak<RefCell<Engine>>,
    actor: ActorId,
    /// What is noted as handled, once it has been read.
    noted: Option<Noted>,
}

/// The messages that are noted as handled, the oldest first.
#[derive(Debug, Default)]
struct Noted {
    order: VecDeque<u128>,
    known: HashSet<u128>,
}

impl Noted {
    fn read(store: &mut dyn Store, actor: &ActorId) -> Result<Self, StoreError> {
        let prefix = rows::of_actor(actor);
        let mut found = Vec::new();
        for (key, value) in scan_prefix(store, Table::Reply, &prefix, usize::MAX)? {
            let mut reading = Reading(&key[prefix.len()..]);
            let (Some(asker), Some(number)) = (reading.client(), reading.number()) else {
                return Err(rows::bad_key(Table::Reply));
            };
            if number == NUMBER {
                found.push((rows::opened::<Reply>("a verdict", &value)?.at, asker));
            }
        }
        found.sort_unstable();
        let order: VecDeque<_> = found.into_iter().map(|(_, asker)| asker).collect();
        Ok(Self { known: order.iter().copied().collect(), order })
    }

    /// One more; gives those that are to be forgotten for it.
    fn add(&mut self, asker: u128, most: usize) -> Vec<u128> {
        if self.known.insert(asker) {
            self.order.push_back(asker);
        }
        let over = self.order.len().saturating_sub(most);
        let gone: Vec<_> = self.order.drain(..over).collect();
        for asker in &gone {
            self.known.remove(asker);
        }
        gone
    }
}

/// Who asks where a message does: the same whenever it comes again.
fn asker<M: RemoteMessage>(delivery: &Delivery<M>) -> Option<u128> {
    let (id, content) = (delivery.id()?, delivery.content()?);
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"actogen journal consume v1");
    hasher.update(&delivery.from().0.to_le_bytes());
    hasher.update(&id.get().to_le_bytes());
    hasher.update(&content);
    let mut asker = [0; 16];
    hasher.finalize_xof().fill(&mut asker);
    Some(u128::from_le_bytes(asker))
}

fn fresh_asker() -> Option<u128> {
    let mut asker = [0; 16];
    getrandom::fill(&mut asker).ok()?;
    Some(u128::from_le_bytes(asker))
}

impl Turns {
    /// What is noted; nothing where the journal is closed.
    async fn noted(&mut self) -> Option<&mut Noted> {
        if self.noted.is_none() {
            let reading = {
                let core = self.core.upgrade()?;
                let engine = core.borrow();
                let actor = self.actor.clone();
                engine.writer.read(move |store| Noted::read(store, &actor))
            };
            self.noted = Some(reading.await.ok()?);
        }
        self.noted.as_mut()
    }

    /// The actor's answer, for as long as it is busy; nothing where the journal is closed.
    async fn ask(
        &self,
        asker: u128,
        message: &Packed,
        mut again: bool,
    ) -> Option<Result<Bytes, Refusal>> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (sender, answer) = oneshot::channel();
            let source =
                Source::Client { client: asker, number: NUMBER, settled: 0, asker: sender };
            {
                let core = self.core.upgrade()?;
                let arrived = Arrived::new(source, message.clone(), again);
                core.borrow_mut().take(&self.actor, arrived);
            }
            match answer.await.ok()? {
                Err(Refusal::Busy) if tokio::time::Instant::now() < end => {
                    again = false;
                    tokio::time::sleep(AGAIN.1).await;
                }
                Err(Refusal::StoreFailed(_)) => return None,
                answer => return Some(answer),
            }
        }
    }
}

impl<M> Consumer<M> for Turns
where
    M: RemoteMessage,
    M::Result: IntoVerdict,
{
    async fn handle(&mut self, delivery: &mut Delivery<M>) -> Verdict {
        let Ok(message) = Packed::of(delivery.message()) else {
            return Verdict::Drop("the message cannot be encoded".to_owned());
        };
        let Some(asker) = asker(delivery).or_else(fresh_asker) else {
            return Verdict::Nack(AGAIN.0);
        };
        if self.noted().await.is_none() {
            return Verdict::Halt;
        }
        let answer = match self.ask(asker, &message, delivery.attempt() > 1).await {
            // Nothing more will be durable here: the publisher sends it to whoever comes after.
            None => return Verdict::Halt,
            Some(Ok(answer)) => answer,
            Some(Err(
                Refusal::Failed(_) | Refusal::Busy | Refusal::Broken(_) | Refusal::UnknownKind(_),
            )) => return Verdict::Nack(AGAIN.0),
            Some(Err(refusal)) => return Verdict::Drop(refusal.to_string()),
        };
        if let (Some(core), Some(noted)) = (self.core.upgrade(), &mut self.noted) {
            let most = core.borrow().settings.window;
            let gone = noted.add(asker, most);
            core.borrow_mut().forget_answers(&self.actor, &gone, NUMBER);
        }
        match M::Result::decode(M::CODEC, &answer) {
            Ok(answer) => answer.into_verdict(),
            Err(error) => Verdict::Drop(format!("its verdict cannot be decoded: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_notes_go_first_and_one_that_comes_again_is_no_second() {
        let mut noted = Noted::default();
        for asker in [1, 2, 1, 3] {
            assert_eq!(noted.add(asker, 3), []);
        }
        assert_eq!(noted.add(4, 3), [1]);
        assert_eq!(noted.add(1, 3), [2]);
        assert_eq!((noted.order.len(), noted.known.len()), (3, 3));
    }
}
