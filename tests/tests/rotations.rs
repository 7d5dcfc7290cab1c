//! Publishes while certificates are renewed, and messages that outlive the certificates by which they were signed.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    future::{Future, IntoFuture},
    time::{Duration, SystemTime},
};

use actogen::{
    AckLevel, CatchUp, Deliveries, Delivery, Mesh, PublishStats, ReliableError,
    names::{ContextNames, Holder},
    prelude::*,
};
use actogen_journal::{Recorder, store::MemoryStore};
use actogen_tests::{
    rogue_acks::{Forgery, RogueAcks},
    until::{soon, until},
};

actogen::test_child!();

const HOUR: Duration = Duration::from_secs(3600);

/// Certificates are renewed at half of it.
const LIFETIME: Duration = Duration::from_secs(4);

/// What is published here.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Order")]
struct Order(u64);

/// Runs a test where actors can be started.
fn run(test: impl Future<Output = actogen::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test).unwrap();
}

/// A root, a context with a name below it and a publisher below that.
struct Three {
    root: Context,
    named: Context,
    publisher: Context,
}

async fn three(name: &str) -> actogen::Result<Three> {
    let mesh = Mesh::fresh_with_lifetime("rotations.test", LIFETIME)?;
    let root = Context::builder().mesh(mesh.clone()).listen("127.0.0.1:0").start().await?;
    let join = async |at: &Context, names: &[&str]| {
        let names = ContextNames::new(names.iter().copied()).unwrap();
        let token = mesh.invite_named(HOUR, &names, Holder::Stays)?;
        let mesh = Mesh::join(&at.endpoint().unwrap(), &token).await?;
        let builder = Context::builder().mesh(mesh).listen("127.0.0.1:0");
        Ok::<_, actogen::Error>(builder.start().await?)
    };
    let named = join(&root, &[name]).await?;
    let publisher = join(&named, &[]).await?;
    Ok(Three { root, named, publisher })
}

impl Three {
    /// Waits until no certificate that was in force is so any more.
    async fn outlive_certificates(&self) {
        let (named, publisher) = (self.named.renewals(), self.publisher.renewals());
        until("all are renewed twice", || {
            self.named.renewals() >= named + 2 && self.publisher.renewals() >= publisher + 2
        })
        .await;
        let certificate = self.publisher.certificate();
        until("the one after those is there", || self.publisher.certificate() != certificate).await;
    }

    /// Nobody has refused a signature or ignored an acknowledgement.
    async fn end(self) -> actogen::Result<()> {
        for context in [&self.root, &self.named, &self.publisher] {
            let stats = context.publish_stats().await?;
            let PublishStats { forged, revoked, acks_ignored, acks_unknown, .. } = stats;
            assert_eq!((forged, revoked, acks_ignored, acks_unknown), (0, 0, 0, 0), "{stats:?}");
        }
        for context in [&self.publisher, &self.named, &self.root] {
            context.shutdown().await;
        }
        Ok(())
    }
}

async fn next(deliveries: &mut Deliveries<Order>) -> Delivery<Order> {
    soon("a delivery", deliveries.next()).await.expect("the consumer goes on")
}

/// A publish is sent with one certificate, sent again with a later one, and acknowledged with yet another: it is confirmed, and handled once. So is one
/// whose recipient does not consume before the certificate of its first sending has expired.
#[test]
fn publishes_that_outlast_certificates_are_confirmed() {
    run(async {
        let three = three("billing").await?;
        let mut slow: Deliveries<Order> =
            three.named.consume("org.slow").within(HOUR).deliveries()?;
        let publish = |topic: &'static str, number: u64| {
            let publisher = three.publisher.clone();
            tokio::task::spawn_local(async move {
                let publish = publisher.publish(topic, &Order(number)).require(["billing"]);
                publish.within(Duration::from_secs(60)).await
            })
        };
        let (slowly, late) = (publish("org.slow", 1), publish("org.late", 2));
        let first = next(&mut slow).await;
        three.outlive_certificates().await;
        assert!(first.ok(), "its time is not over");
        let mut consumer: Deliveries<Order> = three.named.consume("org.late").deliveries()?;
        assert!(next(&mut consumer).await.ok());
        for publish in [slowly, late] {
            let confirmed = soon("an outcome", publish).await.unwrap()?;
            assert_eq!(confirmed.acked.len(), 1);
        }
        let (slow, late) = (slow.consumption().stats(), consumer.consumption().stats());
        assert_eq!((slow.handled, late.handled), (1, 1), "{slow:?} {late:?}");
        assert!(slow.duplicates > 0, "it was sent again: {slow:?}");
        three.end().await
    });
}

/// An acknowledgement that a recipient has signed himself does not count when it comes under a certificate that has expired.
#[test]
fn an_acknowledgement_under_an_expired_certificate_does_not_count() {
    run(async {
        let three = three("billing").await?;
        let rogue = RogueAcks::listen(&three.root, "org.orders")?;
        let expired = [Forgery::Earlier(three.named.certificate())];
        three.outlive_certificates().await;
        let publish = three.publisher.publish("org.orders", &Order(1)).require(["billing"]);
        let publish = publish.within(Duration::from_secs(3)).into_future();
        let saying = rogue.answer_each_once(&three.publisher, &three.named, "billing", &expired);
        let (outcome, ()) = tokio::join!(soon("an outcome", publish), soon("it is said", saying));
        let Err(ReliableError::Timeout(partial)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((partial.missing.len(), partial.ignored_acks.forged), (1, 1), "{partial}");
        Ok(())
    });
}

/// What was signed in time is good for as long as a recorder keeps it; what would have been signed later is not.
#[test]
fn what_was_signed_in_time_is_replayed_when_its_certificate_has_expired() {
    run(async {
        let three = three("recorder").await?;
        let recorder = Recorder::builder(&three.named, "").store(MemoryStore::default());
        let recorder = recorder.write_here().topic("org.>").open().await?;
        for number in 1..=3 {
            let publish = three.publisher.publish("org.orders", &Order(number));
            let publish = publish.require(["recorder"]).level(AckLevel::Durable);
            soon("it is stored", publish.within(Duration::from_secs(20))).await?;
        }
        let certificate = three.publisher.certificate();
        let signature = three.publisher.sign_claim("test.claim", b"claim");
        let signed = SystemTime::now();
        three.outlive_certificates().await;
        let verify_at = |at| {
            let (publisher, root) = (&three.publisher, &three.root);
            let claim = ("test.claim", publisher.id(), b"claim");
            root.verify_claim_at(claim.0, claim.1, &certificate, claim.2, &signature, at)
        };
        assert!(verify_at(signed).is_ok());
        assert!(verify_at(SystemTime::now()).unwrap_err().0.contains("expired"));
        let consume = three.root.consume("org.orders").catch_up(CatchUp::new("recorder"));
        let mut deliveries: Deliveries<Order> = consume.deliveries()?;
        for number in 1..=3 {
            let delivery = next(&mut deliveries).await;
            assert_eq!(delivery.message().0, number);
            assert_eq!(delivery.from(), three.publisher.id());
            assert!(delivery.ok());
        }
        assert_eq!(deliveries.consumption().stats().replayed, 3);
        recorder.close().await;
        three.end().await
    });
}
