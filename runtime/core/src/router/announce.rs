//! ADD_ROUTE: contexts arrive below, attach again, and leave (protocol rule 3).

use super::{Effect, Effects, RouterCore, withdraw::linger};
use crate::{
    id::{ContextId, LinkId},
    offence::{Offence, OffenceKind},
    policy::Side,
    route::propagate::Relay,
    wire::control::{AddRoute, Announcement, LinkMessage, Loss, LossKind},
};

impl RouterCore {
    pub(super) fn add_route(&mut self, link: LinkId, add: AddRoute, out: &mut Effects) -> Relay {
        let AddRoute { stamp, announcement } = add;
        let Some(state) = self.links.get(&link) else { return Relay::default() };
        let (peer, side) = (state.peer, state.side);
        if state.replaced || !state.is_news(announcement.context, stamp) {
            return Relay::default();
        }
        let verdict = match side {
            Side::Child => self.check_announcement(link, peer, &announcement),
            Side::Parent => self.check_departure(&announcement),
            Side::Direct => Err(OffenceKind::Misplaced),
        };
        if let Err(kind) = verdict {
            let about = announcement.context;
            out.push(Effect::Offence(Offence { kind, offender: peer, about }));
            let mut relay = Relay::default();
            if kind == OffenceKind::OldAnnouncement && side == Side::Child {
                self.correct(link, about, &mut relay, out);
            }
            return relay;
        }
        self.note_said(link, announcement.context, stamp);
        match side {
            Side::Child => self.arrive(link, announcement, out),
            Side::Parent => self.depart(announcement, out),
            Side::Direct => Relay::default(),
        }
    }

    /// Announces this context as before, with its certificate as it is now. The same attachment at the same place is no news to anybody, and
    /// takes the place of the older word.
    pub(super) fn announce_anew(&mut self, out: &mut Effects) {
        let Some(link) = self.parent else { return };
        let Some(peer) = self.links.get(&link).map(|state| state.peer) else { return };
        let announcement = self.announce_self(peer);
        self.own = Some(announcement.clone());
        let stamp = self.stamp(link);
        let message = LinkMessage::AddRoute(AddRoute { stamp, announcement });
        out.push(Effect::Send { link, stream: None, message });
    }

    /// Whether a child may announce this (protocol rule 3).
    fn check_announcement(
        &self,
        link: LinkId,
        peer: ContextId,
        announcement: &Announcement,
    ) -> Result<(), OffenceKind> {
        let context = announcement.context;
        let is_through = |id| self.table.get(id).is_some_and(|route| route.link == link);
        let placed = if context == peer {
            announcement.parent == self.me
        } else {
            is_through(peer) && is_through(announcement.parent) && announcement.parent != context
        };
        // The root is below nobody, and this context is not below itself.
        if context == self.me && self.own.as_ref().is_some_and(|own| announcement.is_before(own)) {
            return Err(OffenceKind::OldAnnouncement);
        }
        if !placed || context == self.me || context.is_root() {
            return Err(OffenceKind::Misplaced);
        }
        // A context cannot come to hang below one that is below itself.
        if self.table.subtree(context).contains(&announcement.parent) {
            return Err(OffenceKind::Misplaced);
        }
        let known = self.table.get(context);
        match known {
            Some(route) if announcement.is_before(&route.announcement) => {
                return Err(OffenceKind::OldAnnouncement);
            }
            // The same attachment is at one place only.
            Some(route)
                if (announcement.incarnation, announcement.attachment) == route.version()
                    && (route.link, route.announcement.parent) != (link, announcement.parent) =>
            {
                return Err(OffenceKind::OldAnnouncement);
            }
            // Nor does a route that has gone come back by an older word than its last.
            None if self
                .table
                .last_version(context)
                .is_some_and(|last| (announcement.incarnation, announcement.attachment) < last) =>
            {
                return Err(OffenceKind::OldAnnouncement);
            }
            None if self.table.len() >= self.limits.routes => return Err(OffenceKind::Quota),
            _ => {}
        }
        if self.credentials.verify(announcement) { Ok(()) } else { Err(OffenceKind::BadSignature) }
    }

    /// Whether the parent may say with this announcement that a context has left the own subtree.
    fn check_departure(&self, announcement: &Announcement) -> Result<(), OffenceKind> {
        let Some(route) = self.table.get(announcement.context) else { return Ok(()) };
        if (announcement.incarnation, announcement.attachment) <= route.version() {
            return Err(OffenceKind::OldAnnouncement);
        }
        if self.is_inside(announcement.parent) {
            return Err(OffenceKind::Misplaced);
        }
        if self.credentials.verify(announcement) { Ok(()) } else { Err(OffenceKind::BadSignature) }
    }

    fn arrive(&mut self, link: LinkId, announcement: Announcement, out: &mut Effects) -> Relay {
        let (context, incarnation) = (announcement.context, announcement.incarnation);
        let mut relay = Relay::default();
        let known = self.table.get(context).map(|route| (route.link, route.version()));
        let is_new =
            known.is_none_or(|(_, version)| version < (incarnation, announcement.attachment));
        if is_new && let Some(state) = self.links.get_mut(&link) {
            // Whoever is behind this link knows already that the context is there now.
            state.forget_addressed(context);
        }
        if let Some((old, _)) = known
            && is_new
        {
            let loss = Loss::new(
                LossKind::Moved,
                context,
                "it attached again, elsewhere or by another link",
            );
            let gone = self.table.subtree(context);
            // Below another parent behind the same link, those below it come back by their own announcements.
            let passes = if old == link { linger(link, &gone[1..], out) } else { Vec::new() };
            // The parent hears of it by the announcement itself, but of those below it by name: word of their arrival may still
            // be on its way up, by slower streams of the old link, and must find that it is over.
            relay = self.withdraw(&gone, Some(link), &loss, Some(context), out);
            relay.passes = passes;
            if old != link {
                self.leave_old_link(old, &announcement, &mut relay, out);
            }
        } else if known.is_none() {
            // It may have been addressed while it was outside: whoever did waits for an answer by a way that is no more.
            let loss = Loss::new(LossKind::Moved, context, "it attached elsewhere");
            relay = self.withdraw(&[context], Some(link), &loss, None, out);
        }
        self.table.install(link, announcement.clone());
        if is_new {
            out.push(Effect::Install { context, incarnation, link });
            self.tell_untold(|peer| peer == context, out);
            out.push(Effect::Up { context, incarnation });
        }
        if let Some(parent) = self.parent {
            let stamp = self.stamp(parent);
            relay.out.push((parent, LinkMessage::AddRoute(AddRoute { stamp, announcement })));
        }
        relay
    }

    /// A child takes a context to be where it is no more, in error or not: its newer word goes down to where the old one came from.
    fn correct(&mut self, link: LinkId, context: ContextId, relay: &mut Relay, out: &mut Effects) {
        let newer = if context == self.me {
            self.own.clone()
        } else {
            self.table
                .get(context)
                .filter(|route| route.link != link)
                .map(|r| r.announcement.clone())
        };
        if let Some(newer) = newer {
            self.leave_old_link(link, &newer, relay, out);
        }
    }

    /// The signed announcement goes down the link that the context has left; the context's own old link is closed.
    fn leave_old_link(
        &mut self,
        old: LinkId,
        announcement: &Announcement,
        relay: &mut Relay,
        out: &mut Effects,
    ) {
        let Some(peer) = self.links.get(&old).map(|state| state.peer) else { return };
        if peer == announcement.context {
            let text = format!("{peer} has attached again by a newer link");
            out.push(Effect::Close { link: old, kind: LossKind::Moved, text });
            return;
        }
        let stamp = self.stamp(old);
        relay.out.push((
            old,
            LinkMessage::AddRoute(AddRoute { stamp, announcement: announcement.clone() }),
        ));
    }

    /// A context has left the own subtree, as its own signature says: its routes go, and the word goes down to where it was.
    fn depart(&mut self, announcement: Announcement, out: &mut Effects) -> Relay {
        let context = announcement.context;
        let Some(old) = self.table.get(context).map(|route| route.link) else {
            return Relay::default();
        };
        let loss = Loss::new(LossKind::Moved, context, "it attached elsewhere");
        let gone = self.table.subtree(context);
        let mut relay = self.withdraw(&gone, Some(old), &loss, Some(context), out);
        self.leave_old_link(old, &announcement, &mut relay, out);
        relay
    }
}
