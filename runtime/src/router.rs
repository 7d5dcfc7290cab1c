//! The Router actor: the only writer of the route table, and the only driver of [`RouterCore`].
//!
//! It owns no rule of its own. What happens to links comes in as messages, one at a time; the core says what follows; this actor
//! does it, in the order given.

use std::{collections::BTreeMap, fmt, sync::Arc};

use actix::{Actor, ActorContext, Context as ActixContext, Handler, Message};
use actogen_core::{
    LinkId,
    policy::Side,
    route::{
        path::Way,
        propagate::{Wake, Whom},
    },
    router::{Credentials, Effect, Effects, Input, RouterCore},
    wire::control::{Announcement, LossKind},
};

use crate::{
    context::Context,
    events::ContextEvent,
    link::LinkState,
    transport::{Authority, Identity},
    who_has::check_names,
};

/// The actor.
pub(crate) struct Router {
    core: RouterCore,
    context: Context,
    links: BTreeMap<LinkId, Arc<LinkState>>,
    effects: Effects,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("core", &self.core).finish_non_exhaustive()
    }
}

/// A link stands; its readers begin when this is answered.
#[derive(Debug)]
pub(crate) struct Attach(pub(crate) Arc<LinkState>);

impl Message for Attach {
    type Result = ();
}

/// Something happened to the routes.
#[derive(Debug)]
pub(crate) struct Routing(pub(crate) Input);

impl Message for Routing {
    type Result = ();
}

/// What the router holds, for tests and for people.
#[derive(Debug)]
pub(crate) struct Census;

impl Message for Census {
    type Result = Holdings;
}

/// The sizes of a router's tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
#[non_exhaustive]
pub struct Holdings {
    /// Routes to contexts of the subtree.
    pub routes: usize,
    /// Links that stand.
    pub links: usize,
    /// Route messages begun and not finished on all streams.
    pub under_way: usize,
    /// Notes of who addressed whom.
    pub addressed: usize,
}

/// The router ends.
#[derive(Debug)]
pub(crate) struct Stop;

impl Message for Stop {
    type Result = ();
}

impl Router {
    pub(crate) fn new(context: Context, identity: Arc<dyn Identity>) -> Self {
        let core = RouterCore::new(
            context.id(),
            context.incarnation(),
            context.limits().clone(),
            Arc::new(Keys { identity, authority: context.authority() }),
        );
        Self { core, context, links: BTreeMap::new(), effects: Vec::new() }
    }

    fn handle_input(&mut self, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(input, &mut effects);
        self.lose_ways(&effects);
        for effect in effects.drain(..) {
            self.apply(effect);
        }
        self.effects = effects;
    }

    /// Answers what waits here for contexts that are lost or found elsewhere: before anybody is told of that, so that who has asked
    /// learns that his request was not handled.
    fn lose_ways(&self, effects: &[Effect]) {
        if self.context.holds_nothing() {
            return;
        }
        for effect in effects {
            match effect {
                Effect::Remove { context: id } => {
                    let down = effects.iter().find_map(|effect| match effect {
                        Effect::Down { context, loss } if context == id => Some(loss.to_string()),
                        _ => None,
                    });
                    let why = down.unwrap_or_else(|| format!("the way to {id} is lost"));
                    self.context.way_changed(*id, None, &why);
                }
                Effect::Install { context: id, link, .. } => {
                    let why = format!("{id} is reached by another way");
                    self.context.way_changed(*id, Some(*link), &why);
                }
                _ => {}
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        let context = &self.context;
        match effect {
            Effect::Install { context: id, incarnation, link } => {
                context.note_announced(id, incarnation);
                if let Some(link) = self.links.get(&link) {
                    context.routes().install(id, incarnation, link.clone());
                }
            }
            Effect::Remove { context: id } => {
                context.routes().remove(id);
                if self.core.candidates(id).direct.is_none() {
                    context.mailboxes().forget_watchers(|watcher| watcher == id);
                }
                context.forget_pauses(id);
            }
            Effect::Linger { link, context: id } => context.routes().linger(link, id),
            Effect::Passed { link, stream, contexts } => {
                context.routes().passed(link, stream, &contexts)
            }
            Effect::Change { context: id, to } => {
                self.take_direct(to);
                self.context.change_path(id, to);
            }
            Effect::TellLost { context: id, by, lost } => context.tell_lost(id, by, lost),
            Effect::Broken { context: id, way, other } => {
                if let Some(other) = other {
                    self.take_direct(other);
                }
                self.context.break_path(id, way, other);
            }
            Effect::AskAgain { context: id } => context.ask_again(id),
            Effect::Parent(link) => {
                let link = link.and_then(|link| self.links.get(&link).cloned());
                let orphaned = link.is_none();
                context.routes().set_parent(link);
                if orphaned {
                    let core = &self.core;
                    let is_lost = |id| !core.is_inside(id) && core.candidates(id).direct.is_none();
                    context.mailboxes().forget_watchers(is_lost);
                    context.parent_lost();
                }
            }
            Effect::Above(ancestors) => {
                context.0.family.write().ancestors.clone_from(&ancestors);
                // A policy that asks for the family judges anew.
                context.routes().next_generation();
                context.publish(ContextEvent::Moved { context: context.id(), ancestors });
            }
            Effect::Epoch(epoch) => context.set_epoch(epoch),
            Effect::Send { link, stream, message } => {
                if let Some(link) = self.links.get(&link) {
                    self.context.make_way(link, stream, &message);
                    link.send_own(stream, &message);
                }
            }
            Effect::Wake { stream, wake } => self.wake(stream, &wake),
            Effect::Up { context: id, incarnation } => {
                context.publish(ContextEvent::Up { context: id, incarnation });
            }
            Effect::Down { context: id, loss } => {
                tracing::info!(context = %context.id(), "{loss}");
                context.routes().note_loss(id, loss.to_string());
                context.publish(ContextEvent::Down { context: id, loss });
            }
            Effect::Close { link, kind, text } => {
                let Some(link) = self.links.get(&link) else { return };
                if kind == LossKind::Detached {
                    // It goes in peace, with what is on its way to it.
                    self.context.0.launches.release(link.peer);
                    link.say_goodbye(kind, &text);
                } else {
                    link.cut(kind, &text);
                }
            }
            Effect::Offence(offence) => context.offence(&offence),
        }
    }

    /// The direct link by which this way leads is the one to take to its peer.
    fn take_direct(&self, way: Way) {
        if let Way::Direct(link) = way
            && let Some(link) = self.links.get(&link)
        {
            self.context.take_direct(link);
        }
    }

    fn wake(&self, stream: Option<actogen_core::StreamId>, wake: &Wake) {
        match &wake.whom {
            Whom::Context(respondent) => {
                self.context.wake(*respondent, stream, wake.epoch, &wake.loss, false)
            }
            Whom::Calls(respondent) => {
                self.context.wake(*respondent, stream, wake.epoch, &wake.loss, true)
            }
            Whom::OutsideExcept(except) => {
                for respondent in self.context.respondents() {
                    if !self.core.is_inside(respondent) && !except.contains(&respondent) {
                        self.context.wake(respondent, stream, wake.epoch, &wake.loss, false);
                    }
                }
            }
        }
    }
}

impl Actor for Router {
    type Context = ActixContext<Self>;
}

impl Handler<Attach> for Router {
    type Result = ();

    fn handle(&mut self, Attach(link): Attach, _: &mut ActixContext<Self>) {
        let (id, peer, side, incarnation) = (link.id, link.peer, link.side, link.incarnation);
        self.links.insert(id, link);
        self.handle_input(Input::LinkUp { link: id, peer, side });
        if side == Side::Parent {
            self.context.publish(ContextEvent::Up { context: peer, incarnation });
        } else if side == Side::Direct {
            self.context.publish(ContextEvent::Linked { context: peer });
        }
    }
}

impl Handler<Routing> for Router {
    type Result = ();

    fn handle(&mut self, Routing(input): Routing, _: &mut ActixContext<Self>) {
        let gone = match &input {
            Input::LinkDown { link, .. } => Some(*link),
            _ => None,
        };
        if let Some(link) = gone.and_then(|link| self.links.get(&link)) {
            self.context.link_ends(link);
        }
        self.handle_input(input);
        if let Some(link) = gone.and_then(|link| self.links.remove(&link)) {
            self.context.routes().forget_link(link.id);
            self.context.link_gone(&link);
            self.context.count_unknown(link.unreported());
            if link.side == Side::Direct {
                let loss = link.loss();
                self.context.direct_gone();
                self.context.publish(ContextEvent::Unlinked { context: link.peer, loss });
            }
        }
    }
}

impl Handler<Census> for Router {
    type Result = Holdings;

    fn handle(&mut self, _: Census, _: &mut ActixContext<Self>) -> Holdings {
        Holdings {
            routes: self.core.table().len(),
            links: self.links.len(),
            under_way: self.core.links().map(|(_, link)| link.under_way()).sum(),
            addressed: self.core.links().map(|(_, link)| link.addressed().count()).sum(),
        }
    }
}

impl Handler<Stop> for Router {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut ActixContext<Self>) {
        for link in self.links.values() {
            link.cut(LossKind::Shutdown, "the context has shut down");
        }
        ctx.stop();
    }
}

/// The transport's identity as the core asks for it.
struct Keys {
    identity: Arc<dyn Identity>,
    /// At the root, which judges names by it.
    authority: Option<Arc<dyn Authority>>,
}

impl Credentials for Keys {
    fn certificate(&self) -> Vec<u8> {
        self.identity.certificate()
    }

    fn sign(&self, claim: &[u8]) -> Vec<u8> {
        self.identity.sign(claim)
    }

    fn verify(&self, announcement: &Announcement) -> bool {
        let Announcement { context, certificate, signature, .. } = announcement;
        let signed = self.identity.verify(*context, certificate, &announcement.claim(), signature);
        let verdict = signed.and_then(|()| match &self.authority {
            Some(authority) => {
                let names = self.identity.names_in(certificate)?;
                check_names(&**authority, *context, &names)
            }
            None => Ok(()),
        });
        if let Err(error) = &verdict {
            tracing::warn!(about = %announcement.context, "an announcement is refused: {error}");
        }
        verdict.is_ok()
    }
}
