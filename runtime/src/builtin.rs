//! The mailboxes that every context has of itself: watching, names, round trips, ids, the request to end.

use std::{sync::Arc, time::Duration};

use actogen_core::{ContextId, DeadReason, Handle, Handled, policy::Policy};
use serde::{Deserialize, Serialize};

use crate::{
    batch::Batch,
    context::Context,
    enrol,
    envelope::Envelope,
    mailbox::{Mailbox, Watcher},
    watching::AGAIN,
};

/// The longest name that can be registered, in bytes.
pub(crate) const MAX_NAME: usize = 256;

/// What the root is asked to end a context within.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct EndWithin {
    pub(crate) millis: u64,
}

/// A mailbox that is a function: handles each envelope at once, where it arrives.
struct Builtin<F>(F);

impl<F> Mailbox for Builtin<F>
where
    F: Fn(&Context, Envelope, &[u8]) + Send + Sync + 'static,
{
    fn push(&self, context: &Context, batch: Batch) {
        for envelope in batch.into_envelopes(context) {
            let body = envelope.body.clone();
            (self.0)(context, envelope, &body);
        }
    }
}

fn malformed(context: &Context, envelope: Envelope) {
    context.refuse(envelope, DeadReason::Malformed, Handled::No, "the request does not decode");
}

/// Reads a body that must be just one value.
pub(crate) fn take<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// Answers with a value of the runtime's own.
pub(crate) fn reply<T: Serialize>(envelope: Envelope, value: &T) {
    if let Some(port) = envelope.reply {
        let bytes = postcard::to_extend(value, Vec::new())
            .expect("an answer of ours has no form that postcard lacks");
        port.value(&bytes);
    }
}

/// Binds the mailboxes that every context has.
pub(crate) fn bind_all(context: &Context) {
    crate::launch::bind(context);
    bind(context, Handle::PING, Policy::Anyone, |_, envelope, body| {
        if let Some(port) = envelope.reply {
            port.value(body);
        }
    });
    bind(context, Handle::WATCH, Policy::Anyone, watch);
    bind(context, Handle::UNWATCH, Policy::Anyone, unwatch);
    bind(context, Handle::LOOKUP, Policy::Anyone, |context, envelope, body| {
        match take::<String>(body) {
            Some(name) => reply(envelope, &context.mailboxes().lookup(&name)),
            None => malformed(context, envelope),
        }
    });
    bind(
        context,
        Handle::SHUTDOWN,
        Policy::ParentAuthority,
        |context, envelope, body| match take::<EndWithin>(body) {
            Some(EndWithin { millis }) => {
                let source = envelope.origin.source;
                reply(envelope, &());
                context.request_end(
                    &format!("{source} asked it to end"),
                    Duration::from_millis(millis),
                );
            }
            None => malformed(context, envelope),
        },
    );
    bind(
        context,
        Handle::PAUSE,
        Policy::Anyone,
        |context, envelope, body| match <[u8; 8]>::try_from(body) {
            Ok(handle) => context.pause(envelope.origin.source, Handle(u64::from_le_bytes(handle))),
            Err(_) => malformed(context, envelope),
        },
    );
    bind(context, Handle::CANCEL, Policy::Anyone, |context, envelope, body| {
        match <[u8; 8]>::try_from(body) {
            Ok(reply) => {
                context.note_given_up(envelope.origin.source, Handle(u64::from_le_bytes(reply)))
            }
            Err(_) => malformed(context, envelope),
        }
    });
    bind(context, Handle::RESUME, Policy::Anyone, |context, envelope, body| {
        match <[u8; 8]>::try_from(body) {
            Ok(handle) => {
                context.resume(envelope.origin.source, Handle(u64::from_le_bytes(handle)))
            }
            Err(_) => malformed(context, envelope),
        }
    });
    let descendants = Policy::custom("is_descendant", |origin, family| {
        origin.source == family.me
            || origin
                .neighbour
                .is_some_and(|neighbour| neighbour.side == actogen_core::policy::Side::Child)
    });
    bind(context, Handle::ALLOCATE_ID, descendants, enrol::allocate);
    crate::direct::bind(context);
    bind(context, Handle::WHO_HAS, Policy::Anyone, crate::who_has::answer);
}

pub(crate) fn bind<F>(context: &Context, handle: Handle, policy: Policy, handler: F)
where
    F: Fn(&Context, Envelope, &[u8]) + Send + Sync + 'static,
{
    context.bind_reserved(handle, Arc::new(Builtin(handler)), policy);
}

fn watch(context: &Context, mut envelope: Envelope, body: &[u8]) {
    let (body, is_again) = match body {
        [body @ .., AGAIN] if body.len() == 8 => (body, true),
        body => (body, false),
    };
    let (Ok(target), Some(port)) = (<[u8; 8]>::try_from(body), envelope.reply.take()) else {
        return malformed(context, envelope);
    };
    let watcher = Watcher { context: envelope.origin.source, handle: port.into_handle() };
    let target = Handle(u64::from_le_bytes(target));
    if is_again && context.mailboxes().is_watched_by(target, watcher) {
        return;
    }
    context.watch_local(target, watcher);
}

fn unwatch(context: &Context, envelope: Envelope, body: &[u8]) {
    let Ok(both) = <[u8; 16]>::try_from(body) else { return malformed(context, envelope) };
    let (target, watcher) = both.split_at(8);
    let handle =
        |bytes: &[u8]| Handle(u64::from_le_bytes(bytes.try_into().expect("half of 16 bytes")));
    let watcher = Watcher { context: envelope.origin.source, handle: handle(watcher) };
    context.mailboxes().unwatch(handle(target), watcher);
}

impl Context {
    /// Gives a bound mailbox a name under which others find it in this context. `kind` names the actor's type.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register(&self, name: &str, handle: Handle, kind: &str) -> Result<(), RegisterError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(RegisterError::BadName { name: name.chars().take(40).collect() });
        }
        if self.mailboxes().get(handle).is_none() {
            return Err(RegisterError::NotBound);
        }
        let named = crate::mailbox::Named { handle, kind: kind.to_owned() };
        if self.mailboxes().register(name, named) {
            Ok(())
        } else {
            Err(RegisterError::Taken { name: name.to_owned() })
        }
    }

    /// Looks a name up in a context: the mailbox's handle and the name of its actor's type, if the name is registered there.
    ///
    /// # Errors
    /// The dead reply, when that context cannot be asked.
    pub async fn lookup(
        &self,
        place: Place,
        name: &str,
    ) -> Result<Option<(actogen_core::Address, String)>, actogen_core::Dead> {
        let body = postcard::to_extend(name, Vec::new()).expect("a text has a form in postcard");
        let answer = self.ask(place.address(Handle::LOOKUP), &body).await?;
        let found = take::<Option<crate::mailbox::Named>>(&answer).ok_or_else(|| {
            let text = format!("{} gave an answer that does not decode", place.context);
            actogen_core::Dead::new(DeadReason::Malformed, Handled::Yes, self.id(), text)
        })?;
        Ok(found.map(|named| (place.address(named.handle), named.kind)))
    }

    /// Asks a context for a round trip and gives the time it took.
    ///
    /// # Errors
    /// The dead reply, when that context cannot be asked or does not answer within the limit for requests.
    pub async fn ping(&self, place: Place) -> Result<Duration, actogen_core::Dead> {
        let begun = tokio::time::Instant::now();
        self.ask(place.address(Handle::PING), b"ping").await?;
        Ok(begun.elapsed())
    }

    /// Where this context is, for others.
    pub fn place(&self) -> Place {
        Place { context: self.id(), incarnation: self.incarnation() }
    }

    /// The neighbour behind which a context of the subtree below this one lies, or that is it; `None` for all others.
    pub fn next_hop(&self, context: ContextId) -> Option<ContextId> {
        use actogen_core::route::judge::View;
        let (link, _) = self.routes().route(context)?;
        self.routes().link_to(context, link).map(|link| link.peer)
    }

    /// Where a context of the subtree, or the parent, is; `None` when there is no route to it.
    pub fn place_of(&self, context: ContextId) -> Option<Place> {
        use actogen_core::route::judge::View;
        if context == self.id() {
            return Some(self.place());
        }
        let routed = self.routes().route(context).map(|(_, incarnation)| incarnation);
        let parent = || {
            self.routes()
                .parent_link()
                .filter(|link| link.peer == context)
                .map(|link| link.incarnation)
        };
        routed.or_else(parent).map(|incarnation| Place { context, incarnation })
    }
}

impl Context {
    /// The neighbour on the way to a context: itself, where the link leads straight there. `None` when there is no way.
    pub fn neighbour_towards(&self, context: ContextId) -> Option<Place> {
        let link = self.routes().link_towards(context)?;
        Some(Place { context: link.peer, incarnation: link.incarnation })
    }
}

/// One life of a context: what its addresses have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The context.
    pub context: ContextId,
    /// Its life.
    pub incarnation: actogen_core::Incarnation,
}

impl Place {
    /// The address of a mailbox there.
    pub fn address(self, handle: Handle) -> actogen_core::Address {
        actogen_core::Address { context: self.context, handle, incarnation: self.incarnation }
    }
}

impl From<ContextId> for Place {
    /// Whichever life the context has.
    fn from(context: ContextId) -> Self {
        Self { context, incarnation: actogen_core::Incarnation::ANY }
    }
}

impl From<actogen_core::Address> for Place {
    fn from(address: actogen_core::Address) -> Self {
        Self { context: address.context, incarnation: address.incarnation }
    }
}

/// Why a name could not be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Another actor of this context has the name.
    #[error(
        "the name `{name}` belongs to another actor of this context; stop that one first, or choose another name"
    )]
    Taken {
        /// The name.
        name: String,
    },
    /// The name is empty or too long.
    #[error("`{name}` cannot be a name: give 1 to {MAX_NAME} bytes")]
    BadName {
        /// The name's beginning.
        name: String,
    },
    /// The actor is not bound, or has stopped.
    #[error("the actor is not bound in this context, or has stopped; bind it first")]
    NotBound,
}
