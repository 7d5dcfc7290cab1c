//! Journaled nodes in processes that are killed at every instant, under load: whoever is outside cannot tell.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use actogen::prelude::*;
use actogen_journal::{Client, Journaled, inspect, store::FileStore};
use actogen_tests::{
    crashes::{self, DieLater, Mortal, Plan, Stores, open_mortal, postgres::Server},
    until::until_some,
};

actogen::test_child!();

/// What chance is made of, unless `ACTOGEN_CRASH_SEED` says otherwise.
const SEED: u64 = 20;

async fn campaign(context: &Context, recoveries: u64, points: &[&'static str]) {
    let folder = tempfile::tempdir().unwrap();
    campaign_in(context, &Stores::Files(folder.path().to_owned()), recoveries, points).await;
}

async fn campaign_in(context: &Context, stores: &Stores, recoveries: u64, points: &[&'static str]) {
    let seed = std::env::var("ACTOGEN_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let plan = Plan { seed: seed.unwrap_or(SEED), recoveries, points: points.to_vec() };
    let outcome = crashes::run(context, stores, &plan, |_| {}).await.unwrap();
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

/// As the others, where the nodes have their journals in a database; a whole campaign takes `crash-campaign --store postgres`.
#[actogen::test]
async fn killed_around_commits_to_a_database_nobody_outside_can_tell(cx: Context) {
    let name = "killed_around_commits_to_a_database_nobody_outside_can_tell";
    let Some(server) = Server::start(name) else { return };
    let points = [
        "postgres.connected",
        "postgres.lease.taken",
        "postgres.commit.open",
        "postgres.commit.done",
        "commit.after",
        "release.between",
    ];
    campaign_in(&cx, &Stores::Postgres(server.direct()), 20, &points).await;
}

/// A message that ends the process whenever it is handled is given up after as many attempts as are written down, and the first, of which
/// nobody could know.
#[actogen::test]
async fn a_message_that_kills_its_process_is_given_up(cx: Context) {
    const ATTEMPTS: u32 = 2;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mortal.redb");
    let mortal = Journaled::<Mortal>::at("mortal", "m").unwrap();
    let mut deaths = 0;
    loop {
        let child = cx.launch(Launch::local()).await.unwrap();
        // It may end before it answers.
        let opened = child.call::<open_mortal>((file.clone(), ATTEMPTS)).await;
        if deaths == 0 {
            opened.unwrap();
            let client = Client::new(&cx).within(std::time::Duration::from_secs(5));
            // It may end before it answers this as well: what it has to handle is durable then.
            let _ = client.send(&mortal, DieLater).await;
        }
        let dead_letter = || {
            FileStore::open(&file).ok().map(|mut store| inspect::dead_letters(&mut store).unwrap())
        };
        if deaths <= ATTEMPTS {
            actogen_tests::until::soon("its end", child.exited()).await;
            deaths += 1;
            let letters = until_some("its file", dead_letter).await;
            assert_eq!(letters.len(), 0, "after {deaths} deaths");
        } else {
            let client = Client::new(&cx);
            // It lives, and works.
            actogen_tests::until::soon("an answer", client.send(&mortal, crashes::Hello))
                .await
                .unwrap();
            child.kill().await;
            let letters = until_some("its file", dead_letter).await;
            assert_eq!(letters.len(), 1);
            return;
        }
    }
}
