//! Words for which there was no room on the way to whom they are for.

use std::collections::{BTreeMap, BTreeSet};

use actogen_runtime::core::ContextId;

use super::top::{Top, Word};

/// So many words wait for one context; when there are more it is asked to say anew what it has and wants, which brings the same out.
const MOST: usize = 1024;

/// What each context could not be told yet. Of a group that has changed it will be told all, once; of a name, the last.
#[derive(Debug, Default)]
pub(super) struct Late(BTreeMap<ContextId, Behind>);

#[derive(Debug, Default)]
struct Behind {
    /// By the name that they are about.
    lost: BTreeMap<String, Word>,
    appeared: BTreeMap<String, Word>,
    groups: BTreeSet<String>,
    says_anew: bool,
}

impl Late {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many contexts have not been told all.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a context has not been told all, so that a word to it waits behind what was said before.
    pub(super) fn concerns(&self, context: ContextId) -> bool {
        self.0.contains_key(&context)
    }

    pub(super) fn add(&mut self, to: ContextId, word: Word) {
        let behind = self.0.entry(to).or_default();
        match &word {
            Word::Whole { group, .. } | Word::Changed { group, .. } => {
                behind.groups.insert(group.clone());
            }
            Word::Lost { name, .. } => drop(behind.lost.insert(name.clone(), word)),
            Word::Appeared { name, .. } => drop(behind.appeared.insert(name.clone(), word)),
            Word::SayAnew => behind.says_anew = true,
        }
        if behind.lost.len() + behind.appeared.len() + behind.groups.len() > MOST {
            *behind = Behind { says_anew: true, ..Behind::default() };
        }
    }

    /// A context is lost, or will be told anew by another top.
    pub(super) fn forget(&mut self, context: ContextId) {
        self.0.remove(&context);
    }

    /// All that is late, as it is now.
    pub(super) fn take(&mut self, top: &Top) -> Vec<(ContextId, Word)> {
        let mut words = Vec::new();
        for (to, Behind { lost, appeared, groups, says_anew }) in std::mem::take(&mut self.0) {
            let groups = groups.iter().filter_map(|group| top.whole(group, to));
            let names = lost.into_values().chain(appeared.into_values());
            let anew = says_anew.then_some(Word::SayAnew);
            words.extend(names.chain(groups).chain(anew).map(|word| (to, word)));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use actogen_runtime::core::{Address, Handle, Incarnation};

    use super::*;
    use crate::directory::top::{Known, Words};

    #[test]
    fn of_a_group_that_has_changed_often_all_is_told_once() {
        let (life, holder) = (Incarnation::new(1, 1), ContextId(7));
        let (mut top, mut late, mut words) = (Top::default(), Late::default(), Words::new());
        let member = |handle| Known {
            address: Address { context: ContextId(5), handle: Handle(handle), incarnation: life },
            kind: "k".into(),
        };
        top.meet(ContextId(5), life, &mut words);
        top.meet(holder, life, &mut words);
        top.hold("g", "k", holder, &mut words).unwrap();
        for number in 0..1000 {
            top.join("g", member(number), &mut words).unwrap();
            top.leave("g", member(number).address, &mut words);
        }
        top.join("g", member(9), &mut words).unwrap();
        words.push((holder, Word::SayAnew));
        words.push((holder, Word::SayAnew));
        for (to, word) in words {
            late.add(to, word);
        }
        assert!(late.concerns(holder) && !late.concerns(ContextId(5)));
        let whole = Word::Whole { group: "g".into(), members: vec![member(9).address] };
        assert_eq!(late.take(&top), [(holder, whole), (holder, Word::SayAnew)]);
        assert!(late.is_empty());
    }

    #[test]
    fn of_too_much_nothing_is_kept_but_that_all_is_to_be_said_anew() {
        let (life, context, mut late) = (Incarnation::new(1, 1), ContextId(7), Late::default());
        let address = |handle| Address { context, handle: Handle(handle), incarnation: life };
        let lost = |name: &str, handle| Word::Lost {
            name: name.to_owned(),
            loser: address(handle),
            owner: address(handle + 1),
        };
        for handle in 0..100_000 {
            late.add(context, lost("n", handle));
        }
        assert_eq!(late.take(&Top::default()), [(context, lost("n", 99_999))]);
        for number in 0..100_000 {
            late.add(context, lost(&number.to_string(), number));
        }
        let words = late.take(&Top::default());
        assert!(words.len() <= MOST + 1 && words.contains(&(context, Word::SayAnew)));
    }
}
