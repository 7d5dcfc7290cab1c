//! What directories say to each other, and what a context says to its own.

use std::{sync::Arc, time::Duration};

use actogen_runtime::core::Address;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use super::{
    top::{DirectoryError, Known, Word},
    view::View,
};
use crate::RemoteMessage;

/// What the top is asked for, by the context that it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Ask {
    Claim {
        name: String,
        claimant: Known,
        is_old: bool,
    },
    Release {
        name: String,
        owner: Address,
    },
    Resolve {
        name: String,
        wait: bool,
    },
    Forget {
        name: String,
    },
    Join {
        group: String,
        member: Known,
    },
    Leave {
        group: String,
        member: Address,
    },
    /// The members come as a word, before any change of them.
    Hold {
        group: String,
        kind: String,
    },
    LetGo {
        group: String,
    },
}

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(
    name = "actogen.AskDirectory",
    reply = "Result<Option<Known>, DirectoryError>",
    crate = crate
)]
pub(super) struct AskTop(pub(super) Ask);

/// What the top says to those whom it concerns.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.DirectoryWord", crate = crate)]
pub(super) struct Said(pub(super) Word);

/// A value that never leaves its context.
#[derive(Debug)]
pub(crate) struct Here<T>(pub(crate) T);

impl<T> Serialize for Here<T> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this is for the directory of the same context"))
    }
}

impl<'de, T> Deserialize<'de> for Here<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("this is for the directory of the same context"))
    }
}

/// A name for an actor of this context.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Claim", reply = "Result<(), DirectoryError>", crate = crate)]
pub(super) struct Claim {
    pub(super) name: String,
    pub(super) claimant: Known,
    /// Told who has it, when it is lost to another part of the mesh.
    pub(super) lost: Here<oneshot::Sender<Address>>,
}

/// Whose a name is, perhaps later.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Resolve", reply = "Result<Known, DirectoryError>", crate = crate)]
pub(super) struct Resolve {
    pub(super) name: String,
    /// How long somebody may take to have it; it must be somebody's now where nothing is said.
    pub(super) within: Option<Duration>,
    /// There is no other way to ask than from here.
    pub(super) here: Here<()>,
}

/// Lets an actor of this context join a group, or leave it; or gives a name up.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Change", reply = "Result<(), DirectoryError>", crate = crate)]
pub(super) struct Change {
    pub(super) what: Here<What>,
}

#[derive(Debug)]
pub(super) enum What {
    Join { group: String, member: Known },
    Leave { group: String, member: Address },
    Release { name: String, owner: Address },
}

/// A group to hold.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Hold", reply = "Result<Here<Arc<View>>, DirectoryError>", crate = crate)]
pub(super) struct Hold {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) here: Here<()>,
}
