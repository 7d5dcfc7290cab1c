//! Meshes for tests: several contexts in one thread, on a network in memory and a clock that stands still while anybody works, with faults.
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

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt,
    rc::Rc,
    time::Duration,
};

use actix::{Actor, Context as ActixContext, Handler, Message};
use actogen_runtime::{
    Phase, Placement,
    core::{ContextId, DeadReason, Limits},
    dead_letters::DeadLetter,
    memory::MemoryNetwork,
    names::{ContextNames, Holder},
};
use tokio::sync::{Notify, mpsc};

use crate::{
    ContextBuilder,
    actor::{Attach, RemoteActor},
    address::Remote,
    context::Context,
    message::{MessageOf, RemoteMessage, Tag},
    turn::{Envelope, Turn, deliver, unknown},
};

/// How long a probe waits for a message, by the mesh's own clock.
const PATIENCE: Duration = Duration::from_secs(60);

/// A mesh within a test.
pub struct TestMesh {
    network: MemoryNetwork,
    seed: u64,
    limits: Limits,
    started: Cell<u64>,
    contexts: RefCell<Vec<Context>>,
    /// By where it can be dialled, so that it can be cut off.
    endpoints: RefCell<BTreeMap<ContextId, String>>,
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
/// seed, `ACTOGEN_TEST_SEED` or 1, and so repeats.
///
/// # Panics
/// When the test fails.
pub fn run(test: impl AsyncFnOnce(&TestMesh) -> crate::Result<()>) {
    let given = std::env::var("ACTOGEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    run_seeded(given.unwrap_or(1), test);
}

/// As [`run`], with this seed.
///
/// # Panics
/// When the test fails; the seed is printed then.
pub fn run_seeded(seed: u64, test: impl AsyncFnOnce(&TestMesh) -> crate::Result<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("the system gives a runtime");
    let failed = Failed(seed);
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mesh = TestMesh::new(seed);
        let outcome = test(&mesh).await;
        mesh.end().await;
        if let Err(error) = outcome {
            panic!("the test failed: {error}");
        }
    });
    std::mem::forget(failed);
}

/// Says how to run a failed test again.
struct Failed(u64);

impl Drop for Failed {
    fn drop(&mut self) {
        eprintln!("run it again with ACTOGEN_TEST_SEED={}", self.0);
    }
}

impl TestMesh {
    fn new(seed: u64) -> Self {
        let secret = *blake3::hash(&seed.to_le_bytes()).as_bytes();
        Self {
            network: MemoryNetwork::new("mesh.test", secret),
            seed,
            limits: Limits::default(),
            started: Cell::new(0),
            contexts: RefCell::default(),
            endpoints: RefCell::default(),
            letters: Rc::default(),
        }
    }

    /// Starts the root.
    ///
    /// # Panics
    /// When it does not start, such as a second one.
    pub async fn root(&self) -> Context {
        self.start(ContextId::ROOT, |builder| builder.authority(self.network.authority())).await
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
        let bound = self.network.authority().bind_names(id, &names, Holder::Stays);
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
        // Each life has a door of its own.
        let endpoint = format!("{}/{number}", id.0);
        self.endpoints.borrow_mut().insert(id, endpoint.clone());
        let (network, detection) = (self.network.clone(), self.limits.detection_time);
        let seed = [self.seed, number].map(u64::to_le_bytes).concat();
        let builder = Context::builder()
            .limits(self.limits.clone())
            .placement(Placement::Inline)
            .seed(*blake3::hash(&seed).as_bytes())
            .transport(move |_| {
                Box::pin(async move { Ok(network.transport(id, endpoint, detection)) })
            });
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
            self.network.set_cut(a.id(), b.id(), true);
        }
    }

    /// Mends all partitions. Links that were given up meanwhile stay so; whoever has [other parents](ContextBuilder::other_parents)
    /// links anew.
    pub fn heal(&self) {
        self.network.heal();
    }

    /// What two contexts send each other is on its way for this long from now on.
    pub fn delay(&self, a: &Context, b: &Context, delay: Duration) {
        self.network.set_delay(a.id(), b.id(), delay);
    }

    /// Ends a context as if its process had been killed: nobody says goodbye, and its links close.
    pub async fn crash(&self, context: &Context) {
        let endpoint = self.endpoints.borrow().get(&context.id()).cloned();
        if let Some(endpoint) = endpoint {
            self.network.crash(&endpoint);
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
        let (sender, messages) = mpsc::unbounded_channel();
        let actor = ProbeActor { sender, answer: Box::new(answer) };
        Probe { remote: context.start(actor), messages }
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
        self.network.heal();
        let contexts: Vec<_> = self.contexts.borrow_mut().drain(..).rev().collect();
        for context in contexts {
            context.shutdown().await;
        }
    }
}

/// Takes messages of one type, in their order, for a test to look at.
pub struct Probe<M: RemoteMessage> {
    remote: Remote<ProbeActor<M>>,
    messages: mpsc::UnboundedReceiver<M>,
}

impl<M: RemoteMessage> fmt::Debug for Probe<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> Probe<M> {
    /// Where its messages go.
    pub fn remote(&self) -> Remote<ProbeActor<M>> {
        self.remote.clone()
    }

    /// The next message.
    ///
    /// # Panics
    /// When none comes within a minute of the mesh's time.
    pub async fn expect(&mut self) -> M {
        let next = tokio::time::timeout(PATIENCE, self.messages.recv()).await;
        let next = next.unwrap_or_else(|_| panic!("no `{}` has come", M::NAME));
        next.unwrap_or_else(|| panic!("the probe of `{}` has ended", M::NAME))
    }

    /// Sees to it that no message comes for so much of the mesh's time.
    ///
    /// # Panics
    /// When one does.
    pub async fn expect_none(&mut self, time: Duration) {
        if let Ok(Some(_)) = tokio::time::timeout(time, self.messages.recv()).await {
            panic!("a `{}` has come", M::NAME);
        }
    }
}

/// Answers a message.
type Answer<M> = dyn FnMut(&M) -> <M as Message>::Result;

/// The actor behind a [`Probe`].
pub struct ProbeActor<M: RemoteMessage> {
    sender: mpsc::UnboundedSender<M>,
    answer: Box<Answer<M>>,
}

impl<M: RemoteMessage> fmt::Debug for ProbeActor<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeActor").finish_non_exhaustive()
    }
}

impl<M: RemoteMessage> Actor for ProbeActor<M> {
    type Context = ActixContext<Self>;
}

impl<M: RemoteMessage> Handler<M> for ProbeActor<M> {
    type Result = actix::MessageResult<M>;

    fn handle(&mut self, message: M, _: &mut Self::Context) -> Self::Result {
        let answer = (self.answer)(&message);
        // A test that has dropped the probe does not look any more.
        let _ = self.sender.send(message);
        actix::MessageResult(answer)
    }
}

impl<M: RemoteMessage> Handler<Attach<Self>> for ProbeActor<M> {
    type Result = ();

    fn handle(&mut self, message: Attach<Self>, ctx: &mut Self::Context) {
        message.attach(ctx);
    }
}

impl<M: RemoteMessage> RemoteActor for ProbeActor<M> {
    const NAME: &'static str = "actogen.probe";
    const TAGS: &'static [Tag] = &[M::TAG];

    fn dispatch(&mut self, envelope: &mut Envelope<'_>, turn: &mut Turn<'_, Self>) {
        if envelope.tag() == M::TAG {
            deliver::<Self, M>(self, envelope, turn);
        } else {
            unknown(envelope, turn);
        }
    }
}

impl<M: RemoteMessage> MessageOf<ProbeActor<M>> for M {}
