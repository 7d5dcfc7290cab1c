//! Panics of called functions become failures, with their text and their place.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Once,
    task::{self, Poll},
};

use super::failure::Failure;
use crate::guard::panic_text;

thread_local! {
    /// The place of the last panic while [`catch`] runs on this thread. Only the panic hook is told it, and the hook belongs to the process: so
    /// it is left here for the catcher, who takes it before anything else runs.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has the panic hook leave the place of each panic; the hook that was there before runs as well.
fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string);
            // At the end of a thread the slot may be gone.
            let _ = PLACE.try_with(|slot| slot.replace(place));
            before(panic);
        }));
    });
}

/// Calls a function, and takes a panic for a failure.
pub(super) fn catch<T>(function: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    note_places();
    catch_unwind(AssertUnwindSafe(function)).unwrap_or_else(|panic| {
        let place = PLACE.with(RefCell::take);
        Err(Failure::Panic { text: panic_text(&*panic), place })
    })
}

/// A future whose panics are failures.
pub(crate) struct Caught<F>(Pin<Box<F>>);

impl<F> Caught<F> {
    pub(crate) fn new(future: F) -> Self {
        Self(Box::pin(future))
    }
}

impl<T, F: Future<Output = Result<T, Failure>>> Future for Caught<F> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        match catch(|| Ok(self.0.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }
}
