//! Names that an authority binds to contexts: what certificates carry them, whose they are, and how they go to another.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{path::Path, time::Duration};

use actogen_core::id::ContextId;
use actogen_runtime::{
    names::{ContextNames, Holder, MOST_NAMES},
    transport::{Authority, Identity},
};
use actogen_transport_quic::{FolderError, JoinKey, MeshAuthority, NodeIdentity, PEM_LIFETIME};
use support::*;

const MESH: &str = "a.test";

fn names(texts: &[&str]) -> ContextNames {
    ContextNames::new(texts.iter().copied()).unwrap()
}

fn saved(folder: &Path) -> MeshAuthority {
    let authority = MeshAuthority::generate(MESH).unwrap();
    authority.save(folder).unwrap();
    authority
}

/// Issues an identity with names into a folder, and reads it.
fn issue(
    authority: &MeshAuthority,
    folder: &Path,
    id: u64,
    texts: &[&str],
    holder: Holder,
) -> Result<NodeIdentity, FolderError> {
    let folder = folder.join(format!("node{id}"));
    let names = names(texts);
    authority.issue_pem_named(&folder, ContextId(id), PEM_LIFETIME, &names, holder)?;
    Ok(NodeIdentity::from_pem(folder).unwrap())
}

fn own_names(identity: &NodeIdentity) -> Vec<String> {
    identity.names_in(&identity.certificate()).unwrap()
}

#[tokio::test]
async fn a_certificate_carries_few_well_formed_names_of_its_mesh() {
    let authority = StolenMesh::generate(MESH);
    let judge = node(&authority, 1);
    let forge = |names: &[String]| {
        let names = [&["spiffe://a.test/context/7".to_owned()], names].concat();
        Forge { names, ..Forge::honest(MESH, 7) }.issue(&authority.issuer()).certificate
    };
    let name = |name: &str| format!("spiffe://a.test/name/{name}");
    let many = |count: usize| (0..count).map(|n| name(&format!("n{n}"))).collect::<Vec<_>>();

    let longest: Vec<_> = (0..MOST_NAMES).map(|n| name(&n.to_string().repeat(64))).collect();
    for good in [many(0), many(1), many(MOST_NAMES), longest] {
        let certificate = forge(&good);
        let read = judge.names_in(&certificate).unwrap();
        assert_eq!(read.iter().map(|one| name(one)).collect::<Vec<_>>(), good);
        let refused = judge.verify(ContextId(7), &certificate, b"", b"").unwrap_err();
        assert!(refused.0.contains("signature"), "all but that holds: {refused}");
    }
    for (bad, text) in [
        (many(MOST_NAMES + 1), "names"),
        (vec![name("A")], "names"),
        (vec![name("")], "names"),
        (vec![name("a/b")], "names"),
        (vec![name("a%20b")], "names"),
        (vec![name(&"a".repeat(65))], "names"),
        (vec![name("a"), name("a")], "names"),
        (vec!["spiffe://b.test/name/a".to_owned()], "names"),
        (vec!["spiffe://a.test/other/a".to_owned()], "exactly one context"),
        (vec!["https://a.test/name/a".to_owned()], "exactly one context"),
        (vec!["spiffe://a.test/context/8".to_owned()], "exactly one context"),
    ] {
        let certificate = forge(&bad);
        for refused in [
            judge.names_in(&certificate).map(drop),
            judge.verify(ContextId(7), &certificate, b"", b""),
        ] {
            let refused = refused.unwrap_err();
            assert!(refused.0.contains(text), "{bad:?}: {refused}");
        }
    }
    // A name beside no context is nobody's.
    let nobody = Forge { names: many(1), ..Forge::honest(MESH, 7) }.issue(&authority.issuer());
    assert!(judge.names_in(&nobody.certificate).is_err());
    let elsewhere = Forge::honest("b.test", 7).issue(&authority.issuer());
    let refused = judge.names_in(&elsewhere.certificate).unwrap_err();
    assert!(refused.0.contains("mesh `b.test`"), "{refused}");
}

#[test]
fn names_are_kept_in_renewals_and_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    let authority = saved(&ca);
    let one = issue(&authority, folder.path(), 7, &["west", "node-7"], Holder::Stays).unwrap();
    assert_eq!(own_names(&one), ["node-7", "west"]);
    let authority = MeshAuthority::load(&ca).unwrap();
    assert_eq!(authority.holder_of("west").unwrap(), Some(ContextId(7)));
    assert_eq!(authority.holder_of("east").unwrap(), None);
    let renew = |authority: &MeshAuthority| {
        authority.renew(ContextId(7), &one.certificate(), &one.renewal_request())
    };
    one.renew(&renew(&authority).unwrap()).unwrap();
    assert_eq!(own_names(&one), ["node-7", "west"]);
    // What is bound to it later comes with the next one.
    authority.name_context(ContextId(7), &names(&["late"]), Holder::Stays).unwrap();
    one.renew(&renew(&authority).unwrap()).unwrap();
    assert_eq!(own_names(&one), ["late", "node-7", "west"]);
    // An authority that knows nothing of a name renews no certificate that has it.
    std::fs::write(ca.join("ca-names"), "node-7 7\nlate 7\n").unwrap();
    let refused = renew(&MeshAuthority::load(&ca).unwrap()).unwrap_err();
    assert!(refused.0.contains("`west` is not bound"), "{refused}");
    std::fs::write(ca.join("ca-names"), "node-7\n").unwrap();
    let refused = renew(&authority).unwrap_err();
    assert!(refused.0.contains("ca-names: line 1"), "{refused}");
}

#[test]
fn a_name_that_another_has_is_refused_or_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    let authority = saved(&ca);
    // Another process has the same authority, and both see what either does.
    let beside = MeshAuthority::load(&ca).unwrap();
    let one = issue(&authority, folder.path(), 7, &["west", "seven"], Holder::Stays).unwrap();
    let refused = issue(&beside, folder.path(), 8, &["west"], Holder::Stays).unwrap_err();
    assert!(matches!(&refused, FolderError::NameTaken { name, by: 7 } if name == "west"));
    assert!(refused.to_string().contains("--take-over"), "{refused}");
    assert_eq!(beside.reserved().1, 8, "no id is used up by that");

    let two = issue(&beside, folder.path(), 8, &["west"], Holder::Revoked).unwrap();
    assert_eq!(own_names(&two), ["west"]);
    assert_eq!(authority.holder_of("west").unwrap(), Some(ContextId(8)));
    let judge = authority.root_identity();
    let list = Authority::revocations(&authority).unwrap().unwrap();
    assert_eq!(judge.take_revocations(&list), Ok(Some(vec![ContextId(7)])));
    let refused = judge.verify(ContextId(7), &one.certificate(), b"", &one.sign(b""));
    assert!(refused.unwrap_err().0.contains("revoked"));
    assert_eq!(judge.verify(ContextId(8), &two.certificate(), b"", &two.sign(b"")), Ok(()));
    // It gets none back, and what else it had is free, though it was its last.
    let back = authority.name_context(ContextId(7), &names(&["west"]), Holder::Revoked);
    assert!(back.unwrap_err().to_string().contains("revoked"));
    assert_eq!(authority.holder_of("seven").unwrap(), Some(ContextId(7)));
    issue(&authority, folder.path(), 9, &["seven"], Holder::Stays).unwrap();
}

#[test]
fn the_roots_names_stay_with_it() {
    let authority = MeshAuthority::generate(MESH).unwrap();
    authority.name_context(ContextId::ROOT, &names(&["top"]), Holder::Stays).unwrap();
    assert_eq!(own_names(&authority.root_identity()), ["top"]);
    let refused = authority.name_context(ContextId(1), &names(&["top"]), Holder::Revoked);
    assert!(refused.unwrap_err().to_string().contains("cannot be revoked"));
    // What was bound in memory is there in the folder.
    let folder = tempfile::tempdir().unwrap();
    authority.save(folder.path()).unwrap();
    let loaded = MeshAuthority::load(folder.path()).unwrap();
    assert_eq!(loaded.holder_of("top").unwrap(), Some(ContextId::ROOT));
}

#[test]
fn a_token_names_whom_it_admits() {
    const HOUR: Duration = Duration::from_secs(3600);
    let folder = tempfile::tempdir().unwrap();
    let authority = saved(folder.path());
    let number = |token: &actogen_transport_quic::JoinToken| token.id().0;
    let first = authority.create_token_named(HOUR, &names(&["west"]), Holder::Stays).unwrap();
    let second = authority.create_token_named(HOUR, &names(&["west"]), Holder::Stays).unwrap();
    let third = authority.create_token_named(HOUR, &names(&["west"]), Holder::Revoked).unwrap();
    assert_eq!(authority.holder_of("west").unwrap(), None, "nobody has come");

    let keys = [JoinKey::generate(), JoinKey::generate(), JoinKey::generate()];
    let authority = MeshAuthority::load(folder.path()).unwrap();
    authority.reserve(0, 100).unwrap();
    let admit = |token, id, key: &JoinKey| {
        authority.bind_token(number(token), &key.request(), ContextId(id))?;
        authority.issue(ContextId(id), &key.request())
    };
    let judge = authority.root_identity();
    let certificate = admit(&first, 1, &keys[0]).unwrap();
    assert_eq!(judge.names_in(&certificate).unwrap(), ["west"]);
    assert_eq!(authority.holder_of("west").unwrap(), Some(ContextId(1)));
    let again = admit(&first, 1, &keys[0]).unwrap();
    assert_eq!(judge.names_in(&again).unwrap(), ["west"]);

    let refused = admit(&second, 2, &keys[1]).unwrap_err();
    assert!(refused.0.contains("`west` is bound to context 1"), "{refused}");
    let refused = authority.create_token_named(HOUR, &names(&["west"]), Holder::Stays);
    assert!(matches!(refused, Err(FolderError::NameTaken { by: 1, .. })), "{refused:?}");
    let certificate = admit(&third, 3, &keys[2]).unwrap();
    assert_eq!(judge.names_in(&certificate).unwrap(), ["west"]);
    // Whom the first has admitted is revoked, and its token brings nothing back.
    assert!(admit(&first, 1, &keys[0]).unwrap_err().0.contains("revoked"));
}
