//! Functions that other contexts call: registered by name, run where they are called, answered with a value or with why there is none.
//!
//! | room | concept |
//! |---|---|
//! | here | what a function is, and how a program registers it |
//! | `call` | the caller's side |
//! | `chain` | calls in a row, of which the first failure fails the rest |
//! | `callee` | the actor of every context that runs what is called |
//! | `row` | a chain at the called side |
//! | `failure` | why there is no value, as it travels and as the caller gets it |
//! | `caught` | panics become failures, with their place |

mod call;
pub(crate) mod callee;
pub(crate) mod caught;
mod chain;
mod failure;
mod row;

use std::{collections::HashMap, error::Error, future::Future, pin::Pin};

use actogen_runtime::core::{
    Handle,
    policy::{Origin, Policy},
};
use bytes::Bytes;

pub use call::{FunctionCall, Functions};
pub use callee::CallsHeld;
pub(crate) use callee::{Calls, Table};
pub use chain::Chain;
pub use failure::{CallError, Failure, RemoteError};

use crate::{
    address::DecodingScope,
    blob::Blob,
    context::Context,
    message::{Body, Codec, Tag},
    trace,
};

/// What others can call by its tag: a function, or a method of a service.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that can be called in other contexts",
    label = "mark the function with `#[actogen::function]`"
)]
pub trait Callable: 'static {
    /// The declared name.
    const NAME: &'static str;
    /// The tag made of name and version.
    const TAG: Tag;
    /// `()`, the one argument, or a tuple of all.
    type Arguments: Body;
    /// What it gives.
    type Output: Body;
}

/// A function that others can call in this program's contexts; written by [`macro@crate::function`], which gives the type the function's name:
///
/// ```
/// use actogen::prelude::*;
///
/// #[actogen::function]
/// fn hostname() -> std::io::Result<String> {
///     std::fs::read_to_string("/etc/hostname")
/// }
///
/// # async fn calls(child: actogen::Child) -> actogen::Result<()> {
/// let name = child.call::<hostname>(()).await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function that can be called in other contexts",
    label = "mark the function with `#[actogen::function]`"
)]
pub trait Function: Callable {
    /// Calls the author's function.
    #[doc(hidden)]
    fn run(context: Context, arguments: Self::Arguments) -> Run<Self::Output>;
}

pub(crate) type Later<T> = Pin<Box<dyn Future<Output = Result<T, Failure>>>>;

/// What a call of the author's function gives: its outcome, or the future of that.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "a future has nothing to show")]
pub enum Run<T> {
    /// A plain function has returned.
    Now(Result<T, Failure>),
    /// An asynchronous one has begun.
    Later(Later<T>),
}

impl<T: Send + 'static> Run<T> {
    /// Runs a plain function on a thread that may block.
    pub fn blocking(function: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Self {
        let span = trace::kept();
        let task = tokio::task::spawn_blocking(move || {
            let _scope = trace::enter(span.as_deref());
            caught::catch(function)
        });
        Self::Later(Box::pin(async move {
            match task.await {
                Ok(outcome) => outcome,
                // The panic is caught within: the runtime is ending.
                Err(error) => Err(Failure::Ended(error.to_string())),
            }
        }))
    }
}

/// The result of a function that may fail: any error will do, and its causes travel with it.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the error of this function cannot travel",
    note = "return `Result<T, E>` with an `E` that is an error, a text or `actogen::Error`"
)]
pub trait Fallible {
    /// What it gives when it succeeds.
    type Output: Body;

    /// The outcome, as it travels.
    fn outcome(self) -> Result<Self::Output, Failure>;
}

impl<T: Body, E: Into<Box<dyn Error + Send + Sync>>> Fallible for Result<T, E> {
    type Output = T;

    fn outcome(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(&*error.into()))
    }
}

/// A function registered for being called; written by the macro.
#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "the function pointer has nothing to show")]
pub struct Registered {
    name: &'static str,
    tag: Tag,
    run: fn(&Context, &[u8]) -> Run<Blob>,
}

impl Registered {
    /// The registration of `F`.
    pub const fn new<F: Function>() -> Self {
        Self { name: F::NAME, tag: F::TAG, run: run_encoded::<F> }
    }
}

inventory::collect!(Registered);

/// The functions of this program, by tag; nothing for a name that two have.
struct Registry(HashMap<u64, Option<&'static Registered>>);

impl Registry {
    fn new() -> Self {
        let mut functions = HashMap::new();
        for registered in inventory::iter::<Registered> {
            functions
                .entry(registered.tag.get())
                .and_modify(|function| *function = None)
                .or_insert(Some(registered));
        }
        Self(functions)
    }
}

impl Table for Registry {
    fn begin(&self, context: &Context, _: &Origin, tag: u64, arguments: &Bytes) -> Run<Blob> {
        match self.0.get(&tag) {
            Some(Some(registered)) => (registered.run)(context, arguments),
            Some(None) => Run::Now(Err(Failure::Ambiguous)),
            None => {
                let mut known: Vec<_> = inventory::iter::<Registered>
                    .into_iter()
                    .map(|registered| registered.name.to_owned())
                    .collect();
                known.sort();
                Run::Now(Err(Failure::Unknown(known)))
            }
        }
    }
}

/// Where a context's functions are called, to be opened before anybody can reach it, and what comes in by it.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Calls) {
    callee::door(Handle::CALL_FUNCTION, Policy::ParentAuthority)
}

/// Runs the functions that are called, on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, calls: Calls) {
    callee::serve(context, calls, Box::new(Registry::new()));
}

fn run_encoded<F: Function>(context: &Context, arguments: &[u8]) -> Run<Blob> {
    run::<F>(context, arguments, |arguments| F::run(context.clone(), arguments))
}

/// Decodes the arguments, calls, and encodes what comes of it.
pub(crate) fn run<F: Callable>(
    context: &Context,
    arguments: &[u8],
    call: impl FnOnce(F::Arguments) -> Run<F::Output>,
) -> Run<Blob> {
    let decoded = DecodingScope::of(context)
        .decode(|| F::Arguments::decode(Codec::Postcard, arguments))
        .map_err(|error| Failure::Arguments(error.to_string()));
    let arguments = match decoded {
        Ok(arguments) => arguments,
        Err(failure) => return Run::Now(Err(failure)),
    };
    match caught::catch(|| Ok(call(arguments))) {
        Ok(Run::Now(outcome)) => Run::Now(encoded::<F>(outcome)),
        Ok(Run::Later(future)) => {
            Run::Later(Box::pin(async move { encoded::<F>(caught::Caught::new(future).await) }))
        }
        Err(failure) => Run::Now(Err(failure)),
    }
}

fn encoded<F: Callable>(outcome: Result<F::Output, Failure>) -> Result<Blob, Failure> {
    let mut bytes = Vec::new();
    match outcome?.encode(Codec::Postcard, &mut bytes) {
        Ok(()) => Ok(bytes.into()),
        Err(error) => Err(Failure::Unencodable(error.to_string())),
    }
}
