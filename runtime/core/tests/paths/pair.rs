//! Two contexts with a tree between them that keeps its order and breaks, and direct links beside it that come, break, and are
//! missed by each end in its own time. Each context is the real machines and the least of a host around them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actogen_core::{
    Limits, Moment,
    id::{ContextId, Handle, HandleMint, Incarnation, LinkId, StreamId},
    pending::{Epoch, NotAwaited, PendingTable},
    policy::{Neighbour, Origin, Side},
    route::{
        epochs::{Epochs, Late},
        judge::{self, View},
        path::{Full, Pass, Paths, Step, Way, lane_of},
        propagate::Whom,
    },
    router::{Credentials, Effect, Input, RouterCore},
    wire::{
        Destination, Header, Kind,
        control::{Announcement, DelRoute, LinkMessage, Loss, LossKind, Outside},
        direct::{Ask, Behind, Body, Flush, Flushed, Grant, Lost, Ticket},
    },
};

/// Bytes that may wait on one path.
pub(crate) const BYTES: usize = 500;

/// How long anything may wait (protocol rule 7).
const LONGEST: Duration = Duration::from_secs(5);

const A: ContextId = ContextId(5);
const B: ContextId = ContextId(7);

struct Anyone;

impl Credentials for Anyone {
    fn certificate(&self) -> Vec<u8> {
        Vec::new()
    }
    fn sign(&self, _: &[u8]) -> Vec<u8> {
        Vec::new()
    }
    fn verify(&self, _: &Announcement) -> bool {
        true
    }
}

/// What became of an envelope; each has exactly one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Delivered,
    /// Of a broken path, behind newer ones.
    Dropped,
    /// On a link that broke.
    Lost,
    /// By a hop of the tree, which has no room or no route.
    Refused,
    /// It had no way.
    Dead,
}

/// An envelope as it is under way.
#[derive(Clone, Debug)]
struct Frame {
    header: Header,
    body: Vec<u8>,
    /// Its number among those whose fate and order are watched; words about paths have none.
    number: Option<usize>,
}

impl Frame {
    /// Whether it says that a way is lost.
    fn is_word(&self) -> bool {
        self.header.handle.is_lost()
    }
}

#[derive(Clone, Debug)]
enum Item {
    Frame(Frame),
    /// A copy of the withdrawal of the other end.
    Withdrawal {
        stamp: u64,
    },
}

type Pipe = [VecDeque<Item>; StreamId::COUNT];

/// A direct link: its pipes lead to the end of that number.
#[derive(Debug, Default)]
struct Beside {
    pipes: [Pipe; 2],
    is_broken: bool,
    is_known: [bool; 2],
}

impl Beside {
    fn link(number: usize, end: usize) -> LinkId {
        LinkId(1000 + 2 * number as u64 + end as u64)
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Call,
    Watch,
    Ticket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiter {
    request: usize,
    what: What,
}

impl Waiter {
    fn is_watch(&self) -> bool {
        self.what == What::Watch
    }
}

/// What a request or watch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Dead,
    Woken,
}

struct End {
    me: ContextId,
    peer: ContextId,
    core: RouterCore,
    paths: Paths,
    epochs: Epochs,
    pending: PendingTable<Waiter>,
    epoch: Epoch,
    links: BTreeMap<LinkId, Neighbour>,
    parents: u64,
    stamps: u64,
    waiting: [VecDeque<(Moment, usize, Frame)>; StreamId::LANES],
    /// Reply handles of those who watch its actor.
    watchers: BTreeSet<Handle>,
    is_over: bool,
}

impl End {
    fn new(me: ContextId, peer: ContextId) -> Self {
        let life = Incarnation::new(1, me.0);
        let mint = HandleMint::new([me.0 as u8; 32]);
        Self {
            me,
            peer,
            core: RouterCore::new(me, life, Limits::default(), Arc::new(Anyone)),
            paths: Paths::new(BYTES, 10),
            epochs: Epochs::new(40),
            pending: PendingTable::new(mint, 10_000),
            epoch: Epoch::default(),
            links: BTreeMap::new(),
            parents: 0,
            stamps: 0,
            waiting: Default::default(),
            watchers: BTreeSet::new(),
            is_over: false,
        }
    }
}

impl View for End {
    fn me(&self) -> ContextId {
        self.me
    }
    fn incarnation(&self) -> Incarnation {
        self.core.incarnation()
    }
    fn route(&self, _: ContextId) -> Option<(LinkId, Incarnation)> {
        None
    }
    fn parent(&self) -> Option<LinkId> {
        self.core.parent()
    }
    fn tombstone(&self, _: ContextId) -> Option<(LinkId, Incarnation)> {
        None
    }
    fn lingers(&self, _: ContextId, _: LinkId, _: StreamId) -> bool {
        false
    }
}

/// What is known of an envelope that was sent.
#[derive(Debug)]
struct Sent {
    from: usize,
    stream: StreamId,
    authority: ContextId,
    fate: Option<Fate>,
}

pub(crate) struct Pair {
    pub(crate) now: Moment,
    ends: [End; 2],
    /// The tree's pipes lead to the end of that number.
    tree: [Pipe; 2],
    beside: Vec<Beside>,
    sent: Vec<Sent>,
    /// The last that was delivered of each source, stream and authority.
    last: BTreeMap<(usize, StreamId, ContextId), usize>,
    requests: Vec<Option<Outcome>>,
    /// Those of them that are watches.
    watches: BTreeSet<usize>,
    /// Envelopes that their sender kept, since no more may wait.
    pub(crate) kept: usize,
    /// Offences, of which there must be none.
    offences: usize,
    /// A link of the tree between the two is gone, until either attaches anew.
    is_parted: bool,
    /// Whether the link to an end's parent is gone.
    is_detached: [bool; 2],
    /// Whether a word about a lost way has met no way itself. What is asked after that may be answered by the lost way, and be left
    /// to its time limit.
    is_word_lost: bool,
}

impl Pair {
    /// Both below the same parent.
    pub(crate) fn new() -> Self {
        let mut pair = Self {
            now: Moment::START,
            ends: [End::new(A, B), End::new(B, A)],
            tree: Default::default(),
            beside: Vec::new(),
            sent: Vec::new(),
            last: BTreeMap::new(),
            requests: Vec::new(),
            watches: BTreeSet::new(),
            kept: 0,
            offences: 0,
            is_parted: false,
            is_detached: [true; 2],
            is_word_lost: false,
        };
        for end in 0..2 {
            pair.attach(end);
        }
        pair
    }

    // ---- what may happen --------------------------------------------------------------------------------------------

    /// Sends to the other end's mailbox on a lane; gives the request's number if it is one.
    pub(crate) fn send(
        &mut self,
        end: usize,
        lane: usize,
        bytes: usize,
        is_request: bool,
        is_foreign: bool,
    ) -> Option<usize> {
        let mut header = Header::to(Handle(4000 + lane as u64));
        if is_foreign {
            header.authority = Some(ContextId::ROOT);
        }
        let asked = is_request.then(|| self.wait_for(end, lane, What::Call));
        header.reply = asked.map(|(_, reply)| reply);
        if self.envelope(end, header, vec![0; bytes]).is_err() {
            self.kept += 1;
            if let Some((request, reply)) = asked {
                self.ends[end].pending.cancel(reply);
                self.finish(request, Outcome::Dead);
            }
        }
        asked.map(|(request, _)| request)
    }

    /// Watches the other end's actor, from a mailbox on a lane.
    pub(crate) fn watch(&mut self, end: usize, lane: usize) -> usize {
        let (request, reply) = self.wait_for(end, lane, What::Watch);
        self.watches.insert(request);
        self.ask_watch(end, reply);
        request
    }

    /// The actor that the other end watches is over.
    pub(crate) fn end_actor(&mut self, end: usize) {
        self.ends[end].is_over = true;
        for watcher in std::mem::take(&mut self.ends[end].watchers) {
            self.notice(end, watcher);
        }
    }

    /// An end that has no direct link asks for a ticket to one; the link opens when the grant comes.
    pub(crate) fn ask_ticket(&mut self, end: usize) {
        if self.ends[end].core.candidates(self.ends[end].peer).direct.is_none() {
            let lane = Handle::TICKET.stream().index();
            let (_, reply) = self.wait_for(end, lane, What::Ticket);
            let header = Header::to(Handle::TICKET).reply_to(reply);
            let body = Ask { incarnation: self.ends[end].core.incarnation() }.to_bytes();
            self.envelope(end, header, body).expect("its few bytes find room");
        }
    }

    fn open(&mut self) {
        let number = self.beside.len();
        self.beside.push(Beside::default());
        for end in 0..2 {
            let (link, peer) = (Beside::link(number, end), self.ends[end].peer);
            self.ends[end].links.insert(link, Neighbour { context: peer, side: Side::Direct });
            self.input(end, Input::LinkUp { link, peer, side: Side::Direct });
        }
    }

    /// A direct link breaks; some part of what is under way is still read.
    pub(crate) fn break_beside(&mut self, pick: u64) {
        let whole: Vec<usize> =
            (0..self.beside.len()).filter(|&number| !self.beside[number].is_broken).collect();
        if !whole.is_empty() {
            self.cut(whole[pick as usize % whole.len()], pick);
        }
    }

    fn cut(&mut self, number: usize, pick: u64) {
        self.beside[number].is_broken = true;
        for to in 0..2 {
            for stream in 0..StreamId::COUNT {
                let pipe = &mut self.beside[number].pipes[to][stream];
                let kept = (pick >> (stream + 5 * to)) as usize % (pipe.len() + 1);
                let lost = pipe.split_off(kept);
                self.lose(lost);
            }
        }
    }

    /// An end finds that a direct link is broken, having read all that has come by it.
    pub(crate) fn notice_break(&mut self, end: usize) -> bool {
        let due = self.beside.iter().position(|link| link.is_broken && !link.is_known[end]);
        let Some(number) = due else { return false };
        for stream in 0..StreamId::COUNT {
            while self.read_beside(number, end, stream) {}
        }
        self.beside[number].is_known[end] = true;
        let (link, peer) = (Beside::link(number, end), self.ends[end].peer);
        self.ends[end].links.remove(&link);
        let loss = Loss::new(LossKind::LinkClosed, peer, "the direct link broke");
        self.input(end, Input::LinkDown { link, loss });
        true
    }

    /// An end loses its parent; the rest of the tree withdraws it.
    pub(crate) fn detach(&mut self, end: usize, pick: u64) {
        let Some(link) = self.ends[end].core.parent() else { return };
        self.is_detached[end] = true;
        for stream in 0..StreamId::COUNT {
            let inbound = &mut self.tree[end][stream];
            let kept = (pick >> stream) as usize % (inbound.len() + 1);
            let lost = inbound.split_off(kept);
            self.lose(lost);
            while self.read_tree(end, stream) {}
        }
        self.withdraw(end, pick >> 8);
        self.ends[end].links.remove(&link);
        let loss = Loss::new(LossKind::LinkClosed, ContextId::ROOT, "the parent is lost");
        self.input(end, Input::LinkDown { link, loss });
    }

    /// A link of the tree between the two breaks, and each is withdrawn from the other.
    pub(crate) fn part(&mut self, pick: u64) {
        self.is_parted = true;
        for end in 0..2 {
            self.withdraw(end, pick >> (8 * end));
        }
    }

    /// An end is withdrawn from the other, behind some part of what it has under way there.
    fn withdraw(&mut self, end: usize, pick: u64) {
        let other = 1 - end;
        self.ends[other].stamps += 1;
        for stream in 0..StreamId::COUNT {
            let outbound = &mut self.tree[other][stream];
            let kept = (pick >> stream) as usize % (outbound.len() + 1);
            // What others have said of this end before stays.
            let lost = outbound.split_off(kept);
            let (words, lost): (VecDeque<_>, VecDeque<_>) =
                lost.into_iter().partition(|item| matches!(item, Item::Withdrawal { .. }));
            if self.ends[other].core.parent().is_some() {
                let stamp = self.ends[other].stamps;
                let outbound = &mut self.tree[other][stream];
                outbound.extend(words);
                outbound.push_back(Item::Withdrawal { stamp });
            }
            self.lose(lost);
        }
    }

    /// The tree heals as far as it concerns an end: it attaches to a parent, if it has none.
    pub(crate) fn attach(&mut self, end: usize) {
        self.is_parted = false;
        if self.ends[end].core.parent().is_some() {
            return;
        }
        self.is_detached[end] = false;
        self.ends[end].parents += 1;
        self.ends[end].stamps = 0;
        let link = LinkId(self.ends[end].parents);
        let neighbour = Neighbour { context: ContextId::ROOT, side: Side::Parent };
        self.ends[end].links.insert(link, neighbour);
        self.input(end, Input::LinkUp { link, peer: neighbour.context, side: neighbour.side });
    }

    /// The head of some stream is read.
    pub(crate) fn step(&mut self, pick: u64) -> bool {
        let mut ready = Vec::new();
        for end in 0..2 {
            for stream in 0..StreamId::COUNT {
                if !self.tree[end][stream].is_empty() {
                    ready.push((None, end, stream));
                }
                for (number, link) in self.beside.iter().enumerate() {
                    if !link.pipes[end][stream].is_empty() {
                        ready.push((Some(number), end, stream));
                    }
                }
            }
        }
        if ready.is_empty() {
            return false;
        }
        match ready[pick as usize % ready.len()] {
            (None, end, stream) => self.read_tree(end, stream),
            (Some(number), end, stream) => self.read_beside(number, end, stream),
        }
    }

    /// Reads all that has come by direct links.
    pub(crate) fn read_all_beside(&mut self, end: usize) {
        for number in 0..self.beside.len() {
            for stream in [4, 0, 1, 2, 3] {
                while self.read_beside(number, end, stream) {}
            }
        }
    }

    /// Reads all that there is to read.
    pub(crate) fn read_all(&mut self) {
        while self.step(0) {}
    }

    /// A hop of the tree refuses the head of a stream, for want of room; whoever waits for an answer to it, or for it, is told.
    pub(crate) fn refuse(&mut self, end: usize, stream: usize) {
        if let Some(Item::Frame(frame)) = self.tree[end][stream].front()
            && !frame.is_word()
            && let Some(Item::Frame(frame)) = self.tree[end][stream].pop_front()
        {
            self.refused(1 - end, &frame, Fate::Refused);
            if frame.header.kind == Kind::Reply {
                self.dead(end, frame.header.handle);
            }
        }
    }

    /// Time passes.
    pub(crate) fn wait(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(due) = self.ends.iter().filter_map(|end| end.paths.next_timeout()).min()
            && due <= until
        {
            self.now = self.now.max(due);
            for end in 0..2 {
                for (destination, step) in self.ends[end].paths.expire(self.now) {
                    assert_eq!(destination, self.ends[end].peer);
                    self.apply(end, step);
                }
            }
        }
        self.now = until;
        for queue in self.ends.iter().flat_map(|end| &end.waiting) {
            assert!(queue.iter().all(|&(since, ..)| self.now - since < LONGEST), "it waits on");
        }
    }

    /// Everything heals and is read; both actors end.
    pub(crate) fn settle(&mut self) {
        for end in 0..2 {
            self.attach(end);
        }
        for _ in 0..3 {
            while self.step(0) || self.notice_break(0) || self.notice_break(1) {}
            self.wait(LONGEST);
        }
        for end in 0..2 {
            self.end_actor(end);
        }
        for _ in 0..3 {
            while self.step(0) || self.notice_break(0) || self.notice_break(1) {}
            self.wait(LONGEST);
        }
    }

    /// What a request or watch has come to so far.
    pub(crate) fn outcome(&self, request: usize) -> Option<Outcome> {
        self.requests[request]
    }

    /// How many envelopes are under way by direct links.
    pub(crate) fn beside(&self) -> usize {
        let items = self.beside.iter().flat_map(|link| link.pipes.iter().flatten()).flatten();
        items.filter(|item| matches!(item, Item::Frame(frame) if frame.number.is_some())).count()
    }

    /// The requests that never ended. There is none, but for calls when a word about a lost way was itself lost.
    pub(crate) fn open_requests(&self) -> Vec<usize> {
        let open = (0..self.requests.len()).filter(|&request| self.requests[request].is_none());
        open.filter(|&request| self.watches.contains(&request) || !self.is_word_lost).collect()
    }

    // ---- what must hold ---------------------------------------------------------------------------------------------

    pub(crate) fn check_bounds(&self) {
        for end in &self.ends {
            for queue in &end.waiting {
                let waiting: usize = queue.iter().map(|(_, bytes, _)| bytes).sum();
                assert!(waiting <= BYTES, "{waiting} bytes wait");
            }
            assert!(end.paths.len() <= 1);
        }
        assert_eq!(self.offences, 0, "nobody here does what it may not");
    }

    /// How many envelopes came to each fate; every one has come to one.
    pub(crate) fn fates(&self) -> BTreeMap<Fate, usize> {
        let mut fates = BTreeMap::new();
        for (number, sent) in self.sent.iter().enumerate() {
            let fate = sent.fate.unwrap_or_else(|| panic!("envelope {number} vanished: {sent:?}"));
            *fates.entry(fate).or_default() += 1;
        }
        fates
    }

    // ---- the host ---------------------------------------------------------------------------------------------------

    fn wait_for(&mut self, end: usize, lane: usize, what: What) -> (usize, Handle) {
        let request = self.requests.len();
        self.requests.push(None);
        let End { pending, peer, epoch, .. } = &mut self.ends[end];
        let waiter = Waiter { request, what };
        let lane = StreamId::from_index(lane).expect("there are four");
        (request, pending.insert(*peer, lane, *epoch, waiter).expect("there is room"))
    }

    fn finish(&mut self, request: usize, outcome: Outcome) {
        let old = self.requests[request].replace(outcome);
        assert_eq!(old, None, "request {request} ends a second time: {outcome:?}");
    }

    fn end_envelope(&mut self, frame: &Frame, fate: Fate) {
        if let Some(number) = frame.number {
            let old = self.sent[number].fate.replace(fate);
            assert_eq!(old, None, "envelope {number} has a second fate: {fate:?}");
        }
    }

    fn lose(&mut self, items: VecDeque<Item>) {
        for item in items {
            if let Item::Frame(frame) = item {
                self.is_word_lost |= frame.is_word();
                self.end_envelope(&frame, Fate::Lost);
            }
        }
    }

    /// An envelope of `end` is dead before it was handed over, and whoever waits for an answer to it is told.
    fn refused(&mut self, end: usize, frame: &Frame, fate: Fate) {
        self.end_envelope(frame, fate);
        if let (Kind::Message, Some(reply)) = (frame.header.kind, frame.header.reply) {
            self.dead(end, reply);
        }
    }

    /// A router's dead reply has come.
    fn dead(&mut self, end: usize, reply: Handle) {
        let peer = self.ends[end].peer;
        if let Ok(waiter) = self.ends[end].pending.answer(reply, peer) {
            self.finish(waiter.request, Outcome::Dead);
        }
    }

    fn ask_watch(&mut self, end: usize, reply: Handle) {
        let header = Header::to(Handle::WATCH).reply_to(reply);
        self.envelope(end, header, Vec::new()).expect("the control stream never waits");
    }

    fn notice(&mut self, end: usize, watcher: Handle) {
        // Its room was reserved when the watch was asked for.
        let header = Header::to(watcher).kind(Kind::Reply);
        self.envelope(end, header, Vec::new()).expect("it has room of its own");
    }

    fn word(&mut self, end: usize, handle: Handle, body: &impl Body) {
        let frame = Frame { header: Header::to(handle), body: body.to_bytes(), number: None };
        self.pathless(end, frame);
    }

    /// Sends an envelope whose fate and order count.
    fn envelope(&mut self, end: usize, header: Header, body: Vec<u8>) -> Result<(), Full> {
        let me = self.ends[end].me;
        let peer = self.ends[end].peer;
        let authority = header.authority.unwrap_or(me);
        let origin = Origin { authority, ..Origin::own(me) };
        let stream = header.handle.stream();
        let bytes = body.len();
        let lane = lane_of(&header, &origin);
        let pass = match lane {
            Some(lane) => Some((lane, self.ends[end].paths.send(peer, lane, bytes)?)),
            None => None,
        };
        let number = Some(self.sent.len());
        self.sent.push(Sent { from: end, stream, authority, fate: None });
        let mut frame = Frame { header, body, number };
        match pass {
            Some((_, Pass::Go { way, epoch })) => {
                frame.header.epoch = epoch;
                self.transmit(end, way, frame);
            }
            Some((lane, Pass::Wait)) => {
                let now = self.now;
                self.ends[end].waiting[lane.index()].push_back((now, bytes, frame));
            }
            None => self.pathless(end, frame),
        }
        Ok(())
    }

    fn pathless(&mut self, end: usize, frame: Frame) {
        let candidates = self.ends[end].core.candidates(self.ends[end].peer);
        match candidates.pathless(frame.header.authority.is_none()) {
            Some(way) => self.transmit(end, way, frame),
            None => self.refused(end, &frame, Fate::Dead),
        }
    }

    fn transmit(&mut self, end: usize, way: Way, mut frame: Frame) {
        let to = 1 - end;
        let stream = frame.header.handle.stream().index();
        match way {
            Way::Tree if self.ends[end].core.parent().is_none() => {
                self.refused(end, &frame, Fate::Dead);
            }
            // The root has no route to it.
            Way::Tree if self.is_parted || self.is_detached[to] => {
                self.is_word_lost |= frame.is_word();
                self.refused(end, &frame, Fate::Refused);
            }
            Way::Tree => {
                let destination = Destination { context: self.ends[to].me, incarnation: None };
                frame.header.destination = Some(destination);
                frame.header.source = Some(self.ends[end].me);
                self.tree[to][stream].push_back(Item::Frame(frame));
            }
            Way::Direct(link) => {
                assert_eq!(frame.header.authority, None, "it speaks for nobody else");
                let number = (link.0 - 1000) as usize / 2;
                if self.beside[number].is_broken {
                    self.end_envelope(&frame, Fate::Lost);
                } else {
                    self.beside[number].pipes[to][stream].push_back(Item::Frame(frame));
                }
            }
        }
    }

    fn apply(&mut self, end: usize, step: Step) {
        match step {
            Step::Flush { lane, way, number, epoch } => {
                let header = Header { epoch, ..Header::to(Handle::flush(lane)) };
                let frame = Frame { header, body: Flush { number }.to_bytes(), number: None };
                self.transmit(end, way, frame);
            }
            Step::Release { lane, way, epoch } => {
                for (since, _, mut frame) in
                    std::mem::take(&mut self.ends[end].waiting[lane.index()])
                {
                    assert!(self.now - since <= LONGEST, "it has waited too long");
                    frame.header.epoch = epoch;
                    self.transmit(end, way, frame);
                }
            }
            Step::Dead { lane } => {
                for (_, _, frame) in std::mem::take(&mut self.ends[end].waiting[lane.index()]) {
                    self.refused(end, &frame, Fate::Dead);
                }
            }
        }
    }

    fn input(&mut self, end: usize, input: Input) {
        let mut effects = Vec::new();
        self.ends[end].core.handle(input, &mut effects);
        for effect in effects {
            let now = self.now;
            let at = &mut self.ends[end];
            match effect {
                Effect::Change { context, to } => {
                    for step in at.paths.change(now, context, to) {
                        self.apply(end, step);
                    }
                }
                Effect::TellLost { context, by, lost } => {
                    assert_eq!(context, at.peer);
                    for stream in StreamId::all() {
                        let header = Header::to(Handle::lost(stream));
                        let frame = Frame { header, body: lost.to_bytes(), number: None };
                        self.transmit(end, by, frame);
                    }
                }
                Effect::Broken { context, way, other } => {
                    for step in at.paths.broken(context, way, other) {
                        self.apply(end, step);
                    }
                }
                Effect::AskAgain { context } => {
                    for reply in at.pending.watches(context, Waiter::is_watch) {
                        self.ask_watch(end, reply);
                    }
                }
                Effect::Epoch(epoch) => at.epoch = epoch,
                Effect::Remove { .. } | Effect::Parent(None)
                    if at.core.candidates(at.peer).direct.is_none() =>
                {
                    at.watchers.clear();
                }
                Effect::Wake { stream, wake } => self.wake(end, stream, &wake.whom, wake.epoch),
                Effect::Close { link, .. } => {
                    let number = (link.0 - 1000) as usize / 2;
                    if !self.beside[number].is_broken {
                        self.cut(number, u64::MAX);
                    }
                }
                Effect::Offence(_) => self.offences += 1,
                _ => {}
            }
        }
    }

    fn wake(&mut self, end: usize, stream: Option<StreamId>, whom: &Whom, epoch: Epoch) {
        let at = &mut self.ends[end];
        let peer = at.peer;
        let woken = match whom {
            Whom::Calls(context) => {
                at.pending.wake_calls(*context, stream, epoch, Waiter::is_watch)
            }
            Whom::Context(context) => at.pending.wake(*context, stream, epoch),
            Whom::OutsideExcept(except) if except.contains(&peer) => return,
            Whom::OutsideExcept(_) => at.pending.wake(peer, stream, epoch),
        };
        for waiter in woken {
            self.finish(waiter.request, Outcome::Woken);
        }
    }

    fn read_tree(&mut self, end: usize, stream: usize) -> bool {
        let Some(item) = self.tree[end][stream].pop_front() else { return false };
        let link = self.ends[end].core.parent().expect("what is read comes by a parent");
        match item {
            Item::Frame(frame) => self.read(end, link, stream, frame),
            Item::Withdrawal { stamp } => {
                let stream = StreamId::from_index(stream).expect("it is one");
                let peer = self.ends[end].peer;
                let del = DelRoute {
                    stamp,
                    routes: Vec::new(),
                    outside: Outside::Listed(vec![peer]),
                    loss: Loss::new(LossKind::LinkClosed, peer, "it is lost"),
                };
                let message = LinkMessage::DelRoute(del);
                self.input(end, Input::Message { link, stream, message });
            }
        }
        true
    }

    fn read_beside(&mut self, number: usize, end: usize, stream: usize) -> bool {
        match self.beside[number].pipes[end][stream].pop_front() {
            Some(Item::Frame(frame)) => self.read(end, Beside::link(number, end), stream, frame),
            Some(Item::Withdrawal { .. }) => panic!("nothing is withdrawn by a direct link"),
            None => return false,
        }
        true
    }

    fn read(&mut self, end: usize, link: LinkId, stream: usize, frame: Frame) {
        let at = &mut self.ends[end];
        let (me, peer, neighbour) = (at.me, at.peer, at.links[&link]);
        let header = &frame.header;
        assert_eq!(header.handle.stream().index(), stream, "an envelope keeps its lane");
        let origin = judge::origin(at, link, neighbour, header).expect("it may say so");
        assert_eq!(origin.source, peer);
        if let Some(to) = header.destination {
            assert_eq!(to.context, me);
        }
        if let Some(lane) = lane_of(header, &origin)
            && let Err(Late { last, tell }) = at.epochs.take(origin.source, lane, header.epoch)
        {
            self.end_envelope(&frame, Fate::Dropped);
            if tell && neighbour.side == Side::Parent {
                self.word(end, Handle::BEHIND, &Behind { lane: lane.into(), epoch: last });
            }
            return;
        }
        self.end_envelope(&frame, Fate::Delivered);
        if let Some(number) = frame.number {
            self.in_order(number);
        }
        self.take(end, link, frame);
    }

    /// Whatever one source sends on a lane under one authority arrives in the order in which it was sent.
    fn in_order(&mut self, number: usize) {
        let Sent { from, stream, authority, .. } = self.sent[number];
        // Requests to watch have no order with anything.
        if stream == StreamId::CONTROL {
            return;
        }
        let last = self.last.insert((from, stream, authority), number);
        assert!(last < Some(number), "{number} comes behind {last:?} on {stream:?}");
    }

    fn take(&mut self, end: usize, link: LinkId, frame: Frame) {
        let Frame { header, body, .. } = frame;
        let (peer, handle) = (self.ends[end].peer, header.handle);
        if header.kind == Kind::Reply {
            match self.ends[end].pending.answer(handle, peer) {
                Ok(waiter) => {
                    self.finish(waiter.request, Outcome::Answered);
                    if waiter.what == What::Ticket {
                        let grant = Grant::from_bytes(&body).expect("it is one");
                        // A link that has opened since has used up what tickets there were.
                        if grant.places == [self.beside.len().to_string()] {
                            self.open();
                        }
                    }
                }
                Err(NotAwaited::Unknown) => {}
                Err(stranger) => panic!("{stranger:?}"),
            }
        } else if handle == Handle::FLUSHED {
            let Flushed { lane, number } = Flushed::from_bytes(&body).expect("it is one");
            let step = self.ends[end].paths.flushed(peer, lane.into(), number);
            if let Some(step) = step {
                self.apply(end, step);
            }
        } else if handle.is_lost() {
            let lost = Lost::from_bytes(&body).expect("it is one");
            self.input(end, Input::Lost { link, peer, lost });
        } else if handle == Handle::BEHIND {
            let Behind { lane, epoch } = Behind::from_bytes(&body).expect("it is one");
            self.ends[end].paths.behind(peer, lane.into(), epoch);
        } else if let Some(lane) = StreamId::lanes().find(|&lane| handle == Handle::flush(lane)) {
            let Flush { number } = Flush::from_bytes(&body).expect("it is one");
            self.word(end, Handle::FLUSHED, &Flushed { lane: lane.into(), number });
        } else if let Some(reply) = header.reply {
            if handle == Handle::TICKET {
                let places = vec![self.beside.len().to_string()];
                let grant = Grant { ticket: Ticket::new([1; 32]), places };
                let header = Header::to(reply).kind(Kind::Reply);
                self.envelope(end, header, grant.to_bytes()).expect("it has room of its own");
            } else if handle != Handle::WATCH || self.ends[end].is_over {
                self.notice(end, reply);
            } else {
                self.ends[end].watchers.insert(reply);
            }
        }
    }
}
