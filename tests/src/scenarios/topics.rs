//! What is published goes to all who have subscribed.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use actogen::{Context, Missed, Subscription, prelude::*};

use crate::{
    actors::{Desk, Echo},
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

/// What is published here, with a number to see the order by.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.News")]
struct News(u64, Vec<u8>);

/// The next message, as its topic and number.
async fn next(subscription: &mut Subscription<News>) -> (String, u64) {
    let published = soon("a message", subscription.next()).await.unwrap();
    (published.topic, published.message.0)
}

/// Waits until what each of these publishes comes to the subscription: word of that is there then.
async fn heard_by(subscription: &mut Subscription<News>, topic: &str, contexts: &[&Context]) {
    for context in contexts {
        let come = async {
            loop {
                let published = subscription.next().await.unwrap();
                if published.from == context.id() {
                    return;
                }
            }
        };
        let tell = async {
            loop {
                context.publish(topic, &News(0, Vec::new())).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        soon("word of the subscription", async {
            tokio::select! {
                () = come => {}
                () = tell => {}
            }
        })
        .await;
    }
}

/// Takes out what came while word of the subscription spread, up to the first of these.
async fn first_above_zero(subscription: &mut Subscription<News>) -> (String, u64) {
    loop {
        let got = next(subscription).await;
        if got.1 > 0 {
            return got;
        }
    }
}

/// Messages come to those whose pattern their topic matches, wherever they are, in the order of their publisher.
pub async fn what_is_published_comes_to_who_has_subscribed<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let other = mesh.child(&root, 3).await?;
    let all = [&root, &chain[0], &chain[1], &other];
    let mut done: Subscription<News> = chain[1].subscribe("org.*.done")?;
    let mut every: Subscription<News> = other.subscribe("org.>")?;
    heard_by(&mut done, "org.x.done", &all).await;
    heard_by(&mut every, "org.x", &all).await;
    for publisher in all {
        for number in 1..=5 {
            publisher.publish("org.build.done", &News(number, Vec::new())).await?;
            publisher.publish("org.build.begun", &News(number + 10, Vec::new())).await?;
            publisher.publish("org", &News(99, Vec::new())).await?;
        }
        for number in 1..=5 {
            assert_eq!(first_above_zero(&mut done).await, ("org.build.done".to_owned(), number));
            assert_eq!(first_above_zero(&mut every).await, ("org.build.done".to_owned(), number));
            assert_eq!(next(&mut every).await, ("org.build.begun".to_owned(), number + 10));
        }
    }
    for bad in ["", "a..b", "a.>.b"] {
        assert!(root.subscribe::<News>(bad).is_err(), "{bad}");
        assert!(root.publish(bad, &News(1, Vec::new())).await.is_err(), "{bad}");
    }
    let wild = root.publish("org.*", &News(1, Vec::new())).await.unwrap_err();
    assert!(wild.to_string().contains("stand alone"), "{wild}");
    Ok(())
}

/// However many have subscribed behind a link, a message takes it once; where nobody has, it takes none.
pub async fn a_message_takes_each_link_once<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let chain = mesh.chain(&root, 1..=2).await?;
    let other = mesh.child(&root, 3).await?;
    let mut subscriptions: Vec<Subscription<News>> = Vec::new();
    for context in [&chain[0], &chain[1]] {
        for _ in 0..3 {
            subscriptions.push(context.subscribe("a.b")?);
        }
    }
    for subscription in &mut subscriptions {
        heard_by(subscription, "a.b", &[&root]).await;
    }
    // Words about interest have gone by now.
    soon("an answer", root.ping(other.place())).await?;
    let (sent, at_other) = (root.stats().sent, other.stats().delivered);
    for number in 1..=10 {
        root.publish("a.b", &News(number, Vec::new())).await?;
    }
    for subscription in &mut subscriptions {
        assert_eq!(first_above_zero(subscription).await.1, 1);
        for number in 2..=10 {
            assert_eq!(next(subscription).await.1, number);
        }
    }
    // Ten to the context's own topics, and ten by the one link; a copy for each subscriber would be sixty. What was under way before may
    // be among them.
    assert!((20..30).contains(&(root.stats().sent - sent)), "{}", root.stats().sent - sent);
    assert_eq!(other.stats().delivered, at_other);
    // When nobody wants it any more, it stays here.
    drop(subscriptions);
    loop {
        let sent = root.stats().sent;
        root.publish("a.b", &News(1, Vec::new())).await?;
        soon("an answer", root.ping(other.place())).await?;
        if root.stats().sent - sent == 1 {
            break;
        }
    }
    Ok(())
}

/// An actor gets what is published until it ends.
pub async fn an_actor_can_subscribe<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let desk = child.start(Desk::default());
    child.subscribe_actor::<Desk, Echo>("to.desk", &desk)?;
    let mut probe: Subscription<News> = child.subscribe("to.probe")?;
    heard_by(&mut probe, "to.probe", &[&root]).await;
    let before = child.stats().delivered;
    root.publish("to.desk", &Echo(vec![7])).await?;
    // One carried here, one handed over.
    until("it is delivered", || child.stats().delivered >= before + 2).await;
    child.stop(&desk, actogen::StopReason::Normal);
    let down = soon("the end", child.watch(&desk)).await;
    assert!(down.stopped().is_some());
    Ok(())
}

/// What is published faster than a link takes it waits for room on the way, at each hop, and comes in its order.
pub async fn what_finds_no_room_on_a_link_comes_when_there_is_some<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    const BURST: u64 = 60;
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let other = mesh.child(&root, 2).await?;
    let mut news: Subscription<News> = other.subscribe("org.*")?;
    heard_by(&mut news, "org.a", &[&child]).await;
    // At once: they take turns with nobody.
    let publishes = (1..=BURST).map(|number| {
        let news = News(number, vec![0; 60_000]);
        let child = &child;
        async move { child.publish("org.a", &news).await }
    });
    let published = futures_util::future::join_all(publishes);
    let come = async {
        for number in 1..=BURST {
            assert_eq!(first_above_zero(&mut news).await, ("org.a".to_owned(), number));
        }
    };
    let (published, ()) = tokio::join!(published, come);
    assert!(published.iter().all(Result::is_ok), "{published:?}");
    for context in [&root, &child, &other] {
        let stats = context.publish_stats().await?;
        assert_eq!((stats.no_room, stats.misplaced), (0, 0));
    }
    Ok(())
}

/// Who takes nothing out misses what finds no room, and learns how much.
pub async fn who_takes_nothing_out_learns_what_was_dropped<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let mut slow: Subscription<News> = root.subscribe("big")?;
    let mut all: Subscription<News> = root.subscribe("small")?;
    for number in 1..=6 {
        root.publish("big", &News(number, vec![0; 1 << 20])).await?;
    }
    root.publish("small", &News(7, Vec::new())).await?;
    assert_eq!(next(&mut all).await.1, 7);
    for number in 1..=3 {
        assert_eq!(next(&mut slow).await.1, number);
    }
    assert_eq!(soon("the count", slow.next()).await, Err(Missed::Dropped(3)));
    root.publish("big", &News(8, Vec::new())).await?;
    assert_eq!(next(&mut slow).await.1, 8);
    Ok(())
}

/// A subscription follows its context to another parent.
pub async fn a_subscription_moves_with_its_context<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let (one, two) = (mesh.child(&root, 1).await?, mesh.child(&root, 2).await?);
    let below = mesh.child(&one, 3).await?;
    let mut news: Subscription<News> = below.subscribe("a")?;
    heard_by(&mut news, "a", &[&two, &root, &one]).await;
    soon("the move", below.attach_to(&two.endpoint().unwrap(), None)).await?;
    heard_by(&mut news, "a", &[&two, &root, &one]).await;
    mesh.kill(&one).await;
    root.publish("a", &News(5, Vec::new())).await?;
    assert_eq!(first_above_zero(&mut news).await.1, 5);
    Ok(())
}

/// A context below others that move stays where it was to its parent: both go on knowing what the other wants.
pub async fn what_is_published_comes_also_when_those_above_have_moved<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let root = mesh.root().await?;
    let other = mesh.child(&root, 1).await?;
    let moves = mesh.child(&root, 2).await?;
    let below = mesh.child(&moves, 3).await?;
    let mut at_root: Subscription<News> = root.subscribe("up")?;
    let mut at_moves: Subscription<News> = moves.subscribe("up")?;
    let mut at_below: Subscription<News> = below.subscribe("down")?;
    heard_by(&mut at_root, "up", &[&below]).await;
    heard_by(&mut at_moves, "up", &[&below]).await;
    heard_by(&mut at_below, "down", &[&root]).await;
    for (number, above) in [(1, &other), (2, &root), (3, &other)] {
        soon("the move", moves.attach_to(&above.endpoint().unwrap(), None)).await?;
        until("it is there", || {
            below.family().ancestors.get(1) == Some(&above.id())
                && root.next_hop(below.id()) != Some(below.id())
                && root.place_of(below.id()).is_some()
        })
        .await;
        heard_by(&mut at_root, "up", &[&below]).await;
        heard_by(&mut at_below, "down", &[&root]).await;
        // The parent itself has never been away.
        below.publish("up", &News(number, Vec::new())).await?;
        assert_eq!(first_above_zero(&mut at_moves).await, ("up".to_owned(), number));
        assert_eq!(first_above_zero(&mut at_root).await, ("up".to_owned(), number));
    }
    Ok(())
}
