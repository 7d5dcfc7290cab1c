//! DEL_ROUTE: who may withdraw what, and who is told (protocol rules 3, 8 and 10).

use super::{Effect, Effects, RouterCore};
use crate::{
    id::{ContextId, LinkId},
    limits::MAX_WITHDRAWN,
    offence::{Offence, OffenceKind},
    pending::Epoch,
    policy::Side,
    route::propagate::{Relay, Wake, Whom},
    wire::control::{DelRoute, LinkMessage, Loss, Outside, Withdrawn},
};

impl RouterCore {
    pub(super) fn del_route(&mut self, link: LinkId, del: &DelRoute, out: &mut Effects) -> Relay {
        let Some(state) = self.links.get(&link) else { return Relay::default() };
        let (peer, side) = (state.peer, state.side);
        let news: Vec<_> = del
            .routes
            .iter()
            .filter(|withdrawn| state.is_news(withdrawn.context, del.stamp))
            .copied()
            .collect();
        let mut gone = Vec::new();
        for withdrawn in &news {
            let known =
                self.table.get(withdrawn.context).map(|route| (route.link, route.version()));
            let version = (withdrawn.incarnation, withdrawn.attachment);
            // A late word about what has left by another way is ignored and is no offence.
            let was_there = self
                .table
                .tombstone(withdrawn.context)
                .is_some_and(|tombstone| tombstone.link == link);
            let legitimate = match (side, known) {
                (Side::Child, Some((through, known))) => {
                    if through == link && known == version {
                        gone.push(withdrawn.context);
                    }
                    through == link || version < known || was_there
                }
                (Side::Child, None) => was_there,
                (Side::Parent, Some((_, known))) => version < known,
                (Side::Parent, None) => {
                    if withdrawn.context != self.me {
                        gone.push(withdrawn.context);
                    }
                    withdrawn.context != self.me
                }
                (Side::Direct, _) => false,
            };
            if !legitimate {
                let kind = OffenceKind::ForgedWithdrawal;
                out.push(Effect::Offence(Offence {
                    kind,
                    offender: peer,
                    about: withdrawn.context,
                }));
            }
        }
        // Also of what has no route by this link: an earlier word about it may still come, on a slower stream.
        for withdrawn in news.iter().filter(|_| side == Side::Child) {
            self.note_said(link, withdrawn.context, del.stamp);
        }
        let passes = if side == Side::Child { linger(link, &gone, out) } else { Vec::new() };
        let mut relay = self.withdraw(&gone, Some(link), &del.loss, None, out);
        relay.passes = passes;
        if del.outside != Outside::None {
            match side {
                Side::Parent => {
                    let epoch = self.begin_epoch(out);
                    if self.parent == Some(link) {
                        let mut lost = self.direct_outside();
                        lost.retain(|&peer| self.is_lost_with(&del.outside, peer));
                        self.break_tree(&lost, out);
                    }
                    self.outside_withdrawn(&del.outside, epoch, &del.loss, &mut relay, out);
                }
                Side::Child | Side::Direct => {
                    let kind = OffenceKind::ForgedWithdrawal;
                    out.push(Effect::Offence(Offence { kind, offender: peer, about: peer }));
                }
            }
        }
        relay
    }

    /// Takes routes out, and settles who is told: each other link that had addressed one of them, and the parent, which may know
    /// of one by that one's own announcement. For contexts outside the subtree, which have no route here, only the links that had
    /// addressed them.
    pub(super) fn withdraw(
        &mut self,
        gone: &[ContextId],
        from: Option<LinkId>,
        loss: &Loss,
        known_above: Option<ContextId>,
        out: &mut Effects,
    ) -> Relay {
        let mut relay = Relay::default();
        if gone.is_empty() {
            return relay;
        }
        let epoch = self.begin_epoch(out);
        let mut gone = gone.to_vec();
        gone.sort_unstable();
        gone.dedup();
        self.break_tree(&gone, out);
        let mut lost = Vec::new();
        let mut unknown = Vec::new();
        for context in gone {
            out.push(Effect::Remove { context });
            match self.table.remove(context) {
                Some(route) => {
                    lost.push(route.withdrawn());
                    out.push(Effect::Down { context, loss: loss.clone() });
                }
                None => unknown.push(context),
            }
            let whom = self.lost_by_tree(context, loss, out);
            relay.wakes.push(Wake { whom, epoch, loss: loss.clone() });
        }
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            let Some(state) = self.links.get_mut(&link) else { continue };
            // Every note ends with its route.
            let mut routes = lost.clone();
            let mut outside = unknown.clone();
            routes.retain(|withdrawn| state.forget_addressed(withdrawn.context));
            outside.retain(|&context| state.forget_addressed(context));
            if state.side == Side::Parent {
                // The parent hears of every route but one that it knows of; what lies outside is its own business.
                let is_told = self.parent == Some(link);
                routes = lost.clone();
                routes.retain(|withdrawn| is_told && Some(withdrawn.context) != known_above);
                outside.clear();
            } else if Some(link) == from {
                // What is said by this link's own word is lost only where it stood until now: some of it may have come to
                // stand behind this link, which knows which.
                outside.extend(routes.drain(..).map(|withdrawn| withdrawn.context));
            }
            self.tell(link, &routes, &outside, loss, &mut relay);
        }
        relay
    }

    /// Puts a withdrawal for one link into the relay, cut into messages of bounded length.
    pub(super) fn tell(
        &mut self,
        link: LinkId,
        routes: &[Withdrawn],
        outside: &[ContextId],
        loss: &Loss,
        relay: &mut Relay,
    ) {
        for routes in routes.chunks(MAX_WITHDRAWN) {
            let stamp = self.stamp(link);
            let del = DelRoute {
                stamp,
                routes: routes.to_vec(),
                outside: Outside::None,
                loss: loss.clone(),
            };
            relay.out.push((link, LinkMessage::DelRoute(del)));
        }
        for ids in outside.chunks(MAX_WITHDRAWN) {
            let stamp = self.stamp(link);
            let outside = Outside::Listed(ids.to_vec());
            relay.out.push((
                link,
                LinkMessage::DelRoute(DelRoute {
                    stamp,
                    routes: Vec::new(),
                    outside,
                    loss: loss.clone(),
                }),
            ));
        }
    }

    /// The parent link is gone: everything outside the subtree is, for this context and for those below (protocol rule 10).
    pub(super) fn lose_outside(&mut self, epoch: Epoch, loss: &Loss, out: &mut Effects) -> Relay {
        let mut relay = Relay::default();
        self.outside_withdrawn(&Outside::AllExcept(Vec::new()), epoch, loss, &mut relay, out);
        relay
    }

    /// Contexts outside the own subtree have been withdrawn: wakes those who wait for them here, and tells the children.
    fn outside_withdrawn(
        &mut self,
        outside: &Outside,
        epoch: Epoch,
        loss: &Loss,
        relay: &mut Relay,
        out: &mut Effects,
    ) {
        match outside {
            Outside::None => return,
            Outside::Listed(ids) => {
                for id in ids.iter().copied().filter(|&id| !self.is_inside(id)) {
                    // There is no route to remove, but what else is kept for the context: its watches here.
                    out.push(Effect::Remove { context: id });
                    let whom = self.lost_by_tree(id, loss, out);
                    relay.wakes.push(Wake { whom, epoch, loss: loss.clone() });
                }
            }
            Outside::AllExcept(except) => {
                let mut except = except.clone();
                let mut lost = self.direct_outside();
                lost.retain(|&peer| self.is_lost_with(outside, peer));
                for peer in lost {
                    except.push(peer);
                    let whom = self.lost_by_tree(peer, loss, out);
                    relay.wakes.push(Wake { whom, epoch, loss: loss.clone() });
                }
                let whom = Whom::OutsideExcept(except);
                relay.wakes.push(Wake { whom, epoch, loss: loss.clone() });
            }
        }
        let children: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, state)| state.side == Side::Child)
            .map(|(&link, _)| link)
            .collect();
        for link in children {
            let Some(state) = self.links.get(&link) else { continue };
            let is_lost = |id: ContextId| self.is_lost_with(outside, id);
            let listed: Vec<ContextId> = match outside {
                Outside::Listed(ids) if state.addressed_all() => {
                    ids.iter().copied().filter(|&id| is_lost(id)).collect()
                }
                _ => state.addressed().filter(|&id| is_lost(id)).collect(),
            };
            let tell_all_except = match outside {
                Outside::AllExcept(except) if state.addressed_all() => {
                    Some(self.all_except(link, except))
                }
                _ => None,
            };
            if let Some(state) = self.links.get_mut(&link) {
                for &id in &listed {
                    state.forget_addressed(id);
                    out.push(Effect::Remove { context: id });
                }
            }
            self.tell(link, &[], &listed, loss, relay);
            if let Some(except) = tell_all_except {
                let stamp = self.stamp(link);
                let outside = Outside::AllExcept(except);
                relay.out.push((
                    link,
                    LinkMessage::DelRoute(DelRoute {
                        stamp,
                        routes: Vec::new(),
                        outside,
                        loss: loss.clone(),
                    }),
                ));
            }
        }
    }

    /// Whether a withdrawal of what lies outside is about this context.
    fn is_lost_with(&self, outside: &Outside, id: ContextId) -> bool {
        let is_named = match outside {
            Outside::None => false,
            Outside::Listed(ids) => ids.contains(&id),
            Outside::AllExcept(except) => !except.contains(&id),
        };
        is_named && !self.is_inside(id)
    }

    /// What a child can still reach through this context when everything beyond is lost: this context and its other children's
    /// subtrees. The list is cut at its bound; whoever falls off it is taken for lost by that child, which errs towards telling.
    fn all_except(&self, link: LinkId, except: &[ContextId]) -> Vec<ContextId> {
        let inside = self.table.iter().filter(|(_, route)| route.link != link).map(|(id, _)| id);
        let mut ids: Vec<_> =
            std::iter::once(self.me).chain(inside).chain(except.iter().copied()).collect();
        ids.truncate(MAX_WITHDRAWN);
        ids
    }
}

/// Lets contexts linger at a link whose word is about to take their routes; gives them back for the copies to come.
pub(super) fn linger(link: LinkId, contexts: &[ContextId], out: &mut Effects) -> Vec<ContextId> {
    out.extend(contexts.iter().map(|&context| Effect::Linger { link, context }));
    contexts.to_vec()
}
