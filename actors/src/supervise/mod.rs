//! Supervision: actors, here and in other contexts, and contexts with their processes, that begin anew when they fail.
//!
//! | room | concept |
//! |---|---|
//! | here | [`Supervision`], what there is to supervise; [`Supervised`], the handle on it |
//! | `policy` | strategies, restarts, how often and how soon |
//! | `plan` | what follows from what happens: a pure machine |
//! | `child` | what a child is, and where it lives |
//! | `supervisor` | the actor that drives the plan |
//! | `life` | how it begins and ends a life, here and elsewhere |
//! | `front` | an address that stays when a child moves to another context |
//! | `orders`, `events` | what it can be asked, and what it tells |
//!
//! ```text
//!            Supervised::{child, stop, start, renew, status}
//!                               │
//!  life over, context lost ──> Supervisor ──> plan: act ──> begin, end ──> here: kept mailbox
//!                                                                     ──> there: `nursery` of that context
//!                                                                     ──> a launched context
//! ```
//!
//! A supervised actor keeps its mailbox and address for as long as its context lives, however often it begins anew: what waits is handled by
//! the next life. The message in whose handling it failed is not tried again.

mod child;
mod events;
mod front;
mod life;
mod orders;
mod plan;
mod policy;
mod supervisor;

use std::time::Duration;

use actogen_runtime::{Place, core::policy::Policy, mailbox::StopReason};

pub use child::ChildSpec;
use events::Listeners;
pub use events::{ChildEvent, ChildEvents};
pub(crate) use front::Passed;
pub use orders::{ChildState, ChildStatus, OrderError};
pub(crate) use policy::chance;
pub use policy::{Backoff, Restart, Strategy};
pub(crate) use supervisor::Supervisor;

use crate::{
    actor::RemoteActor,
    address::Remote,
    context::{Context, Watch},
    send_error::SendError,
};
use orders::{Children, Find, Order, Wish};
use policy::Intensity;

/// How long a supervisor that is a child may take to end, unless said otherwise: as long as its children may, but not for ever.
const NESTED_GRACE: Duration = Duration::from_secs(3600);

/// Children and how they are supervised; [`Context::supervise`] makes a supervisor of it, and [`Self::nested`] a child of another one.
///
/// ```no_run
/// # use actogen::{prelude::*, Strategy, Supervision, ChildSpec};
/// # use std::time::Duration;
/// # #[derive(RemoteActor, Default)]
/// # #[remote(name = "doc.worker", messages(), spawn)]
/// # struct Worker;
/// # impl Actor for Worker { type Context = actix::Context<Self>; }
/// # async fn example(cx: Context) -> actogen::Result<()> {
/// let tree = cx.supervise(
///     Supervision::new(Strategy::RestForOne)
///         .restarts(5, Duration::from_secs(10))
///         .child(ChildSpec::context("node", Launch::local))
///         .child(ChildSpec::spawned::<Worker>("worker", ()).in_context("node")),
/// );
/// let worker = tree.child::<Worker>("worker").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "it supervises nothing until a context does it"]
pub struct Supervision {
    strategy: Strategy,
    intensity: Intensity,
    backoff: Backoff,
    contained: bool,
    children: Vec<ChildSpec>,
}

impl Supervision {
    /// Without children yet.
    pub fn new(strategy: Strategy) -> Self {
        Self { strategy, ..Self::default() }
    }

    /// So many lives may begin anew within any span of this length, of all children together; with one more the supervisor gives up. Three
    /// within five seconds unless said otherwise.
    pub fn restarts(mut self, most: u32, within: Duration) -> Self {
        (self.intensity.restarts, self.intensity.within) = (most, within);
        self
    }

    /// So often in a row one child may fail to start before the supervisor gives up; five times unless said otherwise.
    ///
    /// # Panics
    /// If it may not be tried once.
    pub fn start_attempts(mut self, most: u32) -> Self {
        assert!(most > 0, "a child must be tried at least once");
        self.intensity.start_attempts = most;
        self
    }

    /// How long is waited before a life begins anew.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// A supervisor that gives up ends itself alone; without this it ends its context, or, as a child, fails like any other.
    pub fn contained(mut self) -> Self {
        self.contained = true;
        self
    }

    /// One child more, behind the others.
    ///
    /// # Panics
    /// When another child has this name, or the context in which it shall be is no child before it.
    pub fn child(mut self, child: ChildSpec) -> Self {
        let named = |name: &str| self.children.iter().find(|child| child.name == name);
        assert!(named(&child.name).is_none(), "two children are named `{}`", child.name);
        if let Some(needed) = child.needs() {
            let is_context = named(needed).is_some_and(|needed| needed.kind().is_none());
            assert!(is_context, "`{}` needs a context `{needed}` added before it", child.name);
        }
        self.children.push(child);
        self
    }

    /// This as a child of another supervisor, made anew for each life: when it gives up, that one judges.
    pub fn nested(name: impl Into<String>, make: impl FnMut() -> Self + 'static) -> ChildSpec {
        // It ends when its own children have, each within its own grace.
        ChildSpec::new(name, life::nested(make)).grace(NESTED_GRACE)
    }
}

impl Context {
    /// Starts a supervisor on the current thread; its children start at once, in order.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn supervise(&self, supervision: Supervision) -> Supervised {
        let (intake, supervisor) = self.open_intake::<Supervisor>(Policy::Anyone);
        let actor = Supervisor::new(self.clone(), supervisor.clone(), supervision);
        let listeners = actor.listeners();
        self.attend(actor, intake);
        Supervised { context: self.clone(), supervisor, listeners }
    }
}

/// A supervisor and what it supervises. A cheap handle: dropping it ends nothing.
#[derive(Clone, Debug)]
pub struct Supervised {
    context: Context,
    supervisor: Remote<Supervisor>,
    listeners: Listeners,
}

impl Supervised {
    /// The child of this name, when it is up. It keeps this address until its context is lost; ask again then. One with a
    /// [stable address](ChildSpec::stable) keeps it as long as its supervisor lives.
    ///
    /// # Errors
    /// [`OrderError`]; with [`OrderError::Dead`] also when it does not come up within the context's limit for requests.
    pub async fn child<A: RemoteActor>(&self, name: &str) -> Result<Remote<A>, OrderError> {
        let asked = self.supervisor.send(Find { child: name.to_owned() });
        let found = answer(asked.await)?;
        if found.kind != A::NAME {
            return Err(OrderError::OtherKind {
                name: name.to_owned(),
                kind: found.kind,
                expected: A::NAME.to_owned(),
            });
        }
        Ok(self.context.remote(found.address))
    }

    /// The context that is the child of this name, when it is up: until that begins anew.
    ///
    /// # Errors
    /// As [`Self::child`].
    pub async fn place(&self, name: &str) -> Result<Place, OrderError> {
        let found = answer(self.supervisor.send(Find { child: name.to_owned() }).await)?;
        Ok(Place { context: found.address.context, incarnation: found.address.incarnation })
    }

    /// How the children are, in order.
    ///
    /// # Errors
    /// [`OrderError::Dead`].
    pub async fn status(&self) -> Result<Vec<ChildStatus>, OrderError> {
        answer(self.supervisor.send(Children).await)
    }

    /// What happens to the children from now on.
    pub fn events(&self) -> ChildEvents {
        self.listeners.listen()
    }

    /// Has a child ended, and stay down whatever becomes of the others, until it is [started](Self::start).
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn stop(&self, name: &str) -> Result<(), OrderError> {
        self.order(name, Wish::Stop).await
    }

    /// Has a child started that is down.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn start(&self, name: &str) -> Result<(), OrderError> {
        self.order(name, Wish::Start).await
    }

    /// Has a child ended and started again; that counts as no failure.
    ///
    /// # Errors
    /// [`OrderError`].
    pub async fn renew(&self, name: &str) -> Result<(), OrderError> {
        self.order(name, Wish::Renew).await
    }

    async fn order(&self, name: &str, what: Wish) -> Result<(), OrderError> {
        answer(self.supervisor.send(Order { child: name.to_owned(), what }).await)
    }

    /// The context of the handle.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Resolves when the supervisor has ended; with an error as its reason when it has given up.
    pub fn watch(&self) -> Watch {
        self.context.watch(&self.supervisor)
    }

    /// Ends the children, the last first, then the supervisor.
    pub async fn end(&self) {
        let down = self.watch();
        self.context.stop(&self.supervisor, StopReason::Normal);
        down.await;
    }
}

fn answer<T, M>(answer: Result<Result<T, OrderError>, SendError<M>>) -> Result<T, OrderError>
where
    SendError<M>: std::fmt::Display,
{
    answer.unwrap_or_else(|error| Err(OrderError::Dead(error.to_string())))
}
