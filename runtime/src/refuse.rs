//! Messages that die in this context: answered if somebody waits, counted, and shown as dead letters.

use actogen_core::{Address, Dead, DeadReason, Handle, Handled, policy::Origin};

use crate::{
    batch::Batch,
    context::Context,
    dead_letters::DeadLetter,
    envelope::{Envelope, ReplyPort},
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
}
