//! What can be journaled: actors whose whole state is a value, and how the journal runs them without knowing their types.

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix::{Actor, Handler, dev::MessageResponse};
use actogen::{__private::Body, Codec, CodecError, MessageOf, RemoteMessage, Tag};
use tokio::sync::oneshot;

use crate::{
    id::ActorId,
    packed::Packed,
    turn::{Effects, Given, Turn},
};

/// How an actor's state is kept between its checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Each turn writes the whole state. Right for states of some kilobytes.
    #[default]
    Snapshot,
    /// Each turn writes what has changed in the encoded state; from time to time the whole. The state is still encoded and compared
    /// every turn.
    Deltas,
    /// Each turn writes the events that the handler has [recorded](Turn::record), from time to time the whole state. Nothing is encoded
    /// but the events.
    Events,
}

/// An actor that is killed at any instant, and nobody outside can tell. Derive it:
///
/// ```
/// use actix::{Actor, Handler};
/// use actogen::RemoteMessage;
/// use actogen_journal::{JournaledActor, Turn};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(RemoteMessage, Serialize, Deserialize)]
/// #[remote(name = "bank.Deposit", reply = "u64")]
/// struct Deposit(u64);
///
/// #[derive(JournaledActor, Default, Serialize, Deserialize)]
/// #[journaled(kind = "account", messages(Deposit))]
/// struct Account {
///     balance: u64,
/// }
///
/// impl Actor for Account {
///     type Context = Turn<Self>;
/// }
///
/// impl Handler<Deposit> for Account {
///     type Result = u64;
///     fn handle(&mut self, deposit: Deposit, _: &mut Turn<Self>) -> u64 {
///         self.balance += deposit.0;
///         self.balance
///     }
/// }
/// ```
///
/// A handler must be deterministic: its outcome follows from the state, the message and what [`Turn`] gives, and whatever it does to the
/// world goes through [`Turn`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a journaled actor",
    label = "derive `JournaledActor` for it",
    note = "add `#[derive(JournaledActor, Serialize, Deserialize)]` and `#[journaled(kind = \"name\", messages(...))]`"
)]
pub trait JournaledActor: Actor<Context = Turn<Self>> {
    /// The declared kind: part of the actor's name.
    const KIND: &'static str;
    /// The version of the state's shape.
    const VERSION: u32;
    /// How the state is encoded.
    const CODEC: Codec;
    /// How the state is kept.
    const KEEP: Keep;
    /// The tags of the messages that it accepts.
    const TAGS: &'static [Tag];

    /// The state of an actor that has had no message yet.
    fn begin(key: &str) -> Self;

    /// The state, encoded.
    ///
    /// # Errors
    /// [`CodecError`].
    fn save(&self) -> Result<Vec<u8>, CodecError>;

    /// The actor with this state, which may be of an older version.
    ///
    /// # Errors
    /// [`LoadError`].
    fn load(version: u32, bytes: &[u8]) -> Result<Self, LoadError>;

    /// Changes the state by a recorded event; only for [`Keep::Events`].
    ///
    /// # Errors
    /// [`LoadError`].
    fn replay(&mut self, event: &[u8]) -> Result<(), LoadError> {
        let _ = event;
        Err(LoadError::new("this kind of actor records no events"))
    }

    /// Calls the handler for a message; written by the derive.
    ///
    /// # Errors
    /// [`Fault`].
    #[doc(hidden)]
    fn dispatch(&mut self, message: &Packed, turn: &mut Turn<Self>) -> Result<Vec<u8>, Fault>;
}

/// An actor whose turns are kept as events: `#[journaled(..., events = "Event")]` asks for it.
pub trait EventSourced: JournaledActor {
    /// What happened: everything that the state is made of.
    type Event: serde::Serialize + serde::de::DeserializeOwned;

    /// Changes the state as the event says. It must not fail, and must not look at anything but the state and the event.
    fn apply(&mut self, event: &Self::Event);
}

/// A stored state cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(String);

impl LoadError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<CodecError> for LoadError {
    fn from(error: CodecError) -> Self {
        Self(error.to_string())
    }
}

/// Why a turn came to nothing. The state is as it was before.
#[doc(hidden)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The actor does not take messages with this tag.
    Unknown(u64),
    /// The body does not decode.
    Malformed(String),
    /// The handler panicked, asked for it, or gave what cannot be kept.
    Failed(String),
}

/// Calls the handler for a message; used by the derive.
#[doc(hidden)]
pub fn run<A, M>(actor: &mut A, message: &Packed, turn: &mut Turn<A>) -> Result<Vec<u8>, Fault>
where
    A: JournaledActor + Handler<M>,
    M: RemoteMessage + MessageOf<A>,
{
    let message = message.open::<M>().map_err(Fault::Malformed)?;
    let (sender, mut receiver) = oneshot::channel();
    Handler::<M>::handle(actor, message, turn).handle(turn, Some(sender));
    let Ok(answer) = receiver.try_recv() else {
        let text = format!(
            "the handler of `{}` did not answer at once: a turn has no future to wait for; send a message and answer with another",
            M::NAME
        );
        return Err(Fault::Failed(text));
    };
    let mut bytes = Vec::new();
    let encoded = answer.encode(M::CODEC, &mut bytes);
    encoded.map_err(|error| Fault::Failed(format!("the answer cannot be encoded: {error}")))?;
    Ok(bytes)
}

/// An actor that is awake, whatever its type.
pub(crate) trait Instance {
    /// Runs a message's handler. After a fault the instance is not to be used any more.
    fn run(&mut self, message: &Packed, given: Given) -> Result<(Vec<u8>, Effects), Fault>;

    fn save(&self) -> Result<Vec<u8>, String>;

    fn replay(&mut self, event: &[u8]) -> Result<(), String>;
}

struct Awake<A>(A);

impl<A: JournaledActor> Instance for Awake<A> {
    fn run(&mut self, message: &Packed, given: Given) -> Result<(Vec<u8>, Effects), Fault> {
        let mut turn = Turn::new(given);
        let caught = catch_unwind(AssertUnwindSafe(|| self.0.dispatch(message, &mut turn)));
        let answer = caught.map_err(|panic| Fault::Failed(panic_text(&*panic)))??;
        let effects = turn.finish().map_err(Fault::Failed)?;
        Ok((answer, effects))
    }

    fn save(&self) -> Result<Vec<u8>, String> {
        self.0.save().map_err(|error| error.to_string())
    }

    fn replay(&mut self, event: &[u8]) -> Result<(), String> {
        self.0.replay(event).map_err(|error| error.to_string())
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a text".to_owned())
}

/// What the journal knows of a kind of actors.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) version: u32,
    pub(crate) codec: u8,
    pub(crate) keep: Keep,
    pub(crate) begin: fn(&ActorId) -> Box<dyn Instance>,
    pub(crate) load: Load,
}

/// Makes an actor of a state and its version, or says why not.
type Load = fn(u32, &[u8]) -> Result<Box<dyn Instance>, String>;

impl Kind {
    pub(crate) fn of<A: JournaledActor>() -> Self {
        Self {
            version: A::VERSION,
            codec: A::CODEC.number(),
            keep: A::KEEP,
            begin: |id| Box::new(Awake(A::begin(id.key()))),
            load: |version, bytes| {
                let load = || A::load(version, bytes);
                match catch_unwind(AssertUnwindSafe(load)) {
                    Ok(Ok(actor)) => Ok(Box::new(Awake(actor))),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(panic) => Err(format!("reading it panicked: {}", panic_text(&*panic))),
                }
            },
        }
    }
}
