//! What a handler gives, as an answer: at once, or when a future is ready.

use std::{any::Any, panic::AssertUnwindSafe};

use actix::{
    Actor, AsyncContext, Message, MessageResult, ResponseActFuture, ResponseFuture,
    dev::MessageResponse,
};
use actogen_runtime::envelope::ReplyPort;
use futures_util::FutureExt;
use tokio::sync::oneshot;

use crate::{
    actor::RemoteActor,
    guard::panic_text,
    in_flight::Answer,
    message::{Body, Codec},
    scratch,
    trace::{self, InTrace},
    turn::Turn,
};

/// Bytes of an answer that is not copied.
const LONG: usize = 64 * 1024;

/// What a handler gives that sometimes has its answer at once.
pub(crate) enum Given<A: Actor, T> {
    Now(T),
    Later(ResponseActFuture<A, T>),
}

impl<A, M> MessageResponse<A, M> for Given<A, M::Result>
where
    A: Actor<Context: AsyncContext<A>>,
    M: Message<Result: Send>,
{
    fn handle(self, ctx: &mut A::Context, asker: Option<oneshot::Sender<M::Result>>) {
        match self {
            // An asker that has gone needs no answer.
            Self::Now(value) => drop(asker.map(|asker| asker.send(value))),
            Self::Later(future) => MessageResponse::<A, M>::handle(future, ctx, asker),
        }
    }
}

/// Answers with whatever the handler gave. The kinds of result that actix knows are told apart by their concrete type: those that
/// are there at once cost no task and no channel.
pub(crate) fn respond<A, M, R>(
    result: R,
    codec: Codec,
    reply: Option<ReplyPort>,
    turn: &mut Turn<'_, A>,
) where
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
            let future = InTrace::keeping(trace::kept(), future);
            tokio::task::spawn_local(async move {
                match AssertUnwindSafe(future).catch_unwind().await {
                    Ok(value) => answer(reply, codec, value),
                    Err(panic) => fail(reply, &panic_text(&*panic)),
                }
            });
            return;
        }
        Err(result) => result,
    };
    let result = match cast::<R, ResponseActFuture<A, M::Result>>(result) {
        Ok(future) => return turn.answer_later(Answer::new(future, codec, reply)),
        Err(result) => result,
    };
    let result = match cast::<R, Given<A, M::Result>>(result) {
        Ok(Given::Now(value)) => return answer(reply, codec, value),
        Ok(Given::Later(future)) => return turn.answer_later(Answer::new(future, codec, reply)),
        Err(result) => result,
    };
    // AtomicResponse, and whatever else an author's type does with the channel that actix gives it.
    let Some(reply) = reply else { return result.handle(turn.ctx(), None) };
    let (sender, mut receiver) = oneshot::channel();
    result.handle(turn.ctx(), Some(sender));
    match receiver.try_recv() {
        Ok(value) => answer(Some(reply), codec, value),
        // Dropping the port says `NoAnswer`.
        Err(oneshot::error::TryRecvError::Closed) => drop(reply),
        Err(oneshot::error::TryRecvError::Empty) => {
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
        // A long one goes as it is, and leaves the buffer behind.
        Ok(()) if bytes.len() > LONG => reply.value_owned(std::mem::take(bytes).into()),
        Ok(()) => reply.value(bytes),
        Err(error) => reply.failed(&format!("the reply cannot be encoded: {error}")),
    });
}

/// Answers that the handler panicked, with the panic's text.
pub(crate) fn fail(reply: Option<ReplyPort>, text: &str) {
    if let Some(reply) = reply {
        reply.failed(text);
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
