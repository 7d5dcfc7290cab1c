//! Consumers that catch up among faults: the recorder crashes, the consumer crashes, links are cut. What the recorder has acknowledged must come to the
//! consumer, each publisher's messages in their order, each once.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use actogen::{
    AckLevel, CatchUp, Context, ContextId, MessageId, Remembered, Window, WindowKey,
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{Recorder, store::MemoryStore};
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::dice::Dice;

const TOPIC: &str = "org.orders";
const PUBLISHERS: usize = 3;

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Order")]
struct Order(u64);

/// What came of the messages under one seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replays {
    /// Messages that the recorder has acknowledged.
    pub stored: u64,
    /// Messages that the consumer has handled.
    pub handled: u64,
    /// Messages that came to it from the recorder.
    pub replayed: u64,
    /// Crashes of the recorder.
    pub recorder_crashes: u64,
    /// Crashes of the consumer.
    pub consumer_crashes: u64,
    /// Promises that were broken.
    pub violations: Vec<String>,
}

/// What a consumer has done with, which its crashes do not touch: as in a store.
#[derive(Clone, Default)]
struct Lasting(Arc<Mutex<BTreeMap<WindowKey, Remembered>>>);

impl Window for Lasting {
    fn recall(&self, key: &WindowKey) -> Option<Remembered> {
        self.0.lock().get(key).cloned()
    }

    fn remember(&mut self, key: WindowKey, what: Remembered) -> Result<(), String> {
        self.0.lock().insert(key, what);
        Ok(())
    }
}

#[derive(Default)]
struct Truth {
    window: Lasting,
    /// What was handled of each publisher, in order.
    handled: RefCell<BTreeMap<ContextId, Vec<u64>>>,
    stored: RefCell<BTreeMap<ContextId, Vec<u64>>>,
    seen: RefCell<Replays>,
    is_calm: std::cell::Cell<bool>,
    came: Notify,
}

/// Publishes one message after the other, each until the recorder has it.
async fn publish(truth: &Truth, from: &Context, count: u64, mut dice: Dice) {
    for number in 1..=count {
        let id = MessageId::fresh(from);
        loop {
            let publish = from.publish(TOPIC, &Order(number)).require(["recorder"]).id(id);
            let publish = publish.level(AckLevel::Durable).within(dice.millis(200, 3000));
            if publish.await.is_ok() {
                break;
            }
            tokio::time::sleep(dice.millis(1, 50)).await;
        }
        truth.stored.borrow_mut().entry(from.id()).or_default().push(number);
        truth.seen.borrow_mut().stored += 1;
        if dice.percent(20) {
            tokio::time::sleep(dice.millis(1, 200)).await;
        }
    }
}

/// Consumes in one life of the consumer, until a crash.
async fn consume(truth: Rc<Truth>, context: Context, mut dice: Dice) {
    let catch_up = CatchUp::new("recorder").patience(Duration::from_secs(3600));
    let catch_up = catch_up.check_every(Duration::from_secs(2));
    let consume = context.consume::<Order>(TOPIC).prefetch(8, 1 << 20);
    let consume = consume.window(truth.window.clone()).catch_up(catch_up);
    let Ok(mut deliveries) = consume.deliveries() else { return };
    let consumption = deliveries.consumption();
    let mut lives = dice.below(40);
    while let Some(delivery) = deliveries.next().await {
        lives = lives.saturating_sub(1);
        if lives == 0 && !truth.is_calm.get() {
            // What it has taken and not done with comes again.
            drop(deliveries);
            break;
        }
        if dice.percent(30) {
            tokio::time::sleep(dice.millis(0, 30)).await;
        }
        let (from, number) = (delivery.from(), delivery.message().0);
        if delivery.ok() {
            truth.seen.borrow_mut().handled += 1;
            truth.handled.borrow_mut().entry(from).or_default().push(number);
            truth.came.notify_one();
        }
    }
    truth.seen.borrow_mut().replayed += consumption.stats().replayed;
}

/// Keeps the consumer alive.
async fn keep_consumer(mesh: &TestMesh, truth: &Rc<Truth>, root: &Context, mut dice: Dice) {
    let mut context = mesh.child(root).await;
    loop {
        tokio::select! {
            () = consume(truth.clone(), context.clone(), Dice::of(dice.next(), &[1])) => {}
            // Its context ends where it has been cut off for long.
            () = async { while context.is_running() { tokio::time::sleep(Duration::from_millis(50)).await; } } => {}
        }
        mesh.crash(&context).await;
        mesh.heal();
        // It is away for a while.
        tokio::time::sleep(dice.millis(0, 3000)).await;
        mesh.heal();
        context = mesh.restart(&context, root).await;
        truth.seen.borrow_mut().consumer_crashes += 1;
    }
}

/// Keeps the recorder alive, and lets it crash.
async fn keep_recorder(
    mesh: &TestMesh,
    truth: &Truth,
    root: &Context,
    mut context: Context,
    mut dice: Dice,
) {
    let store = MemoryStore::default();
    loop {
        let builder = Recorder::builder(&context, "").store(store.clone()).write_here();
        match builder.topic("org.>").open().await {
            Ok(mut recorder) => {
                let mut life = dice.millis(200, 3000);
                if truth.is_calm.get() {
                    life = Duration::from_secs(3600);
                }
                tokio::select! {
                    _ = recorder.ended() => {}
                    () = tokio::time::sleep(life) => {}
                }
                mesh.crash(&context).await;
                // Two at a time have no part in one store.
                recorder.ended().await;
            }
            Err(_) => mesh.crash(&context).await,
        }
        mesh.heal();
        tokio::time::sleep(dice.millis(0, 2000)).await;
        mesh.heal();
        context = mesh.restart(&context, root).await;
        truth.seen.borrow_mut().recorder_crashes += 1;
    }
}

/// Cuts somebody off for a while.
async fn cut(mesh: &TestMesh, truth: &Truth, root: &Context, others: &[Context], mut dice: Dice) {
    loop {
        tokio::time::sleep(dice.millis(100, 4000)).await;
        if !truth.is_calm.get() {
            let other = &others[dice.below(others.len())];
            mesh.partition(&[root], &[other]);
            tokio::time::sleep(dice.millis(10, 600)).await;
        }
        mesh.heal();
    }
}

/// Publishes so many messages from each of three publishers under a seed, and waits until the consumer has all.
///
/// # Panics
/// When the mesh does not start, or does not end.
pub fn replays(seed: u64, count: u64) -> Replays {
    let truth = Rc::new(Truth::default());
    let seen = truth.clone();
    testing::run_seeded(seed, async move |mesh: &TestMesh| {
        let root = mesh.root().await;
        let recorder = mesh.named_child(&root, &["recorder"]).await;
        let mut publishers = Vec::new();
        for _ in 0..PUBLISHERS {
            publishers.push(mesh.child(&root).await);
        }
        let work = async {
            let publish = |(number, from): (usize, &Context)| {
                let (truth, from) = (truth.clone(), from.clone());
                let dice = Dice::of(seed, &[4, number as u64]);
                async move { publish(&truth, &from, count, dice).await }
            };
            join_all(publishers.iter().enumerate().map(publish)).await;
            truth.is_calm.set(true);
            mesh.heal();
            let all = async {
                while truth.seen.borrow().handled < count * PUBLISHERS as u64 {
                    truth.came.notified().await;
                }
            };
            if tokio::time::timeout(Duration::from_secs(600), all).await.is_err() {
                truth.seen.borrow_mut().violations.push("something has not come".into());
            }
            for publisher in &publishers {
                let (handled, stored) = (truth.handled.borrow(), truth.stored.borrow());
                let (handled, stored) = (handled.get(&publisher.id()), stored.get(&publisher.id()));
                if handled != stored {
                    let text = format!("{}: {stored:?} stored, {handled:?}", publisher.id());
                    truth.seen.borrow_mut().violations.push(text);
                }
            }
            Ok(())
        };
        tokio::select! {
            done = work => done,
            () = keep_consumer(mesh, &truth, &root, Dice::of(seed, &[1])) => Ok(()),
            () = keep_recorder(mesh, &truth, &root, recorder.clone(), Dice::of(seed, &[2])) => Ok(()),
            () = cut(mesh, &truth, &root, &publishers, Dice::of(seed, &[3])) => Ok(()),
        }
    });
    let seen = seen.seen.borrow();
    seen.clone()
}
