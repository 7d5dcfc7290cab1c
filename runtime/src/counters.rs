//! What has become of every message, and what peers did that they may not: counters that a context keeps of itself.

use std::sync::atomic::{AtomicU64, Ordering};

use actogen_core::{DeadReason, offence::OffenceKind};
use serde::{Deserialize, Serialize};

/// Where counts are kept.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: Count,
    pub(crate) delivered: Count,
    pub(crate) refused: Count,
    pub(crate) forwarded: Count,
    pub(crate) unknown: Count,
    pub(crate) renewals: Count,
    pub(crate) dropped_notices: Count,
    dead: [Count; DeadReason::ALL.len()],
    offences: [Count; OffenceKind::COUNT],
}

impl Counters {
    pub(crate) fn dead(&self, reason: DeadReason, messages: u64) {
        self.dead[usize::from(reason.code()) - 1].add(messages);
    }

    pub(crate) fn dead_of(&self, reason: DeadReason) -> u64 {
        self.dead[usize::from(reason.code()) - 1].get()
    }

    pub(crate) fn offence(&self, kind: OffenceKind) {
        self.offences[kind as usize].add(1);
    }

    pub(crate) fn offences(&self, kind: OffenceKind) -> u64 {
        self.offences[kind as usize].get()
    }

    pub(crate) fn read(&self) -> Stats {
        let dead = DeadReason::ALL
            .into_iter()
            .map(|reason| (reason, self.dead[usize::from(reason.code()) - 1].get()));
        Stats {
            sent: self.sent.get(),
            delivered: self.delivered.get(),
            refused: self.refused.get(),
            forwarded: self.forwarded.get(),
            unknown: self.unknown.get(),
            dead_by_reason: dead.filter(|&(_, count)| count > 0).collect(),
            offences: self.offences.iter().map(Count::get).sum(),
        }
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A reading of a context's counters. Over all contexts of a mesh, and while no link breaks, `sent` equals the sum of
/// `delivered`, `refused` and [`Stats::dead`]; when links break, it is at most that sum plus `unknown` (protocol rule 22).
///
/// Counted are the messages that authors send; answers and the runtime's own messages are not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Messages that actors and others in this context have sent, accepted or not.
    pub sent: u64,
    /// Messages handed to a handler in this context.
    pub delivered: u64,
    /// Messages given back or refused to their sender before they left: a full lane, no route, too large.
    pub refused: u64,
    /// Messages passed on for others.
    pub forwarded: u64,
    /// Messages that were in flight on a link when it broke: as many as its peer had not yet reported.
    pub unknown: u64,
    /// Messages that died in this context, by reason.
    pub dead_by_reason: Vec<(DeadReason, u64)>,
    /// Offences of peers, of all kinds.
    pub offences: u64,
}

impl Stats {
    /// Messages that died in this context, for whatever reason.
    pub fn dead(&self) -> u64 {
        self.dead_by_reason.iter().map(|&(_, count)| count).sum()
    }

    /// Messages that died here for one reason.
    pub fn dead_of(&self, reason: DeadReason) -> u64 {
        self.dead_by_reason.iter().find(|&&(of, _)| of == reason).map_or(0, |&(_, count)| count)
    }
}
