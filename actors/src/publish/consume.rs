//! How a consumer is set up.

use std::{fmt, marker::PhantomData, time::Duration};

use actogen_runtime::core::ContextId;

use super::{
    catch_up::CatchUp,
    consuming::{Consuming, Feeder},
    delivery::Deliveries,
    encoded::Consumed,
    options::{Options, Sender},
    window::Window,
};
use crate::{
    MessageOf, RemoteActor, RemoteMessage,
    address::Remote,
    context::Context,
    publish::{Consumption, IntoVerdict},
    topics::{PublishError, To},
};

/// A consumer to be: of messages of one type under topics that match a pattern. End it with [`Self::deliveries`], [`Self::run`] or
/// [`Self::actor`].
#[must_use = "nothing is consumed before `deliveries`, `run` or `actor`"]
pub struct Consume<'a, M> {
    context: &'a Context,
    pattern: String,
    options: Options,
    catch_up: Option<CatchUp>,
    _message: PhantomData<fn() -> M>,
}

impl<'a, M: Consumed> Consume<'a, M> {
    pub(super) fn new(context: &'a Context, pattern: &str, tag: Option<u64>) -> Self {
        let (pattern, catch_up) = (pattern.to_owned(), None);
        Self { context, pattern, options: Options::new(tag), catch_up, _message: PhantomData }
    }

    pub(super) fn context(&self) -> &'a Context {
        self.context
    }

    /// At most so many messages, and so many bytes, are held that are not done with; 256 and 4 MiB unless this says otherwise. What comes
    /// above that is not taken: a publisher that requires this context sends it again, other messages are lost; both are counted.
    pub fn prefetch(mut self, messages: usize, bytes: usize) -> Self {
        (self.options.most, self.options.most_bytes) = (messages.max(1), bytes);
        self
    }

    /// A delivery without a verdict is lost after this time, 30 s unless this says otherwise, and delivered again.
    pub fn within(mut self, time: Duration) -> Self {
        self.options.time = time;
        self
    }

    /// How long after a loss a message is delivered again; a second unless this says otherwise.
    pub fn again_after(mut self, time: Duration) -> Self {
        self.options.again = time;
        self
    }

    /// A message is delivered so often at most, five times unless this says otherwise. Then it is rejected, and given up to
    /// [`Consumption::take_dead`].
    pub fn deliveries_at_most(mut self, deliveries: u32) -> Self {
        self.options.deliveries = deliveries.max(1);
        self
    }

    /// Only signed messages are taken, of publishers whose certificate carries this name, or another one that is given.
    pub fn from_name(mut self, name: impl Into<String>) -> Self {
        self.options.senders.push(Sender::Name(name.into()));
        self
    }

    /// Only messages of this context are taken, or of others that are given.
    pub fn from_context(mut self, context: ContextId) -> Self {
        self.options.senders.push(Sender::Context(context));
        self
    }

    /// Only signed messages are taken.
    pub fn signed_only(mut self) -> Self {
        self.options.signed_only = true;
        self
    }

    /// Where it is remembered what has been handled, instead of in 16 MiB of memory for 65,536 messages.
    pub fn window(mut self, window: impl Window) -> Self {
        self.options.window = Box::new(window);
        self
    }

    /// What it has missed comes from a recorder: at the beginning, when a publisher's number is missing, when more came than it could hold, and
    /// what no later message has shown within half a minute. What is live waits until then (as much as is [held](Self::prefetch), once more; what is above
    /// that comes from the recorder too), so that each publisher's messages come in their order.
    ///
    /// It is for signed messages: others have no numbers. What was handled is told by the [window](Self::window): one that does not outlive the consumer
    /// is the right one where the beginning is [a time](CatchUp::since) or [the last few](CatchUp::last) and handling one twice does no harm.
    pub fn catch_up(mut self, from: CatchUp) -> Self {
        self.catch_up = Some(from);
        self
    }

    /// The messages, as a stream. What this context publishes from now on comes; what others do as soon as word of the consumer has
    /// reached them.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn deliveries(self) -> Result<Deliveries<M>, PublishError> {
        let Self { context, pattern, mut options, catch_up, .. } = self;
        options.catches_up = catch_up.is_some();
        let consuming = Consuming::new(context, options);
        context.subscribe_to(&pattern, To::Consumer(Feeder::of(&consuming)))?;
        Ok(Deliveries::new(consuming, catch_up.map(|catch_up| (catch_up, pattern))))
    }
}

impl<M> fmt::Debug for Consume<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consume").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Context {
    /// Consumes messages of one type under topics that match a pattern: as [`Self::subscribe`], with verdicts, acknowledgements to publishers
    /// who wait for them, and without handling one twice.
    ///
    /// In one context have one consumer for what others require of it: the first verdict is the context's.
    pub fn consume<M: RemoteMessage>(&self, pattern: &str) -> Consume<'_, M> {
        Consume::new(self, pattern, Some(M::TAG.get()))
    }

    /// Has messages handled by an actor: [`Consume::actor`] with nothing else said.
    ///
    /// # Errors
    /// [`PublishError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn consume_actor<A, M>(
        &self,
        pattern: &str,
        actor: &Remote<A>,
    ) -> Result<Consumption, PublishError>
    where
        A: RemoteActor,
        M: MessageOf<A>,
        M::Result: IntoVerdict,
    {
        self.consume::<M>(pattern).actor(actor)
    }
}
