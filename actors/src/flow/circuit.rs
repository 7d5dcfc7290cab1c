//! When a circuit breaker opens, and when it closes again. A pure core: time is handed in.
//!
//! ```text
//!            too many failures                      its time is over
//!   Closed ─────────────────────> Open ──────────────────────────────────> HalfOpen: one message, the probe
//!     ^                            ^                                         │  │
//!     │                            └──────────────── it fails ───────────────┘  │
//!     └───────────────────────────────────────── it succeeds ───────────────────┘
//! ```

use std::time::Duration;

use super::window::Window;

const SUCCESSES: usize = 0;
const FAILURES: usize = 1;

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// After so many failures with no success between them.
    pub(super) in_a_row: Option<u32>,
    /// When so many of a hundred have failed,
    pub(super) percent: Option<u8>,
    /// and at least so many are known.
    pub(super) least: u32,
    /// What is older than this does not count.
    pub(super) window: Duration,
    pub(super) open_for: Duration,
}

/// What a circuit breaker does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerState {
    /// It lets them through.
    Closed,
    /// It refuses them.
    Open,
    /// It has been open, and lets one through to see how that fares.
    HalfOpen,
}

/// How what was let through has fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fared {
    Well,
    Badly,
    /// It says nothing about the other side.
    Unknown,
}

/// Lets one message through. What becomes of it counts for the state that let it through, and for no later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    round: u64,
}

#[derive(Debug)]
enum State {
    Closed,
    Open { until: Duration },
    HalfOpen { probing: bool },
}

#[derive(Debug)]
pub(super) struct Circuit {
    rules: Rules,
    state: State,
    /// Grows with each change of the state.
    round: u64,
    window: Window,
    failures_in_a_row: u32,
    last_failure: Duration,
    refused: u64,
}

impl Circuit {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Closed,
            round: 0,
            window: Window::new(rules.window),
            failures_in_a_row: 0,
            last_failure: Duration::ZERO,
            refused: 0,
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.round += 1;
    }

    fn look(&mut self, now: Duration) {
        if let State::Open { until } = self.state
            && until <= now
        {
            self.change(State::HalfOpen { probing: false });
        }
    }

    pub(super) fn state(&mut self, now: Duration) -> BreakerState {
        self.look(now);
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Lets a message through, or says how long it stays open; no time at all while it is not known how the probe fares.
    pub(super) fn admit(&mut self, now: Duration) -> Result<Pass, Duration> {
        self.look(now);
        let wait = match &mut self.state {
            State::Closed => return Ok(Pass { round: self.round }),
            State::HalfOpen { probing } if !*probing => {
                *probing = true;
                return Ok(Pass { round: self.round });
            }
            State::HalfOpen { .. } => Duration::ZERO,
            State::Open { until } => until.saturating_sub(now),
        };
        self.refused += 1;
        Err(wait)
    }

    /// Takes note of how a message has fared.
    pub(super) fn report(&mut self, pass: Pass, fared: Fared, now: Duration) {
        if pass.round != self.round {
            return;
        }
        match (&mut self.state, fared) {
            (State::Closed, Fared::Well) => {
                self.window.add(SUCCESSES, now);
                self.failures_in_a_row = 0;
            }
            (State::Closed, Fared::Badly) => self.failed(now),
            (State::HalfOpen { .. }, Fared::Well) => {
                self.window.clear();
                self.failures_in_a_row = 0;
                self.change(State::Closed);
            }
            (State::HalfOpen { .. }, Fared::Badly) => self.open(now),
            (State::HalfOpen { probing }, Fared::Unknown) => *probing = false,
            (State::Closed | State::Open { .. }, _) => {}
        }
    }

    fn open(&mut self, now: Duration) {
        self.change(State::Open { until: now.saturating_add(self.rules.open_for) });
    }

    fn failed(&mut self, now: Duration) {
        if now.saturating_sub(self.last_failure) > self.rules.window {
            self.failures_in_a_row = 0;
        }
        self.failures_in_a_row += 1;
        self.last_failure = now;
        self.window.add(FAILURES, now);
        let [well, badly] = self.window.sums(now);
        let all = well + badly;
        let in_a_row = self.rules.in_a_row.is_some_and(|most| self.failures_in_a_row >= most);
        let ratio = self.rules.percent.is_some_and(|percent| {
            all >= u64::from(self.rules.least) && badly * 100 >= all * u64::from(percent)
        });
        if in_a_row || ratio {
            self.open(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn circuit(in_a_row: Option<u32>, percent: Option<u8>) -> Circuit {
        Circuit::new(Rules { in_a_row, percent, least: 10, window: s(60), open_for: s(5) })
    }

    fn pass(circuit: &mut Circuit, fared: Fared, now: Duration) {
        let pass = circuit.admit(now).unwrap();
        circuit.report(pass, fared, now);
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let mut circuit = circuit(Some(3), None);
        for fared in [Fared::Badly, Fared::Badly, Fared::Well, Fared::Badly, Fared::Badly] {
            pass(&mut circuit, fared, s(1));
        }
        assert_eq!(circuit.state(s(1)), BreakerState::Closed, "there was a success between");
        pass(&mut circuit, Fared::Unknown, s(1));
        pass(&mut circuit, Fared::Badly, s(2));
        assert_eq!(circuit.admit(s(3)), Err(s(4)));
        assert_eq!((circuit.state(s(3)), circuit.refused()), (BreakerState::Open, 1));
    }

    #[test]
    fn failures_far_apart_are_not_in_a_row() {
        let mut circuit = circuit(Some(2), None);
        pass(&mut circuit, Fared::Badly, s(0));
        pass(&mut circuit, Fared::Badly, s(61));
        assert_eq!(circuit.state(s(61)), BreakerState::Closed);
        pass(&mut circuit, Fared::Badly, s(121));
        assert_eq!(circuit.state(s(121)), BreakerState::Open);
    }

    #[test]
    fn a_ratio_opens_it_once_enough_is_known() {
        let mut circuit = circuit(None, Some(50));
        for n in 0..9 {
            pass(&mut circuit, if n < 5 { Fared::Badly } else { Fared::Well }, s(n));
        }
        assert_eq!(circuit.state(s(9)), BreakerState::Closed, "nine are too few");
        pass(&mut circuit, Fared::Badly, s(9));
        assert_eq!(circuit.state(s(9)), BreakerState::Open);
    }

    #[test]
    fn old_failures_count_no_more() {
        let mut circuit = circuit(None, Some(50));
        for _ in 0..9 {
            pass(&mut circuit, Fared::Badly, s(0));
        }
        for _ in 0..11 {
            pass(&mut circuit, Fared::Well, s(100));
        }
        pass(&mut circuit, Fared::Badly, s(100));
        assert_eq!(circuit.state(s(100)), BreakerState::Closed);
    }

    #[test]
    fn one_probe_decides() {
        let mut circuit = circuit(Some(1), None);
        pass(&mut circuit, Fared::Badly, s(0));
        assert_eq!(circuit.admit(s(4)), Err(s(1)));
        let probe = circuit.admit(s(5)).unwrap();
        assert_eq!(circuit.state(s(5)), BreakerState::HalfOpen);
        assert_eq!(circuit.admit(s(5)), Err(s(0)), "there is one probe already");
        circuit.report(probe, Fared::Badly, s(6));
        assert_eq!(circuit.admit(s(6)), Err(s(5)));
        let probe = circuit.admit(s(11)).unwrap();
        circuit.report(probe, Fared::Well, s(12));
        assert_eq!(circuit.state(s(12)), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_says_nothing_leaves_its_place_to_another() {
        let mut circuit = circuit(Some(1), None);
        pass(&mut circuit, Fared::Badly, s(0));
        let probe = circuit.admit(s(5)).unwrap();
        circuit.report(probe, Fared::Unknown, s(6));
        assert!(circuit.admit(s(6)).is_ok());
    }

    #[test]
    fn what_was_let_through_before_a_change_says_nothing_any_more() {
        let mut circuit = circuit(Some(1), None);
        let (late, later) = (circuit.admit(s(0)).unwrap(), circuit.admit(s(0)).unwrap());
        pass(&mut circuit, Fared::Badly, s(0));
        circuit.report(late, Fared::Well, s(1));
        assert_eq!(circuit.state(s(1)), BreakerState::Open);
        let probe = circuit.admit(s(5)).unwrap();
        circuit.report(later, Fared::Badly, s(5));
        circuit.report(probe, Fared::Well, s(5));
        assert_eq!(circuit.state(s(5)), BreakerState::Closed);
    }
}
