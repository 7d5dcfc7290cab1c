//! A consumer as a stream: messages with their verdicts.

use std::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{self, Poll},
    time::Duration,
};

use actogen_runtime::core::ContextId;
use futures_util::{FutureExt, Stream, future::BoxFuture};
use tokio::time::Sleep;

use super::{
    catch_up::{CatchUp, drive},
    consuming::{Consuming, Consumption, acknowledge},
    encoded::Consumed,
    held::{Settled, Taken},
    message::{MessageId, Sequence},
};

/// Messages of one type, each with its verdict, as a stream. Dropping it ends the consumer; what it held is not acknowledged.
pub struct Deliveries<M> {
    consuming: Arc<Consuming>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Gets what is missing, if there is a recorder. It never ends.
    catching_up: Option<BoxFuture<'static, ()>>,
    _message: PhantomData<fn() -> M>,
}

impl<M: Consumed> Deliveries<M> {
    pub(super) fn new(consuming: Arc<Consuming>, catch_up: Option<(CatchUp, String)>) -> Self {
        let drive = |(from, pattern)| drive(consuming.clone(), from, pattern).boxed();
        let catching_up = catch_up.map(drive);
        Self { consuming, timer: None, catching_up, _message: PhantomData }
    }

    /// The next message; `None` when the consumer has ended. May be given up without losing one.
    pub async fn next(&mut self) -> Option<Delivery<M>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// A handle to look at the consumer, and to end it.
    pub fn consumption(&self) -> Consumption {
        Consumption(self.consuming.clone())
    }

    /// How long a delivery may take.
    pub(super) fn time(&self) -> Duration {
        self.consuming.held.lock().time()
    }

    fn opened(&self, taken: Taken) -> Option<Delivery<M>> {
        let Taken { number, arrived, attempt } = taken;
        match M::from_arrived(&self.consuming.context, &arrived) {
            Ok(message) => Some(Delivery {
                id: arrived.signed.as_ref().map(|signed| signed.id),
                hash: arrived.signed.as_ref().map(|signed| signed.hash),
                sequence: arrived.signed.as_ref().map(|signed| signed.place()),
                content: arrived.signed.as_ref().map(|signed| signed.content),
                is_awaited: arrived.signed.as_ref().is_some_and(|it| !it.owed_by.is_empty()),
                topic: arrived.topic,
                from: arrived.from,
                attempt,
                message: Some(message),
                verdict: Verdicts {
                    consuming: self.consuming.clone(),
                    number: Some(number),
                    is_quiet: false,
                },
            }),
            Err(error) => {
                self.consuming.undecodable.fetch_add(1, Ordering::Relaxed);
                self.consuming
                    .settle(number, Settled::Reject(format!("it cannot be decoded: {error}")));
                None
            }
        }
    }
}

impl<M: Consumed> Stream for Deliveries<M> {
    type Item = Delivery<M>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Delivery<M>>> {
        loop {
            // Before it is looked at: what comes meanwhile wakes.
            self.consuming.waker.register(cx.waker());
            if self.consuming.is_closed() {
                return Poll::Ready(None);
            }
            if let Some(catching_up) = &mut self.catching_up {
                let _ = catching_up.as_mut().poll(cx);
            }
            let (now, mut owed) = (self.consuming.now(), Vec::new());
            let (taken, again) = {
                let mut held = self.consuming.held.lock();
                (held.take(now, &mut owed), held.poll_timeout())
            };
            acknowledge(&self.consuming.context, owed);
            if let Some(taken) = taken {
                match self.opened(taken) {
                    Some(delivery) => return Poll::Ready(Some(delivery)),
                    None => continue,
                }
            }
            let Some(again) = again else {
                self.timer = None;
                return Poll::Pending;
            };
            let at = self.consuming.begun + again.since_start();
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            task::ready!(timer.as_mut().poll(cx));
        }
    }
}

impl<M> fmt::Debug for Deliveries<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deliveries").field("consuming", &self.consuming).finish_non_exhaustive()
    }
}

impl<M> Drop for Deliveries<M> {
    fn drop(&mut self) {
        self.consuming.close();
    }
}

/// A message that waits for its verdict.
///
/// Dropped without one, it is rejected: whoever forgets it shall hear of that. Not so while its thread panics, or when the consumer
/// has ended before: then nothing is said, and it is delivered again if the consumer lives.
#[must_use = "a delivery that is dropped is rejected"]
pub struct Delivery<M> {
    topic: String,
    from: ContextId,
    id: Option<MessageId>,
    hash: Option<[u8; 32]>,
    sequence: Option<Sequence>,
    content: Option<[u8; 32]>,
    is_awaited: bool,
    attempt: u32,
    /// There until it is taken out.
    message: Option<M>,
    verdict: Verdicts,
}

/// The right to one verdict.
struct Verdicts {
    consuming: Arc<Consuming>,
    number: Option<u64>,
    /// Its drop says nothing: whoever has it gives a verdict, or is gone.
    is_quiet: bool,
}

impl Verdicts {
    fn settle(&mut self, how: Settled) -> bool {
        self.number.take().is_some_and(|number| self.consuming.settle(number, how))
    }
}

impl Drop for Verdicts {
    fn drop(&mut self) {
        let is_deserted = self.consuming.is_deserted.load(Ordering::Acquire);
        if self.is_quiet || is_deserted || std::thread::panicking() {
            self.settle(Settled::Lost);
        } else {
            self.settle(Settled::Reject("it was dropped without a verdict".into()));
        }
    }
}

impl<M> Delivery<M> {
    /// The message.
    ///
    /// # Panics
    /// After [`Self::take`].
    pub fn message(&self) -> &M {
        self.message.as_ref().expect("the message has been taken out")
    }

    /// Takes the message out; the verdict is still to be given.
    ///
    /// # Panics
    /// The second time.
    pub fn take(&mut self) -> M {
        self.message.take().expect("the message has been taken out")
    }

    /// What it was published under.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The context that published it: by its signature where there is [an id](Self::id), otherwise as the routers on the way say.
    pub fn from(&self) -> ContextId {
        self.from
    }

    /// The message's id, if it is signed.
    pub fn id(&self) -> Option<MessageId> {
        self.id
    }

    /// The hash that its publisher has signed, if it is signed: it is what acknowledgements are about.
    pub fn hash(&self) -> Option<[u8; 32]> {
        self.hash
    }

    /// Its place among its publisher's messages, if it is signed.
    pub fn sequence(&self) -> Option<Sequence> {
        self.sequence
    }

    /// A hash of what it says (topic, publisher, type, body), if it is signed: the same however often it is published, and for whomever.
    pub fn content(&self) -> Option<[u8; 32]> {
        self.content
    }

    /// Whether its publisher waits for an acknowledgement of this context.
    pub fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The how manieth delivery of it this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// It is handled: acknowledged at [`Processed`](super::AckLevel::Processed), and not delivered again while it is remembered. False when the delivery's
    /// time was over: then it is delivered again.
    pub fn ok(mut self) -> bool {
        self.verdict.settle(Settled::Ok)
    }

    /// Not now: it is delivered again after this time, or given up when it was delivered as often as may be. False as for [`Self::ok`].
    pub fn nack(mut self, delay: Duration) -> bool {
        self.verdict.settle(Settled::Nack(delay))
    }

    /// Never: its publisher learns why, and it is not delivered again. False as for [`Self::ok`].
    pub fn reject(mut self, why: impl Into<String>) -> bool {
        self.verdict.settle(Settled::Reject(why.into()))
    }

    /// From now on its drop is no rejection: it is with somebody whose end drops it.
    pub(super) fn quietly(mut self) -> Self {
        self.verdict.is_quiet = true;
        self
    }

    /// Whoever had it is gone: nothing is said, and it is delivered again after a while.
    pub(super) fn lose(mut self) {
        self.verdict.settle(Settled::Lost);
    }

    /// It is stored: acknowledged at [`Durable`](super::AckLevel::Durable). Its verdict is still to be given. False as for [`Self::ok`].
    pub fn stored(&self) -> bool {
        let (mut owed, consuming) = (Vec::new(), &self.verdict.consuming);
        let Some(number) = self.verdict.number else { return false };
        let stored = consuming.held.lock().stored(number, &mut owed);
        acknowledge(&consuming.context, owed);
        stored
    }

    /// It needs more time: so much from now on. False as for [`Self::ok`].
    pub fn extend(&self, time: Duration) -> bool {
        let consuming = &self.verdict.consuming;
        let Some(number) = self.verdict.number else { return false };
        let extended = consuming.held.lock().extend(consuming.now(), number, time);
        // The stream's timer is for the old time.
        consuming.waker.wake();
        extended
    }
}

impl<M: fmt::Debug> fmt::Debug for Delivery<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.topic)
            .field("from", &self.from)
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
