//! The door: where newcomers are let in or not.
//!
//! ```text
//!  datagrams ── socket ── quinn ──> place free? address proved? ── TLS ── protocol? certificate? ── streams ──> accept()
//!                                     │ no                           │ no                            │ no
//!                                     ▼                              ▼                               ▼
//!                                 refused, counted, logged with the address; never seen by the runtime
//! ```
//!
//! Each newcomer is dealt with in a task of its own, with a deadline, so a slow or silent one blocks nobody.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actogen_runtime::transport::Incoming;
use quinn::{ConnectionError, VarInt, crypto::rustls::HandshakeData};
use rustls::pki_types::CertificateDer;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout_at},
};

use crate::{
    enrol::{self, RequestError},
    identity::NodeIdentity,
    link::{self, CloseCode, OpenError, describe},
    settings::{QuicOptions, Settings},
    tls::{self, JOIN_ALPN, LINK_ALPN, Verdict},
};

/// How many newcomers were not let in, by reason. Counts only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Its certificate was missing or not accepted.
    pub identity: u64,
    /// It speaks none of our protocols.
    pub version: u64,
    /// Its streams were not those of a link, or its join request was malformed.
    pub streams: u64,
    /// Its handshake's time ran out, or it went away meanwhile.
    pub slow: u64,
    /// There was no place for another handshake or link.
    pub busy: u64,
    /// It did not accept this context.
    pub by_peer: u64,
}

impl Refused {
    /// All of them.
    pub fn total(&self) -> u64 {
        let Self { identity, version, streams, slow, busy, by_peer } = self;
        identity + version + streams + slow + busy + by_peer
    }
}

#[derive(Clone, Copy, Debug)]
enum Reason {
    Identity,
    Version,
    Streams,
    Slow,
    Busy,
    ByPeer,
}

#[derive(Debug, Default)]
struct Counters {
    refused: [AtomicU64; 6],
    retried: AtomicU64,
}

impl Counters {
    /// Counts a refusal; returns how many there are of its reason now.
    fn refuse(&self, reason: Reason) -> u64 {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed) + 1
    }

    fn refused(&self) -> Refused {
        let count = |reason| self.refused[reason as usize].load(Ordering::Relaxed);
        Refused {
            identity: count(Reason::Identity),
            version: count(Reason::Version),
            streams: count(Reason::Streams),
            slow: count(Reason::Slow),
            busy: count(Reason::Busy),
            by_peer: count(Reason::ByPeer),
        }
    }
}

/// The certificate that the peer showed and TLS accepted.
pub(crate) fn peer_certificate(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
    let certificates =
        connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    certificates.into_iter().next()
}

/// Where newcomers arrive: lets them in or refuses them.
pub(crate) struct Door {
    pub(crate) socket: quinn::Endpoint,
    pub(crate) identity: Arc<NodeIdentity>,
    pub(crate) settings: Settings,
    pub(crate) server: quinn::ServerConfig,
    pub(crate) handshake_time: Duration,
    retry_from: usize,
    max_handshakes: usize,
    handshakes: Arc<Semaphore>,
    links: Arc<Semaphore>,
    counters: Counters,
}

/// A newcomer that is not let in: why, in a word and in a text.
struct NotLetIn(Reason, String);

impl NotLetIn {
    fn close(self, code: CloseCode, connection: &quinn::Connection) -> Self {
        code.close(connection, &self.1);
        self
    }
}

impl Door {
    pub(crate) fn new(
        socket: quinn::Endpoint,
        identity: Arc<NodeIdentity>,
        settings: Settings,
        server: quinn::ServerConfig,
        options: &QuicOptions,
    ) -> Self {
        Self {
            socket,
            identity,
            settings,
            server,
            handshake_time: options.handshake_time,
            retry_from: options.retry_from,
            max_handshakes: options.max_handshakes,
            handshakes: Arc::new(Semaphore::new(options.max_handshakes)),
            links: Arc::new(Semaphore::new(options.max_links)),
            counters: Counters::default(),
        }
    }

    pub(crate) fn refused(&self) -> Refused {
        self.counters.refused()
    }

    pub(crate) fn retried(&self) -> u64 {
        self.counters.retried.load(Ordering::Relaxed)
    }

    pub(crate) fn close(&self) {
        self.socket.close(VarInt::from_u32(0), b"the context is closing");
    }

    pub(crate) fn under_way(&self) -> usize {
        self.max_handshakes - self.handshakes.available_permits()
    }

    /// Receives newcomers at a socket, this context's own or one beside it, until that closes.
    pub(crate) async fn stand(
        self: Arc<Self>,
        socket: quinn::Endpoint,
        inside: mpsc::Sender<Incoming>,
    ) {
        while let Some(newcomer) = socket.accept().await {
            let remote = newcomer.remote_address();
            // Somebody who sends from made-up addresses gets an answer that costs no memory here; an honest newcomer answers it.
            if self.under_way() >= self.retry_from && newcomer.may_retry() {
                if newcomer.retry().is_ok() {
                    self.counters.retried.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            let Ok(place) = self.handshakes.clone().try_acquire_owned() else {
                newcomer.refuse();
                self.note(
                    remote,
                    &NotLetIn(Reason::Busy, "too many handshakes are under way".to_owned()),
                );
                continue;
            };
            let (door, inside) = (self.clone(), inside.clone());
            tokio::spawn(async move {
                if let Err(refused) = door.receive(newcomer, place, inside).await {
                    door.note(remote, &refused);
                }
            });
        }
    }

    /// Counts and logs a newcomer that was not let in. A flood is logged ever more seldom, with its count.
    fn note(&self, remote: SocketAddr, NotLetIn(reason, why): &NotLetIn) {
        let count = self.counters.refuse(*reason);
        if matches!(reason, Reason::Busy | Reason::Slow) && !count.is_power_of_two() {
            return;
        }
        tracing::warn!(
            %remote, ?reason, count, mesh = %self.identity.mesh_name(), "a newcomer was not let in: {why}"
        );
    }

    async fn receive(
        &self,
        newcomer: quinn::Incoming,
        place: OwnedSemaphorePermit,
        inside: mpsc::Sender<Incoming>,
    ) -> Result<(), NotLetIn> {
        let deadline = Instant::now() + self.handshake_time;
        let slow =
            || NotLetIn(Reason::Slow, format!("its handshake took over {:?}", self.handshake_time));

        // Made for this handshake, so that it shows the certificate of now and its verdict is nobody else's.
        let verdict = Verdict::default();
        let mut config = self.server.clone();
        config.crypto = Arc::new(tls::accepting(&self.identity, verdict.clone()));
        let connecting =
            newcomer.accept_with(Arc::new(config)).map_err(|error| explain(&verdict, &error))?;
        let connection = timeout_at(deadline, connecting)
            .await
            .map_err(|_| slow())?
            .map_err(|error| explain(&verdict, &error))?;

        let protocol = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        match protocol.as_deref() {
            Some(LINK_ALPN) => self.receive_link(connection, verdict, deadline, inside).await,
            Some(JOIN_ALPN) => {
                let remote = connection.remote_address();
                let (request, sender) = match timeout_at(deadline, enrol::request(&connection))
                    .await
                {
                    Ok(Ok(request)) => request,
                    Ok(Err(RequestError::Lost(error))) => return Err(explain(&verdict, &error)),
                    Ok(Err(RequestError::Bad(why))) => {
                        return Err(
                            NotLetIn(Reason::Streams, why).close(CloseCode::REFUSED, &connection)
                        );
                    }
                    Err(_) => return Err(slow().close(CloseCode::SLOW, &connection)),
                };
                let (enrolment, answer) = enrol::offer(request, remote);
                match timeout_at(deadline, inside.send(Incoming::Enrolment(enrolment))).await {
                    Ok(Ok(())) => drop(inside),
                    _ => return Err(busy().close(CloseCode::BUSY, &connection)),
                }
                enrol::answer(connection, sender, answer).await;
                drop(place);
                Ok(())
            }
            _ => {
                let why = "it asked for none of this context's protocols".to_owned();
                Err(NotLetIn(Reason::Version, why).close(CloseCode::VERSION, &connection))
            }
        }
    }

    async fn receive_link(
        &self,
        connection: quinn::Connection,
        verdict: Verdict,
        deadline: Instant,
        inside: mpsc::Sender<Incoming>,
    ) -> Result<(), NotLetIn> {
        // TLS let it pass without a certificate, for the sake of the join protocol. A link needs one before its first byte.
        let Some(certificate) = peer_certificate(&connection) else {
            let why = "a link needs a certificate, and it showed none".to_owned();
            return Err(NotLetIn(Reason::Identity, why).close(CloseCode::IDENTITY, &connection));
        };
        // TLS has judged it already; here it only says who the peer is.
        let peer = match self.identity.judge().judge(&certificate, None) {
            Ok(peer) => peer,
            Err(refusal) => {
                let refused = NotLetIn(Reason::Identity, refusal.to_string());
                return Err(refused.close(CloseCode::IDENTITY, &connection));
            }
        };
        let Ok(place) = self.links.clone().try_acquire_owned() else {
            return Err(busy().close(CloseCode::BUSY, &connection));
        };
        self.settings.trust(&connection);
        let streams = match timeout_at(deadline, link::open(&connection)).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(OpenError::Lost(error))) => return Err(explain(&verdict, &error)),
            Ok(Err(OpenError::Streams(why))) => {
                return Err(NotLetIn(Reason::Streams, why).close(CloseCode::STREAMS, &connection));
            }
            Err(_) => {
                let why = "it did not open its streams in time".to_owned();
                return Err(NotLetIn(Reason::Slow, why).close(CloseCode::SLOW, &connection));
            }
        };
        let link = streams.into_link(peer, connection.clone(), Some(place));
        match timeout_at(deadline, inside.send(Incoming::Link(link))).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(busy().close(CloseCode::BUSY, &connection)),
        }
    }
}

fn busy() -> NotLetIn {
    NotLetIn(Reason::Busy, "this context takes no more links now".to_owned())
}

/// What a connection's failure says about a newcomer.
fn explain(verdict: &Verdict, error: &ConnectionError) -> NotLetIn {
    const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
    if let Some(refusal) = verdict.refusal() {
        return NotLetIn(Reason::Identity, refusal.to_string());
    }
    let reason = match error {
        ConnectionError::VersionMismatch => Reason::Version,
        ConnectionError::TransportError(failure) => match u64::from(failure.code) {
            NO_APPLICATION_PROTOCOL => Reason::Version,
            0x100..0x200 => Reason::Identity,
            _ => Reason::Streams,
        },
        ConnectionError::ConnectionClosed(_) | ConnectionError::ApplicationClosed(_) => {
            Reason::ByPeer
        }
        ConnectionError::TimedOut
        | ConnectionError::Reset
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => Reason::Slow,
    };
    NotLetIn(reason, describe(error))
}
