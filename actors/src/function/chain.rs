//! Chains: calls that run in a row, sent without waiting for each other, of which the first failure fails the rest unrun.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    Function, FunctionCall, Functions,
    callee::{Link, Unchain},
};

/// Calls in a row to one context; see [`Functions::chain`].
pub struct Chain {
    functions: Functions,
    id: u64,
    /// The number of the next call.
    next: AtomicU64,
}

impl Chain {
    /// Calls a function when those before it on this chain have given their values. The first that fails, or is given up, fails
    /// the chain: what comes behind is not run and gets the same error, until [`Self::reset`].
    pub fn call<F: Function>(&self, arguments: F::Arguments) -> FunctionCall<F> {
        let link = Link { chain: self.id, number: self.next.fetch_add(1, Ordering::Relaxed) };
        FunctionCall::begin(&self.functions.callee, &arguments, Some(link))
    }

    /// Begins anew, as if nothing had failed. Calls that are still under way keep the order of before, but not with those that follow.
    pub fn reset(&mut self) {
        self.leave();
        self.id = self.functions.context.fresh_number();
        *self.next.get_mut() = 0;
    }

    /// Where its functions run.
    pub fn context_id(&self) -> actogen_runtime::core::ContextId {
        self.functions.context_id()
    }

    /// Lets the context forget it: behind all calls, on the same lane.
    fn leave(&self) {
        if self.next.load(Ordering::Relaxed) > 0 {
            let word = self.functions.callee.tell(Unchain(self.id));
            self.functions.context.spawn(async move { drop(word.await) });
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
            .field("context", &self.functions.context_id())
            .field("calls", &self.next)
            .finish_non_exhaustive()
    }
}

impl Functions {
    /// A chain of calls. Chains are independent of each other.
    pub fn chain(&self) -> Chain {
        let id = self.context.fresh_number();
        Chain { functions: self.clone(), id, next: AtomicU64::new(0) }
    }
}
