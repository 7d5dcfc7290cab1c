//! What becomes of datagrams on a line that is in a bad condition: pure, so that a seed gives the same line again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    conditions::{Conditions, RelayStats},
    dice::Dice,
};

/// How much longer one takes that others overtake, at least.
const HELD_BACK: Duration = Duration::from_millis(1);

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the relay's target.
    ToTarget,
    /// From the relay's target, back to whoever has sent to it.
    FromTarget,
}

/// What happens between one sender and the target, both ways.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) conditions: Conditions,
    pub(super) cut: [bool; 2],
    dice: [Dice; 2],
    /// When the last one arrives that was not held back.
    last: [Option<Instant>; 2],
}

impl Line {
    pub(super) fn new(conditions: Conditions, cut: [bool; 2], seed: u64) -> Self {
        let dice = [Dice::new(seed), Dice::new(!seed)];
        Self { conditions, cut, dice, last: [None; 2] }
    }

    /// When a datagram arrives that is sent now, and its copy.
    pub(super) fn send(
        &mut self,
        way: Way,
        now: Instant,
        stats: &mut RelayStats,
    ) -> [Option<Instant>; 2] {
        let Conditions { delay, jitter, loss, reorder, duplicate } = self.conditions;
        let dice = &mut self.dice[way as usize];
        // All are drawn for each, so that another share of one changes nothing about the others.
        let (is_lost, is_held_back) = (dice.hits(loss), dice.hits(reorder));
        let (is_copied, part, further) =
            (dice.hits(duplicate), dice.part(jitter), dice.part(jitter));
        if self.cut[way as usize] {
            stats.cut += 1;
            return [None; 2];
        }
        if is_lost {
            stats.lost += 1;
            return [None; 2];
        }
        let mut at = now + delay + part;
        if is_held_back {
            stats.held_back += 1;
            at += HELD_BACK + delay + further;
        } else {
            let last = &mut self.last[way as usize];
            at = last.map_or(at, |last| at.max(last));
            *last = Some(at);
        }
        stats.duplicated += u64::from(is_copied);
        [Some(at), is_copied.then_some(at)]
    }
}

/// What is on its way, the next first, within a bound of bytes.
#[derive(Debug)]
pub(super) struct InTransit<T> {
    waiting: BTreeMap<(Instant, u64), (T, usize)>,
    number: u64,
    bytes: usize,
    bound: usize,
}

impl<T> InTransit<T> {
    pub(super) fn new(bound: usize) -> Self {
        Self { waiting: BTreeMap::new(), number: 0, bytes: 0, bound }
    }

    /// False where there is no room.
    pub(super) fn push(&mut self, at: Instant, bytes: usize, what: T) -> bool {
        let has_room = self.bytes + bytes <= self.bound;
        if has_room {
            self.bytes += bytes;
            self.number += 1;
            self.waiting.insert((at, self.number), (what, bytes));
        }
        has_room
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    /// The next one that has arrived.
    pub(super) fn pop(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        let (_, (what, bytes)) = self.waiting.pop_first()?;
        self.bytes -= bytes;
        Some(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn arrivals(conditions: Conditions, seed: u64) -> (Vec<[Option<Instant>; 2]>, RelayStats) {
        let (mut line, mut stats) =
            (Line::new(conditions, [false; 2], seed), RelayStats::default());
        let begun = *START;
        let each = |n| line.send(Way::ToTarget, begun + MILLI * n, &mut stats);
        ((0..1000).map(each).collect(), stats)
    }

    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);

    #[test]
    fn a_seed_gives_the_same_line_again_and_shares_hold() {
        let bad = Conditions {
            loss: 0.2,
            reorder: 0.1,
            duplicate: 0.05,
            delay: 3 * MILLI,
            jitter: MILLI,
        };
        let (first, stats) = arrivals(bad, 7);
        assert_eq!(first, arrivals(bad, 7).0);
        assert_ne!(first, arrivals(bad, 8).0);
        for (count, expected) in [(stats.lost, 200), (stats.held_back, 80), (stats.duplicated, 40)]
        {
            assert!(count.abs_diff(expected) < expected / 2, "{stats:?}");
        }
        assert_eq!(first.iter().filter(|at| at[0].is_none()).count() as u64, stats.lost);
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let is_in_order = |conditions| {
            let at: Vec<_> = arrivals(conditions, 3).0.into_iter().filter_map(|at| at[0]).collect();
            at.is_sorted()
        };
        let jitter = Conditions { jitter: 50 * MILLI, ..Conditions::GOOD };
        assert!(is_in_order(jitter));
        assert!(!is_in_order(Conditions { reorder: 0.1, delay: 5 * MILLI, ..Conditions::GOOD }));
    }

    #[test]
    fn a_cut_takes_one_way_alone() {
        let mut line = Line::new(Conditions::GOOD, [true, false], 1);
        let mut stats = RelayStats::default();
        assert_eq!(line.send(Way::ToTarget, *START, &mut stats), [None; 2]);
        assert_eq!(line.send(Way::FromTarget, *START, &mut stats), [Some(*START), None]);
        assert_eq!(stats, RelayStats { cut: 1, ..RelayStats::default() });
    }

    #[test]
    fn what_is_on_its_way_is_bounded_and_comes_in_time() {
        let mut transit = InTransit::new(1000);
        let (now, later) = (*START, *START + MILLI);
        assert!(transit.push(later, 600, "late") && transit.push(now, 400, "now"));
        assert!(!transit.push(now, 1, "too much"));
        assert_eq!(
            (transit.pop(now), transit.pop(now), transit.next_at()),
            (Some("now"), None, Some(later))
        );
        assert!(transit.push(later, 400, "behind"));
        assert_eq!((transit.pop(later), transit.pop(later)), (Some("late"), Some("behind")));
        assert_eq!((transit.bytes, transit.next_at()), (0, None));
    }
}
