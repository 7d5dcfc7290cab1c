//! What can be sent: messages with a declared name, their tags, and the codecs of their bodies.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Serialize, de::DeserializeOwned};

/// Tells message types apart on the wire: the first 8 bytes, little endian, of the blake3 hash of the declared name, a zero byte
/// and the decimal major version. Never made of a type's path, which refactoring changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u64);

impl Tag {
    /// The tag with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The tag's number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How a message's body, and its reply, are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// Postcard: compact, without field names.
    #[default]
    Postcard,
    /// JSON; feature `json`.
    #[cfg(feature = "json")]
    Json,
    /// CBOR; feature `cbor`.
    #[cfg(feature = "cbor")]
    Cbor,
}

/// A value could not be encoded, or bytes could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl Codec {
    /// The codec's number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::Postcard => 0,
            #[cfg(feature = "json")]
            Self::Json => 1,
            #[cfg(feature = "cbor")]
            Self::Cbor => 2,
        }
    }

    /// The codec with this number, if this build has it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Postcard),
            #[cfg(feature = "json")]
            1 => Some(Self::Json),
            #[cfg(feature = "cbor")]
            2 => Some(Self::Cbor),
            _ => None,
        }
    }

    /// Encodes a value.
    ///
    /// # Errors
    /// [`CodecError`] when the value has no form in this codec, or its `serialize` fails or panics.
    pub fn encode<T: Serialize>(self, value: &T) -> Result<Vec<u8>, CodecError> {
        let mut out = Vec::with_capacity(64);
        self.encode_into(value, &mut out)?;
        Ok(out)
    }

    /// Encodes a value behind what `out` holds.
    ///
    /// # Errors
    /// As [`Self::encode`]; part of the value may have been written then.
    pub fn encode_into<T: Serialize>(self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let encode = || match self {
            Self::Postcard => postcard::serialize_with_flavor(value, Appending(out))
                .map_err(|error| error.to_string()),
            #[cfg(feature = "json")]
            Self::Json => serde_json::to_writer(out, value).map_err(|error| error.to_string()),
            #[cfg(feature = "cbor")]
            Self::Cbor => ciborium::into_writer(value, out).map_err(|error| error.to_string()),
        };
        caught("serialize", encode)
    }

    /// Decodes a value that must be all of the bytes.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are no such value, go on behind it, or `deserialize` panics.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        caught("deserialize", || self.decode_unguarded(bytes))
    }

    /// As [`Self::decode`], for who catches the panic of a `deserialize`.
    #[inline]
    fn decode_unguarded<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, String> {
        match self {
            Self::Postcard => match postcard::take_from_bytes(bytes) {
                Ok((value, [])) => Ok(value),
                Ok((_, rest)) => Err(format!("{} bytes are left over", rest.len())),
                Err(error) => Err(error.to_string()),
            },
            #[cfg(feature = "json")]
            Self::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
            #[cfg(feature = "cbor")]
            Self::Cbor => {
                let mut rest = bytes;
                let value = ciborium::from_reader(&mut rest).map_err(|error| error.to_string())?;
                if rest.is_empty() {
                    Ok(value)
                } else {
                    Err(format!("{} bytes are left over", rest.len()))
                }
            }
        }
    }
}

/// Where postcard writes to.
struct Appending<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appending<'_> {
    type Output = ();

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

fn caught<T>(what: &str, code: impl FnOnce() -> Result<T, String>) -> Result<T, CodecError> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(outcome) => outcome.map_err(CodecError),
        Err(panic) => {
            Err(CodecError(format!("`{what}` panicked: {}", crate::guard::panic_text(&*panic))))
        }
    }
}

/// What the body of a message and of a reply must be. Met by whatever serde can write and read; nobody implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in a message",
    label = "this must implement `Serialize` and `DeserializeOwned`, and be `Send + 'static`",
    note = "derive them: `#[derive(serde::Serialize, serde::Deserialize)]`"
)]
pub trait Body: Sized + Send + 'static {
    /// Encodes the value behind what `out` holds; see [`Codec::encode_into`].
    ///
    /// # Errors
    /// [`CodecError`].
    fn encode(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Decodes a value; see [`Codec::decode`].
    ///
    /// # Errors
    /// [`CodecError`].
    fn decode(codec: Codec, bytes: &[u8]) -> Result<Self, CodecError>;

    /// As [`Self::decode`], with an error in words, for who catches the panic of a `deserialize`.
    #[doc(hidden)]
    fn decode_unguarded(codec: Codec, bytes: &[u8]) -> Result<Self, String>;
}

// Without serde's traits above this one, a type that lacks them gives one error, and that in this crate's own words.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Body for T {
    fn encode(&self, codec: Codec, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec.encode_into(self, out)
    }

    fn decode(codec: Codec, bytes: &[u8]) -> Result<Self, CodecError> {
        codec.decode(bytes)
    }

    #[inline]
    fn decode_unguarded(codec: Codec, bytes: &[u8]) -> Result<Self, String> {
        codec.decode_unguarded(bytes)
    }
}

/// A message that can be sent to actors in other contexts. Derive it:
///
/// ```
/// use actogen::prelude::*;
///
/// #[derive(RemoteMessage, Serialize, Deserialize)]
/// #[remote(name = "calc.Add", version = 1, reply = "i64")]
/// struct Add(i64, i64);
/// ```
///
/// Name and major version are the message's identity on the wire: keep them when the type moves, and raise the version when the
/// fields change in a way that the codec cannot bridge. Postcard writes no field names, so with it any change of fields is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a remote message",
    label = "derive `RemoteMessage` for it",
    note = "add `#[derive(RemoteMessage, Serialize, Deserialize)]` and `#[remote(name = \"area.Name\")]`"
)]
pub trait RemoteMessage: actix::Message<Result: Body> + Body {
    /// The declared name.
    const NAME: &'static str;
    /// The declared major version.
    const VERSION: u32;
    /// The tag made of both.
    const TAG: Tag;
    /// How the body, and the reply, are encoded.
    const CODEC: Codec;
}

/// States that actor `A` accepts this message from other contexts: its derive lists it.
#[diagnostic::on_unimplemented(
    message = "actor `{A}` does not accept the message `{Self}`",
    label = "not in the actor's `messages(...)`",
    note = "add it to `#[remote(messages(...))]` of `{A}` and implement `Handler<{Self}>` for it"
)]
pub trait MessageOf<A>: RemoteMessage {}

/// A message with who sent it. List the message as `inbound(Who)` and implement `Handler<Inbound<Who>>` to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound<M> {
    /// The message.
    pub message: M,
    /// Who sent it, on whose authority, and by which neighbour: all checked by the routers on the way.
    pub origin: crate::Origin,
}

impl<M: actix::Message> actix::Message for Inbound<M> {
    type Result = M::Result;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_bytes_left_over_is_an_error() {
        let mut bytes = Codec::Postcard.encode(&(1_u8, "x")).unwrap();
        assert_eq!(Codec::Postcard.decode(&bytes), Ok((1_u8, "x".to_owned())));
        bytes.push(0);
        let error = Codec::Postcard.decode::<(u8, String)>(&bytes).unwrap_err();
        assert!(error.to_string().contains("left over"), "{error}");
    }

    #[test]
    fn codecs_keep_their_numbers() {
        assert_eq!(Codec::from_number(Codec::Postcard.number()), Some(Codec::Postcard));
        assert_eq!(Codec::from_number(77), None);
    }

    #[cfg(all(feature = "json", feature = "cbor"))]
    #[test]
    fn every_codec_survives_and_refuses_what_is_left_over() {
        for codec in [Codec::Json, Codec::Cbor] {
            let mut bytes = codec.encode(&vec![(1, "a")]).unwrap();
            assert_eq!(codec.decode(&bytes), Ok(vec![(1, "a".to_owned())]));
            assert_eq!(Codec::from_number(codec.number()), Some(codec));
            bytes.push(b'1');
            assert!(codec.decode::<Vec<(i32, String)>>(&bytes).is_err());
        }
    }

    #[test]
    fn a_panicking_deserialize_is_an_error() {
        #[derive(Debug)]
        struct Bad;
        impl<'de> serde::Deserialize<'de> for Bad {
            fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                panic!("no")
            }
        }
        let error = Codec::Postcard.decode::<Bad>(&[1]).unwrap_err();
        assert!(error.to_string().contains("panicked: no"), "{error}");
    }
}
