//! The way in: what becomes of each frame that a link brings.
//!
//! A frame for this context goes into its mailbox, or ends a wait. A frame for another goes on (`forward`). Anything
//! else is answered with a dead reply, if somebody waits, and counted. The Router's mailbox sees none of it: only the link's own
//! messages go there, and the stream that brought one waits until it is applied.

mod forward;

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Weak},
};

use actogen_core::{
    ContextId, Dead, DeadReason, Handle, Handled, Limits, StreamId,
    offence::{Offence, OffenceKind},
    policy::{Origin, Policy, Refusal, Side},
    route::judge::{self, Verdict},
    wire::{
        Destination, FrameReader, Header, Kind, Placed, Run, TAG, TraceContext, WireError,
        control::LinkMessage,
        direct::{Body, Lost},
        fragment::{FragmentError, Reassembly},
    },
};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::{
    batch::{Batch, Item, is_sparse},
    context::Context,
    envelope::Outcome,
    hold::Sort,
    link::LinkState,
    mailbox::Bound,
};

/// Long bodies given up that one stream keeps in mind. What follows of an older one reaches its receiver, which refuses it as the rest
/// of a body that is not whole.
const GIVEN_UP: usize = 64;

/// A one-way message that was judged, for its repetitions.
struct Judged {
    /// The generation of routes under which it was.
    generation: u64,
    went: Went,
}

/// Where a message went.
enum Went {
    /// To a mailbox here, if that is still there.
    Here { bound: Weak<Bound>, sent: Sent, item: Item },
    /// On its way, with this header and tag.
    On { next: Arc<LinkState>, pair: (ContextId, Handle), head: Vec<u8> },
}

/// What messages of one batch have in common.
#[derive(Clone, Copy)]
struct Sent {
    to: Handle,
    by: Origin,
    /// The span that sent them, if its ids name something: what a peer sends beside a message must not keep that from its receiver.
    trace: Option<TraceContext>,
}

impl Sent {
    fn of(header: &Header, by: Origin) -> Self {
        Self { to: header.handle, by, trace: header.trace.filter(TraceContext::is_valid) }
    }

    fn belongs_to(&self, batch: &Batch, bytes: &Bytes) -> bool {
        batch.takes(self.to, &self.by, self.trace.as_ref(), bytes)
    }

    fn batch(&self, bytes: &Bytes) -> Batch {
        Batch::new(self.to, self.by, bytes.clone()).of_trace(self.trace)
    }
}

/// What the Router must apply before the stream that brought it is read on.
#[derive(Debug)]
pub(crate) enum Word {
    /// A message of the link's own.
    Link(LinkMessage),
    /// A context says that one of the two ways to it is lost: the other one than this came by.
    Lost(ContextId, Lost),
}

/// What one stream of a link brings.
pub(crate) struct Inbound {
    context: Context,
    link: Arc<LinkState>,
    stream: StreamId,
    reassembly: Arc<Mutex<Reassembly>>,
    /// Long bodies that found no room on the way onward: what is still to come of them goes no further.
    given_up: VecDeque<(ContextId, u64)>,
    /// Who spoke last on this stream and might, under this generation of routes.
    spoke: Option<(u64, Origin)>,
    /// Messages for one mailbox, handed over together.
    batch: Option<(Arc<Bound>, Batch)>,
    /// The last frame, if it was a one-way message that went somewhere: its repetitions go there too.
    judged: Option<Judged>,
    /// So many repetitions are still to be taken one by one.
    singly: usize,
    /// What the last frame said to the Router.
    word: Option<Word>,
}

/// The reassembly that the streams of one link share.
pub(crate) fn reassembly(limits: &Limits, max_message: usize) -> Arc<Mutex<Reassembly>> {
    // A payload is a tag and a body.
    Arc::new(Mutex::new(Reassembly::new(
        limits.reassembly_bytes + TAG,
        max_message + TAG,
        limits.reassembly_idle,
    )))
}

impl Inbound {
    pub(crate) fn new(
        context: Context,
        link: Arc<LinkState>,
        stream: StreamId,
        reassembly: Arc<Mutex<Reassembly>>,
    ) -> Self {
        Self {
            context,
            link,
            stream,
            reassembly,
            given_up: VecDeque::new(),
            spoke: None,
            batch: None,
            judged: None,
            singly: 0,
            word: None,
        }
    }

    /// Takes a frame. Gives back what the Router must apply before the stream is read on.
    ///
    /// # Errors
    /// [`WireError`] when the frame is not one that may come here: the link is cut off for it (R5).
    pub(crate) fn take(&mut self, frame: &Placed<'_>) -> Result<Option<Word>, WireError> {
        self.judged = None;
        let header = &frame.header;
        if LinkMessage::is_for(header.handle) && header.kind == Kind::Message {
            self.flush();
            let message = LinkMessage::decode(header, frame.payload())?;
            if let LinkMessage::Report(report) = &message {
                self.link.note_report(report.taken);
                return Ok(None);
            }
            if let LinkMessage::Pause(of) | LinkMessage::Resume(of) = &message {
                if self.stream != StreamId::CONTROL {
                    return Err(WireError::Invalid("the stream of a pause"));
                }
                match &message {
                    LinkMessage::Pause(_) => self.context.link_pauses(&self.link, &of.contexts),
                    _ => self.context.link_resumes(&self.link, &of.contexts),
                }
                return Ok(None);
            }
            if let LinkMessage::Revocations(of) = &message {
                if self.stream != StreamId::CONTROL {
                    return Err(WireError::Invalid("the stream of revocations"));
                }
                self.context.link_revokes(&self.link, &of.list);
                return Ok(None);
            }
            return Ok(Some(Word::Link(message)));
        }
        if header.handle.stream() != self.stream {
            return Err(WireError::Invalid("the stream of a frame"));
        }
        self.envelope(frame);
        Ok(self.word.take())
    }

    /// Takes the repetitions of the last frame that come next, without judging them again; gives how many those were. After 0 they
    /// can be taken one by one. Called before each frame.
    pub(crate) fn take_run(&mut self, frames: &mut FrameReader) -> u64 {
        if self.singly > 0 {
            self.singly -= 1;
            return 0;
        }
        let Some(judged) = &self.judged else { return 0 };
        if judged.generation != self.context.routes().generation() {
            return 0;
        }
        if let Went::On { next, pair: (to, handle), .. } = &judged.went
            && next.hold.holds(handle.stream(), *to, Sort::Whole)
        {
            return 0;
        }
        if matches!(judged.went, Went::Here { .. }) && self.context.has_epochs() {
            return 0;
        }
        let Some(run) = frames.next_run() else { return 0 };
        let is_taken = match &judged.went {
            Went::Here { bound, sent, item } => {
                let (bound, sent, item) = (bound.upgrade(), *sent, *item);
                bound.is_some_and(|bound| self.gather_run(bound, sent, item, &run, frames.chunk()))
            }
            Went::On { next, pair, head } => {
                self.context.pass_run(next, *pair, head, &run, frames.chunk())
            }
        };
        if is_taken {
            return run.frames as u64;
        }
        // Or each of them would look at all that follow it.
        self.singly = run.frames - 1;
        frames.give_back(&run);
        0
    }

    /// Gathers a run for a mailbox; false when its messages must be looked at one by one.
    fn gather_run(
        &mut self,
        bound: Arc<Bound>,
        sent: Sent,
        item: Item,
        run: &Run,
        chunk: &Bytes,
    ) -> bool {
        if run.longest > self.context.max_message() {
            return false;
        }
        if let Some((_, batch)) = &mut self.batch
            && sent.belongs_to(batch, chunk)
        {
            batch.push_run(item, run);
            return true;
        }
        // Asked for each batch, as for messages that repeat nothing: a policy may change its mind.
        if self.refusal(&bound, &sent.by).is_some() {
            return false;
        }
        self.flush();
        let mut batch = sent.batch(chunk);
        batch.push_run(item, run);
        self.batch = Some((bound, batch));
        true
    }

    /// Why a mailbox takes nothing from this origin.
    fn refusal(&self, bound: &Bound, origin: &Origin) -> Option<Refusal> {
        // The family is read for those policies only that ask for it.
        if matches!(bound.policy, Policy::Anyone) {
            return None;
        }
        bound.policy.check(origin, &self.context.family()).err()
    }

    /// Hands over what has gathered for one mailbox.
    pub(crate) fn flush(&mut self) {
        hand_over(&self.context, self.batch.take());
    }

    fn envelope(&mut self, frame: &Placed<'_>) {
        let header = &frame.header;
        // Read before the judgement, so that a change during it makes that an old one.
        let generation = self.context.routes().generation();
        let origin = match self.origin(header, generation) {
            Ok(origin) => origin,
            Err(offence) => {
                self.context.offence(&offence);
                if header.kind == Kind::Message {
                    let dead = self.dead(DeadReason::Refused, Handled::No, offence.to_string());
                    let to = self.context.addressed(header);
                    let from = Origin {
                        source: self.link.peer,
                        authority: self.link.peer,
                        neighbour: None,
                    };
                    self.context.bury(to, from, 0, &dead);
                }
                return;
            }
        };
        let me = self.context.id();
        let (to, life) = match header.destination {
            Some(Destination { context, incarnation }) => (context, incarnation),
            None => (me, None),
        };
        match self.context.routes().judge(Some(self.link.id), to, life, header.hops) {
            Verdict::Deliver => self.deliver(frame, origin, generation),
            Verdict::Forward(link) => self.forward(link, frame, origin, generation),
            Verdict::Dead(dead) => self.kill(header, origin, &dead),
        }
    }

    /// Judges for whom a frame speaks. What one sender sends in a row is judged once, as long as no route changes.
    fn origin(&mut self, header: &Header, generation: u64) -> Result<Origin, Offence> {
        if let Some((judged, origin)) = self.spoke
            && judged == generation
            && header.source.unwrap_or(self.link.peer) == origin.source
            && header.authority.unwrap_or(origin.source) == origin.authority
        {
            return Ok(origin);
        }
        let neighbour = self.link.neighbour();
        let origin = judge::origin(self.context.routes(), self.link.id, neighbour, header)?;
        // A router's word may speak for whom its link led to last; nothing else may. A direct link's frames are judged by where they go
        // as well.
        if header.kind != Kind::Dead && neighbour.side != Side::Direct {
            self.spoke = Some((generation, origin));
        }
        Ok(origin)
    }

    fn deliver(&mut self, frame: &Placed<'_>, origin: Origin, generation: u64) {
        let Placed { header, bytes, payload } = frame;
        if self.context.is_late(&self.link, header, &origin) {
            return;
        }
        if header.handle.is_lost() && header.kind == Kind::Message {
            return self.lost(frame, origin);
        }
        let Some(field) = header.fragment else {
            let delivered = self.whole(header, origin, bytes, payload.clone());
            if let (true, Some(item), Some((bound, _))) =
                (frame.is_repeatable(), delivered, &self.batch)
            {
                let (bound, sent) = (Arc::downgrade(bound), Sent::of(header, origin));
                let went = Went::Here { bound, sent, item };
                self.judged = Some(Judged { generation, went });
            }
            return;
        };
        let now = self.context.now();
        let payload = frame.payload();
        let put = self.reassembly.lock().accept(now, origin.source, self.stream, field, payload);
        match put {
            Ok(Some(whole)) => {
                self.whole(header, origin, &whole, 0..whole.len());
            }
            Ok(None) => {}
            Err(error) => self.broken_body(header, origin, error),
        }
    }

    /// A context's word that a way to it is lost.
    fn lost(&mut self, frame: &Placed<'_>, origin: Origin) {
        self.flush();
        match Lost::from_bytes(frame.payload().get(TAG..).unwrap_or_default()) {
            Ok(lost) if origin.authority == origin.source => {
                self.word = Some(Word::Lost(origin.source, lost));
            }
            _ => {
                let text = "a word about a lost way is of whoever's way it is".to_owned();
                let dead = self.dead(DeadReason::Malformed, Handled::No, text);
                self.give_up(&frame.header, origin, &dead);
            }
        }
    }

    /// Delivers a payload that is all there, in `bytes` at `payload`; gives a message that waits in the batch now.
    fn whole(
        &mut self,
        header: &Header,
        origin: Origin,
        bytes: &Bytes,
        payload: Range<usize>,
    ) -> Option<Item> {
        let tag = if header.kind == Kind::Message { TAG } else { 0 };
        let (total, limit) = (payload.len().saturating_sub(tag), self.context.max_message());
        if total > limit && header.kind != Kind::Dead {
            let error = FragmentError::TooLarge { total: total as u64, limit };
            self.broken_body(header, origin, error);
            return None;
        }
        if header.kind == Kind::Message {
            return self.message(header, origin, bytes, payload);
        }
        self.flush();
        let payload = match is_sparse(payload.len(), bytes) {
            true => Bytes::copy_from_slice(&bytes[payload]),
            false => bytes.slice(payload),
        };
        let outcome = match header.kind {
            Kind::Failed => Outcome::Failed(String::from_utf8_lossy(&payload).into_owned()),
            Kind::Dead => match Dead::decode(&payload) {
                Ok(dead) => Outcome::Dead(dead),
                Err(error) => Outcome::Dead(self.dead(
                    DeadReason::Malformed,
                    Handled::Maybe,
                    error.to_string(),
                )),
            },
            _ => Outcome::Reply(payload),
        };
        self.context.complete(header.handle, origin.source, outcome);
        None
    }

    fn message(
        &mut self,
        header: &Header,
        origin: Origin,
        bytes: &Bytes,
        payload: Range<usize>,
    ) -> Option<Item> {
        let Some((tag, _)) = bytes[payload.clone()].split_first_chunk::<TAG>() else {
            let dead =
                self.dead(DeadReason::Malformed, Handled::No, "a message without a tag".into());
            self.give_up(header, origin, &dead);
            return None;
        };
        let tag = u64::from_le_bytes(*tag);
        let item = Item::new(tag, header.codec, header.reply, payload.start + TAG..payload.end);
        let sent = Sent::of(header, origin);
        if let Some((_, batch)) = &mut self.batch
            && sent.belongs_to(batch, bytes)
        {
            batch.push(item);
            return Some(item);
        }
        self.flush();
        let Some(bound) = self.context.mailboxes().get(header.handle) else {
            let dead = match self.context.mailboxes().stopped(header.handle) {
                Some(reason) => {
                    let text = format!(
                        "the actor {}/{} is gone: {reason}",
                        self.context.id(),
                        header.handle
                    );
                    self.dead(DeadReason::Stopped, Handled::No, text)
                }
                None => {
                    let text = format!("{} has no mailbox {}", self.context.id(), header.handle);
                    self.dead(DeadReason::NoHandle, Handled::No, text)
                }
            };
            self.give_up(header, origin, &dead);
            return None;
        };
        if let Some(refusal) = self.refusal(&bound, &origin) {
            let dead = self.dead(DeadReason::Refused, Handled::No, refusal.to_string());
            self.give_up(header, origin, &dead);
            return None;
        }
        let mut batch = sent.batch(bytes);
        batch.push(item);
        self.batch = Some((bound, batch));
        Some(item)
    }

    fn broken_body(&mut self, header: &Header, origin: Origin, error: FragmentError) {
        let reason = match error {
            FragmentError::TooLarge { .. } => DeadReason::TooLarge,
            // The rest of a body that was given up; its asker has been told.
            FragmentError::Orphan => return self.context.0.counters.dropped_notices.add(1),
            _ => DeadReason::Malformed,
        };
        let dead = self.dead(
            reason,
            if header.kind == Kind::Message { Handled::No } else { Handled::Yes },
            error.to_string(),
        );
        if header.kind == Kind::Message {
            // Once for each body: what follows of one that was refused is an orphan.
            self.give_up(header, origin, &dead);
        } else {
            // The answer itself is broken: whoever waits here is told in its place, behind what came before it.
            self.flush();
            self.context.complete(header.handle, origin.source, Outcome::Dead(dead));
        }
    }

    fn kill(&self, header: &Header, origin: Origin, dead: &Dead) {
        self.context.kill_frame(Some(&self.link), header, origin, dead);
    }

    fn give_up(&self, header: &Header, origin: Origin, dead: &Dead) {
        self.context.refuse_frame(Some(&self.link), header, origin, dead);
    }

    fn dead(&self, reason: DeadReason, handled: Handled, text: String) -> Dead {
        Dead::new(reason, handled, self.context.id(), text)
    }
}

fn hand_over(context: &Context, batch: Option<(Arc<Bound>, Batch)>) {
    if let Some((bound, batch)) = batch {
        bound.mailbox.push(context, batch.compact());
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Counts bytes that are no frame against the peer and gives the text with which its link is cut.
pub(crate) fn violation(context: &Context, link: &LinkState, error: &WireError) -> String {
    context.offence(&Offence {
        kind: OffenceKind::Malformed,
        offender: link.peer,
        about: link.peer,
    });
    format!("{} sent what is no frame: {error}", link.peer)
}
