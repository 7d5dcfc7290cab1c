//! Actors of different nodes: each message once and in order, whatever is cut, killed or restored in between.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{ops::Bound, time::Duration};

use actogen::testing::{self, TestMesh};
use actogen_journal::{
    Client, Journal, JournalBuilder, JournalEvent, Journaled,
    store::{MemoryStore, Store, Table},
};

use support::*;

fn builder(context: &actogen::Context, store: &MemoryStore, node: &str) -> JournalBuilder {
    Journal::builder(context, "").store(store.clone()).write_here().node(node).kind::<Account>()
}

/// Two nodes with an account each, and the askers' way to them.
struct Two {
    one: Journal,
    two: Journal,
    a: Journaled<Account>,
    b: Journaled<Account>,
    client: Client,
}

/// Account `a` of node `one` has a thousand.
async fn two_nodes(
    (here, first): (&actogen::Context, &MemoryStore),
    (there, second): (&actogen::Context, &MemoryStore),
) -> actogen::Result<Two> {
    let one = builder(here, first, "one").open().await?;
    let two = builder(there, second, "two").open().await?;
    let (a, b) = (one.actor::<Account>("a")?, two.actor::<Account>("b")?);
    let client = one.client();
    client.send(&a, Deposit(1000)).await?;
    Ok(Two { one, two, a, b, client })
}

#[test]
fn messages_go_to_another_node_once_and_in_order() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (here, there) = ((&root, &MemoryStore::default()), (&child, &MemoryStore::default()));
        let Two { one, a, b, client, .. } = two_nodes(here, there).await?;
        for amount in 1..=20 {
            assert!(client.send(&a, Transfer { to: b.clone(), amount }).await?);
        }
        let all: Vec<u64> = (1..=20).collect();
        until("all credits", all, async || client.send(&b, Credits).await.unwrap()).await;
        until("all acknowledged", 0, async || one.stats().outbox_bytes).await;
        Ok(())
    });
}

#[test]
fn j09_what_is_not_acknowledged_is_sent_again_after_a_partition() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = {
            // One that goes on without its parent, and looks for it again.
            let endpoint = root.endpoint().unwrap();
            mesh.child_with(&root, |builder| builder.other_parents([endpoint])).await
        };
        let (here, there) = ((&root, &MemoryStore::default()), (&child, &MemoryStore::default()));
        let Two { one, two, a, b, client } = two_nodes(here, there).await?;
        client.send(&a, Transfer { to: b.clone(), amount: 1 }).await?;
        until("the first", vec![1], async || client.send(&b, Credits).await.unwrap()).await;
        let (turns_here, turns_there) = (one.stats().turns, two.stats().turns);
        mesh.partition(&[&root], &[&child]);
        for amount in 2..=5 {
            client.send(&a, Transfer { to: b.clone(), amount }).await?;
        }
        mesh.pass(Duration::from_secs(15)).await;
        mesh.heal();
        let there = two.client();
        until("all", vec![1, 2, 3, 4, 5], async || there.send(&b, Credits).await.unwrap()).await;
        until("all acknowledged", 0, async || one.stats().outbox_bytes).await;
        assert_eq!(
            one.stats().turns,
            turns_here + 4,
            "connection lost and back is no event for an actor"
        );
        assert_eq!(two.stats().turns, turns_there + 4);
        Ok(())
    });
}

#[test]
fn j06_a_node_that_is_killed_rolls_no_other_back() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (first, second) = (MemoryStore::default(), MemoryStore::default());
        let (here, there) = ((&root, &first), (&child, &second));
        let Two { two, a, b, client, .. } = two_nodes(here, there).await?;
        client.send(&a, Transfer { to: b.clone(), amount: 1 }).await?;
        until("the first", vec![1], async || client.send(&b, Credits).await.unwrap()).await;
        mesh.crash(&child).await;
        drop(two);
        client.send(&a, Transfer { to: b.clone(), amount: 2 }).await?;
        assert_eq!(client.send(&a, Balance).await?, 997);
        let child = mesh.restart(&child, &root).await;
        let two = builder(&child, &second, "two").open().await?;
        let there = two.client();
        until("both", vec![1, 2], async || there.send(&b, Credits).await.unwrap()).await;
        assert_eq!(client.send(&b, Credits).await?, [1, 2], "the old asker finds the new process");
        Ok(())
    });
}

#[test]
fn j12_a_journal_from_an_older_backup_takes_a_new_epoch_and_says_what_is_lost() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (first, second) = (MemoryStore::default(), MemoryStore::default());
        let (here, there) = ((&root, &first), (&child, &second));
        let Two { one, two, a, b, client } = two_nodes(here, there).await?;
        client.send(&b, Deposit(1000)).await?;
        client.send(&a, Transfer { to: b.clone(), amount: 1 }).await?;
        client.send(&b, Transfer { to: a.clone(), amount: 10 }).await?;
        until("there", vec![1], async || client.send(&b, Credits).await.unwrap()).await;
        until("back", vec![10], async || client.send(&a, Credits).await.unwrap()).await;
        one.close().await;
        let old = first.copy();
        // One is opened, and goes on after the backup was taken.
        let one = builder(&root, &first, "one").open().await?;
        let client = one.client();
        client.send(&a, Transfer { to: b.clone(), amount: 2 }).await?;
        client.send(&a, Transfer { to: b.clone(), amount: 3 }).await?;
        client.send(&b, Transfer { to: a.clone(), amount: 20 }).await?;
        until("there", vec![1, 2, 3], async || client.send(&b, Credits).await.unwrap()).await;
        until("back", vec![10, 20], async || client.send(&a, Credits).await.unwrap()).await;
        until("acknowledged", 0, async || two.stats().outbox_bytes).await;
        one.close().await;
        // Its file is lost, and the backup takes its place.
        let one = builder(&root, &old, "one").open().await?;
        let mut events = one.events();
        let client = one.client();
        client.send(&a, Transfer { to: b.clone(), amount: 4 }).await?;
        let restored = events.recv().await?;
        assert!(matches!(restored, JournalEvent::Restored { epoch: 2, .. }), "{restored}");
        until("not taken for an old one", vec![1, 2, 3, 4], async || {
            client.send(&b, Credits).await.unwrap()
        })
        .await;
        client.send(&b, Transfer { to: a.clone(), amount: 30 }).await?;
        until("goes on", vec![10, 30], async || client.send(&a, Credits).await.unwrap()).await;
        let missing = events.recv().await?;
        assert!(matches!(missing, JournalEvent::Missing { .. }), "{missing}");
        Ok(())
    });
}

/// Timers of its own, requests from outside and messages from another node: all of it is one state, as of one turn, when the process is killed.
#[test]
fn j08_local_and_network_events_share_one_checkpoint() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let second = MemoryStore::default();
        let (here, there) = ((&root, &MemoryStore::default()), (&child, &second));
        let Two { a, b, client, .. } = two_nodes(here, there).await?;
        client.send(&b, Later(Duration::from_millis(1), 1)).await?;
        until("the timer", vec![1], async || client.send(&b, Credits).await.unwrap()).await;
        client.send(&a, Transfer { to: b.clone(), amount: 20 }).await?;
        until("the message", vec![1, 20], async || client.send(&b, Credits).await.unwrap()).await;
        client.send(&b, Deposit(300)).await?;
        mesh.crash(&child).await;
        let rows = |table| {
            let all = second.copy().scan(table, Bound::Unbounded, Bound::Unbounded, 10);
            all.map(|rows| rows.len())
        };
        assert_eq!(rows(Table::State)?, 1, "one checkpoint for all three");
        assert_eq!((rows(Table::Seen)?, rows(Table::Timer)?), (1, 0));
        let child = mesh.restart(&child, &root).await;
        let two = builder(&child, &second, "two").open().await?;
        let there = two.client();
        assert_eq!(there.send(&b, Credits).await?, [1, 20]);
        assert_eq!(there.send(&b, Balance).await?, 321);
        Ok(())
    });
}

/// A node that does not run a kind yet keeps nothing, and loses nothing: its senders do.
#[test]
fn what_is_sent_to_a_kind_that_is_not_run_there_waits_until_it_is() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let second = MemoryStore::default();
        let one = builder(&root, &MemoryStore::default(), "one").open().await?;
        let without = Journal::builder(&child, "").store(second.clone()).write_here().node("two");
        let without = without.open().await?;
        let (a, b) = (one.actor::<Account>("a")?, Journaled::at("two", "b")?);
        let (client, mut events) = (one.client(), without.events());
        client.send(&a, Deposit(1000)).await?;
        client.send(&a, Transfer { to: b.clone(), amount: 1 }).await?;
        client.send(&a, Transfer { to: b.clone(), amount: 2 }).await?;
        let broken = events.recv().await?;
        assert!(matches!(broken, JournalEvent::Broken { .. }), "{broken}");
        without.close().await;
        let _two = builder(&child, &second, "two").open().await?;
        until("both", vec![1, 2], async || client.send(&b, Credits).await.unwrap()).await;
        Ok(())
    });
}
