//! Bridges between meshes and a real NATS server, which the tests start and kill.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::time::Duration;

use actogen::{
    AckLevel, Context, Encoded, MessageId, ReliableError, RemoteMessage, Subscription, Text,
};
use actogen_nats::{Bridge, BridgeBuilder, BridgeError, ConnectOptions, Foreign, Mapping};
use serde::{Deserialize, Serialize};

use support::{Mesh, Nats, eventually, run, timely};

#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Order")]
struct Order(u64);

impl From<Order> for u64 {
    fn from(Order(number): Order) -> Self {
        number
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn bridge(nats: &Nats, mesh: &str) -> BridgeBuilder {
    let mapping = Mapping::new("orders.>", "mesh.orders.>").unwrap();
    Bridge::builder(nats.url(), mesh, mapping)
}

async fn next(subscription: &mut Subscription<Order>) -> u64 {
    timely("a message", subscription.next()).await.unwrap().message.0
}

/// Publishes until the bridge has stored it.
async fn reliably(context: &Context, number: u64) {
    let published = context.publish("orders.new", &Order(number));
    let reliable = published.require(["bridge"]).level(AckLevel::Durable);
    reliable.within(Duration::from_secs(30)).await.unwrap();
}

#[test]
fn two_meshes_are_joined_and_each_message_comes_once() {
    run("two meshes", async |nats| {
        let (east, west) = (Mesh::new("east").await, Mesh::new("west").await);
        let from = bridge(&nats, "east").start(&east.bridge).await.unwrap();
        let to = bridge(&nats, "west").start(&west.bridge).await.unwrap();
        let mut here = east.billing.subscribe::<Order>("orders.>").unwrap();
        let mut there = west.billing.subscribe::<Order>("orders.>").unwrap();
        let mut consumed = west.billing.consume::<Order>("orders.>").deliveries().unwrap();
        east.know().await;
        west.know().await;
        let id = MessageId::new(5);
        for _ in 0..2 {
            east.root.publish("orders.new", &Order(1)).signed().id(id).await.unwrap();
        }
        east.root.publish("orders.new.eu", &Order(2)).await.unwrap();
        east.root.publish("other", &Order(3)).await.unwrap();
        let delivery = timely("a delivery", consumed.next()).await.unwrap();
        assert_eq!((delivery.topic(), delivery.message()), ("orders.new", &Order(1)));
        assert_eq!(delivery.from(), west.bridge.id());
        let origin = to.origin(delivery.id().unwrap()).unwrap();
        assert_eq!((&*origin.mesh, origin.context), ("east", east.root.id()));
        assert_eq!((&*origin.topic, origin.id), ("orders.new", Some(id)));
        let proof = origin.proof.unwrap();
        assert!(!proof.certificate.is_empty() && !proof.signature.is_empty());
        delivery.ok();
        assert_eq!((next(&mut there).await, next(&mut there).await), (1, 2));
        // The other way round, behind which nothing that has come back may hide.
        west.root.publish("orders.back", &Order(4)).await.unwrap();
        assert_eq!(next(&mut there).await, 4);
        assert_eq!((next(&mut here).await, next(&mut here).await), (1, 2));
        assert_eq!(next(&mut here).await, 4);
        // One was said twice, and stored once; what came in did not go out again.
        assert_eq!(nats.stored("mesh_orders").await, 3);
        eventually("both have seen all", || {
            let (from, to) = (from.stats(), to.stats());
            (from.sent, from.taken, to.sent, to.taken) == (2, 1, 1, 2)
                && (from.looped, to.looped) == (2 + 1, 1 + 2)
        })
        .await;
    });
}

#[test]
fn an_id_is_stored_once_also_behind_a_bridge_that_has_forgotten_it() {
    run("ids", async |nats| {
        let east = Mesh::new("east").await;
        let id = MessageId::new(7);
        for time in 0..2 {
            let bridge = bridge(&nats, "east").outward_only().start(&east.bridge).await.unwrap();
            east.know().await;
            east.root.publish("orders.new", &Order(1)).signed().id(id).await.unwrap();
            eventually("it is sent", || bridge.stats().sent == 1).await;
            assert_eq!(bridge.stats().sent_duplicates, time);
            bridge.stop().await;
        }
        assert_eq!(nats.stored("mesh_orders").await, 1);
        // Another message that takes the id is another message.
        let bridge = bridge(&nats, "east").outward_only().start(&east.bridge).await.unwrap();
        east.know().await;
        east.root.publish("orders.new", &Order(2)).signed().id(id).await.unwrap();
        eventually("it is sent", || bridge.stats().sent == 1).await;
        assert_eq!(nats.stored("mesh_orders").await, 2);
    });
}

#[test]
fn nothing_is_acknowledged_that_jetstream_has_not_acknowledged() {
    run("acknowledgements", async |mut nats| {
        let east = Mesh::new("east").await;
        let bridge = bridge(&nats, "east").outward_only().start(&east.bridge).await.unwrap();
        east.know().await;
        reliably(&east.root, 1).await;
        nats.kill();
        let publish = |id, within| {
            let published = east.root.publish("orders.new", &Order(2)).require(["bridge"]);
            published.level(AckLevel::Durable).within(within).id(id)
        };
        let fresh = MessageId::fresh(&east.root);
        // Longer than the bridge waits for JetStream: an attempt that has failed is no success either.
        let error = publish(fresh, Duration::from_secs(8)).await.unwrap_err();
        assert!(bridge.stats().send_retries >= 1);
        let ReliableError::Timeout(partial) = error else { panic!("{error}") };
        assert_eq!(partial.missing, ["bridge"]);
        assert_eq!((bridge.stats().sent, bridge.stats().send_pending), (1, 1));
        nats.start().await;
        let confirmed = publish(partial.id, Duration::from_secs(60)).await.unwrap();
        assert!(confirmed.acked["bridge"] >= AckLevel::Durable);
        assert_eq!(nats.stored("mesh_orders").await, 2);
    });
}

#[test]
fn a_server_killed_in_the_middle_loses_and_doubles_nothing() {
    const MESSAGES: u64 = 400;
    run("a killed server", async |mut nats| {
        let (east, west) = (Mesh::new("east").await, Mesh::new("west").await);
        let from = bridge(&nats, "east").start(&east.bridge).await.unwrap();
        let to = bridge(&nats, "west").start(&west.bridge).await.unwrap();
        let mut there = west.billing.subscribe::<Order>("orders.>").unwrap();
        east.know().await;
        west.know().await;
        let publisher = east.root.clone();
        let publishing = tokio::task::spawn_local(async move {
            let all = (0..MESSAGES).map(|number| {
                let publisher = publisher.clone();
                async move { reliably(&publisher, number).await }
            });
            let all: Vec<_> = all.collect();
            use futures_util::{StreamExt, stream};
            stream::iter(all).buffer_unordered(8).collect::<Vec<()>>().await;
        });
        let mut seen = vec![0; MESSAGES as usize];
        for count in 0..MESSAGES {
            if count == MESSAGES / 4 {
                nats.kill();
                nats.start().await;
            }
            seen[next(&mut there).await as usize] += 1;
        }
        assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
        timely("all are confirmed", publishing).await.unwrap();
        assert_eq!(nats.stored("mesh_orders").await, MESSAGES);
        eventually("all is counted", || {
            from.stats().sent == MESSAGES && to.stats().taken == MESSAGES
        })
        .await;
    });
}

#[test]
fn a_bridge_that_begins_anew_goes_on_and_doubles_nothing() {
    const MESSAGES: u64 = 200;
    run("a bridge anew", async |nats| {
        let mut west = Mesh::new("west").await;
        for number in 0..MESSAGES {
            let encoded = Encoded::of(&Order(number)).unwrap();
            nats.put_bridged("mesh.orders.new", "east", number, &encoded).await;
        }
        let mut there = west.billing.consume::<Order>("orders.>").deliveries().unwrap();
        west.know().await;
        let mut seen = vec![0; MESSAGES as usize];
        let mut running = None;
        for count in 0..MESSAGES {
            if count % 50 == 0 {
                // The one before goes with what it has under way, and so does its context.
                if running.take().is_some() {
                    west.begin_bridge_anew().await;
                }
                let builder = bridge(&nats, "west").in_flight(20, 1 << 20).ack_wait(SECOND);
                running = Some(builder.start(&west.bridge).await.unwrap());
            }
            let delivery = timely("a delivery", there.next()).await.unwrap();
            seen[delivery.message().0 as usize] += 1;
            delivery.ok();
        }
        assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
        nats.all_acknowledged("mesh_orders", "actogen-west-mesh_orders").await;
        assert_eq!(there.consumption().stats().handled, MESSAGES);
    });
}

#[test]
fn what_comes_in_is_acknowledged_when_those_have_it_who_must() {
    run("required recipients", async |nats| {
        let west = Mesh::new("west").await;
        let bridge = bridge(&nats, "west")
            .require(["billing"], AckLevel::Processed, SECOND)
            .start(&west.bridge)
            .await
            .unwrap();
        nats.put_bridged("mesh.orders.new", "east", 1, &Encoded::of(&Order(1)).unwrap()).await;
        eventually("nobody takes it", || bridge.stats().take_retries >= 1).await;
        assert_eq!(bridge.stats().taken, 0);
        let mut deliveries = west.billing.consume::<Order>("orders.>").deliveries().unwrap();
        let delivery = timely("a delivery", deliveries.next()).await.unwrap();
        assert_eq!(delivery.message(), &Order(1));
        delivery.ok();
        eventually("it is taken", || bridge.stats().taken == 1).await;
        nats.put_bridged("mesh.orders.new", "east", 2, &Encoded::of(&Order(2)).unwrap()).await;
        timely("a delivery", deliveries.next()).await.unwrap().reject("no such order");
        eventually("it is refused", || bridge.stats().take_refused == 1).await;
        nats.all_acknowledged("mesh_orders", "actogen-west-mesh_orders").await;
    });
}

#[test]
fn messages_of_others_come_in_as_text() {
    run("foreign messages", async |nats| {
        let west = Mesh::new("west").await;
        let running = bridge(&nats, "west").inward_only().start(&west.bridge).await.unwrap();
        let mut lines = west.billing.subscribe::<Text>("orders.>").unwrap();
        west.know().await;
        nats.put("mesh.orders.odd", &[0xff]).await;
        nats.put("mesh.orders.long.".to_owned() + &"a.".repeat(40) + "a", b"deep").await;
        nats.put("mesh.orders.new", "grüß".as_bytes()).await;
        let published = timely("a line", lines.next()).await.unwrap();
        assert_eq!((&*published.topic, &*published.message.0), ("orders.new", "grüß"));
        eventually("others are refused", || running.stats().take_refused == 2).await;
        drop(running);
        let builder = bridge(&nats, "west").inward_only().foreign(Foreign::Refuse);
        let running = builder.start(&west.bridge).await.unwrap();
        nats.put("mesh.orders.new", b"line").await;
        eventually("it is refused", || running.stats().take_refused == 1).await;
    });
}

#[test]
fn what_has_no_room_while_the_server_is_away_is_counted() {
    run("drops", async |mut nats| {
        let east = Mesh::new("east").await;
        let bridge = bridge(&nats, "east").outward_only().queue(10, 1 << 20);
        let bridge = bridge.start(&east.bridge).await.unwrap();
        east.know().await;
        nats.kill();
        for number in 0..25 {
            east.root.publish("orders.new", &Order(number)).await.unwrap();
        }
        eventually("the queue is full", || {
            (bridge.stats().send_pending, bridge.stats().send_dropped) == (10, 15)
        })
        .await;
        nats.start().await;
        eventually("what waited is sent", || bridge.stats().sent == 10).await;
        assert_eq!(nats.stored("mesh_orders").await, 10);
        assert_eq!(nats.numbers::<Order>("mesh_orders").await, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_too_large_is_rejected_and_the_next_goes_out() {
    run("large messages", async |nats| {
        let east = Mesh::new("east").await;
        let bridge = bridge(&nats, "east").outward_only().start(&east.bridge).await.unwrap();
        east.know().await;
        let large = Text("x".repeat(2 * 1024 * 1024));
        let published = east.root.publish("orders.new", &large).require(["bridge"]);
        let error = published.within(Duration::from_secs(30)).await.unwrap_err();
        assert!(matches!(&error, ReliableError::Rejected(_)), "{error}");
        reliably(&east.root, 1).await;
        assert_eq!((bridge.stats().send_refused, bridge.stats().sent), (1, 1));
    });
}

#[test]
fn a_bridge_that_cannot_stand_says_why() {
    run("errors", async |mut nats| {
        let east = Mesh::new("east").await;
        let start = |nats: &Nats| bridge(nats, "east").start(&east.bridge);
        let other = Mapping::new("orders.>", "shop.orders.>").unwrap();
        let running = start(&nats).await.unwrap();
        drop(running);
        let error = Bridge::builder(nats.url(), "east", other.clone())
            .stream("mesh_orders")
            .start(&east.bridge)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, BridgeError::OtherSubjects { has, .. } if has == &["mesh.orders.>"]),
            "{error}"
        );
        let missing = bridge(&nats, "east").stream("none").existing_stream();
        let error = missing.start(&east.bridge).await.unwrap_err();
        assert!(matches!(error, BridgeError::Stream { .. }), "{error}");
        let overlap = bridge(&nats, "east").stream("another");
        let error = overlap.start(&east.bridge).await.unwrap_err();
        assert!(error.to_string().contains("overlap"), "{error}");
        let taken = Mapping::new("orders.new.>", "mesh.orders.new.>").unwrap();
        let error = Bridge::builder(nats.url(), "east", taken)
            .stream("mesh_orders")
            .consumer("actogen-east-mesh_orders")
            .start(&east.bridge)
            .await
            .unwrap_err();
        assert!(matches!(error, BridgeError::OtherConsumer { .. }), "{error}");
        let error = bridge(&nats, "a mesh").start(&east.bridge).await.unwrap_err();
        assert!(matches!(error, BridgeError::Settings(_)), "{error}");
        nats.kill();
        let error = start(&nats).await.unwrap_err();
        assert!(matches!(error, BridgeError::NoServer { .. }), "{error}");
        nats.start_without_jetstream().await;
        let error = start(&nats).await.unwrap_err();
        assert!(matches!(error, BridgeError::NoJetStream { .. }), "{error}");
        nats.kill();
        nats.start_guarded("swordfish").await;
        let error = start(&nats).await.unwrap_err();
        assert!(matches!(error, BridgeError::Refused { .. }), "{error}");
        let options = ConnectOptions::with_token("swordfish".into());
        let let_in = bridge(&nats, "east").connect_options(options).start(&east.bridge).await;
        assert!(let_in.unwrap().is_connected());
    });
}

#[test]
fn what_is_under_way_inward_is_bounded_in_bytes() {
    const MESSAGES: usize = 40;
    run("bytes under way", async |nats| {
        let west = Mesh::new("west").await;
        // More than one message may be, and less than all of them are.
        let mut lines = west.billing.subscribe::<Text>("orders.>").unwrap();
        west.know().await;
        // It makes the stream, and asks for nothing that would be given to it and come again later.
        drop(bridge(&nats, "west").outward_only().start(&west.bridge).await.unwrap());
        for number in 0..MESSAGES {
            nats.put("mesh.orders.new", format!("{number:060000}").as_bytes()).await;
        }
        let builder = bridge(&nats, "west").inward_only().in_flight(256, 1);
        let running = builder.start(&west.bridge).await.unwrap();
        for number in 0..MESSAGES {
            let line = timely("a line", lines.next()).await.unwrap().message.0;
            assert_eq!(line.trim_start_matches('0'), number.to_string().trim_start_matches('0'));
        }
        eventually("all is taken", || running.stats().taken == MESSAGES as u64).await;
        assert_eq!(running.stats().outages, 0, "a bound that is reached is no outage");
    });
}
