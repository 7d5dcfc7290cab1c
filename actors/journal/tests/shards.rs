//! Actors that are spread over the members of a group: each key has one home, which moves when members come and go.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{path::Path, time::Duration};

use actogen::{
    Context,
    testing::{self, TestMesh},
};
use actogen_journal::{ActorId, Client, Journal, ShardMap, Shards};

use support::*;

const COUNT: u16 = 16;

const ACCOUNTS: u64 = 40;

/// A part in the shards, whose journals are files of one folder.
async fn part(context: &Context, map: &ShardMap, folder: &Path) -> actogen::Result<Shards> {
    let (context, folder) = (context.clone(), folder.to_owned());
    let open = {
        let context = context.clone();
        move |node: &actogen_journal::NodeName| {
            let file = folder.join(format!("{node}.redb"));
            Journal::builder(&context, file).write_here().kind::<Account>()
        }
    };
    Ok(Shards::open(&context, map, open).await?)
}

/// Waits until each shard is held by one of these, and each of these holds some.
async fn all_held(parts: &[&Shards]) {
    let all: Vec<u16> = (0..COUNT).collect();
    until("all shards", (all, true), async || {
        let each = parts.iter().all(|part| !part.held().is_empty());
        let mut held: Vec<_> = parts.iter().flat_map(|part| part.held()).collect();
        held.sort_unstable();
        (held, each)
    })
    .await;
}

/// Moves one from each account to the next, and looks that each has what it had: a credit from the one before it for each round.
async fn round(client: &Client, map: &ShardMap, rounds: usize) -> actogen::Result<()> {
    let account = |number: u64| map.actor::<Account>(&(number % ACCOUNTS).to_string());
    for number in 0..ACCOUNTS {
        let transfer = Transfer { to: account(number + 1)?, amount: 1 };
        assert!(client.send(&account(number)?, transfer).await?);
    }
    for number in 0..ACCOUNTS {
        let account = account(number)?;
        until("its credits", vec![1; rounds], async || {
            client.send(&account, Credits).await.unwrap()
        })
        .await;
    }
    Ok(())
}

#[test]
fn keys_move_with_their_shards_and_keep_what_they_have() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_owned();
    testing::run(async move |mesh: &TestMesh| {
        let root = mesh.root().await;
        let map = ShardMap::new("bank", COUNT)?;
        let (one, two) = (mesh.child(&root).await, mesh.child(&root).await);
        // Whoever asks holds nothing.
        let client = Client::new(&root);
        let first = part(&one, &map, &folder).await?;
        all_held(&[&first]).await;
        for number in 0..ACCOUNTS {
            client.send(&map.actor::<Account>(&number.to_string())?, Deposit(10)).await?;
        }
        round(&client, &map, 1).await?;

        let second = part(&two, &map, &folder).await?;
        // Whatever is to move has moved then.
        mesh.pass(Duration::from_secs(2)).await;
        all_held(&[&first, &second]).await;
        let moved = second.held();
        assert!(moved.len() < COUNT as usize, "{moved:?}");
        round(&client, &map, 2).await?;

        // A third one takes some of both, and nothing moves between those two.
        let three = mesh.child(&root).await;
        let third = part(&three, &map, &folder).await?;
        mesh.pass(Duration::from_secs(2)).await;
        all_held(&[&first, &second, &third]).await;
        let left = second.held();
        assert!(left.iter().all(|shard| moved.contains(shard)), "{left:?} of {moved:?}");

        round(&client, &map, 3).await?;

        second.close().await;
        all_held(&[&first, &third]).await;
        round(&client, &map, 4).await?;

        // One that is gone without a word.
        drop(first);
        mesh.crash(&one).await;
        all_held(&[&third]).await;
        round(&client, &map, 5).await?;
        let mut sum = 0;
        for number in 0..ACCOUNTS {
            sum += client.send(&map.actor::<Account>(&number.to_string())?, Balance).await?;
        }
        assert_eq!(sum, 10 * ACCOUNTS);
        third.close().await;
        Ok(())
    });
}

#[test]
fn keys_are_spread_evenly_and_for_ever() {
    let map = ShardMap::new("bank", COUNT).unwrap();
    let mut actors = [0; COUNT as usize];
    for key in 0..16_000 {
        actors[usize::from(map.shard_of(&ActorId::new("account", &key.to_string()).unwrap()))] += 1;
    }
    assert!(actors.iter().all(|count| (850..1150).contains(count)), "{actors:?}");
    // Golden: another number here loses everybody's actors.
    let of = |key| map.actor::<Account>(key).unwrap().place().node.to_string();
    assert_eq!(["1", "2", "3"].map(of), ["bank.14", "bank.4", "bank.0"]);
    assert!(ShardMap::new(&"n".repeat(126), COUNT).is_err());
}
