//! Simulated meshes. `SIM_SEED=N cargo test -p actogen-tests sim` replays one seed with its timeline, `SIM_SEEDS=200` sets how many
//! are run.

use actogen_tests::sim::{campaign, flapping_link, run, silent_link};

#[test]
fn sim_meshes_stay_safe_under_faults_and_recover_when_they_are_repaired() {
    let campaign = campaign();
    assert_eq!(campaign.violations, 0, "seeds that broke a promise: {:?}", campaign.failed);
}

#[test]
fn sim_a_seed_always_gives_the_same_timeline() {
    let (first, second) = (run(1, false), run(1, false));
    assert_eq!(first, second);
}

#[test]
fn r12_sim_a_silent_link_is_noticed_within_the_detection_time_by_all_who_wait_across_it() {
    let report = silent_link();
    assert!(report.violations.is_empty(), "{report}");
}

#[test]
fn r13_sim_contexts_behind_a_flapping_link_go_and_come_in_turn_with_the_reason() {
    let report = flapping_link();
    assert!(report.violations.is_empty(), "{report}");
}
