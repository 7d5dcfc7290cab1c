//! A link over a QUIC connection: five one-way streams in each direction, and how they begin and end.
//!
//! Each side opens its five streams at once and writes one byte on each: the stream's [index](StreamId::index). A link is there when
//! all five of the other side have come. A stream with an index that is out of range or was there already ends the connection; a
//! sixth stream is never granted.

use std::{collections::VecDeque, fmt, sync::Arc};

use actogen_core::id::{ContextId, StreamId};
use actogen_runtime::transport::{
    BoxFuture, Connection, Link, LinkEnd, StreamError, StreamReader, StreamWriter,
};
use bytes::Bytes;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::OwnedSemaphorePermit;

/// The control stream goes before the lanes, whose priority is 0.
const CONTROL_PRIORITY: i32 = 1;

/// How much of a peer's text is shown, in characters.
const TEXT_MAX: usize = 300;

/// Why one side closed the connection: the application's error codes of QUIC, with a text beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseCode(u32);

impl CloseCode {
    /// The link is over, as its side wants it.
    pub(crate) const CLOSED: Self = Self(0);
    /// A link needs an identity, and none was shown.
    pub(crate) const IDENTITY: Self = Self(1);
    /// The handshake settled on no protocol of ours.
    pub(crate) const VERSION: Self = Self(2);
    /// The streams are not those of a link or an enrolment.
    pub(crate) const STREAMS: Self = Self(3);
    /// There is no room for another link now.
    pub(crate) const BUSY: Self = Self(4);
    /// The handshake's time is over.
    pub(crate) const SLOW: Self = Self(5);
    /// The enrolment was refused; the text says why.
    pub(crate) const REFUSED: Self = Self(6);

    pub(crate) fn close(self, connection: &quinn::Connection, text: &str) {
        let mut end = text.len().min(4 * TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        connection.close(VarInt::from_u32(self.0), &text.as_bytes()[..end]);
    }

    pub(crate) fn is(self, code: VarInt) -> bool {
        code == VarInt::from_u32(self.0)
    }
}

/// A text that a peer sent, made safe for logs and errors.
pub(crate) fn peer_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * TEXT_MAX)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX).collect()
}

/// Why a connection did not become a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("{0}")]
    Lost(#[from] ConnectionError),
    #[error("{0}")]
    Streams(String),
}

impl From<WriteError> for OpenError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Lost(error),
            other => Self::Streams(format!("a stream ended before it began: {other}")),
        }
    }
}

/// The streams of a link, by index.
pub(crate) struct Streams {
    writers: [Box<dyn StreamWriter>; StreamId::COUNT],
    readers: [Box<dyn StreamReader>; StreamId::COUNT],
}

/// Opens this side's streams and waits for the other's. The caller bounds the wait and closes the connection on an error.
pub(crate) async fn open(connection: &quinn::Connection) -> Result<Streams, OpenError> {
    let mut writers = Vec::with_capacity(StreamId::COUNT);
    for stream in StreamId::all() {
        let mut sender = connection.open_uni().await?;
        if stream == StreamId::CONTROL {
            // Fails only on a stream that has ended, which the write below finds too.
            let _ = sender.set_priority(CONTROL_PRIORITY);
        }
        sender.write_all(&[stream.index() as u8]).await?;
        writers.push(Box::new(Writer(sender)) as Box<dyn StreamWriter>);
    }
    let mut readers: [Option<Box<dyn StreamReader>>; StreamId::COUNT] = Default::default();
    for _ in StreamId::all() {
        let mut receiver = connection.accept_uni().await?;
        let index = read_index(&mut receiver).await?;
        match readers.get_mut(usize::from(index)) {
            Some(place @ None) => *place = Some(Box::new(Reader::new(receiver))),
            Some(Some(_)) => {
                return Err(OpenError::Streams(format!("two streams are number {index}")));
            }
            None => {
                return Err(OpenError::Streams(format!(
                    "a stream is number {index}; 0 to 4 exist"
                )));
            }
        }
    }
    // When a stream ends, QUIC would let the peer open another in its place.
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(0));
    let writers = writers.try_into().ok().expect("a stream was opened for each index");
    let readers = readers.map(|reader| reader.expect("as many streams came as there are places"));
    Ok(Streams { writers, readers })
}

async fn read_index(receiver: &mut RecvStream) -> Result<u8, OpenError> {
    // One byte is asked for, so what follows it stays for the link's reader.
    match receiver.read_chunk(1, true).await {
        Ok(Some(chunk)) => Ok(chunk.bytes[0]),
        Ok(None) => Err(OpenError::Streams("a stream ended without its number".to_owned())),
        Err(ReadError::ConnectionLost(error)) => Err(error.into()),
        Err(error) => Err(OpenError::Streams(format!("a stream broke off: {error}"))),
    }
}

impl Streams {
    /// The link that they make. `place` is given back when the runtime has let go of the link's connection.
    pub(crate) fn into_link(
        self,
        peer: ContextId,
        connection: quinn::Connection,
        place: Option<OwnedSemaphorePermit>,
    ) -> Link {
        Link {
            peer,
            remote: crate::tunnel::describe(connection.remote_address()),
            writers: self.writers,
            readers: self.readers,
            connection: Arc::new(LinkConnection { connection, _place: place }),
        }
    }
}

struct LinkConnection {
    connection: quinn::Connection,
    /// Counts against the links that others may hold.
    _place: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for LinkConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkConnection")
            .field("remote", &self.connection.remote_address())
            .finish_non_exhaustive()
    }
}

impl Connection for LinkConnection {
    fn close(&self, text: &str) {
        CloseCode::CLOSED.close(&self.connection, text);
    }

    fn closed(&self) -> BoxFuture<'static, LinkEnd> {
        let connection = self.connection.clone();
        Box::pin(async move { link_end(connection.closed().await) })
    }
}

fn link_end(error: ConnectionError) -> LinkEnd {
    match error {
        ConnectionError::TimedOut => LinkEnd::Silent,
        ConnectionError::LocallyClosed => LinkEnd::Local,
        other => LinkEnd::Closed(describe(&other)),
    }
}

/// A connection's end in words, with the peer's own where it gave some.
pub(crate) fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => {
            "the peer closed it".to_owned()
        }
        ConnectionError::ApplicationClosed(close) => peer_text(&close.reason),
        ConnectionError::ConnectionClosed(close) => {
            peer_text(format!("the peer gave it up: {close}").as_bytes())
        }
        ConnectionError::Reset => {
            "the peer knows nothing of it, having restarted perhaps".to_owned()
        }
        ConnectionError::TimedOut => "the peer fell silent".to_owned(),
        ConnectionError::LocallyClosed => "this side closed it".to_owned(),
        other => peer_text(other.to_string().as_bytes()),
    }
}

struct Writer(SendStream);

impl StreamWriter for Writer {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StreamError>> {
        Box::pin(async move {
            self.0.write_chunk(chunk).await.map_err(|error| match error {
                WriteError::ConnectionLost(error) => StreamError(describe(&error)),
                WriteError::Stopped(_) => StreamError("the peer reads it no more".to_owned()),
                other => StreamError(other.to_string()),
            })
        })
    }

    fn finish(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Both fail only when the stream or its connection has ended, which is what is waited for.
            let _ = self.0.finish();
            let _ = self.0.stopped().await;
        })
    }
}

/// How many pieces are taken from the connection at once: a lock, and a look for what is to be acknowledged, for all of them.
const PIECES: usize = 32;

struct Reader {
    stream: RecvStream,
    /// Pieces that have come and were not asked for yet.
    ready: VecDeque<Bytes>,
}

impl Reader {
    fn new(stream: RecvStream) -> Self {
        Self { stream, ready: VecDeque::new() }
    }

    /// As many of the pieces as fit into `gather` bytes, in one; but one piece at least.
    fn gather(&mut self, gather: usize) -> Option<Bytes> {
        let first = self.ready.pop_front()?;
        let (mut pieces, mut bytes) = (0, first.len());
        while let Some(next) = self.ready.get(pieces)
            && bytes + next.len() <= gather
        {
            bytes += next.len();
            pieces += 1;
        }
        if pieces == 0 {
            return Some(first);
        }
        let mut whole = Vec::with_capacity(bytes);
        whole.extend_from_slice(&first);
        self.ready.drain(..pieces).for_each(|piece| whole.extend_from_slice(&piece));
        Some(whole.into())
    }
}

impl StreamReader for Reader {
    fn read(&mut self, gather: usize) -> BoxFuture<'_, Result<Option<Bytes>, StreamError>> {
        Box::pin(async move {
            if let Some(piece) = self.gather(gather) {
                return Ok(Some(piece));
            }
            let mut pieces = [const { Bytes::new() }; PIECES];
            match self.stream.read_chunks(&mut pieces).await {
                Ok(Some(count)) => {
                    self.ready.extend(pieces.into_iter().take(count));
                    Ok(self.gather(gather))
                }
                Ok(None) => Ok(None),
                Err(ReadError::ConnectionLost(error)) => Err(StreamError(describe(&error))),
                Err(ReadError::Reset(_)) => Err(StreamError("the peer broke it off".to_owned())),
                Err(other) => Err(StreamError(other.to_string())),
            }
        })
    }
}
