//! A context: an actor system with an id, an identity and a router.
//!
//! [`Context`] is a cheap handle on it. Everything that a context owns hangs on that handle: nothing is global, so several
//! contexts live in one process, or in one thread, without seeing each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use actogen_core::{
    Address, ContextId, Handle, Incarnation, Limits, LinkId, StreamId,
    allocate::Allocator,
    id::HandleMint,
    offence::{Offence, OffenceKind},
    pending::{Epoch, PendingTable},
    policy::{Family, Policy},
    time::Moment,
    wire::control::{Loss, ONE_WAY},
};
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use crate::{
    builder::Builder,
    counters::{Counters, Stats},
    dead_letters::{self, DeadLetters},
    envelope::Outcome,
    events::{self, ContextEvents},
    launch::Launches,
    link::LinkState,
    mailbox::{Mailbox, Mailboxes, StopReason, Watching},
    router::{Census, Holdings, Router, Routing},
    routes::Routes,
    transport::{Authority, Transport},
};

/// How far a context's life has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It works.
    Running,
    /// Somebody who may has asked it to end, within this time, or its parent is gone.
    Ending {
        /// Why.
        why: String,
        /// How long it may take.
        within: Duration,
    },
    /// It has ended.
    Down,
}

/// A handle on a context; clones are handles on the same one.
#[derive(Clone)]
pub struct Context(pub(crate) Arc<Shared>);

pub(crate) struct RootAuthority {
    pub(crate) allocator: Allocator,
    pub(crate) authority: Arc<dyn Authority>,
}

/// Somebody who waits for an answer, or for a notice.
pub(crate) struct Waiter {
    pub(crate) answer: oneshot::Sender<Outcome>,
    /// What is watched, if it is a watch.
    pub(crate) watches: Option<Handle>,
}

pub(crate) struct Shared {
    pub(crate) me: ContextId,
    pub(crate) incarnation: Incarnation,
    pub(crate) mesh: String,
    pub(crate) limits: Limits,
    pub(crate) max_message: AtomicUsize,
    pub(crate) family: RwLock<Family>,
    pub(crate) routes: Routes,
    pub(crate) mailboxes: Mailboxes,
    pub(crate) pending: Mutex<PendingTable<Waiter>>,
    pub(crate) mint: Mutex<HandleMint>,
    pub(crate) epoch: AtomicU64,
    pub(crate) counters: Counters,
    pub(crate) dead_letters: dead_letters::Stream,
    pub(crate) events: events::Stream,
    pub(crate) router: OnceLock<Addr<Router>>,
    pub(crate) broker: tokio::runtime::Handle,
    pub(crate) started: Instant,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) root: Option<Mutex<RootAuthority>>,
    pub(crate) launches: Launches,
    pub(crate) logs: Arc<crate::logs::Logs>,
    /// Which events of its programs a context wants to hear of, as `RUST_LOG` says it.
    pub(crate) log_filter: Option<String>,
    pub(crate) links: Mutex<BTreeMap<LinkId, Arc<LinkState>>>,
    pub(crate) next_link: AtomicU64,
    pub(crate) orphanage: crate::detach::Orphanage,
    pub(crate) handshakes: AtomicUsize,
    pub(crate) paused: crate::flow::Paused,
    pub(crate) relay: crate::congestion::Relay,
    pub(crate) cancelled: crate::cancel::Cancelled,
    pub(crate) deadlines: crate::deadlines::Deadlines,
    pub(crate) direct: crate::direct::Direct,
    /// Whether this context was started in one-way mode, whatever its parent is in.
    pub(crate) starts_one_way: bool,
    /// Whether messages from one child to another are refused here.
    pub(crate) one_way: AtomicBool,
    /// Contexts that this one is dialling to be their parent.
    pub(crate) dialling: Mutex<BTreeSet<ContextId>>,
}

impl Context {
    /// Settings for a new context.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The context's id.
    pub fn id(&self) -> ContextId {
        self.0.me
    }

    /// The context's life.
    pub fn incarnation(&self) -> Incarnation {
        self.0.incarnation
    }

    /// The mesh's name.
    pub fn mesh(&self) -> &str {
        &self.0.mesh
    }

    /// The bounds that the context works within.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The largest body that a message may have, in bytes: the context's own limit or, if that is smaller, its parent's.
    pub fn max_message(&self) -> usize {
        self.0.max_message.load(Ordering::Relaxed)
    }

    /// Where others can connect to this context; `None` when it accepts no links.
    pub fn endpoint(&self) -> Option<String> {
        self.0.transport.endpoint()
    }

    /// The context itself and its ancestors.
    pub fn family(&self) -> Family {
        self.0.family.read().clone()
    }

    /// The context at the other end of the link upwards. Its word of who stands above both may still be on its way.
    pub fn parent(&self) -> Option<ContextId> {
        self.0.routes.parent_link().map(|link| link.peer)
    }

    /// Whether the subtree below this context is in one-way mode: its own setting ([`crate::Builder::one_way`]), or its parent's.
    pub fn is_one_way(&self) -> bool {
        self.0.one_way.load(Ordering::Relaxed)
    }

    /// Takes the mode that a parent's opening says.
    pub(crate) fn take_mode(&self, capabilities: u64) {
        let is_one_way = self.0.starts_one_way || capabilities & ONE_WAY != 0;
        self.0.one_way.store(is_one_way, Ordering::Relaxed);
    }

    /// What this context says of itself to a child.
    pub(crate) fn capabilities(&self) -> u64 {
        if self.is_one_way() { ONE_WAY } else { 0 }
    }

    /// The contexts of the subtree below this one that can be reached, in order.
    pub fn descendants(&self) -> Vec<ContextId> {
        self.0.routes.contexts()
    }

    /// A reading of the counters.
    pub fn stats(&self) -> Stats {
        // Under the lock, a link that goes is counted on one side or the other.
        let links = self.0.links.lock();
        let mut stats = self.0.counters.read();
        stats.sent += links.values().map(|link| link.sent()).sum::<u64>();
        stats.sent += self.0.mailboxes.sent();
        stats
    }

    /// How often this context's certificate has been renewed.
    pub fn renewals(&self) -> u64 {
        self.0.counters.renewals.get()
    }

    /// How often peers have done what they may not, of one kind.
    pub fn offences(&self, kind: OffenceKind) -> u64 {
        self.0.counters.offences(kind)
    }

    /// The sizes of the context's tables: what must return to where it was when all work is done.
    pub async fn holdings(&self) -> ContextHoldings {
        let router = match self.0.router.get() {
            Some(router) => router.send(Census).await.unwrap_or_default(),
            None => Holdings::default(),
        };
        ContextHoldings {
            router,
            routes: self.0.routes.len(),
            noted: self.0.routes.noted(),
            pending: self.0.pending.lock().len(),
            mailboxes: self.0.mailboxes.len(),
            watched: self.0.mailboxes.watched(),
            held: self.held_frames(),
            paused: self.link_pauses_held(),
        }
    }

    /// The dead letters of this context from now on.
    pub fn dead_letters(&self) -> DeadLetters {
        self.0.dead_letters.subscribe()
    }

    /// The contexts that come and go, from now on.
    pub fn events(&self) -> ContextEvents {
        self.0.events.subscribe()
    }

    pub(crate) fn publish(&self, event: events::ContextEvent) {
        self.0.events.publish(event);
    }

    /// How far the context's life has come, now and from now on.
    pub fn phase(&self) -> watch::Receiver<Phase> {
        self.0.phase.subscribe()
    }

    /// Makes a mailbox reachable under a fresh, unguessable handle.
    pub fn bind(&self, mailbox: Arc<dyn Mailbox>, policy: Policy) -> Address {
        let handle = self.0.mint.lock().draw_any();
        self.0.mailboxes.bind(handle, mailbox, policy);
        self.address(handle)
    }

    /// A number that nobody can guess, from the same source as handles: to name what this context keeps in others.
    pub fn fresh_number(&self) -> u64 {
        self.0.mint.lock().draw_any().0
    }

    /// Makes a mailbox reachable under one of the reserved handles.
    ///
    /// # Panics
    /// If the handle is not reserved: an author's mailbox gets its handle from [`Self::bind`].
    pub fn bind_reserved(
        &self,
        handle: Handle,
        mailbox: Arc<dyn Mailbox>,
        policy: Policy,
    ) -> Address {
        assert!(handle.is_reserved(), "only reserved handles can be chosen");
        self.0.mailboxes.bind(handle, mailbox, policy);
        self.address(handle)
    }

    /// Ends a mailbox and tells those who watch it, behind all that it has sent them. Does nothing when it has ended before.
    pub fn unbind(&self, handle: Handle, reason: &StopReason) {
        if let Some(watchers) = self.0.mailboxes.unbind(handle, reason) {
            self.routes().next_generation();
            for watcher in watchers {
                self.notify_watcher(watcher, reason);
            }
        }
    }

    /// The mailbox that is bound under a handle.
    pub fn mailbox(&self, handle: Handle) -> Option<Arc<dyn Mailbox>> {
        self.0.mailboxes.get(handle).map(|bound| bound.mailbox.clone())
    }

    /// Why a mailbox of this context ended; `None` when it is bound, was never, or is forgotten.
    pub fn stopped(&self, handle: Handle) -> Option<StopReason> {
        self.0.mailboxes.stopped(handle)
    }

    /// The address of a handle of this context.
    pub fn address(&self, handle: Handle) -> Address {
        Address { context: self.0.me, handle, incarnation: self.0.incarnation }
    }

    /// Asks the context to end, within its limit for that. [`Self::shutdown`] does it; this only says so.
    pub fn request_end(&self, why: &str, within: Duration) {
        self.0.phase.send_if_modified(|phase| {
            let running = *phase == Phase::Running;
            if running {
                *phase = Phase::Ending { why: why.to_owned(), within };
            }
            running
        });
        self.routes().next_generation();
    }

    /// Says that the process of this context's launcher is gone, as a launched process learns from its life line before the link falls
    /// silent: cuts the link to it, and ends the context unless it outlives its parent.
    pub fn launcher_is_gone(&self, launcher: ContextId, how: &str) {
        let link = self.routes().parent_link();
        // It may have another parent by now.
        if link.as_ref().is_none_or(|link| link.peer == launcher) {
            if let Some(link) = link {
                link.cut(actogen_core::wire::control::LossKind::ProcessExited, how);
            }
            self.parent_lost();
        }
    }

    /// Whether the context still takes work.
    pub fn is_running(&self) -> bool {
        *self.0.phase.borrow() == Phase::Running
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.0.routes
    }

    pub(crate) fn mailboxes(&self) -> &Mailboxes {
        &self.0.mailboxes
    }

    pub(crate) fn watch_local(&self, handle: Handle, watcher: crate::mailbox::Watcher) {
        let over = match self.0.mailboxes.watch(handle, watcher) {
            Watching::Begun => return,
            Watching::Over(reason) => reason,
            Watching::TooMany => {
                StopReason::Error(format!("{} holds as many watches as it may", self.id()))
            }
        };
        self.notify_watcher(watcher, &over);
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::after_start(self.0.started.elapsed())
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.0.epoch.load(Ordering::Acquire))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.0.epoch.store(epoch.0, Ordering::Release);
    }

    pub(crate) fn respondents(&self) -> Vec<ContextId> {
        self.0.pending.lock().respondents().collect()
    }

    /// Ends waits for a context's answers; with `only_calls` watches stay.
    pub(crate) fn wake(
        &self,
        respondent: ContextId,
        stream: Option<StreamId>,
        epoch: Epoch,
        loss: &Loss,
        only_calls: bool,
    ) {
        let mut pending = self.0.pending.lock();
        let woken = if only_calls {
            pending.wake_calls(respondent, stream, epoch, |waiter| waiter.watches.is_some())
        } else {
            pending.wake(respondent, stream, epoch)
        };
        drop(pending);
        for waiter in woken {
            let dead = actogen_core::Dead::new(
                actogen_core::DeadReason::RouteLost,
                actogen_core::Handled::Maybe,
                self.id(),
                loss.to_string(),
            );
            // Whoever has stopped waiting needs no word.
            let _ = waiter.answer.send(Outcome::Dead(dead));
        }
    }

    /// Counts an offence and logs it with the offender; the first of each power of two, so that a flood costs a few lines.
    pub(crate) fn offence(&self, offence: &Offence) {
        self.0.counters.offence(offence.kind);
        let count = self.0.counters.offences(offence.kind);
        if count.is_power_of_two() {
            let Offence { offender, about, kind } = offence;
            tracing::warn!(context = %self.id(), %offender, %about, kind = ?kind, count, "refused: {offence}");
        }
    }

    pub(crate) fn count_unknown(&self, envelopes: u64) {
        self.0.counters.unknown.add(envelopes);
    }

    pub(crate) fn next_link(&self) -> LinkId {
        LinkId(self.0.next_link.fetch_add(1, Ordering::Relaxed))
    }

    /// Tells the Router, without waiting; it takes such word in order.
    pub(crate) fn tell_router(&self, input: actogen_core::router::Input) {
        if let Some(router) = self.0.router.get() {
            router.do_send(Routing(input));
        }
    }

    /// Runs a task beside the links, where the broker runs.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.broker.spawn(task);
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.0.me)
            .field("incarnation", &self.0.incarnation)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Context {}

/// The sizes of a context's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContextHoldings {
    /// What the Router holds.
    pub router: Holdings,
    /// Routes that the data path reads.
    pub routes: usize,
    /// Notes of who addressed whom that the data path keeps.
    pub noted: usize,
    /// Calls and watches that wait.
    pub pending: usize,
    /// Mailboxes of authors.
    pub mailboxes: usize,
    /// Watches that others hold on mailboxes here.
    pub watched: usize,
    /// Frames for others that wait beside a lane, for room or for the end of a pause.
    pub held: u64,
    /// Destinations that the other ends of links have asked this context to pause.
    pub paused: usize,
}
