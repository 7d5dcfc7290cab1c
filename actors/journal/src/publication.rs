//! What a turn publishes, and what comes of that.

use std::{collections::BTreeMap, fmt, time::Duration};

use actogen::{AckLevel, MessageId, MessageOf, RemoteMessage};
use serde::{Deserialize, Serialize};

use crate::{actor::JournaledActor, id::Place, packed::Packed, time::Millis, turn::Turn};

/// The most names that one publish may require, as [`actogen::Publish::require`] has it.
const MOST_REQUIRED: usize = 64;

/// How long a publish takes at most unless it is said, as [`actogen::Publish::require`] has it.
const WITHIN: Duration = Duration::from_secs(30);

/// Who must acknowledge a message, how, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Requires {
    pub(crate) names: Vec<String>,
    pub(crate) level: AckLevel,
    pub(crate) deadline: Millis,
}

/// A message that a turn has published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Publication {
    pub(crate) id: MessageId,
    pub(crate) topic: String,
    pub(crate) message: Packed,
    pub(crate) requires: Option<Requires>,
}

/// A publish that is not done with, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Published {
    /// It is to be sent, or waits for those who must acknowledge it.
    Waits(Publication),
    /// Its result is known, and waits for the actor's turn.
    Came(Packed),
}

/// The id of what an actor publishes: the same whenever the turn's output is released.
///
/// What is said is part of it: a journal that was restored from a backup numbers anew, and must not say another thing under an old id.
fn id_of(own: &Place, number: u64, topic: &str, message: &Packed) -> MessageId {
    let mut hasher = blake3::Hasher::new();
    let parts = [
        b"actogen journal publish v1".as_slice(),
        own.node.as_str().as_bytes(),
        own.actor.as_str().as_bytes(),
        &number.to_le_bytes(),
        topic.as_bytes(),
        &message.tag.to_le_bytes(),
        &[message.codec],
        &message.body,
    ];
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    MessageId::new(u128::from_le_bytes(id))
}

/// What a turn publishes with [`Turn::publish`]. Nothing more has to be said.
pub struct TurnPublish<'t, A> {
    turn: &'t mut Turn<A>,
    id: MessageId,
}

/// What a turn publishes until all who must have acknowledged it.
pub struct TurnReliable<'t, A>(TurnPublish<'t, A>);

impl<A> fmt::Debug for TurnPublish<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnPublish").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<A> fmt::Debug for TurnReliable<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnReliable").field("id", &self.0.id).finish_non_exhaustive()
    }
}

impl<A> Turn<A> {
    /// Publishes a message under a topic, signed, once the turn is durable. It leaves at least once, and always under the same id, which
    /// follows from journal, actor and turn: consumers handle it once.
    ///
    /// With [`require`](TurnPublish::require) its result comes back as a message. A topic that is none makes the turn fail.
    pub fn publish<M: RemoteMessage>(&mut self, topic: &str, message: &M) -> TurnPublish<'_, A> {
        let mut id = MessageId::new(0);
        let checked = actogen::__private::check_topic(topic);
        if let Err(error) = checked {
            self.fail(error.to_string());
        } else if let Some(message) = self.packed(message) {
            let number = self.number();
            id = id_of(self.own(), number, topic, &message);
            let topic = topic.to_owned();
            let publication = Publication { id, topic, message, requires: None };
            self.effects_mut().published.push((number, publication));
        }
        TurnPublish { turn: self, id }
    }
}

impl<'t, A> TurnPublish<'t, A> {
    /// The message's id, by which its result is known.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// These recipients must acknowledge it: names that the mesh's authority has bound to contexts, at most 64. It is sent again, also by the
    /// next process, until they have or time is over; then the actor gets a [`PublishResult`], once.
    ///
    /// The actor lists `PublishResult` in its `messages(...)`.
    pub fn require<S: Into<String>>(self, names: impl IntoIterator<Item = S>) -> TurnReliable<'t, A>
    where
        A: JournaledActor,
        PublishResult: MessageOf<A>,
    {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > MOST_REQUIRED {
            let count = names.len();
            self.turn.fail(format!("{count} recipients are required: require at most 64 names"));
            names.clear();
        }
        let deadline = self.turn.at().after(WITHIN);
        let mut reliable = TurnReliable(self);
        let requires = Requires { names, level: AckLevel::default(), deadline };
        reliable.publication(|publication| publication.requires = Some(requires));
        reliable
    }
}

impl<A> TurnReliable<'_, A> {
    /// The one that was published last, unless the turn has failed.
    fn publication(&mut self, change: impl FnOnce(&mut Publication)) {
        let published = self.0.turn.effects_mut().published.last_mut();
        if let Some((_, publication)) = published.filter(|(_, it)| it.id == self.0.id) {
            change(publication);
        }
    }

    fn requires(mut self, change: impl FnOnce(&mut Requires)) -> Self {
        self.publication(|publication| {
            if let Some(requires) = &mut publication.requires {
                change(requires);
            }
        });
        self
    }

    /// The message's id, by which its result is known.
    pub fn id(&self) -> MessageId {
        self.0.id
    }

    /// How far the recipients must have come; [`AckLevel::Processed`] unless this says otherwise.
    pub fn level(self, level: AckLevel) -> Self {
        self.requires(|requires| requires.level = level)
    }

    /// How long all of it may take from this turn on, times included in which the process is down; 30 s unless this says otherwise. In steps
    /// of a millisecond.
    pub fn within(self, time: Duration) -> Self {
        let deadline = self.0.turn.at().after(time);
        self.requires(|requires| requires.deadline = deadline)
    }
}

/// What has become of a message that an actor has published with [`TurnPublish::require`]. It comes to the actor as a message, once for
/// each; one that has [ended](Turn::end) meanwhile hears nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.journal.PublishResult")]
#[non_exhaustive]
pub struct PublishResult {
    /// The message, as [`TurnReliable::id`] has said.
    pub id: MessageId,
    /// What it was published under.
    pub topic: String,
    /// What has become of it.
    pub outcome: PublishOutcome,
}

impl PublishResult {
    /// Whether all who must have acknowledged the message.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.outcome, PublishOutcome::Confirmed { .. })
    }
}

/// What has become of a publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PublishOutcome {
    /// All have acknowledged it, at the level that was asked or a higher one.
    Confirmed {
        /// Who, and at which level.
        acked: BTreeMap<String, AckLevel>,
    },
    /// Time was over before all had.
    Timeout(Unconfirmed),
    /// Somebody has rejected it.
    Rejected(Unconfirmed),
    /// The authority has bound these names to no context.
    UnknownRecipient(Vec<String>),
    /// Nothing was sent until time was over, for this reason.
    NotSent(String),
}

/// How far a publish has come that was not confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// Who has acknowledged it.
    pub acked: BTreeMap<String, AckLevel>,
    /// Who has rejected it, and why.
    pub rejected: BTreeMap<String, String>,
    /// From whom nothing has come that counts. They may have handled it nevertheless.
    pub missing: Vec<String>,
}

impl From<actogen::Partial> for Unconfirmed {
    fn from(partial: actogen::Partial) -> Self {
        let actogen::Partial { acked, rejected, missing, .. } = partial;
        Self { acked, rejected, missing }
    }
}

impl Unconfirmed {
    /// Nothing has come of anybody.
    pub(crate) fn by_all(names: &[String]) -> Self {
        Self { missing: names.to_vec(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ActorId, NodeName};

    #[test]
    fn an_id_follows_from_everything_that_tells_a_publish_from_others() {
        let place = |node: &str, key: &str| Place {
            node: NodeName::new(node).unwrap(),
            actor: ActorId::new("kind", key).unwrap(),
        };
        let packed = |tag, codec, body: &'static [u8]| Packed { tag, codec, body: body.into() };
        let all = [
            id_of(&place("n", "k"), 1, "t", &packed(1, 0, b"x")),
            id_of(&place("m", "k"), 1, "t", &packed(1, 0, b"x")),
            id_of(&place("n", "l"), 1, "t", &packed(1, 0, b"x")),
            id_of(&place("n", "k"), 2, "t", &packed(1, 0, b"x")),
            id_of(&place("n", "k"), 1, "u", &packed(1, 0, b"x")),
            id_of(&place("n", "k"), 1, "t", &packed(2, 0, b"x")),
            id_of(&place("n", "k"), 1, "t", &packed(1, 1, b"x")),
            id_of(&place("n", "k"), 1, "t", &packed(1, 0, b"y")),
        ];
        let different: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
        assert_eq!(id_of(&place("n", "k"), 1, "t", &packed(1, 0, b"x")), all[0]);
    }
}
