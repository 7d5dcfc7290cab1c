//! Messages that die in this context: answered if somebody waits, counted, and shown as dead letters.

use std::sync::Arc;

use actogen_core::{
    Address, Dead, DeadReason, Handle, Handled,
    policy::Origin,
    wire::{Destination, Header, Kind},
};

use crate::{
    batch::Batch,
    congestion::GONE,
    context::Context,
    dead_letters::DeadLetter,
    envelope::{Envelope, ReplyPort},
    hold::{Onward, Sort},
    lane::Class,
    link::LinkState,
};

impl Context {
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
        while let Some(message) = batch.take() {
            let reply = ReplyPort::of(self, origin, message.item.reply);
            let dead = Dead::new(reason, handled, self.id(), text);
            self.refuse_message(handle, origin, message.item.tag, reply, dead);
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

    /// Gives a frame up that came by this link, if that still stands: answers it if somebody waits, counts it, and shows it as a dead
    /// letter.
    pub(crate) fn kill_frame(
        &self,
        by: Option<&Arc<LinkState>>,
        header: &Header,
        origin: Origin,
        dead: &Dead,
    ) {
        if header.kind != Kind::Message {
            // A dead reply never causes another.
            return self.0.counters.dropped_notices.add(1);
        }
        // One long body is one message, however many fragments of it come.
        if header.fragment.is_none_or(|fragment| fragment.index == 0) {
            self.refuse_frame(by, header, origin, dead);
        }
    }

    /// As [`Self::kill_frame`], for a message.
    pub(crate) fn refuse_frame(
        &self,
        by: Option<&Arc<LinkState>>,
        header: &Header,
        origin: Origin,
        dead: &Dead,
    ) {
        self.bury(self.addressed(header), origin, 0, dead);
        if let Some(reply) = header.reply {
            match by {
                Some(link) => self.dead_reply(link, header, origin, reply, dead),
                None => self.0.counters.dropped_notices.add(1),
            }
        }
    }

    /// Sends a dead reply back the way the request came, in the name of whoever was asked (protocol rule 12).
    fn dead_reply(
        &self,
        link: &Arc<LinkState>,
        header: &Header,
        origin: Origin,
        reply: Handle,
        dead: &Dead,
    ) {
        let me = self.id();
        let asked = header.destination.map_or(me, |destination| destination.context);
        let (to, stream) = (origin.source, reply.stream());
        if asked == me && self.0.direct.is_in_use() {
            // In this context's own name it keeps its place among what this context sends.
            return self.answer_dead(to, reply, dead);
        }
        let mut back = Header::to(reply).kind(Kind::Dead);
        if to != link.peer {
            back.destination = Some(Destination { context: to, incarnation: None });
        }
        if asked != me {
            back.source = Some(asked);
            back.by_router = true;
        }
        let mut payload = Vec::new();
        dead.encode(&mut payload);
        let sent = if link.hold.holds(stream, to, Sort::Notice) {
            // Behind what the one who was asked has sent before.
            let (header, payload, sort) = (&back, &payload[..], Sort::Notice);
            self.hold_back(link, Onward { from: GONE, to, stream, header, payload, sort })
        } else {
            link.lane(stream).append((to, reply), &back, &[&payload], Class::Notice)
        };
        if sent.is_err() {
            self.0.counters.dropped_notices.add(1);
        }
    }

    /// Whom a frame is for.
    pub(crate) fn addressed(&self, header: &Header) -> Address {
        let (to, incarnation) = match header.destination {
            Some(Destination { context, incarnation }) => {
                (context, incarnation.unwrap_or_default())
            }
            None => (self.id(), self.incarnation()),
        };
        Address { context: to, handle: header.handle, incarnation }
    }
}
