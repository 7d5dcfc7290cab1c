//! Asks a recorder page by page, and checks what it gives as what comes from a publisher.

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, SystemTime},
};

use actogen_runtime::core::ContextId;
use bytes::Bytes;
use tokio::time::Instant;

use super::{ReplayAsk, ReplayCursor, ReplayPage, ReplayRange, ReplayRefusal, Replays, desk};
use crate::{
    address::Remote,
    context::Context,
    message::Codec,
    publish::record::Record,
    topics::{Arrived, ObservedSignature, PublishError, RecordedSignature},
};

/// How long an unreachable recorder is asked again, unless it is said.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long one page may take.
const PAGE: Duration = Duration::from_secs(5);

/// How long until a recorder that could not be reached is asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// Where a recorder is.
#[derive(Clone, Debug)]
pub enum RecorderAt {
    /// Whoever has this name of a recorder.
    Name(String),
    /// This one.
    Actor(Remote<Replays>),
}

impl From<&str> for RecorderAt {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for RecorderAt {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl From<Remote<Replays>> for RecorderAt {
    fn from(actor: Remote<Replays>) -> Self {
        Self::Actor(actor)
    }
}

/// Why a replay does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Nobody has the recorder's name, or whoever has it does not answer.
    #[error("the recorder does not answer: {0}")]
    Unreachable(String),
    /// The recorder refuses.
    #[error(transparent)]
    Refused(#[from] ReplayRefusal),
    /// The own context ends.
    #[error("{0}")]
    Dead(String),
}

/// A message of a replay. Its signature holds, if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Its place in the recorder's order.
    pub position: u64,
    /// When it was recorded, by the recorder's clock.
    pub at: SystemTime,
    /// What it was published under.
    pub topic: String,
    /// The context that published it: by its signature, or, without one, as the recorder says.
    pub from: ContextId,
    /// The tag of its type.
    pub tag: u64,
    /// How its body is encoded; `None` for a codec that this build does not have.
    pub codec: Option<Codec>,
    /// The encoded message.
    pub body: Bytes,
    /// Who has signed it, if it was published with a signature.
    pub signature: Option<ObservedSignature>,
}

/// A message of a replay whose signature has been checked.
pub(in crate::publish) struct Admitted {
    position: u64,
    at: SystemTime,
    pub(in crate::publish) arrived: Arrived,
}

/// What a recorder has of a range, in order, up to what it has when the last page is read. One page of about 1 MiB is held at a time.
pub struct Replay {
    context: Context,
    recorder: RecorderAt,
    ask: ReplayAsk,
    known: Option<Remote<Replays>>,
    page: VecDeque<Admitted>,
    patience: Duration,
    is_end: bool,
    kept_from: Option<SystemTime>,
    withheld: u64,
    refused: u64,
}

impl Replay {
    /// How long a recorder that cannot be reached is asked again, 10 s unless this says otherwise. It goes on where it was.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// The next message; `None` behind the last one. May be given up without losing one.
    ///
    /// # Errors
    /// [`ReplayError`]. Asking again goes on where it was.
    pub async fn next(&mut self) -> Option<Result<Replayed, ReplayError>> {
        let Admitted { position, at, arrived } = match self.next_admitted().await? {
            Ok(admitted) => admitted,
            Err(error) => return Some(Err(error)),
        };
        let Arrived { topic, from, tag, codec, body, signed } = arrived;
        let signature = signed.as_deref().map(ObservedSignature::of);
        let codec = Codec::from_number(codec);
        Some(Ok(Replayed { position, at, topic, from, tag, codec, body, signature }))
    }

    pub(in crate::publish) async fn next_admitted(
        &mut self,
    ) -> Option<Result<Admitted, ReplayError>> {
        loop {
            if let Some(admitted) = self.page.pop_front() {
                return Some(Ok(admitted));
            }
            if self.is_end {
                return None;
            }
            if let Err(error) = self.read().await {
                return Some(Err(error));
            }
        }
    }

    /// Part of the range is not kept any more, or was never recorded: what there is begins at this time. Known with the first message, or with
    /// the end; what is dropped while it is replayed shows later.
    pub fn kept_from(&self) -> Option<SystemTime> {
        self.kept_from
    }

    /// So many messages the recorder's policy did not give.
    pub fn withheld(&self) -> u64 {
        self.withheld
    }

    /// So many messages were refused here: by a signature that does not hold, a revocation, or this context's policy.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Up to which place in the recorder's order it has come, once it has ended.
    pub fn position(&self) -> Option<u64> {
        match self.ask.cursor {
            Some(ReplayCursor::At { position, .. }) if self.is_end => Some(position),
            _ => None,
        }
    }

    async fn read(&mut self) -> Result<(), ReplayError> {
        let until = Instant::now() + self.patience;
        let page = loop {
            let error = match self.asked().await {
                Ok(page) => break page,
                Err(
                    error @ (ReplayError::Refused(ReplayRefusal::Range) | ReplayError::Dead(_)),
                ) => {
                    return Err(error);
                }
                Err(error) => error,
            };
            self.known = None;
            if Instant::now() + AGAIN >= until {
                return Err(error);
            }
            tokio::time::sleep(AGAIN).await;
        };
        self.take(page).await
    }

    async fn asked(&mut self) -> Result<ReplayPage, ReplayError> {
        let unreachable = |error: String| ReplayError::Unreachable(error);
        let recorder = match (&self.known, &self.recorder) {
            (Some(known), _) | (None, RecorderAt::Actor(known)) => known.clone(),
            (None, RecorderAt::Name(name)) => {
                let claimed = desk::claimed(name);
                let found = self.context.resolve::<Replays>(&claimed);
                let found = tokio::time::timeout(PAGE, found).await;
                let found =
                    found.map_err(|_| unreachable(format!("nobody says who is {name:?}")))?;
                found.map_err(|error| unreachable(error.to_string()))?
            }
        };
        let sent = recorder.send(self.ask.clone()).within(PAGE).await;
        let page = sent.map_err(|error| unreachable(error.to_string()))??;
        self.known = Some(recorder);
        Ok(page)
    }

    async fn take(&mut self, page: ReplayPage) -> Result<(), ReplayError> {
        let ReplayPage { records, cursor, is_end, kept_from, withheld } = page;
        let mut recorded = Vec::with_capacity(records.len());
        for paged in records {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(paged.at));
            match (Record::from_bytes(&paged.record), at) {
                (Ok(record), Some(at)) if self.ask.range.takes(&record) => {
                    recorded.push((paged.position, (record.0, at)));
                }
                // What was not asked for, or is none.
                _ => self.refused += 1,
            }
        }
        let (positions, carried): (Vec<_>, Vec<_>) = recorded.into_iter().unzip();
        let judged = self.context.admit_recorded(carried.clone()).await;
        let judged = judged.map_err(|error: PublishError| ReplayError::Dead(error.to_string()))?;
        for ((position, (carried, at)), signed) in positions.into_iter().zip(carried).zip(judged) {
            let signed: Option<RecordedSignature> = signed;
            let Some(signed) = signed else {
                self.refused += 1;
                continue;
            };
            self.page.push_back(Admitted { position, at, arrived: Arrived::of(carried, signed) });
        }
        // A recorder that does not move is asked no further.
        let is_stuck = self.ask.cursor.as_ref() == Some(&cursor) && self.page.is_empty();
        (self.is_end, self.ask.cursor) = (is_end || is_stuck, Some(cursor));
        if let Some(from) = kept_from.map(Duration::from_millis)
            && let Some(from) = SystemTime::UNIX_EPOCH.checked_add(from)
        {
            self.kept_from = self.kept_from.max(Some(from));
        }
        self.withheld = self.withheld.saturating_add(withheld);
        Ok(())
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("recorder", &self.recorder)
            .field("range", &self.ask.range)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Replays what a recorder has kept of a range: in the recorder's order, each publisher's messages in theirs. Each signature is checked as when
    /// the message comes from its publisher, by a certificate that was in force when it was recorded; this context's policy counts as well.
    pub fn replay(&self, recorder: impl Into<RecorderAt>, range: ReplayRange) -> Replay {
        Replay {
            context: self.clone(),
            recorder: recorder.into(),
            ask: ReplayAsk { range, cursor: None },
            known: None,
            page: VecDeque::new(),
            patience: PATIENCE,
            is_end: false,
            kept_from: None,
            withheld: 0,
            refused: 0,
        }
    }
}
