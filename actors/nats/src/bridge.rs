//! A bridge that runs.

use std::{sync::Arc, time::Duration};

use actogen::{Consumption, Context, MessageId, Phase};
use async_nats::ConnectOptions;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    brought::Brought,
    builder::BridgeBuilder,
    error::BridgeError,
    headers::Origin,
    inward::Inward,
    mapping::Mapping,
    outward::Outward,
    server::Server,
    settings::Settings,
    stats::{BridgeStats, Counts},
};

/// How long word of who wants what may take before the bridge stands.
const ENTRY: Duration = Duration::from_secs(10);

/// What both directions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) context: Context,
    pub(crate) settings: Settings,
    pub(crate) server: Server,
    pub(crate) counts: Counts,
    pub(crate) brought: Mutex<Brought>,
}

/// A bridge between a mesh and a stream of JetStream. It ends with its context. Dropping it ends it at once: what is under way is acknowledged on neither side, and so
/// comes again. [`Self::stop`] ends it in good order.
#[derive(Debug)]
pub struct Bridge {
    shared: Arc<Shared>,
    consumption: Option<Consumption>,
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<()>>,
    /// Ends the bridge with its context.
    follows: JoinHandle<()>,
}

impl Bridge {
    /// A bridge between a context and the NATS server at an address such as `nats://bus.example:4222` or `tls://bus.example`.
    ///
    /// `mesh` is what this mesh is called in the stream: another mesh on the same stream must be called otherwise.
    pub fn builder(
        url: impl Into<String>,
        mesh: impl Into<String>,
        mapping: Mapping,
    ) -> BridgeBuilder {
        BridgeBuilder::new(url.into(), mesh.into(), mapping)
    }

    pub(crate) async fn open(
        context: &Context,
        url: &str,
        options: ConnectOptions,
        settings: Settings,
    ) -> Result<Self, BridgeError> {
        let server = Server::connect(url, options).await?;
        server.ensure_stream(&settings).await?;
        if settings.inward {
            server.consumer(&settings).await?;
        }
        let shared = Arc::new(Shared {
            context: context.clone(),
            settings,
            server,
            counts: Counts::default(),
            brought: Mutex::default(),
        });
        let (stop, stopping) = watch::channel(false);
        let (mut running, mut consumption) = (Vec::new(), None);
        if shared.settings.outward {
            let outward = Outward::new(shared.clone())?;
            consumption = Some(outward.consumption());
            running.push(tokio::spawn(outward.run(stopping.clone())));
        }
        // What comes in finds those who want it, and what is published from now on the bridge.
        match tokio::time::timeout(ENTRY, context.know_subscriptions()).await {
            Ok(known) => known?,
            Err(_) => tracing::warn!("it is not known yet who wants what in the mesh"),
        }
        if shared.settings.inward {
            running.push(tokio::spawn(Inward::new(shared.clone(), stopping).run()));
        }
        let (mut phase, ends) = (context.phase(), stop.clone());
        let follows = tokio::spawn(async move {
            let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
            ends.send_replace(true);
        });
        Ok(Self { shared, consumption, stop, running, follows })
    }

    /// What it has carried so far.
    pub fn stats(&self) -> BridgeStats {
        let stats = self.shared.counts.read();
        let Some(consumption) = &self.consumption else { return stats };
        let held = consumption.stats();
        BridgeStats { send_dropped: held.overflowed, send_pending: held.held, ..stats }
    }

    /// Where a message of the mesh comes from that this bridge has brought in, by its id in the mesh: of the last 1,024, or 4 MiB.
    pub fn origin(&self, id: MessageId) -> Option<Origin> {
        self.shared.brought.lock().origin(id).cloned()
    }

    /// Whether the server is there.
    pub fn is_connected(&self) -> bool {
        self.shared.server.is_connected()
    }

    /// Takes nothing more, waits until what is under way is acknowledged, or 5 s, and ends.
    pub async fn stop(mut self) -> BridgeStats {
        self.stop.send_replace(true);
        for running in &mut self.running {
            // A part that has panicked has ended.
            let _ = running.await;
        }
        self.stats()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for running in self.running.iter().chain([&self.follows]) {
            running.abort();
        }
    }
}
