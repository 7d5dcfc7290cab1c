//! A node in a process of its own, which ends itself at an instant that it is told.

use std::{
    cell::RefCell,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use actogen::prelude::*;
use actogen_journal::{FailPoints, Journal};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::counter::Counter;

/// What a process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) file: PathBuf,
    pub(super) node: String,
    /// Where it is to end, and the how-manieth time that it comes by there.
    pub(super) dies_at: Option<(String, u32)>,
}

thread_local! {
    /// What this process has open: it ends with it.
    static OPEN: RefCell<Vec<Journal>> = const { RefCell::new(Vec::new()) };
}

/// Opens a node's journal in this process.
#[actogen::function(name = "crashes.open")]
pub(super) async fn open_node(cx: Context, order: Order) -> actogen::Result<()> {
    let points = match order.dies_at {
        None => FailPoints::default(),
        Some((point, pass)) => {
            let left = AtomicU32::new(pass);
            FailPoints::new(move |name| {
                if name == point && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    die(getpid());
                }
            })
        }
    };
    let journal = Journal::builder(&cx, order.file)
        .node(&order.node)
        .kind::<Counter>()
        // A message that is under way whenever its process is killed is not to blame.
        .attempts(u32::MAX)
        .fail_points(points)
        .open()
        .await?;
    OPEN.with_borrow_mut(|open| open.push(journal));
    Ok(())
}

/// Ends a process at once, this one too.
pub(super) fn die(process: Pid) {
    // It may have ended itself.
    let _ = kill_process(process, Signal::KILL);
}
