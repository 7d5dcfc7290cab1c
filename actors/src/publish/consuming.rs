//! What a consumer shares with the context's topics and with whoever looks at it.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use actogen_runtime::core::{Address, Handle, Incarnation, Moment};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{
    acknowledgement::{self, Acknowledgement},
    dead::DeadDelivery,
    held::{Held, Owed, Settled},
    options::Options,
    publisher::Publishing,
    stats::ConsumerStats,
};
use crate::{address::Remote, context::Context, topics::Arrived};

/// What a consumer's stream, its deliveries and the context's topics share.
pub(crate) struct Consuming {
    pub(super) context: Context,
    pub(super) begun: Instant,
    pub(super) held: Mutex<Held>,
    pub(super) waker: AtomicWaker,
    is_closed: watch::Sender<bool>,
    pub(super) undecodable: AtomicU64,
    /// Whether deliveries that are dropped without a verdict are rejected: not so when whoever took them is dying.
    pub(super) is_deserted: AtomicBool,
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

    pub(super) fn now(&self) -> Moment {
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

    pub(super) fn close(&self) {
        self.is_deserted.store(true, Ordering::Release);
        self.is_closed.send_replace(true);
        self.waker.wake();
    }

    pub(super) fn is_closed(&self) -> bool {
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
        let address = Address { context: to, handle, incarnation };
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
