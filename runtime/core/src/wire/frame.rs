//! Frames as they are written, and as they lie in what was read.

use std::ops::Range;

use bytes::Bytes;

use super::{Header, Kind, header::REPEATS, varint};
use crate::limits::{MAX_FRAME, MAX_HEADER};

/// Bytes of a message's tag, in front of its body.
pub const TAG: usize = 8;

/// One frame as read from a stream: its header and the payload's bytes, uncopied where the frame lay in one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The addressing part.
    pub header: Header,
    /// For a message: its tag ([`TAG`] bytes) and body; for other kinds see [`Kind`]. Opaque to whoever forwards it.
    pub payload: Bytes,
}

/// One frame where it lies: nothing is copied or counted for it.
#[derive(Debug)]
pub struct Placed<'a> {
    /// The addressing part.
    pub header: Header,
    /// What holds the payload: the chunk, or a frame that was gathered or spelled out.
    pub bytes: &'a Bytes,
    /// Where in `bytes` the payload lies.
    pub payload: Range<usize>,
}

impl Placed<'_> {
    /// The payload, to be read at once.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    /// Whether the next frame on the stream may repeat this one's header and tag.
    pub fn is_repeatable(&self) -> bool {
        is_plain(&self.header) && self.payload.len() >= TAG
    }

    /// The frame with a payload of its own, which keeps the bytes that hold it.
    pub fn into_frame(self) -> Frame {
        Frame { header: self.header, payload: self.bytes.slice(self.payload) }
    }
}

/// Whole repetitions that lie one behind the other in a chunk; [`next_of_run`] takes them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where in the chunk they lie.
    pub bytes: Range<usize>,
    /// How many they are.
    pub frames: usize,
    /// The bytes of their bodies together.
    pub bodies: usize,
    /// The bytes of the longest of their bodies.
    pub longest: usize,
}

/// Appends a frame to `out`. `payload` may come in parts (a tag, a body).
///
/// # Panics
/// If header and parts together are longer than [`MAX_FRAME`]: the caller fragments what is longer than
/// [`FRAGMENT`](crate::limits::FRAGMENT) first.
pub fn put_frame(header: &Header, payload: &[&[u8]], out: &mut Vec<u8>) {
    put_head(header, payload.iter().map(|part| part.len()).sum(), out);
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// Appends a frame up to its payload, which is to follow it on the stream and has this many bytes.
///
/// # Panics
/// As [`put_frame`].
pub fn put_head(header: &Header, payload: usize, out: &mut Vec<u8>) {
    let mut head = [0_u8; MAX_HEADER];
    let len = header.encode(&mut head);
    put_len(len + payload, out);
    out.extend_from_slice(&head[..len]);
}

/// Appends a frame whose header and tag are encoded already. Gives where they lie in `out`, for those that may be repeated.
///
/// # Panics
/// As [`put_frame`].
pub fn put_framed(head: &[u8], body: &[u8], out: &mut Vec<u8>) -> Range<usize> {
    put_len(head.len() + body.len(), out);
    let begin = out.len();
    out.extend_from_slice(head);
    out.extend_from_slice(body);
    begin..begin + head.len()
}

/// Appends a repetition: a one-way message whose header and tag are those of the frame before it, which was one as well.
///
/// # Panics
/// If the body is longer than a frame may be. With its tag it must not be longer than a fragment.
#[inline]
pub fn put_repeated(body: &[u8], out: &mut Vec<u8>) {
    let (len, [first, second]) = (REPEATS.len() + body.len(), REPEATS);
    out.reserve(varint::MAX + len);
    match u8::try_from(len) {
        // As a varint it is one byte.
        Ok(len @ ..0x80) => out.extend_from_slice(&[len, first, second]),
        _ => {
            put_len(len, out);
            out.extend_from_slice(&REPEATS);
        }
    }
    out.extend_from_slice(body);
}

fn put_len(len: usize, out: &mut Vec<u8>) {
    assert!(len <= MAX_FRAME, "a frame of {len} bytes: fragment the body first");
    varint::put(len as u64, out);
}

/// Appends the frames of a run, behind another header and tag than those that it came behind. `last` is where header and tag lie that
/// the next frame of `out` may repeat; gives where those are that the next one may.
///
/// # Panics
/// If `run` holds no whole repetition, or its first does not fit behind `head`.
pub fn put_run(head: &[u8], run: &[u8], last: Range<usize>, out: &mut Vec<u8>) -> Range<usize> {
    if out[last.clone()] == *head {
        out.extend_from_slice(run);
        return last;
    }
    let first = next_of_run(run, 0);
    let end = first.end;
    let last = put_framed(head, &run[first], out);
    out.extend_from_slice(&run[end..]);
    last
}

/// Where the next body of a run lies that goes on at `at`; the next repetition begins where that ends.
///
/// # Panics
/// If `at` is not where a repetition of a [`Run`] begins.
#[inline]
pub fn next_of_run(bytes: &[u8], at: usize) -> Range<usize> {
    let mut rest = &bytes[at..];
    let len = varint::take(&mut rest).expect("a run holds whole frames") as usize;
    let begin = bytes.len() - rest.len();
    begin + REPEATS.len()..begin + len
}

/// The body of a frame, without its length, that is a repetition.
#[inline]
pub(super) fn repeated(frame: &[u8]) -> Option<&[u8]> {
    frame.strip_prefix(&REPEATS)
}

/// Header and tag of a frame, if the next one may repeat them; `header` takes the first `used` bytes of it.
pub(super) fn repeatable<'a>(header: &Header, frame: &'a [u8], used: usize) -> Option<&'a [u8]> {
    if is_plain(header) { frame.get(..used + TAG) } else { None }
}

/// Whether it is a one-way message in one frame.
fn is_plain(header: &Header) -> bool {
    header.kind == Kind::Message && header.reply.is_none() && header.fragment.is_none()
}
