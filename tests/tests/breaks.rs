//! Networks that break in parts, and heal: each break is reported on both sides, and mends itself.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use actogen::{
    ContextEvent, ContextEvents, ContextId, DeadReason, LossKind,
    prelude::*,
    testing::{self, TestMesh},
};

#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "breaks.Ask", reply = "u64")]
struct Ask(u64);

/// Waits until somebody is lost, and says how.
async fn loss_of(events: &mut ContextEvents, lost: ContextId) -> LossKind {
    loop {
        if let Some(Ok(ContextEvent::Down { context, loss })) = events.next().await
            && context == lost
        {
            return loss.kind;
        }
    }
}

async fn arrival_of(events: &mut ContextEvents, found: ContextId) {
    loop {
        if let Some(Ok(ContextEvent::Up { context, .. })) = events.next().await
            && context == found
        {
            return;
        }
    }
}

/// A context that goes on without its parent, and looks for it again.
async fn faithful(mesh: &TestMesh, parent: &Context) -> Context {
    let endpoint = parent.endpoint().unwrap();
    mesh.child_with(parent, |builder| builder.other_parents([endpoint])).await
}

/// Two contexts cannot hear each other any more: both are told, whoever waits for the other is answered, and they find each other again.
#[test]
fn r18_a_broken_pair_is_reported_and_heals() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = faithful(mesh, &root).await;
        let probe = mesh.probe_with::<Ask>(&child, |ask| ask.0 + 1);
        let there = probe.remote().attach(&root);
        assert_eq!(there.send(Ask(1)).await?, 2);
        let (mut above, mut below) = (root.events(), child.events());
        mesh.partition(&[&root], &[&child]);
        let dead = there.send(Ask(1)).await.unwrap_err();
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost), "{dead}");
        assert_eq!(loss_of(&mut above, child.id()).await, LossKind::Silent);
        assert_eq!(loss_of(&mut below, root.id()).await, LossKind::Silent);
        mesh.heal();
        arrival_of(&mut above, child.id()).await;
        assert_eq!(there.send(Ask(2)).await?, 3);
        Ok(())
    });
}

/// One of several cannot hear anybody: the others go on, and it comes back.
#[test]
fn r18_one_that_is_isolated_is_reported_and_comes_back() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let alone = faithful(mesh, &root).await;
        let others = [mesh.child(&root).await, mesh.child(&root).await];
        let probes =
            [&alone, &others[0]].map(|context| mesh.probe_with::<Ask>(context, |ask| ask.0));
        let from_other = |to: usize| probes[to].remote().attach(&others[1]);
        assert_eq!(from_other(0).send(Ask(1)).await?, 1);
        let mut above = root.events();
        mesh.partition(&[&alone], &[&root, &others[0], &others[1]]);
        let dead = from_other(0).send(Ask(2)).await.unwrap_err();
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost), "{dead}");
        assert_eq!(loss_of(&mut above, alone.id()).await, LossKind::Silent);
        assert_eq!(from_other(1).send(Ask(3)).await?, 3);
        mesh.heal();
        arrival_of(&mut above, alone.id()).await;
        assert_eq!(from_other(0).send(Ask(4)).await?, 4);
        Ok(())
    });
}

/// Two halves cannot hear each other: each goes on within itself, and they become one mesh again.
#[test]
fn r18_two_islands_go_on_and_become_one() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (near, far) = (mesh.child(&root).await, faithful(mesh, &root).await);
        let below = mesh.child(&far).await;
        let on_far = mesh.probe_with::<Ask>(&far, |ask| ask.0);
        let on_near = mesh.probe_with::<Ask>(&near, |ask| ask.0);
        let across = on_far.remote().attach(&near);
        assert_eq!(across.send(Ask(1)).await?, 1);
        let mut above = root.events();
        mesh.partition(&[&root, &near], &[&far, &below]);
        let dead = across.send(Ask(2)).await.unwrap_err();
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost), "{dead}");
        // Within each island, messages go on.
        assert_eq!(on_far.remote().attach(&below).send(Ask(3)).await?, 3);
        assert_eq!(on_near.remote().attach(&root).send(Ask(4)).await?, 4);
        mesh.heal();
        arrival_of(&mut above, below.id()).await;
        assert_eq!(across.send(Ask(5)).await?, 5);
        assert_eq!(on_near.remote().attach(&below).send(Ask(6)).await?, 6);
        Ok(())
    });
}

/// A seed repeats a run: what was drawn in one is drawn in the next.
#[test]
fn a_seed_repeats_a_run() {
    let drawn = |seed| {
        let mut drawn = Vec::new();
        testing::run_seeded(seed, async |mesh: &TestMesh| {
            let root = mesh.root().await;
            let child = mesh.child(&root).await;
            drawn = [&root, &child].map(|context| context.fresh_number()).to_vec();
            Ok(())
        });
        drawn
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}

/// What takes time on the way takes it by the mesh's clock; a crash is told at once, and a life that follows is another.
#[test]
fn a_test_mesh_delays_and_crashes() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let probe = mesh.probe_with::<Ask>(&child, |ask| ask.0);
        let there = probe.remote().attach(&root);
        mesh.delay(&root, &child, std::time::Duration::from_millis(300));
        let begin = tokio::time::Instant::now();
        there.send(Ask(1)).await?;
        let took = begin.elapsed().as_millis();
        assert!((600..700).contains(&took), "{took} ms");
        mesh.crash(&child).await;
        there.do_send(Ask(2));
        let letter = mesh.expect_dead_letter(DeadReason::RouteLost).await;
        assert_eq!(letter.to.context, child.id());
        let again = mesh.restart(&child, &root).await;
        assert_eq!(again.id(), child.id());
        assert_ne!(again.incarnation(), child.incarnation());
        let stale = there.send(Ask(3)).await.unwrap_err();
        assert_eq!(stale.reason(), Some(DeadReason::Stale), "{stale}");
        Ok(())
    });
}
