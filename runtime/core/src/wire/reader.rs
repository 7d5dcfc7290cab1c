//! Cuts a stream of chunks into frames.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{
    Frame, Header, Placed, Run, TAG, WireError,
    frame::{repeatable, repeated},
    varint,
};
use crate::limits::{FRAGMENT, MAX_FRAME};

/// Cuts a stream of chunks into frames.
///
/// Frames that lie inside one chunk are read there; one that straddles chunks is gathered first, and a repetition that is not
/// taken in a [`Run`] is spelled out.
#[derive(Debug, Default)]
pub struct FrameReader {
    chunk: Bytes,
    /// What of the chunk has been read.
    at: usize,
    partial: BytesMut,
    /// The last frame that had to be gathered or spelled out.
    gathered: Bytes,
    /// What the next frame may repeat: header and tag of the last one that was no repetition. Empty when that cannot be repeated.
    head: Vec<u8>,
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
                    self.place(Source::Chunk, begin..self.at).map(Some)
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
                    return self.place(Source::Gathered, begin..begin + len).map(Some);
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

    /// The repetitions that come next and lie whole in [`Self::chunk`]; they begin as the last frame that [`Self::next`] gave, if
    /// that gave one. `None` says nothing: ask [`Self::next`], which spells a repetition out.
    pub fn next_run(&mut self) -> Option<Run> {
        if self.head.is_empty() || !self.partial.is_empty() {
            return None;
        }
        let mut run = Run { bytes: self.at..self.at, frames: 0, bodies: 0, longest: 0 };
        let mut rest = &self.chunk[self.at..];
        while let Ok(Some(len)) = frame_len(&mut rest)
            && let Some((frame, behind)) = rest.split_at_checked(len)
            && let Some(body) = repeated(frame)
            && TAG + body.len() <= FRAGMENT
        {
            run.frames += 1;
            run.bodies += body.len();
            run.longest = run.longest.max(body.len());
            rest = behind;
            run.bytes.end = self.chunk.len() - rest.len();
        }
        self.at = run.bytes.end;
        (run.frames > 0).then_some(run)
    }

    /// Gives the last run back: its frames come by themselves then.
    pub fn give_back(&mut self, run: &Run) {
        debug_assert!(run.bytes.end == self.at, "something was read behind the run");
        self.at = run.bytes.start;
    }

    /// The chunk that is being read.
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// How many bytes the frame has that has begun and is not all there, as far as is known; 0 between frames.
    pub fn under_way(&self) -> usize {
        let mut gathered = &self.partial[..];
        frame_len(&mut gathered).ok().flatten().unwrap_or(0)
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

    fn place(&mut self, source: Source, frame: Range<usize>) -> Result<Placed<'_>, WireError> {
        let bytes = match source {
            Source::Chunk => &self.chunk[frame.clone()],
            Source::Gathered => &self.gathered[frame.clone()],
        };
        if let Some(body) = repeated(bytes) {
            self.gathered = spell_out(&self.head, body)?;
            let (header, used) = Header::decode(&self.gathered)?;
            return Ok(Placed {
                header,
                payload: used..self.gathered.len(),
                bytes: &self.gathered,
            });
        }
        let (header, used) = Header::decode(bytes)?;
        whole(bytes.len() - used)?;
        self.head.clear();
        self.head.extend_from_slice(repeatable(&header, bytes, used).unwrap_or_default());
        let bytes = match source {
            Source::Chunk => &self.chunk,
            Source::Gathered => &self.gathered,
        };
        Ok(Placed { header, bytes, payload: frame.start + used..frame.end })
    }
}

/// Where a frame lies.
#[derive(Clone, Copy)]
enum Source {
    Chunk,
    Gathered,
}

/// A repetition as the frame that it stands for.
fn spell_out(head: &[u8], body: &[u8]) -> Result<Bytes, WireError> {
    if head.is_empty() {
        return Err(WireError::Invalid("a repetition of what cannot be repeated"));
    }
    whole(TAG + body.len())?;
    Ok([head, body].concat().into())
}

/// A payload that is longer than a fragment travels in fragments. One that does not could not go on: with what the next hop adds to
/// its header it would be too long for a frame.
fn whole(payload: usize) -> Result<(), WireError> {
    if payload > FRAGMENT {
        return Err(WireError::TooLong { what: "a payload", is: payload, limit: FRAGMENT });
    }
    Ok(())
}

/// Reads a frame's length and leaves `bytes` behind it; `None` when the length itself is not there yet.
#[inline]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{ContextId, Handle},
        wire::{
            FragmentField, Kind, header::REPEATS, next_of_run, put_frame, put_repeated, put_run,
        },
    };

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

    /// A head, a body behind it, and repetitions with these bodies.
    fn repetitions(bodies: &[&[u8]]) -> Vec<u8> {
        let (first, others) = bodies.split_first().unwrap();
        let mut out = Vec::new();
        put_frame(&Header::to(Handle(1000)), &[b"the tag.", first], &mut out);
        others.iter().for_each(|body| put_repeated(body, &mut out));
        out
    }

    #[test]
    fn a_repetition_is_the_frame_that_it_stands_for_however_the_stream_is_cut() {
        let bodies: [&[u8]; 4] = [b"one", b"", b"three", &[7; 300]];
        let mut spelled_out = Vec::new();
        for body in bodies {
            put_frame(&Header::to(Handle(1000)), &[b"the tag.", body], &mut spelled_out);
        }
        let all = |stream: &[u8], cut: usize| {
            let (mut reader, mut got) = (FrameReader::new(), Vec::new());
            for chunk in stream.chunks(cut) {
                reader.feed(Bytes::copy_from_slice(chunk));
                while let Some(frame) = reader.next().unwrap() {
                    got.push(frame);
                }
            }
            assert!(reader.at_boundary());
            got
        };
        for cut in [1, 5, 23, 1000] {
            assert_eq!(all(&repetitions(&bodies), cut), all(&spelled_out, 1000));
        }
    }

    #[test]
    fn repetitions_come_as_a_run_as_far_as_they_lie_in_one_chunk() {
        let stream = repetitions(&[b"one", b"two", b"three", b"four"]);
        let cut = stream.len() - 2;
        let mut reader = FrameReader::new();
        assert_eq!(reader.next_run(), None, "nothing to repeat yet");
        reader.feed(Bytes::copy_from_slice(&stream[..cut]));
        assert_eq!(reader.next_run(), None, "a frame that is none");
        reader.next().unwrap().unwrap();
        let run = reader.next_run().unwrap();
        assert_eq!((run.frames, run.bodies, run.longest), (2, 8, 5));
        reader.give_back(&run);
        assert_eq!(reader.next_run(), Some(run.clone()));
        let two = next_of_run(reader.chunk(), run.bytes.start);
        let three = next_of_run(reader.chunk(), two.end);
        assert_eq!(
            (&reader.chunk()[two], &reader.chunk()[three.clone()]),
            (&b"two"[..], &b"three"[..])
        );
        assert_eq!(three.end, run.bytes.end);
        assert_eq!((reader.next_run(), reader.next()), (None, Ok(None)), "not all there");
        assert_eq!(reader.under_way(), 2 + 4);
        reader.feed(Bytes::copy_from_slice(&stream[cut..]));
        assert_eq!(reader.next_run(), None, "part of it was in another chunk");
        assert_eq!(&reader.next().unwrap().unwrap().payload[..], b"the tag.four");
        assert!(reader.at_boundary() && reader.under_way() == 0);
    }

    #[test]
    fn a_run_goes_on_behind_another_head() {
        let stream = repetitions(&[b"one", b"two", b"three"]);
        let mut reader = FrameReader::new();
        reader.feed(stream.into());
        reader.next().unwrap().unwrap();
        let run = reader.next_run().unwrap();
        let run = &reader.chunk()[run.bytes];
        let mut plain = Vec::new();
        let onward = Header { source: Some(ContextId(9)), ..Header::to(Handle(1000)) };
        put_frame(&onward, &[b"the tag."], &mut plain);
        let head = &plain[1..];
        let mut out = Vec::new();
        let last = put_run(head, run, 0..0, &mut out);
        assert_eq!(put_run(head, run, last.clone(), &mut out), last, "said once");
        let mut reader = FrameReader::new();
        reader.feed(out.into());
        let mut got = Vec::new();
        while let Some(frame) = reader.next().unwrap() {
            assert_eq!(frame.header, onward);
            got.push(frame.payload.slice(8..));
        }
        assert_eq!(got, [&b"two"[..], b"three", b"two", b"three"]);
    }

    #[test]
    fn only_a_whole_one_way_message_can_be_repeated() {
        let fragment = FragmentField { number: 1, index: 1, total: None };
        let refused = [
            Header::to(Handle(1000)).reply_to(Handle(5)),
            Header { fragment: Some(fragment), ..Header::to(Handle(1000)) },
            Header::to(Handle(1000)).kind(Kind::Reply),
        ];
        for header in refused {
            let mut stream = Vec::new();
            put_frame(&Header::to(Handle(1000)), &[b"the tag."], &mut stream);
            put_frame(&header, &[b"the tag."], &mut stream);
            put_repeated(b"", &mut stream);
            let mut reader = FrameReader::new();
            reader.feed(stream.into());
            assert!(reader.next().unwrap().is_some() && reader.next().unwrap().is_some());
            assert_eq!(reader.next_run(), None);
            assert!(matches!(reader.next(), Err(WireError::Invalid(_))), "{header:?}");
        }
        let mut reader = FrameReader::new();
        reader.feed(Bytes::from_static(&[2, REPEATS[0], REPEATS[1]]));
        assert!(matches!(reader.next(), Err(WireError::Invalid(_))), "the first of a stream");
    }

    #[test]
    fn a_repetition_that_stands_for_a_longer_payload_is_refused_as_well() {
        let mut stream = Vec::new();
        put_frame(&Header::to(Handle(1000)), &[b"the tag."], &mut stream);
        for (longer, is_taken) in [(0, true), (1, false)] {
            let body = vec![7; FRAGMENT - TAG + longer];
            let mut stream = stream.clone();
            put_repeated(&body, &mut stream);
            let chunk = Bytes::from(stream);
            let (mut whole, mut runs) = (FrameReader::new(), FrameReader::new());
            for reader in [&mut whole, &mut runs] {
                reader.feed(chunk.clone());
                reader.next().unwrap().unwrap();
            }
            assert_eq!(whole.next().is_ok(), is_taken);
            assert_eq!(runs.next_run().is_some(), is_taken);
        }
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
    fn the_longest_payload_is_read_and_a_longer_one_which_could_not_go_on_is_refused() {
        for (longer, is_taken) in [(0, true), (1, false)] {
            let header = Header::to(Handle(1000));
            let payload = vec![7; FRAGMENT + longer];
            let mut bytes = Vec::new();
            put_frame(&header, &[&payload], &mut bytes);
            let mut reader = FrameReader::new();
            reader.feed(bytes.into());
            let is = payload.len();
            let expected = match is_taken {
                true => Ok(Some(Frame { header, payload: payload.into() })),
                false => Err(WireError::TooLong { what: "a payload", is, limit: FRAGMENT }),
            };
            assert_eq!(reader.next(), expected);
        }
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
    fn a_one_way_message_on_a_direct_link_costs_at_most_16_bytes_over_tag_and_body_and_its_repetition_4_over_the_body()
     {
        let tag_and_body = [0_u8; 8 + 64];
        let mut out = Vec::new();
        put_frame(&Header::to(Handle(u64::MAX)), &[&tag_and_body], &mut out);
        assert!(
            out.len() - tag_and_body.len() <= 16,
            "{} bytes over",
            out.len() - tag_and_body.len()
        );
        let before = out.len();
        put_repeated(&tag_and_body, &mut out);
        assert!(out.len() - before - tag_and_body.len() <= 4);
    }
}
