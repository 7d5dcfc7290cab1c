//! Turns of one node: durable before they are heard of, once each, and whole or not at all.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{ops::Bound, time::Duration};

use actogen::testing::{self, TestMesh};
use actogen_journal::{
    AskError, Client, Journal, JournalBuilder, JournalEvent, Poison as Give, Refusal,
    store::{MemoryStore, Store, Table},
};

use support::*;

fn builder(context: &actogen::Context, store: &MemoryStore) -> JournalBuilder {
    Journal::builder(context, "").store(store.clone()).write_here().node("one").kind::<Account>()
}

#[test]
fn what_was_answered_is_there_when_the_journal_is_opened_again() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        conformance::what_was_answered_is_there(&root, &|| builder(&root, &store)).await
    });
}

#[test]
fn j07_a_panic_rolls_state_and_outbox_back_and_the_next_message_works() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let journal = builder(&root, &MemoryStore::default()).open().await?;
        let (a, b) = (journal.actor::<Account>("a")?, journal.actor::<Account>("b")?);
        let client = journal.client();
        client.send(&a, Deposit(7)).await?;
        let failed = client.send(&a, Panic(b.clone())).await;
        assert_eq!(failed, Err(AskError::Refused(Refusal::Failed("as was asked".to_owned()))));
        assert_eq!(client.send(&a, Deposit(1)).await?, 8);
        assert_eq!(client.send(&b, Balance).await?, 0, "nothing of the turn has left");
        Ok(())
    });
}

#[test]
fn j04_a_request_that_comes_again_is_answered_and_not_run_again() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        conformance::what_comes_again_is_not_run_again(&root, &|| builder(&root, &store)).await
    });
}

#[test]
fn j05_messages_between_actors_arrive_once_and_in_order() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        conformance::messages_arrive_once_and_in_order(&root, &|| builder(&root, &store)).await
    });
}

#[test]
fn a_timer_fires_once_though_the_journal_was_closed_when_it_was_due() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        conformance::a_timer_fires_once(&root, &|| builder(&root, &store)).await
    });
}

#[test]
fn j10_time_and_randomness_are_the_turns_own() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let store = MemoryStore::default();
        let journal = builder(&root, &store).run_twice(true).open().await?;
        let account = journal.actor::<Account>("a")?;
        let client = journal.client();
        let first = client.send(&account, Draw).await?;
        let second = client.send(&account, Draw).await?;
        assert_ne!(first.1, first.2);
        assert_ne!(first.1, second.1);
        Ok(())
    });
}

#[test]
fn a_poisonous_message_is_tried_five_times_and_then_waits_or_is_parked() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        for give in [Give::Pause, Give::Park] {
            let store = MemoryStore::default();
            let quick = Duration::from_millis(1);
            let journal = builder(&root, &store).poison(give).retry(quick).open().await?;
            let (a, b) = (journal.actor::<Account>("a")?, journal.actor::<Account>("b")?);
            let (client, mut events) = (journal.client(), journal.events());
            client.send(&a, Deposit(9)).await?;
            client.send(&a, SendPoison(b.clone())).await?;
            client.send(&a, Transfer { to: b.clone(), amount: 4 }).await?;
            let mut failures = 0;
            let last = loop {
                match events.recv().await? {
                    JournalEvent::Failure { .. } => failures += 1,
                    last => break last,
                }
            };
            assert_eq!(failures, 5);
            if give == Give::Park {
                assert!(matches!(last, JournalEvent::DeadLetter { .. }), "{last}");
                until("what came behind", 4, async || client.send(&b, Balance).await.unwrap())
                    .await;
            } else {
                assert!(matches!(last, JournalEvent::Paused { .. }), "{last}");
                assert_eq!(
                    client.send(&b, Balance).await?,
                    0,
                    "its sender's messages keep their order"
                );
                assert_eq!(client.send(&b, Deposit(1)).await?, 1, "others go on");
                assert!(journal.resume(&b.place().actor));
            }
            journal.close().await;
        }
        Ok(())
    });
}

#[test]
fn a_timer_that_waits_for_an_operator_holds_nobody_else_up() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let journal = builder(&root, &MemoryStore::default()).attempts(1).open().await?;
        let a = journal.actor::<Account>("a")?;
        let (client, mut events) = (journal.client(), journal.events());
        client.send(&a, Deposit(9)).await?;
        client.send(&a, PoisonLater).await?;
        while !matches!(events.recv().await?, JournalEvent::Paused { .. }) {}
        client.send(&a, Later(Duration::ZERO, 5)).await?;
        client.send(&a, Transfer { to: a.clone(), amount: 2 }).await?;
        let both = |mut credits: Vec<u64>| {
            credits.sort_unstable();
            credits
        };
        until("both", vec![2, 5], async || both(client.send(&a, Credits).await.unwrap())).await;
        assert!(journal.resume(&a.place().actor));
        while !matches!(events.recv().await?, JournalEvent::Paused { .. }) {}
        Ok(())
    });
}

/// Else what came later would be taken first, and what waits in the store would be old when it comes.
#[test]
fn an_actor_that_was_stopped_stays_so_until_the_journal_is_opened_again() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        let idle = Duration::from_millis(20);
        let journal =
            builder(&root, &store).attempts(1).poison(Give::Stop).idle(idle).open().await?;
        let (a, b) = (journal.actor::<Account>("a")?, journal.actor::<Account>("b")?);
        let (client, mut events) = (journal.client(), journal.events());
        client.send(&a, Deposit(9)).await?;
        client.send(&a, SendPoison(b.clone())).await?;
        while !matches!(events.recv().await?, JournalEvent::Broken { .. }) {}
        client.send(&a, Transfer { to: b.clone(), amount: 3 }).await?;
        mesh.pass(idle * 10).await;
        client.send(&a, Transfer { to: b.clone(), amount: 4 }).await?;
        let refused = client.send(&b, Balance).await;
        assert!(matches!(refused, Err(AskError::Refused(Refusal::Broken(_)))), "{refused:?}");
        journal.close().await;
        // Now it may be given up, and what was behind it comes.
        let journal = builder(&root, &store).attempts(1).poison(Give::Park).open().await?;
        let client = journal.client();
        until("what was behind", vec![3, 4], async || client.send(&b, Credits).await.unwrap())
            .await;
        Ok(())
    });
}

#[test]
fn who_would_wake_too_many_comes_again() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let idle = Duration::from_secs(2);
        let journal = builder(&root, &MemoryStore::default()).awake(2).idle(idle).open().await?;
        let client = journal.client();
        for key in ["a", "b"] {
            client.send(&journal.actor::<Account>(key)?, Deposit(1)).await?;
        }
        let hasty = client.within(Duration::from_millis(100));
        let refused = hasty.send(&journal.actor::<Account>("c")?, Deposit(1)).await;
        assert!(matches!(refused, Err(AskError::Timeout { .. })), "{refused:?}");
        // When the others have gone to sleep there is room.
        assert_eq!(client.send(&journal.actor::<Account>("c")?, Deposit(1)).await?, 1);
        assert!(journal.stats().refused > 0);
        Ok(())
    });
}

#[test]
fn an_actor_that_has_ended_begins_anew_and_its_timers_are_gone() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let journal = builder(&root, &MemoryStore::default()).open().await?;
        let (a, b) = (journal.actor::<Account>("a")?, journal.actor::<Account>("b")?);
        let client = journal.client();
        client.send(&a, Deposit(5)).await?;
        client.send(&a, Transfer { to: b.clone(), amount: 1 }).await?;
        client.send(&a, Later(Duration::from_millis(20), 77)).await?;
        client.send(&a, Close).await?;
        assert_eq!(client.send(&a, Deposit(2)).await?, 2);
        client.send(&a, Transfer { to: b.clone(), amount: 2 }).await?;
        until("both lives' credits", vec![1, 2], async || client.send(&b, Credits).await.unwrap())
            .await;
        mesh.pass(Duration::from_millis(50)).await;
        assert_eq!(client.send(&a, Balance).await?, 0);
        Ok(())
    });
}

#[test]
fn j11_an_actor_whose_outbox_is_full_waits_with_its_turns() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let journal = builder(&root, &MemoryStore::default()).outbox(3, 1 << 20).open().await?;
        let a = journal.actor::<Account>("a")?;
        let nowhere = actogen_journal::Journaled::<Account>::at("nowhere", "b")?;
        let client = journal.client().within(Duration::from_millis(300));
        client.send(&a, Deposit(9)).await?;
        for _ in 0..3 {
            client.send(&a, Transfer { to: nowhere.clone(), amount: 1 }).await?;
        }
        let waited = client.send(&a, Transfer { to: nowhere, amount: 1 }).await;
        assert!(matches!(waited, Err(AskError::Timeout { .. })), "{waited:?}");
        Ok(())
    });
}

#[test]
fn idle_actors_leave_the_memory_and_come_back_with_their_state() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let idle = Duration::from_millis(50);
        let journal = builder(&root, &MemoryStore::default()).idle(idle).open().await?;
        let client = journal.client();
        for key in ["a", "b", "c"] {
            client.send(&journal.actor::<Account>(key)?, Deposit(3)).await?;
        }
        until("nobody is awake", 0, async || journal.stats().awake).await;
        assert_eq!(client.send(&journal.actor::<Account>("b")?, Deposit(1)).await?, 4);
        Ok(())
    });
}

#[test]
fn a_request_for_a_kind_that_is_not_run_here_is_refused() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        let journal = Journal::builder(&root, "").store(store.clone()).write_here().open().await?;
        let account = journal.actor::<Account>("a")?;
        let refused = journal.client().send(&account, Balance).await;
        assert_eq!(refused, Err(AskError::Refused(Refusal::UnknownKind("account".to_owned()))));
        Ok(())
    });
}

#[test]
fn the_answers_of_an_asker_that_has_gone_are_forgotten() {
    testing::run(async |mesh: &TestMesh| {
        let (root, mut store) = (mesh.root().await, MemoryStore::default());
        let hour = Duration::from_secs(3600);
        let journal = builder(&root, &store).memory(hour).open().await?;
        let account = journal.actor::<Account>("a")?;
        let mut answers = || {
            let all = store.scan(Table::Reply, Bound::Unbounded, Bound::Unbounded, 100);
            all.map(|rows| rows.len())
        };
        for _ in 0..3 {
            Client::new(&root).send(&account, Deposit(1)).await?;
        }
        assert_eq!(answers()?, 3);
        mesh.pass(hour / 2).await;
        journal.client().send(&account, Deposit(1)).await?;
        mesh.pass(hour * 3 / 4).await;
        assert_eq!(answers()?, 1, "the last one was heard of within the hour");
        assert_eq!(journal.client().send(&account, Deposit(1)).await?, 5);
        Ok(())
    });
}
