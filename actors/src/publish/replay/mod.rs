//! Replays of what a recorder has kept: what is asked, what is answered, and who answers.
//!
//! | room | concept |
//! |---|---|
//! | here | [`ReplayRange`], [`ReplayPage`] and [`Archive`]: what a recorder is asked, and by what it answers |
//! | `desk` | [`Replays`]: the actor by which a recorder is reached |
//! | `reader` | [`Context::replay`]: asks page by page, and checks what comes |
//!
//! A reader asks for a page, and for the next one when it is done with that: so at most one page of a replay is anywhere in memory, and a recorder
//! remembers nothing of its readers. Where a page ended is part of the answer, so a replay goes on behind a recorder's crash.

mod desk;
mod reader;

use std::{future::Future, pin::Pin, time::SystemTime};

use actogen_runtime::core::ContextId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::{
    desk::Replays,
    reader::{RecorderAt, Replay, ReplayError, Replayed},
};
use super::record::Record;
use crate::{
    RemoteMessage,
    topics::{PublishError, check_pattern, matches},
};

/// The most patterns of one range.
pub(super) const MOST_PATTERNS: usize = 64;

/// The most series of which a reader says how far it has them.
pub(super) const MOST_MARKS: usize = 1000;

/// The most messages that are behind their place in the recorder's order and have been given before, of which a cursor says so.
pub const MOST_EARLY: usize = 1024;

/// Where a range begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReplayStart {
    /// With the oldest that is kept.
    #[default]
    Oldest,
    /// With the first that was recorded at this time or later, in milliseconds since 1970 by the recorder's clock.
    Since(u64),
    /// With the last so many that match.
    Last(u64),
    /// With the first behind this place in the recorder's order.
    After(u64),
}

/// So far a reader has a series already: nothing up to this number is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ReplayMark {
    /// The publisher.
    pub publisher: ContextId,
    /// Its series.
    pub series: u64,
    /// The last number that it has, with all before it.
    pub number: u64,
}

/// What of a recorder's messages is to be replayed. All conditions hold together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayRange {
    patterns: Vec<String>,
    start: ReplayStart,
    publisher: Option<ContextId>,
    series: Option<u64>,
    sequence: u64,
    marks: Vec<ReplayMark>,
}

impl ReplayRange {
    /// All that is kept under topics that match one of these patterns.
    ///
    /// # Errors
    /// [`PublishError::Topic`], when a text is no pattern. None, or more than 64, is refused by the recorder.
    pub fn of<S: Into<String>>(
        patterns: impl IntoIterator<Item = S>,
    ) -> Result<Self, PublishError> {
        let patterns: Vec<String> = patterns.into_iter().map(Into::into).collect();
        for pattern in &patterns {
            check_pattern(pattern)?;
        }
        let (start, publisher, series, sequence, marks) = Default::default();
        Ok(Self { patterns, start, publisher, series, sequence, marks })
    }

    /// Only what was recorded at this time or later, by the recorder's clock.
    #[must_use]
    pub fn since(mut self, time: SystemTime) -> Self {
        self.start = ReplayStart::Since(millis(time));
        self
    }

    /// Only the last so many.
    #[must_use]
    pub fn last(mut self, messages: u64) -> Self {
        self.start = ReplayStart::Last(messages);
        self
    }

    /// Only what the recorder took behind this [place](Replayed::position).
    #[must_use]
    pub fn after(mut self, position: u64) -> Self {
        self.start = ReplayStart::After(position);
        self
    }

    /// Only messages of this publisher.
    #[must_use]
    pub fn publisher(mut self, publisher: ContextId) -> Self {
        self.publisher = Some(publisher);
        self
    }

    /// Only signed messages with this number or a later one, in each series.
    #[must_use]
    pub fn sequence(mut self, number: u64) -> Self {
        self.sequence = number;
        self
    }

    /// Only signed messages of this series.
    #[must_use]
    pub fn series(mut self, series: u64) -> Self {
        self.series = Some(series);
        self
    }

    pub(super) fn starting(mut self, start: ReplayStart) -> Self {
        self.start = start;
        self
    }

    pub(super) fn having(mut self, marks: Vec<ReplayMark>) -> Self {
        self.marks = marks;
        self
    }

    /// Where it begins.
    pub fn start(&self) -> ReplayStart {
        self.start
    }

    /// The series and the first number that are asked for, where one publisher's are.
    pub fn asked_sequence(&self) -> Option<(ContextId, u64, u64)> {
        Some((self.publisher?, self.series?, self.sequence))
    }

    /// Whether it has a message that lies behind its start.
    pub fn takes(&self, record: &Record) -> bool {
        let sequence = record.sequence();
        if self.publisher.is_some_and(|publisher| publisher != record.publisher())
            || self.series.is_some_and(|series| sequence.is_none_or(|it| it.series != series))
            || (self.sequence > 0 && sequence.is_none_or(|it| it.number < self.sequence))
            || !self.patterns.iter().any(|pattern| matches(pattern, record.topic()))
        {
            return false;
        }
        let has = |mark: &ReplayMark| {
            sequence.is_some_and(|it| it.series == mark.series && it.number <= mark.number)
                && mark.publisher == record.publisher()
        };
        !self.marks.iter().any(has)
    }

    fn is_bounded(&self) -> bool {
        (1..=MOST_PATTERNS).contains(&self.patterns.len())
            && self.patterns.iter().all(|pattern| check_pattern(pattern).is_ok())
            && self.marks.len() <= MOST_MARKS
    }
}

pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How far a replay has come: an [`Archive`]'s own, which its readers hand back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReplayCursor {
    /// The last so many are looked for from the end backwards: all behind `before` are counted, and so many are to be found yet.
    Counting {
        /// The place behind those that are to be looked at.
        before: u64,
        /// So many are to be found.
        left: u64,
    },
    /// All up to this place has been given.
    At {
        /// The place.
        position: u64,
        /// Behind it, these have been given before: they came late, and have been put into their publisher's order. At most [`MOST_EARLY`].
        early: Vec<u64>,
    },
}

/// What of a range is asked for at a time.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.ReplayAsk", reply = "Result<ReplayPage, ReplayRefusal>", crate = crate)]
#[non_exhaustive]
pub struct ReplayAsk {
    /// The range.
    pub range: ReplayRange,
    /// Where the page before has ended; nothing for the first one.
    pub cursor: Option<ReplayCursor>,
}

impl ReplayAsk {
    /// Asks for the first page of a range, or the one behind another.
    pub fn new(range: ReplayRange, cursor: Option<ReplayCursor>) -> Self {
        Self { range, cursor }
    }
}

/// A message of a page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PagedRecord {
    /// Its place in the recorder's order.
    pub position: u64,
    /// When it was recorded, in milliseconds since 1970 by the recorder's clock.
    pub at: u64,
    /// [The record](Record::to_bytes).
    pub record: Bytes,
}

/// A piece of a replay.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReplayPage {
    /// The messages, in order; maybe none, although others follow.
    pub records: Vec<PagedRecord>,
    /// Where the next one begins.
    pub cursor: ReplayCursor,
    /// All that the recorder has now has been given.
    pub is_end: bool,
    /// Part of the range is not kept any more, or was never recorded: what is kept begins at this time, in milliseconds since 1970.
    pub kept_from: Option<u64>,
    /// Messages that the recorder's policy does not give to the asker.
    pub withheld: u64,
}

/// Why a recorder does not answer with a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ReplayRefusal {
    /// It reads for so many others already.
    #[error("the recorder reads for {0} others already: ask again")]
    Busy(u64),
    /// What is asked is no range.
    #[error("what is asked is no range: give 1 to 64 patterns")]
    Range,
    /// Its store has failed.
    #[error("the recorder's store has failed: {0}")]
    Failed(String),
}

/// What comes of reading a page.
pub type ReadPage = Pin<Box<dyn Future<Output = Result<ReplayPage, ReplayRefusal>>>>;

/// What a recorder has kept, as far as replays go.
pub trait Archive: 'static {
    /// Reads the next page of a range: of at most 256 messages and about 1 MiB, from a bounded part of what there is. In the order in which it was
    /// recorded, except that what came late is put into its publisher's order.
    fn page(&self, ask: ReplayAsk) -> ReadPage;
}
