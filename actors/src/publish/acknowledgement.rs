//! What a recipient says to the publisher: how far it has come with one message, under one of its names, signed.

use actogen_runtime::core::ContextId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::message::{AckLevel, MOST_CERTIFICATE, MOST_SIGNATURE, MessageHash, MessageId};
use crate::RemoteMessage;

/// What recipients sign for.
pub(super) const DOMAIN: &str = "actogen acknowledge v1";

/// The longest reason that is sent or taken, in bytes.
pub(super) const MOST_REASON: usize = 1024;

/// The longest name that is taken, in bytes.
const MOST_NAME: usize = 256;

/// What has become of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Reached(AckLevel),
    Rejected(String),
}

impl Answer {
    /// A rejection, with as much of the reason as is sent.
    pub(super) fn rejected(why: &str) -> Self {
        Self::Rejected(why.chars().take(MOST_REASON / 4).collect())
    }
}

/// On its way to the publisher. It is told, not asked: nobody acknowledges it.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Acknowledgement", crate = crate)]
pub(super) struct Acknowledgement {
    pub(super) id: MessageId,
    pub(super) hash: MessageHash,
    pub(super) name: String,
    pub(super) answer: Answer,
    pub(super) signer: ContextId,
    pub(super) certificate: Bytes,
    pub(super) signature: Bytes,
}

impl Acknowledgement {
    pub(super) fn is_bounded(&self) -> bool {
        let reason = match &self.answer {
            Answer::Reached(_) => 0,
            Answer::Rejected(why) => why.len(),
        };
        reason <= MOST_REASON
            && self.name.len() <= MOST_NAME
            && self.certificate.len() <= MOST_CERTIFICATE
            && self.signature.len() <= MOST_SIGNATURE
    }
}

/// What is signed: message, publisher, the recipient's name, and the answer, each of a fixed length or behind its length.
pub(super) fn claim(
    id: MessageId,
    hash: &MessageHash,
    publisher: ContextId,
    name: &str,
    answer: &Answer,
) -> Vec<u8> {
    let mut claim = Vec::with_capacity(96 + name.len());
    claim.extend_from_slice(&id.get().to_le_bytes());
    claim.extend_from_slice(hash);
    claim.extend_from_slice(&publisher.0.to_le_bytes());
    claim.extend_from_slice(&(name.len() as u64).to_le_bytes());
    claim.extend_from_slice(name.as_bytes());
    match answer {
        Answer::Reached(level) => claim.push(level.number()),
        Answer::Rejected(why) => {
            claim.push(0);
            claim.extend_from_slice(why.as_bytes());
        }
    }
    claim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_part_of_the_claim() {
        let of = |id, hash: u8, publisher, name: &str, answer: Answer| {
            claim(MessageId::new(id), &[hash; 32], ContextId(publisher), name, &answer)
        };
        let ok = || Answer::Reached(AckLevel::Processed);
        let mut all = vec![
            of(1, 1, 1, "a", ok()),
            of(2, 1, 1, "a", ok()),
            of(1, 2, 1, "a", ok()),
            of(1, 1, 2, "a", ok()),
            of(1, 1, 1, "b", ok()),
            of(1, 1, 1, "a", Answer::Reached(AckLevel::Received)),
            of(1, 1, 1, "a", Answer::Rejected(String::new())),
            of(1, 1, 1, "a", Answer::Rejected("\u{3}".into())),
        ];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 8);
    }

    #[test]
    fn a_long_reason_is_cut_to_what_is_taken() {
        let Answer::Rejected(why) = Answer::rejected(&"\u{10ffff}".repeat(5000)) else {
            panic!("it is a rejection")
        };
        assert!(why.len() <= MOST_REASON);
    }
}
