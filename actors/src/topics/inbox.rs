//! What has come for a subscription and waits to be taken out, within a bound.

use std::{collections::VecDeque, sync::Arc};

use actogen_runtime::core::ContextId;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::actor::Carried;
use crate::publish::Checked;

/// The most bytes that wait for one subscription; what comes above that is dropped and counted.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What a message counts beside its body.
const OVERHEAD: usize = 128;

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) topic: String,
    pub(crate) from: ContextId,
    pub(crate) tag: u64,
    pub(crate) codec: u8,
    pub(crate) body: Bytes,
    /// What holds of its signature, if it has one.
    pub(crate) signed: Option<Arc<Checked>>,
}

impl Arrived {
    pub(crate) fn of(carried: Carried, signed: Option<Arc<Checked>>) -> Self {
        let Carried { topic, from, tag, codec, body, signed: _ } = carried;
        Self { topic, from, tag, codec, body, signed }
    }

    pub(crate) fn charge(&self) -> usize {
        let signed = self.signed.as_deref().map_or(0, Checked::charge);
        OVERHEAD + self.topic.len() + self.body.len() + signed
    }
}

/// What takes so many bytes of an inbox.
pub(crate) trait Charged {
    fn charge(&self) -> usize;
}

impl Charged for Arrived {
    fn charge(&self) -> usize {
        Self::charge(self)
    }
}

#[derive(Debug)]
pub(crate) struct Inbox<T = Arrived> {
    state: Mutex<State<T>>,
    came: Notify,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        let state = State { waiting: VecDeque::new(), bytes: 0, dropped: 0 };
        Self { state: Mutex::new(state), came: Notify::new() }
    }
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    bytes: usize,
    /// Dropped behind all that waits.
    dropped: u64,
}

impl<T: Charged> Inbox<T> {
    pub(crate) fn push(&self, arrived: T) {
        let mut state = self.state.lock();
        // One that is larger than the bound fits into an empty inbox.
        if state.dropped > 0 || (state.bytes > 0 && state.bytes + arrived.charge() > MOST_BYTES) {
            state.dropped += 1;
        } else {
            state.bytes += arrived.charge();
            state.waiting.push_back(arrived);
        }
        self.came.notify_one();
    }

    /// The next message that has come already, or how many were dropped in its place.
    pub(crate) fn try_next(&self) -> Option<Result<T, u64>> {
        let mut state = self.state.lock();
        if let Some(arrived) = state.waiting.pop_front() {
            state.bytes -= arrived.charge();
            return Some(Ok(arrived));
        }
        (state.dropped > 0).then(|| Err(std::mem::take(&mut state.dropped)))
    }

    /// The next message, or how many were dropped in its place.
    pub(crate) async fn next(&self) -> Result<T, u64> {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            self.came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(bytes: usize) -> Arrived {
        let body = Bytes::from(vec![0; bytes]);
        Arrived { topic: "a".into(), from: ContextId(1), tag: 1, codec: 0, body, signed: None }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_counted_in_its_place() {
        let inbox = Inbox::<Arrived>::default();
        for _ in 0..3 {
            inbox.push(arrived(MOST_BYTES / 2));
        }
        assert!(inbox.next().await.is_ok());
        // It comes behind those that were dropped, and would hide them.
        inbox.push(arrived(0));
        assert_eq!(inbox.next().await.unwrap_err(), 3);
        inbox.push(arrived(2 * MOST_BYTES));
        assert!(inbox.next().await.is_ok());
        assert_eq!(inbox.state.lock().bytes, 0);
    }
}
