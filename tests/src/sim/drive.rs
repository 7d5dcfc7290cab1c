//! Runs a plan: steps the simulated network and its hosts, breaks and repairs, and asks the ledger what it thinks of it.

use std::{cell::RefCell, fmt, panic::PanicHookInfo, rc::Rc, sync::Once, time::Duration};

use super::{
    clerk::ON_PURPOSE,
    ledger::Ledger,
    plan::{Action, END, FINAL, Plan, QUIET, RECOVERED, SETTLING},
    program::program,
    stage::{Phase, Stage},
};

/// How much simulated time passes between two looks at the network.
const TICK: Duration = Duration::from_millis(5);

/// What came of one seed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Messages, requests, watches and the like that actors have sent.
    pub envelopes: u64,
    /// Faults that were injected.
    pub faults: u64,
    /// Every promise that was broken, with its simulated time.
    pub violations: Vec<String>,
    /// A digest of the whole timeline: the same for the same seed.
    pub digest: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, envelopes, faults, violations, .. } = self;
        write!(f, "seed {seed}: {envelopes} envelopes, {faults} faults")?;
        for violation in violations {
            write!(f, "\n  VIOLATION {violation}")?;
        }
        if !violations.is_empty() {
            write!(f, "\n  replay: SIM_SEED={seed} cargo test -p actogen-tests sim")?;
        }
        Ok(())
    }
}

thread_local! {
    /// Panics on this thread that nobody wanted. Tasks swallow theirs; here they count.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            let wanted = info.payload_as_str().is_some_and(|text| text == ON_PURPOSE);
            if !wanted {
                let text = info.to_string();
                let _ = PANICS.try_with(|panics| panics.borrow_mut().push(text));
                usual(info);
            }
        }));
    });
}

/// Simulates a seed. With `trace` the timeline goes to standard error as it happens.
pub fn run(seed: u64, trace: bool) -> Report {
    perform(Plan::draw(seed), trace, |_| {})
}

/// Simulates a plan. `judge` has the last word, when everything is over.
pub(crate) fn perform(plan: Plan, trace: bool, judge: impl FnOnce(&mut Ledger)) -> Report {
    watch_panics();
    PANICS.take();
    let (seed, faults) = (plan.seed, plan.faults() as u64);
    let stage = Stage::new(plan, trace);
    stage.ledger.borrow_mut().note(|| format!("{:?}", stage.plan));
    drive(&stage);
    let mut ledger = stage.ledger.borrow_mut();
    ledger.close();
    judge(&mut ledger);
    Report {
        seed,
        envelopes: ledger.envelopes(),
        faults,
        violations: ledger.violations().to_vec(),
        digest: ledger.digest(),
    }
}

fn name(slot: usize) -> String {
    format!("context-{slot}")
}

fn drive(stage: &Rc<Stage>) {
    let plan = &stage.plan;
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.seed)
        .simulation_duration(END + TICK)
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(TICK)
        .fail_rate(0.0)
        .udp_capacity(64 * 1024)
        .build();
    let addresses = (0..plan.contexts()).map(|slot| sim.lookup(name(slot))).collect();
    *stage.addresses.borrow_mut() = addresses;
    for slot in 0..plan.contexts() {
        let stage = stage.clone();
        sim.host(name(slot), move || program(stage.clone(), slot));
    }
    for (slot, parent) in plan.parents.iter().enumerate() {
        if let Some(parent) = *parent {
            sim.set_link_latency(name(slot), name(parent), plan.latencies[slot]);
        }
    }
    let mut due = plan.actions.iter().peekable();
    let mut clock = Clock { stage, counted: (0, 0, 0) };
    while sim.elapsed() < END {
        let now = sim.elapsed();
        stage.ledger.borrow_mut().set_now(now);
        while let Some(&(_, action)) = due.next_if(|(at, _)| *at <= now) {
            stage.ledger.borrow_mut().note(|| format!("{action}"));
            apply(&mut sim, stage, action);
        }
        clock.strike(now);
        if let Err(error) = sim.step() {
            stage.ledger.borrow_mut().violation(format!("a host's program failed: {error}"));
            break;
        }
        for panic in PANICS.take() {
            stage.ledger.borrow_mut().violation(format!("a panic: {panic}"));
        }
    }
    for life in stage.undead() {
        stage.ledger.borrow_mut().violation(format!("{life} has ended and still holds its socket"));
    }
    let (contexts, checked) = (plan.contexts(), stage.checked.get());
    if checked < contexts {
        let text = format!("{checked} of {contexts} contexts came through to the end");
        stage.ledger.borrow_mut().violation(text);
    }
}

fn apply(sim: &mut turmoil::Sim<'_>, stage: &Stage, action: Action) {
    match action {
        Action::Crash(host) => {
            if let Some(life) = stage.leave(host) {
                stage.ledger.borrow_mut().crashed(life);
            }
            stage.forget(host);
            sim.crash(name(host));
        }
        Action::Bounce(host) => sim.bounce(name(host)),
        Action::Leave(host) => {
            if stage.life_of(host).is_some() {
                stage.leave[host].notify_one();
            }
        }
        Action::Cut(a, b) => sim.partition(name(a), name(b)),
        Action::CutOneWay(from, to) => sim.partition_oneway(name(from), name(to)),
        Action::Mend(a, b) => sim.repair(name(a), name(b)),
        Action::Hold(a, b) => sim.hold(name(a), name(b)),
        Action::Release(a, b) => sim.release(name(a), name(b)),
    }
}

/// Begins the phases, and judges what must hold when they do.
struct Clock<'a> {
    stage: &'a Stage,
    counted: (u64, u64, u64),
}

impl Clock<'_> {
    fn strike(&mut self, now: Duration) {
        let stage = self.stage;
        if now == SETTLING {
            stage.phase.set(Phase::Settling);
        } else if now == RECOVERED {
            for wrong in stage.not_recovered() {
                let text = format!(
                    "not recovered {:?} after the last repair: {wrong}",
                    now - super::plan::HEALED
                );
                stage.ledger.borrow_mut().violation(text);
            }
        } else if now == QUIET {
            self.counted = stage.counted();
            stage.phase.set(Phase::Quiet);
            stage.ledger.borrow_mut().begin_quiet();
        } else if now == FINAL {
            self.judge_quiet();
            stage.phase.set(Phase::Final);
        }
    }

    fn judge_quiet(&self) {
        let stage = self.stage;
        let (contexts, done) = (stage.plan.contexts(), stage.quiet_done.get());
        let mut wrong = stage.not_recovered();
        if done < contexts {
            wrong.push(format!("{done} of {contexts} contexts were there when all was quiet"));
        }
        let (before, after) = (self.counted, stage.counted());
        let (sent, ended) = (after.0 - before.0, after.1 - before.1);
        if sent != ended || after.2 != before.2 {
            wrong.push(format!(
                "of {sent} messages sent when nothing was broken {ended} are accounted for"
            ));
        }
        for text in wrong {
            stage.ledger.borrow_mut().violation(text);
        }
    }
}
