//! What a context lets in of what is published: messages whose signature holds, if they have one, and that its policy allows.

use std::sync::Arc;

use super::actor::Carried;
use crate::{
    context::Context,
    publish::{self, Checked, PublishPolicy, Unfit},
};

/// What was refused, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) oversize: u64,
    pub(crate) forged: u64,
    pub(crate) revoked: u64,
    pub(crate) not_permitted: u64,
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    policy: Option<PublishPolicy>,
    refused: Refused,
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
    ) -> Option<Option<Arc<Checked>>> {
        let signed = match &carried.signed {
            None => None,
            Some(signed) => match publish::check(cx, carried, signed) {
                Ok(checked) => Some(Arc::new(checked)),
                Err(unfit) => {
                    match unfit {
                        Unfit::Oversize => self.refused.oversize += 1,
                        Unfit::Forged => self.refused.forged += 1,
                        Unfit::Revoked => self.refused.revoked += 1,
                    }
                    tracing::warn!(context = %cx.id(), from = %carried.from, ?unfit, "a signed publication is refused");
                    return None;
                }
            },
        };
        let names = signed.as_deref().map_or(&[][..], Checked::publisher_names);
        let lets = |policy: &PublishPolicy| policy.lets(carried.from, names, &carried.topic);
        if self.policy.as_ref().is_none_or(lets) {
            return Some(signed);
        }
        self.refused.not_permitted += 1;
        tracing::warn!(context = %cx.id(), from = %carried.from, topic = carried.topic, "the policy does not allow a publication");
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
}
