//! What can be reached: actors with a declared name, and how an envelope becomes a call of their handler.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use actix::{
    Actor, Addr, AsyncContext, Context as ActixContext, Handler, Message, MessageResult,
    ResponseActFuture, ResponseFuture, dev::MessageResponse,
};
use actogen_runtime::{
    core::{Dead, DeadReason, Handle, Handled, policy::Origin},
    envelope::ReplyPort,
    mailbox::StopReason,
};
use futures_util::FutureExt;

use crate::{
    address::DecodingScope,
    guard::panic_text,
    intake::Intake,
    message::{Body, Codec, Inbound, RemoteMessage, Tag},
    pump::{Answer, InFlight, Pump},
    scratch,
};

/// An actor that other contexts can reach. Derive it; the handlers stay plain actix handlers:
///
/// ```
/// use actogen::prelude::*;
///
/// #[derive(RemoteMessage, Serialize, Deserialize)]
/// #[remote(name = "calc.Add", reply = "i64")]
/// struct Add(i64, i64);
///
/// #[derive(RemoteActor, Default)]
/// #[remote(name = "calc", messages(Add), spawn)]
/// struct Calc;
///
/// impl Actor for Calc {
///     type Context = actix::Context<Self>;
/// }
///
/// impl Handler<Add> for Calc {
///     type Result = i64;
///     fn handle(&mut self, m: Add, _: &mut Self::Context) -> i64 {
///         m.0 + m.1
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a remote actor",
    label = "derive `RemoteActor` for it",
    note = "add `#[derive(RemoteActor)]` and `#[remote(name = \"area.actor\", messages(...))]`"
)]
pub trait RemoteActor: Actor<Context = ActixContext<Self>> + Handler<Attach<Self>> {
    /// The declared name.
    const NAME: &'static str;
    /// The tags of the messages that it accepts.
    const TAGS: &'static [Tag];

    /// Decodes an envelope and calls the handler; written by the derive.
    #[doc(hidden)]
    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>);
}

/// An envelope on its way to a handler.
#[doc(hidden)]
pub struct Envelope<'a> {
    pub(crate) tag: u64,
    pub(crate) codec: u8,
    pub(crate) handle: Handle,
    pub(crate) origin: &'a Origin,
    pub(crate) reply: Reply,
    pub(crate) content: Content<'a>,
}

/// Where an answer goes.
pub(crate) enum Reply {
    Nowhere,
    /// To this handle of the sender's.
    To(Handle),
    By(ReplyPort),
}

/// A message's content.
pub(crate) enum Content<'a> {
    /// Encoded, as it came from another context.
    Encoded(&'a [u8]),
    /// The message itself, from this one.
    Value(Box<dyn Any + Send>),
}

impl Envelope<'_> {
    /// Which type of message it is.
    pub fn tag(&self) -> Tag {
        Tag::new(self.tag)
    }

    /// Why it need not be handled, if it is a request that its asker has given up.
    fn given_up(&self, context: &actogen_runtime::Context) -> Option<Dead> {
        match &self.reply {
            Reply::Nowhere => None,
            Reply::To(handle) => context.given_up(self.origin.source, *handle),
            Reply::By(port) => port.given_up(),
        }
    }

    /// Where its answer goes; once.
    fn port(&mut self, context: &actogen_runtime::Context) -> Option<ReplyPort> {
        match std::mem::replace(&mut self.reply, Reply::Nowhere) {
            Reply::Nowhere => None,
            Reply::To(handle) => ReplyPort::of(context, *self.origin, Some(handle)),
            Reply::By(port) => Some(port),
        }
    }

    /// Counts it as dead; nobody waits to hear of it.
    fn abandon(&mut self, context: &actogen_runtime::Context, dead: &Dead) {
        if let Some(port) = self.port(context) {
            port.let_go();
        }
        context.refuse_message(self.handle, *self.origin, self.tag, None, dead.clone());
    }

    fn refuse(&mut self, context: &actogen_runtime::Context, reason: DeadReason, text: String) {
        let dead = Dead::new(reason, Handled::No, context.id(), text);
        let reply = self.port(context);
        context.refuse_message(self.handle, *self.origin, self.tag, reply, dead);
    }
}

impl std::fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// One handling of one envelope: what the glue needs besides the actor.
#[doc(hidden)]
pub struct Turn<'a, A: RemoteActor> {
    pub(crate) ctx: &'a mut ActixContext<A>,
    pub(crate) intake: &'a Intake<A>,
    pub(crate) in_flight: &'a mut InFlight<A>,
    pub(crate) scope: &'a DecodingScope,
    /// Messages handed to handlers and not yet counted.
    pub(crate) delivered: u64,
    /// The text of the panic that ended the handler.
    pub(crate) panic: Option<String>,
}

impl<A: RemoteActor> Turn<'_, A> {
    fn count_delivered(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        if delivered > 0 {
            self.intake.context().count_delivered(delivered);
        }
    }
}

impl<A: RemoteActor> Drop for Turn<'_, A> {
    fn drop(&mut self) {
        self.count_delivered();
    }
}

impl<A: RemoteActor> std::fmt::Debug for Turn<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("intake", &self.intake).finish_non_exhaustive()
    }
}

/// Brings an intake to its actor: the pump starts when the actor handles it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Attach<A: RemoteActor> {
    intake: Option<Arc<Intake<A>>>,
}

impl<A: RemoteActor> Message for Attach<A> {
    type Result = ();
}

impl<A: RemoteActor> Attach<A> {
    pub(crate) fn new(intake: Arc<Intake<A>>) -> Self {
        Self { intake: Some(intake) }
    }

    /// Starts the pump; written into the handler by the derive.
    pub fn attach(mut self, ctx: &mut ActixContext<A>) {
        if let Some(intake) = self.intake.take() {
            let address: Addr<A> = ctx.address();
            ctx.spawn(Pump::new(intake, address.downgrade()));
        }
    }
}

impl<A: RemoteActor> Drop for Attach<A> {
    fn drop(&mut self) {
        // The actor ended before it handled this.
        if let Some(intake) = self.intake.take() {
            intake.close(&mut Default::default(), StopReason::Normal);
        }
    }
}

/// Hands a message to its handler; called by the derive.
#[doc(hidden)]
pub fn deliver<A, M>(actor: &mut A, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, A>)
where
    A: RemoteActor + Handler<M>,
    M: RemoteMessage,
    <A as Handler<M>>::Result: 'static,
{
    handle::<A, M, M>(actor, envelope, turn, |message| message);
}

/// Hands a message with its origin to its handler; called by the derive.
#[doc(hidden)]
pub fn deliver_inbound<A, M>(actor: &mut A, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, A>)
where
    A: RemoteActor + Handler<Inbound<M>>,
    M: RemoteMessage,
    <A as Handler<Inbound<M>>>::Result: 'static,
{
    let origin = *envelope.origin;
    handle::<A, M, Inbound<M>>(actor, envelope, turn, |message| Inbound { message, origin });
}

/// Answers a message that the actor does not list; called by the derive.
#[doc(hidden)]
pub fn unknown<A: RemoteActor>(envelope: &mut Envelope<'_>, turn: &mut Turn<'_, A>) {
    let tag = envelope.tag;
    let text = format!("the actor `{}` accepts no message with the tag {tag:#018x}", A::NAME);
    envelope.refuse(turn.intake.context(), DeadReason::UnknownMessage, text);
}

/// Takes the message out of its envelope, calls the handler, and answers. A message that does not decode is refused; a handler that
/// panics ends its actor. One guard catches both, since each costs as much as decoding a small message.
fn handle<A, M, H>(
    actor: &mut A,
    envelope: &mut Envelope<'_>,
    turn: &mut Turn<'_, A>,
    handled: impl FnOnce(M) -> H,
) where
    A: RemoteActor + Handler<H>,
    M: RemoteMessage,
    H: Message<Result: Body> + 'static,
    <A as Handler<H>>::Result: 'static,
{
    let context = turn.intake.context();
    if let Some(dead) = envelope.given_up(context) {
        return envelope.abandon(context, &dead);
    }
    let content = std::mem::replace(&mut envelope.content, Content::Encoded(&[]));
    let codec = envelope.codec;
    let is_request = !matches!(envelope.reply, Reply::Nowhere);
    let mut is_open = false;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let message = open::<M>(content, codec, turn.scope)?;
        is_open = true;
        turn.delivered += 1;
        if is_request {
            // Whoever hears the answer may look at the counters next.
            turn.count_delivered();
        }
        Ok(actor.handle(handled(message), turn.ctx))
    }));
    match result {
        Ok(Ok(result)) => {
            let reply = envelope.port(context);
            respond::<A, H, _>(result, M::CODEC, reply, turn);
        }
        Ok(Err(text)) => envelope.refuse(context, DeadReason::Malformed, text),
        Err(panic) if is_open => {
            fail(envelope.port(context), &*panic);
            turn.panic = Some(panic_text(&*panic));
        }
        Err(panic) => {
            turn.scope.stop_decoding();
            let text = format!("`deserialize` of `{}` panicked: {}", M::NAME, panic_text(&*panic));
            envelope.refuse(context, DeadReason::Malformed, text);
        }
    }
}

/// The message that an envelope holds, or why it does not.
#[inline]
fn open<M: RemoteMessage>(
    content: Content<'_>,
    codec: u8,
    scope: &DecodingScope,
) -> Result<M, String> {
    match content {
        Content::Encoded(bytes) => match Codec::from_number(codec) {
            Some(codec) => scope
                .decode(|| M::decode_unguarded(codec, bytes))
                .map_err(|error| format!("the body is no `{}`: {error}", M::NAME)),
            None => Err(format!("this build has no codec {codec}")),
        },
        Content::Value(value) => match value.downcast::<M>() {
            Ok(message) => Ok(*message),
            Err(_) => Err(format!("a value that is no `{}` was sent under its tag", M::NAME)),
        },
    }
}

/// Answers with whatever the handler gave. The kinds of result that actix knows are told apart by their concrete type: those that
/// are there at once cost no task and no channel.
fn respond<A, M, R>(result: R, codec: Codec, reply: Option<ReplyPort>, turn: &mut Turn<'_, A>)
where
    A: RemoteActor,
    M: Message<Result: Body> + 'static,
    R: MessageResponse<A, M> + 'static,
{
    let result = match cast::<R, M::Result>(result) {
        Ok(value) => return answer(reply, codec, value),
        Err(result) => result,
    };
    let result = match cast::<R, MessageResult<M>>(result) {
        Ok(value) => return answer(reply, codec, value.0),
        Err(result) => result,
    };
    let result = match cast::<R, ResponseFuture<M::Result>>(result) {
        Ok(future) => {
            tokio::task::spawn_local(async move {
                match AssertUnwindSafe(future).catch_unwind().await {
                    Ok(value) => answer(reply, codec, value),
                    Err(panic) => fail(reply, &*panic),
                }
            });
            return;
        }
        Err(result) => result,
    };
    let result = match cast::<R, ResponseActFuture<A, M::Result>>(result) {
        Ok(future) => return turn.in_flight.begin(Box::pin(Answer::new(future, codec, reply))),
        Err(result) => result,
    };
    // AtomicResponse, and whatever else an author's type does with the channel that actix gives it.
    let Some(reply) = reply else { return result.handle(turn.ctx, None) };
    let (sender, mut receiver) = tokio::sync::oneshot::channel();
    result.handle(turn.ctx, Some(sender));
    match receiver.try_recv() {
        Ok(value) => answer(Some(reply), codec, value),
        // Dropping the port says `NoAnswer`.
        Err(tokio::sync::oneshot::error::TryRecvError::Closed) => drop(reply),
        Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
            tokio::task::spawn_local(async move {
                if let Ok(value) = receiver.await {
                    answer(Some(reply), codec, value);
                }
            });
        }
    }
}

/// Sends the answer: the value itself to an asker in this context, encoded to any other.
pub(crate) fn answer<T: Body>(reply: Option<ReplyPort>, codec: Codec, value: T) {
    let Some(reply) = reply else { return };
    if reply.is_local() {
        return reply.local(Box::new(value));
    }
    scratch::with(|bytes| match value.encode(codec, bytes) {
        Ok(()) => reply.value(bytes),
        Err(error) => reply.failed(&format!("the reply cannot be encoded: {error}")),
    });
}

pub(crate) fn fail(reply: Option<ReplyPort>, panic: &(dyn Any + Send)) {
    if let Some(reply) = reply {
        reply.failed(&panic_text(panic));
    }
}

/// The value as a `U`, if that is what `T` is.
fn cast<T: 'static, U: 'static>(value: T) -> Result<U, T> {
    let mut value = Some(value);
    let found = (&mut value as &mut dyn Any).downcast_mut::<Option<U>>().and_then(Option::take);
    match (found, value) {
        (Some(found), _) => Ok(found),
        (None, Some(value)) => Err(value),
        (None, None) => unreachable!("the value was either taken as a U or is still there"),
    }
}

/// Fails the build when two tags are equal; used by the derive.
#[doc(hidden)]
pub const fn no_duplicate_tags(tags: &[Tag], text: &str) {
    let mut a = 0;
    while a < tags.len() {
        let mut b = a + 1;
        while b < tags.len() {
            if tags[a].get() == tags[b].get() {
                panic!("{}", text);
            }
            b += 1;
        }
        a += 1;
    }
}
