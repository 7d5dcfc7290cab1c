//! The snippets of the chapter about flow.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

use actogen::{
    Backoff,
    flow::{
        Breaker, BreakerState, Dismiss, Enlist, FlowError, GaveUp, Inflow, InflowError, Outlet,
        RateLimit, ReportWork, Retry, RetryBudget, Submit, WorkError, WorkQueue,
    },
    prelude::*,
    testing::{self, TestMesh},
};

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Price", reply = "u64")]
struct Price(String);

#[test]
fn a_limit_is_kept_and_who_may_waits() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let probe = mesh.probe_with::<Price>(&root, |Price(item)| item.len() as u64);
        let prices = probe.remote().attach(&child).recipient::<Price>();
        // ANCHOR: limit
        // Five at once after a pause, then one each 50 ms. Who comes too fast is refused.
        let hurried = RateLimit::per_second(20).burst(5).around(prices.clone());
        for _ in 0..5 {
            hurried.send(Price("tea".into())).await?;
        }
        match hurried.send(Price("tea".into())).await {
            Err(FlowError::OverRate(Price(item), wait)) => println!("{item}: again in {wait:?}"),
            other => panic!("{other:?}"),
        }

        // At most 100 wait in their order, each at most two seconds.
        let patient = RateLimit::per_second(20).waiting(100, Duration::from_secs(2)).around(prices);
        for _ in 0..5 {
            assert_eq!(patient.send(Price("tea".into())).await?, 3);
        }
        // ANCHOR_END: limit
        Ok(())
    });
}

#[test]
fn a_breaker_opens_and_closes_again() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let parents = [root.endpoint().unwrap()];
        let shop = mesh.child_with(&root, |shop| shop.other_parents(parents)).await;
        let probe = mesh.probe_with::<Price>(&root, |Price(item)| item.len() as u64);
        let prices = probe.remote().attach(&shop).recipient::<Price>();
        // ANCHOR: breaker
        let prices = Breaker::new()
            .in_a_row(3)
            .ratio(50, 20)
            .open_for(Duration::from_secs(5))
            .around(prices);
        mesh.partition(&[&root], &[&shop]);
        for _ in 0..3 {
            assert!(prices.send(Price("tea".into())).await.is_err());
        }
        assert_eq!(prices.state(), BreakerState::Open);
        let refused = prices.send(Price("tea".into())).await;
        assert!(matches!(refused, Err(FlowError::Open(Price(_), _))));
        // ANCHOR_END: breaker
        mesh.heal();
        while prices.send(Price("tea".into())).await.is_err() {
            mesh.pass(Duration::from_millis(100)).await;
        }
        assert_eq!(prices.state(), BreakerState::Closed);
        Ok(())
    });
}

#[test]
fn what_failed_is_tried_again() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let probe = mesh.probe_with::<Price>(&root, |Price(item)| item.len() as u64);
        let prices = probe.remote().recipient::<Price>();
        // ANCHOR: retry
        // Shared by all who ask for prices: a tenth of what they send, and ten in ten seconds.
        let budget = RetryBudget::default();
        let backoff =
            Backoff::new(Duration::from_millis(20), Duration::from_secs(1), Duration::MAX);
        let retry = Retry::new()
            .attempts(4)
            .within(Duration::from_secs(5))
            .each(Duration::from_secs(2))
            .backoff(backoff)
            .budget(&budget)
            .idempotent();
        assert_eq!(retry.send(&prices, Price("tea".into())).await?, 3);

        // A breaker inside, a limit around it: whatever sends can be retried.
        let guarded = RateLimit::per_second(100).burst(10).around(Breaker::new().around(prices));
        assert_eq!(retry.send(&guarded, Price("coffee".into())).await?, 6);
        // ANCHOR_END: retry
        root.stop(&probe.remote(), StopReason::Normal);
        // ANCHOR: given_up
        let error = retry.send(&guarded, Price("tea".into())).await.unwrap_err();
        assert_eq!((error.attempts, error.why), (1, GaveUp::Lasting));
        println!("{error}");
        // ANCHOR_END: given_up
        Ok(())
    });
}

// ANCHOR: job
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "photos.Shrink", reply = "()")]
struct Shrink {
    picture: String,
}

#[derive(RemoteActor, Default)]
#[remote(name = "photos.shrinker", messages(Shrink), spawn)]
struct Shrinker;

impl Actor for Shrinker {
    type Context = actix::Context<Self>;
}

impl Handler<Shrink> for Shrinker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, job: Shrink, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            // May happen twice for one picture: the result replaces itself.
            println!("{} is smaller now", job.picture);
        })
    }
}
// ANCHOR_END: job

#[test]
fn jobs_outlive_their_workers() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (east, west) = (mesh.child(&root).await, mesh.child(&root).await);
        let (in_east, in_west) = (east.start(Shrinker), west.start(Shrinker));
        // ANCHOR: queue
        let queue = root.start(
            WorkQueue::<Shrink>::new(&root)
                .most_jobs(1000)
                .most_bytes(1024 * 1024)
                .on_given_up(|job, why| println!("{} stays as it is: {why}", job.picture)),
        );
        queue.send(Enlist { worker: in_east.recipient::<Shrink>(), credit: 4 }).await??;
        queue.send(Enlist { worker: in_west.recipient::<Shrink>(), credit: 4 }).await??;
        for n in 0..100 {
            queue.send(Submit(Shrink { picture: format!("{n}.png") })).await??;
        }
        // ANCHOR_END: queue
        mesh.crash(&east).await;
        let mut report = queue.send(ReportWork).await?;
        while report.done < 100 || report.workers > 1 {
            mesh.pass(Duration::from_millis(1)).await;
            report = queue.send(ReportWork).await?;
        }
        // ANCHOR: dismissed
        queue.send(Dismiss { worker: in_west.recipient::<Shrink>() }).await?;
        let refused = loop {
            let job = Submit(Shrink { picture: "the last straw.png".into() });
            if let Err(refused) = queue.send(job).await? {
                break refused;
            }
        };
        assert!(matches!(refused, WorkError::Full { jobs: 1000, .. }));
        // ANCHOR_END: dismissed
        Ok(())
    });
}

// ANCHOR: stream_message
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "thermometer.Measure", reply = "()")]
struct Measure {
    to: Outlet<f64>,
}
// ANCHOR_END: stream_message

#[derive(RemoteActor)]
#[remote(name = "thermometer", messages(Measure))]
struct Thermometer(Context);

impl Actor for Thermometer {
    type Context = actix::Context<Self>;
}

// ANCHOR: producer
impl Handler<Measure> for Thermometer {
    type Result = ();

    fn handle(&mut self, Measure { to }: Measure, ctx: &mut Self::Context) {
        let cx = self.0.clone();
        let measuring = async move {
            let Ok(mut stream) = to.open(&cx).await else { return };
            for step in 0..1000 {
                // Waits for as long as the receiver has enough; fails when that is gone.
                if stream.send(20.0 + f64::from(step) / 100.0).await.is_err() {
                    return;
                }
            }
            let _ = stream.fail("the battery is empty").await;
        };
        ctx.spawn(measuring.into_actor(self));
    }
}
// ANCHOR_END: producer

// ANCHOR: consumer
struct Display {
    shown: Vec<f64>,
    trouble: Option<InflowError>,
}

impl actix::StreamHandler<Result<f64, InflowError>> for Display {
    fn handle(&mut self, value: Result<f64, InflowError>, _: &mut Self::Context) {
        match value {
            Ok(degrees) => self.shown.push(degrees),
            Err(error) => self.trouble = Some(error),
        }
    }

    /// Without this the actor would end with its stream.
    fn finished(&mut self, _: &mut Self::Context) {
        println!("{} values were shown; trouble: {:?}", self.shown.len(), self.trouble);
    }
}
// ANCHOR_END: consumer

impl Actor for Display {
    type Context = actix::Context<Self>;
}

struct Shown;

impl Message for Shown {
    type Result = Option<(usize, InflowError)>;
}

impl Handler<Shown> for Display {
    type Result = Option<(usize, InflowError)>;

    fn handle(&mut self, _: Shown, _: &mut Self::Context) -> Self::Result {
        self.trouble.clone().map(|error| (self.shown.len(), error))
    }
}

#[test]
fn a_stream_flows_into_an_actor() {
    testing::run(async |mesh: &TestMesh| {
        let cx = mesh.root().await;
        let child = mesh.child(&cx).await;
        let thermometer = child.start(Thermometer(child.clone())).attach(&cx);
        // ANCHOR: stream
        let (outlet, inflow): (Outlet<f64>, Inflow<f64>) = cx.stream(64);
        thermometer.send(Measure { to: outlet }).await?;
        let display = Display::create(|ctx| {
            ctx.add_stream(inflow);
            Display { shown: Vec::new(), trouble: None }
        });
        // ANCHOR_END: stream
        let (shown, error) = loop {
            if let Some(shown) = display.send(Shown).await? {
                break shown;
            }
            mesh.pass(Duration::from_millis(1)).await;
        };
        assert_eq!((shown, error), (1000, InflowError::Failed("the battery is empty".into())));
        Ok(())
    });
}
