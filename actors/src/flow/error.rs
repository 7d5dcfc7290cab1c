//! Why a message did not go, or was not answered, by way of an address with something around it.

use std::{fmt, time::Duration};

use actogen_runtime::core::{DeadReason, Handled};

use crate::send_error::SendError;

/// Why a message did not go, or was not answered, by way of an address with something around it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum FlowError<M> {
    /// It is more than the rate allows, and may not wait, or not as long as it would have to. The message comes back, with how long
    /// that would be.
    #[error("more than the rate limit allows: try again in {1:?}, or let messages wait")]
    OverRate(M, Duration),
    /// The circuit breaker lets nothing through. The message comes back, with how long it stays open; no time at all while it waits for
    /// what becomes of its probe.
    #[error("the circuit breaker is open: try again in {1:?}")]
    Open(M, Duration),
    /// It was let through, and then failed.
    #[error("{0}")]
    Send(SendError<M>),
}

impl<M> FlowError<M> {
    /// Whether the message has been handled, as far as anybody knows.
    pub fn handled(&self) -> Handled {
        match self {
            Self::OverRate(..) | Self::Open(..) => Handled::No,
            Self::Send(error) => error.handled(),
        }
    }

    /// The message, when it has not left.
    pub fn into_message(self) -> Option<M> {
        match self {
            Self::OverRate(message, _) | Self::Open(message, _) => Some(message),
            Self::Send(error) => error.into_message(),
        }
    }

    /// Whether the same message may fare better by the same address in a moment. What does not decode, is not allowed, or goes to an actor
    /// that has ended fares no better.
    pub fn is_passing(&self) -> bool {
        let error = match self {
            Self::OverRate(..) | Self::Open(..) => return true,
            Self::Send(error) => error,
        };
        match error {
            SendError::Full(_) | SendError::Failed(_) | SendError::Timeout(_) => true,
            SendError::Unsent(_, dead) | SendError::Dead(dead) => matches!(
                dead.reason,
                DeadReason::NoRoute
                    | DeadReason::RouteLost
                    | DeadReason::MailboxFull
                    | DeadReason::Congested
                    | DeadReason::Loop
                    | DeadReason::NoAnswer
            ),
            SendError::Unattached(_) | SendError::Unencodable(..) | SendError::BadAnswer(_) => {
                false
            }
        }
    }

    /// How long it makes no sense to try again, as far as that is known.
    pub(super) fn not_before(&self) -> Duration {
        match self {
            Self::OverRate(_, wait) | Self::Open(_, wait) => *wait,
            Self::Send(_) => Duration::ZERO,
        }
    }
}

impl<M> fmt::Debug for FlowError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OverRate(_, wait) => f.debug_tuple("OverRate").field(wait).finish(),
            Self::Open(_, wait) => f.debug_tuple("Open").field(wait).finish(),
            Self::Send(error) => f.debug_tuple("Send").field(error).finish(),
        }
    }
}
