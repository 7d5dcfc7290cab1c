//! What a reliable publish comes to.

use std::{collections::BTreeMap, fmt};

use super::message::{AckLevel, MessageId};
use crate::topics::PublishError;

/// All required recipients have acknowledged the message, at the level that was asked or a higher one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confirmed {
    /// The message.
    pub id: MessageId,
    /// Who has acknowledged it, and at which level. Empty only where nobody was required.
    pub acked: BTreeMap<String, AckLevel>,
}

/// How far a publish has come that was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partial {
    /// The message: to publish it again under this id is safe.
    pub id: MessageId,
    /// Who has acknowledged it.
    pub acked: BTreeMap<String, AckLevel>,
    /// Who has rejected it, and why.
    pub rejected: BTreeMap<String, String>,
    /// From whom nothing has come that counts. They may have handled it nevertheless.
    pub missing: Vec<String>,
    /// Acknowledgements that came for it and did not count.
    pub ignored_acks: IgnoredAcks,
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acked: Vec<_> = self.acked.keys().map(String::as_str).collect();
        write!(f, "message {}: acknowledged by {acked:?}", self.id)?;
        for (name, why) in &self.rejected {
            write!(f, ", rejected by {name:?} ({})", why.escape_debug())?;
        }
        write!(f, ", missing {:?}", self.missing)?;
        match self.ignored_acks.total() {
            0 => Ok(()),
            ignored => write!(f, "; {ignored} acknowledgements did not count"),
        }
    }
}

/// Acknowledgements that did not count, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IgnoredAcks {
    /// For this hash, with another message's id.
    pub other_id: u64,
    /// For this id, with another hash: an earlier publish of the same id, or one that was changed on its way.
    pub other_hash: u64,
    /// By a name that is not required.
    pub stranger: u64,
    /// At a lower level than was asked.
    pub weaker: u64,
    /// With a signature or a certificate that does not hold.
    pub forged: u64,
    /// By a context whose certificate is revoked.
    pub revoked: u64,
    /// By a context to which the name is not bound, or not any more.
    pub misnamed: u64,
    /// By who has answered already.
    pub duplicate: u64,
    /// After the deadline.
    pub late: u64,
}

impl IgnoredAcks {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.other_id
            + self.other_hash
            + self.stranger
            + self.weaker
            + self.forged
            + self.revoked
            + self.misnamed
            + self.duplicate
            + self.late
    }
}

/// Why a reliable publish was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReliableError {
    /// Time was over before all had acknowledged.
    #[error("not all have acknowledged in time; publish the same id again. {0}")]
    Timeout(Box<Partial>),
    /// Somebody has rejected the message, or his context's policy has.
    #[error("the message was rejected. {0}")]
    Rejected(Box<Partial>),
    /// The authority has bound these names to no context. Nothing was sent.
    #[error(
        "no context has been given the names {0:?}: correct them, or enrol a context with them"
    )]
    UnknownRecipient(Vec<String>),
    /// Nothing was sent.
    #[error("nothing was sent: {0}")]
    NotSent(NotSent),
}

impl ReliableError {
    /// How far the publish has come, where it was sent.
    pub fn partial(&self) -> Option<&Partial> {
        match self {
            Self::Timeout(partial) | Self::Rejected(partial) => Some(partial),
            Self::UnknownRecipient(_) | Self::NotSent(_) => None,
        }
    }
}

/// Why nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSent {
    /// The message could not be published at all.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// More than 64 recipients are required.
    #[error("{0} recipients are required: require at most 64 names")]
    TooMany(usize),
    /// It could not be learned in time whether the recipients exist.
    #[error("it could not be asked who the recipients are: {0}")]
    Names(String),
    /// So many publishes wait for acknowledgements already.
    #[error("{0} publishes wait for acknowledgements already: wait for some of them")]
    Full(usize),
    /// There was no room on the way until time was over.
    #[error("there was no room on the way until time was over")]
    NoRoom,
    /// Time was over before its turn had come.
    #[error(
        "time was over before it was its turn to be sent: give it more, or publish less at a time"
    )]
    TooLate,
}
