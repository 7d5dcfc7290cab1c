//! Starting registered actors in other contexts.
//!
//! Nothing that is code travels: a parent names an actor that the child's own program has registered with `spawn` in its derive,
//! and sends the arguments.

use actogen_runtime::{
    Place,
    core::{ContextId, Dead, Handle, Incarnation},
    launch::{self, Carrier},
};

use crate::{
    actor::RemoteActor,
    address::Remote,
    context::{Context, LookupError},
    function::Functions,
    message::{Body, Codec, CodecError},
    nursery::{Answer, Ask},
};

/// An actor that a parent can start in another context: `spawn` in the derive implements it by `Default`, `spawn(Args)` by
/// `From<Args>`, and with `spawn = custom` the author does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be started from another context",
    note = "add `spawn` to `#[remote(...)]` of `{Self}`: by `Default`, `spawn(Args)` by `From<Args>`, or `spawn = custom`"
)]
pub trait Spawn: RemoteActor {
    /// What it is made of.
    type Args: Body;

    /// Makes the actor, in the context where it will live: with `spawn = custom` it may keep a handle on that, to send by it or
    /// to register a name.
    fn spawn(arguments: Self::Args, cx: &Context) -> Self;
}

/// Why an actor could not be started in another context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The other context could not start it; its text.
    #[error("{context} could not start `{actor}`: {why}")]
    Refused {
        /// The context.
        context: ContextId,
        /// The actor's name.
        actor: &'static str,
        /// What it says.
        why: String,
    },
    /// The other context could not be asked.
    #[error("{0}")]
    Dead(Dead),
    /// The arguments have no form in postcard.
    #[error("the arguments of `{actor}` cannot be encoded: {why}")]
    Arguments {
        /// The actor's name.
        actor: &'static str,
        /// What the codec says.
        why: String,
    },
}

impl Context {
    /// Starts a registered actor in another context, which must lie below this one.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn spawn_in<A: Spawn>(
        &self,
        place: Place,
        arguments: A::Args,
    ) -> Result<Remote<A>, SpawnError> {
        let unencodable =
            |error: CodecError| SpawnError::Arguments { actor: A::NAME, why: error.to_string() };
        let mut encoded = Vec::new();
        arguments.encode(Codec::Postcard, &mut encoded).map_err(unencodable)?;
        let ask = Ask::Start { actor: A::NAME.to_owned(), arguments: encoded };
        let body = Codec::Postcard.encode(&ask).map_err(unencodable)?;
        let refused =
            |why: String| SpawnError::Refused { context: place.context, actor: A::NAME, why };
        let answer =
            self.ask(place.address(Handle::SPAWN), &body).await.map_err(SpawnError::Dead)?;
        let outcome: Answer =
            Codec::Postcard.decode(&answer).map_err(|error| refused(error.to_string()))?;
        outcome.map(|handle| self.remote(place.address(handle))).map_err(refused)
    }
}

/// A context that this one has launched.
#[derive(Debug)]
pub struct Child {
    context: Context,
    child: launch::Child,
    functions: Functions,
}

impl From<&Child> for Place {
    fn from(child: &Child) -> Self {
        child.place()
    }
}

impl Child {
    pub(crate) fn over(context: Context, child: launch::Child) -> Self {
        let functions = context.functions_in(child.place());
        Self { context, child, functions }
    }

    /// The context that asked for it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Its functions.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The child's id.
    pub fn id(&self) -> ContextId {
        self.child.id()
    }

    /// The child's life.
    pub fn incarnation(&self) -> Incarnation {
        self.child.incarnation()
    }

    /// Where the child is.
    pub fn place(&self) -> Place {
        self.child.place()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Starts a registered actor in the child.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn spawn<A: Spawn>(&self, arguments: A::Args) -> Result<Remote<A>, SpawnError> {
        self.context.spawn_in(self.child.place(), arguments).await
    }

    /// Finds an actor in the child by its name.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn lookup<A: RemoteActor>(&self, name: &str) -> Result<Remote<A>, LookupError> {
        self.context.lookup_in(self.child.place(), name).await
    }

    /// What carries the link to its parent.
    pub fn carrier(&self) -> Carrier {
        self.child.carrier()
    }

    /// Its parent in the tree: the context that launched it.
    pub fn parent(&self) -> Place {
        self.child.parent()
    }

    /// Kills the child's process group with SIGKILL, or that of the tool by which it runs, and waits until it is gone. Does nothing when it is
    /// gone already.
    pub async fn kill(&self) {
        self.child.kill().await;
    }

    /// Asks the child to end, and waits until its process has; kills that if it takes longer than this. Says how it ended, as [`Self::exited`].
    pub async fn end(&self, within: std::time::Duration) -> String {
        self.child.end(within).await
    }

    /// Waits until the process has ended; says how, such as `exit status 0` or `signal 9`.
    pub async fn exited(&self) -> String {
        self.child.exited().await
    }
}
