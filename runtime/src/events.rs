//! What a context notices of the tree: contexts that come and go.

use actogen_core::{ContextId, Incarnation, wire::control::Loss};
use tokio::sync::broadcast;

/// How many events a subscriber may lag behind before the oldest are dropped for it (and it is told how many).
const BACKLOG: usize = 4096;

/// A context came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextEvent {
    /// It can be reached.
    Up {
        /// The context.
        context: ContextId,
        /// Its life.
        incarnation: Incarnation,
    },
    /// It can no longer be reached.
    Down {
        /// The context.
        context: ContextId,
        /// Why.
        loss: Loss,
    },
    /// A direct link to it stands, beside the tree.
    Linked {
        /// The context.
        context: ContextId,
    },
    /// A direct link to it is no more; it is reached by the tree, if that leads to it, or by a newer link.
    Unlinked {
        /// The context.
        context: ContextId,
        /// Why.
        loss: Loss,
    },
    /// This context itself stands below others than before, or below nobody.
    Moved {
        /// This context.
        context: ContextId,
        /// Those above it now, nearest first.
        ancestors: Vec<ContextId>,
    },
}

impl ContextEvent {
    /// The context that came, went, or moved.
    pub fn context(&self) -> ContextId {
        match self {
            Self::Up { context, .. }
            | Self::Down { context, .. }
            | Self::Linked { context }
            | Self::Unlinked { context, .. }
            | Self::Moved { context, .. } => *context,
        }
    }
}

/// The events of one context from the moment of subscribing on, in order.
#[derive(Debug)]
pub struct ContextEvents(broadcast::Receiver<ContextEvent>);

impl ContextEvents {
    /// The next event; `Err` with a number when so many were dropped because nobody took them, `None` when the context has ended.
    pub async fn next(&mut self) -> Option<Result<ContextEvent, u64>> {
        match self.0.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(dropped)) => Some(Err(dropped)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl ContextEvents {
    /// The next event if there is one already, as [`Self::next`].
    pub fn try_next(&mut self) -> Option<Result<ContextEvent, u64>> {
        match self.0.try_recv() {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::TryRecvError::Lagged(dropped)) => Some(Err(dropped)),
            Err(_) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Stream(broadcast::Sender<ContextEvent>);

impl Stream {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    pub(crate) fn subscribe(&self) -> ContextEvents {
        ContextEvents(self.0.subscribe())
    }

    pub(crate) fn publish(&self, event: ContextEvent) {
        let _ = self.0.send(event);
    }
}
