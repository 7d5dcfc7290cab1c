//! The producer's end of a stream: sends items as far as it has credit, and says how it ends.

use std::{fmt, sync::Arc, time::Duration};

use actogen_runtime::{
    Ended,
    core::{ContextId, Dead, DeadReason, Handled},
    mailbox::StopReason,
};
use futures_util::{FutureExt, Stream, StreamExt};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    feeder::{Credit, Feeder},
    mouth::{Mouth, Open, Piece, SoFar},
};
use crate::{
    address::Remote,
    channel::Item,
    context::{Context, Watch},
    send_error::SendError,
};

/// How long a producer waits for credit before it asks for it: what was to tell it, or the last item, may have been lost on the way.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a stream could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody has opened it before, or it has ended.
    #[error("the stream has a producer, or has ended: a stream has one producer, once")]
    Taken,
    /// It was asked for on behalf of another context.
    #[error("the producer is said to be in {0}, where this does not come from")]
    NotThere(ContextId),
    /// The receiving end could not be asked, such as since it has ended; why.
    #[error("the receiving end does not answer: {0}")]
    Dead(String),
}

/// Where a stream goes, for whoever will be its producer: an address that travels in messages. See [`Context::stream`].
pub struct Outlet<T: Item>(Remote<Mouth<T>>);

impl<T: Item> Outlet<T> {
    pub(super) fn new(mouth: Remote<Mouth<T>>) -> Self {
        Self(mouth)
    }

    /// The context that receives.
    pub fn context_id(&self) -> ContextId {
        self.0.context_id()
    }

    /// Makes this context the producer's. A stream can be opened once.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub async fn open(self, context: &Context) -> Result<Outflow<T>, OpenError> {
        let mouth = self.0.attach(context);
        let credit = Arc::<Credit>::default();
        let feeder = Feeder { credit: credit.clone(), receiver: mouth.context_id() };
        let mut outflow = Outflow {
            watch: context.watch(&mouth),
            context: context.clone(),
            feeder: context.start(feeder),
            mouth,
            credit,
            sent: 0,
            ended: None,
            has_said: false,
        };
        let open = Open { producer: outflow.feeder.clone() };
        let answer = outflow.mouth.send(open).await;
        let answer = answer.unwrap_or_else(|error| Err(OpenError::Dead(error.to_string())));
        if answer.is_err() {
            outflow.has_said = true;
        }
        outflow.credit.raise(answer?);
        Ok(outflow)
    }
}

impl<T: Item> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Item> fmt::Debug for Outlet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outlet({})", self.0)
    }
}

impl<T: Item> Serialize for Outlet<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Item> Deserialize<'de> for Outlet<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Remote::deserialize(deserializer).map(Self)
    }
}

/// The producer's end of a stream that is open. End it with [`Self::end`] or [`Self::fail`]: dropped without a last word it counts as lost.
#[must_use = "a stream whose producer's end is dropped is lost"]
pub struct Outflow<T: Item> {
    context: Context,
    mouth: Remote<Mouth<T>>,
    /// Takes the credit in; its end is what the receiver's watch tells.
    feeder: Remote<Feeder>,
    credit: Arc<Credit>,
    watch: Watch,
    sent: u64,
    /// How the receiving end has ended, once it has.
    ended: Option<Ended>,
    has_said: bool,
}

impl<T: Item> Outflow<T> {
    /// Sends an item: waits for credit, and for room on the way. Given up before that, the item is not sent.
    ///
    /// # Errors
    /// [`SendError`]; with the item, if that has not left. The receiving end is gone then, or the item has no form or is too large.
    pub async fn send(&mut self, item: T) -> Result<(), SendError<T>> {
        self.look();
        while self.sent >= self.credit.limit() && self.ended.is_none() {
            let asking = async {
                tokio::time::sleep(PATIENCE).await;
                self.mouth.send(SoFar(self.sent)).await
            };
            tokio::select! {
                biased;
                down = &mut self.watch => self.ended = Some(down.ended),
                () = self.credit.above(self.sent) => {}
                // What keeps it from being answered may pass; the end of the receiver is told by the watch.
                credit = asking => self.credit.raise(credit.unwrap_or_default()),
            }
        }
        if let Some(dead) = self.gone() {
            return Err(SendError::Unsent(item, dead));
        }
        let piece = Piece::Item { number: self.sent, item };
        self.mouth.tell(piece).await.map_err(|error| error.map(unwrapped))?;
        // Only now: an item that was given up while it waited for room has left no gap.
        self.sent += 1;
        Ok(())
    }

    /// Notices the end of the receiver, if that is known here: with credit left nothing else would tell.
    fn look(&mut self) {
        if self.ended.is_none() {
            self.ended = (&mut self.watch).now_or_never().map(|down| down.ended);
        }
    }

    /// What the end of the receiver means for what has not left.
    fn gone(&self) -> Option<Dead> {
        let ended = self.ended.as_ref()?;
        if let Ended::ContextLost(dead) = ended {
            return Some(Dead { handled: Handled::No, ..dead.clone() });
        }
        let text = format!("the receiving end of the stream is gone: {ended}");
        Some(Dead::new(DeadReason::Stopped, Handled::No, self.mouth.context_id(), text))
    }

    /// How many items can be sent without waiting for credit.
    pub fn credit(&self) -> u64 {
        self.credit.limit().saturating_sub(self.sent)
    }

    /// Resolves when the receiving end is gone: dropped, ended with its context, or out of reach. For producers that have nothing to send for a
    /// long time.
    pub async fn closed(&mut self) -> Ended {
        match &self.ended {
            Some(ended) => ended.clone(),
            None => {
                let ended = (&mut self.watch).await.ended;
                self.ended.insert(ended).clone()
            }
        }
    }

    /// Ends the stream, behind all items. As with [`Remote::tell`], it resolves when that has been taken over here. Gives how many items there
    /// were.
    ///
    /// # Errors
    /// [`SendError`], when the receiving end cannot be told.
    pub async fn end(self) -> Result<u64, SendError<()>> {
        self.say_last(None).await
    }

    /// Ends the stream with an error, behind all items, for the receiver to see. Gives how many items there were.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub async fn fail(self, why: impl Into<String>) -> Result<u64, SendError<()>> {
        self.say_last(Some(why.into())).await
    }

    async fn say_last(mut self, failed: Option<String>) -> Result<u64, SendError<()>> {
        self.look();
        if let Some(dead) = self.gone() {
            return Err(SendError::Unsent((), dead));
        }
        let end = Piece::End { number: self.sent, failed };
        self.mouth.tell(end).await.map_err(|error| error.map(|_| ()))?;
        self.has_said = true;
        Ok(self.sent)
    }

    /// Sends all items of another stream, and ends as that does. Gives how many items there were.
    ///
    /// # Errors
    /// As [`Self::send`] and, without an item, [`Self::end`].
    pub async fn pour<E: fmt::Display>(
        mut self,
        items: impl Stream<Item = Result<T, E>>,
    ) -> Result<u64, SendError<Option<T>>> {
        let mut items = std::pin::pin!(items);
        let mut failed = None;
        while failed.is_none()
            && let Some(next) = items.next().await
        {
            match next {
                Ok(item) => self.send(item).await.map_err(|error| error.map(Some))?,
                Err(error) => failed = Some(error.to_string()),
            }
        }
        self.say_last(failed).await.map_err(|error| error.map(|()| None))
    }
}

fn unwrapped<T>(piece: Piece<T>) -> T {
    match piece {
        Piece::Item { item, .. } => item,
        Piece::End { .. } => unreachable!("an item was sent"),
    }
}

impl<T: Item> Drop for Outflow<T> {
    fn drop(&mut self) {
        let reason = match self.has_said {
            true => StopReason::Normal,
            false => StopReason::Error("the stream was dropped before its end".to_owned()),
        };
        self.context.stop(&self.feeder, reason);
    }
}

impl<T: Item> fmt::Debug for Outflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outflow")
            .field("to", &self.mouth)
            .field("sent", &self.sent)
            .field("credit", &self.credit())
            .finish_non_exhaustive()
    }
}
