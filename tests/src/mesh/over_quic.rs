//! Links over real QUIC, on the loopback interface.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actogen::{
    ContextId, Limits, Placement,
    quic::{DatagramSocket, QuicOptions},
    transport::{Authority, BoxFuture, Transport},
};
use parking_lot::Mutex;
use tokio::{io::Interest, net::UdpSocket};

use super::{Fabric, keys::Keys};

const LOOPBACK: &str = "127.0.0.1:0";

/// Real QUIC, everything on one thread.
#[derive(Debug)]
pub struct Quic(Loopback);

/// Real QUIC, each context's router and I/O on a thread of their own.
#[derive(Debug)]
pub struct QuicThreads(Loopback);

#[derive(Debug)]
struct Loopback {
    keys: Keys,
    mutes: Mutex<BTreeMap<ContextId, Arc<AtomicBool>>>,
}

impl Loopback {
    fn fresh() -> Self {
        Self { keys: Keys::fresh(), mutes: Mutex::default() }
    }

    fn open(
        &self,
        context: ContextId,
        limits: &Limits,
        mutable: bool,
    ) -> BoxFuture<'static, Result<Arc<dyn Transport>, String>> {
        let identity = self.keys.identity(context);
        let options = QuicOptions::listen(LOOPBACK).with_limits(limits);
        let mute = mutable.then(|| {
            let mute = Arc::new(AtomicBool::new(false));
            self.mutes.lock().insert(context, mute.clone());
            mute
        });
        Box::pin(async move {
            let mut options = options;
            if let Some(mute) = mute {
                let socket = UdpSocket::bind(LOOPBACK).await.map_err(|e| e.to_string())?;
                options.listen = Some(socket.local_addr().map_err(|e| e.to_string())?.to_string());
                options.socket = Some(Arc::new(Mutable { socket, mute }));
            }
            identity?.bind(options)
        })
    }

    fn silence(&self, context: ContextId, silent: bool) {
        let mutes = self.mutes.lock();
        let mute = mutes.get(&context).expect("the mesh was told that contexts may fall silent");
        mute.store(silent, Ordering::Release);
    }
}

macro_rules! fabric {
    ($name:ident, $placement:expr) => {
        impl Fabric for $name {
            const PLACEMENT: Placement = $placement;
            const LONG_BODIES: &'static [usize] = &[32 << 20];
            // What the window of a stream holds, twice, and as much again in the queues before and behind it.
            const FRAGMENTS_PASS: usize = 64;
            const CHURN: usize = 50;

            fn fresh() -> Self {
                Self(Loopback::fresh())
            }

            fn authority(&self) -> Arc<dyn Authority> {
                self.0.keys.authority()
            }

            fn open(
                &self,
                context: ContextId,
                limits: &Limits,
                mutable: bool,
            ) -> BoxFuture<'static, Result<Arc<dyn Transport>, String>> {
                self.0.open(context, limits, mutable)
            }

            fn silence(&self, context: ContextId, silent: bool) {
                self.0.silence(context, silent);
            }
        }
    };
}

fabric!(Quic, Placement::Inline);
fabric!(QuicThreads, Placement::Thread);

/// A socket whose datagrams vanish while it is mute.
#[derive(Debug)]
struct Mutable {
    socket: UdpSocket,
    mute: Arc<AtomicBool>,
}

impl DatagramSocket for Mutable {
    fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.mute.load(Ordering::Acquire) {
            return Ok(());
        }
        self.socket.try_send_to(datagram, to).map(drop)
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let received = self.socket.try_recv_from(buffer)?;
            if !self.mute.load(Ordering::Acquire) {
                return Ok(received);
            }
        }
    }

    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.socket.ready(Interest::READABLE).await.map(drop) })
    }

    fn writable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.socket.ready(Interest::WRITABLE).await.map(drop) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
