//! Datagrams: the one file that knows how QUIC's implementation wants its sockets.
//!
//! Plain UDP goes through quinn's own socket, which sends and receives in batches where the system can. Everything else (a simulated
//! network, a tunnel through pipes) implements [`DatagramSocket`].

use std::{
    fmt,
    future::Future,
    io::{self, IoSliceMut},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use actogen_runtime::transport::BoxFuture;
use quinn::{
    AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::Handle;

/// Ends the loss that smaller buffers cause on a loopback at full rate, and is worth 15 % there (measured). The system may grant
/// less.
const UDP_BUFFER: usize = 4 * 1024 * 1024;

/// Something that carries datagrams, unreliably and in any order, between socket addresses.
///
/// The addresses may be made up, as long as both ends agree on them. Datagrams are at most 1452 bytes long, and at least 1200 bytes
/// must pass.
pub trait DatagramSocket: fmt::Debug + Send + Sync + 'static {
    /// Sends one datagram, or gives it up silently as a network would.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when it has no room now: [`writable`](Self::writable) is awaited then. Any other error counts as
    /// a lost datagram.
    fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()>;

    /// Receives one datagram into `buffer`: its length and its sender.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when there is none now: [`readable`](Self::readable) is awaited then. Errors that speak of one
    /// peer (reset, refused) are skipped; any other ends the endpoint and all its links.
    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Ends when receiving may succeed.
    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>>;

    /// Ends when sending may succeed again. A socket whose sending never blocks can leave this as it is.
    fn writable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The address that peers see.
    ///
    /// # Errors
    /// When the socket has none.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Opens a UDP socket with large buffers. `None` binds a port that the system chooses, for both families of addresses where it can.
pub(crate) fn bind_udp(listen: Option<SocketAddr>) -> io::Result<std::net::UdpSocket> {
    match listen {
        Some(address) => open(address),
        None => open((Ipv6Addr::UNSPECIFIED, 0).into())
            .or_else(|_| open((Ipv4Addr::UNSPECIFIED, 0).into())),
    }
}

fn open(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Where the system insists on separate families, IPv6 alone is still a socket.
        let _ = socket.set_only_v6(false);
    }
    for (which, result) in [
        ("receive", socket.set_recv_buffer_size(UDP_BUFFER)),
        ("send", socket.set_send_buffer_size(UDP_BUFFER)),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, "the {which} buffer of the UDP socket keeps its default size");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A [`DatagramSocket`] as quinn wants it.
pub(crate) struct Adapter {
    socket: Arc<dyn DatagramSocket>,
    /// The wait that the last `poll_recv` left behind. Only the endpoint's driver polls it.
    readable: Mutex<Option<BoxFuture<'static, io::Result<()>>>>,
    lost: AtomicU64,
}

impl Adapter {
    pub(crate) fn new(socket: Arc<dyn DatagramSocket>) -> Self {
        Self { socket, readable: Mutex::new(None), lost: AtomicU64::new(0) }
    }

    fn lose(&self, error: &io::Error) {
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        if lost.is_power_of_two() {
            tracing::debug!(%error, lost, "a datagram could not be sent; QUIC sends its content again");
        }
    }
}

impl fmt::Debug for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapter")
            .field("socket", &self.socket)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Adapter {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritePoller { socket: self.socket.clone(), writable: Mutex::new(None) })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.socket.try_send_to(transmit.contents, transmit.destination) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            // An error here would end the connection, though it says no more than that this datagram will not arrive.
            Err(error) => {
                self.lose(&error);
                Ok(())
            }
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.socket.try_recv_from(&mut bufs[0]) {
                Ok((len, addr)) => {
                    meta[0] = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    return Poll::Ready(Ok(1));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {}
                    io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused => continue,
                    _ => return Poll::Ready(Err(error)),
                },
            }
            let mut readable = self.readable.lock().unwrap_or_else(PoisonError::into_inner);
            let wait = readable.get_or_insert_with(|| self.socket.clone().readable());
            match wait.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    *readable = None;
                    result?;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

struct WritePoller {
    socket: Arc<dyn DatagramSocket>,
    /// Behind a lock only because quinn asks for `Sync`; one task polls it.
    writable: Mutex<Option<BoxFuture<'static, io::Result<()>>>>,
}

impl fmt::Debug for WritePoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritePoller").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl UdpPoller for WritePoller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let writable = this.writable.get_mut().unwrap_or_else(PoisonError::into_inner);
        let wait = writable.get_or_insert_with(|| this.socket.clone().writable());
        let result = wait.as_mut().poll(cx);
        if result.is_ready() {
            *writable = None;
        }
        result
    }
}

/// Runs everything of quinn's on one tokio runtime: otherwise a connection's driver would run on whichever thread happened to
/// dial, an actor's own thread among them.
#[derive(Debug)]
pub(crate) struct OnHandle(pub(crate) Handle);

impl Runtime for OnHandle {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        let _entered = self.0.enter();
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let _entered = self.0.enter();
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        let _entered = self.0.enter();
        TokioRuntime.now()
    }
}
