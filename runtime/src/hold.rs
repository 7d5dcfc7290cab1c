//! What waits beside the lanes of a link: a queue for each destination and lane, and the destinations that the other end has asked
//! to pause (protocol rule 16).
//!
//! A destination that cannot be passed on to stands here in nobody's way. While nothing waits and nobody is paused, whoever
//! forwards sees so at one look and takes no lock.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::atomic::{AtomicUsize, Ordering},
};

use actogen_core::{
    ContextId, LinkId, StreamId,
    wire::{self, Frame, FrameReader, Header},
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::lane::{Class, Lane, LaneError};

/// From this many bytes on a piece takes no further frame: pieces go into the lane as they are, and leave room for other senders.
const PIECE: usize = 64 * 1024;

/// What a piece counts beyond its frames' bytes: what holding it takes.
const PIECE_OVERHEAD: usize = 128;

/// By which sum a frame is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Messages and answers.
    Whole,
    /// Parts of long bodies, of which the rest follows whether there is room or not.
    Part,
    /// Dead replies, for which room is kept apart (protocol rule 14).
    Notice,
}

impl From<Class> for Sort {
    fn from(class: Class) -> Self {
        match class {
            Class::Message | Class::Answer => Self::Whole,
            Class::Part => Self::Part,
            Class::Notice => Self::Notice,
        }
    }
}

/// Frames for one destination that came by one link, one behind the other.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) from: LinkId,
    pub(crate) sort: Sort,
    pub(crate) frames: Vec<u8>,
    /// How many frames they are.
    pub(crate) count: u64,
}

impl Piece {
    fn new(from: LinkId, sort: Sort) -> Self {
        Self { from, sort, frames: Vec::new(), count: 0 }
    }

    fn takes(&self, from: LinkId, sort: Sort) -> bool {
        (self.from, self.sort) == (from, sort) && self.frames.len() < PIECE
    }

    /// What it counts against its sum, in bytes.
    pub(crate) fn charge(&self) -> usize {
        self.frames.len() + PIECE_OVERHEAD
    }

    /// Calls `each` with the header and the payload of every frame.
    pub(crate) fn for_each(&self, mut each: impl FnMut(Header, &[u8])) {
        let mut reader = FrameReader::new();
        reader.feed(bytes::Bytes::copy_from_slice(&self.frames));
        while let Some(frame) =
            reader.next_placed().expect("a frame that this context has written can be read")
        {
            let Frame { header, payload } = frame.into_frame();
            each(header, &payload);
        }
    }

    /// Takes the frames of some sources out, in order.
    fn split_sources(&mut self, is_one: &impl Fn(ContextId) -> bool) -> Self {
        let (mut kept, mut taken) =
            (Self::new(self.from, self.sort), Self::new(self.from, self.sort));
        self.for_each(|header, payload| {
            let to = if header.source.is_some_and(is_one) { &mut taken } else { &mut kept };
            wire::put_frame(&header, &[payload], &mut to.frames);
            to.count += 1;
        });
        *self = kept;
        taken
    }
}

/// One lane's queues.
#[derive(Debug, Default)]
struct Beside {
    queues: BTreeMap<ContextId, VecDeque<Piece>>,
    /// Whose turn it was last.
    last: Option<ContextId>,
    /// A task passes on what waits.
    has_task: bool,
}

impl Beside {
    /// The destination whose turn it is, of those that may go on.
    fn next(&self, paused: &BTreeSet<ContextId>) -> Option<ContextId> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.queues.range((after, Bound::Unbounded));
        let mut all = behind.chain(&self.queues).map(|(&to, _)| to);
        all.find(|to| !paused.contains(to))
    }
}

#[derive(Debug, Default)]
struct State {
    paused: BTreeSet<ContextId>,
    lanes: [Beside; StreamId::LANES],
    /// Bytes of notices.
    notices: usize,
    is_closed: bool,
}

/// A frame on its way through this context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Onward<'a> {
    pub(crate) from: LinkId,
    pub(crate) to: ContextId,
    pub(crate) stream: StreamId,
    pub(crate) header: &'a Header,
    pub(crate) payload: &'a [u8],
    pub(crate) sort: Sort,
}

/// What became of a frame that should wait.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It waits, and somebody passes it on in time.
    Waits,
    /// As [`Self::Waits`], and nobody does that yet: begin a task.
    NeedsTask,
}

/// How far passing on has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    /// Nothing waits for the lane: the task ends.
    Over,
    /// The lane takes no more now.
    NoRoom,
    /// All that waits is for paused destinations.
    Paused,
}

/// What waits for one link.
#[derive(Debug, Default)]
pub(crate) struct Hold {
    state: Mutex<State>,
    /// Destinations that are paused and queues that hold something.
    standing: AtomicUsize,
    /// Destinations that are paused.
    paused: AtomicUsize,
    changed: Notify,
}

impl Hold {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let outcome = change(&mut state);
        let queues: usize = state.lanes.iter().map(|lane| lane.queues.len()).sum();
        // Before the lock is let go: whoever sees less standing finds the lane as it was left.
        self.paused.store(state.paused.len(), Ordering::Release);
        self.standing.store(state.paused.len() + queues, Ordering::Release);
        outcome
    }

    /// Whether anything waits or is paused.
    pub(crate) fn is_idle(&self) -> bool {
        self.standing.load(Ordering::Acquire) == 0
    }

    /// Whether a frame must wait: the destination is paused, or others wait for it on this lane.
    pub(crate) fn holds(&self, stream: StreamId, to: ContextId, sort: Sort) -> bool {
        if self.is_idle() {
            return false;
        }
        let state = self.state.lock();
        let Some(lane) = state.lanes.get(stream.index()) else { return false };
        // A dead reply waits for its place and for nothing else.
        lane.queues.contains_key(&to) || (sort != Sort::Notice && state.paused.contains(&to))
    }

    /// Puts a frame behind those that wait for its destination on its lane, if `charge` finds room for so many bytes. Up to
    /// `notices` bytes of dead replies are held beyond that.
    pub(crate) fn push(
        &self,
        onward: Onward<'_>,
        notices: usize,
        charge: impl FnOnce(usize) -> bool,
    ) -> Result<Held, LaneError> {
        let Onward { from, to, stream, header, payload, sort } = onward;
        let held = self.with(|state| {
            if state.is_closed {
                return Err(LaneError::Closed);
            }
            let lane = &mut state.lanes[stream.index()];
            let queue = lane.queues.entry(to).or_default();
            let is_new = !queue.back().is_some_and(|last| last.takes(from, sort));
            if is_new {
                queue.push_back(Piece::new(from, sort));
            }
            let piece = queue.back_mut().expect("one is there or was pushed");
            let before = piece.frames.len();
            wire::put_frame(header, &[payload], &mut piece.frames);
            let bytes = piece.frames.len() - before + if is_new { PIECE_OVERHEAD } else { 0 };
            let has_room = match sort {
                Sort::Notice => state.notices + bytes <= notices,
                Sort::Whole | Sort::Part => charge(bytes),
            };
            if has_room {
                piece.count += 1;
                if sort == Sort::Notice {
                    state.notices += bytes;
                }
                let had_task = std::mem::replace(&mut lane.has_task, true);
                let may_go = !state.paused.contains(&to);
                return Ok((if had_task { Held::Waits } else { Held::NeedsTask }, may_go));
            }
            piece.frames.truncate(before);
            if is_new {
                queue.pop_back();
            }
            if queue.is_empty() {
                lane.queues.remove(&to);
            }
            Err(LaneError::Full)
        });
        let (held, may_go) = held?;
        if may_go {
            // The task may wait because all that it found is paused.
            self.changed.notify_waiters();
        }
        Ok(held)
    }

    /// Passes on what waits for a lane and may go, each destination in its turn, until the lane has no room. `passed` hears of each
    /// piece.
    pub(crate) fn pass(
        &self,
        stream: StreamId,
        lane: &Lane,
        mut passed: impl FnMut(ContextId, &Piece, usize),
    ) -> Passing {
        self.with(|state| {
            let State { paused, lanes, notices, .. } = state;
            let beside = &mut lanes[stream.index()];
            loop {
                let Some(to) = beside.next(paused) else {
                    beside.has_task = !beside.queues.is_empty();
                    return if beside.has_task { Passing::Paused } else { Passing::Over };
                };
                let queue = beside.queues.get_mut(&to).expect("it has its turn");
                let piece = queue.front_mut().expect("a queue that is kept holds something");
                let charge = piece.charge();
                match lane.append_piece(to, &mut piece.frames, piece.count, false) {
                    Ok(()) => {}
                    Err(LaneError::Full) => return Passing::NoRoom,
                    // The end of the link gives up what waits for it.
                    Err(LaneError::Closed | LaneError::Old) => {
                        beside.has_task = false;
                        return Passing::Over;
                    }
                }
                let piece = queue.pop_front().expect("it is there");
                if queue.is_empty() {
                    beside.queues.remove(&to);
                }
                beside.last = Some(to);
                if piece.sort == Sort::Notice {
                    *notices -= charge;
                }
                passed(to, &piece, charge);
            }
        })
    }

    /// Passes on what some sources have sent, whether there is room or a pause or not: their end is about to be told on this lane, and
    /// must not overtake it. Gives what a closed lane did not take, with its charge.
    pub(crate) fn pass_sources(
        &self,
        stream: StreamId,
        lane: &Lane,
        is_one: impl Fn(ContextId) -> bool,
        mut passed: impl FnMut(ContextId, &Piece, usize),
    ) -> Vec<(ContextId, Piece, usize)> {
        let mut left = Vec::new();
        if self.is_idle() || stream == StreamId::CONTROL {
            return left;
        }
        self.with(|state| {
            let State { lanes, notices, .. } = state;
            lanes[stream.index()].queues.retain(|&to, queue| {
                queue.retain_mut(|piece| {
                    let mut taken = piece.split_sources(&is_one);
                    if taken.count > 0 {
                        let overhead = if piece.count == 0 { PIECE_OVERHEAD } else { 0 };
                        let charge = taken.frames.len() + overhead;
                        if taken.sort == Sort::Notice {
                            *notices -= charge;
                        }
                        match lane.append_piece(to, &mut taken.frames, taken.count, true) {
                            Ok(()) => passed(to, &taken, charge),
                            Err(_) => left.push((to, taken, charge)),
                        }
                    }
                    piece.count > 0
                });
                !queue.is_empty()
            });
        });
        left
    }

    /// Takes out what waits for some destinations.
    pub(crate) fn take(&self, is_one: impl Fn(ContextId) -> bool) -> Vec<(ContextId, Piece)> {
        if self.is_idle() {
            return Vec::new();
        }
        let taken = self.with(|state| {
            let mut taken = Vec::new();
            for beside in &mut state.lanes {
                let gone: Vec<_> = beside.queues.keys().copied().filter(|&to| is_one(to)).collect();
                for to in gone {
                    let pieces = beside.queues.remove(&to).unwrap_or_default();
                    taken.extend(pieces.into_iter().map(|piece| (to, piece)));
                }
            }
            for (_, piece) in taken.iter().filter(|(_, piece)| piece.sort == Sort::Notice) {
                state.notices -= piece.charge();
            }
            taken
        });
        self.changed.notify_waiters();
        taken
    }

    /// Makes what came by a link that is gone belong to `heir`, as far as `moves` finds room for it there; takes the rest out.
    pub(crate) fn inherit(
        &self,
        from: LinkId,
        heir: LinkId,
        mut moves: impl FnMut(ContextId, &Piece) -> bool,
    ) -> Vec<(ContextId, Piece)> {
        if self.is_idle() {
            return Vec::new();
        }
        self.with(|state| {
            let mut left = Vec::new();
            for beside in &mut state.lanes {
                beside.queues.retain(|&to, queue| {
                    for mut piece in std::mem::take(queue) {
                        if piece.from != from {
                            queue.push_back(piece);
                        } else if piece.sort == Sort::Notice || moves(to, &piece) {
                            piece.from = heir;
                            queue.push_back(piece);
                        } else {
                            left.push((to, piece));
                        }
                    }
                    !queue.is_empty()
                });
            }
            left
        })
    }

    /// The link is gone, or ends: gives what waits for it, and takes nothing more.
    pub(crate) fn close(&self) -> Vec<(ContextId, Piece)> {
        self.with(|state| {
            state.is_closed = true;
            state.paused.clear();
        });
        let left = self.take(|_| true);
        self.changed.notify_waiters();
        left
    }

    /// The other end asks that nothing for a destination be sent.
    pub(crate) fn pause(&self, to: ContextId) {
        self.with(|state| !state.is_closed && state.paused.insert(to));
    }

    /// What is for a destination may go again.
    pub(crate) fn resume(&self, to: ContextId) {
        if self.with(|state| state.paused.remove(&to)) {
            self.changed.notify_waiters();
        }
    }

    /// Whether nothing for a destination may be sent now.
    #[inline]
    pub(crate) fn pauses(&self, to: ContextId) -> bool {
        self.paused.load(Ordering::Acquire) > 0 && self.state.lock().paused.contains(&to)
    }

    /// Told whenever somebody who was paused may go on, or what waited was taken out.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actogen_core::Handle;

    const IN: LinkId = LinkId(1);
    const LANE: StreamId = StreamId::lane(0);
    const SLOW: ContextId = ContextId(7);
    const FAST: ContextId = ContextId(8);
    const ROOM: usize = 1024 * 1024;

    fn lane() -> Lane {
        Lane::new(256 * 1024, 1024 * 1024, 7)
    }

    /// Puts a frame whose reply handle is its number.
    fn put(
        hold: &Hold,
        to: ContextId,
        source: u64,
        number: u64,
        sort: Sort,
    ) -> Result<Held, LaneError> {
        let mut header = Header::to(Handle(4000)).reply_to(Handle(number));
        header.source = Some(ContextId(source));
        let (header, payload) = (&header, &[0; 1000][..]);
        hold.push(Onward { from: IN, to, stream: LANE, header, payload, sort }, ROOM, |_| true)
    }

    fn pass(hold: &Hold, lane: &Lane) -> (Passing, Vec<ContextId>) {
        let mut passed = Vec::new();
        let how = hold.pass(LANE, lane, |to, piece, charge| {
            assert!(charge > 1000 && piece.count > 0);
            passed.push(to);
        });
        (how, passed)
    }

    async fn numbers(lane: &Lane) -> Vec<u64> {
        lane.close(false);
        let (mut reader, mut got) = (FrameReader::new(), Vec::new());
        while let Some(taken) = lane.take().await {
            reader.feed(taken.frames);
            while let Some(frame) = reader.next().unwrap() {
                got.push(frame.header.reply.unwrap().0);
            }
        }
        got
    }

    #[tokio::test]
    async fn what_waits_keeps_its_order_and_whoever_follows_waits_behind_it() {
        let (hold, lane) = (Hold::default(), lane());
        assert!(hold.is_idle() && !hold.holds(LANE, SLOW, Sort::Whole));
        assert_eq!(put(&hold, SLOW, 3, 0, Sort::Whole), Ok(Held::NeedsTask));
        for (number, sort) in [Sort::Part, Sort::Notice, Sort::Whole].into_iter().enumerate() {
            assert_eq!(put(&hold, SLOW, 3, 1 + number as u64, sort), Ok(Held::Waits));
            assert!(hold.holds(LANE, SLOW, sort));
        }
        assert!(!hold.holds(LANE, FAST, Sort::Whole) && !hold.is_idle());
        assert!(!hold.holds(StreamId::lane(1), SLOW, Sort::Whole), "another lane is another order");
        assert_eq!(pass(&hold, &lane), (Passing::Over, vec![SLOW; 4]));
        assert!(hold.is_idle());
        assert_eq!(lane.envelopes(), 4);
        assert_eq!(numbers(&lane).await, [0, 1, 2, 3]);
        assert_eq!(put(&hold, SLOW, 3, 4, Sort::Whole), Ok(Held::NeedsTask), "its task has ended");
    }

    #[tokio::test]
    async fn a_paused_destination_waits_while_others_pass_in_turns() {
        let (hold, lane) = (Hold::default(), lane());
        hold.pause(SLOW);
        assert!(hold.pauses(SLOW) && !hold.pauses(FAST));
        assert!(hold.holds(LANE, SLOW, Sort::Whole) && !hold.holds(LANE, SLOW, Sort::Notice));
        let other = ContextId(9);
        for number in 0..70 {
            for (to, at) in [(SLOW, 0), (FAST, 100), (other, 200)] {
                put(&hold, to, 3, at + number, Sort::Whole).unwrap();
            }
        }
        assert_eq!(pass(&hold, &lane), (Passing::NoRoom, vec![FAST, other]));
        let rest = Lane::new(ROOM, ROOM, 8);
        assert_eq!(pass(&hold, &rest), (Passing::Paused, vec![FAST, other]));
        let resumed = hold.changed();
        tokio::pin!(resumed);
        resumed.as_mut().enable();
        hold.resume(SLOW);
        resumed.await;
        assert_eq!(pass(&hold, &rest), (Passing::Over, vec![SLOW; 2]));
        assert!(hold.is_idle());
        let (late, sent) = (numbers(&rest).await, numbers(&lane).await);
        let of = |from: u64| {
            let all = sent.iter().chain(&late).copied();
            all.filter(|number| (from..from + 100).contains(number)).collect::<Vec<_>>()
        };
        for from in [0, 100, 200] {
            assert_eq!(of(from), (from..from + 70).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn what_may_go_wakes_the_task_that_waits_because_all_else_is_paused() {
        let (hold, lane) = (Hold::default(), lane());
        hold.pause(SLOW);
        assert_eq!(put(&hold, SLOW, 3, 0, Sort::Whole), Ok(Held::NeedsTask));
        let changed = hold.changed();
        tokio::pin!(changed);
        changed.as_mut().enable();
        assert_eq!(pass(&hold, &lane), (Passing::Paused, vec![]));
        assert_eq!(put(&hold, SLOW, 3, 1, Sort::Whole), Ok(Held::Waits));
        assert_eq!(put(&hold, FAST, 3, 2, Sort::Whole), Ok(Held::Waits));
        let within = std::time::Duration::from_secs(10);
        tokio::time::timeout(within, changed).await.expect("somebody may go");
        assert_eq!(pass(&hold, &lane), (Passing::Paused, vec![FAST]));
    }

    #[test]
    fn what_finds_no_room_leaves_nothing_behind_and_notices_have_room_of_their_own() {
        let header = Header::to(Handle(4000));
        let push = |hold: &Hold, sort, notices| {
            let onward = Onward {
                from: IN,
                to: SLOW,
                stream: LANE,
                header: &header,
                payload: &[0; 100],
                sort,
            };
            hold.push(onward, notices, |bytes| {
                assert!(bytes > 100);
                false
            })
        };
        let hold = Hold::default();
        assert_eq!(push(&hold, Sort::Whole, 0), Err(LaneError::Full));
        assert!(hold.is_idle() && hold.close().is_empty());
        let hold = Hold::default();
        assert_eq!(push(&hold, Sort::Notice, 1000), Ok(Held::NeedsTask));
        assert_eq!(push(&hold, Sort::Part, 1000), Err(LaneError::Full));
        assert_eq!(push(&hold, Sort::Notice, 300), Err(LaneError::Full));
        assert_eq!(push(&hold, Sort::Notice, 1000), Ok(Held::Waits));
        let left = hold.close();
        assert_eq!(
            left.iter().map(|(to, piece)| (*to, piece.count)).collect::<Vec<_>>(),
            [(SLOW, 2)]
        );
        assert_eq!(push(&hold, Sort::Notice, 1000), Err(LaneError::Closed));
        hold.pause(SLOW);
        assert!(hold.is_idle(), "who has ended is not paused");
    }

    #[tokio::test]
    async fn those_whose_end_is_told_go_first_and_nobody_else_does() {
        let (hold, lane) = (Hold::default(), lane());
        hold.pause(SLOW);
        for number in 0..6 {
            put(&hold, SLOW, 3 + number % 2, number, Sort::Whole).unwrap();
            put(&hold, FAST, 3 + number % 2, 10 + number, Sort::Notice).unwrap();
        }
        let mut charges = 0;
        let is_one = |source| source == ContextId(4);
        let left = hold.pass_sources(LANE, &lane, is_one, |_, piece, charge| {
            assert_eq!(piece.count, 3);
            charges += charge;
        });
        assert!(left.is_empty());
        assert_eq!(numbers(&lane).await, [1, 3, 5, 11, 13, 15]);
        let rest = hold.take(|_| true);
        let mut kept = Vec::new();
        for (_, piece) in &rest {
            piece.for_each(|header, _| kept.push(header.reply.unwrap().0));
        }
        assert_eq!(kept, [0, 2, 4, 10, 12, 14]);
        let all: usize = rest.iter().map(|(_, piece)| piece.charge()).sum();
        assert_eq!(all, charges + 2 * PIECE_OVERHEAD, "the overhead stays with what is kept");
        assert_eq!(hold.state.lock().notices, 0);
    }

    #[test]
    fn what_came_by_a_lost_link_passes_to_its_heir_as_far_as_that_has_room() {
        let (hold, heir) = (Hold::default(), LinkId(0));
        for to in [SLOW, FAST] {
            put(&hold, to, 3, 1, Sort::Whole).unwrap();
        }
        let left = hold.inherit(IN, heir, |to, _| to == SLOW);
        assert_eq!(
            left.iter().map(|(to, piece)| (*to, piece.from)).collect::<Vec<_>>(),
            [(FAST, IN)]
        );
        let kept = hold.take(|_| true);
        assert_eq!(
            kept.iter().map(|(to, piece)| (*to, piece.from)).collect::<Vec<_>>(),
            [(SLOW, heir)]
        );
        assert!(hold.is_idle());
    }
}
