//! A whole mesh: contexts, the wires between them, the letters they send, and what came of each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use actogen_core::{
    Limits,
    dead::DeadReason,
    id::{ContextId, Handle, Incarnation, LinkId, StreamId},
    offence::{Offence, OffenceKind},
    policy::Side,
    router::{Effect, Input},
    wire::{
        FrameReader,
        control::{Announcement, LinkMessage, Loss, LossKind},
    },
};

use crate::{
    node::Node,
    wire::{End, Item, Lie, Phase, Wire},
};

/// Choices from a seed: splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Picks(pub(crate) u64);

impl Picks {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Mailboxes per context; mailbox `n` lives on lane `n`.
pub(crate) const MAILBOXES: u64 = 4;

pub(crate) fn mailbox(context: ContextId, n: u64) -> Handle {
    Handle(1000 + context.0 * MAILBOXES + n)
}

/// A mailbox of a context.
pub(crate) type Place = (ContextId, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    OneWay,
    Request,
    /// The answer to the request of this number.
    Answer(usize),
    /// A router's word that the request of this number is dead.
    Notice(usize),
}

/// What came of a letter; each has exactly one fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    /// An offence, by the judgement of some hop.
    Refused(OffenceKind),
    Dead(DeadReason),
    /// It was on a wire, or in a context, that went.
    Lost,
    /// An answer that nobody waits for any more.
    TooLate,
}

#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) form: Form,
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) structure: u64,
    /// The wires between the two when it was sent.
    pub(crate) way: Option<Vec<usize>>,
    /// Where it has been read, and when.
    pub(crate) path: Vec<(ContextId, u64)>,
    pub(crate) fate: Option<Fate>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Answered,
    Dead(DeadReason),
    Woken(Loss),
}

#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) asker: ContextId,
    pub(crate) life: Incarnation,
    pub(crate) outcome: Option<Outcome>,
}

/// A link's end that broke: whose, and when it was known there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) origin: ContextId,
    pub(crate) at: Option<u64>,
}

/// A link message as it was written.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) to: ContextId,
    pub(crate) link: LinkId,
    pub(crate) stream: StreamId,
    pub(crate) message: LinkMessage,
}

pub(crate) struct World {
    pub(crate) limits: Limits,
    pub(crate) nodes: BTreeMap<ContextId, Node>,
    pub(crate) wires: Vec<Wire>,
    /// Where each link's end is: (wire, end).
    pub(crate) ends: BTreeMap<LinkId, (usize, usize)>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) requests: BTreeMap<usize, Request>,
    pub(crate) events: Vec<Event>,
    pub(crate) said: Vec<Said>,
    pub(crate) archive: Vec<Announcement>,
    /// (above, below) for every pair that ever stood so.
    pub(crate) ever_below: BTreeSet<(ContextId, ContextId)>,
    /// Whether routers lag behind what is read: letters pass meanwhile by the routes as they were.
    pub(crate) routers_lag: bool,
    /// What waits for each router, in order.
    pub(crate) inboxes: BTreeMap<ContextId, VecDeque<(Incarnation, Input)>>,
    /// Counts changes of the tree.
    pub(crate) structure: u64,
    /// Offences of frames that nobody had forged.
    pub(crate) honest_offences: Vec<(ContextId, Offence)>,
    /// Offences of forged ones.
    pub(crate) counted_lies: usize,
    lies: BTreeSet<(LinkId, Vec<u8>)>,
    /// Who has withdrawn whom without a right to: nothing that it says of that one by the same link is believed any more.
    pub(crate) discredited: BTreeSet<(ContextId, ContextId)>,
    /// What has arrived of each pair's letters.
    pub(crate) order: BTreeMap<(Place, Place), Vec<usize>>,
    lives: u64,
    links: u64,
    pub(crate) clock: u64,
}

impl World {
    /// A mesh of the root alone.
    pub(crate) fn new(limits: Limits) -> Self {
        let mut world = Self {
            limits,
            nodes: BTreeMap::new(),
            wires: Vec::new(),
            ends: BTreeMap::new(),
            letters: Vec::new(),
            requests: BTreeMap::new(),
            events: Vec::new(),
            said: Vec::new(),
            archive: Vec::new(),
            ever_below: BTreeSet::new(),
            routers_lag: false,
            inboxes: BTreeMap::new(),
            structure: 0,
            honest_offences: Vec::new(),
            counted_lies: 0,
            lies: BTreeSet::new(),
            discredited: BTreeSet::new(),
            order: BTreeMap::new(),
            lives: 0,
            links: 0,
            clock: 0,
        };
        world.live(ContextId::ROOT);
        world
    }

    /// A mesh in which context `n + 1` hangs below `parents[n]`, settled.
    pub(crate) fn tree(limits: Limits, parents: &[u64]) -> Self {
        let mut world = Self::new(limits);
        for (n, &parent) in parents.iter().enumerate() {
            world.live(ContextId(n as u64 + 1));
            world.attach(ContextId(n as u64 + 1), ContextId(parent));
        }
        world.settle(1);
        world
    }

    /// Starts a life of a context that has none.
    pub(crate) fn live(&mut self, context: ContextId) {
        self.lives += 1;
        let life = Incarnation::new(1, self.lives);
        let old = self.nodes.insert(context, Node::new(context, life, &self.limits));
        assert!(old.is_none(), "{context} is alive already");
    }

    pub(crate) fn node(&self, context: impl Into<Name>) -> &Node {
        &self.nodes[&context.into().0]
    }

    // ---- the tree -------------------------------------------------------------------------------------------------

    /// The wire to a context's parent, while both ends may use it.
    pub(crate) fn up_wire(&self, context: ContextId) -> Option<usize> {
        let parent = self.nodes.get(&context)?.parent?;
        let (wire, _) = self.ends[&parent];
        (!self.wires[wire].broken).then_some(wire)
    }

    pub(crate) fn parent_of(&self, context: ContextId) -> Option<ContextId> {
        self.up_wire(context).map(|wire| self.wires[wire].ends[Wire::PARENT].context)
    }

    /// A context and those above it, nearest first.
    pub(crate) fn line(&self, context: ContextId) -> Vec<ContextId> {
        std::iter::successors(Some(context), |&at| self.parent_of(at)).collect()
    }

    /// The wires between two contexts, if they belong to one tree.
    pub(crate) fn way(&self, from: ContextId, to: ContextId) -> Option<Vec<usize>> {
        let (mut up, mut down) = (self.line(from), self.line(to));
        if up.last() != down.last() {
            return None;
        }
        while up.last().is_some_and(|above| down.last() == Some(above)) {
            up.pop();
            down.pop();
        }
        up.into_iter().chain(down.into_iter().rev()).map(|context| self.up_wire(context)).collect()
    }

    /// Attaches a context below another. A standing link to a parent breaks first at this end; the old parent learns it later.
    pub(crate) fn attach(&mut self, child: ContextId, parent: ContextId) {
        assert!(!self.line(parent).contains(&child), "{child} cannot hang below itself");
        if let Some(wire) = self.up_wire(child) {
            self.cut(wire, &mut Picks(self.clock));
            while self.wires[wire].ends[Wire::CHILD].phase != Phase::Down {
                self.advance(wire, Wire::CHILD, None);
            }
        }
        if let Some(old) = self.nodes[&child].parent {
            let (wire, end) = self.ends[&old];
            while self.wires[wire].ends[end].phase != Phase::Down {
                self.advance(wire, end, None);
            }
        }
        self.link(child, parent);
    }

    /// Whether a context may attach below another, as far as anybody can know.
    pub(crate) fn may_attach(&self, child: ContextId, parent: ContextId) -> bool {
        let above = self.line(parent);
        let moves = |&(liar, about): &(ContextId, ContextId)| {
            above.contains(&liar) && self.line(about).contains(&child)
        };
        !above.contains(&child)
            && !self.discredited.iter().any(moves)
            && self.node(child).core.may_attach_below(parent, &above[1..])
    }

    /// Whether nothing is left of the links by which a context was attached before.
    pub(crate) fn has_left(&self, child: ContextId) -> bool {
        let mut ends = self.wires.iter().map(|wire| &wire.ends);
        ends.all(|[low, high]| low.context != child || high.phase == Phase::Down)
    }

    /// Puts a wire between two contexts and tells both, the parent first.
    pub(crate) fn link(&mut self, child: ContextId, parent: ContextId) -> usize {
        let [low, high] = [self.links + 1, self.links + 2].map(LinkId);
        self.links += 2;
        let ends = [End::new(child, low), End::new(parent, high)];
        let wire = self.wires.len();
        self.wires.push(Wire { ends, broken: false, tainted: false });
        self.ends.insert(low, (wire, Wire::CHILD));
        self.ends.insert(high, (wire, Wire::PARENT));
        for (at, link, peer, side) in
            [(parent, high, child, Side::Child), (child, low, parent, Side::Parent)]
        {
            let node = self.nodes.get_mut(&at).expect("both live");
            node.add_link(link, peer, side);
            self.structure += 1;
            self.input(at, Input::LinkUp { link, peer, side });
        }
        let above = self.line(parent);
        let below: Vec<_> =
            self.nodes.keys().copied().filter(|&id| self.line(id).contains(&child)).collect();
        for &high in &above {
            self.ever_below.extend(below.iter().map(|&low| (high, low)));
        }
        wire
    }

    /// Breaks a wire: of each queue some part is still read, then both ends know.
    pub(crate) fn cut(&mut self, wire: usize, picks: &mut Picks) {
        self.cut_with(wire, LossKind::LinkClosed, |len| picks.below(len + 1));
    }

    pub(crate) fn cut_with(
        &mut self,
        wire: usize,
        kind: LossKind,
        mut keep: impl FnMut(usize) -> usize,
    ) {
        self.structure += 1;
        self.wires[wire].broken = true;
        for end in 0..2 {
            let peer = self.wires[wire].ends[1 - end].context;
            if self.wires[wire].ends[end].phase != Phase::Up {
                continue;
            }
            let mut lost = Vec::new();
            for queue in &mut self.wires[wire].ends[end].inbound {
                let kept = keep(queue.len());
                lost.extend(queue.drain(kept..));
            }
            self.lose(lost);
            let event = self.events.len();
            self.events.push(Event { origin: self.wires[wire].ends[end].context, at: None });
            let loss = Loss::new(kind, peer, format!("event {event}"));
            self.wires[wire].ends[end].phase = Phase::Dying(loss, event);
        }
    }

    /// Ends a context at once; its peers learn it when they have read what is left.
    pub(crate) fn kill(&mut self, context: ContextId, picks: &mut Picks) {
        for wire in 0..self.wires.len() {
            let Some(end) = (0..2).find(|&end| {
                let end = &self.wires[wire].ends[end];
                end.context == context && end.phase != Phase::Down
            }) else {
                continue;
            };
            if self.wires[wire].ends.iter().any(|end| end.phase == Phase::Up) {
                self.cut(wire, picks);
            }
            let gone = &mut self.wires[wire].ends[end];
            gone.phase = Phase::Down;
            let lost = gone.inbound.iter_mut().flat_map(|queue| queue.drain(..)).collect();
            self.lose(lost);
        }
        self.nodes.remove(&context);
        self.structure += 1;
    }

    fn lose(&mut self, items: Vec<Item>) {
        for letter in items.into_iter().filter_map(|item| item.letter) {
            self.end_letter(letter, Fate::Lost);
        }
    }

    // ---- time -----------------------------------------------------------------------------------------------------

    /// Hands a router its next input, or lets it wait.
    pub(crate) fn hand(&mut self, at: ContextId, input: Input) {
        if self.routers_lag {
            let life = self.nodes[&at].life;
            self.inboxes.entry(at).or_default().push_back((life, input));
        } else {
            self.input(at, input);
        }
    }

    /// Lets a router take the first of what waits for it.
    fn catch_up(&mut self, at: ContextId) {
        let inbox = self.inboxes.entry(at).or_default();
        let next = inbox.pop_front();
        if inbox.is_empty() {
            self.inboxes.remove(&at);
        }
        let Some((life, input)) = next else { return };
        if let Input::Message { link, stream, .. } = &input {
            let (wire, end) = self.ends[link];
            self.wires[wire].ends[end].held[stream.index()] = false;
        }
        if self.nodes.get(&at).is_some_and(|node| node.life == life) {
            let offences = self.nodes[&at].offences.len();
            self.input(at, input);
            let new = self.nodes[&at].offences[offences..].to_vec();
            self.honest_offences.extend(new.into_iter().map(|offence| (at, offence)));
        }
    }

    /// Lets a router take all that waits for it.
    fn catch_up_all(&mut self, at: ContextId) {
        while self.inboxes.contains_key(&at) {
            self.catch_up(at);
        }
    }

    /// What could happen next: the head of a stream, or a broken link's end.
    fn ready(&self) -> Vec<(usize, usize, Option<StreamId>)> {
        let mut ready = Vec::new();
        for (wire, Wire { ends, .. }) in self.wires.iter().enumerate() {
            for (number, end) in ends.iter().enumerate() {
                if end.phase == Phase::Down {
                    continue;
                }
                for stream in StreamId::all() {
                    let waits = end.stalled[stream.index()] || end.held[stream.index()];
                    if !waits && !end.inbound[stream.index()].is_empty() {
                        ready.push((wire, number, Some(stream)));
                    }
                }
                if matches!(end.phase, Phase::Dying(..)) && end.is_drained() && !end.stalled[0] {
                    ready.push((wire, number, None));
                }
            }
        }
        ready
    }

    /// Lets one thing happen; `false` when nothing is left to happen.
    pub(crate) fn step(&mut self, picks: &mut Picks) -> bool {
        let lagging: Vec<_> = self.inboxes.keys().copied().collect();
        if !lagging.is_empty() && picks.below(4) == 0 {
            self.catch_up(lagging[picks.below(lagging.len())]);
            return true;
        }
        let ready = self.ready();
        if ready.is_empty() {
            for &at in &lagging {
                self.catch_up_all(at);
            }
            return !lagging.is_empty();
        }
        let (wire, end, stream) = ready[picks.below(ready.len())];
        match stream {
            Some(stream) => self.read(wire, end, stream),
            None => self.end_link(wire, end),
        }
        true
    }

    /// Lets things happen until nothing is left, with nothing stalled.
    pub(crate) fn settle(&mut self, seed: u64) {
        for wire in &mut self.wires {
            for end in &mut wire.ends {
                end.stalled = [false; StreamId::COUNT];
            }
        }
        let mut picks = Picks(seed);
        while self.step(&mut picks) {}
    }

    /// Reads the heads of the given streams of an end, or with `None` whatever is left at a broken one.
    pub(crate) fn advance(&mut self, wire: usize, end: usize, stream: Option<StreamId>) {
        self.catch_up_all(self.wires[wire].ends[end].context);
        let next = stream
            .or_else(|| {
                StreamId::all().find(|s| !self.wires[wire].ends[end].inbound[s.index()].is_empty())
            })
            .filter(|s| !self.wires[wire].ends[end].inbound[s.index()].is_empty());
        match next {
            Some(stream) => self.read(wire, end, stream),
            None if matches!(self.wires[wire].ends[end].phase, Phase::Dying(..)) => {
                self.end_link(wire, end);
            }
            None => {}
        }
    }

    fn end_link(&mut self, wire: usize, end: usize) {
        let end = &mut self.wires[wire].ends[end];
        let Phase::Dying(loss, event) = std::mem::replace(&mut end.phase, Phase::Down) else {
            panic!("only a broken link ends")
        };
        let (context, link) = (end.context, end.link);
        // A router takes its inputs in order.
        self.catch_up_all(context);
        self.clock += 1;
        self.events[event].at = Some(self.clock);
        self.structure += 1;
        let node = self.nodes.get_mut(&context).expect("a dead context has no ends");
        node.links.remove(&link);
        node.noted.retain(|(at, _)| *at != link);
        self.input(context, Input::LinkDown { link, loss });
    }

    fn read(&mut self, wire: usize, end: usize, stream: StreamId) {
        self.clock += 1;
        let reader = &mut self.wires[wire].ends[end];
        let (context, link) = (reader.context, reader.link);
        let item = reader.inbound[stream.index()].pop_front().expect("something is there to read");
        let mut reader = FrameReader::new();
        reader.feed(item.bytes.clone().into());
        let frame = reader.next().expect("frames are well-formed").expect("items are whole frames");
        if item.lie.is_some() {
            // What it finds does not change under it.
            self.catch_up_all(context);
        }
        let node = &self.nodes[&context];
        if item.lie.is_some_and(|lie| node.may_speak_for(link, lie.about)) {
            return;
        }
        let before = item.lie.map(|_| (node.routes.clone(), node.pending.len()));
        let offences = node.offences.len();
        let mut is_first = false;
        if LinkMessage::is_for(frame.header.handle) {
            let message = LinkMessage::decode(&frame.header, &frame.payload)
                .expect("link messages are well-formed");
            let input = Input::Message { link, stream, message };
            if item.lie.is_some() {
                is_first = self.lies.insert((link, frame.payload.to_vec()));
                self.input(context, input);
            } else {
                self.wires[wire].ends[end].held[stream.index()] = self.routers_lag;
                self.hand(context, input);
            }
        } else {
            self.read_envelope(context, link, stream, frame.header, &frame.payload, &item);
        }
        let node = &self.nodes[&context];
        let new = node.offences[offences..].to_vec();
        match (item.lie, before) {
            (Some(Lie { what, about, structure }), Some((routes, waiters))) => {
                assert_eq!(node.routes, routes, "{what}: routes of {context} changed");
                assert_eq!(node.pending.len(), waiters, "{what}: waiters of {context} changed");
                // What has become an older word meanwhile is ignored and is no offence.
                let is_due = is_first && structure == self.structure;
                assert!(!is_due || !new.is_empty(), "{what} about {about} is not counted");
                self.counted_lies += new.len();
            }
            _ => self.honest_offences.extend(new.into_iter().map(|offence| (context, offence))),
        }
    }

    // ---- the core's inputs and effects ----------------------------------------------------------------------------

    pub(crate) fn input(&mut self, at: ContextId, input: Input) {
        let mut effects = Vec::new();
        let shown = format!("{input:?}");
        let node = self.nodes.get_mut(&at).expect("inputs go to those who live");
        node.core.handle(input, &mut effects);
        let mut close = Vec::new();
        // For a failing case: what every core was told and answered.
        if std::env::var_os("MESH_TRACE").is_some() {
            println!("[{}] {at}: {shown} -> {effects:?}", self.clock);
        }
        for effect in effects {
            let node = self.nodes.get_mut(&at).expect("nobody dies by an effect");
            match effect {
                Effect::Install { context, incarnation, link } => {
                    node.routes.insert(context, (link, incarnation));
                }
                Effect::Remove { context } => {
                    node.routes.remove(&context);
                    node.noted.retain(|(_, noted)| *noted != context);
                }
                Effect::Linger { link, context } => node.lingering.begin(link, context),
                Effect::Passed { link, stream, contexts } => {
                    for context in contexts {
                        node.lingering.passed(link, stream, context);
                    }
                }
                Effect::Change { .. }
                | Effect::TellLost { .. }
                | Effect::Broken { .. }
                | Effect::AskAgain { .. } => {
                    panic!("{at} has no direct links")
                }
                Effect::Parent(link) => node.parent = link,
                Effect::Above(ancestors) => node.ancestors = ancestors,
                Effect::Epoch(epoch) => node.epoch = epoch,
                Effect::Send { link, stream, message } => self.write(at, link, stream, &message),
                Effect::Wake { stream, wake } => {
                    for request in node.wake(stream, &wake.whom, wake.epoch) {
                        self.end_request(request, Outcome::Woken(wake.loss.clone()));
                    }
                }
                Effect::Up { context, .. } => node.heard.push((context, true)),
                Effect::Down { context, .. } => node.heard.push((context, false)),
                Effect::Close { link, .. } => close.push(link),
                Effect::Offence(offence) => node.offences.push(offence),
            }
        }
        self.nodes[&at].assert_in_step(!self.routers_lag);
        for link in close {
            let (wire, _) = self.ends[&link];
            self.cut(wire, &mut Picks(self.clock));
        }
    }

    fn write(
        &mut self,
        at: ContextId,
        link: LinkId,
        stream: Option<StreamId>,
        message: &LinkMessage,
    ) {
        if let LinkMessage::AddRoute(add) = message
            && !self.archive.contains(&add.announcement)
        {
            self.archive.push(add.announcement.clone());
        }
        let (wire, end) = self.ends[&link];
        assert_eq!(self.wires[wire].ends[end].context, at);
        let to = self.wires[wire].ends[1 - end].context;
        let mut bytes = Vec::new();
        message.put(&mut bytes);
        for stream in stream.map_or_else(|| StreamId::all().collect(), |stream| vec![stream]) {
            self.said.push(Said { to, link, stream, message: message.clone() });
            let item = Item { bytes: bytes.clone(), letter: None, lie: None };
            self.put(wire, 1 - end, stream, item);
        }
    }

    /// Appends to what one end will read, unless the wire is broken.
    pub(crate) fn put(&mut self, wire: usize, end: usize, stream: StreamId, item: Item) {
        if self.wires[wire].broken {
            self.lose(vec![item]);
        } else {
            self.wires[wire].ends[end].inbound[stream.index()].push_back(item);
        }
    }
}

/// A context named by its number or itself.
pub(crate) struct Name(ContextId);

impl From<u64> for Name {
    fn from(n: u64) -> Self {
        Self(ContextId(n))
    }
}

impl From<ContextId> for Name {
    fn from(context: ContextId) -> Self {
        Self(context)
    }
}
