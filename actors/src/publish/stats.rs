//! What is counted: at a consumer, and at a context.

/// What a consumer has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerStats {
    /// Messages that are not done with.
    pub held: usize,
    /// Deliveries, each message as often as it was delivered.
    pub delivered: u64,
    /// Messages that were handled.
    pub handled: u64,
    /// Messages that the consumer has rejected.
    pub rejected: u64,
    /// Deliveries that were put off.
    pub nacked: u64,
    /// Deliveries without a verdict: whoever had them is gone, or their time was over.
    pub lost: u64,
    /// Those of them whose time was over.
    pub expired: u64,
    /// Verdicts that came after that, and changed nothing.
    pub late_verdicts: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Messages under the id of another one, which were rejected.
    pub reused_ids: u64,
    /// Messages of another type or from another sender than is asked for.
    pub filtered: u64,
    /// Messages for which there was no room.
    pub overflowed: u64,
    /// Signed messages that never came, as the sequence numbers say.
    pub missed: u64,
    /// Messages that came from a recorder.
    pub replayed: u64,
    /// How often a recorder was asked for what is missing.
    pub catch_ups: u64,
    /// How often it did not answer in time.
    pub catch_ups_failed: u64,
    /// How often part of what was asked for is not kept any more.
    pub not_kept: u64,
    /// Messages that could not be decoded, which were rejected.
    pub undecodable: u64,
    /// Messages that were delivered as often as may be.
    pub dead: u64,
    /// Those of them that were dropped because nobody took them.
    pub dead_dropped: u64,
    /// Messages that the window could not remember, which were not acknowledged.
    pub unremembered: u64,
}

/// What a context has had of signed messages and acknowledgements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishStats {
    /// Publishes that wait for acknowledgements now.
    pub waiting: usize,
    /// Bytes of their messages.
    pub waiting_bytes: usize,
    /// Messages sent, each as often as it was sent.
    pub sent: u64,
    /// Acknowledgements that counted.
    pub acks_taken: u64,
    /// Acknowledgements that a waiting publish has ignored; see [`super::IgnoredAcks`].
    pub acks_ignored: u64,
    /// Acknowledgements for no publish that waits: replayed, late, or made up.
    pub acks_unknown: u64,
    /// Publishes that were refused because so many waited.
    pub refused_full: u64,
    /// Signed messages that were refused here because they are larger, or require more, than may be.
    pub oversize: u64,
    /// Signed messages that were refused here because signature or certificate does not hold.
    pub forged: u64,
    /// Signed messages that were refused here because their publisher's certificate is revoked.
    pub revoked: u64,
    /// Messages that the context's policy does not let through.
    pub not_permitted: u64,
    /// Messages, plain ones too, that did not go on to a neighbour: 8 MiB waited for room on the way to neighbours.
    pub no_room: u64,
    /// Messages, plain ones too, that were refused here because the neighbour that brought them does not lead to their publisher.
    pub misplaced: u64,
}
