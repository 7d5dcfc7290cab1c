//! Why something could not be delivered or answered: the payload of an `IS_DEAD` reply.
//!
//! semantics.md lists every case; protocol rules 12 and 13 say who may speak such a reply and what it tells about the request.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    id::ContextId,
    wire::{WireError, varint},
};

/// The longest text of a dead reply in bytes; a longer one is cut at a character boundary.
pub const MAX_TEXT: usize = 1024;

/// Why an envelope or a waiter is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[repr(u8)]
pub enum DeadReason {
    /// The destination context has no mailbox of this handle, and never had as far as it remembers.
    NoHandle = 1,
    /// The mailbox existed; its actor has stopped.
    Stopped = 2,
    /// The actor does not accept this message, or this build does not know it.
    UnknownMessage = 3,
    /// The body does not decode, or has bytes left over.
    Malformed = 4,
    /// There is no route to the context, and never was one as far as is remembered.
    NoRoute = 5,
    /// The route vanished: the context was lost, its link closed, or it was detached.
    RouteLost = 6,
    /// The address belongs to an earlier life of the context.
    Stale = 7,
    /// A policy refused it.
    Refused = 8,
    /// Larger than the limit of some hop, in either direction.
    TooLarge = 9,
    /// The mailbox holds all that it may, and so does what is parked for it.
    MailboxFull = 10,
    /// A queue on the way was full.
    Congested = 11,
    /// The hop limit was reached: the routes hold a loop.
    Loop = 12,
    /// The context is shutting down, or its broker failed.
    Shutdown = 13,
    /// The handler dropped its reply port without an answer.
    NoAnswer = 14,
    /// The receiver of the answer was closed by its sender: the request was given up before its turn came.
    Closed = 15,
}

impl DeadReason {
    /// All reasons, in the order of their codes.
    pub const ALL: [Self; 15] = [
        Self::NoHandle,
        Self::Stopped,
        Self::UnknownMessage,
        Self::Malformed,
        Self::NoRoute,
        Self::RouteLost,
        Self::Stale,
        Self::Refused,
        Self::TooLarge,
        Self::MailboxFull,
        Self::Congested,
        Self::Loop,
        Self::Shutdown,
        Self::NoAnswer,
        Self::Closed,
    ];

    /// The reason's number on the wire.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason with this number on the wire.
    pub const fn from_code(code: u8) -> Option<Self> {
        if code == 0 || code as usize > Self::ALL.len() {
            None
        } else {
            Some(Self::ALL[code as usize - 1])
        }
    }
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHandle => "no such mailbox",
            Self::Stopped => "the actor has stopped",
            Self::UnknownMessage => "the actor does not accept this message",
            Self::Malformed => "the message does not decode",
            Self::NoRoute => "no route to the context",
            Self::RouteLost => "the route to the context was lost",
            Self::Stale => "the address belongs to an earlier life of the context",
            Self::Refused => "refused by policy",
            Self::TooLarge => "larger than a limit on the way",
            Self::MailboxFull => "the mailbox is full",
            Self::Congested => "a queue on the way was full",
            Self::Loop => "the hop limit was reached",
            Self::Shutdown => "the context is shutting down",
            Self::NoAnswer => "the handler gave no answer",
            Self::Closed => "closed by the sender",
        })
    }
}

/// Whether the request was handled before it died, said by whoever knows (protocol rule 13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Handled {
    /// It was not: the hop that held the undelivered request says so.
    No = 0,
    /// It may have been: a withdrawal, a shutdown or a lost link woke the waiter.
    Maybe = 1,
    /// It was; only its answer could not be carried.
    Yes = 2,
}

impl Handled {
    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::No),
            1 => Some(Self::Maybe),
            2 => Some(Self::Yes),
            _ => None,
        }
    }
}

/// A dead reply: the reason, what it says of the request, who found out, and a text for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// Why.
    pub reason: DeadReason,
    /// What the asker may conclude about the request.
    pub handled: Handled,
    /// The context that found out.
    pub by: ContextId,
    /// What happened, naming the contexts involved; at most [`MAX_TEXT`] bytes.
    pub text: String,
}

impl Dead {
    /// A dead reply; a text longer than [`MAX_TEXT`] is cut.
    pub fn new(
        reason: DeadReason,
        handled: Handled,
        by: ContextId,
        text: impl Into<String>,
    ) -> Self {
        let mut text = text.into();
        if text.len() > MAX_TEXT {
            let cut = (0..=MAX_TEXT).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(cut);
        }
        Self { reason, handled, by, text }
    }

    /// Appends the wire form: reason (1 byte), handled (1 byte), `by` (varint), then the text to the end.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.reason.code());
        out.push(self.handled as u8);
        varint::put(self.by.0, out);
        out.extend_from_slice(self.text.as_bytes());
    }

    /// Reads the wire form. A reason that this version does not know becomes [`DeadReason::RouteLost`] with its text kept:
    /// a waiter is woken even by a newer peer.
    ///
    /// # Errors
    /// [`WireError`] when bytes are missing, `handled` is out of range, or the text is too long or no UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let [reason, handled, rest @ ..] = bytes else { return Err(WireError::Truncated) };
        let reason = DeadReason::from_code(*reason).unwrap_or(DeadReason::RouteLost);
        let handled = Handled::from_code(*handled).ok_or(WireError::Invalid("handled"))?;
        let mut rest = rest;
        let by = ContextId(varint::take(&mut rest)?);
        if rest.len() > MAX_TEXT {
            return Err(WireError::TooLong {
                what: "the text of a dead reply",
                is: rest.len(),
                limit: MAX_TEXT,
            });
        }
        let text = std::str::from_utf8(rest)
            .map_err(|_| WireError::Invalid("the text of a dead reply"))?;
        Ok(Self { reason, handled, by, text: text.to_owned() })
    }
}

impl fmt::Display for Dead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, handled, by, text } = self;
        write!(f, "{reason}")?;
        if !text.is_empty() {
            write!(f, ": {text}")?;
        }
        let handled = match handled {
            Handled::No => "not handled",
            Handled::Maybe => "may have been handled",
            Handled::Yes => "handled",
        };
        write!(f, " (said by {by}; {handled})")
    }
}

impl std::error::Error for Dead {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for reason in DeadReason::ALL {
            for handled in [Handled::No, Handled::Maybe, Handled::Yes] {
                let dead =
                    Dead::new(reason, handled, ContextId(300), "context 300 lost: link closed");
                let mut bytes = Vec::new();
                dead.encode(&mut bytes);
                assert_eq!(Dead::decode(&bytes), Ok(dead));
            }
        }
    }

    #[test]
    fn an_unknown_reason_still_wakes_the_waiter() {
        let dead = Dead::decode(&[200, 1, 5, b'x']).unwrap();
        assert_eq!((dead.reason, dead.text.as_str()), (DeadReason::RouteLost, "x"));
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let dead =
            Dead::new(DeadReason::Closed, Handled::No, ContextId::ROOT, "ä".repeat(MAX_TEXT));
        assert_eq!(dead.text.len(), MAX_TEXT);
        let odd = Dead::new(
            DeadReason::Closed,
            Handled::No,
            ContextId::ROOT,
            format!("x{}", "ä".repeat(MAX_TEXT)),
        );
        assert_eq!(odd.text.len(), MAX_TEXT - 1);
    }

    #[test]
    fn bad_bytes_are_errors() {
        assert_eq!(Dead::decode(&[1]), Err(WireError::Truncated));
        assert_eq!(Dead::decode(&[1, 3, 0]), Err(WireError::Invalid("handled")));
        assert_eq!(
            Dead::decode(&[1, 0, 0, 0xff]),
            Err(WireError::Invalid("the text of a dead reply"))
        );
        let long = [&[1_u8, 0, 0][..], &[b'x'; MAX_TEXT + 1]].concat();
        assert!(matches!(Dead::decode(&long), Err(WireError::TooLong { .. })));
    }
}
