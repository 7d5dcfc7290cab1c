//! What a message's headers say of its origin, and the id under which it comes into a mesh.

use std::str::FromStr;

use actogen::{AckLevel, ContextId, Encoded, MessageId, Proof};
use async_nats::{HeaderMap, HeaderValue};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

/// JetStream's own: a stream takes one message of an id, as long as it knows it.
pub(crate) const MSG_ID: &str = "Nats-Msg-Id";

const MESH: &str = "Actogen-Mesh";
const FROM: &str = "Actogen-From";
const TOPIC: &str = "Actogen-Topic";
const TAG: &str = "Actogen-Tag";
const CODEC: &str = "Actogen-Codec";
const ID: &str = "Actogen-Id";
const NAME: &str = "Actogen-Name";
const SERIES: &str = "Actogen-Series";
const SEQUENCE: &str = "Actogen-Sequence";
const LEVEL: &str = "Actogen-Level";
const REQUIRED: &str = "Actogen-Required";
const CERTIFICATE: &str = "Actogen-Certificate";
const SIGNATURE: &str = "Actogen-Signature";

/// The most values of one header that are looked at: a certificate's names, and those that a message requires, are at most as many.
const MOST_VALUES: usize = 64;

/// The longest value that is looked at, in bytes: a certificate of 16 KiB in base 64.
const LONGEST_VALUE: usize = 22 * 1024;

/// Where a message is from, as its headers say. Nobody has checked that here: whoever may write to the stream may write headers. The
/// [`Proof`] of a signed message can be checked by whoever trusts the authority of that mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The mesh, as its bridge calls it.
    pub mesh: String,
    /// The context that published it there.
    pub context: ContextId,
    /// What it was published under there.
    pub topic: String,
    /// Its id there, if it was signed.
    pub id: Option<MessageId>,
    /// What was signed, and the signature.
    pub proof: Option<Proof>,
}

impl Origin {
    pub(crate) fn charge(&self) -> usize {
        let proof = self.proof.as_ref().map_or(0, |proof| {
            let names = proof.names.iter().chain(&proof.required).map(String::len);
            proof.certificate.len() + proof.signature.len() + names.sum::<usize>()
        });
        size_of::<Self>() + self.mesh.len() + self.topic.len() + proof
    }
}

/// The id of a message for the stream: of one publisher, one id and one content. A message that reuses another's id is no duplicate of it.
pub(crate) fn msg_id(origin: &Origin, id: MessageId, message: &Encoded) -> String {
    let mut content = blake3::Hasher::new();
    for part in [origin.topic.as_bytes(), &message.tag.to_le_bytes(), &[message.codec]] {
        content.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let content = content.update(&message.body).finalize().to_hex();
    format!("{}.{}.{id}.{}", origin.mesh, origin.context.0, &content[..16])
}

/// What goes into the stream beside the body.
pub(crate) fn write(origin: &Origin, message: &Encoded, msg_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        // What is no header's value, as no name of a certificate is, is left out.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    put(MSG_ID, msg_id);
    put(MESH, &origin.mesh);
    put(FROM, &origin.context.0.to_string());
    put(TOPIC, &origin.topic);
    put(TAG, &format!("{:016x}", message.tag));
    put(CODEC, &message.codec.to_string());
    if let Some(id) = origin.id {
        put(ID, &id.to_string());
    }
    if let Some(proof) = &origin.proof {
        for name in &proof.names {
            put(NAME, name);
        }
        for name in &proof.required {
            put(REQUIRED, name);
        }
        put(SERIES, &proof.series.to_string());
        put(SEQUENCE, &proof.sequence.to_string());
        put(LEVEL, level_name(proof.level));
        put(CERTIFICATE, &STANDARD.encode(&proof.certificate));
        put(SIGNATURE, &STANDARD.encode(&proof.signature));
    }
    headers
}

/// What has come out of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A message that a bridge has sent.
    Bridged(Encoded, Box<Origin>),
    /// One that somebody else has put there.
    Foreign,
    /// One that says that it is a bridge's, and is not.
    Odd(&'static str),
}

pub(crate) fn read(headers: Option<&HeaderMap>, body: &Bytes) -> Read {
    let Some(headers) = headers.filter(|headers| headers.get(TAG).is_some()) else {
        return Read::Foreign;
    };
    match bridged(headers, body) {
        Ok((message, origin)) => Read::Bridged(message, Box::new(origin)),
        Err(header) => Read::Odd(header),
    }
}

/// `Err` with the header that does not say what it should.
fn bridged(headers: &HeaderMap, body: &Bytes) -> Result<(Encoded, Origin), &'static str> {
    let text = |name: &'static str| {
        let value = headers.get(name).map(HeaderValue::as_str);
        value.filter(|value| value.len() <= LONGEST_VALUE)
    };
    fn parsed<T>(name: &'static str, value: Option<T>) -> Result<T, &'static str> {
        value.ok_or(name)
    }
    let tag = parsed(TAG, text(TAG).and_then(|it| u64::from_str_radix(it, 16).ok()))?;
    let codec = parsed(CODEC, text(CODEC).and_then(|it| it.parse().ok()))?;
    let message = Encoded::new(tag, codec, body.clone());
    let id = match headers.get(ID) {
        None => None,
        Some(_) => Some(parsed(ID, text(ID).and_then(|it| u128::from_str_radix(it, 16).ok()))?),
    };
    let origin = Origin {
        mesh: parsed(MESH, text(MESH))?.to_owned(),
        context: ContextId(parsed(FROM, text(FROM).and_then(|it| it.parse().ok()))?),
        topic: parsed(TOPIC, text(TOPIC))?.to_owned(),
        id: id.map(MessageId::new),
        proof: match headers.get(SIGNATURE) {
            None => None,
            Some(_) => Some(proof(headers)?),
        },
    };
    Ok((message, origin))
}

fn proof(headers: &HeaderMap) -> Result<Proof, &'static str> {
    let text = |name: &'static str| {
        let value = headers.get(name).map(HeaderValue::as_str);
        value.filter(|value| value.len() <= LONGEST_VALUE).ok_or(name)
    };
    let number = |name: &'static str| text(name)?.parse().map_err(|_| name);
    let bytes = |name| STANDARD.decode(text(name)?).map(Bytes::from).map_err(|_| name);
    let all = |name: &'static str| -> Vec<String> {
        let values = headers.get_all(name).take(MOST_VALUES).map(HeaderValue::as_str);
        values.filter(|value| value.len() <= LONGEST_VALUE).map(str::to_owned).collect()
    };
    Ok(Proof {
        names: all(NAME),
        required: all(REQUIRED),
        series: number(SERIES)?,
        sequence: number(SEQUENCE)?,
        level: level(text(LEVEL)?).ok_or(LEVEL)?,
        certificate: bytes(CERTIFICATE)?,
        signature: bytes(SIGNATURE)?,
    })
}

fn level_name(level: AckLevel) -> &'static str {
    match level {
        AckLevel::Received => "received",
        AckLevel::Durable => "durable",
        AckLevel::Processed => "processed",
    }
}

fn level(name: &str) -> Option<AckLevel> {
    [AckLevel::Received, AckLevel::Durable, AckLevel::Processed]
        .into_iter()
        .find(|level| level_name(*level) == name)
}

/// The id under which a message comes into the mesh: the same one each time that it comes, also after a restart of the bridge, and another
/// one for each message, whoever's ids they are.
pub(crate) fn inward_id(parts: &[&[u8]]) -> MessageId {
    let mut hash = blake3::Hasher::new_derive_key("actogen nats inward v1");
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    let hash = hash.finalize();
    let (first, _) = hash.as_bytes().split_first_chunk::<16>().expect("it has 32 bytes");
    MessageId::new(u128::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Encoded {
        Encoded::new(7, 1, Bytes::from_static(b"body"))
    }

    fn origin() -> Origin {
        Origin {
            mesh: "east".into(),
            context: ContextId(5),
            topic: "orders.new".into(),
            id: Some(MessageId::new(9)),
            proof: Some(Proof {
                names: vec!["shop".into(), "till".into()],
                series: u64::MAX,
                sequence: 3,
                level: AckLevel::Durable,
                required: vec!["bridge".into()],
                certificate: Bytes::from_static(&[0, 255, 1]),
                signature: Bytes::from_static(&[7; 64]),
            }),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let plain = Origin { id: None, proof: None, ..origin() };
        for origin in [origin(), plain] {
            let headers = write(&origin, &message(), "id");
            let read = read(Some(&headers), &message().body);
            assert_eq!(read, Read::Bridged(message(), Box::new(origin)));
            assert_eq!(headers.get(MSG_ID).map(HeaderValue::as_str), Some("id"));
        }
    }

    #[test]
    fn what_others_write_is_suspect() {
        let body = Bytes::from_static(b"body");
        assert_eq!(read(None, &body), Read::Foreign);
        assert_eq!(read(Some(&HeaderMap::new()), &body), Read::Foreign);
        for name in [TAG, CODEC, FROM, ID, SEQUENCE, LEVEL, CERTIFICATE, SIGNATURE] {
            let mut headers = write(&origin(), &message(), "id");
            headers.insert(name, "?");
            assert_eq!(read(Some(&headers), &body), Read::Odd(name));
        }
        let mut headers = write(&origin(), &message(), "id");
        headers.insert(TOPIC, "a".repeat(LONGEST_VALUE + 1));
        assert_eq!(read(Some(&headers), &body), Read::Odd(TOPIC));
    }

    #[test]
    fn an_id_is_of_one_publisher_and_one_content() {
        let of = |origin: &Origin, message: &Encoded| msg_id(origin, MessageId::new(9), message);
        let one = of(&origin(), &message());
        assert_eq!(one, of(&origin(), &message()));
        let others = [
            of(&Origin { mesh: "west".into(), ..origin() }, &message()),
            of(&Origin { context: ContextId(6), ..origin() }, &message()),
            of(&Origin { topic: "orders.old".into(), ..origin() }, &message()),
            of(&origin(), &Encoded::new(8, 1, message().body)),
            of(&origin(), &Encoded::new(7, 1, Bytes::from_static(b"bodY"))),
        ];
        assert!(others.iter().all(|other| *other != one));
        assert_ne!(inward_id(&[b"ab", b"c"]), inward_id(&[b"a", b"bc"]));
    }
}
