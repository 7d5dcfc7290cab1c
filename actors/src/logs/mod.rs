//! Logs: what processes put out and what programs trace comes to the root, under FORWARD_LOG, and is shown there.
//!
//! | room | concept |
//! |---|---|
//! | here | the way from a context to the root |
//! | `keeper` | the actor that takes records in, at the root |
//! | `layer` | a child's tracing events become records |
//! | `show` | records become events of the root's own subscriber |

mod keeper;
#[cfg(feature = "quic")]
mod layer;
mod show;

use std::{sync::Arc, time::Duration};

use actogen_runtime::{
    Phase, Place,
    core::{ContextId, Handle, Incarnation},
    logs::{LogRecord, Logs},
};

pub(crate) use keeper::{Records, door};
#[cfg(feature = "quic")]
pub(crate) use layer::{log_here, log_to};

use crate::{address::Remote, context::Context};
use keeper::{Keeper, Said};

/// Bytes of records that travel together, unless one alone is longer.
const TOGETHER: usize = 64 * 1024;

/// How long a context that ends waits for its last records to be taken.
const LAST_RECORDS: Duration = Duration::from_millis(500);

/// Takes what comes to the root in, and sends or shows what this context has to say, until it ends.
pub(crate) fn serve(context: &Context, records: Records) {
    let logs = context.outgoing_logs().clone();
    if context.id().is_root() {
        keeper::serve(context, records);
        let context = context.clone();
        tokio::task::spawn_local(async move {
            let mut ends = std::pin::pin!(down(&context));
            loop {
                let (own, dropped) = tokio::select! {
                    taken = logs.take(TOGETHER) => taken,
                    () = &mut ends => break,
                };
                show::show(&context, ContextId::ROOT, own, dropped);
            }
            while let Some((own, dropped)) = logs.try_take(TOGETHER) {
                show::show(&context, ContextId::ROOT, own, dropped);
            }
        });
    } else {
        let context = context.clone();
        tokio::task::spawn_local(async move { forward(&context, &logs).await });
    }
}

async fn down(context: &Context) {
    let mut phase = context.phase();
    // The sender lives as long as the context.
    let _ = phase.wait_for(|phase| *phase == Phase::Down).await;
}

/// Sends records to the root, behind each other; what cannot go there any more goes to standard error.
async fn forward(context: &Context, logs: &Logs) {
    let root = Place { context: ContextId::ROOT, incarnation: Incarnation::ANY };
    let keeper: Remote<Keeper> = context.remote(root.address(Handle::FORWARD_LOG));
    let mut ends = std::pin::pin!(down(context));
    loop {
        let (records, dropped) = tokio::select! {
            taken = logs.take(TOGETHER) => taken,
            () = &mut ends => break,
        };
        let sending = keeper.tell(Said { records, dropped });
        let sent = tokio::select! {
            sent = sending => sent,
            () = &mut ends => break,
        };
        if let Err(error) = sent
            && let Some(Said { records, .. }) = error.into_message()
        {
            put_out(&records);
        }
    }
    while let Some((records, _)) = logs.try_take(TOGETHER) {
        put_out(&records);
    }
}

/// Waits, for a while, until what a context has to say has been sent: before it takes its leave.
#[cfg(feature = "quic")]
pub(crate) async fn flush(context: &Context) {
    let root = Place { context: ContextId::ROOT, incarnation: Incarnation::ANY };
    let keeper: Remote<Keeper> = context.remote(root.address(Handle::FORWARD_LOG));
    let last = async {
        while let Some((records, dropped)) = context.outgoing_logs().try_take(TOGETHER) {
            if keeper.tell(Said { records, dropped }).await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LAST_RECORDS, last).await;
}

/// Where there is no root to show them.
pub(crate) fn put_out(records: &[LogRecord]) {
    use std::io::Write;
    let mut errors = std::io::stderr().lock();
    for record in records {
        // Where standard error is closed, nobody wants it.
        let _ = writeln!(errors, "{record}");
    }
}

/// Puts out what waits, for a program that will have no context.
#[cfg(feature = "quic")]
pub(crate) fn put_out_all(logs: &Arc<Logs>) {
    while let Some((records, _)) = logs.try_take(usize::MAX) {
        put_out(&records);
    }
}
