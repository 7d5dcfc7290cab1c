//! The actor that every context has under CALL_FUNCTION, and another under CALL_SERVICE: it runs what is called, keeps chains in order, and ends what is given up.

use std::{
    cell::RefCell,
    collections::{BTreeMap, btree_map::Entry},
    rc::Rc,
    sync::{Arc, OnceLock},
};

use actix::{Context as ActixContext, Handler, ResponseActFuture, WrapFuture, fut::ActorFutureExt};
use actogen_runtime::{
    Phase,
    core::{
        ContextId, Handle,
        policy::{Origin, Policy},
    },
    events::ContextEvent,
    mailbox::{Mailbox, StopReason},
};
use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable};
use serde::{Deserialize, Serialize};

use super::{
    Later, Run,
    failure::Failure,
    row::{Row, Turn},
};
use crate::{
    Inbound, RemoteActor, RemoteMessage, blob::Blob, context::Context, intake::Intake,
    respond::Given,
};

/// Chains that one caller may have in a context.
const MAX_CHAINS: usize = 4096;

/// What a call comes to, encoded.
pub(super) type Outcome = Result<Blob, Failure>;

/// Where a call stands in a chain of its caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(super) chain: u64,
    /// The first call of a chain has the number 0.
    pub(super) number: u64,
}

/// Calls a function.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Invoke", reply = "Result<Blob, Failure>", crate = crate)]
pub(crate) struct Invoke {
    /// The function's tag.
    pub(super) function: u64,
    /// Its name, for the log where nobody waits.
    pub(super) name: String,
    /// What its caller gives it up by: the handle for the answer. 0 where nobody waits.
    pub(super) call: u64,
    pub(super) link: Option<Link>,
    pub(super) arguments: Bytes,
}

/// Gives a call up.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.GiveUp", crate = crate)]
pub(crate) struct GiveUp {
    pub(super) call: u64,
    pub(super) link: Option<Link>,
}

/// Forgets a chain: its caller makes no more calls on it.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Unchain", crate = crate)]
pub(crate) struct Unchain(pub(super) u64);

/// Asks what is held.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.CallsHeld", reply = "CallsHeld", crate = crate)]
pub(crate) struct Count;

/// What a context holds for those who call its functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallsHeld {
    /// Asynchronous functions that run, or wait for those before them in their chain.
    pub calls: usize,
    /// Chains that have calls, or have failed, and are not done.
    pub chains: usize,
}

/// What a context holds for its callers.
#[derive(Default)]
struct Held {
    /// What can be given up: asynchronous calls that run or wait, by caller and call.
    running: BTreeMap<(ContextId, u64), AbortHandle>,
    /// Chains, by caller and number.
    rows: BTreeMap<(ContextId, u64), Row>,
    /// Asynchronous calls, those without an answer too.
    under_way: usize,
}

impl Held {
    /// Takes a call in a chain in: gives its turn to wait for, if it has to.
    fn enter(
        &mut self,
        caller: ContextId,
        Link { chain, number }: Link,
    ) -> Result<Option<Turn>, Failure> {
        if !self.rows.contains_key(&(caller, chain)) {
            let of_caller = (caller, 0)..=(caller, u64::MAX);
            if self.rows.range(of_caller).count() >= MAX_CHAINS {
                return Err(Failure::TooManyChains(MAX_CHAINS as u64));
            }
        }
        self.rows.entry((caller, chain)).or_default().enter(number)
    }

    /// Sees to a chain, and forgets it when it is done.
    fn see_to(&mut self, key: (ContextId, u64), change: impl FnOnce(&mut Row)) {
        if let Entry::Occupied(mut entry) = self.rows.entry(key) {
            change(entry.get_mut());
            if entry.get().is_over() {
                entry.remove();
            }
        }
    }

    /// A caller has gone: nobody waits for what it has called.
    fn forget(&mut self, caller: ContextId) {
        for (_, running) in self.running.extract_if((caller, 0)..=(caller, u64::MAX), |_, _| true) {
            running.abort();
        }
        self.rows.retain(|&(of, _), _| of != caller);
    }
}

/// What a callee can be called by.
pub(crate) trait Table {
    /// Begins what has this tag, for whoever calls.
    fn begin(&self, context: &Context, origin: &Origin, tag: u64, arguments: &Bytes) -> Run<Blob>;
}

/// Runs what is called.
#[derive(RemoteActor)]
#[remote(
    name = "actogen.functions",
    messages(Count),
    inbound(Invoke, GiveUp, Unchain),
    crate = crate
)]
pub(crate) struct Callee {
    context: Context,
    table: Box<dyn Table>,
    held: Rc<RefCell<Held>>,
}

impl std::fmt::Debug for Callee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Callee").field("held", &self.count()).finish_non_exhaustive()
    }
}

impl actix::Actor for Callee {
    type Context = ActixContext<Self>;
}

impl Callee {
    fn count(&self) -> CallsHeld {
        let held = self.held.borrow();
        CallsHeld { calls: held.under_way, chains: held.rows.len() }
    }

    fn begin(&self, origin: &Origin, invoke: &Invoke) -> Run<Blob> {
        self.table.begin(&self.context, origin, invoke.function, &invoke.arguments)
    }

    /// Goes on with a call that has not ended yet, until it has, or is given up.
    fn go_on(
        &self,
        key: (ContextId, u64),
        future: Later<Blob>,
    ) -> ResponseActFuture<Self, Outcome> {
        let (abort, registration) = AbortHandle::new_pair();
        let can_be_given_up = key.1 != 0;
        {
            let mut held = self.held.borrow_mut();
            held.under_way += 1;
            if can_be_given_up {
                held.running.insert(key, abort);
            }
        }
        let future = Abortable::new(future, registration);
        Box::pin(future.into_actor(self).map(move |outcome, callee: &mut Self, _| {
            let mut held = callee.held.borrow_mut();
            held.under_way -= 1;
            if can_be_given_up {
                held.running.remove(&key);
            }
            outcome.unwrap_or(Err(Failure::GivenUp))
        }))
    }

    /// Runs a call when those before it in its chain have ended.
    fn go_on_in_turn(
        &self,
        key: (ContextId, u64),
        turn: Turn,
        origin: Origin,
        invoke: Invoke,
    ) -> ResponseActFuture<Self, Outcome> {
        let wait: Later<Blob> = Box::pin(async move {
            match turn.await {
                Ok(()) => Ok(Blob::default()),
                Err(failure) => Err(failure),
            }
        });
        let run = move |turn: Outcome,
                        callee: &mut Self,
                        _: &mut _|
              -> ResponseActFuture<Self, Outcome> {
            let run = match turn {
                Ok(_) => callee.begin(&origin, &invoke),
                Err(failure) => Run::Now(Err(failure)),
            };
            match run {
                Run::Now(outcome) => Box::pin(std::future::ready(outcome).into_actor(callee)),
                Run::Later(future) => callee.go_on(key, future),
            }
        };
        Box::pin(self.go_on(key, wait).then(run))
    }

    /// What is to be done when a call has ended.
    fn end(held: &RefCell<Held>, ending: &Ending, outcome: &Outcome) {
        if let Some(Link { chain, number }) = ending.link {
            held.borrow_mut().see_to((ending.caller, chain), |row| row.end(number, outcome));
        }
        if let (Some(name), Err(failure)) = (&ending.quiet, outcome) {
            tracing::warn!(function = name, from = %ending.caller, "a call without an answer failed: {failure}");
        }
    }
}

/// What is known of a call when it ends.
struct Ending {
    caller: ContextId,
    link: Option<Link>,
    /// The function's name, if nobody waits for the answer.
    quiet: Option<String>,
}

impl Handler<Inbound<Invoke>> for Callee {
    type Result = Given<Self, Outcome>;

    fn handle(&mut self, invoke: Inbound<Invoke>, _: &mut Self::Context) -> Self::Result {
        let Inbound { message: mut invoke, origin } = invoke;
        let (caller, link) = (origin.source, invoke.link);
        let key = (caller, invoke.call);
        let quiet = (invoke.call == 0).then(|| std::mem::take(&mut invoke.name));
        let ending = Ending { caller, link, quiet };
        let turn = link.map(|link| self.held.borrow_mut().enter(caller, link)).transpose();
        let run = match turn.map(Option::flatten) {
            Ok(None) => self.begin(&origin, &invoke),
            Ok(Some(turn)) => {
                let held = self.held.clone();
                let future = self.go_on_in_turn(key, turn, origin, invoke);
                return Given::Later(Box::pin(future.map(move |outcome, _, _| {
                    Self::end(&held, &ending, &outcome);
                    outcome
                })));
            }
            Err(failure) => Run::Now(Err(failure)),
        };
        match run {
            Run::Now(outcome) => {
                Self::end(&self.held, &ending, &outcome);
                Given::Now(outcome)
            }
            Run::Later(future) => {
                let held = self.held.clone();
                Given::Later(Box::pin(self.go_on(key, future).map(move |outcome, _, _| {
                    Self::end(&held, &ending, &outcome);
                    outcome
                })))
            }
        }
    }
}

impl Handler<Inbound<GiveUp>> for Callee {
    type Result = ();

    fn handle(&mut self, give_up: Inbound<GiveUp>, _: &mut Self::Context) {
        let Inbound { message: GiveUp { call, link }, origin } = give_up;
        let mut held = self.held.borrow_mut();
        if let Some(running) = held.running.remove(&(origin.source, call)) {
            return running.abort();
        }
        // A call that has not come, and never will: those behind it would wait in vain.
        if let Some(Link { chain, number }) = link {
            held.see_to((origin.source, chain), |row| row.give_up(number));
        }
    }
}

impl Handler<Inbound<Unchain>> for Callee {
    type Result = ();

    fn handle(&mut self, unchain: Inbound<Unchain>, _: &mut Self::Context) {
        let Inbound { message: Unchain(chain), origin } = unchain;
        self.held.borrow_mut().see_to((origin.source, chain), Row::close);
    }
}

impl Handler<Count> for Callee {
    type Result = actix::MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.count())
    }
}

/// Where something is called in a context, to be opened before anybody can reach it, and what comes in by it.
pub(crate) fn door(
    handle: Handle,
    policy: Policy,
) -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Calls) {
    let calls = Calls(Arc::default());
    let opened = calls.0.clone();
    let open = move |context: &actogen_runtime::Context| {
        let intake = Intake::new::<Callee>(context.clone());
        context.bind_reserved(handle, intake.clone(), policy);
        intake.bound_as(handle);
        let _ = opened.set(intake);
    };
    (open, calls)
}

/// Calls that have come in and wait to be served.
#[derive(Debug)]
pub(crate) struct Calls(Arc<OnceLock<Arc<Intake>>>);

/// Runs what is called, on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, Calls(intake): Calls, table: Box<dyn Table>) {
    let Some(intake) = intake.get().cloned() else { return };
    let callee = Callee { context: context.clone(), table, held: Rc::default() };
    let held = callee.held.clone();
    context.attend(callee, intake.clone());
    let (mut phase, mut events) = (context.phase(), context.events());
    tokio::task::spawn_local(async move {
        let mut ends = std::pin::pin!(phase.wait_for(|phase| *phase != Phase::Running));
        loop {
            let event = tokio::select! {
                biased;
                _ = &mut ends => break,
                event = events.next() => event,
            };
            match event {
                Some(Ok(ContextEvent::Down { context, .. })) => held.borrow_mut().forget(context),
                Some(_) => {}
                None => break,
            }
        }
        intake.end(StopReason::Shutdown);
    });
}
