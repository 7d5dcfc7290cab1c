//! Retries: a request that failed is sent again, if that is safe, makes sense, and is still affordable.

use std::{fmt, time::Duration};

use actogen_runtime::core::Handled;
use tokio::time::Instant;

use super::{FlowError, RetryBudget, Sends};
use crate::{message::RemoteMessage, supervise::Backoff};

/// How often, how soon and for how long a request is tried.
///
/// Without more said only a request that has certainly not been handled is sent again: one that was handed back, refused on its way, or died
/// before a handler had it ([`Handled::No`]). One whose time is over, or whose context was lost while it was
/// there, may have been handled: it is sent again only when the caller says that it is [idempotent](Self::idempotent). In either case the
/// failure must be one that may pass ([`FlowError::is_passing`]).
///
/// ```
/// # use actogen::{Backoff, flow::{Retry, RetryBudget, RetryError}, prelude::*};
/// # use std::time::Duration;
/// # #[derive(Clone, RemoteMessage, Serialize, Deserialize)]
/// # #[remote(name = "doc.Price", reply = "u64")]
/// # struct Price(String);
/// # async fn example(prices: RemoteRecipient<Price>, budget: RetryBudget) -> Result<u64, RetryError<Price>> {
/// let retry = Retry::new().attempts(4).within(Duration::from_secs(5)).budget(&budget).idempotent();
/// retry.send(&prices, Price("tea".into())).await
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it sends nothing by itself"]
pub struct Retry {
    attempts: u32,
    within: Duration,
    each: Option<Duration>,
    backoff: Backoff,
    idempotent: bool,
    budget: Option<RetryBudget>,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// Three attempts within 30 s in all, up to 50 ms after the first failure, up to twice as much after each further one, until 5 s; no budget.
    pub const fn new() -> Self {
        Self {
            attempts: 3,
            within: Duration::from_secs(30),
            each: None,
            backoff: Backoff::new(
                Duration::from_millis(50),
                Duration::from_secs(5),
                Duration::from_secs(60),
            ),
            idempotent: false,
            budget: None,
        }
    }

    /// So many attempts at most, the first included; there is always a first.
    pub const fn attempts(mut self, most: u32) -> Self {
        self.attempts = most;
        self
    }

    /// All attempts and the waits between them take no longer than this together.
    pub const fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Each attempt waits no longer than this for its answer; without this, each has all the time that is left.
    pub const fn each(mut self, time: Duration) -> Self {
        self.each = Some(time);
        self
    }

    /// How long is waited between two attempts: a random part of a time that doubles. That a life was
    /// [stable](Backoff::stable_after) has no meaning here.
    pub const fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Takes retries out of a budget, and counts first attempts there. Share one among all who send to the same actors.
    pub fn budget(mut self, budget: &RetryBudget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// To handle the request twice does no harm: it may be sent again although it may have been handled, or its handler has panicked.
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sends a request by an address, or by one that has something around it, until there is an answer. An attempt that is not over when
    /// its time is, is given up at the other side as well, if its turn there has not come.
    ///
    /// # Errors
    /// [`RetryError`]: the last failure, and why there was no further attempt.
    pub async fn send<M, R>(&self, by: &R, message: M) -> Result<M::Result, RetryError<M>>
    where
        M: RemoteMessage + Clone,
        R: Sends<M>,
    {
        let begun = Instant::now();
        if let Some(budget) = &self.budget {
            budget.first();
        }
        let mut attempts = 0;
        loop {
            let left = self.within.saturating_sub(begun.elapsed());
            let limit = self.each.map_or(left, |each| each.min(left));
            let last = match by.ask(message.clone(), Some(limit)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let left = self.within.saturating_sub(begun.elapsed());
            let wait = self.backoff.delay(attempts, by.chance()).max(last.not_before());
            attempts += 1;
            if let Some(why) = self.gives_up(&last, attempts, wait, left) {
                return Err(RetryError { attempts, why, last });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Why there is no further attempt. Asks the budget last, so that nothing is spent in vain.
    fn gives_up<M>(
        &self,
        last: &FlowError<M>,
        attempts: u32,
        wait: Duration,
        left: Duration,
    ) -> Option<GaveUp> {
        if !last.is_passing() {
            Some(GaveUp::Lasting)
        } else if last.handled() != Handled::No && !self.idempotent {
            Some(GaveUp::Unsafe)
        } else if attempts >= self.attempts {
            Some(GaveUp::Attempts)
        } else if wait >= left {
            Some(GaveUp::Time)
        } else if self.budget.as_ref().is_some_and(|budget| !budget.retry()) {
            Some(GaveUp::Budget)
        } else {
            None
        }
    }
}

/// Why there was no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GaveUp {
    /// The failure is not one that passes: the actor has ended, does not know the message, or refuses it.
    #[error("this does not pass")]
    Lasting,
    /// The request may have been handled, and nobody has said that it is idempotent.
    #[error("it may have been handled: say `idempotent` if it may be handled twice")]
    Unsafe,
    /// All attempts are used up.
    #[error("no attempt is left")]
    Attempts,
    /// The next attempt would begin after the time that there is for all of them.
    #[error("no time is left")]
    Time,
    /// The budget has no retry left.
    #[error("the retry budget is used up")]
    Budget,
}

/// A request that was tried, in vain.
#[derive(thiserror::Error)]
#[error("given up after {attempts} attempts, since {why}; the last: {last}")]
#[non_exhaustive]
pub struct RetryError<M> {
    /// How many attempts there were.
    pub attempts: u32,
    /// Why there was no further one.
    pub why: GaveUp,
    /// How the last one failed.
    pub last: FlowError<M>,
}

impl<M> fmt::Debug for RetryError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryError")
            .field("attempts", &self.attempts)
            .field("why", &self.why)
            .field("last", &self.last)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use actogen_runtime::core::{ContextId, Dead, DeadReason};

    use super::*;
    use crate::send_error::SendError;

    const SECOND: Duration = Duration::from_secs(1);

    fn dead(reason: DeadReason, handled: Handled) -> FlowError<()> {
        FlowError::Send(SendError::Dead(Dead::new(reason, handled, ContextId(1), "")))
    }

    fn judged(retry: &Retry, error: &FlowError<()>) -> Option<GaveUp> {
        retry.gives_up(error, 1, SECOND, 2 * SECOND)
    }

    #[test]
    fn only_what_was_not_handled_is_sent_again() {
        let (careful, idempotent) = (Retry::new(), Retry::new().idempotent());
        let safe = [
            FlowError::OverRate((), SECOND),
            FlowError::Open((), SECOND),
            FlowError::Send(SendError::Full(())),
            dead(DeadReason::RouteLost, Handled::No),
            dead(DeadReason::MailboxFull, Handled::No),
        ];
        for error in &safe {
            assert_eq!([judged(&careful, error), judged(&idempotent, error)], [None; 2]);
        }
        let unsafe_ones = [
            FlowError::Send(SendError::Timeout(SECOND)),
            FlowError::Send(SendError::Failed("a panic".into())),
            dead(DeadReason::RouteLost, Handled::Maybe),
            dead(DeadReason::NoAnswer, Handled::Maybe),
        ];
        for error in &unsafe_ones {
            let both = [judged(&careful, error), judged(&idempotent, error)];
            assert_eq!(both, [Some(GaveUp::Unsafe), None]);
        }
        let lasting = [
            FlowError::Send(SendError::Unattached(())),
            dead(DeadReason::Stopped, Handled::No),
            dead(DeadReason::Stale, Handled::No),
            dead(DeadReason::UnknownMessage, Handled::No),
            dead(DeadReason::TooLarge, Handled::Yes),
        ];
        for error in &lasting {
            let both = [judged(&careful, error), judged(&idempotent, error)];
            assert_eq!(both, [Some(GaveUp::Lasting); 2]);
        }
    }

    #[test]
    fn attempts_time_and_budget_have_an_end() {
        let budget = RetryBudget::new(0, 1, SECOND);
        let retry = Retry::new().attempts(2).budget(&budget);
        let full = FlowError::Send(SendError::Full(()));
        assert_eq!(retry.gives_up(&full, 2, SECOND, 2 * SECOND), Some(GaveUp::Attempts));
        assert_eq!(retry.gives_up(&full, 1, SECOND, SECOND), Some(GaveUp::Time));
        assert_eq!(judged(&retry, &full), None);
        assert_eq!(judged(&retry, &full), Some(GaveUp::Budget));
        assert_eq!(budget.refused(), 1);
    }
}
