//! Dead letters: what could not be delivered, counted by reason, sampled to the log, and observable.

use actogen_core::{Address, Dead, policy::Origin};
use tokio::sync::broadcast;

/// How many dead letters a subscriber may lag behind before the oldest are dropped for it (and it is told how many).
const BACKLOG: usize = 1024;

/// A message that could not be delivered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Where it was to go; its incarnation is the one that was meant, if the sender said one.
    pub to: Address,
    /// Who sent it.
    pub from: Origin,
    /// The type of message, as its tag; 0 when it was not read.
    pub tag: u64,
    /// Why it is dead, and who found out.
    pub dead: Dead,
}

/// The dead letters of one context, as they come.
#[derive(Debug)]
pub struct DeadLetters(broadcast::Receiver<DeadLetter>);

impl DeadLetters {
    /// The next dead letter; `Err` with a number when so many were dropped because nobody took them, `None` when the context has
    /// ended.
    pub async fn next(&mut self) -> Option<Result<DeadLetter, u64>> {
        match self.0.recv().await {
            Ok(letter) => Some(Ok(letter)),
            Err(broadcast::error::RecvError::Lagged(dropped)) => Some(Err(dropped)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Stream(broadcast::Sender<DeadLetter>);

impl Stream {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    pub(crate) fn subscribe(&self) -> DeadLetters {
        DeadLetters(self.0.subscribe())
    }

    /// Publishes and samples: the log gets the first of each power of two, so that a flood costs a few lines.
    pub(crate) fn publish(&self, letter: DeadLetter, count: u64) {
        if count.is_power_of_two() {
            let DeadLetter { to, from, tag, dead } = &letter;
            tracing::warn!(%to, from = %from.source, tag, reason = ?dead.reason, count, "dead letter: {}", dead.text);
        }
        // Without subscribers there is nobody to tell.
        let _ = self.0.send(letter);
    }

    pub(crate) fn has_subscribers(&self) -> bool {
        self.0.receiver_count() > 0
    }
}
