//! An actor's turn: how what waits for it becomes calls of its handlers, and their results answers.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    time::Duration,
};

use actix::{AsyncContext, Context as ActixContext, Handler, Message};
use actogen_runtime::{
    batch::{Batch, Taken},
    core::{Dead, DeadReason, Handle, Handled, policy::Origin},
    envelope::ReplyPort,
};
use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    actor::RemoteActor,
    address::DecodingScope,
    guard::panic_text,
    in_flight::{Answer, InFlight},
    intake::{Intake, Load, Waiting},
    message::{Body, Codec, Inbound, RemoteMessage, Tag},
    respond::{fail, respond},
    supervise::Passed,
    trace::{self, TraceContext},
    values::{EncodedValue, Next, Run, Values},
};

/// The most messages of one turn; then I/O, timers and other actors get theirs.
const QUANTUM: usize = 256;

/// The most time of one turn.
const QUANTUM_TIME: Duration = Duration::from_micros(200);

/// Messages of one type from one sender on their way to a handler: the next one, and those behind it that are like it.
#[doc(hidden)]
pub struct Envelope<'a> {
    tag: u64,
    content: Content<'a>,
}

/// Where messages lie.
enum Content<'a> {
    /// Encoded, as they came from another context.
    Batch(&'a mut Batch),
    /// The messages themselves, from this one, and the span that sent them.
    Values(&'a mut dyn Run, Option<&'a TraceContext>),
}

impl<'a> Envelope<'a> {
    /// What is to be handled next of what waits; `None` when all of it has been.
    #[inline]
    pub(crate) fn of(waiting: &'a mut Waiting) -> Option<Self> {
        match waiting {
            Waiting::Batch(batch) => {
                let tag = batch.next()?.tag;
                Some(Self { tag, content: Content::Batch(batch) })
            }
            Waiting::Values(run) => {
                let tag = run.next()?.tag;
                Some(Self { tag, content: Content::Values(&mut **run, None) })
            }
            Waiting::Traced(traced) => {
                let tag = traced.run.next()?.tag;
                let content = Content::Values(&mut *traced.run, Some(&traced.span));
                Some(Self { tag, content })
            }
        }
    }

    /// Which type of message it is.
    pub fn tag(&self) -> Tag {
        Tag::new(self.tag)
    }

    /// Who sent it: a context of the mesh, or this one.
    fn origin<A: RemoteActor>(&self, turn: &Turn<'_, A>) -> Origin {
        match &self.content {
            Content::Batch(batch) => batch.origin(),
            Content::Values(..) => Origin::own(turn.intake.context().id()),
        }
    }

    /// The span that sent it.
    fn trace(&self) -> Option<TraceContext> {
        match &self.content {
            Content::Batch(batch) => batch.trace().copied(),
            Content::Values(_, trace) => trace.copied(),
        }
    }
}

impl std::fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// The message whose turn it is, without its content.
#[derive(Debug)]
struct Current {
    tag: u64,
    origin: Origin,
    /// The span that sent it.
    trace: Option<TraceContext>,
    /// What it counts against the mailbox's bound, in bytes.
    charge: usize,
    /// The handle of the sender's that the answer goes to.
    reply: Option<Handle>,
    /// It has been decoded: what panics now is the author's handler.
    is_open: bool,
}

/// One turn of an actor: some messages, one after the other, and what the glue needs beside the actor.
#[doc(hidden)]
pub struct Turn<'a, A: RemoteActor> {
    ctx: &'a mut ActixContext<A>,
    intake: &'a Intake,
    in_flight: &'a mut InFlight<A>,
    /// Made for the first message that has to be decoded.
    scope: Option<DecodingScope>,
    handle: Handle,
    current: Current,
    /// `None` while it is of one message: to read the clock costs as much as a small one does.
    begun: Option<Instant>,
    handled: usize,
    /// Given back to the mailbox from time to time: each time costs more than a small message does.
    gone: Load,
    /// Messages handed to handlers and not yet counted.
    delivered: u64,
    end: Option<End>,
}

/// Why a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has lasted long enough.
    Quantum,
    /// The actor waits, is asked to end, or has as many answers under way as it may.
    Held,
    /// A handler panicked, with this text.
    Panic(String),
}

impl<'a, A: RemoteActor> Turn<'a, A> {
    /// A turn, of more than one message if it `is_long`; `None` if the intake is not bound yet.
    pub(crate) fn new(
        ctx: &'a mut ActixContext<A>,
        intake: &'a Intake,
        in_flight: &'a mut InFlight<A>,
        is_long: bool,
    ) -> Option<Self> {
        let context = intake.context();
        let origin = Origin::own(context.id());
        Some(Self {
            handle: intake.handle()?,
            current: Current {
                tag: 0,
                origin,
                trace: None,
                charge: 0,
                reply: None,
                is_open: false,
            },
            begun: is_long.then(Instant::now),
            handled: 0,
            gone: Load::default(),
            delivered: 0,
            end: in_flight.is_full().then_some(End::Held),
            scope: None,
            ctx,
            intake,
            in_flight,
        })
    }

    /// More has come: from now on its time counts, if it has not before.
    pub(crate) fn is_timed(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Why it has ended, once it has.
    pub(crate) fn end(&mut self) -> Option<End> {
        self.end.take()
    }

    /// Gives the room of what has been handled back to the mailbox.
    pub(crate) fn release(&mut self) {
        self.intake.release(std::mem::take(&mut self.gone));
    }

    fn begin(&mut self, tag: u64, origin: Origin, trace: Option<TraceContext>) {
        (self.current.tag, self.current.origin, self.current.trace) = (tag, origin, trace);
    }

    /// The message whose turn it is has been dealt with: whether there is time for another.
    #[inline(always)]
    fn goes_on(&mut self) -> bool {
        self.gone.add(self.current.charge);
        self.handled += 1;
        if self.ctx.waiting()
            || self.in_flight.is_full()
            || self.intake.end_asked.load(Ordering::Acquire)
        {
            self.end = Some(End::Held);
            return false;
        }
        // The clock is read after messages 1, 2, 4, 8 and then every 16th: a slow handler ends the turn at once, and fast ones pay
        // for little of it.
        let handled = self.handled;
        if handled.is_multiple_of(16) || (handled < 16 && handled.is_power_of_two()) {
            self.release();
            let is_late = self.begun.is_some_and(|begun| begun.elapsed() > QUANTUM_TIME);
            if handled >= QUANTUM || is_late {
                self.end = Some(End::Quantum);
                return false;
            }
        }
        true
    }

    /// The actor's own context.
    pub(crate) fn ctx(&mut self) -> &mut ActixContext<A> {
        self.ctx
    }

    /// Takes an answer that is not there yet.
    pub(crate) fn answer_later<T: Body>(&mut self, answer: Answer<A, T>) {
        self.in_flight.begin(Box::pin(answer));
    }

    fn count_delivered(&mut self) {
        let delivered = std::mem::take(&mut self.delivered);
        if delivered > 0 {
            self.intake.context().count_delivered(delivered);
        }
    }

    /// Where the answer goes; once.
    #[inline]
    fn port(&mut self) -> Option<ReplyPort> {
        let reply = self.current.reply.take()?;
        ReplyPort::of(self.intake.context(), self.current.origin, Some(reply))
    }

    /// Refuses the message whose turn it is: no handler gets it.
    #[cold]
    fn refuse(&mut self, reason: DeadReason, text: String) {
        let reply = self.port();
        let context = self.intake.context();
        let dead = Dead::new(reason, Handled::No, context.id(), text);
        let Current { tag, origin, .. } = self.current;
        context.refuse_message(self.handle, origin, tag, reply, dead);
    }

    /// Whether the message whose turn it is need not be handled, since it is a request that its asker has given up; then it counts as
    /// dead, and nobody waits to hear of it.
    #[inline]
    fn is_given_up(&mut self) -> bool {
        let Some(reply) = self.current.reply else { return false };
        let context = self.intake.context();
        let Current { tag, origin, .. } = self.current;
        let Some(dead) = context.given_up(origin.source, reply) else { return false };
        self.current.reply = None;
        context.refuse_message(self.handle, origin, tag, None, dead);
        true
    }

    /// Calls the handler, and answers.
    #[inline]
    fn call<H>(&mut self, actor: &mut A, message: H, codec: Codec)
    where
        A: Handler<H>,
        H: Message<Result: Body> + 'static,
        <A as Handler<H>>::Result: 'static,
    {
        self.delivered += 1;
        if self.current.reply.is_some() {
            // Whoever hears the answer may look at the counters next.
            self.count_delivered();
        }
        match self.current.trace {
            None => self.call_here(actor, message, codec),
            Some(sender) => self.call_in_trace(sender, actor, message, codec),
        }
    }

    #[inline(always)]
    fn call_here<H>(&mut self, actor: &mut A, message: H, codec: Codec)
    where
        A: Handler<H>,
        H: Message<Result: Body> + 'static,
        <A as Handler<H>>::Result: 'static,
    {
        let result = actor.handle(message, self.ctx);
        let reply = self.port();
        respond::<A, H, _>(result, codec, reply, self);
    }

    /// Apart, so that messages without a trace, which most are, pay for no scope.
    #[cold]
    #[inline(never)]
    fn call_in_trace<H>(&mut self, sender: TraceContext, actor: &mut A, message: H, codec: Codec)
    where
        A: Handler<H>,
        H: Message<Result: Body> + 'static,
        <A as Handler<H>>::Result: 'static,
    {
        let _scope = trace::handle(self.intake.context(), sender);
        self.call_here(actor, message, codec);
    }
}

impl<A: RemoteActor> Drop for Turn<'_, A> {
    fn drop(&mut self) {
        self.count_delivered();
        self.release();
    }
}

impl<A: RemoteActor> std::fmt::Debug for Turn<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("intake", &self.intake).finish_non_exhaustive()
    }
}

/// Hands messages to their handler; called by the derive.
#[doc(hidden)]
pub fn deliver<A, M>(actor: &mut A, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, A>)
where
    A: RemoteActor + Handler<M>,
    M: RemoteMessage,
    <A as Handler<M>>::Result: 'static,
{
    handle::<A, M, M>(actor, envelope, turn, |message, _| message);
}

/// Hands messages with their origin to their handler; called by the derive.
#[doc(hidden)]
pub fn deliver_inbound<A, M>(actor: &mut A, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, A>)
where
    A: RemoteActor + Handler<Inbound<M>>,
    M: RemoteMessage,
    <A as Handler<Inbound<M>>>::Result: 'static,
{
    handle::<A, M, Inbound<M>>(actor, envelope, turn, |message, origin| Inbound {
        message,
        origin,
    });
}

/// Answers a message that the actor does not list; called by the derive.
#[doc(hidden)]
pub fn unknown<A: RemoteActor>(envelope: &mut Envelope<'_>, turn: &mut Turn<'_, A>) {
    let tag = envelope.tag;
    let text = format!("the actor `{}` accepts no message with the tag {tag:#018x}", A::NAME);
    turn.begin(tag, envelope.origin(turn), None);
    refuse_next(envelope, turn, DeadReason::UnknownMessage, text);
}

/// Drops the next message of an envelope and refuses it.
#[cold]
fn refuse_next<A: RemoteActor>(
    envelope: &mut Envelope<'_>,
    turn: &mut Turn<'_, A>,
    reason: DeadReason,
    text: String,
) {
    let next = match &mut envelope.content {
        Content::Batch(batch) => batch.take().map(|taken| (taken.item.charge(), taken.item.reply)),
        Content::Values(run, _) => {
            let next = run.next().map(|Next { charge, reply, .. }| (charge, reply));
            run.drop_next();
            next
        }
    };
    let Some((charge, reply)) = next else { return };
    (turn.current.charge, turn.current.reply) = (charge, reply);
    turn.refuse(reason, text);
    turn.goes_on();
}

/// Takes the next message of an envelope for somebody who passes it on, without looking into it. `take` may refuse it, and say why.
pub(crate) fn pass_next<A: RemoteActor>(
    envelope: &mut Envelope<'_>,
    turn: &mut Turn<'_, A>,
    take: impl FnOnce(Passed) -> Result<(), &'static str>,
) {
    let (tag, origin) = (envelope.tag, envelope.origin(turn));
    turn.begin(tag, origin, None);
    let taken = match &mut envelope.content {
        Content::Batch(batch) => batch.take().map(|Taken { item, body, .. }| {
            (item.charge(), item.reply, item.codec, Ok(Bytes::copy_from_slice(body)))
        }),
        Content::Values(run, _) => {
            let (charge, codec) = (run.next().map_or(0, |next| next.charge), run.codec().number());
            run.take_encoded()
                .map(|EncodedValue { reply, body }| (charge, reply, codec, body.map(Bytes::from)))
        }
    };
    let Some((charge, reply, codec, body)) = taken else { return };
    (turn.current.charge, turn.current.reply) = (charge, reply);
    match body {
        Ok(body) => match take(Passed { tag, codec, body, origin, reply }) {
            Ok(()) => turn.delivered += 1,
            Err(why) => turn.refuse(DeadReason::MailboxFull, why.to_owned()),
        },
        Err(error) => {
            turn.refuse(DeadReason::Malformed, format!("it cannot be encoded: {error}"));
        }
    }
    turn.goes_on();
}

/// Takes messages out of their envelope and calls the handler for each, as long as they are like the first and the turn goes on. A
/// message that does not decode is refused; a handler that panics ends its actor.
///
/// They are taken in one go because what they have in common costs as much as a small message does: to find the handler, the type of
/// what they lie in, and a guard against panics.
fn handle<A, M, H>(
    actor: &mut A,
    envelope: &mut Envelope<'_>,
    turn: &mut Turn<'_, A>,
    handled: impl Fn(M, Origin) -> H,
) where
    A: RemoteActor + Handler<H>,
    M: RemoteMessage,
    H: Message<Result: Body> + 'static,
    <A as Handler<H>>::Result: 'static,
{
    let origin = envelope.origin(turn);
    turn.begin(envelope.tag, origin, envelope.trace());
    loop {
        turn.current.is_open = false;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let mut call = |turn: &mut Turn<'_, A>, message| {
                turn.call(actor, handled(message, origin), M::CODEC);
            };
            match &mut envelope.content {
                Content::Batch(batch) => handle_batch(batch, turn, &mut call),
                Content::Values(run, _) => {
                    let run: &mut dyn Any = *run;
                    match run.downcast_mut() {
                        Some(values) => handle_values(values, turn, &mut call),
                        None => {
                            let text =
                                format!("a value that is no `{}` was sent under its tag", M::NAME);
                            refuse_next(envelope, turn, DeadReason::Malformed, text);
                        }
                    }
                }
            }
        }));
        let Err(panic) = caught else { return };
        let text = panic_text(&*panic);
        if turn.current.is_open {
            fail(turn.port(), &text);
            turn.goes_on();
            turn.end = Some(End::Panic(text));
            return;
        }
        if let Some(scope) = &turn.scope {
            scope.stop_decoding();
        }
        let text = format!("`deserialize` of `{}` panicked: {text}", M::NAME);
        turn.refuse(DeadReason::Malformed, text);
        if !turn.goes_on() {
            return;
        }
    }
}

/// Calls for each message of a batch that is like the next one.
#[inline]
fn handle_batch<A: RemoteActor, M: RemoteMessage>(
    batch: &mut Batch,
    turn: &mut Turn<'_, A>,
    call: &mut impl FnMut(&mut Turn<'_, A>, M),
) {
    let Some((tag, number)) = batch.next().map(|item| (item.tag, item.codec)) else { return };
    // Those behind a message that panicked while it was decoded may be of another type.
    if tag != turn.current.tag {
        return;
    }
    let codec = Codec::from_number(number);
    while let Some(Taken { item, body, .. }) = batch.take_alike(tag, number) {
        (turn.current.charge, turn.current.reply) = (item.charge(), item.reply);
        turn.current.is_open = false;
        if !turn.is_given_up() {
            let decoded = match codec {
                Some(codec) => turn
                    .scope
                    .get_or_insert_with(|| DecodingScope::of(turn.intake.context()))
                    .decode(|| M::decode_unguarded(codec, body))
                    .map_err(|error| format!("the body is no `{}`: {error}", M::NAME)),
                None => Err(format!("this build has no codec {number}")),
            };
            match decoded {
                Ok(message) => {
                    turn.current.is_open = true;
                    call(turn, message);
                }
                Err(text) => turn.refuse(DeadReason::Malformed, text),
            }
        }
        if !turn.goes_on() {
            return;
        }
    }
}

/// Calls for each message of a run.
#[inline]
fn handle_values<A: RemoteActor, M: RemoteMessage>(
    values: &mut Values<M>,
    turn: &mut Turn<'_, A>,
    call: &mut impl FnMut(&mut Turn<'_, A>, M),
) {
    turn.current.charge = Values::<M>::CHARGE;
    turn.current.is_open = true;
    loop {
        turn.current.reply = values.take_reply();
        let Some(message) = values.take() else { return };
        if !turn.is_given_up() {
            call(turn, message.into_inner());
        }
        if !turn.goes_on() {
            return;
        }
    }
}
