//! Topics: what is published under a topic goes to all in the mesh who have subscribed to a pattern that it matches.
//!
//! | room | concept |
//! |---|---|
//! | here | [`Context::publish`], [`Context::subscribe`] |
//! | `pattern` | topics and patterns, and who wants which |
//! | `hub` | where a message goes from one context: a pure machine |
//! | `inbox` | what waits for a subscription |
//! | `outbox` | what waits for room on the way to a neighbour |
//! | `observe` | looking at messages of whatever type |
//! | `gate` | which messages come in: checked signatures, policy |
//! | `actor` | the actor of each context that drives the hub |
//!
//! ```text
//!   publish ──> Topics here ── Carried ──> Topics of each neighbour behind which somebody wants it ──> …
//!                  │                                   │
//!                  ▼                                   ▼
//!            subscriptions here                  subscriptions there
//! ```
//!
//! A message takes each link once, however many subscribers are behind it.

mod actor;
mod gate;
mod hub;
mod inbox;
mod observe;
mod outbox;
mod pattern;

use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use actogen_runtime::{
    Phase,
    core::{ContextId, Handle, policy::Policy},
};
use bytes::Bytes;
use tokio::sync::oneshot;

pub(crate) use self::{
    actor::{Carried, Does, RecordedSignature, To},
    inbox::{Arrived, Charged, Inbox},
    pattern::{Trie, check_pattern, matches},
};
use self::{
    actor::{FromHere, Topics},
    gate::Refused,
};
pub use self::{
    observe::{Observation, Observed, ObservedSignature},
    pattern::{TopicError, check_topic},
};
use crate::{
    actor::RemoteActor,
    address::{DecodingScope, Remote},
    context::Context,
    directory::Here,
    intake::Intake,
    message::{Codec, CodecError, MessageOf, RemoteMessage},
    send_error::SendError,
};

/// Why something was not published, or nobody subscribed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic or the pattern is none.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The message has no form in its codec.
    #[error("the message cannot be encoded: {0}")]
    Unencodable(#[from] CodecError),
    /// As much as may wait is waiting to be published here.
    #[error("as much as may wait is waiting to be published here: try again later")]
    Full,
    /// The context's own topics could not be reached, such as in a context that ends.
    #[error("{0}")]
    Dead(String),
}

/// A message with its topic and its publisher.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published<M> {
    /// What it was published under.
    pub topic: String,
    /// The context that published it, as the routers on the way say: each has checked that it lies where the message came from.
    pub from: ContextId,
    /// The message.
    pub message: M,
}

/// Why a subscription gives no message at this place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Missed {
    /// So many came while 4 MiB waited to be taken out, and were dropped.
    #[error("{0} messages were dropped, because nobody took what waited")]
    Dropped(u64),
    /// One could not be decoded.
    #[error("a message cannot be decoded: {0}")]
    Undecodable(CodecError),
}

/// Messages of one type under topics that match a pattern, from the subscription on. Dropping it ends it.
pub struct Subscription<M> {
    context: Context,
    number: u64,
    inbox: Arc<Inbox>,
    _message: PhantomData<fn() -> M>,
}

impl<M: RemoteMessage> Subscription<M> {
    /// The next message, in the order of its publisher. Waits for it; may be given up without losing one.
    ///
    /// # Errors
    /// [`Missed`], in place of what cannot be given.
    pub async fn next(&mut self) -> Result<Published<M>, Missed> {
        let arrived = self.inbox.next().await.map_err(Missed::Dropped)?;
        let message = decode(&self.context, &arrived).map_err(Missed::Undecodable)?;
        Ok(Published { topic: arrived.topic, from: arrived.from, message })
    }
}

impl<M> fmt::Debug for Subscription<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<M> Drop for Subscription<M> {
    fn drop(&mut self) {
        let unsubscribe = Does::Unsubscribe { number: self.number };
        // If there is no room for that, the next message finds nobody.
        let _ = self.context.topics().try_send(FromHere(Here(unsubscribe)));
    }
}

pub(crate) fn decode<M: RemoteMessage>(
    context: &Context,
    arrived: &Arrived,
) -> Result<M, CodecError> {
    let codec = Codec::from_number(arrived.codec).unwrap_or(M::CODEC);
    DecodingScope::of(context).decode(|| M::decode(codec, &arrived.body))
}

/// Something to publish; await it.
#[must_use = "nothing is published before this is awaited"]
pub struct Publish<'a> {
    pub(crate) context: &'a Context,
    pub(crate) carried: Result<Carried, PublishError>,
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for Publish<'a> {
    type Output = Result<(), PublishError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let publish = FromHere(Here(Does::Publish(self.carried?)));
            let told = self.context.topics().tell(publish).await;
            told.map_err(|error| PublishError::Dead(error.to_string()))
        })
    }
}

impl Context {
    /// Publishes a message under a topic: to all in the mesh who have subscribed to it by then, as far as that is known here. Waits for room
    /// to hand it over; nobody says who has got it. What finds no room on a link waits, as long as no more than 8 MiB do, and is a dead letter then
    /// ([`PublishStats::no_room`](crate::PublishStats::no_room)).
    pub fn publish<M: RemoteMessage>(&self, topic: &str, message: &M) -> Publish<'_> {
        let mut body = Vec::new();
        if let Err(error) = message.encode(M::CODEC, &mut body) {
            return Publish { context: self, carried: Err(error.into()) };
        }
        publish_encoded(self, topic, (M::TAG.get(), M::CODEC.number()), body.into())
    }

    /// Subscribes to messages of one type under topics that match a pattern: `*` stands for one word, a last `>` for one or more.
    ///
    /// What this context publishes from now on comes; what others do as soon as word of the subscription has reached them.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn subscribe<M: RemoteMessage>(
        &self,
        pattern: &str,
    ) -> Result<Subscription<M>, PublishError> {
        let inbox = Arc::<Inbox>::default();
        let to = To::Inbox { inbox: Arc::downgrade(&inbox), tag: Some(M::TAG.get()) };
        let number = self.subscribe_to(pattern, to)?;
        Ok(Subscription { context: self.clone(), number, inbox, _message: PhantomData })
    }

    /// Has messages of one type under topics that match a pattern sent to an actor, until it ends.
    ///
    /// # Errors
    /// As [`Self::subscribe`].
    pub fn subscribe_actor<A: RemoteActor, M: MessageOf<A>>(
        &self,
        pattern: &str,
        actor: &Remote<A>,
    ) -> Result<(), PublishError> {
        let (context, actor) = (self.clone(), actor.clone());
        let address = actor.address();
        let hand_over = move |arrived: &Arrived| {
            if arrived.tag != M::TAG.get() {
                return;
            }
            match decode::<M>(&context, arrived) {
                Ok(message) => actor.do_send(message),
                Err(error) => {
                    tracing::warn!(context = %context.id(), topic = arrived.topic, "not delivered: {error}");
                }
            }
        };
        self.subscribe_to(pattern, To::Actor { address, hand_over: Box::new(hand_over) })?;
        Ok(())
    }

    pub(crate) fn subscribe_to(&self, pattern: &str, to: To) -> Result<u64, PublishError> {
        check_pattern(pattern)?;
        let number = self.fresh_number();
        self.tell_topics(Does::Subscribe { number, pattern: pattern.to_owned(), to })?;
        Ok(number)
    }

    pub(crate) fn tell_topics(&self, does: Does) -> Result<(), PublishError> {
        let told = self.topics().try_send(FromHere(Here(does)));
        told.map_err(|error| PublishError::Dead(error.to_string()))
    }

    /// Waits until this context's neighbours have said what they want at this moment. What is published before may find nobody in a context
    /// that has just come into the mesh.
    ///
    /// # Errors
    /// [`PublishError::Dead`].
    pub async fn know_subscriptions(&self) -> Result<(), PublishError> {
        let dead = |text: String| PublishError::Dead(text);
        let (done, known) = oneshot::channel();
        let asked = self.topics().tell(FromHere(Here(Does::Ask(done)))).await;
        asked.map_err(|error| dead(error.to_string()))?;
        known.await.map_err(|_| dead("the context ends".into()))
    }

    /// Whether what a recorder took at these times may come in here, and what holds of the signatures.
    pub(crate) async fn admit_recorded(
        &self,
        recorded: Vec<(Carried, SystemTime)>,
    ) -> Result<Vec<Option<RecordedSignature>>, PublishError> {
        let dead = |text: String| PublishError::Dead(text);
        let (to, admitted) = oneshot::channel();
        let asked = self.topics().tell(FromHere(Here(Does::Admit { recorded, to }))).await;
        asked.map_err(|error| dead(error.to_string()))?;
        admitted.await.map_err(|_| dead("the context ends".into()))
    }

    /// What this context has refused of what was published.
    pub(crate) async fn refused_publications(&self) -> Result<Refused, PublishError> {
        let dead = |text: String| PublishError::Dead(text);
        let (to, refused) = oneshot::channel();
        let asked = self.topics().tell(FromHere(Here(Does::Refused(to)))).await;
        asked.map_err(|error| dead(error.to_string()))?;
        refused.await.map_err(|_| dead("the context ends".into()))
    }

    fn topics(&self) -> Remote<Topics> {
        self.remote(self.address(Handle::TOPICS))
    }
}

/// As [`Context::publish`], for a message of this tag and codec that has been encoded before, such as one that comes from a store.
pub fn publish_encoded<'a>(
    context: &'a Context,
    topic: &str,
    (tag, codec): (u64, u8),
    body: Bytes,
) -> Publish<'a> {
    let from = context.id();
    let carried = check_topic(topic).map(|()| Carried {
        topic: topic.to_owned(),
        from,
        tag,
        codec,
        body,
        signed: None,
    });
    Publish { context, carried: carried.map_err(Into::into) }
}

/// Publishes what was made ready here, if there is room.
pub(crate) fn publish_here(context: &Context, carried: Carried) -> Result<(), SendError<()>> {
    let publish = FromHere(Here(Does::Publish(carried)));
    context.topics().try_send(publish).map_err(|error| error.map(|_| ()))
}

/// What has come for the topics and waits for them.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<OnceLock<Arc<Intake>>>);

/// Where neighbours say what they want and what is published, to be opened before anybody can reach the context.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Waiting) {
    let waiting = Waiting(Arc::default());
    let opened = waiting.0.clone();
    let open = move |context: &actogen_runtime::Context| {
        let intake = Intake::new::<Topics>(context.clone());
        context.bind_reserved(Handle::TOPICS, intake.clone(), Policy::Anyone);
        intake.bound_as(Handle::TOPICS);
        let _ = opened.set(intake);
    };
    (open, waiting)
}

/// Runs the topics on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, Waiting(intake): Waiting) {
    if let Some(intake) = intake.get() {
        let topics = Topics::new(context.clone());
        context.attend_until(topics, intake.clone(), |phase| *phase == Phase::Down);
    }
}
