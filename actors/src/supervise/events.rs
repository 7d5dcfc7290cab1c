//! What a supervisor does and meets, as it happens.

use actogen_runtime::core::Address;
use tokio::sync::broadcast;

/// How many events a listener may be behind; it is told how many it has missed.
const BACKLOG: usize = 1024;

/// Something that happened to a child, or to its supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildEvent {
    /// A life has begun.
    Up {
        /// The child.
        child: String,
        /// Where it can be sent to: for a context, an address in it.
        address: Address,
    },
    /// A life is over.
    Ended {
        /// The child.
        child: String,
        /// Whether as actors end that have done their work, or were asked to.
        is_normal: bool,
        /// How, for people.
        why: String,
    },
    /// A life could not be begun; it is tried again, unless the supervisor gives up.
    NotStarted {
        /// The child.
        child: String,
        /// Why.
        why: String,
    },
    /// The supervisor ends, and all children have: too much has failed.
    GaveUp {
        /// What.
        why: String,
    },
}

/// Where events are told, until the supervisor has ended.
#[derive(Debug)]
pub(super) struct Teller(broadcast::Sender<ChildEvent>);

impl Default for Teller {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Teller {
    pub(super) fn tell(&self, event: ChildEvent) {
        // Nobody need listen.
        let _ = self.0.send(event);
    }

    pub(super) fn listeners(&self) -> Listeners {
        Listeners(self.0.downgrade())
    }
}

/// Where listeners come in; keeps nothing alive.
#[derive(Clone, Debug)]
pub(super) struct Listeners(broadcast::WeakSender<ChildEvent>);

impl Listeners {
    pub(super) fn listen(&self) -> ChildEvents {
        ChildEvents(self.0.upgrade().map(|sender| sender.subscribe()))
    }
}

/// The events of a supervisor from [`Supervised::events`](super::Supervised::events) on, in order.
#[derive(Debug)]
pub struct ChildEvents(Option<broadcast::Receiver<ChildEvent>>);

impl ChildEvents {
    /// The next one; `Err` with a number when so many were dropped because nobody took them, `None` when the supervisor has ended.
    pub async fn next(&mut self) -> Option<Result<ChildEvent, u64>> {
        match self.0.as_mut()?.recv().await {
            Ok(event) => Some(Ok(event)),
            Err(broadcast::error::RecvError::Lagged(dropped)) => Some(Err(dropped)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
