//! The transport: one socket, through which this context dials and accepts.
//!
//! Everything runs on the tokio runtime in which [`QuicTransport::bind`] was called. Who is let in is [the door's](crate::door)
//! business, who is dialled and how [`dial`](crate::dial)'s.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use actogen_core::id::ContextId;
use actogen_runtime::transport::{
    BoxFuture, DialError, Identity, Incoming, Invitation, Link, PipeReader, PipeWriter, Transport,
    Tunnelled,
};
use quinn::VarInt;
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    dial::Dial,
    door::{Door, Refused},
    identity::NodeIdentity,
    returning,
    settings::{QuicOptions, Settings},
    socket::{Adapter, OnHandle, bind_udp},
    tls::{self, Verdict},
    tunnel::{TUNNEL_ENDPOINT, Tunnel},
};

/// How long closing waits for the peers to hear of it.
pub(crate) const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Links and enrolments that wait for the runtime to take them; more wait in their handshakes, within their deadlines.
const WAITING: usize = 64;

/// Why a transport could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// An option has a value that cannot work.
    #[error("the option `{0}` must be {1}")]
    Option(&'static str, &'static str),
    /// The listening address cannot be understood.
    #[error(
        "`{listen}` is no address to listen on: {why}. Give ADDRESS:PORT, such as 0.0.0.0:4433 or 127.0.0.1:0"
    )]
    Address {
        /// What was given.
        listen: String,
        /// What is wrong with it.
        why: String,
    },
    /// The system did not give the socket.
    #[error(
        "cannot open a UDP socket on {address}: {source}. Is the port taken, or the address not of this machine?"
    )]
    Socket {
        /// Where, or `any port`.
        address: String,
        /// How it failed.
        source: io::Error,
    },
    /// Called outside a tokio runtime.
    #[error(
        "a QUIC transport starts inside the tokio runtime that shall drive it, and there is none here"
    )]
    NoRuntime,
}

/// The QUIC implementation of [`Transport`].
///
/// Dropping it closes its links without waiting for the peers to hear of it; [`close`](Transport::close) waits for up to a second.
pub struct QuicTransport {
    handle: Handle,
    door: Arc<Door>,
    /// Where this machine reaches the listening socket; `None` when it accepts nothing.
    local_endpoint: Option<String>,
    advertised: Option<String>,
    incoming: Mutex<mpsc::Receiver<Incoming>>,
    /// Whoever is let in goes through here.
    inside: mpsc::Sender<Incoming>,
    /// The way to the parent through a tunnel.
    uplink: Option<(quinn::Endpoint, Arc<Settings>)>,
    closed: watch::Sender<bool>,
    /// Whether anybody is let in.
    is_open: AtomicBool,
}

impl QuicTransport {
    /// Opens the socket and, if [`QuicOptions::listen`] is set, begins to accept.
    ///
    /// Call it inside the tokio runtime that shall drive the transport: its tasks, timers and sockets stay there, whoever dials.
    /// A `listen` text with a host name is looked up here and now, which may block.
    ///
    /// # Errors
    /// [`BindError`] when an option cannot work or the socket cannot be opened.
    pub fn bind(identity: Arc<NodeIdentity>, options: QuicOptions) -> Result<Self, BindError> {
        let settings = Settings::new(&options)?;
        let crypto = tls::accepting(&identity, Verdict::default());
        let server = settings.server(crypto);
        let listens = options.listen.is_some();
        let (socket, handle) = open(&options, &settings, listens.then(|| server.clone()))?;
        let local_endpoint = match (&options.listen, &options.socket) {
            (Some(listen), Some(_)) => Some(listen.clone()),
            (Some(listen), None) => {
                let bound = socket
                    .local_addr()
                    .map_err(|source| BindError::Socket { address: listen.clone(), source })?;
                Some(reachable_here(bound).to_string())
            }
            (None, _) => None,
        };
        let (sender, incoming) = mpsc::channel(WAITING);
        let (closed, _) = watch::channel(false);
        let door = Arc::new(Door::new(socket, identity, settings, server, &options));
        if listens {
            handle.spawn(door.clone().stand(door.socket.clone(), sender.clone()));
        }
        let uplink = match &options.uplink {
            Some(tunnel) => {
                let options = QuicOptions {
                    listen: None,
                    uplink: None,
                    socket: Some(tunnel.clone()),
                    ..options.clone()
                };
                let settings = Settings::new(&options)?;
                let (socket, _) = open(&options, &settings, None)?;
                Some((socket, Arc::new(settings)))
            }
            None => None,
        };
        let advertised =
            listens.then(|| options.advertise.or_else(|| local_endpoint.clone())).flatten();
        let incoming = Mutex::new(incoming);
        let inside = sender;
        let is_open = AtomicBool::new(listens);
        Ok(Self {
            is_open,
            handle,
            door,
            local_endpoint,
            advertised,
            incoming,
            inside,
            uplink,
            closed,
        })
    }

    /// How many newcomers were not let in so far.
    pub fn refused(&self) -> Refused {
        self.door.refused()
    }

    /// How many newcomers were asked to prove their address first, because many handshakes were under way.
    pub fn retried(&self) -> u64 {
        self.door.retried()
    }

    /// Handshakes and enrolments of newcomers that are under way.
    pub fn handshakes(&self) -> usize {
        self.door.under_way()
    }

    /// Where others can dial: as the settings say, or at this machine's addresses on the networks by which links come and go.
    fn local_places(&self, seen_from: &[String]) -> Vec<String> {
        let mut places: Vec<String> = self.advertised.iter().cloned().collect();
        let bound = self.door.socket.local_addr().ok();
        if let Some(bound) = bound {
            if !bound.ip().is_unspecified() {
                places.push(bound.to_string());
            } else {
                let ways = seen_from.iter().filter_map(|remote| local_ip_towards(remote));
                places.extend(ways.map(|ip| SocketAddr::new(ip, bound.port()).to_string()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        places.retain(|place| seen.insert(place.clone()));
        places
    }

    /// Runs on the transport's own runtime, whoever waits for it: timers and sockets belong there.
    fn on_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Tether<T> {
        Tether(self.handle.spawn(work))
    }
}

impl Transport for QuicTransport {
    fn identity(&self) -> Arc<dyn Identity> {
        self.door.identity.clone()
    }

    fn endpoint(&self) -> Option<String> {
        self.advertised.clone()
    }

    fn places(&self, seen_from: Vec<String>) -> BoxFuture<'_, Vec<String>> {
        let places = self.local_places(&seen_from);
        // Whoever has been told where, finds the door open.
        if !places.is_empty() && !self.is_open.swap(true, Ordering::AcqRel) {
            self.door.socket.set_server_config(Some(self.door.server.clone()));
            let standing = self.door.clone().stand(self.door.socket.clone(), self.inside.clone());
            self.handle.spawn(standing);
        }
        Box::pin(std::future::ready(places))
    }

    fn invitation(&self) -> Option<Invitation> {
        let identity = &self.door.identity;
        Some(Invitation {
            endpoint: self.local_endpoint.clone()?,
            mesh: identity.mesh_name().to_string(),
            roots: identity.roots().to_bytes(),
        })
    }

    fn dial(
        &self,
        endpoint: String,
        expect: Option<ContextId>,
    ) -> BoxFuture<'_, Result<Link, DialError>> {
        let door = self.door.clone();
        let uplink = self.uplink.clone().filter(|_| endpoint == TUNNEL_ENDPOINT);
        let dialled = self.on_runtime(async move {
            let Door { socket, settings, identity, .. } = &*door;
            let (socket, settings) = match &uplink {
                Some((socket, settings)) => (socket, &**settings),
                None => (socket, settings),
            };
            let time = door.handshake_time;
            let dial = Dial { socket, settings, endpoint, time };
            returning::renew_if_expired(&dial, identity, expect).await?;
            dial.link(identity, expect).await
        });
        Box::pin(async move { dialled.await.unwrap_or(Err(DialError::Closed)) })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async move {
            let mut closed = self.closed.subscribe();
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => None,
                incoming = async { self.incoming.lock().await.recv().await } => incoming,
            }
        })
    }

    fn tunnel(&self, input: PipeReader, output: PipeWriter) -> Result<Tunnelled, String> {
        let _runtime = self.handle.enter();
        let tunnel = Tunnel::over(input, output);
        let socket = quinn::Endpoint::new_with_abstract_socket(
            self.door.settings.endpoint(),
            Some(self.door.server.clone()),
            Arc::new(Adapter::new(tunnel.clone())),
            Arc::new(OnHandle(self.handle.clone())),
        )
        .map_err(|error| error.to_string())?;
        let mut closed = self.closed.subscribe();
        let standing = self.door.clone().stand(socket.clone(), self.inside.clone());
        self.handle.spawn(async move {
            let pipes_have_ended = tokio::select! {
                () = standing => true,
                _ = closed.wait_for(|closed| *closed) => false,
            };
            if !pipes_have_ended {
                socket.close(VarInt::from_u32(0), b"the context is closing");
                let _ = timeout(CLOSING_TIME, socket.wait_idle()).await;
            }
        });
        Ok(Tunnelled { endpoint: TUNNEL_ENDPOINT.to_owned(), cut: Box::new(move || tunnel.end()) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.door.close();
        if let Some((socket, _)) = &self.uplink {
            socket.close(VarInt::from_u32(0), b"the context is closing");
        }
        self.closed.send_replace(true);
        let (door, uplink) = (self.door.clone(), self.uplink.clone());
        let idle = self.on_runtime(async move {
            let all = async {
                door.socket.wait_idle().await;
                if let Some((socket, _)) = &uplink {
                    socket.wait_idle().await;
                }
            };
            // Those that have not acknowledged by then hear nothing, and find out by the silence.
            let _ = timeout(CLOSING_TIME, all).await;
        });
        Box::pin(async move {
            let _ = idle.await;
        })
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.door.close();
    }
}

impl fmt::Debug for QuicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicTransport")
            .field("identity", &self.door.identity)
            .field("endpoint", &self.advertised)
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}

/// A task that ends with whoever waits for it. `None` when its runtime is gone.
struct Tether<T>(JoinHandle<T>);

impl<T> Future for Tether<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| match result {
            Ok(value) => Some(value),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        })
    }
}

impl<T> Drop for Tether<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Opens the socket and QUIC on it, on the runtime of the caller.
pub(crate) fn open(
    options: &QuicOptions,
    settings: &Settings,
    server: Option<quinn::ServerConfig>,
) -> Result<(quinn::Endpoint, Handle), BindError> {
    let handle = Handle::try_current().map_err(|_| BindError::NoRuntime)?;
    let runtime = Arc::new(OnHandle(handle.clone()));
    let address = || options.listen.clone().unwrap_or_else(|| "any port".to_owned());
    let failed = |source| BindError::Socket { address: address(), source };
    let endpoint = match &options.socket {
        Some(socket) => quinn::Endpoint::new_with_abstract_socket(
            settings.endpoint(),
            server,
            Arc::new(Adapter::new(socket.clone())),
            runtime,
        ),
        None => {
            let listen = options.listen.as_deref().map(listening_address).transpose()?;
            let socket = bind_udp(listen).map_err(failed)?;
            quinn::Endpoint::new(settings.endpoint(), server, socket, runtime)
        }
    };
    Ok((endpoint.map_err(failed)?, handle))
}

fn listening_address(listen: &str) -> Result<SocketAddr, BindError> {
    let wrong = |why: String| BindError::Address { listen: listen.to_owned(), why };
    let mut addresses = listen.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.next().ok_or_else(|| wrong("the name has no address".to_owned()))
}

/// The address that this machine has on the way to a peer; `None` if that is no address of a network, such as a pipe's. Nothing is sent.
fn local_ip_towards(remote: &str) -> Option<IpAddr> {
    let remote: SocketAddr = remote.parse().ok()?;
    let ip = remote.ip().to_canonical();
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect((ip, remote.port())).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|ip| !ip.is_unspecified())
}

/// Where other processes of this machine reach a socket: one that is bound to every address is also on the loopback.
fn reachable_here(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
