//! The snippets of the chapter about reliable publish.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::time::{Duration, SystemTime};

use actogen::{
    AckLevel, CatchUp, Consumer, Delivery, PublishPolicy, ReliableError, Verdict,
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{KeepRecords, Recorder};

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "org.Build")]
struct Build {
    version: u64,
}

#[test]
fn a_publish_is_confirmed_by_all_who_must() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let audit = mesh.named_child(&root, &["audit"]).await;
        let billing = mesh.named_child(&root, &["billing"]).await;
        let cx = mesh.named_child(&root, &["builder"]).await;
        // ANCHOR: stream
        let mut builds = audit.consume::<Build>("org.*.done").deliveries()?;
        tokio::task::spawn_local(async move {
            while let Some(build) = builds.next().await {
                println!("{} of {}", build.message().version, build.from());
                build.ok();
            }
        });
        // ANCHOR_END: stream
        // ANCHOR: policy
        let policy = PublishPolicy::deny_all()
            .allow_name("builder", "org.build.>")?
            .allow_context(root.id(), "org.>")?;
        billing.set_publish_policy(policy)?;
        // ANCHOR_END: policy
        let (_, invoices) = billing.consume::<Build>("org.build.*").run(Invoices)?;
        // ANCHOR: require
        let build = Build { version: 7 };
        let publish = cx.publish("org.build.done", &build).require(["billing", "audit"]);
        match publish.within(Duration::from_secs(3)).await {
            Ok(confirmed) => println!("{} is handled by {:?}", confirmed.id, confirmed.acked),
            // They may have handled it: to say the same again is safe.
            Err(ReliableError::Timeout(partial)) => {
                println!("nothing from {:?}", partial.missing);
                let again = cx.publish("org.build.done", &build).require(["billing", "audit"]);
                again.id(partial.id).level(AckLevel::Processed).await?;
            }
            Err(error) => return Err(error.into()),
        }
        // ANCHOR_END: require
        assert_eq!(invoices.stats().handled, 1);
        let unknown = cx.publish("org.build.done", &build).require(["bilLing"]).await;
        assert_eq!(unknown, Err(ReliableError::UnknownRecipient(vec!["bilLing".into()])));
        Ok(())
    });
}

#[test]
fn a_consumer_that_was_away_catches_up() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let store = mesh.named_child(&root, &["recorder"]).await;
        let (cx, audit) = (mesh.child(&root).await, mesh.child(&root).await);
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("topics.redb");
        // ANCHOR: recorder
        let recorder = Recorder::builder(&store, file)
            .topic("org.>")
            .keep(KeepRecords { messages: 100_000, ..KeepRecords::default() })
            .open()
            .await?;
        let build = Build { version: 7 };
        let publish = cx.publish("org.build.done", &build).require(["recorder"]);
        publish.level(AckLevel::Durable).await?; // it is on the disk
        // ANCHOR_END: recorder
        // ANCHOR: catch_up
        let yesterday = SystemTime::now() - Duration::from_secs(86_400);
        let missed = CatchUp::new("recorder").since(yesterday);
        let mut builds = audit.consume::<Build>("org.*.done").catch_up(missed).deliveries()?;
        // ANCHOR_END: catch_up
        let delivery = builds.next().await.ok_or("it goes on")?;
        assert_eq!(delivery.message().version, 7);
        delivery.ok();
        recorder.close().await;
        Ok(())
    });
}

// ANCHOR: consumer
struct Invoices;

impl Consumer<Build> for Invoices {
    async fn handle(&mut self, build: &mut Delivery<Build>) -> Verdict {
        match build.message().version {
            0 => Verdict::Drop("a build has a version".into()),
            // Its parts may not be there yet.
            99 if build.attempt() < 3 => Verdict::Nack(Duration::from_secs(1)),
            version => {
                build.extend(Duration::from_secs(60)); // it takes long
                println!("an invoice for {version}");
                Verdict::Ok
            }
        }
    }
}
// ANCHOR_END: consumer
