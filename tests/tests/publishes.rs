//! Reliable publishes among faults and forgers. `SIM_SEED=N cargo test -p actogen-tests --test publishes` replays one seed.

use std::{collections::BTreeMap, thread};

use actogen_tests::sim::{Publishes, publishes};

/// Seeds of a plain `cargo test`, and publishes of each: 10,000 in all.
const SEEDS: u64 = 10;
const COUNT: u64 = 1000;

#[test]
fn of_ten_thousand_publishes_among_faults_and_forgers_none_succeeds_falsely() {
    let given = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seeds: Vec<u64> = given.map_or_else(|| (0..SEEDS).collect(), |seed| vec![seed]);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<(u64, Publishes)> = thread::scope(|scope| {
        let work = |some: Vec<u64>| {
            move || some.into_iter().map(|seed| (seed, publishes(seed, COUNT))).collect()
        };
        let share = seeds.len().div_ceil(cores).max(1);
        let threads: Vec<_> =
            seeds.chunks(share).map(|some| scope.spawn(work(some.to_vec()))).collect();
        let join =
            |thread: thread::ScopedJoinHandle<'_, Vec<_>>| thread.join().expect("no seed panics");
        threads.into_iter().flat_map(join).collect()
    });
    let mut failed = Vec::new();
    for (seed, seen) in &all {
        println!("SIM_SEED={seed}: {seen:?}");
        if !seen.violations.is_empty() {
            failed.push(*seed);
        }
    }
    assert!(failed.is_empty(), "run again with SIM_SEED of {failed:?}");
    if given.is_none() {
        let sum = |of: fn(&Publishes) -> u64| all.iter().map(|(_, seen)| of(seen)).sum::<u64>();
        // What would show nothing is no simulation.
        for (what, count) in [
            ("confirmed", sum(|seen| seen.confirmed)),
            ("timed out", sum(|seen| seen.timed_out)),
            ("rejected", sum(|seen| seen.rejected)),
            ("published again", sum(|seen| seen.again)),
        ] {
            assert!(count > 300, "{count} {what}");
        }
        let mut ignored = BTreeMap::new();
        for (why, count) in all.iter().flat_map(|(_, seen)| &seen.ignored) {
            *ignored.entry(*why).or_insert(0) += count;
        }
        println!("acknowledgements that did not count: {ignored:?}");
        for (why, count) in ignored {
            // A recipient here says what it is asked for, or nothing. And what is late finds no publish that waits.
            assert!(count > 20 || ["weaker", "late"].contains(&why), "{count} {why}");
        }
        assert!(sum(|seen| seen.overflowed) > 50, "too few messages are lost one by one");
        assert!(sum(|seen| seen.deafened) > 30, "too few links are cut one way");
        assert!(sum(|seen| seen.crashes) > 50, "too few crashes");
    }
}

#[test]
fn a_seed_of_publishes_gives_the_same_outcomes_again() {
    assert_eq!(publishes(77, 200), publishes(77, 200));
}
