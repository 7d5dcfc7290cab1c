//! Messages of whatever type in their encoded form, with verdicts: for what carries messages and does not read them, such as a bridge.

use bytes::Bytes;

use super::{
    checked::Checked,
    consume::Consume,
    message::{AckLevel, Signed},
};
use crate::{
    RemoteMessage,
    context::Context,
    message::CodecError,
    topics::{Arrived, Carried, Publish, check_topic, decode},
};

/// A message of whatever type, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encoded {
    /// The tag of its type.
    pub tag: u64,
    /// The number of the codec of its body; this build need not have that.
    pub codec: u8,
    /// The encoded message.
    pub body: Bytes,
    /// What its publisher has signed, if it was published with a signature; it has held where it came. Not published again: whoever publishes
    /// signs for himself.
    pub proof: Option<Proof>,
}

impl Encoded {
    /// A message without a proof.
    pub const fn new(tag: u64, codec: u8, body: Bytes) -> Self {
        Self { tag, codec, body, proof: None }
    }

    /// A message of a type that this program has.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn of<M: RemoteMessage>(message: &M) -> Result<Self, CodecError> {
        let mut body = Vec::new();
        message.encode(M::CODEC, &mut body)?;
        Ok(Self::new(M::TAG.get(), M::CODEC.number(), body.into()))
    }
}

/// What a signature is over beside the message, and the signature itself: with them whoever trusts the authority can check it later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The names that the publisher's certificate carries.
    pub names: Vec<String>,
    /// Drawn when the publisher began to count under the topic.
    pub series: u64,
    /// The message's place in the series, from 1.
    pub sequence: u64,
    /// How far the required recipients must have come.
    pub level: AckLevel,
    /// Who must acknowledge it.
    pub required: Vec<String>,
    /// The publisher's certificate, DER.
    pub certificate: Bytes,
    /// The publisher's signature.
    pub signature: Bytes,
}

impl Proof {
    fn of(checked: &Checked) -> Option<Self> {
        let Signed { series, sequence, level, required, certificate, signature, .. } =
            checked.signed.as_deref()?.clone();
        let names = checked.publisher_names.clone();
        Some(Self { names, series, sequence, level, required, certificate, signature })
    }
}

/// What [`Deliveries`](super::Deliveries) give: a [`RemoteMessage`], or [`Encoded`].
pub trait Consumed: Sized + sealed::FromArrived {}

impl<M: sealed::FromArrived> Consumed for M {}

pub(super) mod sealed {
    use super::{Arrived, CodecError, Context};

    pub trait FromArrived: Sized {
        #[doc(hidden)]
        #[expect(private_interfaces, reason = "nobody outside can name, call or implement it")]
        fn from_arrived(context: &Context, arrived: &Arrived) -> Result<Self, CodecError>;
    }
}

impl<M: RemoteMessage> sealed::FromArrived for M {
    #[expect(private_interfaces, reason = "as in the trait")]
    fn from_arrived(context: &Context, arrived: &Arrived) -> Result<Self, CodecError> {
        decode(context, arrived)
    }
}

impl sealed::FromArrived for Encoded {
    #[expect(private_interfaces, reason = "as in the trait")]
    fn from_arrived(_: &Context, arrived: &Arrived) -> Result<Self, CodecError> {
        let Arrived { tag, codec, body, signed, .. } = arrived;
        let proof = signed.as_deref().and_then(Proof::of);
        Ok(Self { tag: *tag, codec: *codec, body: body.clone(), proof })
    }
}

impl Context {
    /// Consumes messages of whatever type under topics that match a pattern, as [`Self::consume`] does those of one: for what carries them
    /// elsewhere.
    pub fn consume_encoded(&self, pattern: &str) -> Consume<'_, Encoded> {
        Consume::new(self, pattern, None)
    }

    /// Publishes a message that is encoded already, as [`Self::publish`] does with one that is not.
    pub fn publish_encoded(&self, topic: &str, message: &Encoded) -> Publish<'_> {
        let carried = check_topic(topic).map(|()| Carried {
            topic: topic.to_owned(),
            from: self.id(),
            tag: message.tag,
            codec: message.codec,
            body: message.body.clone(),
            signed: None,
        });
        Publish { context: self, carried: carried.map_err(Into::into) }
    }
}
