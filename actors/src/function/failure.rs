//! Why a call gave no value: as it travels ([`Failure`]), and as the caller gets it ([`CallError`]).

use std::{error::Error, fmt, time::Duration};

use actogen_runtime::core::{ContextId, Dead, DeadReason, Handled};
use serde::{Deserialize, Serialize};

use crate::send_error::SendError;

/// How many causes of an error travel with it.
const CAUSES: usize = 32;

/// Why the called context has no value to give. Variants are only ever appended.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The function returned an error: its text, and those of its causes.
    Error(Vec<String>),
    /// It panicked.
    Panic { text: String, place: Option<String> },
    /// The program there has no such function; this is what it has.
    Unknown(Vec<String>),
    /// Two functions of the program there have the same name.
    Ambiguous,
    /// The arguments do not decode.
    Arguments(String),
    /// The value has no encoded form.
    Unencodable(String),
    /// The caller has given the call up.
    GivenUp,
    /// The context is ending.
    Ended(String),
    /// The context holds as many chains as it may.
    TooManyChains(u64),
    /// The caller may not do this: a policy's refusal, in words.
    Refused(String),
    /// The service could not be started; its text, and those of its causes.
    NotStarted(Vec<String>),
    /// The program there has no such method; these are the services that it has.
    UnknownMethod(Vec<String>),
}

impl Failure {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let (mut texts, mut next) = (Vec::new(), Some(error));
        while let Some(error) = next
            && texts.len() < CAUSES
        {
            texts.push(error.to_string());
            next = error.source();
        }
        Self::Error(texts)
    }

    /// What the caller gets of it.
    pub(super) fn into_error(self, function: &'static str, context: ContextId) -> CallError {
        let unrun = |why: String| CallError::Unrun { function, context, why };
        match self {
            Self::Error(texts) => {
                let error = RemoteError::of(texts);
                CallError::Failed { function, context, error }
            }
            Self::Panic { text, place } => CallError::Panicked { function, context, text, place },
            Self::Unknown(known) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                unrun(format!(
                    "its program has no such function; it has: {known}. Is the function marked `#[actogen::function]`, and its crate used in the program there?"
                ))
            }
            Self::Ambiguous => {
                unrun("its program has two functions of that name: rename one".into())
            }
            Self::Arguments(why) => unrun(format!("the arguments do not decode there: {why}")),
            Self::Unencodable(why) => CallError::Unencodable { function, context, why },
            Self::GivenUp => unrun("a call before it in its chain was given up".into()),
            Self::Ended(why) => unrun(why),
            Self::TooManyChains(most) => unrun(format!(
                "it holds {most} chains of callers, as many as it may: drop those that are done"
            )),
            Self::Refused(why) => CallError::Refused { function, context, why },
            Self::NotStarted(texts) => {
                unrun(format!("its service did not start: {}", texts.join(": ")))
            }
            Self::UnknownMethod(known) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                unrun(format!(
                    "its program has no such method; it has the services: {known}. Is the method marked `#[method]`, and its crate used in the program there?"
                ))
            }
        }
    }
}

impl fmt::Display for Failure {
    /// For the log of the context where it happened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(texts) => f.write_str(&texts.join(": ")),
            Self::Panic { text, place: Some(place) } => write!(f, "it panicked at {place}: {text}"),
            Self::Panic { text, place: None } => write!(f, "it panicked: {text}"),
            Self::Unknown(_) => f.write_str("this program has no such function"),
            Self::Ambiguous => f.write_str("this program has two functions of that name"),
            Self::Arguments(why) => write!(f, "its arguments do not decode: {why}"),
            Self::Unencodable(why) => write!(f, "its value cannot be encoded: {why}"),
            Self::GivenUp => f.write_str("it was given up"),
            Self::Ended(why) => f.write_str(why),
            Self::TooManyChains(most) => write!(f, "{most} chains are held, as many as may"),
            Self::Refused(why) => f.write_str(why),
            Self::NotStarted(texts) => {
                write!(f, "its service did not start: {}", texts.join(": "))
            }
            Self::UnknownMethod(_) => f.write_str("this program has no such method"),
        }
    }
}

/// An error that a function returned in another context: its text, and its causes by [`Error::source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteError {
    text: String,
    cause: Option<Box<RemoteError>>,
}

impl RemoteError {
    fn of(texts: Vec<String>) -> Self {
        let chain =
            texts.into_iter().rev().fold(None, |cause, text| Some(Box::new(Self { text, cause })));
        chain.map_or_else(
            || Self { text: "an error without a text".into(), cause: None },
            |error| *error,
        )
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Why a call gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The function returned an error.
    #[error("`{function}` failed in {context}")]
    Failed {
        /// The function.
        function: &'static str,
        /// Where it was called.
        context: ContextId,
        /// Its error, with its causes.
        #[source]
        error: RemoteError,
    },
    /// The function panicked.
    #[error("`{function}` panicked in {context}{}: {text}", at(.place))]
    Panicked {
        /// The function.
        function: &'static str,
        /// Where it was called.
        context: ContextId,
        /// The panic's text.
        text: String,
        /// The place in its source, as `FILE:LINE:COLUMN`.
        place: Option<String>,
    },
    /// The function was not run, or not to its end.
    #[error("`{function}` was not run in {context}: {why}")]
    Unrun {
        /// The function.
        function: &'static str,
        /// Where it was called.
        context: ContextId,
        /// Why not.
        why: String,
    },
    /// A policy refused it.
    #[error("`{function}` was refused by {context}: {why}")]
    Refused {
        /// The function.
        function: &'static str,
        /// Where it was called.
        context: ContextId,
        /// Which policy, and whom.
        why: String,
    },
    /// The function has returned, and its value has no encoded form.
    #[error("the value of `{function}` in {context} cannot be encoded: {why}")]
    Unencodable {
        /// The function.
        function: &'static str,
        /// Where it was called.
        context: ContextId,
        /// What the codec says.
        why: String,
    },
    /// The context could not be asked, or was lost; [`CallError::handled`] says what that tells about the call.
    #[error("`{function}`: {dead}")]
    Dead {
        /// The function.
        function: &'static str,
        /// Why there is no answer.
        dead: Dead,
    },
    /// The arguments have no encoded form.
    #[error("the arguments of `{function}` cannot be encoded: {why}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// What the codec says.
        why: String,
    },
    /// The answer is not what the function gives: the program there is another one.
    #[error("the answer of `{function}` cannot be decoded: {why}")]
    BadAnswer {
        /// The function.
        function: &'static str,
        /// What the codec says.
        why: String,
    },
    /// No answer within the time limit. The function may have run, or run still.
    #[error("`{function}` gave no answer within {limit:?}")]
    Timeout {
        /// The function.
        function: &'static str,
        /// The limit.
        limit: Duration,
    },
}

fn at(place: &Option<String>) -> String {
    place.as_ref().map(|place| format!(" at {place}")).unwrap_or_default()
}

impl CallError {
    pub(super) fn of<M>(error: SendError<M>, function: &'static str) -> Self {
        match error {
            SendError::Unsent(_, dead) | SendError::Dead(dead) => Self::Dead { function, dead },
            SendError::Timeout(limit) => Self::Timeout { function, limit },
            SendError::Unencodable(_, error) => {
                Self::Arguments { function, why: error.to_string() }
            }
            // A call waits for room, and its address is attached: what is left is about the answer.
            error @ (SendError::Full(_)
            | SendError::Unattached(_)
            | SendError::Failed(_)
            | SendError::BadAnswer(_)) => Self::BadAnswer { function, why: error.to_string() },
        }
    }

    /// Whether the function has run, as far as anybody knows.
    pub fn handled(&self) -> Handled {
        match self {
            Self::Failed { .. }
            | Self::Panicked { .. }
            | Self::Unencodable { .. }
            | Self::BadAnswer { .. } => Handled::Yes,
            Self::Unrun { .. } | Self::Refused { .. } | Self::Arguments { .. } => Handled::No,
            Self::Dead { dead, .. } => dead.handled,
            Self::Timeout { .. } => Handled::Maybe,
        }
    }

    /// The reason, when the context could not be asked or was lost.
    pub fn reason(&self) -> Option<DeadReason> {
        match self {
            Self::Dead { dead, .. } => Some(dead.reason),
            Self::Refused { .. } => Some(DeadReason::Refused),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk is full")]
    struct Full(#[source] std::io::Error);

    #[test]
    fn an_error_keeps_its_causes_on_its_way() {
        let failure = Failure::of(&Full(std::io::Error::other("device /dev/sda1")));
        let error = failure.into_error("save", ContextId(3));
        assert_eq!(error.to_string(), "`save` failed in context 3");
        let cause = error.source().unwrap();
        assert_eq!(cause.to_string(), "the disk is full");
        assert_eq!(cause.source().unwrap().to_string(), "device /dev/sda1");
        assert!(cause.source().unwrap().source().is_none());
    }

    #[test]
    fn no_more_causes_travel_than_may() {
        #[derive(Debug)]
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("again")
            }
        }
        impl Error for Endless {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&Self)
            }
        }
        assert_eq!(Failure::of(&Endless), Failure::Error(vec!["again".into(); CAUSES]));
    }
}
