//! What an operator should know.

use std::fmt;

use crate::{
    id::{ActorId, NodeName, Place},
    store::StoreError,
};

/// Something that an operator should know; see [`Journal::events`](crate::Journal::events). Each is logged as well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalEvent {
    /// The store has failed: nothing is acknowledged any more. Open the journal again.
    Failed {
        /// Why.
        error: StoreError,
    },
    /// A message has failed.
    Failure {
        /// The actor.
        actor: ActorId,
        /// Whose message.
        from: String,
        /// How often by now.
        count: u32,
        /// Why.
        why: String,
    },
    /// A sender's messages wait until [`Journal::resume`](crate::Journal::resume).
    Paused {
        /// The actor.
        actor: ActorId,
        /// Whose messages.
        from: String,
    },
    /// A message was given up; the store keeps it.
    DeadLetter {
        /// The actor.
        actor: ActorId,
        /// Whose message.
        from: String,
        /// Why.
        why: String,
    },
    /// An actor cannot be run; what waits for it is kept.
    Broken {
        /// The actor.
        actor: ActorId,
        /// Why.
        why: String,
    },
    /// Another node remembers more than this journal has: it was restored from a backup. What it sends there is of a new epoch from now on; what it had
    /// taken or sent since the backup may be lost or happen again.
    Restored {
        /// The node that remembers more.
        by: NodeName,
        /// The new epoch of what is sent to it.
        epoch: u64,
    },
    /// Messages of a sender cannot be had any more: this journal had taken them before it was restored from a backup.
    Missing {
        /// The actor.
        actor: ActorId,
        /// Whose messages.
        from: Place,
        /// The last one that is known.
        after: u64,
        /// The next one that is there.
        before: u64,
    },
    /// A node's name cannot be had in the mesh: another process has it.
    NotNamed {
        /// The node.
        node: NodeName,
        /// Why.
        why: String,
    },
}

impl fmt::Display for JournalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { error } => {
                write!(f, "{error}; nothing is acknowledged any more: open the journal again")
            }
            Self::Failure { actor, from, count, why } => {
                write!(f, "{actor} failed at a message from {from}, {count} times by now: {why}")
            }
            Self::Paused { actor, from } => {
                write!(f, "{actor} takes no more messages from {from} until it is resumed")
            }
            Self::DeadLetter { actor, from, why } => {
                write!(f, "a message for {actor} from {from} is a dead letter now: {why}")
            }
            Self::Broken { actor, why } => {
                write!(f, "{actor} cannot be run: {why}; what waits for it is kept")
            }
            Self::Restored { by, epoch } => write!(
                f,
                "node {by} remembers more than this journal has: it was restored from a backup, and sends there with epoch {epoch} from now on"
            ),
            Self::Missing { actor, from, after, before } => write!(
                f,
                "messages of {from} for {actor} between {after} and {before} are lost: they were taken before this journal was restored"
            ),
            Self::NotNamed { node, why } => {
                write!(
                    f,
                    "the node's name {node} cannot be had in the mesh: {why}; others cannot reach its actors"
                )
            }
        }
    }
}
