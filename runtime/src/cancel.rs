//! Requests whose askers have given them up: one that has not begun is not handled any more.
//!
//! A word about it overtakes messages, so it may come before the request itself. It is kept for a while, and the request dies when
//! its turn comes. It is a kindness and no promise: what comes late, or is forgotten under load, changes nothing but the work done.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use actogen_core::{Address, ContextId, Dead, DeadReason, Handle, Handled, Moment};
use parking_lot::Mutex;

use crate::{builtin::Place, context::Context, way::Way};

/// Requests given up that a context keeps in mind; the oldest is forgotten first.
const KEPT: usize = 4 * 1024;

/// How long it does. The word overtakes its request by the time that the request waits; one about a request that has begun is of no use.
const KEPT_FOR: Duration = Duration::from_secs(5);

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
    /// With when each was noted, the oldest first; some are taken by now.
    order: VecDeque<(Moment, (ContextId, Handle))>,
}

impl Requests {
    fn forget_old(&mut self, now: Moment) {
        while let Some(&(noted, request)) = self.order.front()
            && (self.order.len() > KEPT || noted + KEPT_FOR <= now)
        {
            self.order.pop_front();
            self.known.remove(&request);
        }
    }
}

impl Cancelled {
    fn note(&self, now: Moment, asker: ContextId, reply: Handle) {
        let mut requests = self.requests.lock();
        if requests.known.insert((asker, reply)) {
            requests.order.push_back((now, (asker, reply)));
        }
        requests.forget_old(now);
        self.count.store(requests.known.len(), Ordering::Release);
    }

    fn take(&self, now: Moment, asker: ContextId, reply: Handle) -> bool {
        let mut requests = self.requests.lock();
        requests.forget_old(now);
        let found = requests.known.remove(&(asker, reply));
        self.count.store(requests.known.len(), Ordering::Release);
        found
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

impl Context {
    /// Why a request need not be handled, if its asker has given it up: asked once, when its turn comes.
    pub fn given_up(&self, asker: ContextId, reply: Handle) -> Option<Dead> {
        let cancelled = &self.0.cancelled;
        let given_up = !cancelled.is_empty() && cancelled.take(self.now(), asker, reply);
        given_up.then(|| {
            let text = format!("context {asker} has given the request up");
            Dead::new(DeadReason::Closed, Handled::No, self.id(), text)
        })
    }

    pub(crate) fn note_given_up(&self, asker: ContextId, reply: Handle) {
        self.0.cancelled.note(self.now(), asker, reply);
    }

    /// Says that a request to this address is given up, as far as there is a way.
    pub(crate) fn give_up(&self, asked: Address, reply: Handle) {
        let place = Place { context: asked.context, incarnation: asked.incarnation };
        match self.way(place.address(Handle::CANCEL)) {
            // Where there is no room it is left unsaid.
            Ok(Way::Away(way)) => drop(self.post_kindness(&way, &reply.0.to_le_bytes())),
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
    const NOW: Moment = Moment::START;

    #[test]
    fn a_request_given_up_is_known_once_and_to_its_asker_alone() {
        let cancelled = Cancelled::default();
        cancelled.note(NOW, ASKER, Handle(5000));
        cancelled.note(NOW, ASKER, Handle(5000));
        assert!(!cancelled.take(NOW, ContextId(4), Handle(5000)));
        assert!(cancelled.take(NOW, ASKER, Handle(5000)));
        assert!(!cancelled.take(NOW, ASKER, Handle(5000)) && cancelled.is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many_and_each_in_time() {
        let cancelled = Cancelled::default();
        for n in 0..=KEPT as u64 {
            cancelled.note(NOW, ASKER, Handle(5000 + n));
        }
        assert_eq!(cancelled.requests.lock().known.len(), KEPT);
        assert!(!cancelled.take(NOW, ASKER, Handle(5000)));
        assert!(cancelled.take(NOW, ASKER, Handle(5001)));
        assert!(!cancelled.take(NOW + KEPT_FOR, ASKER, Handle(5002)) && cancelled.is_empty());
        assert!(cancelled.requests.lock().order.is_empty());
    }
}
