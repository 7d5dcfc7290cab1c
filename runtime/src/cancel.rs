//! Requests whose askers have given them up: one that has not begun is not handled any more.
//!
//! A word about it overtakes messages, so it may come before the request itself. It is kept for a while, and the request dies when
//! its turn comes. It is a kindness and no promise: what comes late, or is forgotten under load, changes nothing but the work done.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::atomic::{AtomicUsize, Ordering},
};

use actogen_core::{Address, ContextId, Dead, DeadReason, Handle, Handled};
use parking_lot::Mutex;

use crate::{builtin::Place, context::Context, send::Way};

/// Requests given up that a context keeps in mind; the oldest is forgotten first.
const KEPT: usize = 4 * 1024;

/// The requests to this context that were given up: who asked, and where the answer would go.
#[derive(Debug, Default)]
pub(crate) struct Cancelled {
    requests: Mutex<Requests>,
    /// So that nothing is looked up while nobody has given up anything.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Requests {
    known: BTreeSet<(ContextId, Handle)>,
    order: VecDeque<(ContextId, Handle)>,
}

impl Cancelled {
    fn note(&self, asker: ContextId, reply: Handle) {
        let mut requests = self.requests.lock();
        if requests.known.insert((asker, reply)) {
            requests.order.push_back((asker, reply));
        }
        if requests.order.len() > KEPT
            && let Some(oldest) = requests.order.pop_front()
        {
            requests.known.remove(&oldest);
        }
        self.count.store(requests.known.len(), Ordering::Release);
    }

    fn take(&self, asker: ContextId, reply: Handle) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut requests = self.requests.lock();
        let found = requests.known.remove(&(asker, reply));
        if requests.known.is_empty() {
            requests.order.clear();
        }
        self.count.store(requests.known.len(), Ordering::Release);
        found
    }
}

impl Context {
    /// Why a request need not be handled, if its asker has given it up: asked once, when its turn comes.
    pub fn given_up(&self, asker: ContextId, reply: Handle) -> Option<Dead> {
        let given_up = self.0.cancelled.take(asker, reply);
        given_up.then(|| {
            let text = format!("context {asker} has given the request up");
            Dead::new(DeadReason::Closed, Handled::No, self.id(), text)
        })
    }

    pub(crate) fn note_given_up(&self, asker: ContextId, reply: Handle) {
        self.0.cancelled.note(asker, reply);
    }

    /// Says that a request to this address is given up, as far as there is a way.
    pub(crate) fn give_up(&self, asked: Address, reply: Handle) {
        let place = Place { context: asked.context, incarnation: asked.incarnation };
        match self.way(place.address(Handle::CANCEL)) {
            Ok(Way::Away(way)) => drop(self.post_own(&way, &reply.0.to_le_bytes(), None)),
            Ok(Way::Here(_)) => self.note_given_up(self.id(), reply),
            // What is lost handles nothing.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: ContextId = ContextId(3);

    #[test]
    fn a_request_given_up_is_known_once_and_to_its_asker_alone() {
        let cancelled = Cancelled::default();
        cancelled.note(ASKER, Handle(5000));
        cancelled.note(ASKER, Handle(5000));
        assert!(!cancelled.take(ContextId(4), Handle(5000)));
        assert!(cancelled.take(ASKER, Handle(5000)));
        assert!(!cancelled.take(ASKER, Handle(5000)));
        assert!(cancelled.requests.lock().order.is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let cancelled = Cancelled::default();
        for n in 0..=KEPT as u64 {
            cancelled.note(ASKER, Handle(5000 + n));
        }
        assert_eq!(cancelled.requests.lock().known.len(), KEPT);
        assert!(!cancelled.take(ASKER, Handle(5000)));
        assert!(cancelled.take(ASKER, Handle(5001)));
    }
}
