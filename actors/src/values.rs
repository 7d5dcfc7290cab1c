//! Messages from senders of the same context, as they wait in an intake: unencoded, and those of one type in one run.
//!
//! A box for each would cost more than all the rest of a local send. A run grows until its first room is used up and is never moved;
//! the next one has twice the room, up to a bound.

use std::{any::Any, cell::Cell, collections::VecDeque, vec};

use actogen_runtime::{core::Handle, envelope::ENVELOPE_OVERHEAD};

use crate::message::{Codec, CodecError, RemoteMessage};

/// The most bytes of one run.
const RUN_BYTES: usize = 16 * 1024;

/// The messages that a run has room for at first.
const FEW: usize = 4;

/// What is known of the next message of a run beside its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) tag: u64,
    /// What it counts against the mailbox's bound, in bytes.
    pub(crate) charge: usize,
    pub(crate) reply: Option<Handle>,
}

/// A message for somebody who passes it on.
#[derive(Debug)]
pub(crate) struct EncodedValue {
    pub(crate) reply: Option<Handle>,
    pub(crate) body: Result<Vec<u8>, CodecError>,
}

/// A run of messages of one type, whichever that is.
pub(crate) trait Run: Any + Send {
    /// How many are left.
    fn len(&self) -> usize;

    /// The next one, which stays until it is taken or dropped.
    fn next(&self) -> Option<Next>;

    /// Drops the next one.
    fn drop_next(&mut self);

    /// Takes the next one, encoded.
    fn take_encoded(&mut self) -> Option<EncodedValue>;

    /// The codec in which its messages are encoded.
    fn codec(&self) -> Codec;

    /// Whether it has room for few messages only, so that it may be kept when it is empty.
    fn is_short(&self) -> bool;
}

impl std::fmt::Debug for dyn Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a run of {} values", self.len())
    }
}

/// A run of messages of type `M`: all of them one-way messages, or all of them requests.
pub(crate) struct Values<M> {
    /// Those that have been begun on; the others follow them.
    draining: vec::IntoIter<Cell<M>>,
    /// In cells, whose content no `Option` looks into: it would move a message in pieces.
    filling: Vec<Cell<M>>,
    /// The handle for the answer to each, if they are requests.
    replies: VecDeque<Handle>,
    /// How many it has room for at once, filling.
    room: usize,
}

impl<M: RemoteMessage> Values<M> {
    /// What each counts against the mailbox's bound, in bytes.
    pub(crate) const CHARGE: usize = size_of::<M>() + ENVELOPE_OVERHEAD;

    /// The most messages of one run.
    const MOST: usize = {
        let size = size_of::<M>();
        if size * 4 >= RUN_BYTES { 1 } else { RUN_BYTES / if size == 0 { 1 } else { size } }
    };

    /// A run that begins with this message. It is short: most are.
    pub(crate) fn begin(message: M, reply: Option<Handle>) -> Self {
        Self::with_room(FEW, message, reply)
    }

    /// A run to follow this one, which is full.
    pub(crate) fn followed_by(&self, message: M, reply: Option<Handle>) -> Self {
        Self::with_room(self.room.saturating_mul(2), message, reply)
    }

    /// Lets a run that is empty begin anew with this message.
    pub(crate) fn begin_again(&mut self, message: M, reply: Option<Handle>) {
        if self.filling.capacity() == 0 {
            self.filling.reserve_exact(self.room);
        }
        self.put(message, reply);
    }

    fn with_room(messages: usize, message: M, reply: Option<Handle>) -> Self {
        let room = messages.min(Self::MOST);
        let (draining, filling) = (Vec::new().into_iter(), Vec::with_capacity(room));
        let mut run = Self { draining, filling, replies: VecDeque::new(), room };
        run.put(message, reply);
        run
    }

    /// Whether a message, a request or none, belongs here, and there is room for it without moving the others.
    #[inline]
    pub(crate) fn takes(&self, reply: Option<Handle>) -> bool {
        self.filling.len() < self.filling.capacity() && reply.is_some() != self.replies.is_empty()
    }

    /// Adds a message.
    #[inline]
    pub(crate) fn put(&mut self, message: M, reply: Option<Handle>) {
        self.filling.push(Cell::new(message));
        if let Some(reply) = reply {
            self.replies.push_back(reply);
        }
    }

    /// Takes the handle for the answer to the next message, if that is a request. The message itself must be taken after it.
    #[inline]
    pub(crate) fn take_reply(&mut self) -> Option<Handle> {
        if self.replies.is_empty() { None } else { self.replies.pop_front() }
    }

    /// Takes the next message, in the cell it waited in: to move it costs as much as to take it.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<Cell<M>> {
        if self.draining.len() == 0 {
            self.draining = std::mem::take(&mut self.filling).into_iter();
        }
        self.draining.next()
    }
}

impl<M: RemoteMessage> Run for Values<M> {
    fn len(&self) -> usize {
        self.draining.len() + self.filling.len()
    }

    fn next(&self) -> Option<Next> {
        let reply = self.replies.front().copied();
        (self.len() > 0).then_some(Next { tag: M::TAG.get(), charge: Self::CHARGE, reply })
    }

    fn drop_next(&mut self) {
        self.take_reply();
        self.take();
    }

    fn take_encoded(&mut self) -> Option<EncodedValue> {
        let reply = self.take_reply();
        let message = self.take()?.into_inner();
        let mut body = Vec::new();
        let encoded = message.encode(M::CODEC, &mut body);
        Some(EncodedValue { reply, body: encoded.map(|()| body) })
    }

    fn codec(&self) -> Codec {
        M::CODEC
    }

    fn is_short(&self) -> bool {
        self.room <= FEW && self.replies.capacity() <= FEW
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Tag;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Number(u32);

    impl actix::Message for Number {
        type Result = ();
    }

    impl RemoteMessage for Number {
        const NAME: &'static str = "values.Number";
        const VERSION: u32 = 1;
        const TAG: Tag = Tag::new(7);
        const CODEC: Codec = Codec::Postcard;
    }

    fn taken_of(run: &mut Values<Number>) -> Option<Number> {
        run.take().map(Cell::into_inner)
    }

    #[test]
    fn a_run_keeps_its_order_while_it_is_filled_and_drained_in_turns() {
        let mut run = Values::begin(Number(0), None);
        let (mut put, mut taken) = (1, 0);
        while run.takes(None) {
            run.put(Number(put), None);
            put += 1;
            if put % 2 == 0 {
                assert_eq!((run.take_reply(), taken_of(&mut run)), (None, Some(Number(taken))));
                taken += 1;
            }
        }
        assert_eq!(run.len() as u32, put - taken);
        while let Some(number) = taken_of(&mut run) {
            assert_eq!(number, Number(taken));
            taken += 1;
        }
        assert_eq!(taken, put);
        assert!(run.next().is_none());
    }

    #[test]
    fn a_short_run_that_is_empty_begins_again() {
        let mut run = Values::begin(Number(0), None);
        assert_eq!(taken_of(&mut run), Some(Number(0)));
        assert!(run.is_short() && !run.followed_by(Number(1), None).is_short());
        run.begin_again(Number(2), Some(Handle(4001)));
        assert!(run.takes(Some(Handle(4002))) && !run.takes(None));
        assert_eq!((run.take_reply(), taken_of(&mut run)), (Some(Handle(4001)), Some(Number(2))));
        assert_eq!(run.len(), 0);
    }

    #[test]
    fn requests_and_one_way_messages_have_runs_of_their_own() {
        let mut run = Values::begin(Number(1), Some(Handle(4001)));
        assert!(run.takes(Some(Handle(4002))) && !run.takes(None));
        run.put(Number(2), Some(Handle(4002)));
        assert_eq!(run.next().unwrap().reply, Some(Handle(4001)));
        run.drop_next();
        assert_eq!((run.take_reply(), taken_of(&mut run)), (Some(Handle(4002)), Some(Number(2))));
        assert_eq!((run.take_reply(), taken_of(&mut run)), (None, None));
        assert!(!Values::begin(Number(1), None).takes(Some(Handle(4001))));
    }

    #[derive(Debug, crate::RemoteMessage, serde::Serialize, serde::Deserialize)]
    #[remote(name = "test.Nothing", crate = crate)]
    struct Nothing;

    #[test]
    fn a_run_is_followed_by_a_longer_one_up_to_a_bound() {
        let mut run = Values::begin(Number(0), None);
        let mut longest = 0;
        for _ in 0..20 {
            while run.takes(None) {
                run.put(Number(0), None);
            }
            longest = longest.max(run.len());
            run = run.followed_by(Number(0), None);
        }
        assert_eq!(longest, RUN_BYTES / size_of::<Number>());
    }
    #[test]
    fn messages_without_a_size_follow_each_other() {
        let requests = Values::begin(Nothing, Some(Handle(1000)));
        let run = requests.followed_by(Nothing, None).followed_by(Nothing, Some(Handle(1001)));
        assert_eq!(run.len(), 1);
    }
}
