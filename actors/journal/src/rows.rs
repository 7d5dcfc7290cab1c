//! What the journal's rows look like: keys that sort as they are read, and values with a checksum.
//!
//! | table | key | value |
//! |---|---|---|
//! | meta | `journal` | [`Meta`] |
//! | state | actor | [`State`] |
//! | delta | actor, turn | [`Delta`] |
//! | seen | actor, sender's place | [`Seen`] |
//! | out | actor, receiver's place, number | [`Packed`] |
//! | pair | actor, receiver's place | the number up to which all is acknowledged |
//! | timer | time, actor, number | [`Packed`] |
//! | reply | actor, asker, number | [`Reply`] |
//! | attempt | actor, source | [`Attempt`] |
//! | dead | actor, number | [`Dead`] |
//! | history | actor, turn | [`Past`] |
//! | peer | node | [`Peer`] |
//! | publish | actor, number | [`Published`](crate::publication::Published) |
//! | handled | number | [`Handled`](crate::window::Handled) |
//! | epoch | node | the epoch of what is sent there; one, where there is no row |
//!
//! An actor's name, a node's and a kind end with a zero byte, which no name has, and numbers have eight bytes, the highest first.

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    id::{ActorId, NodeName, Place},
    packed::Packed,
    store::{StoreError, Table},
    time::Millis,
};

/// The newest format that this build reads and writes.
pub(crate) const FORMAT: u32 = 1;

/// The one key of the table of what the store knows of itself.
pub(crate) const META: &[u8] = b"journal";

/// What the store knows of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) format: u32,
    pub(crate) node: String,
    /// The last times that it was opened: number and random mark, the newest last.
    pub(crate) openings: Vec<(u64, u64)>,
}

/// An actor's checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) version: u32,
    pub(crate) codec: u8,
    pub(crate) turn: u64,
    /// How many messages and timers the actor has numbered. Never begins anew: receivers would take new messages for old ones.
    pub(crate) numbered: u64,
    /// Timers up to this number belong to a life of the actor that it has [ended](crate::Turn::end).
    pub(crate) born: u64,
    /// The state, unless the actor has ended.
    pub(crate) state: Option<Bytes>,
}

/// What a turn has changed since the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delta {
    pub(crate) numbered: u64,
    pub(crate) change: Changed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Changed {
    /// The encoded state is now so long, and differs in these places.
    Patch { length: u64, places: Vec<(u64, Bytes)> },
    /// These happened.
    Events(Vec<Bytes>),
}

/// How far an actor has taken one sender's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

/// The answer to a request from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    /// All of the asker's requests with lower numbers were settled when this one came.
    pub(crate) settled: u64,
    pub(crate) at: Millis,
    pub(crate) answer: Bytes,
}

/// How often a message has been tried without success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) count: u32,
}

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dead {
    pub(crate) at: Millis,
    pub(crate) from: String,
    pub(crate) why: String,
    pub(crate) message: Packed,
}

/// A turn of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Past {
    pub(crate) at: Millis,
    pub(crate) seed: [u8; 16],
    pub(crate) from: String,
    pub(crate) message: Packed,
    /// The state behind it.
    pub(crate) state: Bytes,
}

/// Another node, as it was when it last said hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) epoch: u64,
    pub(crate) opening: (u64, u64),
}

/// Bytes of a checksum: enough against accidents, and no protection against who can write the file.
const CHECK: usize = 8;

/// A value with its checksum.
pub(crate) fn sealed<T: Serialize>(value: &T) -> Vec<u8> {
    // Nothing that is stored has a form that postcard lacks.
    let mut bytes = actogen::Codec::Postcard.encode(value).unwrap_or_default();
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(&hash.as_bytes()[..CHECK]);
    bytes
}

/// The value, if it is whole.
pub(crate) fn opened<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |fault: String| StoreError::Damaged {
        place: "the journal".to_owned(),
        what: format!("{what}: {fault}"),
    };
    let Some((value, check)) = bytes.split_last_chunk::<CHECK>() else {
        return Err(damaged(format!("{} bytes are too few", bytes.len())));
    };
    if blake3::hash(value).as_bytes()[..CHECK] != check[..] {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    actogen::Codec::Postcard.decode(value).map_err(|error| damaged(error.to_string()))
}

/// A row has a key that is none of its table's.
pub(crate) fn bad_key(table: Table) -> StoreError {
    let what = format!("a key of the table {} cannot be read", table.name());
    StoreError::Damaged { place: "the journal".to_owned(), what }
}

fn name(key: &mut Vec<u8>, name: &str) {
    key.extend_from_slice(name.as_bytes());
    key.push(0);
}

fn place(key: &mut Vec<u8>, place: &Place) {
    name(key, place.node.as_str());
    name(key, place.actor.as_str());
}

/// All rows of an actor in a table begin so.
pub(crate) fn of_actor(actor: &ActorId) -> Vec<u8> {
    let mut key = Vec::with_capacity(actor.as_str().len() + 1);
    name(&mut key, actor.as_str());
    key
}

/// A node's row.
pub(crate) fn of_node(node: &NodeName) -> Vec<u8> {
    let mut key = Vec::with_capacity(node.as_str().len() + 1);
    name(&mut key, node.as_str());
    key
}

/// An actor's row for a number: a turn, a dead letter.
pub(crate) fn numbered(actor: &ActorId, number: u64) -> Vec<u8> {
    let mut key = of_actor(actor);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// An actor's row for another place.
pub(crate) fn pair(actor: &ActorId, other: &Place) -> Vec<u8> {
    let mut key = of_actor(actor);
    place(&mut key, other);
    key
}

/// The row of a message from an actor to a place.
pub(crate) fn out(actor: &ActorId, to: &Place, number: u64) -> Vec<u8> {
    let mut key = pair(actor, to);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The row of a timer.
pub(crate) fn timer(due: Millis, actor: &ActorId, number: u64) -> Vec<u8> {
    let mut key = due.0.to_be_bytes().to_vec();
    name(&mut key, actor.as_str());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// All replies of an actor to one asker begin so.
pub(crate) fn replies(actor: &ActorId, client: u128) -> Vec<u8> {
    let mut key = of_actor(actor);
    key.extend_from_slice(&client.to_be_bytes());
    key
}

/// The row of a reply.
pub(crate) fn reply(actor: &ActorId, client: u128, number: u64) -> Vec<u8> {
    let mut key = replies(actor, client);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Reads a key from its front.
pub(crate) struct Reading<'a>(pub(crate) &'a [u8]);

impl<'a> Reading<'a> {
    fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&self.0[..end]).ok()?;
        self.0 = &self.0[end + 1..];
        Some(text)
    }

    pub(crate) fn actor(&mut self) -> Option<ActorId> {
        self.text()?.parse().ok()
    }

    pub(crate) fn place(&mut self) -> Option<Place> {
        let node = NodeName::new(self.text()?).ok()?;
        Some(Place { node, actor: self.actor()? })
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    pub(crate) fn client(&mut self) -> Option<u128> {
        let (number, rest) = self.0.split_first_chunk::<16>()?;
        self.0 = rest;
        Some(u128::from_be_bytes(*number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_read_as_they_were_written(
            kind in "[a-z]{1,8}", key in "[^\0]{1,12}", node in "[a-z]{1,8}", number: u64, client: u128,
        ) {
            let actor = ActorId::new(&kind, &key).unwrap();
            let to = Place { node: NodeName::new(&node).unwrap(), actor: actor.clone() };
            let bytes = out(&actor, &to, number);
            let mut reading = Reading(&bytes);
            prop_assert_eq!(reading.actor(), Some(actor.clone()));
            prop_assert_eq!(reading.place(), Some(to));
            prop_assert_eq!(reading.number(), Some(number));
            prop_assert!(reading.0.is_empty());
            let bytes = reply(&actor, client, number);
            let mut reading = Reading(&bytes);
            prop_assert_eq!(reading.actor(), Some(actor));
            prop_assert_eq!(reading.client(), Some(client));
            prop_assert_eq!(reading.number(), Some(number));
        }

        #[test]
        fn numbers_sort_as_numbers(one: u64, two: u64) {
            let actor = ActorId::new("a", "b").unwrap();
            prop_assert_eq!(numbered(&actor, one).cmp(&numbered(&actor, two)), one.cmp(&two));
        }
    }

    #[test]
    fn a_changed_byte_is_found() {
        let row = sealed(&Seen { epoch: 1, number: 77 });
        assert_eq!(opened::<Seen>("seen", &row).unwrap().number, 77);
        for at in 0..row.len() {
            let mut changed = row.clone();
            changed[at] ^= 1;
            assert!(opened::<Seen>("seen", &changed).is_err(), "byte {at}");
        }
        assert!(opened::<Seen>("seen", &row[..3]).is_err());
    }
}
