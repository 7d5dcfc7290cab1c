//! A transport within one process: for tests, and for what the QUIC transport is compared with.
//!
//! It carries bytes as the others do, in bounded streams, and proves identities as they do, with keys that a
//! [`MemoryNetwork`] derives from a secret of its own. Nothing of it reaches another process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use actogen_core::{ContextId, StreamId};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::identity::{MemoryAuthority, MemoryIdentity, Record};
use crate::transport::{
    Authority, BoxFuture, Connection, DialError, Identity, Incoming, Invitation, Link, LinkEnd,
    StreamError, StreamReader, StreamWriter, Transport,
};

mod identity;

/// Chunks that one stream holds before its writer waits.
const CHUNKS: usize = 4;

/// Links that wait to be accepted.
const BACKLOG: usize = 1024;

#[derive(Debug)]
struct Inner {
    mesh: String,
    secret: [u8; 32],
    doors: Mutex<BTreeMap<String, Door>>,
    faults: watch::Sender<Faults>,
    /// What its authority has given and taken.
    record: Mutex<Record>,
}

/// What is wrong with the network.
#[derive(Clone, Debug, Default)]
struct Faults {
    silent: BTreeSet<ContextId>,
    /// Who is not heard by whom.
    cut: BTreeSet<[ContextId; 2]>,
    /// How long bytes between a pair are on their way, if that takes any time.
    delay: BTreeMap<[ContextId; 2], Duration>,
}

impl Faults {
    /// Whether nothing of what the first sends the second arrives.
    fn holds(&self, way: [ContextId; 2]) -> bool {
        self.cut.contains(&way) || way.iter().any(|end| self.silent.contains(end))
    }
}

fn pair([a, b]: [ContextId; 2]) -> [ContextId; 2] {
    if a <= b { [a, b] } else { [b, a] }
}

/// Where a context can be dialled.
#[derive(Clone, Debug)]
struct Door {
    context: ContextId,
    links: mpsc::Sender<Link>,
    detection: Duration,
    connections: Arc<Mutex<Vec<Arc<MemoryConnection>>>>,
}

/// A mesh within one process: its name, its key material, and the endpoints that can be dialled.
#[derive(Clone, Debug)]
pub struct MemoryNetwork(Arc<Inner>);

impl MemoryNetwork {
    /// A network for one mesh. Networks of different secrets do not accept each other's identities.
    pub fn new(mesh: impl Into<String>, secret: [u8; 32]) -> Self {
        let inner = Inner {
            mesh: mesh.into(),
            secret,
            doors: Mutex::default(),
            faults: watch::Sender::default(),
            record: Mutex::default(),
        };
        Self(Arc::new(inner))
    }

    /// A transport for a context, which can be dialled as `endpoint`. A peer that has been silent for `detection` is lost.
    pub fn transport(
        &self,
        context: ContextId,
        endpoint: impl Into<String>,
        detection: Duration,
    ) -> MemoryTransport {
        let endpoint = endpoint.into();
        let (links, incoming) = mpsc::channel(BACKLOG);
        let connections = Arc::default();
        let door = Door { context, links, detection, connections: Arc::clone(&connections) };
        self.0.doors.lock().insert(endpoint.clone(), door);
        MemoryTransport {
            network: self.clone(),
            identity: Arc::new(MemoryIdentity::issue(context, self.0.clone())),
            endpoint,
            detection,
            incoming: tokio::sync::Mutex::new(incoming),
            connections,
            closed: watch::Sender::new(false),
        }
    }

    /// The authority for this network's root. It signs no requests of new processes, which memory cannot reach. Names that it binds to a
    /// context ([`Authority::bind_names`]) are carried by the certificates of transports that are opened for that from then on.
    pub fn authority(&self) -> Arc<dyn Authority> {
        Arc::new(MemoryAuthority(self.0.clone()))
    }

    /// Makes a context silent, or lets it be heard again: nothing that it sends or is sent arrives meanwhile.
    pub fn set_silent(&self, context: ContextId, silent: bool) {
        self.0.faults.send_modify(|faults| {
            if silent {
                faults.silent.insert(context)
            } else {
                faults.silent.remove(&context)
            };
        });
    }

    /// Cuts the way between two contexts, or mends it: nothing that they send each other arrives meanwhile.
    pub fn set_cut(&self, a: ContextId, b: ContextId, cut: bool) {
        self.set_cut_one_way(a, b, cut);
        self.set_cut_one_way(b, a, cut);
    }

    /// Cuts the way from one context to another, or mends it: nothing that the first sends the second arrives meanwhile. A link of which one
    /// way stays cut for the detection time is lost to both, since what comes the other way is never acknowledged.
    pub fn set_cut_one_way(&self, from: ContextId, to: ContextId, cut: bool) {
        self.0.faults.send_modify(|faults| {
            if cut {
                faults.cut.insert([from, to])
            } else {
                faults.cut.remove(&[from, to])
            };
        });
    }

    /// Cuts off whoever can be dialled there, as if its process had died: its links close, and nobody answers there any more.
    pub fn crash(&self, endpoint: &str) {
        let Some(door) = self.0.doors.lock().remove(endpoint) else { return };
        for connection in std::mem::take(&mut *door.connections.lock()) {
            connection.state.close(2, LinkEnd::Closed("the process has ended".into()));
        }
    }

    /// Mends all that was silent or cut.
    pub fn heal(&self) {
        self.0.faults.send_modify(|faults| {
            faults.silent.clear();
            faults.cut.clear();
        });
    }

    /// What two contexts send each other is on its way for this long from now on.
    pub fn set_delay(&self, a: ContextId, b: ContextId, delay: Duration) {
        self.0.faults.send_modify(|faults| {
            faults.delay.insert(pair([a, b]), delay);
        });
    }
}

/// A context's place in a [`MemoryNetwork`].
pub struct MemoryTransport {
    network: MemoryNetwork,
    identity: Arc<MemoryIdentity>,
    endpoint: String,
    detection: Duration,
    incoming: tokio::sync::Mutex<mpsc::Receiver<Link>>,
    connections: Arc<Mutex<Vec<Arc<MemoryConnection>>>>,
    closed: watch::Sender<bool>,
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport")
            .field("context", &self.identity.context())
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Transport for MemoryTransport {
    fn identity(&self) -> Arc<dyn Identity> {
        self.identity.clone()
    }

    fn endpoint(&self) -> Option<String> {
        Some(self.endpoint.clone())
    }

    fn invitation(&self) -> Option<Invitation> {
        None
    }

    fn dial(
        &self,
        endpoint: String,
        expect: Option<ContextId>,
    ) -> BoxFuture<'_, Result<Link, DialError>> {
        Box::pin(async move {
            if *self.closed.borrow() {
                return Err(DialError::Closed);
            }
            let door = self.network.0.doors.lock().get(&endpoint).cloned();
            let unreachable = |why: &str| DialError::Unreachable {
                endpoint: endpoint.clone(),
                why: why.to_owned(),
            };
            let door =
                door.ok_or_else(|| unreachable("there is no such endpoint in this network"))?;
            if let Some(expect) = expect.filter(|&expect| expect != door.context) {
                let why = format!("{} answers there, not {expect}", door.context);
                return Err(DialError::Identity { endpoint, why });
            }
            let (near, far) = self.pair(&door, &endpoint);
            door.links.try_send(far).map_err(|_| unreachable("it accepts no more"))?;
            Ok(near)
        })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        Box::pin(async move {
            let mut incoming = self.incoming.lock().await;
            let mut closed = self.closed.subscribe();
            let link = tokio::select! {
                link = incoming.recv() => link?,
                _ = closed.wait_for(|closed| *closed) => return None,
            };
            Some(Incoming::Link(link))
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closed.send_replace(true);
            self.network.0.doors.lock().remove(&self.endpoint);
            for connection in std::mem::take(&mut *self.connections.lock()) {
                connection.close("the context has shut down");
            }
        })
    }
}

impl MemoryTransport {
    /// The two ends of a new link: this context's, and the one for whoever is behind the door.
    fn pair(&self, door: &Door, endpoint: &str) -> (Link, Link) {
        let state = Arc::new(State {
            ends: [self.identity.context(), door.context],
            faults: self.network.0.faults.subscribe(),
            closed: watch::Sender::new(None),
        });
        let (near_writers, far_readers) = streams(&state, 0);
        let (far_writers, near_readers) = streams(&state, 1);
        let near =
            Arc::new(MemoryConnection { state: state.clone(), end: 0, detection: self.detection });
        let far = Arc::new(MemoryConnection { state, end: 1, detection: door.detection });
        keep(&self.connections, &near);
        keep(&door.connections, &far);
        let near = Link {
            peer: door.context,
            remote: endpoint.to_owned(),
            writers: near_writers,
            readers: near_readers,
            connection: near,
        };
        let far = Link {
            peer: self.identity.context(),
            remote: self.endpoint.clone(),
            writers: far_writers,
            readers: far_readers,
            connection: far,
        };
        (near, far)
    }
}

fn keep(connections: &Mutex<Vec<Arc<MemoryConnection>>>, new: &Arc<MemoryConnection>) {
    let mut connections = connections.lock();
    connections.retain(|connection| connection.state.closed.borrow().is_none());
    connections.push(new.clone());
}

/// What both ends of a connection share.
#[derive(Debug)]
struct State {
    ends: [ContextId; 2],
    faults: watch::Receiver<Faults>,
    /// Who closed it, and what was said.
    closed: watch::Sender<Option<(usize, LinkEnd)>>,
}

impl State {
    /// What this end sends.
    fn way_from(&self, end: usize) -> [ContextId; 2] {
        [self.ends[end], self.ends[1 - end]]
    }

    fn is_silent(&self, faults: &Faults) -> bool {
        (0..2).any(|end| faults.holds(self.way_from(end)))
    }

    fn delay(&self) -> Duration {
        self.faults.borrow().delay.get(&pair(self.ends)).copied().unwrap_or_default()
    }

    /// Waits until both ends can be heard.
    async fn heard(&self) {
        // The network outlives its links' states only as long as somebody holds it; without it nobody is silent.
        let _ = self.faults.clone().wait_for(|faults| !self.is_silent(faults)).await;
    }

    /// Waits until this end can be heard by the other.
    async fn heard_from(&self, end: usize) {
        let way = self.way_from(end);
        let _ = self.faults.clone().wait_for(|faults| !faults.holds(way)).await;
    }

    fn close(&self, by: usize, end: LinkEnd) {
        self.closed.send_if_modified(|closed| {
            let open = closed.is_none();
            if open {
                *closed = Some((by, end));
            }
            open
        });
    }
}

#[derive(Debug)]
struct MemoryConnection {
    state: Arc<State>,
    end: usize,
    detection: Duration,
}

impl Connection for MemoryConnection {
    fn close(&self, text: &str) {
        self.state.close(self.end, LinkEnd::Closed(text.to_owned()));
    }

    fn closed(&self) -> BoxFuture<'static, LinkEnd> {
        let (state, own, detection) = (self.state.clone(), self.end, self.detection);
        Box::pin(async move {
            let mut closed = state.closed.subscribe();
            let silence = async {
                loop {
                    let mut faults = state.faults.clone();
                    if faults.wait_for(|faults| state.is_silent(faults)).await.is_err() {
                        return std::future::pending().await;
                    }
                    if tokio::time::timeout(detection, state.heard()).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                end = closed.wait_for(Option::is_some) => match end.as_deref() {
                    Ok(Some((by, _))) if *by == own => LinkEnd::Local,
                    Ok(Some((_, end))) => end.clone(),
                    _ => LinkEnd::Closed("the network is gone".into()),
                },
                () = silence => {
                    state.close(2, LinkEnd::Silent);
                    LinkEnd::Silent
                }
            }
        })
    }
}

type Writers = [Box<dyn StreamWriter>; StreamId::COUNT];
type Readers = [Box<dyn StreamReader>; StreamId::COUNT];

/// The streams on which this end writes.
fn streams(state: &Arc<State>, end: usize) -> (Writers, Readers) {
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..StreamId::COUNT {
        let (sender, receiver) = mpsc::channel::<Chunk>(CHUNKS);
        writers.push(Box::new(Writer { sender: Some(sender), state: state.clone() })
            as Box<dyn StreamWriter>);
        readers.push(Box::new(Reader { receiver, coming: None, state: state.clone(), from: end })
            as Box<dyn StreamReader>);
    }
    let count = "as many as there are streams were pushed";
    (writers.try_into().ok().expect(count), readers.try_into().ok().expect(count))
}

/// Bytes, and when they are there.
type Chunk = (Bytes, Option<Instant>);

struct Writer {
    sender: Option<mpsc::Sender<Chunk>>,
    state: Arc<State>,
}

impl StreamWriter for Writer {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StreamError>> {
        Box::pin(async move {
            let mut closed = self.state.closed.subscribe();
            let over = || StreamError("the connection is closed".into());
            let sender = self.sender.as_ref().ok_or_else(over)?;
            let delay = self.state.delay();
            let there = (!delay.is_zero()).then(|| Instant::now() + delay);
            tokio::select! {
                biased;
                _ = closed.wait_for(Option::is_some) => Err(over()),
                sent = sender.send((chunk, there)) => sent.map_err(|_| over()),
            }
        })
    }

    fn finish(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // The chunks that are left stay readable after the sender is gone.
            self.sender = None;
        })
    }
}

struct Reader {
    receiver: mpsc::Receiver<Chunk>,
    /// The chunk that is on its way, of a read that was given up.
    coming: Option<Chunk>,
    state: Arc<State>,
    /// The end that writes.
    from: usize,
}

impl StreamReader for Reader {
    fn read(&mut self, _: usize) -> BoxFuture<'_, Result<Option<Bytes>, StreamError>> {
        Box::pin(async move {
            let mut closed = self.state.closed.subscribe();
            let (state, from) = (self.state.clone(), self.from);
            let next = async {
                // Looked at when there is something to hear: it may have waited for longer than the silence has.
                if self.coming.is_none() {
                    self.coming = self.receiver.recv().await;
                }
                if let Some((_, Some(there))) = self.coming {
                    tokio::time::sleep_until(there).await;
                }
                state.heard_from(from).await;
                self.coming.take().map(|(chunk, _)| chunk)
            };
            tokio::select! {
                biased;
                chunk = next => Ok(chunk),
                _ = closed.wait_for(Option::is_some) => Err(StreamError("the connection is closed".into())),
            }
        })
    }
}
