//! What actors of this context have in the mesh: their names and memberships, until they give them up or end.

use std::collections::BTreeMap;

use actix::{
    ActorFutureExt, AsyncContext, Context as ActixContext, Handler, ResponseActFuture, SpawnHandle,
    WrapFuture,
};
use actogen_runtime::{Ended, core::Address};
use tokio::sync::oneshot;

use super::{
    actor::{AGAIN, Directory},
    asks::{Ask, Change, Claim, Here, What},
    top::{DirectoryError, Known},
};

struct Claimed {
    known: Known,
    lost: Option<oneshot::Sender<Address>>,
}

/// An actor that has something.
struct Watched {
    watch: SpawnHandle,
    /// So many names and memberships.
    has: usize,
}

#[derive(Default)]
pub(super) struct Own {
    claims: BTreeMap<String, Claimed>,
    joined: BTreeMap<(String, Address), Known>,
    watched: BTreeMap<Address, Watched>,
    /// What is being asked for, with the number of the last time.
    asked: BTreeMap<Thing, u64>,
    asks: u64,
}

/// What an actor may have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Name(String, Address),
    Membership(String, Address),
}

impl Own {
    /// All that the top must know.
    pub(super) fn asks(&self) -> impl Iterator<Item = Ask> {
        let claims = self.claims.iter().map(|(name, Claimed { known, .. })| Ask::Claim {
            name: name.clone(),
            claimant: known.clone(),
            is_old: true,
        });
        let joins = self
            .joined
            .iter()
            .map(|((group, _), member)| Ask::Join { group: group.clone(), member: member.clone() });
        claims.chain(joins)
    }

    /// Names and memberships.
    pub(super) fn count(&self) -> usize {
        self.claims.len() + self.joined.len()
    }

    /// Whether what was asked for is so still.
    pub(super) fn mean(&self, ask: &Ask) -> bool {
        let owns = |name: &str, owner: Address| {
            self.claims.get(name).is_some_and(|claim| claim.known.address == owner)
        };
        let is_in = |group: &str, member| self.joined.contains_key(&(group.to_owned(), member));
        // What is being asked for is not given up for an earlier failure.
        let wants = |thing| self.asked.contains_key(&thing);
        match ask {
            Ask::Claim { name, claimant, .. } => owns(name, claimant.address),
            Ask::Release { name, owner } => {
                !owns(name, *owner) && !wants(Thing::Name(name.clone(), *owner))
            }
            Ask::Join { group, member } => is_in(group, member.address),
            Ask::Leave { group, member } => {
                !is_in(group, *member) && !wants(Thing::Membership(group.clone(), *member))
            }
            _ => true,
        }
    }

    fn begin_asking(&mut self, thing: Thing) -> u64 {
        self.asks += 1;
        self.asked.insert(thing, self.asks);
        self.asks
    }

    /// Whether it is still wanted, and not asked for once more since.
    fn end_asking(&mut self, thing: &Thing, number: u64) -> bool {
        let is_last = self.asked.get(thing) == Some(&number);
        if is_last {
            self.asked.remove(thing);
        }
        is_last
    }
}

impl Directory {
    /// A name is lost to another part of the mesh.
    pub(super) fn lost(
        &mut self,
        name: &str,
        loser: Address,
        owner: Address,
        ctx: &mut ActixContext<Self>,
    ) {
        if let Some(claim) = self.give_up(name, loser, ctx) {
            tracing::warn!(context = %self.cx.id(), name, %owner, "a name is lost to another part of the mesh");
            claim.lost.map(|lost| lost.send(owner));
        }
    }

    /// An actor has one thing more: its end will be heard of.
    fn hold(&mut self, actor: Address, ctx: &mut ActixContext<Self>) {
        if let Some(watched) = self.own.watched.get_mut(&actor) {
            watched.has += 1;
            return;
        }
        let watch = self.watch(actor, ctx);
        self.own.watched.insert(actor, Watched { watch, has: 1 });
    }

    /// One less.
    fn let_go(&mut self, actor: Address, ctx: &mut ActixContext<Self>) {
        let Some(watched) = self.own.watched.get_mut(&actor) else { return };
        watched.has -= 1;
        if watched.has == 0 {
            ctx.cancel_future(watched.watch);
            self.own.watched.remove(&actor);
        }
    }

    fn watch(&self, actor: Address, ctx: &mut ActixContext<Self>) -> SpawnHandle {
        let watch = self.cx.watch_address(actor).into_actor(self);
        ctx.spawn(watch.map(move |_: Ended, me, ctx| {
            if me.check_actor(actor).is_ok() {
                // It was the watch that could not be, and not the actor.
                ctx.run_later(AGAIN, move |me, ctx| {
                    if me.own.watched.contains_key(&actor) {
                        let watch = me.watch(actor, ctx);
                        me.own.watched.entry(actor).and_modify(|watched| watched.watch = watch);
                    }
                });
            } else {
                me.actor_ended(actor, ctx);
            }
        }))
    }

    fn actor_ended(&mut self, actor: Address, ctx: &mut ActixContext<Self>) {
        let is_its = |claim: &Claimed| claim.known.address == actor;
        let names = self.own.claims.iter().filter(|(_, claim)| is_its(claim));
        let names = names.map(|(name, _)| Ask::Release { name: name.clone(), owner: actor });
        let groups = self.own.joined.keys().filter(|(_, member)| *member == actor);
        let groups = groups.map(|(group, _)| Ask::Leave { group: group.clone(), member: actor });
        let asks: Vec<_> = names.chain(groups).collect();
        self.own.claims.retain(|_, claim| claim.known.address != actor);
        self.own.joined.retain(|(_, member), _| *member != actor);
        self.own.watched.remove(&actor);
        for ask in asks {
            self.repeat(ask, ctx);
        }
    }

    /// What only an actor of this context may be given.
    fn check_actor(&self, actor: Address) -> Result<(), DirectoryError> {
        if actor.context != self.cx.id() {
            return Err(DirectoryError::NotHere(actor));
        }
        if self.cx.mailbox(actor.handle).is_none() {
            let how = self.cx.stopped(actor.handle);
            let how = how.map_or_else(|| "it never was".to_owned(), |reason| reason.to_string());
            return Err(DirectoryError::Ended(how));
        }
        Ok(())
    }

    /// A name is this actor's no more.
    fn give_up(
        &mut self,
        name: &str,
        owner: Address,
        ctx: &mut ActixContext<Self>,
    ) -> Option<Claimed> {
        self.own.claims.get(name).filter(|claim| claim.known.address == owner)?;
        let claim = self.own.claims.remove(name);
        self.let_go(owner, ctx);
        claim
    }

    fn own_name(&mut self, claim: Claim, ctx: &mut ActixContext<Self>) {
        let Claim { name, claimant, lost: Here(lost) } = claim;
        let owner = claimant.address;
        // Of another actor here that has lost it and does not know it yet.
        if let Some(before) = self.own.claims.get(&name).map(|claim| claim.known.address) {
            self.give_up(&name, before, ctx);
        }
        self.own.claims.insert(name, Claimed { known: claimant, lost: Some(lost) });
        self.hold(owner, ctx);
    }

    fn own_membership(&mut self, group: String, member: Known, ctx: &mut ActixContext<Self>) {
        let address = member.address;
        if self.own.joined.insert((group, address), member).is_none() {
            self.hold(address, ctx);
        }
    }

    /// Asks for something that an actor here shall have. What the top may have granted in vain is given up.
    fn ask_for(
        &mut self,
        thing: Thing,
        ask: Ask,
        undo: Ask,
        have: impl FnOnce(&mut Self, &mut ActixContext<Self>) + 'static,
    ) -> ResponseActFuture<Self, Result<(), DirectoryError>> {
        let (above, number) = (self.above, self.own.begin_asking(thing.clone()));
        Box::pin(self.ask(ask.clone()).map(move |answer, me, ctx| {
            let is_wanted = me.own.end_asking(&thing, number);
            match &answer {
                // It was given up meanwhile, or asked for once more.
                Ok(_) if !is_wanted => {}
                Ok(_) => {
                    have(me, ctx);
                    if me.above != above {
                        // It was granted by who is the top no more.
                        let anew = match ask {
                            Ask::Claim { name, claimant, .. } => {
                                Ask::Claim { name, claimant, is_old: true }
                            }
                            ask => ask,
                        };
                        me.repeat(anew, ctx);
                    }
                }
                Err(DirectoryError::Dead(_)) if me.own.mean(&undo) => me.repeat(undo, ctx),
                Err(_) => {}
            }
            answer.map(drop)
        }))
    }
}

impl Handler<Claim> for Directory {
    type Result = ResponseActFuture<Self, Result<(), DirectoryError>>;

    fn handle(&mut self, claim: Claim, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        let (name, claimant) = (claim.name.clone(), claim.claimant.clone());
        if let Err(error) = self.check_actor(claimant.address) {
            return Box::pin(async move { Err(error) }.into_actor(self));
        }
        let thing = Thing::Name(name.clone(), claimant.address);
        let undo = Ask::Release { name: name.clone(), owner: claimant.address };
        let ask = Ask::Claim { name, claimant, is_old: false };
        self.ask_for(thing, ask, undo, move |me, ctx| me.own_name(claim, ctx))
    }
}

impl Handler<Change> for Directory {
    type Result = ResponseActFuture<Self, Result<(), DirectoryError>>;

    fn handle(&mut self, change: Change, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        let ask = match change.what.0 {
            What::Join { group, member } => {
                if let Err(error) = self.check_actor(member.address) {
                    return Box::pin(async move { Err(error) }.into_actor(self));
                }
                let thing = Thing::Membership(group.clone(), member.address);
                let undo = Ask::Leave { group: group.clone(), member: member.address };
                let ask = Ask::Join { group: group.clone(), member: member.clone() };
                return self.ask_for(thing, ask, undo, move |me, ctx| {
                    me.own_membership(group, member, ctx);
                });
            }
            What::Leave { group, member } => {
                self.own.asked.remove(&Thing::Membership(group.clone(), member));
                if self.own.joined.remove(&(group.clone(), member)).is_some() {
                    self.let_go(member, ctx);
                }
                Ask::Leave { group, member }
            }
            What::Release { name, owner } => {
                self.give_up(&name, owner, ctx);
                Ask::Release { name, owner }
            }
        };
        let above = self.above;
        Box::pin(self.ask(ask.clone()).map(move |answer, me, ctx| {
            // It is given up here in any case, and the top will hear of it.
            let unheard = matches!(answer, Err(DirectoryError::Dead(_)));
            if (unheard || me.above != above) && me.own.mean(&ask) {
                me.repeat(ask, ctx);
            }
            answer.map(drop)
        }))
    }
}
