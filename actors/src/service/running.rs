//! The services of one context: which run, which start, and how their methods are run.

use std::{any::Any, cell::RefCell, collections::HashMap, rc::Rc};

use actogen_runtime::core::policy::Origin;
use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Shared, WeakShared},
};
use tokio::sync::Mutex;

use super::{Mode, RegisteredMethod, RegisteredService, Serving};
use crate::{
    blob::Blob,
    context::Context,
    function::{Failure, Run, Table},
};

/// Runs of one method with equal arguments that are shared at the same time; beyond it calls run by themselves.
const MOST_SHARED: usize = 1024;

type Outcome<T> = Result<T, Failure>;
type Sharing<T> = Shared<LocalBoxFuture<'static, Outcome<T>>>;
type MaybeShared<T> = WeakShared<LocalBoxFuture<'static, Outcome<T>>>;

/// How far a service has come.
enum Slot {
    Starting(Sharing<Rc<Instance>>),
    Running(Rc<Instance>),
}

/// A service that runs.
struct Instance {
    service: Rc<dyn Any>,
    /// Held by the serialized method that runs; those that wait get it in the order of their calls.
    turn: Mutex<()>,
    /// The deduplicated calls that run, by method and arguments.
    shared: RefCell<HashMap<(u64, Bytes), MaybeShared<Blob>>>,
}

/// The services of one context.
#[derive(Clone)]
pub(super) struct Services(Rc<Inner>);

struct Inner {
    context: Context,
    /// By name; nothing for one that two services have.
    known: HashMap<&'static str, Option<&'static RegisteredService>>,
    /// By tag; nothing for one that two methods have.
    methods: HashMap<u64, Option<&'static RegisteredMethod>>,
    slots: RefCell<HashMap<&'static str, Slot>>,
}

impl Services {
    pub(super) fn of(context: &Context) -> Self {
        let (mut known, mut methods) = (HashMap::new(), HashMap::new());
        for service in inventory::iter::<RegisteredService> {
            let slot = known.entry(service.name).and_modify(|service| *service = None);
            slot.or_insert(Some(service));
        }
        for method in inventory::iter::<RegisteredMethod> {
            let slot = methods.entry(method.tag.get()).and_modify(|method| *method = None);
            slot.or_insert(Some(method));
        }
        let (context, slots) = (context.clone(), RefCell::default());
        Self(Rc::new(Inner { context, known, methods, slots }))
    }

    /// A service that runs, or starts by now.
    fn slot(&self, name: &str) -> Option<Outcome<Sharing<Rc<Instance>>>> {
        Some(Ok(match self.0.slots.borrow().get(name)? {
            Slot::Starting(starting) => starting.clone(),
            Slot::Running(instance) => {
                std::future::ready(Ok(instance.clone())).boxed_local().shared()
            }
        }))
    }

    /// Starts a service, once: whoever asks meanwhile waits for the same. One that fails is started anew when it is asked for again.
    pub(super) fn start(&self, name: &str) -> LocalBoxFuture<'static, Outcome<()>> {
        match self.begin(name) {
            Ok(starting) => starting.map(|started| started.map(drop)).boxed_local(),
            Err(failure) => std::future::ready(Err(failure)).boxed_local(),
        }
    }

    fn begin(&self, name: &str) -> Outcome<Sharing<Rc<Instance>>> {
        if let Some(slot) = self.slot(name) {
            return slot;
        }
        let known = self.0.known.get(name).ok_or_else(|| Failure::UnknownMethod(self.names()))?;
        let service = known.ok_or(Failure::Ambiguous)?;
        let (starting, services) = ((service.start)(self.0.context.clone()), self.clone());
        let starting = async move {
            let started = starting.await.map(|service| {
                Rc::new(Instance { service, turn: Mutex::new(()), shared: RefCell::default() })
            });
            let mut slots = services.0.slots.borrow_mut();
            match &started {
                Ok(instance) => slots.insert(service.name, Slot::Running(instance.clone())),
                Err(failure) => {
                    tracing::warn!(service = service.name, "{failure}");
                    slots.remove(service.name)
                }
            };
            started
        };
        let starting = starting.boxed_local().shared();
        self.0.slots.borrow_mut().insert(service.name, Slot::Starting(starting.clone()));
        // A caller that gives its call up does not end the start for the others.
        tokio::task::spawn_local(starting.clone().map(drop));
        Ok(starting)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.known.keys().map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    }

    /// The service that a call needs, if its caller may have it.
    fn admit(&self, method: &RegisteredMethod, origin: &Origin) -> Outcome<Sharing<Rc<Instance>>> {
        let family = self.0.context.family();
        let refused = |refusal: &dyn std::fmt::Display| Failure::Refused(refusal.to_string());
        (method.policy)().check(origin, &family).map_err(|refusal| refused(&refusal))?;
        if let Some(slot) = self.slot(method.service) {
            return slot;
        }
        if let Some(Some(service)) = self.0.known.get(method.service) {
            (service.start_policy)().check(origin, &family).map_err(|refusal| {
                Failure::Refused(format!(
                    "the service `{}` does not run, and who may start it is another question: {refusal}",
                    service.name
                ))
            })?;
        }
        self.begin(method.service)
    }
}

impl Instance {
    /// Runs a call as its method's mode says.
    async fn run(
        self: Rc<Self>,
        method: &'static RegisteredMethod,
        context: Context,
        origin: Origin,
        arguments: Bytes,
    ) -> Outcome<Blob> {
        let instance = self.clone();
        let run = {
            let arguments = arguments.clone();
            async move {
                let serving = Serving { service: instance.service.clone(), context, origin };
                match (method.run)(serving, &arguments) {
                    Run::Now(outcome) => outcome,
                    Run::Later(future) => future.await,
                }
            }
        };
        match method.mode {
            Mode::Concurrent => run.await,
            Mode::Serialized => {
                let _turn = self.turn.lock().await;
                run.await
            }
            Mode::Deduplicated => match self.share((method.tag.get(), arguments), run) {
                Ok(shared) => shared.await,
                Err(run) => run.await,
            },
        }
    }

    /// The run of equal calls, or this one for those to come; handed back when too many are shared.
    fn share<F>(&self, key: (u64, Bytes), run: F) -> Result<Sharing<Blob>, F>
    where
        F: Future<Output = Outcome<Blob>> + 'static,
    {
        let mut all = self.shared.borrow_mut();
        if let Some(running) = all.get(&key).and_then(WeakShared::upgrade)
            && running.peek().is_none()
        {
            return Ok(running);
        }
        all.retain(|_, running| running.upgrade().is_some_and(|run| run.peek().is_none()));
        if all.len() >= MOST_SHARED {
            return Err(run);
        }
        let shared = run.boxed_local().shared();
        all.extend(shared.downgrade().map(|weak| (key, weak)));
        Ok(shared)
    }
}

impl Table for Services {
    fn begin(&self, context: &Context, origin: &Origin, tag: u64, arguments: &Bytes) -> Run<Blob> {
        let method = match self.0.methods.get(&tag) {
            Some(Some(method)) => *method,
            Some(None) => return Run::Now(Err(Failure::Ambiguous)),
            None => return Run::Now(Err(Failure::UnknownMethod(self.names()))),
        };
        let starting = match self.admit(method, origin) {
            Ok(starting) => starting,
            Err(failure) => return Run::Now(Err(failure)),
        };
        let (context, origin, arguments) = (context.clone(), *origin, arguments.clone());
        Run::Later(Box::pin(async move {
            let instance = starting.await?;
            instance.run(method, context, origin, arguments).await
        }))
    }
}
