//! The measure loops, for whatever can be told and asked. They are those of `actogen-bench`.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt,
    future::{MaybeDone, maybe_done},
    stream::FuturesUnordered,
};

use crate::{
    Error,
    note::{Note, SMALL, Tally},
    span::{Span, percentiles, stride},
    work::{Kind, Outcome},
};

/// How far Actogen's sender is ahead of its receiver at most: as much as a mailbox holds there, and a quarter less.
const MAILBOX_MESSAGES: usize = 48 * 1024;
const MAILBOX_BYTES: usize = 16 * 1024 * 1024;
/// More than a mailbox there charges for a message beside its body, in bytes.
const ENVELOPE: usize = 256;

/// How long a receiver's count must stand still until what is missing is lost.
const SILENCE: Duration = Duration::from_millis(500);
/// How long between two looks at the count of a receiver that lacks messages.
const PAUSE: Duration = Duration::from_millis(5);

/// A receiver that tells how much it has handled, as its sender sees it.
pub trait Target {
    /// Sends a message one way, waiting as this system makes a sender wait.
    fn tell(&self, note: Note) -> impl Future<Output = Result<(), Error>>;

    /// Asks what was told since the last time.
    fn tally(&self) -> impl Future<Output = Result<Tally, Error>>;

    /// Sends a note and gets it back.
    fn ask(&self, note: Note) -> impl Future<Output = Result<Note, Error>>;

    /// How many messages of this size the sender may be ahead of the receiver. Without an end to it, a system that makes no sender wait
    /// would be measured at filling its memory.
    fn lead(&self, bytes: usize) -> usize {
        MAILBOX_MESSAGES.min(MAILBOX_BYTES / (bytes + ENVELOPE)) / 4 * 3
    }
}

/// Does a work of this kind with the target.
///
/// # Errors
/// The target's own, and a sum or an answer that is not the right one.
pub async fn run(target: &impl Target, kind: Kind, lasts: Duration) -> Result<Outcome, Error> {
    match kind {
        Kind::Tell(bytes) => tell(target, bytes, lasts).await,
        Kind::Ask(in_flight) => ask(target, in_flight, lasts).await,
        Kind::Play(program) => Err(format!("{program:?} is no work with one target").into()),
    }
}

async fn tell(target: &impl Target, bytes: usize, lasts: Duration) -> Result<Outcome, Error> {
    // Four batches ahead, each with a tally that is asked for behind it.
    const BATCHES: usize = 4;
    let batch = target.lead(bytes).div_ceil(BATCHES).max(1);
    let mut tallies = VecDeque::with_capacity(BATCHES);
    let (mut sent, mut handled) = (0, Tally::default());
    let span = Span::of(lasts);
    while !span.is_over() {
        for _ in 0..batch {
            target.tell(Note::new(sent, bytes)).await?;
            sent += 1;
            if sent % stride(bytes) == 0 && span.is_over() {
                break;
            }
        }
        // Asked by the first poll, and answered whenever it is.
        let mut tally = Box::pin(maybe_done(target.tally()));
        let _ = poll_fn(|task| Poll::Ready(tally.as_mut().poll(task))).await;
        tallies.push_back(tally);
        if tallies.len() == BATCHES {
            handled = handled.and(oldest(&mut tallies).await?);
        }
    }
    while !tallies.is_empty() {
        handled = handled.and(oldest(&mut tallies).await?);
    }
    let mut changed = Instant::now();
    // Nothing is missing behind the last tally where messages keep their order and none is lost.
    while handled.messages < sent && changed.elapsed() < SILENCE {
        tokio::time::sleep(PAUSE).await;
        let more = target.tally().await?;
        if more.messages > 0 {
            handled = handled.and(more);
            changed = Instant::now();
        }
    }
    if handled.messages >= sent && handled != Tally::of(sent, bytes) {
        return Err(format!("{sent} messages were told and {handled:?} was handled").into());
    }
    let rate = span.rate_until(handled.messages, changed);
    Ok(Outcome { figures: vec![rate], sent, handled: handled.messages })
}

async fn oldest<F: Future<Output = Result<Tally, Error>>>(
    tallies: &mut VecDeque<Pin<Box<MaybeDone<F>>>>,
) -> Result<Tally, Error> {
    let mut oldest = tallies.pop_front().ok_or("no tally was asked for")?;
    oldest.as_mut().await;
    oldest.as_mut().take_output().ok_or("a tally was taken twice")?
}

async fn ask(target: &impl Target, in_flight: usize, lasts: Duration) -> Result<Outcome, Error> {
    let span = Span::of(lasts);
    if in_flight == 1 {
        let mut times = Vec::new();
        while !span.is_over() {
            let began = Instant::now();
            ask_one(target, times.len() as u64).await?;
            times.push(began.elapsed().as_nanos() as u64);
        }
        let answered = times.len() as u64;
        let figures = percentiles(times).ok_or("no request was answered in its time")?;
        return Ok(Outcome { figures: figures.into(), sent: answered, handled: answered });
    }
    let asker = || async {
        let mut answered = 0;
        while !span.is_over() {
            ask_one(target, answered).await?;
            answered += 1;
        }
        Ok::<u64, Error>(answered)
    };
    let mut askers: FuturesUnordered<_> = (0..in_flight).map(|_| asker()).collect();
    let mut answered = 0;
    while let Some(asker) = askers.next().await {
        answered += asker?;
    }
    Ok(Outcome { figures: vec![span.rate(answered)], sent: answered, handled: answered })
}

async fn ask_one(target: &impl Target, number: u64) -> Result<(), Error> {
    let note = target.ask(Note::new(number, SMALL)).await?;
    if note.number == number && note.payload.len() == SMALL - size_of::<u64>() {
        Ok(())
    } else {
        Err("the answer is another's".into())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::note::MEDIUM;

    /// Handles at once what it is told, but each message whose number `loses` divides.
    struct Here {
        handled: Mutex<Tally>,
        most: Mutex<u64>,
        loses: Option<u64>,
        answers: u64,
    }

    impl Here {
        fn new() -> Self {
            Self { handled: Mutex::default(), most: Mutex::default(), loses: None, answers: 0 }
        }
    }

    impl Target for Here {
        async fn tell(&self, note: Note) -> Result<(), Error> {
            if self.loses.is_none_or(|loses| !note.number.is_multiple_of(loses)) {
                let mut handled = self.handled.lock().unwrap();
                handled.count(note.number, &note.payload);
                let mut most = self.most.lock().unwrap();
                *most = handled.messages.max(*most);
            }
            Ok(())
        }

        async fn tally(&self) -> Result<Tally, Error> {
            Ok(self.handled.lock().unwrap().take())
        }

        async fn ask(&self, note: Note) -> Result<Note, Error> {
            tokio::task::yield_now().await;
            Ok(Note { number: note.number + self.answers, ..note })
        }
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    const SHORT: Duration = Duration::from_millis(20);

    #[test]
    fn all_that_is_told_is_counted() {
        let here = Here::new();
        let outcome = block_on(run(&here, Kind::Tell(SMALL), SHORT)).unwrap();
        assert!(outcome.sent > 0);
        assert_eq!(outcome.handled, outcome.sent);
        assert!(outcome.figures[0] > 0.0);
        // Nothing is told beyond a batch without a tally between.
        assert!(*here.most.lock().unwrap() <= here.lead(SMALL) as u64 / 4 + 1);
    }

    #[test]
    fn losses_are_reported_and_no_failure() {
        let here = Here { loses: Some(2), ..Here::new() };
        let outcome = block_on(run(&here, Kind::Tell(MEDIUM), SHORT)).unwrap();
        assert_eq!(outcome.handled, outcome.sent / 2);
        // The silence that shows a loss is no part of the time.
        let took = outcome.handled as f64 / outcome.figures[0];
        assert!(took < (SHORT + SILENCE).as_secs_f64(), "{took}");
    }

    #[test]
    fn a_wrong_sum_is_a_failure() {
        let here = Here::new();
        here.handled.lock().unwrap().sum = 1;
        assert!(block_on(run(&here, Kind::Tell(SMALL), SHORT)).is_err());
    }

    #[test]
    fn requests_give_times_alone_and_a_rate_together() {
        let here = Here::new();
        let alone = block_on(run(&here, Kind::Ask(1), SHORT)).unwrap();
        assert_eq!(alone.figures.len(), 2);
        let together = block_on(run(&here, Kind::Ask(64), SHORT)).unwrap();
        assert_eq!(together.figures.len(), 1);
        assert_eq!(together.sent, together.handled);
    }

    #[test]
    fn another_ones_answer_is_a_failure() {
        let here = Here { answers: 1, ..Here::new() };
        assert!(block_on(run(&here, Kind::Ask(1), SHORT)).is_err());
        assert!(block_on(run(&here, Kind::Ask(64), SHORT)).is_err());
    }

    #[test]
    fn the_lead_is_no_more_than_a_mailbox_of_ours_holds() {
        let here = Here::new();
        assert_eq!(here.lead(SMALL), 36_864);
        assert_eq!(here.lead(MEDIUM), 9828);
    }
}
