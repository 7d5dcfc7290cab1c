//! Reads a range page by page.
//!
//! The order is that in which messages were recorded. One that came late, because its publisher had to send it again, is put before those of its series that
//! were published after it: where a page meets a jump in a series it looks whether what is missing lies further on, and gives that first.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
};

use actogen::{
    ContextId, Record, ReplayRange, Sequence,
    archive::{MOST_EARLY, PagedRecord, ReplayAsk, ReplayCursor, ReplayPage, ReplayStart},
};

use super::{
    keeping::ROWS,
    rows::{self as kept, About, Kept},
};
use crate::store::{Store, StoreError, Table};

/// Messages of one page,
const MOST_RECORDS: usize = 256;

/// and bytes after which none is added.
const MOST_BYTES: usize = 1 << 20;

/// Messages that are looked at for one page.
const MOST_LOOKED_AT: u64 = 4096;

/// How far back in a series it is looked for what came late, where nothing is known of the series yet.
const LATE: u64 = 1024;

/// Reads the next page.
pub(super) fn page(
    store: &mut dyn Store,
    about: &About,
    ask: ReplayAsk,
) -> Result<ReplayPage, StoreError> {
    let ReplayAsk { range, cursor, .. } = ask;
    let mut reading = Reading::new(store, about, &range);
    let place = match cursor {
        None => reading.begin()?,
        Some(cursor) => cursor,
    };
    let (position, early) = match place {
        ReplayCursor::Counting { before, left } => match reading.count_back(before, left)? {
            ReplayCursor::At { position, early } => (position, early),
            counting => return Ok(reading.into_page(counting, false)),
        },
        ReplayCursor::At { position, early } => (position, early),
        // Of a newer protocol.
        _ => (0, Vec::new()),
    };
    reading.read(position, early.into_iter().collect())
}

struct Reading<'a> {
    store: &'a mut dyn Store,
    about: &'a About,
    range: &'a ReplayRange,
    records: Vec<PagedRecord>,
    bytes: usize,
    /// The last number of each series on this page.
    given: HashMap<(ContextId, u64), u64>,
    is_incomplete: bool,
}

impl<'a> Reading<'a> {
    fn new(store: &'a mut dyn Store, about: &'a About, range: &'a ReplayRange) -> Self {
        let (records, bytes, given, is_incomplete) = Default::default();
        Self { store, about, range, records, bytes, given, is_incomplete }
    }

    fn row(&mut self, position: u64) -> Result<Option<Kept>, StoreError> {
        let row = self.store.get(Table::Record, &kept::of_position(position))?;
        row.map(|row| kept::kept(&row)).transpose()
    }

    /// Where the range begins; notes whether part of it is not there.
    fn begin(&mut self) -> Result<ReplayCursor, StoreError> {
        let About { first, next, began, dropped, .. } = *self.about;
        let at = |position: u64| ReplayCursor::At { position, early: Vec::new() };
        if let Some((publisher, series, number)) = self.range.asked_sequence() {
            let key = kept::of_sequence(publisher, series, 0);
            let end = kept::of_sequence(publisher, series, u64::MAX);
            let (from, to) = (Bound::Included(&key[..]), Bound::Included(&end[..]));
            let kept_first = self.store.scan(Table::Sequence, from, to, 1)?;
            let kept_first = kept_first.first().map(|(key, _)| kept::number_in(key)).transpose()?;
            self.is_incomplete = kept_first.is_none_or(|kept_first| kept_first > number.max(1));
        }
        Ok(match self.range.start() {
            ReplayStart::Since(time) => {
                self.is_incomplete |= time < began.0 || dropped.is_some_and(|last| time <= last.0);
                at(self.since(time)?)
            }
            // Of another store, or of this one before it was restored.
            ReplayStart::After(position) if position >= next => {
                self.is_incomplete = true;
                at(first - 1)
            }
            ReplayStart::After(position) => at(position),
            ReplayStart::Last(messages) => ReplayCursor::Counting { before: next, left: messages },
            _ => {
                // Of one series it is known more exactly.
                let is_one = self.range.asked_sequence().is_some();
                self.is_incomplete |= !is_one && dropped.is_some();
                at(first - 1)
            }
        })
    }

    /// The place before the first message that was recorded at this time or later.
    fn since(&mut self, time: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (self.about.first, self.about.next);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.row(middle)? {
                Some(row) if row.at.0 >= time => high = middle,
                _ => low = middle + 1,
            }
        }
        Ok(low - 1)
    }

    /// Looks for the last so many, from the end backwards.
    fn count_back(&mut self, before: u64, mut left: u64) -> Result<ReplayCursor, StoreError> {
        let first = self.about.first;
        let (mut before, mut looked_at) = (before.min(self.about.next), 0);
        while before > first && left > 0 && looked_at < MOST_LOOKED_AT {
            let start = before.saturating_sub(ROWS as u64).max(first);
            let (from, to) = (kept::of_position(start), kept::of_position(before));
            let (from, to) = (Bound::Included(&from[..]), Bound::Excluded(&to[..]));
            let rows = self.store.scan(Table::Record, from, to, ROWS)?;
            for (key, row) in rows.into_iter().rev() {
                let takes = Record::from_bytes(&kept::kept(&row)?.record)
                    .is_ok_and(|record| self.range.takes(&record));
                left -= u64::from(takes && left > 0);
                if left == 0 {
                    let position = kept::position_in(&key)? - 1;
                    return Ok(ReplayCursor::At { position, early: Vec::new() });
                }
            }
            looked_at += before - start;
            before = start;
        }
        if before <= first || left == 0 {
            // All that are kept are fewer.
            self.is_incomplete |= left > 0 && self.about.dropped.is_some();
            let position = if left == 0 { self.about.next - 1 } else { first - 1 };
            return Ok(ReplayCursor::At { position, early: Vec::new() });
        }
        Ok(ReplayCursor::Counting { before, left })
    }

    fn is_full(&self) -> bool {
        self.records.len() >= MOST_RECORDS || self.bytes >= MOST_BYTES
    }

    fn read(
        mut self,
        mut position: u64,
        mut early: BTreeSet<u64>,
    ) -> Result<ReplayPage, StoreError> {
        let (first, head) = (self.about.first, self.about.next - 1);
        if position + 1 < first {
            // Dropped before it was read.
            self.is_incomplete = true;
            position = first - 1;
        }
        early = early.split_off(&position);
        let mut looked_at = 0;
        while position < head && !self.is_full() && looked_at < MOST_LOOKED_AT {
            let (from, to) = (kept::of_position(position), kept::of_position(head));
            let (from, to) = (Bound::Excluded(&from[..]), Bound::Included(&to[..]));
            let rows = self.store.scan(Table::Record, from, to, ROWS)?;
            if rows.is_empty() {
                break;
            }
            for (key, row) in rows {
                if self.is_full() {
                    break;
                }
                position = kept::position_in(&key)?;
                looked_at += 1;
                if early.remove(&position) {
                    continue;
                }
                let row = kept::kept(&row)?;
                let Ok(record) = Record::from_bytes(&row.record) else { continue };
                if !self.range.takes(&record) {
                    continue;
                }
                if let Some(sequence) = record.sequence() {
                    self.late(record.publisher(), sequence, position, &mut early)?;
                }
                self.give(position, row);
            }
        }
        let is_end = position >= head;
        let early = early.into_iter().collect();
        Ok(self.into_page(ReplayCursor::At { position, early }, is_end))
    }

    fn give(&mut self, position: u64, Kept { at, record }: Kept) {
        self.bytes += record.len();
        self.records.push(PagedRecord { position, at: at.0, record });
    }

    /// Gives what was published before a message in its series and recorded after it.
    fn late(
        &mut self,
        publisher: ContextId,
        Sequence { series, number, .. }: Sequence,
        position: u64,
        early: &mut BTreeSet<u64>,
    ) -> Result<(), StoreError> {
        let last = self.given.get(&(publisher, series)).copied();
        let known = last.unwrap_or(number.saturating_sub(LATE));
        self.given.insert((publisher, series), number.max(known));
        if known + 1 >= number {
            return Ok(());
        }
        let (from, to) = (
            kept::of_sequence(publisher, series, known.max(number.saturating_sub(LATE))),
            kept::of_sequence(publisher, series, number),
        );
        let (from, to) = (Bound::Excluded(&from[..]), Bound::Excluded(&to[..]));
        for (_, row) in self.store.scan(Table::Sequence, from, to, LATE as usize)? {
            let place = kept::place(&row)?.position;
            let has_room = early.len() < MOST_EARLY && self.bytes < 4 * MOST_BYTES;
            if place <= position || early.contains(&place) || !has_room {
                continue;
            }
            if let Some(row) = self.row(place)?
                && Record::from_bytes(&row.record).is_ok_and(|record| self.range.takes(&record))
            {
                early.insert(place);
                self.give(place, row);
            }
        }
        Ok(())
    }

    fn into_page(mut self, cursor: ReplayCursor, is_end: bool) -> ReplayPage {
        let kept_from = self.is_incomplete.then(|| {
            let first = self.row(self.about.first).ok().flatten();
            first.map_or(self.about.last.0, |row| row.at.0)
        });
        ReplayPage { records: self.records, cursor, is_end, kept_from, withheld: 0 }
    }
}

#[cfg(test)]
mod tests {
    use actogen::{Context, prelude::*, testing};

    use super::*;
    use crate::{
        recorder::keeping::{Incoming, Keep, Keeping},
        store::MemoryStore,
        time::Millis,
    };

    #[derive(RemoteMessage, Serialize, Deserialize)]
    #[remote(name = "test.Order")]
    struct Order(u64);

    /// The first so many signed messages of a publisher.
    async fn records(context: &Context, count: u64) -> Vec<Incoming> {
        let mut recording = context.record(["t"]).unwrap();
        let mut records = Vec::new();
        for number in 1..=count {
            context.publish("t", &Order(number)).signed().await.unwrap();
            let recorded = recording.next().await.unwrap();
            let record = recorded.record();
            let signed = (record.publisher(), record.sequence().unwrap(), record.hash().unwrap());
            records.push(Incoming { record: record.to_bytes().unwrap(), signed: Some(signed) });
        }
        records
    }

    /// The numbers of all pages, by their places in the series.
    fn read(store: &mut MemoryStore, about: &About, range: &ReplayRange) -> Vec<u64> {
        let (mut numbers, mut cursor) = (Vec::new(), None);
        loop {
            let page = page(store, about, ReplayAsk::new(range.clone(), cursor)).unwrap();
            assert!(page.records.len() <= MOST_RECORDS + LATE as usize);
            numbers.extend(page.records.iter().map(|paged| {
                Record::from_bytes(&paged.record).unwrap().sequence().unwrap().number
            }));
            if page.is_end {
                return numbers;
            }
            cursor = Some(page.cursor);
        }
    }

    #[test]
    fn g17_what_was_recorded_late_is_given_in_its_publishers_order_and_once() {
        testing::run(async |mesh| {
            let root = mesh.root().await;
            let records = records(&root, 600).await;
            let mut store = MemoryStore::default();
            let mut keeping = Keeping::open(&mut store, Keep::default(), Millis(1)).unwrap();
            // Every tenth comes again only later, far behind the page that it belongs to; the last of them at the end.
            let is_late = |number: usize| number % 10 == 5;
            let order = (0..600).filter(|number| !is_late(*number));
            let order = order.chain((0..600).rev().filter(|number| is_late(*number)));
            let incoming: Vec<_> = order.map(|number| records[number].clone()).collect();
            keeping.append(&mut store, incoming, Millis(2)).unwrap();
            let range = ReplayRange::of(["t"])?;
            let all: Vec<u64> = (1..=600).collect();
            assert_eq!(read(&mut store, &keeping.about, &range), all);
            assert_eq!(read(&mut store, &keeping.about, &range.last(600)), all);
            Ok(())
        });
    }

    #[test]
    fn two_messages_for_one_place_are_both_kept() {
        testing::run(async |mesh| {
            let root = mesh.root().await;
            let records = records(&root, 2).await;
            let mut store = MemoryStore::default();
            let mut keeping = Keeping::open(&mut store, Keep::default(), Millis(1)).unwrap();
            let mut lie = records[1].clone();
            if let (Some(lie), Some(first)) = (&mut lie.signed, &records[0].signed) {
                lie.1 = first.1;
            }
            let incoming = vec![records[0].clone(), lie, records[0].clone()];
            let outcome = keeping.append(&mut store, incoming, Millis(2)).unwrap();
            // What is acknowledged is there.
            assert_eq!((outcome.recorded, outcome.again), (2, 1));
            Ok(())
        });
    }

    #[test]
    fn a_clock_that_goes_back_changes_no_order() {
        testing::run(async |mesh| {
            let root = mesh.root().await;
            let records = records(&root, 3).await;
            let mut store = MemoryStore::default();
            let mut keeping = Keeping::open(&mut store, Keep::default(), Millis(9)).unwrap();
            for (record, now) in records.into_iter().zip([10, 5, 20]) {
                keeping.append(&mut store, vec![record], Millis(now)).unwrap();
            }
            let since = |time: u64| {
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(time);
                ReplayRange::of(["t"]).unwrap().since(time)
            };
            let about = keeping.about.clone();
            assert_eq!(read(&mut store, &about, &since(10)), [1, 2, 3]);
            assert_eq!(read(&mut store, &about, &since(11)), [3]);
            assert_eq!(read(&mut store, &about, &since(21)), Vec::<u64>::new());
            let again = Keeping::open(&mut store, Keep::default(), Millis(30)).unwrap();
            assert_eq!(again.about, about);
            let page = page(&mut store, &about, ReplayAsk::new(since(8), None)).unwrap();
            assert_eq!(page.kept_from, Some(10), "nothing was recorded before");
            Ok(())
        });
    }
}
