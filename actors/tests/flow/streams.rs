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

/// As a stream's messages look on the way: for contexts that are none of its ends, and ends that lose something.
mod forged {
    use super::*;

    #[derive(Debug, RemoteMessage, Serialize, Deserialize)]
    #[remote(name = "actogen.Piece")]
    pub(super) enum Piece {
        Item { number: u64, item: u32 },
        End { number: u64, failed: Option<String> },
    }

    #[derive(Debug, RemoteMessage, Serialize, Deserialize)]
    #[remote(name = "actogen.OpenStream", reply = "Result<u64, OpenError>")]
    pub(super) struct Open {
        pub(super) producer: RemoteRecipient<Grant>,
    }

    #[derive(Debug, RemoteMessage, Serialize, Deserialize)]
    #[remote(name = "actogen.StreamSoFar", reply = "u64")]
    pub(super) struct SoFar(pub(super) u64);

    #[derive(Debug, RemoteMessage, Serialize, Deserialize)]
    #[remote(name = "actogen.Grant")]
    pub(super) struct Grant(pub(super) u64);

    /// A receiving end that gives credit for one item, and more to whoever asks.
    #[derive(RemoteActor, Default)]
    #[remote(name = "streams.forged", messages(Open, Piece, SoFar, Grant))]
    pub(super) struct Mouth {
        pub(super) producer: Rc<RefCell<Option<RemoteRecipient<Grant>>>>,
        pub(super) items: Rc<RefCell<Vec<u32>>>,
    }

    impl Actor for Mouth {
        type Context = actix::Context<Self>;
    }

    impl Handler<Open> for Mouth {
        type Result = Result<u64, OpenError>;

        fn handle(&mut self, open: Open, _: &mut Self::Context) -> Self::Result {
            *self.producer.borrow_mut() = Some(open.producer);
            Ok(1)
        }
    }

    impl Handler<Piece> for Mouth {
        type Result = ();

        fn handle(&mut self, piece: Piece, _: &mut Self::Context) {
            if let Piece::Item { item, .. } = piece {
                self.items.borrow_mut().push(item);
            }
        }
    }

    impl Handler<SoFar> for Mouth {
        type Result = u64;

        fn handle(&mut self, SoFar(number): SoFar, _: &mut Self::Context) -> u64 {
            number + 1
        }
    }

    impl Handler<Grant> for Mouth {
        type Result = ();

        fn handle(&mut self, _: Grant, _: &mut Self::Context) {}
    }

    /// The same address, for other messages.
    pub(super) fn of<T: serde::de::DeserializeOwned>(address: &impl Serialize) -> T {
        let bytes = postcard::to_stdvec(address).expect("an address has a form");
        postcard::from_bytes(&bytes).expect("it is an address")
    }

    pub(super) fn to<M>(address: &impl Serialize, by: &Context) -> RemoteRecipient<M> {
        of::<RemoteRecipient<M>>(address).attach(by)
    }
}

#[test]
fn what_others_send_into_a_stream_is_dropped() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (child, other) = (mesh.child(&root).await, mesh.child(&root).await);
        let (outlet, mut inflow) = root.stream::<u32>(4);
        // One that would have another's context be the producer.
        let producer = forged::to(&child.start(forged::Mouth::default()), &other);
        let opens = forged::to::<forged::Open>(&outlet, &other);
        let refused = opens.send(forged::Open { producer }).await?;
        assert_eq!(refused, Err(OpenError::NotThere(child.id())));
        let mut outflow = outlet.clone().open(&child).await?;
        let pieces = forged::to::<forged::Piece>(&outlet, &other);
        pieces.tell(forged::Piece::Item { number: 0, item: 99 }).await?;
        pieces.tell(forged::Piece::End { number: 0, failed: None }).await?;
        let asked = forged::to::<forged::SoFar>(&outlet, &other).send(forged::SoFar(9)).await?;
        assert_eq!(asked, 0, "it is told nothing");
        outflow.send(7).await?;
        outflow.end().await?;
        assert_eq!((inflow.next().await, inflow.next().await), (Some(Ok(7)), None));
        Ok(())
    });
}

#[test]
fn credit_that_others_give_is_none() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (child, other) = (mesh.child(&root).await, mesh.child(&root).await);
        let mouth = forged::Mouth::default();
        let producer = mouth.producer.clone();
        let outlet: Outlet<u32> = forged::of(&root.start(mouth));
        let outflow = outlet.open(&child).await?;
        assert_eq!(outflow.credit(), 1);
        let producer = producer.take().expect("it was opened");
        producer.clone().attach(&other).tell(forged::Grant(100)).await?;
        mesh.pass(Duration::from_secs(1)).await;
        assert_eq!(outflow.credit(), 1);
        producer.tell(forged::Grant(3)).await?;
        mesh.pass(Duration::from_secs(1)).await;
        assert_eq!(outflow.credit(), 3);
        Ok(())
    });
}

#[test]
fn a_producer_asks_for_credit_that_does_not_come() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let mouth = forged::Mouth::default();
        let items = mouth.items.clone();
        let outlet: Outlet<u32> = forged::of(&root.start(mouth));
        let mut outflow = outlet.open(&child).await?;
        for n in 0..3 {
            outflow.send(n).await?;
        }
        outflow.end().await?;
        mesh.pass(Duration::from_secs(1)).await;
        assert_eq!(items.take(), [0, 1, 2]);
        Ok(())
    });
}

#[test]
fn a_lost_item_is_noticed_though_none_follows() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (outlet, mut inflow) = root.stream::<u32>(2);
        let producer = forged::to(&child.start(forged::Mouth::default()), &child);
        let opened = forged::to::<forged::Open>(&outlet, &child).send(forged::Open { producer });
        assert_eq!(opened.await?, Ok(2));
        let pieces = forged::to::<forged::Piece>(&outlet, &child);
        pieces.tell(forged::Piece::Item { number: 0, item: 5 }).await?;
        forged::to::<forged::SoFar>(&outlet, &child).send(forged::SoFar(2)).await?;
        assert_eq!(inflow.next().await, Some(Ok(5)));
        let broken = InflowError::Broken("number 2 came instead of 1".to_owned());
        assert_eq!(inflow.next().await, Some(Err(broken)));
        Ok(())
    });
}

#[test]
fn large_items_that_nobody_takes_hold_their_producer_back() {
    const BYTES: usize = 256 * 1024;
    const ITEMS: usize = 400;
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let (outlet, mut inflow) = root.stream::<String>(1000);
        let mut outflow = outlet.open(&child).await?;
        let sent = Rc::new(Cell::new(0));
        let counts = sent.clone();
        let producing = tokio::task::spawn_local(async move {
            for _ in 0..ITEMS {
                outflow.send("x".repeat(BYTES)).await.expect("it is taken in the end");
                counts.set(counts.get() + 1);
            }
            outflow.end().await.expect("it is taken over");
        });
        mesh.pass(Duration::from_secs(5)).await;
        let most = (4 + 16 + 20) * 1024 * 1024 / BYTES;
        assert!((16..most).contains(&sent.get()), "{} items", sent.get());
        for _ in 0..ITEMS {
            assert_eq!(
                inflow.next().await.map(|item| item.map(|item| item.len())),
                Some(Ok(BYTES))
            );
        }
        assert_eq!(inflow.next().await, None);
        producing.await?;
        // One that is dropped while it is full is gone.
        let (outlet, inflow) = root.stream::<String>(1000);
        let mut outflow = outlet.open(&child).await?;
        for _ in 0..24 {
            outflow.send("x".repeat(BYTES)).await?;
        }
        mesh.pass(Duration::from_secs(1)).await;
        drop(inflow);
        assert_eq!(outflow.closed().await, actogen::Ended::Stopped(StopReason::Normal));
        Ok(())
    });
}
