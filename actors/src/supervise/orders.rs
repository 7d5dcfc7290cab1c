//! What a supervisor is asked from outside, near or far: by its own context, or on the authority of one above it.

use actogen_runtime::core::Address;
use serde::{Deserialize, Serialize};

use crate::RemoteMessage;

/// Where a child is; answered when it is up.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.FindChild", reply = "Result<Found, OrderError>", crate = crate)]
pub(crate) struct Find {
    pub(crate) child: String,
}

/// A child that is up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) address: Address,
    /// The name of the actor's kind.
    pub(crate) kind: String,
}

/// How the children are.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Children", reply = "Result<Vec<ChildStatus>, OrderError>", crate = crate)]
pub(crate) struct Children;

/// What to do with a child.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.OrderChild", reply = "Result<(), OrderError>", crate = crate)]
pub(crate) struct Order {
    pub(crate) child: String,
    pub(crate) what: Wish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// End it, and leave it down.
    Stop,
    /// Start it if it is down.
    Start,
    /// End it, and start it again.
    Renew,
}

/// How a child is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChildStatus {
    /// Its name.
    pub name: String,
    /// How far its life has come.
    pub state: ChildState,
    /// How often it has begun anew by itself.
    pub restarts: u64,
    /// How its last life ended, or why it could not begin.
    pub last_end: Option<String>,
}

/// How far a child's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ChildState {
    /// It works.
    Up,
    /// It is being started.
    Starting,
    /// It is being ended.
    Stopping,
    /// It is down, and will be started.
    Waiting,
    /// It is down, and stays so unless somebody says otherwise.
    Stopped,
}

/// Why a supervisor did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OrderError {
    /// It has no child of this name.
    #[error("the supervisor has no child `{name}`; it has {known:?}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The child is stopped, so nobody can send to it.
    #[error("`{name}` is stopped: {why}")]
    Stopped {
        /// The child.
        name: String,
        /// Why.
        why: String,
    },
    /// The child is a context, or an actor of another type.
    #[error("`{name}` is {kind}, not `{expected}`")]
    OtherKind {
        /// The child.
        name: String,
        /// What it is.
        kind: String,
        /// What was asked for.
        expected: String,
    },
    /// Whoever asked has no authority over the supervisor's context.
    #[error("only its own context and those above it may ask a supervisor for that")]
    NotAllowed,
    /// As many wait already for the child to be up as may.
    #[error("{waiting} wait for `{name}` already: ask again later")]
    Busy {
        /// The child.
        name: String,
        /// How many.
        waiting: usize,
    },
    /// The supervisor is ending.
    #[error("the supervisor is ending")]
    Ending,
    /// The supervisor could not be asked.
    #[error("{0}")]
    Dead(String),
}
