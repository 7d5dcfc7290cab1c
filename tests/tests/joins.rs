//! Contexts that join with one-time tokens, and certificates that are renewed.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actogen::{
    ContextId, Mesh,
    prelude::*,
    quic::{
        Clock, EnrolError, JoinKey, JoinToken, MachineClock, MeshAuthority, NodeIdentity,
        QuicOptions, QuicTransport,
    },
    transport::{Authority, DialError},
};
use actogen_tests::{
    actors::{Desk, Echo},
    until::{soon, until},
};

const HOUR: Duration = Duration::from_secs(3600);

/// Runs a test where actors can be started.
fn run(test: impl Future<Output = actogen::Result<()>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test).unwrap();
}

async fn root_of(mesh: Mesh) -> actogen::Result<Context> {
    Ok(Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?)
}

async fn join(at: &Context, token: &JoinToken) -> actogen::Result<Context> {
    let mesh = Mesh::join(&at.endpoint().unwrap(), token).await?;
    Ok(Context::builder().mesh(mesh).listen("127.0.0.1:0").start().await?)
}

async fn echoes(from: &Context, desk: &Remote<Desk>) {
    let desk = desk.clone().attach(from);
    assert_eq!(soon("an answer", desk.send(Echo(vec![7; 10]))).await.unwrap().len(), 10);
}

fn refusal<T: std::fmt::Debug>(joined: Result<T, EnrolError>) -> String {
    match joined {
        Err(EnrolError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// A token makes one process a child of whoever it is shown to, root or not, with an id that nobody has had.
#[test]
fn a_token_makes_a_child_of_whoever_it_is_shown_to() {
    run(async {
        let mesh = Mesh::fresh("joins.test")?;
        let root = root_of(mesh.clone()).await?;
        let first = join(&root, &mesh.invite(HOUR)?).await?;
        let second = join(&first, &mesh.invite(HOUR)?.to_string().parse()?).await?;
        assert_eq!(first.family().ancestors, [root.id()]);
        assert_eq!(second.family().ancestors, [first.id(), root.id()]);
        assert_ne!(first.id(), second.id());
        let desk = second.start(Desk::default());
        until("the root knows it", || root.place_of(second.id()).is_some()).await;
        echoes(&root, &desk).await;
        for context in [&second, &first, &root] {
            context.shutdown().await;
        }
        Ok(())
    });
}

/// A token that has admitted somebody admits nobody else, and one that is revoked, expired or of another mesh nobody at all.
#[test]
fn r23_a_replayed_token_is_not_accepted() {
    run(async {
        let folder = tempfile::tempdir()?;
        let authority = folder.path().join("ca");
        Mesh::create_authority("joins.test", &authority)?;
        let root = root_of(Mesh::root(&authority)?).await?;
        let endpoint = root.endpoint().unwrap();
        // Made beside the running root, as the command does.
        let token = Mesh::create_token(&authority, HOUR)?;
        let first = join(&root, &token).await?;
        let again = refusal(soon("a refusal", Mesh::join(&endpoint, &token)).await);
        let revoked = Mesh::create_token(&authority, HOUR)?;
        assert!(Mesh::revoke_token(&authority, revoked.id())?);
        let expired = Mesh::create_token(&authority, Duration::ZERO)?;
        for token in [&revoked, &expired] {
            // They say the same, whatever is wrong.
            assert_eq!(refusal(Mesh::join(&endpoint, token).await), again);
        }
        assert!(again.contains("ask for a new one"), "{again}");
        let stranger = Mesh::fresh("joins.test")?.invite(HOUR)?;
        let error = Mesh::join(&endpoint, &stranger).await.unwrap_err();
        assert!(matches!(error, EnrolError::Dial(DialError::Identity { .. })), "{error}");
        // Spent tokens are known after a restart of the root, and no id is given twice.
        first.shutdown().await;
        root.shutdown().await;
        let root = root_of(Mesh::root(&authority)?).await?;
        let endpoint = root.endpoint().unwrap();
        assert_eq!(refusal(Mesh::join(&endpoint, &token).await), again);
        let second = join(&root, &Mesh::create_token(&authority, HOUR)?).await?;
        assert_ne!(second.id(), first.id());
        second.shutdown().await;
        root.shutdown().await;
        Ok(())
    });
}

/// The machine's clocks, and how long it has been suspended beside that, in seconds.
#[derive(Clone, Debug, Default)]
struct Suspended(Arc<AtomicU64>);

impl Clock for Suspended {
    fn wall(&self) -> Duration {
        MachineClock.wall() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }

    fn steady(&self) -> Duration {
        MachineClock.steady() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// A context whose certificate expired while it was asleep links below another as if nothing had been, through that one's door; one that
/// was revoked meanwhile does not.
#[test]
fn a_context_that_was_asleep_past_its_expiry_comes_back() {
    run(async {
        let folder = tempfile::tempdir()?;
        let clock = Suspended::default();
        MeshAuthority::generate("joins.test")?.save(folder.path())?;
        let load = || MeshAuthority::load(folder.path());
        let authority = load()?.with_clock(Arc::new(clock.clone()));
        let node = |id: u64| -> actogen::Result<NodeIdentity> {
            authority.reserve(authority.reserved().0, id + 1)?;
            let key = JoinKey::generate();
            let certificate = authority.issue(ContextId(id), &key.request())?;
            let clock = Arc::new(clock.clone());
            let roots = authority.roots();
            Ok(NodeIdentity::from_enrolment_by(clock, key, &certificate, &roots)?)
        };
        let start = |identity: NodeIdentity, parent: &Context| {
            let (endpoint, parent) = (parent.endpoint().unwrap(), parent.id());
            let transport = |limits: actogen::Limits| -> actogen::transport::BoxFuture<'static, _> {
                Box::pin(async move {
                    let options = QuicOptions::listen("127.0.0.1:0").with_limits(&limits);
                    QuicTransport::bind(identity.into(), options).map_err(|e| e.to_string())
                })
            };
            Context::builder().transport(transport).connect_to(endpoint, parent).start()
        };
        let (awake, sleeper, revoked) = (node(1)?, node(2)?, node(3)?);
        let mesh = Mesh::of_authority(load()?.with_clock(Arc::new(clock.clone())));
        let root = root_of(mesh).await?;
        clock.0.store(3 * 24 * 3600, Ordering::Relaxed);
        authority.revoke(ContextId(3))?;
        // The one who opens the door for the others was asleep as well.
        let awake = start(awake, &root).await?;
        let sleeper = start(sleeper, &awake).await?;
        until("the root knows it", || root.place_of(sleeper.id()).is_some()).await;
        let desk = sleeper.start(Desk::default());
        echoes(&root, &desk).await;
        let error = start(revoked, &awake).await.unwrap_err().to_string();
        assert!(error.contains("context 3 has been revoked"), "{error}");
        for context in [&sleeper, &awake, &root] {
            context.shutdown().await;
        }
        Ok(())
    });
}

/// Certificates are renewed again and again while messages flow, and none is lost; those who come later meet the newer ones.
#[test]
fn certificates_are_renewed_ten_times_under_load() {
    const RENEWALS: u64 = 10;
    run(async {
        let mesh = Mesh::fresh_with_lifetime("joins.test", Duration::from_secs(4))?;
        let root = root_of(mesh.clone()).await?;
        let child = join(&root, &mesh.invite(HOUR)?).await?;
        let below = join(&child, &mesh.invite(HOUR)?).await?;
        let desk = below.start(Desk::default()).attach(&root);
        until("the root knows it", || root.place_of(below.id()).is_some()).await;
        let mut asked = 0;
        while below.renewals() < RENEWALS || child.renewals() < RENEWALS {
            assert_eq!(desk.send(Echo(vec![1; 1000])).await?.len(), 1000);
            asked += 1;
        }
        assert_eq!(desk.send(Echo(Vec::new())).await?, Vec::<u8>::new());
        assert_eq!(below.stats().delivered, asked + 1);
        // The first certificates have expired long ago: whoever comes now, and whoever is told of others now, judges by the newer ones.
        let late = join(&below, &mesh.invite(HOUR)?).await?;
        echoes(&late, &desk).await;
        let endpoint = root.endpoint().unwrap();
        child.attach_to(&endpoint, None).await?;
        until("all are where they were", || {
            [&child, &below, &late].iter().all(|context| root.place_of(context.id()).is_some())
        })
        .await;
        echoes(&root, &desk).await;
        for context in [&late, &below, &child, &root] {
            context.shutdown().await;
        }
        Ok(())
    });
}
