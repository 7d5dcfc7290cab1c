//! One shard as a member sees it: opens its journal when it is the member's, and closes it when it is not.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Duration,
};

use tokio::{
    sync::{broadcast::error::RecvError, watch},
    task::JoinHandle,
};

use super::Open;
use crate::{events::JournalEvent, id::NodeName, journal::Journal, store::StoreError};

/// How long until a journal is tried again that could not be opened, at first and at last.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The longest pause while another has it open.
const AGAIN_BEHIND: Duration = Duration::from_millis(500);

/// A shard, with the task that sees to its journal. That closes the journal when nobody is left who could wish for it.
pub(super) struct Shard {
    wish: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Shard {
    pub(super) fn begin(
        number: usize,
        node: NodeName,
        open: Rc<Open>,
        holds: watch::Sender<Vec<bool>>,
    ) -> Self {
        let (wish, wished) = watch::channel(false);
        let hold = move |held: bool| holds.send_modify(|all| all[number] = held);
        let task = tokio::task::spawn_local(see_to(node, open, wished, hold));
        Self { wish, task }
    }

    /// Says whether it is this member's.
    pub(super) fn want(&self, wanted: bool) {
        self.wish.send_replace(wanted);
    }

    pub(super) fn wish(&self) -> watch::Sender<bool> {
        self.wish.clone()
    }

    /// Waits until it is closed.
    pub(super) async fn end(self) {
        let Self { wish, task } = self;
        drop(wish);
        // Nobody aborts it.
        let _ = task.await;
    }
}

/// Ends once nobody can wish any more, and the journal is closed.
async fn see_to(
    node: NodeName,
    open: Rc<Open>,
    mut wished: watch::Receiver<bool>,
    hold: impl Fn(bool),
) {
    let mut pause = AGAIN.0;
    // The last wish may still be for it when there is nobody left to wish.
    while wished.wait_for(|wanted| *wanted).await.is_ok() && wished.has_changed().is_ok() {
        let opened = match catch_unwind(AssertUnwindSafe(|| open(&node))) {
            Ok(builder) => builder.node(node.as_str()).open().await,
            Err(_) => {
                tracing::error!(%node, "a shard is not opened: what says how has panicked");
                return;
            }
        };
        match opened {
            Ok(journal) => {
                hold(true);
                tokio::select! {
                    _ = wished.wait_for(|wanted| !wanted) => pause = AGAIN.0,
                    () = failed(&journal) => {}
                }
                hold(false);
                journal.close().await;
                if *wished.borrow() {
                    // A store that opens and fails is not opened all the time.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN.1);
                }
            }
            Err(error) => {
                tokio::select! {
                    _ = wished.wait_for(|wanted| !wanted) => {}
                    () = tokio::time::sleep(pause) => {}
                }
                pause = match is_others(&error) {
                    // Whoever had it has not closed it yet, and does so in a moment.
                    true => (pause * 2).min(AGAIN_BEHIND),
                    false => {
                        tracing::warn!(%node, "a shard cannot be opened: {error}");
                        (pause * 2).min(AGAIN.1)
                    }
                };
            }
        }
    }
}

/// Whether another has the store open.
fn is_others(error: &crate::OpenError) -> bool {
    matches!(error, crate::OpenError::Store(StoreError::InUse { .. }))
}

/// Waits until a journal's store has failed, or been taken over: it must be opened anew.
async fn failed(journal: &Journal) {
    let mut events = journal.events();
    while !journal.has_failed() {
        // One that is told late, because it has missed some, looks for itself.
        if matches!(events.recv().await, Ok(JournalEvent::Failed { .. }) | Err(RecvError::Closed)) {
            return;
        }
    }
}
