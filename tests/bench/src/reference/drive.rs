//! The reference's first process: the side that sends, asks and reads the clock.

use std::{net::SocketAddr, time::Duration, time::Instant};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    frames::{Frames, put},
    relay, signed,
    work::{Tally, URGENT, Work},
};
use crate::{
    allocations,
    failure::Failure,
    note::{LARGE, Note, SMALL, payload},
    workload::{IN_FLIGHT, Outcome, Span, Workload, latencies},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Does a work over QUIC for a while, in writes of `write` bytes where messages are framed.
pub(super) async fn over_quic(
    connection: &quinn::Connection,
    workload: Workload,
    write: usize,
    lasts: Duration,
) -> Result<Outcome, Error> {
    match workload {
        Workload::Tell(bytes) => {
            let (writer, reader) = open(connection, Work::Tell).await?;
            Ok(tell(writer, reader, bytes, write, lasts).await?.into())
        }
        Workload::Allocations => {
            let (mut writer, mut reader) = open(connection, Work::Count).await?;
            allocations::start();
            let sent = send(&mut writer, SMALL, write, Span::of(lasts)).await?;
            let tally = Tally::read(&mut reader).await?;
            let here = allocations::stop();
            Failure::unless_all_came(sent, tally.messages)?;
            Ok(((here + tally.allocations) as f64 / sent as f64).into())
        }
        Workload::Bulk => Ok(bulk(connection, LARGE, Span::of(lasts)).await?.into()),
        Workload::Ask => {
            let mut times = Vec::new();
            ask(connection, 1, lasts, |time| times.push(time)).await?;
            Ok(latencies(times))
        }
        Workload::AskInFlight => Ok(ask(connection, IN_FLIGHT, lasts, drop).await?.into()),
    }
}

/// Framed one-way messages by way of the second process to the one that has said by this line where it is.
pub(super) async fn relayed(
    connection: &quinn::Connection,
    to: &str,
    bytes: usize,
    write: usize,
    lasts: Duration,
) -> Result<f64, Error> {
    let (mut writer, reader) = open(connection, Work::Relay).await?;
    relay::address(&mut writer, to).await?;
    tell(writer, reader, bytes, write, lasts).await
}

async fn tell(
    mut writer: impl AsyncWrite + Unpin,
    mut reader: impl AsyncRead + Unpin,
    bytes: usize,
    write: usize,
    lasts: Duration,
) -> Result<f64, Error> {
    let span = Span::of(lasts);
    let sent = send(&mut writer, bytes, write, span).await?;
    let tally = Tally::read(&mut reader).await?;
    let rate = span.rate(sent);
    Failure::unless_all_came(sent, tally.messages)?;
    Ok(rate)
}

/// Framed one-way messages over bare TCP, as a measure of the reference itself.
pub(super) async fn over_tcp(
    to: SocketAddr,
    bytes: usize,
    write: usize,
    lasts: Duration,
) -> Result<f64, Error> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    writer.write_all(&[Work::Tell.byte()]).await?;
    tell(writer, reader, bytes, write, lasts).await
}

async fn open(
    connection: &quinn::Connection,
    work: Work,
) -> Result<(SendStream, RecvStream), Error> {
    let (mut writer, reader) = connection.open_bi().await?;
    writer.write_all(&[work.byte()]).await?;
    Ok((writer, reader))
}

/// Sends until the time is over, then ends the stream. How many.
async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: usize,
    write: usize,
    span: Span,
) -> Result<u64, Error> {
    let mut buffer = Vec::with_capacity(write + 2 * bytes);
    let mut sent = 0;
    while !span.is_over() {
        while buffer.len() < write {
            put(&mut buffer, &Note::new(sent, bytes));
            sent += 1;
        }
        writer.write_all(&buffer).await?;
        buffer.clear();
    }
    writer.shutdown().await?;
    Ok(sent)
}

/// Requests one at a time on a stream of higher priority, while messages of so many bytes pass beside them: the times of the requests,
/// and behind those figures the bytes a second of the others, in MB.
pub(super) async fn beside_bulk(
    connection: &quinn::Connection,
    bytes: usize,
    lasts: Duration,
) -> Result<Outcome, Error> {
    let mut times = Vec::new();
    let (asked, rate) = tokio::try_join!(
        ask(connection, 1, lasts, |time| times.push(time)),
        bulk(connection, bytes, Span::of(lasts))
    )?;
    let _ = asked;
    let mut outcome = latencies(times);
    outcome.figures.push(rate);
    Ok(outcome)
}

/// Sends large messages, without copying them, until the time is over. MB a second.
async fn bulk(connection: &quinn::Connection, bytes: usize, span: Span) -> Result<f64, Error> {
    let (mut writer, mut reader) = open(connection, Work::Bulk).await?;
    writer.write_all(&(bytes as u64).to_le_bytes()).await?;
    let mut sent = 0;
    while !span.is_over() {
        writer.write_chunk(Bytes::from_static(payload(bytes))).await?;
        sent += 1;
    }
    writer.finish()?;
    let tally = Tally::read(&mut reader).await?;
    let rate = span.rate(sent * bytes as u64) / 1e6;
    Failure::unless_all_came(sent, tally.messages)?;
    Ok(rate)
}

/// One request of [`SMALL`] bytes, and its answer.
pub(super) async fn echo(connection: &quinn::Connection) -> Result<(), Error> {
    ask(connection, 1, Duration::ZERO, |_| ()).await.map(drop)
}

/// Signed notes, so many of them unacknowledged at any time.
pub(super) async fn publish(
    connection: &quinn::Connection,
    in_flight: usize,
    bytes: usize,
    lasts: Duration,
) -> Result<f64, Error> {
    let (writer, reader) = open(connection, Work::Publish).await?;
    signed::publish(writer, reader, in_flight, bytes, Span::of(lasts)).await
}

/// Keeps so many requests under way until the time is over, and tells how long each batch of them took to be answered, in nanoseconds.
/// Answers a second.
async fn ask(
    connection: &quinn::Connection,
    in_flight: usize,
    lasts: Duration,
    mut took: impl FnMut(u64),
) -> Result<f64, Error> {
    let (mut writer, mut reader) = open(connection, Work::Echo).await?;
    writer.set_priority(URGENT)?;
    let (mut frames, mut requests) = (Frames::default(), Vec::new());
    let (mut asked, mut answered) = (0_u64, 0_u64);
    let span = Span::of(lasts);
    let mut began = Instant::now();
    loop {
        // Once at least.
        if asked == 0 || !span.is_over() {
            began = Instant::now();
            while asked - answered < in_flight as u64 {
                put(&mut requests, &Note::new(asked, SMALL));
                asked += 1;
            }
            writer.write_all(&requests).await?;
            requests.clear();
        }
        let chunk = reader.read_chunk(usize::MAX, true).await?.ok_or("it ended too early")?;
        frames.feed(&chunk.bytes, |frame| {
            let note: Note = postcard::from_bytes(frame)?;
            if note.number != answered {
                return Err(Error::from("an answer came out of turn"));
            }
            answered += 1;
            Ok(())
        })?;
        if answered == asked {
            took(began.elapsed().as_nanos() as u64);
            if span.is_over() {
                break;
            }
        }
    }
    let rate = span.rate(answered);
    writer.finish()?;
    Ok(rate)
}
