//! Several receivers at once: whatever comes next, in the order of arrival.
//!
//! Each receiver rings a bell for each value and for its end, and the bells of one select go into one list. A select within another
//! rings that one's bell in turn. A receiver or select that is added is moved in: so none can be added twice, and none into itself.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Item, ReceiveError, Receiver};

/// Which member of a select something came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

/// Says to whom it belongs, to those who wait.
#[derive(Clone)]
pub(super) struct Bell {
    list: Arc<List>,
    key: Key,
}

impl Bell {
    pub(super) fn ring(&self) {
        let mut rung = self.list.rung.lock();
        rung.keys.push_back(self.key);
        if let Some(outer) = &rung.outer {
            outer.ring();
        }
        self.list.came.notify_one();
    }
}

/// Which members have something, in the order in which it came.
#[derive(Default)]
struct List {
    rung: Mutex<Rung>,
    came: Notify,
}

#[derive(Default)]
struct Rung {
    keys: VecDeque<Key>,
    /// The bell of the select that this one is in.
    outer: Option<Bell>,
}

enum Member<T: Item> {
    Receiver(Receiver<T>),
    Select(Select<T>),
}

/// Receivers of which whatever comes first is taken, in the order of arrival; see [`Self::next`].
///
/// ```
/// # use actogen::{Context, Select};
/// # async fn example(cx: Context) {
/// let (fast, from_fast) = cx.channel::<u32>();
/// let (slow, from_slow) = cx.channel::<u32>();
/// let mut select = Select::new();
/// let key = select.add(from_fast);
/// select.add(from_slow);
/// while let Some((from, value)) = select.next().await {
///     println!("{} {value:?}", if from == key { "fast" } else { "slow" });
/// }
/// # }
/// ```
pub struct Select<T: Item> {
    list: Arc<List>,
    members: BTreeMap<Key, Member<T>>,
    next: u64,
}

impl<T: Item> Default for Select<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Item> Select<T> {
    /// A select without members.
    pub fn new() -> Self {
        Self { list: Arc::default(), members: BTreeMap::new(), next: 0 }
    }

    /// Adds a receiver. What waits there counts as coming now.
    pub fn add(&mut self, receiver: Receiver<T>) -> Key {
        let key = self.fresh_key();
        receiver.queue.hang(Bell { list: self.list.clone(), key });
        self.members.insert(key, Member::Receiver(receiver));
        key
    }

    /// Adds a select: what comes from its members comes from it.
    pub fn add_select(&mut self, select: Select<T>) -> Key {
        let key = self.fresh_key();
        let bell = Bell { list: self.list.clone(), key };
        {
            let mut rung = select.list.rung.lock();
            for _ in 0..rung.keys.len() {
                bell.ring();
            }
            rung.outer = Some(bell);
        }
        self.members.insert(key, Member::Select(select));
        key
    }

    /// Takes a receiver out again, with what waits there. A select that was added, or a member that has ended, gives nothing.
    pub fn remove(&mut self, key: Key) -> Option<Receiver<T>> {
        let member = self.members.remove(&key)?;
        match member {
            Member::Receiver(receiver) => {
                receiver.queue.unhang();
                self.list.rung.lock().keys.retain(|rung| *rung != key);
                Some(receiver)
            }
            select => {
                self.members.insert(key, select);
                None
            }
        }
    }

    fn fresh_key(&mut self) -> Key {
        self.next += 1;
        Key(self.next)
    }

    /// Waits for whatever comes next: a value, or the end of a member, which is one no more then. `None` when there are no members.
    pub async fn next(&mut self) -> Option<(Key, Result<T, ReceiveError>)> {
        loop {
            let list = self.list.clone();
            let mut came = std::pin::pin!(list.came.notified());
            came.as_mut().enable();
            if let Some(taken) = self.try_next() {
                return Some(taken);
            }
            if self.members.is_empty() {
                return None;
            }
            came.await;
        }
    }

    /// As [`Self::next`], and waits at most this long.
    ///
    /// # Errors
    /// [`ReceiveError::Timeout`].
    pub async fn next_within(
        &mut self,
        time: Duration,
    ) -> Result<Option<(Key, Result<T, ReceiveError>)>, ReceiveError> {
        tokio::time::timeout(time, self.next()).await.map_err(|_| ReceiveError::Timeout(time))
    }

    /// What has come already.
    pub fn try_next(&mut self) -> Option<(Key, Result<T, ReceiveError>)> {
        loop {
            let key = self.list.rung.lock().keys.pop_front()?;
            let taken = match self.members.get_mut(&key) {
                Some(Member::Receiver(receiver)) => receiver.try_recv(),
                // The end of a member in there is no end of the select.
                Some(Member::Select(select)) => match select.try_next() {
                    Some((_, Err(_))) if !select.is_empty() => None,
                    taken => taken.map(|(_, value)| value),
                },
                None => None,
            };
            if let Some(taken) = taken {
                if taken.is_err() {
                    self.members.remove(&key);
                }
                return Some((key, taken));
            }
        }
    }

    /// How many members it has.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl<T: Item> fmt::Debug for Select<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("members", &self.len())
            .field("waiting", &self.list.rung.lock().keys.len())
            .finish()
    }
}
