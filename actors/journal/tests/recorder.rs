//! A recorder: what it keeps, what it drops, what it gives again.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::Duration;

use actogen::{
    AckLevel, Context, ContextId, PublishPolicy, Replay, ReplayRange, Replayed,
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{
    Journal, KeepRecords, Recorder, RecorderBuilder, RecorderError,
    store::{FileStore, MemoryStore, StoreError},
};

#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Order")]
struct Order(u64);

const AMPLE: Duration = Duration::from_secs(60);

fn builder(context: &Context, store: &MemoryStore) -> RecorderBuilder {
    Recorder::builder(context, "").store(store.clone()).write_here()
}

/// Publishes these, each until the recorder has it.
async fn publish(from: &Context, topic: &str, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let publish = from.publish(topic, &Order(number)).require(["recorder"]);
        publish.level(AckLevel::Durable).within(AMPLE).await.unwrap();
    }
}

fn number(replayed: &Replayed) -> u64 {
    replayed.codec.unwrap().decode::<Order>(&replayed.body).unwrap().0
}

async fn numbers(mut replay: Replay) -> (Vec<u64>, Replay) {
    let mut numbers = Vec::new();
    while let Some(replayed) = replay.next().await {
        numbers.push(number(&replayed.unwrap()));
    }
    (numbers, replay)
}

fn of(pattern: &str) -> ReplayRange {
    ReplayRange::of([pattern]).unwrap()
}

async fn three(mesh: &TestMesh) -> (Context, Context, Context) {
    let root = mesh.root().await;
    let recorder = mesh.named_child(&root, &["recorder"]).await;
    let publisher = mesh.child(&root).await;
    (root, recorder, publisher)
}

#[test]
fn g17_ranges_are_replayed_in_order_with_their_signatures() {
    testing::run(async |mesh| {
        let (root, at, publisher) = three(mesh).await;
        let store = MemoryStore::default();
        let recorder = builder(&at, &store).topic("org.>").topic("org.*").open().await?;
        publish(&publisher, "org.a", 1..=300).await;
        publish(&publisher, "org.b.c", 301..=310).await;
        assert_eq!(recorder.stats().recorded, 310, "one that two patterns match is kept once");
        // More than a page.
        let (all, replay) = numbers(root.replay("recorder", of("org.>"))).await;
        assert_eq!(all, (1..=310).collect::<Vec<_>>());
        assert_eq!((replay.kept_from(), replay.refused(), replay.position()), (None, 0, Some(310)));
        let (last, _) = numbers(root.replay("recorder", of("org.a").last(5))).await;
        assert_eq!(last, [296, 297, 298, 299, 300], "others lie behind them");
        let (after, _) = numbers(root.replay("recorder", of(">").after(308))).await;
        assert_eq!(after, [309, 310]);
        let mut one = root.replay(recorder.replays().clone(), of("org.a").sequence(300));
        let replayed = one.next().await.unwrap()?;
        let signature = replayed.signature.unwrap();
        assert_eq!((replayed.from, signature.sequence.number), (publisher.id(), 300));
        assert!(one.next().await.is_none());
        // By one series, it is known exactly what there is.
        let range = of(">").publisher(publisher.id()).series(signature.sequence.series);
        let (some, replay) = numbers(root.replay("recorder", range.sequence(298))).await;
        assert_eq!((some, replay.kept_from()), (vec![298, 299, 300], None));
        let nobody = of(">").publisher(ContextId(99));
        assert_eq!(numbers(root.replay("recorder", nobody)).await.0, Vec::<u64>::new());
        Ok(())
    });
}

#[test]
fn plain_messages_are_kept_too_and_have_no_signature() {
    testing::run(async |mesh| {
        let (root, at, publisher) = three(mesh).await;
        let recorder = builder(&at, &MemoryStore::default()).topic("t").open().await?;
        publish(&publisher, "t", [1]).await;
        publisher.publish("t", &Order(2)).await?;
        while recorder.stats().recorded < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut replay = root.replay("recorder", of("t"));
        assert!(replay.next().await.unwrap()?.signature.is_some());
        let plain = replay.next().await.unwrap()?;
        assert_eq!((number(&plain), plain.from, plain.signature), (2, publisher.id(), None));
        Ok(())
    });
}

#[test]
fn what_is_published_again_is_kept_once_and_acknowledged_again() {
    testing::run(async |mesh| {
        let (root, at, publisher) = three(mesh).await;
        let recorder = builder(&at, &MemoryStore::default()).topic("t").open().await?;
        publish(&publisher, "t", [1]).await;
        // Its acknowledgements do not come: it is sent again.
        let other = mesh.named_child(&root, &["other"]).await;
        let silent = publisher.publish("t", &Order(2)).require(["recorder", "other"]);
        silent.within(Duration::from_secs(3)).await.unwrap_err();
        drop(other);
        assert_eq!(recorder.stats().recorded, 2);
        assert!(recorder.stats().again > 0);
        let (all, _) = numbers(root.replay("recorder", of("t"))).await;
        assert_eq!(all, [1, 2]);
        Ok(())
    });
}

#[test]
fn the_oldest_go_by_number_by_bytes_and_by_age_and_that_is_said() {
    testing::run(async |mesh| {
        let (root, at, publisher) = three(mesh).await;
        let store = MemoryStore::default();
        let keep = KeepRecords { messages: 10, ..KeepRecords::default() };
        let recorder = builder(&at, &store).topic("t").keep(keep).open().await?;
        publish(&publisher, "t", 1..=25).await;
        let (kept, replay) = numbers(root.replay("recorder", of("t"))).await;
        assert_eq!(kept, (16..=25).collect::<Vec<_>>());
        assert!(replay.kept_from().is_some(), "never silently");
        let stats = recorder.stats();
        assert_eq!((stats.messages, stats.dropped), (10, 15));
        // Of what is there nothing is missing.
        let (_, replay) = numbers(root.replay("recorder", of("t").after(15))).await;
        assert_eq!(replay.kept_from(), None);
        let (_, replay) = numbers(root.replay("recorder", of("t").after(14))).await;
        assert!(replay.kept_from().is_some());
        recorder.close().await;

        // A bound that is lowered holds for what is there.
        let keep = KeepRecords { bytes: stats.bytes / 2, ..KeepRecords::default() };
        let recorder = builder(&at, &store).topic("t").keep(keep).open().await?;
        publish(&publisher, "t", [26]).await;
        let stats = recorder.stats();
        assert!(stats.bytes <= keep.bytes && (4..=5).contains(&stats.messages), "{stats:?}");
        recorder.close().await;

        let keep = KeepRecords { time: Duration::from_secs(100), ..KeepRecords::default() };
        let recorder = builder(&at, &store).topic("t").keep(keep).open().await?;
        tokio::time::sleep(Duration::from_secs(90)).await;
        publish(&publisher, "t", [27]).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (kept, replay) = numbers(root.replay("recorder", of("t"))).await;
        assert_eq!(kept, [27], "the others are two minutes old");
        assert!(replay.kept_from().is_some());
        recorder.close().await;
        Ok(())
    });
}

#[test]
fn a_recorder_goes_on_where_it_was_and_a_reader_with_it() {
    testing::run(async |mesh| {
        let (root, at, publisher) = three(mesh).await;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("topics.redb");
        let open =
            async |at: &Context| Recorder::builder(at, &file).topic("t").write_here().open().await;
        let recorder = open(&at).await?;
        publish(&publisher, "t", 1..=300).await;
        let mut replay = root.replay("recorder", of("t"));
        assert_eq!(number(&replay.next().await.unwrap()?), 1);
        // A second process has no part in the file; nor has a journal.
        let second = open(&at).await.unwrap_err();
        assert!(matches!(&second, RecorderError::Store(StoreError::InUse { .. })), "{second}");
        mesh.crash(&at).await;
        drop(recorder);
        let at = mesh.restart(&at, &root).await;
        let recorder = loop {
            match open(&at).await {
                Err(RecorderError::Store(StoreError::InUse { .. })) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                opened => break opened?,
            }
        };
        publish(&publisher, "t", [301]).await;
        let (rest, _) = numbers(replay).await;
        assert_eq!(rest, (2..=301).collect::<Vec<_>>());
        recorder.close().await;
        let journal = Journal::builder(&at, &file).write_here().open().await.unwrap_err();
        assert!(journal.to_string().contains("is a recorder's"), "{journal}");
        let other = folder.path().join("journal.redb");
        Journal::builder(&at, &other).write_here().open().await?.close().await;
        let builder = Recorder::builder(&at, "").store(FileStore::open(&other)?).write_here();
        let journals = builder.topic("t").open().await.unwrap_err();
        assert!(journals.to_string().contains("is a journal's"), "{journals}");
        Ok(())
    });
}

#[test]
fn who_may_read_what_is_a_policy() {
    testing::run(async |mesh| {
        let (root, at, publisher) = three(mesh).await;
        let policy = PublishPolicy::deny_all().allow_context(root.id(), "a")?;
        let recorder = builder(&at, &MemoryStore::default()).topic(">").readers(policy);
        let _recorder = recorder.open().await?;
        publish(&publisher, "a", [1]).await;
        publish(&publisher, "b", [2]).await;
        let (some, replay) = numbers(root.replay("recorder", of(">"))).await;
        assert_eq!((some, replay.withheld()), (vec![1], 1));
        let (none, replay) = numbers(publisher.replay("recorder", of(">"))).await;
        assert_eq!((none, replay.withheld()), (vec![], 2));
        Ok(())
    });
}

#[test]
fn a_revoked_publishers_messages_and_those_of_no_policy_are_refused_by_who_reads() {
    testing::run(async |mesh| {
        let (root, at, publisher) = three(mesh).await;
        let _recorder = builder(&at, &MemoryStore::default()).topic("t").open().await?;
        publish(&publisher, "t", [1]).await;
        at.set_publish_policy(PublishPolicy::deny_all())?;
        let (none, replay) = numbers(at.replay("recorder", of("t"))).await;
        assert_eq!((none, replay.refused()), (vec![], 1));
        root.revoke(publisher.id())?;
        let (none, replay) = numbers(root.replay("recorder", of("t"))).await;
        assert_eq!((none, replay.refused()), (vec![], 1));
        Ok(())
    });
}

#[test]
fn a_recorder_that_is_not_there_is_said_to_be_so() {
    testing::run(async |mesh| {
        let root = mesh.root().await;
        let mut replay = root.replay("nobody", of("t")).patience(Duration::from_secs(1));
        let error = replay.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
        let none: [&str; 0] = [];
        let _recorder = builder(&root, &MemoryStore::default()).topic("t").open().await?;
        let mut replay = root.replay("recorder", ReplayRange::of(none)?);
        let error = replay.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("no range"), "{error}");
        Ok(())
    });
}
