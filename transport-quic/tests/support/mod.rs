//! What the tests of this crate share: meshes, transports, links, and peers that are not what they should be.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(unreachable_pub, reason = "a module of test binaries has no outside")]

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actogen_core::id::ContextId;
use actogen_runtime::transport::{Authority, BoxFuture, DialError, Incoming, Link, Transport};
use actogen_transport_quic::{
    DatagramSocket, JoinKey, MeshAuthority, NodeIdentity, QuicOptions, QuicTransport,
};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_ED25519, SanType};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

pub const LINK: &[u8] = b"actogen/1";
pub const JOIN: &[u8] = b"actogen-join/1";

/// No wait in a test is longer; a test that needs this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// Waits until a condition that nothing announces holds.
pub async fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

/// As [`until`], for what takes many times as long as one thing does.
pub async fn until_within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < patience, "{what} did not come true within {patience:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The identity of a context as an enrolment makes it.
pub fn node(authority: &MeshAuthority, id: u64) -> Arc<NodeIdentity> {
    let (term, _) = authority.reserved();
    authority.reserve(term, id + 1).unwrap();
    let key = JoinKey::generate();
    let certificate = authority.issue(ContextId(id), &key.request()).unwrap();
    Arc::new(NodeIdentity::from_enrolment(key, &certificate, &authority.roots()).unwrap())
}

pub fn root(authority: &MeshAuthority, options: QuicOptions) -> QuicTransport {
    QuicTransport::bind(Arc::new(authority.root_identity()), options).unwrap()
}

pub fn listen() -> QuicOptions {
    QuicOptions::listen("127.0.0.1:0")
}

/// Dials once, on the loopback of IPv4.
pub fn dial_only() -> QuicOptions {
    let mut options = QuicOptions::dial_only();
    options.handshake_time = Duration::from_secs(5);
    options
}

pub fn address(transport: &QuicTransport) -> SocketAddr {
    transport.endpoint().unwrap().parse().unwrap()
}

/// Both ends of a new link: the dialler's, then the acceptor's.
pub async fn link(dialler: &QuicTransport, acceptor: &QuicTransport) -> (Link, Link) {
    let endpoint = acceptor.endpoint().unwrap();
    let expect = acceptor.identity().context();
    let (dialled, accepted) = soon("link", async {
        tokio::join!(dialler.dial(endpoint, Some(expect)), acceptor.accept())
    })
    .await;
    let Some(Incoming::Link(accepted)) = accepted else { panic!("no link arrived") };
    (dialled.unwrap(), accepted)
}

pub async fn dial_error(dialler: &QuicTransport, endpoint: String, expect: u64) -> DialError {
    soon("answer", dialler.dial(endpoint, Some(ContextId(expect)))).await.unwrap_err()
}

/// The next that `accept` gives is a link of an honest context that dials now: whoever came before it was not let in.
pub async fn only_the_honest_get_in(authority: &MeshAuthority, acceptor: &QuicTransport) {
    let honest = QuicTransport::bind(node(authority, 77), dial_only()).unwrap();
    let (_, accepted) = link(&honest, acceptor).await;
    assert_eq!(accepted.peer, ContextId(77));
    honest.close().await;
}

/// A UDP socket whose receiving a test can break, as a network would: nobody is told.
#[derive(Debug)]
pub struct Leaky {
    socket: tokio::net::UdpSocket,
    fate: fn(&[u8]) -> Fate,
    pub deaf: AtomicBool,
    pub sent: AtomicUsize,
}

#[derive(PartialEq)]
pub enum Fate {
    Arrives,
    Vanishes,
}

impl Leaky {
    pub async fn new(fate: fn(&[u8]) -> Fate) -> Arc<Self> {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Arc::new(Self { socket, fate, deaf: AtomicBool::new(false), sent: AtomicUsize::new(0) })
    }

    pub fn dial_only(self: &Arc<Self>) -> QuicOptions {
        dial_only().with_socket(self.clone())
    }
}

impl DatagramSocket for Leaky {
    fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.socket.try_send_to(datagram, to).map(drop)
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let (length, from) = self.socket.try_recv_from(buffer)?;
            let arrives = (self.fate)(&buffer[..length]) == Fate::Arrives;
            if arrives && !self.deaf.load(Ordering::Relaxed) {
                return Ok((length, from));
            }
        }
    }

    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.socket.readable().await })
    }

    fn writable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.socket.writable().await })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// A certificate as some authority would issue it, with what a test makes wrong about it.
pub struct Forge {
    pub mesh: &'static str,
    pub id: u64,
    pub begins: i64,
    pub ends: i64,
    pub uses: Vec<ExtendedKeyUsagePurpose>,
    pub names: Vec<String>,
}

impl Forge {
    /// What an honest authority issues.
    pub fn honest(mesh: &'static str, id: u64) -> Self {
        Self {
            mesh,
            id,
            begins: -3600,
            ends: 3600,
            uses: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            names: vec![format!("spiffe://{mesh}/context/{id}")],
        }
    }

    pub fn issue(self, issuer: &Issuer<'_, KeyPair>) -> Papers {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let now = UnixTime::now().as_secs() as i64;
        let at = |offset: i64| {
            rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs((now + offset) as u64)
        };
        let mut params = CertificateParams::default();
        params.not_before = at(self.begins);
        params.not_after = at(self.ends);
        params.extended_key_usages = self.uses;
        params.subject_alt_names =
            self.names.into_iter().map(|name| SanType::URI(name.try_into().unwrap())).collect();
        let certificate = params.signed_by(&key, issuer).unwrap();
        Papers { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }
}

/// A certificate and its key.
pub struct Papers {
    pub certificate: CertificateDer<'static>,
    pub pem: String,
    pub key: KeyPair,
}

impl Papers {
    /// Puts them into a context's folder, as an authority's tool would.
    pub fn write(&self, folder: &std::path::Path) {
        std::fs::write(folder.join("cert.pem"), &self.pem).unwrap();
        std::fs::write(folder.join("key.pem"), self.key.serialize_pem()).unwrap();
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// An authority in a folder of its own, for tests in which somebody gets hold of that folder.
pub struct StolenMesh {
    authority: MeshAuthority,
    folder: tempfile::TempDir,
}

impl StolenMesh {
    pub fn generate(mesh: &str) -> Self {
        let authority = MeshAuthority::generate(mesh).unwrap();
        let folder = tempfile::tempdir().unwrap();
        authority.save(folder.path()).unwrap();
        Self { authority, folder }
    }

    /// What the thief issues certificates with.
    pub fn issuer(&self) -> Issuer<'static, KeyPair> {
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
        Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap()
    }
}

impl std::ops::Deref for StolenMesh {
    type Target = MeshAuthority;

    fn deref(&self) -> &MeshAuthority {
        &self.authority
    }
}

/// Accepts whatever the other side shows: a stranger's verifier.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[rustls::DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A client that is no context: shows what it is given, accepts everybody, and speaks whatever protocol a test says.
pub struct Stranger {
    pub socket: quinn::Endpoint,
    pub connection: Result<quinn::Connection, quinn::ConnectionError>,
}

impl Stranger {
    pub async fn knock(at: SocketAddr, papers: Option<&Papers>, alpn: &[&[u8]]) -> Self {
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone));
        let mut config = match papers {
            Some(papers) => builder
                .with_client_auth_cert(vec![papers.certificate.clone()], papers.key())
                .unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
        let config = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
        let socket = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(config));
        let connecting = socket.connect_with(config, at, "stranger.test").unwrap();
        let connection = soon("handshake", connecting).await;
        Self { socket, connection }
    }

    /// How the other side ended it, and what came on its streams before that.
    pub async fn refusal(self) -> (quinn::ConnectionError, Vec<u8>) {
        let connection = match self.connection {
            Ok(connection) => connection,
            Err(error) => return (error, Vec::new()),
        };
        let mut heard = Vec::new();
        let listening = async {
            while let Ok(mut stream) = connection.accept_uni().await {
                heard.extend(stream.read_to_end(1024).await.unwrap_or_default());
            }
        };
        soon("refusal", listening).await;
        (connection.close_reason().unwrap(), heard)
    }
}

/// A server that is no context: shows what it is given, accepts everybody, and keeps what it is sent.
pub struct Impostor {
    pub socket: quinn::Endpoint,
}

impl Impostor {
    pub fn stand(papers: &Papers, alpn: &[&[u8]]) -> Self {
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(Arc::new(Anyone))
            .with_single_cert(vec![papers.certificate.clone()], papers.key())
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|one| one.to_vec()).collect();
        let config = quinn::crypto::rustls::QuicServerConfig::try_from(config).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(config));
        let socket = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        Self { socket }
    }

    pub fn endpoint(&self) -> String {
        self.socket.local_addr().unwrap().to_string()
    }

    /// Whether a handshake with somebody who dials was completed.
    pub async fn was_accepted(&self) -> bool {
        let newcomer = soon("newcomer", self.socket.accept()).await.unwrap();
        soon("handshake", async { newcomer.await.is_ok() }).await
    }
}

/// What was logged.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
