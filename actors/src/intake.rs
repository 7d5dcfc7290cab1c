//! The queue between the runtime and one actor: bounded, with at most one wake for whatever a push brings.
//!
//! Everything that reaches an actor through a [`crate::Remote`], from near or far, goes through its intake, so that every pair
//! keeps its order; plain `Addr` messages stay in actix's own mailbox. The actor's pump takes from it (`pump`). How it holds its
//! senders back is in `pressure`.

mod outliving;
mod pressure;

use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
};

use actogen_runtime::{
    LocalMailbox,
    batch::Batch,
    core::{Dead, DeadReason, Handle, Handled, Limits, policy::Origin},
    envelope::ReplyPort,
    mailbox::{Mailbox, StopReason},
    transport::BoxFuture,
};

use crate::{
    actor::RemoteActor,
    brief::Brief,
    message::RemoteMessage,
    trace::{self, TraceContext},
    values::{Next, Run, Values},
};
pub(crate) use outliving::Over;
use pressure::{PAUSE_MARK, Rare};

/// What waits: messages that came together from another context, or values from this one.
#[derive(Debug)]
pub(crate) enum Waiting {
    Batch(Batch),
    Values(Box<dyn Run>),
    Traced(Box<Traced>),
}

/// Values that were sent in one span.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) span: TraceContext,
    pub(crate) run: Box<dyn Run>,
}

impl Waiting {
    /// Whether it is more than one message.
    #[inline]
    pub(crate) fn is_run(&self) -> bool {
        match self {
            Self::Batch(batch) => batch.len() > 1,
            Self::Values(run) => run.len() > 1,
            Self::Traced(traced) => traced.run.len() > 1,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Values that senders of this context have put in. Counted here, where the lock is held anyway.
    sent: u64,
    /// Made by whoever needs it first.
    rare: Option<Arc<Rare>>,
    closed: bool,
    /// The pump has found the queue empty and sleeps.
    idle: bool,
    /// A run that is empty, for the value that comes next if it is of its type: most actors get more of what they got last.
    spare: Option<Box<dyn Run>>,
    /// Of the task that the actor runs in, from its first poll on. It is cloned for each wake and stays: to register it with each poll, as
    /// wakers usually are, costs more than a small message does.
    waker: Option<Waker>,
}

impl Queue {
    /// Whom to wake because something waits now: the pump, if it sleeps.
    #[inline]
    fn sleeper(&mut self) -> Option<Waker> {
        if std::mem::replace(&mut self.idle, false) { self.waker.clone() } else { None }
    }

    /// The actor's task is another one than before: at its first poll, and after a restart.
    #[cold]
    fn runs_in(&mut self, task: &Waker) -> Option<Waker> {
        self.waker.replace(task.clone())
    }

    /// Adds a value to the run that waits last, if that is of its type and has room, or begins another.
    #[inline]
    fn put<M: RemoteMessage>(&mut self, message: M, reply: Option<Handle>) {
        let last = match self.waiting.last_mut() {
            Some(Waiting::Values(run)) => {
                let run: &mut dyn Any = &mut **run;
                run.downcast_mut::<Values<M>>()
            }
            _ => None,
        };
        let run = match last {
            Some(run) if run.takes(reply) => return run.put(message, reply),
            Some(run) => Box::new(run.followed_by(message, reply)),
            None => {
                let spare: Option<Box<dyn Any>> = self.spare.take().map(|spare| spare as _);
                match spare.map(<Box<dyn Any>>::downcast::<Values<M>>) {
                    Some(Ok(mut run)) => {
                        run.begin_again(message, reply);
                        run
                    }
                    Some(Err(_)) | None => Box::new(Values::begin(message, reply)),
                }
            }
        };
        self.waiting.push(Waiting::Values(run));
    }

    /// As [`Self::put`], of a value that this span sends: to the run that waits last only if that is of the same span.
    #[cold]
    fn put_traced<M: RemoteMessage>(
        &mut self,
        message: M,
        reply: Option<Handle>,
        span: TraceContext,
    ) {
        let last = match self.waiting.last_mut() {
            Some(Waiting::Traced(traced)) if traced.span == span => {
                let run: &mut dyn Any = &mut *traced.run;
                run.downcast_mut::<Values<M>>()
            }
            _ => None,
        };
        let run = match last {
            Some(run) if run.takes(reply) => return run.put(message, reply),
            Some(run) => run.followed_by(message, reply),
            None => Values::begin(message, reply),
        };
        self.waiting.push(Waiting::Traced(Box::new(Traced { span, run: Box::new(run) })));
    }
}

/// What messages count against a mailbox's bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    pub(crate) messages: usize,
    bytes: usize,
}

impl Load {
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

/// What a mailbox holds, as two sums for each of its bounds that only grow, and wrap: what it has accepted, and what of that it has
/// released. One thread at a time adds to each, so that adding costs no locked instruction.
#[derive(Debug, Default)]
struct Held {
    /// More than these cannot wait at once: each message counts over a hundred bytes.
    accepted_messages: AtomicU32,
    released_messages: AtomicU32,
    accepted_bytes: AtomicUsize,
    released_bytes: AtomicUsize,
}

impl Held {
    /// Called by whoever has locked the queue.
    #[inline]
    fn accept(&self, load: Load) {
        add(&self.accepted_messages, &self.accepted_bytes, load);
    }

    /// Called by the pump, or by whoever closes the intake when that is gone.
    #[inline]
    fn release(&self, load: Load) {
        add(&self.released_messages, &self.released_bytes, load);
    }

    /// What is held now. What is released is read first, so that it never seems to be more than what was accepted.
    #[inline]
    fn load(&self) -> Load {
        let messages = self.released_messages.load(Ordering::Acquire);
        let bytes = self.released_bytes.load(Ordering::Acquire);
        Load {
            messages: self.accepted_messages.load(Ordering::Acquire).wrapping_sub(messages)
                as usize,
            bytes: self.accepted_bytes.load(Ordering::Acquire).wrapping_sub(bytes),
        }
    }
}

#[inline]
fn add(messages: &AtomicU32, bytes: &AtomicUsize, load: Load) {
    let more = messages.load(Ordering::Relaxed).wrapping_add(load.messages as u32);
    messages.store(more, Ordering::Release);
    let more = bytes.load(Ordering::Relaxed).wrapping_add(load.bytes);
    bytes.store(more, Ordering::Release);
}

/// One actor's intake.
pub(crate) struct Intake {
    queue: Brief<Queue>,
    context: actogen_runtime::Context,
    /// The actor's declared name; a reference to it is half as large.
    name: &'static &'static str,
    /// The handle under which it is bound; 0 until then.
    handle: AtomicU64,
    /// Somebody waits for room, here or in another context.
    pressed: AtomicBool,
    pub(crate) end_asked: AtomicBool,
    end_taken: AtomicBool,
    /// What waits, the pump's own part included.
    held: Held,
}

/// What became of a value that was put in.
pub(crate) enum Put<M> {
    /// It waits.
    Posted,
    NoRoom(M),
    /// The actor has ended.
    Closed(M),
}

impl Intake {
    pub(crate) fn new<A: RemoteActor>(context: actogen_runtime::Context) -> Arc<Self> {
        Arc::new(Self {
            queue: Brief::default(),
            context,
            name: &A::NAME,
            handle: AtomicU64::new(0),
            pressed: AtomicBool::new(false),
            end_asked: AtomicBool::new(false),
            end_taken: AtomicBool::new(false),
            held: Held::default(),
        })
    }

    /// The intake behind a mailbox; `None` if that is one of the runtime's own.
    pub(crate) fn of(mailbox: &LocalMailbox) -> Option<Arc<Self>> {
        let mailbox: Arc<dyn Any + Send + Sync> = mailbox.mailbox().clone();
        mailbox.downcast().ok()
    }

    /// Says under which handle the intake is bound; once.
    pub(crate) fn bound_as(&self, handle: Handle) {
        self.handle.store(handle.0, Ordering::Release);
    }

    /// The handle under which it is bound, once it is.
    pub(crate) fn handle(&self) -> Option<Handle> {
        let handle = self.handle.load(Ordering::Acquire);
        (handle != 0).then_some(Handle(handle))
    }

    pub(crate) fn context(&self) -> &actogen_runtime::Context {
        &self.context
    }

    /// Notes which task the actor runs in, if that is another than `known` says: the same one nearly always. [`Self::take`] notes it as
    /// well, for actors that are not guarded.
    #[inline]
    pub(crate) fn runs_in(&self, task: &Waker, known: &mut Option<Waker>) {
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
            // Dropped behind the lock: it may be the last of its task.
            let _former = self.queue.lock().runs_in(task);
        }
    }

    /// Has the actor polled, whatever it waits for. Before its first poll that comes anyway.
    fn wake(&self) {
        let waker = {
            let mut queue = self.queue.lock();
            queue.idle = false;
            queue.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves all that waits into `taken`, which is empty; false when there is nothing, and the next push wakes the pump, which runs in this
    /// task. `spare` is a run that the pump has emptied.
    pub(crate) fn take(
        &self,
        taken: &mut VecDeque<Waiting>,
        spare: &mut Option<Box<dyn Run>>,
        task: &Waker,
    ) -> bool {
        // Dropped behind the lock: it may be the last of its task.
        let _former;
        let mut queue = self.queue.lock();
        if !queue.waker.as_ref().is_some_and(|known| known.will_wake(task)) {
            _former = queue.runs_in(task);
        }
        if spare.is_some() {
            std::mem::swap(&mut queue.spare, spare);
        }
        if queue.waiting.is_empty() {
            queue.idle = true;
            return false;
        }
        // Neither is copied, and both keep their room.
        let empty = Vec::from(std::mem::take(taken));
        *taken = std::mem::replace(&mut queue.waiting, empty).into();
        true
    }

    /// Puts back what a pump had taken and not handled, in front of what has come since; for the pump that follows it.
    pub(crate) fn put_back(&self, taken: &mut VecDeque<Waiting>) {
        let mut queue = self.queue.lock();
        queue.waiting.splice(..0, taken.drain(..));
        queue.idle = false;
    }

    /// Puts a value of a sender of this context in, at once if there is room, and counts it as sent.
    #[inline]
    pub(crate) fn put<M: RemoteMessage>(&self, message: M, reply: Option<Handle>) -> Put<M> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Put::Closed(message);
        }
        // Senders of the same context wait from the mark on at which others are asked to pause.
        if self.is_over(PAUSE_MARK) {
            return Put::NoRoom(message);
        }
        match trace::current() {
            None => queue.put(message, reply),
            Some(span) => queue.put_traced(message, reply, span),
        }
        queue.sent += 1;
        // Before the pump can see it: it gives its room back.
        self.held.accept(Load { messages: 1, bytes: Values::<M>::CHARGE });
        let sleeper = queue.sleeper();
        drop(queue);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        Put::Posted
    }

    /// Refuses a value of a sender of this context, which counts as sent.
    #[cold]
    pub(crate) fn refuse_value<M: RemoteMessage>(&self, reply: Option<Handle>, dead: Dead) {
        self.context.count_sent(1);
        self.refuse_one(M::TAG.get(), reply, dead);
    }

    /// Refuses a value because the actor has ended.
    #[cold]
    pub(crate) fn refuse_stopped<M: RemoteMessage>(&self, reply: Option<Handle>) {
        let reason = self.reason().unwrap_or(StopReason::Normal);
        self.refuse_value::<M>(reply, self.stopped(&reason));
    }

    fn refuse_one(&self, tag: u64, reply: Option<Handle>, dead: Dead) {
        let Some(handle) = self.handle() else { return };
        let origin = Origin::own(self.context.id());
        let reply = ReplyPort::of(&self.context, origin, reply);
        self.context.refuse_message(handle, origin, tag, reply, dead);
    }

    fn dead(&self, reason: DeadReason, text: String) -> Dead {
        Dead::new(reason, Handled::No, self.context.id(), text)
    }

    fn stopped(&self, reason: &StopReason) -> Dead {
        let text = format!("the actor `{}` is gone: {reason}", self.name);
        self.dead(DeadReason::Stopped, text)
    }

    pub(crate) fn note_panic(&self, text: String) {
        self.rare().reason.lock().get_or_insert(StopReason::Panic(text));
    }

    pub(crate) fn reason(&self) -> Option<StopReason> {
        let rare = self.queue.lock().rare.clone();
        rare.and_then(|rare| rare.reason.lock().clone())
    }

    /// Whether somebody has asked the actor to end, and it does not know yet.
    pub(crate) fn is_asked_to_end(&self) -> bool {
        self.end_asked.load(Ordering::Acquire) && !self.end_taken.load(Ordering::Acquire)
    }

    /// Whether somebody has killed the actor, and it is still there.
    pub(crate) fn is_killed(&self) -> bool {
        self.is_asked_to_end() && self.reason() == Some(StopReason::Killed)
    }

    /// The reason with which somebody has asked the actor to end; given once for each request.
    pub(crate) fn asked_end(&self) -> Option<StopReason> {
        let asked =
            self.end_asked.load(Ordering::Acquire) && !self.end_taken.swap(true, Ordering::AcqRel);
        asked.then(|| self.reason()).flatten()
    }

    /// The actor has ended: no more is taken, what waits is answered, and the watchers are told.
    ///
    /// Not so where the mailbox [outlives](outliving) it.
    pub(crate) fn close(&self, left: &mut VecDeque<Waiting>, fallback: StopReason) {
        // The task ends, and addresses may keep the intake for long.
        let task = self.queue.lock().waker.take();
        drop(task);
        if self.outlives(left, &fallback) {
            return;
        }
        let waiting = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.spare = None;
            std::mem::take(&mut queue.waiting)
        };
        let reason = self.rare().reason.lock().get_or_insert(fallback).clone();
        let dead = self.stopped(&reason);
        for waiting in left.drain(..).chain(waiting) {
            let mut run = match waiting {
                Waiting::Batch(batch) => {
                    self.release(Load { messages: batch.len(), bytes: batch.charge() });
                    self.refuse_batch(batch, &dead);
                    continue;
                }
                Waiting::Values(run) => run,
                Waiting::Traced(traced) => traced.run,
            };
            while let Some(Next { tag, charge, reply }) = run.next() {
                self.release(Load { messages: 1, bytes: charge });
                self.refuse_one(tag, reply, dead.clone());
                run.drop_next();
            }
        }
        if let Some(handle) = self.handle() {
            self.context.unbind(handle, &reason);
        }
        // Whoever was paused learns by its next message that there is nobody left.
        self.ease();
    }

    fn refuse_batch(&self, batch: Batch, dead: &Dead) {
        self.context.refuse_batch(batch, dead.reason, dead.handled, &dead.text);
    }
}

impl Mailbox for Intake {
    /// Takes what the mailbox has room for and refuses the rest; asks the sender to pause when it fills up.
    fn push(&self, _: &actogen_runtime::Context, batch: Batch) {
        // What comes together is of one source; another is pressed by its own next message.
        let source = batch.origin().source;
        self.accept(batch);
        if self.is_over(PAUSE_MARK) {
            self.press(source);
        }
    }

    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.wait_for_room())
    }

    fn sent(&self) -> u64 {
        self.queue.lock().sent
    }

    fn end(&self, reason: StopReason) {
        if self.is_vacant_at(&reason) {
            return;
        }
        self.ask_to_end(reason);
        self.wake();
    }
}

impl Intake {
    /// Each request is one of its own: the actor may have declined an earlier one. The first reason stands unless it is killed.
    fn ask_to_end(&self, reason: StopReason) {
        let rare = self.rare();
        let mut known = rare.reason.lock();
        match reason {
            StopReason::Killed => *known = Some(reason),
            _ => drop(known.get_or_insert(reason)),
        }
        self.end_taken.store(false, Ordering::Release);
        self.end_asked.store(true, Ordering::Release);
    }

    fn accept(&self, batch: Batch) {
        let mut queue = self.queue.lock();
        if queue.closed {
            drop(queue);
            let reason = self.reason().unwrap_or(StopReason::Normal);
            return self.refuse_batch(batch, &self.stopped(&reason));
        }
        let (accepted, taken, rest) = self.fit(batch);
        queue.waiting.extend(taken.map(Waiting::Batch));
        // Before the pump can see them: it gives their room back.
        self.held.accept(accepted);
        let sleeper = if queue.waiting.is_empty() { None } else { queue.sleeper() };
        drop(queue);
        if let Some(sleeper) = sleeper {
            sleeper.wake();
        }
        if let Some(rest) = rest {
            let text = format!("the actor `{}` holds as many messages as it may", self.name);
            self.refuse_batch(rest, &self.dead(DeadReason::MailboxFull, text));
        }
    }

    /// As many messages as there is room for, with what they count, and the others.
    fn fit(&self, mut batch: Batch) -> (Load, Option<Batch>, Option<Batch>) {
        let (limits, before) = (self.context.limits(), self.held.load());
        let all = Load { messages: batch.len(), bytes: batch.charge() };
        // The usual case, and the rule below for each message then.
        if before.messages + all.messages <= limits.mailbox_messages
            && before.bytes + all.bytes <= limits.mailbox_bytes
        {
            return (all, Some(batch), None);
        }
        let (mut held, mut fitting) = (before, 0);
        for charge in batch.charges() {
            if !held.leaves_room(limits) {
                break;
            }
            held.add(charge);
            fitting += 1;
        }
        let rest = (fitting < batch.len()).then(|| batch.split_off(fitting));
        let taken = (!batch.is_empty()).then_some(batch);
        let load =
            Load { messages: held.messages - before.messages, bytes: held.bytes - before.bytes };
        (load, taken, rest)
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("name", self.name)
            .field("load", &self.held.load())
            .finish_non_exhaustive()
    }
}
