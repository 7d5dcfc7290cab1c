//! A relay of datagrams: what goes through it is delayed, lost, reordered, doubled or cut off, on one machine and without root.

use std::{
    collections::HashMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr, UdpSocket as StdSocket},
    sync::{Arc, OnceLock, mpsc},
    time::Instant,
};

use actogen_runtime::transport::BoxFuture;
use actogen_transport_quic::{DatagramSocket, QuicOptions};
use parking_lot::Mutex;
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::{Notify, oneshot},
    task::JoinHandle,
};

use super::{
    conditions::{Conditions, RelayStats},
    line::{InTransit, Line, Way},
};

/// Bytes of datagrams that are on their way in one relay: 100 Mbit/s over 300 ms.
const ON_THEIR_WAY: usize = 4 * 1024 * 1024;

/// Senders that a relay knows at once, each with a socket of its own; the one that has said nothing for longest is forgotten.
const SENDERS: usize = 256;

/// The longest datagram.
const LONGEST: usize = 65_536;

/// A UDP relay in front of one address, on the loopback interface and on a thread of its own. It ends when it is dropped.
///
/// Contexts of one program are put behind relays by [`over`](super::over) with [`Network::Udp`](super::Network::Udp). For other processes put
/// a relay before the context that they dial:
///
/// ```
/// use actogen::{Mesh, prelude::*, testing::{Conditions, Relay}};
///
/// # #[actogen::main]
/// # async fn main(_: Context) -> actogen::Result<()> {
/// let relay = Relay::new(7)?;
/// let mesh = Mesh::fresh("relayed.example")?;
/// let root = Context::builder().mesh(mesh).quic(|options| relay.stand_before(options)).start().await?;
/// // Whoever dials the root, the processes that it launches among them, goes through the relay.
/// assert_eq!(root.endpoint(), Some(relay.endpoint()));
/// relay.set(Conditions { loss: 0.01, ..Conditions::GOOD });
/// # root.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// A seed decides which datagrams are lost, held back and doubled: the n-th that one sender sends one way. When they are sent is the
/// machine's affair, so that a test over it repeats less exactly than one in memory.
pub struct Relay {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// Its end is the thread's.
    _end: oneshot::Sender<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is under way that was not before.
    came: Notify,
}

struct State {
    target: Option<SocketAddr>,
    seed: u64,
    /// For senders of whom nothing else is said.
    conditions: Conditions,
    cut: [bool; 2],
    /// What is said of senders, whether they are known or not.
    said: HashMap<SocketAddr, (Conditions, [bool; 2])>,
    senders: HashMap<SocketAddr, Sender>,
    transit: InTransit<Parcel>,
    stats: RelayStats,
}

struct Sender {
    line: Line,
    /// Speaks to the target for this one.
    socket: Arc<UdpSocket>,
    reading: JoinHandle<()>,
    heard: Instant,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// A datagram on its way.
struct Parcel {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = self.shared.state.lock().target;
        let mut relay = f.debug_struct("Relay");
        relay.field("address", &self.address).field("target", &target).finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay on a port that the system chooses, of which nobody is the target yet: what comes is lost.
    ///
    /// # Errors
    /// When the system gives no socket or thread.
    pub fn new(seed: u64) -> io::Result<Self> {
        let front = StdSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        front.set_nonblocking(true)?;
        let address = front.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                target: None,
                seed,
                conditions: Conditions::GOOD,
                cut: [false; 2],
                said: HashMap::new(),
                senders: HashMap::new(),
                transit: InTransit::new(ON_THEIR_WAY),
                stats: RelayStats::default(),
            }),
            came: Notify::new(),
        });
        let (end, ended) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let carried = shared.clone();
        std::thread::Builder::new().name("relay".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            runtime.block_on(async {
                let front = match UdpSocket::from_std(front) {
                    Ok(front) => Arc::new(front),
                    Err(error) => return drop(ready.send(Err(error))),
                };
                if let Err(error) = front.writable().await {
                    return drop(ready.send(Err(error)));
                }
                let _ = ready.send(Ok(()));
                tokio::select! {
                    _ = ended => {}
                    () = take(&front, &carried) => {}
                    () = deliver(&carried) => {}
                }
                carried.state.lock().senders.clear();
            });
        })?;
        is_ready
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the relay's thread has ended")))?;
        Ok(Self { shared, address, _end: end })
    }

    /// A relay in front of this address.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn to(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let relay = Self::new(seed)?;
        relay.set_target(target);
        Ok(relay)
    }

    /// Puts the relay before a context that is about to be started: it listens behind the relay, and tells all others, those that it launches
    /// among them, to dial the relay. Datagrams are up to 1200 bytes long then.
    ///
    /// # Panics
    /// When the system gives no socket.
    pub fn stand_before(&self, options: &mut QuicOptions) {
        let behind = StdSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (target, socket) =
            behind.unwrap_or_else(|error| panic!("no socket can be had behind a relay: {error}"));
        self.set_target(target);
        options.listen = Some(self.endpoint());
        options.socket = Some(Arc::new(Behind { socket, polled: OnceLock::new() }));
    }

    /// Where those who send have to send to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// [`Self::address`], as contexts are told it.
    pub fn endpoint(&self) -> String {
        self.address.to_string()
    }

    /// Passes on to this address from now on, for those also who have sent before.
    pub fn set_target(&self, target: SocketAddr) {
        self.shared.state.lock().target = Some(target);
    }

    /// Everything that is sent from now on goes under these conditions.
    pub fn set(&self, conditions: Conditions) {
        let mut state = self.shared.state.lock();
        state.conditions = conditions;
        state.apply();
    }

    /// Cuts one way off, or mends it: what is sent meanwhile is lost.
    pub fn cut(&self, way: Way, cut: bool) {
        let mut state = self.shared.state.lock();
        state.cut[way as usize] = cut;
        state.apply();
    }

    /// Cuts both ways off. [`Self::heal`] mends them.
    pub fn partition(&self) {
        self.cut(Way::ToTarget, true);
        self.cut(Way::FromTarget, true);
    }

    /// Mends both ways. Their [conditions](Self::set) stay.
    pub fn heal(&self) {
        self.cut(Way::ToTarget, false);
        self.cut(Way::FromTarget, false);
    }

    /// What went through so far, and what did not.
    pub fn stats(&self) -> RelayStats {
        self.shared.state.lock().stats
    }

    /// What one sender and the target send each other goes so.
    pub(super) fn set_for(&self, sender: SocketAddr, conditions: Conditions, cut: [bool; 2]) {
        let mut state = self.shared.state.lock();
        state.said.insert(sender, (conditions, cut));
        state.apply();
    }
}

impl State {
    fn said_of(&self, sender: SocketAddr) -> (Conditions, [bool; 2]) {
        self.said.get(&sender).copied().unwrap_or((self.conditions, self.cut))
    }

    fn apply(&mut self) {
        let senders: Vec<_> = self.senders.keys().copied().collect();
        for sender in senders {
            let said = self.said_of(sender);
            let known = self.senders.get_mut(&sender).expect("its key is there");
            (known.line.conditions, known.line.cut) = said;
        }
    }

    fn send(&mut self, sender: SocketAddr, way: Way, parcel: impl Fn() -> Parcel, bytes: usize) {
        let Some(known) = self.senders.get_mut(&sender) else { return };
        for at in known.line.send(way, Instant::now(), &mut self.stats).into_iter().flatten() {
            if !self.transit.push(at, bytes, parcel()) {
                self.stats.overflowed += 1;
            }
        }
    }

    fn forget_one(&mut self) {
        let oldest = self.senders.iter().min_by_key(|(_, sender)| sender.heard);
        if let Some(oldest) = oldest.map(|(address, _)| *address) {
            self.senders.remove(&oldest);
        }
    }
}

/// Takes what comes for the target.
async fn take(front: &Arc<UdpSocket>, shared: &Arc<Shared>) {
    let mut buffer = vec![0; LONGEST];
    loop {
        // Errors here speak of what was sent before, to somebody who is gone.
        let Ok((length, from)) = front.recv_from(&mut buffer).await else { continue };
        let bytes = &buffer[..length];
        let is_known = shared.state.lock().senders.contains_key(&from);
        if !is_known {
            let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else { continue };
            // Until it is known to be writable, what is tried fails.
            if socket.writable().await.is_err() {
                continue;
            }
            let socket = Arc::new(socket);
            let reading = take_back(front.clone(), socket.clone(), from, shared.clone());
            let reading = tokio::spawn(reading);
            let mut state = shared.state.lock();
            if state.senders.len() >= SENDERS {
                state.forget_one();
            }
            let (conditions, cut) = state.said_of(from);
            let line = Line::new(conditions, cut, state.seed);
            state.senders.insert(from, Sender { line, socket, reading, heard: Instant::now() });
        }
        let mut state = shared.state.lock();
        let Some(to) = state.target else { continue };
        let Some(sender) = state.senders.get_mut(&from) else { continue };
        sender.heard = Instant::now();
        let socket = sender.socket.clone();
        let parcel = || Parcel { socket: socket.clone(), to, bytes: bytes.to_vec() };
        state.send(from, Way::ToTarget, parcel, length);
        shared.came.notify_one();
    }
}

/// Takes what the target has for one sender.
async fn take_back(
    front: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    shared: Arc<Shared>,
) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let mut state = shared.state.lock();
        if state.target != Some(from) {
            continue;
        }
        let parcel = || Parcel { socket: front.clone(), to, bytes: buffer[..length].to_vec() };
        state.send(to, Way::FromTarget, parcel, length);
        shared.came.notify_one();
    }
}

/// Passes on what has arrived.
async fn deliver(shared: &Shared) {
    loop {
        let next = {
            let mut state = shared.state.lock();
            while let Some(Parcel { socket, to, bytes }) = state.transit.pop(Instant::now()) {
                match socket.try_send_to(&bytes, to) {
                    Ok(_) => state.stats.passed += 1,
                    Err(_) => state.stats.overflowed += 1,
                }
            }
            state.transit.next_at()
        };
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = shared.came.notified() => {}
        }
    }
}

/// The socket of a context behind a relay.
#[derive(Debug)]
struct Behind {
    socket: StdSocket,
    /// The same, as the runtime has it that waits for it.
    polled: OnceLock<UdpSocket>,
}

impl Behind {
    fn polled(&self) -> io::Result<&UdpSocket> {
        if let Some(polled) = self.polled.get() {
            return Ok(polled);
        }
        let polled = UdpSocket::from_std(self.socket.try_clone()?)?;
        Ok(self.polled.get_or_init(|| polled))
    }
}

impl DatagramSocket for Behind {
    fn try_send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        self.polled()?.try_send_to(datagram, to).map(drop)
    }

    fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.polled()?.try_recv_from(buffer)
    }

    fn readable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.polled()?.ready(Interest::READABLE).await.map(drop) })
    }

    fn writable(self: Arc<Self>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(async move { self.polled()?.ready(Interest::WRITABLE).await.map(drop) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn socket() -> StdSocket {
        let socket = StdSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    fn heard(socket: &StdSocket) -> (u8, SocketAddr) {
        let mut buffer = [0; 10];
        let (_, from) = socket.recv_from(&mut buffer).unwrap();
        (buffer[0], from)
    }

    /// Waits until the relay has seen this.
    fn until(relay: &Relay, is_so: impl Fn(RelayStats) -> bool) {
        while !is_so(relay.stats()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn each_sender_is_answered_and_cut_off_one_way_or_both() {
        let (target, a, b) = (socket(), socket(), socket());
        let relay = Relay::to(target.local_addr().unwrap(), 1).unwrap();
        let send = |from: &StdSocket, byte: u8| from.send_to(&[byte], relay.address()).unwrap();
        send(&a, 1);
        let (_, a_there) = heard(&target);
        send(&b, 2);
        let (_, b_there) = heard(&target);
        assert_ne!(a_there, b_there);
        target.send_to(&[3], a_there).unwrap();
        assert_eq!(heard(&a), (3, relay.address()));

        relay.set_for(b.local_addr().unwrap(), Conditions::GOOD, [false; 2]);
        relay.cut(Way::ToTarget, true);
        send(&a, 4);
        until(&relay, |stats| stats.cut == 1);
        // Of this one something else was said.
        send(&b, 5);
        assert_eq!(heard(&target), (5, b_there));
        target.send_to(&[6], a_there).unwrap();
        assert_eq!(heard(&a).0, 6);

        relay.partition();
        target.send_to(&[7], a_there).unwrap();
        until(&relay, |stats| stats.cut == 2);
        relay.heal();
        send(&a, 8);
        assert_eq!(heard(&target), (8, a_there));
        until(&relay, |stats| stats == RelayStats { passed: 6, cut: 2, ..stats });
    }

    #[test]
    fn what_was_held_back_is_overtaken_and_what_is_late_is_late() {
        let (target, a) = (socket(), socket());
        let relay = Relay::to(target.local_addr().unwrap(), 1).unwrap();
        let late = Duration::from_millis(60);
        relay.set(Conditions { reorder: 1.0, delay: late, ..Conditions::GOOD });
        let begun = Instant::now();
        a.send_to(&[1], relay.address()).unwrap();
        until(&relay, |stats| stats.held_back == 1);
        relay.set(Conditions { duplicate: 1.0, ..Conditions::GOOD });
        a.send_to(&[2], relay.address()).unwrap();
        assert_eq!((heard(&target).0, heard(&target).0, heard(&target).0), (2, 2, 1));
        assert!(begun.elapsed() >= 2 * late);
        until(&relay, |stats| stats == RelayStats { passed: 3, duplicated: 1, ..stats });
    }
}
