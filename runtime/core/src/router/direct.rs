//! Direct links come and go beside the tree (protocol rules 8 and 9).
//!
//! They change no route and nobody else hears of them. Whoever loses one of two ways to a context hears of it as of a lost route,
//! but for its watches, which are asked again by the way that is left.
//!
//! The two ends learn of a loss each in its own time. One that has, says so by the way that is left before it asks anything there;
//! otherwise the other would still answer by the way that is lost, and nothing would ever wake whoever waits for that answer.

use super::{Effect, Effects, RouterCore};
use crate::{
    id::{ContextId, LinkId},
    policy::Side,
    route::{
        direct::Candidates,
        path::Way,
        propagate::{Neighbourhood, Relay, Wake, Whom},
    },
    wire::{
        control::{Loss, LossKind},
        direct::Lost,
    },
};

impl RouterCore {
    /// The links by which a context can be reached.
    pub fn candidates(&self, context: ContextId) -> Candidates {
        let tree = self.table.get(context).map(|route| route.link).or(self.parent);
        Candidates { tree, direct: self.direct.get(context) }
    }

    pub(super) fn direct_up(&mut self, link: LinkId, peer: ContextId, out: &mut Effects) {
        self.links.insert(link, Neighbourhood::new(peer, Side::Direct));
        let to = Way::Direct(link);
        if let Some(stale) = self.direct.open(peer, link) {
            let ended = self.begin_epoch(out);
            if let Some(state) = self.links.get_mut(&stale) {
                state.superseded = Some(ended);
            }
            out.push(Effect::Broken { context: peer, way: Way::Direct(stale), other: Some(to) });
            let text = format!("{peer} has opened a newer link");
            out.push(Effect::Close { link: stale, kind: LossKind::Moved, text });
        }
        out.push(match self.candidates(peer).tree {
            Some(_) => Effect::Change { context: peer, to },
            // There is nothing to flush it by.
            None => Effect::Broken { context: peer, way: Way::Tree, other: Some(to) },
        });
    }

    pub(super) fn direct_down(
        &mut self,
        link: LinkId,
        state: &Neighbourhood,
        loss: &Loss,
        out: &mut Effects,
    ) -> Relay {
        let peer = state.peer;
        let is_present = self.direct.close(peer, link);
        let epoch = state.superseded.unwrap_or_else(|| self.begin_epoch(out));
        if is_present {
            self.break_direct(peer, link, out);
        }
        let whom = if self.candidates(peer).best().is_some() {
            out.push(Effect::AskAgain { context: peer });
            Whom::Calls(peer)
        } else {
            out.push(Effect::Remove { context: peer });
            Whom::Context(peer)
        };
        Relay { wakes: vec![Wake { whom, epoch, loss: loss.clone() }], ..Relay::default() }
    }

    /// A direct link is left by both ends. Unlike one that breaks it wakes nobody: what was asked by it is answered by the tree.
    pub(super) fn given_up(&mut self, link: LinkId, out: &mut Effects) {
        let Some(state) = self.links.get(&link) else { return };
        let peer = state.peer;
        if state.side != Side::Direct || !self.direct.close(peer, link) {
            return;
        }
        self.links.remove(&link);
        let other = self.candidates(peer).best();
        out.push(Effect::Broken { context: peer, way: Way::Direct(link), other });
    }

    /// Whose waits end when the tree loses a context. A process that is known to have ended takes its direct links with it (protocol
    /// rule 32): their own silence would be noticed much later.
    pub(super) fn lost_by_tree(&self, context: ContextId, loss: &Loss, out: &mut Effects) -> Whom {
        let Some(link) = self.direct.get(context) else { return Whom::Context(context) };
        if loss.kind == LossKind::ProcessExited && loss.context == context {
            let text = loss.text.clone();
            out.push(Effect::Close { link, kind: LossKind::ProcessExited, text });
        }
        out.push(Effect::AskAgain { context });
        Whom::Calls(context)
    }

    /// A direct link that was the present one leads to its peer no more.
    fn break_direct(&mut self, peer: ContextId, link: LinkId, out: &mut Effects) {
        let other = self.candidates(peer).best();
        match other {
            Some(Way::Tree) => self.tell_lost(peer, Way::Tree, out),
            Some(Way::Direct(_)) => {}
            None => self.direct.leave_untold(peer),
        }
        out.push(Effect::Broken { context: peer, way: Way::Direct(link), other });
    }

    /// The tree leads to some contexts no more: those with a direct link are reached by that alone.
    pub(super) fn break_tree(&mut self, lost: &[ContextId], out: &mut Effects) {
        for &context in lost {
            let Some(link) = self.direct.get(context) else { continue };
            let by = Way::Direct(link);
            self.tell_lost(context, by, out);
            out.push(Effect::Broken { context, way: Way::Tree, other: Some(by) });
        }
    }

    /// The tree leads to some contexts anew.
    pub(super) fn tell_untold(
        &mut self,
        is_reached: impl Fn(ContextId) -> bool,
        out: &mut Effects,
    ) {
        for peer in self.direct.take_untold(is_reached) {
            self.tell_lost(peer, Way::Tree, out);
        }
    }

    /// The contexts beyond the parent to which there are direct links.
    pub(super) fn direct_outside(&self) -> Vec<ContextId> {
        let peers = self.direct.iter().map(|(peer, _)| peer);
        peers.filter(|&peer| !self.is_inside(peer)).collect()
    }

    fn tell_lost(&mut self, context: ContextId, by: Way, out: &mut Effects) {
        self.losses += 1;
        let lost = Lost { incarnation: self.incarnation, number: self.losses };
        out.push(Effect::TellLost { context, by, lost });
    }

    /// The other end of two ways says that it has lost the one by which this does not come.
    pub(super) fn told_lost(
        &mut self,
        link: LinkId,
        peer: ContextId,
        lost: Lost,
        out: &mut Effects,
    ) {
        let direct = self.direct.get(peer);
        if direct == Some(link) {
            let other = Some(Way::Direct(link));
            return out.push(Effect::Broken { context: peer, way: Way::Tree, other });
        }
        // A word that a link brings of itself is about one that has been replaced since.
        let is_by_tree = self.links.get(&link).is_some_and(|state| state.side != Side::Direct);
        if !is_by_tree || !self.direct.is_news(peer, lost) {
            return;
        }
        let Some(direct) = direct else {
            // This context has lost it before. What it has asked since may have been answered by it all the same, if the word of
            // that did not get through.
            return out.push(Effect::AskAgain { context: peer });
        };
        self.direct.close(peer, direct);
        let ended = self.begin_epoch(out);
        if let Some(state) = self.links.get_mut(&direct) {
            state.superseded = Some(ended);
        }
        self.break_direct(peer, direct, out);
        let text = format!("{peer} has lost it");
        out.push(Effect::Close { link: direct, kind: LossKind::LinkClosed, text });
    }
}
