//! Claims that a context signs for whoever asks by its id, end to end (protocol rule 27): routers on the way can drop them and change nothing.
//!
//! The same key signs announcements of routes, so a claim carries a label of its own, and each part of it its length: no claim of one
//! purpose, signer or content can stand for another.

use std::time::SystemTime;

use actogen_core::ContextId;

use crate::{context::Context, transport::IdentityError};

/// What begins the bytes that are signed. No announcement begins so (`actogen route v1`), and what else a context's key comes to sign must not.
const LABEL: &[u8] = b"actogen context claim v1\0";

/// The bytes that are signed: the label, the signer, then purpose and claim, each behind its length.
fn signed_bytes(domain: &str, signer: ContextId, claim: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| (part.len() as u64).to_le_bytes();
    let mut bytes = LABEL.to_vec();
    bytes.extend_from_slice(&signer.0.to_le_bytes());
    for part in [domain.as_bytes(), claim] {
        bytes.extend_from_slice(&length(part));
        bytes.extend_from_slice(part);
    }
    bytes
}

impl Context {
    /// This context's certificate as it is now, for those who check its claims; renewals replace it.
    pub fn certificate(&self) -> Vec<u8> {
        self.0.transport.identity().certificate()
    }

    /// The names that the authority has bound to this context, as its certificate carries them.
    pub fn own_names(&self) -> Vec<String> {
        let identity = self.0.transport.identity();
        // The transport has checked its own certificate before it showed it to anybody.
        identity.names_in(&identity.certificate()).unwrap_or_default()
    }

    /// Signs a claim in this context's name. `domain` says what such claims are for: one is never taken for another's.
    pub fn sign_claim(&self, domain: &'static str, claim: &[u8]) -> Vec<u8> {
        self.0.transport.identity().sign(&signed_bytes(domain, self.id(), claim))
    }

    /// Checks that `signer` has signed a claim for this `domain`, and gives the names that its certificate carries. The certificate must be
    /// one of this mesh for the signer, in force now and, as far as this context knows, not revoked. At the root its names must also be
    /// those that the authority has bound to it.
    ///
    /// # Errors
    /// [`IdentityError`] says which of that does not hold.
    pub fn verify_claim(
        &self,
        domain: &'static str,
        signer: ContextId,
        certificate: &[u8],
        claim: &[u8],
        signature: &[u8],
    ) -> Result<Vec<String>, IdentityError> {
        let bytes = signed_bytes(domain, signer, claim);
        self.0.transport.identity().verify(signer, certificate, &bytes, signature)?;
        self.checked_names(signer, certificate)
    }

    /// As [`Self::verify_claim`], for a claim that was signed and kept: the certificate must have been in force at this time. Who says the time
    /// is believed in that; revocations count as they are known now.
    ///
    /// # Errors
    /// As [`Self::verify_claim`].
    pub fn verify_claim_at(
        &self,
        domain: &'static str,
        signer: ContextId,
        certificate: &[u8],
        claim: &[u8],
        signature: &[u8],
        at: SystemTime,
    ) -> Result<Vec<String>, IdentityError> {
        let bytes = signed_bytes(domain, signer, claim);
        self.0.transport.identity().verify_at(signer, certificate, &bytes, signature, at)?;
        self.checked_names(signer, certificate)
    }

    fn checked_names(
        &self,
        signer: ContextId,
        certificate: &[u8],
    ) -> Result<Vec<String>, IdentityError> {
        let names = self.0.transport.identity().names_in(certificate)?;
        if let Some(authority) = self.authority() {
            crate::who_has::check_names(&*authority, signer, &names)?;
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_differ_in_every_part_and_from_announcements() {
        let bytes = |domain, signer, claim: &[u8]| signed_bytes(domain, ContextId(signer), claim);
        let one = bytes("ab", 1, b"c");
        for other in
            [bytes("a", 1, b"bc"), bytes("abc", 1, b""), bytes("ab", 2, b"c"), bytes("ab", 1, b"d")]
        {
            assert_ne!(one, other);
        }
        assert!(!one.starts_with(b"actogen route"));
    }
}
