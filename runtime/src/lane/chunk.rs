//! What a lane holds: frames one behind the other, and long bodies with what waits behind them.

use std::{collections::VecDeque, ops::Range};

use actogen_core::{
    ContextId, Handle,
    wire::{self, Header},
};
use bytes::Bytes;

/// From so many bytes on, a chunk takes no further frame. What the writer takes at once is about as much.
pub(super) const CHUNK: usize = 128 * 1024;

/// One long body on its way out.
#[derive(Debug)]
pub(super) struct Large {
    pub(super) pair: (ContextId, Handle),
    pub(super) header: Header,
    pub(super) number: u64,
    pub(super) payload: Bytes,
    pub(super) next: usize,
    pub(super) behind: VecDeque<Behind>,
}

impl Large {
    /// The chunk that is being filled behind the body.
    pub(super) fn last_behind(&mut self) -> &mut Chunk {
        let has_room = |last: &Behind| match last {
            Behind::Frames(chunk) => chunk.frames.len() < CHUNK,
            Behind::Large(_) => false,
        };
        if !self.behind.back().is_some_and(has_room) {
            self.behind.push_back(Behind::Frames(Chunk::default()));
        }
        match self.behind.back_mut() {
            Some(Behind::Frames(chunk)) => chunk,
            _ => unreachable!("a chunk was pushed to the back, or is there"),
        }
    }
}

#[derive(Debug)]
pub(super) enum Behind {
    Frames(Chunk),
    Large(Box<Large>),
}

/// Frames one behind the other.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) frames: Vec<u8>,
    /// How many of the bytes are parts of forwarded bodies.
    pub(super) parts: usize,
    /// Where header and tag lie that the next frame may repeat; empty if the last frame cannot be repeated.
    pub(super) head: Range<usize>,
    /// Bytes that repetitions count beside their own: each counts as the frame that it stands for, or the bound would let a few times as
    /// many small messages in as their receiver has room for.
    pub(super) spared: usize,
}

impl Chunk {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { frames: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Appends a frame; gives how many bytes it takes.
    pub(super) fn put(&mut self, header: &Header, payload: &[&[u8]]) -> usize {
        self.head = 0..0;
        let before = self.frames.len();
        wire::put_frame(header, payload, &mut self.frames);
        self.frames.len() - before
    }

    /// Appends a one-way message, without header and tag where both are those of the frame before; gives how many bytes it counts.
    pub(super) fn put_alike(&mut self, head: &[u8], body: &[u8]) -> usize {
        let before = self.frames.len();
        if self.frames[self.head.clone()] == *head {
            wire::put_repeated(body, &mut self.frames);
            self.spared += head.len();
            return self.frames.len() - before + head.len();
        }
        self.head = wire::put_framed(head, body, &mut self.frames);
        self.frames.len() - before
    }
}
