//! What certificates are made of: keys, dates, requests, and the name of an authority.

use std::time::Duration;

use actogen_runtime::transport::IdentityError;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, KeyPair, PKCS_ED25519,
    PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::{
    folder::AUTHORITY_KEY_FILE,
    mesh::{self, MeshName},
};

/// How long an authority's own certificate lives. It is public and pinned, so this only bounds how long a mesh runs without
/// getting a new one.
pub(super) const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Certificates are dated back by this much, so that a clock that is slow by less accepts them at once (protocol rule 25).
pub(super) const BACKDATED: Duration = Duration::from_secs(3600);
/// No certificate request of ours comes near this many bytes.
const MAX_REQUEST: usize = 8 * 1024;

/// A certificate request that is for a key of ours.
pub(super) fn read_request(
    request: &[u8],
) -> Result<CertificateSigningRequestParams, IdentityError> {
    let refused = |why: String| IdentityError(format!("the certificate request {why}"));
    if request.len() > MAX_REQUEST {
        return Err(refused(format!("has {} bytes; {MAX_REQUEST} are allowed", request.len())));
    }
    let request = CertificateSigningRequestParams::from_der(&request.to_vec().into())
        .map_err(|error| refused(format!("is not accepted: {error}")))?;
    if request.public_key.algorithm() != &PKCS_ED25519 {
        return Err(refused("is not for an Ed25519 key".to_owned()));
    }
    Ok(request)
}

/// Ed25519 throughout: small, fast, and its signatures have one length, so that simulated handshakes repeat byte for byte in size.
pub(crate) fn new_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).expect("the operating system gives randomness")
}

/// Parameters without names and uses, with dates from `now`, since 1970, on, and a random serial number.
pub(super) fn dated(now: Duration, lifetime: Duration) -> CertificateParams {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    // A date beyond the year 9999 cannot be encoded; nobody means one.
    let lifetime = lifetime.min(AUTHORITY_LIFETIME);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + lifetime;
    params.serial_number = Some(serial_number());
    params
}

/// 128 random bits, positive and without leading zeros, so that all have one length.
fn serial_number() -> SerialNumber {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

pub(super) fn uri(uri: String) -> SanType {
    SanType::URI(uri.try_into().expect("a mesh's name is ASCII"))
}

/// The mesh that an authority's certificate names, if `key` is the certificate's.
pub(super) fn authority_name(
    certificate: &CertificateDer<'_>,
    key: &KeyPair,
) -> Result<MeshName, String> {
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(|error| error.to_string())?;
    let mut names = parsed.valid_uri_names();
    let mesh = match (names.next(), names.next()) {
        (Some(name), None) => mesh::parse_authority_uri(name),
        _ => None,
    };
    let mesh = mesh.ok_or("it does not name exactly one mesh as spiffe://MESH")?;
    if parsed.subject_public_key_info().as_ref() != key.subject_public_key_info() {
        return Err(format!("{AUTHORITY_KEY_FILE} is the key of another certificate"));
    }
    Ok(mesh)
}
