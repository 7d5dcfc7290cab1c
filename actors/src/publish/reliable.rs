//! Publishing with a signature, and publishing until all who must have acknowledged.

use std::{
    collections::BTreeMap,
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
    time::Duration,
};

use actogen_runtime::core::{ContextId, Handle};
use futures_util::future::join_all;
use tokio::{sync::oneshot, time::Instant};

use super::{
    message::{AckLevel, MOST_REQUIRED, MessageId},
    outcome::{Confirmed, NotSent, Partial, ReliableError},
    policy::PublishPolicy,
    publisher::{Does, FromHere, Outcome, Publishing, Reliably},
    stats::PublishStats,
};
use crate::{
    address::Remote,
    context::Context,
    directory::Here,
    topics::{Publish, PublishError},
};

/// How long a reliable publish takes at most unless it is said.
const WITHIN: Duration = Duration::from_secs(30);

impl<'a> Publish<'a> {
    /// Publishes reliably: succeeds only when each of these recipients has acknowledged this very message. They are names that the mesh's
    /// authority has bound to contexts; at most 64.
    ///
    /// Who has subscribed gets the message too; only the required ones are waited for.
    pub fn require<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> Reliable<'a> {
        let mut required: Vec<String> = names.into_iter().map(Into::into).collect();
        required.sort_unstable();
        required.dedup();
        let (level, within) = (AckLevel::default(), WITHIN);
        Reliable { publish: self, required, level, within, id: None }
    }

    /// Publishes with a signature, which those who get it check before anything else; nobody acknowledges it. Consumers see its id, and
    /// what is missing by the sequence numbers; its names count in policies.
    pub fn signed(self) -> SignedPublish<'a> {
        SignedPublish { publish: self, id: None }
    }
}

/// Something to publish with a signature; await it. Gives the message's id.
#[must_use = "nothing is published before this is awaited"]
#[derive(Debug)]
pub struct SignedPublish<'a> {
    publish: Publish<'a>,
    id: Option<MessageId>,
}

impl SignedPublish<'_> {
    /// Publishes it under this id instead of a fresh one: consumers that have handled a message of it do not handle this one.
    pub fn id(mut self, id: MessageId) -> Self {
        self.id = Some(id);
        self
    }
}

impl<'a> IntoFuture for SignedPublish<'a> {
    type Output = Result<MessageId, PublishError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Publish { context, carried } = self.publish;
            let (carried, id) = (carried?, self.id.unwrap_or_else(|| MessageId::fresh(context)));
            let (done, published) = oneshot::channel();
            let signed = FromHere(Here(Does::Signed { carried: Box::new(carried), id, done }));
            let dead = |text: String| PublishError::Dead(text);
            context.publishing().tell(signed).await.map_err(|error| dead(error.to_string()))?;
            published.await.unwrap_or_else(|_| Err(dead("the context ends".into())))?;
            Ok(id)
        })
    }
}

/// Something to publish until all who must have acknowledged it; await it. Dropping it gives the waiting up, not the message.
#[must_use = "nothing is published before this is awaited"]
pub struct Reliable<'a> {
    publish: Publish<'a>,
    required: Vec<String>,
    level: AckLevel,
    within: Duration,
    id: Option<MessageId>,
}

impl Reliable<'_> {
    /// How far the recipients must have come; [`AckLevel::Processed`] unless this says otherwise.
    pub fn level(mut self, level: AckLevel) -> Self {
        self.level = level;
        self
    }

    /// How long all of it may take; 30 s unless this says otherwise. Until then the message is sent again from time to time.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Publishes the same again: under the id that an earlier attempt has [said](Partial::id), with the same topic and message. Who has handled it acknowledges it again
    /// and does not handle it twice; another message under the id is rejected.
    pub fn id(mut self, id: MessageId) -> Self {
        self.id = Some(id);
        self
    }

    async fn run(self) -> Outcome {
        let Self { publish, required, level, within, id } = self;
        let (context, deadline) = (publish.context, Instant::now() + within);
        let id = id.unwrap_or_else(|| MessageId::fresh(context));
        let not_sent = |why: NotSent| ReliableError::NotSent(why);
        if required.is_empty() {
            tracing::warn!(context = %context.id(), "a reliable publish requires nobody: it is sent plainly");
            publish.await.map_err(|error| not_sent(error.into()))?;
            return Ok(Confirmed { id, acked: BTreeMap::new() });
        }
        let carried = publish.carried.map_err(|error| not_sent(error.into()))?;
        if required.len() > MOST_REQUIRED {
            return Err(not_sent(NotSent::TooMany(required.len())));
        }
        let asked = tokio::time::timeout_at(deadline, recipients(context, &required));
        let required = match asked.await {
            Ok(found) => found?,
            Err(_) => return Err(not_sent(NotSent::Names("no answer came in time".into()))),
        };
        let (done, outcome) = oneshot::channel();
        let number = context.fresh_number();
        let missing = required.iter().map(|(name, _)| name.clone()).collect();
        let reliably = Reliably { number, carried, id, level, required, deadline, done };
        let told = context.publishing().tell(FromHere(Here(Does::Reliable(Box::new(reliably)))));
        told.await.map_err(|error| not_sent(PublishError::Dead(error.to_string()).into()))?;
        let _given_up = GiveUp { context, number };
        outcome.await.unwrap_or_else(|_| {
            // The context ends; the message may have left.
            let (acked, rejected, ignored_acks) = Default::default();
            let partial = Partial { id, acked, rejected, missing, ignored_acks };
            Err(ReliableError::Timeout(Box::new(partial)))
        })
    }
}

/// To whom names are bound.
async fn recipients(
    context: &Context,
    names: &[String],
) -> Result<Vec<(String, ContextId)>, ReliableError> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for (name, found) in
        names.iter().zip(join_all(names.iter().map(|name| context.who_has(name))).await)
    {
        let names = |error: String| ReliableError::NotSent(NotSent::Names(error));
        match found.map_err(|dead| names(dead.to_string()))? {
            Some(has) => known.push((name.clone(), has)),
            None => unknown.push(name.clone()),
        }
    }
    if unknown.is_empty() { Ok(known) } else { Err(ReliableError::UnknownRecipient(unknown)) }
}

/// Ends the waiting when nobody waits any more.
struct GiveUp<'a> {
    context: &'a Context,
    number: u64,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        let give_up = Does::GiveUp { number: self.number };
        // If there is no room for that, the deadline ends it.
        let _ = self.context.publishing().try_send(FromHere(Here(give_up)));
    }
}

impl<'a> IntoFuture for Reliable<'a> {
    type Output = Outcome;
    type IntoFuture = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for Reliable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reliable")
            .field("required", &self.required)
            .field("level", &self.level)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Counters about signed messages and acknowledgements of this context.
    ///
    /// # Errors
    /// [`PublishError::Dead`], in a context that ends.
    pub async fn publish_stats(&self) -> Result<PublishStats, PublishError> {
        let dead = |text: String| PublishError::Dead(text);
        let (to, stats) = oneshot::channel();
        let asked = self.publishing().tell(FromHere(Here(Does::Stats(to)))).await;
        asked.map_err(|error| dead(error.to_string()))?;
        let sent = stats.await.map_err(|_| dead("the context ends".into()))?;
        let refused = self.refused_publications().await?;
        Ok(PublishStats {
            oversize: refused.oversize,
            forged: refused.forged,
            revoked: refused.revoked,
            not_permitted: refused.not_permitted,
            no_room: refused.no_room,
            misplaced: refused.misplaced,
            ..sent
        })
    }

    /// From now on, only what the policy allows comes to consumers and subscriptions of this context; `None` lets all come again.
    ///
    /// # Errors
    /// [`PublishError::Dead`], in a context that ends.
    pub fn set_publish_policy(
        &self,
        policy: impl Into<Option<PublishPolicy>>,
    ) -> Result<(), PublishError> {
        self.tell_topics(crate::topics::Does::Policy(policy.into()))
    }

    pub(super) fn publishing(&self) -> Remote<Publishing> {
        self.remote(self.address(Handle::PUBLISH))
    }
}
