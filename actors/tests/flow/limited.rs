//! A rate limit around an address, near and far.

use std::time::Duration;

use actogen::{
    flow::{FlowError, RateLimit},
    prelude::*,
    testing::{self, TestMesh},
};
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "limited.Double", reply = "u32")]
struct Double(u32);

#[test]
fn who_comes_too_fast_is_refused_and_told_when_to_come_back() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let mut probe = mesh.probe_with::<Double>(&root, |double| 2 * double.0);
        let limit = RateLimit::per_second(2).burst(3);
        let limited = limit.around(probe.remote().attach(&child));
        for n in 0..3 {
            assert_eq!(limited.send(Double(n)).await?, 2 * n);
        }
        let error = limited.clone().send(Double(3)).await.expect_err("the burst is used up");
        let FlowError::OverRate(Double(3), wait) = error else { panic!("{error:?}") };
        assert!(wait <= Duration::from_millis(500), "{wait:?}");
        assert_eq!(limited.refused(), 1, "clones share the limit");
        mesh.pass(wait).await;
        limited.try_send(Double(4))?;
        let error = limited.try_send(Double(5)).expect_err("there was one token");
        assert_eq!(error.into_message(), Some(Double(5)));
        for n in [0, 1, 2, 4] {
            assert_eq!(probe.expect().await, Double(n));
        }
        probe.expect_none(Duration::from_secs(1)).await;
        Ok(())
    });
}

#[test]
fn those_who_may_wait_go_in_their_order_at_the_rate() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let mut probe = mesh.probe_with::<Double>(&root, |double| 2 * double.0);
        let limit = RateLimit::new(1, Duration::from_secs(1)).waiting(3, Duration::from_secs(60));
        let limited = limit.around(probe.remote().recipient::<Double>());
        let begun = Instant::now();
        let sent = (0..5).map(|n| {
            let limited = limited.clone();
            tokio::task::spawn_local(async move { limited.send(Double(n)).await })
        });
        let sent: Vec<_> = sent.collect();
        for n in 0..4 {
            assert_eq!(probe.expect().await, Double(n));
            // Timers go by milliseconds.
            let behind = begun.elapsed() - Duration::from_secs(n.into());
            assert!(behind < Duration::from_millis(20), "{behind:?}");
        }
        for (n, sent) in sent.into_iter().enumerate() {
            match sent.await? {
                Ok(answer) => assert_eq!(answer as usize, 2 * n),
                Err(FlowError::OverRate(Double(4), wait)) => assert!(wait.as_secs() >= 3),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((limited.refused(), limited.waiting()), (1, 0));
        Ok(())
    });
}

#[test]
fn who_would_wait_too_long_is_refused_at_once_and_who_gives_up_leaves_room() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let probe = mesh.probe_with::<Double>(&root, |double| 2 * double.0);
        let limit = RateLimit::per_second(1).waiting(100, Duration::from_millis(2500));
        let limited = limit.around(probe.remote());
        assert_eq!(limited.send(Double(0)).await?, 0);
        let begun = Instant::now();
        let hurried = limited.send_within(Double(1), Duration::from_millis(500)).await;
        assert!(matches!(hurried, Err(FlowError::OverRate(Double(1), _))), "{hurried:?}");
        assert_eq!(begun.elapsed(), Duration::ZERO, "it is known at once");

        let given_up = tokio::task::spawn_local({
            let limited = limited.clone();
            async move { limited.send(Double(2)).await }
        });
        while limited.waiting() == 0 {
            mesh.pass(Duration::from_millis(1)).await;
        }
        given_up.abort();
        assert!(given_up.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(limited.waiting(), 0);
        assert_eq!(limited.send(Double(3)).await?, 6, "its token went to the next");
        assert!(begun.elapsed() < Duration::from_millis(1100), "{:?}", begun.elapsed());
        Ok(())
    });
}

#[test]
fn several_addresses_share_a_limit() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let one = mesh.probe_with::<Double>(&root, |_| 1);
        let other = mesh.probe_with::<Double>(&root, |_| 2);
        let limited = RateLimit::per_second(1).around(one.remote());
        let shared = limited.share(other.remote().recipient::<Double>());
        assert_eq!(shared.send(Double(0)).await?, 2);
        assert!(matches!(limited.send(Double(0)).await, Err(FlowError::OverRate(..))));
        Ok(())
    });
}
