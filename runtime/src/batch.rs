//! Messages that came together: one sender's to one mailbox, in one piece of a stream, which they share.

use std::ops::Range;

use actogen_core::{
    Handle,
    policy::Origin,
    wire::{self, Run, TraceContext},
};
use bytes::Bytes;

use crate::{
    context::Context,
    envelope::{ENVELOPE_OVERHEAD, Envelope, ReplyPort},
};

/// One message of a batch: what differs from the others.
#[derive(Clone, Copy, Debug)]
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
    /// How many repetitions follow it there, as they came: messages that differ from it in their bodies alone.
    repetitions: usize,
}

impl Item {
    pub(crate) fn new(tag: u64, codec: u8, reply: Option<Handle>, body: Range<usize>) -> Self {
        Self { tag, codec, reply, begin: body.start, end: body.end, repetitions: 0 }
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

/// A message that is taken out of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// The mailbox.
    pub handle: Handle,
    /// Who sent it, and on whose authority.
    pub origin: &'a Origin,
    /// What it is.
    pub item: &'a Item,
    /// Its body.
    pub body: &'a [u8],
}

/// Messages in the order in which they were sent.
#[derive(Clone, Debug)]
pub struct Batch {
    handle: Handle,
    origin: Origin,
    /// The span that sent all of them. Boxed, since most were sent in none.
    trace: Option<Box<TraceContext>>,
    bytes: Bytes,
    items: Vec<Item>,
    /// The item that has been taken last, or is the first to be; its place moves on over its repetitions.
    at: usize,
    has_begun: bool,
    /// How many messages are left; the items may hold more.
    len: usize,
    /// What those count together.
    charge: usize,
    /// Where in the bytes all of it lies.
    span: Range<usize>,
}

/// Bytes of which less than half are a batch's own are let go, when they are more than this.
const SPARSE: usize = 4 * 1024;

/// Whether so few of the bytes are used that a copy of those is better than a hold on all.
pub(crate) fn is_sparse(used: usize, bytes: &Bytes) -> bool {
    bytes.len() > SPARSE && used * 2 < bytes.len()
}

impl Batch {
    pub(crate) fn new(handle: Handle, origin: Origin, bytes: Bytes) -> Self {
        Self {
            handle,
            origin,
            trace: None,
            bytes,
            items: Vec::new(),
            at: 0,
            has_begun: false,
            len: 0,
            charge: 0,
            span: 0..0,
        }
    }

    /// A batch of messages that this span has sent.
    pub(crate) fn of_trace(mut self, trace: Option<TraceContext>) -> Self {
        self.trace = trace.map(Box::new);
        self
    }

    /// Whether a message of this sender to this mailbox, sent in this span and lying in these bytes, belongs here.
    pub(crate) fn takes(
        &self,
        handle: Handle,
        origin: &Origin,
        trace: Option<&TraceContext>,
        bytes: &Bytes,
    ) -> bool {
        self.handle == handle
            && self.origin == *origin
            && self.trace.as_deref() == trace
            && self.bytes.as_ptr() == bytes.as_ptr()
            && self.bytes.len() == bytes.len()
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.len += 1;
        self.charge += item.charge();
        self.extend_span(item.begin, item.end);
        self.items.push(item);
    }

    fn extend_span(&mut self, begin: usize, end: usize) {
        let begin = if self.items.is_empty() { begin } else { self.span.start };
        self.span = begin..end;
    }

    /// Lets the bytes go that are none of its own, if they are the most: a small message must not hold a large chunk for as long as
    /// it waits. Before the first is taken.
    #[must_use]
    pub(crate) fn compact(mut self) -> Self {
        if is_sparse(self.span.len(), &self.bytes) {
            let begin = self.span.start;
            self.bytes = Bytes::copy_from_slice(&self.bytes[self.span]);
            self.span = 0..self.bytes.len();
            for item in &mut self.items {
                (item.begin, item.end) = (item.begin - begin, item.end - begin);
            }
        }
        self
    }

    /// Takes a run of messages that are like `item` but for their bodies. It lies in the batch's bytes.
    pub(crate) fn push_run(&mut self, item: Item, run: &Run) {
        self.len += run.frames;
        self.charge += run.bodies + run.frames * ENVELOPE_OVERHEAD;
        let Range { start: begin, end } = wire::next_of_run(&self.bytes, run.bytes.start);
        self.extend_span(begin, run.bytes.end);
        self.items.push(Item { begin, end, repetitions: run.frames - 1, ..item });
    }

    /// The mailbox.
    pub fn handle(&self) -> Handle {
        self.handle
    }

    /// Who sent the messages, and on whose authority.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// The span that sent the messages, as their sender says; its ids name something.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_deref()
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What those that are left count together against the mailbox's bound, in bytes.
    pub fn charge(&self) -> usize {
        self.charge
    }

    /// What each of those that are left counts.
    pub fn charges(&self) -> impl Iterator<Item = usize> + use<> {
        let mut rest = self.clone();
        std::iter::from_fn(move || rest.step().map(Item::charge))
    }

    /// Takes the next message.
    pub fn take(&mut self) -> Option<Taken<'_>> {
        self.step()?;
        Some(self.taken())
    }

    /// Takes the next message if it is of this type and in this codec.
    #[inline]
    pub fn take_alike(&mut self, tag: u64, codec: u8) -> Option<Taken<'_>> {
        let next = self.next()?;
        if (next.tag, next.codec) != (tag, codec) {
            return None;
        }
        self.step()?;
        Some(self.taken())
    }

    /// The item that the next message belongs to.
    #[inline]
    pub fn next(&self) -> Option<&Item> {
        let is_after = self.has_begun && self.items[self.at].repetitions == 0;
        (self.len > 0).then(|| &self.items[self.at + usize::from(is_after)])
    }

    #[inline]
    fn taken(&self) -> Taken<'_> {
        let item = &self.items[self.at];
        let body = &self.bytes[item.body()];
        Taken { handle: self.handle, origin: &self.origin, item, body }
    }

    #[inline]
    fn step(&mut self) -> Option<&Item> {
        self.len = self.len.checked_sub(1)?;
        let item = &mut self.items[self.at];
        // Within a run no more is looked at than has to be.
        if self.has_begun && item.repetitions > 0 {
            let Range { start: begin, end } = wire::next_of_run(&self.bytes, item.end);
            (item.begin, item.end, item.repetitions) = (begin, end, item.repetitions - 1);
        } else {
            self.at += usize::from(self.has_begun);
            self.has_begun = true;
        }
        let item = &self.items[self.at];
        self.charge -= item.charge();
        Some(item)
    }

    /// Keeps the next `at` messages, and gives the others.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let mut rest = self.clone();
        for _ in 0..at {
            rest.step();
        }
        self.len -= rest.len;
        self.charge -= rest.charge;
        rest
    }

    /// Each message by itself.
    pub fn into_envelopes(self, context: &Context) -> Vec<Envelope> {
        let envelope = |item: Item| Envelope {
            tag: item.tag,
            body: self.bytes.slice(item.body()),
            codec: item.codec,
            handle: self.handle,
            origin: self.origin,
            reply: ReplyPort::of(context, self.origin, item.reply),
            charge: item.charge(),
        };
        let mut items = self.clone();
        std::iter::from_fn(|| items.step().copied()).map(envelope).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actogen_core::{
        ContextId,
        wire::{FrameReader, Header, put_frame, put_repeated},
    };

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
        while let Some(Taken { item, body, .. }) = batch.take() {
            got.push((item.tag, body.to_vec(), item.charge() - ENVELOPE_OVERHEAD));
        }
        assert_eq!(
            got,
            [(1, b"one".to_vec(), 3), (2, b"two".to_vec(), 3), (3, b"three".to_vec(), 5)]
        );
        assert!(batch.is_empty() && batch.take().is_none());
    }

    /// A message, two repetitions of it, and another message, as they come by a stream.
    fn with_a_run() -> Batch {
        let to = Header::to(Handle(4000));
        let mut stream = Vec::new();
        put_frame(&to, &[&7_u64.to_le_bytes(), b"one"], &mut stream);
        put_repeated(b"two", &mut stream);
        put_repeated(b"three", &mut stream);
        put_frame(&to, &[&8_u64.to_le_bytes(), b"four"], &mut stream);
        let mut frames = FrameReader::new();
        frames.feed(stream.into());
        let chunk = frames.chunk().clone();
        let mut batch = Batch::new(Handle(4000), Origin::own(ContextId(3)), chunk);
        let item = |frames: &mut FrameReader, tag| {
            let payload = frames.next_placed().unwrap().unwrap().payload;
            Item::new(tag, 0, None, payload.start + wire::TAG..payload.end)
        };
        let first = item(&mut frames, 7);
        batch.push(first);
        batch.push_run(first, &frames.next_run().unwrap());
        batch.push(item(&mut frames, 8));
        batch
    }

    fn rest(mut batch: Batch) -> Vec<(u64, String)> {
        let mut got = Vec::new();
        while let Some(Taken { item, body, .. }) = batch.take() {
            got.push((item.tag, String::from_utf8(body.to_vec()).unwrap()));
        }
        assert_eq!((batch.len(), batch.charge()), (0, 0));
        got
    }

    #[test]
    fn a_run_is_as_many_messages_as_it_has_repetitions() {
        let batch = with_a_run();
        assert_eq!((batch.len(), batch.charge()), (4, 15 + 4 * ENVELOPE_OVERHEAD));
        let charges: Vec<_> = batch.charges().map(|charge| charge - ENVELOPE_OVERHEAD).collect();
        assert_eq!(charges, [3, 3, 5, 4]);
        let message = |tag, body: &str| (tag, body.to_owned());
        let expected =
            [message(7, "one"), message(7, "two"), message(7, "three"), message(8, "four")];
        assert_eq!(rest(batch), expected);
    }

    #[test]
    fn a_batch_that_lies_in_much_else_keeps_what_is_its_own() {
        let small = with_a_run();
        let mut large = small.clone();
        large.bytes = [&[0; SPARSE][..], &small.bytes].concat().into();
        for item in &mut large.items {
            (item.begin, item.end) = (item.begin + SPARSE, item.end + SPARSE);
        }
        large.span = small.span.start + SPARSE..small.span.end + SPARSE;
        let large = large.compact();
        assert_eq!(large.bytes.len(), small.span.len());
        assert_eq!(rest(large), rest(small.clone()));
        let compact = small.clone().compact();
        assert_eq!(compact.bytes.as_ptr(), small.bytes.as_ptr(), "nothing to gain");
    }

    #[test]
    fn a_batch_is_split_between_any_two_messages() {
        let whole = rest(with_a_run());
        for (taken, at) in [(0, 0), (0, 1), (0, 2), (1, 1), (2, 1), (1, 3), (0, 4)] {
            let mut batch = with_a_run();
            for _ in 0..taken {
                batch.take().unwrap();
            }
            let behind = batch.split_off(at);
            assert_eq!((batch.len(), behind.len()), (at, 4 - taken - at));
            let sum = batch.charges().sum::<usize>();
            assert_eq!(batch.charge(), sum);
            assert_eq!([rest(batch), rest(behind)].concat(), whole[taken..]);
        }
    }

    #[test]
    fn only_what_lies_in_the_same_bytes_belongs_together() {
        let batch = batch();
        let (handle, origin) = (batch.handle(), batch.origin());
        assert!(batch.takes(handle, &origin, None, &batch.bytes.clone()));
        assert!(!batch.takes(handle, &origin, None, &batch.bytes.slice(1..)));
        assert!(!batch.takes(handle, &origin, None, &Bytes::copy_from_slice(&batch.bytes)));
        assert!(!batch.takes(Handle(1), &origin, None, &batch.bytes));
        assert!(!batch.takes(handle, &Origin::own(ContextId(4)), None, &batch.bytes));
        let span = TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 0 };
        assert!(!batch.takes(handle, &origin, Some(&span), &batch.bytes));
        let other = TraceContext { span_id: [3; 8], ..span };
        let batch = batch.of_trace(Some(span));
        assert!(batch.takes(handle, &origin, Some(&span), &batch.bytes));
        for trace in [None, Some(&other)] {
            assert!(!batch.takes(handle, &origin, trace, &batch.bytes));
        }
    }
}
