//! Every setting of QUIC, with its reason. Nothing that bounds memory or time is left at a default.

use std::{fmt, sync::Arc, time::Duration};

use actogen_core::{id::StreamId, limits::Limits};
use quinn::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, NoneTokenStore,
    ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

use crate::{endpoint::BindError, socket::DatagramSocket};

/// What the control stream must always find free, however full the lanes are (protocol rule 18).
const CONTROL_RESERVE: u64 = 256 * 1024;

/// What a peer may send, over all streams, before its identity is proved: room for the streams' first bytes and a join request. A
/// stranger ties up no more than this (and its handshake's own buffer) for as long as a handshake may take.
const STRANGER_WINDOW: u32 = 32 * 1024;

/// The longest crypto flight that is buffered out of order; a flight of ours has about a kilobyte.
const CRYPTO_BUFFER: usize = 16 * 1024;

/// Connection attempts that QUIC holds until the door has looked at them. The door takes them out at once, so only a burst within one
/// turn of the scheduler reaches this, and is refused uncounted.
const INCOMING: usize = 4096;

/// Bytes of datagrams that are held for one connection attempt until it has been accepted or refused, which happens at once.
const INCOMING_BUFFER: u64 = 16 * 1024;

/// So many datagrams may come before one is acknowledged at once. QUIC's own rule, every second one, answers a burst of requests with
/// datagrams that wake the asker for nothing, just before the answers would have carried the same (measured: a fifth of the
/// requests a second with 64 in flight). Less than the 10 datagrams that a connection may begin with, so that nobody's first burst waits.
const UNACKNOWLEDGED: u32 = 8;

/// How long an acknowledgement waits for something to travel with. A sender whose window is down to a datagram or two waits for it,
/// so it is a fifth of what QUIC allows.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// The smallest datagram that every path carries (RFC 9000, section 14).
const SMALLEST_MTU: u16 = 1200;

/// The largest datagram with segmentation offload: ten segments go to the system at once, and together they must stay under the
/// 65,507 bytes of a UDP packet, or all ten vanish without an error (measured). It is also well under the initial congestion window
/// of 12,000 bytes, at which a connection hangs.
const LARGEST_MTU: u16 = 6550;

/// The largest datagram that is tried on a path, in bytes of UDP payload. Every connection begins at 1200 and probes upwards, so a
/// choice that is too large costs a few lost probes and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mtu {
    /// Up to 1452: what Ethernet carries over IPv4 and IPv6.
    #[default]
    Ethernet,
    /// Up to 6500: loopback and networks with jumbo frames, where it is worth a factor of 1.5 to 2. Both ends must choose it.
    Jumbo,
    /// Up to this many bytes, held between 1200 and 6550.
    UpTo(u16),
}

impl Mtu {
    fn bytes(self) -> u16 {
        match self {
            Self::Ethernet => 1452,
            Self::Jumbo => 6500,
            Self::UpTo(bytes) => bytes.clamp(SMALLEST_MTU, LARGEST_MTU),
        }
    }
}

/// How a transport behaves. The defaults are those of [`Limits`]; set what differs on the value that a constructor gives.
#[derive(Clone)]
#[non_exhaustive]
pub struct QuicOptions {
    /// Where to accept links, as `ADDRESS:PORT`; port 0 lets the system choose. `None` accepts nothing and dials only.
    pub listen: Option<String>,
    /// Where others reach this context, as `HOST:PORT`, if that is not the address it listens on.
    pub advertise: Option<String>,
    /// Carries the datagrams instead of a UDP socket. Offload, path probing and migration are off then. The transport still accepts
    /// links only if [`listen`](Self::listen) is set; the text is what it tells others to dial.
    pub socket: Option<Arc<dyn DatagramSocket>>,
    /// The tunnel to the parent, which is dialled as [`TUNNEL_ENDPOINT`](crate::TUNNEL_ENDPOINT); everything else goes over UDP, or the
    /// [`socket`](Self::socket).
    pub uplink: Option<Arc<dyn DatagramSocket>>,
    /// A peer that has not been heard for this long is lost. At least 50 ms. The smaller of both ends' holds.
    pub detection_time: Duration,
    /// How long a link may take from its first packet until all its streams are open, on either side.
    pub handshake_time: Duration,
    /// Handshakes and enrolments of newcomers that may be under way at once; more are refused.
    pub max_handshakes: usize,
    /// Handshakes under way from which on a newcomer must first prove that it receives at its address, which costs a round trip and
    /// no memory here.
    pub retry_from: usize,
    /// Links that others may hold to this context at once; more are refused.
    pub max_links: usize,
    /// How large datagrams may become.
    pub mtu: Mtu,
    /// Bytes that a peer may send on one lane before this context has read them. Bandwidth times round-trip time of the longest
    /// path that should run at full rate: 1 MiB carries 100 Mbit/s over 80 ms.
    pub stream_window: u32,
    /// Seeds the endpoint's randomness in simulations. Never set it on a real network.
    pub rng_seed: Option<[u8; 32]>,
}

impl Default for QuicOptions {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: None,
            advertise: None,
            socket: None,
            uplink: None,
            detection_time: limits.detection_time,
            handshake_time: limits.handshake_time,
            max_handshakes: limits.handshakes,
            retry_from: 64,
            max_links: limits.links,
            mtu: Mtu::default(),
            stream_window: 1024 * 1024,
            rng_seed: None,
        }
    }
}

impl QuicOptions {
    /// Accepts links at this address; see [`listen`](Self::listen).
    pub fn listen(address: impl Into<String>) -> Self {
        Self { listen: Some(address.into()), ..Self::default() }
    }

    /// Dials only.
    pub fn dial_only() -> Self {
        Self::default()
    }

    /// Takes over the context's own limits: detection and handshake times, handshakes and links.
    #[must_use]
    pub fn with_limits(self, limits: &Limits) -> Self {
        Self {
            detection_time: limits.detection_time,
            handshake_time: limits.handshake_time,
            max_handshakes: limits.handshakes,
            max_links: limits.links,
            ..self
        }
    }

    /// Carries the datagrams over something else than UDP; see [`socket`](Self::socket).
    #[must_use]
    pub fn with_socket(self, socket: Arc<dyn DatagramSocket>) -> Self {
        Self { socket: Some(socket), ..self }
    }
}

impl fmt::Debug for QuicOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicOptions")
            .field("listen", &self.listen)
            .field("advertise", &self.advertise)
            .field("socket", &self.socket)
            .field("detection_time", &self.detection_time)
            .field("handshake_time", &self.handshake_time)
            .field("max_handshakes", &self.max_handshakes)
            .field("retry_from", &self.retry_from)
            .field("max_links", &self.max_links)
            .field("mtu", &self.mtu)
            .field("stream_window", &self.stream_window)
            .finish_non_exhaustive()
    }
}

/// Flow control windows in bytes, which keep the control stream moving whatever the lanes hold (protocol rule 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    stream: u32,
    receive: u64,
    send: u64,
}

impl Windows {
    /// Unread lanes leave [`CONTROL_RESERVE`] of the connection's receive window. Sent and unacknowledged bytes of a lane are at most
    /// what its peer granted plus what the peer has read and its acknowledgement has not arrived for: twice the stream's window, so
    /// that much is reckoned for each lane.
    pub(crate) fn of(stream: u32) -> Self {
        let lanes = StreamId::LANES as u64 * u64::from(stream);
        Self { stream, receive: lanes + CONTROL_RESERVE, send: 2 * lanes + CONTROL_RESERVE }
    }

    fn check(self) -> Result<Self, BindError> {
        let lanes = StreamId::LANES as u64 * u64::from(self.stream);
        let holds = self.stream >= 64 * 1024
            && self.receive >= lanes + CONTROL_RESERVE
            && self.send >= lanes + CONTROL_RESERVE
            && self.receive <= u64::from(u32::MAX);
        if holds {
            Ok(self)
        } else {
            Err(BindError::Option("stream_window", "64 KiB to 1 GiB less 64 KiB"))
        }
    }
}

/// Everything that configures quinn, made once for an endpoint.
#[derive(Debug)]
pub(crate) struct Settings {
    transport: Arc<TransportConfig>,
    windows: Windows,
    mtu: u16,
    plain_udp: bool,
    rng_seed: Option<[u8; 32]>,
}

impl Settings {
    pub(crate) fn new(options: &QuicOptions) -> Result<Self, BindError> {
        let at_least =
            |holds, name, least| if holds { Ok(()) } else { Err(BindError::Option(name, least)) };
        let least = Duration::from_millis(50);
        at_least(options.handshake_time >= least, "handshake_time", "at least 50 ms")?;
        at_least(options.max_handshakes >= 1, "max_handshakes", "at least 1")?;
        at_least(options.max_links >= 1, "max_links", "at least 1")?;
        let windows = Windows::of(options.stream_window).check()?;
        let mtu = if options.socket.is_some() { 1452 } else { options.mtu.bytes() };
        let plain_udp = options.socket.is_none();
        let transport = transport(options.detection_time, windows, mtu, plain_udp)?;
        let transport = Arc::new(transport);
        Ok(Self { transport, windows, mtu, plain_udp, rng_seed: options.rng_seed })
    }

    pub(crate) fn endpoint(&self) -> EndpointConfig {
        let mut config = EndpointConfig::default();
        config.rng_seed(self.rng_seed);
        // Peers probe no further than what this side says it takes, and the receive buffers are sized by it.
        config.max_udp_payload_size(self.mtu.max(1472)).expect("the value is over 1200");
        config
    }

    pub(crate) fn server(&self, crypto: QuicServerConfig) -> ServerConfig {
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config.transport_config(self.transport.clone());
        // A link may follow its host to a new address; a made-up address stays what it is.
        config.migration(self.plain_udp);
        config.max_incoming(INCOMING);
        config.incoming_buffer_size(INCOMING_BUFFER);
        config.incoming_buffer_size_total(INCOMING_BUFFER * 64);
        // Tokens for later visits would let an address be recognized, and save a round trip only while a server is flooded.
        config.validation_token.sent(0);
        config
    }

    pub(crate) fn client(&self, crypto: QuicClientConfig) -> quinn::ClientConfig {
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(self.transport.clone());
        config.token_store(Arc::new(NoneTokenStore));
        config
    }

    /// Opens the windows for a peer whose identity is proved.
    pub(crate) fn trust(&self, connection: &quinn::Connection) {
        let receive = VarInt::from_u64(self.windows.receive).expect("checked to fit in 32 bits");
        connection.set_receive_window(receive);
    }
}

fn transport(
    detection_time: Duration,
    windows: Windows,
    mtu: u16,
    plain_udp: bool,
) -> Result<TransportConfig, BindError> {
    let out_of_range = || BindError::Option("detection_time", "50 ms to 100 days");
    if detection_time < Duration::from_millis(50)
        || detection_time > Duration::from_secs(100 * 86_400)
    {
        return Err(out_of_range());
    }
    // QUIC restarts its idle timer at the first packet that is *sent* after one was received (RFC 9000, section 10.1). A keep-alive
    // is that packet at the latest, so silence is noticed after the interval plus the timer: the detection time exactly, with four
    // keep-alives that must all be lost before a live peer is taken for silent.
    let keep_alive = detection_time / 5;
    let idle = IdleTimeout::try_from(detection_time - keep_alive).map_err(|_| out_of_range())?;

    let mut config = TransportConfig::default();
    config.max_idle_timeout(Some(idle));
    config.keep_alive_interval(Some(keep_alive));
    // A link has five streams a side and never opens another.
    config.max_concurrent_uni_streams(VarInt::from_u32(StreamId::COUNT as u32));
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    config.stream_receive_window(VarInt::from_u32(windows.stream));
    config.receive_window(VarInt::from_u32(STRANGER_WINDOW));
    config.send_window(windows.send);
    // Lanes take turns, so that bulk on one does not hold up the others; the control stream goes before them all by its priority.
    config.send_fairness(true);
    config.crypto_buffer_size(CRYPTO_BUFFER);
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(UNACKNOWLEDGED));
    acks.max_ack_delay(Some(ACK_DELAY));
    config.ack_frequency_config(Some(acks));
    config.datagram_receive_buffer_size(None);
    // Nobody on the way is meant to measure round trips.
    config.allow_spin(false);
    config.initial_mtu(SMALLEST_MTU);
    config.min_mtu(SMALLEST_MTU);
    let discovery = (plain_udp && mtu > SMALLEST_MTU).then(|| {
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(mtu);
        discovery
    });
    config.mtu_discovery_config(discovery);
    config.enable_segmentation_offload(plain_udp);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_lanes_leave_room_for_the_control_stream_on_both_ends() {
        for stream in [64 * 1024, 1024 * 1024, 512 * 1024 * 1024] {
            let windows = Windows::of(stream).check().unwrap();
            let lanes = 4 * u64::from(stream);
            assert!(windows.receive >= lanes + 256 * 1024);
            assert!(windows.send >= lanes + 256 * 1024);
        }
        assert!(Windows::of(1024).check().is_err());
        assert!(Windows::of(u32::MAX).check().is_err());
    }

    #[test]
    fn datagrams_stay_under_what_offload_can_carry() {
        assert!(10 * u32::from(Mtu::UpTo(u16::MAX).bytes()) < 65_507);
        assert!(10 * u32::from(Mtu::Jumbo.bytes()) < 65_507);
        assert_eq!(Mtu::UpTo(0).bytes(), 1200);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let wrong = [
            QuicOptions { detection_time: Duration::ZERO, ..QuicOptions::default() },
            QuicOptions { handshake_time: Duration::ZERO, ..QuicOptions::default() },
            QuicOptions { max_handshakes: 0, ..QuicOptions::default() },
            QuicOptions { max_links: 0, ..QuicOptions::default() },
            QuicOptions { stream_window: 1, ..QuicOptions::default() },
        ];
        for options in wrong {
            let error = Settings::new(&options).unwrap_err();
            assert!(matches!(error, BindError::Option(..)), "{error}");
        }
        assert!(Settings::new(&QuicOptions::default()).is_ok());
    }
}
