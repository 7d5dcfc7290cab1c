//! Identities within one process, and the authority that stands for the one which meshes of several processes have: certificates are texts, and
//! signatures keyed hashes under what the network's secret gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use actogen_core::ContextId;
use parking_lot::Mutex;

use super::Inner;
use crate::{
    names::{ContextNames, Holder, MOST_NAMES},
    transport::{Authority, Identity, IdentityError},
};

/// What begins a list of revocations.
const REVOCATIONS: &str = "revoked:";

/// What a network's authority has given and taken.
#[derive(Debug, Default)]
pub(super) struct Record {
    names: BTreeMap<String, ContextId>,
    revoked: BTreeSet<ContextId>,
}

impl Record {
    fn names_of(&self, context: ContextId) -> impl Iterator<Item = &str> {
        self.names.iter().filter(move |&(_, &of)| of == context).map(|(name, _)| &**name)
    }
}

impl Inner {
    fn key(&self, context: ContextId) -> [u8; 32] {
        *blake3::keyed_hash(&self.secret, &context.0.to_le_bytes()).as_bytes()
    }

    /// A text with a line behind it that only this network can have put there.
    fn seal(&self, text: &str) -> Vec<u8> {
        let key = blake3::derive_key("actogen memory 2026 seals", &self.secret);
        let seal = blake3::keyed_hash(&key, text.as_bytes());
        format!("{text}\n{seal}").into_bytes()
    }

    fn unseal<'a>(&self, sealed: &'a [u8]) -> Option<&'a str> {
        let (text, _) = std::str::from_utf8(sealed).ok()?.rsplit_once('\n')?;
        (self.seal(text) == sealed).then_some(text)
    }

    /// The first line of a certificate.
    fn title(&self, context: ContextId) -> String {
        format!("{}/{}", self.mesh, context.0)
    }

    /// Title and names of a certificate, if it is one of this network.
    fn read<'a>(
        &self,
        certificate: &'a [u8],
    ) -> Result<(&'a str, impl Iterator<Item = &'a str> + use<'a>), IdentityError> {
        let read = || {
            let mut lines = self.unseal(certificate)?.split('\n');
            Some((lines.next()?, lines))
        };
        read().ok_or_else(|| {
            IdentityError(format!("the certificate is not one of mesh `{}`", self.mesh))
        })
    }
}

/// The authority of a network. It keeps no ids, which are chosen by whoever opens transports.
#[derive(Debug)]
pub(super) struct MemoryAuthority(pub(super) Arc<Inner>);

impl Authority for MemoryAuthority {
    fn issue(&self, _: ContextId, _: &[u8]) -> Result<Vec<u8>, IdentityError> {
        Err(IdentityError("a network in memory admits no processes".into()))
    }

    fn bind_names(
        &self,
        context: ContextId,
        names: &ContextNames,
        holder: Holder,
    ) -> Result<(), IdentityError> {
        let mut record = self.0.record.lock();
        if record.revoked.contains(&context) {
            return Err(IdentityError(format!("{context} has been revoked")));
        }
        let mut others = Vec::new();
        for name in names.as_slice() {
            let other = record.names.get(name).copied();
            let is_other =
                |&other: &ContextId| other != context && !record.revoked.contains(&other);
            others.extend(other.filter(is_other).map(|other| (name, other)));
        }
        if let Some((name, other)) = others.first() {
            if holder == Holder::Stays {
                return Err(IdentityError(format!("the name `{name}` is bound to {other}")));
            }
            if others.iter().any(|(_, other)| other.is_root()) {
                return Err(IdentityError("the root cannot be revoked".into()));
            }
        }
        let others: Vec<ContextId> = others.into_iter().map(|(_, other)| other).collect();
        let all: BTreeSet<_> =
            record.names_of(context).chain(names.as_slice().iter().map(|name| &**name)).collect();
        if all.len() > MOST_NAMES {
            return Err(IdentityError(format!("a context has at most {MOST_NAMES} names")));
        }
        record.revoked.extend(others);
        record.names.extend(names.as_slice().iter().map(|name| (name.clone(), context)));
        Ok(())
    }

    fn holder(&self, name: &str) -> Result<Option<ContextId>, IdentityError> {
        Ok(self.0.record.lock().names.get(name).copied())
    }

    fn revoke(&self, context: ContextId) -> Result<(), IdentityError> {
        if context.is_root() {
            return Err(IdentityError("the root cannot be revoked".into()));
        }
        self.0.record.lock().revoked.insert(context);
        Ok(())
    }

    fn revocations(&self) -> Result<Option<Vec<u8>>, IdentityError> {
        let record = self.0.record.lock();
        let ids: Vec<_> = record.revoked.iter().map(|context| context.0.to_string()).collect();
        let list = || self.0.seal(&format!("{REVOCATIONS}{}", ids.join(",")));
        Ok((!ids.is_empty()).then(list))
    }

    fn reserve(&self, _: u64, _: u64) -> Result<(), IdentityError> {
        Ok(())
    }

    fn reserved(&self) -> (u64, u64) {
        (0, 0)
    }
}

/// Who a context is in a network.
#[derive(Debug)]
pub(super) struct MemoryIdentity {
    context: ContextId,
    certificate: Vec<u8>,
    network: Arc<Inner>,
    /// The newest list of revocations that it has taken, and its form.
    revoked: Mutex<(BTreeSet<ContextId>, Vec<u8>)>,
}

impl MemoryIdentity {
    /// With the names that the context has now.
    pub(super) fn issue(context: ContextId, network: Arc<Inner>) -> Self {
        let title = network.title(context);
        let lines: Vec<String> = {
            let record = network.record.lock();
            std::iter::once(title).chain(record.names_of(context).map(str::to_owned)).collect()
        };
        let certificate = network.seal(&lines.join("\n"));
        Self { context, certificate, network, revoked: Mutex::default() }
    }
}

impl Identity for MemoryIdentity {
    fn context(&self) -> ContextId {
        self.context
    }

    fn mesh(&self) -> &str {
        &self.network.mesh
    }

    fn certificate(&self) -> Vec<u8> {
        self.certificate.clone()
    }

    fn revocations(&self) -> Option<Vec<u8>> {
        let revoked = self.revoked.lock();
        (!revoked.0.is_empty()).then(|| revoked.1.clone())
    }

    fn take_revocations(&self, list: &[u8]) -> Result<Option<Vec<ContextId>>, IdentityError> {
        let ids = self.network.unseal(list).and_then(|text| text.strip_prefix(REVOCATIONS));
        let ids = ids.map(|ids| ids.split(',').map(|id| id.parse().map(ContextId)).collect());
        let Some(Ok(newer)) = ids else {
            return Err(IdentityError("the authority has not signed these revocations".into()));
        };
        let mut revoked = self.revoked.lock();
        // Lists only ever grow.
        let newer: BTreeSet<ContextId> = newer;
        if newer.len() <= revoked.0.len() {
            return Ok(None);
        }
        *revoked = (newer.clone(), list.to_vec());
        Ok(Some(newer.into_iter().collect()))
    }

    fn is_revoked(&self, context: ContextId) -> bool {
        self.revoked.lock().0.contains(&context)
    }

    fn names_in(&self, certificate: &[u8]) -> Result<Vec<String>, IdentityError> {
        let (_, names) = self.network.read(certificate)?;
        Ok(names.map(str::to_owned).collect())
    }

    fn sign(&self, claim: &[u8]) -> Vec<u8> {
        blake3::keyed_hash(&self.network.key(self.context), claim).as_bytes().to_vec()
    }

    fn verify(
        &self,
        context: ContextId,
        certificate: &[u8],
        claim: &[u8],
        signature: &[u8],
    ) -> Result<(), IdentityError> {
        let (title, _) = self.network.read(certificate)?;
        if title != self.network.title(context) {
            return Err(IdentityError(format!(
                "the certificate is not of {context} in mesh `{}`",
                self.network.mesh
            )));
        }
        if self.is_revoked(context) {
            return Err(IdentityError(format!("{context} has been revoked")));
        }
        let expected = blake3::keyed_hash(&self.network.key(context), claim);
        let signature = <[u8; 32]>::try_from(signature).map(blake3::Hash::from_bytes);
        if signature.is_ok_and(|signature| signature == expected) {
            Ok(())
        } else {
            Err(IdentityError("the signature does not hold".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::MemoryNetwork, *};
    use crate::transport::Transport;

    fn names(texts: &[&str]) -> ContextNames {
        ContextNames::new(texts.iter().copied()).unwrap()
    }

    fn identity(network: &MemoryNetwork, id: u64) -> Arc<dyn Identity> {
        network.transport(ContextId(id), format!("at {id}"), Duration::from_secs(1)).identity()
    }

    #[test]
    fn certificates_carry_the_names_that_were_bound_and_no_others() {
        let network = MemoryNetwork::new("a.test", [1; 32]);
        network
            .authority()
            .bind_names(ContextId(1), &names(&["node-b", "node-a"]), Holder::Stays)
            .unwrap();
        let (one, two) = (identity(&network, 1), identity(&network, 2));
        let certificate = one.certificate();
        assert_eq!(two.names_in(&certificate).unwrap(), ["node-a", "node-b"]);
        assert_eq!(one.names_in(&two.certificate()).unwrap(), [""; 0]);
        let signature = one.sign(b"claim");
        assert_eq!(two.verify(ContextId(1), &certificate, b"claim", &signature), Ok(()));
        let forged = String::from_utf8(certificate).unwrap().replace("node-a", "node-c");
        assert!(two.names_in(forged.as_bytes()).is_err());
        assert!(two.verify(ContextId(1), forged.as_bytes(), b"claim", &signature).is_err());
        let other = identity(&MemoryNetwork::new("a.test", [2; 32]), 1);
        assert!(other.names_in(&one.certificate()).is_err());
    }

    #[test]
    fn a_name_is_taken_over_only_if_that_is_meant() {
        let network = MemoryNetwork::new("a.test", [1; 32]);
        let authority = network.authority();
        let bind =
            |id, texts: &[&str], holder| authority.bind_names(ContextId(id), &names(texts), holder);
        bind(1, &["one"], Holder::Stays).unwrap();
        assert!(bind(2, &["one", "two"], Holder::Stays).unwrap_err().0.contains("context 1"));
        assert_eq!(authority.holder("two"), Ok(None));
        let one = identity(&network, 1);
        bind(2, &["one"], Holder::Revoked).unwrap();
        assert_eq!(authority.holder("one"), Ok(Some(ContextId(2))));
        let list = authority.revocations().unwrap().unwrap();
        let two = identity(&network, 2);
        assert_eq!(two.take_revocations(&list), Ok(Some(vec![ContextId(1)])));
        assert_eq!(two.take_revocations(&list), Ok(None));
        assert!(two.take_revocations(&list[1..]).is_err());
        let refused = two.verify(ContextId(1), &one.certificate(), b"", &one.sign(b""));
        assert!(refused.unwrap_err().0.contains("revoked"));
        assert!(bind(1, &["one"], Holder::Revoked).is_err());
    }
}
