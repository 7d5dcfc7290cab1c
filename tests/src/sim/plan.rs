//! What a seed stands for: a tree of contexts, how long its links are, and what goes wrong when.

use std::{fmt, time::Duration};

use super::dice::Dice;

/// The most contexts of a simulation.
pub(crate) const MOST_CONTEXTS: usize = 8;

/// The deepest that a context lies below the root.
const DEPTH: usize = 3;

/// Until then the tree comes up undisturbed.
pub(crate) const CHAOS: Duration = Duration::from_secs(3);

/// From then on nothing is broken any more.
pub(crate) const HEALED: Duration = Duration::from_secs(34);

/// Chance traffic ends here.
pub(crate) const SETTLING: Duration = Duration::from_secs(46);

/// Here everybody must know the whole tree again: what the deepest context needs after the last repair, each level in turn finding
/// out by silence, closing, and failing to reach a parent that is not back yet.
pub(crate) const RECOVERED: Duration = Duration::from_secs(48);

/// From here on nothing may fail.
pub(crate) const QUIET: Duration = Duration::from_secs(52);

/// From here on nothing is sent.
pub(crate) const FINAL: Duration = Duration::from_secs(56);

/// The simulated time of a seed.
pub(crate) const END: Duration = Duration::from_secs(60);

/// Something done to the network or to a host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// The host loses power: its process is gone without a word.
    Crash(usize),
    /// The host comes back and runs its program from the beginning.
    Bounce(usize),
    /// The program ends its context as programs do, and begins another.
    Leave(usize),
    /// All datagrams between two hosts vanish.
    Cut(usize, usize),
    /// As [`Self::Cut`], one way.
    CutOneWay(usize, usize),
    /// Datagrams pass again.
    Mend(usize, usize),
    /// Datagrams between two hosts are held, none is lost.
    Hold(usize, usize),
    /// All that was held arrives at once.
    Release(usize, usize),
}

impl Action {
    /// Whether it breaks something, rather than repairs it.
    pub(crate) fn is_fault(self) -> bool {
        !matches!(self, Self::Bounce(_) | Self::Mend(..) | Self::Release(..))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(host) => write!(f, "{host} crashes"),
            Self::Bounce(host) => write!(f, "{host} comes back"),
            Self::Leave(host) => write!(f, "{host} leaves"),
            Self::Cut(a, b) => write!(f, "{a} and {b} are cut off from each other"),
            Self::CutOneWay(a, b) => write!(f, "{a} is not heard by {b} any more"),
            Self::Mend(a, b) => write!(f, "{a} and {b} hear each other again"),
            Self::Hold(a, b) => write!(f, "what passes between {a} and {b} is held"),
            Self::Release(a, b) => write!(f, "what was held between {a} and {b} arrives"),
        }
    }
}

/// A tree, its network, and its fate.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The parent of each context; the root is the first and has none. Parents come before their children.
    pub(crate) parents: Vec<Option<usize>>,
    /// How long a datagram takes between a context and its parent, the same for each: a path that reorders looks like loss to QUIC.
    pub(crate) latencies: Vec<Duration>,
    /// In the order of their times.
    pub(crate) actions: Vec<(Duration, Action)>,
    /// Bursts that no queue takes whole, and receivers that let their mailboxes fill: messages may be refused for want of room.
    pub(crate) crowded: bool,
}

impl Plan {
    /// The plan of a seed: at least five contexts, a partition, a stall and a crash, and more of these.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::of(seed, &[1]);
        let contexts = 5 + dice.below(MOST_CONTEXTS - 4);
        let (mut parents, mut depths) = (vec![None], vec![0]);
        while parents.len() < contexts {
            let parent = dice.below(parents.len());
            if depths[parent] < DEPTH {
                parents.push(Some(parent));
                depths.push(depths[parent] + 1);
            }
        }
        let latencies = (0..contexts).map(|_| dice.millis(1, 40)).collect();
        let crowded = dice.percent(30);
        let mut plan = Self { seed, parents, latencies, actions: Vec::new(), crowded };
        let mut kinds = vec![Kind::Partition, Kind::Stall, Kind::Crash];
        let more = [
            Kind::Partition,
            Kind::OneWay,
            Kind::Isolation,
            Kind::Stall,
            Kind::Stall,
            Kind::Crash,
            Kind::Leave,
        ];
        // Now and then a storm, in which hardly anything comes up before the next fault.
        let more_faults = if dice.percent(15) { 12 + dice.below(14) } else { dice.below(6) };
        for _ in 0..more_faults {
            kinds.push(dice.pick(&more));
        }
        let mut busy = Vec::new();
        for kind in kinds {
            // The three that must be come first, and always find room.
            for _ in 0..20 {
                if plan.place(kind, &mut busy, &mut dice) {
                    break;
                }
            }
        }
        plan.actions.sort_by_key(|&(at, _)| at);
        plan
    }

    /// A plan in which nothing goes wrong but what is given.
    pub(crate) fn of(
        seed: u64,
        parents: Vec<Option<usize>>,
        actions: Vec<(Duration, Action)>,
    ) -> Self {
        let latencies = vec![Duration::from_millis(10); parents.len()];
        Self { seed, parents, latencies, actions, crowded: false }
    }

    pub(crate) fn contexts(&self) -> usize {
        self.parents.len()
    }

    pub(crate) fn faults(&self) -> usize {
        self.actions.iter().filter(|(_, action)| action.is_fault()).count()
    }

    /// The contexts below one.
    pub(crate) fn below(&self, top: usize) -> Vec<usize> {
        let mut inside = vec![false; self.contexts()];
        inside[top] = true;
        for (context, parent) in self.parents.iter().enumerate() {
            inside[context] |= parent.is_some_and(|parent| inside[parent]);
        }
        (0..self.contexts()).filter(|&context| inside[context] && context != top).collect()
    }

    /// The links that a context has when all is well.
    pub(crate) fn links(&self, of: usize) -> usize {
        self.parents.iter().filter(|&&parent| parent == Some(of)).count()
            + usize::from(self.parents[of].is_some())
    }

    fn edges(&self) -> Vec<(usize, usize)> {
        self.parents
            .iter()
            .enumerate()
            .filter_map(|(child, parent)| parent.map(|p| (p, child)))
            .collect()
    }

    /// Finds a time and a place for a fault; false when what was drawn is taken.
    fn place(&mut self, kind: Kind, busy: &mut Vec<Busy>, dice: &mut Dice) -> bool {
        let latest = HEALED.as_millis() as u64;
        let begin = dice.millis(CHAOS.as_millis() as u64, latest - 2_000);
        let lasts = match kind {
            Kind::Crash | Kind::Leave => dice.millis(50, 5_000),
            Kind::Stall => dice.millis(100, 5_000),
            _ => dice.millis(200, 9_000),
        };
        let end = (begin + lasts).min(HEALED);
        let edges = self.edges();
        let (on, begins, ends): (Vec<_>, Vec<_>, Vec<_>) = match kind {
            Kind::Crash | Kind::Leave => {
                let host = dice.below(self.contexts());
                let begins =
                    if kind == Kind::Crash { Action::Crash(host) } else { Action::Leave(host) };
                let ends = (kind == Kind::Crash).then_some(Action::Bounce(host));
                (vec![(host, host)], vec![begins], ends.into_iter().collect())
            }
            Kind::Partition | Kind::Stall => {
                let edge @ (a, b) = dice.pick(&edges);
                if kind == Kind::Stall {
                    (vec![edge], vec![Action::Hold(a, b)], vec![Action::Release(a, b)])
                } else {
                    (vec![edge], vec![Action::Cut(a, b)], vec![Action::Mend(a, b)])
                }
            }
            Kind::OneWay => {
                let edge @ (a, b) = dice.pick(&edges);
                let (from, to) = if dice.percent(50) { (a, b) } else { (b, a) };
                (vec![edge], vec![Action::CutOneWay(from, to)], vec![Action::Mend(a, b)])
            }
            Kind::Isolation => {
                let host = dice.below(self.contexts());
                let on: Vec<_> =
                    edges.into_iter().filter(|&(a, b)| a == host || b == host).collect();
                let begins = on.iter().map(|&(a, b)| Action::Cut(a, b)).collect();
                let ends = on.iter().map(|&(a, b)| Action::Mend(a, b)).collect();
                (on, begins, ends)
            }
        };
        let taken = busy.iter().any(|other: &Busy| {
            on.contains(&other.edge) && other.begin <= end && begin <= other.end
        });
        if taken {
            return false;
        }
        busy.extend(on.into_iter().map(|edge| Busy { edge, begin, end }));
        self.actions.extend(begins.into_iter().map(|action| (begin, action)));
        self.actions.extend(ends.into_iter().map(|action| (end, action)));
        true
    }
}

/// A link, or a host as a link to itself, that one fault holds: the simulated network keeps one state for each.
struct Busy {
    edge: (usize, usize),
    begin: Duration,
    end: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Crash,
    Leave,
    Partition,
    OneWay,
    Isolation,
    Stall,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sim_every_plan_has_five_contexts_a_partition_a_stall_and_a_crash() {
        for seed in 0..500 {
            let plan = Plan::draw(seed);
            assert!((5..=MOST_CONTEXTS).contains(&plan.contexts()), "{plan:?}");
            let has = |of: fn(Action) -> bool| plan.actions.iter().any(|&(_, action)| of(action));
            assert!(has(|action| matches!(action, Action::Cut(..))), "{plan:?}");
            assert!(has(|action| matches!(action, Action::Hold(..))), "{plan:?}");
            assert!(has(|action| matches!(action, Action::Crash(..))), "{plan:?}");
            assert!(plan.actions.iter().all(|&(at, _)| (CHAOS..=HEALED).contains(&at)), "{plan:?}");
        }
    }
}
