//! Another certificate for a context that has one (protocol rule 25): in force, or expired not long ago.

use std::time::Duration;

use actogen_core::id::ContextId;
use actogen_runtime::transport::IdentityError;
use rcgen::PublicKeyData;
use rustls::pki_types::CertificateDer;

use super::{
    authority::{MeshAuthority, to_identity},
    issuing::{BACKDATED, read_request},
    judge::Judge,
    validity,
};

/// How long after its expiry a certificate can still be renewed by its key.
const RENEWABLE: Duration = Duration::from_secs(7 * 24 * 3600);

impl MeshAuthority {
    /// For a context that asks by its own links, with a certificate that is in force.
    pub(super) fn renew_in_force(
        &self,
        context: ContextId,
        certificate: &[u8],
        request: &[u8],
    ) -> Result<Vec<u8>, IdentityError> {
        let certificate = CertificateDer::from(certificate);
        let judge = self.judge();
        judge.judge(&certificate, Some(context))?;
        self.renewed(&judge, context, &certificate, request)
    }

    /// For whoever has the key of a certificate that may have expired.
    pub(super) fn renew_for_its_key(
        &self,
        certificate: &[u8],
        request: &[u8],
    ) -> Result<(ContextId, Vec<u8>), IdentityError> {
        let certificate = CertificateDer::from(certificate);
        let judge = self.judge();
        let context = judge.judge_ever(&certificate, None)?;
        let (from, until) = validity(&certificate).unwrap_or_default();
        if self.now() < from {
            return Err(IdentityError(format!("the certificate of {context} is from the future")));
        }
        if self.now() > until + RENEWABLE {
            return Err(IdentityError(format!(
                "the certificate of {context} expired more than 7 days ago: join anew, with a token"
            )));
        }
        let renewed = self.renewed(&judge, context, &certificate, request)?;
        Ok((context, renewed))
    }

    /// Another certificate for a context that has one: for the same key, of the same length, with the names that are its own now.
    fn renewed(
        &self,
        judge: &Judge,
        context: ContextId,
        certificate: &CertificateDer<'_>,
        request: &[u8],
    ) -> Result<Vec<u8>, IdentityError> {
        self.not_revoked(context)?;
        let key = read_request(request)?.public_key;
        let has = webpki::EndEntityCert::try_from(certificate).map_err(to_identity)?;
        if has.subject_public_key_info().as_ref() != key.subject_public_key_info() {
            return Err(IdentityError(format!("the request is not for the key of {context}")));
        }
        // An identity from a folder was good for longer, and stays so.
        let lifetime = match validity(certificate) {
            Some((from, until)) => (until.saturating_sub(from)).saturating_sub(BACKDATED),
            None => self.lifetime,
        };
        let names = self.names_of(context).map_err(to_identity)?;
        let had = judge.names_in(certificate)?;
        if let Some(foreign) = had.as_slice().iter().find(|name| !names.as_slice().contains(name)) {
            return Err(IdentityError(format!("the name `{foreign}` is not bound to {context}")));
        }
        Ok(self.certify(context, &names, &key, lifetime).der().to_vec())
    }
}
