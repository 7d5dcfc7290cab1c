//! A network between a store and its server that does what a test says.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use parking_lot::{Condvar, Mutex};

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It goes through.
    Pass,
    /// The connection is cut before the server has heard it.
    CutBefore,
    /// The connection is cut when the server has done it, and before its word arrives.
    CutAfter,
    /// The connection is cut for the store alone; the server hears the commit when it is [released](Proxy::release).
    Hold,
}

/// Asked at each commit.
type Judge = Box<dyn FnMut() -> Verdict + Send>;

#[derive(Default)]
struct State {
    is_frozen: bool,
    is_released: bool,
    is_closed: bool,
    judge: Option<Judge>,
}

#[derive(Default)]
struct Network {
    state: Mutex<State>,
    changed: Condvar,
}

impl Network {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn wait_until(&self, condition: impl Fn(&State) -> bool) {
        let mut state = self.state.lock();
        while !state.is_closed && !condition(&state) {
            self.changed.wait(&mut state);
        }
    }
}

/// A port that leads to the server's.
pub(crate) struct Proxy {
    port: u16,
    network: Arc<Network>,
}

impl Proxy {
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Arc::<Network>::default();
        let accepting = network.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.state.lock().is_closed {
                    return;
                }
                let (Ok(client), network) = (client, accepting.clone()) else { return };
                thread::spawn(move || carry(&client, server, &network));
            }
        });
        Self { port, network }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes until it is let go, and nothing is lost.
    pub(crate) fn freeze(&self, is_frozen: bool) {
        self.network.set(|state| state.is_frozen = is_frozen);
    }

    /// What becomes of each commit.
    pub(crate) fn judge(&self, judge: impl FnMut() -> Verdict + Send + 'static) {
        self.network.set(|state| state.judge = Some(Box::new(judge)));
    }

    /// Lets the server hear the commits that are held.
    pub(crate) fn release(&self) {
        self.network.set(|state| state.is_released = true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.set(|state| state.is_closed = true);
        // Lets the listener look.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn carry(client: &TcpStream, server: u16, network: &Network) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
        let _ = client.shutdown(Shutdown::Both);
        return;
    };
    let is_cut = AtomicBool::new(false);
    let cut = || {
        // One side may have gone already.
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            pump(client, &server, network, |bytes| {
                if !bytes.windows(7).any(|window| window == b"COMMIT\0") {
                    return true;
                }
                // Taken out, since it may take its time.
                let judge = network.state.lock().judge.take();
                let Some(mut judge) = judge else { return true };
                let verdict = judge();
                network.set(|state| state.judge = state.judge.take().or(Some(judge)));
                match verdict {
                    Verdict::Pass => {}
                    Verdict::CutBefore => return false,
                    Verdict::CutAfter => is_cut.store(true, Ordering::SeqCst),
                    Verdict::Hold => {
                        let _ = client.shutdown(Shutdown::Both);
                        network.wait_until(|state| state.is_released);
                        // The word of it goes nowhere.
                        is_cut.store(true, Ordering::SeqCst);
                        let _ = (&server).write_all(bytes);
                        network.wait_until(|_| false);
                        return false;
                    }
                }
                true
            });
            cut();
        });
        pump(&server, client, network, |_| !is_cut.load(Ordering::SeqCst));
        cut();
    });
}

/// Carries bytes one way, as long as they may pass.
fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    network: &Network,
    mut may_pass: impl FnMut(&[u8]) -> bool,
) {
    let mut room = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut room) {
        network.wait_until(|state| !state.is_frozen);
        if !may_pass(&room[..length]) || to.write_all(&room[..length]).is_err() {
            return;
        }
    }
}
