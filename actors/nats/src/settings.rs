//! How a bridge is set up, as its parts see it.

use std::{collections::BTreeSet, time::Duration};

use actogen::{AckLevel, ContextId};

use crate::mapping::Mapping;

/// The bounds of a stream that the bridge makes. One that is there keeps its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamLimits {
    /// How long messages stay; 7 days unless it is said.
    pub max_age: Duration,
    /// How many bytes of messages there may be; 1 GiB unless it is said. Above that the oldest go.
    pub max_bytes: u64,
    /// How long the stream knows a message's id again; 2 minutes, as NATS has it, unless it is said.
    pub duplicate_window: Duration,
    /// On how many servers of a cluster each message is stored; 1 unless it is said.
    pub replicas: usize,
    /// Whether a full stream refuses what is new in place of dropping what is oldest. The bridge then tries again until there is room.
    pub refuse_when_full: bool,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 1 << 30,
            duplicate_window: Duration::from_secs(120),
            replicas: 1,
            refuse_when_full: false,
        }
    }
}

/// What becomes of messages in the stream that no bridge has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// Those that are UTF-8 are published as [`actogen::Text`], others are refused.
    #[default]
    Text,
    /// All are refused: acknowledged, counted, and not published.
    Refuse,
}

/// Who must have acknowledged a message of the stream before JetStream hears that it is taken.
#[derive(Clone, Debug)]
pub(crate) struct Required {
    pub(crate) names: Vec<String>,
    pub(crate) level: AckLevel,
    pub(crate) within: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) mesh: String,
    pub(crate) mapping: Mapping,
    pub(crate) stream: String,
    pub(crate) consumer: String,
    pub(crate) limits: StreamLimits,
    pub(crate) creates: bool,
    pub(crate) outward: bool,
    pub(crate) inward: bool,
    /// What waits in the mesh's side, while it cannot go out.
    pub(crate) queue: (usize, usize),
    /// What may be under way on NATS's side, each way: messages, and bytes inward.
    pub(crate) in_flight: (usize, usize),
    pub(crate) foreign: Foreign,
    pub(crate) required: Option<Required>,
    pub(crate) left_out: BTreeSet<ContextId>,
    pub(crate) from_now: bool,
    /// How long JetStream waits for an acknowledgement, beside what recipients may take.
    pub(crate) ack_wait: Duration,
}

/// The first wait after a failure, and the longest.
pub(crate) const BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(5));

/// How long JetStream may take to acknowledge a message.
pub(crate) const ACK_TIME: Duration = Duration::from_secs(5);
