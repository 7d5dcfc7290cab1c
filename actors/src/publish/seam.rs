//! Between what a recorder replays and what comes from publishers: what is live waits aside while something is missing, within bounds.

use std::collections::VecDeque;

use crate::topics::Arrived;

/// How it stands when what waits aside has been taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    /// Nothing waits aside any more: what comes is delivered.
    Live,
    /// There is no room for the next one.
    Full,
    /// Something is missing before the next one.
    Gap,
    /// Something was left out for want of room: the recorder has it.
    Behind,
}

/// What is missing that nobody waits for any longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resigned {
    /// Messages before the first one of a series: it may have begun long ago.
    pub(super) beginnings: bool,
    /// Messages between others.
    pub(super) gaps: bool,
    /// All that was left out.
    pub(super) all: bool,
}

/// What is live and waits.
#[derive(Debug)]
pub(super) struct Seam {
    /// Something may be missing: what comes waits aside.
    pub(super) is_catching: bool,
    /// Something was left out for want of room.
    pub(super) is_behind: bool,
    /// What waits, and whether the consumer takes it: of others only the place counts.
    aside: VecDeque<(Arrived, bool)>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl Seam {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        let (is_catching, is_behind, aside, bytes) = (true, true, VecDeque::new(), 0);
        Self { is_catching, is_behind, aside, bytes, most, most_bytes }
    }

    /// Sets a message aside. False for one that is lost: there is no room, and no recorder can give it again in its place.
    pub(super) fn put(&mut self, mut arrived: Arrived, is_taken: bool) -> bool {
        self.is_catching = true;
        if !is_taken {
            arrived.body = bytes::Bytes::new();
        }
        let charge = arrived.charge();
        let is_full = self.aside.len() >= self.most
            || (self.bytes > 0 && self.bytes + charge > self.most_bytes);
        if is_full {
            let is_signed = arrived.signed.is_some();
            self.is_behind |= is_signed;
            return is_signed || !is_taken;
        }
        self.bytes += charge;
        self.aside.push_back((arrived, is_taken));
        true
    }

    pub(super) fn first(&self) -> Option<&(Arrived, bool)> {
        self.aside.front()
    }

    pub(super) fn take(&mut self) -> Option<(Arrived, bool)> {
        let (arrived, is_taken) = self.aside.pop_front()?;
        self.bytes -= arrived.charge();
        Some((arrived, is_taken))
    }
}
