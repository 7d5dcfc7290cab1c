//! A context's own identity: its key, its certificate, and how it judges others.

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actogen_core::id::ContextId;
use actogen_runtime::{
    Renewal,
    transport::{Identity, IdentityError},
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519, SigningKey};
use rustls::{
    crypto::ring::sign::any_eddsa_type,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime},
    sign::CertifiedKey,
};
use webpki::EndEntityCert;

use super::{
    folder::{CERTIFICATE_FILE, Folder, FolderError, KEY_FILE, ROOTS_FILE},
    issued_at,
    issuing::new_key,
    judge::{Judge, Refusal, Roots, When},
    mesh::MeshName,
    subject::Subject,
    time::{Clock, MachineClock, MeshTime},
    validity,
};

fn pem(certificate: &CertificateDer<'_>) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", certificate.to_vec()))
}

/// How far clocks may be apart between contexts with certificates from PEM folders, which know no mesh time (protocol rule 25).
const PEM_SLACK: Duration = Duration::from_secs(5 * 60);

/// What a claim is prefixed with before it is signed, so that no signature of a claim can stand for one of TLS or of a
/// certificate request, which the same key makes.
const CLAIM_CONTEXT: &[u8] = b"actogen claim 1\0";

/// A key that a new process makes before it has an id; it never leaves the process (protocol rule 23).
pub struct JoinKey(KeyPair);

impl JoinKey {
    /// A fresh Ed25519 key.
    pub fn generate() -> Self {
        Self(new_key())
    }

    /// The certificate request (PKCS #10, DER) to send to the authority. It names nothing: the authority chooses id and name.
    pub fn request(&self) -> Vec<u8> {
        request_for(&self.0)
    }

    pub(super) fn key(&self) -> &KeyPair {
        &self.0
    }
}

impl fmt::Debug for JoinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinKey(..)")
    }
}

/// The identity of one context: proves who it is, and judges who others are.
pub struct NodeIdentity {
    context: ContextId,
    key: KeyPair,
    roots: Roots,
    judge: Arc<Judge>,
    credentials: RwLock<Arc<CertifiedKey>>,
}

impl NodeIdentity {
    /// Puts together what an enrolment brought: the key made for it, the certificate issued for that key just now, and the mesh's roots as
    /// they stand in an [invitation](actogen_runtime::transport::Invitation). The time of its issue is what time it is in the mesh; the
    /// machine's own clock plays no part, however wrong it is (protocol rule 25).
    ///
    /// # Errors
    /// [`IdentityError`] when the certificate is not one of these roots, or not for this key.
    pub fn from_enrolment(
        key: JoinKey,
        certificate: &[u8],
        roots: &[u8],
    ) -> Result<Self, IdentityError> {
        Self::from_enrolment_by(Arc::new(MachineClock), key, certificate, roots)
    }

    /// As [`Self::from_enrolment`], with the time carried on by another clock than the machine's.
    ///
    /// # Errors
    /// As there.
    pub fn from_enrolment_by(
        clock: Arc<dyn Clock>,
        key: JoinKey,
        certificate: &[u8],
        roots: &[u8],
    ) -> Result<Self, IdentityError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        let dates = validity(&certificate)
            .ok_or_else(|| IdentityError("its own certificate does not decode".to_owned()))?;
        let time = MeshTime::begin(clock, issued_at(dates));
        Self::new(key, certificate, Roots::from_bytes(roots)?, time, Duration::ZERO)
    }

    /// Reads `ca.pem`, `cert.pem` and `key.pem` (Ed25519, PKCS #8), as
    /// [`MeshAuthority::issue_pem`](super::MeshAuthority::issue_pem) writes them. Such a context judges by the wall clock with five
    /// minutes' slack (protocol rule 25).
    ///
    /// # Errors
    /// [`FolderError`] when a file is missing or does not decode, or when the certificate is not accepted.
    pub fn from_pem(folder: impl AsRef<Path>) -> Result<Self, FolderError> {
        let folder = Folder(folder.as_ref());
        let roots = folder.read_roots(ROOTS_FILE)?;
        let certificate = folder.read_certificate(CERTIFICATE_FILE)?;
        let key = JoinKey(folder.read_key(KEY_FILE)?);
        let time = MeshTime::of_machine(Arc::new(MachineClock));
        Self::new(key, certificate, roots, time, PEM_SLACK)
            .map_err(|error| folder.content(CERTIFICATE_FILE, error.0))
    }

    pub(super) fn new(
        key: JoinKey,
        certificate: CertificateDer<'static>,
        roots: Roots,
        time: MeshTime,
        slack: Duration,
    ) -> Result<Self, IdentityError> {
        let JoinKey(key) = key;
        if !key.is_compatible(&PKCS_ED25519) {
            return Err(IdentityError("the key is not an Ed25519 key".to_owned()));
        }
        let (mesh, context) = own_name(&certificate)?;
        let judge = Judge::new(mesh, &roots, When::Now(time), slack);
        let credentials = certified(&judge, context, &key, certificate)?;
        Ok(Self {
            context,
            key,
            roots,
            judge: Arc::new(judge),
            credentials: RwLock::new(Arc::new(credentials)),
        })
    }

    /// Writes `ca.pem`, `cert.pem` and `key.pem` into a folder, as [`Self::from_pem`] reads them, the key readable by its owner alone.
    ///
    /// # Errors
    /// [`FolderError`] when a file cannot be written, or a key is there already.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), FolderError> {
        let folder = Folder(folder.as_ref());
        folder.create()?;
        folder.write_new_key(KEY_FILE, &self.key.serialize_pem())?;
        folder.replace(CERTIFICATE_FILE, &pem(&self.credentials().cert[0]))?;
        let roots: String = self.roots.certificates().iter().map(|root| pem(root)).collect();
        folder.replace(ROOTS_FILE, &roots)
    }

    /// The mesh's name.
    pub fn mesh_name(&self) -> &MeshName {
        self.judge.mesh()
    }

    /// A certificate request for the same key, to renew the certificate with.
    pub fn renewal_request(&self) -> Vec<u8> {
        request_for(&self.key)
    }

    /// Takes a newer certificate for the same context and key. Links that stand are not touched (protocol rule 25); handshakes from
    /// now on show the new one. Where the mesh's time is known, the time of its issue sets that: forward at will, back by little more
    /// than five minutes.
    ///
    /// # Errors
    /// [`IdentityError`] when it is not one of this mesh for this context and key, not in force, or older than the present one.
    pub fn renew(&self, certificate: &[u8]) -> Result<(), IdentityError> {
        let certificate = CertificateDer::from(certificate.to_vec());
        let time = self.judge.time().filter(|time| time.is_learnt());
        if let (Some(time), Some(dates), Some(had)) =
            (time, validity(&certificate), validity(&self.credentials().cert[0]))
        {
            // Whose certificate it is comes first: nobody else sets the time.
            self.judge
                .judge_ever(&certificate, Some(self.context))
                .map_err(|refusal| own(&refusal))?;
            if dates.0 < had.0 {
                return Err(IdentityError(
                    "its new certificate was issued before the one that it has".to_owned(),
                ));
            }
            let now = time.if_issued(issued_at(dates));
            // One of the same second, or the same one again, says nothing of the time.
            if dates.0 > had.0 && now <= dates.1 {
                time.set(now);
            }
        }
        let renewed = certified(&self.judge, self.context, &self.key, certificate)?;
        *self.credentials.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        Ok(())
    }

    /// What TLS presents and signs with.
    pub(crate) fn credentials(&self) -> Arc<CertifiedKey> {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn judge(&self) -> &Arc<Judge> {
        &self.judge
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }
}

impl NodeIdentity {
    /// Whether its own certificate is in force no more, so that nobody will link to it.
    pub(crate) fn has_expired(&self) -> bool {
        let dates = validity(&self.credentials().cert[0]);
        dates.zip(self.judge.time()).is_some_and(|((_, until), time)| time.now() > until)
    }

    /// Half-life is counted from the issue, which the certificate is dated back from (protocol rule 25).
    fn renewal_of_certificate(&self) -> Option<Renewal> {
        let (from, until) = validity(&self.credentials().cert[0])?;
        let now = self.judge.time()?.now();
        let issued = issued_at((from, until));
        let half = issued + until.saturating_sub(issued) / 2;
        Some(Renewal {
            due_in: half.saturating_sub(now),
            expires_in: until.saturating_sub(now),
            request: self.renewal_request(),
        })
    }
}

impl Identity for NodeIdentity {
    fn renewal(&self) -> Option<Renewal> {
        self.renewal_of_certificate()
    }

    fn renew(&self, certificate: &[u8]) -> Result<(), IdentityError> {
        NodeIdentity::renew(self, certificate)
    }

    fn revocations(&self) -> Option<Vec<u8>> {
        self.judge.revocations()
    }

    fn take_revocations(&self, list: &[u8]) -> Result<Option<Vec<ContextId>>, IdentityError> {
        self.judge.take_revocations(list)
    }

    fn is_revoked(&self, context: ContextId) -> bool {
        self.judge.is_revoked(context)
    }

    fn context(&self) -> ContextId {
        self.context
    }

    fn mesh(&self) -> &str {
        self.judge.mesh().as_str()
    }

    fn certificate(&self) -> Vec<u8> {
        self.credentials().cert[0].to_vec()
    }

    fn names_in(&self, certificate: &[u8]) -> Result<Vec<String>, IdentityError> {
        Ok(self.judge.names_in(&CertificateDer::from(certificate))?.into())
    }

    fn sign(&self, claim: &[u8]) -> Vec<u8> {
        sign(&self.key, claim)
    }

    fn verify(
        &self,
        context: ContextId,
        certificate: &[u8],
        claim: &[u8],
        signature: &[u8],
    ) -> Result<(), IdentityError> {
        let certificate = CertificateDer::from(certificate);
        Ok(check_claim(&self.judge, context, &certificate, claim, signature, None)?)
    }

    fn verify_at(
        &self,
        context: ContextId,
        certificate: &[u8],
        claim: &[u8],
        signature: &[u8],
        at: SystemTime,
    ) -> Result<(), IdentityError> {
        let certificate = CertificateDer::from(certificate);
        // Nothing was signed before 1970; and what says so has expired since.
        let at = UnixTime::since_unix_epoch(at.duration_since(UNIX_EPOCH).unwrap_or_default());
        Ok(check_claim(&self.judge, context, &certificate, claim, signature, Some(at))?)
    }
}

impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeIdentity")
            .field("context", &self.context)
            .field("mesh", self.judge.mesh())
            .finish_non_exhaustive()
    }
}

fn request_for(key: &KeyPair) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(key).expect("a request without names can be encoded");
    request.der().to_vec()
}

fn sign(key: &KeyPair, claim: &[u8]) -> Vec<u8> {
    key.sign(&[CLAIM_CONTEXT, claim].concat()).expect("an Ed25519 key signs any message")
}

/// Judges a certificate at a time, or else now, and what was signed with its key.
fn check_claim(
    judge: &Judge,
    context: ContextId,
    certificate: &CertificateDer<'_>,
    claim: &[u8],
    signature: &[u8],
    at: Option<UnixTime>,
) -> Result<(), Refusal> {
    match at {
        Some(at) => judge.judge_at(certificate, Some(context), at)?,
        None => judge.judge(certificate, Some(context))?,
    };
    let leaf = EndEntityCert::try_from(certificate)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    leaf.verify_signature(webpki::ring::ED25519, &[CLAIM_CONTEXT, claim].concat(), signature)
        .map_err(|_| Refusal::Signature)
}

/// The name in one's own certificate, which says which mesh one belongs to.
fn own_name(certificate: &CertificateDer<'_>) -> Result<(MeshName, ContextId), IdentityError> {
    let leaf = EndEntityCert::try_from(certificate)
        .map_err(|error| Refusal::Malformed(error.to_string()))?;
    let Subject { mesh, context, .. } = Subject::read(&leaf)?;
    Ok((mesh, context))
}

/// A refusal of one's own certificate.
fn own(refusal: &Refusal) -> IdentityError {
    IdentityError(refusal.to_string().replace("the peer's", "its own"))
}

/// Checks one's own certificate as a peer would, and that the key is the certificate's: better refused here than by everybody.
fn certified(
    judge: &Judge,
    context: ContextId,
    key: &KeyPair,
    certificate: CertificateDer<'static>,
) -> Result<CertifiedKey, IdentityError> {
    check_claim(judge, context, &certificate, b"", &sign(key, b""), None)
        .map_err(|refusal| own(&refusal))?;
    let signer = any_eddsa_type(&PrivatePkcs8KeyDer::from(key.serialize_der()))
        .map_err(|error| IdentityError(format!("TLS cannot use the key: {error}")))?;
    Ok(CertifiedKey::new(vec![certificate], signer))
}
