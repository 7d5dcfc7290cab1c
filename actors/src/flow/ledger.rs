//! The books of a stream's receiving end: what has come and waits, what the producer may still send, and how it ended. A pure core.
//!
//! A producer that waits for credit says now and then how far it is: credit that was lost on the way is told again, and an item that was lost is noticed
//! though no other follows it.
//!
//! Items are numbered from 0. Credit is told as the number below which items may be sent: to tell it twice, or late, does no harm, and the
//! producer can never have more under way than the window holds.

use std::collections::VecDeque;

use super::InflowError;

/// What is there to be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    Item(T),
    /// The error that ended it; once.
    Error(InflowError),
    /// Nothing comes any more.
    Over,
    /// Nothing yet.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Ledger<T> {
    window: u64,
    /// The number of the next item.
    expected: u64,
    taken: u64,
    /// The number below which items may be sent.
    granted: u64,
    /// With their bytes.
    waiting: VecDeque<(usize, T)>,
    bytes: usize,
    /// How it ended, behind what waits.
    end: Option<Result<(), InflowError>>,
}

impl<T> Ledger<T> {
    /// Books of a stream of which so many items wait, or are under way, at the most.
    pub(super) fn new(window: u32) -> Self {
        Self {
            window: window.into(),
            expected: 0,
            taken: 0,
            granted: 0,
            waiting: VecDeque::new(),
            bytes: 0,
            end: None,
        }
    }

    /// How it has ended, if it has; that it has, and no more, once the error has been taken.
    pub(super) fn ended(&self) -> Option<&Result<(), InflowError>> {
        self.end.as_ref()
    }

    fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Takes an item of so many bytes in. What comes behind the end is nobody's.
    pub(super) fn item(&mut self, number: u64, bytes: usize, item: T) {
        if self.has_ended() {
            return;
        }
        if number != self.expected {
            return self.break_off(number);
        }
        if number >= self.granted {
            let text = format!("item {number} came, and only those below {} may", self.granted);
            return self.end(Err(InflowError::Broken(text)));
        }
        self.expected += 1;
        self.bytes += bytes;
        self.waiting.push_back((bytes, item));
    }

    /// The bytes of what waits.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The producer has sent so many items and waits. Gives the number below which they may be sent, as it was told before.
    pub(super) fn so_far(&mut self, number: u64) -> u64 {
        if !self.has_ended() && number > self.expected {
            self.break_off(number);
        }
        self.granted
    }

    /// The producer has said its last word, behind so many items.
    pub(super) fn last_word(&mut self, number: u64, word: Result<(), InflowError>) {
        if !self.has_ended() && number != self.expected {
            return self.break_off(number);
        }
        self.end(word);
    }

    fn break_off(&mut self, number: u64) {
        let text = format!("number {number} came instead of {}", self.expected);
        self.end(Err(InflowError::Broken(text)));
    }

    /// Ends it behind what waits; the first end stands.
    pub(super) fn end(&mut self, how: Result<(), InflowError>) {
        self.end.get_or_insert(how);
    }

    pub(super) fn take(&mut self) -> Taken<T> {
        if let Some((bytes, item)) = self.waiting.pop_front() {
            self.bytes -= bytes;
            self.taken += 1;
            return Taken::Item(item);
        }
        match &mut self.end {
            Some(end) => match std::mem::replace(end, Ok(())) {
                Ok(()) => Taken::Over,
                Err(error) => Taken::Error(error),
            },
            None => Taken::Nothing,
        }
    }

    /// Whether there is credit worth telling: a word for half a window, not one for each item.
    pub(super) fn is_due(&self) -> bool {
        let free = self.taken + self.window - self.granted;
        !self.has_ended() && free * 2 >= self.window
    }

    /// The number below which items may be sent, when that is worth telling.
    pub(super) fn grant(&mut self) -> Option<u64> {
        self.is_due().then(|| {
            self.granted = self.taken + self.window;
            self.granted
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(window: u32) -> Ledger<u64> {
        let mut ledger = Ledger::new(window);
        assert_eq!(ledger.grant(), Some(window.into()));
        ledger
    }

    #[test]
    fn credit_is_given_by_the_half_window_and_never_exceeds_it() {
        let mut ledger = opened(4);
        for number in 0..4 {
            ledger.item(number, 1, number);
        }
        assert_eq!((ledger.grant(), ledger.take()), (None, Taken::Item(0)));
        assert_eq!((ledger.grant(), ledger.take()), (None, Taken::Item(1)));
        assert_eq!((ledger.grant(), ledger.grant()), (Some(6), None));
        ledger.item(4, 1, 4);
        ledger.item(5, 1, 5);
        ledger.item(6, 1, 6);
        assert!(ledger.has_ended(), "that was more than it may");
        for number in 2..6 {
            assert_eq!(ledger.take(), Taken::Item(number));
        }
        assert!(matches!(ledger.take(), Taken::Error(InflowError::Broken(_))));
        assert_eq!((ledger.take(), ledger.grant()), (Taken::Over, None));
    }

    #[test]
    fn a_window_of_one_goes_item_by_item() {
        let mut ledger = opened(1);
        for number in 0..3 {
            ledger.item(number, 1, number);
            assert_eq!((ledger.grant(), ledger.take()), (None, Taken::Item(number)));
            assert_eq!(ledger.grant(), Some(number + 2));
        }
    }

    #[test]
    fn an_end_comes_behind_the_items_and_an_error_once() {
        let mut ledger = opened(4);
        ledger.item(0, 1, 0);
        ledger.last_word(1, Err(InflowError::Failed("no more".into())));
        ledger.end(Err(InflowError::Closed));
        ledger.item(1, 1, 1);
        assert_eq!(ledger.take(), Taken::Item(0));
        assert_eq!(ledger.take(), Taken::Error(InflowError::Failed("no more".into())));
        assert_eq!([ledger.take(), ledger.take()], [Taken::Over, Taken::Over]);

        let mut ledger = opened(4);
        assert_eq!(ledger.take(), Taken::Nothing);
        ledger.last_word(0, Ok(()));
        assert_eq!([ledger.take(), ledger.take()], [Taken::Over, Taken::Over]);
    }

    #[test]
    fn what_is_missing_is_noticed() {
        let item: fn(&mut Ledger<u64>) = |ledger| ledger.item(2, 1, 2);
        let last_word: fn(&mut Ledger<u64>) = |ledger| ledger.last_word(2, Ok(()));
        let so_far: fn(&mut Ledger<u64>) = |ledger| {
            ledger.so_far(2);
        };
        for missing in [item, last_word, so_far] {
            let mut ledger = opened(4);
            ledger.item(0, 1, 0);
            missing(&mut ledger);
            assert_eq!(ledger.take(), Taken::Item(0));
            let Taken::Error(InflowError::Broken(text)) = ledger.take() else { panic!() };
            assert_eq!(text, "number 2 came instead of 1");
        }
    }

    #[test]
    fn credit_is_told_again_to_whoever_waits_and_bytes_are_counted() {
        let mut ledger = opened(4);
        for number in 0..3 {
            ledger.item(number, 10, number);
        }
        assert_eq!((ledger.so_far(3), ledger.bytes()), (4, 30));
        assert_eq!((ledger.take(), ledger.take()), (Taken::Item(0), Taken::Item(1)));
        assert_eq!((ledger.grant(), ledger.so_far(3), ledger.bytes()), (Some(6), 6, 10));
        assert!(!ledger.has_ended());
    }
}
