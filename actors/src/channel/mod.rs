//! Channels: values that come one after the other from whoever has been given the sending end, near or far.
//!
//! | room | concept |
//! |---|---|
//! | here | the two ends |
//! | `gate` | the actor that takes values in |
//! | `queue` | values that have come and wait, and who waits for them |
//! | `select` | several receivers at once |

mod gate;
mod queue;
mod select;

use std::{fmt, sync::Arc, time::Duration};

use actogen_runtime::{
    Ended, Place,
    core::{ContextId, Dead, Handle},
    mailbox::StopReason,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

pub use queue::CHANNEL_QUEUE;
pub use select::{Key, Select};

use self::{
    gate::{Gate, Word},
    queue::Queue,
};
use crate::{address::Remote, context::Context, send_error::SendError};

/// What can go through a channel. Met by whatever serde can write and read; nobody implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot go through a channel",
    label = "this must implement `Serialize` and `DeserializeOwned`, and be `Send + 'static`",
    note = "derive them: `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Item: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Item for T {}

/// Why a receiver gives nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It was closed, by a sender or by its owner, and all that had come before has been taken.
    #[error("the channel is closed")]
    Closed,
    /// The context that it hung on is lost; see [`Receiver::end_with`].
    #[error("the sender is lost: {0}")]
    Lost(Dead),
    /// Nothing came within the time.
    #[error("nothing came within {0:?}")]
    Timeout(Duration),
}

/// The sending end of a channel: an address, which may be cloned and travel in messages.
pub struct Sender<T: Item>(Remote<Gate<T>>);

impl<T: Item> Sender<T> {
    /// Sends a value, at once if there is room on the way and at the receiver, or waits for it. As with [`Remote::tell`], it resolves when
    /// the value has been taken over here.
    ///
    /// # Errors
    /// [`SendError`]; with the value, if that has not left.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.tell(Word::Value(value)).await.map_err(unwrapped)
    }

    /// Sends a value, or hands it back when there is no room now.
    ///
    /// # Errors
    /// [`SendError`], with the value.
    pub fn try_send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.try_send(Word::Value(value)).map_err(unwrapped)
    }

    /// Ends the channel, behind all that this context has sent by it. Nobody can send by it from then on.
    ///
    /// # Errors
    /// [`SendError`], when the receiver cannot be told: it has ended before, or is lost.
    pub async fn close(&self) -> Result<(), SendError<()>> {
        self.0.tell(Word::End(None)).await.map_err(|error| error.map(|_| ()))
    }

    /// The context that receives.
    pub fn context_id(&self) -> ContextId {
        self.0.context_id()
    }
}

fn unwrapped<T: Item>(error: SendError<Word<T>>) -> SendError<T> {
    error.map(|word| match word {
        Word::Value(value) => value,
        Word::End(_) => unreachable!("a value was sent"),
    })
}

impl<T: Item> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Item> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.0)
    }
}

impl<T: Item> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Item> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Remote::deserialize(deserializer).map(Self)
    }
}

/// The receiving end of a channel; see [`Context::channel`]. Dropping it closes the channel: what is sent then is dead.
pub struct Receiver<T: Item> {
    context: Context,
    gate: Remote<Gate<T>>,
    queue: Arc<Queue<T>>,
}

impl<T: Item> Receiver<T> {
    /// The next value. Several may wait: each gets another, and when the channel ends all of them hear of it.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`], [`ReceiveError::Lost`].
    pub async fn recv(&self) -> Result<T, ReceiveError> {
        self.queue.next().await
    }

    /// As [`Self::recv`], and waits at most this long.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn recv_within(&self, time: Duration) -> Result<T, ReceiveError> {
        let within = tokio::time::timeout(time, self.queue.next()).await;
        within.unwrap_or(Err(ReceiveError::Timeout(time)))
    }

    /// What is there already: a value, or the end; `None` while there is neither.
    pub fn try_recv(&self) -> Option<Result<T, ReceiveError>> {
        self.queue.take()
    }

    /// Another sending end.
    pub fn sender(&self) -> Sender<T> {
        Sender(self.gate.clone())
    }

    /// Ends the channel when this context is lost, or shuts down: behind all that it has sent.
    pub fn end_with(&self, place: impl Into<Place>) {
        let target = place.into().address(Handle::PING);
        let watch = actogen_runtime::Context::watch(
            &self.context,
            target,
            Some(self.gate.address().handle),
        );
        let (gate, queue) = (self.gate.clone(), self.queue.clone());
        tokio::task::spawn_local(async move {
            let ended = tokio::select! {
                ended = watch => ended,
                () = queue.ended() => return,
            };
            let dead = match ended {
                Ended::ContextLost(dead) => Some(dead),
                _ => None,
            };
            // The intake keeps its order: what has come before is received before. A gate that has ended needs no end.
            let _ = gate.tell(Word::End(dead)).await;
        });
    }

    /// Ends the channel. What has come and was not received is given back to nobody; who waits hears of it.
    pub fn close(&self) {
        self.queue.close();
        self.context.stop(&self.gate, StopReason::Normal);
    }
}

impl<T: Item> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Item> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Context {
    /// A channel into this context. Its sending end may be given to others, in messages and as an argument of calls; the receiving end stays.
    ///
    /// A receiver that takes nothing holds its senders back: at most [`CHANNEL_QUEUE`] values wait decoded, and behind them as
    /// many bytes as the limits of the context leave to a mailbox.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn channel<T: Item>(&self) -> (Sender<T>, Receiver<T>) {
        let queue = Arc::<Queue<T>>::default();
        let gate = self.start(Gate::new(queue.clone()));
        (Sender(gate.clone()), Receiver { context: self.clone(), gate, queue })
    }
}
