//! The engine: which actor has its turn, what comes of it, and when the outside learns.
//!
//! | room | concept |
//! |---|---|
//! | here | [`Engine`]: who has something to do, what waits for the disk |
//! | `active` | an actor that is awake |
//! | `step` | what is to be done with the message in front |
//! | `turn` | running a handler, and the rows that its turn writes |
//! | `rows_of` | what is read from the store: actors, watermarks, answers |
//! | `patch` | what differs between two encoded states |
//! | `outbox`, `courier` | messages on their way, and bringing them to other nodes |
//! | `timers` | messages that are due at a time |
//!
//! ```text
//!  arrive ──> inbox ──> step ──> turn ──> rows ──────> writer: one commit for all that has come
//!                                  └────> releases ┈┈┈┈┈┈┈┈┈┈┈┈┈┘ once durable: answers, messages, timers
//! ```
//!
//! It runs on one thread and never waits. Turns run ahead of the disk; what they release does not.

pub(crate) mod active;
pub(crate) mod courier;
pub(crate) mod outbox;
mod patch;
mod rows_of;
mod step;
pub(crate) mod timers;
mod turn;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, VecDeque},
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, broadcast, oneshot};

use self::{
    active::{Active, Arrived, Asker, Courier, Phase, Source},
    outbox::{Outbox, Pair, Sent},
    timers::{Key, Timers},
};
use crate::{
    actor::Kind,
    events::JournalEvent,
    failpoint::FailPoints,
    id::{ActorId, NodeName, Place},
    packed::Packed,
    rows,
    settings::Settings,
    store::{Batch, StoreError, Table},
    time::Clock,
    turn::{Sending, TimerId},
    wire::{Refusal, Taken},
    writer::Writer,
};
pub(crate) use rows_of::{Recovered, recover};

/// The engine, as its tasks hold it.
pub(crate) type Core = Rc<RefCell<Engine>>;

/// Turns that are run before others on the thread have theirs.
const BUDGET: usize = 128;

/// Turns of one actor before the next one has its own.
const QUANTUM: usize = 16;

/// Rounds of the thread in which nothing more came: then nothing comes at once.
const QUIET: u32 = 3;

/// How long a commit waits for more at most, while more comes.
const LONGEST: Duration = Duration::from_millis(1);

/// What a turn does to the world, once it is durable.
pub(crate) enum Release {
    Answer(Asker, Result<Bytes, Refusal>),
    Send(ActorId, Sending),
    Timer(Key, Packed),
    /// A message of another actor here has been taken.
    Took(ActorId, Packed),
    Tell(Courier, Taken),
    /// How often the message in front has been tried is written down.
    Noted(ActorId),
    /// Rows of acknowledged messages are gone.
    Trimmed(Pair),
    Say(JournalEvent),
    Done(oneshot::Sender<()>),
}

/// What waits for a ticket.
struct Awaiting {
    ticket: u64,
    bytes: usize,
    releases: Vec<Release>,
}

/// What goes to the writer with the next commit.
#[derive(Default)]
struct Group {
    batch: Batch,
    /// A commit is under way: the next one takes what comes meanwhile.
    is_under_way: bool,
    /// It waits for more.
    gathers: bool,
}

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
    stalled: Vec<ActorId>,
    /// Those that wait until some of what they have sent has arrived.
    full: HashSet<ActorId>,
    awaiting: VecDeque<Awaiting>,
    group: Group,
    ticket: u64,
    durable: u64,
    uncommitted: usize,
    pub(crate) outbox: Outbox,
    pub(crate) timers: Timers,
    timers_changed: Rc<Notify>,
    failed: Option<StoreError>,
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
                stalled: Vec::new(),
                full: HashSet::new(),
                awaiting: VecDeque::new(),
                group: Group::default(),
                ticket: 0,
                durable: 0,
                uncommitted: 0,
                outbox: Outbox::default(),
                timers: Timers::default(),
                timers_changed: Rc::default(),
                failed: None,
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
        self.timers.read(recovered.timers);
        self.watch_timers();
        self.put_to_sleep();
        self.sweep();
        self.work();
    }

    pub(crate) fn stats(&self) -> JournalStats {
        let (awake, outbox_bytes) = (self.actors.len(), self.outbox.bytes());
        JournalStats { awake, outbox_bytes, ..self.stats }
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
        let (most, most_bytes) = self.settings.inbox;
        let active = self.actors.entry(to.clone()).or_insert_with(Active::waking);
        let is_new = matches!(active.phase, Phase::Waking) && active.inbox.is_empty();
        // What actors here send is bounded where it is sent, and timers by what their actor has sent.
        let is_bounded = matches!(arrived.source, Source::Client { .. } | Source::Far { .. });
        if is_bounded && (active.inbox.len() >= most || active.inbox_bytes >= most_bytes) {
            self.stats.refused += 1;
            return refuse(arrived.source, &Refusal::Busy);
        }
        active.push(arrived);
        if is_new {
            self.wake(to);
        } else {
            self.is_ready(to);
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
        let is_settled = active.inbox.is_empty() && active.held.is_empty() && !active.reads;
        is_settled && active.ticket <= self.durable && !matches!(active.phase, Phase::Waking)
    }

    /// Lets actors leave the memory that have had nothing to do for a while.
    fn put_to_sleep(&self) {
        let idle = self.settings.idle;
        self.later(idle / 2, move |engine| {
            let idle_ones: Vec<_> = engine
                .actors
                .iter()
                .filter(|(_, active)| active.used.elapsed() >= idle && engine.may_sleep(active))
                .map(|(id, _)| id.clone())
                .collect();
            for id in idle_ones {
                engine.actors.remove(&id);
            }
            engine.put_to_sleep();
        });
    }

    /// Makes rows durable, and then does this.
    pub(crate) fn submit(&mut self, batch: Batch, releases: Vec<Release>) -> u64 {
        self.ticket += 1;
        let (ticket, bytes) = (self.ticket, batch.bytes());
        self.uncommitted += bytes;
        self.awaiting.push_back(Awaiting { ticket, bytes, releases });
        self.group.batch.append(batch);
        self.gather();
        ticket
    }

    /// Hands what has come together to the writer, once it is free and nothing more comes at once.
    ///
    /// Whoever was answered by the last commit asks again within some rounds of this thread. Without waiting for them each commit would
    /// serve one half of the askers, in turns.
    fn gather(&mut self) {
        if self.group.is_under_way || self.group.gathers || self.failed.is_some() {
            return;
        }
        self.group.gathers = true;
        let me = self.me.clone();
        tokio::task::spawn_local(async move {
            let begun = tokio::time::Instant::now();
            let (mut last, mut quiet) = (0, 0);
            while quiet < QUIET && begun.elapsed() < LONGEST {
                tokio::task::yield_now().await;
                let Some(core) = me.upgrade() else { return };
                let ticket = core.borrow().ticket;
                quiet = if ticket == last { quiet + 1 } else { 0 };
                last = ticket;
            }
            if let Some(core) = me.upgrade() {
                core.borrow_mut().hand_over();
            }
        });
    }

    fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.group.batch);
        (self.group.gathers, self.group.is_under_way) = (false, true);
        if let Err(error) = self.writer.commit(self.ticket, batch) {
            self.fail(&error);
        }
    }

    /// Does this once a turn is durable.
    fn release_at(&mut self, ticket: u64, release: Release) {
        if ticket <= self.durable {
            return self.release(release);
        }
        match self.awaiting.binary_search_by_key(&ticket, |awaiting| awaiting.ticket) {
            Ok(index) => self.awaiting[index].releases.push(release),
            // The store has failed meanwhile, and nothing waits any more.
            Err(_) => self.abandon(release),
        }
    }

    /// The writer has said something.
    pub(crate) fn hear(&mut self, word: crate::writer::Word) {
        let upto = match word {
            Ok(upto) => upto,
            Err(error) => return self.fail(&error),
        };
        self.stats.commits += 1;
        self.durable = upto;
        self.points.pass("release.before");
        while self.awaiting.front().is_some_and(|awaiting| awaiting.ticket <= upto) {
            let Some(Awaiting { bytes, releases, .. }) = self.awaiting.pop_front() else { break };
            self.uncommitted -= bytes;
            for release in releases {
                self.release(release);
                self.points.pass("release.between");
            }
        }
        self.points.pass("release.after");
        self.group.is_under_way = false;
        if self.ticket > self.durable {
            self.gather();
        }
        for id in std::mem::take(&mut self.stalled) {
            self.is_ready(&id);
        }
        self.work();
    }

    fn release(&mut self, release: Release) {
        match release {
            // Whoever has given up needs no answer.
            Release::Answer(asker, answer) => drop(asker.send(answer)),
            Release::Send(from, sending) => self.dispatch(&from, sending, false),
            Release::Timer(key, message) => {
                self.timers.set(key, message);
                self.timers_changed.notify_one();
            }
            Release::Took(sender, message) => self.arrived(&sender, &message),
            Release::Tell(courier, taken) => drop(courier.send(taken)),
            Release::Noted(id) => {
                if let Some(active) = self.actors.get_mut(&id)
                    && let Some(front) = active.inbox.front_mut()
                {
                    front.trial = front.trial.noted();
                }
                self.points.pass("attempt.after");
                self.is_ready(&id);
            }
            Release::Trimmed(pair) => {
                self.points.pass("trim.after");
                if let Some(outgoing) = self.outbox.pairs.get_mut(&pair) {
                    outgoing.trims -= 1;
                    if outgoing.trims == 0 && outgoing.queue.is_empty() && !outgoing.is_served {
                        self.outbox.pairs.remove(&pair);
                    }
                }
            }
            Release::Say(event) => self.say(event),
            Release::Done(done) => drop(done.send(())),
        }
    }

    /// A message of an actor here has arrived: there is room for another.
    fn arrived(&mut self, sender: &ActorId, message: &Packed) {
        self.outbox.discharge(sender, message);
        for id in std::mem::take(&mut self.full) {
            self.is_ready(&id);
        }
    }

    /// Brings a message that is durable to where it goes.
    fn dispatch(&mut self, from: &ActorId, sending: Sending, again: bool) {
        let Sending { to, number, message } = sending;
        if to.node == self.node {
            let from = Place { node: self.node.clone(), actor: from.clone() };
            return self
                .arrive(&to.actor, Arrived::new(Source::Near { from, number }, message, again));
        }
        let pair = (from.clone(), to);
        let outgoing = self.outbox.pairs.entry(pair.clone()).or_default();
        outgoing.queue.push_back(Sent { number, message, again });
        if !outgoing.is_served {
            outgoing.is_served = true;
            courier::serve(self.me.clone(), pair);
        }
    }

    /// Another node has taken a pair's messages.
    pub(crate) fn acknowledged(&mut self, pair: &Pair, upto: u64) {
        let Some(outgoing) = self.outbox.pairs.get_mut(pair) else { return };
        let mut batch = Batch::default();
        let mut gone = Vec::new();
        while outgoing.queue.front().is_some_and(|sent| sent.number <= upto) {
            let Some(sent) = outgoing.queue.pop_front() else { break };
            batch.remove(Table::Out, rows::out(&pair.0, &pair.1, sent.number));
            gone.push(sent.message);
        }
        if gone.is_empty() {
            return;
        }
        outgoing.acknowledged = Some(upto);
        outgoing.trims += 1;
        batch.put(Table::Pair, rows::pair(&pair.0, &pair.1), upto.to_be_bytes().to_vec());
        self.points.pass("deliver.acknowledged");
        for message in gone {
            self.arrived(&pair.0, &message);
        }
        self.submit(batch, vec![Release::Trimmed(pair.clone())]);
        self.work();
    }

    /// Lets the messages of paused senders have their turn again.
    pub(crate) fn resume(&mut self, id: &ActorId) -> bool {
        let Some(active) = self.actors.get_mut(id) else { return false };
        let is_noting = |front: &Arrived| matches!(front.trial, active::Trial::Noting(_));
        if active.reads || active.inbox.front().is_some_and(is_noting) {
            // Something is on its way for the message in front, which must stay there until then.
            let id = id.clone();
            self.later(Duration::from_millis(1), move |engine| {
                engine.resume(&id);
            });
            return true;
        }
        let held = std::mem::take(&mut active.held);
        let is_paused = !held.is_empty();
        for mut line in held.into_values() {
            while let Some(mut arrived) = line.pop_back() {
                (arrived.trial, arrived.not_before) = (active::Trial::Fresh, None);
                active.unpop(arrived);
            }
        }
        self.is_ready(id);
        self.work();
        is_paused
    }

    /// Nothing more is taken.
    pub(crate) fn close(&mut self) -> crate::writer::Closing {
        if !self.group.batch.is_empty() {
            self.hand_over();
        }
        let closing = self.writer.close();
        self.failed.get_or_insert_with(|| StoreError::Failed("it is closed".to_owned()));
        closing
    }

    /// Nothing can be made durable any more: nothing is acknowledged, and no actor goes on.
    fn fail(&mut self, error: &StoreError) {
        if self.failed.is_some() {
            return;
        }
        self.failed = Some(error.clone());
        self.say(JournalEvent::Failed { error: error.clone() });
        let refusal = Refusal::StoreFailed(error.to_string());
        for awaiting in std::mem::take(&mut self.awaiting) {
            awaiting.releases.into_iter().for_each(|release| self.abandon(release));
        }
        for (_, mut active) in std::mem::take(&mut self.actors) {
            while let Some(arrived) = active.pop() {
                refuse(arrived.source, &refusal);
            }
        }
        self.ready.clear();
        self.timers_changed.notify_one();
    }

    /// What was to be released must not be.
    fn abandon(&self, release: Release) {
        let text = self.failed.as_ref().map(ToString::to_string).unwrap_or_default();
        match release {
            Release::Answer(asker, _) => drop(asker.send(Err(Refusal::StoreFailed(text)))),
            Release::Tell(courier, _) => drop(courier.send(Taken::Failed)),
            _ => {}
        }
    }

    /// Fires timers when they are due, for as long as the engine lives.
    fn watch_timers(&self) {
        let (me, changed) = (self.me.clone(), self.timers_changed.clone());
        tokio::task::spawn_local(async move {
            loop {
                let Some(core) = me.upgrade() else { return };
                let (wait, page) = {
                    let mut engine = core.borrow_mut();
                    if engine.failed.is_some() {
                        return;
                    }
                    engine.fire();
                    let wait = engine.timers.next().map(|due| engine.clock.now().until(due));
                    let page = engine.timers.wants().cloned();
                    (
                        wait,
                        page.map(|from| {
                            engine.writer.read(move |store| rows_of::timers(store, Some(&from)))
                        }),
                    )
                };
                drop(core);
                match (page, wait) {
                    (Some(page), _) => {
                        let page = page.await;
                        let Some(core) = me.upgrade() else { return };
                        match page {
                            Ok(page) => core.borrow_mut().timers.read(page),
                            Err(error) => core.borrow_mut().fail(&error),
                        }
                    }
                    (None, Some(wait)) => {
                        // The clock counts in milliseconds: a little late, so as not to be too early.
                        let late = wait + Duration::from_millis(1);
                        let _ = tokio::time::timeout(late, changed.notified()).await;
                    }
                    (None, None) => changed.notified().await,
                }
            }
        });
    }

    fn fire(&mut self) {
        let now = self.clock.now();
        while let Some(((due, actor, number), message)) = self.timers.due(now) {
            let source = Source::Timer(TimerId { due, number });
            self.arrive(&actor, Arrived::new(source, message, false));
        }
        self.work();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.timers_changed.notify_one();
    }
}

/// Tells whoever sent a message that it is not taken.
fn refuse(source: Source, refusal: &Refusal) {
    match source {
        // Whoever has given up needs no answer.
        Source::Client { asker, .. } => drop(asker.send(Err(refusal.clone()))),
        Source::Far { courier: Some(courier), .. } => {
            let taken = match refusal {
                Refusal::StoreFailed(_) => Taken::Failed,
                Refusal::Busy => Taken::Busy,
                _ => Taken::Paused,
            };
            let _ = courier.send(taken);
        }
        // Its row is there, and it comes again when the journal is opened.
        Source::Far { courier: None, .. } | Source::Near { .. } | Source::Timer(_) => {}
    }
}
