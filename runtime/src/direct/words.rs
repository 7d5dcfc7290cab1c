//! What two contexts tell each other about the paths between them: each word is a message to a reserved handle.

use actogen_core::{
    ContextId, DeadReason, Handle, Handled, StreamId,
    id::PathEpoch,
    wire::{
        Header,
        direct::{Behind, Body, Flush, Flushed},
    },
};

use super::Load;
use crate::{builtin, context::Context, envelope::Envelope, lane::Class};
use actogen_core::policy::Policy;

/// Binds the mailboxes for words about paths, and for those who want a link.
pub(crate) fn bind(context: &Context) {
    for lane in StreamId::lanes() {
        // Its mailbox is handed over behind all that came on the lane before, so the answer says just that.
        builtin::bind(
            context,
            Handle::flush(lane),
            Policy::Anyone,
            move |context, envelope, body| {
                if let Some((source, Flush { number })) = word(context, envelope, body) {
                    context.say_word(
                        source,
                        Handle::FLUSHED,
                        &Flushed { lane: lane.into(), number },
                    );
                }
            },
        );
    }
    builtin::bind(context, Handle::FLUSHED, Policy::Anyone, |context, envelope, body| {
        if let Some((source, Flushed { lane, number })) = word(context, envelope, body) {
            context.flush_has_come(source, lane.into(), number);
        }
    });
    builtin::bind(context, Handle::BEHIND, Policy::Anyone, |context, envelope, body| {
        if let Some((source, Behind { lane, epoch })) = word(context, envelope, body) {
            context.fell_behind(source, lane.into(), epoch);
        }
    });
    let policy = context.0.direct.policy.clone();
    builtin::bind(context, Handle::TICKET, policy, super::admission::asked);
}

/// A word of a context for itself; others are refused.
fn word<T: Body>(context: &Context, envelope: Envelope, body: &[u8]) -> Option<(ContextId, T)> {
    let origin = envelope.origin;
    match T::from_bytes(body) {
        Ok(word) if origin.authority == origin.source && origin.source != context.id() => {
            Some((origin.source, word))
        }
        Ok(_) => {
            let text = "a word about a path is of whoever's path it is, on his own authority";
            context.refuse(envelope, DeadReason::Refused, Handled::No, text);
            None
        }
        Err(error) => {
            context.refuse(envelope, DeadReason::Malformed, Handled::No, error.to_string());
            None
        }
    }
}

impl Context {
    /// Says a word, by whichever way there is: it has no path of its own.
    fn say_word(&self, to: ContextId, handle: Handle, word: &impl Body) {
        let (tag, body) = (0_u64.to_le_bytes(), word.to_bytes());
        let load = Load::Parts(&[&tag, &body]);
        if self.emit(to, None, Header::to(handle), load, Class::Notice).is_err() {
            self.0.counters.dropped_notices.add(1);
        }
    }

    pub(super) fn tell_behind(&self, to: ContextId, lane: StreamId, epoch: PathEpoch) {
        self.say_word(to, Handle::BEHIND, &Behind { lane: lane.into(), epoch });
    }
}
