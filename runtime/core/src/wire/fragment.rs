//! Bodies longer than a frame: cutting them, and putting them together again within bounds (protocol rule 19).
//!
//! A lane is FIFO, so the fragments of one body arrive in order, interleaved with other frames. Anything else, a gap, a
//! repetition, a body longer or shorter than announced, is an error of the peer: that body is given up and its asker told.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

use super::FragmentField;
use crate::{
    id::{ContextId, StreamId},
    limits::FRAGMENT,
    time::Moment,
};

/// The fields and payload ranges of a long body's fragments, first to last.
///
/// `len` is the payload's length in bytes, tag included.
pub fn split(
    number: u64,
    len: usize,
) -> impl Iterator<Item = (FragmentField, std::ops::Range<usize>)> {
    (0..len.div_ceil(FRAGMENT)).map(move |index| {
        let start = index * FRAGMENT;
        let total = (index == 0).then_some(len as u64);
        let index = u32::try_from(index)
            .expect("a body has less than 2^32 fragments: limits cap it far below");
        (FragmentField { number, index, total }, start..len.min(start + FRAGMENT))
    })
}

/// Why a fragment was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// The announced total is over the limit for a message, or over what is left of the link's quota.
    #[error("a body of {total} bytes is over the limit of {limit}")]
    TooLarge {
        /// What was announced, in bytes.
        total: u64,
        /// What may be had now, in bytes.
        limit: usize,
    },
    /// No body of this number is being put together: its first fragment is missing, or it was given up.
    #[error("a fragment of no body")]
    Orphan,
    /// The fragment is not the one that comes next: one was lost or repeated.
    #[error("fragment {got} came where {expected} was due")]
    OutOfOrder {
        /// The index due.
        expected: u32,
        /// The index that came.
        got: u32,
    },
    /// More bytes than announced, or a first fragment that already is the whole.
    #[error("the fragments do not add up to the announced total")]
    WrongTotal,
}

#[derive(Debug)]
struct Assembly {
    total: usize,
    next: u32,
    body: Vec<u8>,
    progress: Moment,
}

/// Puts the fragments of one link together, within a quota of bytes.
#[derive(Debug)]
pub struct Reassembly {
    quota: usize,
    max_body: usize,
    idle: Duration,
    reserved: usize,
    bodies: BTreeMap<(ContextId, StreamId, u64), Assembly>,
}

impl Reassembly {
    /// `quota` bounds all bodies of the link together, `max_body` each of them, both in bytes with the tag; a body without
    /// progress for `idle` is given up.
    pub fn new(quota: usize, max_body: usize, idle: Duration) -> Self {
        Self { quota, max_body, idle, reserved: 0, bodies: BTreeMap::new() }
    }

    /// Takes one fragment; gives the whole payload with the last.
    ///
    /// # Errors
    /// [`FragmentError`]; the body that the fragment belongs to is given up.
    pub fn accept(
        &mut self,
        now: Moment,
        source: ContextId,
        stream: StreamId,
        field: FragmentField,
        payload: &[u8],
    ) -> Result<Option<Bytes>, FragmentError> {
        let key = (source, stream, field.number);
        if let Some(total) = field.total {
            if let Some(old) = self.bodies.remove(&key) {
                self.reserved -= old.total;
                return Err(FragmentError::OutOfOrder { expected: old.next, got: 0 });
            }
            let limit = self.max_body.min(self.quota - self.reserved);
            let total = usize::try_from(total).ok().filter(|&total| total <= limit);
            let Some(total) = total else {
                return Err(FragmentError::TooLarge {
                    total: field.total.unwrap_or(u64::MAX),
                    limit,
                });
            };
            // One frame would have done: a peer that cuts more finely than it may makes us keep more books than bytes.
            if total <= FRAGMENT {
                return Err(FragmentError::WrongTotal);
            }
            self.reserved += total;
            let body = Vec::with_capacity(total.min(4 * FRAGMENT));
            self.bodies.insert(key, Assembly { total, next: 0, body, progress: now });
        }
        let assembly = self.bodies.get_mut(&key).ok_or(FragmentError::Orphan)?;
        let expected = assembly.next;
        let room = assembly.total - assembly.body.len();
        let verdict = if field.index != expected {
            Err(FragmentError::OutOfOrder { expected, got: field.index })
        } else if payload.len() != room.min(FRAGMENT) {
            Err(FragmentError::WrongTotal)
        } else {
            Ok(())
        };
        if verdict.is_ok() {
            assembly.body.extend_from_slice(payload);
            assembly.next += 1;
            assembly.progress = now;
            if assembly.body.len() < assembly.total {
                return Ok(None);
            }
        }
        let assembly = self.bodies.remove(&key).expect("it was there a moment ago");
        self.reserved -= assembly.total;
        verdict.map(|()| Some(assembly.body.into()))
    }

    /// Gives up what has made no progress for the idle time; returns how many bodies that were.
    pub fn expire(&mut self, now: Moment) -> usize {
        let before = self.bodies.len();
        let (idle, reserved) = (self.idle, &mut self.reserved);
        self.bodies.retain(|_, assembly| {
            let keep = now - assembly.progress < idle;
            if !keep {
                *reserved -= assembly.total;
            }
            keep
        });
        before - self.bodies.len()
    }

    /// When [`Self::expire`] is due next.
    pub fn next_expiry(&self) -> Option<Moment> {
        self.bodies.values().map(|assembly| assembly.progress + self.idle).min()
    }

    /// Bodies under way.
    pub fn len(&self) -> usize {
        self.bodies.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// Bytes reserved for bodies under way.
    pub fn reserved(&self) -> usize {
        self.reserved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: StreamId = StreamId::lane(1);
    const FROM: ContextId = ContextId(3);

    fn reassembly() -> Reassembly {
        Reassembly::new(1 << 20, 1 << 19, Duration::from_secs(30))
    }

    fn body(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8).collect()
    }

    fn feed(
        to: &mut Reassembly,
        number: u64,
        body: &[u8],
    ) -> Vec<Result<Option<Bytes>, FragmentError>> {
        split(number, body.len())
            .map(|(field, range)| to.accept(Moment::START, FROM, LANE, field, &body[range]))
            .collect()
    }

    #[test]
    fn r06_interleaved_bodies_come_out_whole() {
        let mut reassembly = reassembly();
        let (a, b) = (body(200_000), body(131_072));
        let mut got = Vec::new();
        let mut parts: Vec<_> = split(1, a.len()).map(|(f, r)| (f, &a[r])).collect();
        for (at, (f, r)) in split(2, b.len()).enumerate() {
            parts.insert(at * 2 + 1, (f, &b[r]));
        }
        for (field, payload) in parts {
            got.extend(reassembly.accept(Moment::START, FROM, LANE, field, payload).unwrap());
        }
        assert_eq!(got, [Bytes::from(b), Bytes::from(a)]);
        assert_eq!((reassembly.len(), reassembly.reserved()), (0, 0));
    }

    #[test]
    fn r06_missing_duplicated_truncated_and_orphaned_fragments_are_errors() {
        let long = body(200_000);
        let parts: Vec<_> = split(1, long.len()).collect();
        let give = |reassembly: &mut Reassembly, at: usize, cut: usize| {
            let (field, range) = parts[at].clone();
            reassembly.accept(Moment::START, FROM, LANE, field, &long[range.start..range.end - cut])
        };
        let mut missing = reassembly();
        assert_eq!(give(&mut missing, 0, 0), Ok(None));
        assert_eq!(
            give(&mut missing, 2, 0),
            Err(FragmentError::OutOfOrder { expected: 1, got: 2 })
        );
        assert_eq!(give(&mut missing, 3, 0), Err(FragmentError::Orphan));
        let mut duplicated = reassembly();
        assert_eq!(give(&mut duplicated, 0, 0), Ok(None));
        assert_eq!(
            give(&mut duplicated, 0, 0),
            Err(FragmentError::OutOfOrder { expected: 1, got: 0 })
        );
        let mut truncated = reassembly();
        assert_eq!(give(&mut truncated, 0, 1), Err(FragmentError::WrongTotal));
        for reassembly in [missing, duplicated, truncated] {
            assert_eq!((reassembly.len(), reassembly.reserved()), (0, 0));
        }
    }

    #[test]
    fn totals_over_the_limits_are_refused_at_the_first_fragment() {
        let mut reassembly = reassembly();
        let field = |number, total| FragmentField { number, index: 0, total: Some(total) };
        let first = vec![0; FRAGMENT];
        let over = reassembly.accept(Moment::START, FROM, LANE, field(1, (1 << 19) + 1), &first);
        assert_eq!(over, Err(FragmentError::TooLarge { total: (1 << 19) + 1, limit: 1 << 19 }));
        for number in 0..2 {
            assert_eq!(
                reassembly.accept(Moment::START, FROM, LANE, field(number, 1 << 19), &first),
                Ok(None)
            );
        }
        let full = reassembly.accept(Moment::START, FROM, LANE, field(9, 100_000), &first);
        assert_eq!(full, Err(FragmentError::TooLarge { total: 100_000, limit: 0 }));
        let tiny = reassembly.accept(Moment::START, FROM, LANE, field(9, u64::MAX), &first);
        assert!(matches!(tiny, Err(FragmentError::TooLarge { .. })));
    }

    #[test]
    fn a_body_that_fits_one_frame_must_not_come_in_fragments() {
        let mut reassembly = reassembly();
        let field = FragmentField { number: 1, index: 0, total: Some(FRAGMENT as u64) };
        let got = reassembly.accept(Moment::START, FROM, LANE, field, &vec![0; FRAGMENT]);
        assert_eq!(got, Err(FragmentError::WrongTotal));
        assert_eq!(
            feed(&mut reassembly, 2, &body(FRAGMENT + 1))
                .last()
                .unwrap()
                .as_ref()
                .unwrap()
                .as_ref()
                .unwrap()
                .len(),
            FRAGMENT + 1
        );
    }

    #[test]
    fn bodies_without_progress_are_given_up_and_their_quota_returns() {
        let mut reassembly = reassembly();
        let field = FragmentField { number: 1, index: 0, total: Some(200_000) };
        reassembly.accept(Moment::START, FROM, LANE, field, &vec![0; FRAGMENT]).unwrap();
        assert_eq!(reassembly.next_expiry(), Some(Moment::START + Duration::from_secs(30)));
        assert_eq!((reassembly.reserved(), reassembly.is_empty()), (200_000, false));
        assert_eq!(reassembly.expire(Moment::START + Duration::from_secs(29)), 0);
        assert_eq!(reassembly.expire(Moment::START + Duration::from_secs(30)), 1);
        assert_eq!((reassembly.reserved(), reassembly.next_expiry()), (0, None));
        assert!(reassembly.is_empty());
    }

    #[test]
    fn a_body_has_room_for_four_fragments_at_first_and_not_for_all_that_is_announced() {
        let mut reassembly = reassembly();
        let total = 8 * FRAGMENT;
        let field = FragmentField { number: 1, index: 0, total: Some(total as u64) };
        reassembly.accept(Moment::START, FROM, LANE, field, &vec![0; FRAGMENT]).unwrap();
        let room = reassembly.bodies[&(FROM, LANE, 1)].body.capacity();
        assert!((4 * FRAGMENT..total).contains(&room), "{room} bytes");
    }

    #[test]
    fn the_same_number_of_other_sources_and_lanes_is_another_body() {
        let mut reassembly = reassembly();
        let field = FragmentField { number: 1, index: 0, total: Some(200_000) };
        let first = vec![0; FRAGMENT];
        assert_eq!(reassembly.accept(Moment::START, FROM, LANE, field, &first), Ok(None));
        assert_eq!(reassembly.accept(Moment::START, ContextId(4), LANE, field, &first), Ok(None));
        assert_eq!(
            reassembly.accept(Moment::START, FROM, StreamId::lane(2), field, &first),
            Ok(None)
        );
        assert_eq!(reassembly.len(), 3);
    }
}
