//! Bytes that are not copied when they are decoded, where what they are decoded from is shared already.
//!
//! A value within a value is bytes within bytes: an answer of a megabyte would be copied once for each. Whoever decodes says what from; a
//! blob that lies in there becomes a part of it. Behind it all of that stays in memory, which is no more than its frame.

use std::{cell::RefCell, fmt, ops::Deref};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// What is shorter is copied: that costs less than to find out whether it must be.
const SHORT: usize = 16 * 1024;

thread_local! {
    /// What is being decoded on this thread. It is set and taken back around the decoder, so that it is no state between two uses.
    static SOURCE: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Decodes from bytes that are shared.
pub(crate) fn decoded_from<T>(source: &Bytes, decode: impl FnOnce() -> T) -> T {
    if source.len() < SHORT {
        return decode();
    }
    let _source = Source(SOURCE.replace(Some(source.clone())));
    decode()
}

/// Puts the outer source back, also when a decoder panics.
struct Source(Option<Bytes>);

impl Drop for Source {
    fn drop(&mut self) {
        SOURCE.replace(self.0.take());
    }
}

/// Bytes, in a message.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Bytes);

impl Deref for Blob {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(OfBytes)
    }
}

struct OfBytes;

impl<'de> Visitor<'de> for OfBytes {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Blob, E> {
        if bytes.len() < SHORT {
            return self.visit_bytes(bytes);
        }
        let part = SOURCE.with_borrow(|source| {
            let source = source.as_ref()?;
            let (whole, part) = (source.as_ptr_range(), bytes.as_ptr_range());
            let is_within = whole.start <= part.start && part.end <= whole.end;
            is_within.then(|| source.slice_ref(bytes))
        });
        Ok(Blob(part.unwrap_or_else(|| Bytes::copy_from_slice(bytes))))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Codec;

    #[test]
    fn a_long_blob_lies_in_what_it_was_decoded_from() {
        let value = (1_u8, Blob::from(vec![7; SHORT]), "end".to_owned());
        let encoded = Bytes::from(Codec::Postcard.encode(&value).unwrap());
        let decode = || Codec::Postcard.decode::<(u8, Blob, String)>(&encoded).unwrap();
        let (_, blob, _) = decoded_from(&encoded, decode);
        assert!(encoded.as_ptr_range().contains(&blob.as_ptr()));
        assert_eq!((1, blob, "end".to_owned()), value);
        // Without a source, or with another, it is copied.
        for (_, blob, _) in [decode(), decoded_from(&Bytes::from(vec![0; SHORT]), decode)] {
            assert!(!encoded.as_ptr_range().contains(&blob.as_ptr()));
            assert_eq!(blob, value.1);
        }
    }
}
