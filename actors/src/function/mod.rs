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
mod callee;
mod caught;
mod chain;
mod failure;
mod row;

use std::{error::Error, future::Future, pin::Pin};

pub use call::{FunctionCall, Functions};
pub use callee::CallsHeld;
pub(crate) use callee::{door, serve};
pub use chain::Chain;
pub use failure::{CallError, RemoteError};

use bytes::Bytes;
use failure::Failure;

use crate::{
    address::DecodingScope,
    context::Context,
    message::{Body, Codec, Tag},
};

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
pub trait Function: 'static {
    /// The declared name.
    const NAME: &'static str;
    /// The tag made of name and version.
    const TAG: Tag;
    /// `()`, the one argument, or a tuple of all.
    type Arguments: Body;
    /// What it gives.
    type Output: Body;

    /// Calls the author's function.
    #[doc(hidden)]
    fn run(context: Context, arguments: Self::Arguments) -> Run<Self::Output>;
}

type Later<T> = Pin<Box<dyn Future<Output = Result<T, Failure>>>>;

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
        let task = tokio::task::spawn_blocking(move || caught::catch(function));
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
    run: fn(&Context, &[u8]) -> Run<Bytes>,
}

impl Registered {
    /// The registration of `F`.
    pub const fn new<F: Function>() -> Self {
        Self { name: F::NAME, tag: F::TAG, run: run_encoded::<F> }
    }
}

inventory::collect!(Registered);

/// Decodes the arguments, calls, and encodes what comes of it.
fn run_encoded<F: Function>(context: &Context, arguments: &[u8]) -> Run<Bytes> {
    let decoded = DecodingScope::of(context)
        .decode(|| F::Arguments::decode(Codec::Postcard, arguments))
        .map_err(|error| Failure::Arguments(error.to_string()));
    let arguments = match decoded {
        Ok(arguments) => arguments,
        Err(failure) => return Run::Now(Err(failure)),
    };
    let context = context.clone();
    match caught::catch(|| Ok(F::run(context, arguments))) {
        Ok(Run::Now(outcome)) => Run::Now(encoded::<F>(outcome)),
        Ok(Run::Later(future)) => {
            Run::Later(Box::pin(async move { encoded::<F>(caught::Caught::new(future).await) }))
        }
        Err(failure) => Run::Now(Err(failure)),
    }
}

fn encoded<F: Function>(outcome: Result<F::Output, Failure>) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    match outcome?.encode(Codec::Postcard, &mut bytes) {
        Ok(()) => Ok(bytes.into()),
        Err(error) => Err(Failure::Unencodable(error.to_string())),
    }
}
