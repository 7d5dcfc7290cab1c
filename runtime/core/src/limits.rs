//! Every bound of a context, in one place. A constant here says why it has the value it has; a field of [`Limits`] is what an
//! application may set.

use std::time::Duration;

/// Payload bytes of one frame; a longer body travels in fragments, so that a large message delays nobody else's by more than
/// this (architecture.md, lanes).
pub const FRAGMENT: usize = 64 * 1024;

/// The longest header in bytes: the sum of all its fields at their widest, rounded up.
pub const MAX_HEADER: usize = 256;

/// The longest frame that a reader accepts: a full fragment, its header and its tag.
pub const MAX_FRAME: usize = FRAGMENT + MAX_HEADER;

/// The longest message that a link itself carries (an opening, a route announcement with its certificate): more than a withdrawal
/// of [`MAX_WITHDRAWN`] routes takes, each at most 40 bytes, with its text.
pub const MAX_CONTROL: usize = 24 * 1024;

/// The most ids in one withdrawal message; a longer withdrawal is cut into several with the same stamp order.
pub const MAX_WITHDRAWN: usize = 512;

/// Frames cross at most this many contexts: ten times the depth that the tests build, so that only a loop reaches it.
pub const MAX_HOPS: u8 = 100;

/// What a context grants itself and its peers. Every field has a unit in its name or type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a message in bytes, on every hop; children inherit the smaller of theirs and their parent's (M9).
    pub max_message: usize,
    /// Bytes of encoded envelopes that wait for one lane of a link before its senders wait too: two buffers of 128 KiB.
    pub lane_bytes: usize,
    /// Bytes of large bodies (over [`FRAGMENT`]) that wait in each lane of a link, beyond the lane's own. A context's own wait sooner.
    pub link_large_bytes: usize,
    /// Bytes that came by one link and wait for another, beside its lanes (protocol rule 16). From half of it on the link that brought
    /// them is asked for pauses; the other half is room for what is on its way by then: the lanes of a link whose peer forwards as
    /// well, four times [`Self::lane_bytes`] each, and the windows of its streams. Parts of long bodies have a budget of their own beside
    /// it, for four lanes' [`Self::link_large_bytes`] and this, and dead replies one of this size for each link.
    pub relay_bytes: usize,
    /// Messages that one mailbox accepts and has not handled. From a third of it on its senders are asked to pause; the rest is room
    /// for what is on its way by then.
    pub mailbox_messages: usize,
    /// Bytes that one mailbox accepts and has not handled, with 128 for each message. Its marks are as for messages.
    pub mailbox_bytes: usize,
    /// Bytes of half-assembled bodies that one link may hold.
    pub reassembly_bytes: usize,
    /// A half-assembled body that makes no progress for this long is given up (protocol rule 19).
    pub reassembly_idle: Duration,
    /// Calls that wait for an answer at once.
    pub pending_calls: usize,
    /// Watches that a context holds on others, and separately that others hold on it.
    pub watches: usize,
    /// Routes that a context knows.
    pub routes: usize,
    /// Links that a context holds.
    pub links: usize,
    /// Tombstones of withdrawn routes, which tell `RouteLost` from `NoRoute`.
    pub route_tombstones: usize,
    /// Tombstones of stopped mailboxes, which tell `Stopped` from `NoHandle` (protocol rule 15).
    pub mailbox_tombstones: usize,
    /// (id, link) pairs of who addressed whom, for one link; past that the link is told of every withdrawal (protocol rule 10).
    pub addressed_per_link: usize,
    /// How long a request waits for its answer unless it says otherwise.
    pub request_time: Duration,
    /// A peer that has been silent for this long is lost: the detection time.
    pub detection_time: Duration,
    /// How long a link may take from its first packet to both sides' openings.
    pub handshake_time: Duration,
    /// Handshakes of incoming links that may be under way at once.
    pub handshakes: usize,
    /// How long a context waits at shutdown for its queues to drain and, below the root, for its children.
    pub shutdown_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 * 1024 * 1024,
            lane_bytes: 256 * 1024,
            link_large_bytes: 32 * 1024 * 1024,
            relay_bytes: 16 * 1024 * 1024,
            mailbox_messages: 48 * 1024,
            mailbox_bytes: 16 * 1024 * 1024,
            reassembly_bytes: 64 * 1024 * 1024,
            reassembly_idle: Duration::from_secs(30),
            pending_calls: 64 * 1024,
            watches: 64 * 1024,
            routes: 64 * 1024,
            links: 16 * 1024,
            route_tombstones: 16 * 1024,
            mailbox_tombstones: 16 * 1024,
            addressed_per_link: 4 * 1024,
            request_time: Duration::from_secs(30),
            detection_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            handshakes: 4 * 1024,
            shutdown_time: Duration::from_secs(3),
        }
    }
}

/// Why a set of limits cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsError {
    /// A bound is too small for the runtime to work at all.
    #[error("the limit `{name}` is {is}, but at least {least} is needed: raise it")]
    TooSmall {
        /// The field's name.
        name: &'static str,
        /// What was set.
        is: u128,
        /// The smallest value that works.
        least: u128,
    },
}

impl Limits {
    /// Checks that the runtime can work within these limits.
    ///
    /// # Errors
    /// [`LimitsError::TooSmall`] names the first field that is too small and its least value.
    pub fn check(&self) -> Result<(), LimitsError> {
        let least = [
            ("max_message", self.max_message as u128, 1024),
            ("lane_bytes", self.lane_bytes as u128, 2 * MAX_FRAME as u128),
            ("link_large_bytes", self.link_large_bytes as u128, self.max_message as u128),
            ("relay_bytes", self.relay_bytes as u128, 2 * MAX_FRAME as u128),
            ("mailbox_messages", self.mailbox_messages as u128, 1),
            ("mailbox_bytes", self.mailbox_bytes as u128, 1024),
            ("reassembly_bytes", self.reassembly_bytes as u128, self.max_message as u128),
            ("pending_calls", self.pending_calls as u128, 1),
            ("routes", self.routes as u128, 2),
            ("links", self.links as u128, 1),
            ("handshakes", self.handshakes as u128, 1),
            ("detection_time in ms", self.detection_time.as_millis(), 50),
            ("handshake_time in ms", self.handshake_time.as_millis(), 50),
        ];
        match least.into_iter().find(|(_, is, least)| is < least) {
            Some((name, is, least)) => Err(LimitsError::TooSmall { name, is, least }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_a_bound_too_small_is_named() {
        assert_eq!(Limits::default().check(), Ok(()));
        let small = Limits { lane_bytes: 1000, ..Limits::default() };
        let error = small.check().unwrap_err();
        assert!(error.to_string().contains("`lane_bytes` is 1000"), "{error}");
        let short = Limits { detection_time: Duration::from_millis(1), ..Limits::default() };
        assert!(short.check().is_err());
    }
}
