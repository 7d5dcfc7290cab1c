//! Pauses between contexts: asked for by mailboxes that fill up, kept by those who send to them (protocol rule 17).

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use actogen_core::{Address, ContextId, Handle, flow::Pauses};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    builtin::Place,
    context::{Context, Phase},
    way::Way,
};

/// The pauses that others have asked of this context.
#[derive(Debug)]
pub(crate) struct Paused {
    pauses: Mutex<Pauses>,
    /// So that a sender takes no lock while nobody is paused.
    count: AtomicUsize,
    resumed: Notify,
}

impl Paused {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            pauses: Mutex::new(Pauses::new(limit)),
            count: AtomicUsize::new(0),
            resumed: Notify::new(),
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Pauses) -> T) -> T {
        let mut pauses = self.pauses.lock();
        let outcome = change(&mut pauses);
        self.count.store(pauses.len(), Ordering::Release);
        outcome
    }
}

impl Context {
    /// A mailbox of another context asks this one to pause.
    pub(crate) fn pause(&self, context: ContextId, handle: Handle) {
        let now = self.now();
        self.0.paused.with(|pauses| pauses.pause(now, context, handle));
    }

    /// A mailbox of another context has room again.
    pub(crate) fn resume(&self, context: ContextId, handle: Handle) {
        if self.0.paused.with(|pauses| pauses.resume(context, handle)) {
            self.0.paused.resumed.notify_waiters();
        }
    }

    /// A context is gone: its pauses hold nobody any longer.
    pub(crate) fn forget_pauses(&self, context: ContextId) {
        if self.0.paused.count.load(Ordering::Acquire) > 0 {
            self.0.paused.with(|pauses| pauses.forget(context));
            self.0.paused.resumed.notify_waiters();
        }
    }

    /// Whether a mailbox has asked to be left alone.
    #[inline]
    pub(crate) fn is_paused(&self, to: Address) -> bool {
        self.0.paused.count.load(Ordering::Acquire) > 0 && self.pause_left(to).is_some()
    }

    /// How long a mailbox has asked to be left alone; `None` when messages may go to it.
    pub(crate) fn pause_left(&self, to: Address) -> Option<Duration> {
        if self.0.paused.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = self.now();
        self.0.paused.with(|pauses| pauses.left(now, to.context, to.handle))
    }

    /// Waits until a mailbox may be sent to again, or this context ends.
    pub(crate) async fn pause_over(&self, to: Address) {
        if self.pause_left(to).is_none() {
            return;
        }
        let mut phase = self.phase();
        loop {
            let resumed = self.0.paused.resumed.notified();
            tokio::pin!(resumed);
            resumed.as_mut().enable();
            let Some(left) = self.pause_left(to) else { return };
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
                // Whoever is woken for another mailbox looks again.
                () = resumed => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Asks a context that sends to the mailbox `handle` of this one to pause.
    pub fn ask_to_pause(&self, sender: ContextId, handle: Handle) {
        self.tell_sender(sender, Handle::PAUSE, handle);
    }

    /// Tells a context that was asked to pause that it may go on.
    pub fn ask_to_resume(&self, sender: ContextId, handle: Handle) {
        self.tell_sender(sender, Handle::RESUME, handle);
    }

    fn tell_sender(&self, sender: ContextId, what: Handle, handle: Handle) {
        let place = Place { context: sender, incarnation: actogen_core::Incarnation::ANY };
        if let Ok(Way::Away(way)) = self.way(place.address(what)) {
            // One that is gone sends nothing more.
            let _ = self.post_own(&way, &handle.0.to_le_bytes(), None);
        }
    }
}
