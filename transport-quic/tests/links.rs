//! What a link carries, and how it ends.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actogen_core::id::{ContextId, StreamId};
use actogen_runtime::transport::{
    DialError, Incoming, LinkEnd, StreamReader, StreamWriter, Transport,
};
use actogen_transport_quic::{MeshAuthority, Mtu, QuicOptions, QuicTransport};
use bytes::Bytes;
use support::*;

fn stolen() -> StolenMesh {
    StolenMesh::generate("a.test")
}

fn mesh() -> MeshAuthority {
    MeshAuthority::generate("a.test").unwrap()
}

async fn read_all(reader: &mut dyn StreamReader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(chunk) = soon("chunk", reader.read(0)).await.unwrap() {
        all.extend_from_slice(&chunk);
    }
    all
}

async fn write(writer: &mut dyn StreamWriter, bytes: impl Into<Bytes>) {
    soon("room", writer.write(bytes.into())).await.unwrap();
}

#[tokio::test]
async fn every_stream_carries_bytes_both_ways_in_order_and_ends() {
    let authority = mesh();
    let (acceptor, dialler) = (
        root(&authority, listen()),
        QuicTransport::bind(node(&authority, 1), dial_only()).unwrap(),
    );
    let (mut ours, mut theirs) = link(&dialler, &acceptor).await;
    assert_eq!((ours.peer, theirs.peer), (ContextId::ROOT, ContextId(1)));
    for stream in StreamId::all().map(StreamId::index) {
        say(&mut *ours.writers[stream], &mut *theirs.readers[stream]).await;
        say(&mut *theirs.writers[stream], &mut *ours.readers[stream]).await;
    }
}

async fn say(writer: &mut dyn StreamWriter, reader: &mut dyn StreamReader) {
    for word in ["first ", "second ", "last"] {
        write(writer, word).await;
    }
    let (got, ()) = tokio::join!(read_all(reader), soon("acknowledgement", writer.finish()));
    assert_eq!(String::from_utf8(got).unwrap(), "first second last");
}

#[tokio::test]
async fn a_writer_waits_for_a_slow_reader_and_the_control_stream_passes_meanwhile() {
    let authority = mesh();
    let mut options = dial_only();
    options.stream_window = 64 * 1024;
    let mut listening = listen();
    listening.stream_window = 64 * 1024;
    let (acceptor, dialler) =
        (root(&authority, listening), QuicTransport::bind(node(&authority, 1), options).unwrap());
    let (ours, mut theirs) = link(&dialler, &acceptor).await;

    const PART: usize = 32 * 1024;
    const PARTS: usize = 128;
    let written = Arc::new(AtomicUsize::new(0));
    let control = ours.writers.len() - 1;
    let [lane0, lane1, lane2, lane3, mut control_writer] = ours.writers;
    let bulk: Vec<_> = [lane0, lane1, lane2, lane3]
        .into_iter()
        .map(|mut lane| {
            let written = written.clone();
            tokio::spawn(async move {
                for part in 0..PARTS {
                    lane.write(Bytes::from(vec![part as u8; PART])).await.unwrap();
                    written.fetch_add(PART, Ordering::Relaxed);
                }
                lane.finish().await;
            })
        })
        .collect();
    // All lanes are written to as far as they go, and nobody reads them. Control passes all the same, again and again.
    for _ in 0..20 {
        write(&mut *control_writer, vec![7; 16 * 1024]).await;
        let mut got = 0;
        while got < 16 * 1024 {
            got += soon("control", theirs.readers[control].read(0)).await.unwrap().unwrap().len();
        }
    }
    let before = written.load(Ordering::Relaxed);
    let bound = 4 * 2 * 64 * 1024 + 256 * 1024 + 4 * PART;
    assert!(before <= bound, "{before} bytes were taken while nobody read; {bound} are granted");
    for lane in 0..StreamId::LANES {
        let got = read_all(&mut *theirs.readers[lane]).await;
        assert_eq!(got.len(), PART * PARTS);
        assert!(
            got.chunks(PART)
                .enumerate()
                .all(|(part, chunk)| chunk.iter().all(|b| *b == part as u8))
        );
    }
    for lane in bulk {
        soon("end of a lane", lane).await.unwrap();
    }
}

#[tokio::test]
async fn large_datagrams_carry_bulk_when_both_ends_choose_them() {
    let authority = mesh();
    let (mut one, mut other) = (listen(), dial_only());
    (one.mtu, other.mtu) = (Mtu::Jumbo, Mtu::UpTo(u16::MAX));
    let (acceptor, dialler) =
        (root(&authority, one), QuicTransport::bind(node(&authority, 1), other).unwrap());
    let (mut ours, mut theirs) = link(&dialler, &acceptor).await;
    let bulk = Bytes::from((0..8_000_000_u32).map(|n| n as u8).collect::<Vec<_>>());
    let sent = bulk.clone();
    let writing = tokio::spawn(async move {
        ours.writers[0].write(sent).await.unwrap();
        ours.writers[0].finish().await;
        ours
    });
    assert!(read_all(&mut *theirs.readers[0]).await == bulk);
    soon("acknowledgement", writing).await.unwrap();
}

#[tokio::test]
async fn both_sides_learn_how_a_link_ended() {
    let authority = mesh();
    let (acceptor, dialler) = (
        root(&authority, listen()),
        QuicTransport::bind(node(&authority, 1), dial_only()).unwrap(),
    );
    let (mut ours, mut theirs) = link(&dialler, &acceptor).await;
    let (here, there) = (ours.connection.closed(), theirs.connection.closed());
    ours.connection.close("enough\nof this");
    ours.connection.close("twice does nothing");
    assert_eq!(soon("end", here).await, LinkEnd::Local);
    assert_eq!(soon("end", there).await, LinkEnd::Closed("enough of this".to_owned()));
    let error = theirs.readers[0].read(0).await.unwrap_err();
    assert!(error.0.contains("enough of this"), "{error}");
    theirs.writers[0].write(Bytes::from_static(b"x")).await.unwrap_err();
    ours.writers[0].write(Bytes::from_static(b"x")).await.unwrap_err();
    soon("finish of a dead stream", ours.writers[0].finish()).await;
}

#[tokio::test]
async fn closing_a_transport_tells_the_peers_and_ends_accepting() {
    let authority = mesh();
    let (acceptor, dialler) = (
        root(&authority, listen()),
        QuicTransport::bind(node(&authority, 1), dial_only()).unwrap(),
    );
    let endpoint = acceptor.endpoint().unwrap();
    let (ours, _theirs) = link(&dialler, &acceptor).await;
    let ((), incoming) =
        soon("close", async { tokio::join!(acceptor.close(), acceptor.accept()) }).await;
    assert!(incoming.is_none());
    assert!(matches!(soon("end", ours.connection.closed()).await, LinkEnd::Closed(_)));
    assert!(soon("accept after close", acceptor.accept()).await.is_none());
    dialler.close().await;
    let error = dial_error(&dialler, endpoint, 0).await;
    assert_eq!(error, DialError::Closed);
}

#[tokio::test]
async fn r12_a_silent_peer_is_found_within_the_detection_time() {
    const DETECTION: Duration = Duration::from_millis(600);
    let authority = mesh();
    let mut listening = listen();
    listening.detection_time = DETECTION;
    let acceptor = root(&authority, listening);
    let socket = Leaky::new(|_| Fate::Arrives).await;
    let mut options = socket.dial_only();
    options.detection_time = DETECTION;
    let dialler = QuicTransport::bind(node(&authority, 1), options).unwrap();
    let (mut ours, theirs) = link(&dialler, &acceptor).await;

    // Idle, but alive: several detection times pass and nothing happens, thanks to keep-alives.
    let idle = tokio::time::timeout(DETECTION * 4, theirs.connection.closed()).await;
    assert!(idle.is_err(), "a live peer was taken for silent: {idle:?}");

    let silence = Instant::now();
    socket.deaf.store(true, Ordering::Relaxed);
    // Writing into the silence must not put the finding off.
    let writing = tokio::spawn(async move {
        while ours.writers[0].write(Bytes::from_static(&[0; 100])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ours
    });
    let connection = soon("end", writing).await.unwrap().connection;
    assert_eq!(soon("end", connection.closed()).await, LinkEnd::Silent);
    let found = silence.elapsed();
    // What was on its way when the silence began may still have arrived, so the window begins a little later.
    assert!(found < DETECTION + Duration::from_millis(250), "found after {found:?}");
    assert!(found > DETECTION / 2, "found after {found:?}, before it can have been known");
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_an_error_within_the_handshake_time() {
    let authority = mesh();
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut options = dial_only();
    options.handshake_time = Duration::from_millis(300);
    let dialler = QuicTransport::bind(node(&authority, 1), options).unwrap();
    let begin = Instant::now();
    let error = dial_error(&dialler, nobody.local_addr().unwrap().to_string(), 0).await;
    assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(2));
    for text in ["nonsense", "127.0.0.1:0", "no-such-host.invalid:1"] {
        let error = dial_error(&dialler, text.to_owned(), 0).await;
        assert!(matches!(error, DialError::Address { .. }), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn a_host_name_is_looked_up_and_each_of_its_addresses_tried() {
    let authority = mesh();
    let acceptor = root(&authority, QuicOptions::listen("0.0.0.0:0"));
    let dialler = QuicTransport::bind(node(&authority, 1), dial_only()).unwrap();
    let endpoint = acceptor.endpoint().unwrap();
    assert!(endpoint.starts_with("127.0.0.1:"), "{endpoint}");
    let named = endpoint.replace("127.0.0.1", "localhost");
    let (dialled, _accepted) =
        soon("link", async { tokio::join!(dialler.dial(named, None), acceptor.accept()) }).await;
    assert_eq!(dialled.unwrap().peer, ContextId::ROOT);
}

/// A stranger with good papers opens streams with these first bytes; the acceptor closes the connection and counts it.
async fn wrong_streams(first: &[&[u8]], text: &str) {
    let authority = stolen();
    let acceptor = root(&authority, listen());
    let papers = Forge::honest("a.test", 3).issue(&authority.issuer());
    let stranger = Stranger::knock(address(&acceptor), Some(&papers), &[LINK]).await;
    let connection = stranger.connection.clone().unwrap();
    let mut open = Vec::new();
    for byte in first {
        let mut stream = connection.open_uni().await.unwrap();
        stream.write_all(byte).await.unwrap();
        if byte.is_empty() {
            stream.finish().unwrap();
        }
        open.push(stream);
    }
    let (end, _) = stranger.refusal().await;
    assert!(end.to_string().contains(text), "{end}");
    assert_eq!(acceptor.refused().streams, 1);
    only_the_honest_get_in(&authority, &acceptor).await;
}

#[tokio::test]
async fn streams_that_are_not_those_of_a_link_end_the_connection() {
    wrong_streams(&[&[0], &[0]], "two streams are number 0").await;
    wrong_streams(&[&[5]], "a stream is number 5").await;
    wrong_streams(&[&[0], &[]], "without its number").await;
}

#[tokio::test]
async fn a_peer_that_opens_no_streams_is_given_up_and_holds_up_nobody() {
    let authority = stolen();
    let mut listening = listen();
    listening.handshake_time = Duration::from_millis(300);
    let acceptor = root(&authority, listening);
    let papers = Forge::honest("a.test", 3).issue(&authority.issuer());
    let slow = Stranger::knock(address(&acceptor), Some(&papers), &[LINK]).await;
    only_the_honest_get_in(&authority, &acceptor).await;
    let (end, _) = slow.refusal().await;
    assert!(end.to_string().contains("did not open its streams"), "{end}");
    assert_eq!(acceptor.refused().slow, 1);
}

#[tokio::test]
async fn links_over_the_limit_are_refused_until_one_ends() {
    let authority = mesh();
    let mut listening = listen();
    listening.max_links = 1;
    let acceptor = root(&authority, listening);
    let dialler = QuicTransport::bind(node(&authority, 1), dial_only()).unwrap();
    let (ours, theirs) = link(&dialler, &acceptor).await;
    let error = dial_error(&dialler, acceptor.endpoint().unwrap(), 0).await;
    assert!(matches!(error, DialError::Refused { .. }), "{error:?}");
    assert_eq!(acceptor.refused().busy, 1);
    drop((ours, theirs));
    only_the_honest_get_in(&authority, &acceptor).await;
}

#[tokio::test]
async fn a_transport_that_does_not_listen_invites_nobody() {
    let authority = mesh();
    let dialler = QuicTransport::bind(node(&authority, 1), dial_only()).unwrap();
    assert_eq!((dialler.endpoint(), dialler.invitation()), (None, None));
    let mut options = listen();
    options.advertise = Some("gate.example:4433".to_owned());
    let acceptor = root(&authority, options);
    assert_eq!(acceptor.endpoint().as_deref(), Some("gate.example:4433"));
    let invitation = acceptor.invitation().unwrap();
    assert!(invitation.endpoint.starts_with("127.0.0.1:"));
    assert_eq!((invitation.mesh.as_str(), invitation.roots), ("a.test", authority.roots()));
}

#[test]
fn a_link_is_driven_by_the_runtime_of_its_transport_whoever_dials() {
    let authority = mesh();
    let broker =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (acceptor, dialler) = {
        let _entered = broker.enter();
        let dialler = QuicTransport::bind(node(&authority, 1), dial_only()).unwrap();
        (root(&authority, listen()), dialler)
    };
    // This runtime has no timers and no I/O at all, as an author's own executor might.
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    bare.block_on(async {
        let endpoint = acceptor.endpoint().unwrap();
        let (dialled, accepted) = tokio::join!(dialler.dial(endpoint, None), acceptor.accept());
        let (mut dialled, Some(Incoming::Link(mut accepted))) = (dialled.unwrap(), accepted) else {
            panic!("no link")
        };
        dialled.writers[0].write(Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!(accepted.readers[0].read(0).await.unwrap().unwrap(), "hello");
        acceptor.close().await;
    });
}
