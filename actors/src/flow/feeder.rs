//! The actor at a stream's producing end: takes in the credit that the receiver gives.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix::{Actor, Context as ActixContext, Handler};
use actogen_runtime::core::ContextId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::{Inbound, RemoteActor, RemoteMessage};

/// The number below which items may be sent.
#[derive(Debug, Default)]
pub(super) struct Credit {
    limit: AtomicU64,
    raised: Notify,
}

impl Credit {
    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Acquire)
    }

    pub(super) fn raise(&self, limit: u64) {
        self.limit.fetch_max(limit, Ordering::AcqRel);
        self.raised.notify_one();
    }

    /// Waits until it is above this.
    pub(super) async fn above(&self, sent: u64) {
        while self.limit() <= sent {
            self.raised.notified().await;
        }
    }
}

/// The receiver gives credit: items below this number may be sent.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Grant", crate = crate)]
pub(super) struct Grant(pub(super) u64);

/// The actor at a producer's end: takes credit in.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen.feeder", inbound(Grant), crate = crate)]
pub(super) struct Feeder {
    pub(super) credit: Arc<Credit>,
    pub(super) receiver: ContextId,
}

impl Actor for Feeder {
    type Context = ActixContext<Self>;
}

impl Handler<Inbound<Grant>> for Feeder {
    type Result = ();

    fn handle(&mut self, grant: Inbound<Grant>, _: &mut Self::Context) {
        // Nobody else may have it overrun its receiver, who would break off.
        if grant.origin.source == self.receiver {
            self.credit.raise(grant.message.0);
        }
    }
}
