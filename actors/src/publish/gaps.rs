//! What is missing of a publisher's messages, as their sequence numbers say.

use std::collections::{HashMap, VecDeque};

use actogen_runtime::core::ContextId;

use super::{
    message::Sequence,
    replay::{MOST_MARKS, ReplayMark},
};

/// What lies before a message of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// What is known, or nothing.
    Known,
    /// It is the first of its series that is seen, and not the series' first.
    Beginning,
    /// Others that have not come.
    Gap,
}

/// So many series are followed; the one that began first is forgotten for a new one.
const MOST_SERIES: usize = 10_000;

/// Follows the signed messages of each publisher under each topic.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    last: HashMap<(ContextId, String), Last>,
    order: VecDeque<(ContextId, String)>,
    missed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    series: u64,
    number: u64,
    /// Nothing was left out since the first that was seen.
    is_whole: bool,
}

impl Last {
    const fn first(series: u64, number: u64) -> Self {
        Self { series, number, is_whole: true }
    }
}

impl Gaps {
    /// What lies before a message that is to be noted.
    pub(super) fn before(&self, from: ContextId, topic: &str, place: Sequence) -> Before {
        match self.last.get(&(from, topic.to_owned())) {
            Some(last) if last.series == place.series => match place.number > last.number + 1 {
                true => Before::Gap,
                false => Before::Known,
            },
            _ if place.number > 1 => Before::Beginning,
            _ => Before::Known,
        }
    }

    /// How far the series have come that began last, where nothing was left out.
    pub(super) fn marks(&self) -> Vec<ReplayMark> {
        let last = self.order.iter().rev().filter_map(|key| Some((key.0, self.last.get(key)?)));
        let marks = last.filter(|(_, last)| last.is_whole).map(|(publisher, last)| ReplayMark {
            publisher,
            series: last.series,
            number: last.number,
        });
        marks.take(MOST_MARKS).collect()
    }

    /// Notes a message, and gives how many were left out right before it. The first of a series that is seen shows none: it began before
    /// this consumer did, or its publisher has begun anew.
    pub(super) fn note(&mut self, from: ContextId, topic: &str, series: u64, sequence: u64) -> u64 {
        let key = (from, topic.to_owned());
        let gap = match self.last.get_mut(&key) {
            Some(last) if last.series == series => {
                let gap = sequence.saturating_sub(last.number).saturating_sub(1);
                last.is_whole &= gap == 0;
                // One that comes again, or behind its time, opens no gap.
                last.number = sequence.max(last.number);
                gap
            }
            Some(other) => {
                *other = Last::first(series, sequence);
                0
            }
            None => {
                if self.order.len() >= MOST_SERIES
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.last.remove(&oldest);
                }
                self.order.push_back(key.clone());
                self.last.insert(key, Last::first(series, sequence));
                0
            }
        };
        self.missed = self.missed.saturating_add(gap);
        gap
    }

    /// All that were left out.
    pub(super) fn missed(&self) -> u64 {
        self.missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_once() {
        let mut gaps = Gaps::default();
        let mut note = |topic, series, sequence| gaps.note(ContextId(1), topic, series, sequence);
        assert_eq!(note("a", 1, 5), 0, "it began before");
        assert_eq!(
            [note("a", 1, 6), note("a", 1, 9), note("a", 1, 7), note("a", 1, 10)],
            [0, 2, 0, 0]
        );
        assert_eq!(note("b", 2, 3), 0, "another topic");
        assert_eq!([note("a", 3, 1), note("a", 3, 3)], [0, 1], "another life");
        assert_eq!(gaps.missed(), 3);
    }

    #[test]
    fn no_more_series_are_followed_than_may_be() {
        let mut gaps = Gaps::default();
        for number in 0..MOST_SERIES as u64 + 10 {
            gaps.note(ContextId(number), "a", 1, 1);
        }
        assert_eq!((gaps.last.len(), gaps.order.len()), (MOST_SERIES, MOST_SERIES));
    }
}
