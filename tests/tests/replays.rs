//! Consumers that catch up among faults. `SIM_SEED=N cargo test -p actogen-tests --test replays` replays one seed.

use actogen_tests::sim::{Replays, replays};

/// Seeds of a plain `cargo test`, and messages of each of three publishers under one.
const SEEDS: u64 = 12;
const COUNT: u64 = 60;

#[test]
fn g17_the_missed_range_arrives_in_order_and_once_among_crashes() {
    let given = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds: Vec<u64> = given.map_or_else(|| (0..SEEDS).collect(), |seed| vec![seed]);
    let all: Vec<(u64, Replays)> =
        seeds.into_iter().map(|seed| (seed, replays(seed, COUNT))).collect();
    let mut failed = Vec::new();
    for (seed, seen) in &all {
        println!("SIM_SEED={seed}: {seen:?}");
        if !seen.violations.is_empty() {
            failed.push(*seed);
        }
    }
    assert!(failed.is_empty(), "run again with SIM_SEED of {failed:?}");
    if given.is_none() {
        let sum = |of: fn(&Replays) -> u64| all.iter().map(|(_, seen)| of(seen)).sum::<u64>();
        // What would show nothing is no simulation.
        for (what, count) in [
            ("replayed", sum(|seen| seen.replayed)),
            ("crashes of the recorder", sum(|seen| seen.recorder_crashes)),
            ("crashes of the consumer", sum(|seen| seen.consumer_crashes)),
        ] {
            assert!(count > 0, "{what}: none in all seeds");
        }
    }
}

#[test]
fn a_seed_of_replays_gives_the_same_outcomes_again() {
    assert_eq!(replays(7, 20), replays(7, 20));
}
