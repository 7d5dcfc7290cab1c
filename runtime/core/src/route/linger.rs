//! Contexts that have been withdrawn and whose last messages may still come.
//!
//! The first copy of a withdrawal takes the route away at once, while on the other streams of the link the last messages of the
//! withdrawn still stand before the copies to come. Until a stream's copy has been read, that stream still speaks for them
//! (protocol rule 5); afterwards it does not.

use std::collections::BTreeMap;

use crate::id::{ContextId, LinkId, StreamId};

const ALL: u8 = (1 << StreamId::COUNT) - 1;

/// Which streams of which links still speak for contexts that have been withdrawn there.
#[derive(Debug)]
pub struct Lingering {
    limit: usize,
    streams: BTreeMap<(LinkId, ContextId), u8>,
}

impl Lingering {
    /// None yet, and never more than `limit` pairs of link and context; last messages of what exceeds it are refused.
    pub fn new(limit: usize) -> Self {
        Self { limit, streams: BTreeMap::new() }
    }

    /// A context has been withdrawn by a link's word, of which no copy has passed yet.
    pub fn begin(&mut self, link: LinkId, context: ContextId) {
        if self.streams.len() < self.limit {
            self.streams.insert((link, context), ALL);
        }
    }

    /// The copy of the withdrawal on one stream has been read.
    pub fn passed(&mut self, link: LinkId, stream: StreamId, context: ContextId) {
        if let Some(streams) = self.streams.get_mut(&(link, context)) {
            *streams &= !(1 << stream.index());
            if *streams == 0 {
                self.streams.remove(&(link, context));
            }
        }
    }

    /// Whether a stream of the link still speaks for the context.
    pub fn contains(&self, link: LinkId, stream: StreamId, context: ContextId) -> bool {
        let streams = self.streams.get(&(link, context));
        streams.is_some_and(|streams| streams & (1 << stream.index()) != 0)
    }

    /// How many pairs of link and context linger.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether nothing lingers.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_speaks_for_the_withdrawn_until_its_copy_has_passed() {
        let (link, context) = (LinkId(1), ContextId(7));
        let mut lingering = Lingering::new(10);
        lingering.begin(link, context);
        for stream in StreamId::all() {
            assert!(lingering.contains(link, stream, context));
            assert!(!lingering.contains(LinkId(2), stream, context));
            assert!(!lingering.contains(link, stream, ContextId(8)));
            lingering.passed(link, stream, context);
            assert!(!lingering.contains(link, stream, context));
        }
        assert!(lingering.is_empty());
        lingering.passed(link, StreamId::CONTROL, context);
        assert!(lingering.is_empty(), "a copy that passes again is nothing new");
    }

    #[test]
    fn what_lingers_is_bounded() {
        let mut lingering = Lingering::new(2);
        for n in 0..5 {
            lingering.begin(LinkId(1), ContextId(n));
        }
        assert_eq!((lingering.len(), lingering.is_empty()), (2, false));
        assert!(lingering.contains(LinkId(1), StreamId::CONTROL, ContextId(1)));
        assert!(!lingering.contains(LinkId(1), StreamId::CONTROL, ContextId(2)));
    }
}
