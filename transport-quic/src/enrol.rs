//! The join protocol, ALPN `actogen-join/1`: one request up, one answer down, both opaque to the transport (protocol rule 23).
//!
//! The newcomer has no certificate, so it opens the one stream that is granted it, writes its request and ends the stream. The answer
//! comes back on the same stream; a refusal is the connection's close, with the reason as its text. What proves that the newcomer may
//! join (a one-time secret) is inside the request and none of the transport's business; what proves the server is its certificate,
//! held against the roots and the context that the newcomer was told.

use std::{net::SocketAddr, time::Duration};

use actogen_core::id::ContextId;
use actogen_runtime::transport::{DialError, Enrolment, IdentityError};
use bytes::Bytes;
use quinn::{ConnectionError, ReadError, ReadToEndError, RecvStream, SendStream, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    dial::Dial,
    door::peer_certificate,
    endpoint::{self, BindError},
    identity::{JoinKey, Judge, MeshName, MeshNameError, NodeIdentity, Roots, When},
    link::{CloseCode, describe},
    settings::{QuicOptions, Settings},
    tls::{self, Verdict},
};

/// The longest request in bytes: a certificate request, an HMAC and a few names are about a kilobyte.
pub const MAX_REQUEST: usize = 16 * 1024;

/// The longest answer in bytes: a certificate of at most 8 KiB and the roots, with room to spare.
const MAX_ANSWER: usize = 64 * 1024;

/// How long an answer may take to come down from the root.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How long the connection stays for the newcomer to acknowledge its answer.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// Why a new process got no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The invitation's mesh name or roots do not decode.
    #[error("the invitation cannot be used: {0}")]
    Invitation(String),
    /// The request is longer than the protocol allows.
    #[error("the enrolment request has {is} bytes; at most {MAX_REQUEST} are sent")]
    TooLong {
        /// Its length in bytes.
        is: usize,
    },
    /// No socket could be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The parent could not be reached, or is not who the invitation says.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The parent or the root refused, with its text.
    #[error("the enrolment was refused: {0}")]
    Refused(String),
}

impl From<MeshNameError> for EnrolError {
    fn from(error: MeshNameError) -> Self {
        Self::Invitation(error.to_string())
    }
}

/// What an enrolment has brought.
pub struct Enrolled {
    /// The answer of whoever opened the door.
    pub answer: Bytes,
    roots: Roots,
    parent: CertificateDer<'static>,
}

impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled").field("answer", &self.answer.len()).finish_non_exhaustive()
    }
}

impl Enrolled {
    /// The identity that the answer holds, with the key that the request was made for.
    ///
    /// Its certificate says what time it is in the mesh, so only now can it be said whether the parent's is in force.
    ///
    /// # Errors
    /// [`IdentityError`] as of [`NodeIdentity::from_enrolment`], and when the parent's certificate was not in force.
    pub fn identity(
        &self,
        key: JoinKey,
        certificate: &[u8],
    ) -> Result<NodeIdentity, IdentityError> {
        let identity = NodeIdentity::from_enrolment(key, certificate, &self.roots.to_bytes())?;
        identity.judge().judge(&self.parent, None)?;
        Ok(identity)
    }
}

/// Asks `parent`, who must answer at `endpoint`, for an identity: sends `request` and returns the answer.
///
/// `roots` and `mesh` are those of the [invitation](actogen_runtime::transport::Invitation): the parent must show a certificate
/// that these roots issued for its id in that mesh. Whether that is in force is not known before the answer says what time it is
/// ([`Enrolled::identity`]); whoever has a parent's old key could refuse, and no more. Opens a socket of its own and closes it again. Call it inside a tokio runtime with time
/// and I/O.
///
/// # Errors
/// [`EnrolError`]; nothing has been sent unless the parent has proved who it is.
pub async fn enrol(
    options: QuicOptions,
    endpoint: &str,
    roots: &[u8],
    mesh: &str,
    parent: ContextId,
    request: Bytes,
) -> Result<Enrolled, EnrolError> {
    if request.len() > MAX_REQUEST {
        return Err(EnrolError::TooLong { is: request.len() });
    }
    let mesh: MeshName = mesh.parse()?;
    let roots = Roots::from_bytes(roots).map_err(|error| EnrolError::Invitation(error.0))?;
    let settings = Settings::new(&options)?;
    let client = QuicOptions { listen: None, ..options };
    let (socket, _) = endpoint::open(&client, &settings, None)?;
    let dial = Dial {
        socket: &socket,
        settings: &settings,
        endpoint: endpoint.to_owned(),
        time: client.handshake_time,
    };
    let result = dial
        .first(|address, deadline| {
            let judge = Judge::new(mesh.clone(), &roots, When::Ever, Duration::ZERO);
            Box::pin(exchange(&dial, judge, parent, request.clone(), address, deadline))
        })
        .await;
    socket.close(VarInt::from_u32(0), b"");
    // So that the parent hears it: otherwise it waits for the acknowledgement of its answer. QUIC keeps a closed connection for three
    // of its time-outs (RFC 9000, section 10.2), tens of milliseconds. Whoever has an identity now goes on meanwhile; a process that has
    // none ends soon, and its socket with it.
    let farewell = async move { drop(timeout(endpoint::CLOSING_TIME, socket.wait_idle()).await) };
    match result? {
        Ok(Answered { answer, by }) => {
            // A socket that is somebody else's is used for the link next: two connections would take each other's datagrams.
            if client.socket.is_some() {
                farewell.await;
            } else {
                tokio::spawn(farewell);
            }
            Ok(Enrolled { answer, roots, parent: by })
        }
        Err(refusal) => {
            farewell.await;
            Err(EnrolError::Refused(refusal))
        }
    }
}

/// An answer, and the certificate of who has given it.
pub(crate) struct Answered {
    pub(crate) answer: Bytes,
    by: CertificateDer<'static>,
}

/// The inner result is the answer or the refusal.
async fn exchange(
    dial: &Dial<'_>,
    judge: Judge,
    parent: ContextId,
    request: Bytes,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Result<Answered, String>, DialError> {
    let verdict = Verdict::default();
    let config = dial.settings.client(tls::joining(judge, parent, verdict.clone()));
    talk(dial, config, &verdict, request, address, deadline).await
}

/// One request and its answer, with whoever this configuration takes. The inner result is the answer or the refusal.
pub(crate) async fn talk(
    dial: &Dial<'_>,
    config: quinn::ClientConfig,
    verdict: &Verdict,
    request: Bytes,
    address: SocketAddr,
    deadline: Instant,
) -> Result<Result<Answered, String>, DialError> {
    let connection = dial.connect(config, verdict, address, deadline).await?;
    let by = peer_certificate(&connection).ok_or(DialError::Closed)?;
    let talk = async {
        let (mut sender, mut receiver) = connection.open_bi().await?;
        // A failed write is the connection's end or a refusal, and both are found by the read.
        let _ = sender.write_chunk(request).await;
        let _ = sender.finish();
        match receiver.read_to_end(MAX_ANSWER).await {
            Ok(answer) => Ok(Ok(Answered { answer: answer.into(), by })),
            Err(ReadToEndError::Read(ReadError::ConnectionLost(error))) => Err(error),
            Err(error) => Ok(Err(format!("the answer cannot be read: {error}"))),
        }
    };
    match timeout_at(deadline + ANSWER_TIME, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(ConnectionError::ApplicationClosed(close)))
            if CloseCode::REFUSED.is(close.error_code) =>
        {
            Ok(Err(describe(&ConnectionError::ApplicationClosed(close))))
        }
        Ok(Err(error)) => Err(dial.explain(verdict, &error)),
        Err(_) => Err(DialError::Unreachable {
            endpoint: dial.endpoint.clone(),
            why: "the answer took too long".to_owned(),
        }),
    }
}

/// Reads a newcomer's request, within the caller's deadline.
pub(crate) async fn request(
    connection: &quinn::Connection,
) -> Result<(Bytes, SendStream), RequestError> {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(1));
    let (sender, mut receiver): (SendStream, RecvStream) = connection.accept_bi().await?;
    match receiver.read_to_end(MAX_REQUEST).await {
        Ok(request) => Ok((request.into(), sender)),
        Err(ReadToEndError::TooLong) => {
            Err(RequestError::Bad(format!("the request is longer than {MAX_REQUEST} bytes")))
        }
        Err(ReadToEndError::Read(ReadError::ConnectionLost(error))) => Err(error.into()),
        Err(ReadToEndError::Read(error)) => Err(RequestError::Bad(error.to_string())),
    }
}

/// Why no request came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{0}")]
    Lost(#[from] ConnectionError),
    #[error("{0}")]
    Bad(String),
}

/// The runtime's end of an enrolment, and where its answer arrives.
pub(crate) fn offer(
    request: Bytes,
    remote: SocketAddr,
) -> (Enrolment, oneshot::Receiver<Result<Vec<u8>, String>>) {
    let (sender, answer) = oneshot::channel();
    let respond = Box::new(move |answer| {
        // The newcomer may have gone meanwhile.
        let _ = sender.send(answer);
    });
    (Enrolment { request, remote: remote.to_string(), respond }, answer)
}

/// Carries the runtime's answer to the newcomer and closes the connection.
pub(crate) async fn answer(
    connection: quinn::Connection,
    mut sender: SendStream,
    answer: oneshot::Receiver<Result<Vec<u8>, String>>,
) {
    let refuse = |text: &str| CloseCode::REFUSED.close(&connection, text);
    match timeout(ANSWER_TIME, answer).await {
        Ok(Ok(Ok(answer))) if answer.len() > MAX_ANSWER => {
            refuse("the answer is too long to carry")
        }
        Ok(Ok(Ok(answer))) => {
            let deliver = async {
                sender.write_chunk(answer.into()).await.ok()?;
                sender.finish().ok()?;
                sender.stopped().await.ok()
            };
            let _ = timeout(FAREWELL_TIME, deliver).await;
            CloseCode::CLOSED.close(&connection, "the enrolment is done");
        }
        Ok(Ok(Err(why))) => refuse(&why),
        Ok(Err(_)) => refuse("no reason was given"),
        Err(_) => refuse("the root did not answer in time"),
    }
}
