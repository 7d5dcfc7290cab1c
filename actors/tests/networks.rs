//! The author's test kit: the same tests in memory and over UDP.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

use actogen::{
    DeadReason,
    prelude::*,
    testing::{self, Conditions, Network, TestMesh},
};

#[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Note")]
struct Note(u32);

#[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Double", reply = "u32")]
struct Double(u32);

fn over_both(test: impl AsyncFn(&TestMesh) -> actogen::Result<()>) {
    for network in [Network::Memory, Network::Udp] {
        testing::over(network).seed(5).run(async |mesh: &TestMesh| test(mesh).await);
    }
}

#[test]
fn a_partition_is_noticed_and_heals() {
    over_both(async |mesh| {
        let root = mesh.root().await;
        let parents = [root.endpoint().unwrap()];
        let child = mesh.child_with(&root, |child| child.other_parents(parents)).await;
        let mut probe = mesh.probe_with::<Double>(&root, |double| double.0 * 2);
        let far = probe.remote().attach(&child);
        assert_eq!(far.send(Double(4)).await?, 8);
        assert_eq!(probe.expect().await, Double(4));
        mesh.partition(&[&root], &[&child]);
        let dead = far.send(Double(5)).await.unwrap_err();
        assert_eq!(dead.reason(), Some(DeadReason::RouteLost));
        mesh.heal();
        while far.send(Double(6)).await.is_err() {
            mesh.pass(Duration::from_millis(100)).await;
        }
        assert_eq!(probe.expect().await, Double(6));
        Ok(())
    });
}

#[test]
fn one_way_is_cut_and_both_lose_the_link() {
    over_both(async |mesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let mut heard = mesh.probe::<Note>(&child);
        mesh.deafen(&child, &root);
        let far = heard.remote().attach(&root);
        far.try_send(Note(1)).unwrap();
        assert_eq!(heard.expect().await, Note(1), "this way nothing is cut");
        let down = root.watch(&far).await;
        assert!(matches!(down.ended, actogen::Ended::ContextLost(_)), "{down}");
        child.phase().wait_for(|phase| *phase == actogen::Phase::Down).await?;
        Ok(())
    });
}

#[test]
fn a_bad_line_loses_and_reorders_nothing_above_it() {
    over_both(async |mesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        mesh.disturb(
            &root,
            &child,
            Conditions {
                delay: Duration::from_millis(2),
                jitter: Duration::from_millis(2),
                loss: 0.05,
                reorder: 0.05,
                duplicate: 0.05,
            },
        );
        let mut probe = mesh.probe::<Note>(&root);
        let far = probe.remote().attach(&child);
        for n in 0..500 {
            far.tell(Note(n)).await?;
            if n % 10 == 0 {
                // Many datagrams rather than a few long ones.
                mesh.pass(Duration::from_millis(1)).await;
            }
        }
        for n in 0..500 {
            assert_eq!(probe.expect().await, Note(n));
        }
        let stats = mesh.relay_stats();
        let is_udp = stats.passed > 0;
        assert_eq!(stats.lost > 0 && stats.duplicated > 0, is_udp, "{stats:?}");
        assert!(mesh.dead_letters().is_empty(), "nothing has died");
        Ok(())
    });
}

#[test]
fn who_crashes_begins_another_life() {
    over_both(async |mesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let other = mesh.child(&root).await;
        let probe = mesh.probe::<Note>(&child);
        let down = other.watch(&probe.remote().attach(&other));
        mesh.crash(&child).await;
        assert!(matches!(down.await.ended, actogen::Ended::ContextLost(_)));
        let again = mesh.restart(&child, &root).await;
        assert_eq!(again.id(), child.id());
        assert_ne!(again.place(), child.place());
        let mut probe = mesh.probe::<Note>(&again);
        probe.remote().attach(&other).tell(Note(3)).await?;
        assert_eq!(probe.expect().await, Note(3));
        Ok(())
    });
}

#[test]
fn a_name_is_bound_on_either_network() {
    over_both(async |mesh| {
        let root = mesh.root().await;
        let child = mesh.named_child(&root, &["scribe"]).await;
        assert_eq!(child.who_has("scribe").await?, Some(child.id()));
        Ok(())
    });
}
