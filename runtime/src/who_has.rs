//! Whose a name is that the authority binds to contexts: asked of the root, as ids are, and answered by its authority, so also for contexts
//! that are away.
//!
//! Anybody in the mesh may ask: certificates, which say the same, are seen by everybody. A question is a name of at most 64 bytes, and its
//! answer comes from a table; asking costs the root no more than a round trip does. What is no name is not asked for at all.

use std::sync::Arc;

use actogen_core::{ContextId, Dead, DeadReason, Handle, Handled};

use crate::{
    builtin::{reply, take},
    context::Context,
    envelope::Envelope,
    names::is_name,
    transport::{Authority, IdentityError},
};

/// The longest question: a name behind its length.
const LONGEST_QUESTION: usize = crate::names::LONGEST_NAME + 1;

/// WHO_HAS at the root.
pub(crate) fn answer(context: &Context, envelope: Envelope, body: &[u8]) {
    let name = (body.len() <= LONGEST_QUESTION).then(|| take::<String>(body)).flatten();
    let Some(name) = name.filter(|name| is_name(name)) else {
        let text = "the request is for no name";
        return context.refuse(envelope, DeadReason::Malformed, Handled::No, text);
    };
    match holder_here(context, &name) {
        Ok(holder) => reply(envelope, &holder),
        Err(text) => {
            if let Some(port) = envelope.reply {
                port.failed(&text);
            }
        }
    }
}

fn holder_here(context: &Context, name: &str) -> Result<Option<ContextId>, String> {
    let Some(authority) = context.authority() else {
        return Err(format!(
            "{} is not the root: only the root knows whose names are",
            context.id()
        ));
    };
    authority.holder(name).map_err(|error| error.0)
}

/// That an authority has bound these names to a context.
pub(crate) fn check_names(
    authority: &dyn Authority,
    context: ContextId,
    names: &[String],
) -> Result<(), IdentityError> {
    for name in names {
        if authority.holder(name)? != Some(context) {
            return Err(IdentityError(format!(
                "the certificate of {context} carries the name `{name}`, which the authority has not bound to it"
            )));
        }
    }
    Ok(())
}

impl Context {
    /// The mesh's authority, at the root; not under the lock, which is for ids.
    pub(crate) fn authority(&self) -> Option<Arc<dyn Authority>> {
        self.0.root.as_ref().map(|root| root.lock().authority.clone())
    }

    /// To which context the mesh's authority has bound a name last: also one that is away, or has been revoked since. `None` when the name was
    /// never bound, or is none.
    ///
    /// # Errors
    /// The dead reply, when the root cannot be asked.
    pub async fn who_has(&self, name: &str) -> Result<Option<ContextId>, Dead> {
        if !is_name(name) {
            return Ok(None);
        }
        if self.0.root.is_some() {
            let refused =
                |text: String| Dead::new(DeadReason::Refused, Handled::Yes, self.id(), text);
            return holder_here(self, name).map_err(refused);
        }
        let body = postcard::to_extend(name, Vec::new()).expect("a text has a form in postcard");
        let answer = self.ask_root(Handle::WHO_HAS, &body).await?;
        take::<Option<ContextId>>(&answer).ok_or_else(|| {
            let text = "the root gave an answer that does not decode".to_owned();
            Dead::new(DeadReason::Malformed, Handled::Yes, ContextId::ROOT, text)
        })
    }
}
