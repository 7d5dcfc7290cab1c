//! What goes over the wire: messages in protobuf, a service over HTTP/2.

use bytes::Bytes;
use measure::note::{Tally, payload};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) payload: Bytes,
}

impl Frame {
    /// A note of `bytes` altogether, number included. To make one allocates nothing.
    pub(crate) fn new(number: u64, bytes: usize) -> Self {
        Self { number, payload: Bytes::from_static(payload(bytes)) }
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Counted {
    #[prost(uint64, tag = "1")]
    pub(crate) messages: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sum: u64,
}

impl From<Tally> for Counted {
    fn from(Tally { messages, sum }: Tally) -> Self {
        Self { messages, sum }
    }
}

impl From<Counted> for Tally {
    fn from(Counted { messages, sum }: Counted) -> Self {
        Self { messages, sum }
    }
}

/// What `build.rs` has written.
#[expect(unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
pub(crate) mod service {
    include!(concat!(env!("OUT_DIR"), "/peers.Sink.rs"));
}
