//! Joining with a token: the newcomer knows the authority by its fingerprint alone, and learns the rest from who answers.
//!
//! Whoever opens the door shows, in the join protocol, the authority's certificate behind its own. The newcomer takes it for the
//! mesh's root if it has the fingerprint in the token, and holds the other's certificate against it; only then does it ask.

use std::sync::{Arc, OnceLock};

use actogen_core::id::ContextId;
use actogen_runtime::{
    Admission, JoinRequest,
    transport::{DialError, IdentityError},
};
use quinn::VarInt;
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::time::timeout;

use crate::{
    dial::Dial,
    endpoint,
    enrol::{self, EnrolError},
    identity::{JoinKey, JoinToken, Judge, NodeIdentity, Refusal, Roots, When},
    settings::{QuicOptions, Settings},
    tls::{self, Verdict},
};

/// What a token has brought: an identity, and whose child it is to be.
#[derive(Debug)]
pub struct Joined {
    /// Who this process is from now on.
    pub identity: NodeIdentity,
    /// Its first life.
    pub incarnation: actogen_core::Incarnation,
    /// The context that opened the door: its parent.
    pub parent: ContextId,
}

/// Shows a token to the context at `endpoint`, and becomes a context of its mesh. The key is made here and stays.
///
/// # Errors
/// [`EnrolError`]; nothing has been sent unless the other has proved to be of the token's mesh. That its certificate was in force shows when
/// the answer has said what time it is; whoever has a lost one could refuse, and no more.
pub async fn join(
    options: QuicOptions,
    endpoint: &str,
    token: &JoinToken,
    key: JoinKey,
) -> Result<Joined, EnrolError> {
    let request = JoinRequest::new(token.id().0, &token.key(), key.request()).encode();
    let settings = Settings::new(&options)?;
    let client = QuicOptions { listen: None, ..options };
    let (socket, _) = endpoint::open(&client, &settings, None)?;
    let dial = Dial {
        socket: &socket,
        settings: &settings,
        endpoint: endpoint.to_owned(),
        time: client.handshake_time,
    };
    let answered = dial
        .first(|address, deadline| {
            let (dial, request) = (&dial, request.clone().into());
            Box::pin(async move {
                let verdict = Verdict::default();
                let seen = Arc::<OnceLock<Seen>>::default();
                let pinned =
                    Pinned { token: token.clone(), verdict: verdict.clone(), seen: seen.clone() };
                let config = dial.settings.client(tls::joining_pinned(Arc::new(pinned)));
                let answer =
                    enrol::talk(dial, config, &verdict, request, address, deadline).await?;
                let seen = seen.get().cloned().ok_or(DialError::Closed)?;
                Ok((answer, seen))
            })
        })
        .await;
    socket.close(VarInt::from_u32(0), b"");
    let _ = timeout(endpoint::CLOSING_TIME, socket.wait_idle()).await;
    let (answer, Seen { roots, certificate, parent }) = answered?;
    let answer = answer.map_err(EnrolError::Refused)?.answer;
    let unreadable = || EnrolError::Refused("the answer cannot be read".to_owned());
    let admission = Admission::decode(&answer).ok_or_else(unreadable)?;
    let identity = NodeIdentity::from_enrolment(key, &admission.certificate, &roots.to_bytes())
        .and_then(|identity| {
            // Only now is it known what time it is.
            identity.judge().judge(&certificate, Some(parent))?;
            Ok(identity)
        })
        .map_err(|IdentityError(why)| EnrolError::Refused(why))?;
    Ok(Joined { identity, incarnation: admission.incarnation, parent })
}

/// What the other side has shown.
#[derive(Clone)]
struct Seen {
    roots: Roots,
    certificate: CertificateDer<'static>,
    parent: ContextId,
}

/// Takes whoever is of the mesh that a token pins.
struct Pinned {
    token: JoinToken,
    verdict: Verdict,
    seen: Arc<OnceLock<Seen>>,
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned").field("token", &self.token).finish_non_exhaustive()
    }
}

impl Pinned {
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
    ) -> Result<Seen, Refusal> {
        let is_pinned = |one: &&CertificateDer<'_>| {
            blake3::hash(one) == blake3::Hash::from_bytes(*self.token.authority())
        };
        let root = behind
            .iter()
            .find(is_pinned)
            .ok_or_else(|| Refusal::Authority { mesh: self.token.mesh().clone() })?;
        let roots = Roots::new(vec![root.clone().into_owned()])
            .map_err(|error| Refusal::Malformed(error.0))?;
        let mesh = self.token.mesh().clone();
        let judge = Judge::new(mesh, &roots, When::Ever, std::time::Duration::ZERO);
        let parent = judge.judge(certificate, None)?;
        Ok(Seen { roots, certificate: certificate.clone().into_owned(), parent })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.judge(end_entity, intermediates) {
            Ok(seen) => {
                // One verifier judges one handshake.
                let _ = self.seen.set(seen);
                Ok(ServerCertVerified::assertion())
            }
            Err(refusal) => Err(self.verdict.record(refusal)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        tls::verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::signature_schemes()
    }
}
