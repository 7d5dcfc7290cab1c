//! A limit on how many messages go by an address: whoever comes too fast is refused, or waits.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actogen_runtime::core::ContextId;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use super::{FlowError, Sends, bucket::Bucket};
use crate::message::RemoteMessage;

/// How many messages may go by an address; [`Self::around`] puts it there.
///
/// ```
/// # use actogen::{flow::{Limited, RateLimit}, prelude::*};
/// # use std::time::Duration;
/// # fn example<A>(mailer: Remote<A>) -> Limited<Remote<A>> {
/// RateLimit::per_second(20).burst(5).waiting(100, Duration::from_secs(10)).around(mailer)
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it limits nothing until it is around an address"]
pub struct RateLimit {
    messages: u32,
    per: Duration,
    burst: u32,
    most_waiting: u32,
    longest: Duration,
}

impl RateLimit {
    /// So many messages in each second, at even intervals; at least one.
    pub const fn per_second(messages: u32) -> Self {
        Self::new(messages, Duration::from_secs(1))
    }

    /// So many messages in each span of this length, at even intervals; at least one.
    pub const fn new(messages: u32, per: Duration) -> Self {
        Self { messages, per, burst: 1, most_waiting: 0, longest: Duration::ZERO }
    }

    /// So many messages may go at once after a while without any; one unless said otherwise.
    pub const fn burst(mut self, messages: u32) -> Self {
        self.burst = messages;
        self
    }

    /// Whoever comes too fast waits, in the order in which they came, instead of being refused: so many at most, and each no longer than this.
    /// Whoever would have to wait longer is refused at once.
    pub const fn waiting(mut self, most: u32, longest: Duration) -> Self {
        (self.most_waiting, self.longest) = (most, longest);
        self
    }

    /// Puts the limit around an address, or around one that has something around it. Clones of what it gives share the limit.
    pub fn around<R>(self, inner: R) -> Limited<R> {
        let limiter = Limiter {
            begun: Instant::now(),
            state: Mutex::new(State {
                bucket: Bucket::new(self.messages, self.per, self.burst),
                waiting: 0,
            }),
            turn: Semaphore::new(1),
            limit: self,
            refused: AtomicU64::new(0),
        };
        Limited { inner, limiter: Arc::new(limiter) }
    }
}

/// An address with a [`RateLimit`] around it. Clones share the limit.
#[derive(Clone)]
pub struct Limited<R> {
    inner: R,
    limiter: Arc<Limiter>,
}

struct Limiter {
    begun: Instant,
    state: Mutex<State>,
    /// Held by the one who is next; the others queue for it. So that one who gives up leaves nothing behind but room.
    turn: Semaphore,
    limit: RateLimit,
    refused: AtomicU64,
}

struct State {
    bucket: Bucket,
    waiting: u32,
}

/// Counts somebody as waiting for as long as this is kept.
struct Waits<'a>(&'a Limiter);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}

impl Limiter {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn refuse(&self, wait: Duration) -> Duration {
        self.refused.fetch_add(1, Ordering::Relaxed);
        wait
    }

    /// Takes a token that is there, if nobody has waited for it; or says how long it would be until there is one.
    fn pass_now(&self, state: &mut State) -> Result<(), Duration> {
        let now = self.now();
        match state.waiting {
            0 => state.bucket.take(now),
            waiting => Err(state.bucket.wait_behind(waiting, now)),
        }
    }

    /// Takes a token, within this time if there is a limit beside the waiters' own.
    async fn pass(&self, within: Option<Duration>) -> Result<(), Duration> {
        let _waits = {
            let mut state = self.state.lock();
            let Err(wait) = self.pass_now(&mut state) else { return Ok(()) };
            let longest =
                within.map_or(self.limit.longest, |within| within.min(self.limit.longest));
            if state.waiting >= self.limit.most_waiting || wait > longest {
                return Err(self.refuse(wait));
            }
            state.waiting += 1;
            Waits(self)
        };
        let _turn = self.turn.acquire().await.expect("nobody closes it");
        loop {
            let taken = self.state.lock().bucket.take(self.now());
            let Err(wait) = taken else { return Ok(()) };
            tokio::time::sleep(wait).await;
        }
    }
}

impl<R> Limited<R> {
    /// Sends a request and resolves to its answer. Waits for its turn, if it may, and for the answer, within the context's limit for
    /// requests each.
    ///
    /// # Errors
    /// [`FlowError::OverRate`], and whatever the address inside gives.
    pub async fn send<M: RemoteMessage>(&self, message: M) -> Result<M::Result, FlowError<M>>
    where
        R: Sends<M>,
    {
        self.ask(message, None).await
    }

    /// As [`Self::send`], and waits no longer than this for its turn and the answer together.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_within<M: RemoteMessage>(
        &self,
        message: M,
        time: Duration,
    ) -> Result<M::Result, FlowError<M>>
    where
        R: Sends<M>,
    {
        self.ask(message, Some(time)).await
    }

    /// Sends one way. Waits for its turn, if it may, and for room.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn tell<M: RemoteMessage>(&self, message: M) -> Result<(), FlowError<M>>
    where
        R: Sends<M>,
    {
        Sends::tell(self, message).await
    }

    /// Sends one way, or hands the message back when it cannot go now.
    ///
    /// # Errors
    /// [`FlowError`], with the message.
    pub fn try_send<M: RemoteMessage>(&self, message: M) -> Result<(), FlowError<M>>
    where
        R: Sends<M>,
    {
        Sends::try_send(self, message)
    }

    /// Another address under the same limit: what goes by both together is limited.
    pub fn share<S>(&self, inner: S) -> Limited<S> {
        Limited { inner, limiter: self.limiter.clone() }
    }

    /// The address inside, without the limit.
    pub fn inner(&self) -> &R {
        &self.inner
    }

    /// How many messages were refused.
    pub fn refused(&self) -> u64 {
        self.limiter.refused.load(Ordering::Relaxed)
    }

    /// How many messages wait for their turn.
    pub fn waiting(&self) -> u32 {
        self.limiter.state.lock().waiting
    }
}

impl<M: RemoteMessage, R: Sends<M>> Sends<M> for Limited<R> {
    async fn ask(&self, message: M, within: Option<Duration>) -> Result<M::Result, FlowError<M>> {
        let begun = Instant::now();
        match self.limiter.pass(within).await {
            Ok(()) => {
                let left = within.map(|within| within.saturating_sub(begun.elapsed()));
                self.inner.ask(message, left).await
            }
            Err(wait) => Err(FlowError::OverRate(message, wait)),
        }
    }

    async fn tell(&self, message: M) -> Result<(), FlowError<M>> {
        match self.limiter.pass(None).await {
            Ok(()) => self.inner.tell(message).await,
            Err(wait) => Err(FlowError::OverRate(message, wait)),
        }
    }

    fn try_send(&self, message: M) -> Result<(), FlowError<M>> {
        let passed = self.limiter.pass_now(&mut self.limiter.state.lock());
        match passed {
            Ok(()) => self.inner.try_send(message),
            Err(wait) => Err(FlowError::OverRate(message, self.limiter.refuse(wait))),
        }
    }

    fn chance(&self) -> f64 {
        self.inner.chance()
    }

    fn sender(&self) -> Option<ContextId> {
        self.inner.sender()
    }
}

impl<R: fmt::Debug> fmt::Debug for Limited<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited")
            .field("inner", &self.inner)
            .field("limit", &self.limiter.limit)
            .field("waiting", &self.waiting())
            .field("refused", &self.refused())
            .finish()
    }
}
