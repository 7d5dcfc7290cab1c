//! What is journaled: counters that notice by themselves when a message is lost or comes twice.

use std::time::Duration;

use actix::MessageResult;
use actogen::prelude::*;
use actogen_journal::{Journaled, JournaledActor, Turn};

/// Each so-manieth step sets a timer.
const TIMER_EACH: u64 = 4;

/// A step of the one asker of this counter. The answer is how many it has taken.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "crashes.Step", reply = "u64")]
pub(super) struct Step {
    /// The number of the step, from one.
    pub(super) number: u64,
    /// The counter of the other node that is to hear of it.
    pub(super) next: Journaled<Counter>,
}

/// A step that another counter has taken.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "crashes.Heard")]
struct Heard(u64);

/// A timer of the counter's own.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "crashes.Tick")]
struct Tick;

/// What a counter has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Steps of its asker.
    pub steps: u64,
    /// Steps of the other node's counter.
    pub heard: u64,
    /// Timers that it has set.
    pub set: u64,
    /// Timers that have fired.
    pub fired: u64,
    /// Messages that were skipped.
    pub lost: u64,
    /// Messages that came though they had come before.
    pub twice: u64,
}

#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "crashes.Count", reply = "Counts")]
pub(super) struct Count;

/// Counts the steps of one asker and of one other counter.
#[derive(Debug, Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "counter", messages(Step, Heard, Tick, Count))]
pub(super) struct Counter {
    counts: Counts,
}

impl Actor for Counter {
    type Context = Turn<Self>;
}

impl Counter {
    /// Whether the next one of a row is the one that should come.
    fn check(&mut self, last: u64, number: u64) {
        if number <= last {
            self.counts.twice += 1;
        } else {
            self.counts.lost += number - last - 1;
        }
    }
}

impl Handler<Step> for Counter {
    type Result = u64;

    fn handle(&mut self, step: Step, turn: &mut Turn<Self>) -> u64 {
        self.check(self.counts.steps, step.number);
        self.counts.steps = step.number;
        turn.send(&step.next, Heard(step.number));
        if step.number.is_multiple_of(TIMER_EACH) {
            self.counts.set += 1;
            turn.send_after(Duration::from_millis(2), Tick);
        }
        self.counts.steps
    }
}

impl Handler<Heard> for Counter {
    type Result = ();

    fn handle(&mut self, heard: Heard, _: &mut Turn<Self>) {
        self.check(self.counts.heard, heard.0);
        self.counts.heard = heard.0;
    }
}

impl Handler<Tick> for Counter {
    type Result = ();

    fn handle(&mut self, _: Tick, _: &mut Turn<Self>) {
        self.counts.fired += 1;
    }
}

impl Handler<Count> for Counter {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Turn<Self>) -> Self::Result {
        MessageResult(self.counts)
    }
}
