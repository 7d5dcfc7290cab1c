//! Consumers that are run: a value with verdicts in an actor of its own, or the handler of an actor that there is.

use std::{fmt, future::Future, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context as ActixContext, Handler, WrapFuture,
};

use super::{
    consume::Consume,
    consuming::Consumption,
    delivery::{Deliveries, Delivery},
};
use crate::{
    MessageOf, RemoteMessage,
    actor::{Attach, RemoteActor},
    address::Remote,
    message::Tag,
    topics::PublishError,
    turn::{Envelope, Turn, unknown},
};

/// What is to become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is handled, and acknowledged.
    Ok,
    /// Not now: it is delivered again after this time.
    Nack(Duration),
    /// Never: its publisher learns why.
    Drop(String),
    /// Not here: nothing is said of it, and the consumer ends.
    Halt,
}

impl Verdict {
    fn give<M>(self, delivery: Delivery<M>, of: &Consumption) {
        match self {
            Self::Ok => drop(delivery.ok()),
            Self::Nack(delay) => drop(delivery.nack(delay)),
            Self::Drop(why) => drop(delivery.reject(why)),
            Self::Halt => {
                of.end();
                delivery.lose();
            }
        }
    }
}

/// Handles messages one after the other, each with a verdict. Run one by [`Consume::run`].
pub trait Consumer<M: RemoteMessage>: 'static {
    /// Handles a message. The delivery says where it is from, and may be [extended](Delivery::extend) or [stored](Delivery::stored); the verdict is what this
    /// returns. A panic ends the consumer, and the message is not acknowledged.
    fn handle(&mut self, delivery: &mut Delivery<M>) -> impl Future<Output = Verdict>;
}

/// The actor that runs a [`Consumer`].
pub struct ConsumerActor<C, M> {
    runs: Option<(C, Deliveries<M>)>,
}

/// Nothing in it is pinned: what runs is boxed.
impl<C, M> Unpin for ConsumerActor<C, M> {}

impl<C, M> fmt::Debug for ConsumerActor<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerActor").finish_non_exhaustive()
    }
}

impl<C: Consumer<M>, M: RemoteMessage> Actor for ConsumerActor<C, M> {
    type Context = ActixContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some((mut consumer, mut deliveries)) = self.runs.take() else { return };
        let consumption = deliveries.consumption();
        let run = async move {
            while let Some(delivery) = deliveries.next().await {
                let mut delivery = delivery.quietly();
                let verdict = consumer.handle(&mut delivery).await;
                verdict.give(delivery, &consumption);
            }
        };
        ctx.spawn(run.into_actor(self).map(|(), _, ctx| ctx.stop()));
    }
}

impl<C: Consumer<M>, M: RemoteMessage> Handler<Attach<Self>> for ConsumerActor<C, M> {
    type Result = ();

    fn handle(&mut self, message: Attach<Self>, ctx: &mut Self::Context) {
        message.attach(ctx);
    }
}

impl<C: Consumer<M>, M: RemoteMessage> RemoteActor for ConsumerActor<C, M> {
    const NAME: &'static str = "actogen.consumer";
    const TAGS: &'static [Tag] = &[];

    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>) {
        unknown(envelope, turn);
    }
}

/// What a handler's answer says of the message.
pub trait IntoVerdict {
    /// The verdict.
    fn into_verdict(self) -> Verdict;
}

impl IntoVerdict for Verdict {
    fn into_verdict(self) -> Verdict {
        self
    }
}

impl IntoVerdict for () {
    /// It is handled.
    fn into_verdict(self) -> Verdict {
        Verdict::Ok
    }
}

impl<T, E: fmt::Display> IntoVerdict for Result<T, E> {
    /// Handled, or rejected with the error's text.
    fn into_verdict(self) -> Verdict {
        match self {
            Ok(_) => Verdict::Ok,
            Err(error) => Verdict::Drop(error.to_string()),
        }
    }
}

impl<M: RemoteMessage> Consume<'_, M> {
    /// Runs a consumer in an actor of its own, on the current thread, until it gives [`Verdict::Halt`] or panics, or somebody ends it.
    ///
    /// # Errors
    /// [`PublishError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn run<C: Consumer<M>>(
        self,
        consumer: C,
    ) -> Result<(Remote<ConsumerActor<C, M>>, Consumption), PublishError> {
        let context = self.context().clone();
        let deliveries = self.deliveries()?;
        let consumption = deliveries.consumption();
        let actor = context.start(ConsumerActor { runs: Some((consumer, deliveries)) });
        Ok((actor, consumption))
    }

    /// Has messages handled by an actor, one after the other, until it ends. Each is acknowledged when the handler's answer is there and is
    /// no error; an error is a rejection. While the actor does not answer (it panics, or cannot be reached) nothing is said, and the message
    /// is delivered again.
    ///
    /// # Errors
    /// [`PublishError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn actor<A>(self, actor: &Remote<A>) -> Result<Consumption, PublishError>
    where
        A: RemoteActor,
        M: MessageOf<A>,
        M::Result: IntoVerdict,
    {
        let (context, actor) = (self.context().clone(), actor.clone());
        let mut deliveries = self.deliveries()?;
        let (consumption, time) = (deliveries.consumption(), deliveries.time());
        let handled = consumption.clone();
        let ends = context.watch(&actor);
        let hand_over = async move {
            while let Some(delivery) = deliveries.next().await {
                let mut delivery = delivery.quietly();
                match actor.send(delivery.take()).within(time).await {
                    Ok(answer) => answer.into_verdict().give(delivery, &handled),
                    Err(error) => {
                        tracing::debug!(topic = delivery.topic(), "not handled: {error}");
                        delivery.lose();
                    }
                }
            }
        };
        tokio::task::spawn_local(async move {
            tokio::select! {
                () = hand_over => {}
                _ = ends => {}
            }
        });
        Ok(consumption)
    }
}
