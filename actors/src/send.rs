//! Sending: `send` for an answer, `tell` with backpressure, `try_send`, `do_send`. They mean what they mean in actix, except that
//! nothing is unbounded.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use actogen_runtime::{
    Call, Encoded, PostError, Way,
    core::{Dead, DeadReason, Handle, Handled},
    envelope::Outcome,
};
use tokio::time::Sleep;

use crate::{
    address::{DecodingScope, Reach, Remote, RemoteRecipient},
    message::{Body, CodecError, MessageOf, RemoteMessage},
    scratch,
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

/// A message, with its encoded form once an attempt has found no room for it.
struct Parcel<M> {
    message: M,
    encoded: Option<Vec<u8>>,
}

impl<M> From<M> for Parcel<M> {
    fn from(message: M) -> Self {
        Self { message, encoded: None }
    }
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
        let (mut shared, mut unshared) = (self.known.try_lock(), None);
        let known = shared.as_deref_mut().unwrap_or(&mut unshared);
        let known = match context.way_known(self.address, known) {
            Err(dead) => return Attempt::Failed(SendError::Unsent(parcel.message, dead)),
            Ok(known) => known,
        };
        match known.way() {
            way @ Way::Here(here) => {
                let size = size_of::<M>();
                if !here.has_room(size) {
                    return Attempt::NoRoom(parcel, way.clone());
                }
                context.count_sent(1);
                context.post_local(here, M::TAG.get(), Box::new(parcel.message), size, reply);
                Attempt::Posted
            }
            Way::Away(_) => {
                let mut post = |body: &[u8]| {
                    let (tag, codec) = (M::TAG.get(), M::CODEC.number());
                    context.post_known(known, Encoded { tag, codec, body }, reply)
                };
                let outcome = match &parcel.encoded {
                    Some(body) => Ok(post(body)),
                    None => scratch::with(|body| {
                        parcel.message.encode(M::CODEC, body)?;
                        let outcome = post(body);
                        if outcome == Err(PostError::Full) {
                            parcel.encoded = Some(body.clone());
                        }
                        Ok(outcome)
                    }),
                };
                match outcome {
                    Ok(Ok(())) => {
                        context.count_sent(1);
                        Attempt::Posted
                    }
                    Ok(Err(PostError::Full)) => Attempt::NoRoom(parcel, known.way().clone()),
                    Ok(Err(PostError::Dead(dead))) => {
                        Attempt::Failed(SendError::Unsent(parcel.message, dead))
                    }
                    Ok(Err(error)) => {
                        let text = format!("{error:?}");
                        let dead = Dead::new(DeadReason::NoRoute, Handled::No, context.id(), text);
                        Attempt::Failed(SendError::Unsent(parcel.message, dead))
                    }
                    Err(error) => Attempt::Failed(SendError::Unencodable(parcel.message, error)),
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
        match self.attempt(message.into(), None) {
            Attempt::Posted => Ok(()),
            Attempt::NoRoom(parcel, _) => Err(self.refused(SendError::Full(parcel.message))),
            Attempt::Failed(error) => Err(self.refused(error)),
        }
    }

    fn do_send<M: RemoteMessage>(&self, message: M) {
        let Some(context) = &self.context else { return };
        let dead = match self.attempt(message.into(), None) {
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

    /// Waits for room, and posts what an attempt has left.
    async fn post_later<M: RemoteMessage>(
        &self,
        mut parcel: Parcel<M>,
        mut way: Way,
        reply: Option<Handle>,
    ) -> Result<(), SendError<M>> {
        loop {
            match &way {
                Way::Here(here) => here.room(size_of::<M>()).await,
                Way::Away(away) => {
                    if let Some(context) = &self.context {
                        context.room(away).await;
                    }
                }
            }
            match self.attempt(parcel, reply) {
                Attempt::Posted => return Ok(()),
                Attempt::Failed(error) => return Err(self.refused(error)),
                Attempt::NoRoom(left, again) => (parcel, way) = (left, again),
            }
        }
    }

    /// Waits for room within the request's time, posts, and waits for the answer.
    async fn request_later<M: RemoteMessage>(
        self: Arc<Self>,
        parcel: Parcel<M>,
        way: Way,
        mut call: Call,
        limit: Duration,
    ) -> Result<M::Result, SendError<M>> {
        let exchange = async {
            let reply = call.reply_handle();
            tokio::select! {
                biased;
                posted = self.post_later(parcel, way, Some(reply)) => posted?,
                // Its context was lost, or this one ends, while the request waited for room: it has not left.
                outcome = &mut call => {
                    if let Outcome::Dead(dead) = outcome {
                        let dead = Dead { handled: Handled::No, ..dead };
                        return Err(self.refused(SendError::Dead(dead)));
                    }
                    return Err(SendError::Failed("an answer came before the request had left".into()));
                }
            }
            call.note_left();
            Ok(call.await)
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(outcome) => self.answered(outcome?),
            Err(_) => Err(SendError::Timeout(limit)),
        }
    }

    /// Takes an answer for what it is.
    fn answered<M: RemoteMessage>(&self, outcome: Outcome) -> Result<M::Result, SendError<M>> {
        match outcome {
            Outcome::Reply(bytes) => {
                let decode = || M::Result::decode(M::CODEC, &bytes);
                let decoded = match &self.context {
                    Some(context) => DecodingScope::of(context).decode(decode),
                    None => decode(),
                };
                decoded.map_err(SendError::BadAnswer)
            }
            Outcome::Local(value) => match value.downcast::<M::Result>() {
                Ok(value) => Ok(*value),
                Err(_) => Err(SendError::Failed("the answer is a value of another type".into())),
            },
            Outcome::Failed(text) => Err(SendError::Failed(text)),
            Outcome::Dead(dead) => Err(SendError::Dead(dead)),
        }
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A request that is sent when it is first awaited. Dropping it gives the answer up.
#[must_use = "a request is sent when it is awaited"]
pub struct Request<M: RemoteMessage> {
    state: State<M>,
}

enum State<M: RemoteMessage> {
    Unsent {
        reach: Arc<Reach>,
        message: M,
        limit: Option<Duration>,
    },
    /// There was no room for it.
    Waiting(Boxed<Result<M::Result, SendError<M>>>),
    Sent {
        reach: Arc<Reach>,
        call: Call,
        timer: Pin<Box<Sleep>>,
        limit: Duration,
    },
    Done,
}

impl<M: RemoteMessage> Request<M> {
    fn new(reach: &Arc<Reach>, message: M) -> Self {
        Self { state: State::Unsent { reach: reach.clone(), message, limit: None } }
    }

    /// Waits at most this long for the answer, instead of the context's limit for requests (30 s unless set).
    pub fn within(mut self, time: Duration) -> Self {
        if let State::Unsent { limit, .. } = &mut self.state {
            *limit = Some(time);
        }
        self
    }
}

impl<M: RemoteMessage> State<M> {
    /// Sends it, if it finds a way and room.
    fn begin(reach: Arc<Reach>, message: M, limit: Option<Duration>) -> Result<Self, SendError<M>> {
        let Some(context) = &reach.context else { return Err(SendError::Unattached(message)) };
        let limit = limit.unwrap_or(context.limits().request_time);
        let mut call = match context.begin_call(reach.address, None) {
            Ok(call) => call,
            Err(dead) => return Err(reach.refused(SendError::Unsent(message, dead))),
        };
        match reach.attempt(message.into(), Some(call.reply_handle())) {
            Attempt::Posted => {
                call.note_left();
                let timer = Box::pin(tokio::time::sleep(limit));
                Ok(Self::Sent { reach, call, timer, limit })
            }
            Attempt::NoRoom(parcel, way) => {
                Ok(Self::Waiting(Box::pin(reach.request_later(parcel, way, call, limit))))
            }
            Attempt::Failed(error) => Err(reach.refused(error)),
        }
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
            self.state = State::begin(reach, message, limit)?;
        }
        let outcome = match &mut self.state {
            State::Waiting(answer) => task::ready!(answer.as_mut().poll(cx)),
            State::Sent { reach, call, timer, limit } => match Pin::new(call).poll(cx) {
                Poll::Ready(outcome) => reach.answered(outcome),
                Poll::Pending => {
                    task::ready!(timer.as_mut().poll(cx));
                    Err(SendError::Timeout(*limit))
                }
            },
            State::Unsent { .. } | State::Done => {
                panic!("a request was polled after it had been answered")
            }
        };
        self.state = State::Done;
        Poll::Ready(outcome)
    }
}

impl<M: RemoteMessage> fmt::Debug for Request<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Unsent { .. } => "unsent",
            State::Waiting(_) | State::Sent { .. } => "under way",
            State::Done => "done",
        };
        write!(f, "Request<{}>({state})", M::NAME)
    }
}

/// One-way sending that waits for room.
#[must_use = "a message is sent when it is awaited; `do_send` sends at once"]
pub struct Tell<M>(Telling<M>);

enum Telling<M> {
    Unsent(Arc<Reach>, M),
    /// There was no room for it.
    Waiting(Boxed<Result<(), SendError<M>>>),
    Done,
}

impl<M> Unpin for Tell<M> {}

impl<M: RemoteMessage> Future for Tell<M> {
    type Output = Result<(), SendError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        if let Telling::Unsent(..) = self.0
            && let Telling::Unsent(reach, message) = std::mem::replace(&mut self.0, Telling::Done)
        {
            match reach.attempt(message.into(), None) {
                Attempt::Posted => return Poll::Ready(Ok(())),
                Attempt::Failed(error) => return Poll::Ready(Err(reach.refused(error))),
                Attempt::NoRoom(parcel, way) => {
                    let later = async move { reach.post_later(parcel, way, None).await };
                    self.0 = Telling::Waiting(Box::pin(later));
                }
            }
        }
        let Telling::Waiting(later) = &mut self.0 else {
            panic!("a message was polled after it had been sent")
        };
        let outcome = task::ready!(later.as_mut().poll(cx));
        self.0 = Telling::Done;
        Poll::Ready(outcome)
    }
}

impl<M> fmt::Debug for Tell<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tell")
    }
}

fn tell<M: RemoteMessage>(reach: &Arc<Reach>, message: M) -> Tell<M> {
    Tell(Telling::Unsent(reach.clone(), message))
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
