//! tonic: gRPC over HTTP/2 between two processes (TCP, not encrypted). No actor system, but what many take instead of one.
//!
//! Without an argument one-way messages go over a client's stream and requests over a stream each way; with the argument `unary` each
//! request is a call of its own.

mod server;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::stream;
use measure::{
    Error,
    drive::drive,
    note::{Note, SMALL, Tally},
    second::{self, Second},
    span::{Span, percentiles, stride},
    target::{self, Target},
    work::{Kind, Outcome, Place, Work, Worker},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use wire::{Frame, service::sink_client::SinkClient};

/// By this argument each request is a call of its own.
const UNARY: &str = "unary";
/// Without arbiters there are no works in one process.
const NO_ACTORS: &str = "tonic has no actors to tell in one process";

/// What both processes let the other send before it is read, in bytes: more than the 64 KiB of the protocol, with which tonic is a third slower.
pub(crate) const WINDOW: u32 = 4 * 1024 * 1024;

struct Streaming(SinkClient<Channel>);

impl Streaming {
    async fn tell(&self, bytes: usize, lasts: Duration) -> Result<Outcome, Error> {
        let (counter, span) = (Arc::new(AtomicU64::new(0)), Span::of(lasts));
        let counts = counter.clone();
        let mut sent = 0;
        let frames = std::iter::from_fn(move || {
            if sent % stride(bytes) == 0 && span.is_over() {
                counts.store(sent, Ordering::Release);
                return None;
            }
            sent += 1;
            Some(Frame::new(sent - 1, bytes))
        });
        let counted = self.0.clone().tell(stream::iter(frames)).await?.into_inner();
        let rate = span.rate(counted.messages);
        let sent = counter.load(Ordering::Acquire);
        if Tally::from(counted) != Tally::of(sent, bytes) {
            return Err(format!("{sent} messages were told and {counted:?}").into());
        }
        Ok(Outcome { figures: vec![rate], sent, handled: counted.messages })
    }

    async fn ask(&self, in_flight: usize, lasts: Duration) -> Result<Outcome, Error> {
        let (requests, receiver) = mpsc::channel(in_flight);
        let (mut sent, mut answered) = (0_u64, 0_u64);
        let mut times = Vec::new();
        requests.send(Frame::new(sent, SMALL)).await?;
        sent += 1;
        let mut answers = self.0.clone().echo(ReceiverStream::new(receiver)).await?.into_inner();
        let span = Span::of(lasts);
        let mut began = Instant::now();
        loop {
            let answer = answers.message().await?.ok_or("the answers ended too early")?;
            if answer != Frame::new(answered, SMALL) {
                return Err("an answer came out of turn".into());
            }
            answered += 1;
            if in_flight == 1 {
                times.push(began.elapsed().as_nanos() as u64);
            }
            if span.is_over() {
                if answered == sent {
                    break;
                }
                continue;
            }
            began = Instant::now();
            while sent - answered < in_flight as u64 {
                requests.send(Frame::new(sent, SMALL)).await?;
                sent += 1;
            }
        }
        let figures = match in_flight {
            1 => percentiles(times).ok_or("no request was answered in its time")?.into(),
            _ => vec![span.rate(answered)],
        };
        Ok(Outcome { figures, sent, handled: answered })
    }
}

impl Worker for Streaming {
    async fn run(&self, work: &Work, lasts: Duration) -> Result<Outcome, Error> {
        match work.kind {
            Kind::Tell(bytes) => self.tell(bytes, lasts).await,
            Kind::Ask(in_flight) => self.ask(in_flight, lasts).await,
            Kind::Play(_) => Err(NO_ACTORS.into()),
        }
    }

    fn without(&self, work: &Work) -> Option<&'static str> {
        (work.place != Place::Remote).then_some(NO_ACTORS)
    }
}

struct Unary(SinkClient<Channel>);

impl Target for Unary {
    async fn tell(&self, _: Note) -> Result<(), Error> {
        Err("a call is answered".into())
    }

    async fn tally(&self) -> Result<Tally, Error> {
        Err("a call is answered".into())
    }

    async fn ask(&self, note: Note) -> Result<Note, Error> {
        let frame = Frame::new(note.number, note.payload.len() + size_of::<u64>());
        let Frame { number, payload } = self.0.clone().ask(frame).await?.into_inner();
        Ok(Note { number, payload: payload.to_vec().into() })
    }
}

impl Worker for Unary {
    async fn run(&self, work: &Work, lasts: Duration) -> Result<Outcome, Error> {
        target::run(self, work.kind, lasts).await
    }

    fn without(&self, work: &Work) -> Option<&'static str> {
        match (work.place, work.kind) {
            (Place::Remote, Kind::Ask(_)) => None,
            (Place::Remote, Kind::Tell(_)) => Some("a unary call is answered: see ask64"),
            _ => Some(NO_ACTORS),
        }
    }
}

async fn first(port: &str, unary: bool) -> Result<(), Error> {
    let channel = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect()
        .await?;
    let client = SinkClient::new(channel);
    if unary {
        drive(&Unary(client), "HTTP/2 over TCP, a call each").await
    } else {
        drive(&Streaming(client), "HTTP/2 over TCP, streams").await
    }
}

fn main() -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if second::is_this() {
        second::end_with_the_first();
        return runtime.block_on(server::serve());
    }
    let unary = std::env::args().nth(1).is_some_and(|argument| argument == UNARY);
    let other = Second::start()?;
    runtime.block_on(
        async move { tokio::spawn(async move { first(&other.says, unary).await }).await? },
    )
}
