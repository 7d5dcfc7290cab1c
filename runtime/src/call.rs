//! Calls: a request's wait for its answer, and the answers that go back.

use std::{
    future::Future,
    pin::Pin,
    task::{self, Poll},
    time::Duration,
};

use actogen_core::{
    Address, ContextId, Dead, DeadReason, Handle, Handled, StreamId,
    limits::FRAGMENT,
    offence::{Offence, OffenceKind},
    pending::NotAwaited,
    policy::Origin,
    wire::{Header, Kind},
};
use tokio::sync::oneshot;

use crate::{
    batch::{Batch, Item},
    context::{Context, Waiter},
    deadlines,
    direct::Load,
    envelope::Outcome,
    lane::{Class, LaneError},
    send::PostError,
    way::Way,
};

/// A request under way. Resolves to its [`Outcome`]; dropping it stops the wait.
#[derive(Debug)]
#[must_use = "a call does nothing unless it is awaited"]
pub struct Call {
    pub(crate) context: Context,
    pub(crate) handle: Handle,
    asked: Address,
    /// The request is on its way: whoever gives the call up says so there.
    has_left: bool,
    /// Where the call waits in the line of those that keep the limit for requests.
    place: Option<deadlines::Place>,
    end: End,
    answer: oneshot::Receiver<Outcome>,
}

/// How a call has ended, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    None,
    /// It has its outcome.
    Answered,
    /// The limit has passed.
    Late,
}

impl Call {
    /// Where the answer goes.
    pub fn reply_handle(&self) -> Handle {
        self.handle
    }

    /// The context's limit for requests.
    pub fn limit(&self) -> Duration {
        self.context.limits().request_time
    }

    /// Ends the call as [`Outcome::Late`] when the context's limit for requests has passed from now, or a little more: a part in 64 of it, or a millisecond.
    /// Cheaper than a timer.
    pub fn keep_limit(&mut self) {
        if self.place.is_none() {
            self.place = Some(self.context.0.deadlines.begin(&self.context, self.handle));
        }
    }

    /// Notes that the request has left. Dropping the call before its answer gives the request up at the other side as well, if that
    /// has not begun to handle it.
    pub fn note_left(&mut self) {
        self.has_left = true;
    }
}

impl Future for Call {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Outcome> {
        let answer = task::ready!(Pin::new(&mut self.answer).poll(cx));
        let outcome = answer.unwrap_or_else(|_| {
            let text = format!("{} has shut down", self.context.id());
            let (reason, handled) = (DeadReason::Shutdown, Handled::Maybe);
            Outcome::Dead(Dead::new(reason, handled, self.context.id(), text))
        });
        self.end = if matches!(outcome, Outcome::Late) { End::Late } else { End::Answered };
        Poll::Ready(outcome)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.context.0.deadlines.end(place);
        }
        let is_given_up = match self.end {
            // Whoever answered has taken it out of the table.
            End::Answered => false,
            End::Late => true,
            End::None => self.context.0.pending.lock().cancel(self.handle).is_some(),
        };
        if is_given_up && self.has_left {
            self.context.give_up(self.asked, self.handle);
        }
    }
}
impl Context {
    /// Begins to wait for an answer from an address. The answer comes on the lane of `serves`, the mailbox that asks, so that it
    /// keeps its place among that mailbox's messages; without one, on the lane of the mailbox that is asked.
    ///
    /// # Errors
    /// The dead reply `Congested` when as many calls wait as may.
    pub fn begin_call(&self, to: Address, serves: Option<Handle>) -> Result<Call, Dead> {
        self.begin_wait(to, serves, None)
    }

    /// As [`Self::begin_call`], for a watch on this mailbox if it is one.
    pub(crate) fn begin_wait(
        &self,
        to: Address,
        serves: Option<Handle>,
        watches: Option<Handle>,
    ) -> Result<Call, Dead> {
        let lane = match serves.unwrap_or(to.handle).stream() {
            StreamId::CONTROL => StreamId::lane(0),
            lane => lane,
        };
        let (sender, answer) = oneshot::channel();
        let waiter = Waiter { answer: sender, watches };
        let handle =
            self.0.pending.lock().insert(to.context, lane, self.epoch(), waiter).map_err(|_| {
                let text = format!(
                    "{} has {} calls waiting, as many as it may",
                    self.id(),
                    self.limits().pending_calls
                );
                self.dead(DeadReason::Congested, text)
            })?;
        Ok(Call {
            context: self.clone(),
            handle,
            asked: to,
            has_left: false,
            place: None,
            end: End::None,
            answer,
        })
    }

    /// Asks one of the mailboxes under reserved handles and waits for its answer, within the limit for requests.
    ///
    /// # Errors
    /// The dead reply; one of reason `Refused` when the mailbox answered with a failure.
    pub async fn ask(&self, to: Address, body: &[u8]) -> Result<bytes::Bytes, Dead> {
        self.ask_within(to, body, self.limits().request_time).await
    }

    /// As [`Self::ask`], within a limit of its own.
    pub(crate) async fn ask_within(
        &self,
        to: Address,
        body: &[u8],
        limit: Duration,
    ) -> Result<bytes::Bytes, Dead> {
        let call = self.begin_call(to, None)?;
        match self.way(to)? {
            Way::Here(here) => {
                let item = Item::new(0, 0, Some(call.handle), 0..body.len());
                let body = bytes::Bytes::copy_from_slice(body);
                let mut request = Batch::new(to.handle, Origin::own(self.id()), body);
                request.push(item);
                here.bound.mailbox.push(self, request);
            }
            Way::Away(way) => match self.post_own(&way, body, Some(call.handle)) {
                Ok(()) => {}
                Err(PostError::Dead(dead)) => return Err(dead),
                Err(PostError::Full) => {
                    return Err(self.dead(DeadReason::Congested, "the lane is full".into()));
                }
            },
        }
        match tokio::time::timeout(limit, call).await {
            Ok(Outcome::Reply(bytes)) => Ok(bytes),
            Ok(Outcome::Dead(dead)) => Err(dead),
            Ok(Outcome::Failed(text)) => {
                Err(Dead::new(DeadReason::Refused, Handled::Yes, to.context, text))
            }
            Ok(Outcome::Local(_)) => {
                Err(self.dead(DeadReason::Malformed, "an answer of another kind".into()))
            }
            Ok(Outcome::Late) | Err(_) => {
                let text = format!("{} did not answer within {limit:?}", to.context);
                Err(Dead::new(DeadReason::NoAnswer, Handled::Maybe, self.id(), text))
            }
        }
    }

    /// Ends a wait that has lasted for as long as a request may.
    pub(crate) fn end_late(&self, handle: Handle) {
        let waiter = self.0.pending.lock().cancel(handle);
        if let Some(waiter) = waiter {
            // Whoever has given up meanwhile needs no word.
            drop(waiter.answer.send(Outcome::Late));
        }
    }

    /// Ends a wait with an answer from `source`.
    pub(crate) fn complete(&self, handle: Handle, source: ContextId, outcome: Outcome) {
        let waiter = self.0.pending.lock().answer(handle, source);
        match waiter {
            // A caller that has given up meanwhile needs no answer.
            Ok(waiter) => drop(waiter.answer.send(outcome)),
            Err(NotAwaited::Unknown) => self.0.counters.dropped_notices.add(1),
            Err(NotAwaited::Stranger { asked }) => {
                let kind = OffenceKind::StrangersAnswer;
                self.offence(&Offence { kind, offender: source, about: asked });
            }
        }
    }

    /// Sends an answer to a reply handle of another context, or ends the wait in this one.
    pub(crate) fn answer(&self, to: ContextId, handle: Handle, kind: Kind, payload: &[u8]) {
        if to == self.id() {
            let outcome = match kind {
                Kind::Failed => Outcome::Failed(String::from_utf8_lossy(payload).into_owned()),
                _ => Outcome::Reply(bytes::Bytes::copy_from_slice(payload)),
            };
            return self.complete(handle, to, outcome);
        }
        if payload.len() > self.max_message() {
            let text = format!(
                "the answer has {} bytes, the limit on the way is {}",
                payload.len(),
                self.max_message()
            );
            let dead = Dead::new(DeadReason::TooLarge, Handled::Yes, self.id(), text);
            return self.answer_dead(to, handle, &dead);
        }
        let sent = self.send_answer(to, handle, kind, payload, Class::Answer);
        self.answer_was_sent(to, handle, sent);
    }

    fn answer_was_sent(&self, to: ContextId, handle: Handle, sent: Result<(), LaneError>) {
        if sent == Err(LaneError::Full) {
            let text = format!("the answer of {} found no room on the way", self.id());
            let dead = Dead::new(DeadReason::Congested, Handled::Yes, self.id(), text);
            self.answer_dead(to, handle, &dead);
        }
    }

    /// As [`Self::answer`], of a value that may be kept.
    pub(crate) fn answer_owned(&self, to: ContextId, handle: Handle, payload: bytes::Bytes) {
        if to == self.id() {
            return self.complete(handle, to, Outcome::Reply(payload));
        }
        if !(FRAGMENT + 1..=self.max_message()).contains(&payload.len()) {
            return self.answer(to, handle, Kind::Reply, &payload);
        }
        let header = Header::to(handle).kind(Kind::Reply);
        let sent = self.emit(to, None, header, Load::Long(payload), Class::Answer);
        self.answer_was_sent(to, handle, sent);
    }

    /// Sends a dead reply to a reply handle, or ends the wait in this context.
    pub(crate) fn answer_dead(&self, to: ContextId, handle: Handle, dead: &Dead) {
        if to == self.id() {
            return self.complete(handle, to, Outcome::Dead(dead.clone()));
        }
        let mut payload = Vec::new();
        dead.encode(&mut payload);
        // A dead reply that cannot go causes no other: the asker learns of the lost route by its withdrawal.
        if self.send_answer(to, handle, Kind::Dead, &payload, Class::Notice).is_err() {
            self.0.counters.dropped_notices.add(1);
        }
    }

    fn send_answer(
        &self,
        to: ContextId,
        handle: Handle,
        kind: Kind,
        payload: &[u8],
        class: Class,
    ) -> Result<(), LaneError> {
        self.emit(to, None, Header::to(handle).kind(kind), Load::Parts(&[payload]), class)
    }
}
