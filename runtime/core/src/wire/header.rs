//! A frame's header: who to, who from, on whose authority, and what kind of payload follows.
//!
//! Layout, in this order; a field in brackets is there when its flag is set:
//!
//! ```text
//! flags        u16, little endian; the bits are the constants below
//! [DST]        destination context        varint
//! [DST_LIFE]   destination's incarnation  two varints: term, counter
//! [SRC]        source context             varint
//! [AUTH]       authority                  varint
//! [DST | SRC]  hops left                  u8
//! handle       u64, little endian
//! [REPLY]      reply handle               u64, little endian
//! [FRAGMENT]   number, index: varints; for index 0 also the body's total length: varint
//! [CODEC]      codec of the body          u8
//! [TRACE]      W3C trace context          16 bytes trace id, 8 bytes span id, 1 byte flags
//! [EPOCH]      epoch of the source's path  varint; left out when it is 0
//! [OPTIONAL]   length: varint, then that many bytes which this version skips
//! ```
//!
//! Flags of 0x2000, alone, are no header: they stand in the place of header and tag where both are those of the frame before on the
//! same stream, a one-way message in one frame.
//!
//! What both ends of a link know is left out: the destination when it is the peer, the source when it is the sender.

use super::{TraceContext, WireError, varint};
use crate::{
    id::{ContextId, Handle, Incarnation, PathEpoch},
    limits::MAX_HOPS,
};

const DST: u16 = 1;
const DST_LIFE: u16 = 1 << 1;
const SRC: u16 = 1 << 2;
const AUTH: u16 = 1 << 3;
const REPLY: u16 = 1 << 4;
const FRAGMENT: u16 = 1 << 5;
const CODEC: u16 = 1 << 6;
const TRACE: u16 = 1 << 7;
const OPTIONAL: u16 = 1 << 8;
const BY_ROUTER: u16 = 1 << 9;
const KIND_SHIFT: u32 = 10;
const KIND: u16 = 3 << KIND_SHIFT;
const EPOCH: u16 = 1 << 12;
/// Bits that have no meaning in a header; a frame that sets one cannot be understood.
const UNKNOWN: u16 = !((1 << 13) - 1);

/// What stands in the place of header and tag where both are those of the frame before: a bit that no header sets.
pub(super) const REPEATS: [u8; 2] = (1_u16 << 13).to_le_bytes();

/// The longest area of optional fields that is skipped, in bytes.
const MAX_OPTIONAL: usize = 128;

/// What the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message: its tag (u64, little endian), then its body.
    Message,
    /// The answer to a request: its body.
    Reply,
    /// The handler failed or panicked: a text in UTF-8.
    Failed,
    /// An `IS_DEAD` reply: [`crate::dead::Dead`] in its wire form.
    Dead,
}

/// A destination that is not the link's peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The context.
    pub context: ContextId,
    /// The life that is meant; `None` for answers, whose unguessable handle says as much.
    pub incarnation: Option<Incarnation>,
}

/// Where in a longer body this frame's payload belongs (protocol rule 19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentField {
    /// The body's number, unique among those that its source has under way.
    pub number: u64,
    /// 0 for the first fragment, then counting.
    pub index: u32,
    /// The body's length in bytes; in the first fragment only.
    pub total: Option<u64>,
}

/// The addressing part of a frame; see the module's text for its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: Kind,
    /// `None` when it is the peer.
    pub destination: Option<Destination>,
    /// `None` when it is the sender at the other end of the link.
    pub source: Option<ContextId>,
    /// `None` when it is the source.
    pub authority: Option<ContextId>,
    /// How many more contexts the frame may cross; on the wire only beside a destination or a source.
    pub hops: u8,
    /// The receiving mailbox, or the reply handle that an answer goes to.
    pub handle: Handle,
    /// Where the answer goes; `None` for one-way messages and for answers.
    pub reply: Option<Handle>,
    /// Set when the payload is part of a longer one.
    pub fragment: Option<FragmentField>,
    /// The codec of the body; 0 is postcard.
    pub codec: u8,
    /// The span that sent the message. Whoever passes it on leaves it as it is, valid or not.
    pub trace: Option<TraceContext>,
    /// For dead replies: made by a router on the way, in the name of the context that was asked (protocol rule 12).
    pub by_router: bool,
    /// How often the path that the frame takes has broken; for frames on their source's own authority (protocol rule 7).
    pub epoch: PathEpoch,
}

impl Header {
    /// The header of a one-way message to a mailbox of the link's peer.
    pub const fn to(handle: Handle) -> Self {
        Self {
            kind: Kind::Message,
            destination: None,
            source: None,
            authority: None,
            hops: MAX_HOPS,
            handle,
            reply: None,
            fragment: None,
            codec: 0,
            trace: None,
            by_router: false,
            epoch: PathEpoch::FIRST,
        }
    }

    /// The header with another kind.
    #[must_use]
    pub const fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// The header with a handle for the answer.
    #[must_use]
    pub const fn reply_to(mut self, reply: Handle) -> Self {
        self.reply = Some(reply);
        self
    }

    /// Writes the wire form to the start of `out` and returns its length: at most 126 bytes.
    ///
    /// # Panics
    /// If `out` is shorter than that.
    pub fn encode(&self, out: &mut [u8]) -> usize {
        let mut flags = (self.kind as u16) << KIND_SHIFT;
        let mut at = 2;
        if let Some(destination) = &self.destination {
            flags |= DST;
            at += varint::write(destination.context.0, &mut out[at..]);
            if let Some(life) = destination.incarnation {
                flags |= DST_LIFE;
                at += varint::write(life.term, &mut out[at..]);
                at += varint::write(life.counter, &mut out[at..]);
            }
        }
        if let Some(source) = self.source {
            flags |= SRC;
            at += varint::write(source.0, &mut out[at..]);
        }
        if let Some(authority) = self.authority {
            flags |= AUTH;
            at += varint::write(authority.0, &mut out[at..]);
        }
        if self.destination.is_some() || self.source.is_some() {
            out[at] = self.hops;
            at += 1;
        }
        put_u64(self.handle.0, out, &mut at);
        if let Some(reply) = self.reply {
            flags |= REPLY;
            put_u64(reply.0, out, &mut at);
        }
        if let Some(fragment) = &self.fragment {
            flags |= FRAGMENT;
            at += varint::write(fragment.number, &mut out[at..]);
            at += varint::write(u64::from(fragment.index), &mut out[at..]);
            if fragment.index == 0 {
                at += varint::write(fragment.total.unwrap_or(0), &mut out[at..]);
            }
        }
        if self.codec != 0 {
            flags |= CODEC;
            out[at] = self.codec;
            at += 1;
        }
        if let Some(trace) = &self.trace {
            flags |= TRACE;
            out[at..at + 16].copy_from_slice(&trace.trace_id);
            out[at + 16..at + 24].copy_from_slice(&trace.span_id);
            out[at + 24] = trace.flags;
            at += 25;
        }
        if self.by_router {
            flags |= BY_ROUTER;
        }
        if self.epoch != PathEpoch::FIRST {
            flags |= EPOCH;
            at += varint::write(self.epoch.0, &mut out[at..]);
        }
        out[..2].copy_from_slice(&flags.to_le_bytes());
        at
    }

    /// Reads the wire form from the start of `bytes`; returns the header and its length.
    ///
    /// # Errors
    /// [`WireError`] for missing bytes, unknown flags, an incarnation without a context, or a field out of range.
    pub fn decode(bytes: &[u8]) -> Result<(Self, usize), WireError> {
        let mut rest = bytes;
        let flags = u16::from_le_bytes(take_array(&mut rest)?);
        if flags & UNKNOWN != 0 {
            return Err(WireError::Invalid("a header flag of a newer version"));
        }
        let has = |flag: u16| flags & flag != 0;
        if has(DST_LIFE) && !has(DST) {
            return Err(WireError::Invalid("an incarnation without a destination"));
        }
        let kind = match (flags & KIND) >> KIND_SHIFT {
            0 => Kind::Message,
            1 => Kind::Reply,
            2 => Kind::Failed,
            _ => Kind::Dead,
        };
        if has(BY_ROUTER) && kind != Kind::Dead {
            return Err(WireError::Invalid("a router's mark on what is no dead reply"));
        }
        let destination = if has(DST) {
            let context = ContextId(varint::take(&mut rest)?);
            let incarnation = if has(DST_LIFE) {
                Some(Incarnation::new(varint::take(&mut rest)?, varint::take(&mut rest)?))
            } else {
                None
            };
            Some(Destination { context, incarnation })
        } else {
            None
        };
        let source = if has(SRC) { Some(ContextId(varint::take(&mut rest)?)) } else { None };
        let authority = if has(AUTH) { Some(ContextId(varint::take(&mut rest)?)) } else { None };
        let hops = if has(DST) || has(SRC) { take_array::<1>(&mut rest)?[0] } else { MAX_HOPS };
        let handle = Handle(u64::from_le_bytes(take_array(&mut rest)?));
        let reply = if has(REPLY) {
            Some(Handle(u64::from_le_bytes(take_array(&mut rest)?)))
        } else {
            None
        };
        let fragment = if has(FRAGMENT) {
            let number = varint::take(&mut rest)?;
            let index = varint::take(&mut rest)?;
            let index =
                u32::try_from(index).map_err(|_| WireError::Invalid("a fragment's index"))?;
            let total = if index == 0 { Some(varint::take(&mut rest)?) } else { None };
            Some(FragmentField { number, index, total })
        } else {
            None
        };
        let codec = if has(CODEC) { take_array::<1>(&mut rest)?[0] } else { 0 };
        let trace = if has(TRACE) {
            let trace_id = take_array(&mut rest)?;
            let span_id = take_array(&mut rest)?;
            let [flags] = take_array(&mut rest)?;
            Some(TraceContext { trace_id, span_id, flags })
        } else {
            None
        };
        let epoch = if has(EPOCH) { PathEpoch(varint::take(&mut rest)?) } else { PathEpoch::FIRST };
        if has(EPOCH) && epoch == PathEpoch::FIRST {
            return Err(WireError::Invalid("an epoch that is to be left out"));
        }
        if has(OPTIONAL) {
            let len = varint::take(&mut rest)?;
            if len > MAX_OPTIONAL as u64 {
                let is = usize::try_from(len).unwrap_or(usize::MAX);
                return Err(WireError::TooLong {
                    what: "a header's optional area",
                    is,
                    limit: MAX_OPTIONAL,
                });
            }
            rest = rest.get(len as usize..).ok_or(WireError::Truncated)?;
        }
        let header = Self {
            kind,
            destination,
            source,
            authority,
            hops,
            handle,
            reply,
            fragment,
            codec,
            trace,
            by_router: has(BY_ROUTER),
            epoch,
        };
        Ok((header, bytes.len() - rest.len()))
    }
}

fn put_u64(n: u64, out: &mut [u8], at: &mut usize) {
    out[*at..*at + 8].copy_from_slice(&n.to_le_bytes());
    *at += 8;
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
    *rest = tail;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Header {
        Header {
            kind: Kind::Dead,
            destination: Some(Destination {
                context: ContextId(u64::MAX),
                incarnation: Some(Incarnation::new(u64::MAX, u64::MAX)),
            }),
            source: Some(ContextId(u64::MAX)),
            authority: Some(ContextId(u64::MAX)),
            hops: 3,
            handle: Handle(u64::MAX),
            reply: Some(Handle(1)),
            fragment: Some(FragmentField { number: u64::MAX, index: 0, total: Some(u64::MAX) }),
            codec: 2,
            trace: Some(TraceContext { trace_id: [1; 16], span_id: [2; 8], flags: 1 }),
            by_router: true,
            epoch: PathEpoch(u64::MAX),
        }
    }

    #[test]
    fn every_field_survives_and_the_longest_header_fits() {
        let mut out = [0; crate::limits::MAX_HEADER];
        for header in [
            full(),
            Header::to(Handle(100)),
            Header::to(Handle(7777)).reply_to(Handle(5)).kind(Kind::Failed),
        ] {
            let len = header.encode(&mut out);
            assert!(len <= 126);
            assert_eq!(Header::decode(&out[..len]), Ok((header, len)));
        }
    }

    #[test]
    fn every_cut_of_a_header_is_an_error() {
        let mut out = [0; crate::limits::MAX_HEADER];
        let len = full().encode(&mut out);
        for cut in 0..len {
            assert_eq!(Header::decode(&out[..cut]), Err(WireError::Truncated), "cut at {cut}");
        }
    }

    #[test]
    fn optional_fields_of_a_newer_version_are_skipped() {
        let mut out = [0; 64];
        let header = Header::to(Handle(4242));
        let len = header.encode(&mut out);
        let flags = u16::from_le_bytes([out[0], out[1]]) | OPTIONAL;
        out[..2].copy_from_slice(&flags.to_le_bytes());
        out[len..len + 4].copy_from_slice(&[3, 9, 9, 9]);
        assert_eq!(Header::decode(&out[..len + 4]), Ok((header, len + 4)));
        out[len] = 4;
        assert_eq!(Header::decode(&out[..len + 4]), Err(WireError::Truncated));
    }

    #[test]
    fn an_optional_area_is_skipped_up_to_its_limit_and_refused_beyond() {
        let mut out = [0; 512];
        let header = Header::to(Handle(4242));
        let len = header.encode(&mut out);
        let flags = u16::from_le_bytes([out[0], out[1]]) | OPTIONAL;
        out[..2].copy_from_slice(&flags.to_le_bytes());
        let mut decode = |area: u64| {
            let prefix = varint::write(area, &mut out[len..]);
            let end = len + prefix + area as usize;
            (Header::decode(&out[..end]), end)
        };
        let (got, end) = decode(128);
        assert_eq!(got, Ok((header, end)));
        for area in [129, 200] {
            let is = area as usize;
            let what = "a header's optional area";
            assert_eq!(decode(area).0, Err(WireError::TooLong { what, is, limit: 128 }));
        }
    }

    #[test]
    fn an_epoch_costs_nothing_until_a_path_has_broken_and_has_one_form() {
        let mut out = [0; 64];
        let first = Header::to(Handle(4242));
        let second = Header { epoch: PathEpoch(1), ..first.clone() };
        let (short, long) = (first.encode(&mut [0; 64]), second.encode(&mut out));
        assert_eq!(long, short + 1);
        out[long - 1] = 0;
        assert!(matches!(Header::decode(&out[..long]), Err(WireError::Invalid(_))));
    }

    #[test]
    fn impossible_flags_are_errors() {
        let mut out = [0; 64];
        let len = Header::to(Handle(4242)).encode(&mut out);
        for bits in [DST_LIFE, BY_ROUTER, 1 << 13, 1 << 15] {
            let mut bad = out;
            bad[..2].copy_from_slice(&bits.to_le_bytes());
            assert!(matches!(Header::decode(&bad[..len]), Err(WireError::Invalid(_))), "{bits:#x}");
        }
    }
}
