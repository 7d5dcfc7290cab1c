//! Revocations: a context whose certificate is good no more has no link and no route (protocol rule 26).

use super::{Effect, Effects, RouterCore, send_everywhere};
use crate::{
    id::{ContextId, LinkId},
    wire::control::{Loss, LossKind},
};

impl RouterCore {
    /// Closes the links to these contexts, and withdraws those of them that lie further below. What lies behind them follows when their
    /// own neighbours have closed the links; nobody can be asked to do that sooner.
    pub(super) fn revoked(&mut self, contexts: &[ContextId], out: &mut Effects) {
        for &context in contexts {
            let loss = Loss::new(LossKind::Revoked, context, "its certificate is revoked");
            let links: Vec<LinkId> = self
                .links
                .iter()
                .filter(|(_, state)| state.peer == context)
                .map(|(&link, _)| link)
                .collect();
            // The end of a link withdraws all that is behind it.
            let behind = self.table.get(context).map(|route| route.link);
            if behind.is_some_and(|behind| !links.contains(&behind)) {
                let relay = self.withdraw(&[context], None, &loss, None, out);
                send_everywhere(relay, out);
            }
            let text = loss.text;
            out.extend(links.into_iter().map(|link| Effect::Close {
                link,
                kind: LossKind::Revoked,
                text: text.clone(),
            }));
        }
    }
}
