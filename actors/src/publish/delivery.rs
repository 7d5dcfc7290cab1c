//! A consumer as a stream: messages with their verdicts.

use std::{
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{self, Poll},
    time::Duration,
};

use actogen_runtime::core::{ContextId, Handle, Incarnation, Moment};
use futures_util::{Stream, task::AtomicWaker};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};

use super::{
    acknowledgement::{self, Acknowledgement},
    dead::DeadDelivery,
    held::{Held, Options, Owed, Settled, Taken},
    message::MessageId,
    publisher::Publishing,
    stats::ConsumerStats,
};
use crate::{
    RemoteMessage,
    address::Remote,
    context::Context,
    topics::{Arrived, decode},
};

/// What a consumer's stream, its deliveries and the context's topics share.
pub(crate) struct Consuming {
    context: Context,
    begun: Instant,
    held: Mutex<Held>,
    waker: AtomicWaker,
    is_closed: watch::Sender<bool>,
    undecodable: AtomicU64,
    /// Whether deliveries that are dropped without a verdict are rejected: not so when whoever took them is dying.
    is_deserted: AtomicBool,
}

impl Consuming {
    pub(super) fn new(context: &Context, options: Options) -> Arc<Self> {
        Arc::new(Self {
            context: context.clone(),
            begun: Instant::now(),
            held: Mutex::new(Held::new(options)),
            waker: AtomicWaker::new(),
            is_closed: watch::Sender::new(false),
            undecodable: AtomicU64::new(0),
            is_deserted: AtomicBool::new(false),
        })
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.begun.elapsed())
    }

    fn arrive(&self, arrived: Arrived) {
        let owed = self.held.lock().arrive(arrived);
        acknowledge(&self.context, owed);
        self.waker.wake();
    }

    pub(super) fn settle(&self, number: u64, how: Settled) -> bool {
        let mut owed = Vec::new();
        let settled = self.held.lock().settle(self.now(), number, how, &mut owed);
        acknowledge(&self.context, owed);
        // One that is put off has a time of its own to wait for.
        self.waker.wake();
        settled
    }

    fn close(&self) {
        self.is_deserted.store(true, Ordering::Release);
        self.is_closed.send_replace(true);
        self.waker.wake();
    }

    fn is_closed(&self) -> bool {
        *self.is_closed.borrow()
    }
}

impl fmt::Debug for Consuming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consuming").field("context", &self.context.id()).finish_non_exhaustive()
    }
}

/// Where the context's topics put what comes for a consumer. Its drop, with them, is the consumer's end.
#[derive(Debug)]
pub(crate) struct Feeder(Weak<Consuming>);

impl Feeder {
    pub(super) fn of(consuming: &Arc<Consuming>) -> Self {
        Self(Arc::downgrade(consuming))
    }

    /// False when nobody takes any more.
    pub(crate) fn put(&self, arrived: Arrived) -> bool {
        match self.0.upgrade().filter(|consuming| !consuming.is_closed()) {
            Some(consuming) => {
                consuming.arrive(arrived);
                true
            }
            None => false,
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        if let Some(consuming) = self.0.upgrade() {
            consuming.close();
        }
    }
}

/// Signs answers and sends them. One that finds no room is a dead letter here, and asked for again by the publisher.
pub(super) fn acknowledge(context: &Context, owed: Vec<Owed>) {
    for Owed { to, id, hash, names, answer } in owed {
        let (handle, incarnation) = (Handle::PUBLISH, Incarnation::ANY);
        let address = actogen_runtime::core::Address { context: to, handle, incarnation };
        let publisher: Remote<Publishing> = context.remote(address);
        let certificate = context.certificate();
        for name in names {
            let claim = acknowledgement::claim(id, &hash, to, &name, &answer);
            publisher.do_send(Acknowledgement {
                id,
                hash,
                name,
                answer: answer.clone(),
                signer: context.id(),
                certificate: certificate.clone().into(),
                signature: context.sign_claim(acknowledgement::DOMAIN, &claim).into(),
            });
        }
    }
}

/// A handle on a consumer, whoever runs it: to look at it, and to end it.
#[derive(Clone, Debug)]
pub struct Consumption(pub(super) Arc<Consuming>);

impl Consumption {
    /// What it has had so far.
    pub fn stats(&self) -> ConsumerStats {
        let undecodable = self.0.undecodable.load(Ordering::Relaxed);
        ConsumerStats { undecodable, ..self.0.held.lock().stats() }
    }

    /// Takes the messages that were delivered as often as may be, the oldest first. 1,000 of them are kept, and 4 MiB.
    pub fn take_dead(&self) -> Vec<DeadDelivery> {
        self.0.held.lock().take_dead()
    }

    /// Ends the consumer: nothing more is delivered. What it holds is not acknowledged.
    pub fn end(&self) {
        self.0.close();
    }

    /// Waits until it has ended: by [`Self::end`], by a verdict, with who runs it, or with the context.
    pub async fn ended(&self) {
        // The sender is in what this holds.
        let _ = self.0.is_closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}

/// Messages of one type, each with its verdict, as a stream. Dropping it ends the consumer; what it held is not acknowledged.
pub struct Deliveries<M> {
    consuming: Arc<Consuming>,
    timer: Option<Pin<Box<Sleep>>>,
    _message: PhantomData<fn() -> M>,
}

impl<M: RemoteMessage> Deliveries<M> {
    pub(super) fn new(consuming: Arc<Consuming>) -> Self {
        Self { consuming, timer: None, _message: PhantomData }
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
        match decode(&self.consuming.context, &arrived) {
            Ok(message) => Some(Delivery {
                id: arrived.signed.as_ref().map(|signed| signed.id),
                hash: arrived.signed.as_ref().map(|signed| signed.hash),
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

impl<M: RemoteMessage> Stream for Deliveries<M> {
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
