//! Dialling: from a text to a link, or to an error that says what to do.

use std::{net::SocketAddr, time::Duration};

use actogen_core::id::ContextId;
use actogen_runtime::transport::{BoxFuture, DialError, Link};
use futures_util::{StreamExt, stream::FuturesUnordered};
use quinn::{ConnectError, ConnectionError};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    door::peer_certificate,
    identity::NodeIdentity,
    link::{self, CloseCode, OpenError, describe},
    settings::Settings,
    tls::{self, Verdict},
};

/// What stands where TLS has a host's name. It is not sent; QUIC's library only asks for one.
const NO_HOST: &str = "actogen";

/// The most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// How much later the next address of a name is tried, while the one before has not answered (RFC 8305 says 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// One dial: where to, whom for, how long.
pub(crate) struct Dial<'a> {
    pub(crate) socket: &'a quinn::Endpoint,
    pub(crate) settings: &'a Settings,
    pub(crate) endpoint: String,
    pub(crate) time: Duration,
}

impl Dial<'_> {
    pub(crate) async fn link(
        &self,
        identity: &NodeIdentity,
        expect: Option<ContextId>,
    ) -> Result<Link, DialError> {
        self.first(|address, deadline| Box::pin(self.link_to(identity, expect, address, deadline)))
            .await
    }

    /// Tries every address that the endpoint's text stands for, each a little after the one before, until one succeeds.
    pub(crate) async fn first<'f, T: 'f>(
        &self,
        attempt: impl Fn(SocketAddr, Instant) -> BoxFuture<'f, Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let begin = Instant::now();
        let deadline = begin + self.time;
        let addresses = match timeout_at(deadline, resolve(&self.endpoint)).await {
            Ok(addresses) => addresses.map_err(|why| self.address(why))?,
            Err(_) => return Err(self.address("looking the name up took too long".to_owned())),
        };
        let mut attempts = FuturesUnordered::<BoxFuture<'f, _>>::new();
        for (address, place) in addresses.into_iter().zip(0_u32..) {
            let turn = deadline.min(begin + place * STAGGER);
            let attempt = attempt(address, deadline);
            attempts.push(Box::pin(async move {
                sleep_until(turn).await;
                attempt.await
            }));
        }
        let mut telling = self.unreachable("the name has no address".to_owned());
        while let Some(result) = attempts.next().await {
            match result {
                Ok(done) => return Ok(done),
                // Of several failures the one where somebody answered says most.
                Err(error) if matches!(telling, DialError::Unreachable { .. }) => telling = error,
                Err(_) => {}
            }
        }
        Err(telling)
    }

    /// Connects with TLS done. The other side may still refuse: it judges after this side has finished.
    pub(crate) async fn connect(
        &self,
        config: quinn::ClientConfig,
        verdict: &Verdict,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<quinn::Connection, DialError> {
        let connecting =
            self.socket.connect_with(config, address, NO_HOST).map_err(|error| match error {
                ConnectError::EndpointStopping => DialError::Closed,
                ConnectError::InvalidRemoteAddress(_) => {
                    self.unreachable(format!("this context's socket cannot reach {address}"))
                }
                other => self.unreachable(other.to_string()),
            })?;
        match timeout_at(deadline, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.explain(verdict, &error)),
            Err(_) => Err(self.no_answer()),
        }
    }

    async fn link_to(
        &self,
        identity: &NodeIdentity,
        expect: Option<ContextId>,
        address: SocketAddr,
        deadline: Instant,
    ) -> Result<Link, DialError> {
        let verdict = Verdict::default();
        let config = self.settings.client(tls::dialling(identity, expect, verdict.clone()));
        let connection = self.connect(config, &verdict, address, deadline).await?;
        // TLS has judged this certificate already; here it only says who the peer is.
        let peer = peer_certificate(&connection)
            .ok_or_else(|| "the peer showed no certificate".to_owned())
            .and_then(|certificate| {
                let judged = identity.judge().judge(&certificate, expect);
                judged.map_err(|refusal| refusal.to_string())
            });
        let peer = match peer {
            Ok(peer) => peer,
            Err(why) => {
                CloseCode::IDENTITY.close(&connection, "");
                return Err(DialError::Identity { endpoint: self.endpoint.clone(), why });
            }
        };
        self.settings.trust(&connection);
        match timeout_at(deadline, link::open(&connection)).await {
            Ok(Ok(streams)) => Ok(streams.into_link(peer, connection, None)),
            Ok(Err(OpenError::Lost(error))) => Err(self.explain(&verdict, &error)),
            Ok(Err(OpenError::Streams(why))) => {
                CloseCode::STREAMS.close(&connection, &why);
                Err(DialError::Version { endpoint: self.endpoint.clone(), why })
            }
            Err(_) => {
                CloseCode::SLOW.close(&connection, "the handshake took too long");
                Err(self.no_answer())
            }
        }
    }

    /// What a connection's failure means for whoever dials.
    pub(crate) fn explain(&self, verdict: &Verdict, error: &ConnectionError) -> DialError {
        let endpoint = self.endpoint.clone();
        if let Some(refusal) = verdict.refusal() {
            return DialError::Identity { endpoint, why: refusal.to_string() };
        }
        match error {
            ConnectionError::TimedOut => self.no_answer(),
            ConnectionError::LocallyClosed => DialError::Closed,
            ConnectionError::VersionMismatch => DialError::Version {
                endpoint,
                why: "it speaks no version of QUIC that this side does".to_owned(),
            },
            ConnectionError::ConnectionClosed(close) => {
                self.explain_code(close.error_code.into(), describe(error))
            }
            ConnectionError::TransportError(failure) => {
                self.explain_code(failure.code.into(), describe(error))
            }
            ConnectionError::ApplicationClosed(close) => {
                let why = describe(error);
                if CloseCode::IDENTITY.is(close.error_code) {
                    DialError::Identity { endpoint, why }
                } else if [CloseCode::VERSION, CloseCode::STREAMS]
                    .iter()
                    .any(|c| c.is(close.error_code))
                {
                    DialError::Version { endpoint, why }
                } else {
                    DialError::Refused { endpoint, why }
                }
            }
            ConnectionError::Reset | ConnectionError::CidsExhausted => {
                self.unreachable(describe(error))
            }
        }
    }

    /// QUIC's own error codes; those of TLS alerts are 0x100 and the alert's number (RFC 9001, section 4.8).
    fn explain_code(&self, code: u64, why: String) -> DialError {
        const CONNECTION_REFUSED: u64 = 0x2;
        const NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;
        const PROTOCOL_VERSION: u64 = 0x100 + 70;
        let endpoint = self.endpoint.clone();
        match code {
            CONNECTION_REFUSED => {
                DialError::Refused { endpoint, why: "it takes no more connections now".to_owned() }
            }
            NO_APPLICATION_PROTOCOL | PROTOCOL_VERSION => DialError::Version { endpoint, why },
            0x100..0x200 => DialError::Identity {
                endpoint,
                why: format!("{why} ({})", alert_in_words(code - 0x100)),
            },
            _ => self.unreachable(why),
        }
    }

    fn address(&self, why: String) -> DialError {
        DialError::Address { endpoint: self.endpoint.clone(), why }
    }

    fn unreachable(&self, why: String) -> DialError {
        DialError::Unreachable { endpoint: self.endpoint.clone(), why }
    }

    fn no_answer(&self) -> DialError {
        self.unreachable(format!("no answer within {:?}", self.time))
    }
}

/// What a TLS alert says about certificates (RFC 8446, section 6.2). Beside a number it is all that the other side tells.
fn alert_in_words(alert: u64) -> &'static str {
    match alert {
        42 | 50 => "the certificate does not decode",
        43 => "the certificate is not meant for this use",
        44 => "the certificate is revoked",
        45 => "the certificate has expired or is not valid yet",
        46 | 49 => "the certificate names somebody who is not accepted",
        48 => "the certificate is of another mesh or authority",
        51 => "a signature does not hold",
        116 => "a certificate is required",
        _ => "the TLS handshake failed",
    }
}

/// The socket addresses behind `HOST:PORT`. A literal address is not looked up, so that simulated networks need no resolver.
async fn resolve(endpoint: &str) -> Result<Vec<SocketAddr>, String> {
    let addresses = match endpoint.parse() {
        Ok(address) => vec![address],
        Err(_) => tokio::net::lookup_host(endpoint)
            .await
            .map_err(|error| error.to_string())?
            .take(MAX_ADDRESSES)
            .collect(),
    };
    match addresses.first() {
        None => Err("the name has no address".to_owned()),
        Some(address) if address.port() == 0 => Err("port 0 is nowhere".to_owned()),
        Some(_) => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn texts_that_are_no_endpoint_are_refused() {
        for text in ["", "nonsense", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", ":1", "[::1]"] {
            assert!(resolve(text).await.is_err(), "{text}");
        }
        let literal = resolve("[::1]:4433").await.unwrap();
        assert_eq!(literal, [SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 4433))]);
    }
}
