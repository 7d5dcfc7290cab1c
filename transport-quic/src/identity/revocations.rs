//! The list of contexts whose certificates are good no more: numbered, and signed by the mesh's authority (protocol rule 26).
//!
//! On the wire it is the list in postcard (the mesh's name, a number, ids in order) behind the length of its signature and that. The number
//! alone orders lists: it is as durable as the authority is, and an authority that is made anew has another key. An id stays on the list for
//! ever, since it is never given out again. An authority whose folder is restored from an older backup learns what it has forgotten from the
//! first context that shows it a list of its own; and who has taken a list forgets nobody for a later one.

use std::collections::BTreeSet;

use actogen_core::id::ContextId;
use actogen_runtime::transport::IdentityError;
use rcgen::{KeyPair, SigningKey};
use serde::{Deserialize, Serialize};
use webpki::EndEntityCert;

use super::{
    judge::{ISSUED_WITH, Roots},
    mesh::MeshName,
};

/// The most contexts on a list: so many ids and a signature fit into one message between links, 24 KiB.
pub(super) const MOST: usize = 2000;

/// What a list is prefixed with before it is signed, so that no signature of it can stand for one of a certificate.
const CONTEXT: &[u8] = b"actogen revocations 1\0";

/// A list as the authority keeps it: whom it has revoked, and how often it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Revocations {
    number: u64,
    contexts: BTreeSet<ContextId>,
}

#[derive(Serialize, Deserialize)]
struct Signed {
    signature: Vec<u8>,
    list: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct List {
    mesh: String,
    number: u64,
    contexts: Vec<ContextId>,
}

/// Why a context cannot be put on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unrevocable {
    #[error("the root cannot be revoked: its process has the authority itself. Make a new mesh")]
    Root,
    #[error(
        "the list holds {MOST} contexts, as many as it may: move the mesh to a new authority, whose list is empty"
    )]
    Full,
}

impl Revocations {
    /// Puts a context on the list; false when it was on it.
    pub(super) fn revoke(&mut self, context: ContextId) -> Result<bool, Unrevocable> {
        if context.is_root() {
            return Err(Unrevocable::Root);
        }
        if self.contexts.contains(&context) {
            return Ok(false);
        }
        if self.contexts.len() >= MOST {
            return Err(Unrevocable::Full);
        }
        self.contexts.insert(context);
        self.number += 1;
        Ok(true)
    }

    /// Takes over who is on another list of the same authority; whether that is news. The list is after both then, unless the other one holds
    /// all of it.
    pub(super) fn absorb(&mut self, other: &Self) -> Result<bool, Unrevocable> {
        if other.contexts.is_subset(&self.contexts) && other.number <= self.number {
            return Ok(false);
        }
        let all: BTreeSet<_> = self.contexts.union(&other.contexts).copied().collect();
        if all.len() > MOST {
            return Err(Unrevocable::Full);
        }
        let is_other = all == other.contexts;
        self.number = self.number.max(other.number) + u64::from(!is_other);
        self.contexts = all;
        Ok(true)
    }

    /// Keeps those who were revoked before and are not on this list, under its number.
    pub(super) fn keep(&mut self, before: &Self) {
        self.contexts.extend(&before.contexts);
    }

    pub(super) fn contains(&self, context: ContextId) -> bool {
        self.contexts.contains(&context)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.contexts.is_empty()
    }

    pub(super) fn is_after(&self, other: &Self) -> bool {
        self.number > other.number
    }

    pub(super) fn contexts(&self) -> Vec<ContextId> {
        self.contexts.iter().copied().collect()
    }

    /// The wire form, signed.
    pub(super) fn sign(&self, mesh: &MeshName, key: &KeyPair) -> Vec<u8> {
        let list =
            List { mesh: mesh.as_str().to_owned(), number: self.number, contexts: self.contexts() };
        let list = to_bytes(&list);
        let signature =
            key.sign(&[CONTEXT, &list].concat()).expect("an authority's key signs any message");
        to_bytes(&Signed { signature, list })
    }

    /// Reads the wire form, if one of the mesh's roots has signed it.
    pub(super) fn verify(
        bytes: &[u8],
        mesh: &MeshName,
        roots: &Roots,
    ) -> Result<Self, IdentityError> {
        let refused = |why: &str| IdentityError(format!("the list of revocations {why}"));
        let Signed { signature, list } =
            from_bytes(bytes).ok_or_else(|| refused("does not decode"))?;
        let claim = [CONTEXT, &list].concat();
        let has_signed = |root: &rustls::pki_types::CertificateDer<'_>| {
            let Ok(root) = EndEntityCert::try_from(root) else { return false };
            ISSUED_WITH
                .iter()
                .any(|&algorithm| root.verify_signature(algorithm, &claim, &signature).is_ok())
        };
        if !roots.certificates().iter().any(has_signed) {
            return Err(refused("is not signed by this mesh's authority"));
        }
        let list: List = from_bytes(&list).ok_or_else(|| refused("does not decode"))?;
        if list.mesh != mesh.as_str() || list.contexts.len() > MOST {
            return Err(refused("is of another mesh, or too long"));
        }
        Ok(Self { number: list.number, contexts: list.contexts.into_iter().collect() })
    }

    /// A line with the number, and one for each context.
    pub(super) fn to_text(&self) -> String {
        let ids: String = self.contexts.iter().map(|context| format!("{}\n", context.0)).collect();
        format!("number {}\n{ids}", self.number)
    }

    /// Reads what [`Self::to_text`] wrote, or nothing; the number of a line that is no such line else.
    pub(super) fn from_text(text: &str) -> Result<Self, usize> {
        let mut lines = text.lines().enumerate();
        let Some((_, first)) = lines.next() else { return Ok(Self::default()) };
        let number =
            first.strip_prefix("number ").and_then(|number| number.parse().ok()).ok_or(1_usize)?;
        let contexts = lines
            .map(|(place, line)| line.parse().map(ContextId).map_err(|_| place + 1))
            .collect::<Result<_, _>>()?;
        Ok(Self { number, contexts })
    }
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, Vec::new()).expect("a list has a form in postcard")
}

fn from_bytes<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::issuing::new_key, *};
    use crate::identity::MeshAuthority;

    fn revoked(ids: impl IntoIterator<Item = u64>) -> Revocations {
        let mut revocations = Revocations::default();
        for id in ids {
            assert_eq!(revocations.revoke(ContextId(id)), Ok(true));
        }
        revocations
    }

    #[test]
    fn a_list_holds_each_context_once_and_never_the_root() {
        let mut list = revoked([7, 3]);
        assert_eq!(list.revoke(ContextId(7)), Ok(false));
        assert_eq!(list.revoke(ContextId::ROOT), Err(Unrevocable::Root));
        assert!(list.contains(ContextId(3)) && !list.contains(ContextId(4)));
        assert!(list.is_after(&revoked([3])) && !list.is_after(&list));
        assert_eq!(Revocations::from_text(&list.to_text()), Ok(list));
        assert_eq!(Revocations::from_text(""), Ok(Revocations::default()));
        assert_eq!(Revocations::from_text("7\n"), Err(1));
        assert_eq!(Revocations::from_text("number 2\n7\nx\n"), Err(3));
    }

    #[test]
    fn a_list_that_was_restored_learns_what_it_has_forgotten() {
        let newer = revoked([7, 3, 9]);
        // All of it is on the newer one: they are the same from now on.
        let mut restored = revoked([7]);
        assert_eq!(restored.absorb(&newer), Ok(true));
        assert_eq!(restored, newer);
        assert_eq!(restored.absorb(&newer), Ok(false));
        // It has gone on from an older backup.
        let mut restored = revoked([7, 20]);
        assert_eq!(restored.absorb(&newer), Ok(true));
        assert!(restored.is_after(&newer));
        assert_eq!(restored.contexts(), [3, 7, 9, 20].map(ContextId));
        assert_eq!(restored.absorb(&newer), Ok(false));
        let mut full = revoked(1..=MOST as u64);
        assert_eq!(full.absorb(&revoked([u64::MAX])), Err(Unrevocable::Full));
        assert_eq!(full.contexts().len(), MOST);
    }

    #[test]
    fn a_full_list_says_so_and_fits_into_one_message() {
        let mut full = revoked(u64::MAX - MOST as u64..u64::MAX);
        assert_eq!(full.revoke(ContextId(1)), Err(Unrevocable::Full));
        let mesh = ["a"; 126].join(".").parse().unwrap();
        assert!(full.sign(&mesh, &new_key()).len() + 8 < actogen_core::limits::MAX_CONTROL);
    }

    #[test]
    fn only_the_authoritys_own_list_is_taken() {
        let authority = MeshAuthority::generate("a.test").unwrap();
        let roots = Roots::from_bytes(&authority.roots()).unwrap();
        let mesh = authority.mesh();
        let list = revoked([7]);
        let bytes = list.sign(mesh, authority.key());
        assert_eq!(Revocations::verify(&bytes, mesh, &roots), Ok(list.clone()));
        let why = |bytes: &[u8]| Revocations::verify(bytes, mesh, &roots).unwrap_err().0;
        assert!(why(&list.sign(mesh, &new_key())).contains("not signed"));
        let other = "b.test".parse().unwrap();
        assert!(why(&list.sign(&other, authority.key())).contains("another mesh"));
        for place in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            why(&bad);
            why(&bytes[..place]);
        }
    }
}
