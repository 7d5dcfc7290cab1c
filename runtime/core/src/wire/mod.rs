//! The wire codec, version 1: what bytes on a link's streams mean.
//!
//! Every stream of a link carries frames: a length (varint), a [`Header`], a payload. Route messages and the link's own business
//! ([`control`]) are frames to reserved handles, so that they take their place in the order of each stream. A body longer than
//! [`crate::limits::FRAGMENT`] travels as several frames ([`fragment`]).
//!
//! Whatever a peer sends is suspect: every length is checked before anything is allocated for it, and no input panics.

pub mod control;
pub mod direct;
pub mod fragment;
pub mod header;
pub mod varint;

use std::ops::Range;

use bytes::{Bytes, BytesMut};

pub use header::{Destination, FragmentField, Header, Kind, TraceContext};

use crate::limits::MAX_FRAME;

/// Why bytes are not what they should be. A peer that causes one on a link loses the link (parity row R5).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the bytes end inside a field")]
    Truncated,
    /// A field has a value that it cannot have.
    #[error("{0} has an impossible value")]
    Invalid(&'static str),
    /// A length is over its limit.
    #[error("{what} has {is} bytes, the limit is {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        is: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A field is followed by bytes that belong to nothing.
    #[error("{0} is followed by bytes that belong to nothing")]
    LeftOver(&'static str),
}

/// One frame as read from a stream: its header and the payload's bytes, uncopied where the frame lay in one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The addressing part.
    pub header: Header,
    /// For a message: its tag (8 bytes) and body; for other kinds see [`Kind`]. Opaque to whoever forwards it.
    pub payload: Bytes,
}

/// Appends a frame to `out`. `payload` may come in parts (a tag, a body).
///
/// # Panics
/// If the parts together are longer than [`crate::limits::FRAGMENT`] plus a tag: the caller fragments first.
pub fn put_frame(header: &Header, payload: &[&[u8]], out: &mut Vec<u8>) {
    let mut head = [0_u8; crate::limits::MAX_HEADER];
    let head_len = header.encode(&mut head);
    let body_len: usize = payload.iter().map(|part| part.len()).sum();
    let len = head_len + body_len;
    assert!(len <= MAX_FRAME, "a frame of {len} bytes: fragment the body first");
    varint::put(len as u64, out);
    out.extend_from_slice(&head[..head_len]);
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// Appends a frame whose header, and the first bytes of its payload, are encoded already.
///
/// # Panics
/// As [`put_frame`].
pub fn put_frame_of(head: &[u8], rest: &[u8], out: &mut Vec<u8>) {
    let len = head.len() + rest.len();
    assert!(len <= MAX_FRAME, "a frame of {len} bytes: fragment the body first");
    varint::put(len as u64, out);
    out.extend_from_slice(head);
    out.extend_from_slice(rest);
}

/// One frame where it lies: nothing is copied or counted for it.
#[derive(Debug)]
pub struct Placed<'a> {
    /// The addressing part.
    pub header: Header,
    /// The chunk, or the gathered frame, that holds the payload.
    pub bytes: &'a Bytes,
    /// Where in `bytes` the header begins.
    pub begin: usize,
    /// Where in `bytes` the payload lies.
    pub payload: Range<usize>,
}

impl Placed<'_> {
    /// The payload, to be read at once.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    /// The header and the first bytes of the payload, for [`FrameReader::next_like`].
    pub fn head(&self, of_payload: usize) -> &[u8] {
        &self.bytes[self.begin..self.payload.start + of_payload]
    }

    /// The frame with a payload of its own, which keeps the bytes that hold it.
    pub fn into_frame(self) -> Frame {
        Frame { header: self.header, payload: self.bytes.slice(self.payload) }
    }
}

/// Cuts a stream of chunks into frames.
///
/// Frames that lie inside one chunk are read there; one that straddles chunks is gathered first.
#[derive(Debug, Default)]
pub struct FrameReader {
    chunk: Bytes,
    /// What of the chunk has been read.
    at: usize,
    partial: BytesMut,
    /// The last frame that had to be gathered.
    gathered: Bytes,
}

impl FrameReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk. Call [`Self::next`] until it gives `None` before feeding another.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.at == self.chunk.len(), "the last chunk has not been read to its end");
        self.chunk = chunk;
        self.at = 0;
    }

    /// The next whole frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are no frame; the stream cannot be read on after that.
    #[expect(
        clippy::should_implement_trait,
        reason = "a fallible cursor over fed chunks is no Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, WireError> {
        Ok(self.next_placed()?.map(Placed::into_frame))
    }

    /// As [`Self::next`], without a hold on the bytes.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_placed(&mut self) -> Result<Option<Placed<'_>>, WireError> {
        if self.partial.is_empty() {
            let mut rest = &self.chunk[self.at..];
            return match frame_len(&mut rest)? {
                Some(len) if rest.len() >= len => {
                    let begin = self.chunk.len() - rest.len();
                    self.at = begin + len;
                    place(&self.chunk, begin..self.at).map(Some)
                }
                _ => {
                    self.partial.extend_from_slice(&self.chunk[self.at..]);
                    self.end_chunk();
                    Ok(None)
                }
            };
        }
        loop {
            let mut gathered = &self.partial[..];
            let missing = match frame_len(&mut gathered)? {
                Some(len) if gathered.len() >= len => {
                    let begin = self.partial.len() - gathered.len();
                    self.gathered = self.partial.split().freeze();
                    debug_assert!(
                        self.gathered.len() == begin + len,
                        "one frame is gathered, no more"
                    );
                    return place(&self.gathered, begin..begin + len).map(Some);
                }
                Some(len) => len - gathered.len(),
                None => 1,
            };
            let rest = &self.chunk[self.at..];
            if rest.is_empty() {
                self.end_chunk();
                return Ok(None);
            }
            let take = missing.min(rest.len());
            self.partial.extend_from_slice(&rest[..take]);
            self.at += take;
        }
    }

    /// Where in [`Self::chunk`] the rest of the next frame lies, if all of it does and it begins with `head`: a header, or more, that an earlier frame of this
    /// stream began with. So what one sender sends to one mailbox in a row is taken apart once. `None` says nothing: ask
    /// [`Self::next_placed`].
    pub fn next_like(&mut self, head: &[u8]) -> Option<Range<usize>> {
        if !self.partial.is_empty() {
            return None;
        }
        let mut rest = &self.chunk[self.at..];
        let len = frame_len(&mut rest).ok()??;
        let frame = rest.get(..len)?;
        if !frame.starts_with(head) {
            return None;
        }
        let begin = self.chunk.len() - rest.len();
        self.at = begin + len;
        Some(begin + head.len()..self.at)
    }

    /// The chunk that is being read.
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// Lets go of a chunk that has been read: a stream that is quiet afterwards holds nothing.
    fn end_chunk(&mut self) {
        (self.chunk, self.at) = (Bytes::new(), 0);
        self.gathered = Bytes::new();
    }

    /// Whether the stream could end here: no frame has begun and not finished.
    pub fn at_boundary(&self) -> bool {
        self.partial.is_empty() && self.at == self.chunk.len()
    }
}

/// Reads a frame's length and leaves `bytes` behind it; `None` when the length itself is not there yet.
fn frame_len(bytes: &mut &[u8]) -> Result<Option<usize>, WireError> {
    match varint::take(bytes) {
        Ok(len) if len > MAX_FRAME as u64 => {
            let is = usize::try_from(len).unwrap_or(usize::MAX);
            Err(WireError::TooLong { what: "a frame", is, limit: MAX_FRAME })
        }
        Ok(len) => Ok(Some(len as usize)),
        Err(WireError::Truncated) => Ok(None),
        Err(error) => Err(error),
    }
}

fn place(bytes: &Bytes, frame: Range<usize>) -> Result<Placed<'_>, WireError> {
    let (header, used) = Header::decode(&bytes[frame.clone()])?;
    Ok(Placed { header, bytes, begin: frame.start, payload: frame.start + used..frame.end })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Handle;

    fn frame(handle: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_frame(&Header::to(Handle(handle)), &[payload], &mut out);
        out
    }

    #[test]
    fn frames_come_out_the_same_however_the_stream_is_cut() {
        let bodies: Vec<Vec<u8>> = (0..40_usize).map(|n| vec![n as u8; n * n]).collect();
        let stream: Vec<u8> =
            bodies.iter().enumerate().flat_map(|(n, body)| frame(1000 + n as u64, body)).collect();
        for cut in [1, 2, 3, 7, 64, 1000, stream.len()] {
            let mut reader = FrameReader::new();
            let mut got = Vec::new();
            for chunk in stream.chunks(cut) {
                reader.feed(Bytes::copy_from_slice(chunk));
                while let Some(frame) = reader.next().unwrap() {
                    got.push(frame.payload.to_vec());
                }
            }
            assert!(reader.at_boundary());
            assert_eq!(got, bodies, "cut into chunks of {cut}");
        }
    }

    #[test]
    fn a_frame_inside_one_chunk_is_not_copied() {
        let chunk = Bytes::from(frame(1000, b"payload"));
        let within = chunk.as_ptr_range();
        let mut reader = FrameReader::new();
        reader.feed(chunk);
        let payload = reader.next().unwrap().unwrap().payload;
        assert!(within.contains(&payload.as_ptr()));
    }

    #[test]
    fn what_begins_like_an_earlier_frame_needs_no_second_look_and_nothing_else_is_taken_for_it() {
        let stream =
            [frame(1000, b"tag one"), frame(1000, b"tag two"), frame(1001, b"tag!")].concat();
        let cut = stream.len() - 3;
        let mut reader = FrameReader::new();
        reader.feed(Bytes::copy_from_slice(&stream[..cut]));
        let first = reader.next_placed().unwrap().unwrap();
        let head = first.head(4).to_vec();
        let rest = reader.next_like(&head).unwrap();
        assert_eq!(&reader.chunk()[rest], b"two");
        assert!(reader.next_like(&head).is_none(), "another header, and not all there");
        assert!(reader.next().unwrap().is_none());
        reader.feed(Bytes::copy_from_slice(&stream[cut..]));
        assert!(reader.next_like(&[]).is_none(), "part of it was in another chunk");
        assert_eq!(reader.next().unwrap().unwrap().header.handle, Handle(1001));
        assert!(reader.next_like(&[]).is_none() && reader.at_boundary());
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_its_bytes_arrive() {
        let mut bytes = Vec::new();
        varint::put(MAX_FRAME as u64 + 1, &mut bytes);
        let mut reader = FrameReader::new();
        reader.feed(bytes.into());
        assert_eq!(
            reader.next(),
            Err(WireError::TooLong { what: "a frame", is: MAX_FRAME + 1, limit: MAX_FRAME })
        );
    }

    #[test]
    fn the_longest_frame_is_read() {
        let header = Header::to(Handle(1000));
        let payload = vec![7; MAX_FRAME - header.encode(&mut [0; crate::limits::MAX_HEADER])];
        let mut bytes = Vec::new();
        put_frame(&header, &[&payload], &mut bytes);
        let mut reader = FrameReader::new();
        reader.feed(bytes.into());
        assert_eq!(reader.next(), Ok(Some(Frame { header, payload: payload.into() })));
    }

    #[test]
    fn a_stream_may_end_between_frames_only() {
        let bytes = frame(1000, b"payload");
        let mut reader = FrameReader::new();
        assert!(reader.at_boundary());
        reader.feed(Bytes::copy_from_slice(&bytes));
        assert!(!reader.at_boundary(), "a frame is there and has not been taken");
        reader.next().unwrap().unwrap();
        assert!(reader.at_boundary());
        let (begun, rest) = bytes.split_at(bytes.len() / 2);
        reader.feed(Bytes::copy_from_slice(begun));
        assert_eq!(reader.next(), Ok(None));
        assert!(!reader.at_boundary(), "a frame has begun and not finished");
        reader.feed(Bytes::copy_from_slice(rest));
        reader.next().unwrap().unwrap();
        assert!(reader.at_boundary());
    }

    #[test]
    fn an_empty_frame_is_an_error_not_a_spin() {
        let mut reader = FrameReader::new();
        reader.feed(Bytes::from_static(&[0]));
        assert_eq!(reader.next(), Err(WireError::Truncated));
    }

    #[test]
    fn a_one_way_message_on_a_direct_link_costs_at_most_16_bytes_over_tag_and_body() {
        let tag_and_body = [0_u8; 8 + 64];
        let mut out = Vec::new();
        put_frame(&Header::to(Handle(u64::MAX)), &[&tag_and_body], &mut out);
        assert!(
            out.len() - tag_and_body.len() <= 16,
            "{} bytes over",
            out.len() - tag_and_body.len()
        );
    }
}
