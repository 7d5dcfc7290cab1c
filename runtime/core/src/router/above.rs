//! Who stands above this context. Authority comes from there ([`crate::policy::has_parent_authority`]), so a subtree that moves
//! must hear whom it is below now, and an orphan that it is below nobody (protocol rule 28).

use super::{Effect, Effects, RouterCore};
use crate::{
    id::{ContextId, LinkId, StreamId},
    limits::MAX_WITHDRAWN,
    offence::{Offence, OffenceKind},
    policy::Side,
    wire::control::{Contexts, LinkMessage},
};

impl RouterCore {
    /// The parent and those above it, nearest first; `None` while the word of a parent that has just been found is to come.
    pub fn above(&self) -> Option<&[ContextId]> {
        self.above.as_deref()
    }

    /// A parent says who stands above it.
    pub(super) fn line(&mut self, link: LinkId, contexts: &Contexts, out: &mut Effects) {
        let Some(state) = self.links.get(&link) else { return };
        let peer = state.peer;
        if state.side != Side::Parent {
            let kind = OffenceKind::Malformed;
            return out.push(Effect::Offence(Offence { kind, offender: peer, about: peer }));
        }
        if self.parent != Some(link) {
            return;
        }
        let mut above: Vec<ContextId> =
            std::iter::once(peer).chain(contexts.contexts.iter().copied()).collect();
        if above.contains(&self.me) {
            let (kind, about) = (OffenceKind::Misplaced, self.me);
            return out.push(Effect::Offence(Offence { kind, offender: peer, about }));
        }
        above.truncate(MAX_WITHDRAWN);
        self.stand_below(above, out);
    }

    /// From now on these stand above; the host and the children hear of it if it is new.
    pub(super) fn stand_below(&mut self, above: Vec<ContextId>, out: &mut Effects) {
        if self.above.as_ref() == Some(&above) {
            return;
        }
        out.push(Effect::Above(above.clone()));
        self.above = Some(above);
        let children: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, state)| state.side == Side::Child)
            .map(|(&link, _)| link)
            .collect();
        for child in children {
            self.tell_line(child, out);
        }
    }

    /// Tells a child who stands above it, if this context knows.
    pub(super) fn tell_line(&self, child: LinkId, out: &mut Effects) {
        let Some(above) = &self.above else { return };
        // This context itself is who it is by the link.
        let message = LinkMessage::Above(Contexts { contexts: above.clone() });
        out.push(Effect::Send { link: child, stream: Some(StreamId::CONTROL), message });
    }
}
