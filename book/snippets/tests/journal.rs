//! The code of the page "Journaled actors".

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

// ANCHOR: imports
use actogen::prelude::*;
use actogen_journal::{Journal, Journaled, JournaledActor, Turn};
// ANCHOR_END: imports
use actogen::{Consumption, MessageId, Text};
use actogen_journal::store::PostgresSettings;
use actogen_journal::{PublishOutcome, PublishResult};

// ANCHOR: messages
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Order", reply = "u32")]
struct Order {
    article: String,
    stock: Journaled<Stock>,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Take")]
struct Take {
    article: String,
    back: Journaled<Cart>,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Taken")]
struct Taken {
    article: String,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.GiveUp")]
struct GiveUp {
    article: String,
}
// ANCHOR_END: messages

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Bought", reply = "Vec<String>")]
struct Bought;

// ANCHOR: cart
#[derive(Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "cart", messages(Order, Taken, GiveUp, Bought))]
struct Cart {
    waiting: Vec<String>,
    bought: Vec<String>,
}

impl Actor for Cart {
    type Context = Turn<Self>;
}

impl Handler<Order> for Cart {
    type Result = u32;
    fn handle(&mut self, order: Order, turn: &mut Turn<Self>) -> u32 {
        self.waiting.push(order.article.clone());
        let (article, back) = (order.article.clone(), turn.address());
        turn.send(&order.stock, Take { article, back });
        turn.send_after(Duration::from_secs(3600), GiveUp { article: order.article });
        self.waiting.len() as u32
    }
}
// ANCHOR_END: cart

impl Handler<Taken> for Cart {
    type Result = ();
    fn handle(&mut self, taken: Taken, _: &mut Turn<Self>) {
        self.waiting.retain(|article| *article != taken.article);
        self.bought.push(taken.article);
    }
}

impl Handler<GiveUp> for Cart {
    type Result = ();
    fn handle(&mut self, late: GiveUp, _: &mut Turn<Self>) {
        self.waiting.retain(|article| *article != late.article);
    }
}

impl Handler<Bought> for Cart {
    type Result = Vec<String>;
    fn handle(&mut self, _: Bought, _: &mut Turn<Self>) -> Vec<String> {
        self.bought.clone()
    }
}

#[derive(Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "stock", messages(Take))]
struct Stock {
    taken: u32,
}

impl Actor for Stock {
    type Context = Turn<Self>;
}

impl Handler<Take> for Stock {
    type Result = ();
    fn handle(&mut self, take: Take, turn: &mut Turn<Self>) {
        self.taken += 1;
        turn.send(&take.back, Taken { article: take.article });
    }
}

// ANCHOR: open
async fn shop(cx: &Context, file: &std::path::Path) -> actogen::Result<Journal> {
    let journal =
        Journal::builder(cx, file).node("shop").kind::<Cart>().kind::<Stock>().open().await?;
    Ok(journal)
}
// ANCHOR_END: open

#[expect(dead_code, reason = "it needs a database, and the tests of the crate have one")]
// ANCHOR: postgres
async fn shop_in_a_database(cx: &Context, url: &str) -> actogen::Result<Journal> {
    let settings = PostgresSettings::new(url, "shop").lease(Duration::from_secs(30));
    let journal = Journal::postgres(cx, settings).kind::<Cart>().kind::<Stock>().open().await?;
    Ok(journal)
}
// ANCHOR_END: postgres

#[actogen::test]
async fn an_order_is_filled_once_though_the_shop_is_closed_in_between(
    cx: Context,
) -> actogen::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.redb");
    let journal = shop(&cx, &file).await?;
    // ANCHOR: ask
    let cart = Journaled::<Cart>::at("shop", "ann")?;
    let stock = Journaled::<Stock>::at("shop", "books")?;
    let client = actogen_journal::Client::new(&cx);
    let waiting = client.send(&cart, Order { article: "atlas".to_owned(), stock }).await?;
    // ANCHOR_END: ask
    assert!(waiting <= 1);
    journal.close().await;
    let journal = shop(&cx, &file).await?;
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while client.send(&cart, Bought).await?.is_empty() {
        assert!(std::time::Instant::now() < end, "the order is never filled");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.send(&cart, Bought).await?, ["atlas"]);
    journal.close().await;
    Ok(())
}

// ANCHOR: test
#[test]
fn a_handler_gives_the_same_twice() {
    use actogen::testing::{self, TestMesh};

    testing::run(async |mesh: &TestMesh| {
        let cx = mesh.root().await;
        let journal =
            Journal::in_memory(&cx).kind::<Cart>().kind::<Stock>().run_twice(true).open().await?;
        let (cart, stock) = (journal.actor::<Cart>("ann")?, journal.actor::<Stock>("books")?);
        let order = Order { article: "atlas".to_owned(), stock };
        assert_eq!(journal.client().send(&cart, order).await?, 1);
        Ok(())
    });
}
// ANCHOR_END: test

mod versions {
    use super::*;

    // ANCHOR: migrate
    #[derive(Default, JournaledActor, Serialize, Deserialize)]
    #[journaled(kind = "stock", version = 2, messages(), migrate = Stock::older)]
    struct Stock {
        taken: u64,
        refused: u64,
    }

    impl Stock {
        fn older(version: u32, bytes: &[u8]) -> Result<Self, actogen_journal::LoadError> {
            match version {
                1 => {
                    let taken: u32 = actogen::Codec::Postcard.decode(bytes)?;
                    Ok(Self { taken: taken.into(), refused: 0 })
                }
                _ => Err(actogen_journal::LoadError::new("never written")),
            }
        }
    }
    // ANCHOR_END: migrate

    impl Actor for Stock {
        type Context = Turn<Self>;
    }

    #[test]
    fn an_older_state_is_read() {
        let older = actogen::Codec::Postcard.encode(&7_u32).unwrap();
        assert_eq!(Stock::load(1, &older).unwrap().taken, 7);
    }
}

// ANCHOR: publish
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Sold", reply = "Result<(), String>")]
struct Sold {
    article: String,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Sell")]
struct Sell {
    article: String,
}

#[derive(Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "till", messages(Sell, PublishResult))]
struct Till {
    sold: Vec<String>,
    open: Vec<MessageId>,
}

impl Handler<Sell> for Till {
    type Result = ();
    fn handle(&mut self, sell: Sell, turn: &mut Turn<Self>) {
        let sold = Sold { article: sell.article.clone() };
        turn.publish("shop.stock", &sold);
        let publish = turn.publish("shop.sold", &sold).require(["billing"]);
        self.open.push(publish.within(Duration::from_secs(3600)).id());
        self.sold.push(sell.article);
    }
}

impl Handler<PublishResult> for Till {
    type Result = ();
    fn handle(&mut self, result: PublishResult, turn: &mut Turn<Self>) {
        self.open.retain(|id| *id != result.id);
        if let PublishOutcome::Timeout(by) = result.outcome {
            turn.publish("shop.alarm", &Text(format!("no word from {:?}", by.missing)));
        }
    }
}
// ANCHOR_END: publish

impl Actor for Till {
    type Context = Turn<Self>;
}

#[derive(Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "ledger", messages(Sold))]
struct Ledger {
    sold: Vec<String>,
}

impl Actor for Ledger {
    type Context = Turn<Self>;
}

impl Handler<Sold> for Ledger {
    type Result = Result<(), String>;
    fn handle(&mut self, sold: Sold, _: &mut Turn<Self>) -> Self::Result {
        self.sold.push(sold.article);
        Ok(())
    }
}

#[expect(dead_code, reason = "it needs a context with a name, and the tests of the crate have one")]
// ANCHOR: consume
fn bill(cx: &Context, journal: &Journal) -> actogen::Result<Consumption> {
    let ledger = journal.actor::<Ledger>("2026")?;
    Ok(journal.consume(cx.consume::<Sold>("shop.sold"), &ledger)?)
}
// ANCHOR_END: consume

#[actogen::test]
async fn what_is_sold_is_published_and_who_is_not_there_is_missed(
    cx: Context,
) -> actogen::Result<()> {
    let mut stock = cx.subscribe::<Sold>("shop.stock")?;
    let journal = Journal::in_memory(&cx).kind::<Till>().open().await?;
    let till = journal.actor::<Till>("front")?;
    journal.client().send(&till, Sell { article: "atlas".to_owned() }).await?;
    assert_eq!(stock.next().await?.message.article, "atlas");
    Ok(())
}
