//! Messages as they are kept: encoded, with what is needed to tell what they are.

use actogen::{Codec, CodecError, RemoteMessage};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An encoded message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// The tag of its type.
    pub tag: u64,
    /// The number of its codec.
    pub codec: u8,
    /// Its body.
    pub body: Bytes,
}

impl Packed {
    /// A message, encoded.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn of<M: RemoteMessage>(message: &M) -> Result<Self, CodecError> {
        let mut body = Vec::new();
        message.encode(M::CODEC, &mut body)?;
        Ok(Self { tag: M::TAG.get(), codec: M::CODEC.number(), body: body.into() })
    }

    /// The message; its tag has been looked at.
    pub(crate) fn open<M: RemoteMessage>(&self) -> Result<M, String> {
        let codec = Codec::from_number(self.codec)
            .ok_or_else(|| format!("this build has no codec {}", self.codec))?;
        M::decode(codec, &self.body)
            .map_err(|error| format!("the body is no `{}`: {error}", M::NAME))
    }

    /// What it takes in a queue, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.body.len() + 64
    }
}
