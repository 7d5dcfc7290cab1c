//! Publishing from turns: nothing leaves before its turn is durable, and each result comes back once, whatever is killed in between.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    cell::RefCell,
    ops::Bound,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use actogen::{
    AckLevel, Context, MessageId,
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{
    Journal, JournalBuilder, JournaledActor, PublishOutcome, PublishResult, Turn,
    store::{Batch, MemoryStore, Row, Store, StoreError, Table},
};

use support::until;

const TOPIC: &str = "shop.orders";

/// What is published.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Order")]
struct Order(u64);

/// Publishes an order plainly, and one that these must acknowledge.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Place", reply = "MessageId")]
struct Place {
    order: u64,
    required: Vec<String>,
    within: Duration,
}

/// Publishes as [`Place`] does, and fails then.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Spoil", reply = "MessageId")]
struct Spoil(Place);

/// Publishes under this topic.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Tell", reply = "MessageId")]
struct Tell(String, Vec<String>);

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Leave")]
struct Leave;

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Results", reply = "Vec<PublishResult>")]
struct Results;

#[derive(Debug, Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "shop", messages(Place, Spoil, Tell, Leave, Results, PublishResult))]
struct Shop {
    results: Vec<PublishResult>,
}

impl Actor for Shop {
    type Context = Turn<Self>;
}

impl Shop {
    fn place(Place { order, required, within }: &Place, turn: &mut Turn<Self>) -> MessageId {
        turn.publish("shop.plain", &Order(*order));
        let placed = turn.publish(TOPIC, &Order(*order)).require(required.iter().cloned());
        placed.level(AckLevel::Processed).within(*within).id()
    }
}

impl Handler<Place> for Shop {
    type Result = actix::MessageResult<Place>;
    fn handle(&mut self, place: Place, turn: &mut Turn<Self>) -> Self::Result {
        actix::MessageResult(Self::place(&place, turn))
    }
}

impl Handler<Spoil> for Shop {
    type Result = actix::MessageResult<Spoil>;
    fn handle(&mut self, Spoil(place): Spoil, turn: &mut Turn<Self>) -> Self::Result {
        Self::place(&place, turn);
        panic!("spoilt")
    }
}

impl Handler<Tell> for Shop {
    type Result = actix::MessageResult<Tell>;
    fn handle(&mut self, Tell(topic, required): Tell, turn: &mut Turn<Self>) -> Self::Result {
        actix::MessageResult(turn.publish(&topic, &Order(0)).require(required).id())
    }
}

impl Handler<Leave> for Shop {
    type Result = ();
    fn handle(&mut self, _: Leave, turn: &mut Turn<Self>) {
        turn.end();
    }
}

impl Handler<Results> for Shop {
    type Result = Vec<PublishResult>;
    fn handle(&mut self, _: Results, _: &mut Turn<Self>) -> Vec<PublishResult> {
        self.results.clone()
    }
}

impl Handler<PublishResult> for Shop {
    type Result = ();
    fn handle(&mut self, result: PublishResult, _: &mut Turn<Self>) {
        self.results.push(result);
    }
}

fn builder(context: &Context, store: impl Store) -> JournalBuilder {
    let builder = Journal::builder(context, "").store(store).write_here().node("shop");
    builder.kind::<Shop>().run_twice(true)
}

/// Handles each order once, as far as it remembers; what it has handled.
fn handles(context: &Context, topic: &str) -> Rc<RefCell<Vec<(u64, MessageId)>>> {
    let handled = Rc::<RefCell<Vec<_>>>::default();
    let (notes, mut orders) =
        (handled.clone(), context.consume::<Order>(topic).deliveries().unwrap());
    tokio::task::spawn_local(async move {
        while let Some(order) = orders.next().await {
            notes.borrow_mut().push((order.message().0, order.id().unwrap()));
            order.ok();
        }
    });
    handled
}

fn confirmed(result: &PublishResult) -> Vec<(&str, AckLevel)> {
    match &result.outcome {
        PublishOutcome::Confirmed { acked } => {
            acked.iter().map(|(name, level)| (name.as_str(), *level)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn place(order: u64, required: &[&str], within: Duration) -> Place {
    Place { order, required: required.iter().map(|name| (*name).to_owned()).collect(), within }
}

const AMPLE: Duration = Duration::from_secs(60);

#[test]
fn a_result_comes_back_as_a_message_and_nothing_of_a_failed_turn_leaves() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let (orders, plain) = (handles(&billing, TOPIC), handles(&billing, "shop.plain"));
        root.know_subscriptions().await?;
        let store = MemoryStore::default();
        let journal = builder(&root, store.clone()).open().await?;
        let (shop, client) = (journal.actor::<Shop>("s")?, journal.client());
        client.send(&shop, Spoil(place(1, &["billing"], AMPLE))).await.unwrap_err();
        let second = client.send(&shop, place(2, &["billing"], AMPLE)).await?;
        let third = client.send(&shop, place(3, &["billing"], AMPLE)).await?;
        assert_ne!(second, third);
        until("two results", 2, async || client.send(&shop, Results).await.unwrap().len()).await;
        let mut results = client.send(&shop, Results).await?;
        results.sort_by_key(|result| result.id != second);
        assert_eq!([results[0].id, results[1].id], [second, third]);
        assert_eq!(results[0].topic, TOPIC);
        assert_eq!(confirmed(&results[0]), [("billing", AckLevel::Processed)]);
        let mut orders = orders.borrow().clone();
        orders.sort_unstable();
        assert_eq!(orders, [(2, second), (3, third)]);
        let plain: Vec<_> = plain.borrow().iter().map(|(order, _)| *order).collect();
        assert_eq!(plain, [2, 3], "in their order");
        until("all is done with", 0, async || journal.stats().publishing).await;
        assert_eq!(journal.stats().outbox_bytes, 0);
        let rows =
            store.copy().scan(Table::Publish, Bound::Unbounded, Bound::Unbounded, usize::MAX)?;
        assert_eq!(rows, []);
        Ok(())
    });
}

#[test]
fn what_is_not_confirmed_says_why() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let _silent = mesh.named_child(&root, &["audit"]).await;
        let mut orders = billing.consume::<Order>(TOPIC).deliveries()?;
        tokio::task::spawn_local(async move {
            while let Some(order) = orders.next().await {
                if order.message().0 == 1 {
                    order.reject("no such thing")
                } else {
                    order.ok()
                };
            }
        });
        root.know_subscriptions().await?;
        let journal = builder(&root, MemoryStore::default()).open().await?;
        let client = journal.client();
        let outcome = async |key: &str, order: u64, required: &[&str]| {
            let shop = journal.actor::<Shop>(key).unwrap();
            let within = Duration::from_secs(3);
            client.send(&shop, place(order, required, within)).await.unwrap();
            let results = async || client.send(&shop, Results).await.unwrap();
            until("a result", 1, async || results().await.len()).await;
            results().await.remove(0).outcome
        };
        let PublishOutcome::Rejected(by) = outcome("rejected", 1, &["billing"]).await else {
            panic!("it must be rejected")
        };
        assert_eq!(by.rejected["billing"], "no such thing");
        let PublishOutcome::Timeout(by) = outcome("timeout", 2, &["billing", "audit"]).await else {
            panic!("it must run out of time")
        };
        assert_eq!((by.acked.len(), by.missing), (1, vec!["audit".to_owned()]));
        let unknown = outcome("unknown", 3, &["billing", "nobody"]).await;
        assert_eq!(unknown, PublishOutcome::UnknownRecipient(vec!["nobody".to_owned()]));
        let nobody = outcome("nobody", 4, &[]).await;
        assert_eq!(nobody, PublishOutcome::Confirmed { acked: Default::default() });
        // What can never be published fails its turn.
        let shop = journal.actor::<Shop>("wrong")?;
        client.send(&shop, Tell("a..b".to_owned(), Vec::new())).await.unwrap_err();
        let many = (0..65).map(|name| format!("n{name}")).collect();
        client.send(&shop, Tell(TOPIC.to_owned(), many)).await.unwrap_err();
        assert_eq!(journal.stats().publishing, 0);
        Ok(())
    });
}

#[test]
fn the_deadline_is_the_turns_though_the_process_was_down_when_it_came() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let _silent = mesh.named_child(&root, &["billing"]).await;
        let store = MemoryStore::default();
        let journal = builder(&root, store.clone()).open().await?;
        let (shop, client) = (journal.actor::<Shop>("s")?, journal.client());
        // The clock of a journal that is opened is the system's, which a test cannot move: time is over at once then.
        let never = client.send(&shop, place(1, &["billing"], Duration::ZERO)).await?;
        let late = client.send(&shop, place(2, &["billing"], Duration::from_millis(30))).await?;
        let old = store.copy();
        until("both results", 2, async || client.send(&shop, Results).await.unwrap().len()).await;
        let results = client.send(&shop, Results).await?;
        let of = |id| results.iter().find(|result| result.id == id).unwrap().outcome.clone();
        assert!(matches!(of(never), PublishOutcome::NotSent(_)), "{:?}", of(never));
        assert!(matches!(of(late), PublishOutcome::Timeout(_)), "{:?}", of(late));
        journal.close().await;
        // As the store was when the second had no result: the process before this may have sent it.
        std::thread::sleep(Duration::from_millis(40));
        let journal = builder(&root, old).open().await?;
        let client = journal.client();
        until("both results", 2, async || client.send(&shop, Results).await.unwrap().len()).await;
        let results = client.send(&shop, Results).await?;
        let result = results.into_iter().find(|result| result.id == late).unwrap();
        let PublishOutcome::Timeout(by) = result.outcome else { panic!("{result:?}") };
        assert_eq!(by.missing, ["billing"]);
        Ok(())
    });
}

#[test]
fn an_actor_that_has_ended_hears_nothing_of_what_it_has_published() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let store = MemoryStore::default();
        let journal = builder(&root, store.clone()).open().await?;
        let (shop, client) = (journal.actor::<Shop>("s")?, journal.client());
        client.send(&shop, place(1, &["billing"], AMPLE)).await?;
        client.send(&shop, Leave).await?;
        let orders = handles(&billing, TOPIC);
        until("the order", 1, async || orders.borrow().len()).await;
        let rows = || store.copy().scan(Table::Publish, Bound::Unbounded, Bound::Unbounded, 9);
        until("its row goes", 0, async || rows().unwrap().len()).await;
        assert_eq!(client.send(&shop, Results).await?, []);
        Ok(())
    });
}

/// A store that dies at one of its commits: before it has written, or when it has written and nobody knows of it yet.
struct Dies {
    store: MemoryStore,
    left: Arc<AtomicU32>,
    writes: bool,
}

impl Store for Dies {
    fn place(&self) -> String {
        self.store.place()
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(table, key)
    }

    fn scan(
        &mut self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.scan(table, from, to, most)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let left = self.left.load(Ordering::Relaxed);
        if left > 0 {
            self.left.store(left - 1, Ordering::Relaxed);
            return self.store.commit(batch);
        }
        if self.writes {
            self.store.commit(batch)?;
        }
        Err(StoreError::Failed("it has died".to_owned()))
    }
}

/// Killed at each commit, before and after it is durable, and then once more at the same commit of the process that takes up: each consumer
/// handles the message once, and the actor hears of it once.
#[test]
fn killed_at_any_commit_it_is_handled_once_and_has_one_result() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let (orders, plain) = (handles(&billing, TOPIC), handles(&billing, "shop.plain"));
        root.know_subscriptions().await?;
        let rounds = (0..).flat_map(|commit| [(commit, false), (commit, true)]);
        for (round, (commit, writes)) in rounds.enumerate() {
            let mut deaths = 0;
            let store = MemoryStore::default();
            // The consumer has not forgotten the other rounds: each has a node of its own.
            let node = format!("shop-{round}");
            let client = actogen_journal::Client::new(&root);
            let shop = actogen_journal::Journaled::<Shop>::at(&node, "s")?;
            let asked = client.send(&shop, place(round as u64, &["billing"], AMPLE));
            let mut asked = std::pin::pin!(asked);
            let mut id = None;
            for life in 0..3 {
                let left = if life < 2 { commit } else { u32::MAX };
                let dies = Dies { store: store.clone(), left: Arc::new(left.into()), writes };
                let opened = builder(&root, dies).node(&node).open().await;
                let Ok(journal) = opened else {
                    deaths += 1;
                    continue;
                };
                let own = journal.client();
                let lives = async {
                    if id.is_none() {
                        id = Some((&mut asked).await.unwrap());
                    }
                    until("one result", 1, async || own.send(&shop, Results).await.unwrap().len())
                        .await;
                    until("all is done with", 0, async || journal.stats().publishing).await;
                };
                let dies = async {
                    while !journal.has_failed() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                };
                tokio::select! {
                    () = lives => {}
                    () = dies => deaths += 1,
                }
                if life == 2 {
                    let results = own.send(&shop, Results).await?;
                    assert_eq!(results.len(), 1, "round {round}");
                    assert_eq!(results[0].id, id.unwrap());
                    assert!(results[0].is_confirmed(), "{results:?}");
                }
                journal.close().await;
            }
            let of = |all: &RefCell<Vec<(u64, MessageId)>>| {
                all.borrow().iter().filter(|(order, _)| *order == round as u64).count()
            };
            assert_eq!((of(&orders), of(&plain)), (1, 1), "round {round}");
            let rows = store.copy().scan(Table::Publish, Bound::Unbounded, Bound::Unbounded, 9)?;
            assert_eq!(rows, [], "round {round}");
            if deaths == 0 {
                // There are no more commits to die at. Opening, the turn and the result are three at least.
                assert!(commit >= 3, "{commit}");
                return Ok(());
            }
        }
        Ok(())
    });
}
