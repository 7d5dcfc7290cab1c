//! Journaled actors as consumers, and windows in stores: what was handled is not handled again by whoever begins anew.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{ops::Bound, time::Duration};

use actogen::{
    AckLevel, Confirmed, Context, MessageId, ReliableError,
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{
    ConsumeError, Journal, JournalBuilder, Journaled, JournaledActor, StoreWindow, Turn,
    store::{MemoryStore, Store, Table},
};

use support::until;

const TOPIC: &str = "shop.orders";

/// Zero makes the handler panic, one is refused.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Order", reply = "Result<(), String>")]
struct Order(u64);

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Orders", reply = "Vec<u64>")]
struct Orders;

#[derive(Debug, Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "billing", messages(Order, Orders))]
struct Billing {
    orders: Vec<u64>,
}

impl Actor for Billing {
    type Context = Turn<Self>;
}

impl Handler<Order> for Billing {
    type Result = Result<(), String>;
    fn handle(&mut self, Order(number): Order, _: &mut Turn<Self>) -> Self::Result {
        self.orders.push(number);
        match number {
            0 => panic!("it cannot be zero"),
            1 => Err("one is no order".to_owned()),
            _ => Ok(()),
        }
    }
}

impl Handler<Orders> for Billing {
    type Result = Vec<u64>;
    fn handle(&mut self, _: Orders, _: &mut Turn<Self>) -> Vec<u64> {
        self.orders.clone()
    }
}

fn builder(context: &Context, store: &MemoryStore) -> JournalBuilder {
    let builder = Journal::builder(context, "").store(store.clone()).write_here();
    builder.node("billing").kind::<Billing>()
}

async fn publish(
    from: &Context,
    order: u64,
    id: u128,
    level: AckLevel,
) -> Result<Confirmed, ReliableError> {
    let publish = from.publish(TOPIC, &Order(order)).require(["billing"]).level(level);
    publish.id(MessageId::new(id)).within(Duration::from_secs(20)).await
}

fn rows(store: &MemoryStore, table: Table) -> usize {
    store.copy().scan(table, Bound::Unbounded, Bound::Unbounded, 99).unwrap().len()
}

#[test]
fn a_journaled_consumer_that_begins_anew_handles_no_message_twice() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let store = MemoryStore::default();
        let journal = builder(&billing, &store).open().await?;
        let actor = journal.actor::<Billing>("b")?;
        journal.consume(billing.consume::<Order>(TOPIC), &actor)?;
        root.know_subscriptions().await?;
        let elsewhere = Journaled::<Billing>::at("another", "b")?;
        let refused = journal.consume(billing.consume::<Order>(TOPIC), &elsewhere);
        assert!(matches!(refused, Err(ConsumeError::Elsewhere(_))), "{refused:?}");
        publish(&root, 7, 1, AckLevel::Durable).await?;
        publish(&root, 8, 2, AckLevel::Processed).await?;
        let rejected = publish(&root, 1, 3, AckLevel::Processed).await.unwrap_err();
        let why = |error: ReliableError| error.partial().unwrap().rejected["billing"].clone();
        assert_eq!(why(rejected), "one is no order");
        assert_eq!(journal.client().send(&actor, Orders).await?, [7, 8, 1]);

        mesh.crash(&billing).await;
        drop(journal);
        let billing = mesh.restart(&billing, &root).await;
        let journal = builder(&billing, &store).open().await?;
        let consumption = journal.consume(billing.consume::<Order>(TOPIC), &actor)?;
        root.know_subscriptions().await?;
        let client = journal.client();
        // The publisher has not heard of it, and publishes the same again: what is new to the context is not to the actor.
        publish(&root, 7, 1, AckLevel::Processed).await?;
        publish(&root, 8, 2, AckLevel::Durable).await?;
        let rejected = publish(&root, 1, 3, AckLevel::Processed).await.unwrap_err();
        assert_eq!(why(rejected), "one is no order");
        assert_eq!(consumption.stats().delivered, 3);
        assert_eq!(client.send(&actor, Orders).await?, [7, 8, 1], "nothing twice");
        publish(&root, 9, 4, AckLevel::Processed).await?;
        assert_eq!(client.send(&actor, Orders).await?, [7, 8, 1, 9]);
        Ok(())
    });
}

#[test]
fn a_turn_that_fails_is_tried_again_and_then_the_message_is_rejected() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let journal = builder(&billing, &MemoryStore::default()).open().await?;
        let actor = journal.actor::<Billing>("b")?;
        let consumption =
            journal.consume(billing.consume::<Order>(TOPIC).deliveries_at_most(3), &actor)?;
        root.know_subscriptions().await?;
        let rejected = publish(&root, 0, 1, AckLevel::Processed).await.unwrap_err();
        assert!(rejected.to_string().contains("delivered 3 times"), "{rejected}");
        publish(&root, 2, 2, AckLevel::Processed).await?;
        let client = journal.client();
        assert_eq!(client.send(&actor, Orders).await?, [2], "nothing of the turns that failed");
        assert_eq!((consumption.stats().dead, journal.stats().failures), (1, 3));
        Ok(())
    });
}

/// A store that fails takes the consumer with it, and nothing is acknowledged; what was noted is bounded.
#[test]
fn what_is_noted_is_bounded_and_a_closed_journal_acknowledges_nothing() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let store = MemoryStore::default();
        let journal = builder(&billing, &store).window(4).open().await?;
        let actor = journal.actor::<Billing>("b")?;
        let consumption = journal.consume(billing.consume::<Order>(TOPIC), &actor)?;
        root.know_subscriptions().await?;
        for number in 2..12 {
            publish(&root, number, number.into(), AckLevel::Processed).await?;
        }
        until("the oldest go", 4, async || rows(&store, Table::Reply)).await;
        journal.close().await;
        let publish = root.publish(TOPIC, &Order(20)).require(["billing"]);
        let error = publish.within(Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ReliableError::Timeout(_)), "{error}");
        consumption.ended().await;
        // Opened again it knows them: what it may have of one life it has of all together.
        let journal = builder(&billing, &store).window(4).open().await?;
        let orders = journal.client().send(&actor, Orders).await?;
        assert_eq!(orders, (2..12).collect::<Vec<_>>());
        journal.consume(billing.consume::<Order>(TOPIC), &actor)?;
        for number in [20, 21, 11] {
            self::publish(&root, number, number.into(), AckLevel::Processed).await?;
        }
        until("the oldest go", 4, async || rows(&store, Table::Reply)).await;
        let orders = journal.client().send(&actor, Orders).await?;
        assert_eq!(orders[10..], [20, 21]);
        Ok(())
    });
}

#[test]
fn a_consumer_with_a_window_in_a_store_handles_no_message_twice_when_it_begins_anew() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let mut billing = mesh.named_child(&root, &["billing"]).await;
        let store = MemoryStore::default();
        let mut handled = Vec::new();
        for life in 0..2 {
            let window = StoreWindow::open(store.clone(), 100, Duration::from_secs(3600))?;
            let mut orders = billing.consume::<Order>(TOPIC).window(window).deliveries()?;
            root.know_subscriptions().await?;
            for order in [7, 8 + life] {
                let published = publish(&root, order, order.into(), AckLevel::Processed);
                let mut published = std::pin::pin!(published);
                loop {
                    tokio::select! {
                        confirmed = &mut published => break drop(confirmed?),
                        order = orders.next() => {
                            let order = order.unwrap();
                            handled.push(order.message().0);
                            order.ok();
                        }
                    }
                }
            }
            mesh.crash(&billing).await;
            billing = mesh.restart(&billing, &root).await;
        }
        assert_eq!(handled, [7, 8, 9]);
        assert_eq!(rows(&store, Table::Handled), 3);
        Ok(())
    });
}
