//! Revocations: a numbered list that the mesh's authority signs (protocol rule 26). The root reads it from the authority and pushes it
//! down; links compare theirs when they open; whoever gets a newer one takes it, closes the links of those on it, and passes it on.
//!
//! What the list looks like and whether its signature holds is the transport's business, as with certificates.

use std::{sync::Arc, time::Duration};

use actogen_core::{
    ContextId, StreamId,
    offence::{Offence, OffenceKind},
    router::Input,
    wire::control::{LinkMessage, LossKind, Revocations},
};

use crate::{
    context::{Context, Phase},
    link::LinkState,
    transport::{Authority, IdentityError},
};

/// How soon the root sees what another process, such as the command line's, has revoked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// At the root: looks whether the authority has revoked anybody, until the context is down.
pub(crate) async fn keep_revoking(context: Context) {
    let Some(authority) = context.authority() else { return };
    let mut phase = context.phase();
    let mut before = None;
    let looking = async {
        loop {
            // Said once for each thing that goes wrong: it will be there in a second again.
            let error = context.spread_revocations(&*authority).err();
            if let Some(error) = error.as_ref().filter(|_| error != before) {
                tracing::warn!(context = %context.id(), "revocations cannot be read: {error}");
            }
            before = error;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = looking => {}
        _ = phase.wait_for(|phase| *phase == Phase::Down) => {}
    }
}

impl Context {
    /// At the root: has the authority revoke the certificate of a context for good. Its links are closed wherever the list arrives, which
    /// is at once where the tree is whole; its id is never given out again.
    ///
    /// # Errors
    /// [`IdentityError`]: this is not the root, `context` is, or the list could not be stored.
    pub fn revoke(&self, context: ContextId) -> Result<(), IdentityError> {
        let Some(authority) = self.authority() else {
            return Err(IdentityError(format!(
                "{} is not the root: only the root has the authority",
                self.id()
            )));
        };
        if let Some(known) = self.0.transport.identity().revocations() {
            // One that was restored from a backup would revoke under a number that everybody has seen.
            authority.recover_revocations(&known)?;
        }
        authority.revoke(context)?;
        self.spread_revocations(&*authority)
    }

    /// At the root: has what its authority has revoked be in force at once.
    pub(crate) fn spread_revocations(
        &self,
        authority: &dyn Authority,
    ) -> Result<(), IdentityError> {
        match authority.revocations()? {
            Some(list) => self.take_revocations(&list, None),
            None => Ok(()),
        }
    }

    /// Whether this context knows the certificate of another, or its own, to be revoked.
    pub fn is_revoked(&self, context: ContextId) -> bool {
        self.0.transport.identity().is_revoked(context)
    }

    /// Takes a list, from this context's own authority or from a link; if it is news, acts by it and passes it on.
    fn take_revocations(&self, list: &[u8], from: Option<&LinkState>) -> Result<(), IdentityError> {
        let Some(contexts) = self.0.transport.identity().take_revocations(list)? else {
            return Ok(());
        };
        tracing::info!(context = %self.id(), revoked = contexts.len(), "a newer list of revocations is in force");
        let message = LinkMessage::Revocations(Revocations { list: list.to_vec() });
        for link in self.links().iter().filter(|link| from.is_none_or(|from| from.id != link.id)) {
            link.send_own(Some(StreamId::CONTROL), &message);
        }
        self.tell_router(Input::Revoked { contexts });
        if let Some(authority) = self.authority().filter(|_| from.is_some()) {
            // Its own list, and newer than what it has. What that list lacks is spread within a second.
            match authority.recover_revocations(list) {
                Ok(true) => {
                    tracing::warn!(context = %self.id(), "the authority has learned of revocations that it had forgotten: was it restored from a backup?");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(context = %self.id(), "revocations that the authority has forgotten are not kept: {error}");
                }
            }
        }
        Ok(())
    }

    /// A link has brought a list. One that the authority has not signed costs the peer its link.
    pub(crate) fn link_revokes(&self, link: &LinkState, list: &[u8]) {
        if let Err(error) = self.take_revocations(list, Some(link)) {
            let (kind, peer) = (OffenceKind::BadSignature, link.peer);
            self.offence(&Offence { kind, offender: peer, about: peer });
            link.cut(LossKind::Violation, &format!("{peer} sent false revocations: {error}"));
        }
    }

    /// Tells the other end of a new link what this context knows; cuts it if the peer was revoked while it opened.
    pub(crate) fn tell_revocations(&self, link: &Arc<LinkState>) {
        let identity = self.0.transport.identity();
        if identity.is_revoked(link.peer) {
            link.cut(LossKind::Revoked, "its certificate is revoked");
        }
        if let Some(list) = identity.revocations() {
            link.send_own(Some(StreamId::CONTROL), &LinkMessage::Revocations(Revocations { list }));
        }
    }
}
