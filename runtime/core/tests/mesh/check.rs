//! What must hold once a mesh has come to rest.

use std::collections::{BTreeMap, BTreeSet};

use actogen_core::id::{ContextId, LinkId};

use crate::{
    wire::Wire,
    world::{Form, Letter, Picks, World},
};

impl World {
    /// Everybody's routes are the tree's: each context knows exactly those below it, by the right link and in the right life.
    pub(crate) fn assert_converged(&self) {
        let mut expected: BTreeMap<ContextId, BTreeMap<ContextId, (LinkId, _)>> =
            self.nodes.keys().map(|&id| (id, BTreeMap::new())).collect();
        for (&context, node) in &self.nodes {
            let mut at = context;
            while let Some(wire) = self.up_wire(at) {
                assert!(self.wires[wire].is_up(), "the mesh is not at rest");
                let end = &self.wires[wire].ends[Wire::PARENT];
                let routes = expected.get_mut(&end.context).expect("parents live");
                routes.insert(context, (end.link, node.life));
                at = end.context;
            }
        }
        for (context, node) in &self.nodes {
            let all = &self.honest_offences;
            assert_eq!(node.ancestors, self.line(*context)[1..], "who stands above {context}");
            assert_eq!(node.core.above(), Some(&node.ancestors[..]));
            assert_eq!(node.routes, expected[context], "routes of {context}; offences: {all:?}");
        }
    }

    /// Answers whatever waits, lets everything happen, and checks that every request and letter has ended.
    pub(crate) fn assert_all_ended(&mut self, seed: u64) {
        let mut picks = Picks(seed);
        loop {
            self.settle(picks.next());
            let busy: Vec<_> = self
                .nodes
                .iter()
                .filter(|(_, node)| !node.inbox.is_empty())
                .map(|(&id, _)| id)
                .collect();
            if busy.is_empty() {
                break;
            }
            for context in busy {
                self.answer(context, 0, true);
            }
        }
        for (number, request) in &self.requests {
            let lives =
                self.nodes.get(&request.asker).is_some_and(|node| node.life == request.life);
            let about = |letter: &&Letter| match letter.form {
                Form::Answer(request) | Form::Notice(request) => request == *number,
                _ => false,
            };
            assert!(
                request.outcome.is_some() || !lives,
                "request {number} of {} hangs: {:?}, answers: {:?}",
                request.asker,
                self.letters[*number],
                self.letters.iter().filter(about).collect::<Vec<_>>()
            );
        }
        for (number, letter) in self.letters.iter().enumerate() {
            assert!(letter.fate.is_some(), "letter {number} has no fate: {letter:?}");
        }
        for node in self.nodes.values() {
            assert!(node.pending.is_empty());
        }
        self.assert_nothing_under_way();
    }

    /// No router keeps copies in mind that all have come. Where somebody used stamps of its own, gaps remain.
    fn assert_nothing_under_way(&self) {
        for node in self.nodes.values() {
            assert!(node.lingering.is_empty(), "{}: {:?}", node.me, node.lingering);
            for (link, state) in node.core.links() {
                let (wire, _) = self.ends[&link];
                if !self.wires[wire].tainted {
                    assert_eq!(state.under_way(), 0, "{} of {}", link, node.me);
                }
            }
        }
    }

    /// All contexts but the root leave; nothing of them stays but a bounded number of tombstones.
    pub(crate) fn assert_baseline_after_all_left(&mut self, seed: u64) {
        let mut picks = Picks(seed);
        let everyone: BTreeSet<_> = self.nodes.keys().copied().filter(|id| !id.is_root()).collect();
        for context in everyone {
            self.kill(context, &mut picks);
            for _ in 0..picks.below(8) {
                self.step(&mut picks);
            }
        }
        self.settle(picks.next());
        let root = self.node(ContextId::ROOT);
        assert!(root.routes.is_empty() && root.core.table().is_empty());
        assert_eq!(root.core.links().count(), 0);
        assert!(root.noted.is_empty(), "{:?}", root.noted);
        assert!(root.core.table().tombstones() <= self.limits.route_tombstones);
    }
}
