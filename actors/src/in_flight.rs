//! The asynchronous answers of one actor that are under way.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll, Wake, Waker},
};

use actix::{AsyncContext, Context as ActixContext, ResponseActFuture, fut::ActorFuture};
use actogen_runtime::envelope::ReplyPort;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::{
    actor::RemoteActor,
    guard::panic_text,
    message::{Body, Codec},
    respond,
    trace::{self, Kept},
};

/// Asynchronous answers that one actor may have under way; past that it takes no more messages until one has ended.
const MAX_IN_FLIGHT: usize = 16 * 1024;

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
    pub(crate) fn is_full(&self) -> bool {
        self.slab.as_ref().is_some_and(|slab| slab.under_way >= MAX_IN_FLIGHT)
    }

    pub(crate) fn take_panic(&mut self) -> Option<String> {
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

    pub(crate) fn poll(
        &mut self,
        actor: &mut A,
        ctx: &mut ActixContext<A>,
        task: &mut task::Context<'_>,
    ) {
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
    /// Where the handler was that gave it.
    trace: Kept,
}

impl<A: RemoteActor, T> Answer<A, T> {
    pub(crate) fn new(
        future: ResponseActFuture<A, T>,
        codec: Codec,
        reply: Option<ReplyPort>,
    ) -> Self {
        Self { future, codec, reply, trace: trace::kept() }
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
        let _scope = trace::enter(me.trace.as_deref());
        match catch_unwind(AssertUnwindSafe(|| me.future.as_mut().poll(actor, ctx, task))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => {
                respond::answer(me.reply.take(), me.codec, value);
                Poll::Ready(None)
            }
            Err(panic) => {
                let text = panic_text(&*panic);
                respond::fail(me.reply.take(), &text);
                Poll::Ready(Some(text))
            }
        }
    }
}
