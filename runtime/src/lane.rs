//! The outbound side of one stream of a link: a bounded buffer that senders append to and one writer empties.
//!
//! A sender encodes and appends; the writer takes all that has gathered and writes it in one piece. So batches grow with the load
//! and nothing waits for a timer when there is none. A body longer than a fragment keeps a buffer of its own and goes out a
//! fragment at a time between the others' frames; what follows it to the same mailbox waits behind it, so that every pair keeps
//! its order.

mod chunk;

use std::collections::VecDeque;

use actogen_core::{
    ContextId, Handle,
    limits::FRAGMENT,
    wire::{self, Frame, FrameReader, Header},
};
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use chunk::{Behind, CHUNK, Chunk, Large};

/// So many bytes of long bodies of this context wait beside a first one. The writer never lacks the next fragment then; and what
/// waits is still in the processor's cache when its turn comes, which with 32 MiB cost a fifth of the bytes a second.
const LONG_AHEAD: usize = 2 * 1024 * 1024;

/// What a frame is to the bound of the lane: the more somebody already waits for it, the more room it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A message of this context: up to the lane's bound.
    Message,
    /// An answer, or what is forwarded for others: up to four times the lane's bound.
    Answer,
    /// A part of a long body that is forwarded: up to the bound of long bodies, and on no account of the others, since the rest of
    /// the body follows whether there is room or not.
    Part,
    /// Route messages, dead replies and notices, which quotas of their own bound (protocol rule 14).
    Notice,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneError {
    /// The lane holds all that it may.
    Full,
    /// The link is gone.
    Closed,
    /// The sender found its way before the path to its receiver changed: it is to look for it again.
    Old,
}

#[derive(Debug, Default)]
struct State {
    /// Chunks that are full.
    full: VecDeque<Chunk>,
    /// The chunk that is being filled.
    filling: Chunk,
    large: VecDeque<Large>,
    /// Flushes that wait until no long body is left for a context.
    flushes: Vec<(ContextId, Chunk)>,
    /// What this context sends by a way that it found under an earlier generation of routes goes here no more.
    since: u64,
    /// Bytes of frames held, those that wait behind long bodies included.
    held: usize,
    /// Bytes held of parts of forwarded bodies.
    parts_held: usize,
    large_held: usize,
    next_number: u64,
    envelopes: u64,
    /// Messages of this context: those that [`Lane::append_alike`] took.
    sent: u64,
    closed: bool,
    /// The writer has taken a chunk and not yet come back for the next.
    writing: bool,
    /// The writer has found nothing and waits for work. Whoever brings some clears it and wakes the writer; the others need not.
    parked: bool,
}

impl State {
    /// The chunk that a frame to a mailbox belongs in now: behind a long body to the same one, or with all others.
    fn chunk_for(&mut self, pair: (ContextId, Handle)) -> &mut Chunk {
        match self.large.iter_mut().find(|large| large.pair == pair) {
            Some(ahead) => ahead.last_behind(),
            None => &mut self.filling,
        }
    }

    fn takes(&self, generation: u64) -> Result<(), LaneError> {
        if self.closed {
            Err(LaneError::Closed)
        } else if generation < self.since {
            Err(LaneError::Old)
        } else {
            Ok(())
        }
    }

    /// Appends the flushes that wait for no long body any more. Long bodies are this context's own, and none begins behind a flush.
    fn let_flushes_go(&mut self) {
        let mut left = Vec::new();
        for (to, flush) in std::mem::take(&mut self.flushes) {
            if self.large.iter().any(|large| large.pair.0 == to) {
                left.push((to, flush));
            } else {
                let before = std::mem::take(&mut self.filling);
                self.full.extend([before, flush].into_iter().filter(|c| !c.frames.is_empty()));
            }
        }
        self.flushes = left;
    }

    /// Begins another chunk when this one is full, so that a burst goes to the transport in pieces and none of it is moved again.
    fn seal(&mut self) {
        if self.filling.frames.len() >= CHUNK {
            let full = std::mem::replace(&mut self.filling, Chunk::with_capacity(CHUNK));
            self.full.push_back(full);
        }
    }
}

/// One outbound lane.
#[derive(Debug)]
pub(crate) struct Lane {
    state: Mutex<State>,
    bound: usize,
    /// For messages of this context.
    long_bound: usize,
    /// For answers, and those that are forwarded.
    parts_bound: usize,
    work: Notify,
    room: Notify,
    idle: Notify,
}

impl Lane {
    /// `first_number` is the number of the first long body. Another lane begins with another, so that the rest of a body that a
    /// broken link cut off is never taken for the beginning of one that comes by a later link, or in a later life.
    pub(crate) fn new(bound: usize, large_bound: usize, first_number: u64) -> Self {
        Self {
            state: Mutex::new(State { next_number: first_number, ..State::default() }),
            bound,
            long_bound: large_bound.min(LONG_AHEAD),
            parts_bound: large_bound,
            work: Notify::new(),
            room: Notify::new(),
            idle: Notify::new(),
        }
    }

    /// Appends one frame, or a body that must be cut. `pair` names the destination mailbox. It is not one of this context's own, or its
    /// sender knows that its path is not changing.
    pub(crate) fn append(
        &self,
        pair: (ContextId, Handle),
        header: &Header,
        payload: &[&[u8]],
        class: Class,
    ) -> Result<(), LaneError> {
        self.append_since(u64::MAX, pair, header, payload, class)
    }

    /// As [`Self::append`], by a way that was found under this generation of routes.
    pub(crate) fn append_since(
        &self,
        generation: u64,
        pair: (ContextId, Handle),
        header: &Header,
        payload: &[&[u8]],
        class: Class,
    ) -> Result<(), LaneError> {
        let len: usize = payload.iter().map(|part| part.len()).sum();
        if len > FRAGMENT {
            return self.append_long(generation, pair, header, payload.concat().into(), class);
        }
        let mut state = self.state.lock();
        state.takes(generation)?;
        let (held, bound) = match class {
            Class::Message => (state.held, self.bound),
            Class::Answer => (state.held, self.bound * 4),
            Class::Part => (state.parts_held, self.parts_bound),
            Class::Notice => (state.held, usize::MAX),
        };
        if held.saturating_add(len) > bound {
            return Err(LaneError::Full);
        }
        let chunk = state.chunk_for(pair);
        let bytes = chunk.put(header, payload);
        if class == Class::Part {
            chunk.parts += bytes;
            state.parts_held += bytes;
        } else {
            state.held += bytes;
        }
        state.seal();
        state.envelopes += 1;
        self.wake_writer(state);
        Ok(())
    }

    /// Appends a body that must be cut: it is longer than a fragment.
    pub(crate) fn append_long(
        &self,
        generation: u64,
        pair: (ContextId, Handle),
        header: &Header,
        payload: Bytes,
        class: Class,
    ) -> Result<(), LaneError> {
        let len = payload.len();
        // A message waits for its turn where an answer cannot: those have the room that forwarded bodies have.
        let bound = if class == Class::Message { self.long_bound } else { self.parts_bound };
        let mut state = self.state.lock();
        state.takes(generation)?;
        // While half is free a body may always begin, whatever its length: that is what `wait_for_room` waits for, and whoever finds no
        // room behind it would wait again, at once and for ever.
        if state.large_held * 2 > bound && state.large_held + len > bound {
            return Err(LaneError::Full);
        }
        let number = state.next_number;
        state.next_number += 1;
        state.large_held += len;
        // The reader at the other end counts frames.
        state.envelopes += len.div_ceil(FRAGMENT) as u64;
        let (header, behind) = (header.clone(), VecDeque::new());
        let large = Large { pair, header, number, payload, next: 0, behind };
        match state.large.iter_mut().find(|other| other.pair == pair) {
            Some(ahead) => ahead.behind.push_back(Behind::Large(Box::new(large))),
            None => state.large.push_back(large),
        }
        self.wake_writer(state);
        Ok(())
    }

    /// Appends a one-way message of this context whose header and tag are encoded already. It must not be longer than a fragment.
    pub(crate) fn append_alike(
        &self,
        generation: u64,
        pair: (ContextId, Handle),
        head: &[u8],
        body: &[u8],
    ) -> Result<(), LaneError> {
        let mut state = self.state.lock();
        state.takes(generation)?;
        if state.held + head.len() + body.len() > self.bound {
            return Err(LaneError::Full);
        }
        state.held += state.chunk_for(pair).put_alike(head, body);
        state.seal();
        state.envelopes += 1;
        state.sent += 1;
        self.wake_writer(state);
        Ok(())
    }

    /// From now on takes nothing more of this context by ways that were found before `generation`, and appends a flush behind all that
    /// the lane holds for a context, long bodies to their last fragment.
    pub(crate) fn flush(&self, generation: u64, to: ContextId, header: &Header, payload: &[&[u8]]) {
        let mut state = self.state.lock();
        state.since = state.since.max(generation);
        if state.closed {
            return;
        }
        let mut flush = Chunk::default();
        state.held += flush.put(header, payload);
        state.envelopes += 1;
        state.flushes.push((to, flush));
        state.let_flushes_go();
        self.wake_writer(state);
    }

    /// Appends a run of one-way messages that is passed on, behind this header and tag, with the room that forwarded frames have.
    pub(crate) fn append_run(
        &self,
        pair: (ContextId, Handle),
        head: &[u8],
        run: &[u8],
        count: usize,
    ) -> Result<(), LaneError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LaneError::Closed);
        }
        if state.held + count * head.len() + run.len() > self.bound * 4 {
            return Err(LaneError::Full);
        }
        let chunk = state.chunk_for(pair);
        let before = chunk.frames.len();
        chunk.head = wire::put_run(head, run, chunk.head.clone(), &mut chunk.frames);
        let spared = count * head.len();
        chunk.spared += spared;
        let bytes = chunk.frames.len() - before + spared;
        state.held += bytes;
        state.seal();
        state.envelopes += count as u64;
        self.wake_writer(state);
        Ok(())
    }

    /// Appends frames for one context that have waited beside the lane, unless more than half of its bound is taken; with `always` even then. They
    /// are taken out of `frames` when they are appended.
    pub(crate) fn append_piece(
        &self,
        to: ContextId,
        frames: &mut Vec<u8>,
        count: u64,
        always: bool,
    ) -> Result<(), LaneError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LaneError::Closed);
        }
        // As in `wait_for_room`, or whoever waits there would find no room here.
        if !always && state.held * 2 > self.bound {
            return Err(LaneError::Full);
        }
        state.envelopes += count;
        if state.large.iter().any(|large| large.pair.0 == to) {
            // Some may belong behind a long body to their mailbox, each by itself.
            let mut reader = FrameReader::new();
            reader.feed(std::mem::take(frames).into());
            while let Some(Frame { header, payload }) =
                reader.next().expect("a frame that this context has written can be read")
            {
                state.held += state.chunk_for((to, header.handle)).put(&header, &[&payload]);
                state.seal();
            }
            self.wake_writer(state);
            return Ok(());
        }
        let before = std::mem::take(&mut state.filling);
        let piece = Chunk { frames: std::mem::take(frames), ..Chunk::default() };
        state.held += piece.frames.len();
        state.full.extend([before, piece].into_iter().filter(|chunk| !chunk.frames.is_empty()));
        self.wake_writer(state);
        Ok(())
    }

    /// Appends frames that are encoded already: the link's own messages. They wait behind nothing and count as no envelope.
    pub(crate) fn append_own(&self, frames: &[u8]) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.filling.head = 0..0;
        state.filling.frames.extend_from_slice(frames);
        state.held += frames.len();
        state.seal();
        self.wake_writer(state);
    }

    fn wake_writer(&self, mut state: MutexGuard<'_, State>) {
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        if parked {
            self.work.notify_one();
        }
    }

    /// Waits until a sender that found the lane full may try again.
    pub(crate) async fn wait_for_room(&self) {
        let room = self.room.notified();
        tokio::pin!(room);
        room.as_mut().enable();
        {
            let state = self.state.lock();
            if state.closed
                || (state.held * 2 <= self.bound && state.large_held * 2 <= self.long_bound)
            {
                return;
            }
        }
        room.await;
    }

    /// What is to be written next; `None` once the lane is closed and empty.
    pub(crate) async fn take(&self) -> Option<Taken> {
        loop {
            {
                let mut state = self.state.lock();
                if let Some(taken) = take_chunk(&mut state) {
                    state.writing = true;
                    let roomy =
                        state.held * 2 <= self.bound && state.large_held * 2 <= self.long_bound;
                    drop(state);
                    if roomy {
                        self.room.notify_waiters();
                    }
                    return Some(taken);
                }
                state.writing = false;
                self.idle.notify_waiters();
                if state.closed {
                    return None;
                }
                state.parked = true;
            }
            self.work.notified().await;
        }
    }

    /// Waits until everything appended so far has been handed to the stream.
    pub(crate) async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            {
                let state = self.state.lock();
                if state.held + state.parts_held + state.large_held == 0 && !state.writing {
                    return;
                }
            }
            idle.await;
        }
    }

    /// Takes nothing more. What is held is still written; with `discard` it is dropped.
    pub(crate) fn close(&self, discard: bool) {
        let mut state = self.state.lock();
        state.closed = true;
        if discard {
            state.full = VecDeque::new();
            state.filling = Chunk::default();
            state.large.clear();
            state.flushes.clear();
            state.held = 0;
            state.parts_held = 0;
            state.large_held = 0;
            state.writing = false;
        }
        self.wake_writer(state);
        self.room.notify_waiters();
        self.idle.notify_waiters();
    }

    /// Frames of envelopes appended so far, the link's own messages not counted.
    pub(crate) fn envelopes(&self) -> u64 {
        self.state.lock().envelopes
    }

    /// How many messages [`Self::append_alike`] has taken. Counted here, where the lock is held anyway.
    pub(crate) fn sent(&self) -> u64 {
        self.state.lock().sent
    }

    /// Bytes held.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        let state = self.state.lock();
        state.held + state.parts_held + state.large_held
    }
}

/// What the writer takes at once, in the order in which it goes to the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) frames: Bytes,
    /// The payload of the last of the frames, if that is a fragment: a part of the body, which is not copied.
    pub(crate) fragment: Option<Bytes>,
}

/// Takes what has gathered, and one fragment of the long body whose turn it is.
fn take_chunk(state: &mut State) -> Option<Taken> {
    let Chunk { frames: mut chunk, parts, spared, .. } =
        state.full.pop_front().unwrap_or_else(|| {
            // What gathers next is likely as much as what gathered now.
            let next = Chunk::with_capacity(state.filling.frames.len());
            std::mem::replace(&mut state.filling, next)
        });
    state.parts_held -= parts;
    state.held -= chunk.len() - parts + spared;
    let mut fragment = None;
    if chunk.len() < CHUNK
        && state.full.is_empty()
        && state.filling.frames.is_empty()
        && let Some(mut large) = state.large.pop_front()
    {
        let fragments = large.payload.len().div_ceil(FRAGMENT);
        let range = large.next * FRAGMENT..large.payload.len().min((large.next + 1) * FRAGMENT);
        state.large_held -= range.len();
        let mut header = large.header.clone();
        header.fragment = Some(wire::FragmentField {
            number: large.number,
            index: u32::try_from(large.next).unwrap_or(u32::MAX),
            total: (large.next == 0).then_some(large.payload.len() as u64),
        });
        wire::put_head(&header, range.len(), &mut chunk);
        fragment = Some(large.payload.slice(range));
        large.next += 1;
        if large.next < fragments {
            state.large.push_back(large);
        } else {
            release(state, large);
            state.let_flushes_go();
        }
    }
    if chunk.is_empty() { None } else { Some(Taken { frames: chunk.into(), fragment }) }
}

/// A long body has gone out: what waited behind it follows, up to the next long body of the same pair.
fn release(state: &mut State, large: Large) {
    let mut behind = large.behind;
    while let Some(next) = behind.pop_front() {
        match next {
            Behind::Frames(chunk) => {
                let before = std::mem::take(&mut state.filling);
                state.full.extend([before, chunk].into_iter().filter(|c| !c.frames.is_empty()));
            }
            Behind::Large(mut next) => {
                next.behind = behind;
                state.large.push_back(*next);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actogen_core::{limits::MAX_FRAME, wire::FrameReader};

    const PAIR: (ContextId, Handle) = (ContextId(1), Handle(4000));

    fn lane() -> Lane {
        Lane::new(256 * 1024, 1024 * 1024, 7)
    }

    fn put(lane: &Lane, pair: (ContextId, Handle), payload: &[u8]) -> Result<(), LaneError> {
        lane.append(pair, &Header::to(pair.1), &[payload], Class::Message)
    }

    async fn drain(lane: &Lane) -> Vec<(Handle, Option<u32>, usize)> {
        lane.close(false);
        let mut reader = FrameReader::new();
        let mut got = Vec::new();
        while let Some(Taken { frames, fragment }) = lane.take().await {
            let chunk = [frames, fragment.unwrap_or_default()].concat();
            assert!(chunk.len() <= CHUNK + MAX_FRAME + 8);
            reader.feed(chunk.into());
            while let Some(frame) = reader.next().unwrap() {
                got.push((
                    frame.header.handle,
                    frame.header.fragment.map(|f| f.index),
                    frame.payload.len(),
                ));
            }
        }
        assert!(reader.at_boundary());
        got
    }

    #[tokio::test]
    async fn what_follows_a_long_body_waits_behind_it_and_others_pass() {
        let lane = lane();
        let other = (ContextId(1), Handle(4004));
        put(&lane, PAIR, &vec![0; 3 * FRAGMENT]).unwrap();
        put(&lane, PAIR, b"after").unwrap();
        put(&lane, PAIR, &vec![0; FRAGMENT + 1]).unwrap();
        put(&lane, PAIR, b"last").unwrap();
        put(&lane, other, b"passes").unwrap();
        let (same, passing): (Vec<_>, Vec<_>) =
            drain(&lane).await.into_iter().enumerate().partition(|(_, f)| f.0 == PAIR.1);
        assert_eq!(passing[0].0, 0, "the other pair's frame waits for no long body");
        let same: Vec<_> = same.into_iter().map(|(_, (_, index, len))| (index, len)).collect();
        let long = |index, len| (Some(index), len);
        assert_eq!(
            same,
            [
                long(0, FRAGMENT),
                long(1, FRAGMENT),
                long(2, FRAGMENT),
                (None, 5),
                long(0, FRAGMENT),
                long(1, 1),
                (None, 4)
            ]
        );
        assert_eq!(lane.held(), 0);
    }

    #[tokio::test]
    async fn a_full_lane_refuses_messages_keeps_room_for_answers_and_never_refuses_notices() {
        let lane = lane();
        let body = [0; 1024];
        let taken =
            std::iter::repeat_with(|| put(&lane, PAIR, &body)).take_while(Result::is_ok).count();
        assert!((200..=256).contains(&taken), "{taken}");
        assert_eq!(put(&lane, PAIR, &body), Err(LaneError::Full));
        assert_eq!(lane.append(PAIR, &Header::to(PAIR.1), &[&body], Class::Answer), Ok(()));
        while lane.append(PAIR, &Header::to(PAIR.1), &[&body], Class::Answer).is_ok() {}
        assert_eq!(lane.append(PAIR, &Header::to(PAIR.1), &[&body], Class::Notice), Ok(()));
        lane.close(true);
        assert_eq!(put(&lane, PAIR, &body), Err(LaneError::Closed));
        assert_eq!(lane.held(), 0);
    }

    #[tokio::test]
    async fn a_waiting_sender_goes_on_when_half_has_drained() {
        let lane = std::sync::Arc::new(lane());
        while put(&lane, PAIR, &[0; 1024]).is_ok() {}
        let waiting = tokio::spawn({
            let lane = lane.clone();
            async move {
                lane.wait_for_room().await;
                put(&lane, PAIR, &[0; 1024])
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        for _ in 0..2 {
            lane.take().await.unwrap();
        }
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn parts_of_a_forwarded_body_and_small_frames_take_no_room_from_each_other() {
        let lane = lane();
        let part = vec![0; FRAGMENT];
        let put = |class| lane.append(PAIR, &Header::to(PAIR.1), &[&part], class);
        while put(Class::Answer).is_ok() {}
        let parts = std::iter::repeat_with(|| put(Class::Part)).take_while(Result::is_ok).count();
        assert!((15..=16).contains(&parts), "{parts} parts of 64 KiB in 1 MiB");
        assert_eq!(drain(&lane).await.len() as u64, lane.envelopes());
        assert_eq!(lane.held(), 0);
    }

    #[tokio::test]
    async fn what_has_waited_beside_the_lane_goes_behind_a_long_body_to_its_mailbox_and_no_other() {
        let lane = lane();
        put(&lane, PAIR, &vec![0; 2 * FRAGMENT]).unwrap();
        let other = Handle(PAIR.1.0 + 4);
        let mut frames = Vec::new();
        for handle in [PAIR.1, other] {
            wire::put_frame(&Header::to(handle), &[b"x"], &mut frames);
        }
        lane.append_piece(PAIR.0, &mut frames, 2, false).unwrap();
        let order = [
            (other, None, 1),
            (PAIR.1, Some(0), FRAGMENT),
            (PAIR.1, Some(1), FRAGMENT),
            (PAIR.1, None, 1),
        ];
        assert_eq!(drain(&lane).await, order);
        assert_eq!((lane.held(), lane.envelopes()), (0, 4));
    }

    #[tokio::test]
    async fn whoever_is_told_of_room_finds_it_for_the_longest_body() {
        let lane = lane();
        let long = vec![0; 1024 * 1024];
        put(&lane, PAIR, &long[..700 * 1024]).unwrap();
        assert_eq!(put(&lane, PAIR, &long), Err(LaneError::Full));
        let mut reader = FrameReader::new();
        while lane.state.lock().large_held * 2 > 1024 * 1024 {
            reader.feed(lane.take().await.unwrap().frames);
            while reader.next().unwrap().is_some() {}
        }
        lane.wait_for_room().await;
        assert_eq!(put(&lane, PAIR, &long), Ok(()));
    }

    #[tokio::test]
    async fn each_frame_of_a_long_body_is_counted() {
        let lane = lane();
        put(&lane, PAIR, &vec![0; 3 * FRAGMENT + 1]).unwrap();
        put(&lane, PAIR, b"after").unwrap();
        assert_eq!(lane.envelopes(), 5);
        assert_eq!(drain(&lane).await.len(), 5);
    }

    #[tokio::test]
    async fn drained_waits_for_the_writer_to_come_back() {
        let lane = std::sync::Arc::new(lane());
        put(&lane, PAIR, b"x").unwrap();
        let drained = tokio::spawn({
            let lane = lane.clone();
            async move { lane.drained().await }
        });
        lane.take().await.unwrap();
        tokio::task::yield_now().await;
        assert!(!drained.is_finished());
        lane.close(false);
        assert_eq!(lane.take().await, None);
        drained.await.unwrap();
    }
}
