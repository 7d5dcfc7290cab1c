//! Messages that came together: one sender's to one mailbox, in one piece of a stream, which they share.

use std::ops::Range;

use actogen_core::{Handle, policy::Origin};
use bytes::Bytes;

use crate::{
    context::Context,
    envelope::{Body, ENVELOPE_OVERHEAD, Envelope, ReplyPort},
};

/// One message of a batch: what differs from the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Item {
    /// Which type of message it is.
    pub tag: u64,
    /// The codec of the body; 0 is postcard.
    pub codec: u8,
    /// Where the answer goes; `None` for a one-way message.
    pub reply: Option<Handle>,
    /// Where in the batch's bytes the body lies.
    begin: usize,
    end: usize,
}

impl Item {
    pub(crate) fn new(tag: u64, codec: u8, reply: Option<Handle>, body: Range<usize>) -> Self {
        Self { tag, codec, reply, begin: body.start, end: body.end }
    }

    /// Another message that differs in its body alone.
    #[inline]
    pub(crate) fn with_body(self, body: Range<usize>) -> Self {
        Self { begin: body.start, end: body.end, ..self }
    }

    /// What the message counts against the mailbox's bound, in bytes.
    #[inline]
    pub fn charge(&self) -> usize {
        self.end - self.begin + ENVELOPE_OVERHEAD
    }

    fn body(&self) -> Range<usize> {
        self.begin..self.end
    }
}

/// Messages in the order in which they were sent.
#[derive(Debug)]
pub struct Batch {
    handle: Handle,
    origin: Origin,
    bytes: Bytes,
    items: Vec<Item>,
    /// How many of the items have been taken.
    taken: usize,
}

impl Batch {
    pub(crate) fn new(handle: Handle, origin: Origin, bytes: Bytes) -> Self {
        Self { handle, origin, bytes, items: Vec::new(), taken: 0 }
    }

    /// Whether a message of this sender to this mailbox, lying in these bytes, belongs here.
    pub(crate) fn takes(&self, handle: Handle, origin: &Origin, bytes: &Bytes) -> bool {
        self.handle == handle && self.origin == *origin && self.lies_in(bytes)
    }

    pub(crate) fn lies_in(&self, bytes: &Bytes) -> bool {
        self.bytes.as_ptr() == bytes.as_ptr() && self.bytes.len() == bytes.len()
    }

    /// Makes room for as many messages more as will likely come.
    pub(crate) fn reserve(&mut self, items: usize) {
        self.items.reserve(items);
    }

    #[inline]
    pub(crate) fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    /// The mailbox.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Who sent the messages, and on whose authority.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.items.len() - self.taken
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is left, in order.
    pub fn items(&self) -> &[Item] {
        &self.items[self.taken..]
    }

    /// Takes the next message, with its body.
    #[inline]
    pub fn take(&mut self) -> Option<(Item, &[u8])> {
        let item = *self.items.get(self.taken)?;
        self.taken += 1;
        Some((item, &self.bytes[item.body()]))
    }

    /// Keeps the next `at` messages, and gives the others.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let items = self.items.split_off(self.taken + at);
        Self {
            handle: self.handle,
            origin: self.origin,
            bytes: self.bytes.clone(),
            items,
            taken: 0,
        }
    }

    /// Each message by itself.
    pub fn into_envelopes(self, context: &Context) -> Vec<Envelope> {
        let envelope = |item: &Item| Envelope {
            tag: item.tag,
            body: Body::Bytes(self.bytes.slice(item.body())),
            codec: item.codec,
            handle: self.handle,
            origin: self.origin,
            reply: ReplyPort::of(context, self.origin, item.reply),
            charge: item.charge(),
        };
        self.items().iter().map(envelope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actogen_core::ContextId;

    fn batch() -> Batch {
        let bytes = Bytes::from_static(b"onetwothree");
        let mut batch = Batch::new(Handle(4000), Origin::own(ContextId(3)), bytes);
        for (tag, body) in [(1, 0..3), (2, 3..6), (3, 6..11)] {
            batch.push(Item::new(tag, 0, None, body));
        }
        batch
    }

    #[test]
    fn messages_come_out_in_order_with_their_own_bodies() {
        let mut batch = batch();
        let mut got = Vec::new();
        while let Some((item, body)) = batch.take() {
            got.push((item.tag, body.to_vec(), item.charge() - ENVELOPE_OVERHEAD));
        }
        assert_eq!(
            got,
            [(1, b"one".to_vec(), 3), (2, b"two".to_vec(), 3), (3, b"three".to_vec(), 5)]
        );
        assert!(batch.is_empty() && batch.take().is_none());
    }

    #[test]
    fn a_batch_that_has_begun_is_split_behind_what_was_taken() {
        let mut batch = batch();
        batch.take().unwrap();
        let mut rest = batch.split_off(1);
        assert_eq!((batch.len(), rest.len()), (1, 1));
        assert_eq!(batch.take().map(|(item, _)| item.tag), Some(2));
        assert_eq!(rest.take().map(|(item, _)| item.tag), Some(3));
        assert!(batch.items().is_empty());
    }

    #[test]
    fn only_what_lies_in_the_same_bytes_belongs_together() {
        let batch = batch();
        let (handle, origin) = (batch.handle(), batch.origin());
        assert!(batch.takes(handle, &origin, &batch.bytes.clone()));
        assert!(!batch.takes(handle, &origin, &batch.bytes.slice(1..)));
        assert!(!batch.takes(handle, &origin, &Bytes::copy_from_slice(&batch.bytes)));
        assert!(!batch.takes(Handle(1), &origin, &batch.bytes));
        assert!(!batch.takes(handle, &Origin::own(ContextId(4)), &batch.bytes));
    }
}
