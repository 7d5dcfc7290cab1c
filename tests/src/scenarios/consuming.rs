//! Consumers of what is published reliably: how they acknowledge, and what they do not take.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{sync::atomic::Ordering, time::Duration};

use actogen::{
    AckLevel, Address, Consumer, Deliveries, Delivery, Encoded, Handle, Incarnation, NotSent,
    ReliableError, Subscription, Verdict, names::Holder, prelude::*,
};
use bytes::Bytes;

use super::publishing::{
    AMPLE, ENOUGH, Order, TOPIC, Two, handles, publish, rejected, timed_out, two,
};
use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

/// As [`Order`], for a handler that may say no.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Ask", reply = "Result<u64, String>")]
struct Ask(u64);

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
        // Long enough for each to be sent, also where one busy thread signs and checks all of them.
        let within = if number % 3 == 2 { Duration::from_secs(6) } else { AMPLE };
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

/// What goes along a topic's routes, as it is on the wire.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Carried")]
struct Carried {
    topic: String,
    from: u64,
    tag: u64,
    codec: u8,
    body: Bytes,
    signed: Option<Signed>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Signed {
    id: u128,
    series: u64,
    sequence: u64,
    level: AckLevel,
    required: Vec<String>,
    certificate: Bytes,
    signature: Bytes,
}

/// Stands for the topics of another context.
#[derive(Debug, RemoteActor)]
#[remote(name = "test.topics", messages(Carried))]
struct Topics;

impl Actor for Topics {
    type Context = actix::Context<Self>;
}

impl Handler<Carried> for Topics {
    type Result = ();
    fn handle(&mut self, _: Carried, _: &mut Self::Context) {}
}

/// A signed message whose signature does not hold, or that is larger than may be, is refused before anything else: subscriptions and consumers do not get it, nobody
/// answers it, and it is counted. So is one of a publisher that is revoked.
pub async fn a_signed_message_that_does_not_hold_is_refused<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let liar = mesh.child(&root, 1).await?;
    let mut subscribed: Subscription<Order> = root.subscribe(TOPIC)?;
    let handled = handles(root.consume(TOPIC).deliveries()?);
    let address =
        Address { context: root.id(), handle: Handle::TOPICS, incarnation: Incarnation::ANY };
    let topics: Remote<Topics> = postcard::from_bytes(&postcard::to_extend(&address, Vec::new())?)?;
    let topics = topics.attach(&liar);
    let say = |signed: Option<Signed>| {
        topics.do_send(Carried {
            topic: TOPIC.into(),
            from: liar.id().0,
            tag: Order::TAG.get(),
            codec: 0,
            body: Bytes::from_static(&[7]),
            signed,
        });
    };
    let forged = Signed {
        id: 1,
        series: 1,
        sequence: 1,
        level: AckLevel::Received,
        required: Vec::new(),
        certificate: liar.certificate().into(),
        signature: liar.sign_claim("actogen publish v1", &[0; 32]).into(),
    };
    say(Some(forged.clone()));
    say(Some(Signed { required: vec!["x".into(); 65], ..forged.clone() }));
    // The same without a signature is a plain message.
    say(None);
    assert_eq!(soon("the plain one", subscribed.next()).await?.message, Order(7));
    until("it is handled", || handled.load(Ordering::Relaxed) == 1).await;
    let stats = root.publish_stats().await?;
    assert_eq!((stats.forged, stats.oversize, stats.revoked), (1, 1, 0));
    Ok(())
}

/// What is stored counts for who asks for no more, while its handling goes on; what never succeeds is given up, kept, and rejected.
pub async fn stored_is_durable_and_what_never_succeeds_is_given_up<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Two { billing, publisher, .. } = two(mesh).await?;
    let consume = billing.consume::<Order>(TOPIC).deliveries_at_most(2);
    let mut deliveries = consume.deliveries()?;
    let message = Order(1);
    let publish_at =
        |level| publisher.publish(TOPIC, &message).require(["billing"]).level(level).within(AMPLE);
    let (stored, delivery) =
        tokio::join!(soon("an outcome", publish_at(AckLevel::Durable)), async {
            let delivery = soon("a delivery", deliveries.next()).await.unwrap();
            assert!(delivery.stored());
            delivery
        });
    assert_eq!(stored?.acked["billing"], AckLevel::Durable);
    assert!(delivery.ok(), "its verdict was still to come");
    let received = soon("an outcome", publish_at(AckLevel::Received)).await?;
    assert_eq!(received.acked["billing"], AckLevel::Received);
    assert!(soon("a delivery", deliveries.next()).await.unwrap().ok());
    let (outcome, ()) = tokio::join!(soon("an outcome", publish_at(AckLevel::Processed)), async {
        for attempt in 1..=2 {
            let delivery = soon("a delivery", deliveries.next()).await.unwrap();
            assert_eq!(delivery.attempt(), attempt);
            assert!(delivery.nack(Duration::ZERO));
        }
    });
    assert!(rejected(outcome).rejected["billing"].contains("2 times"));
    let consumption = deliveries.consumption();
    let dead = consumption.take_dead();
    assert_eq!((dead.len(), dead[0].deliveries, dead[0].from), (1, 2, publisher.id()));
    assert_eq!((consumption.stats().dead, consumption.stats().held), (1, 0));
    assert_eq!(consumption.stats().missed, 0);
    Ok(())
}

/// What carries messages and has no type of them takes them as they are, with what was signed, acknowledges them, and publishes them on.
pub async fn a_message_of_any_type_is_carried_on_as_it_is<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Two { billing, audit, publisher, .. } = two(mesh).await?;
    let mut deliveries = billing.consume_encoded(TOPIC).deliveries()?;
    let mut copies = audit.subscribe::<Order>("copy")?;
    for context in [&audit, &billing] {
        soon("word of who wants what", context.know_subscriptions()).await?;
    }
    let (outcome, encoded) = tokio::join!(publish(&publisher, 7, &["billing"], AMPLE), async {
        let delivery = soon("a delivery", deliveries.next()).await.unwrap();
        assert_eq!((delivery.topic(), delivery.from()), (TOPIC, publisher.id()));
        let encoded = delivery.message().clone();
        billing.publish_encoded("copy", &encoded).await.unwrap();
        assert!(delivery.ok());
        encoded
    });
    assert_eq!(outcome?.acked["billing"], AckLevel::Processed);
    let proof = encoded.proof.unwrap();
    assert_eq!((proof.required, proof.level), (vec!["billing".to_owned()], AckLevel::Processed));
    assert!(proof.sequence == 1 && !proof.certificate.is_empty() && !proof.signature.is_empty());
    let copy = soon("the copy", copies.next()).await?;
    assert_eq!((copy.message, copy.from), (Order(7), billing.id()));
    // Of a plain message there is nothing to prove.
    publisher.publish(TOPIC, &Order(8)).await?;
    let plain = soon("a plain message", deliveries.next()).await.unwrap();
    assert_eq!((&plain.message().proof, plain.id()), (&None, None));
    plain.ok();
    assert!(billing.publish_encoded("a..b", &encoded_of(8)).await.is_err());
    Ok(())
}

fn encoded_of(number: u64) -> Encoded {
    Encoded::of(&Order(number)).unwrap()
}
