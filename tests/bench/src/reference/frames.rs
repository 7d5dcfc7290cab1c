//! Notes in a stream of bytes, and what goes with them: each in postcard, behind its length (u32, little endian).

use serde::Serialize;

/// Bytes before each note.
const PREFIX: usize = 4;

/// Appends a note, encoding it in place.
pub(super) fn put(buffer: &mut Vec<u8>, note: &impl Serialize) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    *buffer = postcard::to_extend(note, std::mem::take(buffer)).expect("a vector takes any note");
    let length = u32::try_from(buffer.len() - start - PREFIX).expect("a note is far below 4 GiB");
    buffer[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
}

/// Cuts what arrives into frames, copying only those that arrive in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The beginning of a frame whose end has not come.
    begun: Vec<u8>,
}

impl Frames {
    /// Hands each frame that is complete now to `take`.
    ///
    /// # Errors
    /// The first of `take`'s own.
    #[inline]
    pub(super) fn feed<E>(
        &mut self,
        mut input: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.begun.is_empty() {
            self.fill(PREFIX, &mut input);
            let Some(length) = length(&self.begun) else { return Ok(()) };
            self.fill(PREFIX + length, &mut input);
            if self.begun.len() < PREFIX + length {
                return Ok(());
            }
            take(&self.begun[PREFIX..])?;
            self.begun.clear();
        }
        while let Some(length) = length(input) {
            let Some((frame, rest)) = input[PREFIX..].split_at_checked(length) else { break };
            take(frame)?;
            input = rest;
        }
        self.begun.extend_from_slice(input);
        Ok(())
    }

    /// Takes from the input until so many bytes are there, or all of it.
    fn fill(&mut self, until: usize, input: &mut &[u8]) {
        let missing = until.saturating_sub(self.begun.len());
        let (now, later) = input.split_at(missing.min(input.len()));
        self.begun.extend_from_slice(now);
        *input = later;
    }
}

#[inline]
fn length(input: &[u8]) -> Option<usize> {
    let prefix = input.first_chunk::<PREFIX>()?;
    Some(u32::from_le_bytes(*prefix) as usize)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::note::{MEDIUM, Note, SMALL};

    #[test]
    fn frames_survive_any_cut() {
        let notes: Vec<Note> =
            (0..5).map(|n| Note::new(n, if n == 2 { MEDIUM } else { SMALL })).collect();
        let mut stream = Vec::new();
        notes.iter().for_each(|note| put(&mut stream, note));
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            for piece in stream.chunks(size) {
                frames
                    .feed(piece, |frame| {
                        got.push(postcard::from_bytes::<Note>(frame).unwrap());
                        Ok::<_, Infallible>(())
                    })
                    .unwrap();
            }
            assert_eq!(got, notes, "in pieces of {size}");
            assert!(frames.begun.is_empty());
        }
    }
}
