//! Streams: items from afar within their credit, and each way in which they end.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use actix::StreamHandler;
use actogen::{
    DeadReason, StopReason,
    flow::{Inflow, InflowError, OpenError, Outlet},
    prelude::*,
    testing::{self, TestMesh},
};
use futures_util::stream;

/// What a collector has seen.
#[derive(Clone, Default)]
struct Seen {
    items: Rc<RefCell<Vec<u32>>>,
    errors: Rc<RefCell<Vec<InflowError>>>,
    finished: Rc<Cell<u32>>,
}

impl Seen {
    async fn end(&self, mesh: &TestMesh) {
        for _ in 0..120_000 {
            if self.finished.get() > 0 {
                // Whatever else there were would have come by then.
                mesh.pass(Duration::from_secs(60)).await;
                return assert_eq!(self.finished.get(), 1);
            }
            mesh.pass(Duration::from_millis(1)).await;
        }
        panic!("no end comes after {:?}", self.items.borrow().last());
    }
}

/// An actor that a stream flows into.
struct Collector(Seen, Option<Inflow<u32>>);

impl Collector {
    fn start(inflow: Inflow<u32>) -> Seen {
        let seen = Seen::default();
        Self(seen.clone(), Some(inflow)).start();
        seen
    }
}

impl Actor for Collector {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(self.1.take().expect("it starts once"));
    }
}

impl StreamHandler<Result<u32, InflowError>> for Collector {
    fn handle(&mut self, item: Result<u32, InflowError>, _: &mut Self::Context) {
        match item {
            Ok(item) => self.0.items.borrow_mut().push(item),
            Err(error) => self.0.errors.borrow_mut().push(error),
        }
    }

    fn finished(&mut self, _: &mut Self::Context) {
        self.0.finished.set(self.0.finished.get() + 1);
    }
}

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "streams.Count", reply = "Result<u64, String>")]
struct Count {
    to: Outlet<u32>,
    end: u32,
}

/// Counts into whatever outlet it is sent.
#[derive(RemoteActor)]
#[remote(name = "streams.counter", messages(Count))]
struct Counter(Context);

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

impl Handler<Count> for Counter {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Count { to, end }: Count, _: &mut Self::Context) -> Self::Result {
        let cx = self.0.clone();
        Box::pin(async move {
            let outflow = to.open(&cx).await.map_err(|error| error.to_string())?;
            let items = stream::iter((0..end).map(Ok::<_, String>));
            outflow.pour(items).await.map_err(|error| error.to_string())
        })
    }
}

#[test]
fn a_stream_flows_into_an_actor_from_near_and_far() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let grandchild = mesh.child(&child).await;
        for (context, window) in [(&root, 1), (&child, 7), (&grandchild, 100)] {
            let (outlet, inflow) = root.stream::<u32>(window);
            let seen = Collector::start(inflow);
            let counter = context.start(Counter(context.clone())).attach(&root);
            assert_eq!(counter.send(Count { to: outlet, end: 1000 }).await?, Ok(1000));
            seen.end(mesh).await;
            assert_eq!(seen.items.take(), (0..1000).collect::<Vec<_>>());
            assert_eq!(seen.errors.take(), []);
        }
        Ok(())
    });
}

#[test]
fn a_receiver_that_takes_nothing_holds_its_producer_back() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (outlet, mut inflow) = root.stream::<u32>(8);
        let mut outflow = outlet.open(&child).await?;
        let sent = Rc::new(Cell::new(0));
        let counts = sent.clone();
        tokio::task::spawn_local(async move {
            for n in 0..100 {
                outflow.send(n).await.expect("it is received");
                counts.set(n + 1);
            }
            outflow.end().await.expect("it is received");
        });
        mesh.pass(Duration::from_secs(60)).await;
        assert_eq!(sent.get(), 8);
        for n in 0..100 {
            assert_eq!(inflow.next().await, Some(Ok(n)));
            assert!(sent.get() <= n + 9, "{} were sent when {n} was taken", sent.get());
        }
        assert_eq!([inflow.next().await, inflow.next().await], [None, None]);
        Ok(())
    });
}

#[test]
fn each_way_to_end_is_told_once_behind_the_items() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        for way in ["fails", "is dropped", "crashes", "is cut off"] {
            let child = mesh.child(&root).await;
            // What is on its way when it ends comes first.
            mesh.delay(&root, &child, Duration::from_millis(30));
            let (outlet, inflow) = root.stream::<u32>(16);
            let seen = Collector::start(inflow);
            let mut outflow = outlet.open(&child).await?;
            for n in 0..10 {
                outflow.send(n).await?;
            }
            let mut kept = None;
            let mut arrives = true;
            match way {
                "fails" => assert_eq!(outflow.fail("out of numbers").await?, 10),
                "is dropped" => drop(outflow),
                _ => {
                    kept = Some(outflow);
                    mesh.pass(Duration::from_millis(100)).await;
                    if way == "crashes" {
                        mesh.crash(&child).await;
                    } else {
                        mesh.partition(&[&root], &[&child]);
                        arrives = false;
                    }
                }
            }
            seen.end(mesh).await;
            assert_eq!(seen.items.take(), (0..10).collect::<Vec<_>>(), "{way}");
            let errors = seen.errors.take();
            let [error] = &errors[..] else { panic!("{way}: {errors:?}") };
            match (way, error) {
                ("fails", InflowError::Failed(text)) => assert_eq!(text, "out of numbers"),
                ("is dropped", InflowError::Lost(ended)) => {
                    assert!(ended.to_string().contains("dropped before its end"), "{ended}");
                }
                ("crashes" | "is cut off", InflowError::Lost(_)) => {}
                _ => panic!("{way}: {error:?}"),
            }
            drop(kept);
            if !arrives {
                mesh.heal();
            }
        }
        Ok(())
    });
}

#[test]
fn a_producer_learns_that_its_receiver_is_gone() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (outlet, inflow) = root.stream::<u32>(2);
        let mut outflow = outlet.open(&child).await?;
        outflow.send(0).await?;
        outflow.send(1).await?;
        assert_eq!(outflow.credit(), 0);
        let waiting = tokio::task::spawn_local(async move {
            let error = outflow.send(2).await.expect_err("nobody takes it");
            let ended = outflow.closed().await;
            (error, ended, outflow.end().await)
        });
        mesh.pass(Duration::from_secs(1)).await;
        drop(inflow);
        let (error, ended, end) = waiting.await?;
        assert_eq!(error.reason(), Some(DeadReason::Stopped));
        assert_eq!(error.into_message(), Some(2));
        assert_eq!(ended, actogen::Ended::Stopped(StopReason::Normal));
        assert!(end.is_err());

        let (outlet, _inflow) = child.stream::<u32>(2);
        let mut outflow = outlet.open(&root).await?;
        mesh.crash(&child).await;
        assert!(matches!(outflow.closed().await, actogen::Ended::ContextLost(_)));
        assert!(outflow.send(0).await.is_err());
        Ok(())
    });
}

#[test]
fn a_stream_has_one_producer_and_is_not_waited_for_for_ever() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (outlet, mut inflow) = root.stream::<u32>(4);
        let mut outflow = outlet.clone().open(&child).await?;
        let taken = outlet.clone().open(&root).await.expect_err("it has a producer");
        assert_eq!(taken, OpenError::Taken);
        outflow.send(7).await?;
        outflow.end().await?;
        assert_eq!(inflow.next().await, Some(Ok(7)));
        assert_eq!(inflow.next().await, None);
        let over = outlet.open(&child).await.expect_err("it has ended");
        assert!(matches!(over, OpenError::Dead(_)), "{over}");

        let (outlet, mut inflow) = root.stream::<u32>(4);
        let time = root.limits().request_time;
        assert_eq!(inflow.next().await, Some(Err(InflowError::Unopened(time))));
        assert_eq!(inflow.next().await, None);
        assert!(outlet.open(&child).await.is_err());
        Ok(())
    });
}

#[test]
fn streams_leave_nothing_behind() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let held = async || {
            let (at_root, at_child) = (root.holdings().await, child.holdings().await);
            (at_root.mailboxes, at_child.mailboxes)
        };
        let before = held().await;
        for n in 0..10 {
            let (outlet, mut inflow) = root.stream::<u32>(4);
            let mut outflow = outlet.open(&child).await?;
            outflow.send(n).await?;
            match n % 3 {
                0 => drop(outflow.end().await?),
                1 => drop(inflow.next().await),
                _ => drop(outflow.fail("no").await?),
            }
        }
        for _ in 0..10_000 {
            if held().await == before {
                return Ok(());
            }
            mesh.pass(Duration::from_millis(1)).await;
        }
        panic!("{:?} instead of {before:?}", held().await);
    });
}
