//! Asking journaled actors from outside: each request is handled once, however often it must be sent.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use actogen::{__private::Body, CodecError, Context, Handled, MessageOf, Remote};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    id::{Journaled, NodeName},
    keeper::Keeper,
    packed::Packed,
    wire::{Ask, Refusal},
};

/// How long an answer is waited for, by default.
const LIMIT: Duration = Duration::from_secs(30);

/// How long one attempt may take before the node is looked for anew.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How long after an attempt that failed the next one is made, at first and at last.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The node has refused it. Nothing has happened, except where the refusal says so.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The message has no form in its codec.
    #[error("the message cannot be encoded: {0}")]
    Unencodable(CodecError),
    /// The answer is not of the type that was expected. The request has been handled.
    #[error("the answer cannot be decoded: {0}")]
    BadAnswer(CodecError),
    /// No answer within the time limit. The request may have been handled, or may still be: ask with another.
    #[error("no answer within {limit:?}; the last attempt: {last}")]
    Timeout {
        /// The limit.
        limit: Duration,
        /// What came of the last attempt.
        last: String,
    },
}

struct State {
    next: u64,
    open: BTreeSet<u64>,
    keepers: HashMap<NodeName, Remote<Keeper>>,
}

struct Inner {
    context: Context,
    id: u128,
    limit: Duration,
    state: Mutex<State>,
}

/// An asker: it numbers its requests, and sends each until it is answered, under the same number. The node handles a number once, and
/// answers it again when it comes again. Cheap to clone; clones are the same asker.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &format_args!("{:032x}", self.0.id))
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A new asker, which sends through this context.
    ///
    /// # Panics
    /// When the system gives no random numbers.
    pub fn new(context: &Context) -> Self {
        let mut id = [0; 16];
        getrandom::fill(&mut id).expect("the system gives random numbers");
        Self::resumed(context, u128::from_le_bytes(id), 1)
    }

    /// An asker that goes on with this identity and number: for programs that keep both themselves, so that a request that was under way
    /// when they ended is not handled twice. The number must be the first that is not settled.
    pub fn resumed(context: &Context, id: u128, next: u64) -> Self {
        let state = State { next, open: BTreeSet::new(), keepers: HashMap::new() };
        Self(Arc::new(Inner {
            context: context.clone(),
            id,
            limit: LIMIT,
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn knowing(context: &Context, node: &NodeName, keeper: &Remote<Keeper>) -> Self {
        let client = Self::new(context);
        client.0.state.lock().keepers.insert(node.clone(), keeper.clone());
        client
    }

    /// The same settings with another limit for an answer, as an asker of its own.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        let keepers = self.0.state.lock().keepers.clone();
        let mut client = Self::new(&self.0.context);
        if let Some(inner) = Arc::get_mut(&mut client.0) {
            inner.limit = limit;
            inner.state.get_mut().keepers = keepers;
        }
        client
    }

    /// Its identity.
    pub fn id(&self) -> u128 {
        self.0.id
    }

    /// The number that the next request gets.
    pub fn next_number(&self) -> u64 {
        self.0.state.lock().next
    }

    /// Asks an actor, and waits for its answer: through the ends of its process, and of those on the way, within the limit. When it is
    /// here, what the handler did is durable, and has happened once.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn send<A, M: MessageOf<A>>(
        &self,
        to: &Journaled<A>,
        message: M,
    ) -> Result<M::Result, AskError> {
        let packed = Packed::of(&message).map_err(AskError::Unencodable)?;
        let open = self.open();
        let bytes = self.ask(to, packed, &open).await?;
        M::Result::decode(M::CODEC, &bytes).map_err(AskError::BadAnswer)
    }

    fn open(&self) -> OpenNumber<'_> {
        let mut state = self.0.state.lock();
        let number = state.next;
        state.next += 1;
        state.open.insert(number);
        OpenNumber { client: &self.0, number }
    }

    async fn ask<A>(
        &self,
        to: &Journaled<A>,
        message: Packed,
        open: &OpenNumber<'_>,
    ) -> Result<bytes::Bytes, AskError> {
        let end = Instant::now() + self.0.limit;
        let (mut again, mut pause) = (false, PAUSE.0);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let ask = Ask {
                to: to.place().actor.clone(),
                client: self.0.id,
                number: open.number,
                settled: self.settled(),
                again,
                message: message.clone(),
            };
            let last =
                match self.attempt(&to.place().node, ask, left.min(ATTEMPT), &mut again).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    // These pass.
                    Ok(Err(refusal @ (Refusal::Busy | Refusal::StoreFailed(_)))) => {
                        again |= refusal != Refusal::Busy;
                        refusal.to_string()
                    }
                    Ok(Err(refusal)) => return Err(refusal.into()),
                    Err(why) => why,
                };
            if Instant::now() + pause >= end {
                return Err(AskError::Timeout { limit: self.0.limit, last });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// All numbers below this one are settled.
    fn settled(&self) -> u64 {
        let state = self.0.state.lock();
        state.open.first().copied().unwrap_or(state.next)
    }

    async fn attempt(
        &self,
        node: &NodeName,
        ask: Ask,
        time: Duration,
        again: &mut bool,
    ) -> Result<Result<bytes::Bytes, Refusal>, String> {
        let known = self.0.state.lock().keepers.get(node).cloned();
        let keeper = match known {
            Some(keeper) => keeper,
            None => {
                let found = self.0.context.resolve_within::<Keeper>(&node.claim(), time).await;
                let keeper = found.map_err(|error| error.to_string())?;
                self.0.state.lock().keepers.insert(node.clone(), keeper.clone());
                keeper
            }
        };
        match keeper.send(ask).within(time).await {
            Ok(outcome) => {
                if matches!(outcome, Err(Refusal::StoreFailed(_))) {
                    self.0.state.lock().keepers.remove(node);
                }
                Ok(outcome)
            }
            Err(error) => {
                *again |= error.handled() != Handled::No;
                self.0.state.lock().keepers.remove(node);
                Err(error.to_string())
            }
        }
    }
}

/// A number that is not settled; it is when this is dropped.
struct OpenNumber<'a> {
    client: &'a Inner,
    number: u64,
}

impl Drop for OpenNumber<'_> {
    fn drop(&mut self) {
        self.client.state.lock().open.remove(&self.number);
    }
}
