//! How a process without a certificate gets one, and what becomes of those that should not.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::time::Duration;

use actogen_core::id::ContextId;
use actogen_runtime::transport::{
    Authority, DialError, Enrolment, Incoming, Invitation, Transport,
};
use actogen_transport_quic::{
    EnrolError, JoinKey, MAX_REQUEST, MeshAuthority, NodeIdentity, QuicTransport, enrol,
};
use bytes::Bytes;
use support::*;

fn mesh() -> MeshAuthority {
    MeshAuthority::generate("a.test").unwrap()
}

async fn join(
    invitation: &Invitation,
    parent: u64,
    request: impl Into<Bytes>,
) -> Result<Bytes, EnrolError> {
    let Invitation { endpoint, mesh, roots } = invitation;
    let joining = enrol(dial_only(), endpoint, roots, mesh, ContextId(parent), request.into());
    soon("answer", joining).await.map(|enrolled| enrolled.answer)
}

async fn next_enrolment(acceptor: &QuicTransport) -> Enrolment {
    match soon("enrolment", acceptor.accept()).await {
        Some(Incoming::Enrolment(enrolment)) => enrolment,
        other => panic!("no enrolment but {other:?}"),
    }
}

#[tokio::test]
async fn a_newcomer_gets_an_identity_and_links_with_it() {
    let authority = mesh();
    let acceptor = root(&authority, listen());
    let invitation = acceptor.invitation().unwrap();
    let key = JoinKey::generate();
    let (answer, ()) = tokio::join!(join(&invitation, 0, key.request()), async {
        let Enrolment { request, remote, respond } = next_enrolment(&acceptor).await;
        assert!(remote.starts_with("127.0.0.1:"), "{remote}");
        respond(Ok(authority.issue(ContextId(12), &request).unwrap()));
    });
    let identity = NodeIdentity::from_enrolment(key, &answer.unwrap(), &invitation.roots).unwrap();
    let child = QuicTransport::bind(identity.into(), dial_only()).unwrap();
    let (_, accepted) = link(&child, &acceptor).await;
    assert_eq!(accepted.peer, ContextId(12));
    until("end of the enrolment", || acceptor.handshakes() == 0).await;
    assert_eq!(acceptor.refused().total(), 0);
}

#[tokio::test]
async fn a_refused_newcomer_is_told_why() {
    let authority = mesh();
    let acceptor = root(&authority, listen());
    let invitation = acceptor.invitation().unwrap();
    let (answer, ()) = tokio::join!(join(&invitation, 0, "a request"), async {
        (next_enrolment(&acceptor).await.respond)(Err("the token is spent".to_owned()));
    });
    let Err(EnrolError::Refused(why)) = answer else { panic!("{answer:?}") };
    assert_eq!(why, "the token is spent");
    let (answer, ()) = tokio::join!(join(&invitation, 0, "a request"), async {
        drop(next_enrolment(&acceptor).await);
    });
    assert!(matches!(answer, Err(EnrolError::Refused(_))), "{answer:?}");
}

#[tokio::test]
async fn a_newcomer_tells_nothing_to_a_parent_that_is_not_the_one_invited_by() {
    let authority = mesh();
    let acceptor = root(&authority, listen());
    let invitation = acceptor.invitation().unwrap();
    let other_roots = Invitation { roots: mesh().roots(), ..invitation.clone() };
    let other_mesh = Invitation { mesh: "b.test".to_owned(), ..invitation.clone() };
    for (invitation, parent, text) in [
        (&other_roots, 0, "did not issue it"),
        (&other_mesh, 0, "mesh `b.test`"),
        (&invitation, 4, "context 4 was expected"),
    ] {
        let error = join(invitation, parent, "secret").await.unwrap_err();
        assert!(matches!(error, EnrolError::Dial(DialError::Identity { .. })), "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
    until("counts", || acceptor.refused().by_peer == 3).await;
    only_the_honest_get_in(&authority, &acceptor).await;
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused_on_both_sides() {
    let authority = mesh();
    let acceptor = root(&authority, listen());
    let invitation = acceptor.invitation().unwrap();
    let error = join(&invitation, 0, vec![0; MAX_REQUEST + 1]).await.unwrap_err();
    assert!(matches!(error, EnrolError::TooLong { is } if is == MAX_REQUEST + 1), "{error:?}");

    let stranger = Stranger::knock(address(&acceptor), None, &[JOIN]).await;
    let connection = stranger.connection.clone().unwrap();
    let (mut sender, _receiver) = soon("stream", connection.open_bi()).await.unwrap();
    let _ = sender.write_all(&vec![0; MAX_REQUEST + 1]).await;
    let _ = sender.finish();
    let (end, _) = stranger.refusal().await;
    assert!(end.to_string().contains("longer than 16384 bytes"), "{end}");
    assert_eq!(acceptor.refused().streams, 1);

    let longest = tokio::join!(join(&invitation, 0, vec![7; MAX_REQUEST]), async {
        let enrolment = next_enrolment(&acceptor).await;
        assert_eq!(enrolment.request.len(), MAX_REQUEST);
        (enrolment.respond)(Ok(vec![9; MAX_REQUEST]));
    });
    assert_eq!(longest.0.unwrap(), vec![9; MAX_REQUEST]);
    only_the_honest_get_in(&authority, &acceptor).await;
}

#[tokio::test]
async fn a_newcomer_that_asks_nothing_is_given_up_and_holds_up_nobody() {
    let authority = mesh();
    let mut options = listen();
    options.handshake_time = Duration::from_millis(300);
    let acceptor = root(&authority, options);
    let silent = Stranger::knock(address(&acceptor), None, &[JOIN]).await;
    only_the_honest_get_in(&authority, &acceptor).await;
    let (end, heard) = silent.refusal().await;
    assert!(end.to_string().contains("took over 300ms"), "{end}");
    assert_eq!(heard, b"");
    assert_eq!(acceptor.refused().slow, 1);
}

#[tokio::test]
async fn an_invitation_that_is_garbage_is_an_error_before_anything_is_dialled() {
    let good =
        Invitation { endpoint: "127.0.0.1:1".into(), mesh: "a.test".into(), roots: mesh().roots() };
    for invitation in [
        Invitation { roots: b"garbage".to_vec(), ..good.clone() },
        Invitation { roots: Vec::new(), ..good.clone() },
        Invitation { mesh: "Not A Mesh".into(), ..good.clone() },
    ] {
        let error = join(&invitation, 0, "request").await.unwrap_err();
        assert!(matches!(error, EnrolError::Invitation(_)), "{error:?}");
    }
}
