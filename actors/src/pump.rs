//! The future in an actor's context that takes envelopes from its intake and calls the handlers.
//!
//! It keeps actix's rules: one message at a time, a wait pauses everything, a stop drops the rest (here: answers it), and actor
//! futures interleave. ARCHITECTURE.md and the book say what differs: plain `Addr` messages overtake the intake.

use std::{
    cell::Cell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{self, Poll, Wake, Waker},
    time::Duration,
};

use actix::{
    ActorContext, AsyncContext, Context as ActixContext, ResponseActFuture, WeakAddr,
    fut::ActorFuture,
};
use actogen_runtime::{
    batch::{Item, Taken},
    envelope::{Body as RawBody, Envelope as Raw, ReplyPort},
    mailbox::StopReason,
};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    actor::{self, Attach, Content, Envelope, RemoteActor, Reply, Turn},
    address::DecodingScope,
    intake::{Intake, Load, Waiting},
    message::{Body, Codec},
};

/// The most messages of one quantum; then I/O, timers and other actors get their turn.
const QUANTUM: usize = 256;

/// The most time of one quantum.
const QUANTUM_TIME: Duration = Duration::from_micros(200);

/// Asynchronous answers that one actor may have under way; past that it takes no more messages until one has ended.
const MAX_IN_FLIGHT: usize = 16 * 1024;

/// The pump of one bound actor.
pub(crate) struct Pump<A: RemoteActor> {
    intake: Arc<Intake<A>>,
    taken: VecDeque<Waiting>,
    /// Made with the first rest: the quantum is over, and the local task that marks the rest has not run yet.
    resting: Option<Rc<Cell<bool>>>,
    in_flight: InFlight<A>,
    address: WeakAddr<A>,
}

impl<A: RemoteActor> Unpin for Pump<A> {}

impl<A: RemoteActor> Pump<A> {
    pub(crate) fn new(intake: Arc<Intake<A>>, address: WeakAddr<A>) -> Self {
        Self {
            intake,
            taken: VecDeque::new(),
            resting: None,
            in_flight: InFlight::default(),
            address,
        }
    }

    /// Handles envelopes until none is left, the quantum is over, or the actor waits. Gives the text of a panic.
    fn turn(
        &mut self,
        actor: &mut A,
        ctx: &mut ActixContext<A>,
        task: &mut task::Context<'_>,
    ) -> Option<String> {
        if self.taken.is_empty() && !self.intake.take(&mut self.taken) {
            return None;
        }
        let begun = Instant::now();
        let mut handled = 0_usize;
        // Given back to the mailbox from time to time: each time costs more than a small message does.
        let mut gone = Load::default();
        let scope = DecodingScope::of(self.intake.context());
        let mut turn = Turn {
            ctx,
            intake: &self.intake,
            in_flight: &mut self.in_flight,
            scope: &scope,
            delivered: 0,
            panic: None,
        };
        let is_over = loop {
            if turn.in_flight.is_full() {
                break false;
            }
            let Some(charge) = hand_over(&mut self.taken, actor, &mut turn) else {
                self.intake.release(std::mem::take(&mut gone));
                if self.intake.take(&mut self.taken) {
                    continue;
                }
                break false;
            };
            gone.add(charge);
            handled += 1;
            let ends = turn.panic.is_some()
                || turn.ctx.waiting()
                || self.intake.end_asked.load(Ordering::Acquire);
            if ends {
                break false;
            }
            // The clock is read after messages 1, 2, 4, 8 and then every 16th: a slow handler ends the quantum at once, and fast
            // ones pay for little of it.
            let look = handled.is_multiple_of(16) || (handled < 16 && handled.is_power_of_two());
            if look {
                self.intake.release(std::mem::take(&mut gone));
                if handled >= QUANTUM || begun.elapsed() > QUANTUM_TIME {
                    break true;
                }
            }
        };
        let panic = turn.panic.take();
        drop(turn);
        self.intake.release(gone);
        if is_over {
            self.rest(task);
        }
        panic
    }

    /// Lets everything else have its turn. Waking oneself is no yield inside actix's loop, so a local task does it, behind what
    /// is ready now.
    fn rest(&mut self, task: &task::Context<'_>) {
        let resting = self.resting.get_or_insert_default().clone();
        resting.set(true);
        let waker = task.waker().clone();
        tokio::task::spawn_local(async move {
            tokio::task::yield_now().await;
            resting.set(false);
            waker.wake();
        });
    }
}

/// Hands the next message to its handler. Gives what it counted against the mailbox's bound, or `None` when none is left.
fn hand_over<A: RemoteActor>(
    taken: &mut VecDeque<Waiting>,
    actor: &mut A,
    turn: &mut Turn<'_, A>,
) -> Option<usize> {
    loop {
        if let Waiting::Many(batch) = taken.front_mut()?
            && let Some(Taken { handle, origin, item, body }) = batch.take()
        {
            let Item { tag, codec, reply, .. } = *item;
            let reply = reply.map_or(Reply::Nowhere, Reply::To);
            let content = Content::Encoded(body);
            actor.dispatch(&mut Envelope { tag, codec, handle, origin, reply, content }, turn);
            return Some(item.charge());
        }
        if let Waiting::One(envelope) = taken.pop_front()? {
            let Raw { tag, codec, handle, origin, reply, body, charge } = envelope;
            let reply = reply.map_or(Reply::Nowhere, Reply::By);
            let bytes;
            let content = match body {
                RawBody::Local(value) => Content::Value(value),
                RawBody::Bytes(encoded) => {
                    bytes = encoded;
                    Content::Encoded(&bytes)
                }
            };
            let origin = &origin;
            actor.dispatch(&mut Envelope { tag, codec, handle, origin, reply, content }, turn);
            return Some(charge);
        }
    }
}

impl<A: RemoteActor> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut ActixContext<A>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        let me = self.get_mut();
        // actix polls an item once more after a handler has begun to wait.
        if ctx.waiting() {
            return Poll::Pending;
        }
        me.intake.waker.register(task.waker());
        if me.intake.end_asked.load(Ordering::Acquire) {
            match me.intake.asked_end() {
                Some(StopReason::Killed) => ctx.terminate(),
                Some(_) => ctx.stop(),
                None => {}
            }
            return Poll::Pending;
        }
        me.in_flight.poll(actor, ctx, task);
        if ctx.waiting() || me.resting.as_ref().is_some_and(|resting| resting.get()) {
            return Poll::Pending;
        }
        let panic = me.turn(actor, ctx, task);
        if panic.is_none() && !ctx.waiting() {
            me.in_flight.poll(actor, ctx, task);
        }
        if let Some(text) = panic.or_else(|| me.in_flight.take_panic()) {
            me.intake.note_panic(text);
            ctx.terminate();
        }
        if me.intake.end_asked.load(Ordering::Acquire) {
            task.waker().wake_by_ref();
        }
        // Never `Ready`: a terminated context with another item alive would be polled for ever.
        Poll::Pending
    }
}

impl<A: RemoteActor> Drop for Pump<A> {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        if !panicking
            && self.intake.reason().is_none()
            && let Some(address) = self.address.upgrade()
            && address.connected()
        {
            // A restart drops all items of a context and keeps its mailbox: the next pump goes on where this one was.
            self.intake.put_back(&mut self.taken);
            address.do_send(Attach::new(self.intake.clone()));
            return;
        }
        let fallback = if panicking {
            StopReason::Panic("its text is with the thread".into())
        } else {
            StopReason::Normal
        };
        self.intake.close(&mut self.taken, fallback);
    }
}

type Future<A> = Pin<Box<dyn ActorFuture<A, Output = Option<String>>>>;

/// Wakes one asynchronous answer, and the pump behind it.
struct Slot {
    index: usize,
    ready: Arc<Ready>,
}

#[derive(Default)]
struct Ready {
    indices: Mutex<Vec<usize>>,
    pump: AtomicWaker,
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.ready.indices.lock().push(self.index);
        self.ready.pump.wake();
    }
}

/// The asynchronous answers of one actor, each polled only when it is woken: thousands of futures in one actix context would all
/// be polled at every wake. Made when the first answer needs it, since most actors have none.
pub(crate) struct InFlight<A: RemoteActor> {
    slab: Option<Box<Slab<A>>>,
}

struct Slab<A: RemoteActor> {
    slots: Vec<Option<(Future<A>, Waker)>>,
    free: Vec<usize>,
    ready: Arc<Ready>,
    under_way: usize,
    /// The text of the panic that ended one.
    panic: Option<String>,
}

impl<A: RemoteActor> Default for InFlight<A> {
    fn default() -> Self {
        Self { slab: None }
    }
}

impl<A: RemoteActor> InFlight<A> {
    fn is_full(&self) -> bool {
        self.slab.as_ref().is_some_and(|slab| slab.under_way >= MAX_IN_FLIGHT)
    }

    fn take_panic(&mut self) -> Option<String> {
        self.slab.as_mut()?.panic.take()
    }

    /// Takes an answer that is not there yet.
    pub(crate) fn begin(&mut self, future: Future<A>) {
        let slab = self.slab.get_or_insert_with(|| {
            Box::new(Slab {
                slots: Vec::new(),
                free: Vec::new(),
                ready: Arc::default(),
                under_way: 0,
                panic: None,
            })
        });
        let index = slab.free.pop().unwrap_or_else(|| {
            slab.slots.push(None);
            slab.slots.len() - 1
        });
        let waker = Waker::from(Arc::new(Slot { index, ready: slab.ready.clone() }));
        slab.slots[index] = Some((future, waker));
        slab.under_way += 1;
        slab.ready.indices.lock().push(index);
    }

    fn poll(&mut self, actor: &mut A, ctx: &mut ActixContext<A>, task: &mut task::Context<'_>) {
        let Some(slab) = self.slab.as_mut() else { return };
        slab.ready.pump.register(task.waker());
        loop {
            let woken = std::mem::take(&mut *slab.ready.indices.lock());
            if woken.is_empty() {
                return;
            }
            let mut woken = woken.into_iter();
            while let Some(index) = woken.next() {
                let Some((mut future, waker)) = slab.slots[index].take() else { continue };
                match future.as_mut().poll(actor, ctx, &mut task::Context::from_waker(&waker)) {
                    Poll::Pending => slab.slots[index] = Some((future, waker)),
                    Poll::Ready(panic) => {
                        slab.free.push(index);
                        slab.under_way -= 1;
                        if panic.is_some() {
                            slab.panic = panic;
                            return;
                        }
                    }
                }
                if ctx.waiting() {
                    // actix polls nothing while an actor waits; the rest has its turn when that ends.
                    slab.ready.indices.lock().extend(woken);
                    return;
                }
            }
        }
    }
}

/// An actor future that answers a request when it is ready. Gives the text when it panicked.
pub(crate) struct Answer<A: RemoteActor, T> {
    future: ResponseActFuture<A, T>,
    codec: Codec,
    reply: Option<ReplyPort>,
}

impl<A: RemoteActor, T> Answer<A, T> {
    pub(crate) fn new(
        future: ResponseActFuture<A, T>,
        codec: Codec,
        reply: Option<ReplyPort>,
    ) -> Self {
        Self { future, codec, reply }
    }
}

impl<A: RemoteActor, T> Unpin for Answer<A, T> {}

impl<A: RemoteActor, T: Body> ActorFuture<A> for Answer<A, T> {
    type Output = Option<String>;

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut ActixContext<A>,
        task: &mut task::Context<'_>,
    ) -> Poll<Option<String>> {
        let me = self.get_mut();
        match catch_unwind(AssertUnwindSafe(|| me.future.as_mut().poll(actor, ctx, task))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => {
                actor::answer(me.reply.take(), me.codec, value);
                Poll::Ready(None)
            }
            Err(panic) => {
                actor::fail(me.reply.take(), &*panic);
                Poll::Ready(Some(crate::guard::panic_text(&*panic)))
            }
        }
    }
}
