//! Sending: `send` for an answer, `tell` with backpressure, `try_send`, `do_send`. They mean what they mean in actix, except that
//! nothing is unbounded.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use actogen_runtime::{
    Encoded, PostError, Way,
    core::{Dead, DeadReason, Handle, Handled},
    envelope::Outcome,
};

use crate::{
    address::{DecodingScope, Reach, Remote, RemoteRecipient},
    message::{Body, CodecError, MessageOf, RemoteMessage},
};

/// Why a message was not sent, or a request not answered.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// No room on the way now. The message comes back: try again later, or wait with `tell` or `send`.
    #[error("there is no room on the way: try again later, or wait with `tell`")]
    Full(M),
    /// It cannot go there, as is known here: no route, a lost one, a stopped actor, too large. The message comes back.
    #[error("not sent: {1}")]
    Unsent(M, Dead),
    /// The address was decoded outside of a message and belongs to no context. Attach it with [`Remote::attach`].
    #[error("the address is attached to no context: attach it with `attach(&context)`")]
    Unattached(M),
    /// The message has no form in its codec. It comes back.
    #[error("the message cannot be encoded: {1}")]
    Unencodable(M, CodecError),
    /// It died on the way, at its receiver, or its context was lost; `handled` says what that tells about the request.
    #[error("{0}")]
    Dead(Dead),
    /// The handler panicked, or its answer could not be encoded; the text.
    #[error("the handler failed: {0}")]
    Failed(String),
    /// The answer is not of the type that was expected.
    #[error("the answer cannot be decoded: {0}")]
    BadAnswer(CodecError),
    /// No answer within the time limit; the request may have been handled.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl<M> SendError<M> {
    /// The reason, when a message is dead or could not be sent.
    pub fn reason(&self) -> Option<DeadReason> {
        match self {
            Self::Unsent(_, dead) | Self::Dead(dead) => Some(dead.reason),
            _ => None,
        }
    }

    /// Whether the message has been handled, as far as anybody knows.
    pub fn handled(&self) -> Handled {
        match self {
            Self::Full(_) | Self::Unsent(..) | Self::Unattached(_) | Self::Unencodable(..) => {
                Handled::No
            }
            Self::Dead(dead) => dead.handled,
            Self::Failed(_) | Self::BadAnswer(_) => Handled::Yes,
            Self::Timeout(_) => Handled::Maybe,
        }
    }

    /// The message, when it has not left.
    pub fn into_message(self) -> Option<M> {
        match self {
            Self::Full(message)
            | Self::Unsent(message, _)
            | Self::Unattached(message)
            | Self::Unencodable(message, _) => Some(message),
            _ => None,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Full(_) => "Full",
            Self::Unsent(_, dead) => return f.debug_tuple("Unsent").field(dead).finish(),
            Self::Unattached(_) => "Unattached",
            Self::Unencodable(_, error) => {
                return f.debug_tuple("Unencodable").field(error).finish();
            }
            Self::Dead(dead) => return f.debug_tuple("Dead").field(dead).finish(),
            Self::Failed(text) => return f.debug_tuple("Failed").field(text).finish(),
            Self::BadAnswer(error) => return f.debug_tuple("BadAnswer").field(error).finish(),
            Self::Timeout(limit) => return f.debug_tuple("Timeout").field(limit).finish(),
        };
        f.write_str(name)
    }
}

/// What one attempt at posting came to.
enum Attempt<M> {
    Posted,
    /// No room: wait, and try with what is left.
    NoRoom(Parcel<M>, Way),
    Failed(SendError<M>),
}

/// A message with its encoded form, once it has been made.
struct Parcel<M> {
    message: M,
    encoded: Option<Vec<u8>>,
}

impl Reach {
    fn attempt<M: RemoteMessage>(
        &self,
        mut parcel: Parcel<M>,
        reply: Option<Handle>,
    ) -> Attempt<M> {
        let Some(context) = &self.context else {
            return Attempt::Failed(SendError::Unattached(parcel.message));
        };
        match context.way(self.address) {
            Err(dead) => Attempt::Failed(SendError::Unsent(parcel.message, dead)),
            Ok(Way::Here(here)) => {
                let size = size_of::<M>();
                if !here.has_room(size) {
                    return Attempt::NoRoom(parcel, Way::Here(here));
                }
                context.count_sent(1);
                context.post_local(&here, M::TAG.get(), Box::new(parcel.message), size, reply);
                Attempt::Posted
            }
            Ok(Way::Away(away)) => {
                if parcel.encoded.is_none() {
                    match parcel.message.encode(M::CODEC) {
                        Ok(encoded) => parcel.encoded = Some(encoded),
                        Err(error) => {
                            return Attempt::Failed(SendError::Unencodable(parcel.message, error));
                        }
                    }
                }
                let body = parcel.encoded.as_deref().unwrap_or_default();
                let encoded = Encoded { tag: M::TAG.get(), codec: M::CODEC.number(), body };
                match context.post_away(&away, encoded, reply) {
                    Ok(()) => {
                        context.count_sent(1);
                        Attempt::Posted
                    }
                    Err(PostError::Full) => Attempt::NoRoom(parcel, Way::Away(away)),
                    Err(PostError::Dead(dead)) => {
                        Attempt::Failed(SendError::Unsent(parcel.message, dead))
                    }
                    Err(error) => {
                        let dead = Dead::new(
                            DeadReason::NoRoute,
                            Handled::No,
                            context.id(),
                            format!("{error:?}"),
                        );
                        Attempt::Failed(SendError::Unsent(parcel.message, dead))
                    }
                }
            }
        }
    }

    /// Counts a message that did not leave.
    fn refused<M>(&self, error: SendError<M>) -> SendError<M> {
        if let Some(context) = &self.context {
            context.count_sent(1);
            context.count_refused();
        }
        error
    }

    fn try_send<M: RemoteMessage>(&self, message: M) -> Result<(), SendError<M>> {
        match self.attempt(Parcel { message, encoded: None }, None) {
            Attempt::Posted => Ok(()),
            Attempt::NoRoom(parcel, _) => Err(self.refused(SendError::Full(parcel.message))),
            Attempt::Failed(error) => Err(self.refused(error)),
        }
    }

    fn do_send<M: RemoteMessage>(&self, message: M) {
        let Some(context) = &self.context else { return };
        let dead = match self.attempt(Parcel { message, encoded: None }, None) {
            Attempt::Posted => return,
            Attempt::NoRoom(..) => Dead::new(
                DeadReason::Congested,
                Handled::No,
                context.id(),
                "there is no room on the way",
            ),
            Attempt::Failed(SendError::Unsent(_, dead)) => dead,
            Attempt::Failed(error) => {
                Dead::new(DeadReason::Malformed, Handled::No, context.id(), error.to_string())
            }
        };
        context.count_sent(1);
        context.dead_letter(self.address, M::TAG.get(), &dead);
    }

    async fn post<M: RemoteMessage>(
        &self,
        message: M,
        reply: Option<Handle>,
    ) -> Result<(), SendError<M>> {
        let mut parcel = Parcel { message, encoded: None };
        loop {
            match self.attempt(parcel, reply) {
                Attempt::Posted => return Ok(()),
                Attempt::Failed(error) => return Err(self.refused(error)),
                Attempt::NoRoom(left, way) => {
                    parcel = left;
                    match &way {
                        Way::Here(here) => here.room(size_of::<M>()).await,
                        Way::Away(away) => {
                            if let Some(context) = &self.context {
                                context.room(away).await;
                            }
                        }
                    }
                }
            }
        }
    }

    async fn request<M: RemoteMessage>(
        self,
        message: M,
        limit: Option<Duration>,
    ) -> Result<M::Result, SendError<M>> {
        let Some(context) = self.context.clone() else {
            return Err(SendError::Unattached(message));
        };
        let limit = limit.unwrap_or(context.limits().request_time);
        let mut call = match context.begin_call(self.address, None) {
            Ok(call) => call,
            Err(dead) => return Err(self.refused(SendError::Unsent(message, dead))),
        };
        let exchange = async {
            let reply = call.reply_handle();
            tokio::select! {
                biased;
                posted = self.post(message, Some(reply)) => posted?,
                // Its context was lost, or this one ends, while the request waited for room: it has not left.
                outcome = &mut call => {
                    if let Outcome::Dead(dead) = outcome {
                        let dead = Dead { handled: Handled::No, ..dead };
                        return Err(self.refused(SendError::Dead(dead)));
                    }
                    return Err(SendError::Failed("an answer came before the request had left".into()));
                }
            }
            match call.await {
                Outcome::Reply(bytes) => {
                    let _scope = DecodingScope::enter(&context);
                    M::Result::decode(M::CODEC, &bytes).map_err(SendError::BadAnswer)
                }
                Outcome::Local(value) => match value.downcast::<M::Result>() {
                    Ok(value) => Ok(*value),
                    Err(_) => {
                        Err(SendError::Failed("the answer is a value of another type".into()))
                    }
                },
                Outcome::Failed(text) => Err(SendError::Failed(text)),
                Outcome::Dead(dead) => Err(SendError::Dead(dead)),
            }
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(SendError::Timeout(limit)),
        }
    }
}

type Answer<M> =
    Pin<Box<dyn Future<Output = Result<<M as actix::Message>::Result, SendError<M>>> + Send>>;

/// A request that is sent when it is first awaited. Dropping it gives the answer up.
#[must_use = "a request is sent when it is awaited"]
pub struct Request<M: RemoteMessage> {
    state: State<M>,
}

enum State<M: RemoteMessage> {
    Unsent { reach: Box<Reach>, message: M, limit: Option<Duration> },
    UnderWay(Answer<M>),
    Done,
}

impl<M: RemoteMessage> Request<M> {
    fn new(reach: &Reach, message: M) -> Self {
        Self { state: State::Unsent { reach: Box::new(reach.clone()), message, limit: None } }
    }

    /// Waits at most this long for the answer, instead of the context's limit for requests (30 s unless set).
    pub fn within(mut self, time: Duration) -> Self {
        if let State::Unsent { limit, .. } = &mut self.state {
            *limit = Some(time);
        }
        self
    }
}

impl<M: RemoteMessage> Unpin for Request<M> {}

impl<M: RemoteMessage> Future for Request<M> {
    type Output = Result<M::Result, SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let State::Unsent { .. } = self.state
            && let State::Unsent { reach, message, limit } =
                std::mem::replace(&mut self.state, State::Done)
        {
            self.state = State::UnderWay(Box::pin(reach.request(message, limit)));
        }
        match &mut self.state {
            State::UnderWay(answer) => {
                let outcome = task::ready!(answer.as_mut().poll(cx));
                self.state = State::Done;
                Poll::Ready(outcome)
            }
            _ => panic!("a request was polled after it had been answered"),
        }
    }
}

impl<M: RemoteMessage> fmt::Debug for Request<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Unsent { .. } => "unsent",
            State::UnderWay(_) => "under way",
            State::Done => "done",
        };
        write!(f, "Request<{}>({state})", M::NAME)
    }
}

/// One-way sending that waits for room.
#[must_use = "a message is sent when it is awaited; `do_send` sends at once"]
pub struct Tell<M>(Pin<Box<dyn Future<Output = Result<(), SendError<M>>> + Send>>);

impl<M> Future for Tell<M> {
    type Output = Result<(), SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<M> fmt::Debug for Tell<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

fn tell<M: RemoteMessage>(reach: &Reach, message: M) -> Tell<M> {
    let reach = reach.clone();
    Tell(Box::pin(async move { reach.post(message, None).await }))
}

impl<A> Remote<A> {
    /// Sends a request and resolves to its answer. Waits for room on the way, and for the answer within the context's limit for
    /// requests; [`Request::within`] sets another.
    pub fn send<M: MessageOf<A>>(&self, message: M) -> Request<M> {
        Request::new(&self.reach, message)
    }

    /// Sends one way, and waits for room on the way. It resolves when the message has been taken over here; what becomes of it
    /// later shows in the counters and as a dead letter where it died.
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
