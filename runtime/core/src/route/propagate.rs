//! Carrying route messages on: who is told, on which stream, and which waiters that wakes.
//!
//! A route message comes as five copies, one on each stream of a link, with one stamp (protocol rule 5). Its first copy changes
//! the table and settles who is told; that decision is kept here until the last copy has been read, because each copy is carried
//! on where it was read. So on every stream, and on every hop, a withdrawal stands behind the last envelopes of the route that
//! it ends. When a link breaks, its streams have all come to their end: what is still missing goes out at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    id::{ContextId, LinkId, StreamId},
    pending::Epoch,
    policy::Side,
    wire::control::{LinkMessage, Loss},
};

/// Route messages of one link that have been begun and not finished; more than that is no honest lag between its streams.
const MAX_UNDER_WAY: usize = 16 * 1024;

/// Contexts of which a link's latest word is kept; as many as it may have routes.
const MAX_SAID: usize = 64 * 1024;

/// Waiters that a withdrawal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wake {
    /// Whose waiters.
    pub whom: Whom,
    /// Only those that began up to this.
    pub epoch: Epoch,
    /// What they are told.
    pub loss: Loss,
}

/// Whose waiters are woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those who wait for this context.
    Context(ContextId),
    /// Those who wait for an answer of this context, to which another way is left; watches on it stay (protocol rule 9).
    Calls(ContextId),
    /// Those who wait for anything outside the own subtree but these.
    OutsideExcept(Vec<ContextId>),
}

/// What the first copy of a route message has settled: what goes out with every copy, and whom every copy wakes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relay {
    /// One message for each link that is told, with that link's own stamp.
    pub out: Vec<(LinkId, LinkMessage)>,
    /// The waiters that end with the copy on their lane.
    pub wakes: Vec<Wake>,
    /// The contexts for which a stream of the link speaks no more once it has brought its copy.
    pub passes: Vec<ContextId>,
}

#[derive(Debug)]
enum Progress {
    UnderWay { relay: Relay, seen: u8 },
    Done,
}

const ALL_SEEN: u8 = (1 << StreamId::COUNT) - 1;

/// A copy that cannot be: the sender breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCopy {
    /// The stream has carried this stamp already, or all copies of it have come.
    Repeated,
    /// Too many messages are under way.
    TooMany,
}

/// A link as the router knows it.
#[derive(Debug)]
pub struct Neighbourhood {
    /// Who is at the other end.
    pub peer: ContextId,
    /// How the peer stands to this context.
    pub side: Side,
    /// Set when the peer stands on the other side of a newer link: nothing that it announces by this one is true any more.
    pub replaced: bool,
    /// Set on a link to a former parent, and on a direct link of which there is a newer one: waits up to this epoch may hang on it.
    pub superseded: Option<Epoch>,
    sent: u64,
    /// Every stamp up to this one is done.
    floor: u64,
    progress: BTreeMap<u64, Progress>,
    /// The last stamp that has said something of a context, as long as an earlier one may still come.
    latest: BTreeMap<ContextId, u64>,
    /// The contexts by those stamps.
    said: BTreeMap<u64, Vec<ContextId>>,
    addressed: BTreeSet<ContextId>,
    addressed_all: bool,
}

impl Neighbourhood {
    /// A link that has just come up.
    pub fn new(peer: ContextId, side: Side) -> Self {
        Self {
            peer,
            side,
            replaced: false,
            superseded: None,
            sent: 0,
            floor: 0,
            progress: BTreeMap::new(),
            latest: BTreeMap::new(),
            said: BTreeMap::new(),
            addressed: BTreeSet::new(),
            addressed_all: false,
        }
    }

    /// The stamp of the next route message to this link.
    pub fn next_stamp(&mut self) -> u64 {
        self.sent += 1;
        self.sent
    }

    /// Notes that the link has addressed a context; past `limit` contexts it counts as having addressed all (protocol rule 10).
    pub fn note_addressed(&mut self, context: ContextId, limit: usize) {
        if self.addressed_all {
            return;
        }
        self.addressed.insert(context);
        if self.addressed.len() > limit {
            self.addressed.clear();
            self.addressed_all = true;
        }
    }

    /// Whether the link is told when this context is lost; the note ends with the route.
    pub fn forget_addressed(&mut self, context: ContextId) -> bool {
        self.addressed.remove(&context) || self.addressed_all
    }

    /// Whether the link has addressed more than is kept.
    pub fn addressed_all(&self) -> bool {
        self.addressed_all
    }

    /// The contexts that the link has addressed, as far as they are kept.
    pub fn addressed(&self) -> impl Iterator<Item = ContextId> + '_ {
        self.addressed.iter().copied()
    }

    /// Reads a copy. `None` says that it is the first of its stamp: apply the message and hand what came of it to
    /// [`Self::begin`]. Otherwise what the first copy has settled, to be carried on with this one.
    ///
    /// # Errors
    /// [`BadCopy`].
    pub fn copy(&mut self, stream: StreamId, stamp: u64) -> Result<Option<Relay>, BadCopy> {
        if stamp <= self.floor {
            return Err(BadCopy::Repeated);
        }
        let under_way = self.progress.len();
        match self.progress.get_mut(&stamp) {
            None if under_way >= MAX_UNDER_WAY => Err(BadCopy::TooMany),
            None => Ok(None),
            Some(Progress::Done) => Err(BadCopy::Repeated),
            Some(Progress::UnderWay { relay, seen }) => {
                let bit = 1 << stream.index();
                if *seen & bit != 0 {
                    return Err(BadCopy::Repeated);
                }
                *seen |= bit;
                let relay = if *seen == ALL_SEEN {
                    let relay = std::mem::take(relay);
                    self.finish(stamp);
                    relay
                } else {
                    relay.clone()
                };
                Ok(Some(relay))
            }
        }
    }

    /// Keeps what the first copy, read on `stream`, has settled.
    pub fn begin(&mut self, stream: StreamId, stamp: u64, relay: Relay) {
        self.progress.insert(stamp, Progress::UnderWay { relay, seen: 1 << stream.index() });
    }

    /// What is left to carry on when the link has broken: for each stamp, the streams whose copies never came.
    pub fn abandon(&mut self) -> Vec<(Relay, Vec<StreamId>)> {
        let progress = std::mem::take(&mut self.progress);
        let under_way = progress.into_values().filter_map(|progress| match progress {
            Progress::UnderWay { relay, seen } => Some((
                relay,
                StreamId::all().filter(|stream| seen & (1 << stream.index()) == 0).collect(),
            )),
            Progress::Done => None,
        });
        under_way.collect()
    }

    /// Whether what a stamp says of a context is newer than what the link has said of it before. Streams move each at its own
    /// pace, so of two messages about one context the later may be read first; the earlier then only marks its stream as passed
    /// (protocol rule 5).
    pub fn is_news(&self, context: ContextId, stamp: u64) -> bool {
        self.latest.get(&context).is_none_or(|&latest| stamp > latest)
    }

    /// Notes that a stamp has said something of a context.
    pub fn note_said(&mut self, context: ContextId, stamp: u64) {
        if self.latest.len() >= MAX_SAID && !self.latest.contains_key(&context) {
            return;
        }
        self.latest.insert(context, stamp);
        self.said.entry(stamp).or_default().push(context);
    }

    /// How many route messages are under way.
    pub fn under_way(&self) -> usize {
        self.progress.len()
    }

    /// Marks a stamp as done; what lies behind the oldest one under way needs no entry any more.
    fn finish(&mut self, stamp: u64) {
        self.progress.insert(stamp, Progress::Done);
        while let Some(Progress::Done) = self.progress.get(&(self.floor + 1)) {
            self.floor += 1;
            self.progress.remove(&self.floor);
        }
        while let Some(said) = self.said.first_entry()
            && *said.key() <= self.floor
        {
            let (stamp, contexts) = said.remove_entry();
            for context in contexts {
                if self.latest.get(&context) == Some(&stamp) {
                    self.latest.remove(&context);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Neighbourhood {
        Neighbourhood::new(ContextId(7), Side::Child)
    }

    fn relay(n: u64) -> Relay {
        Relay { out: vec![(LinkId(n), LinkMessage::Detaching)], ..Relay::default() }
    }

    #[test]
    fn every_copy_carries_on_what_the_first_has_settled() {
        let mut link = link();
        let streams: Vec<_> = StreamId::all().collect();
        assert_eq!(link.copy(streams[3], 1), Ok(None));
        link.begin(streams[3], 1, relay(9));
        for &stream in &[streams[0], streams[1], streams[2], streams[4]] {
            assert_eq!(link.copy(stream, 1), Ok(Some(relay(9))));
        }
        assert_eq!(link.under_way(), 0);
        assert_eq!(link.copy(streams[0], 1), Err(BadCopy::Repeated));
    }

    #[test]
    fn stamps_may_finish_out_of_order_and_none_twice() {
        let mut link = link();
        let streams: Vec<_> = StreamId::all().collect();
        for stamp in [2, 1] {
            link.begin(streams[0], stamp, relay(stamp));
            assert_eq!(link.copy(streams[0], stamp), Err(BadCopy::Repeated));
            for &stream in &streams[1..] {
                assert_eq!(link.copy(stream, stamp), Ok(Some(relay(stamp))));
            }
            assert_eq!(link.copy(streams[1], stamp), Err(BadCopy::Repeated));
        }
        assert_eq!((link.under_way(), link.floor), (0, 2));
    }

    #[test]
    fn a_later_word_about_a_context_stands_until_no_earlier_one_can_come() {
        let mut link = link();
        let streams: Vec<_> = StreamId::all().collect();
        let (a, b) = (ContextId(1), ContextId(2));
        assert!(link.is_news(a, 1));
        link.begin(streams[0], 2, relay(2));
        link.note_said(a, 2);
        assert!(
            !link.is_news(a, 1) && !link.is_news(a, 2) && link.is_news(a, 3) && link.is_news(b, 1)
        );
        link.begin(streams[0], 3, relay(3));
        link.note_said(a, 3);
        for &stream in &streams[1..] {
            link.copy(stream, 2).unwrap();
            link.copy(stream, 3).unwrap();
        }
        // 1 is still to come.
        assert!(!link.is_news(a, 1));
        assert_eq!((link.latest.len(), link.under_way()), (1, 2));
        link.begin(streams[0], 1, relay(1));
        for &stream in &streams[1..] {
            link.copy(stream, 1).unwrap();
        }
        assert!(link.latest.is_empty() && link.said.is_empty() && link.floor == 3);
        assert_eq!(link.under_way(), 0);
    }

    #[test]
    fn words_that_are_not_finished_keep_their_place_when_earlier_ones_are() {
        let mut link = link();
        let streams: Vec<_> = StreamId::all().collect();
        for stamp in [1, 2] {
            link.begin(streams[0], stamp, relay(stamp));
            link.note_said(ContextId(stamp), stamp);
        }
        for &stream in &streams[1..] {
            link.copy(stream, 1).unwrap();
        }
        assert_eq!(link.latest, [(ContextId(2), 2)].into());
    }

    #[test]
    fn no_more_words_are_kept_than_the_limit_and_those_that_are_kept_stay_current() {
        let mut link = link();
        let limit = 64 * 1024;
        for context in 0..=limit {
            link.note_said(ContextId(context), 1);
        }
        assert_eq!(link.latest.len() as u64, limit);
        assert!(link.is_news(ContextId(limit), 1), "there was no room for it");
        link.note_said(ContextId(0), 3);
        assert!(!link.is_news(ContextId(0), 2), "it is kept already, so it takes no more room");
        assert_eq!(link.latest.len() as u64, limit);
    }

    #[test]
    fn no_more_messages_are_under_way_than_the_limit() {
        let mut link = link();
        for stamp in 1..=16 * 1024 {
            assert_eq!(link.copy(StreamId::CONTROL, stamp), Ok(None));
            link.begin(StreamId::CONTROL, stamp, relay(stamp));
        }
        assert_eq!(link.under_way(), 16 * 1024);
        assert_eq!(link.copy(StreamId::CONTROL, 1 << 20), Err(BadCopy::TooMany));
        assert_eq!(link.copy(StreamId::lane(0), 1), Ok(Some(relay(1))), "copies still come");
    }

    #[test]
    fn a_broken_link_leaves_the_copies_that_never_came() {
        let mut link = link();
        let streams: Vec<_> = StreamId::all().collect();
        link.begin(streams[0], 1, relay(1));
        link.copy(streams[4], 1).unwrap();
        assert_eq!(link.abandon(), [(relay(1), vec![streams[1], streams[2], streams[3]])]);
        assert_eq!(link.abandon(), []);
    }

    #[test]
    fn a_link_over_its_quota_of_notes_counts_as_having_addressed_all() {
        let mut link = link();
        for n in [0, 1, 1, 0] {
            link.note_addressed(ContextId(n), 2);
        }
        assert!(!link.addressed_all() && link.addressed().eq([ContextId(0), ContextId(1)]));
        assert!(!link.forget_addressed(ContextId(77)));
        for n in 2..5 {
            link.note_addressed(ContextId(n), 2);
        }
        assert!(link.addressed_all() && link.addressed().next().is_none());
        assert!(link.forget_addressed(ContextId(77)));
        let mut few = self::link();
        few.note_addressed(ContextId(1), 2);
        assert!(few.forget_addressed(ContextId(1)) && !few.forget_addressed(ContextId(1)));
    }
}
