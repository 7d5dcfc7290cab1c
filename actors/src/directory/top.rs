//! What the context at the top of a tree keeps: who owns which name, who is in which group, and who wants to know. A pure machine; whoever
//! drives it has judged that a word comes from the context that it is about.

use std::collections::{BTreeMap, BTreeSet};

use actogen_runtime::core::{Address, ContextId};
use serde::{Deserialize, Serialize};

/// The most names and the most members of groups that a mesh may have.
const MOST: usize = 1_000_000;

/// The longest name, of an owner or a group, in bytes.
pub(super) const MAX_NAME: usize = 256;

/// An actor, as names and groups know it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) address: Address,
    /// The name of its kind.
    pub(crate) kind: String,
}

impl Known {
    /// Of two that claim a name, this decides, whichever was known first where: the older life of a context, then the smaller id.
    fn precedes(&self, other: &Self) -> bool {
        let rank = |known: &Self| {
            let Address { incarnation, context, handle } = known.address;
            (incarnation.term, incarnation.counter, context, handle)
        };
        rank(self) < rank(other)
    }
}

/// Why something about a name or a group was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The name has an owner.
    #[error("the name `{name}` belongs to {owner}")]
    Taken {
        /// The name.
        name: String,
        /// Whose it is.
        owner: Address,
    },
    /// The group is one of other actors, or the name that of one.
    #[error("`{name}` is for actors of kind `{kind}`, not `{asked}`")]
    OtherKind {
        /// The name.
        name: String,
        /// Of which kind it is.
        kind: String,
        /// What was asked for.
        asked: String,
    },
    /// Nobody has the name, or had not within the time.
    #[error("nobody has the name `{0}`")]
    Unknown(String),
    /// The name is empty or too long.
    #[error("`{0}` cannot be a name: give 1 to {MAX_NAME} bytes")]
    BadName(String),
    /// The mesh has as many names, members or waiters as it may.
    #[error("the directory is full")]
    Full,
    /// The actor lives elsewhere: its own context speaks for it.
    #[error("{0} is not of this context: claim or join from there")]
    NotHere(Address),
    /// The actor has ended.
    #[error("the actor has ended: {0}")]
    Ended(String),
    /// The top of the tree could not be asked.
    #[error("{0}")]
    Dead(String),
}

/// A word to another context's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// The name of an actor of yours has gone to this one.
    Lost { name: String, loser: Address, owner: Address },
    /// These are the members of a group that you hold.
    Whole { group: String, members: Vec<Known> },
    /// A group that you hold has changed.
    Changed { group: String, joined: Vec<Known>, left: Vec<Address> },
    /// A name that you wait for has this owner now.
    Appeared { name: String, owner: Known },
}

/// Words, with whom they are for.
pub(super) type Words = Vec<(ContextId, Word)>;

#[derive(Debug, Default)]
struct Group {
    kind: String,
    members: BTreeMap<Address, Known>,
    holders: BTreeSet<ContextId>,
}

/// Names and groups.
#[derive(Debug, Default)]
pub(super) struct Top {
    names: BTreeMap<String, Known>,
    groups: BTreeMap<String, Group>,
    waiting: BTreeMap<String, BTreeSet<ContextId>>,
    /// Members of all groups.
    members: usize,
}

pub(super) fn check_name(name: &str) -> Result<(), DirectoryError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(DirectoryError::BadName(name.chars().take(40).collect()));
    }
    Ok(())
}

impl Top {
    /// Gives a name to an actor that has none yet. Where two parts of a mesh come together, `is_old` says that it has owned the name
    /// before: then one of both keeps it, by a rule that does not ask who came first, and the other is told.
    pub(super) fn claim(
        &mut self,
        name: &str,
        claimant: Known,
        is_old: bool,
        words: &mut Words,
    ) -> Result<(), DirectoryError> {
        check_name(name)?;
        if let Some(owner) = self.names.get(name)
            && owner.address != claimant.address
        {
            let taken = DirectoryError::Taken { name: name.to_owned(), owner: owner.address };
            if !is_old || owner.precedes(&claimant) {
                return Err(taken);
            }
            let (name, loser) = (name.to_owned(), owner.address);
            words.push((loser.context, Word::Lost { name, loser, owner: claimant.address }));
        } else if self.names.len() >= MOST {
            return Err(DirectoryError::Full);
        }
        for waiter in self.waiting.remove(name).unwrap_or_default() {
            let appeared = Word::Appeared { name: name.to_owned(), owner: claimant.clone() };
            words.push((waiter, appeared));
        }
        self.names.insert(name.to_owned(), claimant);
        Ok(())
    }

    pub(super) fn release(&mut self, name: &str, owner: Address) {
        if self.names.get(name).is_some_and(|known| known.address == owner) {
            self.names.remove(name);
        }
    }

    /// Whose a name is. If nobody's, the asker may have word when that changes.
    pub(super) fn resolve(&mut self, name: &str, waiter: Option<ContextId>) -> Option<Known> {
        let known = self.names.get(name).cloned();
        if let (None, Some(waiter)) = (&known, waiter)
            && (self.waiting.len() < MOST || self.waiting.contains_key(name))
        {
            self.waiting.entry(name.to_owned()).or_default().insert(waiter);
        }
        known
    }

    /// Nobody there waits for this name any more.
    pub(super) fn forget_waiter(&mut self, name: &str, waiter: ContextId) {
        if let Some(waiters) = self.waiting.get_mut(name) {
            waiters.remove(&waiter);
            if waiters.is_empty() {
                self.waiting.remove(name);
            }
        }
    }

    pub(super) fn join(
        &mut self,
        group: &str,
        member: Known,
        words: &mut Words,
    ) -> Result<(), DirectoryError> {
        if self.members >= MOST {
            return Err(DirectoryError::Full);
        }
        let of = self.group(group, &member.kind)?;
        if of.members.insert(member.address, member.clone()).is_none() {
            of.tell(group, &[member], &[], words);
            self.members += 1;
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, group: &str, member: Address, words: &mut Words) {
        let Some(of) = self.groups.get_mut(group) else { return };
        if of.members.remove(&member).is_some() {
            self.members -= 1;
            of.tell(group, &[], &[member], words);
        }
        self.forget_if_empty(group);
    }

    /// Gives the holder word of the members, and of each change from now on.
    pub(super) fn hold(
        &mut self,
        group: &str,
        kind: &str,
        holder: ContextId,
        words: &mut Words,
    ) -> Result<(), DirectoryError> {
        let of = self.group(group, kind)?;
        of.holders.insert(holder);
        let members = of.members.values().cloned().collect();
        words.push((holder, Word::Whole { group: group.to_owned(), members }));
        Ok(())
    }

    pub(super) fn let_go(&mut self, group: &str, holder: ContextId) {
        if let Some(of) = self.groups.get_mut(group) {
            of.holders.remove(&holder);
        }
        self.forget_if_empty(group);
    }

    /// A context is lost, and with it its actors, and its wish to know.
    pub(super) fn lose(&mut self, context: ContextId, words: &mut Words) {
        self.names.retain(|_, owner| owner.address.context != context);
        self.waiting.retain(|_, waiters| {
            waiters.remove(&context);
            !waiters.is_empty()
        });
        let mut lost = 0;
        self.groups.retain(|name, group| {
            group.holders.remove(&context);
            let left: Vec<_> =
                group.members.keys().filter(|a| a.context == context).copied().collect();
            group.members.retain(|address, _| address.context != context);
            lost += left.len();
            if !left.is_empty() {
                group.tell(name, &[], &left, words);
            }
            !group.is_empty()
        });
        self.members -= lost;
    }

    /// The contexts that have a part in anything here.
    pub(super) fn contexts(&self) -> BTreeSet<ContextId> {
        let owners = self.names.values().map(|owner| owner.address.context);
        let of = |group: &Group| -> Vec<ContextId> {
            group.members.keys().map(|a| a.context).chain(group.holders.iter().copied()).collect()
        };
        owners
            .chain(self.groups.values().flat_map(of))
            .chain(self.waiting.values().flatten().copied())
            .collect()
    }

    fn group(&mut self, name: &str, kind: &str) -> Result<&mut Group, DirectoryError> {
        check_name(name)?;
        if !self.groups.contains_key(name) && self.groups.len() >= MOST {
            return Err(DirectoryError::Full);
        }
        let group = self.groups.entry(name.to_owned()).or_default();
        if group.is_empty() {
            kind.clone_into(&mut group.kind);
        }
        if group.kind != kind {
            return Err(DirectoryError::OtherKind {
                name: name.to_owned(),
                kind: group.kind.clone(),
                asked: kind.to_owned(),
            });
        }
        Ok(group)
    }

    fn forget_if_empty(&mut self, name: &str) {
        if self.groups.get(name).is_some_and(Group::is_empty) {
            self.groups.remove(name);
        }
    }
}

impl Group {
    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.holders.is_empty()
    }

    fn tell(&self, name: &str, joined: &[Known], left: &[Address], words: &mut Words) {
        words.extend(self.holders.iter().map(|&holder| {
            let (joined, left) = (joined.to_vec(), left.to_vec());
            (holder, Word::Changed { group: name.to_owned(), joined, left })
        }));
    }
}

#[cfg(test)]
mod tests {
    use actogen_runtime::core::{Handle, Incarnation};

    use super::*;

    fn known(context: u64, handle: u64) -> Known {
        let incarnation = Incarnation::new(1, context);
        let address =
            Address { context: ContextId(context), handle: Handle(1000 + handle), incarnation };
        Known { address, kind: "k".into() }
    }

    #[test]
    fn a_name_has_one_owner_and_a_second_claim_is_refused() {
        let (mut top, mut words) = (Top::default(), Words::new());
        assert_eq!(top.claim("n", known(5, 1), false, &mut words), Ok(()));
        assert_eq!(top.claim("n", known(5, 1), false, &mut words), Ok(()));
        // Even of one who would come first by the rule for parts that come together.
        let refused = top.claim("n", known(2, 1), false, &mut words);
        assert!(matches!(refused, Err(DirectoryError::Taken { .. })));
        top.release("n", known(2, 1).address);
        assert_eq!(top.resolve("n", None), Some(known(5, 1)));
        top.release("n", known(5, 1).address);
        assert_eq!(top.claim("n", known(2, 1), false, &mut words), Ok(()));
        assert!(words.is_empty());
        assert!(matches!(
            top.claim("", known(2, 1), false, &mut words),
            Err(DirectoryError::BadName(_))
        ));
    }

    #[test]
    fn of_two_old_owners_the_same_one_stands_in_either_order() {
        let (one, two) = (known(2, 9), known(5, 1));
        for (first, second) in [(&one, &two), (&two, &one)] {
            let (mut top, mut words) = (Top::default(), Words::new());
            assert_eq!(top.claim("n", first.clone(), true, &mut words), Ok(()));
            let outcome = top.claim("n", second.clone(), true, &mut words);
            assert_eq!(top.resolve("n", None), Some(one.clone()));
            // The loser learns by the answer or by a word.
            match first == &one {
                true => assert!(outcome.is_err() && words.is_empty()),
                false => {
                    let (loser, owner) = (two.address, one.address);
                    let lost = Word::Lost { name: "n".into(), loser, owner };
                    assert_eq!((outcome, words), (Ok(()), vec![(loser.context, lost)]));
                }
            }
        }
    }

    #[test]
    fn who_waits_for_a_name_has_word_of_it_once() {
        let (mut top, mut words) = (Top::default(), Words::new());
        for waiter in [7, 8, 9] {
            assert_eq!(top.resolve("n", Some(ContextId(waiter))), None);
        }
        top.forget_waiter("n", ContextId(9));
        top.lose(ContextId(8), &mut words);
        top.claim("n", known(5, 1), false, &mut words).unwrap();
        let appeared = Word::Appeared { name: "n".into(), owner: known(5, 1) };
        assert_eq!(std::mem::take(&mut words), [(ContextId(7), appeared)]);
        top.release("n", known(5, 1).address);
        top.claim("n", known(5, 2), false, &mut words).unwrap();
        assert!(words.is_empty());
    }

    #[test]
    fn holders_of_a_group_hear_of_each_change_and_nothing_is_left_behind() {
        let (mut top, mut words) = (Top::default(), Words::new());
        top.join("g", known(5, 1), &mut words).unwrap();
        assert_eq!(top.hold("g", "k", ContextId(7), &mut words), Ok(()));
        let whole = Word::Whole { group: "g".into(), members: vec![known(5, 1)] };
        assert_eq!(std::mem::take(&mut words), [(ContextId(7), whole)]);
        let other = top.hold("g", "other", ContextId(7), &mut words);
        assert!(matches!(other, Err(DirectoryError::OtherKind { .. })) && words.is_empty());
        top.join("g", known(6, 1), &mut words).unwrap();
        top.join("g", known(6, 1), &mut words).unwrap();
        top.join("g", known(6, 2), &mut words).unwrap();
        assert_eq!(std::mem::take(&mut words).len(), 2);
        assert_eq!(top.contexts(), [5, 6, 7].map(ContextId).into());
        top.lose(ContextId(6), &mut words);
        let left = vec![known(6, 1).address, known(6, 2).address];
        let changed = Word::Changed { group: "g".into(), joined: Vec::new(), left };
        assert_eq!(std::mem::take(&mut words), [(ContextId(7), changed)]);
        top.leave("g", known(5, 1).address, &mut words);
        top.let_go("g", ContextId(7));
        assert_eq!((top.groups.len(), top.members), (0, 0));
    }
}
