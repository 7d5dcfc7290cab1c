//! Names and groups of the whole mesh.
//!
//! | room | concept |
//! |---|---|
//! | here | names: [`Context::claim`], [`Context::resolve`] |
//! | `group` | [`Group`]: joining, listening, sending to all or one |
//! | `top` | what the context at the top of the tree keeps: a pure machine |
//! | `view` | what a context knows of a group that it holds |
//! | `actor` | the directory of each context, between those |
//! | `own`, `wishes` | what it has to say for actors here, and what somebody here wants to know |
//! | `holdings` | how much a directory keeps |
//! | `asks`, `late` | what directories say to each other, and what found no room on the way |
//!
//! ```text
//!   claim, join, hold ──> directory here ── Ask ──> directory at the top of the tree: `Top`
//!   view, lost, appeared <── directory here <── Said ──┘
//! ```
//!
//! The top is the last of a context's ancestors: the root, or, in a part of the tree that is cut off from it, whoever stands above all
//! others there. When that changes, each directory says anew what its own context has; of two owners of a name that meet so, one stands, by a
//! rule that both parts would apply alike, and the other is told.

mod actor;
mod asks;
mod group;
mod holdings;
mod late;
mod own;
mod top;
mod view;
mod wishes;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use actogen_runtime::{
    Phase,
    core::{Address, Handle, policy::Policy},
};
use tokio::sync::oneshot;

pub(crate) use self::asks::Here;
use self::{
    actor::Directory,
    asks::{Change, Resolve, What},
    top::Known,
};
pub use self::{
    group::{Group, GroupEvents, GroupRequest},
    holdings::DirectoryHoldings,
    top::DirectoryError,
    view::{Choice, GroupEvent},
};
use crate::{actor::RemoteActor, address::Remote, context::Context, intake::Intake};

/// A name of the whole mesh that an actor of this context has. Dropping this gives nothing up: the name ends with the actor.
#[derive(Debug)]
pub struct Claim {
    context: Context,
    name: String,
    owner: Address,
    lost: oneshot::Receiver<Address>,
}

impl Claim {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Resolves when the name is lost: to this owner in another part of the mesh, with which this one has come together, or, with nothing, by
    /// its release or the actor's end.
    pub async fn lost(&mut self) -> Option<Address> {
        (&mut self.lost).await.ok()
    }

    /// Gives the name up, in any case.
    ///
    /// # Errors
    /// [`DirectoryError::Dead`] when the top of the tree could not be told; it is told later.
    pub async fn release(self) -> Result<(), DirectoryError> {
        let Self { context, name, owner, .. } = self;
        context.change(What::Release { name, owner }).await
    }
}

impl Context {
    /// Gives an actor of this context a name of the whole mesh, which belongs to nobody else while it lives. What it costs is a round trip
    /// to the root.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn claim<A: RemoteActor>(
        &self,
        name: &str,
        actor: &Remote<A>,
    ) -> Result<Claim, DirectoryError> {
        let (told, lost) = oneshot::channel();
        let owner = actor.address();
        let claimant = Known { address: owner, kind: A::NAME.to_owned() };
        let claim = asks::Claim { name: name.to_owned(), claimant, lost: Here(told) };
        self.directory().send(claim).await.map_err(dead)??;
        Ok(Claim { context: self.clone(), name: name.to_owned(), owner, lost })
    }

    /// Finds the actor that has a name of the whole mesh now.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub async fn resolve<A: RemoteActor>(&self, name: &str) -> Result<Remote<A>, DirectoryError> {
        let resolve = Resolve { name: name.to_owned(), within: None, here: Here(()) };
        self.resolved(name, self.directory().send(resolve).await.map_err(dead)??)
    }

    /// As [`Self::resolve`]; waits until somebody has the name, at most this long.
    ///
    /// # Errors
    /// [`DirectoryError`]; `Unknown` when the time is over.
    pub async fn resolve_within<A: RemoteActor>(
        &self,
        name: &str,
        time: Duration,
    ) -> Result<Remote<A>, DirectoryError> {
        let resolve = Resolve { name: name.to_owned(), within: Some(time), here: Here(()) };
        // The limit is this one's.
        let asked =
            self.directory().send(resolve).within(time.saturating_add(Duration::from_secs(1)));
        match tokio::time::timeout(time, asked).await {
            Ok(known) => self.resolved(name, known.map_err(dead)??),
            Err(_) => Err(DirectoryError::Unknown(name.to_owned())),
        }
    }

    fn resolved<A: RemoteActor>(
        &self,
        name: &str,
        known: Known,
    ) -> Result<Remote<A>, DirectoryError> {
        if known.kind != A::NAME {
            return Err(DirectoryError::OtherKind {
                name: name.to_owned(),
                kind: known.kind,
                asked: A::NAME.to_owned(),
            });
        }
        Ok(self.remote(known.address))
    }

    fn directory(&self) -> Remote<Directory> {
        self.remote(self.address(Handle::DIRECTORY))
    }

    async fn change(&self, what: What) -> Result<(), DirectoryError> {
        self.directory().send(Change { what: Here(what) }).await.map_err(dead)?
    }
}

fn dead<M>(error: crate::SendError<M>) -> DirectoryError
where
    crate::SendError<M>: std::fmt::Display,
{
    DirectoryError::Dead(error.to_string())
}

/// What has come for the directory and waits for it.
#[derive(Debug)]
pub(crate) struct Words(Arc<OnceLock<Arc<Intake>>>);

/// Where a directory is asked and told, to be opened before anybody can reach the context.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Words) {
    let words = Words(Arc::default());
    let opened = words.0.clone();
    let open = move |context: &actogen_runtime::Context| {
        let intake = Intake::new::<Directory>(context.clone());
        context.bind_reserved(Handle::DIRECTORY, intake.clone(), Policy::Anyone);
        intake.bound_as(Handle::DIRECTORY);
        let _ = opened.set(intake);
    };
    (open, words)
}

/// Runs the directory on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, Words(intake): Words) {
    if let Some(intake) = intake.get() {
        let directory = Directory::new(context.clone());
        context.attend_until(directory, intake.clone(), |phase| *phase == Phase::Down);
    }
}
