//! Properties of a chain of forwarders whose last link is slow: nothing is lost silently, nothing exceeds its budget, a pause ends
//! when its reason does, and destinations that are not paused pass.

use std::{collections::VecDeque, time::Duration};

use actogen_core::{
    ContextId, LinkId, Moment,
    congestion::{Congestion, Leases, Overflow},
};
use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, RngSeed},
};

const BUDGET: usize = 1000;
const IN: [LinkId; 2] = [LinkId(1), LinkId(2)];
const OUT: LinkId = LinkId(9);

fn config() -> ProptestConfig {
    let defaults = ProptestConfig::default();
    let rng_seed = match defaults.rng_seed {
        // The same cases in every run unless somebody asks for others.
        RngSeed::Random => RngSeed::Fixed(2024),
        fixed => fixed,
    };
    let file = FileFailurePersistence::Direct("proptest-regressions/congestion.txt");
    ProptestConfig { rng_seed, failure_persistence: Some(Box::new(file)), ..defaults }
}

#[derive(Clone, Debug)]
enum Action {
    /// A sender behind one of the inbound links sends to a destination, if it is not paused.
    Send { from: usize, to: u64, bytes: usize },
    /// The outbound link takes one frame for a destination.
    Drain { to: u64 },
    /// Words between the ends of a link get lost.
    Deaf(bool),
    /// Time passes.
    Wait { millis: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..2_usize, 1..5_u64, 1..300_usize)
            .prop_map(|(from, to, bytes)| Action::Send { from, to, bytes }),
        4 => (1..5_u64).prop_map(|to| Action::Drain { to }),
        1 => prop::bool::weighted(0.2).prop_map(Action::Deaf),
        2 => (1..3000_u64).prop_map(|millis| Action::Wait { millis }),
    ]
}

struct Hop {
    now: Moment,
    congestion: Congestion,
    /// What each inbound peer has been asked to pause.
    leases: [Leases; 2],
    queues: [VecDeque<(ContextId, usize)>; 2],
    is_deaf: bool,
}

impl Hop {
    fn ask(&mut self, from: LinkId, context: ContextId) {
        let from = IN.iter().position(|&link| link == from).expect("it is inbound");
        if !self.is_deaf {
            self.leases[from].grant(self.now, IN[from], context).expect("there is room");
        }
    }

    fn resume(&mut self, from: usize, contexts: Vec<ContextId>) {
        for context in contexts {
            if !self.is_deaf {
                self.leases[from].end(IN[from], context);
            }
        }
    }

    /// Takes the first frame for a destination off the queue of one inbound link.
    fn drain(&mut self, from: usize, to: Option<ContextId>) -> bool {
        let found =
            self.queues[from].iter().position(|&(context, _)| to.is_none_or(|to| to == context));
        let Some((context, bytes)) = found.and_then(|at| self.queues[from].remove(at)) else {
            return false;
        };
        let resumed = self.congestion.release(IN[from], OUT, context, bytes);
        self.resume(from, resumed);
        true
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        for (from, context) in self.congestion.renew(self.now) {
            self.ask(from, context);
        }
        for leases in &mut self.leases {
            leases.expire(self.now);
        }
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_slow_destination_pauses_itself_alone_and_every_pause_ends(actions in prop::collection::vec(action(), 1..200)) {
        let mut hop = Hop {
            now: Moment::START,
            congestion: Congestion::new(BUDGET),
            leases: [Leases::new(100, 100), Leases::new(100, 100)],
            queues: [VecDeque::new(), VecDeque::new()],
            is_deaf: false,
        };
        for action in actions {
            match action {
                Action::Send { from, to, bytes } => {
                    let to = ContextId(to);
                    if hop.leases[from].holds(hop.now, IN[from], to) {
                        continue;
                    }
                    let held: usize = hop.queues[from].iter().map(|(_, bytes)| bytes).sum();
                    match hop.congestion.hold(hop.now, IN[from], OUT, to, bytes) {
                        Ok(asked) => {
                            hop.queues[from].push_back((to, bytes));
                            prop_assert!(asked.iter().all(|asked| hop.queues[from].iter().any(|(held, _)| held == asked)));
                            for context in asked {
                                hop.ask(IN[from], context);
                            }
                        }
                        Err(Overflow) => prop_assert!(held + bytes > BUDGET, "{held} and {bytes} are within the budget"),
                    }
                }
                Action::Drain { to } => {
                    hop.drain(0, Some(ContextId(to)));
                    hop.drain(1, Some(ContextId(to)));
                }
                Action::Deaf(is_deaf) => hop.is_deaf = is_deaf,
                Action::Wait { millis } => hop.wait(Duration::from_millis(millis)),
            }
            for from in 0..2 {
                let held: usize = hop.queues[from].iter().map(|(_, bytes)| bytes).sum();
                prop_assert_eq!(hop.congestion.held(IN[from], OUT), held);
                prop_assert!(held <= BUDGET);
                if held < BUDGET / 4 && !hop.is_deaf {
                    // Whoever was told in vain is free when the lease is over.
                    prop_assert!(hop.congestion.next_renewal().is_none() || hop.congestion.held(IN[1 - from], OUT) > 0);
                }
            }
        }
        for from in 0..2 {
            while hop.drain(from, None) {}
        }
        prop_assert!(hop.congestion.is_empty());
        prop_assert_eq!(hop.congestion.next_renewal(), None);
        hop.wait(Duration::from_secs(5));
        prop_assert!(hop.leases.iter().all(Leases::is_empty), "no lost word hangs anybody");
    }
}
