//! Backpressure: a receiver that is slower than its senders, near and far, loses nothing that is sent with `tell`.

use std::time::Duration;

use actogen::{ContextId, DeadReason, Limits, Placement, memory::MemoryNetwork, prelude::*};
use tokio::task::LocalSet;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "flow.Item")]
struct Item(u64, #[serde(with = "bytes_of")] Vec<u8>);

mod bytes_of {
    pub(super) fn serialize<S: serde::Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        serde::Deserialize::deserialize(d)
    }
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "flow.Seen", reply = "u64")]
struct Seen;

/// Counts items, and fails when one is missing; lets others run every hundred items.
#[derive(RemoteActor, Default)]
#[remote(name = "flow.counter", messages(Item, Seen))]
struct Counter {
    seen: u64,
}

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

impl Handler<Item> for Counter {
    type Result = ();

    fn handle(&mut self, item: Item, ctx: &mut Self::Context) {
        assert_eq!(item.0, self.seen, "an item is missing, or out of order");
        self.seen += 1;
        if self.seen.is_multiple_of(100) {
            ctx.wait(tokio::task::yield_now().into_actor(self));
        }
    }
}

impl Handler<Seen> for Counter {
    type Result = u64;

    fn handle(&mut self, _: Seen, _: &mut Self::Context) -> u64 {
        self.seen
    }
}

fn builder(network: &MemoryNetwork, id: u64) -> actogen::ContextBuilder {
    let transport = network.transport(ContextId(id), id.to_string(), Duration::from_secs(5));
    Context::builder()
        .placement(Placement::Inline)
        .limits(Limits { mailbox_messages: 24_000, ..Limits::default() })
        .transport(|_| Box::pin(async move { Ok(transport) }))
}

#[tokio::test]
async fn a_slow_receiver_pauses_its_senders_and_loses_nothing() {
    const ITEMS: u64 = 60_000;
    LocalSet::new()
        .run_until(async {
            let network = MemoryNetwork::new("flow.test", [3; 32]);
            let root =
                builder(&network, 0).authority(network.authority()).start().await.expect("a root");
            let child = builder(&network, 1).connect("0").start().await.expect("a child");
            let far = child.start(Counter::default()).attach(&root);
            let near = root.start(Counter::default());
            for counter in [far, near] {
                for n in 0..ITEMS {
                    counter.tell(Item(n, vec![7; 64])).await.expect("it finds room in time");
                }
                assert_eq!(counter.send(Seen).await.expect("it lives"), ITEMS);
            }
            let (at_root, at_child) = (root.stats(), child.stats());
            assert_eq!(at_root.dead() + at_child.dead(), 0, "{at_root:?} {at_child:?}");
            let sent = at_root.sent + at_child.sent;
            assert_eq!(sent, at_root.delivered + at_child.delivered);
        })
        .await;
}

#[tokio::test]
async fn a_paused_mailbox_hands_messages_back_and_goes_on_when_its_actor_ends() {
    LocalSet::new()
        .run_until(async {
            let network = MemoryNetwork::new("flow.test", [3; 32]);
            let root =
                builder(&network, 0).authority(network.authority()).start().await.expect("a root");
            let child = builder(&network, 1).connect("0").start().await.expect("a child");
            let far = child.start(Stuck);
            let from_root = far.clone().attach(&root);
            let mut sent = 0_u64;
            let refused = loop {
                match from_root.try_send(Item(sent, vec![7; 64])) {
                    Ok(()) => sent += 1,
                    Err(error) => break error,
                }
                tokio::task::yield_now().await;
                assert!(sent < 100_000, "nobody asks to pause");
            };
            assert!(matches!(refused, SendError::Full(Item(n, _)) if n == sent), "{refused:?}");
            let waiting = tokio::task::spawn_local({
                let from_root = from_root.clone();
                async move { from_root.send(Seen).await }
            });
            tokio::task::yield_now().await;
            child.stop(&far, actogen::StopReason::Killed);
            let dead = waiting.await.expect("it does not panic").expect_err("the actor is gone");
            assert_eq!(dead.reason(), Some(DeadReason::Stopped), "{dead:?}");
            assert_eq!(child.stats().dead_of(DeadReason::MailboxFull), 0, "the pause came in time");
        })
        .await;
}

/// Begins to wait at once and never ends.
#[derive(RemoteActor)]
#[remote(name = "flow.stuck", messages(Item, Seen))]
struct Stuck;

impl Actor for Stuck {
    type Context = actix::Context<Self>;
}

impl Handler<Item> for Stuck {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Item, _: &mut Self::Context) -> Self::Result {
        AtomicResponse::new(Box::pin(std::future::pending::<()>().into_actor(self)))
    }
}

impl Handler<Seen> for Stuck {
    type Result = u64;

    fn handle(&mut self, _: Seen, _: &mut Self::Context) -> u64 {
        0
    }
}
