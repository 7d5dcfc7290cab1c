//! A message on its way into a mailbox, the port through which it is answered, and what an answer can be.

use std::{any::Any, fmt};

use actogen_core::{ContextId, Dead, DeadReason, Handle, Handled, policy::Origin, wire::Kind};
use bytes::Bytes;

use crate::context::Context;

/// A message that has passed routing and policy and waits for its mailbox.
#[derive(Debug)]
pub struct Envelope {
    /// Which type of message it is.
    pub tag: u64,
    /// Its content, as it came from elsewhere.
    pub body: Bytes,
    /// The codec of the body; 0 is postcard.
    pub codec: u8,
    /// The mailbox.
    pub handle: Handle,
    /// Who sent it and on whose authority.
    pub origin: Origin,
    /// Where the answer goes; `None` for a one-way message.
    pub reply: Option<ReplyPort>,
    /// What it counts against the mailbox's bound, in bytes.
    pub charge: usize,
}

/// Bytes that an envelope counts beyond its body: its own size in a queue.
pub const ENVELOPE_OVERHEAD: usize = 128;

/// How a request ended.
#[derive(Debug)]
pub enum Outcome {
    /// Answered, encoded.
    Reply(Bytes),
    /// Answered in this context, by a value of the reply's type.
    Local(Box<dyn Any + Send>),
    /// The handler failed or panicked; its text.
    Failed(String),
    /// Not answered, and why.
    Dead(Dead),
    /// Not answered within the context's limit for requests, for a call that [keeps it](crate::Call::keep_limit).
    Late,
}

/// Answers one request, once. Dropping it without an answer tells the asker `NoAnswer`.
pub struct ReplyPort {
    context: Context,
    to: ContextId,
    handle: Handle,
    answered: bool,
}

impl ReplyPort {
    /// The port for an answer to a sender's reply handle, if the sender gave one.
    pub fn of(context: &Context, sender: Origin, reply: Option<Handle>) -> Option<Self> {
        reply.map(|handle| Self::new(context.clone(), sender.source, handle))
    }

    pub(crate) fn new(context: Context, to: ContextId, handle: Handle) -> Self {
        Self { context, to, handle, answered: false }
    }

    /// Takes the handle out, for an answer that comes much later; no `NoAnswer` follows.
    pub(crate) fn into_handle(mut self) -> Handle {
        self.answered = true;
        self.handle
    }

    /// Whether the asker is in this context, so that [`Self::local`] will do.
    pub fn is_local(&self) -> bool {
        self.to == self.context.id()
    }

    /// Answers with an encoded value. One that is over the limit, or finds no room on the way, becomes a dead reply that says
    /// the request was handled.
    pub fn value(mut self, encoded: &[u8]) {
        self.answered = true;
        self.context.answer(self.to, self.handle, Kind::Reply, encoded);
    }

    /// As [`Self::value`], of a long value, which is not copied.
    pub fn value_owned(mut self, encoded: Bytes) {
        self.answered = true;
        self.context.answer_owned(self.to, self.handle, encoded);
    }

    /// Answers an asker in this context with the value itself.
    pub fn local(mut self, value: Box<dyn Any + Send>) {
        self.answered = true;
        self.context.complete(self.handle, self.to, Outcome::Local(value));
    }

    /// Says that the handler failed, with its text (cut at the largest message).
    pub fn failed(mut self, text: &str) {
        self.answered = true;
        let limit = self.context.max_message();
        let cut =
            (0..=text.len().min(limit)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        self.context.answer(self.to, self.handle, Kind::Failed, &text.as_bytes()[..cut]);
    }

    /// Says that the request is dead.
    pub fn dead(mut self, reason: DeadReason, handled: Handled, text: impl Into<String>) {
        self.answered = true;
        let dead = Dead::new(reason, handled, self.context.id(), text);
        self.context.answer_dead(self.to, self.handle, &dead);
    }
}

impl Drop for ReplyPort {
    fn drop(&mut self) {
        if !self.answered {
            let text = "the handler dropped the request without an answer";
            let dead = Dead::new(DeadReason::NoAnswer, Handled::Yes, self.context.id(), text);
            self.context.answer_dead(self.to, self.handle, &dead);
        }
    }
}

impl fmt::Debug for ReplyPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyPort")
            .field("to", &self.to)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}
