//! Links within the process.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actogen::{
    ContextId, Limits, Placement,
    memory::MemoryNetwork,
    transport::{Authority, BoxFuture, Transport},
};

use super::Fabric;

/// Links within the process, everything on one thread.
#[derive(Debug)]
pub struct Memory {
    network: MemoryNetwork,
    opened: AtomicU64,
}

impl Fabric for Memory {
    const PLACEMENT: Placement = Placement::Inline;
    const LONG_BODIES: &'static [usize] = &[32 << 20, 320 << 20];
    // A task that actors run in has its turn behind 61 others, and each time the stream of the body may pass on four pieces.
    const FRAGMENTS_PASS: usize = 61 * 4;
    const CHURN: usize = 1_000;

    fn fresh() -> Self {
        Self { network: MemoryNetwork::new("conformance.test", [7; 32]), opened: AtomicU64::new(0) }
    }

    fn authority(&self) -> Arc<dyn Authority> {
        self.network.authority()
    }

    fn open(
        &self,
        context: ContextId,
        limits: &Limits,
        _: bool,
    ) -> BoxFuture<'static, Result<Arc<dyn Transport>, String>> {
        // Each life of a context has a door of its own.
        let endpoint = format!("{}/{}", context.0, self.opened.fetch_add(1, Ordering::Relaxed));
        let (network, detection) = (self.network.clone(), limits.detection_time);
        Box::pin(async move {
            Ok(Arc::new(network.transport(context, endpoint, detection)) as Arc<dyn Transport>)
        })
    }

    fn silence(&self, context: ContextId, silent: bool) {
        self.network.set_silent(context, silent);
    }
}
