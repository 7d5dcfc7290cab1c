//! Addresses and messages, as the chapter of that name shows them.

// ANCHOR: imports
use actogen::{Codec, Policy, RemoteMessage as _, prelude::*};
// ANCHOR_END: imports

// ANCHOR: messages
/// One way: without `reply`, handlers answer `()`.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Restock")]
struct Restock {
    article: String,
    pieces: u32,
}

/// The handler's answer is part of the message. It may be a `Result` with an error of your own.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Buy", version = 2, reply = "Result<u32, SoldOut>", codec = "json")]
struct Buy {
    article: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SoldOut;
// ANCHOR_END: messages

// ANCHOR: asynchronous
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Order", reply = "u32")]
struct Order {
    articles: Vec<String>,
    /// An address in a message: the receiver can use it at once.
    from: Remote<Shop>,
}

impl Handler<Order> for Agent {
    type Result = ResponseFuture<u32>;

    fn handle(&mut self, order: Order, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            let mut bought = 0;
            for article in order.articles {
                if let Ok(Ok(_left)) = order.from.send(Buy { article }).await {
                    bought += 1;
                }
            }
            bought
        })
    }
}
// ANCHOR_END: asynchronous

#[derive(RemoteActor, Default)]
#[remote(name = "shop.agent", messages(Order), spawn)]
struct Agent;

impl Actor for Agent {
    type Context = actix::Context<Self>;
}

// ANCHOR: inbound
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.WhoAmI", reply = "u64")]
struct WhoAmI;

#[derive(RemoteActor, Default)]
#[remote(name = "shop", messages(Restock, Buy), inbound(WhoAmI), spawn)]
struct Shop {
    stock: std::collections::HashMap<String, u32>,
}

impl Handler<Inbound<WhoAmI>> for Shop {
    type Result = u64;

    fn handle(&mut self, who: Inbound<WhoAmI>, _: &mut Self::Context) -> u64 {
        who.origin.source.0
    }
}
// ANCHOR_END: inbound

impl Actor for Shop {
    type Context = actix::Context<Self>;
}

impl Handler<Restock> for Shop {
    type Result = ();

    fn handle(&mut self, Restock { article, pieces }: Restock, _: &mut Self::Context) {
        *self.stock.entry(article).or_default() += pieces;
    }
}

impl Handler<Buy> for Shop {
    type Result = Result<u32, SoldOut>;

    fn handle(&mut self, Buy { article }: Buy, _: &mut Self::Context) -> Self::Result {
        let left = self.stock.get_mut(&article).filter(|left| **left > 0).ok_or(SoldOut)?;
        *left -= 1;
        Ok(*left)
    }
}

actogen::test_child!();

#[actogen::test]
async fn an_actor_gets_an_address_by_bind_or_start(cx: Context) -> actogen::Result<()> {
    // ANCHOR: bind
    let running: Addr<Shop> = Shop::default().start();
    let bound: Remote<Shop> = cx.bind(&running)?;
    // ANCHOR_END: bind
    // ANCHOR: start
    let started: Remote<Shop> = cx.start(Shop::default());
    // ANCHOR_END: start
    for shop in [bound, started] {
        assert_eq!(shop.send(Buy { article: "tea".into() }).await?, Err(SoldOut));
    }
    Ok(())
}

#[actogen::test]
async fn one_way_messages_and_requests_keep_their_order(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let shop = child.spawn::<Shop>(()).await?;
    // ANCHOR: send
    // Waits for room on the way, then the message is gone.
    shop.tell(Restock { article: "tea".into(), pieces: 2 }).await?;
    // Never waits. Without room the message comes back in the error.
    shop.try_send(Restock { article: "tea".into(), pieces: 1 })?;
    // Never waits and never fails. Without room it is a counted dead letter.
    shop.do_send(Restock { article: "tea".into(), pieces: 1 });
    // Waits for room, and for the answer; here for two seconds at most.
    let left =
        shop.send(Buy { article: "tea".into() }).within(std::time::Duration::from_secs(2)).await?;
    assert_eq!(left, Ok(3));
    // ANCHOR_END: send
    Ok(())
}

#[actogen::test]
async fn an_address_travels_in_a_message(cx: Context) -> actogen::Result<()> {
    // ANCHOR: travel
    let shop = cx.start(Shop::default());
    shop.tell(Restock { article: "tea".into(), pieces: 1 }).await?;

    let child = cx.launch(Launch::local()).await?;
    let agent = child.spawn::<Agent>(()).await?;
    let articles = vec!["tea".into(), "tea".into()];
    let bought = agent.send(Order { articles, from: shop.clone() }).await?;
    assert_eq!(bought, 1);
    // ANCHOR_END: travel
    Ok(())
}

#[actogen::test]
async fn a_handler_learns_who_sent_a_message(cx: Context) -> actogen::Result<()> {
    let shop = cx.start(Shop::default());
    assert_eq!(shop.send(WhoAmI).await?, cx.id().0);
    Ok(())
}

#[actogen::test]
async fn names_are_found_where_they_are_registered(cx: Context) -> actogen::Result<()> {
    // ANCHOR: names
    let shop = cx.start(Shop::default());
    cx.register("corner-shop", &shop)?;

    let found = cx.lookup::<Shop>("corner-shop").await?;
    assert_eq!(found, shop);
    // In another context: `child.lookup(name)`, or `cx.lookup_in(place, name)`.
    let wrong = cx.lookup::<Agent>("corner-shop").await;
    assert_eq!(
        wrong.unwrap_err().to_string(),
        "`corner-shop` is an actor of kind `shop`, not `shop.agent`"
    );
    // ANCHOR_END: names
    Ok(())
}

#[actogen::test]
async fn an_address_is_a_value(cx: Context) -> actogen::Result<()> {
    let shop = cx.start(Shop::default());
    // ANCHOR: value
    // Prints where the actor is and a digest of its handle: what is printed cannot be used to send.
    println!("{shop}");
    // Knows one message only, of whatever actor.
    let buyers: RemoteRecipient<Buy> = shop.recipient();
    assert_eq!(buyers.send(Buy { article: "tea".into() }).await?, Err(SoldOut));
    // Decoded outside of a message it belongs to no context, until it is attached to one.
    let bytes = Codec::Postcard.encode(&shop)?;
    let decoded: Remote<Shop> = Codec::Postcard.decode(&bytes)?;
    assert!(matches!(decoded.send(WhoAmI).await, Err(SendError::Unattached(_))));
    assert_eq!(decoded.attach(&cx).send(WhoAmI).await?, cx.id().0);
    // ANCHOR_END: value
    Ok(())
}

#[actogen::test]
async fn a_policy_narrows_who_may_send(cx: Context) -> actogen::Result<()> {
    let child = cx.launch(Launch::local()).await?;
    let agent = child.spawn::<Agent>(()).await?;
    // ANCHOR: policy
    let shop = cx.start_with(Shop::default(), Policy::OnlySelf);
    shop.tell(Restock { article: "tea".into(), pieces: 1 }).await?;
    let order = Order { articles: vec!["tea".into()], from: shop.clone() };
    assert_eq!(agent.send(order).await?, 0, "the agent is in another context, and is refused");
    // ANCHOR_END: policy
    assert_eq!(cx.stats().dead_of(actogen::DeadReason::Refused), 1);
    Ok(())
}

#[test]
fn another_version_is_another_message() {
    assert_ne!(Buy::TAG, Restock::TAG);
    assert_eq!((Buy::NAME, Buy::VERSION), ("shop.Buy", 2));
}
