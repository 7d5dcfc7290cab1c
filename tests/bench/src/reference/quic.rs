//! Bare quinn, set up as the QUIC transport of Actogen sets it up: the same datagrams, windows, socket buffers, cipher suites.
//!
//! Different are only the certificates (one that signs itself, and only the listening side shows one) and the timers: this connection
//! is idle while Actogen has its turn, and neither breaks off then nor sends keep-alives into the other's measure.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use quinn::{
    AckFrequencyConfig, Endpoint, EndpointConfig, MtuDiscoveryConfig, TokioRuntime,
    TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use socket2::{Domain, Protocol, Socket, Type};

/// The name in the certificate.
const NAME: &str = "localhost";
/// Bytes of each of the socket's buffers, as the transport asks for.
const UDP_BUFFER: usize = 4 * 1024 * 1024;
/// Bytes that a stream may hold unread, the transport's default, and its number of streams for messages.
const STREAM_WINDOW: u32 = 1024 * 1024;
const LANES: u32 = 4;
/// Bytes that the transport keeps free for its control stream.
const CONTROL_RESERVE: u32 = 256 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// An endpoint that accepts connections, and the certificate by which it is known.
pub(super) fn listen(mtu: u16) -> Result<(Endpoint, Vec<u8>), Error> {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)?;
    tls.send_tls13_tickets = 0;
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport(mtu));
    Ok((endpoint(mtu, Some(config))?, certificate.to_vec()))
}

/// A connection to an endpoint that shows this certificate.
pub(super) async fn connect(
    to: SocketAddr,
    certificate: Vec<u8>,
    mtu: u16,
) -> Result<(Endpoint, quinn::Connection), Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(certificate))?;
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let crypto = QuicClientConfig::try_from(tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport(mtu));
    let endpoint = endpoint(mtu, None)?;
    let connection = endpoint.connect_with(config, to, NAME)?.await?;
    Ok((endpoint, connection))
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn endpoint(mtu: u16, server: Option<quinn::ServerConfig>) -> Result<Endpoint, Error> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(UDP_BUFFER)?;
    socket.set_send_buffer_size(UDP_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(mtu.max(1472))?;
    Ok(Endpoint::new(config, server, socket.into(), Arc::new(TokioRuntime))?)
}

fn transport(mtu: u16) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config.max_idle_timeout(None);
    config.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    config.receive_window(VarInt::from_u32(LANES * STREAM_WINDOW + CONTROL_RESERVE));
    config.send_window(u64::from(2 * LANES * STREAM_WINDOW + CONTROL_RESERVE));
    config.allow_spin(false);
    config.datagram_receive_buffer_size(None);
    // As a link has them: see `transport-quic/src/settings.rs`.
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(8));
    acks.max_ack_delay(Some(Duration::from_millis(5)));
    config.ack_frequency_config(Some(acks));
    let discovery = (mtu > 1200).then(|| {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(mtu);
        discovery
    });
    config.mtu_discovery_config(discovery);
    Arc::new(config)
}
