//! The engine: which actor has its turn, what comes of it, and when the outside learns.
//!
//! | room | concept |
//! |---|---|
//! | here | [`Engine`]: who has something to do |
//! | `active` | an actor that is awake |
//! | `step` | what is to be done with the message in front |
//! | `turn` | running a handler, and the rows that its turn writes |
//! | `patch` | what differs between two encoded states |
//! | `commit` | making turns durable, and then letting out what they have come to |
//! | `recover`, `wake`, `look_up` | what is read from the store: at opening, of an actor, of whoever sends to it |
//! | `outbox`, `courier` | messages on their way, and bringing them to other nodes |
//! | `publish` | what turns publish, until there is a result |
//! | `timers` | messages that are due at a time |
//! | `sweep` | forgetting askers that have gone |
//!
//! ```text
//!  arrive ──> inbox ──> step ──> turn ──> rows ──────> writer: one commit for all that has come
//!                                  └────> releases ┈┈┈┈┈┈┈┈┈┈┈┈┈┘ once durable: answers, messages, timers
//! ```
//!
//! It runs on one thread and never waits. Turns run ahead of the disk; what they release does not.

pub(crate) mod active;
mod commit;
pub(crate) mod courier;
mod look_up;
mod outbox;
mod patch;
mod publish;
mod recover;
mod step;
mod sweep;
mod timers;
mod turn;
mod wake;

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap, VecDeque},
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::sync::{Notify, broadcast};

use self::{
    active::{Active, Arrived, Phase, Source, Trial},
    commit::{Awaiting, Group, refuse},
    outbox::Outbox,
    publish::Publishes,
    timers::Timers,
};
pub(crate) use self::{
    commit::Release,
    recover::{Recovered, recover},
};
use crate::{
    actor::Kind,
    events::JournalEvent,
    failpoint::FailPoints,
    id::{ActorId, NodeName},
    settings::Settings,
    store::StoreError,
    time::Clock,
    turn::Sending,
    wire::Refusal,
    writer::Writer,
};

/// The engine, as its tasks hold it.
pub(crate) type Core = Rc<RefCell<Engine>>;

/// Turns that are run before others on the thread have theirs.
const BUDGET: usize = 128;

/// Turns of one actor before the next one has its own.
const QUANTUM: usize = 16;

/// Counts since the journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalStats {
    /// Turns that have run, read-only ones not counted.
    pub turns: u64,
    /// Turns that only read.
    pub reads: u64,
    /// Commits that have become durable.
    pub commits: u64,
    /// Bytes of the rows in them: keys and values.
    pub bytes: u64,
    /// Messages that came again and were not handled again.
    pub duplicates: u64,
    /// Handlers that failed.
    pub failures: u64,
    /// Messages that were given up.
    pub dead: u64,
    /// Requests that found too much waiting.
    pub refused: u64,
    /// Actors that are awake.
    pub awake: usize,
    /// Bytes of messages on their way.
    pub outbox_bytes: usize,
    /// What is being published: it has not left, or waits for acknowledgements.
    pub publishing: usize,
}

pub(crate) struct Engine {
    pub(crate) node: NodeName,
    pub(crate) openings: Vec<(u64, u64)>,
    pub(crate) settings: Settings,
    pub(crate) points: FailPoints,
    pub(crate) writer: Writer,
    pub(crate) clock: Clock,
    pub(crate) couriers: courier::Couriers,
    kinds: HashMap<&'static str, Kind>,
    me: Weak<RefCell<Self>>,
    actors: HashMap<ActorId, Active>,
    /// Those that have something to do.
    ready: VecDeque<ActorId>,
    is_working: bool,
    /// Those that wait until less waits for the disk.
    stalled: BTreeSet<ActorId>,
    /// Those that wait until some of what they have sent has arrived.
    full: BTreeSet<ActorId>,
    awaiting: VecDeque<Awaiting>,
    group: Group,
    ticket: u64,
    durable: u64,
    /// Bytes of what waits for the store: rows, and answers of turns that only read.
    uncommitted: usize,
    outbox: Outbox,
    publishes: Publishes,
    timers: Timers,
    timers_changed: Rc<Notify>,
    failed: Option<StoreError>,
    /// Another writer has taken over, or may: nothing is done here any more.
    pub(crate) succeeded: Rc<Notify>,
    events: broadcast::Sender<JournalEvent>,
    stats: JournalStats,
}

impl Engine {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a journal, each made elsewhere, once"
    )]
    pub(crate) fn new(
        recovered: &Recovered,
        kinds: HashMap<&'static str, Kind>,
        settings: Settings,
        points: FailPoints,
        writer: Writer,
        clock: Clock,
        couriers: courier::Couriers,
        events: broadcast::Sender<JournalEvent>,
    ) -> Core {
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                node: recovered.node.clone(),
                openings: recovered.openings.clone(),
                settings,
                points,
                writer,
                clock,
                couriers,
                kinds,
                me: me.clone(),
                actors: HashMap::new(),
                ready: VecDeque::new(),
                is_working: false,
                stalled: BTreeSet::new(),
                full: BTreeSet::new(),
                awaiting: VecDeque::new(),
                group: Group::default(),
                ticket: 0,
                durable: 0,
                uncommitted: 0,
                outbox: Outbox::default(),
                publishes: Publishes::default(),
                timers: Timers::default(),
                timers_changed: Rc::default(),
                failed: None,
                succeeded: Rc::default(),
                events,
                stats: JournalStats::default(),
            })
        })
    }

    /// Takes up what was on its way when the journal was last open.
    pub(crate) fn take_up(&mut self, recovered: Recovered) {
        for (from, to, number, message) in recovered.out {
            self.outbox.charge(&from, &message);
            self.dispatch(&from, Sending { to, number, message }, true);
            self.points.pass("recover.out");
        }
        for (id, number, published) in recovered.published {
            self.take_up_publish(id, number, published);
        }
        self.timers.read(recovered.timers);
        self.watch_timers();
        self.put_to_sleep();
        self.sweep();
        self.work();
    }

    pub(crate) fn stats(&self) -> JournalStats {
        let (awake, outbox_bytes) = (self.actors.len(), self.outbox.bytes());
        let publishing = self.publishes.len();
        JournalStats { awake, outbox_bytes, publishing, ..self.stats }
    }

    pub(crate) fn failed(&self) -> Option<&StoreError> {
        self.failed.as_ref()
    }

    pub(crate) fn say(&self, event: JournalEvent) {
        match &event {
            JournalEvent::Failed { .. } => tracing::error!("{event}"),
            _ => tracing::warn!("{event}"),
        }
        // Nobody needs to listen.
        let _ = self.events.send(event);
    }

    /// Takes a message in, or refuses it.
    pub(crate) fn arrive(&mut self, to: &ActorId, arrived: Arrived) {
        if let Some(error) = &self.failed {
            return refuse(arrived.source, &Refusal::StoreFailed(error.to_string()));
        }
        if !self.kinds.contains_key(to.kind()) && matches!(arrived.source, Source::Client { .. }) {
            return refuse(arrived.source, &Refusal::UnknownKind(to.kind().to_owned()));
        }
        // What actors here send is bounded where it is sent, and timers by what their actor has sent.
        let is_bounded = matches!(arrived.source, Source::Client { .. } | Source::Far { .. });
        if is_bounded && self.has_no_room(to) {
            self.stats.refused += 1;
            return refuse(arrived.source, &Refusal::Busy);
        }
        match self.actors.get_mut(to) {
            Some(active) => {
                active.push(arrived);
                self.is_ready(to);
            }
            None => {
                let mut active = Active::waking();
                active.push(arrived);
                self.actors.insert(to.clone(), active);
                self.wake(to);
            }
        }
    }

    /// Whether what comes from outside for an actor would wait behind too much, or wake too many.
    fn has_no_room(&self, id: &ActorId) -> bool {
        let (most, bytes) = self.settings.inbox;
        match self.actors.get(id) {
            Some(active) => active.inbox.len() >= most || active.inbox_bytes >= bytes,
            None => self.actors.len() >= self.settings.awake,
        }
    }

    /// As [`Self::arrive`], and lets the actors do what they have to.
    pub(crate) fn take(&mut self, to: &ActorId, arrived: Arrived) {
        self.arrive(to, arrived);
        self.work();
    }

    fn is_ready(&mut self, id: &ActorId) {
        if let Some(active) = self.actors.get_mut(id)
            && !active.is_ready
        {
            active.is_ready = true;
            self.ready.push_back(id.clone());
        }
    }

    /// Gives the actors that have something to do their turns.
    pub(crate) fn work(&mut self) {
        if self.is_working {
            return;
        }
        let mut budget = BUDGET;
        while let Some(id) = self.ready.pop_front() {
            self.advance(&id, &mut budget);
            if budget == 0 {
                break;
            }
        }
        if !self.ready.is_empty() {
            self.is_working = true;
            self.later(Duration::ZERO, |engine| {
                engine.is_working = false;
                engine.work();
            });
        }
    }

    /// Runs this when the thread has come round, or after some time.
    fn later(&self, time: Duration, run: impl FnOnce(&mut Self) + 'static) {
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            match time.is_zero() {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(time).await,
            }
            if let Some(core) = me.upgrade() {
                run(&mut core.borrow_mut());
            }
        });
    }

    /// An actor's turns, one after the other.
    fn advance(&mut self, id: &ActorId, budget: &mut usize) {
        // Taken out, so that what it does to the rest of the engine and what the engine does to it do not meet.
        let Some(mut active) = self.actors.remove(id) else { return };
        active.is_ready = false;
        let mut left = QUANTUM.min(*budget);
        let mut goes_on = true;
        while goes_on && left > 0 {
            goes_on = self.step(id, &mut active);
            left -= 1;
            *budget -= 1;
        }
        if goes_on {
            active.is_ready = true;
            self.ready.push_back(id.clone());
        }
        if let Some(error) = &self.failed {
            let refusal = Refusal::StoreFailed(error.to_string());
            while let Some(arrived) = active.pop() {
                refuse(arrived.source, &refusal);
            }
            return;
        }
        let is_done = active.sleeps && self.may_sleep(&active);
        if !is_done {
            self.actors.insert(id.clone(), active);
        }
    }

    /// Whether nothing of an actor would be lost if it left the memory.
    fn may_sleep(&self, active: &Active) -> bool {
        let is_settled = active.inbox.is_empty() && !active.is_paused() && !active.reads;
        // One that cannot be run has refused what waits for it here. Awake again it would take what came later first.
        is_settled && active.ticket <= self.durable && matches!(active.phase, Phase::Awake(_))
    }

    /// Lets actors leave the memory that have had nothing to do for a while.
    fn put_to_sleep(&self) {
        let idle = self.settings.idle;
        self.later(idle / 2, move |engine| {
            let idle_ones: Vec<_> = engine
                .actors
                .iter()
                .filter(|(_, active)| active.sleeps || active.used.elapsed() >= idle)
                .filter(|(_, active)| engine.may_sleep(active))
                .map(|(id, _)| id.clone())
                .collect();
            for id in idle_ones {
                engine.actors.remove(&id);
            }
            engine.put_to_sleep();
        });
    }

    /// Lets the messages of paused senders have their turn again.
    pub(crate) fn resume(&mut self, id: &ActorId) -> bool {
        let Some(active) = self.actors.get_mut(id) else { return false };
        let is_noting = |front: &Arrived| matches!(front.trial, Trial::Noting(_));
        if active.reads || active.inbox.front().is_some_and(is_noting) {
            // Something is on its way for the message in front, which must stay there until then.
            let id = id.clone();
            self.later(Duration::from_millis(1), move |engine| {
                engine.resume(&id);
            });
            return true;
        }
        let is_paused = active.is_paused();
        let lines = std::mem::take(&mut active.held).into_values();
        let held = lines.flatten().chain(std::mem::take(&mut active.held_timers));
        // From the last one on, so that each sender's come in their order.
        for mut arrived in held.collect::<Vec<_>>().into_iter().rev() {
            (arrived.trial, arrived.not_before) = (Trial::Fresh, None);
            active.unpop(arrived);
        }
        self.is_ready(id);
        self.work();
        is_paused
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.timers_changed.notify_one();
    }
}
