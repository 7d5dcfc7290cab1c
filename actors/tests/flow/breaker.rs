//! A circuit breaker around an address whose context is cut off, and one whose actor hangs.

use std::time::Duration;

use actogen::{
    DeadReason, Limits,
    flow::{Breaker, BreakerState, FlowError},
    prelude::*,
    testing::{self, TestMesh},
};
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "breaker.Check", reply = "Result<u32, String>")]
struct Check(u32);

/// Never answers 0, fails at 1.
#[derive(RemoteActor, Default)]
#[remote(name = "breaker.checker", messages(Check))]
struct Checker;

impl Actor for Checker {
    type Context = actix::Context<Self>;
}

impl Handler<Check> for Checker {
    type Result = ResponseFuture<Result<u32, String>>;

    fn handle(&mut self, Check(n): Check, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            match n {
                0 => std::future::pending().await,
                1 => Err("one".to_owned()),
                n => Ok(n),
            }
        })
    }
}

#[test]
fn a_context_that_is_cut_off_is_asked_by_one_probe_at_a_time() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let parents = [root.endpoint().expect("a test mesh has endpoints")];
        let child = mesh.child_with(&root, |child| child.other_parents(parents)).await;
        let checker = root.start(Checker).attach(&child);
        let breaker = Breaker::new().in_a_row(2).open_for(Duration::from_secs(30));
        let protected = breaker.around(checker);
        assert_eq!(protected.send(Check(7)).await?, Ok(7));

        mesh.partition(&[&root], &[&child]);
        for n in 0..2 {
            assert_eq!(protected.state(), BreakerState::Closed);
            let error = protected.send(Check(10 + n)).await.expect_err("it is cut off");
            let FlowError::Send(error) = error else { panic!("{error:?}") };
            assert!(
                matches!(error.reason(), Some(DeadReason::RouteLost | DeadReason::NoRoute)),
                "{error:?}"
            );
        }
        assert_eq!(protected.state(), BreakerState::Open);
        let begun = Instant::now();
        let error = protected.send(Check(20)).await.expect_err("it is open");
        let FlowError::Open(Check(20), wait) = error else { panic!("{error:?}") };
        assert!(wait <= Duration::from_secs(30), "{wait:?}");
        let error = protected.tell(Check(21)).await.expect_err("it is open");
        assert_eq!(error.into_message(), Some(Check(21)));
        assert_eq!((begun.elapsed(), protected.refused()), (Duration::ZERO, 2));

        mesh.heal();
        while protected.state() != BreakerState::HalfOpen {
            mesh.pass(Duration::from_millis(100)).await;
        }
        assert_eq!(protected.send(Check(8)).await?, Ok(8));
        assert_eq!(protected.state(), BreakerState::Closed);
        Ok(())
    });
}

#[test]
fn what_takes_too_long_counts_and_a_probe_that_is_given_up_makes_room() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let limit = Duration::from_millis(100);
        let breaker = Breaker::new().in_a_row(0).ratio(50, 4).open_for(Duration::from_secs(1));
        let protected = breaker.around(root.start(Checker));
        for n in [7, 7, 0, 0] {
            assert_eq!(protected.state(), BreakerState::Closed);
            let _ = protected.send_within(Check(n), limit).await;
        }
        assert_eq!(protected.state(), BreakerState::Open);
        mesh.pass(Duration::from_secs(1)).await;

        let probe = tokio::task::spawn_local({
            let protected = protected.clone();
            async move { protected.send(Check(0)).await }
        });
        tokio::task::yield_now().await;
        let refused = protected.send(Check(7)).await.expect_err("there is a probe");
        assert!(matches!(refused, FlowError::Open(_, Duration::ZERO)), "{refused:?}");
        probe.abort();
        assert!(probe.await.is_err_and(|error| error.is_cancelled()));
        assert_eq!(protected.send(Check(7)).await?, Ok(7));
        assert_eq!(protected.state(), BreakerState::Closed);
        Ok(())
    });
}

#[test]
fn the_caller_may_say_which_answers_are_failures() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let protected = Breaker::new().in_a_row(2).around(root.start(Checker));
        for _ in 0..5 {
            assert_eq!(protected.send(Check(1)).await?, Err("one".to_owned()));
        }
        assert_eq!(protected.state(), BreakerState::Closed);
        for _ in 0..2 {
            let answer = protected.send_judged(Check(1), Result::is_err).await?;
            assert_eq!(answer, Err("one".to_owned()));
        }
        assert_eq!(protected.state(), BreakerState::Open);
        Ok(())
    });
}

#[test]
fn no_room_here_says_nothing_about_the_other_side() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let few = Limits { pending_calls: 1, ..root.limits().clone() };
        let child = mesh.child_with(&root, |child| child.limits(few)).await;
        let checker = root.start(Checker).attach(&child);
        let protected = Breaker::new().in_a_row(1).around(checker.clone());
        let hangs = tokio::task::spawn_local(async move { checker.send(Check(0)).await });
        mesh.pass(Duration::from_millis(10)).await;
        let error = protected.send(Check(7)).await.expect_err("another waits already");
        let FlowError::Send(error) = error else { panic!("{error:?}") };
        assert_eq!(error.reason(), Some(DeadReason::Congested), "{error}");
        assert_eq!(protected.state(), BreakerState::Closed);
        hangs.abort();
        Ok(())
    });
}
