//! The mailboxes of a context: who receives under which handle, who is told when one ends, and what is remembered of those that
//! did.

use std::{
    any::Any,
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use actogen_core::{ContextId, Handle, policy::Policy};
use dashmap::DashMap;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{batch::Batch, context::Context, hash::Plain, transport::BoxFuture};

/// Receives messages.
pub trait Mailbox: Any + Send + Sync {
    /// Takes messages that came together, in order. What cannot be kept is refused through [`crate::Context::refuse`]; nothing is
    /// dropped without that. Must not block, and must not call back into the runtime for longer than it takes to answer.
    fn push(&self, context: &Context, batch: Batch);

    /// Waits until senders of the same context find room, or the mailbox has ended.
    fn room(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// How many messages senders of the same context have put in themselves, past [`Self::push`], and not [counted](Context::count_sent).
    fn sent(&self) -> u64 {
        0
    }

    /// Asks the receiver to end, for this reason. A shutdown asks all of them, and waits a while for each to
    /// [unbind](crate::Context::unbind) itself.
    fn end(&self, reason: StopReason) {
        let _ = reason;
    }
}

/// Why a mailbox ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum StopReason {
    /// Its actor stopped as actors do.
    Normal,
    /// Its actor ended itself with an error.
    Error(String),
    /// Its actor panicked.
    Panic(String),
    /// It was ended from outside.
    Killed,
    /// There never was such a mailbox, as far as its context remembers.
    NeverExisted,
    /// Its context shut down.
    Shutdown,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("stopped"),
            Self::Error(text) => write!(f, "stopped with an error: {text}"),
            Self::Panic(text) => write!(f, "panicked: {text}"),
            Self::Killed => f.write_str("killed"),
            Self::NeverExisted => f.write_str("never existed"),
            Self::Shutdown => f.write_str("its context shut down"),
        }
    }
}

/// A watch that somebody holds on a mailbox: where its notice goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Watcher {
    pub(crate) context: ContextId,
    pub(crate) handle: Handle,
}

/// Who watches one mailbox.
#[derive(Debug)]
enum Watchers {
    /// Most have none, and need no room for them.
    #[expect(clippy::box_collection, reason = "a vector that is empty takes three times the room")]
    Some(Option<Box<Vec<Watcher>>>),
    /// The mailbox has ended, and its watchers have been told.
    Over,
}

impl Watchers {
    /// Those there are; `None` once they have been told.
    fn there(&mut self) -> Option<&mut Vec<Watcher>> {
        match self {
            Self::Some(watchers) => Some(watchers.get_or_insert_default()),
            Self::Over => None,
        }
    }

    /// Those to tell, once.
    fn take(&mut self) -> Vec<Watcher> {
        match std::mem::replace(self, Self::Over) {
            Self::Some(Some(watchers)) => *watchers,
            Self::Some(None) | Self::Over => Vec::new(),
        }
    }
}

pub(crate) struct Bound {
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) policy: Policy,
    watchers: Mutex<Watchers>,
}

impl fmt::Debug for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("policy", &self.policy).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Stopped {
    reasons: BTreeMap<Handle, StopReason>,
    order: VecDeque<Handle>,
    /// What those who have ended, and those who are forgotten, had been sent in this context.
    sent: u64,
}

/// The mailboxes of one context.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    bound: DashMap<Handle, Arc<Bound>, Plain>,
    stopped: Mutex<Stopped>,
    names: Mutex<BTreeMap<String, Named>>,
    tombstones: usize,
    watches: usize,
    watched: Mutex<usize>,
    /// Told whenever a mailbox has ended.
    ended: Notify,
}

/// A registered name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) handle: Handle,
    /// The name of the actor's type, so that a lookup of another type is an error.
    pub(crate) kind: String,
}

/// What became of a request to watch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Watching {
    Begun,
    Over(StopReason),
    TooMany,
}

impl Mailboxes {
    pub(crate) fn new(tombstones: usize, watches: usize) -> Self {
        Self {
            bound: DashMap::default(),
            stopped: Mutex::default(),
            names: Mutex::default(),
            tombstones,
            watches,
            watched: Mutex::new(0),
            ended: Notify::new(),
        }
    }

    pub(crate) fn bind(&self, handle: Handle, mailbox: Arc<dyn Mailbox>, policy: Policy) {
        self.bound.insert(
            handle,
            Arc::new(Bound { mailbox, policy, watchers: Mutex::new(Watchers::Some(None)) }),
        );
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<Arc<Bound>> {
        self.bound.get(&handle).map(|bound| bound.clone())
    }

    /// Ends a mailbox; gives those who watched it. `None` when it has ended before.
    pub(crate) fn unbind(&self, handle: Handle, reason: &StopReason) -> Option<Vec<Watcher>> {
        let bound = {
            // Whoever finds nothing bound looks here next, and waits for this lock: what has ended never seems not to have been.
            let mut stopped = self.stopped.lock();
            let (_, bound) = self.bound.remove(&handle)?;
            stopped.sent += bound.mailbox.sent();
            stopped.reasons.insert(handle, reason.clone());
            stopped.order.push_back(handle);
            if stopped.order.len() > self.tombstones
                && let Some(oldest) = stopped.order.pop_front()
            {
                stopped.reasons.remove(&oldest);
            }
            bound
        };
        self.names.lock().retain(|_, named| named.handle != handle);
        let watchers = bound.watchers.lock().take();
        *self.watched.lock() -= watchers.len();
        self.ended.notify_waiters();
        Some(watchers)
    }

    /// How many messages senders of this context have put into mailboxes of it.
    pub(crate) fn sent(&self) -> u64 {
        // Under the lock, a mailbox that ends is counted on one side or the other.
        let stopped = self.stopped.lock();
        stopped.sent + self.bound.iter().map(|bound| bound.mailbox.sent()).sum::<u64>()
    }

    /// Why a mailbox ended; `None` when it is bound, was never, or is forgotten.
    pub(crate) fn stopped(&self, handle: Handle) -> Option<StopReason> {
        self.stopped.lock().reasons.get(&handle).cloned()
    }

    pub(crate) fn watch(&self, handle: Handle, watcher: Watcher) -> Watching {
        if let Some(bound) = self.get(handle)
            && let Some(watchers) = bound.watchers.lock().there()
        {
            let mut watched = self.watched.lock();
            if *watched >= self.watches {
                return Watching::TooMany;
            }
            *watched += 1;
            watchers.push(watcher);
            return Watching::Begun;
        }
        Watching::Over(self.stopped(handle).unwrap_or(StopReason::NeverExisted))
    }

    pub(crate) fn is_watched_by(&self, handle: Handle, watcher: Watcher) -> bool {
        self.get(handle).is_some_and(|bound| {
            bound.watchers.lock().there().is_some_and(|watchers| watchers.contains(&watcher))
        })
    }

    pub(crate) fn unwatch(&self, handle: Handle, watcher: Watcher) {
        if let Some(bound) = self.get(handle) {
            self.retain_watchers(&bound, |held| held != watcher);
        }
    }

    /// Forgets the watches of contexts that are gone.
    pub(crate) fn forget_watchers(&self, gone: impl Fn(ContextId) -> bool) {
        if *self.watched.lock() > 0 {
            for bound in &self.bound {
                self.retain_watchers(&bound, |held| !gone(held.context));
            }
        }
    }

    fn retain_watchers(&self, bound: &Bound, keep: impl Fn(Watcher) -> bool) {
        if let Watchers::Some(Some(watchers)) = &mut *bound.watchers.lock() {
            let before = watchers.len();
            watchers.retain(|&held| keep(held));
            *self.watched.lock() -= before - watchers.len();
        }
    }

    /// Gives a mailbox a name; false when another bound mailbox has it.
    pub(crate) fn register(&self, name: &str, named: Named) -> bool {
        let mut names = self.names.lock();
        match names.get(name) {
            Some(other) if other.handle != named.handle => false,
            _ => {
                names.insert(name.to_owned(), named);
                true
            }
        }
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<Named> {
        self.names.lock().get(name).cloned()
    }

    /// The handles that are bound, in order.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        let mut handles: Vec<_> = self.bound.iter().map(|entry| *entry.key()).collect();
        handles.sort_unstable();
        handles
    }

    /// Waits until no mailbox of an author is bound any more.
    pub(crate) async fn all_ended(&self) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.len() == 0 {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bound.iter().filter(|entry| !entry.key().is_reserved()).count()
    }

    pub(crate) fn watched(&self) -> usize {
        *self.watched.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;
    impl Mailbox for Nowhere {
        fn push(&self, _: &Context, _: Batch) {}
    }

    fn mailboxes() -> Mailboxes {
        Mailboxes::new(2, 2)
    }

    fn watcher(n: u64) -> Watcher {
        Watcher { context: ContextId(n), handle: Handle(5000 + n) }
    }

    #[test]
    fn a_watch_of_what_has_ended_or_never_was_is_over_at_once() {
        let mailboxes = mailboxes();
        let handle = Handle(4000);
        assert_eq!(mailboxes.watch(handle, watcher(1)), Watching::Over(StopReason::NeverExisted));
        mailboxes.bind(handle, Arc::new(Nowhere), Policy::Anyone);
        assert_eq!(mailboxes.watch(handle, watcher(1)), Watching::Begun);
        assert_eq!(mailboxes.unbind(handle, &StopReason::Killed), Some(vec![watcher(1)]));
        assert_eq!(mailboxes.unbind(handle, &StopReason::Normal), None);
        assert_eq!(mailboxes.watch(handle, watcher(1)), Watching::Over(StopReason::Killed));
        assert_eq!(mailboxes.watched(), 0);
    }

    #[test]
    fn what_ends_this_moment_is_bound_or_over_and_never_unheard_of() {
        const MANY: u64 = 50_000;
        let mailboxes = Mailboxes::new(MANY as usize, 2);
        let handles = || (0..MANY).map(|n| Handle(4000 + n));
        for handle in handles() {
            mailboxes.bind(handle, Arc::new(Nowhere), Policy::Anyone);
        }
        std::thread::scope(|threads| {
            threads
                .spawn(|| handles().for_each(|h| drop(mailboxes.unbind(h, &StopReason::Killed))));
            for handle in handles() {
                loop {
                    match mailboxes.watch(handle, watcher(1)) {
                        Watching::Over(reason) => break assert_eq!(reason, StopReason::Killed),
                        _ => mailboxes.unwatch(handle, watcher(1)),
                    }
                }
            }
        });
        assert_eq!(mailboxes.watched(), 0);
    }

    #[test]
    fn watches_are_bounded_and_their_count_returns_to_zero() {
        let mailboxes = mailboxes();
        let handle = Handle(4000);
        mailboxes.bind(handle, Arc::new(Nowhere), Policy::Anyone);
        for n in [1, 2] {
            assert_eq!(mailboxes.watch(handle, watcher(n)), Watching::Begun);
        }
        assert_eq!(mailboxes.watch(handle, watcher(3)), Watching::TooMany);
        mailboxes.unwatch(handle, watcher(1));
        mailboxes.forget_watchers(|watcher| watcher == ContextId(2));
        assert_eq!(mailboxes.watched(), 0);
        assert_eq!(mailboxes.unbind(handle, &StopReason::Normal), Some(Vec::new()));
    }

    #[test]
    fn tombstones_are_bounded_and_names_end_with_their_mailbox() {
        let mailboxes = mailboxes();
        for n in 0..3 {
            let handle = Handle(4000 + n);
            mailboxes.bind(handle, Arc::new(Nowhere), Policy::Anyone);
            assert!(mailboxes.register("same", Named { handle, kind: "x".into() }));
            assert!(!mailboxes.register("same", Named { handle: Handle(1), kind: "x".into() }));
            mailboxes.unbind(handle, &StopReason::Normal);
            assert_eq!(mailboxes.lookup("same"), None);
        }
        assert_eq!(mailboxes.stopped(Handle(4000)), None);
        assert_eq!(mailboxes.stopped(Handle(4002)), Some(StopReason::Normal));
    }
}
