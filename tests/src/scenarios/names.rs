//! Names that the mesh's authority binds to contexts: who carries one, and who is asked whose it is.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use actogen::{
    Context, ContextId, DeadReason, Handle,
    names::{ContextNames, Holder},
};

use crate::{
    mesh::{Fabric, Mesh, Outcome},
    until::{soon, until},
};

const PURPOSE: &str = "test.claim";

/// What `judge` says of a claim that `signer` signs now.
fn judged(judge: &Context, signer: &Context) -> Result<Vec<String>, String> {
    let signature = signer.sign_claim(PURPOSE, b"claim");
    judge
        .verify_claim(PURPOSE, signer.id(), &signer.certificate(), b"claim", &signature)
        .map_err(|error| error.0)
}

/// A name is its context's, as its certificate says to everybody and the root to whoever asks, until the authority binds it to another: then
/// the one that had it is revoked.
pub async fn a_name_is_bound_to_its_context<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let first = mesh.named_child(&root, 1, &["west", "node-1"], Holder::Stays).await?;
    let far = mesh.child(&mesh.child(&root, 2).await?, 3).await?;

    assert_eq!(first.own_names(), ["node-1", "west"]);
    assert_eq!(far.own_names(), [""; 0]);
    for judge in [&root, &far, &first] {
        assert_eq!(judged(judge, &first).unwrap(), ["node-1", "west"]);
        assert_eq!(judged(judge, &far).unwrap(), [""; 0]);
    }
    for asker in [&root, &first, &far] {
        assert_eq!(soon("the root answers", asker.who_has("west")).await?, Some(ContextId(1)));
        assert_eq!(soon("the root answers", asker.who_has("east")).await?, None);
        assert_eq!(soon("nobody is asked", asker.who_has("No Name")).await?, None);
    }

    // Nobody gets it beside the one that has it, here or away.
    let refused = mesh.named_child(&root, 4, &["west"], Holder::Stays).await.unwrap_err();
    assert!(refused.to_string().contains("context 1"), "{refused}");
    mesh.kill(&first).await;
    until("the first is gone", || root.place_of(ContextId(1)).is_none()).await;
    assert_eq!(soon("the root answers", far.who_has("west")).await?, Some(ContextId(1)));
    let names = ContextNames::new(["west"])?;
    let authority = mesh.fabric().authority();
    assert!(authority.bind_names(ContextId(5), &names, Holder::Stays).is_err());

    let second = mesh.named_child(&root, 5, &["west"], Holder::Revoked).await?;
    assert_eq!(judged(&far, &second).unwrap(), ["west"]);
    assert_eq!(soon("the root answers", far.who_has("west")).await?, Some(ContextId(5)));
    // The root looks every second at what its authority has revoked, and tells everybody.
    until("the first is revoked everywhere", || far.is_revoked(ContextId(1))).await;
    for judge in [&root, &far] {
        let why = judged(judge, &first).unwrap_err();
        assert!(why.contains("revoked"), "{why}");
    }
    Ok(())
}

/// A claim holds for its purpose, its signer, its certificate and its bytes alone.
pub async fn a_claim_holds_for_what_was_signed<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let one = mesh.named_child(&root, 1, &["one"], Holder::Stays).await?;
    let two = mesh.named_child(&root, 2, &["two"], Holder::Stays).await?;
    let (certificate, signature) = (one.certificate(), one.sign_claim(PURPOSE, b"claim"));
    let id = ContextId(1);
    let verify = |domain, signer, certificate: &[u8], claim: &[u8], signature: &[u8]| {
        two.verify_claim(domain, signer, certificate, claim, signature)
    };
    assert_eq!(verify(PURPOSE, id, &certificate, b"claim", &signature).unwrap(), ["one"]);
    assert!(verify("test.clai", id, &certificate, b"mclaim", &signature).is_err());
    assert!(verify("test.other", id, &certificate, b"claim", &signature).is_err());
    assert!(verify(PURPOSE, ContextId(2), &certificate, b"claim", &signature).is_err());
    assert!(verify(PURPOSE, ContextId(2), &two.certificate(), b"claim", &signature).is_err());
    assert!(verify(PURPOSE, id, &two.certificate(), b"claim", &signature).is_err());
    assert!(verify(PURPOSE, id, &certificate, b"claims", &signature).is_err());
    assert!(verify(PURPOSE, id, &certificate, b"claim", &signature[1..]).is_err());
    assert!(verify(PURPOSE, id, &[], b"claim", &signature).is_err());
    let of_another = two.sign_claim(PURPOSE, b"claim");
    assert!(verify(PURPOSE, id, &certificate, b"claim", &of_another).is_err());
    Ok(())
}

/// What is no name, or too long, or asked of somebody else than the root, is refused, and costs the asker no link.
pub async fn questions_that_are_no_names_are_refused<F: Fabric>(mesh: &Mesh<F>) -> Outcome {
    let root = mesh.root().await?;
    let child = mesh.child(&root, 1).await?;
    let ask = async |of: &Context, body: &[u8]| {
        soon("an answer", child.ask(of.place().address(Handle::WHO_HAS), body)).await
    };
    let question = |name: &str| [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
    assert_eq!(&ask(&root, &question("west")).await?[..], [0], "nobody");
    for bad in [
        &[][..],
        b"\x05west",
        &question("West"),
        &question(""),
        &question(&"a".repeat(65)),
        &[&question("west")[..], b"x"].concat(),
        &vec![b'a'; 100_000],
    ] {
        let dead = ask(&root, bad).await.unwrap_err();
        assert_eq!(dead.reason, DeadReason::Malformed, "{bad:?}");
    }
    let dead = ask(&child, &question("west")).await.unwrap_err();
    assert!(dead.text.contains("is not the root"), "{dead}");
    assert_eq!(child.who_has("west").await?, None);
    Ok(())
}
