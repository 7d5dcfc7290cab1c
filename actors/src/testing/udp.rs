//! Test meshes over QUIC: each context stands behind a relay of its own, which tells senders apart by their sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use actogen_runtime::{
    core::{ContextId, Limits},
    transport::{Authority, Transport},
};
use actogen_transport_quic::{JoinKey, MeshAuthority, NodeIdentity, QuicOptions, QuicTransport};
use parking_lot::Mutex;

use super::{
    conditions::{Conditions, RelayStats},
    line::Way,
    relay::Relay,
};

/// What carries links over real UDP.
#[derive(Clone, Debug)]
pub(super) struct Udp {
    authority: Arc<MeshAuthority>,
    seed: u64,
    lines: Arc<Mutex<Lines>>,
}

/// Who stands behind which relay, and how the lines between them are.
#[derive(Debug, Default)]
struct Lines {
    behind: BTreeMap<ContextId, Behind>,
    conditions: BTreeMap<[ContextId; 2], Conditions>,
    /// Who is not heard by whom.
    cut: BTreeSet<[ContextId; 2]>,
    /// Of relays that are gone.
    before: RelayStats,
}

#[derive(Debug)]
struct Behind {
    relay: Relay,
    /// What the context itself sends from, to others' relays.
    address: SocketAddr,
    transport: Arc<QuicTransport>,
}

impl Udp {
    pub(super) fn new(seed: u64) -> Self {
        let authority = MeshAuthority::generate("mesh.test").expect("that is a mesh's name");
        Self { authority: Arc::new(authority), seed, lines: Arc::default() }
    }

    pub(super) fn authority(&self) -> Arc<dyn Authority> {
        self.authority.clone()
    }

    fn identity(&self, context: ContextId) -> Result<NodeIdentity, String> {
        if context.is_root() {
            return Ok(self.authority.root_identity());
        }
        let key = JoinKey::generate();
        let certificate = self.authority.issue(context, &key.request()).map_err(|e| e.0)?;
        NodeIdentity::from_enrolment(key, &certificate, &self.authority.roots()).map_err(|e| e.0)
    }

    /// Opens a transport for a context, on the runtime that is to drive it.
    pub(super) fn open(
        &self,
        context: ContextId,
        life: u64,
        limits: &Limits,
    ) -> Result<Arc<QuicTransport>, String> {
        let relay = Relay::new(self.seed ^ life).map_err(|error| error.to_string())?;
        let mut options = QuicOptions::listen("127.0.0.1:0").with_limits(limits);
        options.advertise = Some(relay.endpoint());
        let identity = Arc::new(self.identity(context)?);
        let transport = QuicTransport::bind(identity, options).map_err(|e| e.to_string())?;
        let transport = Arc::new(transport);
        let address = transport.invitation().and_then(|here| here.endpoint.parse().ok());
        let address = address.ok_or("a transport that listens has an address")?;
        relay.set_target(address);
        let behind = Behind { relay, address, transport: transport.clone() };
        let mut lines = self.lines.lock();
        let earlier = lines.behind.insert(context, behind);
        lines.retire(earlier);
        lines.apply();
        Ok(transport)
    }

    pub(super) fn set_cut(&self, from: ContextId, to: ContextId, cut: bool) {
        let mut lines = self.lines.lock();
        if cut {
            lines.cut.insert([from, to])
        } else {
            lines.cut.remove(&[from, to])
        };
        lines.apply();
    }

    pub(super) fn heal(&self) {
        let mut lines = self.lines.lock();
        lines.cut.clear();
        lines.apply();
    }

    pub(super) fn set(&self, a: ContextId, b: ContextId, conditions: Conditions) {
        let mut lines = self.lines.lock();
        lines.conditions.insert([a.min(b), a.max(b)], conditions);
        lines.apply();
    }

    /// Closes the links of a context; nobody answers any more where it was dialled.
    pub(super) async fn crash(&self, context: ContextId) {
        let gone = self.lines.lock().behind.remove(&context);
        if let Some(behind) = &gone {
            // In the background the endpoint waits for its peers to be told.
            let _ = tokio::time::timeout(Duration::from_secs(2), behind.transport.close()).await;
        }
        self.lines.lock().retire(gone);
    }

    pub(super) fn stats(&self) -> RelayStats {
        let lines = self.lines.lock();
        lines.behind.values().fold(lines.before, |sum, behind| sum + behind.relay.stats())
    }
}

impl Lines {
    fn retire(&mut self, gone: Option<Behind>) {
        if let Some(gone) = gone {
            self.before = self.before + gone.relay.stats();
        }
    }

    /// Tells each relay how each of the others is to be treated there.
    fn apply(&self) {
        for (&there, Behind { relay, .. }) in &self.behind {
            for (&here, Behind { address, .. }) in &self.behind {
                let pair = [here.min(there), here.max(there)];
                let conditions = self.conditions.get(&pair).copied().unwrap_or_default();
                let mut cut = [false; 2];
                cut[Way::ToTarget as usize] = self.cut.contains(&[here, there]);
                cut[Way::FromTarget as usize] = self.cut.contains(&[there, here]);
                relay.set_for(*address, conditions, cut);
            }
        }
    }
}
