//! A mailbox that outlives its actor: what waits in it when a life ends is handled in the next one, under the same address.
//!
//! A supervisor keeps it ([`crate::nursery`]). Between two lives it is *vacant*: messages are taken as before, within the same bounds, and
//! nobody handles them.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, atomic::Ordering},
};

use actogen_runtime::mailbox::StopReason;

use super::{Intake, Waiting};

/// Told why a life is over, once for each.
pub(crate) type Over = Arc<dyn Fn(StopReason) + Send + Sync>;

/// What a mailbox that outlives its actor knows.
pub(super) struct Kept {
    over: Over,
    /// Counts the lives, from 1.
    life: u64,
    vacant: bool,
    /// How the last life ended.
    last: Option<StopReason>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("vacant", &self.vacant).finish_non_exhaustive()
    }
}

impl Intake {
    /// Has the mailbox outlive its actors from now on; it is vacant until one is there.
    pub(crate) fn keep(&self, over: Over) {
        *self.rare().kept.lock() = Some(Kept { over, life: 0, vacant: true, last: None });
    }

    /// The next life begins.
    pub(crate) fn begin_life(&self) {
        if let Some(kept) = &mut *self.rare().kept.lock() {
            kept.vacant = false;
            kept.life += 1;
        }
    }

    /// Whether it outlives its actors, and none is there.
    pub(crate) fn is_vacant(&self) -> bool {
        self.rare().kept.lock().as_ref().is_some_and(|kept| kept.vacant)
    }

    /// The number of the present life, or of the last one.
    pub(crate) fn life(&self) -> u64 {
        self.rare().kept.lock().as_ref().map_or(0, |kept| kept.life)
    }

    /// Ends this life, if it is still the present one, without its `stopping` hook, even when it was asked to end before and goes on.
    pub(crate) fn kill_life(&self, life: u64) {
        let rare = self.rare();
        let kept = rare.kept.lock();
        if kept.as_ref().is_some_and(|kept| kept.vacant || kept.life != life) {
            return;
        }
        self.ask_to_end(StopReason::Killed);
        drop(kept);
        self.wake();
    }

    /// The mailbox outlives nobody any more: it ends now if it is vacant, for the reason of the last life's end, and with its actor
    /// otherwise, for this one.
    pub(crate) fn let_go(&self, reason: StopReason) {
        let kept = self.rare().kept.lock().take();
        match kept {
            Some(Kept { vacant: true, last, .. }) => {
                self.close(&mut VecDeque::new(), last.unwrap_or(reason));
            }
            Some(_) => actogen_runtime::mailbox::Mailbox::end(self, reason),
            None => {}
        }
    }

    /// A life is over. Whether the mailbox outlives it: what is left waits for the next one then.
    pub(super) fn outlives(&self, left: &mut VecDeque<Waiting>, fallback: &StopReason) -> bool {
        let Some(rare) = self.queue.lock().rare.clone() else { return false };
        let mut kept = rare.kept.lock();
        let Some(state) = &mut *kept else { return false };
        let over = state.over.clone();
        let why = rare.reason.lock().clone().unwrap_or_else(|| fallback.clone());
        // A context that shuts down is the end of its mailboxes too.
        let outlives = why != StopReason::Shutdown && self.context.is_running();
        if outlives {
            state.vacant = true;
            state.last = Some(why.clone());
            *rare.reason.lock() = None;
            self.end_asked.store(false, Ordering::Release);
            self.end_taken.store(false, Ordering::Release);
            self.put_back(left);
        } else {
            *kept = None;
        }
        drop(kept);
        over(why);
        outlives
    }

    /// Whether a request to end meets nobody: the mailbox is vacant, and ends itself if its context does.
    pub(super) fn is_vacant_at(&self, reason: &StopReason) -> bool {
        let Some(rare) = self.queue.lock().rare.clone() else { return false };
        let is_vacant = rare.kept.lock().as_ref().is_some_and(|kept| kept.vacant);
        if is_vacant && *reason == StopReason::Shutdown {
            self.let_go(StopReason::Shutdown);
        }
        is_vacant
    }
}
