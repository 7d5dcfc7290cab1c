//! What waits for an answer: calls, and watches, which are calls that are answered when the watched ends.
//!
//! Every entry knows its respondent, the one context whose answer counts, and ends exactly once: answered, cancelled, or woken
//! because the route to its respondent went. The handle under which it waits is drawn unguessable and lies on the lane of the
//! mailbox that it serves, so that an answer keeps its place among that mailbox's messages (protocol rules 4, 5 and 12).

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use crate::id::{ContextId, Handle, HandleMint, StreamId};

/// Counts what the router has withdrawn so far: a waiter that began after a withdrawal is not woken by the copies of it that
/// are still on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// Waiters that hold a `T` each: a oneshot sender in production, a number in tests.
#[derive(Debug)]
pub struct PendingTable<T> {
    mint: HandleMint,
    limit: usize,
    /// Nothing ever goes through it in its own order.
    entries: HashMap<Handle, Entry<T>, BuildHasherDefault<Drawn>>,
    by_respondent: BTreeMap<ContextId, Asked>,
}

/// Hashes handles by what they are: each was drawn at random, and by this table.
#[derive(Debug, Default)]
struct Drawn(u64);

impl Hasher for Drawn {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = self.0.rotate_left(8) ^ u64::from(byte));
    }

    fn write_u64(&mut self, n: u64) {
        // The low bits name the lane, and are few.
        self.0 = n.rotate_right(2);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Who waits for one context.
#[derive(Debug, Default)]
struct Asked {
    /// In no order; some of them wait no more.
    handles: Vec<Handle>,
    waiting: usize,
}

/// Contexts for which nobody waits at the moment and that are kept in mind, so that one request after the other is cheap.
const IDLE: usize = 64;

/// As many handles of those that wait no more may stand beside the others, and this many.
const SLACK: usize = 32;

#[derive(Debug)]
struct Entry<T> {
    respondent: ContextId,
    epoch: Epoch,
    waiter: T,
}

/// There are as many waiters as the limit allows; gives the waiter back.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// Why an answer was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAwaited {
    /// Nobody waits under this handle, or does no more.
    Unknown,
    /// Somebody waits, but for another context's answer.
    Stranger {
        /// The context that was asked.
        asked: ContextId,
    },
}

impl<T> PendingTable<T> {
    /// A table for at most `limit` waiters at once, whose handles come from `mint`.
    pub fn new(mint: HandleMint, limit: usize) -> Self {
        Self { mint, limit, entries: HashMap::default(), by_respondent: BTreeMap::new() }
    }

    /// Begins to wait for `respondent`'s answer, on `lane`.
    ///
    /// # Errors
    /// [`Full`], with the waiter.
    pub fn insert(
        &mut self,
        respondent: ContextId,
        lane: StreamId,
        epoch: Epoch,
        waiter: T,
    ) -> Result<Handle, Full<T>> {
        if self.entries.len() >= self.limit {
            return Err(Full(waiter));
        }
        let handle = self.mint.draw(lane);
        self.entries.insert(handle, Entry { respondent, epoch, waiter });
        let asked = self.by_respondent.entry(respondent).or_default();
        if asked.handles.len() > 2 * asked.waiting + SLACK {
            asked.handles.retain(|handle| self.entries.contains_key(handle));
        }
        asked.handles.push(handle);
        asked.waiting += 1;
        Ok(handle)
    }

    /// Ends the wait with an answer from `source`.
    ///
    /// # Errors
    /// [`NotAwaited`]; a stranger's answer leaves the waiter where it is.
    pub fn answer(&mut self, handle: Handle, source: ContextId) -> Result<T, NotAwaited> {
        let entry = self.entries.get(&handle).ok_or(NotAwaited::Unknown)?;
        if entry.respondent != source {
            return Err(NotAwaited::Stranger { asked: entry.respondent });
        }
        self.cancel(handle).ok_or(NotAwaited::Unknown)
    }

    /// Ends the wait without an answer.
    pub fn cancel(&mut self, handle: Handle) -> Option<T> {
        let entry = self.entries.remove(&handle)?;
        if let Some(asked) = self.by_respondent.get_mut(&entry.respondent) {
            asked.waiting -= 1;
            if asked.waiting == 0 {
                asked.handles.clear();
                if self.by_respondent.len() > IDLE {
                    self.by_respondent.remove(&entry.respondent);
                }
            }
        }
        Some(entry.waiter)
    }

    /// Ends the waits for `respondent` that began up to `epoch`, on one lane or, with `None`, on all of them.
    pub fn wake(&mut self, respondent: ContextId, lane: Option<StreamId>, epoch: Epoch) -> Vec<T> {
        let due = self.due(respondent, lane, epoch);
        due.into_iter().filter_map(|handle| self.cancel(handle)).collect()
    }

    fn due(&self, respondent: ContextId, lane: Option<StreamId>, epoch: Epoch) -> Vec<Handle> {
        let asked = self.by_respondent.get(&respondent);
        let handles = asked.into_iter().flat_map(|asked| &asked.handles).copied();
        let mut due: Vec<_> = handles
            .filter(|handle| lane.is_none_or(|lane| handle.stream() == lane))
            .filter(|handle| self.entries.get(handle).is_some_and(|entry| entry.epoch <= epoch))
            .collect();
        due.sort_unstable();
        due
    }

    /// As [`Self::wake`], but watches stay.
    pub fn wake_calls(
        &mut self,
        respondent: ContextId,
        lane: Option<StreamId>,
        epoch: Epoch,
        is_watch: impl Fn(&T) -> bool,
    ) -> Vec<T> {
        let mut due = self.due(respondent, lane, epoch);
        due.retain(|handle| self.entries.get(handle).is_some_and(|entry| !is_watch(&entry.waiter)));
        due.into_iter().filter_map(|handle| self.cancel(handle)).collect()
    }

    /// The handles of the watches on `respondent`, under which each can be asked again.
    pub fn watches(&self, respondent: ContextId, is_watch: impl Fn(&T) -> bool) -> Vec<Handle> {
        let mut handles = self.due(respondent, None, Epoch(u64::MAX));
        handles
            .retain(|handle| self.entries.get(handle).is_some_and(|entry| is_watch(&entry.waiter)));
        handles
    }

    /// Who waits under a handle.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        self.entries.get(&handle).map(|entry| &entry.waiter)
    }

    /// The contexts that somebody waits for, in order.
    pub fn respondents(&self) -> impl Iterator<Item = ContextId> + '_ {
        self.by_respondent
            .iter()
            .filter(|(_, asked)| asked.waiting > 0)
            .map(|(&respondent, _)| respondent)
    }

    /// Ends every wait.
    pub fn drain(&mut self) -> Vec<T> {
        self.by_respondent.clear();
        let mut entries: Vec<_> = std::mem::take(&mut self.entries).into_iter().collect();
        entries.sort_unstable_by_key(|&(handle, _)| handle);
        entries.into_iter().map(|(_, entry)| entry.waiter).collect()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: ContextId = ContextId(2);
    const C: ContextId = ContextId(3);
    const LANE: StreamId = StreamId::lane(1);

    fn table(limit: usize) -> PendingTable<u32> {
        PendingTable::new(HandleMint::new([1; 32]), limit)
    }

    #[test]
    fn m04_an_answer_counts_only_from_whoever_was_asked() {
        let mut table = table(10);
        let handle = table.insert(B, LANE, Epoch(0), 7).unwrap();
        assert_eq!(handle.stream(), LANE);
        assert_eq!(table.answer(handle, C), Err(NotAwaited::Stranger { asked: B }));
        assert_eq!(table.answer(Handle(handle.0 ^ 4), B), Err(NotAwaited::Unknown));
        assert_eq!(table.answer(handle, B), Ok(7));
        assert_eq!(table.answer(handle, B), Err(NotAwaited::Unknown));
        assert!(table.is_empty() && table.respondents().next().is_none());
    }

    #[test]
    fn a_wake_takes_its_lane_and_what_began_before_it() {
        let mut table = table(10);
        table.insert(B, StreamId::lane(0), Epoch(1), 10).unwrap();
        table.insert(B, StreamId::lane(1), Epoch(1), 11).unwrap();
        table.insert(B, StreamId::lane(1), Epoch(2), 12).unwrap();
        table.insert(C, StreamId::lane(1), Epoch(1), 13).unwrap();
        assert_eq!(table.wake(B, Some(StreamId::lane(1)), Epoch(1)), [11]);
        assert_eq!(table.wake(B, Some(StreamId::lane(1)), Epoch(1)), []);
        assert_eq!(table.wake(B, None, Epoch(1)), [10]);
        assert_eq!(table.respondents().collect::<Vec<_>>(), [B, C]);
        assert_eq!(table.len(), 2);
        let mut rest = table.drain();
        rest.sort_unstable();
        assert_eq!(rest, [12, 13]);
        assert!(table.is_empty());
    }

    #[test]
    fn where_another_way_is_left_calls_end_and_watches_are_asked_again() {
        let mut table = table(10);
        let is_watch = |&waiter: &u32| waiter >= 100;
        table.insert(B, LANE, Epoch(1), 1).unwrap();
        let watch = table.insert(B, LANE, Epoch(1), 100).unwrap();
        table.insert(C, LANE, Epoch(1), 102).unwrap();
        let later = table.insert(B, LANE, Epoch(2), 2).unwrap();
        assert_eq!(table.wake_calls(B, Some(StreamId::lane(2)), Epoch(1), is_watch), []);
        assert_eq!(table.wake_calls(B, Some(LANE), Epoch(1), is_watch), [1]);
        assert_eq!(table.wake_calls(B, None, Epoch(1), is_watch), []);
        assert_eq!(table.watches(B, is_watch), [watch]);
        assert_eq!(table.answer(watch, B), Ok(100), "under the same handle, once");
        assert_eq!(table.watches(B, is_watch), []);
        assert_eq!(table.answer(later, B), Ok(2));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn those_who_wait_no_more_are_forgotten_whoever_they_waited_for() {
        let mut table = table(10_000);
        let old = table.insert(B, LANE, Epoch(0), 0).unwrap();
        for n in 1..5000 {
            let handle = table.insert(B, LANE, Epoch(0), n).unwrap();
            assert_eq!(table.cancel(handle), Some(n));
            let other = table.insert(ContextId(1000 + u64::from(n)), LANE, Epoch(0), n).unwrap();
            assert_eq!(table.cancel(other), Some(n));
        }
        assert!(table.by_respondent[&B].handles.len() <= 2 + SLACK + 1);
        assert!(table.by_respondent.len() <= IDLE + 1);
        assert_eq!(table.respondents().collect::<Vec<_>>(), [B]);
        assert_eq!(table.wake(B, None, Epoch(0)), [0]);
        assert_eq!((table.cancel(old), table.respondents().next()), (None, None));
    }

    #[test]
    fn a_full_table_gives_the_waiter_back() {
        let mut table = table(1);
        let handle = table.insert(B, LANE, Epoch(0), 1).unwrap();
        assert_eq!(table.insert(B, LANE, Epoch(0), 2), Err(Full(2)));
        assert!(!table.is_empty());
        assert_eq!(table.cancel(handle), Some(1));
        assert_eq!(table.cancel(handle), None);
        assert!(table.insert(B, LANE, Epoch(0), 2).is_ok());
    }
}
