//! Traces: one request over many contexts, by the W3C's *Trace Context*.
//!
//! Whatever is sent, asked or called in a trace carries it, near and far, by a header of the wire's own. Its handler runs in the same
//! trace, in a span of its own: so do the futures that handlers give, as often as they are polled, and so does whatever those send.
//! [`current`] says where the code that asks is, [`sender`] which span the handled message came from.
//!
//! ```
//! # async fn example(cx: &actogen::Context, work: impl Future<Output = ()>) {
//! use actogen::trace;
//! // At the edge: the caller's own trace, or a new one.
//! let header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
//! let span = header.parse().map_or_else(|_| trace::new_root(cx), |from| trace::new_span(cx, &from));
//! trace::scope(Some(span), work).await;
//! # }
//! ```
//!
//! | what | is in the trace of |
//! |---|---|
//! | a handler, and the future or actor future that it gives | the message, in a new span |
//! | a function or a method of a service, `blocking` ones too | the call, in a new span |
//! | what goes on after an answer has come | whatever awaits it; answers carry no trace |
//! | tasks that a handler spawns, items of an actor's context, and the future of an `AtomicResponse` | nothing, until they are put in [`scope`] |
//! | what comes by a channel or a stream | nothing |
//!
//! Nothing here records anything: that is a tracing library's. With OpenTelemetry, make your span a child of [`sender`]'s, and put what
//! it does in a [`scope`] with the span's own ids; the book has an example. The `tracestate` that some vendors send is not carried.
//! Records of the log bear the span that they were made in ([`crate::LogRecord::trace`]).
//!
//! What a peer says about its traces is its word alone: it may claim any trace, and one that names nothing is taken for none.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

pub use actogen_runtime::core::wire::{TraceContext, TraceparentError};

use crate::context::Context;

thread_local! {
    /// The span that the code which runs on this thread is in, for as long as a handler's call or a future's poll lasts; as `tracing`
    /// keeps its own.
    static SCOPE: Cell<Option<Step>> = const { Cell::new(None) };
}

/// Where in a trace some code is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    span: TraceContext,
    /// The span that the handled message came from.
    sender: Option<TraceContext>,
}

/// Where in a trace what goes on later is; nothing for most.
pub(crate) type Kept = Option<Box<Step>>;

/// The span that the code which asks is in.
#[inline]
pub fn current() -> Option<TraceContext> {
    // Asked for each message that is sent, of which most are in none.
    if is_any() { some_span() } else { None }
}

#[cold]
fn some_span() -> Option<TraceContext> {
    SCOPE.get().map(|step| step.span)
}

/// The span in which the message that is being handled was sent: the parent of [`current`]. `None` outside of handlers.
pub fn sender() -> Option<TraceContext> {
    SCOPE.get().and_then(|step| step.sender)
}

/// The first span of a new trace, sampled. Its ids come from the context's own randomness, or from its seed.
pub fn new_root(context: &Context) -> TraceContext {
    let context: &actogen_runtime::Context = context;
    let [high, low] = [context.fresh_number(), context.fresh_number()].map(u64::to_be_bytes);
    let mut trace_id = [0; 16];
    trace_id[..8].copy_from_slice(&high);
    trace_id[8..].copy_from_slice(&low);
    TraceContext { trace_id, span_id: fresh_span(context), flags: 1 }
}

/// A new span of the same trace.
pub fn new_span(context: &Context, parent: &TraceContext) -> TraceContext {
    parent.step(fresh_span(context))
}

fn fresh_span(context: &actogen_runtime::Context) -> [u8; 8] {
    // Never 0: that is a reserved handle.
    context.fresh_number().to_be_bytes()
}

/// Runs a function in a span; with `None`, or ids of zeroes, in none.
pub fn run<T>(span: Option<TraceContext>, function: impl FnOnce() -> T) -> T {
    let step = step_in(span);
    let _scope = enter(step.as_ref());
    function()
}

/// Polls a future in a span; with `None`, or ids of zeroes, in none. `scope(current(), ...)` takes a trace along to where the future is
/// spawned.
pub fn scope<F: Future>(span: Option<TraceContext>, future: F) -> InTrace<F> {
    InTrace::keeping(step_in(span).map(Box::new), Box::pin(future))
}

fn step_in(span: Option<TraceContext>) -> Option<Step> {
    let span = span.filter(TraceContext::is_valid)?;
    Some(Step { span, sender: None })
}

/// A future that is polled in a span.
#[must_use = "a future does nothing unless it is polled"]
pub struct InTrace<F: ?Sized> {
    step: Kept,
    future: Pin<Box<F>>,
}

impl<F: Future + ?Sized> InTrace<F> {
    pub(crate) fn keeping(step: Kept, future: Pin<Box<F>>) -> Self {
        Self { step, future }
    }
}

impl<F: Future + ?Sized> Future for InTrace<F> {
    type Output = F::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let _scope = enter(self.step.as_deref());
        self.future.as_mut().poll(cx)
    }
}

impl<F: ?Sized> fmt::Debug for InTrace<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.step.as_ref().map(|step| step.span);
        f.debug_struct("InTrace").field("span", &span).finish_non_exhaustive()
    }
}

/// Until it is dropped, the thread is in another span, or in none.
#[derive(Debug)]
pub(crate) struct Entered {
    outer: Option<Step>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        SCOPE.set(self.outer);
    }
}

/// Whether the code that asks is in a span: one read of the thread's own memory.
#[inline]
pub(crate) fn is_any() -> bool {
    SCOPE.get().is_some()
}

/// Where the code that asks is, for what it leaves to be done later.
#[inline]
pub(crate) fn kept() -> Kept {
    if is_any() { SCOPE.get().map(Box::new) } else { None }
}

/// Goes where something was left to be done; nowhere, if that is no span and the thread is in none.
#[inline]
pub(crate) fn enter(step: Option<&Step>) -> Option<Entered> {
    if step.is_none() && !is_any() {
        return None;
    }
    Some(Entered { outer: SCOPE.replace(step.copied()) })
}

/// Begins to handle a message that this span has sent, in one of its own.
#[cold]
pub(crate) fn handle(context: &actogen_runtime::Context, sender: TraceContext) -> Entered {
    let step = Step { span: sender.step(fresh_span(context)), sender: Some(sender) };
    Entered { outer: SCOPE.replace(Some(step)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: TraceContext = TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 };

    #[test]
    fn a_scope_ends_with_what_runs_in_it() {
        let inner = TraceContext { span_id: [3; 8], ..SPAN };
        run(Some(SPAN), || {
            assert_eq!((current(), sender()), (Some(SPAN), None));
            run(Some(inner), || assert_eq!(current(), Some(inner)));
            run(None, || assert_eq!(current(), None));
            let nothing = TraceContext { trace_id: [0; 16], ..SPAN };
            run(Some(nothing), || assert_eq!(current(), None));
            assert_eq!(current(), Some(SPAN));
        });
        let panic = std::panic::catch_unwind(|| run(Some(SPAN), || panic!("within")));
        assert!(panic.is_err());
        assert_eq!(current(), None);
    }

    #[tokio::test]
    async fn a_future_is_in_its_span_whenever_it_is_polled() {
        let stays = async |span| {
            for _ in 0..3 {
                assert_eq!(current(), span);
                tokio::task::yield_now().await;
            }
        };
        let other = Some(TraceContext { span_id: [3; 8], ..SPAN });
        tokio::join!(
            scope(Some(SPAN), stays(Some(SPAN))),
            scope(other, stays(other)),
            stays(None),
            scope(Some(SPAN), scope(None, stays(None))),
        );
        assert_eq!(current(), None);
    }
}
