//! The future in an actor's context that takes envelopes from its intake and calls the handlers.
//!
//! It keeps actix's rules: one message at a time, a wait pauses everything, a stop drops the rest (here: answers it), and actor
//! futures interleave. ARCHITECTURE.md and the book say what differs: plain `Addr` messages overtake the intake.

use std::{
    cell::Cell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{self, Poll},
};

use actix::{
    ActorContext, ActorState, AsyncContext, Context as ActixContext, WeakAddr, fut::ActorFuture,
};
use actogen_runtime::mailbox::StopReason;

use crate::{
    actor::{Attach, RemoteActor},
    in_flight::InFlight,
    intake::{Intake, Waiting},
    trace,
    turn::{End, Envelope, Turn},
};

/// The pump of one bound actor.
pub(crate) struct Pump<A: RemoteActor> {
    intake: Arc<Intake>,
    taken: VecDeque<Waiting>,
    /// Made with the first rest: the quantum is over, and the local task that marks the rest has not run yet.
    resting: Option<Rc<Cell<bool>>>,
    in_flight: InFlight<A>,
    address: WeakAddr<A>,
}

impl<A: RemoteActor> Unpin for Pump<A> {}

impl<A: RemoteActor> Pump<A> {
    pub(crate) fn new(intake: Arc<Intake>, address: WeakAddr<A>) -> Self {
        Self {
            intake,
            taken: VecDeque::new(),
            resting: None,
            in_flight: InFlight::default(),
            address,
        }
    }

    /// Handles what waits until nothing is left, or the turn is over. Gives the text of a panic.
    fn turn(
        &mut self,
        actor: &mut A,
        ctx: &mut ActixContext<A>,
        task: &mut task::Context<'_>,
    ) -> Option<String> {
        // A run that has been emptied, on its way back.
        let mut spare = None;
        if self.taken.is_empty() && !self.intake.take(&mut self.taken, &mut spare, task.waker()) {
            return None;
        }
        let is_long = self.taken.len() > 1 || self.taken.front().is_some_and(Waiting::is_run);
        let mut turn = Turn::new(ctx, &self.intake, &mut self.in_flight, is_long)?;
        while !turn.has_ended() {
            let Some(waiting) = self.taken.front_mut() else {
                turn.release();
                if self.intake.take(&mut self.taken, &mut spare, task.waker()) {
                    turn.is_timed();
                    continue;
                }
                break;
            };
            match Envelope::of(waiting) {
                Some(mut envelope) => actor.dispatch(&mut envelope, &mut turn),
                None => {
                    if let Some(Waiting::Values(run)) = self.taken.pop_front()
                        && run.is_short()
                    {
                        spare = Some(run);
                    }
                }
            }
        }
        match turn.end() {
            Some(End::Panic(text)) => Some(text),
            Some(End::Quantum) => {
                drop(turn);
                self.rest(task);
                None
            }
            Some(End::Held) | None => None,
        }
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
        if me.intake.end_asked.load(Ordering::Acquire) {
            match me.intake.asked_end() {
                Some(StopReason::Killed) => ctx.terminate(),
                Some(_) => ctx.stop(),
                None => {}
            }
            // One that has declined in its `stopping` hook goes on.
            if ctx.state() != ActorState::Running {
                return Poll::Pending;
            }
        }
        // Whoever polls this actor may be in a trace, and what waits here need not.
        let _apart = trace::enter(None);
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
        if me.intake.is_asked_to_end() {
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
