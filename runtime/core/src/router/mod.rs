//! The router as a pure machine: one closed [`Input`], one closed [`Effect`], no clock, lock or I/O of its own.
//!
//! The `Router` actor drives it in production, the simulator and the property tests drive it directly. The order of effects
//! never depends on the iteration order of a hash map, and the host applies them in the order given: a route is installed before
//! its announcement goes on, and removed before its waiters wake.

mod above;
mod announce;
mod dialogue;
mod direct;
mod revoke;
mod withdraw;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use dialogue::{Effect, Effects, Input};

use crate::{
    id::{Attachment, ContextId, Incarnation, LinkId, StreamId},
    limits::Limits,
    offence::{Offence, OffenceKind},
    pending::Epoch,
    policy::Side,
    route::{
        direct::DirectLinks,
        propagate::{BadCopy, Neighbourhood, Relay},
        table::Table,
    },
    wire::control::{AddRoute, Announcement, LinkMessage, Loss, LossKind},
};

/// The context's own key and its judgement of others' signatures, lent by the host.
pub trait Credentials: Send + Sync {
    /// The context's own certificate.
    fn certificate(&self) -> Vec<u8>;
    /// Signs a claim with the context's key.
    fn sign(&self, claim: &[u8]) -> Vec<u8>;
    /// Whether the announcement's certificate is one of this mesh for the context that it names, and its key signed the claim.
    fn verify(&self, announcement: &Announcement) -> bool;
}

/// The route machine of one context.
pub struct RouterCore {
    me: ContextId,
    incarnation: Incarnation,
    attachment: Attachment,
    credentials: Arc<dyn Credentials>,
    limits: Limits,
    table: Table,
    links: BTreeMap<LinkId, Neighbourhood>,
    parent: Option<LinkId>,
    direct: DirectLinks,
    /// How many ways this context has said it has lost.
    losses: u64,
    above: Option<Vec<ContextId>>,
    /// What this context has announced last of itself.
    own: Option<Announcement>,
    epoch: Epoch,
}

impl RouterCore {
    /// The router of a context that has no links yet.
    pub fn new(
        me: ContextId,
        incarnation: Incarnation,
        limits: Limits,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        let table = Table::new(limits.route_tombstones);
        let direct = DirectLinks::new(limits.links);
        Self {
            direct,
            losses: 0,
            me,
            incarnation,
            attachment: Attachment::default(),
            credentials,
            limits,
            table,
            links: BTreeMap::new(),
            parent: None,
            above: Some(Vec::new()),
            own: None,
            epoch: Epoch::default(),
        }
    }

    /// This context.
    pub fn me(&self) -> ContextId {
        self.me
    }

    /// The life of this context.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// What the router knows of its subtree.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The link to the parent.
    pub fn parent(&self) -> Option<LinkId> {
        self.parent
    }

    /// The links that stand, with the state kept for each.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Neighbourhood)> {
        self.links.iter().map(|(&link, state)| (link, state))
    }

    /// Whether a context is this one or lies below it.
    pub fn is_inside(&self, context: ContextId) -> bool {
        context == self.me || self.table.contains(context)
    }

    /// Whether this context may attach below a parent that has these ancestors. It may not while it takes one of them for
    /// someone below itself: either that is true, and the link would close a circle that no root is in, or word that they have
    /// left is still to come, and until then this context would announce them to themselves.
    pub fn may_attach_below(&self, parent: ContextId, ancestors: &[ContextId]) -> bool {
        std::iter::once(parent).chain(ancestors.iter().copied()).all(|above| !self.is_inside(above))
    }

    /// Takes one input and appends what follows from it to `out`.
    pub fn handle(&mut self, input: Input, out: &mut Effects) {
        match input {
            Input::LinkUp { link, peer, side } => self.link_up(link, peer, side, out),
            Input::LinkDown { link, loss } => self.link_down(link, &loss, out),
            Input::GivenUp { link } => self.given_up(link, out),
            Input::Renewed => self.announce_anew(out),
            Input::Revoked { contexts } => self.revoked(&contexts, out),
            Input::Message { link, stream, message } => self.message(link, stream, message, out),
            Input::Addressed { link, context, via } => self.addressed(link, context, via, out),
            Input::Lost { link, peer, lost } => self.told_lost(link, peer, lost, out),
        }
    }

    fn addressed(&mut self, link: LinkId, context: ContextId, via: LinkId, out: &mut Effects) {
        let limit = self.limits.addressed_per_link;
        let Some(state) = self.links.get_mut(&link) else { return };
        if state.side == Side::Direct {
            // It is no way to anybody.
            return;
        }
        state.note_addressed(context, limit);
        let leads = self.table.get(context).map(|route| route.link).or(self.parent);
        if leads != Some(via) && state.side == Side::Child {
            let loss = Loss::new(LossKind::Moved, context, "the way to it went this moment");
            let mut relay = Relay::default();
            self.tell(link, &[], &[context], &loss, &mut relay);
            send_everywhere(relay, out);
        }
    }

    fn link_up(&mut self, link: LinkId, peer: ContextId, side: Side, out: &mut Effects) {
        if side == Side::Direct {
            return self.direct_up(link, peer, out);
        }
        for (&old, state) in &mut self.links {
            if state.peer == peer && state.side != side && state.side != Side::Direct {
                state.replaced = true;
                let text = format!("{peer} stands on the other side of a newer link");
                out.push(Effect::Close { link: old, kind: LossKind::Moved, text });
            }
        }
        self.links.insert(link, Neighbourhood::new(peer, side));
        if side == Side::Child {
            return self.tell_line(link, out);
        }
        // Until the new parent's word comes the old one's holds, or what the opening said.
        self.above = None;
        if let Some(old) = self.parent.replace(link) {
            // Waits that began by the old way end when that does: answers may still come by it.
            let ended = self.begin_epoch(out);
            if let Some(state) = self.links.get_mut(&old) {
                state.superseded = Some(ended);
            }
            let text = format!("{} has attached to {peer}", self.me);
            out.push(Effect::Close { link: old, kind: LossKind::Moved, text });
        }
        out.push(Effect::Parent(Some(link)));
        self.attachment = self.attachment.next();
        let own = self.announce_self(peer);
        self.own = Some(own.clone());
        // Parents before their children: the new parent checks that each announced parent is behind this link.
        let below = self.table.subtree(self.me).into_iter().skip(1);
        let below: Vec<_> = below
            .filter_map(|id| self.table.get(id))
            .map(|route| route.announcement.clone())
            .collect();
        for announcement in std::iter::once(own).chain(below) {
            let stamp = self.stamp(link);
            out.push(Effect::Send {
                link,
                stream: None,
                message: LinkMessage::AddRoute(AddRoute { stamp, announcement }),
            });
        }
        self.tell_untold(|_| true, out);
    }

    fn announce_self(&self, parent: ContextId) -> Announcement {
        let mut own = Announcement {
            context: self.me,
            incarnation: self.incarnation,
            attachment: self.attachment,
            parent,
            certificate: self.credentials.certificate(),
            signature: Vec::new(),
        };
        own.signature = self.credentials.sign(&own.claim());
        own
    }

    fn link_down(&mut self, link: LinkId, loss: &Loss, out: &mut Effects) {
        let Some(mut state) = self.links.remove(&link) else { return };
        for (relay, streams) in state.abandon() {
            for stream in streams {
                self.carry_on(link, &relay, stream, out);
            }
        }
        let relay = match state.side {
            Side::Parent => {
                if self.parent == Some(link) {
                    self.parent = None;
                    out.push(Effect::Parent(None));
                    self.break_tree(&self.direct_outside(), out);
                    self.stand_below(Vec::new(), out);
                    out.push(Effect::Down { context: state.peer, loss: loss.clone() });
                }
                let epoch = state.superseded.unwrap_or_else(|| self.begin_epoch(out));
                self.lose_outside(epoch, loss, out)
            }
            Side::Child => {
                let lost = self.table.through(link);
                self.withdraw(&lost, Some(link), loss, None, out)
            }
            Side::Direct => self.direct_down(link, &state, loss, out),
        };
        send_everywhere(relay, out);
    }

    fn message(&mut self, link: LinkId, stream: StreamId, message: LinkMessage, out: &mut Effects) {
        let stamp = match &message {
            LinkMessage::AddRoute(add) => add.stamp,
            LinkMessage::DelRoute(del) => del.stamp,
            LinkMessage::Detaching => return self.detaching(link, out),
            LinkMessage::Above(contexts) => return self.line(link, contexts, out),
            // The host's business: how a link ends, how much of it was taken over, what shall wait, and what the authority has signed.
            LinkMessage::Goodbye(_)
            | LinkMessage::Report(_)
            | LinkMessage::Pause(_)
            | LinkMessage::Resume(_)
            | LinkMessage::Revocations(_) => return,
        };
        let Some(state) = self.links.get_mut(&link) else { return };
        let relay = match state.copy(stream, stamp) {
            Ok(Some(relay)) => relay,
            Ok(None) => {
                let relay = match message {
                    LinkMessage::AddRoute(add) => self.add_route(link, add, out),
                    LinkMessage::DelRoute(del) => self.del_route(link, &del, out),
                    _ => return,
                };
                if let Some(state) = self.links.get_mut(&link) {
                    state.begin(stream, stamp, relay.clone());
                }
                relay
            }
            Err(bad) => {
                let peer = state.peer;
                let kind = match bad {
                    BadCopy::Repeated => OffenceKind::BadCopy,
                    BadCopy::TooMany => OffenceKind::Quota,
                };
                out.push(Effect::Offence(Offence { kind, offender: peer, about: peer }));
                out.push(Effect::Close { link, kind: LossKind::Violation, text: kind.to_string() });
                return;
            }
        };
        self.carry_on(link, &relay, stream, out);
    }

    /// Sends on what a copy brings, on the stream where it was read, and wakes the waiters of that lane.
    fn carry_on(&self, from: LinkId, relay: &Relay, stream: StreamId, out: &mut Effects) {
        if !relay.passes.is_empty() {
            out.push(Effect::Passed { link: from, stream, contexts: relay.passes.clone() });
        }
        for (link, message) in &relay.out {
            if self.links.contains_key(link) {
                out.push(Effect::Send {
                    link: *link,
                    stream: Some(stream),
                    message: message.clone(),
                });
            }
        }
        if stream != StreamId::CONTROL {
            out.extend(
                relay
                    .wakes
                    .iter()
                    .map(|wake| Effect::Wake { stream: Some(stream), wake: wake.clone() }),
            );
        }
    }

    fn detaching(&mut self, link: LinkId, out: &mut Effects) {
        let Some(state) = self.links.get(&link) else { return };
        let peer = state.peer;
        if state.side == Side::Child {
            out.push(Effect::Close {
                link,
                kind: LossKind::Detached,
                text: format!("{peer} was detached"),
            });
        } else {
            out.push(Effect::Offence(Offence {
                kind: OffenceKind::Malformed,
                offender: peer,
                about: peer,
            }));
        }
    }

    /// Closes the present epoch: returns it, and lets the host begin the next.
    fn begin_epoch(&mut self, out: &mut Effects) -> Epoch {
        let ended = self.epoch;
        self.epoch = Epoch(ended.0 + 1);
        out.push(Effect::Epoch(self.epoch));
        ended
    }

    fn note_said(&mut self, link: LinkId, context: ContextId, stamp: u64) {
        if let Some(state) = self.links.get_mut(&link) {
            state.note_said(context, stamp);
        }
    }

    fn stamp(&mut self, link: LinkId) -> u64 {
        self.links.get_mut(&link).map_or(0, Neighbourhood::next_stamp)
    }
}

/// Sends what did not come by any stream on all of them, and wakes on all lanes.
fn send_everywhere(relay: Relay, out: &mut Effects) {
    out.extend(relay.out.into_iter().map(|(link, message)| Effect::Send {
        link,
        stream: None,
        message,
    }));
    out.extend(relay.wakes.into_iter().map(|wake| Effect::Wake { stream: None, wake }));
}

impl fmt::Debug for RouterCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterCore")
            .field("me", &self.me)
            .field("incarnation", &self.incarnation)
            .field("attachment", &self.attachment)
            .field("routes", &self.table.len())
            .field("links", &self.links.len())
            .field("parent", &self.parent)
            .finish_non_exhaustive()
    }
}
