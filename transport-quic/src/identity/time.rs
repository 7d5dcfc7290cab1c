//! The mesh's time: what certificates are judged by (protocol rule 25).
//!
//! A context that enrols needs no clock that is right. Its certificate was issued for a key that it had just made, so the date of issue,
//! which the authority has signed, is the root's time at that moment: nobody on the way can make it another. From then on the time goes
//! by a clock that is never set and counts suspension, and each renewal brings the next date.
//!
//! What is trusted: the authority's word, however far ahead it is, since whoever has the authority's key can issue anything. What is
//! bounded: certificates that somebody on the way has held back and shows late, however many, make it late by [`BACK`] and a thousandth of
//! what has passed. That the time runs late by what an enrolment takes, half a minute at most, does not
//! matter: certificates are dated back by an hour.
//!
//! A context with a PEM folder goes by its machine's clock, with five minutes' slack, and so does the root, whose time is the mesh's.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::UnixTime;

/// How far renewals may turn the time back, all together, behind where the steady clock has it since the authority last set it forward.
const BACK: Duration = Duration::from_secs(5 * 60);

/// The part of what has passed by which they may turn it back further: steady clocks are off by a tenth of it, and must be set right.
const DRIFT: u32 = 1000;

/// Where an identity and an authority get the time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// What the machine takes for the time since 1970, UTC. It may be wrong, and may be set.
    fn wall(&self) -> Duration;

    /// The time since some moment. It is never set, and goes on while the machine is suspended.
    fn steady(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

impl Clock for MachineClock {
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn steady(&self) -> Duration {
        // Linux leaves suspension out of the plain one.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = rustix::time::ClockId::Monotonic;
        let now = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
    }
}

/// The time that a context judges by.
#[derive(Debug)]
pub(crate) struct MeshTime {
    clock: Arc<dyn Clock>,
    /// What was learnt last; `None` where the machine's clock is taken at its word.
    learnt: Option<Mutex<Learnt>>,
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    last: Reading,
    /// The last that set the time forward: nothing since then may leave it far behind.
    furthest: Reading,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Since 1970.
    time: Duration,
    /// By the steady clock.
    at: Duration,
}

impl Reading {
    /// What has passed since, when the steady clock shows this.
    fn passed(&self, steady: Duration) -> Duration {
        steady.saturating_sub(self.at)
    }

    fn carried_to(&self, steady: Duration) -> Duration {
        self.time + self.passed(steady)
    }
}

impl MeshTime {
    /// The machine's own time.
    pub(super) fn of_machine(clock: Arc<dyn Clock>) -> Self {
        Self { clock, learnt: None }
    }

    /// The time that an authority has signed just now.
    pub(super) fn begin(clock: Arc<dyn Clock>, time: Duration) -> Self {
        let reading = Reading { time, at: clock.steady() };
        let learnt = Learnt { last: reading, furthest: reading };
        Self { clock, learnt: Some(Mutex::new(learnt)) }
    }

    /// The time since 1970.
    pub(crate) fn now(&self) -> Duration {
        let Some(learnt) = &self.learnt else { return self.clock.wall() };
        let last = lock(learnt).last;
        last.carried_to(self.clock.steady())
    }

    /// As [`Self::now`], as certificates are held against.
    pub(crate) fn unix(&self) -> UnixTime {
        UnixTime::since_unix_epoch(self.now())
    }

    /// What the time is if a new certificate was issued then.
    pub(super) fn if_issued(&self, issued: Duration) -> Duration {
        let Some(learnt) = &self.learnt else { return self.now() };
        let (furthest, steady) = (lock(learnt).furthest, self.clock.steady());
        let back = BACK + furthest.passed(steady) / DRIFT;
        issued.max(furthest.carried_to(steady).saturating_sub(back))
    }

    /// Whether time is learnt from certificates at all.
    pub(super) fn is_learnt(&self) -> bool {
        self.learnt.is_some()
    }

    /// Sets the time, where it is learnt.
    pub(super) fn set(&self, time: Duration) {
        if let Some(learnt) = &self.learnt {
            let (mut learnt, at) = (lock(learnt), self.clock.steady());
            learnt.last = Reading { time, at };
            if time > learnt.furthest.carried_to(at) {
                learnt.furthest = learnt.last;
            }
        }
    }
}

fn lock(learnt: &Mutex<Learnt>) -> MutexGuard<'_, Learnt> {
    learnt.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock whose hands a test moves: wall and steady.
    #[derive(Debug, Default)]
    struct Hands(Mutex<(u64, u64)>);

    impl Hands {
        fn set(&self, wall: u64, steady: u64) {
            *self.0.lock().unwrap() = (wall, steady);
        }
    }

    impl Clock for Hands {
        fn wall(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().0)
        }

        fn steady(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().1)
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_was_learnt_goes_on_by_the_steady_clock_alone() {
        let hands = Arc::new(Hands::default());
        hands.set(7, 100);
        let time = MeshTime::begin(hands.clone(), seconds(1_000_000));
        hands.set(99_999_999, 160);
        assert_eq!(time.now(), seconds(1_000_060));
        let machine = MeshTime::of_machine(hands);
        machine.set(seconds(5));
        assert_eq!([machine.now(), machine.if_issued(seconds(5))], [seconds(99_999_999); 2]);
    }

    #[test]
    fn the_authority_sets_the_time_forward_at_will_and_back_by_little() {
        let hands = Arc::new(Hands::default());
        let time = MeshTime::begin(hands.clone(), seconds(1_000_000));
        assert_eq!(time.if_issued(seconds(9_000_000)), seconds(9_000_000));
        assert_eq!(time.if_issued(seconds(999_990)), seconds(999_990));
        assert_eq!(time.if_issued(seconds(900_000)), seconds(1_000_000) - BACK);
        time.set(seconds(999_990));
        hands.set(0, 5);
        assert_eq!(time.now(), seconds(999_995));
    }

    #[test]
    fn many_that_were_held_back_make_the_time_no_later_than_one() {
        let hands = Arc::new(Hands::default());
        let time = MeshTime::begin(hands.clone(), seconds(1_000_000));
        for day in 1..=10 {
            hands.set(0, day * 86_400);
            for held_back in 0..100 {
                time.set(time.if_issued(seconds(1_000_000 + held_back)));
            }
            let late = seconds(1_000_000 + day * 86_400) - time.now();
            assert!(late <= BACK + seconds(day * 87), "{late:?} after {day} days");
        }
        // The authority's word sets it right again, and counts from there.
        time.set(time.if_issued(seconds(5_000_000)));
        assert_eq!(time.if_issued(seconds(0)), seconds(5_000_000) - BACK);
    }
}
