//! Journaled nodes in processes that are killed at every instant, under load: whoever is outside cannot tell.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use actogen::prelude::*;
use actogen_tests::crashes::{self, Plan};

actogen::test_child!();

/// What chance is made of, unless `ACTOGEN_CRASH_SEED` says otherwise.
const SEED: u64 = 20;

async fn campaign(context: &Context, recoveries: u64, points: &[&'static str]) {
    let seed = std::env::var("ACTOGEN_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let plan = Plan { seed: seed.unwrap_or(SEED), recoveries, points: points.to_vec() };
    let folder = tempfile::tempdir().unwrap();
    let outcome = crashes::run(context, folder.path(), &plan, |_| {}).await.unwrap();
    println!("{outcome:?}");
    assert!(outcome.holds(), "{outcome:?}");
    assert!(outcome.acked > recoveries, "{outcome:?}");
}

#[actogen::test]
async fn j01_killed_at_every_instant_nobody_outside_can_tell(cx: Context) {
    campaign(&cx, 150, &[]).await;
}

#[actogen::test]
async fn j02_killed_before_a_turn_is_durable_nothing_of_it_has_escaped(cx: Context) {
    let points =
        ["turn.before", "turn.after", "commit.before", "disk.write.torn", "disk.sync.before"];
    campaign(&cx, 50, &points).await;
}

#[actogen::test]
async fn j03_killed_once_a_turn_is_durable_its_messages_are_sent_by_the_next_process(cx: Context) {
    campaign(&cx, 50, &["disk.sync.after", "commit.after", "release.before", "release.between"])
        .await;
}

#[actogen::test]
async fn j13_killed_again_while_it_recovers(cx: Context) {
    campaign(&cx, 50, &["open.before", "recover.out", "open.after", "load.after", "attempt.after"])
        .await;
}
