//! The receiving end of a stream: items in their order, then how it ended, once.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, Waker},
    time::Duration,
};

use actogen_runtime::{Ended, core::policy::Policy, mailbox::StopReason};
use futures_util::Stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    Outlet,
    ledger::{Ledger, Taken},
    mouth::Mouth,
};
use crate::{address::Remote, channel::Item, context::Context};

/// The most items of a stream that may wait, or be under way.
const MOST_WINDOW: u32 = 64 * 1024;

/// The most bytes of items that wait, beside one item: beyond that none is taken in, and the mailbox fills, which pauses the producer.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How a stream ended, when not as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InflowError {
    /// Its producer has ended it with an error; the text.
    #[error("the producer failed: {0}")]
    Failed(String),
    /// Its producer is gone without a last word: dropped it, ended, or cannot be reached any more.
    #[error("the producer is lost: {0}")]
    Lost(Ended),
    /// Nobody has opened it within this time.
    #[error("nobody has opened the stream within {0:?}: send its outlet to whoever shall")]
    Unopened(Duration),
    /// What came does not follow from what came before; the text says what it was.
    #[error("the stream is broken: {0}")]
    Broken(String),
    /// It was closed here, such as with its context.
    #[error("the stream was closed here")]
    Closed,
}

/// What the receiving end and its actor share.
pub(super) struct Basin<T> {
    state: Mutex<State<T>>,
    /// There may be credit to tell.
    pub(super) credit: Notify,
    /// There may be room for more bytes.
    room: Notify,
}

struct State<T> {
    ledger: Ledger<T>,
    /// Nobody takes any more.
    is_left: bool,
    waits: Option<Waker>,
}

impl<T> Basin<T> {
    fn new(window: u32) -> Self {
        let state = State { ledger: Ledger::new(window), is_left: false, waits: None };
        Self { state: Mutex::new(state), credit: Notify::new(), room: Notify::new() }
    }

    /// Writes into the books, and wakes whoever waits for what is written there. Gives how the stream has ended, if it has.
    pub(super) fn note(
        &self,
        note: impl FnOnce(&mut Ledger<T>),
    ) -> Option<Result<(), InflowError>> {
        let (waits, ended) = {
            let mut state = self.state.lock();
            note(&mut state.ledger);
            (state.waits.take(), state.ledger.ended().cloned())
        };
        if let Some(waits) = waits {
            waits.wake();
        }
        ended
    }

    /// Whether more bytes wait than should.
    pub(super) fn is_full(&self) -> bool {
        let state = self.state.lock();
        state.ledger.bytes() > MOST_BYTES && !state.is_left
    }

    /// Waits until no more bytes wait than may, or nobody takes any more.
    pub(super) async fn room(&self) {
        while self.is_full() {
            self.room.notified().await;
        }
    }

    /// Nobody takes any more.
    fn leave(&self) {
        self.state.lock().is_left = true;
        self.room.notify_one();
    }

    /// The credit of a producer that has sent so many items and waits, and how the stream has ended, if it has.
    pub(super) fn so_far(&self, number: u64) -> (u64, Option<Result<(), InflowError>>) {
        let mut credit = 0;
        let ended = self.note(|ledger| credit = ledger.so_far(number));
        (credit, ended)
    }

    /// The credit that is worth telling, if any.
    pub(super) fn grant(&self) -> Option<u64> {
        self.state.lock().ledger.grant()
    }

    fn poll(&self, cx: &mut task::Context<'_>) -> Poll<Option<Result<T, InflowError>>> {
        let mut state = self.state.lock();
        match state.ledger.take() {
            Taken::Item(item) => {
                if state.ledger.is_due() {
                    self.credit.notify_one();
                }
                if state.ledger.bytes() <= MOST_BYTES {
                    self.room.notify_one();
                }
                Poll::Ready(Some(Ok(item)))
            }
            Taken::Error(error) => Poll::Ready(Some(Err(error))),
            Taken::Over => Poll::Ready(None),
            Taken::Nothing => {
                state.waits = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The receiving end of a stream; see [`Context::stream`]. A [`Stream`] of items, in their order, without a gap. Behind them comes the
/// error that ended it, if one did, once; then nothing any more. Dropping it ends the stream, and the producer is told.
///
/// Give it to an actor with `ctx.add_stream(inflow)`: then the items are its
/// [`StreamHandler`](actix::StreamHandler)'s, and `finished` is the end.
pub struct Inflow<T: Item> {
    context: Context,
    mouth: Remote<Mouth<T>>,
    basin: Arc<Basin<T>>,
}

impl<T: Item> Inflow<T> {
    /// The next item, the error that ended the stream, or `None` once nothing comes any more. May be given up without losing an item.
    pub async fn next(&mut self) -> Option<Result<T, InflowError>> {
        poll_fn(|cx| self.basin.poll(cx)).await
    }
}

impl<T: Item> Stream for Inflow<T> {
    type Item = Result<T, InflowError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.basin.poll(cx)
    }
}

impl<T: Item> Drop for Inflow<T> {
    fn drop(&mut self) {
        self.basin.leave();
        self.context.stop(&self.mouth, StopReason::Normal);
    }
}

impl<T: Item> fmt::Debug for Inflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflow").field("at", &self.mouth).finish_non_exhaustive()
    }
}

impl Context {
    /// A stream into this context. Its [`Outlet`] is given to one producer, in a message or as an argument of a call; the receiving end stays.
    ///
    /// The producer has credit for `window` items, at least one and at most 65,536: so many wait here or are under way, whatever it would like to
    /// send. Credit comes back by the half window, as items are taken out. When items of more than 4 MiB wait, no more are taken in until some are
    /// taken out: then what is under way fills the actor's mailbox, and the producer is paused, whatever its credit. A stream that nobody opens within the context's limit for requests
    /// ends with [`InflowError::Unopened`].
    ///
    /// Take a [channel](Self::channel) instead for values from many senders, or where nobody needs to learn that a sender is gone.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub fn stream<T: Item>(&self, window: u32) -> (Outlet<T>, Inflow<T>) {
        let basin = Arc::new(Basin::new(window.clamp(1, MOST_WINDOW)));
        let (intake, mouth) = self.open_intake::<Mouth<T>>(Policy::Anyone);
        self.attend(Mouth::new(self.clone(), mouth.clone(), basin.clone()), intake);
        (Outlet::new(mouth.clone()), Inflow { context: self.clone(), mouth, basin })
    }
}
