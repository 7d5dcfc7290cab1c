//! Reliable publish: what is confirmed has been acknowledged by everybody who must, and nothing else is.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actogen::{
    AckLevel, Confirmed, Consumer, Context, ContextId, Deliveries, Delivery, MessageId, NotSent,
    Partial, PublishPolicy, ReliableError, Subscription, Verdict, names::Holder, prelude::*,
};
use tokio::time::Instant;

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    rogue_acks::{Forgery, RogueAcks},
    until::{PATIENCE, soon, until},
};

/// What is published here.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Order")]
struct Order(u64);

/// As [`Order`], for a handler that may say no.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Ask", reply = "Result<u64, String>")]
struct Ask(u64);

const TOPIC: &str = "org.orders";

/// Long enough for what must come, on a machine that has much else to do.
const AMPLE: Duration = PATIENCE;

/// What a publish that cannot succeed is given, where nothing must happen before.
const SHORT: Duration = Duration::from_millis(300);

/// What one is given that must arrive before it fails.
const ENOUGH: Duration = Duration::from_secs(2);

/// Handles each message at once, and says so, until the consumer ends; counts what it has handled.
fn handles(mut deliveries: Deliveries<Order>) -> Arc<AtomicU64> {
    let handled = Arc::new(AtomicU64::new(0));
    let counts = handled.clone();
    tokio::task::spawn_local(async move {
        while let Some(delivery) = deliveries.next().await {
            counts.fetch_add(1, Ordering::Relaxed);
            delivery.ok();
        }
    });
    handled
}

/// Two contexts with names, each with a consumer that handles all; the publisher is below the second.
struct Two {
    root: Context,
    billing: Context,
    audit: Context,
    publisher: Context,
}

async fn two<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<Two> {
    let root = mesh.root().await?;
    let billing = mesh.named_child(&root, 1, &["billing"], Holder::Stays).await?;
    let audit = mesh.named_child(&root, 2, &["audit"], Holder::Stays).await?;
    let publisher = mesh.child(&audit, 3).await?;
    Ok(Two { root, billing, audit, publisher })
}

async fn publish(
    from: &Context,
    number: u64,
    required: &[&str],
    within: Duration,
) -> Result<Confirmed, ReliableError> {
    let publish = from.publish(TOPIC, &Order(number)).require(required.iter().copied());
    soon("an outcome", publish.within(within)).await
}

/// The partial result of a publish that has run out of time.
fn timed_out(outcome: Result<Confirmed, ReliableError>) -> Partial {
    match outcome {
        Err(ReliableError::Timeout(partial)) => *partial,
        other => panic!("it must run out of time: {other:?}"),
    }
}

fn rejected(outcome: Result<Confirmed, ReliableError>) -> Partial {
    match outcome {
        Err(ReliableError::Rejected(partial)) => *partial,
        other => panic!("it must be rejected: {other:?}"),
    }
}

/// Both of two recipients acknowledge: the publish is confirmed by both.
pub async fn g01_both_required_acknowledge<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Two { billing, audit, publisher, .. } = two(mesh).await?;
    let counts = [&billing, &audit].map(|at| handles(at.consume(TOPIC).deliveries().unwrap()));
    let confirmed = publish(&publisher, 1, &["billing", "audit"], AMPLE).await?;
    let processed = |name: &str| (name.to_owned(), AckLevel::Processed);
    assert_eq!(confirmed.acked, BTreeMap::from([processed("audit"), processed("billing")]));
    assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [1, 1]);
    // Of a name that nobody has, the publisher hears at once, and nothing is sent.
    let begun = Instant::now();
    let unknown = publish(&publisher, 2, &["billing", "nobody"], AMPLE).await.unwrap_err();
    assert_eq!(unknown, ReliableError::UnknownRecipient(vec!["nobody".into()]));
    assert!(begun.elapsed() < AMPLE / 2);
    Ok(())
}

/// Right after a publish that both have acknowledged, only one acknowledges: the other is missing.
pub async fn g02_one_of_two_is_missing_right_after_both_have_acknowledged<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, audit, publisher, .. } = two(mesh).await?;
    handles(billing.consume(TOPIC).deliveries()?);
    let mut silent: Deliveries<Order> = audit.consume(TOPIC).deliveries()?;
    let first = publish(&publisher, 1, &["billing", "audit"], AMPLE);
    let acknowledge = async { soon("a delivery", silent.next()).await.unwrap().ok() };
    let (first, _) = tokio::join!(first, acknowledge);
    first?;
    let partial = timed_out(publish(&publisher, 2, &["billing", "audit"], ENOUGH).await);
    assert_eq!(partial.missing, ["audit"]);
    assert_eq!(partial.acked.keys().collect::<Vec<_>>(), ["billing"]);
    Ok(())
}

/// A recipient is offline: the error comes at the deadline, with nothing else going on.
pub async fn g03_an_offline_recipient_is_an_error_at_the_deadline<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, publisher, root, .. } = two(mesh).await?;
    mesh.kill(&billing).await;
    until("it is gone", || root.place_of(billing.id()).is_none()).await;
    let begun = Instant::now();
    let partial = timed_out(publish(&publisher, 1, &["billing"], SHORT).await);
    let late = begun.elapsed().checked_sub(SHORT).expect("not before the deadline");
    assert!(late < Duration::from_millis(50), "{late:?} after the deadline");
    assert_eq!(partial.missing, ["billing"]);
    Ok(())
}

/// Acknowledgements with a wrong key, a wrong hash, a wrong id, and of a stranger are ignored and counted.
pub async fn g04_forged_acknowledgements_are_ignored_and_counted<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, root, publisher, audit } = two(mesh).await?;
    let rogue = RogueAcks::listen(&root, TOPIC)?;
    // It has the message: its forgeries have the right id and hash where they do not lie about that.
    let forgeries = [
        Forgery::Key,
        Forgery::Hash,
        Forgery::Id,
        Forgery::Stranger,
        Forgery::OwnName,
        Forgery::Certificate(audit.certificate(), audit.id()),
    ];
    let forging = rogue.answer_each_once(&publisher, &billing, "billing", &forgeries);
    let (outcome, ()) =
        tokio::join!(publish(&publisher, 1, &["billing"], ENOUGH), soon("forgeries", forging));
    let partial = timed_out(outcome);
    assert_eq!((&partial.missing[..], partial.acked.len()), (&["billing".to_owned()][..], 0));
    let ignored = partial.ignored_acks;
    assert_eq!((ignored.forged, ignored.other_hash, ignored.other_id), (1, 1, 1), "{ignored:?}");
    assert_eq!((ignored.stranger, ignored.misnamed), (1, 2), "{ignored:?}");
    Ok(())
}

/// The acknowledgement of a recipient in the publisher's own context is there before anything else has happened: it counts.
pub async fn g05_an_acknowledgement_that_comes_at_once_counts<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let own = mesh.named_child(&root, 1, &["own"], Holder::Stays).await?;
    handles(own.consume(TOPIC).deliveries()?);
    for level in [AckLevel::Received, AckLevel::Processed] {
        let publish = own.publish(TOPIC, &Order(1)).require(["own"]).level(level).within(AMPLE);
        assert_eq!(soon("an outcome", publish).await?.acked["own"], level);
    }
    Ok(())
}

/// A true acknowledgement of an earlier publish, sent again by somebody who has seen it, is ignored: also when the message is the same.
pub async fn g06_a_replayed_acknowledgement_is_ignored<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Two { billing, publisher, .. } = two(mesh).await?;
    let rogue = RogueAcks::listen(&billing, TOPIC)?;
    let first = {
        let mut deliveries: Deliveries<Order> = billing.consume(TOPIC).deliveries()?;
        let first = publish(&publisher, 1, &["billing"], AMPLE);
        let acknowledge = async { soon("a delivery", deliveries.next()).await.unwrap().ok() };
        let (confirmed, _) = tokio::join!(first, acknowledge);
        confirmed?
    };
    // Nobody consumes any more. What billing has signed for the first is said again while the second waits, both under one id.
    let again = publisher.publish(TOPIC, &Order(1)).require(["billing"]).id(first.id);
    let forging = rogue.answer_each_once(&publisher, &billing, "billing", &[Forgery::Genuine]);
    let (outcome, ()) =
        tokio::join!(soon("an outcome", again.within(ENOUGH)), soon("the replay", forging));
    let partial = timed_out(outcome);
    assert_eq!(partial.missing, ["billing"]);
    assert_eq!(partial.ignored_acks.other_hash, 1, "{partial}");
    Ok(())
}

/// An acknowledgement that comes more than once counts once.
pub async fn g07_duplicate_acknowledgements_count_once<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Two { billing, publisher, .. } = two(mesh).await?;
    let rogue = RogueAcks::listen(&billing, TOPIC)?;
    // What a true recipient says, three times.
    let genuine = [Forgery::Genuine, Forgery::Genuine, Forgery::Genuine];
    let saying = rogue.answer_each_once(&publisher, &billing, "billing", &genuine);
    let (outcome, ()) = tokio::join!(
        publish(&publisher, 1, &["billing", "audit"], ENOUGH),
        soon("all are said", saying)
    );
    let partial = timed_out(outcome);
    assert_eq!(partial.missing, ["audit"]);
    assert_eq!(partial.ignored_acks.duplicate, 2, "{partial}");
    Ok(())
}

/// Acknowledgements do not come through: no success although it was handled. Published again under its id it is confirmed, and was handled once.
pub async fn g08_lost_acknowledgements_are_no_success_and_the_same_id_is_handled_once<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, publisher, .. } = two(mesh).await?;
    let mut deliveries: Deliveries<Order> = billing.consume(TOPIC).deliveries()?;
    let consumption = deliveries.consumption();
    // The wait ends before any acknowledgement can be taken, as when they are lost on the way back.
    let id = MessageId::fresh(&publisher);
    let lost = publisher.publish(TOPIC, &Order(1)).require(["billing"]).id(id).within(AMPLE);
    let delivery = tokio::select! {
        delivery = soon("a delivery", deliveries.next()) => delivery.unwrap(),
        _ = lost.into_future() => panic!("nobody has acknowledged"),
    };
    assert_eq!(delivery.id(), Some(id));
    assert!(delivery.ok());
    handles(deliveries);
    let again = publisher.publish(TOPIC, &Order(1)).require(["billing"]).id(id).within(AMPLE);
    assert_eq!(soon("an outcome", again).await?.id, id);
    let stats = consumption.stats();
    assert_eq!((stats.delivered, stats.handled), (1, 1));
    // Another message under the id is none that was handled.
    let other = publisher.publish(TOPIC, &Order(2)).require(["billing"]).id(id).within(AMPLE);
    let partial = rejected(soon("an outcome", other).await);
    assert!(partial.rejected["billing"].contains("another message"), "{partial}");
    Ok(())
}

/// Where only certain publishers may publish, a reliable message of theirs is confirmed; what others publish, signed or plain, is refused, and
/// who requires an acknowledgement hears of it.
pub async fn g09_with_a_policy_a_reliable_message_still_validates<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { root, billing, publisher, .. } = two(mesh).await?;
    let shop = mesh.named_child(&root, 4, &["shop"], Holder::Stays).await?;
    let policy = PublishPolicy::deny_all()
        .allow_name("shop", "org.>")?
        .allow_context(shop.id(), "org.plain")?;
    billing.set_publish_policy(policy)?;
    let handled = handles(billing.consume(TOPIC).deliveries()?);
    let mut plain: Subscription<Order> = billing.subscribe("org.plain")?;
    publish(&shop, 1, &["billing"], AMPLE).await?;
    let partial = rejected(publish(&publisher, 2, &["billing"], AMPLE).await);
    assert!(partial.rejected["billing"].contains("policy"), "{partial}");
    assert_eq!(handled.load(Ordering::Relaxed), 1);
    let refused = billing.publish_stats().await?.not_permitted;
    // A plain message has no names: it is judged by its source.
    soon("both", async {
        loop {
            publisher.publish("org.plain", &Order(9)).await.unwrap();
            shop.publish("org.plain", &Order(3)).await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(2), plain.next());
            if let Ok(published) = next.await {
                assert_eq!(published.unwrap().from, shop.id());
                if billing.publish_stats().await.unwrap().not_permitted > refused {
                    return;
                }
            }
        }
    })
    .await;
    Ok(())
}

/// An actor that panics over a message, and one that says no.
#[derive(Debug, RemoteActor)]
#[remote(name = "test.clerk", messages(Ask))]
struct Clerk;

impl Actor for Clerk {
    type Context = actix::Context<Self>;
}

impl Handler<Ask> for Clerk {
    type Result = Result<u64, String>;
    fn handle(&mut self, Ask(number): Ask, _: &mut Self::Context) -> Self::Result {
        match number {
            0 => panic!("it cannot be zero"),
            1 => Err("one is no order".into()),
            number => Ok(number),
        }
    }
}

/// Panics over the first message.
struct Fragile;

impl Consumer<Order> for Fragile {
    async fn handle(&mut self, _: &mut Delivery<Order>) -> Verdict {
        panic!("it cannot handle that")
    }
}

/// A consumer that panics in its handler acknowledges nothing at the level Processed: neither an actor nor a consumer of its own.
pub async fn g10_a_consumer_that_crashes_does_not_acknowledge<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, audit, publisher, .. } = two(mesh).await?;
    let clerk = billing.start(Clerk);
    let by_actor = billing.consume_actor::<Clerk, Ask>(TOPIC, &clerk)?;
    let (fragile, by_value) = audit.consume(TOPIC).run(Fragile)?;
    let (died, also) = (billing.watch(&clerk), audit.watch(&fragile));
    let ask = publisher.publish(TOPIC, &Ask(0)).require(["billing"]).within(ENOUGH);
    let partial = timed_out(soon("an outcome", ask).await);
    assert_eq!((partial.missing.len(), partial.acked.len(), partial.rejected.len()), (1, 0, 0));
    let partial = timed_out(publish(&publisher, 0, &["audit"], ENOUGH).await);
    assert_eq!((partial.missing.len(), partial.acked.len(), partial.rejected.len()), (1, 0, 0));
    for (what, down) in [("the actor", died), ("the consumer", also)] {
        let down = soon(what, down).await;
        assert!(down.to_string().contains("panicked"), "{down}");
    }
    soon("the consumers end", by_actor.ended()).await;
    soon("the consumers end", by_value.ended()).await;
    Ok(())
}

/// Who requires nobody publishes plainly.
pub async fn g11_requiring_nobody_is_plain<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let mut orders: Subscription<Order> = root.subscribe(TOPIC)?;
    let nobody: [&str; 0] = [];
    let confirmed = publish(&root, 7, &nobody, AMPLE).await?;
    assert!(confirmed.acked.is_empty());
    assert_eq!(soon("it comes", orders.next()).await?.message, Order(7));
    let stats = root.publish_stats().await?;
    assert_eq!((stats.sent, stats.waiting), (0, 0));
    let many: Vec<_> = (0..65).map(|number| format!("n{number}")).collect();
    let too_many = soon("an answer", root.publish(TOPIC, &Order(1)).require(many)).await;
    assert_eq!(too_many.unwrap_err(), ReliableError::NotSent(NotSent::TooMany(65)));
    Ok(())
}

/// Plain messages, and signed ones that require nobody, are not acknowledged; nor are acknowledgements.
pub async fn g12_plain_messages_and_acknowledgements_are_not_acknowledged<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, publisher, .. } = two(mesh).await?;
    let handled = handles(billing.consume(TOPIC).deliveries()?);
    // This one also shows that word of the consumer is there.
    publish(&publisher, 1, &["billing"], AMPLE).await?;
    soon("rest", billing.ping(publisher.place())).await?;
    let (sent, before) = (billing.stats().sent, publisher.publish_stats().await?);
    for number in 0..10 {
        publisher.publish(TOPIC, &Order(number)).await?;
        publisher.publish(TOPIC, &Order(number)).signed().await?;
    }
    until("all are handled", || handled.load(Ordering::Relaxed) == 21).await;
    soon("an answer", billing.ping(publisher.place())).await?;
    let after = publisher.publish_stats().await?;
    assert_eq!((after.acks_taken, after.acks_unknown), (before.acks_taken, before.acks_unknown));
    // The ping, at most; an acknowledgement for each message would be twenty.
    assert!(billing.stats().sent - sent < 5, "{}", billing.stats().sent - sent);
    Ok(())
}

/// Takes its time, says no to some, and ends with the last.
struct Picky;

impl Consumer<Order> for Picky {
    async fn handle(&mut self, delivery: &mut Delivery<Order>) -> Verdict {
        match (delivery.message().0, delivery.attempt()) {
            (1, 1) => Verdict::Nack(Duration::from_millis(1)),
            (2, _) => Verdict::Drop("two is no order".into()),
            (3, _) => Verdict::Halt,
            _ => Verdict::Ok,
        }
    }
}

/// A stream, an actor's handler and a consumer with verdicts acknowledge; what they reject is rejected, what they put off comes again.
pub async fn g13_streams_and_actors_acknowledge<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Two { root, billing, audit, publisher } = two(mesh).await?;
    let stock = mesh.named_child(&root, 4, &["stock"], Holder::Stays).await?;
    handles(billing.consume(TOPIC).deliveries()?);
    let (_, picky) = audit.consume(TOPIC).run(Picky)?;
    publish(&publisher, 1, &["billing", "audit"], AMPLE).await?;
    assert_eq!((picky.stats().nacked, picky.stats().handled), (1, 1));
    let partial = rejected(publish(&publisher, 2, &["audit"], AMPLE).await);
    assert_eq!(partial.rejected["audit"], "two is no order");
    let clerk = stock.start(Clerk);
    stock.consume_actor::<Clerk, Ask>(TOPIC, &clerk)?;
    let ask = |number| publisher.publish(TOPIC, &Ask(number)).require(["stock"]).within(AMPLE);
    assert_eq!(soon("an outcome", ask(2)).await?.acked["stock"], AckLevel::Processed);
    let partial = rejected(soon("an outcome", ask(1)).await);
    assert_eq!(partial.rejected["stock"], "one is no order");
    let partial = timed_out(publish(&publisher, 3, &["audit"], ENOUGH).await);
    assert_eq!(partial.missing, ["audit"]);
    soon("it has ended", picky.ended()).await;
    Ok(())
}

/// A hundred publishes at once, each with its own outcome; nothing of them is left.
pub async fn g14_a_hundred_publishes_have_outcomes_of_their_own<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, publisher, .. } = two(mesh).await?;
    let mut deliveries: Deliveries<Order> = billing.consume(TOPIC).deliveries()?;
    tokio::task::spawn_local(async move {
        let mut kept = Vec::new();
        while let Some(delivery) = deliveries.next().await {
            match delivery.message().0 % 3 {
                0 => drop(delivery.ok()),
                1 => drop(delivery.reject("no")),
                _ => kept.push(delivery),
            }
        }
    });
    // Word of the consumer is there before the short times begin.
    publish(&publisher, 0, &["billing"], AMPLE).await?;
    let all = (1..=100_u64).map(|number| {
        let within = if number % 3 == 2 { Duration::from_secs(2) } else { AMPLE };
        let publish = publisher.publish(TOPIC, &Order(number)).require(["billing"]).within(within);
        async move { (number, publish.await) }
    });
    for (number, outcome) in soon("all outcomes", futures_util::future::join_all(all)).await {
        match number % 3 {
            0 => assert!(outcome.is_ok(), "{number}: {outcome:?}"),
            1 => assert_eq!(rejected(outcome).rejected["billing"], "no"),
            _ => assert_eq!(timed_out(outcome).missing, ["billing"]),
        }
    }
    let stats = publisher.publish_stats().await?;
    assert_eq!((stats.waiting, stats.waiting_bytes), (0, 0));
    Ok(())
}

/// The acknowledgement of a context whose certificate is revoked is refused.
pub async fn g15_a_revoked_key_does_not_acknowledge<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Two { root, billing, publisher, .. } = two(mesh).await?;
    let rogue = RogueAcks::listen(&root, TOPIC)?;
    root.revoke(billing.id())?;
    until("the publisher knows", || publisher.is_revoked(ContextId(1))).await;
    // Its key signs on, whoever carries what it signs.
    let genuine = [Forgery::Genuine];
    let saying = rogue.answer_each_once(&publisher, &billing, "billing", &genuine);
    let (outcome, ()) =
        tokio::join!(publish(&publisher, 1, &["billing"], ENOUGH), soon("it is said", saying));
    let partial = timed_out(outcome);
    assert_eq!((partial.missing.len(), partial.ignored_acks.revoked), (1, 1), "{partial}");
    Ok(())
}
