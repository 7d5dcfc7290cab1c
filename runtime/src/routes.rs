//! The route table as the data path reads it: a concurrent map behind a wrapper, so that no guard escapes.
//!
//! The Router actor is the only writer. A reader gets clones of `Arc`s; nothing of the map is held across an `await` or a
//! second access.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actogen_core::{
    ContextId, Dead, DeadReason, Incarnation, LinkId, StreamId,
    route::{
        judge::{self, Verdict, View},
        linger::Lingering,
        tombstones::{Tombstone, Tombstones},
    },
};
use dashmap::{DashMap, DashSet};
use parking_lot::RwLock;

use crate::{hash::Plain, link::LinkState};

#[derive(Clone, Debug)]
struct Entry {
    link: Arc<LinkState>,
    incarnation: Incarnation,
}

/// The routes of one context.
#[derive(Debug)]
pub(crate) struct Routes {
    me: ContextId,
    /// Raised by whatever may make a way that somebody has found another one, or none.
    generation: AtomicU64,
    incarnation: Incarnation,
    routes: DashMap<ContextId, Entry, Plain>,
    parent: RwLock<Option<Arc<LinkState>>>,
    tombstones: RwLock<Tombstones>,
    lingering: RwLock<Lingering>,
    /// Why contexts without a route were lost, as long as their tombstones stand.
    losses: DashMap<ContextId, String, Plain>,
    /// Who has addressed whom, as far as the router has been told. Its hash is a keyed one: a peer addresses whichever ids it likes.
    addressed: DashSet<(LinkId, ContextId)>,
}

impl Routes {
    pub(crate) fn new(me: ContextId, incarnation: Incarnation, tombstones: usize) -> Self {
        Self {
            me,
            generation: AtomicU64::new(0),
            incarnation,
            routes: DashMap::default(),
            parent: RwLock::new(None),
            tombstones: RwLock::new(Tombstones::new(tombstones)),
            lingering: RwLock::new(Lingering::new(tombstones)),
            losses: DashMap::default(),
            addressed: DashSet::new(),
        }
    }

    /// Ways found under another generation may lead nowhere now.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes everybody look for their ways again. Called behind the change.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The link with this id, if it leads to `context` or is the parent's: what a judgement named a moment ago.
    pub(crate) fn link_to(&self, context: ContextId, link: LinkId) -> Option<Arc<LinkState>> {
        let route = self
            .routes
            .get(&context)
            .map(|entry| entry.link.clone())
            .filter(|found| found.id == link);
        route.or_else(|| self.parent.read().clone().filter(|parent| parent.id == link))
    }

    /// The link towards a context, whichever life it is in: where an answer goes. As the judgement of a frame of this context's own,
    /// which looks twice.
    pub(crate) fn link_towards(&self, context: ContextId) -> Option<Arc<LinkState>> {
        let route = self.routes.get(&context).map(|entry| entry.link.clone());
        route.or_else(|| self.parent.read().clone())
    }

    pub(crate) fn install(
        &self,
        context: ContextId,
        incarnation: Incarnation,
        link: Arc<LinkState>,
    ) {
        self.tombstones.write().raise_if(context, |stone| stone.link == link.id);
        self.routes.insert(context, Entry { link, incarnation });
        self.next_generation();
    }

    pub(crate) fn remove(&self, context: ContextId) {
        if let Some((_, entry)) = self.routes.remove(&context) {
            let tombstone = Tombstone { link: entry.link.id, incarnation: entry.incarnation };
            self.tombstones.write().bury(context, tombstone);
        }
        self.addressed.retain(|&(_, addressed)| addressed != context);
        self.next_generation();
    }

    /// Keeps the text of a loss for those who ask for the context later.
    pub(crate) fn note_loss(&self, context: ContextId, text: String) {
        let tombstones = self.tombstones.read();
        if self.losses.len() > 2 * tombstones.len() {
            self.losses.retain(|&lost, _| tombstones.get(lost).is_some());
        }
        if tombstones.get(context).is_some() {
            self.losses.insert(context, text);
        }
    }

    /// Where a frame goes from here, by the core's judgement; one that dies of a lost route says how that was lost.
    pub(crate) fn judge(
        &self,
        from: Option<LinkId>,
        to: ContextId,
        life: Option<Incarnation>,
        hops: u8,
    ) -> Verdict {
        match judge::destination(self, from, to, life, hops) {
            Verdict::Dead(dead) if dead.reason == DeadReason::RouteLost => {
                match self.losses.get(&to) {
                    Some(loss) => {
                        Verdict::Dead(Dead::new(dead.reason, dead.handled, dead.by, loss.as_str()))
                    }
                    None => Verdict::Dead(dead),
                }
            }
            verdict => verdict,
        }
    }

    pub(crate) fn linger(&self, link: LinkId, context: ContextId) {
        self.lingering.write().begin(link, context);
        self.next_generation();
    }

    pub(crate) fn passed(&self, link: LinkId, stream: StreamId, contexts: &[ContextId]) {
        let mut lingering = self.lingering.write();
        for &context in contexts {
            lingering.passed(link, stream, context);
        }
        drop(lingering);
        self.next_generation();
    }

    pub(crate) fn set_parent(&self, link: Option<Arc<LinkState>>) {
        *self.parent.write() = link;
        self.next_generation();
    }

    pub(crate) fn parent_link(&self) -> Option<Arc<LinkState>> {
        self.parent.read().clone()
    }

    /// Notes that a link addresses a context; true the first time.
    pub(crate) fn note_addressed(&self, link: LinkId, context: ContextId) -> bool {
        !self.addressed.contains(&(link, context)) && self.addressed.insert((link, context))
    }

    pub(crate) fn forget_link(&self, link: LinkId) {
        self.addressed.retain(|&(noted, _)| noted != link);
    }

    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(crate) fn noted(&self) -> usize {
        self.addressed.len()
    }

    pub(crate) fn contexts(&self) -> Vec<ContextId> {
        let mut contexts: Vec<_> = self.routes.iter().map(|entry| *entry.key()).collect();
        contexts.sort_unstable();
        contexts
    }
}

impl View for Routes {
    fn me(&self) -> ContextId {
        self.me
    }

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn route(&self, context: ContextId) -> Option<(LinkId, Incarnation)> {
        self.routes.get(&context).map(|entry| (entry.link.id, entry.incarnation))
    }

    fn parent(&self) -> Option<LinkId> {
        self.parent.read().as_ref().map(|link| link.id)
    }

    fn tombstone(&self, context: ContextId) -> Option<(LinkId, Incarnation)> {
        self.tombstones.read().get(context).map(|stone| (stone.link, stone.incarnation))
    }

    fn lingers(&self, context: ContextId, link: LinkId, stream: StreamId) -> bool {
        self.lingering.read().contains(link, stream, context)
    }
}
