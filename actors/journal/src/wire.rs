//! What nodes and their clients say to each other.

use actogen::RemoteMessage;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    id::{ActorId, NodeName, Place},
    packed::Packed,
};

/// A request from outside.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.journal.Ask", reply = "Result<Bytes, Refusal>")]
pub(crate) struct Ask {
    pub(crate) to: ActorId,
    /// Who asks: the same through all its life.
    pub(crate) client: u128,
    /// Which of its requests: the same whenever it is sent again.
    pub(crate) number: u64,
    /// All its requests with lower numbers have been answered, or given up.
    pub(crate) settled: u64,
    /// It has been sent before.
    pub(crate) again: bool,
    pub(crate) message: Packed,
}

/// Why a node did not do as it was asked. Nothing has happened, except where it says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The node runs no such kind of actors.
    #[error(
        "the node runs no actors of the kind {0:?}: it must be given to the journal's builder there"
    )]
    UnknownKind(String),
    /// The actor's kind takes no such message.
    #[error("actors of that kind take no message with the tag {0:#018x}")]
    UnknownMessage(u64),
    /// The message does not decode.
    #[error("{0}")]
    Malformed(String),
    /// The handler panicked or gave up; the state is as it was before.
    #[error("the handler failed: {0}")]
    Failed(String),
    /// The message has failed, or has killed its process, as often as it may.
    #[error("the message has been tried {0} times, and is not tried again")]
    Poisonous(u32),
    /// Too much waits for this actor, or for the disk. Try again later.
    #[error("too much waits for this actor: try again later")]
    Busy,
    /// The asker has settled this request before: its answer is not kept any more.
    #[error("the request was settled before")]
    Settled,
    /// The actor cannot be run: its stored state cannot be read, or it was stopped.
    #[error("the actor cannot be run: {0}")]
    Broken(String),
    /// The store has failed. Whether this message has been handled shows when the journal is opened again.
    #[error("the journal's store has failed: {0}")]
    StoreFailed(String),
}

/// A node begins to send to another.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.journal.Hello", reply = "Welcome")]
pub(crate) struct Hello {
    pub(crate) node: NodeName,
    pub(crate) epoch: u64,
    /// The last times it was opened: number and random mark, the newest last.
    pub(crate) openings: Vec<(u64, u64)>,
}

/// What the other one says to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Welcome {
    /// Go on.
    Fine,
    /// The other remembers an opening, or an epoch, that the node does not: it has been restored from a backup. It must take an
    /// epoch above this one.
    Restored { epoch: u64 },
    /// The asker is not the node that it says it is, as far as the mesh's names tell.
    Stranger,
    /// The other's store has failed.
    Failed,
}

/// Messages of one actor to another, in their order.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.journal.Deliver", reply = "Taken")]
pub(crate) struct Deliver {
    pub(crate) from: Place,
    pub(crate) epoch: u64,
    pub(crate) to: ActorId,
    /// The number of the message before the first one: it has been acknowledged.
    pub(crate) after: u64,
    /// What lies between cannot be sent again; it is to be reported as lost, and these be taken.
    pub(crate) forced: bool,
    /// They have been sent before.
    pub(crate) again: bool,
    pub(crate) messages: Vec<(u64, Packed)>,
}

/// What became of delivered messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Taken {
    /// All up to this number are taken, durably.
    UpTo(u64),
    /// There is a gap: this was the last one taken.
    Gap(u64),
    /// A newer epoch of the sender is known.
    OldEpoch,
    /// The sender's messages wait for an operator, or the actor cannot be run. Nothing is lost.
    Paused,
    /// Too much waits there.
    Busy,
    /// The sender's node is another one by the mesh's names, or has not said hello.
    Stranger,
    /// The store there has failed.
    Failed,
}
