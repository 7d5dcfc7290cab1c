//! What a supervisor does about its children, as a pure machine: what happens to them goes in, what to do comes out. Time and chance are
//! handed in, so that a test can try any sequence of events.

use std::{collections::VecDeque, time::Duration};

use super::policy::{Backoff, Intensity, Restart, Strategy};

/// How one life of a child ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LifeEnd {
    /// As actors end that have done their work.
    pub(super) is_normal: bool,
    /// It was lost with its context, which is somebody's failure, and not its own if that is a child too.
    pub(super) with_context: bool,
    /// For people.
    pub(super) why: String,
}

/// What the host shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Begin a life of this child, and say how that went.
    Start(usize),
    /// End its life, and say when it is over.
    Stop(usize),
    /// Nothing is left to run: the supervisor ends; because it has given up, if that is said.
    End(Option<GivenUp>),
}

/// Why a supervisor has given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// This child was the last of too many that began anew.
    TooOften { child: usize, why: String },
    /// This child could not be started, too many times in a row.
    NoStart { child: usize, why: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Down,
    Starting,
    Up {
        since: Duration,
    },
    /// It is asked to end, whether it had started or not.
    Stopping,
}

#[derive(Debug)]
struct Row {
    restart: Restart,
    /// The child that must be up before this one.
    needs: Option<usize>,
    state: State,
    /// Whether it shall live: an operator may say no, or its own policy.
    wanted: bool,
    /// Somebody has asked for another life since the last one began.
    asked: bool,
    not_before: Duration,
    /// Ends in a row after a short life each, for the backoff.
    streak: u32,
    /// Failures in a row to begin a life.
    refused: u32,
    restarts: u64,
}

/// How soon a child is tried again that another's failure holds up, at the earliest: word of that is on its way.
const HELD_UP: Duration = Duration::from_millis(20);

/// The machine.
#[derive(Debug)]
pub(super) struct Plan {
    strategy: Strategy,
    intensity: Intensity,
    backoff: Backoff,
    rows: Vec<Row>,
    /// When lives were begun anew, within the intensity's window.
    anew: VecDeque<Duration>,
    /// All children from this one on go down before any comes up.
    sweep: Option<usize>,
    /// Everything goes down, for the last time.
    ending: Option<Option<GivenUp>>,
    ended: bool,
}

impl Plan {
    pub(super) fn new(strategy: Strategy, intensity: Intensity, backoff: Backoff) -> Self {
        Self {
            strategy,
            intensity,
            backoff,
            rows: Vec::new(),
            anew: VecDeque::new(),
            sweep: None,
            ending: None,
            ended: false,
        }
    }

    /// Adds a child behind the others; it starts when the one that it needs is up.
    pub(super) fn add(&mut self, restart: Restart, needs: Option<usize>) {
        self.rows.push(Row {
            restart,
            needs,
            state: State::Down,
            wanted: true,
            asked: false,
            not_before: Duration::ZERO,
            streak: 0,
            refused: 0,
            restarts: 0,
        });
    }

    pub(super) fn state(&self, child: usize) -> State {
        self.rows[child].state
    }

    /// Whether a life goes on, and that of the child that it needs.
    pub(super) fn is_up(&self, child: usize) -> bool {
        let Row { state, needs, .. } = self.rows[child];
        matches!(state, State::Up { .. }) && needs.is_none_or(|needed| self.is_up(needed))
    }

    pub(super) fn is_wanted(&self, child: usize) -> bool {
        self.rows[child].wanted
    }

    pub(super) fn restarts(&self, child: usize) -> u64 {
        self.rows[child].restarts
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// A life has begun.
    pub(super) fn started(&mut self, child: usize, now: Duration) {
        let row = &mut self.rows[child];
        row.refused = 0;
        // One that is asked to end meanwhile has still to say that it has.
        if row.state == State::Starting {
            row.asked = false;
            row.state = State::Up { since: now };
        }
    }

    /// No life could be begun. That is no crash: it has a count of its own, and may succeed elsewhere or later.
    pub(super) fn refused(&mut self, child: usize, why: &str, now: Duration, chance: f64) {
        let most = self.intensity.start_attempts;
        let row = &mut self.rows[child];
        row.state = State::Down;
        row.refused += 1;
        if row.refused >= most && row.wanted {
            return self.end(Some(GivenUp::NoStart { child, why: why.to_owned() }));
        }
        row.not_before = now.saturating_add(self.backoff.delay(row.refused - 1, chance));
    }

    /// No life could be begun for another one's failure, which is not known here yet: it is tried later, and nothing is counted.
    pub(super) fn put_off(&mut self, child: usize, now: Duration, chance: f64) {
        let row = &mut self.rows[child];
        row.state = State::Down;
        row.not_before = now.saturating_add(self.backoff.delay(0, chance).max(HELD_UP));
    }

    /// A life is over.
    pub(super) fn ended(&mut self, child: usize, end: &LifeEnd, now: Duration, chance: f64) {
        let row = &mut self.rows[child];
        let before = std::mem::replace(&mut row.state, State::Down);
        if before == State::Stopping || self.ending.is_some() {
            // One that has only one life has had it, whoever ended that; unless it is asked for anew.
            row.wanted &= row.restart != Restart::Temporary || row.asked;
            return;
        }
        let again = match row.restart {
            Restart::Permanent => true,
            Restart::Transient => !end.is_normal,
            Restart::Temporary => false,
        };
        if !again {
            row.wanted = false;
            return;
        }
        if end.with_context && row.needs.is_some() {
            // That one's failure counts, and this one comes up behind it.
            row.not_before = now;
            return;
        }
        let lived = match before {
            State::Up { since } => now.saturating_sub(since),
            _ => Duration::ZERO,
        };
        if lived >= self.backoff.stable_after {
            row.streak = 0;
        }
        row.not_before = now.saturating_add(self.backoff.delay(row.streak, chance));
        row.streak += 1;
        row.restarts += 1;
        self.anew.push_back(now);
        while self
            .anew
            .front()
            .is_some_and(|&then| now.saturating_sub(then) >= self.intensity.within)
        {
            self.anew.pop_front();
        }
        if self.anew.len() > self.intensity.restarts as usize {
            return self.end(Some(GivenUp::TooOften { child, why: end.why.clone() }));
        }
        let from = match self.strategy {
            Strategy::OneForOne => return,
            Strategy::OneForAll => 0,
            Strategy::RestForOne => child,
        };
        self.sweep = Some(self.sweep.map_or(from, |sweep| sweep.min(from)));
    }

    /// Somebody who may has said that this child shall live, or shall not. A child that was stopped so stays down whatever befalls others.
    pub(super) fn want(&mut self, child: usize, wanted: bool, now: Duration) {
        let row = &mut self.rows[child];
        (row.wanted, row.asked) = (wanted, wanted);
        (row.not_before, row.streak, row.refused) = (now, 0, 0);
    }

    /// The life of this child shall end for another to begin; that counts as no failure.
    pub(super) fn renew(&mut self, child: usize, now: Duration, out: &mut Vec<Act>) {
        self.want(child, true, now);
        self.stop(child, out);
    }

    /// Everything shall go down.
    pub(super) fn end(&mut self, why: Option<GivenUp>) {
        self.ending.get_or_insert(why);
    }

    fn stop(&mut self, child: usize, out: &mut Vec<Act>) {
        let state = &mut self.rows[child].state;
        if matches!(state, State::Starting | State::Up { .. }) {
            *state = State::Stopping;
            out.push(Act::Stop(child));
        }
    }

    /// What to do now, and when to ask again if nothing happens before.
    pub(super) fn act(&mut self, now: Duration, out: &mut Vec<Act>) -> Option<Duration> {
        if self.ended {
            return None;
        }
        if let Some(why) = &self.ending {
            let why = why.clone();
            if self.take_down(0, out) {
                self.ended = true;
                out.push(Act::End(why));
            }
            return None;
        }
        for child in (0..self.rows.len()).rev() {
            if !self.rows[child].wanted {
                self.stop(child, out);
            }
        }
        if let Some(from) = self.sweep {
            if !self.take_down(from, out) {
                return None;
            }
            self.sweep = None;
        }
        self.bring_up(now, out)
    }

    /// Ends the last child from this one on that lives; true when none does. One after the other, the last first: a child may count on
    /// those before it as long as it lives.
    fn take_down(&mut self, from: usize, out: &mut Vec<Act>) -> bool {
        let lives = |row: &Row| row.state != State::Down;
        match (from..self.rows.len()).rev().find(|&child| lives(&self.rows[child])) {
            Some(last) => {
                self.stop(last, out);
                false
            }
            None => true,
        }
    }

    fn bring_up(&mut self, now: Duration, out: &mut Vec<Act>) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        for child in 0..self.rows.len() {
            let has = |need: usize| matches!(self.rows[need].state, State::Up { .. });
            let has_needs = self.rows[child].needs.is_none_or(has);
            let row = &mut self.rows[child];
            if !row.wanted {
                continue;
            }
            if row.state == State::Down && has_needs {
                if row.not_before <= now {
                    row.state = State::Starting;
                    out.push(Act::Start(child));
                } else {
                    next = Some(next.map_or(row.not_before, |next| next.min(row.not_before)));
                }
            }
            // Where children count on each other, one comes up when those before it are there.
            if self.strategy != Strategy::OneForOne && !matches!(row.state, State::Up { .. }) {
                break;
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
