//! A tree of contexts, simulated: the pure machines of the core, each with its own table, and the words between them handed over at once
//! and in order. No process, no thread, no link, and no signature: what is left is what the machines themselves cost.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use actogen_core::{
    ContextId, Incarnation, Limits, LinkId, StreamId,
    policy::Side,
    router::{Credentials, Effect, Effects, Input, RouterCore},
    wire::control::{Announcement, Loss, LossKind},
};

/// Children of each context, as far as there are enough.
const FAN_OUT: usize = 10;

/// Changes between two looks at the clock.
const STRIDE: usize = 8;

/// Everybody is believed.
struct Believed;

impl Credentials for Believed {
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

/// One end of a link.
#[derive(Clone, Copy)]
struct End {
    /// Whose it is: an index of the machines.
    owner: usize,
    /// The other end.
    other: LinkId,
}

/// Machines in a tree of which context 0 is the root.
pub(super) struct Tree {
    machines: Vec<RouterCore>,
    ends: BTreeMap<LinkId, End>,
    /// Each context's end of the link to its parent.
    up: Vec<LinkId>,
    links: u64,
    inputs: VecDeque<(usize, Input)>,
    effects: Effects,
    /// The leaf that changes next.
    next: usize,
    /// Inputs that machines have handled during changes, and these changes.
    handled: u64,
    changes: u64,
}

impl Tree {
    /// A tree of so many contexts, each as near to the root as there is room.
    pub(super) fn of(contexts: usize) -> Self {
        let machine = |context: usize| {
            let life = Incarnation::new(1, context as u64 + 1);
            RouterCore::new(ContextId(context as u64), life, Limits::default(), Arc::new(Believed))
        };
        let mut tree = Self {
            machines: (0..contexts).map(machine).collect(),
            ends: BTreeMap::new(),
            up: vec![LinkId(0); contexts],
            links: 0,
            inputs: VecDeque::new(),
            effects: Effects::new(),
            next: 0,
            handled: 0,
            changes: 0,
        };
        for context in 1..contexts {
            tree.attach(context);
        }
        tree.handled = 0;
        tree
    }

    fn parent(context: usize) -> usize {
        (context - 1) / FAN_OUT
    }

    /// Contexts without children, in turns over the whole tree.
    fn next_leaf(&mut self) -> usize {
        let contexts = self.machines.len();
        let first = Self::parent(contexts - 1) + 1;
        // Far apart, so that no part of the tree stays warm for the next.
        self.next += 7919;
        first + self.next % (contexts - first)
    }

    fn attach(&mut self, context: usize) {
        let parent = Self::parent(context);
        let (low, high) = (LinkId(self.links), LinkId(self.links + 1));
        self.links += 2;
        self.ends.insert(low, End { owner: context, other: high });
        self.ends.insert(high, End { owner: parent, other: low });
        self.up[context] = low;
        let id = |context: usize| ContextId(context as u64);
        let child = Input::LinkUp { link: high, peer: id(context), side: Side::Child };
        let up = Input::LinkUp { link: low, peer: id(parent), side: Side::Parent };
        self.inputs.extend([(parent, child), (context, up)]);
        self.settle();
    }

    fn detach(&mut self, context: usize) {
        let low = self.up[context];
        let Some(End { other: high, .. }) = self.ends.remove(&low) else { return };
        self.ends.remove(&high);
        let parent = Self::parent(context);
        for (owner, link, peer) in [(parent, high, context), (context, low, parent)] {
            let loss = Loss::new(LossKind::LinkClosed, ContextId(peer as u64), "cut");
            self.inputs.push_back((owner, Input::LinkDown { link, loss }));
        }
        self.settle();
    }

    /// Hands words over until there are none.
    fn settle(&mut self) {
        while let Some((owner, input)) = self.inputs.pop_front() {
            self.machines[owner].handle(input, &mut self.effects);
            self.handled += 1;
            for effect in self.effects.drain(..) {
                let Effect::Send { link, stream, message } = effect else { continue };
                // A link that is gone brings nothing.
                let Some(&End { other, .. }) = self.ends.get(&link) else { continue };
                let Some(&End { owner: to, .. }) = self.ends.get(&other) else { continue };
                let streams = StreamId::all().filter(|&one| stream.is_none_or(|only| only == one));
                self.inputs.extend(streams.map(|stream| {
                    (to, Input::Message { link: other, stream, message: message.clone() })
                }));
            }
        }
    }

    /// Lets leaves go and come back for a while; gives nanoseconds for each of these changes, over all machines.
    pub(super) fn change(&mut self, lasts: Duration) -> f64 {
        let began = Instant::now();
        let before = self.changes;
        while began.elapsed() < lasts {
            for _ in 0..STRIDE {
                let leaf = self.next_leaf();
                self.detach(leaf);
                self.attach(leaf);
                self.changes += 2;
            }
        }
        began.elapsed().as_nanos() as f64 / (self.changes - before) as f64
    }

    /// Inputs that one change is, over all machines: what is said on the way to the root, on five streams.
    pub(super) fn inputs_per_change(&self) -> f64 {
        self.handled as f64 / self.changes as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known_to_root(tree: &Tree) -> usize {
        tree.machines[0].table().iter().count()
    }

    #[test]
    fn the_root_knows_everybody_and_hears_of_each_change() {
        let mut tree = Tree::of(123);
        assert_eq!(known_to_root(&tree), 122);
        let leaf = tree.next_leaf();
        assert!(leaf >= 13, "{leaf} has children");
        tree.detach(leaf);
        assert_eq!(known_to_root(&tree), 121);
        assert!(!tree.machines[0].is_inside(ContextId(leaf as u64)));
        tree.attach(leaf);
        assert_eq!(known_to_root(&tree), 122);
    }

    #[test]
    fn changes_leave_the_tree_as_it_was() {
        let mut tree = Tree::of(111);
        assert!(tree.change(Duration::from_millis(5)) > 0.0);
        assert_eq!(known_to_root(&tree), 110);
        assert_eq!(tree.ends.len(), 2 * 110);
        // A leaf comes: two ends of a link, its line of ancestors, and five copies of a word at each of two contexts above it. It goes: two
        // ends, and five copies at the root.
        assert_eq!(tree.inputs_per_change(), ((2 + 1 + 10) + (2 + 5)) as f64 / 2.0);
        assert!(tree.machines.iter().skip(1).all(|machine| machine.parent().is_some()));
    }
}
