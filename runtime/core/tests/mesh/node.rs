//! A context as its host runs it: the core, and what the core's effects have made of routes, notes and waiters.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use actogen_core::{
    Limits,
    id::{ContextId, Handle, HandleMint, Incarnation, LinkId, StreamId},
    offence::Offence,
    pending::{Epoch, PendingTable},
    policy::{Neighbour, Side},
    route::{judge::View, linger::Lingering, propagate::Whom},
    router::{Credentials, RouterCore},
    wire::control::Announcement,
};

/// Keyed hashes instead of signatures: every context has a key of its own, which the harness alone can look up.
struct Toy {
    me: ContextId,
}

pub(crate) fn key_of(context: ContextId) -> [u8; 32] {
    *blake3::keyed_hash(&[9; 32], &context.0.to_le_bytes()).as_bytes()
}

pub(crate) fn sign_as(context: ContextId, claim: &[u8]) -> Vec<u8> {
    blake3::keyed_hash(&key_of(context), claim).as_bytes().to_vec()
}

pub(crate) fn certificate_of(context: ContextId) -> Vec<u8> {
    format!("certificate of {}", context.0).into_bytes()
}

impl Credentials for Toy {
    fn certificate(&self) -> Vec<u8> {
        certificate_of(self.me)
    }
    fn sign(&self, claim: &[u8]) -> Vec<u8> {
        sign_as(self.me, claim)
    }
    fn verify(&self, announcement: &Announcement) -> bool {
        announcement.certificate == certificate_of(announcement.context)
            && announcement.signature == sign_as(announcement.context, &announcement.claim())
    }
}

/// A request that waits in a mailbox for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) request: usize,
    pub(crate) from: ContextId,
    pub(crate) mailbox: u64,
    pub(crate) reply: Handle,
}

pub(crate) struct Node {
    pub(crate) me: ContextId,
    pub(crate) life: Incarnation,
    pub(crate) core: RouterCore,
    pub(crate) links: BTreeMap<LinkId, Neighbour>,
    pub(crate) routes: BTreeMap<ContextId, (LinkId, Incarnation)>,
    pub(crate) parent: Option<LinkId>,
    /// Whose authority it obeys, as it was told last.
    pub(crate) ancestors: Vec<ContextId>,
    pub(crate) lingering: Lingering,
    pub(crate) noted: BTreeSet<(LinkId, ContextId)>,
    pub(crate) epoch: Epoch,
    pub(crate) pending: PendingTable<usize>,
    pub(crate) inbox: Vec<Asked>,
    pub(crate) offences: Vec<Offence>,
    /// What whoever listens has heard, in order: up or down.
    pub(crate) heard: Vec<(ContextId, bool)>,
}

impl Node {
    pub(crate) fn new(me: ContextId, life: Incarnation, limits: &Limits) -> Self {
        let mut seed = key_of(me);
        seed[0] ^= life.counter as u8;
        Self {
            me,
            life,
            core: RouterCore::new(me, life, limits.clone(), Arc::new(Toy { me })),
            links: BTreeMap::new(),
            routes: BTreeMap::new(),
            parent: None,
            ancestors: Vec::new(),
            lingering: Lingering::new(limits.route_tombstones),
            noted: BTreeSet::new(),
            epoch: Epoch::default(),
            pending: PendingTable::new(HandleMint::new(seed), limits.pending_calls),
            inbox: Vec::new(),
            offences: Vec::new(),
            heard: Vec::new(),
        }
    }

    pub(crate) fn add_link(&mut self, link: LinkId, context: ContextId, side: Side) {
        self.links.insert(link, Neighbour { context, side });
    }

    /// Ends waits as [`actogen_core::router::Effect::Wake`] says; returns the requests that they were for.
    pub(crate) fn wake(
        &mut self,
        stream: Option<StreamId>,
        whom: &Whom,
        epoch: Epoch,
    ) -> Vec<usize> {
        let respondents: Vec<ContextId> = match whom {
            Whom::Context(context) => vec![*context],
            Whom::Calls(_) => panic!("{} has no direct links", self.me),
            Whom::OutsideExcept(except) => self
                .pending
                .respondents()
                .filter(|&id| {
                    id != self.me && !self.routes.contains_key(&id) && !except.contains(&id)
                })
                .collect(),
        };
        respondents.into_iter().flat_map(|id| self.pending.wake(id, stream, epoch)).collect()
    }

    /// Whether, for all that is known here, a link's peer can speak for a context.
    pub(crate) fn may_speak_for(&self, link: LinkId, context: ContextId) -> bool {
        let Some(from) = self.links.get(&link) else { return false };
        let was_there =
            self.core.table().tombstone(context).is_some_and(|stone| stone.link == link);
        match self.routes.get(&context) {
            Some(&(through, _)) => through == link || was_there,
            None => was_there || (from.side == Side::Parent && context != self.me),
        }
    }

    /// What must hold after every input: the host's routes are the core's, and so, unless they lag, are the notes of who addressed
    /// whom.
    pub(crate) fn assert_in_step(&self, notes_too: bool) {
        let core: BTreeMap<_, _> = self
            .core
            .table()
            .iter()
            .map(|(id, route)| (id, (route.link, route.announcement.incarnation)))
            .collect();
        assert_eq!(self.routes, core, "{}: the host's routes are not the core's", self.me);
        assert_eq!(self.parent, self.core.parent());
        for (link, state) in self.core.links() {
            if state.addressed_all() || !notes_too {
                continue;
            }
            let host: Vec<_> =
                self.noted.iter().filter(|(at, _)| *at == link).map(|&(_, id)| id).collect();
            let core: Vec<_> = state.addressed().collect();
            assert_eq!(host, core, "{}: who was addressed by {link} ({})", self.me, state.peer);
        }
    }
}

impl View for Node {
    fn me(&self) -> ContextId {
        self.me
    }
    fn incarnation(&self) -> Incarnation {
        self.life
    }
    fn route(&self, context: ContextId) -> Option<(LinkId, Incarnation)> {
        self.routes.get(&context).copied()
    }
    fn parent(&self) -> Option<LinkId> {
        self.parent
    }
    fn tombstone(&self, context: ContextId) -> Option<(LinkId, Incarnation)> {
        self.core
            .table()
            .tombstone(context)
            .map(|tombstone| (tombstone.link, tombstone.incarnation))
    }
    fn lingers(&self, context: ContextId, link: LinkId, stream: StreamId) -> bool {
        self.lingering.contains(link, stream, context)
    }
}
