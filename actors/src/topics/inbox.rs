//! What has come for a subscription and waits to be taken out, within a bound.

use std::{collections::VecDeque, sync::Arc};

use actogen_runtime::core::ContextId;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

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
    pub(crate) fn charge(&self) -> usize {
        let signed = self.signed.as_deref().map_or(0, Checked::charge);
        OVERHEAD + self.topic.len() + self.body.len() + signed
    }
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    came: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arrived>,
    bytes: usize,
    /// Dropped behind all that waits.
    dropped: u64,
}

impl Inbox {
    pub(super) fn push(&self, arrived: Arrived) {
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

    /// The next message, or how many were dropped in its place.
    pub(super) async fn next(&self) -> Result<Arrived, u64> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(arrived) = state.waiting.pop_front() {
                    state.bytes -= arrived.charge();
                    return Ok(arrived);
                }
                if state.dropped > 0 {
                    return Err(std::mem::take(&mut state.dropped));
                }
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
        let inbox = Inbox::default();
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
