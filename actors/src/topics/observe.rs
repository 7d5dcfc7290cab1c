//! Looking at what is published, whatever its type: for tools.

use std::{fmt, sync::Arc};

use actogen_runtime::core::ContextId;
use bytes::Bytes;

use super::{
    PublishError,
    actor::{Does, FromHere, To},
    inbox::{Arrived, Inbox},
};
use crate::{
    MessageId, Sequence, context::Context, directory::Here, message::Codec, publish::Checked,
};

/// A message of whatever type, as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observed {
    /// What it was published under.
    pub topic: String,
    /// The context that published it; see [`Published::from`](super::Published::from).
    pub from: ContextId,
    /// The tag of its type.
    pub tag: u64,
    /// How its body is encoded; `None` for a codec that this build does not have.
    pub codec: Option<Codec>,
    /// The encoded message.
    pub body: Bytes,
    /// Who has signed it, if it was published with a signature: one that does not hold is not shown at all.
    pub signature: Option<ObservedSignature>,
}

/// What a signature that holds says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedSignature {
    /// The message's id.
    pub id: MessageId,
    /// Its place among its publisher's messages.
    pub sequence: Sequence,
    /// The names that the publisher's certificate carries.
    pub names: Vec<String>,
}

impl ObservedSignature {
    pub(crate) fn of(checked: &Checked) -> Self {
        Self {
            id: checked.id(),
            sequence: checked.place(),
            names: checked.publisher_names().to_vec(),
        }
    }
}

/// Messages of any type under topics that match a pattern. Dropping it ends it.
pub struct Observation {
    context: Context,
    number: u64,
    inbox: Arc<Inbox>,
}

impl Observation {
    /// The next message, in the order of its publisher. Waits for it; may be given up without losing one.
    ///
    /// # Errors
    /// How many were dropped in its place, because nobody took what waited: 4 MiB.
    pub async fn next(&mut self) -> Result<Observed, u64> {
        let Arrived { topic, from, tag, codec, body, signed } = self.inbox.next().await?;
        let signature = signed.as_deref().map(ObservedSignature::of);
        Ok(Observed { topic, from, tag, codec: Codec::from_number(codec), body, signature })
    }
}

impl fmt::Debug for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observation").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        // If there is no room for that, the next message finds nobody.
        let unsubscribe = Does::Unsubscribe { number: self.number };
        let _ = self.context.topics().try_send(FromHere(Here(unsubscribe)));
    }
}

impl Context {
    /// Looks at messages of whatever type under topics that match a pattern, as [`Self::subscribe`] does at those of one.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn observe(&self, pattern: &str) -> Result<Observation, PublishError> {
        let inbox = Arc::<Inbox>::default();
        let to = To::Inbox { inbox: Arc::downgrade(&inbox), tag: None };
        let number = self.subscribe_to(pattern, to)?;
        Ok(Observation { context: self.clone(), number, inbox })
    }
}
