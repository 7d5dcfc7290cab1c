//! Which of two dials stands when two contexts dial each other for a direct link (protocol rule 11).
//!
//! The dial of the one with the lower id stands, and so that one decides: it holds the other's dial unanswered until its own has
//! opened, and then refuses it; if its own fails or has not opened within [`HOLD`], it gives that up and answers the one it
//! holds. The one with the higher id welcomes the other's dial at once and leaves its own to be answered. Before an answer no
//! data flows, so both ends come to hold the same link; if they held another for a moment, the newer takes its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    id::{ContextId, LinkId},
    time::Moment,
};

/// How long a dial that stands keeps another one waiting.
pub const HOLD: Duration = Duration::from_secs(1);

/// What to do with a dial that has come, with a good ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Come {
    /// Welcome it.
    Welcome,
    /// Leave it unanswered for now. Another one of that peer that was held before, if any, is refused: this one is newer.
    Hold(Option<LinkId>),
    /// Refuse it: this context's own has opened, and its link is about to stand.
    Refuse,
}

/// A link that is about to stand, until the host says that it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Coming {
    until: Moment,
    is_own: bool,
}

/// A dial that is given up for the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// To whom: drop the own dial, whatever comes of it.
    pub peer: ContextId,
    /// The dial that has been held: welcome it.
    pub held: LinkId,
}

#[derive(Clone, Copy, Debug)]
struct Dial {
    until: Moment,
    held: Option<LinkId>,
}

/// The dials of one context for direct links, while they are not answered.
#[derive(Debug)]
pub struct Dials {
    me: ContextId,
    limit: usize,
    dials: BTreeMap<ContextId, Dial>,
    /// The dials for which another one is held, by when that is answered.
    ends: BTreeSet<(Moment, ContextId)>,
    /// Between a dial's end and its link's beginning another one must not be begun nor welcomed: the ends might each keep another link.
    coming: BTreeMap<ContextId, Coming>,
}

impl Dials {
    /// None yet, and never more than `limit`.
    pub fn new(me: ContextId, limit: usize) -> Self {
        Self { me, limit, dials: BTreeMap::new(), ends: BTreeSet::new(), coming: BTreeMap::new() }
    }

    /// A dial to a peer, for which this context has a ticket, begins; false if it must not: one is under way, its link is about to stand, or too many
    /// are.
    pub fn begin(&mut self, now: Moment, peer: ContextId) -> bool {
        if self.dials.len() >= self.limit
            || self.dials.contains_key(&peer)
            || self.is_coming(now, peer)
        {
            return false;
        }
        self.dials.insert(peer, Dial { until: now + HOLD, held: None });
        true
    }

    /// A peer's dial has come. `link` is the host's number for it. If it is held, [`Self::expire`] says until when.
    pub fn come(&mut self, now: Moment, peer: ContextId, link: LinkId) -> Come {
        match self.dials.get_mut(&peer) {
            Some(dial) if self.me < peer => {
                self.ends.insert((dial.until, peer));
                Come::Hold(dial.held.replace(link))
            }
            None if self.coming.get(&peer).is_some_and(|link| link.is_own && now < link.until) => {
                Come::Refuse
            }
            _ => {
                self.comes(now, peer, false);
                Come::Welcome
            }
        }
    }

    /// The dial to a peer has opened; false if it had been given up before, and is to be dropped. The one that was held, if any,
    /// is to be refused.
    pub fn opened(&mut self, now: Moment, peer: ContextId) -> (bool, Option<LinkId>) {
        let dial = self.remove(peer);
        if dial.is_some() {
            self.comes(now, peer, true);
        }
        (dial.is_some(), dial.and_then(|dial| dial.held))
    }

    /// Whether a link to a peer is about to stand.
    pub fn is_coming(&self, now: Moment, peer: ContextId) -> bool {
        self.coming.get(&peer).is_some_and(|link| now < link.until)
    }

    /// The link to a peer stands.
    pub fn stands(&mut self, peer: ContextId) {
        self.coming.remove(&peer);
    }

    fn comes(&mut self, now: Moment, peer: ContextId, is_own: bool) {
        self.coming.insert(peer, Coming { until: now + HOLD, is_own });
        if self.coming.len() > self.limit {
            self.coming.pop_first();
        }
    }

    /// The dial to a peer has failed, or was refused. The one that was held, if any, is to be welcomed.
    pub fn failed(&mut self, peer: ContextId) -> Option<LinkId> {
        self.remove(peer)?.held
    }

    /// A dial that was held has gone by itself.
    pub fn gone(&mut self, peer: ContextId, link: LinkId) {
        if let Some(dial) = self.dials.get_mut(&peer)
            && dial.held == Some(link)
        {
            dial.held = None;
            self.ends.remove(&(dial.until, peer));
        }
    }

    /// The dials that have kept another one waiting for long enough.
    pub fn expire(&mut self, now: Moment) -> Vec<Given> {
        let mut given = Vec::new();
        while let Some(&(until, peer)) = self.ends.first()
            && until <= now
        {
            let held = self.remove(peer).and_then(|dial| dial.held);
            given.extend(held.map(|held| Given { peer, held }));
        }
        given
    }

    /// When [`Self::expire`] is due next.
    pub fn next_expiry(&self) -> Option<Moment> {
        self.ends.first().map(|&(until, _)| until)
    }

    fn remove(&mut self, peer: ContextId) -> Option<Dial> {
        let dial = self.dials.remove(&peer)?;
        self.ends.remove(&(dial.until, peer));
        Some(dial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: ContextId = ContextId(3);
    const HIGH: ContextId = ContextId(8);
    const COMES: LinkId = LinkId(1);

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_dial_alone_is_welcome() {
        let mut low = Dials::new(LOW, 10);
        assert_eq!(low.come(at(0), HIGH, COMES), Come::Welcome);
        assert!(low.begin(at(0), ContextId(9)));
        assert_eq!(low.come(at(0), HIGH, COMES), Come::Welcome, "that is another");
        assert!(!low.begin(at(1), ContextId(9)), "one at a time");
        assert_eq!(low.opened(at(0), ContextId(9)), (true, None));
    }

    #[test]
    fn between_a_dial_and_its_link_no_other_is_begun_or_welcomed() {
        let (mut low, mut high) = (Dials::new(LOW, 10), Dials::new(HIGH, 10));
        assert!(low.begin(at(0), HIGH));
        assert_eq!(low.opened(at(10), HIGH), (true, None));
        assert_eq!(low.come(at(11), HIGH, COMES), Come::Refuse, "it comes too late");
        assert_eq!(high.come(at(9), LOW, COMES), Come::Welcome);
        assert!(!high.begin(at(11), LOW) && high.is_coming(at(11), LOW));
        for (dials, peer) in [(&mut low, HIGH), (&mut high, LOW)] {
            dials.stands(peer);
            assert!(dials.begin(at(12), peer));
        }
        // One that does not come after all is waited for no longer than a dial.
        assert_eq!(high.failed(LOW), None);
        assert_eq!(high.come(at(20), LOW, COMES), Come::Welcome);
        assert!(high.begin(at(20) + HOLD, LOW));
    }

    #[test]
    fn of_two_dials_the_lower_ids_stands() {
        let (mut low, mut high) = (Dials::new(LOW, 10), Dials::new(HIGH, 10));
        assert!(low.begin(at(0), HIGH) && high.begin(at(0), LOW));
        assert_eq!(high.come(at(0), LOW, COMES), Come::Welcome);
        assert_eq!(low.come(at(0), HIGH, COMES), Come::Hold(None));
        assert_eq!(low.come(at(0), HIGH, LinkId(2)), Come::Hold(Some(COMES)), "the newer one");
        assert_eq!(low.opened(at(0), HIGH), (true, Some(LinkId(2))), "which is refused");
        assert_eq!(high.failed(LOW), None);
        assert_eq!((low.next_expiry(), low.expire(at(9000))), (None, vec![]));
    }

    #[test]
    fn the_other_stands_if_that_has_not_opened_within_a_second() {
        let mut low = Dials::new(LOW, 10);
        assert!(low.begin(at(0), HIGH));
        assert_eq!(low.next_expiry(), None, "nobody waits for it");
        assert_eq!(low.come(at(0), HIGH, COMES), Come::Hold(None));
        assert_eq!((low.expire(at(999)), low.next_expiry()), (vec![], Some(at(1000))));
        assert_eq!(low.expire(at(1000)), [Given { peer: HIGH, held: COMES }]);
        assert_eq!(low.opened(at(0), HIGH), (false, None), "too late: it was given up");
        assert!(low.begin(at(2000), HIGH));
        assert_eq!(low.come(at(0), HIGH, COMES), Come::Hold(None));
        assert_eq!(low.expire(at(3000)).len(), 1, "the own one has had its second");
        assert!(low.begin(at(4000), HIGH));
        assert_eq!(low.come(at(0), HIGH, COMES), Come::Hold(None));
        assert_eq!(low.failed(HIGH), Some(COMES));
    }

    #[test]
    fn a_dial_that_goes_while_it_is_held_is_not_welcomed() {
        let mut low = Dials::new(LOW, 10);
        assert!(low.begin(at(0), HIGH));
        low.come(at(0), HIGH, COMES);
        low.gone(HIGH, LinkId(2));
        assert!(low.next_expiry().is_some());
        low.gone(HIGH, COMES);
        assert_eq!((low.next_expiry(), low.expire(at(9000))), (None, vec![]));
        assert_eq!(low.opened(at(0), HIGH), (true, None), "and takes nothing away from the own");
    }

    #[test]
    fn dials_are_bounded() {
        let mut low = Dials::new(LOW, 2);
        let begun: Vec<bool> = (10..13).map(|n| low.begin(at(0), ContextId(n))).collect();
        assert_eq!(begun, [true, true, false]);
    }

    #[test]
    fn nobody_waits_for_himself() {
        let mut low = Dials::new(LOW, 2);
        assert!(low.begin(at(0), LOW));
        assert_eq!(low.come(at(0), LOW, COMES), Come::Welcome);
    }
}
