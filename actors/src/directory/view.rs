//! What a context knows of a group that it holds, and which member it chooses.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use actogen_runtime::core::Address;
use parking_lot::Mutex;
use tokio::sync::broadcast;

/// How many changes a listener may lag behind.
const BACKLOG: usize = 4096;

/// How one of several members is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice<'a> {
    /// Each in turn.
    RoundRobin,
    /// Any, by chance.
    Random,
    /// The one with the fewest requests under way by this handle's context.
    LeastOutstanding,
    /// Always the same for a key, as long as that is a member; when members come and go, only keys of theirs move (rendezvous hashing).
    ByKey(&'a [u8]),
}

/// A member came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupEvent {
    /// It is a member now.
    Joined(Address),
    /// It is none any more.
    Left(Address),
}

#[derive(Debug)]
pub(crate) struct View {
    state: Mutex<State>,
    events: broadcast::Sender<GroupEvent>,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeSet<Address>,
    /// Whose turn it was last.
    last: Option<Address>,
    outstanding: HashMap<Address, usize>,
}

impl Default for View {
    fn default() -> Self {
        Self { state: Mutex::default(), events: broadcast::Sender::new(BACKLOG) }
    }
}

impl View {
    pub(super) fn members(&self) -> Vec<Address> {
        self.state.lock().members.iter().copied().collect()
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<GroupEvent> {
        self.events.subscribe()
    }

    /// Takes these members for all; tells what that changes.
    pub(super) fn replace(&self, members: &[Address]) {
        let all: BTreeSet<_> = members.iter().collect();
        let left: Vec<_> = self.members().into_iter().filter(|one| !all.contains(one)).collect();
        self.change(members, &left);
    }

    pub(super) fn change(&self, joined: &[Address], left: &[Address]) {
        let mut state = self.state.lock();
        // Nobody need listen.
        for address in left {
            if state.members.remove(address) {
                let _ = self.events.send(GroupEvent::Left(*address));
            }
        }
        for address in joined {
            if state.members.insert(*address) {
                let _ = self.events.send(GroupEvent::Joined(*address));
            }
        }
    }

    /// Chooses a member; `chance` is a number that nobody can guess.
    pub(super) fn choose(&self, choice: Choice<'_>, chance: u64) -> Option<Address> {
        let mut state = self.state.lock();
        let State { members, last, outstanding } = &mut *state;
        let nth = |n: usize| members.iter().nth(n).copied();
        match choice {
            Choice::RoundRobin => {
                use std::ops::Bound::{Excluded, Unbounded};
                let behind = last
                    .and_then(|last| members.range((Excluded(last), Unbounded)).next().copied());
                *last = behind.or_else(|| nth(0));
                *last
            }
            Choice::Random if members.is_empty() => None,
            Choice::Random => nth((chance % members.len() as u64) as usize),
            Choice::LeastOutstanding => {
                let load = |address: &Address| outstanding.get(address).copied().unwrap_or(0);
                members
                    .iter()
                    .min_by_key(|address| (load(address), rank(&chance.to_le_bytes(), address)))
                    .copied()
            }
            Choice::ByKey(key) => members.iter().max_by_key(|address| rank(key, address)).copied(),
        }
    }

    /// A request to a member is under way until this is dropped.
    pub(super) fn begin(self: &Arc<Self>, member: Address) -> Outstanding {
        *self.state.lock().outstanding.entry(member).or_default() += 1;
        Outstanding { view: self.clone(), member }
    }
}

/// How well a member suits a key.
fn rank(key: &[u8], member: &Address) -> u64 {
    let mut hash = blake3::Hasher::new();
    for number in [member.context.0, member.handle.0] {
        hash.update(&number.to_le_bytes());
    }
    hash.update(key);
    let mut head = [0; 8];
    head.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    u64::from_le_bytes(head)
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Outstanding {
    view: Arc<View>,
    member: Address,
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let mut state = self.view.state.lock();
        if let Some(count) = state.outstanding.get_mut(&self.member) {
            *count -= 1;
            if *count == 0 {
                state.outstanding.remove(&self.member);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actogen_runtime::core::{ContextId, Handle, Incarnation};

    use super::*;

    fn member(context: u64) -> Address {
        let incarnation = Incarnation::new(1, context);
        Address { context: ContextId(context), handle: Handle(1000), incarnation }
    }

    fn view(members: u64) -> Arc<View> {
        let view = Arc::<View>::default();
        view.replace(&(0..members).map(member).collect::<Vec<_>>());
        view
    }

    #[test]
    fn each_has_its_turn_also_when_members_come_and_go() {
        let view = view(3);
        let next = || view.choose(Choice::RoundRobin, 0).unwrap().context.0;
        assert_eq!([next(), next(), next(), next()], [0, 1, 2, 0]);
        view.change(&[member(9)], &[member(1)]);
        assert_eq!([next(), next(), next()], [2, 9, 0]);
        assert_eq!(self::view(0).choose(Choice::RoundRobin, 0), None);
    }

    #[test]
    fn a_key_moves_only_with_its_member() {
        let keys: Vec<_> = (0..1000_u64).map(u64::to_le_bytes).collect();
        let view = view(10);
        let chosen = || -> Vec<u64> {
            keys.iter().map(|key| view.choose(Choice::ByKey(key), 0).unwrap().context.0).collect()
        };
        let before = chosen();
        for of in 0..10 {
            let share = before.iter().filter(|&&member| member == of).count();
            assert!((50..200).contains(&share), "{of} has {share}");
        }
        view.change(&[], &[member(3)]);
        for (before, after) in before.iter().zip(chosen()) {
            assert_eq!(*before != after, *before == 3);
        }
    }

    #[test]
    fn the_least_busy_is_chosen() {
        let view = view(3);
        let busy = [view.begin(member(0)), view.begin(member(2))];
        for chance in 0..10 {
            assert_eq!(view.choose(Choice::LeastOutstanding, chance), Some(member(1)));
        }
        drop(busy);
        let chosen: std::collections::BTreeSet<_> =
            (0..50).map(|chance| view.choose(Choice::LeastOutstanding, chance)).collect();
        assert_eq!(chosen.len(), 3);
        assert!(view.state.lock().outstanding.is_empty());
    }

    #[test]
    fn listeners_hear_of_each_change_once() {
        let view = view(2);
        let mut events = view.subscribe();
        view.replace(&[member(1), member(2)]);
        view.change(&[member(2)], &[member(0)]);
        assert_eq!(events.try_recv(), Ok(GroupEvent::Left(member(0))));
        assert_eq!(events.try_recv(), Ok(GroupEvent::Joined(member(2))));
        assert!(events.try_recv().is_err());
    }
}
