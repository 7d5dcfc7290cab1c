//! Who may do what: each policy, over the wire.

use actogen::{Context, DeadReason, Handled, Policy, Remote};

use crate::{
    actors::{Desk, Echo},
    mesh::{Fabric, Mesh, Outcome},
};

/// Expects the desk to answer just those contexts, and to refuse the others with the policy's name.
async fn answers_only(
    desk: &Remote<Desk>,
    everybody: &[Context],
    allowed: &[u64],
    policy: &str,
) -> Outcome {
    for from in everybody {
        let answer = desk.clone().attach(from).send(Echo(vec![1])).await;
        if allowed.contains(&from.id().0) {
            assert_eq!(answer?, [1], "{policy}: {from:?} may");
        } else {
            let dead = answer.expect_err("it may not");
            assert_eq!(dead.reason(), Some(DeadReason::Refused), "{policy}: {from:?}: {dead}");
            assert_eq!(dead.handled(), Handled::No);
            assert!(dead.to_string().contains(policy), "{dead}");
        }
    }
    Ok(())
}

/// Root, its children 1 and 4, 2 below 1, 3 below 2; the desks are in 1.
async fn tree<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<Vec<Context>> {
    let root = mesh.root().await?;
    let mut all = mesh.chain(&root, 1..=3).await?;
    all.push(mesh.child(&root, 4).await?);
    all.push(root);
    Ok(all)
}

/// Anyone who holds the address.
pub async fn m08_anyone_may<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let desk = all[0].start_with(Desk::default(), Policy::Anyone);
    answers_only(&desk, &all, &[0, 1, 2, 3, 4], "anyone").await
}

/// The context itself and those above it.
pub async fn m08_only_a_parents_authority_may<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let desk = all[0].start_with(Desk::default(), Policy::ParentAuthority);
    answers_only(&desk, &all, &[0, 1], "has_parent_authority").await?;
    let deep = all[2].start_with(Desk::default(), Policy::ParentAuthority);
    answers_only(&deep, &all, &[0, 1, 2, 3], "has_parent_authority").await
}

/// Its own children, and nobody below them.
pub async fn m08_only_an_immediate_child_may<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let desk = all[0].start_with(Desk::default(), Policy::ImmediateChild);
    answers_only(&desk, &all, &[2], "is_immediate_child").await
}

/// The context itself.
pub async fn m08_only_itself_may<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let desk = all[0].start_with(Desk::default(), Policy::OnlySelf);
    answers_only(&desk, &all, &[1], "is_self").await
}

/// Whom the author's own rule lets through.
pub async fn m08_an_authors_own_policy_decides<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let even = Policy::custom("even_only", |origin, _| origin.source.0 % 2 == 0);
    let desk = all[0].start_with(Desk::default(), even);
    answers_only(&desk, &all, &[0, 2, 4], "even_only").await
}

/// What a policy refuses one way is counted and shown as a dead letter at the receiver.
pub async fn m08_refused_one_way_messages_are_dead_letters<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let desk = all[0].start_with(Desk::default(), Policy::OnlySelf);
    let mut letters = all[0].dead_letters();
    desk.clone().attach(&all[3]).do_send(Echo(vec![1]));
    let letter = crate::until::soon("a dead letter", letters.next()).await;
    let letter = letter.ok_or("it has ended")?.map_err(|dropped| format!("{dropped} dropped"))?;
    assert_eq!((letter.dead.reason, letter.from.source), (DeadReason::Refused, all[3].id()));
    assert_eq!(all[0].stats().dead_of(DeadReason::Refused), 1);
    Ok(())
}

/// In one-way mode siblings, and those below them, cannot talk to each other; both talk with those above them, and a whole subtree takes
/// the mode from its root.
pub async fn m08_siblings_in_one_way_mode_cannot_talk<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root_with(|builder| builder.one_way(true)).await?;
    let mut all = mesh.chain(&root, 1..=3).await?;
    all.push(mesh.child(&root, 4).await?);
    all.push(mesh.child(&all[0], 5).await?);
    all.push(root);
    let (one, three, five) = (&all[0], &all[2], &all[4]);
    // 2 and 5 are siblings below 1, which has the mode from its parent.
    answers_only(&one.start(Desk::default()), &all, &[0, 1, 2, 3, 5], "one-way mode").await?;
    answers_only(&three.start(Desk::default()), &all, &[0, 1, 2, 3], "one-way mode").await?;
    answers_only(&five.start(Desk::default()), &all, &[0, 1, 5], "one-way mode").await?;
    assert!(all.iter().all(|context| context.is_one_way()));
    Ok(())
}

/// Starting an actor, and ending a context, need a parent's authority: a child's attempt on its parent, and a sibling's, are refused.
pub async fn m08_reserved_mailboxes_have_their_policies<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let all = tree(mesh).await?;
    let (one, two, four, root) = (&all[0], &all[1], &all[3], &all[4]);
    for (from, to) in [(two, one), (four, one), (four, root)] {
        let refused = from.spawn_in::<Desk>(to.place(), ()).await;
        let Err(actogen::SpawnError::Dead(dead)) = refused else { panic!("{refused:?}") };
        assert_eq!(dead.reason, DeadReason::Refused, "{dead}");
        let end = to.place().address(actogen::Handle::SHUTDOWN);
        let dead = from.ask(end, &[1]).await.expect_err("it may not");
        assert_eq!(dead.reason, DeadReason::Refused, "{dead}");
    }
    assert!([one, root].iter().all(|context| context.is_running()));
    for (from, to) in [(root, one), (one, two), (root, two), (one, one)] {
        let desk = from.spawn_in::<Desk>(to.place(), ()).await?;
        assert_eq!(desk.send(Echo(vec![1])).await?, [1]);
    }
    Ok(())
}
