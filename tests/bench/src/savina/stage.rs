//! Where a program plays: on plain actix or through `Remote`, on one arbiter or two, or in two processes. Its actors are the same everywhere; they
//! reach each other by ports, and know not what these are made of.

use actix::{Arbiter, dev::MessageResponse};
use actogen::{MessageOf, Spawn, prelude::*};
use futures_util::future::Either;
use serde::{Deserializer, Serializer, de::DeserializeOwned, ser::Error};
use tokio::sync::oneshot;

use crate::{failure::Failure, ours, settings::Settings};

/// Where the actors of a program live, and by what they are reached.
pub(super) enum Stage {
    /// In this process, by `Recipient`; with a second arbiter, if there is one.
    Plain(Option<Arbiter>),
    /// In this process, by `RemoteRecipient`; with a second arbiter, if there is one.
    Near(Context, Option<Arbiter>),
    /// On this arbiter and in another process, by `RemoteRecipient`.
    Apart(Context, Child),
}

/// On which side of the stage an actor lives, where it has two.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// With the leader.
    Here,
    /// On the second arbiter, or in the other process.
    There,
}

impl Side {
    /// There and here by turns.
    pub(super) fn of(number: usize) -> Self {
        if number.is_multiple_of(2) { Self::There } else { Self::Here }
    }
}

impl Stage {
    /// On one arbiter.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn near(settings: Settings) -> Result<Self, Failure> {
        Ok(Self::Near(ours::root(settings).await?, None))
    }

    /// On two arbiters.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn on_two(settings: Settings) -> Result<Self, Failure> {
        Ok(Self::Near(ours::root(settings).await?, Some(Arbiter::new())))
    }

    /// On two arbiters, on plain actix.
    pub(super) fn plain_on_two() -> Self {
        Self::Plain(Some(Arbiter::new()))
    }

    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn apart(settings: Settings) -> Result<Self, Failure> {
        let context = ours::root(settings).await?;
        let child = ours::child(&context, settings).await?;
        Ok(Self::Apart(context, child))
    }

    /// Starts an actor that is its own arguments.
    ///
    /// # Errors
    /// [`Failure::Ours`].
    pub(super) async fn start<A>(&self, side: Side, actor: A) -> Result<Player<A>, Failure>
    where
        A: Spawn<Args = A>
            + Actor<Context = actix::Context<A>>
            + Serialize
            + DeserializeOwned
            + Send,
    {
        match (self, side) {
            (Self::Apart(_, child), Side::There) => {
                let actor = child.spawn::<A>(actor).await;
                Ok(Player::Reachable(actor.map_err(Failure::ours("spawning an actor"))?))
            }
            (Self::Plain(Some(second)) | Self::Near(_, Some(second)), Side::There) => {
                let (context, (tell, told)) = (self.context().cloned(), oneshot::channel());
                second.spawn_fn(move || drop(tell.send(started(context.as_ref(), actor))));
                told.await.map_err(Failure::ours("starting an actor on an arbiter"))
            }
            _ => Ok(self.lead(actor)),
        }
    }

    /// Starts an actor on this arbiter.
    pub(super) fn lead<A>(&self, actor: A) -> Player<A>
    where
        A: RemoteActor + Actor<Context = actix::Context<A>>,
    {
        started(self.context(), actor)
    }

    fn context(&self) -> Option<&Context> {
        match self {
            Self::Plain(_) => None,
            Self::Near(context, _) | Self::Apart(context, _) => Some(context),
        }
    }

    pub(super) async fn end(self) {
        if let Some(context) = self.context() {
            context.shutdown().await;
        }
        if let Self::Plain(Some(second)) | Self::Near(_, Some(second)) = self {
            second.stop();
            // What it frees must not be counted as another measure's.
            let _ = second.join();
        }
    }
}

/// Starts an actor on the arbiter of this thread.
fn started<A>(context: Option<&Context>, actor: A) -> Player<A>
where
    A: RemoteActor + Actor<Context = actix::Context<A>>,
{
    match context {
        None => Player::Plain(actor.start()),
        Some(context) => Player::Reachable(context.start(actor)),
    }
}

/// An actor that has been started.
pub(super) enum Player<A: Actor> {
    Plain(Addr<A>),
    Reachable(Remote<A>),
}

impl<A: Actor<Context = actix::Context<A>>> Player<A> {
    pub(super) fn port<M: MessageOf<A>>(&self) -> Port<M>
    where
        A: Handler<M>,
        M::Result: MessageResponse<A, M> + Send,
    {
        match self {
            Self::Plain(address) => Port::Plain(address.clone().recipient()),
            Self::Reachable(remote) => Port::Reachable(remote.recipient()),
        }
    }
}

/// Where messages of one type go. It travels as the address that it is; on plain actix nothing travels.
pub(super) enum Port<M: RemoteMessage<Result: Send>> {
    Plain(Recipient<M>),
    Reachable(RemoteRecipient<M>),
}

impl<M: RemoteMessage<Result: Send>> Port<M> {
    /// Sends one way. No program has more under way than there is room for, so what is lost is missed, and ends a run with an error.
    pub(super) fn tell(&self, message: M) {
        match self {
            Self::Plain(recipient) => recipient.do_send(message),
            Self::Reachable(recipient) => recipient.do_send(message),
        }
    }

    /// Sends a request at once, and gives its answer, if any comes.
    pub(super) fn ask(&self, message: M) -> impl Future<Output = Option<M::Result>> + use<M> {
        let asked = match self {
            Self::Plain(recipient) => Either::Left(recipient.send(message)),
            Self::Reachable(recipient) => Either::Right(recipient.send(message)),
        };
        async move {
            match asked {
                Either::Left(asked) => asked.await.ok(),
                Either::Right(asked) => asked.await.ok(),
            }
        }
    }
}

impl<M: RemoteMessage<Result: Send>> Clone for Port<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(recipient) => Self::Plain(recipient.clone()),
            Self::Reachable(recipient) => Self::Reachable(recipient.clone()),
        }
    }
}

impl<M: RemoteMessage<Result: Send>> Serialize for Port<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(_) => Err(S::Error::custom("plain actix has no addresses that travel")),
            Self::Reachable(recipient) => recipient.serialize(serializer),
        }
    }
}

impl<'de, M: RemoteMessage<Result: Send>> Deserialize<'de> for Port<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RemoteRecipient::deserialize(deserializer).map(Self::Reachable)
    }
}

/// Asks a program's leader for a performance of a size; answered with the number of messages that it took, or with what went wrong.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Go", reply = "Result<u64, String>")]
pub(super) struct Go(pub(super) u32);

/// A leader's debt of an answer.
#[derive(Debug, Default)]
pub(super) struct Debt(Option<oneshot::Sender<Result<u64, String>>>);

impl Debt {
    pub(super) fn begin(&mut self) -> ResponseFuture<Result<u64, String>> {
        let (owed, paid) = oneshot::channel();
        self.0 = Some(owed);
        Box::pin(async move { paid.await.unwrap_or_else(|_| Err("it was begun twice".into())) })
    }

    pub(super) fn pay(&mut self, result: Result<u64, String>) {
        if let Some(owed) = self.0.take() {
            // Whoever has given up waiting needs no word.
            let _ = owed.send(result);
        }
    }
}
