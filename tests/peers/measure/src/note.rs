//! The message that is measured: as in `actogen-bench`, a number of 8 bytes and a payload.

use std::{borrow::Cow, sync::LazyLock};

use serde::{Deserialize, Deserializer, Serialize};

/// Bytes of a small message, before it is encoded: a number of 8 bytes and 56 of payload.
pub const SMALL: usize = 64;
/// Bytes of a message of 1 KiB.
pub const MEDIUM: usize = 1024;

static PAYLOAD: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0x5a; MEDIUM]);

/// What fills a message of `bytes` altogether, number included.
pub fn payload(bytes: usize) -> &'static [u8] {
    &PAYLOAD[..bytes - size_of::<u64>()]
}

/// A number and some bytes.
///
/// To make one allocates nothing, so that what a sender does with it is all that is measured; to decode one allocates its payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Counts the messages of a run, from 0.
    pub number: u64,
    /// Filled by [`payload`].
    #[serde(serialize_with = "serde_bytes::serialize", deserialize_with = "owned")]
    pub payload: Cow<'static, [u8]>,
}

impl Note {
    /// A note of `bytes` altogether, number included.
    pub fn new(number: u64, bytes: usize) -> Self {
        Self { number, payload: Cow::Borrowed(payload(bytes)) }
    }
}

/// Reads bytes into a `Vec` of their own.
fn owned<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'static, [u8]>, D::Error> {
    serde_bytes::deserialize::<Vec<u8>, D>(from).map(Cow::Owned)
}

/// What a receiver has handled: how many, and a sum over all of them, so that no handler's work can be left out by the compiler and no
/// message can be taken twice or for another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Messages.
    pub messages: u64,
    /// Their numbers and the lengths of their payloads, added up and wrapped.
    pub sum: u64,
}

impl Tally {
    /// Counts a message. To be called by a handler.
    #[inline]
    pub fn count(&mut self, number: u64, payload: &[u8]) {
        self.messages += 1;
        let payload = std::hint::black_box(payload);
        self.sum = self.sum.wrapping_add(number).wrapping_add(payload.len() as u64);
    }

    /// What was counted until now; counting begins anew.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { messages: self.messages + other.messages, sum: self.sum.wrapping_add(other.sum) }
    }

    /// What counting the first `messages` of so many bytes gives.
    pub fn of(messages: u64, bytes: usize) -> Self {
        let numbers = u128::from(messages) * u128::from(messages.saturating_sub(1)) / 2;
        let lengths = u128::from(messages) * (bytes - size_of::<u64>()) as u128;
        // Wraps as `count` does.
        Self { messages, sum: (numbers + lengths) as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_what_counting_gives() {
        for (messages, bytes) in [(0, SMALL), (1, SMALL), (1000, SMALL), (7, MEDIUM)] {
            let mut tally = Tally::default();
            for number in 0..messages {
                let note = Note::new(number, bytes);
                tally.count(note.number, &note.payload);
            }
            assert_eq!(tally, Tally::of(messages, bytes));
        }
    }

    #[test]
    fn tallies_add_up_and_begin_anew() {
        let mut tally = Tally::default();
        tally.count(0, payload(SMALL));
        let first = tally.take();
        tally.count(1, payload(SMALL));
        assert_eq!(first.and(tally.take()), Tally::of(2, SMALL));
        assert_eq!(tally, Tally::default());
    }

    #[test]
    fn a_note_has_the_bytes_it_says() {
        assert_eq!(Note::new(3, SMALL).payload.len(), 56);
        assert_eq!(Note::new(3, MEDIUM).payload.len(), 1016);
    }
}
