//! What a context lets in of what is published: messages whose signature holds, if they have one, and that its policy allows.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use super::actor::Carried;
use crate::{
    context::Context,
    publish::{self, Checked, Identity, PublishPolicy, Unfit},
};

/// What was refused, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) oversize: u64,
    pub(crate) forged: u64,
    pub(crate) revoked: u64,
    pub(crate) not_permitted: u64,
    /// No neighbour had room for it.
    pub(crate) no_room: u64,
    /// It cannot come from where it came from.
    pub(crate) misplaced: u64,
}

/// So many messages are known again.
const MOST_KNOWN: usize = 10_000;

/// The messages that came last.
#[derive(Debug, Default)]
struct Known {
    messages: HashSet<Identity>,
    order: VecDeque<Identity>,
}

impl Known {
    /// Whether a message is among them already; it is from now on.
    fn has(&mut self, message: Identity) -> bool {
        if !self.messages.insert(message) {
            return true;
        }
        self.order.push_back(message);
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
        false
    }
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    policy: Option<PublishPolicy>,
    refused: Refused,
    known: Known,
}

/// What may come in.
#[derive(Debug)]
pub(super) struct Admitted {
    /// What holds of its signature, if it has one.
    pub(super) signed: Option<Arc<Checked>>,
    /// It has come before: its publisher has sent it again. Consumers answer that, and subscriptions have had it.
    pub(super) is_again: bool,
}

impl Gate {
    pub(super) fn set_policy(&mut self, policy: Option<PublishPolicy>) {
        self.policy = policy;
    }

    pub(super) fn refused(&self) -> Refused {
        self.refused
    }

    /// What holds of a message's signature, if the message may come in. Who waits for an acknowledgement of a consumer here learns when the policy
    /// refuses it; a signature that does not hold is answered by nothing.
    pub(super) fn admit(
        &mut self,
        cx: &Context,
        carried: &Carried,
        is_consumed: bool,
    ) -> Option<Admitted> {
        let signed = self.checked(cx, carried, None)?;
        if self.lets(cx, carried, signed.as_deref()) {
            let known = &mut self.known;
            let again = |signed: &Arc<Checked>| known.has(signed.identity(carried.from));
            let is_again = signed.as_ref().is_some_and(again);
            return Some(Admitted { signed, is_again });
        }
        if let Some(checked) = signed.as_deref().filter(|_| is_consumed) {
            publish::reject(
                cx,
                carried.from,
                checked,
                "the policy of this context does not allow it",
            );
        }
        None
    }

    /// What holds of the signature of a message that a recorder took at this time, if the message may come in: it is checked and counted as one that comes now.
    /// Subscriptions do not have it by that.
    pub(super) fn admit_recorded(
        &mut self,
        cx: &Context,
        carried: &Carried,
        at: SystemTime,
    ) -> Option<Option<Arc<Checked>>> {
        let signed = self.checked(cx, carried, Some(at))?;
        self.lets(cx, carried, signed.as_deref()).then_some(signed)
    }

    /// What holds of a message's signature, if it has one; nothing where it has one that does not hold.
    fn checked(
        &mut self,
        cx: &Context,
        carried: &Carried,
        at: Option<SystemTime>,
    ) -> Option<Option<Arc<Checked>>> {
        let Some(signed) = &carried.signed else { return Some(None) };
        match publish::check(cx, carried, signed, at) {
            Ok(checked) => Some(Some(Arc::new(checked))),
            Err(unfit) => {
                match unfit {
                    Unfit::Oversize => self.refused.oversize += 1,
                    Unfit::Forged => self.refused.forged += 1,
                    Unfit::Revoked => self.refused.revoked += 1,
                }
                tracing::warn!(context = %cx.id(), from = %carried.from, ?unfit, "a signed publication is refused");
                None
            }
        }
    }

    fn lets(&mut self, cx: &Context, carried: &Carried, signed: Option<&Checked>) -> bool {
        let names = signed.map_or(&[][..], Checked::publisher_names);
        let lets = |policy: &PublishPolicy| policy.lets(carried.from, names, &carried.topic);
        if self.policy.as_ref().is_none_or(lets) {
            return true;
        }
        self.refused.not_permitted += 1;
        tracing::warn!(context = %cx.id(), from = %carried.from, topic = carried.topic, "the policy does not allow a publication");
        false
    }
}

#[cfg(test)]
mod tests {
    use actogen_runtime::core::ContextId;

    use super::*;
    use crate::MessageId;

    #[test]
    fn the_messages_that_came_last_are_known_again() {
        let mut known = Known::default();
        let message = |id| (ContextId(1), MessageId::new(id), [0; 32]);
        for id in 0..=MOST_KNOWN as u128 {
            assert!(!known.has(message(id)));
        }
        assert!(known.has(message(1)), "it is among the last");
        assert!(!known.has(message(0)), "it has been forgotten");
        assert_eq!((known.messages.len(), known.order.len()), (MOST_KNOWN, MOST_KNOWN));
    }
}
