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
    AckLevel, Confirmed, Context, ContextId, Deliveries, MessageId, Partial, PublishPolicy,
    ReliableError, Subscription, names::Holder, prelude::*,
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
pub(super) struct Order(pub(super) u64);

pub(super) const TOPIC: &str = "org.orders";

/// Long enough for what must come, on a machine that has much else to do.
pub(super) const AMPLE: Duration = PATIENCE;

/// What a publish that cannot succeed is given, where nothing must happen before.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// What one is given that must arrive before it fails.
pub(super) const ENOUGH: Duration = Duration::from_secs(2);

/// Handles each message at once, and says so, until the consumer ends; counts what it has handled.
pub(super) fn handles(mut deliveries: Deliveries<Order>) -> Arc<AtomicU64> {
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
pub(super) struct Two {
    pub(super) root: Context,
    pub(super) billing: Context,
    pub(super) audit: Context,
    pub(super) publisher: Context,
}

pub(super) async fn two<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<Two> {
    let root = mesh.root().await?;
    let billing = mesh.named_child(&root, 1, &["billing"], Holder::Stays).await?;
    let audit = mesh.named_child(&root, 2, &["audit"], Holder::Stays).await?;
    let publisher = mesh.child(&audit, 3).await?;
    Ok(Two { root, billing, audit, publisher })
}

pub(super) async fn publish(
    from: &Context,
    number: u64,
    required: &[&str],
    within: Duration,
) -> Result<Confirmed, ReliableError> {
    let publish = from.publish(TOPIC, &Order(number)).require(required.iter().copied());
    soon("an outcome", publish.within(within)).await
}

/// The partial result of a publish that has run out of time.
pub(super) fn timed_out(outcome: Result<Confirmed, ReliableError>) -> Partial {
    match outcome {
        Err(ReliableError::Timeout(partial)) => *partial,
        other => panic!("it must run out of time: {other:?}"),
    }
}

pub(super) fn rejected(outcome: Result<Confirmed, ReliableError>) -> Partial {
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

/// However often a message is sent until it is acknowledged, and published under its id: a subscription gets it once.
pub async fn what_is_sent_again_comes_to_a_subscription_once<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Two { root, publisher, .. } = two(mesh).await?;
    let mut subscribed: Subscription<Order> = root.subscribe(TOPIC)?;
    // Nobody consumes: it is sent again until its time is over.
    let partial = timed_out(publish(&publisher, 1, &["billing"], ENOUGH).await);
    let again = publisher.publish(TOPIC, &Order(1)).require(["billing"]).id(partial.id);
    timed_out(soon("an outcome", again.within(SHORT)).await);
    assert!(publisher.publish_stats().await?.sent > 2);
    publisher.publish(TOPIC, &Order(2)).await?;
    for number in [1, 2] {
        assert_eq!(soon("a message", subscribed.next()).await?.message, Order(number));
    }
    Ok(())
}
