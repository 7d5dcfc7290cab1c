//! Links over real QUIC on a simulated network, in simulated time.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actogen::{
    ContextId, Limits, Placement,
    quic::{DatagramSocket, QuicOptions},
    transport::{Authority, BoxFuture, Transport},
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use turmoil::net::UdpSocket;

use super::{Fabric, keys::Keys};

/// What a datagram takes, and how finely time passes.
const TICK: Duration = Duration::from_millis(1);

/// Simulated time that a scenario may take.
const WITHIN: Duration = Duration::from_secs(600);

/// Real QUIC on a simulated network: everything on one simulated host.
#[derive(Debug)]
pub struct Simulated {
    keys: Keys,
    mutes: Mutex<BTreeMap<ContextId, Arc<AtomicBool>>>,
}

impl Fabric for Simulated {
    const PLACEMENT: Placement = Placement::Inline;
    const LONG_BODIES: &'static [usize] = &[4 << 20];
    // What the window of a stream holds, twice, and as much again in the queues before and behind it.
    const FRAGMENTS_PASS: usize = 64;
    const CHURN: usize = 50;

    fn fresh() -> Self {
        Self { keys: Keys::fresh(), mutes: Mutex::default() }
    }

    fn authority(&self) -> Arc<dyn Authority> {
        self.keys.authority()
    }

    fn open(
        &self,
        context: ContextId,
        limits: &Limits,
        _: bool,
    ) -> BoxFuture<'static, Result<Arc<dyn Transport>, String>> {
        let (identity, limits) = (self.keys.identity(context), limits.clone());
        let mute = Arc::new(AtomicBool::new(false));
        self.mutes.lock().insert(context, mute.clone());
        Box::pin(async move {
            // A socket of the simulation may only be opened on its own thread, which is this one: placement is inline.
            let socket = Wire::open(mute).await.map_err(|error| error.to_string())?;
            let address = socket.address.to_string();
            let options = QuicOptions::listen(address).with_limits(&limits).with_socket(socket);
            identity?.bind(options)
        })
    }

    fn silence(&self, context: ContextId, silent: bool) {
        if let Some(mute) = self.mutes.lock().get(&context) {
            mute.store(silent, Ordering::Release);
        }
    }

    fn run(scenario: impl Future<Output = ()> + 'static) {
        let mut sim = turmoil::Builder::new()
            .simulation_duration(WITHIN)
            .tick_duration(TICK)
            .min_message_latency(TICK)
            .max_message_latency(TICK)
            .udp_capacity(64 * 1024)
            .build();
        sim.client("everybody", async move {
            scenario.await;
            Ok(())
        });
        if let Err(error) = sim.run() {
            panic!("the simulation failed: {error}");
        }
    }
}

/// A simulated socket whose datagrams vanish while it is mute.
#[derive(Debug)]
struct Wire {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    inbox: Arc<Inbox>,
    mute: Arc<AtomicBool>,
    reading: tokio::task::AbortHandle,
}

#[derive(Debug, Default)]
struct Inbox {
    datagrams: Mutex<VecDeque<(Vec<u8>, SocketAddr)>>,
    arrived: Notify,
}

impl Wire {
    async fn open(mute: Arc<AtomicBool>) -> io::Result<Arc<Self>> {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, socket.local_addr()?.port()));
        let inbox = Arc::new(Inbox::default());
        let (from_socket, to_inbox, is_mute) = (socket.clone(), inbox.clone(), mute.clone());
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 2048];
            while let Ok((len, from)) = from_socket.recv_from(&mut buffer).await {
                if !is_mute.load(Ordering::Acquire) {
                    to_inbox.datagrams.lock().push_back((buffer[..len].to_vec(), from));
                    to_inbox.arrived.notify_one();
                }
            }
        });
        let reading = reading.abort_handle();
        Ok(Arc::new(Self { socket, address, inbox, mute, reading }))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl DatagramSocket for Wire {
    fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        if self.mute.load(Ordering::Acquire) {
            return Ok(());
        }
        self.socket.try_send_to(datagram, to).map(drop)
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (datagram, from) =
            self.inbox.datagrams.lock().pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok((len, from))
    }

    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move {
            while self.inbox.datagrams.lock().is_empty() {
                self.inbox.arrived.notified().await;
            }
            Ok(())
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
