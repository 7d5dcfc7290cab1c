//! Direct links: ways beside the tree, from one context straight to another, on request (protocol rules 7, 8, 9 and 11).
//!
//! The core decides ([`actogen_core::route::path`], `ticket`, `dial`); here is what it needs around it.
//!
//! | room | concept |
//! |---|---|
//! | `path` | by which way the own frames go, and how that changes under their senders' hands |
//! | `connect` | the asker's side: a ticket, a dial, the link; and giving it up |
//! | `admission` | the side that is asked: tickets, and who is let in with one |
//! | `words` | what two contexts tell each other about their paths |
//!
//! A context that has never had a direct link pays for all this with one look at a flag. What its senders find is a *lead*; it is
//! good for one generation of the routes. Whoever has found an old one and comes to the lane after the path's flush is turned away
//! there ([`crate::lane::Lane::flush`]) and looks again, so no sender takes a lock for its path.

mod admission;
mod connect;
mod path;
mod words;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actogen_core::{
    ContextId, Handle, Incarnation, Limits, LinkId, StreamId,
    policy::Policy,
    route::{dial::Dials, epochs::Epochs, path::Paths, ticket::Tickets},
    wire::Header,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::{lane::Class, link::LinkState};

pub use connect::{ConnectError, DisconnectError};
pub(crate) use path::{Lead, Load};
pub(crate) use words::bind;

/// Answers that wait for one change of path take as much room as they may take in a lane.
const ANSWERS: usize = 4;

/// What one context keeps for its direct links.
#[derive(Debug)]
pub(crate) struct Direct {
    /// Whether frames may have another path than just the tree. Once there was a direct link it stays so: epochs do not go back.
    in_use: AtomicBool,
    /// Whether any source has been seen in an epoch beyond its first.
    has_epochs: AtomicBool,
    state: Mutex<State>,
    epochs: Mutex<Seen>,
    admission: Mutex<Admission>,
    /// Told when a path has changed, and when a link comes or goes.
    changed: Notify,
    /// Who may be given a ticket, here and through here.
    pub(crate) policy: Policy,
}

#[derive(Debug)]
struct State {
    paths: Paths,
    /// The link that is taken to each peer, unless it is being given up.
    peers: BTreeMap<ContextId, Arc<LinkState>>,
    /// Answers and notices that wait for a change of path; messages wait at their senders.
    waiting: BTreeMap<(ContextId, StreamId), VecDeque<Waiting>>,
}

/// A frame that waits for its path.
#[derive(Debug)]
struct Waiting {
    handle: Handle,
    header: Header,
    payload: Bytes,
    class: Class,
}

#[derive(Debug)]
struct Seen {
    epochs: Epochs,
    /// The lives that the peers of direct links had.
    lives: BTreeMap<ContextId, Incarnation>,
    limit: usize,
}

#[derive(Debug)]
struct Admission {
    tickets: Tickets,
    dials: Dials,
    /// Dials that wait for this context's own: told whether they are welcome.
    held: BTreeMap<LinkId, oneshot::Sender<bool>>,
}

impl Direct {
    pub(crate) fn new(me: ContextId, limits: &Limits, policy: Policy) -> Self {
        let links = limits.links;
        Self {
            in_use: AtomicBool::new(false),
            has_epochs: AtomicBool::new(false),
            state: Mutex::new(State {
                paths: Paths::new(ANSWERS * limits.lane_bytes, links),
                peers: BTreeMap::new(),
                waiting: BTreeMap::new(),
            }),
            epochs: Mutex::new(Seen {
                epochs: Epochs::new(links.saturating_mul(StreamId::LANES)),
                lives: BTreeMap::new(),
                limit: links,
            }),
            admission: Mutex::new(Admission {
                tickets: Tickets::new(links),
                dials: Dials::new(me, links),
                held: BTreeMap::new(),
            }),
            changed: Notify::new(),
            policy,
        }
    }

    #[inline]
    pub(crate) fn is_in_use(&self) -> bool {
        self.in_use.load(Ordering::Acquire)
    }
}
