//! Meshes for tests: several contexts in one thread, with faults: on a network in memory and a clock that stands still while anybody works, or
//! over real UDP through relays.
//!
//! ```
//! use actogen::{prelude::*, testing::{self, TestMesh}};
//!
//! #[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
//! #[remote(name = "doc.Note")]
//! struct Note(u32);
//!
//! testing::run(async |mesh: &TestMesh| {
//!     let root = mesh.root().await;
//!     let child = mesh.child(&root).await;
//!     let mut probe = mesh.probe::<Note>(&root);
//!     probe.remote().attach(&child).do_send(Note(7));
//!     assert_eq!(probe.expect().await, Note(7));
//!     Ok(())
//! });
//! ```
//!
//! Frames, routing, checks and limits are those of any other mesh; only what carries the bytes differs. Links are lossless, as those over
//! QUIC: what a network loses there shows as a delay.
//!
//! The same test runs over UDP: with `ACTOGEN_TEST_NETWORK=udp` in its environment, or by [`over`]`(Network::Udp)`. There each context stands
//! behind a [`Relay`], which needs no root. It takes the time it takes.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt,
    rc::Rc,
    time::Duration,
};

use actix::Message;
use actogen_runtime::{
    Phase, Placement,
    core::{ContextId, DeadReason, Limits},
    dead_letters::DeadLetter,
    names::{ContextNames, Holder},
};
use tokio::sync::Notify;

use self::network::{Wires, detection_time};
pub use self::{
    conditions::{Conditions, RelayStats},
    network::Network,
    probe::{Probe, ProbeActor},
};
#[cfg(feature = "quic")]
pub use self::{line::Way, relay::Relay};
use crate::{ContextBuilder, context::Context, message::RemoteMessage};

mod conditions;
#[cfg(feature = "quic")]
mod dice;
#[cfg(feature = "quic")]
mod line;
mod network;
mod probe;
#[cfg(feature = "quic")]
mod relay;
#[cfg(feature = "quic")]
mod udp;

/// How long a test waits for what must come, by the mesh's own clock.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mesh within a test.
pub struct TestMesh {
    wires: Wires,
    seed: u64,
    limits: Limits,
    started: Cell<u64>,
    contexts: RefCell<Vec<Context>>,
    /// Which of the lives that were started here each has.
    lives: RefCell<BTreeMap<ContextId, u64>>,
    letters: Rc<Letters>,
}

/// Dead letters that nobody has asked for yet.
#[derive(Default)]
struct Letters {
    waiting: RefCell<VecDeque<DeadLetter>>,
    came: Notify,
}

impl fmt::Debug for TestMesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestMesh").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// Runs a test over a mesh of its own, then shuts that down. What hangs on chance (handles, choices in groups, waits of supervisors) hangs on a
/// seed, `ACTOGEN_TEST_SEED` or 1, and so repeats. The network is that of `ACTOGEN_TEST_NETWORK`, `memory` or `udp`, or memory.
///
/// # Panics
/// When the test fails.
pub fn run(test: impl AsyncFnOnce(&TestMesh) -> crate::Result<()>) {
    Setting::from_environment().run(test);
}

/// As [`run`], with this seed.
///
/// # Panics
/// When the test fails; the seed is printed then.
pub fn run_seeded(seed: u64, test: impl AsyncFnOnce(&TestMesh) -> crate::Result<()>) {
    Setting::from_environment().seed(seed).run(test);
}

/// What a test's mesh is to be like, on this network whatever the environment says.
///
/// ```
/// use actogen::testing::{self, Network, TestMesh};
///
/// async fn a_child_is_known(mesh: &TestMesh) -> actogen::Result<()> {
///     let root = mesh.root().await;
///     let child = mesh.child(&root).await;
///     assert_eq!(root.place_of(child.id()), Some(child.place()));
///     Ok(())
/// }
///
/// for network in [Network::Memory, Network::Udp] {
///     testing::over(network).seed(7).run(a_child_is_known);
/// }
/// ```
pub fn over(network: Network) -> Setting {
    Setting { network, ..Setting::from_environment() }
}

/// What a test's mesh is to be like; made by [`over`].
#[derive(Clone, Debug)]
#[must_use = "it runs nothing by itself"]
pub struct Setting {
    network: Network,
    seed: u64,
    limits: Option<Limits>,
}

impl Setting {
    fn from_environment() -> Self {
        let seed = std::env::var("ACTOGEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let network = match std::env::var("ACTOGEN_TEST_NETWORK").as_deref() {
            #[cfg(feature = "quic")]
            Ok("udp") => Network::Udp,
            Err(_) | Ok("memory" | "") => Network::Memory,
            Ok(other) => panic!("ACTOGEN_TEST_NETWORK is `{other}`: it must be `memory` or `udp`"),
        };
        Self { network, seed: seed.unwrap_or(1), limits: None }
    }

    /// What hangs on chance hangs on this.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The bounds of all contexts, among them the time after which a silent peer is lost: 10 s in memory and 2 s over UDP unless this says
    /// otherwise.
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Runs a test over a mesh of its own, then shuts that down.
    ///
    /// # Panics
    /// When the test fails; the seed is printed then.
    pub fn run(self, test: impl AsyncFnOnce(&TestMesh) -> crate::Result<()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(self.network == Network::Memory)
            .build()
            .expect("the system gives a runtime");
        let failed = Failed(self.seed);
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let mesh = TestMesh::new(self);
            let outcome = test(&mesh).await;
            mesh.end().await;
            if let Err(error) = outcome {
                panic!("the test failed: {error}");
            }
        });
        std::mem::forget(failed);
    }
}

/// Says how to run a failed test again.
struct Failed(u64);

impl Drop for Failed {
    fn drop(&mut self) {
        eprintln!("run it again with ACTOGEN_TEST_SEED={}", self.0);
    }
}

impl TestMesh {
    fn new(Setting { network, seed, limits }: Setting) -> Self {
        let limits = limits.unwrap_or_else(|| Limits {
            detection_time: detection_time(network),
            ..Limits::default()
        });
        Self {
            wires: Wires::new(network, seed),
            seed,
            limits,
            started: Cell::new(0),
            contexts: RefCell::default(),
            lives: RefCell::default(),
            letters: Rc::default(),
        }
    }

    /// The time after which a silent peer is lost.
    pub fn detection_time(&self) -> Duration {
        self.limits.detection_time
    }

    /// Starts the root.
    ///
    /// # Panics
    /// When it does not start, such as a second one.
    pub async fn root(&self) -> Context {
        self.start(ContextId::ROOT, |builder| builder.authority(self.wires.authority())).await
    }

    /// Starts a context below another; it ends when its parent is lost.
    ///
    /// # Panics
    /// When it does not start, such as below one that is cut off.
    pub async fn child(&self, parent: &Context) -> Context {
        self.child_with(parent, |builder| builder).await
    }

    /// As [`Self::child`], with other settings.
    ///
    /// # Panics
    /// As [`Self::child`].
    pub async fn child_with(
        &self,
        parent: &Context,
        change: impl FnOnce(ContextBuilder) -> ContextBuilder,
    ) -> Context {
        self.start_below(parent, self.next_id(), change).await
    }

    /// Starts a context anew that has crashed: the same id, another life.
    ///
    /// # Panics
    /// As [`Self::child`].
    pub async fn restart(&self, crashed: &Context, parent: &Context) -> Context {
        self.start_below(parent, crashed.id(), |builder| builder).await
    }

    /// Starts a context below another; the mesh's authority has bound these names to it.
    ///
    /// # Panics
    /// As [`Self::child`], and when a name is none, or another context's.
    pub async fn named_child(&self, parent: &Context, names: &[&str]) -> Context {
        let id = self.next_id();
        let names = ContextNames::new(names.iter().copied());
        let names = names.unwrap_or_else(|error| panic!("{error}"));
        let bound = self.wires.authority().bind_names(id, &names, Holder::Stays);
        bound.unwrap_or_else(|error| panic!("{id} does not get its names: {error}"));
        self.start_below(parent, id, |builder| builder).await
    }

    fn next_id(&self) -> ContextId {
        ContextId(self.contexts.borrow().iter().map(|cx| cx.id().0 + 1).max().unwrap_or(1))
    }

    async fn start_below(
        &self,
        parent: &Context,
        id: ContextId,
        change: impl FnOnce(ContextBuilder) -> ContextBuilder,
    ) -> Context {
        let endpoint = parent.endpoint().expect("every context of a test mesh can be dialled");
        self.start(id, |builder| change(builder.connect(endpoint))).await
    }

    async fn start(
        &self,
        id: ContextId,
        change: impl FnOnce(ContextBuilder) -> ContextBuilder,
    ) -> Context {
        let number = self.started.replace(self.started.get() + 1);
        self.lives.borrow_mut().insert(id, number);
        let seed = [self.seed, number].map(u64::to_le_bytes).concat();
        let builder = Context::builder()
            .limits(self.limits.clone())
            .placement(Placement::Inline)
            .seed(*blake3::hash(&seed).as_bytes());
        let builder = self.wires.carry(builder, id, number, &self.limits);
        let context = change(builder).start().await;
        let context = context.unwrap_or_else(|error| panic!("{id} does not start: {error}"));
        self.contexts.borrow_mut().push(context.clone());
        self.host(&context);
        context
    }

    /// What a program does with its context: ends it when it is asked to, and here, gathers its dead letters.
    fn host(&self, context: &Context) {
        let host = context.clone();
        tokio::task::spawn_local(async move {
            let mut phase = host.phase();
            let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
            host.shutdown().await;
        });
        let (mut dead, letters) = (context.dead_letters(), self.letters.clone());
        tokio::task::spawn_local(async move {
            while let Some(letter) = dead.next().await {
                if let Ok(letter) = letter {
                    letters.waiting.borrow_mut().push_back(letter);
                    letters.came.notify_one();
                }
            }
        });
    }

    /// Cuts two sides off from each other: nothing passes between any of these and any of those, and both find out after the detection time.
    pub fn partition(&self, these: &[&Context], those: &[&Context]) {
        for (a, b) in these.iter().flat_map(|a| those.iter().map(move |b| (a, b))) {
            self.deafen(a, b);
            self.deafen(b, a);
        }
    }

    /// Cuts one way off: nothing passes from the first to the second, though the first hears the second. Their link is lost to the one after
    /// the detection time, and to the other after another at most.
    pub fn deafen(&self, from: &Context, to: &Context) {
        self.wires.set_cut(from.id(), to.id(), true);
    }

    /// Mends all that was cut. Links that were given up meanwhile stay so; whoever has [other parents](ContextBuilder::other_parents)
    /// links anew.
    pub fn heal(&self) {
        self.wires.heal();
    }

    /// What two contexts send each other is on its way for this long from now on.
    pub fn delay(&self, a: &Context, b: &Context, delay: Duration) {
        self.disturb(a, b, Conditions { delay, ..Conditions::GOOD });
    }

    /// What two contexts send each other goes under these conditions from now on. In memory, where links lose nothing, the worst of it shows as a
    /// delay: once delay and jitter, and twice where datagrams would be lost or held back.
    pub fn disturb(&self, a: &Context, b: &Context, conditions: Conditions) {
        self.wires.set(a.id(), b.id(), conditions);
    }

    /// What became of datagrams in all relays; nothing in memory, where there are none.
    pub fn relay_stats(&self) -> RelayStats {
        self.wires.stats()
    }

    /// Ends a context as if its process had been killed: nobody says goodbye, and its links close.
    pub async fn crash(&self, context: &Context) {
        let life = self.lives.borrow().get(&context.id()).copied();
        if let Some(life) = life {
            self.wires.crash(context.id(), life).await;
        }
        context.request_end("it has crashed", Duration::ZERO);
        let mut phase = context.phase();
        let _ = phase.wait_for(|phase| *phase == Phase::Down).await;
    }

    /// An actor in this context that takes messages of one type for the test to look at.
    pub fn probe<M: RemoteMessage + Message<Result = ()>>(&self, context: &Context) -> Probe<M> {
        self.probe_with(context, |_| ())
    }

    /// As [`Self::probe`], for requests, which it answers so.
    pub fn probe_with<M: RemoteMessage>(
        &self,
        context: &Context,
        answer: impl FnMut(&M) -> M::Result + 'static,
    ) -> Probe<M> {
        Probe::new(context, answer)
    }

    /// The dead letters of all contexts that nobody has asked for yet, as far as they have come.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.letters.waiting.borrow_mut().drain(..).collect()
    }

    /// Waits for a dead letter with this reason; others that come before are taken too.
    ///
    /// # Panics
    /// When none comes within a minute of the mesh's time.
    pub async fn expect_dead_letter(&self, reason: DeadReason) -> DeadLetter {
        let come = async {
            loop {
                let next = self.letters.waiting.borrow_mut().pop_front();
                match next {
                    Some(letter) if letter.dead.reason == reason => return letter,
                    Some(_) => {}
                    None => self.letters.came.notified().await,
                }
            }
        };
        let come = tokio::time::timeout(PATIENCE, come).await;
        come.unwrap_or_else(|_| panic!("no dead letter is {reason:?}"))
    }

    /// Lets so much of the mesh's time pass, for what must not happen. What must is waited for.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn end(&self) {
        self.wires.heal();
        let contexts: Vec<_> = self.contexts.borrow_mut().drain(..).rev().collect();
        for context in contexts {
            context.shutdown().await;
        }
    }
}
