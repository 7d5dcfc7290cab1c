//! Many seeds, over all cores, and what came of them in one line.

use std::{
    io::Write,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::drive::{Report, run};

/// Seeds of a plain `cargo test`.
const USUAL: u64 = 20;

/// What came of a campaign.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Campaign {
    /// Seeds that were simulated.
    pub seeds: u64,
    /// Envelopes of all of them.
    pub envelopes: u64,
    /// Faults of all of them.
    pub faults: u64,
    /// Violations of all of them.
    pub violations: u64,
    /// The seeds that broke a promise.
    pub failed: Vec<u64>,
}

/// Simulates the seeds that the environment asks for: `SIM_SEED=N` this one with its timeline, otherwise `SIM_SEEDS=N` seeds from 0,
/// 20 if it says nothing. Prints each violation as it is found, and as its last line the sum, past the test harness's capture.
///
/// # Panics
/// If a variable is no number.
pub fn campaign() -> Campaign {
    let number = |name| {
        std::env::var(name).ok().map(|text| {
            text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is no number"))
        })
    };
    let (first, count, trace) = match number("SIM_SEED") {
        Some(seed) => (seed, 1, true),
        None => (0, number("SIM_SEEDS").unwrap_or(USUAL), false),
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64).min(count);
    let next = AtomicU64::new(first);
    let campaign = Mutex::new(Campaign::default());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed - first >= count {
                        return;
                    }
                    let report = simulate(seed, trace);
                    if !report.violations.is_empty() || trace {
                        say(&report.to_string());
                    }
                    let mut campaign = campaign.lock().expect("nothing panics while it is held");
                    campaign.seeds += 1;
                    campaign.envelopes += report.envelopes;
                    campaign.faults += report.faults;
                    campaign.violations += report.violations.len() as u64;
                    if !report.violations.is_empty() {
                        campaign.failed.push(seed);
                    }
                }
            });
        }
    });
    let campaign = campaign.into_inner().expect("nothing panics while it is held");
    let Campaign { seeds, envelopes, faults, violations, .. } = campaign;
    say(&format!("seeds={seeds} envelopes={envelopes} faults={faults} violations={violations}"));
    campaign
}

/// A seed that brings the simulation itself down is a finding like any other.
fn simulate(seed: u64, trace: bool) -> Report {
    std::panic::catch_unwind(|| run(seed, trace)).unwrap_or_else(|panic| Report {
        seed,
        envelopes: 0,
        faults: 0,
        violations: vec![match panic.downcast_ref::<String>() {
            Some(text) => format!("the simulation panicked: {text}"),
            None => "the simulation panicked".to_owned(),
        }],
        digest: 0,
    })
}

/// Writes a line past the harness's capture, which takes only what the printing macros print.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever closed the output does not want the line.
    let _ = writeln!(out, "{line}");
}
