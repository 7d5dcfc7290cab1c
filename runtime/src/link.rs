//! A link as the rest of the runtime sees it: who is at the other end, five lanes to write to, and how it ends.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use actogen_core::{
    ContextId, Incarnation, Limits, LinkId, StreamId,
    policy::{Neighbour, Side},
    wire::control::{Goodbye, LinkMessage, Loss, LossKind},
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{hold::Hold, lane::Lane, transport::Connection};

/// An authenticated link whose openings have been exchanged.
pub(crate) struct LinkState {
    pub(crate) id: LinkId,
    pub(crate) peer: ContextId,
    /// The life of the peer.
    pub(crate) incarnation: Incarnation,
    pub(crate) side: Side,
    pub(crate) remote: String,
    lanes: [Lane; StreamId::COUNT],
    /// What others' frames wait beside the lanes, and what the peer has asked to pause.
    pub(crate) hold: Hold,
    connection: Arc<dyn Connection>,
    loss: Mutex<Option<Loss>>,
    closing: AtomicBool,
    /// This side gives a direct link up, and sends nothing new by it.
    pub(crate) leaves: AtomicBool,
    /// Streams, of either direction, that have not come to their end.
    streams: watch::Sender<usize>,
    /// Envelopes taken over from each of the peer's lanes.
    taken: [AtomicU64; StreamId::LANES],
    /// What the peer has reported as taken over from each of ours.
    reported: [AtomicU64; StreamId::LANES],
}

impl LinkState {
    pub(crate) fn new(
        id: LinkId,
        peer: (ContextId, Incarnation),
        side: Side,
        remote: String,
        connection: Arc<dyn Connection>,
        limits: &Limits,
        first_number: u64,
    ) -> Self {
        Self {
            id,
            peer: peer.0,
            incarnation: peer.1,
            side,
            remote,
            lanes: std::array::from_fn(|_| {
                Lane::new(limits.lane_bytes, limits.link_large_bytes, first_number)
            }),
            hold: Hold::default(),
            connection,
            loss: Mutex::new(None),
            closing: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            streams: watch::Sender::new(2 * StreamId::COUNT),
            taken: Default::default(),
            reported: Default::default(),
        }
    }

    pub(crate) fn neighbour(&self) -> Neighbour {
        Neighbour { context: self.peer, side: self.side }
    }

    /// Messages of this context that went out by this link and are counted nowhere else.
    pub(crate) fn sent(&self) -> u64 {
        self.lanes.iter().map(Lane::sent).sum()
    }

    pub(crate) fn lane(&self, stream: StreamId) -> &Lane {
        &self.lanes[stream.index()]
    }

    /// Writes a message of the link's own on one stream, or a copy on each.
    pub(crate) fn send_own(&self, stream: Option<StreamId>, message: &LinkMessage) {
        let mut frame = Vec::new();
        message.put(&mut frame);
        for stream in StreamId::all().filter(|&at| stream.is_none_or(|only| only == at)) {
            self.lane(stream).append_own(&frame);
        }
    }

    /// Says why the link ends, unless that is settled: the first reason stands.
    pub(crate) fn settle_loss(&self, kind: LossKind, text: impl Into<String>) {
        let mut loss = self.loss.lock();
        if loss.is_none() {
            *loss = Some(Loss::new(kind, self.peer, text));
        }
    }

    /// Why the link ended.
    pub(crate) fn loss(&self) -> Loss {
        self.loss
            .lock()
            .clone()
            .unwrap_or_else(|| Loss::new(LossKind::LinkClosed, self.peer, "the link closed"))
    }

    /// Cuts the link off at once.
    pub(crate) fn cut(&self, kind: LossKind, text: &str) {
        self.settle_loss(kind, text);
        self.closing.store(true, Ordering::Release);
        self.close_lanes(true);
        self.connection.close(text);
    }

    /// Says goodbye on the control stream and takes nothing more; the writers finish what is held.
    pub(crate) fn say_goodbye(&self, kind: LossKind, text: &str) {
        if self.closing.swap(true, Ordering::AcqRel) {
            return;
        }
        self.settle_loss(kind, text);
        self.send_own(
            Some(StreamId::CONTROL),
            &LinkMessage::Goodbye(Goodbye { kind, text: text.to_owned() }),
        );
        self.close_lanes(false);
    }

    /// Whether this side has begun to close it.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(crate) fn close_lanes(&self, discard: bool) {
        for lane in &self.lanes {
            lane.close(discard);
        }
    }

    /// Waits until everything appended so far has been handed to the transport.
    pub(crate) async fn drained(&self) {
        for lane in &self.lanes {
            lane.drained().await;
        }
    }

    /// A stream has come to its end: everything that it brought is read, or everything written on it has arrived.
    pub(crate) fn stream_ended(&self) {
        self.streams.send_modify(|streams| *streams -= 1);
    }

    /// Waits until all streams, of both directions, have come to their end: from then on closing the connection loses nothing.
    pub(crate) async fn streams_ended(&self) {
        // The sender lives as long as this link does.
        let _ = self.streams.subscribe().wait_for(|&streams| streams == 0).await;
    }

    pub(crate) fn connection(&self) -> &Arc<dyn Connection> {
        &self.connection
    }

    /// Counts envelopes taken over; gives the total of the lane.
    pub(crate) fn count_taken(&self, stream: StreamId, envelopes: u64) -> u64 {
        match self.taken.get(stream.index()) {
            Some(taken) => taken.fetch_add(envelopes, Ordering::Relaxed) + envelopes,
            None => 0,
        }
    }

    pub(crate) fn taken(&self) -> [u64; StreamId::LANES] {
        std::array::from_fn(|lane| self.taken[lane].load(Ordering::Relaxed))
    }

    pub(crate) fn note_report(&self, taken: [u64; StreamId::LANES]) {
        for (reported, taken) in self.reported.iter().zip(taken) {
            reported.fetch_max(taken, Ordering::Relaxed);
        }
    }

    /// Envelopes sent on the data lanes whose fate the peer has not reported (protocol rule 22).
    pub(crate) fn unreported(&self) -> u64 {
        (0..StreamId::LANES)
            .map(|lane| {
                self.lanes[lane]
                    .envelopes()
                    .saturating_sub(self.reported[lane].load(Ordering::Relaxed))
            })
            .sum()
    }
}

impl fmt::Debug for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkState")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .field("side", &self.side)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
