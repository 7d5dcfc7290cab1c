//! How journaled actors are named: by their kind and key, at a node, for as long as its journal exists.

use std::{fmt, marker::PhantomData, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::actor::JournaledActor;

/// The most bytes of a kind, and of a key.
pub const NAME_BYTES: usize = 512;

/// The most bytes of a node's name, which is a name of the whole mesh as well.
pub const NODE_BYTES: usize = 128;

/// Why something is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name for a journaled actor: {1}")]
pub struct NameError(String, &'static str);

fn checked(name: &str, most: usize) -> Result<(), NameError> {
    let fault = match name {
        "" => "it is empty",
        name if name.len() > most => {
            "it is too long: a node has at most 128 bytes, a kind or a key 512"
        }
        name if name.contains('\0') => "it has a zero byte",
        _ => return Ok(()),
    };
    Err(NameError(name.chars().take(40).collect(), fault))
}

/// A journaled actor's name within its node: its kind and its key. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActorId {
    /// Kind, a slash, and key: a kind has no slash.
    text: Arc<str>,
    slash: usize,
}

impl ActorId {
    /// The actor of this kind with this key.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(kind: &str, key: &str) -> Result<Self, NameError> {
        checked(kind, NAME_BYTES)?;
        checked(key, NAME_BYTES)?;
        if kind.contains('/') {
            return Err(NameError(kind.to_owned(), "a kind has no slash"));
        }
        Ok(Self { text: format!("{kind}/{key}").into(), slash: kind.len() })
    }

    /// Which type of actor it is.
    pub fn kind(&self) -> &str {
        &self.text[..self.slash]
    }

    /// Which of them.
    pub fn key(&self) -> &str {
        &self.text[self.slash + 1..]
    }

    /// Both, as rows' keys begin.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ActorId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((kind, key)) => Self::new(kind, key),
            None => Err(NameError(text.to_owned(), "write it as kind/key")),
        }
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ActorId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ActorId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A node's name: that of one journal, which keeps it wherever its file goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The node with this name.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        checked(name, NODE_BYTES)?;
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the whole mesh under which the node is found.
    pub(crate) fn claim(&self) -> String {
        format!("actogen.journal/{}", self.0)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NodeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// A journaled actor anywhere: its node and its name there. It stays the same when processes end and begin anew.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The node whose journal has it.
    pub node: NodeName,
    /// Its name there.
    pub actor: ActorId,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.node, self.actor)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The address of a journaled actor of type `A`. It names a place and no process, so it may be kept in states and files, and travel in
/// messages; a [`Client`](crate::Client) or another journaled actor sends to it.
pub struct Journaled<A> {
    place: Place,
    _actor: PhantomData<fn(A)>,
}

impl<A: JournaledActor> Journaled<A> {
    /// The actor with this key at a node.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn at(node: &str, key: &str) -> Result<Self, NameError> {
        Ok(Self::new(NodeName::new(node)?, ActorId::new(A::KIND, key)?))
    }

    pub(crate) fn new(node: NodeName, actor: ActorId) -> Self {
        Self { place: Place { node, actor }, _actor: PhantomData }
    }
}

impl<A> Journaled<A> {
    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its key.
    pub fn key(&self) -> &str {
        self.place.actor.key()
    }
}

impl<A> Clone for Journaled<A> {
    fn clone(&self) -> Self {
        Self { place: self.place.clone(), _actor: PhantomData }
    }
}

impl<A> PartialEq for Journaled<A> {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl<A> Eq for Journaled<A> {}

impl<A> std::hash::Hash for Journaled<A> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

impl<A> fmt::Debug for Journaled<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Journaled({})", self.place)
    }
}

impl<A> fmt::Display for Journaled<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.place, f)
    }
}

impl<A> Serialize for Journaled<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.place.serialize(serializer)
    }
}

impl<'de, A: JournaledActor> Deserialize<'de> for Journaled<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let place = Place::deserialize(deserializer)?;
        if place.actor.kind() != A::KIND {
            let text = format!("{place} is no actor of the kind {:?}", A::KIND);
            return Err(serde::de::Error::custom(text));
        }
        Ok(Self { place, _actor: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_kind_and_a_key() {
        let id: ActorId = "account/eu/42".parse().unwrap();
        assert_eq!(
            (id.kind(), id.key(), id.to_string()),
            ("account", "eu/42", "account/eu/42".to_owned())
        );
        for wrong in ["account", "/42", "account/", "a\0/b"] {
            assert!(wrong.parse::<ActorId>().is_err(), "{wrong:?}");
        }
        assert!(ActorId::new("a/b", "c").is_err());
        assert!(NodeName::new(&"n".repeat(NODE_BYTES + 1)).is_err());
    }
}
