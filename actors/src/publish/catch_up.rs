//! Has a consumer get from a recorder what it has missed: when it begins, when a number is missing, when it was too slow, and from time to time.
//!
//! It goes by rounds. In a round what is live waits aside ([`seam`](super::seam)); what the recorder has behind the last round is taken over, except what
//! is here already; then what waits aside. Where a number is still missing there is another round, until the recorder has had time to get it as well.
//! So a publisher's messages come in their order, and none twice: copies have one id, and that is remembered in the consumer's window.

use std::{
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use super::{
    consuming::{Consuming, acknowledge},
    replay::{RecorderAt, ReplayError, ReplayRange, ReplayStart, millis},
    seam::{Joined, Resigned},
};
use crate::topics::Arrived;

/// When it is looked again after the first time: what was published before word of the consumer had reached its publisher is recorded by then.
const SETTLED: Duration = Duration::from_secs(1);

/// How long until it is looked again for a number that is missing, the first time; later three times as long.
const AGAIN: Duration = Duration::from_millis(100);

/// After so many rounds a number that is missing is given up.
const MOST_ROUNDS: u32 = 4;

/// Where a consumer gets what it has missed, and how much of it. See [`Consume::catch_up`](super::Consume::catch_up).
#[derive(Clone, Debug)]
pub struct CatchUp {
    recorder: RecorderAt,
    start: ReplayStart,
    patience: Duration,
    every: Duration,
}

impl CatchUp {
    /// From this recorder, by its name or address; all that it keeps.
    pub fn new(recorder: impl Into<RecorderAt>) -> Self {
        let (patience, every) = (Duration::from_secs(10), Duration::from_secs(30));
        Self { recorder: recorder.into(), start: ReplayStart::Oldest, patience, every }
    }

    /// At the beginning, what was recorded at this time or later.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> Self {
        self.start = ReplayStart::Since(millis(time));
        self
    }

    /// At the beginning, the last so many.
    #[must_use]
    pub fn last(mut self, messages: u64) -> Self {
        self.start = ReplayStart::Last(messages);
        self
    }

    /// How long what is live waits for a recorder that cannot be reached; 10 s unless this says otherwise. Then it is delivered, and what was missed comes
    /// behind it when the recorder is there.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// How often it is looked whether something was missed that no later message has shown; every 30 s unless this says otherwise.
    #[must_use]
    pub fn check_every(mut self, time: Duration) -> Self {
        self.every = time.max(Duration::from_millis(10));
        self
    }
}

/// Catches up as long as the consumer lives. It is polled by the consumer's stream, and so as fast as that takes what there is.
pub(super) async fn drive(consuming: Arc<Consuming>, mut catch_up: CatchUp, pattern: String) {
    let mut wait = SETTLED.min(catch_up.every);
    rounds(&consuming, &mut catch_up, &pattern).await;
    loop {
        // Whatever sets something aside wakes the stream.
        let wanted = poll_fn(|_| match consuming.held.lock().wants_round() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        tokio::select! {
            () = wanted => {}
            () = tokio::time::sleep(wait) => wait = catch_up.every,
        }
        rounds(&consuming, &mut catch_up, &pattern).await;
    }
}

/// Goes over to what is live, in as many rounds as that takes.
async fn rounds(consuming: &Arc<Consuming>, catch_up: &mut CatchUp, pattern: &str) {
    let (mut resigned, mut tries) = (Resigned::default(), 0);
    loop {
        if let Err(error) = round(consuming, catch_up, pattern).await {
            tracing::warn!(context = %consuming.context.id(), pattern, "what was missed is not there yet: {error}");
            consuming.held.lock().has_failed();
            resigned = Resigned { beginnings: true, gaps: true, all: true };
        }
        match join(consuming, resigned).await {
            Joined::Live => return,
            Joined::Gap => {
                tries += 1;
                // What lies before a series' first is asked for once, what is between others until the recorder must have it.
                resigned.beginnings = true;
                resigned.gaps |= tries + 1 >= MOST_ROUNDS;
                tokio::time::sleep(AGAIN * 3_u32.pow(tries.min(MOST_ROUNDS) - 1)).await;
            }
            Joined::Full | Joined::Behind => {}
        }
    }
}

/// Takes over what the recorder has behind the last round.
async fn round(
    consuming: &Arc<Consuming>,
    catch_up: &mut CatchUp,
    pattern: &str,
) -> Result<(), ReplayError> {
    let marks = consuming.held.lock().begin_round();
    let range = ReplayRange::of([pattern]).map_err(|error| ReplayError::Dead(error.to_string()))?;
    let range = range.starting(catch_up.start).having(marks);
    let replay = consuming.context.replay(catch_up.recorder.clone(), range);
    let mut replay = replay.patience(catch_up.patience);
    while let Some(admitted) = replay.next_admitted().await {
        let mut arrived = Some(admitted?.arrived);
        poll_fn(|_| match take_over(consuming, &mut arrived) {
            true => Poll::Ready(()),
            // A verdict makes room, and wakes the stream.
            false => Poll::Pending,
        })
        .await;
    }
    if replay.kept_from().is_some() {
        consuming.held.lock().not_kept();
    }
    if let Some(position) = replay.position() {
        catch_up.start = ReplayStart::After(position);
    }
    Ok(())
}

/// Whether there was room for it.
fn take_over(consuming: &Consuming, arrived: &mut Option<Arrived>) -> bool {
    let Some(replayed) = arrived.take() else { return true };
    let mut owed = Vec::new();
    let left = consuming.held.lock().replayed(replayed, &mut owed);
    acknowledge(&consuming.context, owed);
    *arrived = left;
    arrived.is_none()
}

/// Takes over what waits aside; waits for room.
async fn join(consuming: &Consuming, resigned: Resigned) -> Joined {
    poll_fn(|_| {
        let mut owed = Vec::new();
        let joined = consuming.held.lock().join(resigned, &mut owed);
        acknowledge(&consuming.context, owed);
        match joined {
            Joined::Full => Poll::Pending,
            joined => Poll::Ready(joined),
        }
    })
    .await
}
