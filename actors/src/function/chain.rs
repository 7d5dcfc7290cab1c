//! Chains: calls that run in a row, sent without waiting for each other, of which the first failure fails the rest unrun.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use actogen_runtime::Place;

use super::{
    Function, FunctionCall,
    callee::{Callee, Link, Unchain},
};
use crate::{address::Remote, context::Context, spawn::Child};

/// Calls in a row to one context; see [`Context::chain_in`].
pub struct Chain {
    context: Context,
    callee: Remote<Callee>,
    id: u64,
    /// The number of the next call.
    next: AtomicU64,
}

impl Chain {
    /// Calls a function when those before it on this chain have given their values. The first that fails, or is given up, fails
    /// the chain: what comes behind is not run and gets the same error, until [`Self::reset`].
    pub fn call<F: Function>(&self, arguments: F::Arguments) -> FunctionCall<F> {
        let link = Link { chain: self.id, number: self.next.fetch_add(1, Ordering::Relaxed) };
        FunctionCall::begin(&self.callee, &arguments, Some(link))
    }

    /// Begins anew, as if nothing had failed. Calls that are still under way keep the order of before, but not with those that follow.
    pub fn reset(&mut self) {
        self.leave();
        self.id = self.context.fresh_number();
        *self.next.get_mut() = 0;
    }

    /// Where its functions run.
    pub fn context_id(&self) -> actogen_runtime::core::ContextId {
        self.callee.context_id()
    }

    /// Lets the context forget it: behind all calls, on the same lane.
    fn leave(&self) {
        if self.next.load(Ordering::Relaxed) > 0 {
            let word = self.callee.tell(Unchain(self.id));
            self.context.spawn(async move { drop(word.await) });
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain")
            .field("context", &self.callee.context_id())
            .field("calls", &self.next)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A chain of calls in another context, which must lie below this one, or in this one. Chains are independent of each other.
    pub fn chain_in(&self, place: Place) -> Chain {
        Chain {
            context: self.clone(),
            callee: self.callee(place),
            id: self.fresh_number(),
            next: AtomicU64::new(0),
        }
    }
}

impl Child {
    /// A chain of calls in the child; see [`Context::chain_in`].
    pub fn chain(&self) -> Chain {
        self.parent().chain_in(self.place())
    }
}
