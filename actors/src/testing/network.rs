//! What carries the links of a test mesh: memory, or UDP through relays.

use std::{sync::Arc, time::Duration};

use actogen_runtime::{
    core::{ContextId, Limits},
    memory::MemoryNetwork,
    transport::Authority,
};

#[cfg(feature = "quic")]
use super::udp::Udp;
use super::{Conditions, RelayStats};
use crate::ContextBuilder;

/// What carries the links of a test mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// Memory, on a clock that stands still while anybody works: a test takes no time, and repeats exactly.
    #[default]
    Memory,
    /// QUIC over real UDP, on the loopback interface, through a `Relay` before each context; time is the machine's.
    #[cfg(feature = "quic")]
    Udp,
}

/// A network that is there.
#[derive(Debug)]
pub(super) enum Wires {
    Memory(MemoryNetwork),
    #[cfg(feature = "quic")]
    Udp(Udp),
}

impl Wires {
    pub(super) fn new(network: Network, seed: u64) -> Self {
        match network {
            Network::Memory => {
                let secret = *blake3::hash(&seed.to_le_bytes()).as_bytes();
                Self::Memory(MemoryNetwork::new("mesh.test", secret))
            }
            #[cfg(feature = "quic")]
            Network::Udp => Self::Udp(Udp::new(seed)),
        }
    }

    pub(super) fn authority(&self) -> Arc<dyn Authority> {
        match self {
            Self::Memory(memory) => memory.authority(),
            #[cfg(feature = "quic")]
            Self::Udp(udp) => udp.authority(),
        }
    }

    /// Gives a context its transport, for one life, which has a door of its own.
    pub(super) fn carry(
        &self,
        builder: ContextBuilder,
        context: ContextId,
        life: u64,
        limits: &Limits,
    ) -> ContextBuilder {
        match self {
            Self::Memory(memory) => {
                let (memory, detection) = (memory.clone(), limits.detection_time);
                builder.transport(move |_| {
                    let endpoint = door(context, life);
                    Box::pin(async move { Ok(memory.transport(context, endpoint, detection)) })
                })
            }
            #[cfg(feature = "quic")]
            Self::Udp(udp) => {
                let udp = udp.clone();
                builder.transport(move |limits| {
                    Box::pin(async move { udp.open(context, life, &limits) })
                })
            }
        }
    }

    pub(super) fn set_cut(&self, from: ContextId, to: ContextId, cut: bool) {
        match self {
            Self::Memory(memory) => memory.set_cut_one_way(from, to, cut),
            #[cfg(feature = "quic")]
            Self::Udp(udp) => udp.set_cut(from, to, cut),
        }
    }

    pub(super) fn heal(&self) {
        match self {
            Self::Memory(memory) => memory.heal(),
            #[cfg(feature = "quic")]
            Self::Udp(udp) => udp.heal(),
        }
    }

    pub(super) fn set(&self, a: ContextId, b: ContextId, conditions: Conditions) {
        match self {
            Self::Memory(memory) => {
                // What jitter, losses and reordering are to a lossless link.
                let worst = conditions.delay + conditions.jitter;
                memory.set_delay(a, b, if is_lossy(conditions) { worst * 2 } else { worst });
            }
            #[cfg(feature = "quic")]
            Self::Udp(udp) => udp.set(a, b, conditions),
        }
    }

    pub(super) async fn crash(&self, context: ContextId, life: u64) {
        match self {
            Self::Memory(memory) => memory.crash(&door(context, life)),
            #[cfg(feature = "quic")]
            Self::Udp(udp) => udp.crash(context).await,
        }
    }

    pub(super) fn stats(&self) -> RelayStats {
        match self {
            Self::Memory(_) => RelayStats::default(),
            #[cfg(feature = "quic")]
            Self::Udp(udp) => udp.stats(),
        }
    }
}

fn is_lossy(conditions: Conditions) -> bool {
    conditions.loss > 0.0 || conditions.reorder > 0.0
}

fn door(context: ContextId, life: u64) -> String {
    format!("{}/{life}", context.0)
}

/// When a silent peer is lost on this network, unless a test says otherwise.
pub(super) fn detection_time(network: Network) -> Duration {
    match network {
        Network::Memory => Limits::default().detection_time,
        // It is really waited for; a busy machine may keep a context from speaking for a second.
        #[cfg(feature = "quic")]
        Network::Udp => Duration::from_secs(2),
    }
}
