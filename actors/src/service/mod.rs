//! Services: state with methods that other contexts call, started when the first call comes.
//!
//! | room | concept |
//! |---|---|
//! | here | what a service is, and how a program registers it; the caller's side |
//! | `running` | the services of one context: which run, which start, and how their methods are run |
//! | `door` | where calls come in, and where a context wakes a service of its own |

mod door;
mod running;

use std::{any::Any, future::Future, pin::Pin, rc::Rc};

use actogen_runtime::{
    Place,
    core::{
        ContextId, Dead, Handle,
        policy::{Origin, Policy},
    },
};
use bytes::Bytes;

pub(crate) use door::{door, serve};

use crate::{
    address::Remote,
    blob::Blob,
    context::Context,
    function::{self, Callable, Failure, FunctionCall, Run, callee::Callee},
    message::Tag,
    spawn::Child,
};

/// Something that is made when its methods are first called in a context, and lives there until that ends.
///
/// [`macro@crate::service`] makes methods of it callable:
///
/// ```
/// use actogen::{Service, prelude::*};
/// use std::cell::Cell;
///
/// struct Counter(Cell<i64>);
///
/// impl Service for Counter {
///     async fn start(_: Context) -> actogen::Result<Self> {
///         Ok(Self(Cell::new(0)))
///     }
/// }
///
/// #[actogen::service(name = "demo.Counter")]
/// impl Counter {
///     #[method(policy = anyone)]
///     fn add(&self, n: i64) -> i64 {
///         self.0.set(self.0.get() + n);
///         self.0.get()
///     }
/// }
///
/// # async fn calls(child: Child) -> actogen::Result<()> {
/// let sum = child.service::<Counter>().add(3).await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a service",
    note = "implement `actogen::Service` for it: `start` makes it, when it is first called"
)]
pub trait Service: Sized + 'static {
    /// Makes it, in the context where it will live.
    fn start(context: Context) -> impl Future<Output = crate::Result<Self>>;
}

/// A service with methods that can be called; written by [`macro@crate::service`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no methods that can be called in other contexts",
    note = "mark an `impl` block of it with `#[actogen::service(name = \"...\")]` and its methods with `#[method(policy = ...)]`"
)]
pub trait Offered: Service {
    /// The declared name.
    const NAME: &'static str;
    /// The methods, as others call them.
    type Calls;

    /// The methods of the service in one context.
    #[doc(hidden)]
    fn calls(service: ServiceIn) -> Self::Calls;
}

/// A service of one context, as another calls it: what its methods go by. A cheap handle.
#[derive(Clone, Debug)]
pub struct ServiceIn {
    clerk: Remote<Callee>,
}

impl ServiceIn {
    /// Calls a method; written by the macro.
    #[doc(hidden)]
    pub fn call<M: Callable>(&self, arguments: &M::Arguments) -> FunctionCall<M> {
        FunctionCall::begin(&self.clerk, arguments, None)
    }

    /// Whose it is.
    pub fn context_id(&self) -> ContextId {
        self.clerk.context_id()
    }
}

impl Context {
    /// A service of another context. It is started by the first call that may.
    pub fn service_in<S: Offered>(&self, place: Place) -> S::Calls {
        S::calls(ServiceIn { clerk: self.remote(place.address(Handle::CALL_SERVICE)) })
    }

    /// A service of this context; see [`Self::service_in`].
    pub fn service<S: Offered>(&self) -> S::Calls {
        self.service_in::<S>(self.place())
    }

    /// Starts a service of this context, unless it runs: so that those can call it who may not start it.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn start_service<S: Offered>(&self) -> Result<(), ServiceError> {
        door::wake(self, S::NAME).await
    }
}

impl Child {
    /// A service of the child. It is started by the first call that may.
    pub fn service<S: Offered>(&self) -> S::Calls {
        self.context().service_in::<S>(self.place())
    }
}

/// Why a service was not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its `start` failed or panicked.
    #[error("the service `{service}` did not start: {why}")]
    NotStarted {
        /// Its name.
        service: &'static str,
        /// The error with its causes.
        why: String,
    },
    /// The context does not answer: it ends.
    #[error("{0}")]
    Dead(Dead),
}

type Starting = Pin<Box<dyn Future<Output = Result<Rc<dyn Any>, Failure>>>>;

/// A service registered for being started; written by the macro.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "the function pointers have nothing to show")]
pub struct RegisteredService {
    name: &'static str,
    /// Whose call may start it.
    start_policy: fn() -> Policy,
    start: fn(Context) -> Starting,
}

impl RegisteredService {
    /// The registration of `S`.
    pub const fn new<S: Offered>(start_policy: fn() -> Policy) -> Self {
        Self { name: S::NAME, start_policy, start: start::<S> }
    }
}

inventory::collect!(RegisteredService);

fn start<S: Service>(context: Context) -> Starting {
    Box::pin(async move {
        let started = function::caught::Caught::new(async move {
            let started = S::start(context).await;
            started.map_err(|error| Failure::of(&*error))
        });
        match started.await {
            Ok(service) => Ok(Rc::new(service) as Rc<dyn Any>),
            Err(Failure::Error(texts)) => Err(Failure::NotStarted(texts)),
            Err(failure) => Err(Failure::NotStarted(vec![failure.to_string()])),
        }
    })
}

/// How calls of one method stand to each other.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They run beside each other.
    Concurrent,
    /// They run one after the other, with all serialized methods of the service.
    Serialized,
    /// Those with equal arguments share one run.
    Deduplicated,
}

/// What a method is run with.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "an author's service need not show itself")]
pub struct Serving<S: ?Sized> {
    /// The service.
    pub service: Rc<S>,
    /// Where it lives.
    pub context: Context,
    /// Who calls.
    pub origin: Origin,
}

/// A method of a service `S`; written by the macro.
#[doc(hidden)]
pub trait Method<S>: Callable {
    /// Calls the author's method.
    fn run(serving: Serving<S>, arguments: Self::Arguments) -> Run<Self::Output>;
}

fn run_encoded<S: 'static, M: Method<S>>(
    serving: Serving<dyn Any>,
    arguments: &Bytes,
) -> Run<Blob> {
    let Serving { service, context, origin } = serving;
    let Ok(service) = service.downcast::<S>() else {
        return Run::Now(Err(Failure::Ambiguous));
    };
    let scope = context.clone();
    function::run::<M>(&scope, arguments, |arguments| {
        M::run(Serving { service, context, origin }, arguments)
    })
}

/// A method registered for being called; written by the macro.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "the function pointers have nothing to show")]
pub struct RegisteredMethod {
    service: &'static str,
    tag: Tag,
    policy: fn() -> Policy,
    mode: Mode,
    run: fn(Serving<dyn Any>, &Bytes) -> Run<Blob>,
}

impl RegisteredMethod {
    /// The registration of `M`, a method of `S`.
    pub const fn new<S: Offered, M: Method<S>>(policy: fn() -> Policy, mode: Mode) -> Self {
        Self { service: S::NAME, tag: M::TAG, policy, mode, run: run_encoded::<S, M> }
    }
}

inventory::collect!(RegisteredMethod);
