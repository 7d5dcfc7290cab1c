//! The caller's side of a call.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use actogen_runtime::{
    Place,
    core::{ContextId, Handle},
};

use super::{
    Callable, Chain, Function,
    callee::{Callee, CallsHeld, Count, GiveUp, Invoke, Link, Outcome},
    failure::CallError,
};
use crate::{
    address::{DecodingScope, Remote},
    blob,
    context::Context,
    message::{Body, Codec},
    send::Request,
    send_error::SendError,
    spawn::Child,
};

/// A call that has been sent, or waits for room. It resolves to what the function gives, or to why there is nothing. Dropping it gives the
/// call up: a function that has not begun is not run, and an asynchronous one that has is dropped where it waits.
#[must_use = "a call that is not awaited is given up; `call_no_reply` waits for nothing"]
pub struct FunctionCall<F: Callable> {
    state: State,
    context: ContextId,
    _function: PhantomData<fn() -> F>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all calls are asked, and a box for each would cost more"
)]
enum State {
    Asked { request: Request<Invoke>, by: Cord },
    Failed(CallError),
    Done,
}

/// What a call is given up by.
struct Cord {
    callee: Remote<Callee>,
    call: u64,
    link: Option<Link>,
}

impl<F: Callable> FunctionCall<F> {
    pub(crate) fn begin(
        callee: &Remote<Callee>,
        arguments: &F::Arguments,
        link: Option<Link>,
    ) -> Self {
        let context = callee.context_id();
        let state = match encode::<F>(arguments) {
            Err(error) => State::Failed(error),
            Ok(arguments) => {
                let mut call = 0;
                let request = Request::with(&callee.reach, |reply| {
                    call = reply.0;
                    let name = String::new();
                    Invoke { function: F::TAG.get(), name, call, link, arguments: arguments.into() }
                });
                State::Asked { request, by: Cord { callee: callee.clone(), call, link } }
            }
        };
        Self { state, context, _function: PhantomData }
    }

    /// Waits at most this long for the value, and for room before that, instead of the context's limit for requests (30 s unless
    /// set). It is counted from when the call is first awaited. A function that is late is given up.
    pub fn within(mut self, time: Duration) -> Self {
        if let State::Asked { request, by } = std::mem::replace(&mut self.state, State::Done) {
            self.state = State::Asked { request: request.within(time), by };
        }
        self
    }

    fn outcome(
        &self,
        answer: Result<Outcome, SendError<Invoke>>,
        by: &Cord,
    ) -> Result<F::Output, CallError> {
        let bytes = answer
            .map_err(|error| CallError::of(error, F::NAME))?
            .map_err(|failure| failure.into_error(F::NAME, self.context))?;
        let decode = || blob::decoded_from(&bytes, || F::Output::decode(Codec::Postcard, &bytes));
        let decoded = match &by.callee.reach.context {
            Some(context) => DecodingScope::of(context).decode(decode),
            None => decode(),
        };
        decoded.map_err(|error| CallError::BadAnswer { function: F::NAME, why: error.to_string() })
    }
}

fn encode<F: Callable>(arguments: &F::Arguments) -> Result<Vec<u8>, CallError> {
    let mut encoded = Vec::new();
    match arguments.encode(Codec::Postcard, &mut encoded) {
        Ok(()) => Ok(encoded),
        Err(error) => Err(CallError::Arguments { function: F::NAME, why: error.to_string() }),
    }
}

impl<F: Callable> Unpin for FunctionCall<F> {}

impl<F: Callable> Future for FunctionCall<F> {
    type Output = Result<F::Output, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.state {
            State::Asked { request, .. } => Some(task::ready!(Pin::new(request).poll(cx))),
            State::Failed(_) => None,
            State::Done => panic!("a call was polled after it had ended"),
        };
        // A function that is late is told so by the drop of what is left.
        let is_late = matches!(answer, Some(Err(SendError::Timeout(_))));
        let outcome = match (std::mem::replace(&mut self.state, State::Done), answer) {
            (State::Asked { by, .. }, Some(answer)) => {
                let outcome = self.outcome(answer, &by);
                if is_late {
                    by.pull();
                }
                outcome
            }
            (State::Failed(error), _) => Err(error),
            _ => unreachable!("it had been asked, or had failed"),
        };
        Poll::Ready(outcome)
    }
}

impl Cord {
    /// Gives the call up.
    fn pull(self) {
        let Self { callee, call, link } = self;
        if call != 0 {
            // A kindness, as far as there is room for it.
            drop(callee.try_send(GiveUp { call, link }));
        }
    }
}

impl<F: Callable> Drop for FunctionCall<F> {
    fn drop(&mut self) {
        if let State::Asked { request, by } = std::mem::replace(&mut self.state, State::Done) {
            // First, so that a request which has not left never leaves.
            drop(request);
            by.pull();
        }
    }
}

impl<F: Callable> fmt::Debug for FunctionCall<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FunctionCall<{}>(in {})", F::NAME, self.context)
    }
}

/// The functions of one context, as another calls them; see [`Context::functions_in`]. A cheap handle.
#[derive(Clone, Debug)]
pub struct Functions {
    pub(super) context: Context,
    pub(super) callee: Remote<Callee>,
}

impl Functions {
    /// Calls a function. Sent at once if there is room on the way.
    pub fn call<F: Function>(&self, arguments: F::Arguments) -> FunctionCall<F> {
        FunctionCall::begin(&self.callee, &arguments, None)
    }

    /// Calls a function, and waits for nothing but room on the way. If it fails, the log of the context where it runs says so.
    ///
    /// # Errors
    /// [`CallError`], if the call has not left.
    pub async fn call_no_reply<F: Function>(
        &self,
        arguments: F::Arguments,
    ) -> Result<(), CallError> {
        let arguments = encode::<F>(&arguments)?.into();
        let (function, name) = (F::TAG.get(), F::NAME.to_owned());
        let invoke = Invoke { function, name, call: 0, link: None, arguments };
        let told = self.callee.tell(invoke).await;
        told.map_err(|error| CallError::of(error, F::NAME))
    }

    /// What the context holds for those who call its functions.
    ///
    /// # Errors
    /// [`CallError`], if it could not be asked.
    pub async fn held(&self) -> Result<CallsHeld, CallError> {
        let held = self.callee.send(Count).await;
        held.map_err(|error| CallError::of(error, "actogen.CallsHeld"))
    }

    /// Whose they are.
    pub fn context_id(&self) -> ContextId {
        self.callee.context_id()
    }
}

impl Context {
    /// The functions of another context, which must lie below this one, or of this one. Whoever calls more than once keeps it: it knows the way.
    pub fn functions_in(&self, place: Place) -> Functions {
        let callee = self.remote(place.address(Handle::CALL_FUNCTION));
        Functions { context: self.clone(), callee }
    }

    /// Calls a function in another context, once; see [`Functions::call`].
    pub fn call_in<F: Function>(&self, place: Place, arguments: F::Arguments) -> FunctionCall<F> {
        self.functions_in(place).call(arguments)
    }
}

impl Child {
    /// Calls a function in the child; see [`Functions::call`].
    pub fn call<F: Function>(&self, arguments: F::Arguments) -> FunctionCall<F> {
        self.functions().call(arguments)
    }

    /// Calls a function in the child and waits for no answer; see [`Functions::call_no_reply`].
    ///
    /// # Errors
    /// [`CallError`], if the call has not left.
    pub async fn call_no_reply<F: Function>(
        &self,
        arguments: F::Arguments,
    ) -> Result<(), CallError> {
        self.functions().call_no_reply::<F>(arguments).await
    }

    /// A chain of calls in the child; see [`Functions::chain`].
    pub fn chain(&self) -> Chain {
        self.functions().chain()
    }
}
