//! Messages that are signed, and acknowledged with a signature: what anybody has to do who wants to be certain, and nothing beside that. One
//! signature and one check of it at each end for each message, with keys that both know from the beginning.

use std::hint::black_box;

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::frames::{Frames, put};
use crate::{note::Note, workload::Span};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a public key.
const KEY: usize = 32;

/// A note and its publisher's signature.
#[derive(Serialize, Deserialize)]
struct Signed {
    note: Note,
    signature: Bytes,
}

/// That a note of this hash has been handled, signed.
#[derive(Serialize, Deserialize)]
struct Acknowledged {
    number: u64,
    hash: [u8; 32],
    signature: Bytes,
}

/// One end's own key, and the other's public one.
struct Keys {
    own: Ed25519KeyPair,
    other: UnparsedPublicKey<[u8; KEY]>,
}

impl Keys {
    /// Each end tells the other its key.
    async fn exchange(
        writer: &mut (impl AsyncWrite + Unpin),
        reader: &mut RecvStream,
    ) -> Result<Self, Error> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| "a key cannot be made")?;
        let own =
            Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|error| error.to_string())?;
        writer.write_all(own.public_key().as_ref()).await?;
        let mut other = [0; KEY];
        reader.read_exact(&mut other).await?;
        Ok(Self { own, other: UnparsedPublicKey::new(&ED25519, other) })
    }

    fn sign(&self, hash: &[u8]) -> Bytes {
        Bytes::copy_from_slice(self.own.sign(hash).as_ref())
    }

    fn check(&self, hash: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.other.verify(hash, signature).map_err(|_| "a signature does not hold".into())
    }
}

fn hash(note: &Note) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&note.number.to_le_bytes()).update(&note.payload);
    *hasher.finalize().as_bytes()
}

/// Keeps so many notes of so many bytes unacknowledged until the time is over. Acknowledgements a second.
pub(super) async fn publish(
    mut writer: SendStream,
    mut reader: RecvStream,
    in_flight: usize,
    bytes: usize,
    span: Span,
) -> Result<f64, Error> {
    let keys = Keys::exchange(&mut writer, &mut reader).await?;
    let (mut frames, mut signed) = (Frames::default(), Vec::new());
    let (mut sent, mut acknowledged) = (0_u64, 0_u64);
    loop {
        if sent == 0 || !span.is_over() {
            while sent - acknowledged < in_flight as u64 {
                let note = Note::new(sent, bytes);
                let signature = keys.sign(&hash(&note));
                put(&mut signed, &Signed { note, signature });
                sent += 1;
            }
            writer.write_all(&signed).await?;
            signed.clear();
        }
        if acknowledged == sent {
            break;
        }
        let chunk = reader.read_chunk(usize::MAX, true).await?.ok_or("it ended too early")?;
        frames.feed(&chunk.bytes, |frame| {
            let ack: Acknowledged = postcard::from_bytes(frame)?;
            keys.check(&ack.hash, &ack.signature)?;
            if ack.number != acknowledged || ack.hash != hash(&Note::new(ack.number, bytes)) {
                return Err(Error::from("an acknowledgement is another's"));
            }
            acknowledged += 1;
            Ok(())
        })?;
    }
    let rate = span.rate(acknowledged);
    writer.finish()?;
    Ok(rate)
}

/// Checks each note, and acknowledges it.
pub(super) async fn consume(
    writer: &mut (impl AsyncWrite + Unpin),
    reader: &mut RecvStream,
) -> Result<(), Error> {
    let keys = Keys::exchange(writer, reader).await?;
    let (mut frames, mut acknowledged) = (Frames::default(), Vec::new());
    while let Some(chunk) = reader.read_chunk(usize::MAX, true).await? {
        frames.feed(&chunk.bytes, |frame| {
            let Signed { note, signature } = postcard::from_bytes(frame)?;
            let (hash, number) = (hash(&note), note.number);
            keys.check(&hash, &signature)?;
            black_box(note);
            let signature = keys.sign(&hash);
            put(&mut acknowledged, &Acknowledged { number, hash, signature });
            Ok::<_, Error>(())
        })?;
        writer.write_all(&acknowledged).await?;
        acknowledged.clear();
    }
    Ok(())
}
