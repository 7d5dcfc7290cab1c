//! The author's handle on a context: binding and starting actors, finding them, watching them, launching other contexts.

use std::{fmt, sync::Arc};

use actix::{Addr, AsyncContext, Context as ActixContext};
use actogen_runtime::{
    Ended, Phase, Place, RegisterError, Way,
    core::{Address, ContextId, Dead, DeadReason, policy::Policy},
    launch::{Launch, LaunchError},
    mailbox::{Mailbox, StopReason},
};

use crate::{
    actor::{Attach, RemoteActor},
    address::Remote,
    builder::ContextBuilder,
    guard::Guarded,
    intake::Intake,
    pump::Pump,
    spawn::Child,
};

/// A context: an actor system with an id and an identity, linked to the others of its mesh. A cheap handle; clones are handles on
/// the same one.
///
/// It dereferences to [`actogen_runtime::Context`], which has what does not depend on the types of actors: ids, limits, counters,
/// events, dead letters, shutdown.
#[derive(Clone, PartialEq, Eq)]
pub struct Context(actogen_runtime::Context);

impl Context {
    /// Settings for a new context.
    pub fn builder() -> ContextBuilder {
        ContextBuilder::new()
    }

    pub(crate) fn over(context: actogen_runtime::Context) -> Self {
        Self(context)
    }

    /// Makes an actor that already runs reachable: whoever gets the address can send it the messages that its derive lists.
    ///
    /// The binding keeps the actor alive; [`Self::unbind`] ends it.
    ///
    /// # Errors
    /// [`BindError::Stopped`].
    pub fn bind<A: RemoteActor>(&self, actor: &Addr<A>) -> Result<Remote<A>, BindError> {
        self.bind_with(actor, Policy::Anyone)
    }

    /// As [`Self::bind`], for those only whom the policy lets through.
    ///
    /// # Errors
    /// [`BindError::Stopped`].
    pub fn bind_with<A: RemoteActor>(
        &self,
        actor: &Addr<A>,
        policy: Policy,
    ) -> Result<Remote<A>, BindError> {
        if !actor.connected() {
            return Err(BindError::Stopped);
        }
        let (intake, remote) = self.open_intake::<A>(policy);
        actor.do_send(Attach::new(intake));
        Ok(remote)
    }

    /// Starts an actor on the current thread and makes it reachable. Unlike one that the author starts, it runs in a guard:
    /// a panic, wherever in it, ends it alone, and becomes the reason that its watchers get.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn start<A: RemoteActor>(&self, actor: A) -> Remote<A> {
        self.start_with(actor, Policy::Anyone)
    }

    /// As [`Self::start`], reachable for those only whom the policy lets through.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn start_with<A: RemoteActor>(&self, actor: A, policy: Policy) -> Remote<A> {
        let (intake, remote) = self.open_intake::<A>(policy);
        self.attend(actor, intake);
        remote
    }

    /// Starts an actor on the current thread, in a guard, to handle what comes into an intake.
    pub(crate) fn attend<A: RemoteActor>(&self, actor: A, intake: Arc<Intake>) {
        let mut context = ActixContext::new();
        let address: Addr<A> = context.address();
        context.spawn(Pump::new(intake.clone(), address.downgrade()));
        tokio::task::spawn_local(Guarded::new(actor, context, intake));
    }

    /// As [`Self::attend`], for an actor under one of the reserved handles, which a shutdown does not ask to end: it ends when the context's life
    /// has come to this phase.
    pub(crate) fn attend_until<A: RemoteActor>(
        &self,
        actor: A,
        intake: Arc<Intake>,
        end: fn(&Phase) -> bool,
    ) {
        self.attend(actor, intake.clone());
        let mut phase = self.phase();
        tokio::task::spawn_local(async move {
            // The sender lives as long as the context does.
            let _ = phase.wait_for(end).await;
            intake.end(StopReason::Shutdown);
        });
    }

    pub(crate) fn open_intake<A: RemoteActor>(&self, policy: Policy) -> (Arc<Intake>, Remote<A>) {
        let intake = Intake::new::<A>(self.0.clone());
        let address = self.0.bind(intake.clone(), policy);
        intake.bound_as(address.handle);
        (intake, Remote::new(address, Some(self.0.clone())))
    }

    /// Ends a bound actor of this context; its watchers get this reason. With [`StopReason::Killed`] it is terminated without its
    /// `stopping` hook, and while it waits in `ctx.wait` without its `stopped` hook too. Gives false when it has ended, or lives elsewhere.
    pub fn stop<A: RemoteActor>(&self, actor: &Remote<A>, reason: StopReason) -> bool {
        self.stop_address(actor.address(), reason)
    }

    pub(crate) fn stop_address(&self, actor: Address, reason: StopReason) -> bool {
        match self.0.way(actor) {
            Ok(Way::Here(here)) => {
                here.end(reason);
                true
            }
            _ => false,
        }
    }

    /// Ends the binding of an actor of this context: its address is dead from now on. The actor ends too unless something else
    /// keeps it.
    pub fn unbind<A: RemoteActor>(&self, actor: &Remote<A>) {
        if actor.context_id() == self.0.id() {
            self.stop(actor, StopReason::Normal);
        }
    }

    /// Gives a bound actor of this context a name under which others find it here.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register<A: RemoteActor>(
        &self,
        name: &str,
        actor: &Remote<A>,
    ) -> Result<(), RegisterError> {
        if actor.context_id() != self.0.id() {
            return Err(RegisterError::NotBound);
        }
        self.0.register(name, actor.address().handle, A::NAME)
    }

    /// Finds an actor by its name in this context.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn lookup<A: RemoteActor>(&self, name: &str) -> Result<Remote<A>, LookupError> {
        self.lookup_in(self.0.place(), name).await
    }

    /// Finds an actor by its name in another context.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn lookup_in<A: RemoteActor>(
        &self,
        place: Place,
        name: &str,
    ) -> Result<Remote<A>, LookupError> {
        let found = self.0.lookup(place, name).await.map_err(LookupError::Dead)?;
        let (address, kind) = found.ok_or_else(|| LookupError::Unknown {
            name: name.to_owned(),
            context: place.context,
        })?;
        if kind != A::NAME {
            return Err(LookupError::OtherKind { name: name.to_owned(), kind, expected: A::NAME });
        }
        Ok(Remote::new(address, Some(self.0.clone())))
    }

    /// Watches an actor, near or far: resolves once, when it has stopped, when it never was, or when its context is lost.
    /// Dropping the watch takes it back.
    pub fn watch<A>(&self, actor: &Remote<A>) -> Watch {
        Watch(self.0.watch(actor.address(), None))
    }

    pub(crate) fn watch_address(&self, actor: Address) -> actogen_runtime::Watch {
        self.0.watch(actor, None)
    }

    /// As [`Self::watch`], on behalf of an actor of this context: the notice keeps its place behind all that the watched actor has
    /// sent to that one.
    pub fn watch_for<A, W: RemoteActor>(&self, actor: &Remote<A>, watcher: &Remote<W>) -> Watch {
        Watch(self.0.watch(actor.address(), Some(watcher.address().handle)))
    }

    /// Starts another context and waits until it can be reached.
    ///
    /// # Errors
    /// [`LaunchError`]; the process, if there is one, is ended.
    pub async fn launch(&self, launch: Launch) -> Result<Child, LaunchError> {
        self.0.launch(launch).await.map(|child| Child::over(self.clone(), child))
    }

    pub(crate) fn remote<A>(&self, address: Address) -> Remote<A> {
        Remote::new(address, Some(self.0.clone()))
    }
}

impl std::ops::Deref for Context {
    type Target = actogen_runtime::Context;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why an actor could not be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The actor has stopped.
    #[error("the actor has stopped: bind it while it runs")]
    Stopped,
}

/// Why a name gave no actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// Nothing has this name there.
    #[error("{context} knows no actor named `{name}`: register it there first")]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked up.
        context: ContextId,
    },
    /// An actor of another type has this name.
    #[error("`{name}` is an actor of kind `{kind}`, not `{expected}`")]
    OtherKind {
        /// The name.
        name: String,
        /// What it is.
        kind: String,
        /// What was asked for.
        expected: &'static str,
    },
    /// The context could not be asked.
    #[error("{0}")]
    Dead(Dead),
}

/// A watch; see [`Context::watch`].
#[derive(Debug)]
#[must_use = "a watch that is dropped is taken back"]
pub struct Watch(actogen_runtime::Watch);

impl Future for Watch {
    type Output = Down;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Down> {
        let target = self.0.target();
        std::pin::Pin::new(&mut self.0).poll(cx).map(|ended| Down { target, ended })
    }
}

/// The notice of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Down {
    /// What was watched.
    pub target: Address,
    /// How it ended.
    pub ended: Ended,
}

impl Down {
    /// Why the actor stopped, when that is how it ended.
    pub fn stopped(&self) -> Option<&StopReason> {
        match &self.ended {
            Ended::Stopped(reason) => Some(reason),
            _ => None,
        }
    }

    /// Why the actor's context cannot be reached, when that is how it ended.
    pub fn lost(&self) -> Option<DeadReason> {
        match &self.ended {
            Ended::ContextLost(dead) => Some(dead.reason),
            _ => None,
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.ended, f)
    }
}
