//! Messages that were delivered as often as may be, and wait for somebody to look at them.

use std::collections::VecDeque;

use actogen_runtime::core::ContextId;
use bytes::Bytes;

use super::message::MessageId;
use crate::{message::Tag, topics::Arrived};

/// So many are kept, and so many bytes; the oldest are dropped, and counted.
const MOST: usize = 1000;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A message that was delivered as often as may be without success.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadDelivery {
    /// What it was published under.
    pub topic: String,
    /// Who published it.
    pub from: ContextId,
    /// Its id, if it was signed.
    pub id: Option<MessageId>,
    /// Which type of message it is.
    pub tag: Tag,
    /// How its body is encoded.
    pub codec: u8,
    /// Its body.
    pub body: Bytes,
    /// How often it was delivered.
    pub deliveries: u32,
}

impl DeadDelivery {
    pub(super) fn of(arrived: &Arrived, deliveries: u32) -> Self {
        Self {
            topic: arrived.topic.clone(),
            from: arrived.from,
            id: arrived.signed.as_ref().map(|signed| signed.id),
            tag: Tag::new(arrived.tag),
            codec: arrived.codec,
            body: arrived.body.clone(),
            deliveries,
        }
    }

    fn charge(&self) -> usize {
        self.topic.len() + self.body.len()
    }
}

#[derive(Debug, Default)]
pub(super) struct DeadDeliveries {
    kept: VecDeque<DeadDelivery>,
    bytes: usize,
    dropped: u64,
}

impl DeadDeliveries {
    pub(super) fn add(&mut self, dead: DeadDelivery) {
        tracing::warn!(topic = dead.topic, from = %dead.from, deliveries = dead.deliveries, "a message is given up");
        self.bytes += dead.charge();
        self.kept.push_back(dead);
        while self.kept.len() > 1 && (self.kept.len() > MOST || self.bytes > MOST_BYTES) {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.charge();
            self.dropped += 1;
        }
    }

    pub(super) fn take(&mut self) -> Vec<DeadDelivery> {
        self.bytes = 0;
        std::mem::take(&mut self.kept).into()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}
