//! Bounds and choices of a journal.

use std::time::Duration;

/// What is done with a message that has failed as often as it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Poison {
    /// It, and all behind it from the same sender, wait until [`Journal::resume`](crate::Journal::resume), or until the journal is opened again. Keeps the
    /// order.
    #[default]
    Pause,
    /// It becomes a dead letter, and the next one has its turn.
    Park,
    /// The actor takes no more messages until the journal is opened again.
    Stop,
}

/// Bounds and choices of a journal; see the methods of [`JournalBuilder`](crate::JournalBuilder).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Messages that wait for one actor, and their bytes.
    pub(crate) inbox: (usize, usize),
    /// Actors that are in memory before those from outside that would wake another are refused.
    pub(crate) awake: usize,
    /// Messages that one actor has on their way, and their bytes.
    pub(crate) outbox: (usize, usize),
    /// Bytes of all messages on their way.
    pub(crate) all_outbox_bytes: usize,
    /// Bytes of turns that are not durable yet, and of answers that wait for them.
    pub(crate) uncommitted_bytes: usize,
    pub(crate) attempts: u32,
    pub(crate) poison: Poison,
    pub(crate) retry: Duration,
    pub(crate) idle: Duration,
    pub(crate) history: u64,
    pub(crate) twice: bool,
    /// Answers that are kept for one asker at one actor.
    pub(crate) answers: usize,
    /// How long the answers of an asker that has gone are kept.
    pub(crate) memory: Duration,
    /// Published messages that one actor is known to have handled.
    pub(crate) window: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            inbox: (4096, 8 << 20),
            awake: 100_000,
            outbox: (10_000, 16 << 20),
            all_outbox_bytes: 64 << 20,
            uncommitted_bytes: 16 << 20,
            attempts: 5,
            poison: Poison::default(),
            retry: Duration::from_millis(50),
            idle: Duration::from_secs(60),
            history: 0,
            twice: false,
            answers: 1024,
            memory: Duration::from_secs(24 * 3600),
            window: 65_536,
        }
    }
}
