//! What a flood of newcomers does to whoever comes honestly: nothing.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actogen_core::id::ContextId;
use actogen_runtime::transport::Transport;
use actogen_transport_quic::{MeshAuthority, QuicOptions, QuicTransport};
use support::*;
use tokio::sync::Mutex;

/// These tests hold somebody to a second, so none of them runs beside another.
static ALONE: Mutex<()> = Mutex::const_new(());

/// 1,000 newcomers begin a handshake and hear nothing of what `fate` drops, so none of them ends it; honest ones get in at once.
///
/// They come in waves that fit a socket's buffer. All at once, the kernel drops most of their datagrams, and who has lost too many
/// comes back when the token that proves its address has expired: then there is no 1,000th, however long the test waits.
async fn flood(fate: fn(&[u8]) -> Fate, under_way: impl Fn(&QuicTransport) -> usize) {
    const FLOOD: usize = 1000;
    const WAVE: usize = 32;
    /// How long a wave is waited for before the next replaces whom it has lost.
    const WAVE_TIME: Duration = Duration::from_secs(1);
    /// What 1,000 handshakes may take without optimization on a slow machine.
    const BEGINNING: Duration = Duration::from_secs(120);
    let _alone = ALONE.lock().await;
    let authority = MeshAuthority::generate("a.test").unwrap();
    // Nobody gives up before the last of them has begun, however slow the machine is.
    let patient = |mut options: QuicOptions| {
        options.handshake_time = BEGINNING;
        options.detection_time = BEGINNING;
        options
    };
    let acceptor = Arc::new(root(&authority, patient(listen())));
    let options = patient(Leaky::new(fate).await.dial_only());
    let flood = Arc::new(QuicTransport::bind(node(&authority, 1), options).unwrap());
    let mut attempts = Vec::new();
    let (mut wanted, mut wave) = (0, Instant::now());
    until_within(BEGINNING, "flood", || {
        let reached = under_way(&acceptor);
        if reached >= wanted || wave.elapsed() > WAVE_TIME {
            wave = Instant::now();
            wanted = FLOOD.min(reached + WAVE);
            attempts.extend((reached..wanted).map(|_| {
                let (flood, endpoint) = (flood.clone(), acceptor.endpoint().unwrap());
                tokio::spawn(async move { flood.dial(endpoint, None).await })
            }));
        }
        reached >= FLOOD
    })
    .await;
    // The middle one of five: a datagram that the kernel drops on a busy machine costs its sender a second, and is not what is asked here.
    let mut took = Vec::new();
    for id in 2..7 {
        let honest = QuicTransport::bind(node(&authority, id), dial_only()).unwrap();
        let begin = Instant::now();
        let (_, accepted) = link(&honest, &acceptor).await;
        took.push(begin.elapsed());
        assert_eq!(accepted.peer, ContextId(id));
    }
    took.sort_unstable();
    assert!(took[2] < Duration::from_secs(1), "the honest ones waited {took:?}");
    assert!(attempts.iter().all(|attempt| !attempt.is_finished()), "a flooding handshake ended");
    for attempt in attempts {
        attempt.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m22_a_thousand_half_open_handshakes_from_made_up_addresses_hold_up_nobody() {
    flood(|_| Fate::Vanishes, |acceptor| acceptor.retried() as usize + acceptor.handshakes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m22_a_thousand_half_open_handshakes_from_real_addresses_hold_up_nobody() {
    // They answer the request to prove their address (a retry packet, RFC 9000, section 17.2.5) and fall silent then.
    let only_retries = |datagram: &[u8]| {
        if datagram[0] & 0xf0 == 0xf0 { Fate::Arrives } else { Fate::Vanishes }
    };
    flood(only_retries, |acceptor| acceptor.handshakes()).await;
}

#[tokio::test]
async fn m22_handshakes_over_the_limit_are_refused_and_end_by_themselves() {
    let _alone = ALONE.lock().await;
    let authority = MeshAuthority::generate("a.test").unwrap();
    let mut listening = listen();
    listening.max_handshakes = 4;
    listening.handshake_time = Duration::from_millis(500);
    let acceptor = root(&authority, listening);
    let socket = Leaky::new(|_| Fate::Vanishes).await;
    let silent = Arc::new(QuicTransport::bind(node(&authority, 1), socket.dial_only()).unwrap());
    let attempts: Vec<_> = (0..5)
        .map(|_| {
            let (silent, endpoint) = (silent.clone(), acceptor.endpoint().unwrap());
            tokio::spawn(async move { silent.dial(endpoint, None).await })
        })
        .collect();
    until("refusal", || acceptor.refused().busy >= 1).await;
    until("end of the handshakes", || acceptor.refused().slow >= 4).await;
    for attempt in attempts {
        attempt.abort();
    }
    until("a free place", || acceptor.handshakes() < 4).await;
    only_the_honest_get_in(&authority, &acceptor).await;
}
