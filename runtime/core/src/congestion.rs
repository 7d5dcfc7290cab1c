//! What a forwarder holds for whom, and how it asks for a pause without ever ceasing to read (protocol rule 16).
//!
//! Each pair of inbound and outbound link has a budget of bytes. From half of it on the inbound side is asked, with
//! [`LinkMessage::Pause`], to pause what is for the destinations that hold bytes there; everything else passes. The other end of
//! that link keeps the pauses as [`Leases`], holds what it has for those destinations itself, and so asks further back in its
//! turn, hop by hop to the senders. A pause is renewed for as long as there is a reason and ends by itself otherwise: a lost
//! [`LinkMessage::Resume`] hangs nobody.
//!
//! [`LinkMessage::Pause`]: crate::wire::control::LinkMessage::Pause
//! [`LinkMessage::Resume`]: crate::wire::control::LinkMessage::Resume

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    flow::{LEASE, RENEW},
    id::{ContextId, LinkId},
    time::Moment,
};

/// The budget of a pair of links is used up: the frame is refused with `Congested`, not handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

/// A destination in one pair's queue.
#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// When the inbound side was last asked to pause it, if it was.
    asked: Option<Moment>,
}

/// What came by one link and waits for another.
#[derive(Debug, Default)]
struct Pair {
    bytes: usize,
    /// Set from the mark on (half full), until half of that is left.
    is_congested: bool,
    destinations: BTreeMap<ContextId, Held>,
}

/// The bytes that wait between each inbound and each outbound link.
///
/// The host keeps the frames, one FIFO per destination and lane; this keeps the sums and decides who is asked.
#[derive(Debug)]
pub struct Congestion {
    budget: usize,
    /// From here on the inbound side is asked.
    mark: usize,
    pairs: BTreeMap<(LinkId, LinkId), Pair>,
}

impl Congestion {
    /// Nothing waits yet; each pair of links may hold `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self::asking_from(budget.div_ceil(2), budget)
    }

    /// As [`Self::new`], for a pair that asks from `mark` bytes on, since more than half a budget may be on its way by then.
    pub fn asking_from(mark: usize, budget: usize) -> Self {
        Self { budget, mark, pairs: BTreeMap::new() }
    }

    /// A frame of `bytes` bytes has come by `from` and waits for `to`. Returns the destinations that `from` is to be asked to
    /// pause now.
    ///
    /// # Errors
    /// [`Overflow`]; nothing is held then.
    pub fn hold(
        &mut self,
        now: Moment,
        from: LinkId,
        to: LinkId,
        destination: ContextId,
        bytes: usize,
    ) -> Result<Vec<ContextId>, Overflow> {
        let held = self.pairs.get(&(from, to)).map_or(0, |pair| pair.bytes);
        if bytes > self.budget - held {
            return Err(Overflow);
        }
        let pair = self.pairs.entry((from, to)).or_default();
        pair.bytes += bytes;
        pair.destinations.entry(destination).or_default().bytes += bytes;
        let was_congested = pair.is_congested;
        pair.is_congested |= pair.bytes >= self.mark;
        if !pair.is_congested {
            return Ok(Vec::new());
        }
        if was_congested {
            // All others have been asked.
            let held = pair.destinations.get_mut(&destination).expect("it was put there");
            let is_new = held.asked.is_none();
            held.asked.get_or_insert(now);
            return Ok(is_new.then_some(destination).into_iter().collect());
        }
        let unasked = pair.destinations.iter_mut().filter(|(_, held)| held.asked.is_none());
        Ok(unasked
            .map(|(&context, held)| {
                held.asked = Some(now);
                context
            })
            .collect())
    }

    /// Bytes that waited have gone out, or were given up. Returns the destinations of which `from` is to be told that they may
    /// go on.
    ///
    /// # Panics
    /// If the bytes were not held.
    pub fn release(
        &mut self,
        from: LinkId,
        to: LinkId,
        destination: ContextId,
        bytes: usize,
    ) -> Vec<ContextId> {
        let pair = self.pairs.get_mut(&(from, to)).expect("what is released was held");
        let held = pair.destinations.get_mut(&destination).expect("what is released was held");
        held.bytes = held.bytes.checked_sub(bytes).expect("what is released was held");
        pair.bytes -= bytes;
        let mut resumed = Vec::new();
        // One that holds nothing has no part in the congestion of others.
        if held.bytes == 0 {
            resumed.extend(held.asked.take().map(|_| destination));
            pair.destinations.remove(&destination);
        }
        if pair.is_congested && pair.bytes <= self.mark / 2 {
            pair.is_congested = false;
            let asked = pair.destinations.iter_mut();
            resumed.extend(asked.filter_map(|(&context, held)| held.asked.take().map(|_| context)));
            resumed.sort_unstable();
        }
        if pair.destinations.is_empty() {
            self.pairs.remove(&(from, to));
        }
        resumed
    }

    /// The pauses that are to be asked for again: the inbound link and the destination of each.
    pub fn renew(&mut self, now: Moment) -> Vec<(LinkId, ContextId)> {
        let mut due = Vec::new();
        for (&(from, _), pair) in &mut self.pairs {
            for (&context, held) in &mut pair.destinations {
                if held.asked.is_some_and(|asked| asked + RENEW <= now) {
                    held.asked = Some(now);
                    due.push((from, context));
                }
            }
        }
        due
    }

    /// When [`Self::renew`] is due next.
    pub fn next_renewal(&self) -> Option<Moment> {
        let held = self.pairs.values().flat_map(|pair| pair.destinations.values());
        held.filter_map(|held| held.asked).min().map(|asked| asked + RENEW)
    }

    /// A link is gone, and with it all that came by it or waited for it; the host gives those frames up. Returns, for other
    /// inbound links, what they may go on with: it goes elsewhere now or is refused at once.
    pub fn forget_link(&mut self, link: LinkId) -> Vec<(LinkId, ContextId)> {
        let mut resumed = Vec::new();
        self.pairs.retain(|&(from, to), pair| {
            if to == link && from != link {
                let asked = pair.destinations.iter().filter(|(_, held)| held.asked.is_some());
                resumed.extend(asked.map(|(&context, _)| (from, context)));
            }
            from != link && to != link
        });
        resumed
    }

    /// Whether an inbound link stands asked to pause a destination.
    pub fn is_asked(&self, from: LinkId, context: ContextId) -> bool {
        let pairs = self.pairs.range((from, LinkId(0))..=(from, LinkId(u64::MAX)));
        pairs
            .filter_map(|(_, pair)| pair.destinations.get(&context))
            .any(|held| held.asked.is_some())
    }

    /// How many bytes wait between two links.
    pub fn held(&self, from: LinkId, to: LinkId) -> usize {
        self.pairs.get(&(from, to)).map_or(0, |pair| pair.bytes)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

/// There are as many leases as may be, or as this link may have: the pause has no effect, and what is sent meets a full queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// The destinations that the other ends of links have asked this context to pause.
#[derive(Debug)]
pub struct Leases {
    limit: usize,
    share: usize,
    /// How many of the leases each link's other end has.
    granted: BTreeMap<LinkId, usize>,
    until: BTreeMap<(LinkId, ContextId), Moment>,
    ends: BTreeSet<(Moment, LinkId, ContextId)>,
}

impl Leases {
    /// None yet, never more than `limit`, and never more than `share` by one link: nobody shall use up what others need.
    pub fn new(limit: usize, share: usize) -> Self {
        let (granted, until, ends) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { limit, share, granted, until, ends }
    }

    /// A link's other end asks for a pause, or renews it: for [`LEASE`] nothing for this context goes by that link.
    ///
    /// # Errors
    /// [`TooMany`] for one that is new.
    pub fn grant(&mut self, now: Moment, link: LinkId, context: ContextId) -> Result<(), TooMany> {
        let is_new = !self.until.contains_key(&(link, context));
        if is_new {
            let granted = self.granted.get(&link).copied().unwrap_or_default();
            if self.until.len() >= self.limit || granted >= self.share {
                return Err(TooMany);
            }
            self.granted.insert(link, granted + 1);
        }
        let until = now + LEASE;
        if let Some(old) = self.until.insert((link, context), until) {
            self.ends.remove(&(old, link, context));
        }
        self.ends.insert((until, link, context));
        Ok(())
    }

    /// What is for this context may go by the link again; whether it was paused.
    pub fn end(&mut self, link: LinkId, context: ContextId) -> bool {
        let Some(until) = self.until.remove(&(link, context)) else { return false };
        if let Some(granted) = self.granted.get_mut(&link) {
            *granted -= 1;
            if *granted == 0 {
                self.granted.remove(&link);
            }
        }
        self.ends.remove(&(until, link, context))
    }

    /// Whether what is for this context must not go by the link now.
    pub fn holds(&self, now: Moment, link: LinkId, context: ContextId) -> bool {
        self.until.get(&(link, context)).is_some_and(|&until| now < until)
    }

    /// Ends what is over, and returns it.
    pub fn expire(&mut self, now: Moment) -> Vec<(LinkId, ContextId)> {
        let mut over = Vec::new();
        while let Some(&(until, link, context)) = self.ends.first()
            && until <= now
        {
            self.end(link, context);
            over.push((link, context));
        }
        over
    }

    /// When [`Self::expire`] is due next.
    pub fn next_expiry(&self) -> Option<Moment> {
        self.ends.first().map(|&(until, ..)| until)
    }

    /// A link is gone, and its leases with it.
    pub fn forget_link(&mut self, link: LinkId) {
        self.granted.remove(&link);
        self.until.retain(|&(by, _), _| by != link);
        self.ends.retain(|&(_, by, _)| by != link);
    }

    /// How many leases there are.
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether nothing is paused.
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const IN: LinkId = LinkId(1);
    const OTHER: LinkId = LinkId(2);
    const OUT: LinkId = LinkId(3);
    const SLOW: ContextId = ContextId(7);
    const FAST: ContextId = ContextId(8);

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn from_half_full_those_with_bytes_are_paused_and_new_ones_at_their_first_frame() {
        let mut congestion = Congestion::new(100);
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 49), Ok(vec![]));
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 1), Ok(vec![SLOW]));
        assert_eq!(congestion.hold(at(1), IN, OUT, SLOW, 10), Ok(vec![]), "it has been asked");
        assert_eq!(congestion.hold(at(1), IN, OUT, FAST, 5), Ok(vec![FAST]));
        // Another inbound link has a budget of its own.
        assert_eq!(congestion.hold(at(1), OTHER, OUT, SLOW, 40), Ok(vec![]));
        assert_eq!((congestion.held(IN, OUT), congestion.held(OTHER, OUT)), (65, 40));
    }

    #[test]
    fn a_destination_that_has_drained_goes_on_while_the_slow_one_stays_paused() {
        let mut congestion = Congestion::new(100);
        congestion.hold(at(0), IN, OUT, SLOW, 60).unwrap();
        congestion.hold(at(0), IN, OUT, FAST, 20).unwrap();
        assert_eq!(congestion.release(IN, OUT, FAST, 19), []);
        assert_eq!(congestion.release(IN, OUT, FAST, 1), [FAST]);
        assert_eq!(congestion.release(IN, OUT, SLOW, 34), [], "26 of 100 are left");
        assert_eq!(congestion.release(IN, OUT, SLOW, 1), [SLOW], "a quarter is left");
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 24), Ok(vec![]), "below half again");
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 1), Ok(vec![SLOW]));
        assert_eq!(congestion.release(IN, OUT, SLOW, 50), [SLOW]);
        assert!(congestion.is_empty());
    }

    #[test]
    fn what_exceeds_the_budget_is_refused_and_not_held() {
        let mut congestion = Congestion::new(100);
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 101), Err(Overflow));
        assert!(congestion.is_empty());
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 100), Ok(vec![SLOW]));
        assert_eq!(congestion.hold(at(0), IN, OUT, FAST, 1), Err(Overflow));
        assert_eq!(congestion.held(IN, OUT), 100);
    }

    #[test]
    fn a_mark_of_its_own_asks_sooner_and_resumes_at_half_of_it() {
        let mut congestion = Congestion::asking_from(10, 100);
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 9), Ok(vec![]));
        assert!(!congestion.is_asked(IN, SLOW));
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 91), Ok(vec![SLOW]));
        assert_eq!(congestion.hold(at(0), IN, OUT, SLOW, 1), Err(Overflow));
        assert!(congestion.is_asked(IN, SLOW) && !congestion.is_asked(IN, FAST));
        assert!(!congestion.is_asked(OTHER, SLOW), "it has brought nothing");
        assert_eq!(congestion.release(IN, OUT, SLOW, 94), []);
        assert_eq!(congestion.release(IN, OUT, SLOW, 1), [SLOW], "half of the mark is left");
        assert!(!congestion.is_asked(IN, SLOW));
    }

    #[test]
    fn pauses_are_renewed_for_as_long_as_there_is_a_reason() {
        let mut congestion = Congestion::new(100);
        assert_eq!(congestion.next_renewal(), None);
        congestion.hold(at(0), IN, OUT, SLOW, 60).unwrap();
        congestion.hold(at(500), IN, OUT, FAST, 20).unwrap();
        assert_eq!(congestion.next_renewal(), Some(at(2000)));
        assert_eq!(congestion.renew(at(1999)), []);
        assert_eq!(congestion.renew(at(2000)), [(IN, SLOW)]);
        assert_eq!(congestion.renew(at(4000)), [(IN, SLOW), (IN, FAST)]);
        assert!(!congestion.is_empty());
        congestion.release(IN, OUT, SLOW, 60);
        assert_eq!((congestion.renew(at(9000)), congestion.next_renewal()), (vec![], None));
    }

    #[test]
    fn a_link_that_goes_takes_its_pairs_with_it_and_lets_the_others_go_on() {
        let mut congestion = Congestion::new(100);
        for (from, to) in [(IN, OUT), (OTHER, OUT), (IN, OTHER), (OUT, IN)] {
            congestion.hold(at(0), from, to, SLOW, 60).unwrap();
        }
        congestion.hold(at(0), OTHER, OUT, FAST, 1).unwrap();
        let expected = [(IN, SLOW), (OTHER, SLOW), (OTHER, FAST)];
        assert_eq!(congestion.forget_link(OUT), expected);
        assert_eq!(congestion.held(IN, OTHER), 60);
        assert_eq!(congestion.forget_link(IN), [], "nobody is left to tell");
        assert!(congestion.is_empty());
    }

    #[test]
    fn a_lease_holds_for_its_link_and_context_until_it_ends_by_word_or_by_itself() {
        let mut leases = Leases::new(10, 10);
        leases.grant(at(0), OUT, SLOW).unwrap();
        leases.grant(at(1000), OUT, FAST).unwrap();
        assert!(leases.holds(at(4999), OUT, SLOW) && !leases.holds(at(5000), OUT, SLOW));
        assert!(!leases.holds(at(0), IN, SLOW), "by another link it may go");
        assert_eq!((leases.expire(at(4999)), leases.next_expiry()), (vec![], Some(at(5000))));
        assert_eq!(leases.expire(at(5000)), [(OUT, SLOW)]);
        leases.grant(at(5500), OUT, FAST).unwrap();
        assert_eq!(leases.next_expiry(), Some(at(10_500)), "renewed");
        assert!(leases.end(OUT, FAST) && !leases.end(OUT, FAST));
        assert!(leases.is_empty() && leases.next_expiry().is_none());
    }

    #[test]
    fn leases_are_bounded_and_go_with_their_link() {
        let mut leases = Leases::new(2, 2);
        for link in [IN, OUT] {
            leases.grant(at(0), link, SLOW).unwrap();
        }
        assert_eq!(leases.len(), 2);
        assert_eq!(leases.grant(at(0), OUT, FAST), Err(TooMany));
        assert_eq!(leases.grant(at(1), OUT, SLOW), Ok(()), "that is none more");
        leases.forget_link(IN);
        assert_eq!((leases.len(), leases.is_empty()), (1, false));
        assert_eq!(leases.expire(at(9000)), [(OUT, SLOW)]);
    }

    #[test]
    fn no_link_uses_up_the_leases_of_others() {
        let mut leases = Leases::new(10, 2);
        for context in [SLOW, FAST] {
            leases.grant(at(0), IN, context).unwrap();
        }
        let third = ContextId(99);
        assert_eq!(leases.grant(at(0), IN, third), Err(TooMany));
        assert_eq!(leases.grant(at(0), OUT, third), Ok(()));
        assert!(leases.end(IN, SLOW));
        assert_eq!(leases.grant(at(0), IN, third), Ok(()), "its own share is free again");
        leases.forget_link(IN);
        assert_eq!(leases.grant(at(1), IN, SLOW), Ok(()));
        assert_eq!(leases.expire(at(9000)).len(), 2);
        assert!(leases.is_empty() && leases.granted.is_empty());
    }
}
