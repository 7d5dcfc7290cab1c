//! The message that is measured, by us and by the references alike.

use std::{borrow::Cow, sync::LazyLock};

use serde::{Deserialize, Deserializer, Serialize};

/// Bytes of a small message, before it is encoded: a number of 8 bytes and 56 of payload.
pub(crate) const SMALL: usize = 64;
/// Bytes of a message of 1 KiB.
pub(crate) const MEDIUM: usize = 1024;
/// Bytes of payload of a message of 1 MiB.
pub(crate) const LARGE: usize = 1024 * 1024;

/// The most that a message of default limits holds, in bytes.
pub(crate) const HUGE: usize = 16 * 1024 * 1024;

/// The largest of all, for which the limits have to be raised, in bytes.
pub(crate) const VAST: usize = 320 * 1024 * 1024;

static PAYLOAD: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0x5a; LARGE]);
/// Apart, because most runs never need it and some look at what a process holds.
static HUGE_PAYLOAD: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0x5a; HUGE]);

static VAST_PAYLOAD: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0x5a; VAST]);

/// What fills every message, as many bytes as asked for and at most [`VAST`].
pub(crate) fn payload(bytes: usize) -> &'static [u8] {
    let longest: &[u8] = if bytes <= LARGE {
        &PAYLOAD
    } else if bytes <= HUGE {
        &HUGE_PAYLOAD
    } else {
        &VAST_PAYLOAD
    };
    &longest[..bytes]
}

/// A number and some bytes.
///
/// To make one allocates nothing, so that what a sender does with it is all that is measured; to decode one allocates its payload, as an
/// ordinary message with a `Vec` does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) number: u64,
    #[serde(serialize_with = "serde_bytes::serialize", deserialize_with = "owned")]
    pub(crate) payload: Cow<'static, [u8]>,
}

impl Note {
    /// A note of `bytes` altogether, number included.
    pub(crate) fn new(number: u64, bytes: usize) -> Self {
        let payload = payload(bytes - size_of::<u64>());
        Self { number, payload: Cow::Borrowed(payload) }
    }
}

/// Reads bytes into a `Vec` of their own.
pub(crate) fn owned<'de, D: Deserializer<'de>>(from: D) -> Result<Cow<'static, [u8]>, D::Error> {
    serde_bytes::deserialize::<Vec<u8>, D>(from).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_owned() {
        let note = Note::new(7, SMALL);
        assert_eq!(note.payload.len(), 56);
        let bytes = postcard::to_stdvec(&note).unwrap();
        // One byte each for the number and the payload's length.
        assert_eq!(bytes.len(), 58);
        let back: Note = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(back, note);
        assert!(matches!(back.payload, Cow::Owned(_)));
    }

    #[test]
    fn the_largest_note_is_within_what_a_message_may_have() {
        let limit = actogen::Limits::default().max_message;
        // The largest number that a long run comes to.
        let bytes = postcard::to_stdvec(&Note::new(1 << 27, HUGE)).unwrap();
        assert_eq!(HUGE, limit);
        assert!(bytes.len() <= limit, "{}", bytes.len());
    }
}
