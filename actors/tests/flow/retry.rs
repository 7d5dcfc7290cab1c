//! Retries: what is sent again, how often, and how they go with a limit and a breaker.

use std::{cell::Cell, rc::Rc, time::Duration};

use actogen::{
    Backoff, DeadReason, StopReason,
    flow::{Breaker, FlowError, GaveUp, RateLimit, Retry, RetryBudget},
    prelude::*,
    testing::{self, TestMesh},
};
use tokio::time::Instant;

#[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "retry.Ask", reply = "u32")]
struct Ask;

/// Answers with how often it was asked, once that is more than it lets hang.
#[derive(RemoteActor)]
#[remote(name = "retry.slow", messages(Ask))]
struct Slow {
    asked: Rc<Cell<u32>>,
    hang: u32,
}

impl Actor for Slow {
    type Context = actix::Context<Self>;
}

impl Handler<Ask> for Slow {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
        let asked = self.asked.get() + 1;
        self.asked.set(asked);
        let hangs = asked <= self.hang;
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            asked
        })
    }
}

fn slow(context: &Context, hang: u32) -> (Remote<Slow>, Rc<Cell<u32>>) {
    let asked = Rc::new(Cell::new(0));
    (context.start(Slow { asked: asked.clone(), hang }), asked)
}

#[test]
fn what_may_have_been_handled_is_sent_again_only_if_it_is_idempotent() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let retry = Retry::new().each(Duration::from_millis(200));
        let (remote, asked) = slow(&root, 2);
        let remote = remote.attach(&child);
        let error = retry.send(&remote, Ask).await.expect_err("it hangs");
        assert_eq!((error.why, error.attempts, asked.get()), (GaveUp::Unsafe, 1, 1));
        assert!(matches!(error.last, FlowError::Send(SendError::Timeout(_))), "{error:?}");
        assert_eq!(retry.idempotent().send(&remote, Ask).await?, 3);
        Ok(())
    });
}

#[test]
fn a_cut_that_heals_in_time_is_outlived() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let parents = [root.endpoint().expect("a test mesh has endpoints")];
        let child = mesh.child_with(&root, |child| child.other_parents(parents)).await;
        let (remote, asked) = slow(&root, 0);
        let remote = remote.attach(&child);
        mesh.partition(&[&root], &[&child]);
        let asking = tokio::task::spawn_local(async move {
            let backoff =
                Backoff::new(Duration::from_millis(500), Duration::from_secs(5), Duration::MAX);
            let retry = Retry::new().attempts(100).within(Duration::from_secs(300));
            retry.backoff(backoff).idempotent().send(&remote, Ask).await
        });
        // Longer than it takes to find out, and not so long that the orphan ends.
        mesh.pass(Duration::from_secs(12)).await;
        mesh.heal();
        assert_eq!(asking.await??, 1);
        assert_eq!(asked.get(), 1);
        Ok(())
    });
}

#[test]
fn what_does_not_pass_is_not_tried_again() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (remote, _) = slow(&root, 0);
        let down = root.watch(&remote);
        root.stop(&remote, StopReason::Normal);
        down.await;
        let error = Retry::new().idempotent().send(&remote, Ask).await.expect_err("it has ended");
        assert_eq!((error.why, error.attempts), (GaveUp::Lasting, 1));
        let FlowError::Send(last) = error.last else { panic!("{:?}", error.last) };
        assert_eq!(last.reason(), Some(DeadReason::Stopped));
        Ok(())
    });
}

#[test]
fn time_and_budget_end_the_attempts() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (remote, asked) = slow(&root, u32::MAX);
        let retry = Retry::new().attempts(u32::MAX).each(Duration::from_millis(100)).idempotent();
        let begun = Instant::now();
        let timed = retry.clone().within(Duration::from_secs(1));
        let error = timed.send(&remote, Ask).await.expect_err("it hangs");
        assert_eq!((error.why, error.attempts), (GaveUp::Time, asked.get()));
        assert!(begun.elapsed() <= Duration::from_millis(1010), "{:?}", begun.elapsed());
        assert!(error.attempts > 2, "{error:?}");

        let budget = RetryBudget::new(10, 3, Duration::from_secs(600));
        let budgeted = retry.budget(&budget);
        let error = budgeted.send(&remote, Ask).await.expect_err("it hangs");
        assert_eq!((error.why, error.attempts), (GaveUp::Budget, 4));
        let error = budgeted.clone().send(&remote, Ask).await.expect_err("it hangs");
        assert_eq!((error.why, error.attempts), (GaveUp::Budget, 1), "the budget is shared");
        assert_eq!(budget.refused(), 2);
        Ok(())
    });
}

#[test]
fn a_refusal_of_a_limit_or_a_breaker_is_waited_for() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (remote, asked) = slow(&root, 1);
        let limited = RateLimit::new(1, Duration::from_secs(2)).around(remote);
        let breaker = Breaker::new().in_a_row(1).open_for(Duration::from_secs(5));
        let guarded = breaker.around(limited.clone());
        let begun = Instant::now();
        let retry = Retry::new().attempts(10).each(Duration::from_millis(100)).idempotent();
        // One hangs and opens the breaker, and by the time that closes there is a token.
        assert_eq!(retry.send(&guarded, Ask).await?, 2);
        assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(retry.send(&limited, Ask).await?, 3);
        assert!(begun.elapsed() >= Duration::from_secs(7), "{:?}", begun.elapsed());
        assert_eq!((asked.get(), limited.refused()), (3, 1));
        Ok(())
    });
}
