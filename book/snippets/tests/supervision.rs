//! The snippets of the chapters about supervision, names and groups, and topics.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

use actogen::{Backoff, ChildSpec, ChildState, Choice, Restart, Strategy, Supervision, prelude::*};

actogen::test_child!();

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "shop.Price", reply = "u64")]
struct Price(String);

// ANCHOR: built
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "org.Built")]
struct Built {
    version: u64,
}
// ANCHOR_END: built

#[derive(RemoteActor, Default)]
#[remote(name = "shop.prices", messages(Price), spawn)]
struct Prices;

impl Actor for Prices {
    type Context = actix::Context<Self>;
}

impl Handler<Price> for Prices {
    type Result = u64;
    fn handle(&mut self, Price(item): Price, _: &mut Self::Context) -> u64 {
        match item.as_str() {
            "" => panic!("what item?"),
            item => item.len() as u64,
        }
    }
}

#[actogen::test]
async fn a_child_begins_anew_and_keeps_its_mailbox(cx: Context) -> actogen::Result<()> {
    // ANCHOR: local
    let shop = cx.supervise(
        Supervision::new(Strategy::OneForOne)
            .backoff(Backoff::new(
                Duration::from_millis(10),
                Duration::from_secs(1),
                Duration::from_secs(60),
            ))
            .child(ChildSpec::local("prices", |_| Prices))
            .child(ChildSpec::local("import", |_| Prices).restart(Restart::Transient)),
    );
    let prices = shop.child::<Prices>("prices").await?;
    let (bad, good) = (prices.send(Price("".into())), prices.send(Price("tea".into())));
    assert!(bad.await.is_err());
    // It was in the mailbox when the actor panicked. Its next life answers.
    assert_eq!(good.await?, 3);
    // ANCHOR_END: local

    // ANCHOR: orders
    shop.stop("import").await?;
    let status = shop.status().await?;
    assert_eq!((status[0].state, status[0].restarts), (ChildState::Up, 1));
    assert_eq!(status[1].state, ChildState::Stopped);
    shop.start("import").await?;
    // ANCHOR_END: orders
    shop.end().await;
    Ok(())
}

#[actogen::test]
async fn a_process_is_a_child_too(cx: Context) -> actogen::Result<()> {
    // ANCHOR: processes
    let shop = cx.supervise(
        Supervision::new(Strategy::OneForOne)
            .child(ChildSpec::context("east", Launch::local))
            .child(ChildSpec::spawned::<Prices>("prices in the east", ()).in_context("east")),
    );
    let prices = shop.child::<Prices>("prices in the east").await?;
    assert_eq!(prices.send(Price("tea".into())).await?, 3);
    // ANCHOR_END: processes

    // ANCHOR: lost
    let down = cx.watch(&prices);
    shop.renew("east").await?;
    println!("{}", down.await);
    // Another process, and another address.
    let prices = shop.child::<Prices>("prices in the east").await?;
    assert_eq!(prices.send(Price("tea".into())).await?, 3);
    // ANCHOR_END: lost
    shop.end().await;

    // ANCHOR: stable
    let moves = ChildSpec::spawned::<Prices>("prices", ()).in_context("east").stable();
    let shop = cx.supervise(
        Supervision::new(Strategy::OneForOne)
            .child(ChildSpec::context("east", Launch::local))
            .child(moves),
    );
    let prices = shop.child::<Prices>("prices").await?;
    assert_eq!(prices.send(Price("tea".into())).await?, 3);
    shop.renew("east").await?;
    let other = shop.place("east").await?;
    println!("{} is there now, and the address is the same", other.context);
    assert_eq!(prices.send(Price("tea".into())).await?, 3);
    // ANCHOR_END: stable
    shop.end().await;
    Ok(())
}

#[actogen::test]
async fn names_and_groups(cx: Context) -> actogen::Result<()> {
    let prices = cx.start(Prices);
    // ANCHOR: names
    let claim = cx.claim("prices", &prices).await?;
    let found = cx.resolve::<Prices>("prices").await?;
    assert_eq!(found, prices);
    // Or, where it may not be there yet:
    let found = cx.resolve_within::<Prices>("prices", Duration::from_secs(5)).await?;
    // ANCHOR_END: names
    assert_eq!(found, prices);
    claim.release().await?;

    // ANCHOR: groups
    let desks = cx.group::<Prices>("price desks").await?;
    desks.join(&prices).await?;
    desks.broadcast(Price("tea".into()));
    let Ok(request) = desks.send(Choice::ByKey(b"tea"), Price("tea".into())) else {
        return Err("nobody is in the group".into());
    };
    assert_eq!(request.await?, 3);
    // ANCHOR_END: groups
    Ok(())
}

#[actogen::test]
async fn topics(cx: Context) -> actogen::Result<()> {
    // ANCHOR: topics
    let mut builds = cx.subscribe::<Built>("org.*.built")?;
    cx.publish("org.compiler.built", &Built { version: 7 }).await?;
    let built = builds.next().await?;
    assert_eq!((built.topic.as_str(), built.message.version), ("org.compiler.built", 7));
    // ANCHOR_END: topics
    assert_eq!(built.from, cx.id());
    Ok(())
}

#[actogen::test]
async fn links(cx: Context) -> actogen::Result<()> {
    let (prices, cache) = (cx.start(Prices), cx.start(Prices));
    // ANCHOR: links
    cx.link(&prices, &cache).await?;
    let down = cx.watch(&cache);
    prices.send(Price("".into())).await.unwrap_err();
    println!("{}", down.await); // stopped with an error: linked to 0/..., which was lost: panicked: what item?
    // ANCHOR_END: links
    Ok(())
}
