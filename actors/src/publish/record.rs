//! Taking what is published as it is, signature and all, for somebody who keeps it.

use std::{fmt, sync::Arc};

use actogen_runtime::core::ContextId;
use bytes::Bytes;

use super::{
    acknowledgement::Answer,
    checked::Checked,
    consuming::acknowledge,
    held::Owed,
    message::{self, AckLevel, MessageId, Sequence},
};
use crate::{
    context::Context,
    message::{Codec, CodecError},
    topics::{Carried, Charged, Does, Inbox, PublishError, To},
};

/// A message as it was published: all that its publisher has signed, and the signature.
#[derive(Clone, Debug)]
pub struct Record(pub(super) Carried);

impl Record {
    /// What it was published under.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The context that published it.
    pub fn publisher(&self) -> ContextId {
        self.0.from
    }

    /// Its place among its publisher's messages, if it is signed.
    pub fn sequence(&self) -> Option<Sequence> {
        let signed = self.0.signed.as_ref()?;
        Some(Sequence { series: signed.series, number: signed.sequence })
    }

    /// Its id, if it is signed.
    pub fn id(&self) -> Option<MessageId> {
        Some(self.0.signed.as_ref()?.id)
    }

    /// The hash that is signed, if it is signed: two records with one hash are the same message.
    pub fn hash(&self) -> Option<[u8; 32]> {
        Some(message::hash(&self.0, self.0.signed.as_ref()?))
    }

    /// The form in which it is kept and replayed.
    ///
    /// # Errors
    /// [`CodecError`], which no message that has come over the wire gives.
    pub fn to_bytes(&self) -> Result<Bytes, CodecError> {
        Codec::Postcard.encode(&self.0).map(Bytes::from)
    }

    /// A record of its form. Whether its signature holds is looked at where it is replayed.
    ///
    /// # Errors
    /// [`CodecError`], for bytes that are no record.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        Codec::Postcard.decode(bytes).map(Self)
    }
}

/// A message that has come to a recorder. Its signature holds here and now, if it has one.
#[derive(Debug)]
pub struct Recorded {
    context: Context,
    record: Record,
    checked: Option<Arc<Checked>>,
}

impl Recorded {
    pub(crate) fn new(context: &Context, carried: Carried, checked: Option<Arc<Checked>>) -> Self {
        Self { context: context.clone(), record: Record(carried), checked }
    }

    /// The message.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// It is stored: whoever requires this context gets its acknowledgement. A recorder has handled what it has stored, so this is at
    /// [`Durable`](AckLevel::Durable), and at [`Processed`](AckLevel::Processed) where that is asked.
    pub fn stored(&self) {
        let Some(checked) = &self.checked else { return };
        let answer = Answer::Reached(checked.level.max(AckLevel::Durable));
        let owed = Owed::of(self.record.0.from, checked, answer);
        acknowledge(&self.context, owed.into_iter().collect());
    }
}

impl Charged for Recorded {
    fn charge(&self) -> usize {
        let signed = self.record.0.signed.as_ref();
        // Certificate and signature are most of a small message.
        let signed = signed.map_or(0, |signed| signed.certificate.len() + signed.signature.len());
        self.record.0.charge() + signed
    }
}

/// All that is published under some patterns, as it comes. Dropping it ends it.
pub struct Recording {
    context: Context,
    numbers: Vec<u64>,
    inbox: Arc<Inbox<Recorded>>,
}

impl Recording {
    /// The next message. Waits for it; may be given up without losing one.
    ///
    /// # Errors
    /// How many were dropped in its place, because nobody took what waited: 4 MiB. Nobody has acknowledged those.
    pub async fn next(&mut self) -> Result<Recorded, u64> {
        self.inbox.next().await
    }

    /// The next message that has come already.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn try_next(&mut self) -> Option<Result<Recorded, u64>> {
        self.inbox.try_next()
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("numbers", &self.numbers).finish_non_exhaustive()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        for number in &self.numbers {
            // If there is no room for that, the next message finds nobody.
            let _ = self.context.tell_topics(Does::Unsubscribe { number: *number });
        }
    }
}

impl Context {
    /// Takes all that is published under topics that match one of these patterns, as it is: for recorders. A message that matches several comes once; one
    /// that its publisher sends again comes again.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn record<S: AsRef<str>>(
        &self,
        patterns: impl IntoIterator<Item = S>,
    ) -> Result<Recording, PublishError> {
        let inbox = Arc::<Inbox<Recorded>>::default();
        let mut recording = Recording { context: self.clone(), numbers: Vec::new(), inbox };
        for pattern in patterns {
            let to = To::Recorder(Arc::downgrade(&recording.inbox));
            recording.numbers.push(self.subscribe_to(pattern.as_ref(), to)?);
        }
        Ok(recording)
    }
}
