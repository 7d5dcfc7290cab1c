//! The reference's first process: the side that sends, asks and reads the clock.

use std::{net::SocketAddr, time::Duration, time::Instant};

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    frames::{Frames, put},
    work::{Tally, Work},
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
            let (mut writer, mut reader) = open(connection, Work::Tell).await?;
            let span = Span::of(lasts);
            let sent = send(&mut writer, bytes, write, span).await?;
            let tally = Tally::read(&mut reader).await?;
            let rate = span.rate(sent);
            Failure::unless_all_came(sent, tally.messages)?;
            Ok(rate.into())
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
        Workload::Bulk => {
            let (writer, mut reader) = open(connection, Work::Bulk).await?;
            let span = Span::of(lasts);
            let sent = send_large(writer, span).await?;
            let tally = Tally::read(&mut reader).await?;
            let rate = span.rate(sent * LARGE as u64) / 1e6;
            Failure::unless_all_came(sent, tally.messages)?;
            Ok(rate.into())
        }
        Workload::Ask => {
            let mut times = Vec::new();
            ask(connection, 1, lasts, |time| times.push(time)).await?;
            Ok(latencies(times))
        }
        Workload::AskInFlight => Ok(ask(connection, IN_FLIGHT, lasts, drop).await?.into()),
    }
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
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(&[Work::Tell.byte()]).await?;
    let span = Span::of(lasts);
    let sent = send(&mut writer, bytes, write, span).await?;
    let tally = Tally::read(&mut reader).await?;
    let rate = span.rate(sent);
    Failure::unless_all_came(sent, tally.messages)?;
    Ok(rate)
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

/// Sends large messages, without copying them, until the time is over, then ends the stream. How many.
async fn send_large(mut writer: SendStream, span: Span) -> Result<u64, Error> {
    let mut sent = 0;
    while !span.is_over() {
        writer.write_chunk(Bytes::from_static(payload(LARGE))).await?;
        sent += 1;
    }
    writer.finish()?;
    Ok(sent)
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
    let (mut frames, mut requests) = (Frames::default(), Vec::new());
    let (mut asked, mut answered) = (0_u64, 0_u64);
    let span = Span::of(lasts);
    let mut began = Instant::now();
    loop {
        if !span.is_over() {
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
