//! How a consumer takes messages, and which.

use std::time::Duration;

use actogen_runtime::core::ContextId;

use super::window::{MemoryWindow, Window};
use crate::topics::Arrived;

/// From whom messages are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Name(String),
    Context(ContextId),
}

/// How a consumer takes messages.
pub(super) struct Options {
    /// Of which type messages are taken; of any when it is `None`.
    pub(super) tag: Option<u64>,
    /// So many messages may be held that are not done with, and so many bytes.
    pub(super) most: usize,
    pub(super) most_bytes: usize,
    /// A delivery that has no verdict after this time is lost.
    pub(super) time: Duration,
    /// How long after a loss a message is delivered again.
    pub(super) again: Duration,
    /// So often a message is delivered.
    pub(super) deliveries: u32,
    /// Those from whom it takes messages; all when there are none.
    pub(super) senders: Vec<Sender>,
    pub(super) signed_only: bool,
    pub(super) window: Box<dyn Window>,
    /// What is missing is to be had elsewhere, and what is live waits for it.
    pub(super) catches_up: bool,
}

impl Options {
    pub(super) fn new(tag: Option<u64>) -> Self {
        Self {
            tag,
            most: 256,
            most_bytes: 4 * 1024 * 1024,
            time: Duration::from_secs(30),
            again: Duration::from_secs(1),
            deliveries: 5,
            senders: Vec::new(),
            signed_only: false,
            window: Box::new(MemoryWindow::default()),
            catches_up: false,
        }
    }

    /// Whether a message is of the type, and from a sender, that is asked for.
    pub(super) fn takes(&self, arrived: &Arrived) -> bool {
        let signed = arrived.signed.as_deref();
        if self.tag.is_some_and(|tag| arrived.tag != tag) || (self.signed_only && signed.is_none())
        {
            return false;
        }
        let senders = &self.senders;
        let names = signed.map_or(&[][..], |signed| &signed.publisher_names);
        senders.is_empty()
            || senders.iter().any(|sender| match sender {
                Sender::Name(name) => names.contains(name),
                Sender::Context(context) => *context == arrived.from,
            })
    }
}
