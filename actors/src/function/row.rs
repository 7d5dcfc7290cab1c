//! One chain at the called side: which call runs, which wait for their turn, and what the first failure was.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{self, Poll},
};

use tokio::sync::oneshot;

use super::{callee::Outcome, failure::Failure};

/// The calls of one chain. A number that never comes, because its call was given up before it left, is told of by [`Row::give_up`].
#[derive(Debug, Default)]
pub(super) struct Row {
    /// The number of the call that runs, or comes next.
    next: u64,
    runs: bool,
    waiting: BTreeMap<u64, oneshot::Sender<Result<(), Failure>>>,
    /// From which number on the chain has failed, and why.
    failed: Option<(u64, Failure)>,
    /// The caller makes no more calls.
    closed: bool,
}

/// A call's turn to run, or why it will have none.
#[derive(Debug)]
pub(super) struct Turn(oneshot::Receiver<Result<(), Failure>>);

impl Future for Turn {
    type Output = Result<(), Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        // A row is forgotten with calls in it only when their caller has gone.
        Pin::new(&mut self.0).poll(cx).map(|turn| turn.unwrap_or(Err(Failure::GivenUp)))
    }
}

impl Row {
    /// Takes a call in. Without a turn to wait for, it runs now.
    pub(super) fn enter(&mut self, number: u64) -> Result<Option<Turn>, Failure> {
        if let Some((from, failure)) = &self.failed
            && number >= *from
        {
            return Err(failure.clone());
        }
        if self.next == number && !self.runs {
            self.runs = true;
            return Ok(None);
        }
        let (turn, waits) = oneshot::channel();
        self.waiting.insert(number, turn);
        Ok(Some(Turn(waits)))
    }

    /// A call has ended: the next one has its turn, or the rest has failed.
    pub(super) fn end(&mut self, number: u64, outcome: &Outcome) {
        if number == self.next {
            self.runs = false;
        }
        match outcome {
            Err(failure) => self.fail(number, failure),
            Ok(_) => {
                self.next = number + 1;
                if let Some(next) = self.waiting.remove(&self.next) {
                    // One that was given up meanwhile fails the chain when that is noticed.
                    self.runs = next.send(Ok(())).is_ok();
                }
            }
        }
    }

    /// A call that has not come will never come.
    pub(super) fn give_up(&mut self, number: u64) {
        if number >= self.next {
            self.fail(number, &Failure::GivenUp);
        }
    }

    /// The caller makes no more calls.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Nothing of it will be asked for again.
    pub(super) fn is_over(&self) -> bool {
        self.closed && !self.runs && self.waiting.is_empty()
    }

    fn fail(&mut self, number: u64, failure: &Failure) {
        let (from, failure) = self.failed.get_or_insert_with(|| (number, failure.clone()));
        *from = number.min(*from);
        for (_, waiting) in self.waiting.split_off(from) {
            // Whoever was given up meanwhile needs no word.
            let _ = waiting.send(Err(failure.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::blob::Blob;
    use futures_util::FutureExt;

    use super::*;

    fn waits(row: &mut Row, number: u64) -> Turn {
        row.enter(number).unwrap().unwrap()
    }

    fn broken() -> Failure {
        Failure::Error(vec!["broken".into()])
    }

    #[test]
    fn m13_calls_of_a_chain_run_in_the_order_of_their_numbers() {
        let mut row = Row::default();
        let (two, one) = (waits(&mut row, 2), waits(&mut row, 1));
        assert!(row.enter(0).unwrap().is_none());
        row.end(0, &Ok(Blob::default()));
        assert_eq!(one.now_or_never(), Some(Ok(())));
        let mut two = std::pin::pin!(two);
        assert_eq!(two.as_mut().now_or_never(), None);
        row.end(1, &Ok(Blob::default()));
        assert_eq!(two.now_or_never(), Some(Ok(())));
    }

    #[test]
    fn m13_the_first_failure_fails_what_is_behind_it() {
        let mut row = Row::default();
        assert!(row.enter(0).unwrap().is_none());
        let (one, two) = (waits(&mut row, 1), waits(&mut row, 2));
        row.end(0, &Err(broken()));
        assert_eq!(
            (one.now_or_never(), two.now_or_never()),
            (Some(Err(broken())), Some(Err(broken())))
        );
        assert_eq!(row.enter(3).unwrap_err(), broken());
    }

    #[test]
    fn a_call_that_is_given_up_fails_what_is_behind_it_and_not_what_is_before() {
        let mut row = Row::default();
        assert!(row.enter(0).unwrap().is_none());
        let (one, three) = (waits(&mut row, 1), waits(&mut row, 3));
        row.give_up(2);
        assert_eq!(three.now_or_never(), Some(Err(Failure::GivenUp)));
        row.end(0, &Ok(Blob::default()));
        assert_eq!(one.now_or_never(), Some(Ok(())));
    }

    #[test]
    fn a_chain_that_is_done_is_over_when_its_calls_are() {
        let mut row = Row::default();
        assert!(row.enter(0).unwrap().is_none());
        let one = waits(&mut row, 1);
        row.close();
        assert!(!row.is_over());
        row.end(0, &Ok(Blob::default()));
        assert_eq!(one.now_or_never(), Some(Ok(())));
        assert!(!row.is_over());
        row.end(1, &Ok(Blob::default()));
        assert!(row.is_over());
    }
}
