//! The actor that drives a [`Plan`]: begins and ends lives, hears how they went, and never waits for one.

use std::{collections::HashMap, time::Duration};

use actix::{
    Actor, ActorContext, AsyncContext, Context as ActixContext, Handler, ResponseFuture, Running,
    SpawnHandle,
};
use actogen_runtime::{
    Place,
    core::{Address, Handle, policy::has_parent_authority},
    mailbox::StopReason,
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    ChildSpec, Supervision, chance,
    child::{What, may_speak_for},
    events::{ChildEvent, Listeners, Teller},
    front::{Front, Leads},
    life::{LifeIsOver, Seated},
    orders::{ChildState, ChildStatus, Children, Find, Found, Order, OrderError, Wish},
    plan::{Act, GivenUp, LifeEnd, Plan, State},
};
use crate::{Inbound, RemoteActor, address::Remote, context::Context, nursery::LifeOver};

/// Asks for a child that is not up, of each child; more are answered at once.
const MOST_WAITING: usize = 1024;

type Asker = oneshot::Sender<Result<Found, OrderError>>;

/// A child with what is known of it.
pub(super) struct Ward {
    pub(super) spec: ChildSpec,
    /// Where its lives are, with the number by which they are told apart from those elsewhere.
    pub(super) seat: Option<(u64, Seated)>,
    /// The number and place of a life that has been asked for elsewhere: it may be over before the answer is here.
    pub(super) asked: Option<(u64, Place)>,
    /// A life is being begun, and how that goes is not known.
    pub(super) beginning: bool,
    /// It ended before that was known.
    pub(super) early: Option<LifeIsOver>,
    /// How often another place was tried.
    pub(super) moves: usize,
    pub(super) why: Option<String>,
    pub(super) waiting: Vec<Asker>,
    /// The address that stays, if it has one.
    front: Option<Front>,
}

/// Supervises children.
#[derive(RemoteActor)]
#[remote(
    name = "actogen.supervisor",
    inbound(LifeOver, Find, Children, Order),
    crate = crate
)]
pub(crate) struct Supervisor {
    pub(super) cx: Context,
    pub(super) me: Remote<Self>,
    pub(super) plan: Plan,
    pub(super) children: Vec<Ward>,
    begun: Instant,
    contained: bool,
    events: Teller,
    timer: Option<SpawnHandle>,
    /// Everything is down, and the actor may end.
    is_over: bool,
}

impl Supervisor {
    pub(super) fn new(cx: Context, me: Remote<Self>, supervision: Supervision) -> Self {
        let Supervision { strategy, intensity, backoff, contained, children } = supervision;
        let mut plan = Plan::new(strategy, intensity, backoff);
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, child) in children.iter().enumerate() {
            let needs = child.needs().and_then(|name| places.get(name).copied());
            plan.add(child.restart, needs);
            places.insert(child.name.clone(), place);
        }
        let children = children
            .into_iter()
            .map(|spec| Ward {
                spec,
                seat: None,
                asked: None,
                beginning: false,
                early: None,
                moves: 0,
                why: None,
                waiting: Vec::new(),
                front: None,
            })
            .collect();
        let (begun, events) = (Instant::now(), Teller::default());
        Self { cx, me, plan, children, begun, contained, events, timer: None, is_over: false }
    }

    pub(super) fn listeners(&self) -> Listeners {
        self.events.listeners()
    }

    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    pub(super) fn index(&self, name: &str) -> Result<usize, OrderError> {
        let place = self.children.iter().position(|child| child.spec.name == name);
        place.ok_or_else(|| OrderError::Unknown {
            name: name.chars().take(100).collect(),
            known: self.children.iter().map(|child| child.spec.name.clone()).collect(),
        })
    }

    /// Does what the plan says until it says nothing more for now.
    fn settle(&mut self, ctx: &mut ActixContext<Self>) {
        let mut acts = Vec::new();
        let due = loop {
            let due = self.plan.act(self.now(), &mut acts);
            if acts.is_empty() {
                break due;
            }
            for act in acts.drain(..) {
                match act {
                    Act::Start(child) => self.begin(child, ctx),
                    Act::Stop(child) => self.end_life(child, ctx),
                    Act::End(given_up) => self.end(given_up, ctx),
                }
            }
        };
        for child in 0..self.children.len() {
            self.lead(child);
            self.tell(child);
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = due.map(|due| {
            ctx.run_later(due.saturating_sub(self.now()), |supervisor, ctx| supervisor.settle(ctx))
        });
    }

    /// A life of a child elsewhere has begun, or could not.
    pub(super) fn begun(
        &mut self,
        child: usize,
        begun: Result<(u64, Seated), String>,
        ctx: &mut ActixContext<Self>,
    ) {
        let now = self.now();
        (self.children[child].beginning, self.children[child].asked) = (false, None);
        match begun {
            Ok(seat) => {
                self.children[child].seat = Some(seat);
                self.started(child);
                if self.plan.state(child) == State::Stopping {
                    self.end_life(child, ctx);
                }
                if let Some(early) = self.children[child].early.take() {
                    self.life_is_over(early, ctx);
                }
            }
            Err(why) => {
                let early = self.children[child].early.take();
                if early.is_some_and(|early| early.lost.is_some()) {
                    self.children[child].seat = None;
                }
                match self.is_held_up(child) {
                    true => {
                        let chance = chance(&self.cx);
                        self.plan.put_off(child, now, chance);
                        self.children[child].why = Some(why);
                    }
                    false => self.refused(child, why),
                }
            }
        }
        self.settle(ctx);
    }

    /// A life has begun.
    pub(super) fn started(&mut self, child: usize) {
        self.plan.started(child, self.now());
        if let Some(address) = seated(&self.children[child]) {
            let child = self.children[child].spec.name.clone();
            self.events.tell(ChildEvent::Up { child, address });
        }
    }

    pub(super) fn refused(&mut self, child: usize, why: String) {
        let (now, chance) = (self.now(), chance(&self.cx));
        let running = &mut self.children[child];
        let (child_name, cause) = (running.spec.name.clone(), why.clone());
        self.events.tell(ChildEvent::NotStarted { child: child_name, why: cause });
        running.moves += 1;
        tracing::warn!(context = %self.cx.id(), child = running.spec.name, "a child did not start: {why}");
        self.plan.refused(child, &why, now, chance);
        running.why = Some(why);
    }

    pub(super) fn life_is_over(&mut self, over: LifeIsOver, ctx: &mut ActixContext<Self>) {
        let has_seat = |running: &Ward| {
            running.seat.as_ref().is_some_and(|(seat, _)| *seat == over.seat)
                || running.asked.is_some_and(|(seat, _)| seat == over.seat)
        };
        let Some(child) = self.children.iter().position(has_seat) else { return };
        let running = &mut self.children[child];
        if running.beginning {
            // That the seat is gone stands, whatever was heard before.
            if over.lost.is_some() || running.early.is_none() {
                running.early = Some(over);
            }
            return;
        }
        let LifeIsOver { reason, lost, with_context, .. } = over;
        let (now, chance) = (self.now(), chance(&self.cx));
        let running = &mut self.children[child];
        if lost.is_some() {
            running.moves += 1;
            running.seat = None;
        }
        let why = lost.clone().unwrap_or_else(|| reason.to_string());
        let end = LifeEnd {
            is_normal: matches!(reason, StopReason::Normal),
            with_context,
            why: why.clone(),
        };
        if !end.is_normal && self.plan.state(child) != State::Stopping {
            tracing::warn!(context = %self.cx.id(), child = running.spec.name, "a child has failed: {why}");
        }
        let (child_name, is_normal) = (running.spec.name.clone(), end.is_normal);
        self.events.tell(ChildEvent::Ended { child: child_name, is_normal, why: why.clone() });
        running.why = Some(why);
        if self.plan.state(child) != State::Down {
            self.plan.ended(child, &end, now, chance);
        }
        self.settle(ctx);
    }

    /// Says where the messages for a child go that has an address which stays.
    fn lead(&mut self, child: usize) {
        let running = &mut self.children[child];
        let What::There { front, .. } = &running.spec.what else { return };
        if !running.spec.stable {
            return;
        }
        let front = running.front.get_or_insert_with(|| front(&self.cx));
        let stays_down = !self.plan.is_wanted(child) || self.plan.is_ending();
        front.leads(match &running.seat {
            _ if self.plan.state(child) == State::Down && stays_down => {
                let why = running.why.clone();
                Leads::Down(why.unwrap_or_else(|| "it was stopped".to_owned()))
            }
            // Its mailbox is there between two lives too.
            Some((_, Seated::There { place, handle, .. })) => Leads::To(place.address(*handle)),
            _ => Leads::Nowhere,
        });
    }

    /// Answers those who ask for a child, and closes the mailbox of one that stays down.
    fn tell(&mut self, child: usize) {
        let is_up = self.plan.is_up(child);
        let running = &mut self.children[child];
        match self.plan.state(child) {
            State::Up { .. } => {
                // One whose context is lost is told to be so in a moment.
                let is_lost = |found: &Found| {
                    let Address { context, incarnation, .. } = found.address;
                    self.cx.place_of(context).is_none_or(|place| place.incarnation != incarnation)
                };
                let Some(found) = found(running).filter(|found| is_up && !is_lost(found)) else {
                    return;
                };
                for asker in running.waiting.drain(..) {
                    // Whoever has given up waiting needs no word.
                    let _ = asker.send(Ok(found.clone()));
                }
            }
            State::Down if !self.plan.is_wanted(child) || self.plan.is_ending() => {
                let why = running.why.clone().unwrap_or_else(|| "it was stopped".to_owned());
                let name = running.spec.name.clone();
                for asker in running.waiting.drain(..) {
                    let error = OrderError::Stopped { name: name.clone(), why: why.clone() };
                    let _ = asker.send(Err(error));
                }
                self.close(child);
            }
            _ => {}
        }
    }

    fn end(&mut self, given_up: Option<GivenUp>, ctx: &mut ActixContext<Self>) {
        self.is_over = true;
        let name = |child: usize| &self.children[child].spec.name;
        let why = given_up.map(|given_up| match given_up {
            GivenUp::TooOften { child, why } => {
                format!("too many lives began anew; the last was of `{}`: {why}", name(child))
            }
            GivenUp::NoStart { child, why } => {
                format!("`{}` could not be started: {why}", name(child))
            }
        });
        let reason = match why {
            Some(why) => {
                tracing::error!(context = %self.cx.id(), "a supervisor gives up: {why}");
                self.events.tell(ChildEvent::GaveUp { why: why.clone() });
                if !self.contained {
                    let text = format!("its supervisor gave up: {why}");
                    self.cx.request_end(&text, self.cx.limits().shutdown_time);
                }
                StopReason::Error(format!("it gave up: {why}"))
            }
            None => StopReason::Normal,
        };
        self.cx.stop(&self.me, reason);
        ctx.stop();
    }

    fn may_order(&self, origin: &crate::Origin) -> bool {
        has_parent_authority(origin, &self.cx.family())
    }
}

/// Where a child's life is.
fn seated(running: &Ward) -> Option<Address> {
    let (_, seat) = running.seat.as_ref()?;
    Some(match seat {
        Seated::Here(kept) => kept.address(),
        Seated::There { place, handle, .. } => place.address(*handle),
        Seated::Process(process) => process.place().address(Handle::PING),
    })
}

/// Where those find it who ask for it.
fn found(running: &Ward) -> Option<Found> {
    let seated = seated(running)?;
    let address = running.front.as_ref().map_or(seated, Front::address);
    Some(Found { address, kind: running.spec.kind().unwrap_or("context").to_owned() })
}

impl Actor for Supervisor {
    type Context = ActixContext<Self>;

    fn started(&mut self, ctx: &mut ActixContext<Self>) {
        self.settle(ctx);
    }

    fn stopping(&mut self, ctx: &mut ActixContext<Self>) -> Running {
        if !self.is_over {
            self.plan.end(None);
            self.settle(ctx);
        }
        if self.is_over { Running::Stop } else { Running::Continue }
    }
}

impl Handler<LifeIsOver> for Supervisor {
    type Result = ();

    fn handle(&mut self, over: LifeIsOver, ctx: &mut ActixContext<Self>) {
        self.life_is_over(over, ctx);
    }
}

impl Handler<Inbound<LifeOver>> for Supervisor {
    type Result = ();

    fn handle(&mut self, over: Inbound<LifeOver>, ctx: &mut ActixContext<Self>) {
        let LifeOver { seat, reason } = over.message;
        let is_there = self.children.iter().any(|running| {
            let seated = match &running.seat {
                Some((number, Seated::There { place, .. })) => Some((*number, *place)),
                _ => None,
            };
            let mut known = seated.into_iter().chain(running.asked);
            known
                .any(|(number, place)| number == seat && may_speak_for(&over.origin, place.context))
        });
        if is_there {
            self.life_is_over(LifeIsOver { seat, reason, lost: None, with_context: false }, ctx);
        }
    }
}

impl Handler<Inbound<Find>> for Supervisor {
    type Result = ResponseFuture<Result<Found, OrderError>>;

    fn handle(&mut self, find: Inbound<Find>, _: &mut ActixContext<Self>) -> Self::Result {
        let (asker, answer) = oneshot::channel();
        let asked = self.may_order(&find.origin).then_some(()).ok_or(OrderError::NotAllowed);
        match asked.and_then(|()| self.index(&find.message.child)) {
            Ok(child) => {
                let waiting = &mut self.children[child].waiting;
                waiting.retain(|asker| !asker.is_closed());
                if waiting.len() < MOST_WAITING {
                    waiting.push(asker);
                    self.tell(child);
                } else {
                    let name = find.message.child;
                    let _ = asker.send(Err(OrderError::Busy { name, waiting: MOST_WAITING }));
                }
            }
            Err(error) => drop(asker.send(Err(error))),
        }
        Box::pin(async move { answer.await.unwrap_or(Err(OrderError::Ending)) })
    }
}

impl Handler<Inbound<Children>> for Supervisor {
    type Result = Result<Vec<ChildStatus>, OrderError>;

    fn handle(&mut self, asked: Inbound<Children>, _: &mut ActixContext<Self>) -> Self::Result {
        if !self.may_order(&asked.origin) {
            return Err(OrderError::NotAllowed);
        }
        let status = |(child, running): (usize, &Ward)| ChildStatus {
            name: running.spec.name.clone(),
            state: match self.plan.state(child) {
                State::Up { .. } => ChildState::Up,
                State::Starting => ChildState::Starting,
                State::Stopping => ChildState::Stopping,
                State::Down if self.plan.is_wanted(child) => ChildState::Waiting,
                State::Down => ChildState::Stopped,
            },
            restarts: self.plan.restarts(child),
            last_end: running.why.clone(),
        };
        Ok(self.children.iter().enumerate().map(status).collect())
    }
}

impl Handler<Inbound<Order>> for Supervisor {
    type Result = Result<(), OrderError>;

    fn handle(&mut self, order: Inbound<Order>, ctx: &mut ActixContext<Self>) -> Self::Result {
        if !self.may_order(&order.origin) {
            return Err(OrderError::NotAllowed);
        }
        if self.plan.is_ending() {
            return Err(OrderError::Ending);
        }
        let Order { child, what } = order.message;
        let (child, now) = (self.index(&child)?, self.now());
        match what {
            Wish::Stop => self.plan.want(child, false, now),
            Wish::Start => self.plan.want(child, true, now),
            Wish::Renew => {
                let mut acts = Vec::new();
                self.plan.renew(child, now, &mut acts);
                if !acts.is_empty() {
                    self.end_life(child, ctx);
                }
            }
        }
        self.settle(ctx);
        Ok(())
    }
}
