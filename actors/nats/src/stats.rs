//! What a bridge counts.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// What a bridge has carried, and what not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgeStats {
    /// Messages of the mesh that JetStream has acknowledged.
    pub sent: u64,
    /// Those of them that the stream had already.
    pub sent_duplicates: u64,
    /// Messages of the mesh that never go out: larger than the server takes, or of a publisher that is left out. They were rejected.
    pub send_refused: u64,
    /// Times that a message could not be stored, and all behind it were sent again.
    pub send_retries: u64,
    /// Messages of the mesh for which there was no room while they could not go out. Who requires the bridge sends them again; others are lost.
    pub send_dropped: u64,
    /// Messages of the mesh that wait, or whose acknowledgement by JetStream is awaited.
    pub send_pending: usize,
    /// Messages of the stream that the mesh has taken.
    pub taken: u64,
    /// Messages of the stream that came again, and were not published again.
    pub take_duplicates: u64,
    /// Messages of the stream that are none for the mesh, or that a required recipient has rejected. They do not come again.
    pub take_refused: u64,
    /// Times that a message of the stream could not be brought into the mesh, and was put off.
    pub take_retries: u64,
    /// Messages of the stream that are under way into the mesh.
    pub take_pending: usize,
    /// Messages that came back to where they are from, on either side, and went no further.
    pub looped: u64,
    /// Times that the server, the stream or its consumer could not be reached.
    pub outages: u64,
}

impl fmt::Display for BridgeStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sent={} sent_duplicates={} send_refused={} send_retries={} send_dropped={} send_pending={} taken={} take_duplicates={} take_refused={} take_retries={} take_pending={} looped={} outages={}",
            self.sent,
            self.sent_duplicates,
            self.send_refused,
            self.send_retries,
            self.send_dropped,
            self.send_pending,
            self.taken,
            self.take_duplicates,
            self.take_refused,
            self.take_retries,
            self.take_pending,
            self.looped,
            self.outages,
        )
    }
}

/// A number that several tasks count up.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, number: usize) {
        self.0.store(number as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) sent: Count,
    pub(crate) sent_duplicates: Count,
    pub(crate) send_refused: Count,
    pub(crate) send_retries: Count,
    pub(crate) taken: Count,
    pub(crate) take_duplicates: Count,
    pub(crate) take_refused: Count,
    pub(crate) take_retries: Count,
    pub(crate) take_pending: Count,
    pub(crate) looped: Count,
    pub(crate) outages: Count,
}

impl Counts {
    /// All but what the consumer in the mesh counts.
    pub(crate) fn read(&self) -> BridgeStats {
        BridgeStats {
            sent: self.sent.get(),
            sent_duplicates: self.sent_duplicates.get(),
            send_refused: self.send_refused.get(),
            send_retries: self.send_retries.get(),
            send_dropped: 0,
            send_pending: 0,
            taken: self.taken.get(),
            take_duplicates: self.take_duplicates.get(),
            take_refused: self.take_refused.get(),
            take_retries: self.take_retries.get(),
            take_pending: self.take_pending.get() as usize,
            looped: self.looped.get(),
            outages: self.outages.get(),
        }
    }
}
