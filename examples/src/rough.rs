//! A network that is worse than most, on one machine: datagrams are dropped, and delayed each by another time, so that they overtake each
//! other.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actogen::{quic::DatagramSocket, transport::BoxFuture};
use tokio::net::UdpSocket;

/// One datagram of so many is dropped.
const DROPPED: u64 = 50;

/// The others are delayed by up to so much, each by another time.
const DELAY: Duration = Duration::from_millis(20);

/// Datagrams that are on their way at a time; more are dropped.
const MOST_DELAYED: u64 = 20_000;

/// A sender that was silent for so long is forgotten.
const SILENCE: Duration = Duration::from_secs(30);

/// The longest datagram that there is.
const LONGEST: usize = 65_536;

/// The socket behind a relay. What a context that has it tells others to dial is what it is said to listen at: the relay.
#[derive(Debug)]
pub struct Behind(UdpSocket);

impl Behind {
    /// A socket on the loopback.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn open() -> io::Result<Self> {
        Ok(Self(UdpSocket::bind("127.0.0.1:0").await?))
    }
}

impl DatagramSocket for Behind {
    fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.0.try_send_to(datagram, to).map(drop)
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.try_recv_from(buffer)
    }

    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.0.readable().await })
    }

    fn writable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.0.writable().await })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What a relay has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Datagrams that have come.
    pub came: u64,
    /// Those of them that were dropped.
    pub dropped: u64,
}

/// Stands in front of a socket, and treats what goes there and what comes back badly.
#[derive(Debug, Clone)]
pub struct Relay(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    front: UdpSocket,
    to: SocketAddr,
    /// For each sender a socket by which the other side knows it.
    senders: RefCell<HashMap<SocketAddr, Rc<UdpSocket>>>,
    chance: Cell<u64>,
    delayed: Cell<u64>,
    passed: Cell<Passed>,
}

impl Relay {
    /// Opens a relay in front of this address, on a port of its own, and serves it on this thread for as long as the thread runs tasks.
    ///
    /// # Errors
    /// When there is no port.
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub async fn open(to: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = UdpSocket::bind((to.ip(), 0)).await?;
        let relay = Self(Rc::new(Inner {
            front,
            to,
            senders: RefCell::default(),
            chance: Cell::new(seed),
            delayed: Cell::new(0),
            passed: Cell::default(),
        }));
        tokio::task::spawn_local(relay.clone().serve());
        Ok(relay)
    }

    /// Where to send to instead.
    ///
    /// # Errors
    /// When the system does not know.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.front.local_addr()
    }

    /// What it has done so far.
    pub fn passed(&self) -> Passed {
        self.0.passed.get()
    }

    async fn serve(self) {
        let mut buffer = vec![0; LONGEST];
        loop {
            // An error is about one datagram, such as one that found nobody.
            let Ok((length, from)) = self.0.front.recv_from(&mut buffer).await else { continue };
            if let Ok(back) = self.sender(from).await {
                self.pass(buffer[..length].to_vec(), async move |datagram| {
                    let _ = back.send(&datagram).await;
                });
            }
        }
    }

    /// The socket by which a sender is known at the other side.
    async fn sender(&self, from: SocketAddr) -> io::Result<Rc<UdpSocket>> {
        if let Some(known) = self.0.senders.borrow().get(&from) {
            return Ok(known.clone());
        }
        let back = Rc::new(UdpSocket::bind((self.0.to.ip(), 0)).await?);
        back.connect(self.0.to).await?;
        self.0.senders.borrow_mut().insert(from, back.clone());
        tokio::task::spawn_local(self.clone().serve_back(from, back.clone()));
        Ok(back)
    }

    async fn serve_back(self, to: SocketAddr, back: Rc<UdpSocket>) {
        let mut buffer = vec![0; LONGEST];
        while let Ok(received) = tokio::time::timeout(SILENCE, back.recv(&mut buffer)).await {
            let Ok(length) = received else { continue };
            let inner = self.0.clone();
            self.pass(buffer[..length].to_vec(), async move |datagram| {
                let _ = inner.front.send_to(&datagram, to).await;
            });
        }
        self.0.senders.borrow_mut().remove(&to);
    }

    /// Drops a datagram, or sends it some time later.
    fn pass(&self, datagram: Vec<u8>, send: impl AsyncFnOnce(Vec<u8>) + 'static) {
        let mut passed = self.0.passed.get();
        passed.came += 1;
        let is_dropped = self.chance(DROPPED) == 0 || self.0.delayed.get() >= MOST_DELAYED;
        passed.dropped += u64::from(is_dropped);
        self.0.passed.set(passed);
        if is_dropped {
            return;
        }
        let delay = Duration::from_micros(self.chance(DELAY.as_micros() as u64));
        let inner = self.0.clone();
        inner.delayed.set(inner.delayed.get() + 1);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(delay).await;
            send(datagram).await;
            inner.delayed.set(inner.delayed.get() - 1);
        });
    }

    /// A number below this one.
    fn chance(&self, end: u64) -> u64 {
        // SplitMix64.
        let state = self.0.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.chance.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_passes_is_whole_and_comes_out_of_order_and_some_does_not_come() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let relay = Relay::open(target.local_addr().unwrap(), 7).await.unwrap();
                let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                sender.connect(relay.address().unwrap()).await.unwrap();
                for number in 0_u16..500 {
                    sender.send(&number.to_be_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
                let (mut came, mut buffer) = (Vec::new(), [0; 64]);
                let patience = Duration::from_secs(1);
                while let Ok(received) =
                    tokio::time::timeout(patience, target.recv_from(&mut buffer)).await
                {
                    let (length, from) = received.unwrap();
                    assert_eq!(length, 2);
                    if came.is_empty() {
                        target.send_to(b"back", from).await.unwrap();
                    }
                    came.push(u16::from_be_bytes([buffer[0], buffer[1]]));
                }
                let Passed { came: all, dropped } = relay.passed();
                assert_eq!(all, 501, "the answer as well");
                assert!((1..50).contains(&dropped), "{dropped} of 501");
                assert!(came.len() as u64 + dropped >= 500, "{} came", came.len());
                assert!(!came.is_sorted());
            })
            .await;
    }
}
