//! A circuit breaker around an address: when too much fails there, nothing is sent for a while, and one message tries whether it is well again.

use std::{fmt, sync::Arc, time::Duration};

use actogen_runtime::core::{ContextId, DeadReason};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    BreakerState, FlowError, Sends,
    circuit::{Circuit, Fared, Pass, Rules},
};
use crate::{message::RemoteMessage, send_error::SendError};

/// When to stop sending to an address where too much fails; [`Self::around`] puts it there.
///
/// A failure is: no answer in time, a panic of the handler, no way to the actor, an actor or a context that has ended, a full mailbox or a
/// congested way. What says nothing about the other side's health does not count: what has not left for lack of room here or cannot be encoded, what is refused by policy, too
/// large, not understood, or given up. An answer is a success, whatever is in it, unless
/// [`Protected::send_judged`] says otherwise. That a one-way message was taken over here counts as a success too, though it says little.
///
/// ```
/// # use actogen::{flow::{Breaker, Protected}, prelude::*};
/// # use std::time::Duration;
/// # fn example<A>(prices: Remote<A>) -> Protected<Remote<A>> {
/// Breaker::new().in_a_row(5).ratio(50, 20).open_for(Duration::from_secs(10)).around(prices)
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it protects nothing until it is around an address"]
pub struct Breaker(Rules);

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

impl Breaker {
    /// Opens after five failures in a row within a minute, for ten seconds.
    pub const fn new() -> Self {
        Self(Rules {
            in_a_row: Some(5),
            percent: None,
            least: 0,
            window: Duration::from_secs(60),
            open_for: Duration::from_secs(10),
        })
    }

    /// Opens after so many failures with no success between them; never for that reason when it is 0.
    pub const fn in_a_row(mut self, failures: u32) -> Self {
        self.0.in_a_row = if failures == 0 { None } else { Some(failures) };
        self
    }

    /// Opens when at least so many of a hundred have failed, and the outcomes of at least `least` are known. Failures in a row count beside
    /// that.
    pub const fn ratio(mut self, percent: u8, least: u32) -> Self {
        (self.0.percent, self.0.least) = (Some(percent), least);
        self
    }

    /// Outcomes that are older than this do not count; it moves in tenths. A minute unless said otherwise.
    pub const fn window(mut self, span: Duration) -> Self {
        self.0.window = span;
        self
    }

    /// How long it refuses everything before it lets a probe through; ten seconds unless said otherwise.
    pub const fn open_for(mut self, time: Duration) -> Self {
        self.0.open_for = time;
        self
    }

    /// Puts the breaker around an address, or around one that has something around it. Clones of what it gives share the breaker.
    pub fn around<R>(self, inner: R) -> Protected<R> {
        let circuit = Mutex::new(Circuit::new(self.0));
        Protected { inner, fuse: Arc::new(Fuse { begun: Instant::now(), circuit }) }
    }
}

/// An address with a [`Breaker`] around it. Clones share the breaker.
#[derive(Clone)]
pub struct Protected<R> {
    inner: R,
    fuse: Arc<Fuse>,
}

struct Fuse {
    begun: Instant,
    circuit: Mutex<Circuit>,
}

/// A message that was let through. One whose sender gives it up says nothing, and leaves the probe's place to another.
struct Under<'a> {
    fuse: &'a Fuse,
    pass: Pass,
    fared: Fared,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        let now = self.fuse.begun.elapsed();
        self.fuse.circuit.lock().report(self.pass, self.fared, now);
    }
}

impl Fuse {
    fn admit(&self) -> Result<Under<'_>, Duration> {
        let pass = self.circuit.lock().admit(self.begun.elapsed())?;
        Ok(Under { fuse: self, pass, fared: Fared::Unknown })
    }
}

impl Under<'_> {
    fn end<T, M>(
        mut self,
        outcome: &Result<T, FlowError<M>>,
        sender: Option<ContextId>,
        is_failure: impl FnOnce(&T) -> bool,
    ) {
        self.fared = match outcome {
            Ok(answer) if is_failure(answer) => Fared::Badly,
            Ok(_) => Fared::Well,
            Err(error) => fared(error, sender),
        };
    }
}

/// What an error says about the other side of a sender.
fn fared<M>(error: &FlowError<M>, sender: Option<ContextId>) -> Fared {
    let FlowError::Send(error) = error else { return Fared::Unknown };
    match error {
        SendError::Failed(_) | SendError::Timeout(_) => Fared::Badly,
        SendError::Unsent(_, dead) | SendError::Dead(dead) => match dead.reason {
            DeadReason::UnknownMessage
            | DeadReason::Malformed
            | DeadReason::Refused
            | DeadReason::TooLarge
            | DeadReason::Closed => Fared::Unknown,
            // No room here.
            DeadReason::Congested if Some(dead.by) == sender => Fared::Unknown,
            _ => Fared::Badly,
        },
        SendError::Full(_)
        | SendError::Unattached(_)
        | SendError::Unencodable(..)
        | SendError::BadAnswer(_) => Fared::Unknown,
    }
}

impl<R> Protected<R> {
    /// Sends a request and resolves to its answer.
    ///
    /// # Errors
    /// [`FlowError::Open`], and whatever the address inside gives.
    pub async fn send<M: RemoteMessage>(&self, message: M) -> Result<M::Result, FlowError<M>>
    where
        R: Sends<M>,
    {
        self.ask(message, None).await
    }

    /// As [`Self::send`], and waits no longer than this.
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

    /// As [`Self::send`]; whether the answer counts as a failure is for the caller to say.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn send_judged<M: RemoteMessage>(
        &self,
        message: M,
        is_failure: impl FnOnce(&M::Result) -> bool,
    ) -> Result<M::Result, FlowError<M>>
    where
        R: Sends<M>,
    {
        self.judged(message, None, is_failure).await
    }

    async fn judged<M: RemoteMessage>(
        &self,
        message: M,
        within: Option<Duration>,
        is_failure: impl FnOnce(&M::Result) -> bool,
    ) -> Result<M::Result, FlowError<M>>
    where
        R: Sends<M>,
    {
        match self.fuse.admit() {
            Ok(under) => {
                let outcome = self.inner.ask(message, within).await;
                under.end(&outcome, self.inner.sender(), is_failure);
                outcome
            }
            Err(wait) => Err(FlowError::Open(message, wait)),
        }
    }

    /// Sends one way, and waits for room.
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

    /// What it does with messages now.
    pub fn state(&self) -> BreakerState {
        self.fuse.circuit.lock().state(self.fuse.begun.elapsed())
    }

    /// How many messages it has refused.
    pub fn refused(&self) -> u64 {
        self.fuse.circuit.lock().refused()
    }

    /// The address inside, without the breaker.
    pub fn inner(&self) -> &R {
        &self.inner
    }
}

impl<M: RemoteMessage, R: Sends<M>> Sends<M> for Protected<R> {
    async fn ask(&self, message: M, within: Option<Duration>) -> Result<M::Result, FlowError<M>> {
        self.judged(message, within, |_| false).await
    }

    async fn tell(&self, message: M) -> Result<(), FlowError<M>> {
        match self.fuse.admit() {
            Ok(under) => {
                let outcome = self.inner.tell(message).await;
                under.end(&outcome, self.inner.sender(), |()| false);
                outcome
            }
            Err(wait) => Err(FlowError::Open(message, wait)),
        }
    }

    fn try_send(&self, message: M) -> Result<(), FlowError<M>> {
        match self.fuse.admit() {
            Ok(under) => {
                let outcome = self.inner.try_send(message);
                under.end(&outcome, self.inner.sender(), |()| false);
                outcome
            }
            Err(wait) => Err(FlowError::Open(message, wait)),
        }
    }

    fn chance(&self) -> f64 {
        self.inner.chance()
    }

    fn sender(&self) -> Option<ContextId> {
        self.inner.sender()
    }
}

impl<R: fmt::Debug> fmt::Debug for Protected<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protected")
            .field("inner", &self.inner)
            .field("state", &self.state())
            .field("refused", &self.refused())
            .finish()
    }
}
