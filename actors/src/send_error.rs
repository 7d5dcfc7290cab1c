//! Why a message was not sent, or a request not answered.

use std::{fmt, time::Duration};

use actogen_runtime::core::{Dead, DeadReason, Handled};

use crate::message::CodecError;

/// Why a message was not sent, or a request not answered.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError<M> {
    /// No room on the way now. The message comes back: try again later, or wait with `tell` or `send`.
    #[error("there is no room on the way: try again later, or wait with `tell`")]
    Full(M),
    /// It cannot go there, as is known here: no route, a lost one, a stopped actor, too large. The message comes back.
    #[error("not sent: {1}")]
    Unsent(M, Dead),
    /// The address was decoded outside of a message and belongs to no context. Attach it with [`Remote::attach`](crate::Remote::attach).
    #[error("the address is attached to no context: attach it with `attach(&context)`")]
    Unattached(M),
    /// The message has no form in its codec. It comes back.
    #[error("the message cannot be encoded: {1}")]
    Unencodable(M, CodecError),
    /// It died on the way, at its receiver, or its context was lost; `handled` says what that tells about the request.
    #[error("{0}")]
    Dead(Dead),
    /// The handler panicked, or its answer could not be encoded; the text.
    #[error("the handler failed: {0}")]
    Failed(String),
    /// The answer is not of the type that was expected.
    #[error("the answer cannot be decoded: {0}")]
    BadAnswer(CodecError),
    /// No answer within the time limit; the request may have been handled.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl<M> SendError<M> {
    /// The reason, when a message is dead or could not be sent.
    pub fn reason(&self) -> Option<DeadReason> {
        match self {
            Self::Unsent(_, dead) | Self::Dead(dead) => Some(dead.reason),
            _ => None,
        }
    }

    /// Whether the message has been handled, as far as anybody knows.
    pub fn handled(&self) -> Handled {
        match self {
            Self::Full(_) | Self::Unsent(..) | Self::Unattached(_) | Self::Unencodable(..) => {
                Handled::No
            }
            Self::Dead(dead) => dead.handled,
            Self::Failed(_) | Self::BadAnswer(_) => Handled::Yes,
            Self::Timeout(_) => Handled::Maybe,
        }
    }

    /// The same error with another message, made of the one that has not left.
    pub fn map<N>(self, change: impl FnOnce(M) -> N) -> SendError<N> {
        match self {
            Self::Full(message) => SendError::Full(change(message)),
            Self::Unsent(message, dead) => SendError::Unsent(change(message), dead),
            Self::Unattached(message) => SendError::Unattached(change(message)),
            Self::Unencodable(message, error) => SendError::Unencodable(change(message), error),
            Self::Dead(dead) => SendError::Dead(dead),
            Self::Failed(text) => SendError::Failed(text),
            Self::BadAnswer(error) => SendError::BadAnswer(error),
            Self::Timeout(limit) => SendError::Timeout(limit),
        }
    }

    /// The message, when it has not left.
    pub fn into_message(self) -> Option<M> {
        match self {
            Self::Full(message)
            | Self::Unsent(message, _)
            | Self::Unattached(message)
            | Self::Unencodable(message, _) => Some(message),
            _ => None,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Full(_) => "Full",
            Self::Unsent(_, dead) => return f.debug_tuple("Unsent").field(dead).finish(),
            Self::Unattached(_) => "Unattached",
            Self::Unencodable(_, error) => {
                return f.debug_tuple("Unencodable").field(error).finish();
            }
            Self::Dead(dead) => return f.debug_tuple("Dead").field(dead).finish(),
            Self::Failed(text) => return f.debug_tuple("Failed").field(text).finish(),
            Self::BadAnswer(error) => return f.debug_tuple("BadAnswer").field(error).finish(),
            Self::Timeout(limit) => return f.debug_tuple("Timeout").field(limit).finish(),
        };
        f.write_str(name)
    }
}
