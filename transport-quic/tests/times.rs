//! What time it is in a mesh, whatever the machines' clocks say, and what becomes of certificates that have expired.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use actogen_core::{Incarnation, id::ContextId};
use actogen_runtime::{
    Admission, Newcomer, ReturnRequest,
    transport::{Authority, DialError, Identity, Incoming, Transport},
};
use actogen_transport_quic::{
    Clock, EnrolError, Enrolled, JoinKey, MachineClock, MeshAuthority, NodeIdentity, QuicTransport,
    enrol,
};
use support::*;

const DAY: u64 = 24 * 3600;
const YEAR: i64 = 365 * DAY as i64;

/// The machine's clocks, with the wall's hand moved, and suspensions that nobody has slept through.
#[derive(Debug, Default)]
struct Moved {
    wall: AtomicI64,
    suspended: AtomicU64,
}

impl Moved {
    fn by(seconds: i64) -> Arc<Self> {
        let moved = Self::default();
        moved.wall.store(seconds, Ordering::Relaxed);
        Arc::new(moved)
    }

    /// Time passes, for both hands.
    fn suspend(&self, seconds: u64) {
        self.wall.fetch_add(seconds as i64, Ordering::Relaxed);
        self.suspended.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Somebody moves the hand of the wall.
    fn set(&self, seconds: i64) {
        self.wall.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for Moved {
    fn wall(&self) -> Duration {
        let wall = MachineClock.wall().as_secs() as i64 + self.wall.load(Ordering::Relaxed);
        Duration::from_secs(wall as u64)
    }

    fn steady(&self) -> Duration {
        MachineClock.steady() + Duration::from_secs(self.suspended.load(Ordering::Relaxed))
    }
}

fn mesh_by(clock: &Arc<Moved>) -> MeshAuthority {
    MeshAuthority::generate("a.test").unwrap().with_clock(clock.clone())
}

fn node_by(authority: &MeshAuthority, clock: &Arc<Moved>, id: u64) -> Arc<NodeIdentity> {
    let key = JoinKey::generate();
    let certificate = authority.issue(ContextId(id), &key.request()).unwrap();
    let roots = authority.roots();
    Arc::new(NodeIdentity::from_enrolment_by(clock.clone(), key, &certificate, &roots).unwrap())
}

/// Has the root enrol a context at somebody's door.
async fn enrolled(
    authority: &MeshAuthority,
    at: &QuicTransport,
    id: u64,
) -> (JoinKey, Vec<u8>, Result<Enrolled, EnrolError>) {
    let invitation = at.invitation().unwrap();
    let key = JoinKey::generate();
    let parent = at.identity().context();
    let asking = enrol(
        dial_only(),
        &invitation.endpoint,
        &invitation.roots,
        &invitation.mesh,
        parent,
        key.request().into(),
    );
    let answering = async {
        let Some(Incoming::Enrolment(enrolment)) = soon("a request", at.accept()).await else {
            panic!("no request");
        };
        let certificate = authority.issue(ContextId(id), &enrolment.request).unwrap();
        (enrolment.respond)(Ok(certificate.clone()));
        certificate
    };
    let (enrolled, certificate) = tokio::join!(asking, answering);
    (key, certificate, enrolled)
}

#[tokio::test]
async fn a_machine_whose_clock_is_a_year_off_enrols_and_links() {
    // The root's clock is moved, and the others' are not: each is a year off for the other.
    for year in [YEAR, -YEAR] {
        let authority = mesh_by(&Moved::by(year));
        let acceptor = root(&authority, listen());
        let (key, certificate, enrolled) = enrolled(&authority, &acceptor, 1).await;
        let one = enrolled.unwrap().identity(key, &certificate).unwrap();
        let one = QuicTransport::bind(one.into(), listen()).unwrap();
        let (_, accepted) = link(&one, &acceptor).await;
        assert_eq!(accepted.peer, ContextId(1));
        let two = QuicTransport::bind(node(&authority, 2), dial_only()).unwrap();
        let (_, accepted) = link(&two, &one).await;
        assert_eq!(accepted.peer, ContextId(2));
        // By the machine's own clock nothing of this is in force.
        let folder = tempfile::tempdir().unwrap();
        authority.issue_pem(folder.path(), ContextId(9), Duration::from_secs(DAY)).unwrap();
        let error = NodeIdentity::from_pem(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(if year > 0 { "not valid for another" } else { "expired" }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_parent_whose_certificate_has_expired_enrols_nobody() {
    let clock = Moved::by(0);
    let authority = mesh_by(&clock);
    // It has not noticed how late it is.
    let parent = QuicTransport::bind(node(&authority, 1), listen()).unwrap();
    clock.suspend(2 * DAY);
    let (key, certificate, enrolled) = enrolled(&authority, &parent, 2).await;
    let error = enrolled.unwrap().identity(key, &certificate).unwrap_err();
    assert!(error.0.contains("expired"), "{error}");
}

#[test]
fn nobody_sets_the_time_of_a_context_that_has_enrolled_but_the_authority() {
    let clock = Moved::by(0);
    let authority = mesh_by(&clock);
    let identity = node_by(&authority, &clock, 1);
    let is_in_force = |certificate: &[u8]| {
        let judged = identity.verify(ContextId(2), certificate, b"", b"").unwrap_err();
        // What is left to refuse is the signature, which there is none of.
        judged.0.contains("signature")
    };
    let early = authority.issue(ContextId(2), &JoinKey::generate().request()).unwrap();
    assert!(is_in_force(&early));
    clock.set(YEAR);
    assert!(is_in_force(&early), "the wall's hand does not count");
    clock.set(-YEAR);
    clock.suspend(DAY + 60);
    assert!(!is_in_force(&early), "suspension counts");
    // The authority's clock was wrong, and is set by two days: the next renewal brings it.
    clock.set(2 * DAY as i64);
    let late = authority.issue(ContextId(2), &JoinKey::generate().request()).unwrap();
    assert!(!is_in_force(&late));
    let renewed = authority.issue(ContextId(1), &identity.renewal_request()).unwrap();
    let held_back = authority.issue(ContextId(1), &identity.renewal_request()).unwrap();
    identity.renew(&renewed).unwrap();
    assert!(is_in_force(&late));
    // One that was held back turns it back by next to nothing, and what is older than the last not at all.
    clock.suspend(DAY / 2);
    let newer = authority.issue(ContextId(1), &identity.renewal_request()).unwrap();
    identity.renew(&newer).unwrap();
    let before = identity.renewal().unwrap().expires_in;
    let error = identity.renew(&held_back).unwrap_err();
    assert!(error.0.contains("issued before"), "{error}");
    assert_eq!(identity.certificate(), newer);
    let after = identity.renewal().unwrap().expires_in;
    assert!(before - after < Duration::from_secs(5), "the time has not been moved");
}

/// Answers a request for renewal as the root does; gives it.
async fn renew_at_the_door(authority: &MeshAuthority, at: &QuicTransport) -> ReturnRequest {
    let Some(Incoming::Enrolment(enrolment)) = soon("a request", at.accept()).await else {
        panic!("no request");
    };
    let request = postcard::from_bytes::<Newcomer>(&enrolment.request).unwrap();
    let Newcomer::Returning(request) = request else { panic!("{request:?}") };
    let renewed = authority.renew_expired(&request.certificate, &request.request);
    (enrolment.respond)(renewed.map_err(|error| error.0).map(|(context, certificate)| {
        let admission = Admission { context, incarnation: Incarnation::ANY, certificate };
        postcard::to_stdvec(&admission).unwrap()
    }));
    request
}

async fn dialled_after(
    days: u64,
    before: impl FnOnce(&MeshAuthority),
) -> Result<ContextId, DialError> {
    let clock = Moved::by(0);
    let authority = mesh_by(&clock);
    let acceptor = root(&authority, listen());
    let sleeper = node_by(&authority, &clock, 7);
    let transport = QuicTransport::bind(sleeper.clone(), dial_only()).unwrap();
    let old = sleeper.certificate();
    clock.suspend(days * DAY);
    before(&authority);
    let endpoint = acceptor.endpoint().unwrap();
    let (dialled, request) = tokio::join!(
        soon("an end", transport.dial(endpoint, Some(ContextId::ROOT))),
        renew_at_the_door(&authority, &acceptor),
    );
    assert_eq!(request.certificate, old);
    dialled?;
    match soon("a link", acceptor.accept()).await {
        Some(Incoming::Link(link)) => {
            assert_ne!(sleeper.certificate(), old);
            Ok(link.peer)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_context_that_was_asleep_past_its_expiry_renews_where_it_links() {
    assert_eq!(dialled_after(7, |_| {}).await.unwrap(), ContextId(7));
}

#[tokio::test]
async fn after_seven_days_an_expired_certificate_is_not_renewed() {
    let error = dialled_after(9, |_| {}).await.unwrap_err();
    assert!(matches!(error, DialError::Identity { .. }), "{error:?}");
    assert!(error.to_string().contains("more than 7 days ago"), "{error}");
}

#[tokio::test]
async fn a_revoked_context_does_not_come_back() {
    let error = dialled_after(2, |authority| authority.revoke(ContextId(7)).unwrap()).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("context 7 has been revoked"), "{error}");
}

#[test]
fn an_expired_certificate_is_renewed_for_its_own_key_alone() {
    let clock = Moved::by(0);
    let authority = mesh_by(&clock);
    let identity = node_by(&authority, &clock, 7);
    let (certificate, request) = (identity.certificate(), identity.renewal_request());
    clock.suspend(2 * DAY);
    let thief = JoinKey::generate().request();
    let error = authority.renew_expired(&certificate, &thief).unwrap_err();
    assert!(error.0.contains("not for the key of context 7"), "{error}");
    let stranger = MeshAuthority::generate("a.test").unwrap();
    assert!(stranger.renew_expired(&certificate, &request).is_err());
    let (context, renewed) = authority.renew_expired(&certificate, &request).unwrap();
    identity.renew(&renewed).unwrap();
    assert_eq!((context, identity.certificate()), (ContextId(7), renewed));
}
