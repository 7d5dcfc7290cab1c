//! The way out: from a sender in this context to a mailbox anywhere, and back with the answer.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
};

use actogen_core::{
    Address, ContextId, Dead, DeadReason, Handle, Handled, StreamId,
    limits::{FRAGMENT, MAX_HEADER, MAX_HOPS},
    policy::{Origin, Policy},
    route::judge::{self, Verdict},
    wire::{Destination, Header, Kind},
};
use tokio::sync::oneshot;

use crate::{
    batch::Batch,
    context::Context,
    dead_letters::DeadLetter,
    envelope::{Body, ENVELOPE_OVERHEAD, Envelope, Outcome, ReplyPort},
    lane::{Class, LaneError},
    link::LinkState,
    mailbox::{Bound, StopReason},
};

/// Bytes of a message's tag, in front of its body.
pub(crate) const TAG: usize = 8;

/// An encoded message.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    /// Which type of message it is.
    pub tag: u64,
    /// The codec of the body; 0 is postcard.
    pub codec: u8,
    /// The body.
    pub body: &'a [u8],
}

/// Why a message could not be posted; it has not left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostError {
    /// The lane to the next context is full: wait for room ([`Context::room`]) or give up.
    Full,
    /// It cannot go there at all.
    Dead(Dead),
}

/// Where a message for an address goes from here.
#[derive(Clone, Debug)]
pub enum Way {
    /// Into a mailbox of this context.
    Here(LocalMailbox),
    /// Over a link.
    Away(AwayLink),
}

/// A mailbox of this context, found bound.
#[derive(Clone, Debug)]
pub struct LocalMailbox {
    bound: Arc<Bound>,
    handle: Handle,
}

impl LocalMailbox {
    /// Whether a message with a body of this size would be kept now.
    pub fn has_room(&self, body: usize) -> bool {
        self.bound.mailbox.has_room(body + ENVELOPE_OVERHEAD)
    }

    /// Waits until there is room, or the mailbox has ended.
    pub async fn room(&self, body: usize) {
        self.bound.mailbox.room(body + ENVELOPE_OVERHEAD).await;
    }

    /// Asks the receiver to end.
    pub fn end(&self, reason: StopReason) {
        self.bound.mailbox.end(reason);
    }
}

/// A link that leads towards an address.
#[derive(Clone, Debug)]
pub struct AwayLink {
    link: Arc<LinkState>,
    to: Address,
}

/// A way as it was found, for the next message to the same address.
#[derive(Debug)]
pub struct KnownWay {
    generation: u64,
    way: Way,
    /// The kind of message that was sent last, and what its frames begin with: header and tag.
    head: Option<(u64, u8, Vec<u8>)>,
}

impl KnownWay {
    /// Where it leads.
    pub fn way(&self) -> &Way {
        &self.way
    }
}

impl AwayLink {
    /// The header of a message that goes this way.
    fn header(&self, codec: u8, reply: Option<Handle>) -> Header {
        let Self { link, to } = self;
        let mut header = Header::to(to.handle);
        header.reply = reply;
        header.codec = codec;
        if link.peer != to.context {
            header.destination =
                Some(Destination { context: to.context, incarnation: to.incarnation.meant() });
        }
        header
    }

    /// What the frame of a one-way message begins with: header and tag.
    fn head(&self, tag: u64, codec: u8) -> Vec<u8> {
        let mut head = vec![0; MAX_HEADER];
        let len = self.header(codec, None).encode(&mut head);
        head.truncate(len);
        head.extend(tag.to_le_bytes());
        head
    }
}

impl Context {
    /// Finds the way to an address, or takes the known one while nothing has changed that could make it another.
    ///
    /// # Errors
    /// As [`Self::way`]; then nothing is known.
    pub fn way_known<'a>(
        &self,
        to: Address,
        known: &'a mut Option<KnownWay>,
    ) -> Result<&'a mut KnownWay, Dead> {
        // Read before the search, so that a change during it makes what is found an old way.
        let generation = self.routes().generation();
        let found = match known.take() {
            Some(known) if known.generation == generation => known,
            _ => KnownWay { generation, way: self.way(to)?, head: None },
        };
        Ok(known.insert(found))
    }

    /// Finds the way to an address.
    ///
    /// # Errors
    /// The dead reply that a request there would get from this context.
    pub fn way(&self, to: Address) -> Result<Way, Dead> {
        if !self.is_running() && to.context != self.id() {
            return Err(self.dead(DeadReason::Shutdown, format!("{} is shutting down", self.id())));
        }
        match self.routes().judge(None, to.context, to.incarnation.meant(), MAX_HOPS) {
            Verdict::Dead(dead) => Err(dead),
            Verdict::Deliver => self
                .local(to.handle)
                .map(|bound| Way::Here(LocalMailbox { bound, handle: to.handle })),
            Verdict::Forward(id) => {
                let Some(link) = self.routes().link_to(to.context, id) else {
                    return Err(self.dead(
                        DeadReason::RouteLost,
                        format!("the link to {} went this moment", to.context),
                    ));
                };
                if link.peer == to.context
                    && let Some(meant) = to.incarnation.meant()
                    && let Some(dead) =
                        judge::other_life(self.id(), to.context, meant, link.incarnation)
                {
                    return Err(dead);
                }
                Ok(Way::Away(AwayLink { link, to }))
            }
        }
    }

    fn local(&self, handle: Handle) -> Result<Arc<Bound>, Dead> {
        self.mailboxes().get(handle).ok_or_else(|| {
            let me = self.id();
            match self.mailboxes().stopped(handle) {
                Some(reason) => self.dead(
                    DeadReason::Stopped,
                    format!("the actor {me}/{handle} is gone: {reason}"),
                ),
                None => self.dead(DeadReason::NoHandle, format!("{me} has no mailbox {handle}")),
            }
        })
    }

    fn dead(&self, reason: DeadReason, text: String) -> Dead {
        Dead::new(reason, Handled::No, self.id(), text)
    }

    /// Puts a value into a mailbox of this context, as it is. `charge` is what it counts against the mailbox's bound, in bytes.
    pub fn post_local(
        &self,
        to: &LocalMailbox,
        tag: u64,
        value: Box<dyn std::any::Any + Send>,
        charge: usize,
        reply: Option<Handle>,
    ) {
        let origin = Origin::own(self.id());
        let reply = reply.map(|handle| ReplyPort::new(self.clone(), self.id(), handle));
        let charge = charge + ENVELOPE_OVERHEAD;
        let envelope = Envelope {
            tag,
            body: Body::Local(value),
            codec: 0,
            handle: to.handle,
            origin,
            reply,
            charge,
        };
        if !matches!(to.bound.policy, Policy::Anyone)
            && let Err(refusal) = to.bound.policy.check(&origin, &self.family())
        {
            return self.refuse(envelope, DeadReason::Refused, Handled::No, refusal.to_string());
        }
        to.bound.mailbox.push_one(envelope);
    }

    /// Puts an encoded message on its way.
    ///
    /// # Errors
    /// [`PostError`]: the message has not left.
    pub fn post_away(
        &self,
        way: &AwayLink,
        message: Encoded<'_>,
        reply: Option<Handle>,
    ) -> Result<(), PostError> {
        self.may_post(way, message.body)?;
        let AwayLink { link, to } = way;
        let tag = message.tag.to_le_bytes();
        let header = way.header(message.codec, reply);
        let lane = link.lane(to.handle.stream());
        let posted =
            lane.append((to.context, to.handle), &header, &[&tag, message.body], Class::Message);
        posted.map_err(|error| self.not_posted(way, error))
    }

    /// As [`Self::post_away`], by a known way: what frames to one mailbox have in common is made once.
    ///
    /// # Errors
    /// [`PostError`]: the message has not left.
    pub fn post_known(
        &self,
        known: &mut KnownWay,
        message: Encoded<'_>,
        reply: Option<Handle>,
    ) -> Result<(), PostError> {
        let Way::Away(way) = &known.way else {
            let text = "a mailbox of this context takes values, not bytes".into();
            return Err(PostError::Dead(self.dead(DeadReason::NoRoute, text)));
        };
        if reply.is_some() || message.body.len() + TAG > FRAGMENT {
            return self.post_away(way, message, reply);
        }
        self.may_post(way, message.body)?;
        let (lane, pair) = (way.link.lane(way.to.handle.stream()), (way.to.context, way.to.handle));
        let head = match &mut known.head {
            Some((tag, codec, head)) if (*tag, *codec) == (message.tag, message.codec) => head,
            head => {
                let made = way.head(message.tag, message.codec);
                &mut head.insert((message.tag, message.codec, made)).2
            }
        };
        lane.append_alike(pair, head, message.body).map_err(|error| self.not_posted(way, error))
    }

    /// Whether a message may leave now: nobody has asked for a pause, and it is not too large for the way.
    fn may_post(&self, way: &AwayLink, body: &[u8]) -> Result<(), PostError> {
        if self.pause_left(way.to).is_some() {
            return Err(PostError::Full);
        }
        let (is, limit) = (body.len(), self.max_message());
        if is > limit {
            let text = format!("a body of {is} bytes, the limit on the way is {limit}");
            return Err(PostError::Dead(self.dead(DeadReason::TooLarge, text)));
        }
        Ok(())
    }

    fn not_posted(&self, way: &AwayLink, error: LaneError) -> PostError {
        match error {
            LaneError::Full => PostError::Full,
            LaneError::Closed => {
                PostError::Dead(self.dead(DeadReason::RouteLost, way.link.loss().to_string()))
            }
        }
    }

    /// Waits until a message that found its lane full or its mailbox paused may be tried again, or the link has gone.
    pub async fn room(&self, way: &AwayLink) {
        self.pause_over(way.to).await;
        way.link.lane(way.to.handle.stream()).wait_for_room().await;
    }

    /// Begins to wait for an answer from an address. The answer comes on the lane of `serves`, the mailbox that asks, so that it
    /// keeps its place among that mailbox's messages; without one, on the lane of the mailbox that is asked.
    ///
    /// # Errors
    /// The dead reply `Congested` when as many calls wait as may.
    pub fn begin_call(&self, to: Address, serves: Option<Handle>) -> Result<Call, Dead> {
        let lane = match serves.unwrap_or(to.handle).stream() {
            StreamId::CONTROL => StreamId::lane(0),
            lane => lane,
        };
        let (waiter, answer) = oneshot::channel();
        let handle =
            self.0.pending.lock().insert(to.context, lane, self.epoch(), waiter).map_err(|_| {
                let text = format!(
                    "{} has {} calls waiting, as many as it may",
                    self.id(),
                    self.limits().pending_calls
                );
                self.dead(DeadReason::Congested, text)
            })?;
        Ok(Call { context: self.clone(), handle, asked: to, has_left: false, answer })
    }

    /// Posts one of the runtime's own requests, which quotas of their own bound and no lane refuses.
    pub(crate) fn post_own(
        &self,
        way: &AwayLink,
        body: &[u8],
        reply: Option<Handle>,
    ) -> Result<(), PostError> {
        self.post_plain(way, body, reply, Class::Notice)
    }

    /// Posts a request of the runtime's own that nobody misses when there is no room for it.
    pub(crate) fn post_kindness(&self, way: &AwayLink, body: &[u8]) -> Result<(), PostError> {
        self.post_plain(way, body, None, Class::Message)
    }

    fn post_plain(
        &self,
        way: &AwayLink,
        body: &[u8],
        reply: Option<Handle>,
        class: Class,
    ) -> Result<(), PostError> {
        let AwayLink { link, to } = way;
        let lane = link.lane(to.handle.stream());
        let tag = 0_u64.to_le_bytes();
        let header = way.header(0, reply);
        lane.append((to.context, to.handle), &header, &[&tag, body], class)
            .map_err(|error| self.not_posted(way, error))
    }

    /// Asks one of the mailboxes under reserved handles and waits for its answer, within the limit for requests.
    ///
    /// # Errors
    /// The dead reply; one of reason `Refused` when the mailbox answered with a failure.
    pub async fn ask(&self, to: Address, body: &[u8]) -> Result<bytes::Bytes, Dead> {
        let call = self.begin_call(to, None)?;
        match self.way(to)? {
            Way::Here(here) => {
                let origin = Origin::own(self.id());
                let reply = Some(ReplyPort::new(self.clone(), self.id(), call.handle));
                let body = Body::Bytes(bytes::Bytes::copy_from_slice(body));
                let envelope = Envelope {
                    tag: 0,
                    body,
                    codec: 0,
                    handle: to.handle,
                    origin,
                    reply,
                    charge: 0,
                };
                here.bound.mailbox.push(&mut vec![envelope]);
            }
            Way::Away(way) => match self.post_own(&way, body, Some(call.handle)) {
                Ok(()) => {}
                Err(PostError::Dead(dead)) => return Err(dead),
                Err(PostError::Full) => {
                    return Err(self.dead(DeadReason::Congested, "the lane is full".into()));
                }
            },
        }
        let limit = self.limits().request_time;
        match tokio::time::timeout(limit, call).await {
            Ok(Outcome::Reply(bytes)) => Ok(bytes),
            Ok(Outcome::Dead(dead)) => Err(dead),
            Ok(Outcome::Failed(text)) => {
                Err(Dead::new(DeadReason::Refused, Handled::Yes, to.context, text))
            }
            Ok(Outcome::Local(_)) => {
                Err(self.dead(DeadReason::Malformed, "an answer of another kind".into()))
            }
            Err(_) => {
                let text = format!("{} did not answer within {limit:?}", to.context);
                Err(Dead::new(DeadReason::NoAnswer, Handled::Maybe, self.id(), text))
            }
        }
    }

    /// Counts a message that somebody in this context has sent, whatever becomes of it.
    pub fn count_sent(&self, messages: u64) {
        self.0.counters.sent.add(messages);
    }

    /// Counts messages handed to handlers in this context.
    pub fn count_delivered(&self, messages: u64) {
        self.0.counters.delivered.add(messages);
    }

    /// Counts a message that was given back to its sender here, before it left.
    pub fn count_refused(&self) {
        self.0.counters.refused.add(1);
    }

    /// Gives an envelope up: answers it if somebody waits, counts it, and shows it as a dead letter.
    pub fn refuse(
        &self,
        envelope: Envelope,
        reason: DeadReason,
        handled: Handled,
        text: impl Into<String>,
    ) {
        let Envelope { handle, origin, tag, reply, .. } = envelope;
        self.refuse_message(
            handle,
            origin,
            tag,
            reply,
            Dead::new(reason, handled, self.id(), text),
        );
    }

    /// Gives a message up of which only this is left, as [`Self::refuse`] does.
    pub fn refuse_message(
        &self,
        to: Handle,
        from: Origin,
        tag: u64,
        reply: Option<ReplyPort>,
        dead: Dead,
    ) {
        self.bury(self.address(to), from, tag, &dead);
        if let Some(reply) = reply {
            reply.dead(dead.reason, dead.handled, dead.text);
        }
    }

    /// Gives all messages of a batch up, for one reason.
    pub fn refuse_batch(&self, mut batch: Batch, reason: DeadReason, handled: Handled, text: &str) {
        let (handle, origin) = (batch.handle(), batch.origin());
        while let Some((item, _)) = batch.take() {
            let reply = ReplyPort::of(self, origin, item.reply);
            let dead = Dead::new(reason, handled, self.id(), text);
            self.refuse_message(handle, origin, item.tag, reply, dead);
        }
    }

    /// Counts a message of this context that could not leave, and for which nobody waits, as a dead letter.
    pub fn dead_letter(&self, to: Address, tag: u64, dead: &Dead) {
        self.bury(to, Origin::own(self.id()), tag, dead);
    }

    pub(crate) fn bury(&self, to: Address, from: Origin, tag: u64, dead: &Dead) {
        if to.handle.is_reserved() {
            return;
        }
        self.0.counters.dead(dead.reason, 1);
        let count = self.0.counters.dead_of(dead.reason);
        if count.is_power_of_two() || self.0.dead_letters.has_subscribers() {
            self.0.dead_letters.publish(DeadLetter { to, from, tag, dead: dead.clone() }, count);
        }
    }

    /// Ends a wait with an answer from `source`.
    pub(crate) fn complete(&self, handle: Handle, source: ContextId, outcome: Outcome) {
        let waiter = self.0.pending.lock().answer(handle, source);
        match waiter {
            // A caller that has given up meanwhile needs no answer.
            Ok(waiter) => drop(waiter.send(outcome)),
            Err(actogen_core::pending::NotAwaited::Unknown) => {
                self.0.counters.dropped_notices.add(1)
            }
            Err(actogen_core::pending::NotAwaited::Stranger { asked }) => {
                let kind = actogen_core::offence::OffenceKind::StrangersAnswer;
                self.offence(&actogen_core::offence::Offence {
                    kind,
                    offender: source,
                    about: asked,
                });
            }
        }
    }

    /// Sends an answer to a reply handle of another context, or ends the wait in this one.
    pub(crate) fn answer(&self, to: ContextId, handle: Handle, kind: Kind, payload: &[u8]) {
        if to == self.id() {
            let outcome = match kind {
                Kind::Failed => Outcome::Failed(String::from_utf8_lossy(payload).into_owned()),
                _ => Outcome::Reply(bytes::Bytes::copy_from_slice(payload)),
            };
            return self.complete(handle, to, outcome);
        }
        if payload.len() > self.max_message() {
            let text = format!(
                "the answer has {} bytes, the limit on the way is {}",
                payload.len(),
                self.max_message()
            );
            let dead = Dead::new(DeadReason::TooLarge, Handled::Yes, self.id(), text);
            return self.answer_dead(to, handle, &dead);
        }
        if self.send_answer(to, handle, kind, payload, Class::Answer) == Err(LaneError::Full) {
            let text = format!("the answer of {} found no room on the way", self.id());
            let dead = Dead::new(DeadReason::Congested, Handled::Yes, self.id(), text);
            self.answer_dead(to, handle, &dead);
        }
    }

    /// Sends a dead reply to a reply handle, or ends the wait in this context.
    pub(crate) fn answer_dead(&self, to: ContextId, handle: Handle, dead: &Dead) {
        if to == self.id() {
            return self.complete(handle, to, Outcome::Dead(dead.clone()));
        }
        let mut payload = Vec::new();
        dead.encode(&mut payload);
        // A dead reply that cannot go causes no other: the asker learns of the lost route by its withdrawal.
        if self.send_answer(to, handle, Kind::Dead, &payload, Class::Notice).is_err() {
            self.0.counters.dropped_notices.add(1);
        }
    }

    fn send_answer(
        &self,
        to: ContextId,
        handle: Handle,
        kind: Kind,
        payload: &[u8],
        class: Class,
    ) -> Result<(), LaneError> {
        let Verdict::Forward(id) = self.routes().judge(None, to, None, MAX_HOPS) else {
            return Err(LaneError::Closed);
        };
        let link = self.routes().link_to(to, id).ok_or(LaneError::Closed)?;
        let mut header = Header::to(handle).kind(kind);
        if link.peer != to {
            header.destination = Some(Destination { context: to, incarnation: None });
        }
        link.lane(handle.stream()).append((to, handle), &header, &[payload], class)
    }
}

/// A request under way. Resolves to its [`Outcome`]; dropping it stops the wait.
#[derive(Debug)]
#[must_use = "a call does nothing unless it is awaited"]
pub struct Call {
    pub(crate) context: Context,
    pub(crate) handle: Handle,
    asked: Address,
    /// The request is on its way: whoever gives the call up says so there.
    has_left: bool,
    answer: oneshot::Receiver<Outcome>,
}

impl Call {
    /// Where the answer goes.
    pub fn reply_handle(&self) -> Handle {
        self.handle
    }

    /// Notes that the request has left. Dropping the call before its answer gives the request up at the other side as well, if that
    /// has not begun to handle it.
    pub fn note_left(&mut self) {
        self.has_left = true;
    }
}

impl Future for Call {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.answer).poll(cx).map(|answer| {
            answer.unwrap_or_else(|_| {
                let text = format!("{} has shut down", self.context.id());
                Outcome::Dead(Dead::new(
                    DeadReason::Shutdown,
                    Handled::Maybe,
                    self.context.id(),
                    text,
                ))
            })
        })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let waited = self.context.0.pending.lock().cancel(self.handle).is_some();
        if waited && self.has_left {
            self.context.give_up(self.asked, self.handle);
        }
    }
}
