//! Starting a context: its settings, where its broker runs, and its place in the tree.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
    time::Duration,
};

use actix::Actor;
use actogen_core::{
    ContextId, Incarnation, Limits,
    allocate::{Allocator, Reservation},
    id::HandleMint,
    limits::LimitsError,
    pending::PendingTable,
    policy::{Family, Policy},
    wire::control::{ONE_WAY, Welcome},
};
use parking_lot::{Mutex, RwLock};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use crate::{
    broker,
    builtin::{self, Place},
    context::{Context, Phase, RootAuthority, Shared},
    counters::Counters,
    dead_letters, events,
    join::{self, ParentChoice},
    mailbox::Mailboxes,
    opening::Opened,
    router::Router,
    routes::Routes,
    transport::{Authority, BoxFuture, DialError, Transport},
};

/// Where the I/O tasks and the Router run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// On a thread of their own: a handler that blocks stops neither keep-alives nor routing (protocol rule 34).
    #[default]
    Thread,
    /// On the thread that starts the context, beside its actors: the lowest latency, where no handler blocks for longer than a
    /// third of the detection time. That thread must run a `LocalSet` or an actix `System`.
    Inline,
}

/// Makes the transport, on the broker's runtime.
pub type TransportFactory =
    Box<dyn FnOnce(Limits) -> BoxFuture<'static, Result<Arc<dyn Transport>, String>> + Send>;

/// Settings for a context. Made by [`Context::builder`].
#[must_use = "a builder does nothing until it starts"]
pub struct Builder {
    limits: Limits,
    placement: Placement,
    transport: Option<TransportFactory>,
    authority: Option<Arc<dyn Authority>>,
    parent: ParentChoice,
    incarnation: Option<Incarnation>,
    seed: Option<[u8; 32]>,
    ends_with_parent: bool,
    one_way: bool,
    direct_links: Policy,
    other_parents: Vec<String>,
    prepare: Vec<Prepare>,
    logs: Arc<crate::logs::Logs>,
    log_filter: Option<String>,
}

/// Readies a context before anybody can reach it.
type Prepare = Box<dyn FnOnce(&Context) + Send>;

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("placement", &self.placement)
            .field("parent", &self.parent)
            .field("ends_with_parent", &self.ends_with_parent)
            .finish_non_exhaustive()
    }
}

/// Why a context could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A limit is too small.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// No transport was given.
    #[error("a context needs a transport: give the builder one")]
    NoTransport,
    /// The transport did not start.
    #[error("the transport did not start: {0}")]
    Transport(String),
    /// The identity is the root's, and no authority was given, or the other way round.
    #[error(
        "the root (id 0) needs the mesh's authority, and nobody else may have it; this identity is of {0}"
    )]
    Authority(ContextId),
    /// A context other than the root was given no parent.
    #[error("{0} is not the root, so it needs a parent to connect to")]
    NoParent(ContextId),
    /// The root was given a parent.
    #[error("the root has no parent: do not connect it")]
    RootWithParent,
    /// The authority could not make the new term durable.
    #[error("the authority could not store its term and ids: {0}")]
    Store(String),
    /// The parent could not be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No parent dialled in time.
    #[error("no parent dialled this context within {0:?}")]
    NoParentCame(Duration),
    /// The parent did not take this context as a child.
    #[error("the parent at {endpoint} did not take this context: {why}")]
    Join {
        /// What was dialled.
        endpoint: String,
        /// Why not.
        why: String,
    },
    /// The system gave no randomness or no thread.
    #[error("the system did not provide {what}: {why}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What the system says.
        why: String,
    },
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            limits: Limits::default(),
            placement: Placement::default(),
            transport: None,
            authority: None,
            parent: ParentChoice::default(),
            incarnation: None,
            seed: None,
            ends_with_parent: true,
            one_way: false,
            direct_links: Policy::Anyone,
            other_parents: Vec::new(),
            prepare: Vec::new(),
            logs: Arc::default(),
            log_filter: None,
        }
    }

    /// The bounds to work within.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The bounds as they are set so far.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// Where the I/O tasks and the Router run.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How to make the transport; called on the broker's runtime.
    pub fn transport<F, T>(mut self, make: F) -> Self
    where
        F: FnOnce(Limits) -> BoxFuture<'static, Result<T, String>> + Send + 'static,
        T: Transport,
    {
        self.transport = Some(Box::new(move |limits| {
            let making = make(limits);
            Box::pin(async move {
                making.await.map(|transport| Arc::new(transport) as Arc<dyn Transport>)
            })
        }));
        self
    }

    /// The mesh's authority: for the root.
    pub fn authority(mut self, authority: Arc<dyn Authority>) -> Self {
        self.authority = Some(authority);
        self
    }

    /// Attaches to a parent at this endpoint when it starts. `expect` names the parent, if it is known.
    pub fn connect(mut self, endpoint: impl Into<String>, expect: Option<ContextId>) -> Self {
        self.parent.dial = Some((endpoint.into(), expect));
        self
    }

    /// Waits at most this long for the root to dial this context and be its parent ([`Context::adopt`]); beside
    /// [`Self::connect`], whichever comes first.
    pub fn await_parent(mut self, within: Duration) -> Self {
        self.parent.wait = Some(within);
        self
    }

    /// The life that the root has given already, at enrolment.
    pub fn incarnation(mut self, incarnation: Incarnation) -> Self {
        self.incarnation = Some(incarnation);
        self
    }

    /// The seed of all handles, for simulations that must repeat. Without one it comes from the system.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether the context ends when it loses its parent; it does unless this says no.
    pub fn ends_with_parent(mut self, ends: bool) -> Self {
        self.ends_with_parent = ends;
        self
    }

    /// Refuses messages that one child, or a context below it, sends to another child or below that: here and in the whole subtree, as
    /// children take the mode from their parent. What goes up, what comes from above and all answers pass. Off unless set.
    pub fn one_way(mut self, one_way: bool) -> Self {
        self.one_way = one_way;
        self
    }

    /// Who may be given a ticket to a direct link ([`Context::connect`]) by this context, and through it: each context on the way from
    /// the asker to the one that is asked applies its own. Anyone unless set.
    pub fn direct_links(mut self, policy: Policy) -> Self {
        self.direct_links = policy;
        self
    }

    /// Endpoints of contexts below which this one goes on when it loses its parent; it ends when none of them takes it within the
    /// detection time.
    pub fn other_parents(mut self, endpoints: impl IntoIterator<Item = String>) -> Self {
        self.other_parents = endpoints.into_iter().collect();
        self
    }

    /// Where what the context has to say is gathered, for a program that has something to say before it has a context.
    pub fn logs(mut self, logs: Arc<crate::logs::Logs>) -> Self {
        self.logs = logs;
        self
    }

    /// Which events of the programs below this context come to the root, as `RUST_LOG` says it; warnings and errors unless set.
    pub fn log_filter(mut self, filter: impl Into<String>) -> Self {
        self.log_filter = Some(filter.into());
        self
    }

    /// Does something with the context before it takes its place, when nobody can reach it yet: binding mailboxes that others
    /// count on. Runs where the broker does.
    pub fn prepare(mut self, prepare: impl FnOnce(&Context) + Send + 'static) -> Self {
        self.prepare.push(Box::new(prepare));
        self
    }

    /// Starts the context, and returns when it has its place in the tree.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self) -> Result<Context, StartError> {
        self.limits.check()?;
        match self.placement {
            Placement::Inline => boot(self).await,
            Placement::Thread => {
                let (started, outcome) = oneshot::channel();
                std::thread::Builder::new()
                    .name("actogen-broker".into())
                    .spawn(move || own_thread(self, started))
                    .map_err(|error| StartError::System {
                        what: "a thread",
                        why: error.to_string(),
                    })?;
                outcome.await.unwrap_or_else(|_| {
                    Err(StartError::System {
                        what: "a runtime",
                        why: "the broker's thread ended".into(),
                    })
                })
            }
        }
    }
}

/// The broker's thread: lives until its context is down.
fn own_thread(builder: Builder, started: oneshot::Sender<Result<Context, StartError>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = StartError::System { what: "a runtime", why: error.to_string() };
            return drop(started.send(Err(error)));
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let context = match boot(builder).await {
            Ok(context) => context,
            Err(error) => return drop(started.send(Err(error))),
        };
        let mut phase = context.phase();
        let _ = started.send(Ok(context));
        let _ = phase.wait_for(|phase| *phase == Phase::Down).await;
        // What the last tasks have to say, such as a link's close, still goes out.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
    });
}

/// What a context is before it can be shared: everything but its place.
async fn boot(builder: Builder) -> Result<Context, StartError> {
    let Builder {
        mut limits,
        transport,
        authority,
        parent,
        incarnation,
        seed,
        ends_with_parent,
        one_way,
        direct_links,
        other_parents,
        prepare,
        logs,
        log_filter,
        ..
    } = builder;
    let make = transport.ok_or(StartError::NoTransport)?;
    let seed = match seed {
        Some(seed) => seed,
        None => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).map_err(|error| StartError::System {
                what: "randomness",
                why: error.to_string(),
            })?;
            seed
        }
    };
    let transport = make(limits.clone()).await.map_err(StartError::Transport)?;
    let me = transport.identity().context();
    if me.is_root() != authority.is_some() {
        return Err(StartError::Authority(me));
    }
    let (incarnation, root, place) = match authority {
        Some(_) if !parent.is_none() => return Err(StartError::RootWithParent),
        None if parent.is_none() => return Err(StartError::NoParent(me)),
        Some(authority) => {
            let (incarnation, root) = become_root(authority)?;
            (incarnation, Some(root), None)
        }
        None => {
            let (opened, welcome) =
                join::find_parent(&transport, &limits, me, incarnation, &parent).await?;
            limits.max_message = Context::inherit(&limits, welcome.max_message);
            (welcome.yours, None, Some((opened, welcome)))
        }
    };
    let context = assemble(
        limits,
        transport,
        me,
        incarnation,
        root,
        seed,
        crate::detach::Orphanage::new(ends_with_parent, other_parents),
        (one_way, direct_links, place.as_ref()),
        (logs, log_filter),
    );
    let router = Router::new(context.clone(), context.0.transport.identity()).start();
    // Nobody else has this context yet, so nobody else has set its router.
    let _ = context.0.router.set(router);
    builtin::bind_all(&context);
    for prepare in prepare {
        prepare(&context);
    }
    if let Some((opened, _)) = place {
        let parent = Place { context: opened.peer, incarnation: opened.incarnation };
        broker::attach(&context, opened).await;
        // The answer comes behind the parent's reading of this context's announcement: from now on the parent knows the way back.
        let known =
            tokio::time::timeout(context.limits().handshake_time, context.ping(parent)).await;
        let why = match known {
            Ok(Ok(_)) => None,
            Ok(Err(dead)) => Some(dead.to_string()),
            Err(_) => Some(format!("{} did not answer", parent.context)),
        };
        if let Some(why) = why {
            context.shutdown().await;
            return Err(StartError::Join { endpoint: parent.context.to_string(), why });
        }
    }
    context.spawn(broker::accept(context.clone()));
    context.spawn(crate::renewal::keep_renewed(context.clone()));
    context.spawn(crate::revocation::keep_revoking(context.clone()));
    Ok(context)
}

fn become_root(authority: Arc<dyn Authority>) -> Result<(Incarnation, RootAuthority), StartError> {
    let (term, ids_below) = authority.reserved();
    let mut allocator = Allocator::resume(Reservation { term, ids_below });
    if let Some(due) = allocator.due(ids_below) {
        // The term is durable with the first block: no later life of the root takes it again.
        authority
            .reserve(due.term, due.ids_below)
            .map_err(|error| StartError::Store(error.to_string()))?;
        allocator.reserved(due);
    }
    Ok((allocator.admit(), RootAuthority { allocator, authority }))
}

#[expect(
    clippy::too_many_arguments,
    reason = "called once, with everything that a context is made of"
)]
fn assemble(
    limits: Limits,
    transport: Arc<dyn Transport>,
    me: ContextId,
    incarnation: Incarnation,
    root: Option<RootAuthority>,
    seed: [u8; 32],
    orphanage: crate::detach::Orphanage,
    (starts_one_way, direct_links, place): (bool, Policy, Option<&(Opened, Welcome)>),
    (logs, log_filter): (Arc<crate::logs::Logs>, Option<String>),
) -> Context {
    let mut ancestors = Vec::new();
    let mut one_way = starts_one_way;
    if let Some((opened, welcome)) = place {
        one_way |= welcome.capabilities & ONE_WAY != 0;
        ancestors.push(opened.peer);
        ancestors.extend_from_slice(&welcome.ancestors);
    }
    // Two mints over different seeds: what one hands out says nothing about the other.
    let seed_of = |what: &str| *blake3::keyed_hash(&seed, what.as_bytes()).as_bytes();
    Context(Arc::new(Shared {
        me,
        incarnation,
        mesh: transport.identity().mesh().to_owned(),
        max_message: AtomicUsize::new(limits.max_message),
        family: RwLock::new(Family { me, ancestors }),
        routes: Routes::new(me, incarnation, limits.route_tombstones),
        mailboxes: Mailboxes::new(limits.mailbox_tombstones, limits.watches),
        pending: Mutex::new(PendingTable::new(
            HandleMint::new(seed_of("pending")),
            limits.pending_calls,
        )),
        mint: Mutex::new(HandleMint::new(seed_of("mailboxes"))),
        epoch: AtomicU64::new(0),
        counters: Counters::default(),
        dead_letters: dead_letters::Stream::new(),
        events: events::Stream::new(),
        router: OnceLock::new(),
        broker: tokio::runtime::Handle::current(),
        started: Instant::now(),
        phase: watch::Sender::new(Phase::Running),
        transport,
        root: root.map(Mutex::new),
        launches: crate::launch::Launches::default(),
        logs,
        log_filter,
        links: Mutex::new(BTreeMap::new()),
        next_link: AtomicU64::new(1),
        orphanage,
        handshakes: AtomicUsize::new(0),
        paused: crate::flow::Paused::new(limits.pending_calls),
        relay: crate::congestion::Relay::new(&limits),
        cancelled: crate::cancel::Cancelled::default(),
        deadlines: crate::deadlines::Deadlines::new(limits.request_time),
        direct: crate::direct::Direct::new(me, &limits, direct_links),
        starts_one_way,
        one_way: AtomicBool::new(one_way),
        dialling: Mutex::default(),
        limits,
    }))
}
