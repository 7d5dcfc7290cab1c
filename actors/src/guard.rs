//! Actors that the runtime starts run inside a future that catches every panic: in handlers, futures, timers and hooks.
//!
//! In plain actix a panic unwinds through the arbiter, and one more in a `stopping` hook during that aborts the process. Here the
//! panic is caught around each poll, the actor is terminated, its text becomes the reason that watchers get, and nothing of it is
//! polled again.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{self, Poll, Waker},
};

use actix::{Actor, ActorContext, Context as ActixContext, dev::ContextFut};

use crate::{actor::RemoteActor, intake::Intake};

/// The text of a panic, as far as it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}

/// Runs an actor's context to its end.
pub(crate) struct Guarded<A: RemoteActor> {
    actor: Option<ContextFut<A, ActixContext<A>>>,
    intake: Arc<Intake>,
    task: Option<Waker>,
}

impl<A: RemoteActor> Guarded<A> {
    pub(crate) fn new(actor: A, context: ActixContext<A>, intake: Arc<Intake>) -> Self {
        Self { actor: Some(context.into_future(actor)), intake, task: None }
    }
}

impl<A: RemoteActor> Future for Guarded<A>
where
    A: Actor<Context = ActixContext<A>>,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let me = &mut *self;
        let Some(actor) = me.actor.as_mut() else { return Poll::Ready(()) };
        // Ends overtake what the actor waits for; its pump, like all its items, is not polled meanwhile, and would not be woken.
        me.intake.runs_in(cx.waker(), &mut me.task);
        // A kill is the pump's to do: terminated from out here, the actor would be taken for one that has not started.
        let is_killed = me.intake.is_killed();
        if !is_killed && me.intake.asked_end().is_some() {
            actor.ctx().stop();
        }
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *actor).poll(cx))) {
            Ok(Poll::Pending) if is_killed && me.intake.is_killed() => {
                // It waits for something of its own, and its pump is not polled.
                actor.ctx().terminate();
                let dropped = me.actor.take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(dropped)));
                Poll::Ready(())
            }
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => {
                me.actor = None;
                Poll::Ready(())
            }
            Err(panic) => {
                me.intake.note_panic(panic_text(&*panic));
                actor.ctx().terminate();
                // Its drop may run hooks of the author's, which may panic once more.
                let dropped = me.actor.take();
                let _ = catch_unwind(AssertUnwindSafe(|| drop(dropped)));
                Poll::Ready(())
            }
        }
    }
}
