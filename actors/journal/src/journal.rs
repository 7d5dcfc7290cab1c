//! A journal: its builder, and the handle on one that is open.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    path::PathBuf,
    rc::{Rc, Weak},
    time::Duration,
};

use actogen::{Context, DirectoryError, Policy, Remote, StopReason};
use tokio::sync::broadcast;

#[cfg(feature = "postgres")]
use crate::store::{PostgresSettings, PostgresStore};
use crate::{
    actor::{JournaledActor, Kind},
    client::Client,
    engine::{Core, Engine, JournalStats, Recovered, courier::Couriers, recover},
    events::JournalEvent,
    failpoint::FailPoints,
    id::{ActorId, Journaled, NameError, NodeName},
    keeper::Keeper,
    settings::{Poison, Settings},
    store::{FileStore, MemoryStore, Store, StoreError},
    time::Clock,
    writer::Writer,
};

/// Events that a slow listener may be behind; it is told how many it has missed.
const EVENTS: usize = 256;

/// How long until a name that is still another's is claimed again.
const CLAIM_AGAIN: Duration = Duration::from_millis(200);

/// After so many attempts an operator is told.
const CLAIMS_UNTOLD: u32 = 100;

/// Where turns are made durable.
enum Kept {
    File(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(PostgresSettings),
    Store(Box<dyn Store>),
}

/// Settings for a journal; [`Journal::builder`] gives one.
#[must_use = "a builder opens nothing until `open` is called"]
pub struct JournalBuilder {
    context: Context,
    kept: Kept,
    node: Option<String>,
    kinds: HashMap<&'static str, Kind>,
    settings: Settings,
    policy: Policy,
    points: FailPoints,
    is_here: bool,
}

impl fmt::Debug for JournalBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.kinds.keys().collect();
        f.debug_struct("JournalBuilder").field("kinds", &kinds).finish_non_exhaustive()
    }
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl JournalBuilder {
    /// A kind of actors that the journal runs. Messages for kinds that it is not given wait in the store.
    pub fn kind<A: JournaledActor>(mut self) -> Self {
        self.kinds.insert(A::KIND, Kind::of::<A>());
        self
    }

    /// The node's name, by which others find its actors. A new journal without one gets a random name; an old one keeps its own, and
    /// another is an error.
    pub fn node(mut self, name: &str) -> Self {
        self.node = Some(name.to_owned());
        self
    }

    /// Keeps the turns in this store instead of the file.
    pub fn store(mut self, store: impl Store) -> Self {
        self.kept = Kept::Store(Box::new(store));
        self
    }

    /// Writes on the thread of the actors instead of on one of its own. Every commit holds them up; in simulated time nothing else is
    /// repeatable.
    pub fn write_here(mut self) -> Self {
        self.is_here = true;
        self
    }

    /// Who may ask the node's actors, and send to them from other nodes: everybody in the mesh by default.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How often a message may fail, or end the process, before it is given up; at least once. Five by default.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts.max(1);
        self
    }

    /// What is done with a message that is given up.
    pub fn poison(mut self, poison: Poison) -> Self {
        self.settings.poison = poison;
        self
    }

    /// How long after its first failure a message is tried again; doubled each time, up to ten seconds.
    pub fn retry(mut self, pause: Duration) -> Self {
        self.settings.retry = pause;
        self
    }

    /// How long an actor has nothing to do before it leaves the memory. A minute by default.
    pub fn idle(mut self, idle: Duration) -> Self {
        self.settings.idle = idle.max(Duration::from_millis(10));
        self
    }

    /// Keeps the last turns of each actor: time, seed, message and state, for `actogen journal replay`. None by default.
    pub fn history(mut self, turns: u64) -> Self {
        self.settings.history = turns;
        self
    }

    /// Runs each turn twice and fails those that come out different: the debug mode for handlers that must be deterministic.
    pub fn run_twice(mut self, twice: bool) -> Self {
        self.settings.twice = twice;
        self
    }

    /// The most messages that one actor has on their way, and their bytes. One that has more takes no turn until some have arrived.
    pub fn outbox(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.outbox = (messages.max(1), bytes);
        self
    }

    /// The most messages that wait for one actor, and their bytes; what comes beyond is refused, and sent again by whoever keeps it.
    pub fn inbox(mut self, messages: usize, bytes: usize) -> Self {
        self.settings.inbox = (messages.max(1), bytes);
        self
    }

    /// How long the answers of an asker are kept that is not heard of any more. One that comes back later, with a request that was handled, has
    /// it handled again. A day by default.
    pub fn memory(mut self, memory: Duration) -> Self {
        self.settings.memory = memory;
        self
    }

    /// How many published messages an actor that [consumes](Journal::consume) is known to have handled; the oldest are forgotten, and
    /// handled again if they come again. None is older than [`Self::memory`]. 65,536 by default.
    pub fn window(mut self, messages: usize) -> Self {
        self.settings.window = messages.max(1);
        self
    }

    /// How many actors may be in memory before a request or a message from another node that would wake one more is refused, and has to come
    /// again. A hundred thousand by default.
    pub fn awake(mut self, actors: usize) -> Self {
        self.settings.awake = actors.max(1);
        self
    }

    /// Instants at which a test kills the process.
    #[doc(hidden)]
    pub fn fail_points(mut self, points: FailPoints) -> Self {
        self.points = points;
        self
    }

    /// Opens the journal on this thread, and takes up what it was in the middle of.
    ///
    /// # Errors
    /// [`OpenError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub async fn open(self) -> Result<Journal, OpenError> {
        let Self { context, kept, node, kinds, settings, policy, points, is_here } = self;
        let node = node.as_deref().map(NodeName::new).transpose()?;
        let (mark, fresh) = (random_u64()?, NodeName::new(&format!("{:016x}", random_u64()?))?);
        points.pass("open.before");
        let store = match kept {
            Kept::Store(store) => store,
            Kept::File(path) => {
                let points = points.clone();
                opened(is_here, move || FileStore::open_with(&path, points)).await?
            }
            #[cfg(feature = "postgres")]
            Kept::Postgres(settings) => {
                let points = points.clone();
                opened(is_here, move || PostgresStore::open_with(settings, points)).await?
            }
        };
        let (writer, mut said) = match is_here {
            true => Writer::here(store, points.clone()),
            false => Writer::on_a_thread(store, points.clone())?,
        };
        let recovered: Recovered =
            writer.call(move |store| recover(store, node.as_ref(), &fresh, mark)).await?;
        let (events, _) = broadcast::channel(EVENTS);
        let couriers = Couriers::new(context.clone());
        let clock = Clock::start();
        let core = Engine::new(
            &recovered,
            kinds,
            settings,
            points.clone(),
            writer,
            clock,
            couriers,
            events.clone(),
        );
        let hearing = Rc::downgrade(&core);
        if let Some(lease) = core.borrow().writer.lease().cloned() {
            // One that has nothing to write stops as well when another has taken over.
            let hearing = hearing.clone();
            tokio::task::spawn_local(async move {
                let error = lease.lost().await;
                if let Some(core) = hearing.upgrade() {
                    core.borrow_mut().hear(Err(error));
                }
            });
        }
        tokio::task::spawn_local(async move {
            while let Some(word) = said.recv().await {
                let Some(core) = hearing.upgrade() else { return };
                core.borrow_mut().hear(word);
            }
        });
        let node = recovered.node.clone();
        core.borrow_mut().take_up(recovered);
        let keeper = context.start_with(Keeper { core: core.clone() }, policy);
        tokio::task::spawn_local(name(
            context.clone(),
            keeper.clone(),
            node.clone(),
            Rc::downgrade(&core),
        ));
        points.pass("open.after");
        Ok(Journal(Rc::new(Open { context, core, keeper, node, events })))
    }
}

/// Opens a store, which may have to repair it, or to wait for it: on a thread of its own unless all is to be done on this one.
async fn opened<S: Store>(
    is_here: bool,
    open: impl FnOnce() -> Result<S, StoreError> + Send + 'static,
) -> Result<Box<dyn Store>, StoreError> {
    if is_here {
        return Ok(Box::new(open()?));
    }
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(Box::new(opened.map_err(|error| StoreError::Failed(error.to_string()))??))
}

fn random_u64() -> Result<u64, StoreError> {
    getrandom::u64()
        .map_err(|error| StoreError::Failed(format!("the system gives no random numbers: {error}")))
}

/// Gives the keeper the node's name in the mesh, and again when it is lost. A predecessor that was killed has it until it is known to be
/// gone.
async fn name(
    context: Context,
    keeper: Remote<Keeper>,
    node: NodeName,
    core: Weak<RefCell<Engine>>,
) {
    let mut failures = 0;
    let Some(succeeded) = core.upgrade().map(|core| core.borrow().succeeded.clone()) else {
        return;
    };
    while core.upgrade().is_some_and(|core| core.borrow().failed().is_none()) {
        match context.claim(&node.claim(), &keeper).await {
            Ok(mut claim) => {
                failures = 0;
                tokio::select! {
                    // Without another owner it has ended with the keeper, or been cut off from the rest of the mesh: then it is claimed anew.
                    _ = claim.lost() => {}
                    () = succeeded.notified() => {
                        // It is the successor's, now or once there is one. If nobody can be asked it ends with this context.
                        let _ = claim.release().await;
                        return;
                    }
                }
            }
            Err(error) => {
                failures += 1;
                if failures == CLAIMS_UNTOLD
                    && let Some(core) = core.upgrade()
                {
                    let why = error.to_string();
                    core.borrow().say(JournalEvent::NotNamed { node: node.clone(), why });
                }
                if matches!(error, DirectoryError::BadName(_) | DirectoryError::Ended(_)) {
                    return;
                }
            }
        }
        tokio::time::sleep(CLAIM_AGAIN).await;
    }
}

struct Open {
    context: Context,
    core: Core,
    keeper: Remote<Keeper>,
    node: NodeName,
    events: broadcast::Sender<JournalEvent>,
}

/// A journal that is open in this process. A cheap handle that stays on its thread; clones are handles on the same one, which is closed by
/// [`Self::close`], or with its context.
#[derive(Clone)]
pub struct Journal(Rc<Open>);

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("node", &self.0.node).finish_non_exhaustive()
    }
}

impl Journal {
    /// Settings for a journal whose turns are kept in a file.
    pub fn builder(context: &Context, file: impl Into<PathBuf>) -> JournalBuilder {
        JournalBuilder {
            context: context.clone(),
            kept: Kept::File(file.into()),
            node: None,
            kinds: HashMap::new(),
            settings: Settings::default(),
            policy: Policy::Anyone,
            points: FailPoints::default(),
            is_here: false,
        }
    }

    /// Settings for a journal that keeps nothing: the same actors, gone with their process. For trying code.
    pub fn in_memory(context: &Context) -> JournalBuilder {
        Self::builder(context, "").store(MemoryStore::default()).write_here()
    }

    /// Settings for a journal whose turns are kept in a PostgreSQL database, or in one that speaks its protocol. The node has the journal's
    /// name, unless it is given another one.
    ///
    /// Opening it waits for the server, and for a holder that was killed until its lease has run out.
    #[cfg(feature = "postgres")]
    pub fn postgres(context: &Context, settings: PostgresSettings) -> JournalBuilder {
        let mut builder = Self::builder(context, "").node(settings.journal());
        builder.kept = Kept::Postgres(settings);
        builder
    }

    /// The node's name.
    pub fn node(&self) -> &NodeName {
        &self.0.node
    }

    /// The address of one of this node's actors, which begins with its first message.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn actor<A: JournaledActor>(&self, key: &str) -> Result<Journaled<A>, NameError> {
        Ok(Journaled::new(self.0.node.clone(), ActorId::new(A::KIND, key)?))
    }

    /// An asker of this process, for journaled actors here and elsewhere.
    pub fn client(&self) -> Client {
        Client::knowing(&self.0.context, &self.0.node, &self.0.keeper)
    }

    /// What an operator should know, from now on.
    pub fn events(&self) -> broadcast::Receiver<JournalEvent> {
        self.0.events.subscribe()
    }

    /// Counts since the journal was opened.
    pub fn stats(&self) -> JournalStats {
        self.0.core.borrow().stats()
    }

    pub(crate) fn core(&self) -> Weak<RefCell<Engine>> {
        Rc::downgrade(&self.0.core)
    }

    /// Whether its store has failed, or was taken over: nothing is acknowledged any more.
    pub fn has_failed(&self) -> bool {
        self.0.core.borrow().failed().is_some()
    }

    /// Lets the messages that wait behind a poisonous one have their turn again; whether there were some.
    pub fn resume(&self, actor: &ActorId) -> bool {
        self.0.core.borrow_mut().resume(actor)
    }

    /// Closes the journal: what has been asked of the store is done, and the file can be opened again. Whoever waits for an answer gets an
    /// error.
    pub async fn close(self) {
        self.0.context.stop(&self.0.keeper, StopReason::Normal);
        let closing = self.0.core.borrow_mut().close();
        closing.wait().await;
    }
}
