//! Recorders: what was published while a consumer was away comes to it later, in order and once.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{ops::RangeInclusive, time::Duration};

use actogen::{
    AckLevel, CatchUp, Context, Deliveries, Record, ReplayRange,
    archive::{Archive, PagedRecord, ReadPage, ReplayAsk, ReplayCursor, ReplayPage},
    names::Holder,
};
use actogen_journal::{KeepRecords, Recorder, RecorderBuilder, store::MemoryStore};

use super::publishing::{AMPLE, Order, TOPIC};
use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

/// A recorder, a consumer that is to be, and a publisher.
struct Three {
    root: Context,
    recorder: Context,
    consumer: Context,
    publisher: Context,
}

async fn three<F: Fabric>(mesh: &Mesh<F>) -> actogen::Result<Three> {
    let root = mesh.root().await?;
    let recorder = mesh.named_child(&root, 1, &["recorder"], Holder::Stays).await?;
    let consumer = mesh.child(&root, 2).await?;
    let publisher = mesh.child(&consumer, 3).await?;
    Ok(Three { root, recorder, consumer, publisher })
}

fn recorder(context: &Context) -> RecorderBuilder {
    let store = MemoryStore::default();
    Recorder::builder(context, "").store(store).write_here().topic("org.>")
}

/// Publishes these, each when the recorder has stored the one before.
async fn publish(from: &Context, numbers: RangeInclusive<u64>) {
    for number in numbers {
        let publish = from.publish(TOPIC, &Order(number)).require(["recorder"]);
        let publish = publish.level(AckLevel::Durable).within(AMPLE);
        soon("it is stored", publish).await.unwrap();
    }
}

/// Takes these, in this order, and handles each.
async fn take(deliveries: &mut Deliveries<Order>, numbers: RangeInclusive<u64>) {
    for number in numbers {
        let delivery = soon("a delivery", deliveries.next()).await.unwrap();
        assert_eq!(delivery.message(), &Order(number));
        assert!(delivery.ok());
    }
}

/// What a consumer has missed while there was none comes in order, each once, and then what is live.
pub async fn g17_a_consumer_that_was_away_gets_the_missed_range_in_order<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Three { recorder: at, consumer, publisher, .. } = three(mesh).await?;
    let recorder = recorder(&at).open().await?;
    publish(&publisher, 1..=300).await;
    let consume = consumer.consume(TOPIC).catch_up(CatchUp::new("recorder"));
    let mut deliveries = consume.deliveries()?;
    // Over the seam: these are live for the consumer, or in the recorder, or both.
    tokio::join!(publish(&publisher, 301..=320), take(&mut deliveries, 1..=320));
    let stats = deliveries.consumption().stats();
    assert_eq!((stats.handled, stats.missed, stats.not_kept), (320, 0, 0), "{stats:?}");
    assert!(stats.replayed >= 300, "{stats:?}");
    // A consumer that remembers is given nothing twice by the next look.
    let next = tokio::time::timeout(Duration::from_millis(1500), deliveries.next());
    assert!(next.await.is_err(), "there is nothing more");
    assert!(deliveries.consumption().stats().catch_ups > stats.catch_ups);
    recorder.close().await;
    Ok(())
}

/// A consumer that is too slow for what is published has what it could not hold from the recorder.
pub async fn g17_what_a_consumer_could_not_hold_comes_from_the_recorder<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Three { recorder: at, consumer, publisher, .. } = three(mesh).await?;
    let recorder = recorder(&at).open().await?;
    let consume = consumer.consume(TOPIC).prefetch(4, 1 << 20);
    let mut deliveries = consume.catch_up(CatchUp::new("recorder")).deliveries()?;
    // Word of both is there.
    let (_, ()) = tokio::join!(publish(&publisher, 1..=1), take(&mut deliveries, 1..=1));
    for number in 2..=200 {
        publisher.publish(TOPIC, &Order(number)).signed().await?;
    }
    until("all are recorded", || recorder.stats().recorded == 200).await;
    take(&mut deliveries, 2..=200).await;
    let stats = deliveries.consumption().stats();
    assert_eq!((stats.missed, stats.overflowed), (0, 0), "{stats:?}");
    assert!(stats.replayed > 100, "{stats:?}");
    Ok(())
}

/// What is not kept any more is said, to who replays it and to who catches up.
pub async fn g17_what_is_not_kept_any_more_is_said<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Three { root, recorder: at, consumer, publisher } = three(mesh).await?;
    let keep = KeepRecords { messages: 10, ..KeepRecords::default() };
    let _recorder = recorder(&at).keep(keep).open().await?;
    publish(&publisher, 1..=30).await;
    let mut replay = root.replay("recorder", ReplayRange::of(["org.*"])?);
    let mut count = 0;
    while let Some(replayed) = soon("a message", replay.next()).await {
        assert_eq!(replayed?.signature.unwrap().sequence.number, 21 + count);
        count += 1;
    }
    assert_eq!((count, replay.kept_from().is_some()), (10, true));
    let consume = consumer.consume(TOPIC).catch_up(CatchUp::new("recorder"));
    let mut deliveries = consume.deliveries()?;
    take(&mut deliveries, 21..=30).await;
    let consumption = deliveries.consumption();
    until("it is said", || consumption.stats().not_kept == 1).await;
    Ok(())
}

/// A recorder that alters what it has kept.
struct Liar(Vec<PagedRecord>);

impl Archive for Liar {
    fn page(&self, _: ReplayAsk) -> ReadPage {
        let cursor = ReplayCursor::At { position: 2, early: Vec::new() };
        let (records, is_end, kept_from, withheld) = (self.0.clone(), true, None, 0);
        let page = ReplayPage { records, cursor, is_end, kept_from, withheld };
        Box::pin(std::future::ready(Ok(page)))
    }
}

/// What a recorder has altered does not hold: it is refused, and counted, by who replays it and by who catches up.
pub async fn g17_an_altered_replay_is_refused<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let Three { root, recorder: at, consumer, publisher } = three(mesh).await?;
    let mut recording = at.record([TOPIC])?;
    let recorded = soon("it comes", async {
        loop {
            publisher.publish(TOPIC, &Order(1)).signed().await.unwrap();
            let next = tokio::time::timeout(Duration::from_millis(5), recording.next());
            if let Ok(recorded) = next.await {
                return recorded.unwrap();
            }
        }
    })
    .await;
    let genuine = recorded.record().to_bytes()?;
    let mut altered = genuine.to_vec();
    // The order's number, in front of what is signed beside it.
    let at_body = 1 + TOPIC.len();
    let body = altered[at_body..].windows(2).position(|pair| pair == [1, 1]).unwrap();
    altered[at_body + body + 1] = 2;
    assert!(Record::from_bytes(&altered).is_ok(), "it is a record all the same");
    let at_time = u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
    let paged = |position, record: &[u8]| PagedRecord {
        position,
        at: at_time,
        record: record.to_vec().into(),
    };
    at.serve_replays("liar", Liar(vec![paged(1, &altered), paged(2, &genuine)]), None);
    let mut replay = root.replay("liar", ReplayRange::of([TOPIC])?);
    let replayed = soon("the genuine one", replay.next()).await.unwrap()?;
    assert_eq!((replayed.position, replayed.from), (2, publisher.id()));
    assert!(soon("the end", replay.next()).await.is_none());
    assert_eq!((replay.refused(), root.publish_stats().await?.forged), (1, 1));
    let consume = consumer.consume(TOPIC).catch_up(CatchUp::new("liar"));
    let mut deliveries: Deliveries<Order> = consume.deliveries()?;
    take(&mut deliveries, 1..=1).await;
    assert_eq!(consumer.publish_stats().await?.forged, 1);
    Ok(())
}

/// While no recorder answers what is live waits for it no longer than is said; and what was missed comes when there is one.
pub async fn g17_a_recorder_that_is_away_holds_nothing_up_for_long<F: Fabric>(
    mesh: &Mesh<F>,
) -> Outcome {
    let Three { recorder: at, consumer, publisher, .. } = three(mesh).await?;
    let catch_up = CatchUp::new("recorder").patience(Duration::from_millis(200));
    let catch_up = catch_up.check_every(Duration::from_millis(200));
    let mut deliveries = consumer.consume(TOPIC).catch_up(catch_up).deliveries()?;
    let consumption = deliveries.consumption();
    publisher.know_subscriptions().await?;
    publisher.publish(TOPIC, &Order(1)).signed().await?;
    take(&mut deliveries, 1..=1).await;
    assert!(consumption.stats().catch_ups_failed > 0);
    let recorder = recorder(&at).open().await?;
    let (_, ()) = tokio::join!(publish(&publisher, 2..=10), take(&mut deliveries, 2..=10));
    assert_eq!(recorder.stats().recorded, 9);
    Ok(())
}
