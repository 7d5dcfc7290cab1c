//! The one judgement of a certificate, used wherever a certificate arrives: in handshakes of both sides and in announcements.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use actogen_core::id::ContextId;
use actogen_runtime::{names::ContextNames, transport::IdentityError};
use rustls::{
    CertificateError,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime},
};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};

use super::{
    judged::{Judged, Standing},
    mesh::MeshName,
    revocations::Revocations,
    subject::Subject,
    time::MeshTime,
};

/// The signatures that an authority may have put on a certificate. Our own authorities use Ed25519; the NIST curves are for
/// authorities that were made with other tools.
pub(super) static ISSUED_WITH: &[&dyn SignatureVerificationAlgorithm] = &[
    webpki::ring::ED25519,
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::ECDSA_P256_SHA384,
];

/// The most roots that one mesh may have: the present one, the next one, and room to spare.
const MAX_ROOTS: usize = 8;

/// The longest certificate that is looked at, in bytes; announcements carry no longer one either.
pub(crate) const MAX_CERTIFICATE: usize = 8 * 1024;

/// The roots of a mesh.
///
/// Their portable form is their DER encodings one after the other: each says its own length.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Roots {
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    pub(crate) fn one(certificate: CertificateDer<'static>) -> Self {
        Self { certificates: vec![certificate] }
    }

    /// Roots from certificates that this process trusts by configuration.
    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, IdentityError> {
        if certificates.is_empty() || certificates.len() > MAX_ROOTS {
            let count = certificates.len();
            return Err(IdentityError(format!(
                "a mesh has 1 to {MAX_ROOTS} root certificates, not {count}"
            )));
        }
        for certificate in &certificates {
            webpki::anchor_from_trusted_cert(certificate).map_err(|error| {
                IdentityError(format!("a root certificate does not decode: {error}"))
            })?;
        }
        Ok(Self { certificates })
    }

    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Self, IdentityError> {
        let mut certificates = Vec::new();
        while !bytes.is_empty() && certificates.len() <= MAX_ROOTS {
            let length = sequence_length(bytes).ok_or_else(|| {
                IdentityError("the roots are not certificates in DER form".to_owned())
            })?;
            let (one, rest) = bytes.split_at(length);
            certificates.push(CertificateDer::from(one.to_vec()));
            bytes = rest;
        }
        Self::new(certificates)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.certificates.iter().flat_map(|one| one.iter().copied()).collect()
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    fn anchors(&self) -> Vec<TrustAnchor<'static>> {
        let anchor = |certificate| {
            webpki::anchor_from_trusted_cert(certificate)
                .expect("the constructors decode every root")
                .to_owned()
        };
        self.certificates.iter().map(anchor).collect()
    }
}

/// How many bytes the DER sequence at the head of `bytes` takes, header included; `None` when there is none or it is cut short.
fn sequence_length(bytes: &[u8]) -> Option<usize> {
    let (header, body) = match *bytes {
        [0x30, short @ 0..=0x7f, ..] => (2, usize::from(short)),
        [0x30, 0x81, a, ..] => (3, usize::from(a)),
        [0x30, 0x82, a, b, ..] => (4, usize::from(a) << 8 | usize::from(b)),
        _ => return None,
    };
    (header + body <= bytes.len()).then_some(header + body)
}

/// At which time a certificate must be in force.
#[derive(Debug)]
pub(crate) enum When {
    /// Now, by this time.
    Now(MeshTime),
    /// At some time: of one who does not know the time yet, and looks again when that is known.
    Ever,
}

/// What a context holds certificates against: its mesh's name and roots, the time, how far clocks may be apart, and whose are revoked.
pub(crate) struct Judge {
    mesh: MeshName,
    roots: Roots,
    anchors: Vec<TrustAnchor<'static>>,
    when: When,
    slack: Duration,
    /// With the form in which it came.
    revoked: RwLock<(Revocations, Vec<u8>)>,
    judged: RwLock<Judged>,
}

impl Judge {
    /// `slack` is allowed at both ends of a certificate's validity (protocol rule 25).
    pub(crate) fn new(mesh: MeshName, roots: &Roots, when: When, slack: Duration) -> Self {
        Self {
            mesh,
            roots: roots.clone(),
            anchors: roots.anchors(),
            when,
            slack,
            revoked: RwLock::default(),
            judged: RwLock::default(),
        }
    }

    /// The newest list of revocations, as it was taken; `None` when none was.
    pub(super) fn revocations(&self) -> Option<Vec<u8>> {
        let revoked = self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        (!revoked.0.is_empty()).then(|| revoked.1.clone())
    }

    /// Takes a list; gives who is on it if it is newer than the last, which costs no look at the signature if it is the same.
    pub(super) fn take_revocations(
        &self,
        bytes: &[u8],
    ) -> Result<Option<Vec<ContextId>>, IdentityError> {
        if self.revoked.read().unwrap_or_else(PoisonError::into_inner).1 == bytes {
            return Ok(None);
        }
        let mut newer = Revocations::verify(bytes, &self.mesh, &self.roots)?;
        let mut revoked = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        if !newer.is_after(&revoked.0) {
            return Ok(None);
        }
        newer.keep(&revoked.0);
        let contexts = newer.contexts();
        *revoked = (newer, bytes.to_vec());
        Ok(Some(contexts))
    }

    pub(super) fn is_revoked(&self, context: ContextId) -> bool {
        self.revoked.read().unwrap_or_else(PoisonError::into_inner).0.contains(context)
    }

    pub(crate) fn mesh(&self) -> &MeshName {
        &self.mesh
    }

    /// The time that it judges by; `None` of one who knows none.
    pub(super) fn time(&self) -> Option<&MeshTime> {
        match &self.when {
            When::Now(time) => Some(time),
            When::Ever => None,
        }
    }

    /// Which context a certificate is of, if this mesh's authority issued it for both directions of a link and it is in force.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        expect: Option<ContextId>,
    ) -> Result<ContextId, Refusal> {
        match self.time() {
            Some(time) => self.judge_at(certificate, expect, time.unix()),
            None => self.judge_ever(certificate, expect),
        }
    }

    /// As [`Self::judge`], of a certificate that was in force at some time.
    pub(super) fn judge_ever(
        &self,
        certificate: &CertificateDer<'_>,
        expect: Option<ContextId>,
    ) -> Result<ContextId, Refusal> {
        if certificate.len() > MAX_CERTIFICATE {
            return Err(too_long());
        }
        let (_, until) = super::validity(certificate)
            .ok_or_else(|| Refusal::Malformed("it is no certificate in DER form".to_owned()))?;
        self.judge_at(certificate, expect, UnixTime::since_unix_epoch(until))
    }

    /// As [`Self::judge`], at another time.
    ///
    /// The name is read before the chain is checked, because a certificate of another mesh should be refused by that name: its
    /// chain never verifies here, and "unknown issuer" helps nobody. Certificates that came along with this one are not looked
    /// at: the authority issues every context's certificate itself.
    pub(super) fn judge_at(
        &self,
        certificate: &CertificateDer<'_>,
        expect: Option<ContextId>,
        now: UnixTime,
    ) -> Result<ContextId, Refusal> {
        if certificate.len() > MAX_CERTIFICATE {
            return Err(too_long());
        }
        let context = match self.passed_before(certificate, now) {
            Some(context) => context,
            None => self.look_at(certificate, now)?,
        };
        if self.is_revoked(context) {
            return Err(Refusal::Revoked { context });
        }
        match expect {
            Some(expected) if expected != context => {
                Err(Refusal::Context { expected, found: context })
            }
            _ => Ok(context),
        }
    }

    /// Whom a certificate is of that has passed before and is in force still.
    fn passed_before(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Option<ContextId> {
        let now = Duration::from_secs(now.as_secs());
        let judged = self.judged.read().unwrap_or_else(PoisonError::into_inner);
        let standing = judged.find(certificate)?;
        standing.is_in_force(now, self.slack).then_some(standing.context)
    }

    /// Judges what a certificate is by itself, and remembers it if it passes.
    fn look_at(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
    ) -> Result<ContextId, Refusal> {
        let leaf = EndEntityCert::try_from(certificate)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let Subject { mesh, context, names } = Subject::read(&leaf)?;
        if mesh != self.mesh {
            return Err(Refusal::Mesh { ours: self.mesh.clone(), theirs: mesh });
        }
        self.check_chain(&leaf, now).map_err(|error| self.explain(error))?;
        if let Some(in_force) = super::validity(certificate) {
            let standing = Standing { context, names, in_force };
            let mut judged = self.judged.write().unwrap_or_else(PoisonError::into_inner);
            judged.passed(certificate, standing);
        }
        Ok(context)
    }

    /// The names that a certificate of this mesh carries. Whether it is good is [`Self::judge`]'s to say.
    pub(super) fn names_in(
        &self,
        certificate: &CertificateDer<'_>,
    ) -> Result<ContextNames, Refusal> {
        if certificate.len() > MAX_CERTIFICATE {
            return Err(too_long());
        }
        let judged = self.judged.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = judged.find(certificate) {
            return Ok(standing.names.clone());
        }
        drop(judged);
        let leaf = EndEntityCert::try_from(certificate)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let Subject { mesh, names, .. } = Subject::read(&leaf)?;
        match mesh == self.mesh {
            true => Ok(names),
            false => Err(Refusal::Mesh { ours: self.mesh.clone(), theirs: mesh }),
        }
    }

    fn check_chain(&self, leaf: &EndEntityCert<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        let check_at = |time| {
            leaf.verify_for_usage(ISSUED_WITH, &self.anchors, &[], time, BothDirections, None, None)
                .map(drop)
        };
        let now = Duration::from_secs(now.as_secs());
        match check_at(UnixTime::since_unix_epoch(now)) {
            Err(webpki::Error::CertExpired { .. }) if !self.slack.is_zero() => {
                check_at(UnixTime::since_unix_epoch(now.saturating_sub(self.slack)))
            }
            Err(webpki::Error::CertNotValidYet { .. }) if !self.slack.is_zero() => {
                check_at(UnixTime::since_unix_epoch(now + self.slack))
            }
            result => result,
        }
    }

    fn explain(&self, error: webpki::Error) -> Refusal {
        use webpki::Error as E;
        match error {
            E::CertExpired { time, not_after } => {
                Refusal::Expired { ago: seconds_between(not_after, time) }
            }
            E::CertNotValidYet { time, not_before } => {
                Refusal::NotYetValid { early: seconds_between(time, not_before) }
            }
            E::RequiredEkuNotFoundContext(_) => Refusal::Use,
            E::UnknownIssuer | E::InvalidSignatureForPublicKey => {
                Refusal::Authority { mesh: self.mesh.clone() }
            }
            other => Refusal::Malformed(other.to_string()),
        }
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge")
            .field("mesh", &self.mesh)
            .field("roots", &self.anchors.len())
            .finish_non_exhaustive()
    }
}

fn too_long() -> Refusal {
    Refusal::Malformed("it is longer than 8 KiB".to_owned())
}

fn seconds_between(earlier: UnixTime, later: UnixTime) -> u64 {
    later.as_secs().saturating_sub(earlier.as_secs())
}

/// Every context both dials and accepts, so one that may do only one of the two has somebody else's certificate.
struct BothDirections;

impl ExtendedKeyUsageValidator for BothDirections {
    fn validate(&self, uses: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let (mut server, mut client, mut present) = (false, false, Vec::new());
        for one in uses {
            let oid = one?.to_decoded_oid();
            server |= oid == webpki::KeyUsage::SERVER_AUTH_REPR;
            client |= oid == webpki::KeyUsage::CLIENT_AUTH_REPR;
            present.push(oid);
        }
        if server && client {
            return Ok(());
        }
        let required =
            if server { webpki::KeyUsage::client_auth() } else { webpki::KeyUsage::server_auth() };
        Err(webpki::Error::RequiredEkuNotFoundContext(webpki::RequiredEkuNotFoundContext {
            required,
            present,
        }))
    }
}

/// Why a certificate was not accepted. The texts speak about "the peer's certificate" and hold nothing that a peer chose freely.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the peer's certificate does not decode: {0}")]
    Malformed(String),
    #[error(
        "the peer's certificate does not name exactly one context as spiffe://MESH/context/NUMBER"
    )]
    Unnamed,
    #[error(
        "the peer's certificate carries names beside its context that are ill-formed, too many, there twice, or of another mesh"
    )]
    Names,
    #[error("this context is of mesh `{ours}`, the peer's certificate is of mesh `{theirs}`")]
    Mesh { ours: MeshName, theirs: MeshName },
    #[error("the peer's certificate claims mesh `{mesh}`, but its authority did not issue it")]
    Authority { mesh: MeshName },
    #[error("the peer's certificate expired {ago} s ago")]
    Expired { ago: u64 },
    #[error(
        "the peer's certificate is not valid for another {early} s: are the clocks of both machines right, and the root's?"
    )]
    NotYetValid { early: u64 },
    #[error("the peer's certificate is not meant for both server and client authentication")]
    Use,
    #[error("the peer's certificate is of {found}, but {expected} was expected")]
    Context { expected: ContextId, found: ContextId },
    #[error("the peer's certificate, of {context}, is revoked")]
    Revoked { context: ContextId },
    #[error("the signature is not one of the certificate's key")]
    Signature,
}

impl From<Refusal> for IdentityError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.to_string())
    }
}

impl From<Refusal> for rustls::Error {
    /// Picks the error by the alert that rustls makes of it: the alert is all that the peer learns.
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(match refusal {
            Refusal::Malformed(_) => CertificateError::BadEncoding,
            Refusal::Unnamed | Refusal::Names | Refusal::Context { .. } => {
                CertificateError::ApplicationVerificationFailure
            }
            Refusal::Mesh { .. } | Refusal::Authority { .. } => CertificateError::UnknownIssuer,
            Refusal::Expired { .. } => CertificateError::Expired,
            Refusal::NotYetValid { .. } => CertificateError::NotValidYet,
            Refusal::Revoked { .. } => CertificateError::Revoked,
            Refusal::Use => CertificateError::InvalidPurpose,
            Refusal::Signature => CertificateError::BadSignature,
        })
    }
}

#[cfg(test)]
mod tests {
    use actogen_runtime::transport::Authority;

    use super::*;

    #[test]
    fn a_certificate_that_has_passed_is_held_to_time_revocation_and_context_again() {
        let authority = super::super::MeshAuthority::generate("a.test").unwrap();
        let (root, context) = (authority.root_identity(), ContextId(7));
        let issued = authority.issue(context, &super::super::JoinKey::generate().request());
        let (judge, its) = (root.judge(), CertificateDer::from(issued.unwrap()));
        let now = UnixTime::now();
        let later =
            |seconds| UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs() + seconds));
        assert_eq!(judge.judge_at(&its, Some(context), now), Ok(context));
        assert_eq!(judge.passed_before(&its, now), Some(context));
        let other = Refusal::Context { expected: ContextId(8), found: context };
        assert_eq!(judge.judge_at(&its, Some(ContextId(8)), now), Err(other));
        let in_two_days = judge.judge_at(&its, None, later(2 * 24 * 3600));
        assert!(matches!(in_two_days, Err(Refusal::Expired { .. })), "{in_two_days:?}");
        assert_eq!(judge.judge_ever(&its, None), Ok(context));
        assert_eq!(judge.judge_at(&its, None, now), Ok(context));
        let mut changed = its.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let changed = judge.judge_at(&CertificateDer::from(changed), None, now);
        assert_eq!(changed, Err(Refusal::Authority { mesh: judge.mesh().clone() }));
        let mut revoked = Revocations::default();
        revoked.revoke(context).unwrap();
        judge.take_revocations(&revoked.sign(judge.mesh(), authority.key())).unwrap();
        assert_eq!(judge.judge_at(&its, None, now), Err(Refusal::Revoked { context }));
    }

    #[test]
    fn roots_survive_their_portable_form_and_garbage_is_refused() {
        let authority = |name| {
            CertificateDer::from(super::super::MeshAuthority::generate(name).unwrap().roots())
        };
        let roots = Roots::new(vec![authority("a.test"), authority("b.test")]).unwrap();
        assert!(Roots::from_bytes(&roots.to_bytes()).unwrap() == roots);
        let bytes = roots.to_bytes();
        assert!(Roots::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(Roots::from_bytes(&bytes.repeat(5)).is_err());
        for garbage in
            [&[][..], &[0x30], &[0x30, 0x82, 0xff], &[0x30, 0x03, 1, 2, 3], b"-----BEGIN"]
        {
            assert!(Roots::from_bytes(garbage).is_err(), "{garbage:?}");
        }
    }
}
