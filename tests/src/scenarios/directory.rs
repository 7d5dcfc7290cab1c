//! Names and groups of the whole mesh.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{collections::BTreeSet, time::Duration};

use actogen::{
    Choice, Context, DirectoryError, Group, GroupEvent, GroupEvents, StopReason, prelude::*,
};

use crate::{
    actors::{Desk, Echo, Gate},
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

/// The longest wait for a name.
const WAIT: Duration = Duration::from_secs(10);

async fn echoes(desk: &Remote<Desk>) -> bool {
    soon("an answer", desk.send(Echo(vec![7]))).await.is_ok()
}

async fn is_unknown(context: &Context, name: &str) -> bool {
    let resolved = soon("an answer", context.resolve::<Desk>(name)).await;
    resolved == Err(DirectoryError::Unknown(name.to_owned()))
}

/// A name is found everywhere, belongs to one actor, and is free again when that ends, is lost, or gives it up.
pub async fn a_name_of_the_mesh_has_one_owner<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let other = mesh.child(&root, 3).await?;
    let desk = chain[1].start(Desk::default());
    let claim = soon("the name", chain[1].claim("desk", &desk)).await?;
    for context in [&root, &chain[0], &chain[1], &other] {
        let found = soon("the desk", context.resolve::<Desk>("desk")).await?;
        assert_eq!(found, desk);
        assert!(echoes(&found).await);
    }
    let second = other.start(Desk::default());
    let taken = soon("an answer", other.claim("desk", &second)).await.unwrap_err();
    let owner = desk.address();
    assert_eq!(taken, DirectoryError::Taken { name: "desk".to_owned(), owner });
    let elsewhere = soon("an answer", root.claim("x", &desk)).await.unwrap_err();
    assert_eq!(elsewhere, DirectoryError::NotHere(owner));
    let kind = soon("an answer", root.resolve::<Gate>("desk")).await.unwrap_err();
    assert!(kind.to_string().contains("is for actors of kind `test.desk`"), "{kind}");
    soon("the release", claim.release()).await?;
    assert!(is_unknown(&root, "desk").await);

    let mut claim = soon("the name", other.claim("desk", &second)).await?;
    other.stop(&second, StopReason::Normal);
    assert_eq!(soon("its loss", claim.lost()).await, None);
    let third = chain[0].start(Desk::default());
    let mut tried = soon("the name", chain[0].claim("desk", &third)).await;
    while tried.is_err() {
        // The word of the end is on its way.
        tokio::time::sleep(Duration::from_millis(1)).await;
        tried = soon("the name", chain[0].claim("desk", &third)).await;
    }
    mesh.kill(&chain[0]).await;
    until("its loss", || root.place_of(chain[0].id()).is_none()).await;
    assert!(is_unknown(&root, "desk").await);
    Ok(())
}

/// Who waits for a name gets its owner when there is one, and learns when the time is over.
pub async fn a_name_can_be_waited_for<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let desk = two.start(Desk::default());
    let (by_root, by_one, claim) = soon("all", async {
        let claim = async {
            // Both have asked by then.
            one.ping(root.place()).await.unwrap();
            two.claim("late", &desk).await
        };
        tokio::join!(
            root.resolve_within::<Desk>("late", WAIT),
            one.resolve_within::<Desk>("late", WAIT),
            claim
        )
    })
    .await;
    claim?;
    assert_eq!((by_root?, by_one?), (desk.clone(), desk));
    let never = one.resolve_within::<Desk>("never", Duration::from_millis(20));
    assert_eq!(soon("the time", never).await, Err(DirectoryError::Unknown("never".to_owned())));
    Ok(())
}

/// Waits that have come to their end free what they have held, whether or not the name has appeared: many at once, and again.
pub async fn waits_for_a_name_end_with_their_time<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let below = mesh.child(&root, 1).await?;
    for _ in 0..3 {
        let waits =
            (0..500).map(|_| below.resolve_within::<Desk>("nobody", Duration::from_millis(50)));
        for waited in soon("all waits", futures_util::future::join_all(waits)).await {
            assert_eq!(waited, Err(DirectoryError::Unknown("nobody".to_owned())));
        }
    }
    let desk = below.start(Desk::default());
    let _claim = soon("the name", below.claim("desk", &desk)).await?;
    assert_eq!(soon("the desk", root.resolve_within::<Desk>("desk", WAIT)).await?, desk);
    Ok(())
}

/// Two parts of a mesh had an owner each for one name: when they come together one stands, whichever part came last, the other is told, and
/// all see the same.
pub async fn r14_of_two_owners_one_stands_and_the_other_is_told<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let (old, new) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    // The older life stands, in whichever part it is.
    for (apart, stays) in [(&old, &new), (&new, &old)] {
        let below = mesh.child(apart, 10 + apart.id().0).await?;
        soon("the parting", apart.detach()).await?;
        let desks = [apart.start(Desk::default()), stays.start(Desk::default())];
        let mut island = soon("the name", apart.claim("one", &desks[0])).await?;
        let mut main = soon("the name", stays.claim("one", &desks[1])).await?;
        // Each part sees its own.
        assert_eq!(soon("an answer", below.resolve::<Desk>("one")).await?, desks[0]);
        assert_eq!(soon("an answer", root.resolve::<Desk>("one")).await?, desks[1]);
        soon("the return", apart.attach_to(&root.endpoint().unwrap(), None)).await?;
        let (owner, loser) = match apart.id() == old.id() {
            true => (&desks[0], &mut main),
            false => (&desks[1], &mut island),
        };
        assert_eq!(soon("the loser's word", loser.lost()).await, Some(owner.address()));
        for context in [&root, &below, stays] {
            assert_eq!(soon("an answer", context.resolve::<Desk>("one")).await?, *owner);
        }
        let home = if owner == &desks[0] { apart } else { stays };
        home.stop(owner, StopReason::Normal);
        while !is_unknown(&root, "one").await {
            // The word of its end is on its way.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    Ok(())
}

async fn next(events: &mut GroupEvents) -> GroupEvent {
    soon("an event", events.next()).await.unwrap().unwrap()
}

/// Everybody who holds a group sees who joins, leaves, ends or is lost, in the same order.
pub async fn a_group_knows_its_members_everywhere<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let below = mesh.child(&two, 3).await?;
    let contexts = [&root, &one, &two, &below];
    let mut groups: Vec<Group<Desk>> = Vec::new();
    for context in contexts {
        groups.push(soon("the group", context.group("desks")).await?);
    }
    let mut events: Vec<_> = groups.iter().map(Group::events).collect();
    let desks = contexts.map(|context| context.start(Desk::default()));
    let mut expected = Vec::new();
    for (group, desk) in groups.iter().zip(&desks) {
        soon("the joining", group.join(desk)).await?;
        soon("the joining", group.join(desk)).await?;
        expected.push(GroupEvent::Joined(desk.address()));
    }
    soon("the leaving", groups[0].leave(&desks[0])).await?;
    expected.push(GroupEvent::Left(desks[0].address()));
    for events in &mut events {
        for expected in &expected {
            assert_eq!(next(events).await, *expected);
        }
    }
    one.stop(&desks[1], StopReason::Killed);
    for events in &mut events {
        assert_eq!(next(events).await, GroupEvent::Left(desks[1].address()));
    }
    let late: Group<Desk> = soon("the group", one.group("desks")).await?;
    assert_eq!(late.members(), desks[2..]);
    mesh.kill(&two).await;
    let lost: BTreeSet<_> = desks[2..].iter().map(Remote::address).collect();
    for events in &mut events[..2] {
        let mut left = BTreeSet::new();
        for _ in &lost {
            let GroupEvent::Left(address) = next(events).await else { panic!("nobody joined") };
            left.insert(address);
        }
        assert_eq!(left, lost);
    }
    assert_eq!(late.members(), []);
    let other = soon("an answer", one.group::<Gate>("desks")).await.unwrap_err();
    assert!(matches!(other, DirectoryError::OtherKind { .. }), "{other}");
    Ok(())
}

/// A message to all reaches all; a request to one goes to the one that was chosen.
pub async fn a_group_is_sent_to_together_or_by_turns<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let children = [mesh.child(&root, 1).await?, mesh.child(&root, 2).await?];
    let group: Group<Desk> = soon("the group", root.group("desks")).await?;
    assert!(group.send(Choice::Random, Echo(Vec::new())).is_err());
    assert_eq!(group.broadcast(Echo(Vec::new())), 0);
    let mut desks = Vec::new();
    for child in &children {
        let desk = child.start(Desk::default());
        soon("the joining", soon("the group", child.group("desks")).await?.join(&desk)).await?;
        desks.push(desk);
    }
    until("both are known", || group.members().len() == 2).await;
    let turns: Vec<_> = (0..4).map(|_| group.pick(Choice::RoundRobin).unwrap()).collect();
    assert_eq!(turns[..2], turns[2..]);
    assert_ne!(turns[0], turns[1]);
    let by_key = group.pick(Choice::ByKey(b"account 7")).unwrap();
    assert_eq!(group.pick(Choice::ByKey(b"account 7")).unwrap(), by_key);
    let requests: Vec<_> = (0..10)
        .map(|_| group.send(Choice::LeastOutstanding, Echo(vec![7])).map_err(|_| "there is one"))
        .collect::<Result<_, _>>()?;
    for request in requests {
        assert_eq!(soon("an answer", request).await?, [7]);
    }
    let before: Vec<_> = children.iter().map(|child| child.stats().delivered).collect();
    assert_eq!(group.broadcast(Echo(Vec::new())), 2);
    until("both have it", || {
        children.iter().zip(&before).all(|(child, before)| child.stats().delivered > *before)
    })
    .await;
    Ok(())
}

/// Names and memberships go with those who move, and with those below them.
pub async fn names_go_with_those_who_move<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let other = mesh.child(&root, 1).await?;
    let moves = mesh.child(&root, 2).await?;
    let below = mesh.child(&moves, 3).await?;
    let desks = [moves.start(Desk::default()), below.start(Desk::default())];
    let _claims = [
        soon("the name", moves.claim("moves", &desks[0])).await?,
        soon("the name", below.claim("below", &desks[1])).await?,
    ];
    let at_root: Group<Desk> = soon("the group", root.group("desks")).await?;
    let at_below: Group<Desk> = soon("the group", below.group("desks")).await?;
    soon("the joining", at_below.join(&desks[1])).await?;
    let mut events = at_below.events();
    for above in [&other, &root, &other] {
        soon("the move", moves.attach_to(&above.endpoint().unwrap(), None)).await?;
        until("it is there", || {
            below.family().ancestors.get(1) == Some(&above.id())
                && root.place_of(below.id()).is_some()
        })
        .await;
        for (name, desk) in ["moves", "below"].into_iter().zip(&desks) {
            let found = root.resolve_within::<Desk>(name, WAIT);
            assert_eq!(soon("an answer", found).await?, *desk);
        }
        until("it is a member", || at_root.members() == desks[1..]).await;
        // And what happens now is heard of there.
        let new = root.start(Desk::default());
        soon("the joining", at_root.join(&new)).await?;
        while next(&mut events).await != GroupEvent::Joined(new.address()) {}
        soon("the leaving", at_root.leave(&new)).await?;
        while next(&mut events).await != GroupEvent::Left(new.address()) {}
    }
    mesh.kill(&moves).await;
    until("their loss", || root.place_of(below.id()).is_none()).await;
    for name in ["moves", "below"] {
        assert!(is_unknown(&root, name).await, "{name}");
    }
    Ok(())
}
