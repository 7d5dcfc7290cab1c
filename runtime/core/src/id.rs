//! Names of things: contexts, their incarnations and attachments, mailboxes, links and streams.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a context in its mesh. The root is [`ContextId::ROOT`]; every other id is given out by the root and
/// never used again (parity row M11).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContextId(pub u64);

impl ContextId {
    /// The root of the tree, which holds the mesh's authority.
    pub const ROOT: Self = Self(0);

    /// Whether this is the root of the tree.
    pub const fn is_root(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "context {}", self.0)
    }
}

impl fmt::Debug for ContextId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{}", self.0)
    }
}

/// One life of a context's process: the root's term and a counter within it (protocol rule 1). Addresses carry it, so an
/// address of a life that is over is `Stale` and never reaches a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Incarnation {
    /// The root's term in which the context was admitted.
    pub term: u64,
    /// Counts admissions within the term.
    pub counter: u64,
}

impl Incarnation {
    /// Whichever life a context lives now: what is meant by those who cannot know it, such as a deep descendant that asks the
    /// root. The root's terms begin at 1, so no context ever lives it.
    pub const ANY: Self = Self { term: 0, counter: 0 };

    /// The life as a header says it; `None` for [`Self::ANY`].
    pub fn meant(self) -> Option<Self> {
        (self != Self::ANY).then_some(self)
    }

    /// An incarnation from its two parts.
    pub const fn new(term: u64, counter: u64) -> Self {
        Self { term, counter }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.counter)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How often a context has attached to a parent within one incarnation (protocol rule 2). The context raises it itself;
/// addresses do not carry it, so that a link that flaps breaks no address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attachment(pub u64);

impl Attachment {
    /// The attachment that follows this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a{}", self.0)
    }
}

/// How often the path from one context to another has broken on a lane (protocol rule 7). Frames carry it, so that what the broken
/// path still brings is known by its lower number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PathEpoch(pub u64);

impl PathEpoch {
    /// The epoch of a path that has never broken.
    pub const FIRST: Self = Self(0);

    /// The epoch that follows this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Debug for PathEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}

/// A mailbox's number inside a context.
///
/// 100-199 and 999 are reserved with the meanings that Mitogen gave them ([`Handle::GET_MODULE`] and the other constants);
/// every other handle is an unguessable 64-bit value, so that an address is a capability. That is why neither `Debug` nor
/// `Display` prints one: they print a digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub u64);

impl Handle {
    /// Fetches a code module; immediate children, upwards.
    pub const GET_MODULE: Self = Self(100);
    /// Calls a registered function; needs a parent's authority.
    pub const CALL_FUNCTION: Self = Self(101);
    /// Carries log records upwards.
    pub const FORWARD_LOG: Self = Self(102);
    /// Announces a route; from the link itself only.
    pub const ADD_ROUTE: Self = Self(103);
    /// Withdraws routes; from the link itself only.
    pub const DEL_ROUTE: Self = Self(104);
    /// Asks the root for an id and a certificate.
    pub const ALLOCATE_ID: Self = Self(105);
    /// Asks a context to end; needs a parent's authority.
    pub const SHUTDOWN: Self = Self(106);
    /// Pushes a module down; needs a parent's authority.
    pub const LOAD_MODULE: Self = Self(107);
    /// Pushes a module further down; needs a parent's authority.
    pub const FORWARD_MODULE: Self = Self(108);
    /// Tells a parent that its child is leaving; from the link itself only.
    pub const DETACHING: Self = Self(109);
    /// Calls a service; the service's own policy decides.
    pub const CALL_SERVICE: Self = Self(110);
    /// Wakes a service that has not started; self only.
    pub const STUB_CALL_SERVICE: Self = Self(111);
    /// Fetches a data file; immediate children, upwards.
    pub const GET_RESOURCE: Self = Self(112);
    /// Pushes a data file down; needs a parent's authority.
    pub const LOAD_RESOURCE: Self = Self(113);
    /// Asks to be told when a mailbox ends; anyone who holds the address.
    pub const WATCH: Self = Self(114);
    /// Takes a watch back; whoever asked for it.
    pub const UNWATCH: Self = Self(115);
    /// Starts a registered actor; needs a parent's authority.
    pub const SPAWN: Self = Self(116);
    /// Looks a registered name up; anyone in the mesh, unless the name was registered with a narrower policy.
    pub const LOOKUP: Self = Self(117);
    /// Asks for a round trip; anyone in the mesh.
    pub const PING: Self = Self(118);
    /// Asks a sender to pause for one of the asker's mailboxes; whoever holds that mailbox.
    pub const PAUSE: Self = Self(119);
    /// Tells a paused sender to go on.
    pub const RESUME: Self = Self(120);
    /// Answers a [`Self::flush`]; whoever was flushed to.
    pub const FLUSHED: Self = Self(121);
    /// Tells a source that its path's epoch is behind what has been seen of it; whoever it sends to.
    pub const BEHIND: Self = Self(122);
    /// Asks for a ticket to a direct link; whoever the policies of the asked and of each router on the way admit.
    pub const TICKET: Self = Self(123);
    /// [`Self::lost`] of the control stream.
    const LOST_ON_CONTROL: Self = Self::lost(StreamId::CONTROL);
    /// Says that the asker of a request has given it up; whoever asked.
    pub const CANCEL: Self = Self(133);
    /// Has a context launch another; the authority of a parent, or self.
    pub const LAUNCH: Self = Self(134);
    /// Names and groups of the whole mesh: asked at the top of the tree, told to those who hold a group.
    pub const DIRECTORY: Self = Self(135);
    /// What is published, and who wants it: neighbours tell each other.
    pub const TOPICS: Self = Self(136);
    /// Asks the root to which context the authority has bound a name; anyone in the mesh.
    pub const WHO_HAS: Self = Self(137);
    /// Acknowledgements of what a context has published; whoever was required to give one.
    pub const PUBLISH: Self = Self(138);
    /// Asks an actor to end that was begun by [`Self::SPAWN`] for a supervisor; needs a parent's authority.
    pub const END: Self = Self(139);
    /// Dead letters of this handle are dead replies; never a destination.
    pub const IS_DEAD: Self = Self(999);

    /// Marks the end of a path on a lane, 124-127: it travels on the lane that it flushes (protocol rule 7).
    ///
    /// # Panics
    /// If `lane` is the control stream, which has no path.
    pub const fn flush(lane: StreamId) -> Self {
        assert!(lane.0 < StreamId::CONTROL.0, "the control stream has no path to flush");
        Self(124 + lane.0 as u64)
    }

    /// Says that the other way to a context is lost, 128-132: a copy on each stream, before anything else by the way that is left
    /// (protocol rule 9).
    pub const fn lost(stream: StreamId) -> Self {
        Self(128 + stream.0 as u64)
    }

    /// Whether it is [`Self::lost`] of some stream.
    pub const fn is_lost(self) -> bool {
        matches!(self.0, 128..=132)
    }

    /// Whether the number lies in the range that is not given to authors' mailboxes.
    pub const fn is_reserved(self) -> bool {
        matches!(self.0, 0..=199 | 999)
    }

    /// The stream that envelopes to this handle take on every hop (protocol rules 4 and 6): the control stream for watch
    /// requests, pauses and a supervisor's word that an actor shall end, which must overtake user messages, and for words about paths, which must not wait for one; a lane by
    /// the low two bits for everything else.
    pub const fn stream(self) -> StreamId {
        match self {
            Self::WATCH
            | Self::UNWATCH
            | Self::PAUSE
            | Self::RESUME
            | Self::CANCEL
            | Self::END
            | Self::FLUSHED
            | Self::BEHIND
            | Self::LOST_ON_CONTROL => StreamId::CONTROL,
            Self(n) => StreamId::lane((n & 3) as u8),
        }
    }

    /// A short digest that tells handles apart without giving the capability away.
    pub fn digest(self) -> String {
        if self.is_reserved() {
            return self.0.to_string();
        }
        let hash = blake3::hash(&self.0.to_le_bytes());
        hash.to_hex()[..8].to_owned()
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digest())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.digest())
    }
}

/// Where a mailbox is: what an address carries on the wire and in messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    /// The context that holds the mailbox.
    pub context: ContextId,
    /// The mailbox in it.
    pub handle: Handle,
    /// The life of the context in which the mailbox existed.
    pub incarnation: Incarnation,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.context.0, self.handle)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}@{}", self.context, self.handle, self.incarnation)
    }
}

/// A link of one context, numbered by that context alone; never sent to anybody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

/// One of the five streams of a link: four data lanes and the control stream (protocol rule 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u8);

impl StreamId {
    /// How many lanes carry data; a constant of the protocol.
    pub const LANES: usize = 4;
    /// How many streams a link has.
    pub const COUNT: usize = Self::LANES + 1;
    /// The stream of what has no order with data.
    pub const CONTROL: Self = Self(Self::LANES as u8);

    /// The lane that carries envelopes to handles with these low two bits; the other bits are ignored.
    pub const fn lane(low_bits: u8) -> Self {
        Self(low_bits & 3)
    }

    /// The stream with this number: 0-3 are the lanes, 4 is control.
    pub const fn from_index(index: usize) -> Option<Self> {
        if index < Self::COUNT { Some(Self(index as u8)) } else { None }
    }

    /// The stream's number: 0-3 for lanes, 4 for control.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All streams, lanes first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// The streams that carry data.
    pub fn lanes() -> impl Iterator<Item = Self> {
        (0..Self::LANES as u8).map(Self)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::CONTROL { f.write_str("control") } else { write!(f, "lane {}", self.0) }
    }
}

/// Draws unguessable handles from a seed that the host provides; the core has no randomness of its own.
///
/// Each block of handles is the output of blake3 keyed with the seed over a counter, so nobody who has seen some handles can
/// compute another.
#[derive(Clone)]
pub struct HandleMint {
    key: [u8; 32],
    blocks: u64,
    ready: Vec<u64>,
}

impl HandleMint {
    /// A mint over a secret seed: 32 bytes from the operating system, or from the simulation's seed in tests.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { key: seed, blocks: 0, ready: Vec::new() }
    }

    /// A fresh handle whose envelopes travel on `lane`.
    ///
    /// # Panics
    /// If `lane` is the control stream, on which no mailbox lives.
    pub fn draw(&mut self, lane: StreamId) -> Handle {
        assert!(lane != StreamId::CONTROL, "mailboxes live on lanes, not on the control stream");
        loop {
            let Some(raw) = self.ready.pop() else {
                self.refill();
                continue;
            };
            let handle = Handle((raw & !3) | lane.index() as u64);
            if !handle.is_reserved() {
                return handle;
            }
        }
    }

    /// A fresh handle on whichever lane comes: mailboxes spread over the lanes.
    pub fn draw_any(&mut self) -> Handle {
        if self.ready.is_empty() {
            self.refill();
        }
        let lane = self.ready.last().map_or(0, |raw| (raw >> 32) as u8);
        self.draw(StreamId::lane(lane))
    }

    fn refill(&mut self) {
        let mut block = [0_u8; 512];
        blake3::Hasher::new_keyed(&self.key)
            .update(&self.blocks.to_le_bytes())
            .finalize_xof()
            .fill(&mut block);
        self.blocks += 1;
        let words = block
            .chunks_exact(8)
            .map(|w| u64::from_le_bytes(w.try_into().expect("a chunk has 8 bytes")));
        self.ready.extend(words);
    }
}

impl fmt::Debug for HandleMint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandleMint").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_prints_a_digest_and_never_itself() {
        let handle = Handle(0x1234_5678_9abc_def0);
        for text in [format!("{handle}"), format!("{handle:?}")] {
            assert!(
                !text.contains("123456789abcdef0") && !text.contains(&handle.0.to_string()),
                "{text}"
            );
        }
        assert_eq!(Handle::WATCH.to_string(), "114");
    }

    #[test]
    fn drawn_handles_are_distinct_unreserved_and_on_the_lane_asked_for() {
        let mut mint = HandleMint::new([7; 32]);
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..1000_usize {
            let lane = StreamId::lane((n % 4) as u8);
            let handle = mint.draw(lane);
            assert_eq!(handle.stream(), lane);
            assert!(!handle.is_reserved());
            assert!(seen.insert(handle));
        }
        let lanes: std::collections::BTreeSet<_> =
            (0..100).map(|_| mint.draw_any().stream()).collect();
        assert_eq!(lanes.len(), StreamId::LANES);
    }

    #[test]
    fn mints_of_different_seeds_share_nothing() {
        let draw = |seed| {
            let mut mint = HandleMint::new([seed; 32]);
            (0..64).map(|_| mint.draw(StreamId::lane(0))).collect::<std::collections::BTreeSet<_>>()
        };
        assert!(draw(1).is_disjoint(&draw(2)));
        assert_eq!(draw(3), draw(3));
    }

    #[test]
    fn watch_requests_take_the_control_stream_and_everything_else_a_lane() {
        assert_eq!(Handle::WATCH.stream(), StreamId::CONTROL);
        assert_eq!(Handle::UNWATCH.stream(), StreamId::CONTROL);
        assert_eq!(Handle::PAUSE.stream(), StreamId::CONTROL);
        assert_eq!(Handle::RESUME.stream(), StreamId::CONTROL);
        assert_eq!(Handle::FLUSHED.stream(), StreamId::CONTROL);
        assert_eq!(Handle::BEHIND.stream(), StreamId::CONTROL);
        for lane in StreamId::lanes() {
            assert_eq!(Handle::flush(lane).stream(), lane, "it stands behind what it flushes");
            assert!(Handle::flush(lane).is_reserved() && !Handle::flush(lane).is_lost());
        }
        for stream in StreamId::all() {
            assert_eq!(Handle::lost(stream).stream(), stream, "nothing overtakes it");
            assert!(Handle::lost(stream).is_reserved() && Handle::lost(stream).is_lost());
        }
        assert_eq!(Handle::SPAWN.stream(), StreamId::lane(0));
        assert_eq!(Handle::END.stream(), StreamId::CONTROL);
        assert_eq!(Handle(1007).stream(), StreamId::lane(3));
    }

    #[test]
    fn incarnations_order_by_term_first() {
        assert!(Incarnation::new(2, 0) > Incarnation::new(1, 99));
        assert!(Incarnation::new(1, 2) > Incarnation::new(1, 1));
    }
}
