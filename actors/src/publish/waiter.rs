//! Waits for the acknowledgements of one message. A pure machine: time, chance and the judgement of signatures are passed in.
//!
//! It is made before the message leaves, so that no acknowledgement can come too early. What counts must be for this id and this hash, by a
//! name that is required, at the level that was asked or higher, signed by the context to which the mesh's authority has bound that name. All
//! else is counted as ignored and changes nothing. So there is no false success while signatures hold; what is
//! lost on its way is a false failure, which another publish of the same id resolves.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actogen_runtime::core::{ContextId, Moment};

use super::{
    acknowledgement::{Acknowledgement, Answer},
    message::{AckLevel, MessageHash, MessageId},
    outcome::{Confirmed, IgnoredAcks, NotSent, Partial, ReliableError},
};
use crate::supervise::Backoff;

/// The longest wait before the message is sent again for the first time: above the time of a round trip and a short handler.
const FIRST_AGAIN: Duration = Duration::from_millis(250);

/// The longest wait at all between two sendings.
const MOST_AGAIN: Duration = Duration::from_secs(5);

/// No two sendings are nearer to each other, whatever chance says.
const LEAST_AGAIN: Duration = Duration::from_millis(20);

/// Why the signature of an acknowledgement is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worthless {
    Forged,
    Revoked,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the message, and look again at once.
    Send,
    /// Look again then.
    Wait(Moment),
    /// It is over.
    Done(Result<Confirmed, ReliableError>),
}

#[derive(Debug)]
struct Recipient {
    /// To whom the name was bound when the message was published. Who had it before has no say any more.
    context: ContextId,
    answer: Option<Answer>,
}

#[derive(Debug)]
pub(super) struct Waiter {
    id: MessageId,
    hash: MessageHash,
    level: AckLevel,
    recipients: BTreeMap<String, Recipient>,
    deadline: Moment,
    send_at: Moment,
    sent: u32,
    has_left: bool,
    ignored: IgnoredAcks,
}

impl Waiter {
    pub(super) fn new(
        (id, hash): (MessageId, MessageHash),
        level: AckLevel,
        required: impl IntoIterator<Item = (String, ContextId)>,
        now: Moment,
        deadline: Moment,
    ) -> Self {
        let recipient = |(name, context)| (name, Recipient { context, answer: None });
        Self {
            id,
            hash,
            level,
            recipients: required.into_iter().map(recipient).collect(),
            deadline,
            send_at: now,
            sent: 0,
            has_left: false,
            ignored: IgnoredAcks::default(),
        }
    }

    pub(super) fn id(&self) -> MessageId {
        self.id
    }

    pub(super) fn hash(&self) -> &MessageHash {
        &self.hash
    }

    /// Notes that the message has found a way at least once.
    pub(super) fn has_left(&mut self) {
        self.has_left = true;
    }

    /// Takes an acknowledgement, if it counts. What costs least is looked at first, the signature last: `judge` gives the names that the
    /// signer's certificate carries, if all of it holds.
    pub(super) fn take(
        &mut self,
        now: Moment,
        ack: &Acknowledgement,
        judge: impl FnOnce(&Acknowledgement) -> Result<Vec<String>, Worthless>,
    ) -> bool {
        match self.check(now, ack, judge) {
            Ok(()) => true,
            Err(count) => {
                *count(&mut self.ignored) += 1;
                false
            }
        }
    }

    fn check(
        &mut self,
        now: Moment,
        ack: &Acknowledgement,
        judge: impl FnOnce(&Acknowledgement) -> Result<Vec<String>, Worthless>,
    ) -> Result<(), fn(&mut IgnoredAcks) -> &mut u64> {
        if ack.id != self.id {
            return Err(|ignored| &mut ignored.other_id);
        }
        if ack.hash != self.hash {
            return Err(|ignored| &mut ignored.other_hash);
        }
        if now >= self.deadline {
            return Err(|ignored| &mut ignored.late);
        }
        let Some(recipient) = self.recipients.get_mut(&ack.name) else {
            return Err(|ignored| &mut ignored.stranger);
        };
        if recipient.answer.is_some() {
            return Err(|ignored| &mut ignored.duplicate);
        }
        if matches!(ack.answer, Answer::Reached(level) if level < self.level) {
            return Err(|ignored| &mut ignored.weaker);
        }
        if ack.signer != recipient.context {
            return Err(|ignored| &mut ignored.misnamed);
        }
        match judge(ack) {
            Err(Worthless::Forged) => return Err(|ignored| &mut ignored.forged),
            Err(Worthless::Revoked) => return Err(|ignored| &mut ignored.revoked),
            Ok(names) if !names.contains(&ack.name) => {
                return Err(|ignored| &mut ignored.misnamed);
            }
            Ok(_) => {}
        }
        recipient.answer = Some(ack.answer.clone());
        Ok(())
    }

    /// What is to be done now. `chance` is from 0 to 1: waits are a random part of a time that doubles, so that those who were cut off
    /// together do not come back together.
    pub(super) fn step(&mut self, now: Moment, chance: f64) -> Step {
        let answers = || self.recipients.values().map(|recipient| recipient.answer.as_ref());
        if answers().any(|answer| matches!(answer, Some(Answer::Rejected(_)))) {
            return Step::Done(Err(ReliableError::Rejected(Box::new(self.partial()))));
        }
        if answers().all(|answer| answer.is_some()) {
            return Step::Done(Ok(Confirmed { id: self.id, acked: self.acked() }));
        }
        if now >= self.deadline {
            return Step::Done(Err(match self.has_left {
                true => ReliableError::Timeout(Box::new(self.partial())),
                false if self.sent == 0 => ReliableError::NotSent(NotSent::TooLate),
                false => ReliableError::NotSent(NotSent::NoRoom),
            }));
        }
        if now < self.send_at {
            return Step::Wait(self.send_at.min(self.deadline));
        }
        let backoff = Backoff::new(FIRST_AGAIN, MOST_AGAIN, Duration::MAX);
        self.send_at = now + backoff.delay(self.sent, chance).max(LEAST_AGAIN);
        self.sent = self.sent.saturating_add(1);
        Step::Send
    }

    fn acked(&self) -> BTreeMap<String, AckLevel> {
        let level = |(name, recipient): (&String, &Recipient)| match recipient.answer {
            Some(Answer::Reached(level)) => Some((name.clone(), level)),
            _ => None,
        };
        self.recipients.iter().filter_map(level).collect()
    }

    pub(super) fn partial(&self) -> Partial {
        let (mut rejected, mut missing) = (BTreeMap::new(), BTreeSet::new());
        for (name, recipient) in &self.recipients {
            match &recipient.answer {
                Some(Answer::Rejected(why)) => drop(rejected.insert(name.clone(), why.clone())),
                Some(Answer::Reached(_)) => {}
                None => drop(missing.insert(name.clone())),
            }
        }
        Partial {
            id: self.id,
            acked: self.acked(),
            rejected,
            missing: missing.into_iter().collect(),
            ignored_acks: self.ignored,
        }
    }
}

#[cfg(test)]
mod tests;
