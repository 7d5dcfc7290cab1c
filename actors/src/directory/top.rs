//! What the context at the top of a tree keeps: who owns which name, who is in which group, and who wants to know. A pure machine; whoever
//! drives it has judged that a word comes from the context that it is about.

use std::collections::{BTreeMap, BTreeSet};

use actogen_runtime::core::{Address, ContextId, Incarnation};
use serde::{Deserialize, Serialize};

use super::holdings::DirectoryHoldings;

/// The most names, the most groups and the most members of groups that a mesh may have.
const MOST: usize = 1_000_000;

/// The most that one context may have of names, members, groups that it holds and names that it waits for, together.
const MOST_OF_ONE: usize = 65_536;

/// The most members of one group: the word that names them all is one message.
const MOST_MEMBERS: usize = 65_536;

/// The longest name, of an owner, a group or a kind of actors, in bytes.
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
    Whole { group: String, members: Vec<Address> },
    /// A group that you hold has changed.
    Changed { group: String, joined: Vec<Address>, left: Vec<Address> },
    /// A name that you wait for has this owner now.
    Appeared { name: String, owner: Known },
    /// The way to you was another for a while, and what was said then may not have come: say anew what you have and want.
    SayAnew,
}

/// Words, with whom they are for.
pub(super) type Words = Vec<(ContextId, Word)>;

#[derive(Debug, Default)]
struct Group {
    kind: String,
    members: BTreeSet<Address>,
    holders: BTreeSet<ContextId>,
}

/// What one context has here.
#[derive(Debug)]
struct Part {
    /// The life of the context that it belongs to.
    life: Incarnation,
    /// How much of what it may have.
    has: usize,
}

/// Names and groups.
#[derive(Debug, Default)]
pub(super) struct Top {
    names: BTreeMap<String, Known>,
    groups: BTreeMap<String, Group>,
    waiting: BTreeMap<String, BTreeSet<ContextId>>,
    /// Members of all groups.
    members: usize,
    /// Those contexts that have anything here.
    parts: BTreeMap<ContextId, Part>,
}

pub(super) fn check_name(name: &str) -> Result<(), DirectoryError> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(DirectoryError::BadName(name.chars().take(40).collect()));
    }
    Ok(())
}

impl Top {
    /// This life of a context speaks: what an earlier one had is lost.
    pub(super) fn meet(&mut self, context: ContextId, life: Incarnation, words: &mut Words) {
        if self.parts.get(&context).is_some_and(|part| part.life != life) {
            self.lose(context, words);
        }
        self.parts.entry(context).or_insert(Part { life, has: 0 });
    }

    /// It has spoken: nothing is kept of one that has nothing. (One that has nothing more by what another says is kept until it is lost.)
    pub(super) fn part(&mut self, context: ContextId) {
        if self.parts.get(&context).is_some_and(|part| part.has == 0) {
            self.parts.remove(&context);
        }
    }

    /// Whether a context has anything here.
    pub(super) fn knows(&self, context: ContextId) -> bool {
        self.parts.contains_key(&context)
    }

    /// The contexts that have anything here.
    pub(super) fn contexts(&self) -> Vec<ContextId> {
        self.parts.keys().copied().collect()
    }

    /// How much is kept.
    pub(super) fn count(&self, holdings: &mut DirectoryHoldings) {
        holdings.names = self.names.len();
        holdings.groups = self.groups.len();
        holdings.members = self.members;
        holdings.holders = self.groups.values().map(|group| group.holders.len()).sum();
        holdings.waiting = self.waiting.values().map(BTreeSet::len).sum();
        holdings.parts = self.parts.len();
    }

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
        check_name(&claimant.kind)?;
        match self.names.get(name).map(|owner| (owner.address, owner.precedes(&claimant))) {
            Some((owner, _)) if owner == claimant.address => {}
            Some((owner, precedes)) => {
                if !is_old || precedes {
                    return Err(DirectoryError::Taken { name: name.to_owned(), owner });
                }
                self.take(claimant.address.context)?;
                self.give(owner.context);
                let lost =
                    Word::Lost { name: name.to_owned(), loser: owner, owner: claimant.address };
                words.push((owner.context, lost));
            }
            None if self.names.len() >= MOST => return Err(DirectoryError::Full),
            None => self.take(claimant.address.context)?,
        }
        for waiter in self.waiting.remove(name).unwrap_or_default() {
            self.give(waiter);
            let appeared = Word::Appeared { name: name.to_owned(), owner: claimant.clone() };
            words.push((waiter, appeared));
        }
        self.names.insert(name.to_owned(), claimant);
        Ok(())
    }

    pub(super) fn release(&mut self, name: &str, owner: Address) {
        if self.names.get(name).is_some_and(|known| known.address == owner) {
            self.names.remove(name);
            self.give(owner.context);
        }
    }

    /// Whose a name is. If nobody's, the asker may have word when that changes.
    pub(super) fn resolve(
        &mut self,
        name: &str,
        waiter: Option<ContextId>,
    ) -> Result<Option<Known>, DirectoryError> {
        check_name(name)?;
        let known = self.names.get(name).cloned();
        if let (None, Some(waiter)) = (&known, waiter) {
            let waits = self.waiting.get(name).is_some_and(|waiters| waiters.contains(&waiter));
            if !waits {
                self.take(waiter)?;
                self.waiting.entry(name.to_owned()).or_default().insert(waiter);
            }
        }
        Ok(known)
    }

    /// Nobody there waits for this name any more.
    pub(super) fn forget_waiter(&mut self, name: &str, waiter: ContextId) {
        if let Some(waiters) = self.waiting.get_mut(name) {
            let waited = waiters.remove(&waiter);
            if waiters.is_empty() {
                self.waiting.remove(name);
            }
            if waited {
                self.give(waiter);
            }
        }
    }

    pub(super) fn join(
        &mut self,
        group: &str,
        member: Known,
        words: &mut Words,
    ) -> Result<(), DirectoryError> {
        let Known { address, kind } = member;
        let of = self.group(group, &kind)?;
        if of.members.contains(&address) {
            return Ok(());
        }
        let is_full = of.members.len() >= MOST_MEMBERS || self.members >= MOST;
        if let Err(full) =
            if is_full { Err(DirectoryError::Full) } else { self.take(address.context) }
        {
            self.forget_if_empty(group);
            return Err(full);
        }
        self.members += 1;
        let of = self.group(group, &kind)?;
        of.members.insert(address);
        of.tell(group, &[address], &[], words);
        Ok(())
    }

    pub(super) fn leave(&mut self, group: &str, member: Address, words: &mut Words) {
        let Some(of) = self.groups.get_mut(group) else { return };
        if of.members.remove(&member) {
            of.tell(group, &[], &[member], words);
            self.members -= 1;
            self.give(member.context);
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
        let is_held = self.group(group, kind)?.holders.contains(&holder);
        if !is_held && let Err(full) = self.take(holder) {
            self.forget_if_empty(group);
            return Err(full);
        }
        self.group(group, kind)?.holders.insert(holder);
        words.extend(self.whole(group, holder).map(|whole| (holder, whole)));
        Ok(())
    }

    /// The word that names all members, for one who holds the group.
    pub(super) fn whole(&self, group: &str, holder: ContextId) -> Option<Word> {
        let of = self.groups.get(group).filter(|of| of.holders.contains(&holder))?;
        let members = of.members.iter().copied().collect();
        Some(Word::Whole { group: group.to_owned(), members })
    }

    pub(super) fn let_go(&mut self, group: &str, holder: ContextId) {
        if let Some(of) = self.groups.get_mut(group)
            && of.holders.remove(&holder)
        {
            self.give(holder);
        }
        self.forget_if_empty(group);
    }

    /// A context is lost, and with it its actors, and its wish to know.
    pub(super) fn lose(&mut self, context: ContextId, words: &mut Words) {
        if self.parts.remove(&context).is_none() {
            return;
        }
        self.names.retain(|_, owner| owner.address.context != context);
        self.waiting.retain(|_, waiters| {
            waiters.remove(&context);
            !waiters.is_empty()
        });
        let mut lost = 0;
        self.groups.retain(|name, group| {
            group.holders.remove(&context);
            let left: Vec<_> =
                group.members.iter().filter(|a| a.context == context).copied().collect();
            group.members.retain(|address| address.context != context);
            lost += left.len();
            if !left.is_empty() {
                group.tell(name, &[], &left, words);
            }
            !group.is_empty()
        });
        self.members -= lost;
    }

    /// One more for a context that has spoken.
    fn take(&mut self, context: ContextId) -> Result<(), DirectoryError> {
        let part = self.parts.get_mut(&context).filter(|part| part.has < MOST_OF_ONE);
        part.ok_or(DirectoryError::Full)?.has += 1;
        Ok(())
    }

    /// One less.
    fn give(&mut self, context: ContextId) {
        if let Some(part) = self.parts.get_mut(&context) {
            part.has -= 1;
        }
    }

    fn group(&mut self, name: &str, kind: &str) -> Result<&mut Group, DirectoryError> {
        check_name(name)?;
        check_name(kind)?;
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

    fn tell(&self, name: &str, joined: &[Address], left: &[Address], words: &mut Words) {
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

    /// One that knows some contexts.
    fn top() -> Top {
        let (mut top, mut words) = (Top::default(), Words::new());
        for context in 0..10 {
            top.meet(ContextId(context), Incarnation::new(1, context), &mut words);
        }
        assert!(words.is_empty());
        top
    }

    #[test]
    fn a_name_has_one_owner_and_a_second_claim_is_refused() {
        let (mut top, mut words) = (top(), Words::new());
        assert_eq!(top.claim("n", known(5, 1), false, &mut words), Ok(()));
        assert_eq!(top.claim("n", known(5, 1), false, &mut words), Ok(()));
        // Even of one who would come first by the rule for parts that come together.
        let refused = top.claim("n", known(2, 1), false, &mut words);
        assert!(matches!(refused, Err(DirectoryError::Taken { .. })));
        top.release("n", known(2, 1).address);
        assert_eq!(top.resolve("n", None).unwrap(), Some(known(5, 1)));
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
            let (mut top, mut words) = (top(), Words::new());
            assert_eq!(top.claim("n", first.clone(), true, &mut words), Ok(()));
            let outcome = top.claim("n", second.clone(), true, &mut words);
            assert_eq!(top.resolve("n", None).unwrap(), Some(one.clone()));
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
        let (mut top, mut words) = (top(), Words::new());
        for waiter in [7, 8, 9] {
            assert_eq!(top.resolve("n", Some(ContextId(waiter))), Ok(None));
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
        let (mut top, mut words) = (top(), Words::new());
        top.join("g", known(5, 1), &mut words).unwrap();
        assert_eq!(top.hold("g", "k", ContextId(7), &mut words), Ok(()));
        let whole = Word::Whole { group: "g".into(), members: vec![known(5, 1).address] };
        assert_eq!(std::mem::take(&mut words), [(ContextId(7), whole)]);
        let other = top.hold("g", "other", ContextId(7), &mut words);
        assert!(matches!(other, Err(DirectoryError::OtherKind { .. })) && words.is_empty());
        top.join("g", known(6, 1), &mut words).unwrap();
        top.join("g", known(6, 1), &mut words).unwrap();
        top.join("g", known(6, 2), &mut words).unwrap();
        assert_eq!(std::mem::take(&mut words).len(), 2);
        for context in 0..10 {
            top.part(ContextId(context));
        }
        assert_eq!(top.contexts(), [5, 6, 7].map(ContextId));
        top.lose(ContextId(6), &mut words);
        let left = vec![known(6, 1).address, known(6, 2).address];
        let changed = Word::Changed { group: "g".into(), joined: Vec::new(), left };
        assert_eq!(std::mem::take(&mut words), [(ContextId(7), changed)]);
        top.leave("g", known(5, 1).address, &mut words);
        top.let_go("g", ContextId(7));
        top.part(ContextId(5));
        top.part(ContextId(7));
        assert_eq!((top.groups.len(), top.members, top.parts.len()), (0, 0, 0));
    }

    #[test]
    fn one_context_has_no_more_than_its_share() {
        let (mut top, mut words) = (top(), Words::new());
        for number in 0..MOST_OF_ONE {
            assert_eq!(top.resolve(&number.to_string(), Some(ContextId(5))), Ok(None));
        }
        let full = Err(DirectoryError::Full);
        assert_eq!(top.claim("n", known(5, 1), false, &mut words), full);
        assert_eq!(top.join("g", known(5, 1), &mut words), full);
        assert_eq!(top.hold("g", "k", ContextId(5), &mut words), full);
        assert!(top.groups.is_empty(), "what was refused leaves nothing behind");
        assert_eq!(top.claim("n", known(6, 1), false, &mut words), Ok(()));
        // What it waits for again counts once, and what it gives up counts no more.
        assert_eq!(top.resolve("0", Some(ContextId(5))), Ok(None));
        top.forget_waiter("0", ContextId(5));
        top.forget_waiter("0", ContextId(5));
        assert_eq!(top.claim("m", known(5, 1), false, &mut words), Ok(()));
        assert_eq!(top.claim("m", known(5, 1), false, &mut words), Ok(()));
        top.lose(ContextId(5), &mut words);
        assert_eq!((top.waiting.len(), top.names.len()), (0, 1));
    }

    #[test]
    fn a_kind_is_no_longer_than_a_name() {
        let (mut top, mut words) = (top(), Words::new());
        let kind = "k".repeat(MAX_NAME + 1);
        let long = Known { kind: kind.clone(), ..known(5, 1) };
        let refused = |outcome| matches!(outcome, Err(DirectoryError::BadName(_)));
        assert!(refused(top.claim("n", long.clone(), false, &mut words)));
        assert!(refused(top.join("g", long, &mut words)));
        assert!(refused(top.hold("g", &kind, ContextId(5), &mut words)));
        assert!(top.names.is_empty() && top.groups.is_empty());
    }

    #[test]
    fn another_life_of_a_context_has_nothing_of_the_one_before() {
        let (mut top, mut words) = (top(), Words::new());
        top.claim("n", known(5, 1), false, &mut words).unwrap();
        top.meet(ContextId(5), Incarnation::new(1, 5), &mut words);
        assert_eq!(top.resolve("n", None), Ok(Some(known(5, 1))));
        top.meet(ContextId(5), Incarnation::new(1, 6), &mut words);
        assert_eq!(top.resolve("n", None), Ok(None));
    }
}
