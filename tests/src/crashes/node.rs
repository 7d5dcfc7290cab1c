//! A node in a process of its own, which ends itself at an instant that it is told.

use std::{
    cell::RefCell,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use actogen::prelude::*;
use actogen_journal::{
    FailPoints, Journal, JournalBuilder, JournaledActor, Poison, Turn, store::PostgresSettings,
};
use rustix::process::{Pid, Signal, getpid, kill_process};

use super::counter::Counter;

/// The lease of a journal in a database: whoever comes after a process that was killed waits so long. It is also the time for a connection, and
/// a password's proof takes a tenth of it in a build that is not optimized.
const LEASE: Duration = Duration::from_secs(2);

/// How long the server may be away: it is not, but the machine may have much else to do.
const AWAY: Duration = Duration::from_secs(60);

/// Where the nodes have their journals.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Stores {
    /// A file each, in this folder.
    Files(PathBuf),
    /// In the PostgreSQL database at this URL.
    Postgres(String),
}

impl Stores {
    /// The instants that a process with such a store comes by.
    pub fn points(&self) -> Vec<&'static str> {
        let own = match self {
            Self::Files(_) => &FailPoints::FILE[..],
            Self::Postgres(_) => &FailPoints::POSTGRES,
        };
        [own, &FailPoints::COMMON].concat()
    }

    fn builder(&self, cx: &Context, node: &str) -> JournalBuilder {
        match self {
            Self::Files(folder) => Journal::builder(cx, folder.join(format!("{node}.redb"))),
            Self::Postgres(url) => {
                Journal::postgres(cx, PostgresSettings::new(url, node).lease(LEASE).patience(AWAY))
            }
        }
    }
}

/// What a process is to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) stores: Stores,
    pub(super) node: String,
    /// Where it is to end, and the how-manieth time that it comes by there.
    pub(super) dies_at: Option<(String, u32)>,
}

thread_local! {
    /// What this process has open: it ends with it.
    static OPEN: RefCell<Vec<Journal>> = const { RefCell::new(Vec::new()) };
}

/// Opens a node's journal in this process.
#[actogen::function(name = "crashes.open")]
pub(super) async fn open_node(cx: Context, order: Order) -> actogen::Result<()> {
    let points = match order.dies_at {
        None => FailPoints::default(),
        Some((point, pass)) => {
            let left = AtomicU32::new(pass);
            FailPoints::new(move |name| {
                if name == point && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    die(getpid());
                }
            })
        }
    };
    let journal = order
        .stores
        .builder(&cx, &order.node)
        .node(&order.node)
        .kind::<Counter>()
        // A message that is under way whenever its process is killed is not to blame.
        .attempts(u32::MAX)
        .fail_points(points)
        .open()
        .await?;
    OPEN.with_borrow_mut(|open| open.push(journal));
    Ok(())
}

/// A message that ends the process whenever it is handled.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "crashes.Die")]
struct Die;

/// Sends itself one by a timer.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "crashes.DieLater")]
pub struct DieLater;

/// Asks whether it works.
#[derive(Clone, Copy, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "crashes.Hello", reply = "bool")]
pub struct Hello;

/// Has a message in its store that ends the process.
#[derive(Debug, Default, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "mortal", messages(Die, DieLater, Hello))]
pub struct Mortal {
    is_doomed: bool,
}

impl Actor for Mortal {
    type Context = Turn<Self>;
}

impl Handler<Die> for Mortal {
    type Result = ();
    fn handle(&mut self, _: Die, _: &mut Turn<Self>) {
        die(getpid());
    }
}

impl Handler<DieLater> for Mortal {
    type Result = ();
    fn handle(&mut self, _: DieLater, turn: &mut Turn<Self>) {
        self.is_doomed = true;
        turn.send_after(Duration::ZERO, Die);
    }
}

impl Handler<Hello> for Mortal {
    type Result = bool;
    fn handle(&mut self, _: Hello, _: &mut Turn<Self>) -> bool {
        self.is_doomed
    }
}

/// Opens the journal of a mortal in this process.
#[actogen::function(name = "crashes.open_mortal")]
pub async fn open_mortal(cx: Context, file: PathBuf, attempts: u32) -> actogen::Result<()> {
    let builder = Journal::builder(&cx, file).node("mortal").kind::<Mortal>();
    let journal = builder.attempts(attempts).poison(Poison::Park).open().await?;
    OPEN.with_borrow_mut(|open| open.push(journal));
    Ok(())
}

/// Ends a process at once, this one too.
pub(super) fn die(process: Pid) {
    // It may have ended itself.
    let _ = kill_process(process, Signal::KILL);
}
