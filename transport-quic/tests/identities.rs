//! Who is let in and who is not: the authority, certificates in folders, and every way in which a peer can be wrong.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{sync::Arc, time::Duration};

use actogen_core::id::ContextId;
use actogen_runtime::transport::{Authority, DialError, Identity, Transport};
use actogen_transport_quic::{
    FolderError, JoinKey, MeshAuthority, NodeIdentity, PEM_LIFETIME, QuicTransport, Refused,
};
use rcgen::ExtendedKeyUsagePurpose;
use support::*;

const MESH: &str = "a.test";

fn stolen() -> StolenMesh {
    StolenMesh::generate("a.test")
}

fn mesh() -> MeshAuthority {
    MeshAuthority::generate(MESH).unwrap()
}

/// A newcomer that shows these papers is refused by the acceptor before a byte of a stream passes, and counted.
async fn refused_at_the_door(
    authority: &MeshAuthority,
    papers: Option<&Papers>,
    alpn: &[&[u8]],
) -> (String, Refused) {
    let acceptor = root(authority, listen());
    let stranger = Stranger::knock(address(&acceptor), papers, alpn).await;
    let (end, heard) = stranger.refusal().await;
    assert_eq!(heard, b"", "the acceptor wrote to a stranger");
    let refused = acceptor.refused();
    assert_eq!(refused.total(), 1, "{refused:?}");
    only_the_honest_get_in(authority, &acceptor).await;
    acceptor.close().await;
    (end.to_string(), refused)
}

/// A server that shows these papers is refused by the dialler, before its handshake completes.
async fn refused_by_the_dialler(
    authority: &MeshAuthority,
    papers: &Papers,
    alpn: &[&[u8]],
) -> DialError {
    let impostor = Impostor::stand(papers, alpn);
    let dialler = QuicTransport::bind(node(authority, 1), dial_only()).unwrap();
    let (error, accepted) =
        tokio::join!(dial_error(&dialler, impostor.endpoint(), 0), impostor.was_accepted());
    assert!(!accepted, "the dialler completed a handshake with an impostor");
    error
}

async fn wrong_papers(forge: fn() -> Forge, alert: u32, text: &str) {
    let authority = stolen();
    let papers = forge().issue(&authority.issuer());
    let (end, refused) = refused_at_the_door(&authority, Some(&papers), &[LINK]).await;
    assert_eq!(refused.identity, 1, "{refused:?}");
    assert!(end.contains(&format!("error {alert}")), "{end}");
    let error = refused_by_the_dialler(&authority, &papers, &[LINK]).await;
    assert!(matches!(error, DialError::Identity { .. }), "{error:?}");
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test]
async fn r22_plaintext_is_refused() {
    let authority = mesh();
    let acceptor = root(&authority, listen());
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 1200], &[0xff; 1200], b"", &[0xc0; 40]] {
        socket.send_to(garbage, address(&acceptor)).unwrap();
    }
    only_the_honest_get_in(&authority, &acceptor).await;
    // Whatever QUIC answered (a list of its versions perhaps), it is nothing of a link's.
    socket.set_nonblocking(true).unwrap();
    let mut answer = [0; 2048];
    while let Ok((length, _)) = socket.recv_from(&mut answer) {
        assert!(length <= 1200);
        assert!(answer[0] & 0x80 != 0, "only a packet of QUIC's handshake may come");
    }
}

#[tokio::test]
async fn r22_a_peer_without_certificate_is_refused() {
    let (end, refused) = refused_at_the_door(&mesh(), None, &[LINK]).await;
    assert_eq!(refused.identity, 1, "{refused:?}");
    assert!(end.contains("needs a certificate"), "{end}");
}

#[tokio::test]
async fn r22_expired_certificate_is_refused() {
    let expired = || Forge { begins: -7200, ends: -3600, ..Forge::honest(MESH, 0) };
    wrong_papers(expired, 45, "expired").await;
}

#[tokio::test]
async fn r22_certificate_that_is_not_yet_valid_is_refused() {
    let early = || Forge { begins: 3600, ends: 7200, ..Forge::honest(MESH, 0) };
    wrong_papers(early, 45, "not valid for another").await;
}

#[tokio::test]
async fn r22_certificate_for_the_wrong_use_is_refused() {
    let server =
        || Forge { uses: vec![ExtendedKeyUsagePurpose::ServerAuth], ..Forge::honest(MESH, 0) };
    let client =
        || Forge { uses: vec![ExtendedKeyUsagePurpose::ClientAuth], ..Forge::honest(MESH, 0) };
    let none =
        || Forge { uses: vec![ExtendedKeyUsagePurpose::CodeSigning], ..Forge::honest(MESH, 0) };
    wrong_papers(server, 43, "not meant for both").await;
    wrong_papers(client, 43, "not meant for both").await;
    wrong_papers(none, 43, "not meant for both").await;
}

#[tokio::test]
async fn r22_certificate_without_a_context_is_refused() {
    let none = || Forge { names: vec![], ..Forge::honest(MESH, 0) };
    let two = || Forge {
        names: vec!["spiffe://a.test/context/0".into(), "spiffe://a.test/context/1".into()],
        ..Forge::honest(MESH, 0)
    };
    let other =
        || Forge { names: vec!["https://a.test/context/0".into()], ..Forge::honest(MESH, 0) };
    wrong_papers(none, 49, "exactly one context").await;
    wrong_papers(two, 49, "exactly one context").await;
    wrong_papers(other, 49, "exactly one context").await;
}

#[tokio::test]
async fn r22_certificate_of_another_authority_is_refused() {
    let authority = stolen();
    // Another authority that calls its mesh by the same name.
    let papers = Forge::honest(MESH, 0).issue(&stolen().issuer());
    let (end, refused) = refused_at_the_door(&authority, Some(&papers), &[LINK]).await;
    assert_eq!(refused.identity, 1, "{refused:?}");
    assert!(end.contains("error 48"), "{end}");
    let error = refused_by_the_dialler(&authority, &papers, &[LINK]).await;
    assert!(error.to_string().contains("its authority did not issue it"), "{error}");
}

#[tokio::test]
async fn r22_a_chain_through_a_context_is_refused() {
    let authority = stolen();
    let context = Forge::honest(MESH, 1).issue(&authority.issuer());
    let Papers { certificate, key, .. } = context;
    let posing = rcgen::Issuer::from_ca_cert_der(&certificate, key).unwrap();
    let papers = Forge::honest(MESH, 0).issue(&posing);
    let error = refused_by_the_dialler(&authority, &papers, &[LINK]).await;
    assert!(error.to_string().contains("its authority did not issue it"), "{error}");
}

#[tokio::test]
async fn r22_wrong_mesh_is_refused_and_both_meshes_are_named() {
    let (ours, theirs) = (mesh(), StolenMesh::generate("b.test"));
    let acceptor = root(&theirs, listen());
    let dialler = QuicTransport::bind(node(&ours, 1), dial_only()).unwrap();
    let error = dial_error(&dialler, acceptor.endpoint().unwrap(), 0).await;
    assert!(matches!(error, DialError::Identity { .. }), "{error:?}");
    let text = "this context is of mesh `a.test`, the peer's certificate is of mesh `b.test`";
    assert!(error.to_string().contains(text), "{error}");
    until("count", || acceptor.refused().by_peer == 1).await;
    only_the_honest_get_in(&theirs, &acceptor).await;

    // The accepting side judges for itself: a dialler that would take any server is refused there.
    let papers = Forge::honest("b.test", 1).issue(&theirs.issuer());
    let (end, refused) = refused_at_the_door(&ours, Some(&papers), &[LINK]).await;
    assert!(end.contains("error 48"), "{end}");
    assert_eq!(refused.identity, 1, "{refused:?}");
}

#[tokio::test]
async fn r22_a_revoked_certificate_is_refused_by_both_sides() {
    let authority = mesh();
    let revoked = node(&authority, 1);
    authority.revoke(ContextId(1)).unwrap();
    let list = authority.revocations().unwrap().unwrap();
    let knowing = |identity: Arc<NodeIdentity>| {
        assert_eq!(identity.take_revocations(&list), Ok(Some(vec![ContextId(1)])));
        assert_eq!(identity.take_revocations(&list), Ok(None));
        identity
    };
    let acceptor =
        QuicTransport::bind(knowing(Arc::new(authority.root_identity())), listen()).unwrap();
    let bad = QuicTransport::bind(revoked, listen()).unwrap();
    let error = dial_error(&bad, acceptor.endpoint().unwrap(), 0).await;
    assert!(error.to_string().contains("revoked"), "{error}");
    assert_eq!(acceptor.refused().identity, 1);
    let dialler = QuicTransport::bind(knowing(node(&authority, 2)), dial_only()).unwrap();
    let error = dial_error(&dialler, bad.endpoint().unwrap(), 1).await;
    assert!(error.to_string().contains("of context 1, is revoked"), "{error}");
    only_the_honest_get_in(&authority, &acceptor).await;
    // It gets no other either, neither for its old one nor for a token that has admitted it.
    let key = JoinKey::generate();
    assert!(authority.issue(ContextId(1), &key.request()).unwrap_err().0.contains("revoked"));
}

#[tokio::test]
async fn r22_a_dialler_that_the_other_side_does_not_accept_learns_why() {
    // The dialler trusts both authorities, as while a mesh moves from one to the other; the acceptor knows only its own.
    let (old, new) = (mesh(), mesh());
    let folder = tempfile::tempdir().unwrap();
    let file = |of: &str, name: &str| folder.path().join(of).join(name);
    for (authority, name) in [(&old, "old"), (&new, "new")] {
        authority.save(folder.path().join(name)).unwrap();
    }
    old.issue_pem(folder.path().join("one"), ContextId(7), PEM_LIFETIME).unwrap();
    let roots = ["old", "new"].map(|of| std::fs::read_to_string(file(of, "ca.pem")).unwrap());
    std::fs::write(file("one", "ca.pem"), roots.concat()).unwrap();
    let identity = NodeIdentity::from_pem(folder.path().join("one")).unwrap();

    let acceptor = root(&new, listen());
    let dialler = QuicTransport::bind(Arc::new(identity), dial_only()).unwrap();
    let error = dial_error(&dialler, acceptor.endpoint().unwrap(), 0).await;
    assert!(matches!(error, DialError::Identity { .. }), "{error:?}");
    assert!(error.to_string().contains("of another mesh or authority"), "{error}");
    assert_eq!(acceptor.refused().identity, 1);
    only_the_honest_get_in(&new, &acceptor).await;
}

#[tokio::test]
async fn a_refusal_is_logged_with_the_address_and_both_meshes() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
    // Tests are driven by their own thread, so the transport's tasks log here.
    let _guard = tracing::subscriber::set_default(subscriber);
    let (ours, theirs) = (mesh(), StolenMesh::generate("b.test"));
    let acceptor = root(&ours, listen());
    let papers = Forge::honest("b.test", 1).issue(&theirs.issuer());
    let stranger = Stranger::knock(address(&acceptor), Some(&papers), &[LINK]).await;
    let from = stranger.socket.local_addr().unwrap().to_string();
    stranger.refusal().await;
    let warned = |text: &str| {
        text.lines().any(|line| {
            line.contains("WARN")
                && [&from, "`a.test`", "`b.test`"].iter().all(|part| line.contains(*part))
        })
    };
    until("warning", || warned(&log.text())).await;
}

#[tokio::test]
async fn r22_wrong_id_is_refused_by_the_dialler() {
    let authority = mesh();
    let acceptor = QuicTransport::bind(node(&authority, 5), listen()).unwrap();
    let dialler = QuicTransport::bind(node(&authority, 1), dial_only()).unwrap();
    let error = dial_error(&dialler, acceptor.endpoint().unwrap(), 6).await;
    assert!(matches!(error, DialError::Identity { .. }), "{error:?}");
    assert!(error.to_string().contains("is of context 5, but context 6 was expected"), "{error}");
    until("count", || acceptor.refused().by_peer == 1).await;
    only_the_honest_get_in(&authority, &acceptor).await;
}

#[tokio::test]
async fn r22_wrong_protocol_is_refused() {
    let authority = stolen();
    let papers = Forge::honest(MESH, 0).issue(&authority.issuer());
    for alpn in [&[&b"h3"[..]][..], &[b"actogen/2"], &[]] {
        let (end, refused) = refused_at_the_door(&authority, Some(&papers), alpn).await;
        assert_eq!(refused.version, 1, "{alpn:?}: {refused:?}");
        assert!(!end.is_empty());
        let error = refused_by_the_dialler(&authority, &papers, alpn).await;
        assert!(matches!(error, DialError::Version { .. }), "{alpn:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_claim_is_accepted_from_its_context_alone() {
    let authority = stolen();
    let (one, judge) = (node(&authority, 1), node(&authority, 2));
    let (certificate, signature) = (one.certificate(), one.sign(b"claim"));
    assert!(certificate.len() <= 8 * 1024);
    assert_eq!(judge.verify(ContextId(1), &certificate, b"claim", &signature), Ok(()));

    let refused = |id, certificate: &[u8], claim: &[u8], signature: &[u8], text: &str| {
        let error = judge.verify(ContextId(id), certificate, claim, signature).unwrap_err();
        assert!(error.0.contains(text), "{text}: {error}");
    };
    refused(3, &certificate, b"claim", &signature, "context 3 was expected");
    refused(1, &certificate, b"other", &signature, "signature");
    refused(1, &certificate, b"claim", &signature[1..], "signature");
    refused(1, &certificate, b"claim", &judge.sign(b"claim"), "signature");
    refused(1, &[], b"claim", &signature, "does not decode");
    refused(1, &vec![0; 9000], b"claim", &signature, "8 KiB");
    let issuer = authority.issuer();
    for (forge, text) in [
        (Forge { ends: -60, ..Forge::honest(MESH, 1) }, "expired"),
        (Forge { begins: 60, ..Forge::honest(MESH, 1) }, "not valid for another"),
        (Forge { uses: vec![], ..Forge::honest(MESH, 1) }, "not meant for both"),
        (Forge::honest("b.test", 1), "mesh `b.test`"),
    ] {
        let papers = forge.issue(&issuer);
        refused(1, &papers.certificate, b"claim", &signature, text);
    }
    let elsewhere = Forge::honest(MESH, 1).issue(&stolen().issuer());
    refused(1, &elsewhere.certificate, b"claim", &signature, "did not issue it");
}

#[test]
fn the_authority_signs_for_a_key_that_was_proved_and_for_nothing_else_in_a_request() {
    let authority = mesh();
    // A request that asks to be the root, and an authority, for ever.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut wish = rcgen::CertificateParams::default();
    wish.subject_alt_names =
        vec![rcgen::SanType::URI("spiffe://a.test/context/0".try_into().unwrap())];
    wish.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let request = wish.serialize_request(&key).unwrap().der().to_vec();
    let certificate = authority.issue(ContextId(9), &request).unwrap();
    let judge = node(&authority, 1);
    let claim = judge.verify(ContextId(0), &certificate, b"", b"").unwrap_err();
    assert!(claim.0.contains("of context 9"), "{claim}");

    let honest = JoinKey::generate().request();
    let mut forged = honest.clone();
    *forged.last_mut().unwrap() ^= 1;
    let wrong_kind = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let wrong_kind = rcgen::CertificateParams::default().serialize_request(&wrong_kind).unwrap();
    for request in [&forged[..], &honest[..honest.len() - 9], b"", &[0x30; 9000], wrong_kind.der()]
    {
        authority.issue(ContextId(9), request).unwrap_err();
    }
}

#[test]
fn a_certificate_for_another_key_is_not_taken() {
    let authority = mesh();
    let certificate = authority.issue(ContextId(1), &JoinKey::generate().request()).unwrap();
    let error = NodeIdentity::from_enrolment(JoinKey::generate(), &certificate, &authority.roots());
    assert!(error.unwrap_err().0.contains("signature"));
    let elsewhere = mesh().roots();
    let key = JoinKey::generate();
    let certificate = authority.issue(ContextId(1), &key.request()).unwrap();
    let error = NodeIdentity::from_enrolment(key, &certificate, &elsewhere).unwrap_err();
    assert!(error.0.starts_with("its own certificate"), "{error}");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_the_next_handshake_on() {
    let authority = mesh();
    let identity = node(&authority, 1);
    let renewed = authority.issue(ContextId(1), &identity.renewal_request()).unwrap();
    let of_another = authority.issue(ContextId(2), &identity.renewal_request()).unwrap();
    identity.renew(&of_another).unwrap_err();
    identity.renew(&renewed).unwrap();
    assert_eq!(identity.certificate(), renewed);
    let acceptor = QuicTransport::bind(identity, listen()).unwrap();
    only_the_honest_get_in(&authority, &acceptor).await;
}

#[tokio::test]
async fn identities_survive_their_folders() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, one, two) =
        (folder.path().join("ca"), folder.path().join("one"), folder.path().join("two"));
    let authority = mesh();
    authority.save(&ca).unwrap();
    authority.issue_pem(&one, ContextId(41), PEM_LIFETIME).unwrap();
    let authority = MeshAuthority::load(&ca).unwrap();
    assert_eq!(authority.mesh().as_str(), MESH);
    assert_eq!(authority.reserved(), (0, 42), "the id was reserved before it was given out");
    authority.issue_pem(&two, ContextId(42), PEM_LIFETIME).unwrap();

    for key in [ca.join("ca-key.pem"), one.join("key.pem"), two.join("key.pem")] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&key.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{}", key.display());
    }
    let acceptor =
        QuicTransport::bind(Arc::new(NodeIdentity::from_pem(&one).unwrap()), listen()).unwrap();
    let dialler =
        QuicTransport::bind(Arc::new(NodeIdentity::from_pem(&two).unwrap()), dial_only()).unwrap();
    let (dialled, accepted) = link(&dialler, &acceptor).await;
    assert_eq!((dialled.peer, accepted.peer), (ContextId(41), ContextId(42)));
}

#[test]
fn keys_are_never_overwritten_and_ids_never_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, one) = (folder.path().join("ca"), folder.path().join("one"));
    let authority = mesh();
    authority.save(&ca).unwrap();
    assert!(matches!(mesh().save(&ca), Err(FolderError::Exists { .. })));
    authority.issue_pem(&one, ContextId(7), PEM_LIFETIME).unwrap();
    let again = authority.issue_pem(&one, ContextId(8), PEM_LIFETIME);
    assert!(matches!(again, Err(FolderError::Exists { .. })), "{again:?}");
    for taken in [0, 1, 7] {
        let result = authority.issue_pem(folder.path().join("x"), ContextId(taken), PEM_LIFETIME);
        assert!(matches!(result, Err(FolderError::IdTaken { first_free: 8, .. })), "{result:?}");
    }
}

#[test]
fn m11_reservations_survive_a_restart_and_see_other_processes() {
    let folder = tempfile::tempdir().unwrap();
    let authority = mesh();
    authority.save(folder.path()).unwrap();
    assert_eq!(authority.reserved(), (0, 1));
    authority.reserve(1, 1001).unwrap();
    assert!(authority.reserve(0, 2000).is_err(), "a term that is over came back");

    let restarted = MeshAuthority::load(folder.path()).unwrap();
    assert_eq!(restarted.reserved(), (1, 1001));
    restarted.reserve(2, 2001).unwrap();

    // The first process counted from 1001, so what it asks for may be what the second has given out.
    assert!(authority.reserve(2, 2001).is_err());
    assert!(authority.reserve(2, 3001).is_err(), "it has not asked what is reserved now");
    assert_eq!(authority.reserved(), (2, 2001));
    authority.reserve(2, 3001).unwrap();
    assert_eq!(MeshAuthority::load(folder.path()).unwrap().reserved(), (2, 3001));

    let request = JoinKey::generate().request();
    authority.issue(ContextId(3000), &request).unwrap();
    authority.issue(ContextId(3001), &request).unwrap_err();

    std::fs::write(folder.path().join("ca-state"), "term 2\n").unwrap();
    assert!(authority.reserve(3, 4001).is_err(), "a damaged state was overwritten");
}

#[test]
fn damaged_folders_are_refused_with_the_file_named() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, one) = (folder.path().join("ca"), folder.path().join("one"));
    let authority = mesh();
    authority.save(&ca).unwrap();
    authority.issue_pem(&one, ContextId(7), PEM_LIFETIME).unwrap();
    for (path, content) in [
        (one.join("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()),
        (one.join("cert.pem"), "nonsense".to_owned()),
        (one.join("ca.pem"), String::new()),
    ] {
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, content).unwrap();
        assert!(NodeIdentity::from_pem(&one).is_err(), "{}", path.display());
        std::fs::write(&path, good).unwrap();
    }
    NodeIdentity::from_pem(&one).unwrap();
    std::fs::remove_file(one.join("cert.pem")).unwrap();
    let error = NodeIdentity::from_pem(&one).unwrap_err().to_string();
    assert!(error.contains("cert.pem"), "{error}");
    let key = std::fs::read_to_string(one.join("key.pem")).unwrap();
    std::fs::write(ca.join("ca-key.pem"), key).unwrap();
    let error = MeshAuthority::load(&ca).unwrap_err().to_string();
    assert!(error.contains("key of another certificate"), "{error}");
}

#[test]
fn contexts_with_folders_allow_five_minutes_between_clocks_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, one) = (folder.path().join("ca"), folder.path().join("one"));
    let authority = mesh();
    authority.save(&ca).unwrap();
    authority.issue_pem(&one, ContextId(7), Duration::ZERO).unwrap();
    NodeIdentity::from_pem(&one).expect("it has expired just now");

    let issuer = rcgen::Issuer::from_ca_cert_pem(
        &std::fs::read_to_string(ca.join("ca.pem")).unwrap(),
        rcgen::KeyPair::from_pem(&std::fs::read_to_string(ca.join("ca-key.pem")).unwrap()).unwrap(),
    )
    .unwrap();
    for (begins, ends, text) in [(-3600, -301, "expired"), (330, 3600, "not valid for another")] {
        let papers = Forge { begins, ends, ..Forge::honest(MESH, 7) }.issue(&issuer);
        papers.write(&one);
        let error = NodeIdentity::from_pem(&one).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
