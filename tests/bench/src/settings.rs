//! What a run is made with, the same for us and for the reference.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The largest datagram of Ethernet, which is the library's own default.
pub(crate) const DEFAULT_MTU: u16 = 1452;
/// What the QUIC transport takes (see its `Mtu`).
pub(crate) const MTU_RANGE: std::ops::RangeInclusive<i64> = 1200..=6550;

/// On which threads the I/O runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Placement {
    /// Beside the actors, on one thread; the reference on a current-thread runtime.
    Inline,
    /// On the broker's own thread; the reference on a runtime of two threads.
    Threads,
}

impl Placement {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Threads => "threads",
        }
    }
}

/// Stands in every line of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) placement: Placement,
    /// The largest datagram that QUIC may try, in bytes.
    pub(crate) mtu: u16,
    /// Both processes have one and the same processor, so that no figure has a wake-up of another one in it.
    pub(crate) pinned: bool,
}

impl Settings {
    pub(crate) fn new(placement: Placement, mtu: u16) -> Self {
        // Children inherit the affinity, which is in this number.
        let pinned = std::thread::available_parallelism().is_ok_and(|threads| threads.get() == 1);
        Self { placement, mtu, pinned }
    }
}
