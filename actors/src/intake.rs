//! The queue between the runtime and one actor: bounded, with at most one wake for whatever a push brings.
//!
//! Everything that reaches an actor through a [`crate::Remote`], from near or far, goes through its intake, so that every pair
//! keeps its order; plain `Addr` messages stay in actix's own mailbox. The actor's pump takes from it (`pump`).

use std::{
    collections::VecDeque,
    fmt,
    marker::PhantomData,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
};

use actogen_runtime::{
    batch::Batch,
    core::{
        ContextId, DeadReason, Handle, Handled, Limits,
        flow::{Pressure, RENEW},
    },
    envelope::Envelope,
    mailbox::{Mailbox, StopReason},
    transport::BoxFuture,
};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::actor::RemoteActor;

/// Senders are asked to pause when the mailbox is over one part in this of its bounds.
const PAUSE_MARK: usize = 3;

/// They may go on when it is under one part in this.
const RESUME_MARK: usize = 6;

/// What waits: a message by itself, or as many as came together.
#[derive(Debug)]
pub(crate) enum Waiting {
    One(Envelope),
    Many(Batch),
}

impl Waiting {
    fn load(&self) -> Load {
        match self {
            Self::One(envelope) => Load::of(envelope.charge),
            Self::Many(batch) => Load { messages: batch.len(), bytes: batch.charge() },
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    closed: bool,
    /// The pump has found the queue empty and sleeps.
    idle: bool,
}

/// What an intake needs when it fills up, which most never do, or when its actor ends.
#[derive(Debug, Default)]
struct Rare {
    asked: Mutex<Asked>,
    room: Notify,
    /// Why the actor ends, once somebody knows.
    reason: Mutex<Option<StopReason>>,
}

/// Who has been asked to pause.
#[derive(Debug, Default)]
struct Asked {
    pressure: Pressure,
    /// A task renews the pauses.
    renewing: bool,
}

/// What envelopes count against a mailbox's bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    bytes: usize,
}

impl Load {
    fn of(charge: usize) -> Self {
        Self { messages: 1, bytes: charge }
    }

    /// Counts one message more.
    pub(crate) fn add(&mut self, charge: usize) {
        self.messages += 1;
        self.bytes += charge;
    }

    /// Whether a mailbox that holds this takes one message more. It does as long as a bound is not reached, however large the
    /// message is: one larger than what is left, or than the whole bound, could not be received by a busy actor otherwise.
    fn leaves_room(&self, limits: &Limits) -> bool {
        self.messages < limits.mailbox_messages && self.bytes < limits.mailbox_bytes
    }
}

/// One actor's intake.
pub(crate) struct Intake<A> {
    me: Weak<Self>,
    queue: Mutex<Queue>,
    pub(crate) waker: AtomicWaker,
    context: actogen_runtime::Context,
    handle: OnceLock<Handle>,
    /// Made by whoever needs it first, before anybody is told to look there.
    rare: OnceLock<Box<Rare>>,
    /// Somebody waits for room, here or in another context.
    pressed: AtomicBool,
    /// Accepted and not yet handled, the pump's own part included.
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Somebody has asked the actor to end.
    pub(crate) end_asked: AtomicBool,
    end_taken: AtomicBool,
    _actor: PhantomData<fn(A)>,
}

impl<A: RemoteActor> Intake<A> {
    pub(crate) fn new(context: actogen_runtime::Context) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            queue: Mutex::default(),
            waker: AtomicWaker::new(),
            context,
            handle: OnceLock::new(),
            rare: OnceLock::new(),
            pressed: AtomicBool::new(false),
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            end_asked: AtomicBool::new(false),
            end_taken: AtomicBool::new(false),
            _actor: PhantomData,
        })
    }

    /// Says under which handle the intake is bound; once.
    pub(crate) fn bound_as(&self, handle: Handle) {
        let _ = self.handle.set(handle);
    }

    pub(crate) fn context(&self) -> &actogen_runtime::Context {
        &self.context
    }

    /// Moves all that waits into `taken`; false when there is nothing, and the next push wakes the pump.
    pub(crate) fn take(&self, taken: &mut VecDeque<Waiting>) -> bool {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() {
            queue.idle = true;
            return false;
        }
        std::mem::swap(&mut queue.waiting, taken);
        true
    }

    /// Puts back what a pump had taken and not handled, in front of what has come since; for the pump that follows it.
    pub(crate) fn put_back(&self, taken: &mut VecDeque<Waiting>) {
        let mut queue = self.queue.lock();
        while let Some(waiting) = taken.pop_back() {
            queue.waiting.push_front(waiting);
        }
        queue.idle = false;
    }

    /// Envelopes have been handed to their handlers, or given up: their room is free.
    pub(crate) fn release(&self, gone: Load) {
        self.messages.fetch_sub(gone.messages, Ordering::AcqRel);
        self.bytes.fetch_sub(gone.bytes, Ordering::AcqRel);
        // Against the fences of those who begin to wait: one of both sees what the other did.
        fence(Ordering::SeqCst);
        // Whoever waits is let on when much has drained, not for each message.
        if self.pressed.load(Ordering::Acquire) && !self.is_over(RESUME_MARK) {
            self.ease();
        }
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Lets on whoever waits, here and elsewhere.
    fn ease(&self) {
        // Whoever waits has made it before he looked for room.
        let Some(rare) = self.rare.get() else { return };
        let mut asked = rare.asked.lock();
        self.pressed.store(false, Ordering::Release);
        let eased = asked.pressure.ease();
        if let Some(&handle) = self.handle.get() {
            // Under the lock, as all words to senders: a renewal that is on its way must not come behind this one.
            for sender in eased {
                self.context.ask_to_resume(sender, handle);
            }
        }
        drop(asked);
        rare.room.notify_waiters();
    }

    /// Whether the mailbox is fuller than one part in `mark` of its bounds.
    fn is_over(&self, mark: usize) -> bool {
        let limits = self.context.limits();
        self.messages.load(Ordering::Acquire) * mark >= limits.mailbox_messages
            || self.bytes.load(Ordering::Acquire) * mark >= limits.mailbox_bytes
    }

    /// Asks the contexts that these envelopes came from to pause, as long as the mailbox is over its mark.
    fn press(&self, sources: impl Iterator<Item = ContextId>) {
        let Some(&handle) = self.handle.get() else { return };
        let me = self.context.id();
        {
            let mut asked = self.rare().asked.lock();
            self.pressed.store(true, Ordering::Release);
            for source in sources.filter(|&source| source != me) {
                if asked.pressure.press(source) {
                    self.context.ask_to_pause(source, handle);
                    if !std::mem::replace(&mut asked.renewing, true) {
                        self.renew_pauses(handle);
                    }
                }
            }
        }
        fence(Ordering::SeqCst);
        // The actor may have handled all of it meanwhile, and found nobody to let on.
        if !self.is_over(RESUME_MARK) {
            self.ease();
        }
    }

    /// Renews the pauses for as long as the mailbox keeps them: their leases would end by themselves.
    fn renew_pauses(&self, handle: Handle) {
        let intake = self.me.clone();
        self.context.spawn(async move {
            loop {
                tokio::time::sleep(RENEW).await;
                let Some(intake) = intake.upgrade() else { return };
                let mut asked = intake.rare().asked.lock();
                asked.renewing = asked.pressure.is_on();
                for sender in asked.pressure.told() {
                    intake.context.ask_to_pause(sender, handle);
                }
                if !asked.renewing {
                    return;
                }
            }
        });
    }

    fn load(&self) -> Load {
        let (messages, bytes) = (&self.messages, &self.bytes);
        Load { messages: messages.load(Ordering::Acquire), bytes: bytes.load(Ordering::Acquire) }
    }

    pub(crate) fn note_panic(&self, text: String) {
        self.rare().reason.lock().get_or_insert(StopReason::Panic(text));
    }

    pub(crate) fn reason(&self) -> Option<StopReason> {
        self.rare.get().and_then(|rare| rare.reason.lock().clone())
    }

    /// The reason with which somebody has asked the actor to end; given once.
    pub(crate) fn asked_end(&self) -> Option<StopReason> {
        let asked =
            self.end_asked.load(Ordering::Acquire) && !self.end_taken.swap(true, Ordering::AcqRel);
        asked.then(|| self.reason()).flatten()
    }

    /// The actor has ended: no more is taken, what waits is answered, and the watchers are told.
    pub(crate) fn close(&self, left: &mut VecDeque<Waiting>, fallback: StopReason) {
        let waiting = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        let reason = self.rare().reason.lock().get_or_insert(fallback).clone();
        for waiting in left.drain(..).chain(waiting) {
            self.release(waiting.load());
            self.refuse_stopped(waiting, &reason);
        }
        if let Some(&handle) = self.handle.get() {
            self.context.unbind(handle, &reason);
        }
        // Whoever was paused learns by its next message that there is nobody left.
        self.ease();
    }

    fn refuse_stopped(&self, waiting: Waiting, reason: &StopReason) {
        let text = format!("the actor `{}` is gone: {reason}", A::NAME);
        self.refuse(waiting, DeadReason::Stopped, text);
    }

    fn refuse(&self, waiting: Waiting, reason: DeadReason, text: String) {
        match waiting {
            Waiting::One(envelope) => self.context.refuse(envelope, reason, Handled::No, text),
            Waiting::Many(batch) => self.context.refuse_batch(batch, reason, Handled::No, &text),
        }
    }
}

impl<A: RemoteActor> Mailbox for Intake<A> {
    fn push(&self, batch: &mut Vec<Envelope>) {
        // What comes together is mostly of one source; another is pressed by its own next message.
        let source = batch.first().map(|envelope| envelope.origin.source);
        self.receive(source, batch.drain(..).map(Waiting::One));
    }

    fn push_one(&self, envelope: Envelope) {
        self.receive(Some(envelope.origin.source), std::iter::once(Waiting::One(envelope)));
    }

    fn push_batch(&self, _: &actogen_runtime::Context, batch: Batch) {
        self.receive(Some(batch.origin().source), std::iter::once(Waiting::Many(batch)));
    }

    fn has_room(&self, _: usize) -> bool {
        self.takes_more()
    }

    fn room(&self, _: usize) -> BoxFuture<'_, ()> {
        Box::pin(self.wait_for_room())
    }

    fn end(&self, reason: StopReason) {
        self.ask_to_end(reason);
    }
}

impl<A: RemoteActor> Intake<A> {
    /// Takes what the mailbox has room for and refuses the rest; asks the sender to pause when it fills up.
    fn receive(&self, source: Option<ContextId>, waiting: impl Iterator<Item = Waiting>) {
        self.put(waiting);
        if self.is_over(PAUSE_MARK) {
            self.press(source.into_iter());
        }
    }

    fn put(&self, waiting: impl Iterator<Item = Waiting>) {
        let mut refused = Vec::new();
        let (closed, wake) = {
            let mut queue = self.queue.lock();
            if queue.closed {
                refused.extend(waiting);
            } else {
                let before = self.load();
                let mut held = before;
                for waiting in waiting {
                    let (taken, rest) = self.fit(&mut held, waiting);
                    queue.waiting.extend(taken);
                    refused.extend(rest);
                }
                // Before the pump can see them: it gives their room back. The queue's lock keeps others who add away.
                self.messages.fetch_add(held.messages - before.messages, Ordering::AcqRel);
                self.bytes.fetch_add(held.bytes - before.bytes, Ordering::AcqRel);
            }
            let wake = !queue.waiting.is_empty() && std::mem::replace(&mut queue.idle, false);
            (queue.closed, wake)
        };
        if wake {
            self.waker.wake();
        }
        for waiting in refused {
            if closed {
                let reason = self.reason().unwrap_or(StopReason::Normal);
                self.refuse_stopped(waiting, &reason);
            } else {
                let text = format!("the actor `{}` holds as many messages as it may", A::NAME);
                self.refuse(waiting, DeadReason::MailboxFull, text);
            }
        }
    }

    /// Adds to what is held as many messages as there is room for; gives those, and the others.
    fn fit(&self, held: &mut Load, waiting: Waiting) -> (Option<Waiting>, Option<Waiting>) {
        let limits = self.context.limits();
        match waiting {
            Waiting::One(envelope) if held.leaves_room(limits) => {
                held.add(envelope.charge);
                (Some(Waiting::One(envelope)), None)
            }
            Waiting::One(_) => (None, Some(waiting)),
            Waiting::Many(mut batch) => {
                let after = Load {
                    messages: held.messages + batch.len(),
                    bytes: held.bytes + batch.charge(),
                };
                // The usual case, and the rule below for each message then.
                if after.messages <= limits.mailbox_messages && after.bytes <= limits.mailbox_bytes
                {
                    *held = after;
                    return (Some(Waiting::Many(batch)), None);
                }
                let mut fitting = 0;
                for charge in batch.charges() {
                    if !held.leaves_room(limits) {
                        break;
                    }
                    held.add(charge);
                    fitting += 1;
                }
                let rest = (fitting < batch.len()).then(|| batch.split_off(fitting));
                let taken = (!batch.is_empty()).then_some(batch);
                (taken.map(Waiting::Many), rest.map(Waiting::Many))
            }
        }
    }

    /// Senders of the same context wait from the mark on at which others are asked to pause.
    fn takes_more(&self) -> bool {
        !self.is_over(PAUSE_MARK) || self.queue.lock().closed
    }

    async fn wait_for_room(&self) {
        loop {
            let room = self.rare().room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            self.pressed.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.takes_more() {
                return;
            }
            room.await;
        }
    }

    fn ask_to_end(&self, reason: StopReason) {
        self.rare().reason.lock().get_or_insert(reason);
        self.end_asked.store(true, Ordering::Release);
        self.queue.lock().idle = false;
        self.waker.wake();
    }
}

impl<A> fmt::Debug for Intake<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("messages", &self.messages)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
