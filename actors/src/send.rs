//! Sending: `send` for an answer, `tell` with backpressure, `try_send`, `do_send`. They mean what they mean in actix, except that
//! nothing is unbounded.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use actogen_runtime::{
    Call, Way,
    core::{Dead, Handle, Handled},
    envelope::Outcome,
};
use tokio::time::Sleep;

use crate::{
    address::{Reach, Remote, RemoteRecipient},
    message::{MessageOf, RemoteMessage},
    post::{Attempt, Parcel},
    send_error::SendError,
};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that has been sent, or waits for room. Dropping it gives the answer up, and the request if it has not left.
#[must_use = "a request that is not awaited is given up"]
pub struct Request<M: RemoteMessage> {
    state: State<M>,
}

enum State<M: RemoteMessage> {
    Sent {
        asked: Asked,
        /// For a limit of its own. Made when the answer is first awaited and is not there yet.
        timer: Option<Pin<Box<Sleep>>>,
    },
    /// There was no room for it.
    NoRoom {
        asked: Asked,
        parcel: Parcel<M>,
        way: Way,
    },
    Waiting(Boxed<Result<M::Result, SendError<M>>>),
    Failed(SendError<M>),
    Done,
}

/// A request's wait for its answer.
struct Asked {
    reach: Arc<Reach>,
    call: Call,
    limit: Duration,
}

impl<M: RemoteMessage> Request<M> {
    fn new(reach: &Arc<Reach>, message: M) -> Self {
        Self::with(reach, |_| message)
    }

    /// A request with a message that holds the handle its answer will go to.
    pub(crate) fn with(reach: &Arc<Reach>, message: impl FnOnce(Handle) -> M) -> Self {
        Self { state: State::begin(reach, message).unwrap_or_else(State::Failed) }
    }

    /// Waits at most this long for the answer, and for room before that, instead of the context's limit for requests (30 s unless
    /// set). It is counted from when the request is first awaited.
    pub fn within(mut self, time: Duration) -> Self {
        if let State::Sent { asked, .. } | State::NoRoom { asked, .. } = &mut self.state {
            asked.limit = time;
        }
        self
    }
}

impl<M: RemoteMessage> State<M> {
    /// Sends it, if it finds a way and room.
    fn begin(reach: &Arc<Reach>, message: impl FnOnce(Handle) -> M) -> Result<Self, SendError<M>> {
        let nowhere = Handle(0);
        let Some(context) = &reach.context else {
            return Err(SendError::Unattached(message(nowhere)));
        };
        let limit = context.limits().request_time;
        let mut call = match context.begin_call(reach.address, None) {
            Ok(call) => call,
            Err(dead) => return Err(reach.refused(SendError::Unsent(message(nowhere), dead))),
        };
        let reply = call.reply_handle();
        let attempt = reach.attempt(message(reply), None, Some(reply));
        if matches!(attempt, Attempt::Posted) {
            call.note_left();
        }
        let asked = Asked { reach: reach.clone(), call, limit };
        match attempt {
            Attempt::Posted => Ok(Self::Sent { asked, timer: None }),
            Attempt::NoRoom(parcel, way) => Ok(Self::NoRoom { asked, parcel, way }),
            Attempt::Failed(error) => Err(reach.refused(error)),
        }
    }
}

impl Asked {
    /// Waits for room within the request's time, posts, and waits for the answer.
    async fn post_later<M: RemoteMessage>(
        self,
        parcel: Parcel<M>,
        way: Way,
    ) -> Result<M::Result, SendError<M>> {
        let Self { reach, mut call, limit } = self;
        let exchange = async {
            let reply = call.reply_handle();
            tokio::select! {
                biased;
                posted = reach.post_later(parcel, way, Some(reply)) => posted?,
                // Its context was lost, or this one ends, while the request waited for room: it has not left.
                outcome = &mut call => {
                    if let Outcome::Dead(dead) = outcome {
                        let dead = Dead { handled: Handled::No, ..dead };
                        return Err(reach.refused(SendError::Dead(dead)));
                    }
                    return Err(SendError::Failed("an answer came before the request had left".into()));
                }
            }
            call.note_left();
            Ok(call.await)
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(outcome) => reach.answered(outcome?, limit),
            Err(_) => Err(SendError::Timeout(limit)),
        }
    }
}

impl<M: RemoteMessage> Unpin for Request<M> {}

impl<M: RemoteMessage> Future for Request<M> {
    type Output = Result<M::Result, SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.state {
            State::Sent { asked, timer } => match Pin::new(&mut asked.call).poll(cx) {
                Poll::Ready(outcome) => asked.reach.answered(outcome, asked.limit),
                Poll::Pending if asked.limit == asked.call.limit() => {
                    asked.call.keep_limit();
                    return Poll::Pending;
                }
                Poll::Pending => {
                    let limit = asked.limit;
                    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                    task::ready!(timer.as_mut().poll(cx));
                    Err(SendError::Timeout(limit))
                }
            },
            State::Waiting(answer) => task::ready!(answer.as_mut().poll(cx)),
            State::NoRoom { .. } | State::Failed(_) => {
                match std::mem::replace(&mut self.state, State::Done) {
                    State::NoRoom { asked, parcel, way } => {
                        self.state = State::Waiting(Box::pin(asked.post_later(parcel, way)));
                        return self.poll(cx);
                    }
                    State::Failed(error) => Err(error),
                    _ => unreachable!("the state was one of these two"),
                }
            }
            State::Done => panic!("a request was polled after it had been answered"),
        };
        self.state = State::Done;
        Poll::Ready(outcome)
    }
}

impl<M: RemoteMessage> fmt::Debug for Request<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Sent { .. } => "sent",
            State::NoRoom { .. } | State::Waiting(_) => "waits for room",
            State::Failed(_) => "failed",
            State::Done => "done",
        };
        write!(f, "Request<{}>({state})", M::NAME)
    }
}

/// A one-way message that has been sent, or waits for room. Dropping it gives the message up, if it has not left.
#[must_use = "a message that finds no room is given up unless it is awaited; `do_send` makes it a dead letter"]
pub struct Tell<M>(
    /// What is left to do; nothing once the message has been sent, so that there is next to nothing to move.
    Option<Boxed<Result<(), SendError<M>>>>,
);

impl<M> Unpin for Tell<M> {}

impl<M: RemoteMessage> Future for Tell<M> {
    type Output = Result<(), SendError<M>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let Some(later) = &mut self.0 else { return Poll::Ready(Ok(())) };
        later.as_mut().poll(cx)
    }
}

impl<M> fmt::Debug for Tell<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

#[inline]
fn tell<M: RemoteMessage>(reach: &Arc<Reach>, message: M) -> Tell<M> {
    match reach.attempt(message, None, None) {
        Attempt::Posted => Tell(None),
        left => Tell(Some(tell_later(reach, left))),
    }
}

#[cold]
fn tell_later<M: RemoteMessage>(
    reach: &Arc<Reach>,
    left: Attempt<M>,
) -> Boxed<Result<(), SendError<M>>> {
    match left {
        Attempt::Posted => Box::pin(ready(Ok(()))),
        Attempt::Failed(error) => Box::pin(ready(Err(reach.refused(error)))),
        Attempt::NoRoom(parcel, way) => {
            let reach = reach.clone();
            Box::pin(async move { reach.post_later(parcel, way, None).await })
        }
    }
}

impl<A> Remote<A> {
    /// Sends a request, at once if there is room on the way, and resolves to its answer. Waits for room, and for the answer, within
    /// the context's limit for requests; [`Request::within`] sets another.
    pub fn send<M: MessageOf<A>>(&self, message: M) -> Request<M> {
        Request::new(&self.reach, message)
    }

    /// Sends one way, at once if there is room on the way, or waits for it. It resolves when the message has been taken over here; what becomes of it
    /// later shows in the counters and as a dead letter where it died.
    #[inline]
    pub fn tell<M: MessageOf<A>>(&self, message: M) -> Tell<M> {
        tell(&self.reach, message)
    }

    /// Sends one way, or hands the message back when there is no room now.
    ///
    /// # Errors
    /// [`SendError`], with the message.
    pub fn try_send<M: MessageOf<A>>(&self, message: M) -> Result<(), SendError<M>> {
        self.reach.try_send(message)
    }

    /// Sends one way and asks no more. A message that finds no room or no way becomes a counted dead letter.
    pub fn do_send<M: MessageOf<A>>(&self, message: M) {
        self.reach.do_send(message);
    }
}

impl<M: RemoteMessage> RemoteRecipient<M> {
    /// As [`Remote::send`].
    pub fn send(&self, message: M) -> Request<M> {
        Request::new(self.reach(), message)
    }

    /// As [`Remote::tell`].
    #[inline]
    pub fn tell(&self, message: M) -> Tell<M> {
        tell(self.reach(), message)
    }

    /// As [`Remote::try_send`].
    ///
    /// # Errors
    /// [`SendError`], with the message.
    pub fn try_send(&self, message: M) -> Result<(), SendError<M>> {
        self.reach().try_send(message)
    }

    /// As [`Remote::do_send`].
    pub fn do_send(&self, message: M) {
        self.reach().do_send(message);
    }
}
