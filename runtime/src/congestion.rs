//! Passing frames on without ever ceasing to read, and asking for pauses where that is not possible (protocol rule 16).
//!
//! A frame for another context goes into the lane of the link that leads there. Where the lane is full, or the link's other end has
//! asked for a pause, it waits beside the lane ([`crate::hold`]). What one link has brought for another is counted; from half of a
//! budget on the link that brought it is asked to pause the destinations that hold bytes, and its end does the same in its turn, up
//! to the senders, who wait as they do for a full lane.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actogen_core::{
    ContextId, Dead, DeadReason, Handle, Handled, Limits, LinkId, Moment, StreamId,
    congestion::{Congestion, Leases},
    flow::RENEW,
    limits::MAX_WITHDRAWN,
    policy::Origin,
    wire::{
        Destination, Run,
        control::{Contexts, LinkMessage, Outside},
    },
};
use parking_lot::Mutex;

use crate::{
    context::{Context, Phase},
    hold::{Held, Hold, Onward, Passing, Piece, Sort},
    lane::{Class, LaneError},
    link::LinkState,
};

/// Stands for all links that are gone whose frames still wait: together they have one budget, or whoever comes and goes would have as
/// many as he likes.
pub(crate) const GONE: LinkId = LinkId(0);

/// Renewals and ends of pauses are looked at no more often. Well under what a lease has left when it is due again.
const OFTEN: Duration = Duration::from_millis(250);

/// What all links of a context hold, who was asked to pause, and who has asked.
///
/// Locks are taken in this order: a link's hold, the sums, the links, a lane.
#[derive(Debug)]
pub(crate) struct Relay {
    sums: Mutex<Sums>,
    /// Frames that wait beside some lane.
    frames: AtomicU64,
}

#[derive(Debug)]
struct Sums {
    whole: Congestion,
    parts: Congestion,
    leases: Leases,
    /// A task renews what was asked and ends what was granted.
    has_task: bool,
}

impl Relay {
    pub(crate) fn new(limits: &Limits) -> Self {
        // The rest of a body that has begun comes in any case, on each lane, and what the streams carry besides: ask as soon as a part
        // waits.
        let begun = limits.link_large_bytes.saturating_mul(StreamId::LANES);
        let bodies = begun.saturating_add(limits.relay_bytes);
        let sums = Sums {
            whole: Congestion::new(limits.relay_bytes),
            parts: Congestion::asking_from(1, bodies),
            leases: Leases::new(limits.routes, limits.routes.div_ceil(16)),
            has_task: false,
        };
        Self { sums: Mutex::new(sums), frames: AtomicU64::new(0) }
    }
}

impl Sums {
    fn of(&mut self, sort: Sort) -> Option<&mut Congestion> {
        match sort {
            Sort::Whole => Some(&mut self.whole),
            Sort::Part => Some(&mut self.parts),
            Sort::Notice => None,
        }
    }

    /// Of the destinations that one sum lets go on, those that the other does not hold back.
    fn freed(&self, from: LinkId, resumed: Vec<ContextId>) -> Vec<ContextId> {
        let asked = |to| self.whole.is_asked(from, to) || self.parts.is_asked(from, to);
        resumed.into_iter().filter(|&to| !asked(to)).collect()
    }
}

/// The frames that a link's own message speaks of: it must not overtake what they have sent.
fn speaks_of(message: &LinkMessage, source: ContextId) -> bool {
    match message {
        LinkMessage::AddRoute(add) => add.announcement.context == source,
        LinkMessage::DelRoute(del) => {
            del.routes.iter().any(|route| route.context == source)
                || match &del.outside {
                    Outside::None => false,
                    Outside::Listed(gone) => gone.contains(&source),
                    Outside::AllExcept(left) => !left.contains(&source),
                }
        }
        _ => false,
    }
}

impl Context {
    /// Passes a frame on by a link: into its lane, or beside it.
    #[inline]
    pub(crate) fn pass_on(
        &self,
        next: &Arc<LinkState>,
        onward: Onward<'_>,
        class: Class,
    ) -> Result<(), LaneError> {
        let Onward { to, stream, header, payload, sort, .. } = onward;
        if !next.hold.holds(stream, to, sort) {
            let pair = (to, header.handle);
            let appended = next.lane(stream).append(pair, header, &[payload], class);
            if appended.is_ok() {
                self.0.counters.forwarded.add(1);
            }
            // Words to the runtime itself overtake messages, and wait for none.
            if appended != Err(LaneError::Full) || stream == StreamId::CONTROL {
                return appended;
            }
        }
        self.hold_back(next, onward)
    }

    /// Passes on a run of one-way messages that lies in `chunk` and is to go by a link behind another header and tag. False when
    /// the lane has no room for all of them.
    pub(crate) fn pass_run(
        &self,
        next: &LinkState,
        (to, handle): (ContextId, Handle),
        head: &[u8],
        run: &Run,
        chunk: &[u8],
    ) -> bool {
        let lane = next.lane(handle.stream());
        let passed =
            lane.append_run((to, handle), head, &chunk[run.bytes.clone()], run.frames).is_ok();
        if passed {
            self.0.counters.forwarded.add(run.frames as u64);
        }
        passed
    }

    #[cold]
    pub(crate) fn hold_back(
        &self,
        next: &Arc<LinkState>,
        onward: Onward<'_>,
    ) -> Result<(), LaneError> {
        let Onward { from, to, stream, sort, .. } = onward;
        let now = self.now();
        let frames = &self.0.relay.frames;
        // Before it is held: it may go on at once.
        frames.fetch_add(1, Ordering::AcqRel);
        let held = next.hold.push(onward, self.limits().relay_bytes, |bytes| {
            let mut sums = self.0.relay.sums.lock();
            let Some(sum) = sums.of(sort) else { return true };
            match sum.hold(now, from, next.id, to, bytes) {
                Ok(asked) => {
                    self.ask_link(&mut sums, from, asked);
                    true
                }
                Err(_) => false,
            }
        });
        match held {
            Ok(Held::Waits) => {}
            Ok(Held::NeedsTask) => {
                self.spawn(pass_later(self.clone(), next.clone(), stream));
            }
            Err(error) => {
                frames.fetch_sub(1, Ordering::AcqRel);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Asks the other end of a link to pause destinations. With the sums locked, so that words leave in the order of what they say.
    fn ask_link(&self, sums: &mut Sums, from: LinkId, contexts: Vec<ContextId>) {
        if contexts.is_empty() {
            return;
        }
        self.say(from, contexts, LinkMessage::Pause);
        self.begin_keeping(sums);
    }

    fn say(&self, to: LinkId, contexts: Vec<ContextId>, word: fn(Contexts) -> LinkMessage) {
        let link = self.0.links.lock().get(&to).cloned();
        if let Some(link) = link {
            for contexts in contexts.chunks(MAX_WITHDRAWN) {
                let contexts = Contexts { contexts: contexts.to_vec() };
                link.send_own(Some(StreamId::CONTROL), &word(contexts));
            }
        }
    }

    /// Takes from the sums what waits no more, and tells the link that brought it if it may go on.
    fn let_go(&self, link: LinkId, to: ContextId, piece: &Piece, charge: usize) {
        self.0.relay.frames.fetch_sub(piece.count, Ordering::AcqRel);
        let from = piece.from;
        let mut sums = self.0.relay.sums.lock();
        let Some(sum) = sums.of(piece.sort) else { return };
        let resumed = sum.release(from, link, to, charge);
        let freed = sums.freed(from, resumed);
        if !freed.is_empty() {
            self.say(from, freed, LinkMessage::Resume);
        }
    }

    fn note_passed(&self, link: LinkId, to: ContextId, piece: &Piece, charge: usize) {
        self.0.counters.forwarded.add(piece.count);
        self.let_go(link, to, piece, charge);
    }

    fn pass_held(&self, link: &LinkState, stream: StreamId) -> Passing {
        link.hold.pass(stream, link.lane(stream), |to, piece, charge| {
            self.note_passed(link.id, to, piece, charge);
        })
    }

    /// The other end of a link asks for pauses.
    pub(crate) fn link_pauses(&self, link: &LinkState, contexts: &[ContextId]) {
        let now = self.now();
        let mut granted = Vec::with_capacity(contexts.len());
        {
            let mut sums = self.0.relay.sums.lock();
            for &to in contexts {
                // More than the limit has no effect: what is sent meets a full queue.
                if sums.leases.grant(now, link.id, to).is_ok() {
                    granted.push(to);
                }
            }
            self.begin_keeping(&mut sums);
        }
        for to in granted {
            link.hold.pause(to);
        }
    }

    /// The other end of a link takes pauses back.
    pub(crate) fn link_resumes(&self, link: &LinkState, contexts: &[ContextId]) {
        for &to in contexts {
            if self.0.relay.sums.lock().leases.end(link.id, to) {
                link.hold.resume(to);
            }
        }
    }

    fn begin_keeping(&self, sums: &mut Sums) {
        if !std::mem::replace(&mut sums.has_task, true) {
            self.spawn(keep(self.clone()));
        }
    }

    /// Passes on what must not be overtaken by a link's own message on this stream, or on all.
    pub(crate) fn make_way(
        &self,
        link: &LinkState,
        stream: Option<StreamId>,
        message: &LinkMessage,
    ) {
        if link.hold.is_idle() {
            return;
        }
        let lanes = StreamId::lanes().filter(|&lane| stream.is_none_or(|only| only == lane));
        let mut left = Vec::new();
        for lane in lanes {
            let is_one = |source| speaks_of(message, source);
            let passed = |to, piece: &Piece, charge| self.note_passed(link.id, to, piece, charge);
            left.extend(link.hold.pass_sources(lane, link.lane(lane), is_one, passed));
        }
        for (to, piece, charge) in left {
            let text = link.loss().to_string();
            self.give_up_piece(link, to, &piece, charge, DeadReason::RouteLost, &text);
        }
    }

    /// The way to a context has changed: what waits for it by another link than `way` has lost its own, and nobody there pauses it
    /// any longer.
    pub(crate) fn way_changed(&self, to: ContextId, way: Option<LinkId>, why: &str) {
        if self.holds_nothing() {
            return;
        }
        for link in self.links().into_iter().filter(|link| Some(link.id) != way) {
            if link.hold.is_idle() {
                continue;
            }
            self.link_resumes(&link, &[to]);
            for (to, piece) in link.hold.take(|waits| waits == to) {
                self.give_up_piece(&link, to, &piece, piece.charge(), DeadReason::RouteLost, why);
            }
        }
    }

    /// A link ends: what waits for it is answered, before anybody is told of the loss itself.
    pub(crate) fn link_ends(&self, link: &LinkState) {
        self.end_hold(link, DeadReason::RouteLost, &link.loss().to_string());
    }

    /// A link is gone, and everybody has been told: what came by it and still waits for others no longer counts as its own.
    pub(crate) fn link_gone(&self, gone: &LinkState) {
        self.0.relay.sums.lock().leases.forget_link(gone.id);
        if self.holds_nothing() {
            return;
        }
        for link in self.links() {
            let left = link.hold.inherit(gone.id, GONE, |to, piece| {
                let (now, charge) = (self.now(), piece.charge());
                let mut sums = self.0.relay.sums.lock();
                let Some(sum) = sums.of(piece.sort) else { return true };
                let fits = sum.hold(now, GONE, link.id, to, charge).is_ok();
                if fits {
                    sum.release(gone.id, link.id, to, charge);
                }
                fits
            });
            for (to, piece) in left {
                let text = format!("the link that brought it is gone: {}", gone.loss());
                let charge = piece.charge();
                self.give_up_piece(&link, to, &piece, charge, DeadReason::RouteLost, &text);
            }
        }
    }

    /// The context ends: whoever has something waiting here is told, as long as there are links to tell them by.
    pub(crate) fn end_holds(&self) {
        for link in self.links() {
            let text = format!("{} is shutting down", self.id());
            self.end_hold(&link, DeadReason::Shutdown, &text);
        }
    }

    fn end_hold(&self, link: &LinkState, reason: DeadReason, text: &str) {
        for (to, piece) in link.hold.close() {
            self.give_up_piece(link, to, &piece, piece.charge(), reason, text);
        }
    }

    fn give_up_piece(
        &self,
        link: &LinkState,
        to: ContextId,
        piece: &Piece,
        charge: usize,
        reason: DeadReason,
        text: &str,
    ) {
        self.let_go(link.id, to, piece, charge);
        let from = self.0.links.lock().get(&piece.from).cloned();
        let dead = Dead::new(reason, Handled::No, self.id(), text);
        piece.for_each(|mut header, _| {
            // What the link's ends both know was left out.
            header.destination.get_or_insert(Destination { context: to, incarnation: None });
            let source = header.source.unwrap_or(link.peer);
            let origin = Origin {
                source,
                authority: header.authority.unwrap_or(source),
                neighbour: from.as_ref().map(|from| from.neighbour()),
            };
            self.kill_frame(from.as_ref(), &header, origin, &dead);
        });
    }

    /// Frames that wait to be passed on.
    pub(crate) fn held_frames(&self) -> u64 {
        self.0.relay.frames.load(Ordering::Acquire)
    }

    /// Pauses that the other ends of links have asked for.
    pub(crate) fn link_pauses_held(&self) -> usize {
        self.0.relay.sums.lock().leases.len()
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        self.held_frames() == 0 && self.link_pauses_held() == 0
    }

    /// Waits until a destination is not paused by a link, or this context ends.
    pub(crate) async fn link_pause_over(&self, hold: &Hold, to: ContextId) {
        if !hold.pauses(to) {
            return;
        }
        let mut phase = self.phase();
        loop {
            let changed = hold.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !hold.pauses(to) {
                return;
            }
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
                // Whoever is woken for another destination looks again.
                () = changed => {}
            }
        }
    }
}

/// Passes on what waits beside a lane, as it finds room and pauses end.
async fn pass_later(context: Context, link: Arc<LinkState>, stream: StreamId) {
    loop {
        let changed = link.hold.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match context.pass_held(&link, stream) {
            Passing::Over => return,
            Passing::NoRoom => link.lane(stream).wait_for_room().await,
            Passing::Paused => changed.await,
        }
    }
}

/// Renews the pauses that there is a reason for, and ends those that nobody has renewed.
async fn keep(context: Context) {
    while let Some(due) = context.renew_and_expire() {
        // What is asked or granted meanwhile is due no sooner than that. Never at once again: each time looks at all of them.
        tokio::time::sleep((due - context.now()).clamp(OFTEN, RENEW)).await;
    }
}

impl Context {
    /// Gives when there is more to do; `None` ends the task.
    fn renew_and_expire(&self) -> Option<Moment> {
        let now = self.now();
        let mut sums = self.0.relay.sums.lock();
        if *self.0.phase.borrow() == Phase::Down {
            sums.has_task = false;
            return None;
        }
        let mut due = BTreeMap::<LinkId, Vec<ContextId>>::new();
        let Sums { whole, parts, leases, .. } = &mut *sums;
        for (from, to) in whole.renew(now).into_iter().chain(parts.renew(now)) {
            due.entry(from).or_default().push(to);
        }
        for (from, contexts) in due {
            self.say(from, contexts, LinkMessage::Pause);
        }
        let over = leases.expire(now);
        let next = sums.next_word();
        sums.has_task = next.is_some();
        drop(sums);
        for (by, to) in over {
            let link = self.0.links.lock().get(&by).cloned();
            if let Some(link) = link {
                link.hold.resume(to);
            }
        }
        next
    }
}

impl Sums {
    /// When a pause is to be renewed or ends.
    fn next_word(&self) -> Option<Moment> {
        let renewals = self.whole.next_renewal().into_iter().chain(self.parts.next_renewal());
        renewals.chain(self.leases.next_expiry()).min()
    }
}
