//! A root that publishes, and a child whose name it requires.

use std::{cell::Cell, time::Duration};

use actogen::prelude::*;
use futures_util::{StreamExt, stream::FuturesUnordered};

use super::subscribers::{ConsumeReliably, SubscribeMany, Subscribers};
use crate::{
    failure::Failure,
    handled::{self, AllHandled, Announce, Member},
    note::{Note, SMALL},
    ours::{self, Ours, Sink, Sizes},
    settings::Settings,
    workload::{IN_FLIGHT, Outcome, Span},
};

/// The child's name.
const NAME: &str = "bench";

/// What is consumed.
const TOPIC: &str = "bench.reliable";

/// More than any publish takes while its consumer lives.
const WITHIN: Duration = Duration::from_secs(20);

/// Subscribers behind one link.
pub(super) struct Fan {
    topic: String,
    members: Vec<Remote<Member>>,
}

/// Two contexts in two processes.
pub(super) struct Pair {
    ours: Ours,
    subscribers: Remote<Subscribers>,
    /// What was sent to the subscribers and the consumer since they began.
    sent: Cell<u64>,
}

impl Pair {
    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn start(settings: Settings) -> Result<Self, Failure> {
        let context = ours::root(settings).await?;
        let launch = ours::launch(settings, Sizes::default()).certified_name(NAME);
        let child = context.launch(launch).await.map_err(Failure::ours("launching a child"))?;
        let spawning = Failure::ours("spawning an actor");
        let sink = child.spawn::<Sink>(()).await.map_err(spawning)?;
        let spawning = Failure::ours("spawning an actor");
        let subscribers = child.spawn::<Subscribers>(()).await.map_err(spawning)?;
        let consumed = subscribers.send(ConsumeReliably { topic: TOPIC.into() }).await;
        consumed
            .map_err(Failure::ours("asking for a consumer"))?
            .map_err(Failure::ours("consuming"))?;
        let ours = Ours { context, child, sink };
        ours.context
            .know_subscriptions()
            .await
            .map_err(Failure::ours("asking for subscriptions"))?;
        Ok(Self { ours, subscribers, sent: Cell::new(0) })
    }

    /// The same contexts, for other work.
    pub(super) fn ours(&self) -> &Ours {
        &self.ours
    }

    /// Keeps [`IN_FLIGHT`] publishes unconfirmed for a while. Confirmed a second.
    ///
    /// # Errors
    /// [`Failure::Ours`], if one is not confirmed.
    pub(super) async fn publish_reliably(&self, lasts: Duration) -> Result<Outcome, Failure> {
        let work = async {
            let span = Span::of(lasts);
            let (mut under_way, mut published, mut confirmed) = (FuturesUnordered::new(), 0, 0);
            loop {
                while under_way.len() < IN_FLIGHT && !span.is_over() {
                    let note = Announce(Note::new(published, SMALL));
                    let publish = self.ours.context.publish(TOPIC, &note);
                    under_way.push(publish.require([NAME]).within(WITHIN).into_future());
                    published += 1;
                }
                let Some(outcome) = under_way.next().await else { break };
                outcome.map_err(Failure::ours("publishing"))?;
                confirmed += 1;
            }
            self.sent.set(self.sent.get() + confirmed);
            Ok(span.rate(confirmed).into())
        };
        ours::within(lasts, work).await
    }

    /// So many subscribers in the child.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn fan(&self, subscribers: usize) -> Result<Fan, Failure> {
        let topic = format!("bench.fan.{subscribers}");
        let asked =
            self.subscribers.send(SubscribeMany { topic: topic.clone(), subscribers }).await;
        let members = asked
            .map_err(Failure::ours("asking for subscribers"))?
            .map_err(Failure::ours("subscribing"))?;
        let known = self.ours.context.know_subscriptions().await;
        known.map_err(Failure::ours("asking for subscriptions"))?;
        Ok(Fan { topic, members })
    }

    /// Publishes to them for a while; nanoseconds for each subscriber.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn publish_to(&self, fan: &Fan, lasts: Duration) -> Result<Outcome, Failure> {
        let publish = async |note: Announce| {
            let published = self.ours.context.publish(&fan.topic, &note).await;
            // Nobody says to how many it goes; what does not come keeps the run from its end.
            published.map(|()| fan.members.len()).map_err(Failure::ours("publishing"))
        };
        self.announce(fan, lasts, publish).await
    }

    /// Sends the same to each of them, one after the other.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn send_to_each(
        &self,
        fan: &Fan,
        lasts: Duration,
    ) -> Result<Outcome, Failure> {
        let each = async |note: Announce| {
            let sent = |member: &&Remote<Member>| member.try_send(note.clone()).is_ok();
            Ok(fan.members.iter().filter(sent).count())
        };
        self.announce(fan, lasts, each).await
    }

    async fn announce(
        &self,
        fan: &Fan,
        lasts: Duration,
        send: impl AsyncFn(Announce) -> Result<usize, Failure>,
    ) -> Result<Outcome, Failure> {
        let members = fan.members.len();
        handled::announce(members, members, lasts, send, |batch| self.all_handled(batch)).await
    }

    /// Resolves when the child has handled all that was sent before, and so many more; asks at once.
    fn all_handled(&self, batch: u64) -> impl Future<Output = Result<(), Failure>> + use<> {
        let sent = self.sent.get() + batch;
        self.sent.set(sent);
        let asked = self.subscribers.send(AllHandled(sent));
        async move { asked.await.map_err(Failure::ours("waiting for subscribers")) }
    }

    /// Ends both contexts.
    pub(super) async fn end(self) {
        self.ours.end().await;
    }
}
