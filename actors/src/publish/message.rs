//! What is signed of a message: its id, its place in its series, who must acknowledge it and how, and one hash over all of it.

use std::fmt;

use actogen_runtime::core::ContextId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{context::Context, topics::Carried};

/// What publishers sign for. No claim of another domain can stand for one of this.
pub(super) const DOMAIN: &str = "actogen publish v1";

/// The most names that one publish may require.
pub(super) const MOST_REQUIRED: usize = 64;

/// The longest required name, in bytes; longer ones are of no certificate.
const LONGEST_NAME: usize = 256;

/// The largest certificate that is looked at, in bytes: those of a mesh are at most 8 KiB.
pub(super) const MOST_CERTIFICATE: usize = 16 * 1024;

/// The longest signature that is looked at, in bytes.
pub(super) const MOST_SIGNATURE: usize = 1024;

/// Names a message for those who acknowledge it and for those who have had it before. Publishing under the id of an earlier publish says
/// the same again: who has handled it acknowledges it once more, and does not handle it twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId(u128);

impl MessageId {
    /// The id with this number, such as one that was kept over a restart.
    pub const fn new(number: u128) -> Self {
        Self(number)
    }

    /// An id that nobody has had before and nobody can guess.
    pub fn fresh(context: &Context) -> Self {
        let [high, low] = [context.fresh_number(), context.fresh_number()];
        Self(u128::from(high) << 64 | u128::from(low))
    }

    /// The id's number.
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message's place among those that its publisher has signed under its topic. A publisher begins a new series, from 1, with each of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sequence {
    /// The series: drawn by chance.
    pub series: u64,
    /// The number in it, from 1.
    pub number: u64,
}

/// How far a recipient has come with a message when it acknowledges it. A higher level includes the lower ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum AckLevel {
    /// A consumer's context has it, in memory.
    Received,
    /// The consumer has stored it, so that its own crash does not lose it.
    Durable,
    /// The consumer has handled it, and says so.
    #[default]
    Processed,
}

impl AckLevel {
    /// The level's number in what is signed.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Received => 1,
            Self::Durable => 2,
            Self::Processed => 3,
        }
    }
}

/// A hash over all that a message is.
pub(super) type MessageHash = [u8; 32];

/// What a signed message has beside a plain one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signed {
    pub(super) id: MessageId,
    /// Drawn when the publisher began to count under this topic.
    pub(super) series: u64,
    /// From 1; the same when it is sent again.
    pub(super) sequence: u64,
    pub(super) level: AckLevel,
    /// In order, each once; empty where nobody need acknowledge.
    pub(super) required: Vec<String>,
    pub(super) certificate: Bytes,
    pub(super) signature: Bytes,
}

impl Signed {
    /// Whether it is within the bounds of what is looked at.
    pub(super) fn is_bounded(&self) -> bool {
        self.required.len() <= MOST_REQUIRED
            && self.required.iter().all(|name| name.len() <= LONGEST_NAME)
            && self.certificate.len() <= MOST_CERTIFICATE
            && self.signature.len() <= MOST_SIGNATURE
    }
}

/// Hashes parts, each behind its length: no two lists of parts have the same bytes.
struct Parts(blake3::Hasher);

impl Parts {
    fn new(label: &str) -> Self {
        Self(blake3::Hasher::new()).part(label.as_bytes())
    }

    fn part(mut self, part: &[u8]) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    fn number(self, number: u64) -> Self {
        self.part(&number.to_le_bytes())
    }

    fn finish(self) -> MessageHash {
        *self.0.finalize().as_bytes()
    }
}

fn content_parts(label: &str, carried: &Carried) -> Parts {
    Parts::new(label)
        .part(carried.topic.as_bytes())
        .number(carried.from.0)
        .number(carried.tag)
        .number(carried.codec.into())
        .part(&carried.body)
}

/// The hash that is signed and acknowledged: over all fields but certificate and signature, in one form. When a message is sent again it is
/// the same, also where the publisher's key has changed meanwhile.
pub(super) fn hash(carried: &Carried, signed: &Signed) -> MessageHash {
    let mut parts = content_parts(DOMAIN, carried)
        .part(&signed.id.0.to_le_bytes())
        .number(signed.series)
        .number(signed.sequence)
        .number(signed.level.number().into())
        .number(signed.required.len() as u64);
    for name in &signed.required {
        parts = parts.part(name.as_bytes());
    }
    parts.finish()
}

/// The hash of what a message says, whoever must acknowledge it: two messages of one id must agree in it.
pub(super) fn content(carried: &Carried) -> MessageHash {
    content_parts("actogen content v1", carried).finish()
}

/// Who has published, and as what.
pub(super) type Key = (ContextId, MessageId);

#[cfg(test)]
mod tests {
    use super::*;

    fn carried() -> Carried {
        let body = Bytes::from_static(b"body");
        Carried { topic: "a.b".into(), from: ContextId(7), tag: 1, codec: 0, body, signed: None }
    }

    fn signed() -> Signed {
        Signed {
            id: MessageId(9),
            series: 2,
            sequence: 3,
            level: AckLevel::Processed,
            required: vec!["ab".into(), "c".into()],
            certificate: Bytes::new(),
            signature: Bytes::new(),
        }
    }

    #[test]
    fn every_field_is_part_of_the_hash() {
        let one = hash(&carried(), &signed());
        let of_carried = |change: fn(&mut Carried)| {
            let mut carried = carried();
            change(&mut carried);
            hash(&carried, &signed())
        };
        let of_signed = |change: fn(&mut Signed)| {
            let mut signed = signed();
            change(&mut signed);
            hash(&carried(), &signed)
        };
        let others = [
            of_carried(|carried| carried.topic = "a.c".into()),
            of_carried(|carried| carried.from = ContextId(8)),
            of_carried(|carried| carried.tag = 2),
            of_carried(|carried| carried.codec = 1),
            of_carried(|carried| carried.body = Bytes::from_static(b"bodY")),
            of_signed(|signed| signed.id = MessageId(10)),
            of_signed(|signed| signed.series = 1),
            of_signed(|signed| signed.sequence = 4),
            of_signed(|signed| signed.level = AckLevel::Received),
            of_signed(|signed| signed.required = vec!["a".into(), "bc".into()]),
            of_signed(|signed| signed.required = vec!["ab".into()]),
        ];
        let mut all: Vec<_> = others.into_iter().chain([one]).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12);
    }

    #[test]
    fn key_and_certificate_are_not_part_of_it() {
        let renewed = Signed {
            certificate: Bytes::from_static(b"new"),
            signature: Bytes::from_static(b"new"),
            ..signed()
        };
        assert_eq!(hash(&carried(), &signed()), hash(&carried(), &renewed));
    }
}
