//! Paths of this context's own frames: which way each takes now, and what happens when that changes.

use std::{sync::Arc, sync::atomic::Ordering};

use actogen_core::{
    ContextId, Dead, DeadReason, Handled, Incarnation, LinkId, StreamId,
    id::{Handle, PathEpoch},
    limits::FRAGMENT,
    policy::Origin,
    route::{
        epochs::Late,
        path::{FLUSH_TIME, Pass, Step, Way, lane_of},
    },
    wire::{
        Destination, Header, Kind,
        direct::{Body, Flush, Lost},
    },
};
use bytes::Bytes;

use super::{State, Waiting};
use crate::{
    context::Context,
    lane::{Class, LaneError},
    link::LinkState,
};

/// Where an own frame is to go now.
#[derive(Debug)]
pub(crate) enum Lead {
    /// Where the tree takes it.
    Tree(PathEpoch),
    /// By a direct link.
    Direct(Arc<LinkState>, PathEpoch),
    /// Nowhere yet: the path is changing. Until that is over this link serves to name the way.
    Waits(Arc<LinkState>),
    /// The link that it should take has gone this moment.
    Gone,
}

/// What a frame carries.
#[derive(Clone, Debug)]
pub(crate) enum Load<'a> {
    Parts(&'a [&'a [u8]]),
    Long(Bytes),
}

impl Load<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Parts(parts) => parts.iter().map(|part| part.len()).sum(),
            Self::Long(bytes) => bytes.len(),
        }
    }

    fn to_bytes(&self) -> Bytes {
        match self {
            Self::Parts(parts) => parts.concat().into(),
            Self::Long(bytes) => bytes.clone(),
        }
    }

    fn append(
        self,
        link: &LinkState,
        generation: u64,
        to: ContextId,
        header: &Header,
        class: Class,
    ) -> Result<(), LaneError> {
        let (lane, pair) = (link.lane(header.handle.stream()), (to, header.handle));
        match self {
            Self::Long(bytes) if bytes.len() > FRAGMENT => {
                lane.append_long(generation, pair, header, bytes, class)
            }
            Self::Long(bytes) => lane.append_since(generation, pair, header, &[&bytes], class),
            Self::Parts(parts) => lane.append_since(generation, pair, header, parts, class),
        }
    }
}

/// Says on the header for whom the frame is, where the link's ends do not both know.
fn address(header: &mut Header, link: &LinkState, to: ContextId, life: Option<Incarnation>) {
    header.destination =
        (link.peer != to).then_some(Destination { context: to, incarnation: life });
}

impl Context {
    /// Where a frame of this context to a mailbox elsewhere is to go now. Good for the generation of the routes that was read before.
    pub(crate) fn lead(&self, to: ContextId, handle: Handle) -> Lead {
        let direct = &self.0.direct;
        if !direct.is_in_use() {
            return Lead::Tree(PathEpoch::FIRST);
        }
        let mut state = direct.state.lock();
        let Some(lane) = lane_of(&Header::to(handle), &Origin::own(self.id())) else {
            return match state.peers.get(&to) {
                Some(link) => Lead::Direct(link.clone(), PathEpoch::FIRST),
                None => Lead::Tree(PathEpoch::FIRST),
            };
        };
        // No frame is as long: this only asks.
        match state.paths.send(to, lane, usize::MAX) {
            Ok(Pass::Go { way: Way::Tree, epoch }) => Lead::Tree(epoch),
            Ok(Pass::Go { way: Way::Direct(link), epoch }) => match self.direct_link(link) {
                Some(link) => Lead::Direct(link, epoch),
                None => Lead::Gone,
            },
            Ok(Pass::Wait) | Err(_) => {
                let link = state.peers.get(&to).cloned();
                link.or_else(|| self.routes().link_towards(to)).map_or(Lead::Gone, Lead::Waits)
            }
        }
    }

    /// Whether the path to a mailbox is changing.
    fn path_changes(&self, to: ContextId, handle: Handle) -> bool {
        matches!(self.lead(to, handle), Lead::Waits(_))
    }

    /// Waits until the path to a mailbox is not changing. No change takes longer than [`FLUSH_TIME`].
    pub(crate) async fn path_settled(&self, to: ContextId, handle: Handle) {
        if !self.0.direct.is_in_use() {
            return;
        }
        loop {
            let changed = self.0.direct.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.path_changes(to, handle) {
                return;
            }
            changed.await;
        }
    }

    fn direct_link(&self, link: LinkId) -> Option<Arc<LinkState>> {
        self.0.links.lock().get(&link).cloned()
    }

    fn link_of(&self, to: ContextId, way: Way) -> Option<Arc<LinkState>> {
        match way {
            Way::Tree => self.routes().link_towards(to),
            Way::Direct(link) => self.direct_link(link),
        }
    }

    /// Sends a frame of this context that cannot wait at its sender: an answer, a notice, a request of the runtime's own. While its
    /// path changes it waits here, in its place. `header` says no destination; `life` is the one that is meant, if any.
    pub(crate) fn emit(
        &self,
        to: ContextId,
        life: Option<Incarnation>,
        mut header: Header,
        load: Load<'_>,
        class: Class,
    ) -> Result<(), LaneError> {
        let direct = &self.0.direct;
        while !direct.is_in_use() {
            let generation = self.routes().generation();
            let link = self.routes().link_towards(to).ok_or(LaneError::Closed)?;
            address(&mut header, &link, to, life);
            match load.clone().append(&link, generation, to, &header, class) {
                Err(LaneError::Old) => {}
                other => return other,
            }
        }
        // Under this lock no path changes.
        let mut state = direct.state.lock();
        let pass = match lane_of(&header, &Origin::own(self.id())) {
            Some(lane) => {
                // Room for notices is kept elsewhere (protocol rule 14).
                let bytes = if class == Class::Notice { 0 } else { load.len() };
                (Some(lane), state.paths.send(to, lane, bytes).map_err(|_| LaneError::Full)?)
            }
            None => {
                let way = match state.peers.get(&to).filter(|_| !header.by_router) {
                    Some(link) => Way::Direct(link.id),
                    None => Way::Tree,
                };
                (None, Pass::Go { way, epoch: PathEpoch::FIRST })
            }
        };
        match pass {
            (_, Pass::Go { way, epoch }) => {
                let link = self.link_of(to, way).ok_or(LaneError::Closed)?;
                address(&mut header, &link, to, life);
                header.epoch = epoch;
                load.append(&link, u64::MAX, to, &header, class)
            }
            (Some(lane), Pass::Wait) => {
                header.destination = Some(Destination { context: to, incarnation: life });
                let (handle, payload) = (header.handle, load.to_bytes());
                let waiting = Waiting { handle, header, payload, class };
                state.waiting.entry((to, lane)).or_default().push_back(waiting);
                Ok(())
            }
            (None, Pass::Wait) => unreachable!("what has no path does not wait for one"),
        }
    }

    /// A direct link stands, in place of another one or none.
    pub(crate) fn take_direct(&self, link: &Arc<LinkState>) {
        self.0.direct.in_use.store(true, Ordering::Release);
        self.0.direct.state.lock().peers.insert(link.peer, link.clone());
        self.note_life(link.peer, link.incarnation);
        let mut admission = self.0.direct.admission.lock();
        admission.tickets.revoke(link.peer);
        admission.dials.stands(link.peer);
    }

    /// What this context sends goes by another way from now on, behind a flush of the one it takes now.
    pub(crate) fn change_path(&self, to: ContextId, way: Way) {
        let mut state = self.0.direct.state.lock();
        let steps = state.paths.change(self.now(), to, way);
        self.take_steps(&mut state, to, &steps);
        drop(state);
        if steps.iter().any(|step| matches!(step, Step::Flush { .. })) {
            let context = self.clone();
            self.spawn(async move {
                tokio::time::sleep(FLUSH_TIME).await;
                context.expire_changes();
            });
        }
    }

    fn expire_changes(&self) {
        let mut state = self.0.direct.state.lock();
        for (to, step) in state.paths.expire(self.now()) {
            tracing::warn!(context = %self.id(), %to, "the way to it was not flushed within {FLUSH_TIME:?}: what was sent goes by the old one");
            self.take_steps(&mut state, to, &[step]);
        }
    }

    /// A way is broken.
    pub(crate) fn break_path(&self, to: ContextId, way: Way, other: Option<Way>) {
        self.0.direct.in_use.store(true, Ordering::Release);
        let mut state = self.0.direct.state.lock();
        if let Way::Direct(broken) = way
            && state.peers.get(&to).is_some_and(|link| link.id == broken)
        {
            state.peers.remove(&to);
        }
        let steps = state.paths.broken(to, way, other);
        self.take_steps(&mut state, to, &steps);
    }

    /// A destination says that a flush has come.
    pub(super) fn flush_has_come(&self, to: ContextId, lane: StreamId, number: u64) {
        let mut state = self.0.direct.state.lock();
        if let Some(step) = state.paths.flushed(to, lane, number) {
            self.take_steps(&mut state, to, &[step]);
        }
    }

    /// A destination drops what this context sends: it has seen a later epoch.
    pub(super) fn fell_behind(&self, to: ContextId, lane: StreamId, epoch: PathEpoch) {
        self.0.direct.in_use.store(true, Ordering::Release);
        let mut state = self.0.direct.state.lock();
        state.paths.behind(to, lane, epoch);
        self.take_steps(&mut state, to, &[]);
    }

    /// Does what follows from a change, under the lock: until all is done nobody finds a way.
    fn take_steps(&self, state: &mut State, to: ContextId, steps: &[Step]) {
        let generation = self.routes().next_generation();
        for step in steps {
            match *step {
                Step::Flush { lane, way, number, epoch } => {
                    let Some(link) = self.link_of(to, way) else { continue };
                    let mut header = Header::to(Handle::flush(lane));
                    address(&mut header, &link, to, None);
                    header.epoch = epoch;
                    let (tag, body) = (0_u64.to_le_bytes(), Flush { number }.to_bytes());
                    link.lane(lane).flush(generation, to, &header, &[&tag, &body]);
                }
                Step::Release { lane, way, epoch } => {
                    let link = self.link_of(to, way);
                    for mut frame in state.waiting.remove(&(to, lane)).unwrap_or_default() {
                        let life = frame.header.destination.and_then(|to| to.incarnation);
                        let sent = match &link {
                            Some(link) => {
                                address(&mut frame.header, link, to, life);
                                frame.header.epoch = epoch;
                                Load::Long(frame.payload.clone()).append(
                                    link,
                                    u64::MAX,
                                    to,
                                    &frame.header,
                                    // It had its room here.
                                    if frame.payload.len() > FRAGMENT {
                                        frame.class
                                    } else {
                                        Class::Notice
                                    },
                                )
                            }
                            None => Err(LaneError::Closed),
                        };
                        if sent.is_err() {
                            self.lose_waiting(to, &frame);
                        }
                    }
                }
                Step::Dead { lane } => {
                    for frame in state.waiting.remove(&(to, lane)).unwrap_or_default() {
                        self.lose_waiting(to, &frame);
                    }
                }
            }
        }
        // Whoever looked before the waiting frames had left looks again.
        self.routes().next_generation();
        self.0.direct.changed.notify_waiters();
    }

    /// What waited for a path has none.
    fn lose_waiting(&self, to: ContextId, frame: &Waiting) {
        self.0.counters.dropped_notices.add(1);
        if let (Kind::Message, Some(reply)) = (frame.header.kind, frame.header.reply) {
            let text = format!("no way to {to} is left");
            let dead = Dead::new(DeadReason::RouteLost, Handled::No, self.id(), text);
            tracing::debug!(context = %self.id(), handle = frame.handle.digest(), "a request lost its way");
            self.complete(reply, to, crate::envelope::Outcome::Dead(dead));
        }
    }

    /// Says by the way that is left that the other one is lost.
    pub(crate) fn tell_lost(&self, to: ContextId, by: Way, lost: Lost) {
        let Some(link) = self.link_of(to, by) else { return };
        let (tag, body) = (0_u64.to_le_bytes(), lost.to_bytes());
        for stream in StreamId::all() {
            let mut header = Header::to(Handle::lost(stream));
            address(&mut header, &link, to, None);
            let pair = (to, header.handle);
            if link.lane(stream).append(pair, &header, &[&tag, &body], Class::Notice).is_err() {
                self.0.counters.dropped_notices.add(1);
            }
        }
    }

    /// Another life of a context has begun: nothing is known of its epochs.
    pub(crate) fn note_life(&self, context: ContextId, life: Incarnation) {
        let mut seen = self.0.direct.epochs.lock();
        if seen.lives.insert(context, life).is_some_and(|before| before != life) {
            seen.epochs.forget(context);
        }
        if seen.lives.len() > seen.limit {
            seen.lives.pop_first();
        }
    }

    /// As [`Self::note_life`], of a context that is announced: of most nothing is to be known.
    pub(crate) fn note_announced(&self, context: ContextId, life: Incarnation) {
        if self.0.direct.is_in_use() && self.0.direct.epochs.lock().lives.contains_key(&context) {
            self.note_life(context, life);
        }
    }

    /// Whether frames may come too late. Then each is judged by itself.
    pub(crate) fn has_epochs(&self) -> bool {
        self.0.direct.has_epochs.load(Ordering::Acquire)
    }

    /// Whether a frame for this context comes too late: of a path that has broken, behind what has overtaken it. Such a frame is counted.
    #[inline]
    pub(crate) fn is_late(&self, link: &LinkState, header: &Header, origin: &Origin) -> bool {
        (self.has_epochs() || header.epoch != PathEpoch::FIRST)
            && self.comes_late(link, header, origin)
    }

    #[cold]
    fn comes_late(&self, link: &LinkState, header: &Header, origin: &Origin) -> bool {
        let Some(lane) = lane_of(header, origin) else { return false };
        if header.epoch != PathEpoch::FIRST {
            self.0.direct.has_epochs.store(true, Ordering::Release);
        }
        let taken = self.0.direct.epochs.lock().epochs.take(origin.source, lane, header.epoch);
        let Err(Late { last, tell }) = taken else { return false };
        if header.kind == Kind::Message {
            self.0.counters.dead(DeadReason::RouteLost, 1);
        } else {
            self.0.counters.dropped_notices.add(1);
        }
        if tell && link.side != actogen_core::policy::Side::Direct {
            self.tell_behind(origin.source, lane, last);
        }
        true
    }
}
