//! Trees of contexts in one process, over whatever carries their links.
//!
//! A [`Fabric`] opens transports and can make a context deaf and dumb. A [`Mesh`] grows a tree over it, keeps a hand on each transport,
//! so that a context can be cut off as if its process had died, and plays each context's host program: one that is asked to end, or
//! that loses its parent, is shut down.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::Arc,
    time::Duration,
};

use actogen::{
    Context, ContextId, Limits, Phase, Placement,
    names::{ContextNames, Holder},
    transport::{
        Authority, BoxFuture, Connection, DialError, Identity, Incoming, Invitation, Link,
        Transport,
    },
};
use parking_lot::Mutex;

use crate::until::{soon, until};

pub use self::{
    in_memory::Memory,
    over_quic::{Quic, QuicThreads},
    simulated::Simulated,
};

mod in_memory;
mod keys;
mod over_quic;
mod simulated;

/// What a scenario ends with.
pub type Outcome = actogen::Result<()>;

/// What a context is started with.
type Builder = actogen::ContextBuilder;

/// How long a whole scenario may take.
const SCENARIO: Duration = Duration::from_secs(60);

/// Carries links between the contexts of one mesh.
pub trait Fabric: fmt::Debug + Send + Sync + Sized + 'static {
    /// Where contexts run their routers and I/O.
    const PLACEMENT: Placement;

    /// Bytes of the long bodies beside which a scenario asks for other things: those of parity row R8, as far as the fabric carries
    /// them in a few seconds of an unoptimized build.
    const LONG_BODIES: &'static [usize];

    /// Fragments of a long body that may pass while one request goes and its answer comes, at most.
    const FRAGMENTS_PASS: usize;

    /// How many links a scenario makes and breaks to show that nothing of them is left.
    const CHURN: usize;

    /// Carries nothing yet; every fabric is a mesh of its own.
    fn fresh() -> Self;

    /// The mesh's authority, for the root.
    fn authority(&self) -> Arc<dyn Authority>;

    /// Opens a transport for a context, which can be dialled. With `mutable`, [`Self::silence`] works on it; only then, since that
    /// may keep it from working at full speed.
    fn open(
        &self,
        context: ContextId,
        limits: &Limits,
        mutable: bool,
    ) -> BoxFuture<'static, Result<Arc<dyn Transport>, String>>;

    /// Nothing that a context sends or is sent arrives any more, or it does again.
    fn silence(&self, context: ContextId, silent: bool);

    /// Runs a scenario to its end: on one thread, where actors can be started.
    fn run(scenario: impl Future<Output = ()> + 'static) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a test needs a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, scenario);
    }
}

/// Runs a scenario over a fabric, and shuts its contexts down.
///
/// # Panics
/// When it fails, or takes too long.
pub fn run<F: Fabric>(scenario: impl AsyncFnOnce(&Mesh<F>) -> Outcome + 'static) {
    F::run(async move {
        let mesh = Mesh::<F>::new();
        let within = tokio::time::timeout(SCENARIO, scenario(&mesh)).await;
        match within {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("the scenario failed: {error} ({error:?})"),
            Err(_) => panic!("the scenario did not end within {SCENARIO:?}"),
        }
        mesh.close().await;
    });
}

/// The bounds of a scenario's contexts: the defaults, but for the time that they may take to end.
pub fn limits() -> Limits {
    Limits { shutdown_time: Duration::from_millis(500), ..Limits::default() }
}

/// A tree of contexts, and the fabric that carries its links.
#[derive(Debug)]
pub struct Mesh<F> {
    fabric: Arc<F>,
    /// The transport that each context has now.
    taps: Arc<Mutex<BTreeMap<ContextId, Arc<dyn Transport>>>>,
    contexts: RefCell<Vec<Context>>,
    mutable: Cell<bool>,
    dialled: Arc<Dialled>,
}

/// The connection that each context has dialled last to each other.
type Dialled = Mutex<BTreeMap<(ContextId, ContextId), Arc<dyn Connection>>>;

impl<F: Fabric> Mesh<F> {
    fn new() -> Self {
        Self {
            fabric: Arc::new(F::fresh()),
            taps: Arc::default(),
            contexts: RefCell::default(),
            mutable: Cell::new(false),
            dialled: Arc::default(),
        }
    }

    /// The fabric.
    pub fn fabric(&self) -> &F {
        &self.fabric
    }

    /// Contexts that are started from now on can be silenced.
    pub fn may_fall_silent(&self) {
        self.mutable.set(true);
    }

    /// Starts the root.
    ///
    /// # Errors
    /// [`actogen::StartError`].
    pub async fn root(&self) -> actogen::Result<Context> {
        self.root_with(|builder| builder).await
    }

    /// Starts the root with other settings.
    ///
    /// # Errors
    /// [`actogen::StartError`].
    pub async fn root_with(
        &self,
        change: impl FnOnce(Builder) -> Builder,
    ) -> actogen::Result<Context> {
        let builder = self.builder(ContextId::ROOT).authority(self.fabric.authority());
        let root = change(builder).start().await?;
        self.contexts.borrow_mut().push(root.clone());
        Ok(root)
    }

    /// Starts a context below another, and waits until all above it know it.
    ///
    /// # Errors
    /// [`actogen::StartError`].
    pub async fn child(&self, parent: &Context, id: u64) -> actogen::Result<Context> {
        self.child_with(parent, id, |builder| builder).await
    }

    /// As [`Self::child`]; the mesh's authority binds these names to the context first, which it takes from whoever has them if `holder` says so.
    ///
    /// # Errors
    /// [`actogen::StartError`], or what the authority says.
    pub async fn named_child(
        &self,
        parent: &Context,
        id: u64,
        names: &[&str],
        holder: Holder,
    ) -> actogen::Result<Context> {
        let names = ContextNames::new(names.iter().copied())?;
        self.fabric.authority().bind_names(ContextId(id), &names, holder)?;
        self.child(parent, id).await
    }

    /// As [`Self::child`], with other settings.
    ///
    /// # Errors
    /// [`actogen::StartError`].
    pub async fn child_with(
        &self,
        parent: &Context,
        id: u64,
        change: impl FnOnce(Builder) -> Builder,
    ) -> actogen::Result<Context> {
        let child = self.child_unseen(parent, id, change).await?;
        self.known_above(&child).await;
        Ok(child)
    }

    /// As [`Self::child`], and returns as soon as the child has its place.
    ///
    /// # Errors
    /// [`actogen::StartError`].
    pub async fn child_unseen(
        &self,
        parent: &Context,
        id: u64,
        change: impl FnOnce(Builder) -> Builder,
    ) -> actogen::Result<Context> {
        let endpoint = parent.endpoint().ok_or("the parent cannot be dialled")?;
        let builder = self.builder(ContextId(id)).connect_to(endpoint, parent.id());
        let child = change(builder).start().await?;
        self.contexts.borrow_mut().push(child.clone());
        let host = child.clone();
        tokio::task::spawn_local(async move {
            let mut phase = host.phase();
            let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
            host.shutdown().await;
        });
        Ok(child)
    }

    /// Starts a chain of contexts below one another; the first is a child of `parent`.
    ///
    /// # Errors
    /// [`actogen::StartError`].
    pub async fn chain(
        &self,
        parent: &Context,
        ids: impl IntoIterator<Item = u64>,
    ) -> actogen::Result<Vec<Context>> {
        let mut chain = Vec::new();
        for id in ids {
            let parent = chain.last().unwrap_or(parent).clone();
            chain.push(self.child(&parent, id).await?);
        }
        Ok(chain)
    }

    /// The context with this id that was started last.
    pub fn context(&self, id: u64) -> Option<Context> {
        self.contexts.borrow().iter().rev().find(|context| context.id().0 == id).cloned()
    }

    /// Waits until every ancestor of a context knows this life of it.
    pub async fn known_above(&self, context: &Context) {
        let ancestors = context.family().ancestors;
        let above: Vec<Context> = self
            .contexts
            .borrow()
            .iter()
            .filter(|other| ancestors.contains(&other.id()) && other.is_running())
            .cloned()
            .collect();
        until("all above know a context", || {
            above.iter().all(|other| other.place_of(context.id()) == Some(context.place()))
        })
        .await;
    }

    /// The settings of a context of this mesh, without a place in the tree.
    pub fn builder(&self, id: ContextId) -> Builder {
        let (fabric, taps, mutable) = (self.fabric.clone(), self.taps.clone(), self.mutable.get());
        let dialled = self.dialled.clone();
        Context::builder().limits(limits()).placement(F::PLACEMENT).transport(move |limits| {
            let opening = fabric.open(id, &limits, mutable);
            Box::pin(async move {
                let transport = opening.await?;
                taps.lock().insert(id, transport.clone());
                Ok(Tapped(transport, dialled))
            })
        })
    }

    /// Cuts a context off at once, as if its process had died: nobody says goodbye.
    pub async fn kill(&self, context: &Context) {
        let transport = self.taps.lock().get(&context.id()).cloned();
        if let Some(transport) = transport {
            soon("a transport closes", transport.close()).await;
        }
    }

    /// Cuts the connection that one context has dialled last to another.
    pub fn cut_dialled(&self, from: ContextId, to: ContextId) {
        if let Some(connection) = self.dialled.lock().remove(&(from, to)) {
            connection.close("it was cut");
        }
    }

    /// Makes a context deaf and dumb, or lets it be heard again.
    pub fn silence(&self, context: &Context, silent: bool) {
        self.fabric.silence(context.id(), silent);
    }

    /// A transport for a peer that is no context.
    ///
    /// # Errors
    /// When the transport cannot be opened.
    pub async fn transport(&self, id: u64) -> actogen::Result<Arc<dyn Transport>> {
        Ok(self.fabric.open(ContextId(id), &limits(), self.mutable.get()).await?)
    }

    /// Shuts every context down.
    async fn close(&self) {
        let contexts: Vec<Context> = self.contexts.borrow_mut().drain(..).rev().collect();
        for context in contexts {
            soon("a context shuts down", context.shutdown()).await;
        }
    }
}

/// A transport that the mesh keeps a hand on.
#[derive(Debug)]
struct Tapped(Arc<dyn Transport>, Arc<Dialled>);

impl Transport for Tapped {
    fn identity(&self) -> Arc<dyn Identity> {
        self.0.identity()
    }

    fn endpoint(&self) -> Option<String> {
        self.0.endpoint()
    }

    fn invitation(&self) -> Option<Invitation> {
        self.0.invitation()
    }

    fn dial(
        &self,
        endpoint: String,
        expect: Option<ContextId>,
    ) -> BoxFuture<'_, Result<Link, DialError>> {
        Box::pin(async move {
            let link = self.0.dial(endpoint, expect).await?;
            let ends = (self.0.identity().context(), link.peer);
            self.1.lock().insert(ends, link.connection.clone());
            Ok(link)
        })
    }

    fn accept(&self) -> BoxFuture<'_, Option<Incoming>> {
        self.0.accept()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}
