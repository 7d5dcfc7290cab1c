//! TLS 1.3 as links use it: which certificates are shown and asked for, and what stays off.
//!
//! Off on both sides: session tickets and resumption (a resumed session would skip the certificate, and with it expiry and
//! revocation), early data (it can be replayed), server names (a certificate binds a context, not a host), and every version below
//! 1.3. The *ring* provider is named in each configuration, never installed for the process: the program around us may have its own.

use std::sync::{Arc, OnceLock};

use actogen_core::id::ContextId;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::identity::{Judge, NodeIdentity, Refusal};

/// The protocol of links; its number is the wire's major version.
pub(crate) const LINK_ALPN: &[u8] = b"actogen/1";
/// The protocol by which a new process gets an identity (protocol rule 23).
pub(crate) const JOIN_ALPN: &[u8] = b"actogen-join/1";

/// Contexts have Ed25519 keys, so no other signature is taken in a handshake.
static SIGNED_WITH: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[webpki::ring::ED25519],
    mapping: &[(SignatureScheme::ED25519, &[webpki::ring::ED25519])],
};

/// Where a verifier leaves its reason, because TLS carries no more of it than an alert's number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<OnceLock<Refusal>>);

impl Verdict {
    /// Why this side did not accept the other's certificate, if it did not.
    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        self.0.get()
    }

    pub(crate) fn record(&self, refusal: Refusal) -> Error {
        // One handshake judges one certificate, so there is no second reason to lose.
        self.0.get_or_init(|| refusal.clone());
        refusal.into()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The accepting side's configuration for one handshake.
///
/// A client certificate is asked for and, if shown, judged. Whether one was needed depends on the protocol that the handshake
/// settles on, so that is [the door's](crate::door) to check: links need one, joining processes have none.
pub(crate) fn accepting(identity: &NodeIdentity, verdict: Verdict) -> QuicServerConfig {
    let verifier = PeerVerifier { judge: identity.judge().clone(), expect: None, verdict };
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the ring provider speaks TLS 1.3")
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(Shown::by(identity)));
    config.alpn_protocols = vec![LINK_ALPN.to_vec(), JOIN_ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    QuicServerConfig::try_from(config)
        .expect("the ring provider has the cipher of QUIC's first packets")
}

/// What this side shows: its certificate, and to a newcomer, who may know the authority by its fingerprint alone, that one's behind it.
#[derive(Debug)]
struct Shown {
    to_contexts: Arc<CertifiedKey>,
    to_newcomers: Arc<CertifiedKey>,
}

impl Shown {
    fn by(identity: &NodeIdentity) -> Self {
        let to_contexts = identity.credentials();
        let mut with_authority = CertifiedKey::clone(&to_contexts);
        with_authority.cert.extend(identity.roots().certificates().iter().cloned());
        Self { to_contexts, to_newcomers: Arc::new(with_authority) }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let joins = hello.alpn().is_some_and(|mut protocols| protocols.any(|p| p == JOIN_ALPN));
        Some(if joins { self.to_newcomers.clone() } else { self.to_contexts.clone() })
    }
}

/// The dialling side's configuration for one link.
pub(crate) fn dialling(
    identity: &NodeIdentity,
    expect: Option<ContextId>,
    verdict: Verdict,
) -> QuicClientConfig {
    let judge = identity.judge().clone();
    client(PeerVerifier { judge, expect, verdict }, Some(identity.credentials()), LINK_ALPN)
}

/// The configuration of a process that has no identity yet and knows only the mesh's roots and whom it joins.
pub(crate) fn joining(judge: Judge, parent: ContextId, verdict: Verdict) -> QuicClientConfig {
    let verifier = PeerVerifier { judge: Arc::new(judge), expect: Some(parent), verdict };
    client(verifier, None, JOIN_ALPN)
}

/// As [`joining`], of a context that knows its mesh and what time it is there.
pub(crate) fn returning(
    identity: &NodeIdentity,
    expect: Option<ContextId>,
    verdict: Verdict,
) -> QuicClientConfig {
    client(PeerVerifier { judge: identity.judge().clone(), expect, verdict }, None, JOIN_ALPN)
}

/// As [`joining`], of a process that knows the authority by its fingerprint alone.
pub(crate) fn joining_pinned(verifier: Arc<dyn ServerCertVerifier>) -> QuicClientConfig {
    client_by(verifier, None, JOIN_ALPN)
}

fn client(
    verifier: PeerVerifier,
    credentials: Option<Arc<CertifiedKey>>,
    alpn: &[u8],
) -> QuicClientConfig {
    client_by(Arc::new(verifier), credentials, alpn)
}

fn client_by(
    verifier: Arc<dyn ServerCertVerifier>,
    credentials: Option<Arc<CertifiedKey>>,
    alpn: &[u8],
) -> QuicClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the ring provider speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match credentials {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    QuicClientConfig::try_from(config)
        .expect("the ring provider has the cipher of QUIC's first packets")
}

/// Hands every certificate to the one [`Judge`], on whichever side it arrives.
#[derive(Debug)]
struct PeerVerifier {
    judge: Arc<Judge>,
    expect: Option<ContextId>,
    verdict: Verdict,
}

impl PeerVerifier {
    /// TLS has a time of its own, which is the machine's: it does not count.
    fn verify(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        match self.judge.judge(certificate, self.expect) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(self.verdict.record(refusal)),
        }
    }
}

/// Checks a signature of TLS 1.3.
pub(crate) fn verify_signature(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature(message, certificate, signed, &SIGNED_WITH)
}

/// The signatures that are taken.
pub(crate) fn signature_schemes() -> Vec<SignatureScheme> {
    SIGNED_WITH.supported_schemes()
}

/// Never asked: no side offers TLS 1.2.
pub(crate) fn no_tls12<T>() -> Result<T, Error> {
    Err(Error::General("TLS 1.2 is not spoken".to_owned()))
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &SIGNED_WITH)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNED_WITH.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A context has one certificate; there is nothing to choose by a hint.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &SIGNED_WITH)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNED_WITH.supported_schemes()
    }
}
