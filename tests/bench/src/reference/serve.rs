//! The reference's second process: this same binary, started with [`ARGUMENT`] by the first.

use std::{
    hint::black_box,
    io::{self, Read, Write},
    net::Ipv4Addr,
    sync::Arc,
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};

use super::{
    file,
    frames::{Frames, put},
    quic,
    relay::Onward,
    runtime, signed,
    work::{Tally, URGENT, Work},
};
use crate::{allocations, note::Note, settings::Placement};

/// Makes the program the reference's second process. Placement and path MTU follow it.
pub(crate) const ARGUMENT: &str = "actogen-bench:reference:v1";

/// Bytes that are read from TCP at once.
const TCP_READ: usize = 256 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Serves until standard input ends.
///
/// Writes one line first: the addresses for QUIC and TCP and the certificate in hexadecimal digits.
///
/// # Errors
/// What the system refused.
pub(crate) fn run(arguments: &[String]) -> Result<(), Error> {
    let placement = match arguments.first().map(String::as_str) {
        Some("inline") => Placement::Inline,
        Some("threads") => Placement::Threads,
        _ => return Err("the placement is missing".into()),
    };
    let mtu = arguments.get(1).ok_or("the MTU is missing")?.parse()?;
    std::thread::spawn(|| {
        // The first process holds the other end and writes nothing: this returns when it has gone.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    runtime(placement)?.block_on(async {
        let (quic, certificate) = quic::listen(mtu)?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut out = io::stdout().lock();
        write!(out, "{} {} ", quic.local_addr()?, tcp.local_addr()?)?;
        certificate.iter().try_for_each(|byte| write!(out, "{byte:02x}"))?;
        writeln!(out)?;
        out.flush()?;
        drop(out);
        tokio::try_join!(accept_quic(quic, mtu), accept_tcp(tcp))?;
        Ok(())
    })
}

async fn accept_quic(endpoint: quinn::Endpoint, mtu: u16) -> Result<(), Error> {
    let onward = Arc::new(Onward::new(mtu));
    while let Some(incoming) = endpoint.accept().await {
        let connection = incoming.await?;
        let onward = onward.clone();
        tokio::spawn(async move {
            while let Ok((writer, reader)) = connection.accept_bi().await {
                let onward = onward.clone();
                // Answers go before everything else, as their requests do ([`super::drive`]).
                let _ = writer.set_priority(URGENT);
                tokio::spawn(report(serve(Input::Quic { reader, onward }, writer)));
            }
        });
    }
    Ok(())
}

async fn accept_tcp(listener: TcpListener) -> Result<(), Error> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let input = Input::Tcp { reader, buffer: vec![0; TCP_READ] };
        tokio::spawn(report(serve(input, writer)));
    }
}

/// The first process sees its stream end early, and this says why.
async fn report(serving: impl Future<Output = Result<(), Error>>) {
    if let Err(error) = serving.await {
        eprintln!("the reference's second process: {error}");
    }
}

/// Where bytes come from.
enum Input {
    Quic { reader: quinn::RecvStream, onward: Arc<Onward> },
    Tcp { reader: tokio::net::tcp::OwnedReadHalf, buffer: Vec<u8> },
}

impl Input {
    async fn first(&mut self) -> Result<Option<Work>, Error> {
        let mut first = [0];
        match self {
            Self::Quic { reader, .. } => reader.read_exact(&mut first).await?,
            Self::Tcp { reader, .. } => drop(reader.read_exact(&mut first).await?),
        }
        Ok(Work::from_byte(first[0]))
    }

    /// Hands on what has come, without copying what quinn holds already; `false` at the end.
    async fn next(&mut self, take: impl FnOnce(&[u8]) -> Result<(), Error>) -> Result<bool, Error> {
        match self {
            Self::Quic { reader, .. } => match reader.read_chunk(usize::MAX, true).await? {
                Some(chunk) => take(&chunk.bytes).map(|()| true),
                None => Ok(false),
            },
            Self::Tcp { reader, buffer } => match reader.read(buffer).await? {
                0 => Ok(false),
                n => take(&buffer[..n]).map(|()| true),
            },
        }
    }
}

async fn serve(mut input: Input, mut output: impl AsyncWrite + Unpin) -> Result<(), Error> {
    let tally = match input.first().await? {
        Some(Work::Tell) => Tally { messages: receive(&mut input).await?, allocations: 0 },
        Some(Work::Count) => {
            allocations::start();
            let messages = receive(&mut input).await?;
            Tally { messages, allocations: allocations::stop() }
        }
        Some(Work::Bulk) => match input {
            Input::Quic { mut reader, .. } => {
                let bytes = reader.read_u64_le().await? as usize;
                Tally { messages: receive_large(reader, bytes).await?, allocations: 0 }
            }
            Input::Tcp { .. } => return Err("bulk is measured over QUIC only".into()),
        },
        Some(Work::Relay) => match &mut input {
            Input::Quic { reader, onward } => onward.pass(reader, Work::Tell).await?,
            Input::Tcp { .. } => return Err("relaying is measured over QUIC only".into()),
        },
        Some(work @ (Work::File | Work::RelayFile)) => match &mut input {
            Input::Quic { reader, .. } if work == Work::File => file::receive(reader).await?,
            Input::Quic { reader, onward } => onward.pass(reader, Work::File).await?,
            Input::Tcp { .. } => return Err("files are measured over QUIC only".into()),
        },
        Some(Work::Echo) => {
            echo(&mut input, &mut output).await?;
            return Ok(output.shutdown().await?);
        }
        Some(Work::Publish) => match &mut input {
            Input::Quic { reader, .. } => {
                signed::consume(&mut output, reader).await?;
                return Ok(output.shutdown().await?);
            }
            Input::Tcp { .. } => return Err("signing is measured over QUIC only".into()),
        },
        None => return Err("a stream asks for work that does not exist".into()),
    };
    output.write_all(&tally.to_bytes()).await?;
    output.shutdown().await?;
    Ok(())
}

async fn receive(input: &mut Input) -> Result<u64, Error> {
    let mut frames = Frames::default();
    let mut messages = 0;
    let mut take = |frame: &[u8]| {
        black_box(postcard::from_bytes::<Note>(frame)?);
        messages += 1;
        Ok::<_, Error>(())
    };
    while input.next(|bytes| frames.feed(bytes, &mut take)).await? {}
    Ok(messages)
}

async fn receive_large(mut reader: quinn::RecvStream, bytes: usize) -> Result<u64, Error> {
    let mut messages = 0;
    loop {
        let mut message = Vec::with_capacity(bytes);
        while message.len() < bytes {
            match reader.read_chunk(bytes - message.len(), true).await? {
                Some(chunk) => message.extend_from_slice(&chunk.bytes),
                None if message.is_empty() => return Ok(messages),
                None => return Err("the last message is cut off".into()),
            }
        }
        black_box(message);
        messages += 1;
    }
}

async fn echo(input: &mut Input, output: &mut (impl AsyncWrite + Unpin)) -> Result<(), Error> {
    let mut frames = Frames::default();
    let mut answers = Vec::new();
    loop {
        let mut take = |frame: &[u8]| {
            put(&mut answers, &postcard::from_bytes::<Note>(frame)?);
            Ok::<_, Error>(())
        };
        if !input.next(|bytes| frames.feed(bytes, &mut take)).await? {
            return Ok(());
        }
        if !answers.is_empty() {
            output.write_all(&answers).await?;
            answers.clear();
        }
    }
}
