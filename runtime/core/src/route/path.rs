//! The path that frames take to one context on one lane, and how it changes without reordering them (protocol rule 7).
//!
//! A path is the tree or a direct link. It belongs to the source that sends by it, a destination and a lane. Before a source goes
//! over to another path it sends a numbered flush down the old one; what it sends meanwhile waits, within a bound, until the
//! other end says that the flush has come and so everything before it. If that takes more than [`FLUSH_TIME`], what waits goes
//! down the old path and the late answer is ignored.
//!
//! A path that breaks cannot be flushed. The epoch rises instead, which every frame carries, and the other end drops what the
//! broken path still brings behind the first frame of the new epoch ([`super::epochs`]).
//!
//! Frames under foreign authority, routers' dead replies and what takes the control stream are no part of this ([`lane_of`]). The
//! first two take the tree, which keeps its order by itself; the third has no order.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    id::{ContextId, LinkId, PathEpoch, StreamId},
    policy::Origin,
    time::Moment,
    wire::Header,
};

/// How long new frames wait for a flush to be answered: well beyond a round trip through a loaded tree, well within the time that
/// requests have.
pub const FLUSH_TIME: Duration = Duration::from_secs(5);

/// One of the ways to a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// By the route, or the parent.
    #[default]
    Tree,
    /// By the direct link to it.
    Direct(LinkId),
}

/// The lane whose path a frame belongs to; `None` for frames that have neither path nor epoch: those on another's authority, what a
/// router says in the name of whom it speaks for, the control stream's, and the word that a way is lost, which goes by the other
/// ([`super::direct::Candidates::pathless`]).
pub fn lane_of(header: &Header, origin: &Origin) -> Option<StreamId> {
    let stream = header.handle.stream();
    let is_own = origin.authority == origin.source && !header.by_router;
    let is_ordered = stream != StreamId::CONTROL && !header.handle.is_lost();
    (is_own && is_ordered).then_some(stream)
}

/// What becomes of a frame that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It goes by this way and carries this epoch.
    Go {
        /// The way.
        way: Way,
        /// The epoch.
        epoch: PathEpoch,
    },
    /// It waits, behind those of its destination and lane that wait already, until a [`Step`] says what becomes of them.
    Wait,
}

/// As much waits on this path as may: the sender keeps the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What the host does on a lane to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send a [`crate::wire::direct::Flush`] on the lane by this way, behind all that it holds for the destination, bodies in
    /// fragments with all their fragments.
    Flush {
        /// The lane.
        lane: StreamId,
        /// The way that is flushed.
        way: Way,
        /// The flush's number.
        number: u64,
        /// The epoch of that way.
        epoch: PathEpoch,
    },
    /// Send what waits by this way, before anything else on the lane to the destination.
    Release {
        /// The lane.
        lane: StreamId,
        /// The way.
        way: Way,
        /// The epoch that the frames carry.
        epoch: PathEpoch,
    },
    /// There is no way left: what waits has not been sent, and each frame is dead and counted.
    Dead {
        /// The lane.
        lane: StreamId,
    },
}

/// A change of path that waits for the flush to be answered.
#[derive(Clone, Copy, Debug)]
struct Change {
    to: Way,
    number: u64,
    until: Moment,
    /// How many bytes wait for it.
    waiting: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Path {
    way: Way,
    epoch: PathEpoch,
    change: Option<Change>,
}

/// The paths of what one context sends, as far as they are not just the tree.
///
/// The host keeps the frames that wait, one FIFO per destination and lane; this keeps the sums and decides where they go.
#[derive(Debug)]
pub struct Paths {
    /// How many bytes may wait on one path.
    bytes: usize,
    /// How many destinations have paths of their own.
    limit: usize,
    paths: BTreeMap<ContextId, [Path; StreamId::LANES]>,
    ends: BTreeSet<(Moment, ContextId, StreamId)>,
    flushes: u64,
    /// The epoch of paths that are not kept: none that was forgotten had a higher one.
    floor: PathEpoch,
}

impl Paths {
    /// Everything takes the tree. At most `bytes` bytes wait on one path, and at most `limit` destinations have paths of their own.
    pub fn new(bytes: usize, limit: usize) -> Self {
        Self {
            bytes,
            limit,
            paths: BTreeMap::new(),
            ends: BTreeSet::new(),
            flushes: 0,
            floor: PathEpoch::FIRST,
        }
    }

    /// A frame of `bytes` bytes is to be sent on a lane ([`lane_of`]). For one that has room of its own, such as a notice
    /// (protocol rule 14), `bytes` is 0.
    ///
    /// # Errors
    /// [`Full`] when it would have to wait and may not.
    pub fn send(
        &mut self,
        destination: ContextId,
        lane: StreamId,
        bytes: usize,
    ) -> Result<Pass, Full> {
        let Some(paths) = self.paths.get_mut(&destination) else {
            return Ok(Pass::Go { way: Way::Tree, epoch: self.floor });
        };
        let path = &mut paths[lane.index()];
        match &mut path.change {
            None => Ok(Pass::Go { way: path.way, epoch: path.epoch }),
            Some(change) if bytes > self.bytes - change.waiting => Err(Full),
            Some(change) => {
                change.waiting += bytes;
                Ok(Pass::Wait)
            }
        }
    }

    /// From now on this way shall be taken to a destination. Both the present and the new one stand.
    pub fn change(&mut self, now: Moment, destination: ContextId, to: Way) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.keep(destination) {
            return steps;
        }
        let Some(paths) = self.paths.get_mut(&destination) else { return steps };
        for (path, lane) in paths.iter_mut().zip(StreamId::lanes()) {
            let (way, epoch) = (path.way, path.epoch);
            match &mut path.change {
                Some(change) if way == to => {
                    self.ends.remove(&(change.until, destination, lane));
                    path.change = None;
                    steps.push(Step::Release { lane, way, epoch });
                }
                // The flush is about the old way; it is answered just as well for another new one.
                Some(change) => change.to = to,
                None if way == to => {}
                None => {
                    self.flushes += 1;
                    let (number, until) = (self.flushes, now + FLUSH_TIME);
                    path.change = Some(Change { to, number, until, waiting: 0 });
                    self.ends.insert((until, destination, lane));
                    steps.push(Step::Flush { lane, way, number, epoch });
                }
            }
        }
        self.tidy(destination);
        steps
    }

    /// A destination says that a flush has come. `None` for an answer that is late, or to what nobody has asked.
    pub fn flushed(&mut self, destination: ContextId, lane: StreamId, number: u64) -> Option<Step> {
        let path = self.paths.get_mut(&destination)?.get_mut(lane.index())?;
        let change = path.change.take_if(|change| change.number == number)?;
        self.ends.remove(&(change.until, destination, lane));
        path.way = change.to;
        let step = Step::Release { lane, way: path.way, epoch: path.epoch };
        self.tidy(destination);
        Some(step)
    }

    /// Gives up the flushes that have not been answered in time: what waits goes by the old way, which stays.
    pub fn expire(&mut self, now: Moment) -> Vec<(ContextId, Step)> {
        let mut steps = Vec::new();
        while let Some(&(until, destination, lane)) = self.ends.first()
            && until <= now
        {
            self.ends.pop_first();
            let Some(paths) = self.paths.get_mut(&destination) else { continue };
            let path = &mut paths[lane.index()];
            path.change = None;
            steps.push((destination, Step::Release { lane, way: path.way, epoch: path.epoch }));
            self.tidy(destination);
        }
        steps
    }

    /// When [`Self::expire`] is due next.
    pub fn next_timeout(&self) -> Option<Moment> {
        self.ends.first().map(|&(until, ..)| until)
    }

    /// A way to a destination has broken; `other` is the best of what is left. What went by it goes by the other from now on,
    /// under the next epoch.
    pub fn broken(&mut self, destination: ContextId, way: Way, other: Option<Way>) -> Vec<Step> {
        let mut steps = Vec::new();
        if other.is_some_and(|other| other != Way::Tree) && !self.keep(destination) {
            return steps;
        }
        let Some(paths) = self.paths.get_mut(&destination) else { return steps };
        for (path, lane) in paths.iter_mut().zip(StreamId::lanes()) {
            let change = path.change.filter(|change| path.way == way || change.to == way);
            if let Some(change) = change {
                self.ends.remove(&(change.until, destination, lane));
                path.change = None;
            }
            let mut is_left = true;
            if path.way == way {
                is_left = other.is_some();
                // What is sent without a way is judged, and dies, where the tree would take it.
                path.way = other.unwrap_or_default();
                path.epoch = path.epoch.next();
            }
            if change.is_some() {
                let (way, epoch) = (path.way, path.epoch);
                steps.push(if is_left {
                    Step::Release { lane, way, epoch }
                } else {
                    Step::Dead { lane }
                });
            }
        }
        steps
    }

    /// A destination drops what this context sends, since it has seen a later epoch of it: of an earlier life, or before this
    /// context forgot. That epoch is taken up.
    pub fn behind(&mut self, destination: ContextId, lane: StreamId, epoch: PathEpoch) {
        if lane != StreamId::CONTROL
            && self.keep(destination)
            && let Some(paths) = self.paths.get_mut(&destination)
        {
            let path = &mut paths[lane.index()];
            path.epoch = path.epoch.max(epoch);
            self.tidy(destination);
        }
    }

    /// The life of a destination is over; another one has seen no epoch yet.
    pub fn forget(&mut self, destination: ContextId) -> Vec<Step> {
        let paths = self.paths.remove(&destination).unwrap_or_default();
        let mut steps = Vec::new();
        for (path, lane) in paths.iter().zip(StreamId::lanes()) {
            if let Some(change) = path.change {
                self.ends.remove(&(change.until, destination, lane));
                steps.push(Step::Dead { lane });
            }
        }
        steps
    }

    /// How many destinations have paths of their own.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether everything takes the tree.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Makes sure that the paths to a destination are kept; false if there is no room.
    fn keep(&mut self, destination: ContextId) -> bool {
        if self.paths.contains_key(&destination) {
            return true;
        }
        if self.paths.len() >= self.limit {
            let is_idle = |path: &Path| path.way == Way::Tree && path.change.is_none();
            let idle = self.paths.iter().find(|(_, paths)| paths.iter().all(is_idle));
            let Some((&forgotten, paths)) = idle else { return false };
            let highest = paths.iter().map(|path| path.epoch).max();
            self.floor = self.floor.max(highest.unwrap_or_default());
            self.paths.remove(&forgotten);
        }
        let path = Path { epoch: self.floor, ..Path::default() };
        self.paths.insert(destination, [path; StreamId::LANES]);
        true
    }

    /// Forgets paths that are what they would be if nothing were known of them.
    fn tidy(&mut self, destination: ContextId) {
        let floor = self.floor;
        let is_plain =
            |path: &Path| path.way == Way::Tree && path.change.is_none() && path.epoch == floor;
        if self.paths.get(&destination).is_some_and(|paths| paths.iter().all(is_plain)) {
            self.paths.remove(&destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Handle;

    const B: ContextId = ContextId(2);
    const LANE: StreamId = StreamId::lane(1);
    const LINK: Way = Way::Direct(LinkId(7));
    const NEWER: Way = Way::Direct(LinkId(8));
    const E0: PathEpoch = PathEpoch(0);
    const E1: PathEpoch = PathEpoch(1);

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    fn go(way: Way, epoch: PathEpoch) -> Result<Pass, Full> {
        Ok(Pass::Go { way, epoch })
    }

    /// The number of the flush on [`LANE`].
    fn number(steps: &[Step]) -> u64 {
        let found = steps.iter().find_map(|step| match *step {
            Step::Flush { lane: LANE, number, .. } => Some(number),
            _ => None,
        });
        found.expect("the lane is flushed")
    }

    fn on_lane(steps: Vec<Step>) -> Vec<Step> {
        let is_here = |step: &Step| {
            let (Step::Flush { lane, .. } | Step::Release { lane, .. } | Step::Dead { lane }) =
                *step;
            lane == LANE
        };
        steps.into_iter().filter(is_here).collect()
    }

    #[test]
    fn a_new_path_is_taken_once_the_old_one_is_flushed() {
        let mut paths = Paths::new(100, 10);
        assert_eq!(paths.send(B, LANE, 1000), go(Way::Tree, E0));
        let steps = paths.change(at(0), B, LINK);
        assert_eq!(steps.len(), StreamId::LANES, "each lane by itself");
        let number = number(&steps);
        assert!(steps.contains(&Step::Flush { lane: LANE, way: Way::Tree, number, epoch: E0 }));
        assert_eq!(paths.send(B, LANE, 60), Ok(Pass::Wait));
        assert_eq!(paths.send(B, LANE, 41), Err(Full));
        assert_eq!(paths.send(B, LANE, 40), Ok(Pass::Wait));
        assert_eq!(paths.send(B, LANE, 0), Ok(Pass::Wait), "it has room of its own");
        assert_eq!(paths.flushed(B, LANE, number + 100), None);
        assert_eq!(paths.flushed(ContextId(3), LANE, number), None);
        assert_eq!(paths.flushed(B, StreamId::lane(2), number), None);
        let release = Step::Release { lane: LANE, way: LINK, epoch: E0 };
        assert_eq!(paths.flushed(B, LANE, number), Some(release));
        assert_eq!(paths.flushed(B, LANE, number), None);
        assert_eq!(paths.send(B, LANE, 1000), go(LINK, E0));
        assert_eq!(paths.send(B, StreamId::lane(2), 1), Ok(Pass::Wait), "its flush is under way");
        assert_eq!(paths.send(ContextId(3), LANE, 1), go(Way::Tree, E0));
        assert_eq!(paths.change(at(1), B, LINK), [], "it is taken already, or will be");
    }

    #[test]
    fn after_five_seconds_the_old_path_stays_and_a_late_answer_is_ignored() {
        let mut paths = Paths::new(100, 10);
        let number = number(&paths.change(at(0), B, LINK));
        assert_eq!(paths.send(B, LANE, 1), Ok(Pass::Wait));
        assert_eq!((paths.expire(at(4999)), paths.next_timeout()), (vec![], Some(at(5000))));
        let given_up = paths.expire(at(5000));
        assert!(given_up.contains(&(B, Step::Release { lane: LANE, way: Way::Tree, epoch: E0 })));
        assert_eq!(given_up.len(), StreamId::LANES);
        assert!(paths.is_empty() && paths.next_timeout().is_none());
        assert_eq!(paths.flushed(B, LANE, number), None);
        let again = self::number(&paths.change(at(6000), B, LINK));
        assert_eq!(paths.flushed(B, LANE, number), None, "that was another flush");
        assert!(paths.flushed(B, LANE, again).is_some());
        assert_eq!(paths.send(B, LANE, 1), go(LINK, E0));
    }

    #[test]
    fn a_broken_path_raises_the_epoch_and_needs_no_flush() {
        let mut paths = Paths::new(100, 10);
        assert_eq!(paths.broken(B, Way::Tree, None), []);
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, E0), "nothing is known of that one");
        let number = number(&paths.change(at(0), B, LINK));
        paths.flushed(B, LANE, number);
        assert_eq!(on_lane(paths.broken(B, LINK, Some(Way::Tree))), []);
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, E1));
        // The lanes that had not gone over stay where they were, and need no other epoch.
        assert_eq!(paths.send(B, StreamId::lane(0), 1), go(Way::Tree, E0));
        assert_eq!(paths.next_timeout(), None);
        assert_eq!(on_lane(paths.broken(B, LINK, Some(Way::Tree))), [], "it was left before");
        assert_eq!(paths.broken(ContextId(3), Way::Tree, Some(LINK)), []);
        assert_eq!(paths.send(ContextId(3), LANE, 1), go(LINK, E1), "there was a tree before");
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, E1));
    }

    #[test]
    fn whichever_path_breaks_during_a_change_what_waits_goes_by_the_other() {
        let changing = || {
            let mut paths = Paths::new(100, 10);
            let number = number(&paths.change(at(0), B, LINK));
            paths.send(B, LANE, 1).unwrap();
            (paths, number)
        };
        let (mut paths, number) = changing();
        let stays = Step::Release { lane: LANE, way: Way::Tree, epoch: E0 };
        assert_eq!(on_lane(paths.broken(B, LINK, Some(Way::Tree))), [stays]);
        assert_eq!(paths.flushed(B, LANE, number), None);
        let (mut paths, number) = changing();
        let goes = Step::Release { lane: LANE, way: LINK, epoch: E1 };
        assert_eq!(on_lane(paths.broken(B, Way::Tree, Some(LINK))), [goes]);
        assert_eq!(paths.flushed(B, LANE, number), None);
        assert_eq!(paths.send(B, LANE, 1), go(LINK, E1));
        let (mut paths, _) = changing();
        paths.broken(B, LINK, Some(Way::Tree));
        assert_eq!(paths.broken(B, Way::Tree, None), [], "nothing waits");
        assert_eq!(paths.next_timeout(), None);
    }

    #[test]
    fn what_waits_when_no_way_is_left_is_dead() {
        let mut paths = Paths::new(100, 10);
        let number = number(&paths.change(at(0), B, LINK));
        paths.flushed(B, LANE, number);
        paths.change(at(0), B, Way::Tree);
        paths.send(B, LANE, 1).unwrap();
        // The tree, which was to be taken, goes first.
        let stays = Step::Release { lane: LANE, way: LINK, epoch: E0 };
        assert_eq!(on_lane(paths.broken(B, Way::Tree, Some(LINK))), [stays]);
        paths.change(at(0), B, NEWER);
        paths.send(B, LANE, 1).unwrap();
        assert_eq!(on_lane(paths.broken(B, LINK, None)), [Step::Dead { lane: LANE }]);
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, E1), "where it is judged");
        assert_eq!(paths.next_timeout(), None);
    }

    #[test]
    fn what_waits_for_a_life_that_is_over_is_dead() {
        let mut paths = Paths::new(100, 10);
        paths.change(at(0), B, LINK);
        paths.send(B, LANE, 1).unwrap();
        assert_eq!(on_lane(paths.forget(B)), [Step::Dead { lane: LANE }]);
        assert!(paths.is_empty() && paths.next_timeout().is_none());
    }

    #[test]
    fn a_change_that_is_taken_back_or_goes_elsewhere_needs_no_second_flush() {
        let mut paths = Paths::new(100, 10);
        let number = number(&paths.change(at(0), B, LINK));
        assert_eq!(paths.change(at(1), B, NEWER), []);
        assert_eq!(paths.next_timeout(), Some(at(5000)), "nothing waits any longer for that");
        let release = Step::Release { lane: LANE, way: NEWER, epoch: E0 };
        assert_eq!(paths.flushed(B, LANE, number), Some(release));
        let number = self::number(&paths.change(at(2), B, Way::Tree));
        let back = Step::Release { lane: LANE, way: NEWER, epoch: E0 };
        assert_eq!(on_lane(paths.change(at(3), B, NEWER)), [back]);
        assert_eq!(paths.flushed(B, LANE, number), None);
        let mut paths = Paths::new(100, 10);
        paths.change(at(0), B, LINK);
        paths.change(at(0), B, Way::Tree);
        assert!(paths.is_empty() && paths.next_timeout().is_none(), "it has stayed where it was");
    }

    #[test]
    fn a_source_that_is_behind_takes_up_the_epoch_that_was_seen() {
        let mut paths = Paths::new(100, 10);
        paths.behind(B, LANE, PathEpoch(4));
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, PathEpoch(4)));
        assert_eq!(paths.send(B, StreamId::lane(0), 1), go(Way::Tree, E0));
        paths.behind(B, LANE, PathEpoch(3));
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, PathEpoch(4)));
        paths.behind(ContextId(3), LANE, E0);
        paths.behind(ContextId(3), StreamId::CONTROL, E1);
        assert_eq!(paths.len(), 1);
        assert_eq!(paths.forget(B), []);
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, E0));
    }

    #[test]
    fn paths_are_bounded_and_what_is_forgotten_lowers_no_epoch() {
        let mut paths = Paths::new(100, 2);
        paths.behind(B, LANE, PathEpoch(4));
        paths.change(at(0), ContextId(3), LINK);
        paths.change(at(0), ContextId(4), NEWER);
        assert_eq!(paths.len(), 2);
        assert_eq!(paths.send(B, LANE, 1), go(Way::Tree, PathEpoch(4)), "it makes room");
        assert_eq!(paths.send(ContextId(9), LANE, 1), go(Way::Tree, PathEpoch(4)));
        assert_eq!(paths.change(at(0), ContextId(5), LINK), [], "those that are used do not");
        assert_eq!(paths.send(ContextId(5), LANE, 1), go(Way::Tree, PathEpoch(4)));
        paths.forget(ContextId(3));
        paths.behind(ContextId(9), LANE, PathEpoch(5));
        let other_lane = paths.send(ContextId(9), StreamId::lane(0), 1);
        assert_eq!(other_lane, go(Way::Tree, PathEpoch(4)), "nor that of another path");
        assert_eq!((paths.len(), paths.is_empty()), (2, false));
    }

    #[test]
    fn only_frames_on_ones_own_authority_and_lanes_have_a_path() {
        let me = Origin::own(ContextId(1));
        let foreign = Origin { authority: B, ..me };
        let lane = Handle(4001);
        assert_eq!(lane_of(&Header::to(lane), &me), Some(LANE));
        assert_eq!(lane_of(&Header::to(lane), &foreign), None);
        assert_eq!(lane_of(&Header::to(Handle::WATCH), &me), None);
        assert_eq!(lane_of(&Header::to(Handle::FLUSHED), &me), None, "it never waits");
        assert_eq!(lane_of(&Header::to(Handle::lost(LANE)), &me), None, "nor is it dropped");
        assert_eq!(lane_of(&Header::to(Handle::flush(LANE)), &me), Some(LANE));
        let word = Header { by_router: true, ..Header::to(lane).kind(crate::wire::Kind::Dead) };
        assert_eq!(lane_of(&word, &me), None, "the tree speaks, not the source");
    }
}
