//! Somebody who has what is published, and acknowledges it as he should not. He writes acknowledgements by himself, as the page about the wire
//! says they are.

use std::{sync::Arc, time::Duration};

use actogen::{
    AckLevel, Address, Context, ContextId, Deliveries, Handle, Incarnation, MessageId,
    PublishError, prelude::*,
};
use bytes::Bytes;
use parking_lot::Mutex;

const DOMAIN: &str = "actogen acknowledge v1";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Reached(AckLevel),
    Rejected(String),
}

/// An acknowledgement, as it is on the wire.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Acknowledgement")]
struct Ack {
    id: MessageId,
    hash: [u8; 32],
    name: String,
    answer: Answer,
    signer: ContextId,
    certificate: Bytes,
    signature: Bytes,
}

/// Stands for whoever takes acknowledgements.
#[derive(Debug, RemoteActor)]
#[remote(name = "test.publishing", messages(Ack))]
struct Publishing;

impl Actor for Publishing {
    type Context = actix::Context<Self>;
}

impl Handler<Ack> for Publishing {
    type Result = ();
    fn handle(&mut self, _: Ack, _: &mut Self::Context) {}
}

/// What is wrong with an acknowledgement.
#[derive(Clone, Debug)]
pub enum Forgery {
    /// Nothing: the recipient has signed it.
    Genuine,
    /// It is signed with the forger's key, under the recipient's certificate.
    Key,
    /// The recipient has signed it, under an earlier certificate of his.
    Earlier(Vec<u8>),
    /// It is for another hash.
    Hash,
    /// It is for another id.
    Id,
    /// It is by a name that nobody has asked.
    Stranger,
    /// It is signed by the forger as himself, who does not have the name.
    OwnName,
    /// It is signed by the forger, under the certificate and in the name of a third.
    Certificate(Vec<u8>, ContextId),
}

/// So many messages are kept; the oldest are forgotten.
const MOST_KEPT: usize = 1000;

/// A message's id and hash.
pub type Heard = (MessageId, [u8; 32]);

/// Hears what is published, and keeps it.
#[derive(Debug)]
pub struct RogueAcks {
    at: Context,
    heard: Arc<Mutex<Vec<Heard>>>,
}

/// What is published, whatever it is.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Order")]
struct Any(u64);

impl RogueAcks {
    /// Hears what is published under a topic, in this context.
    ///
    /// # Errors
    /// [`PublishError`].
    pub fn listen(at: &Context, topic: &str) -> Result<Self, PublishError> {
        let mut deliveries: Deliveries<Any> = at.consume(topic).deliveries()?;
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let kept = heard.clone();
        tokio::task::spawn_local(async move {
            // Where somebody waits for a verdict, none is given.
            let mut held = Vec::new();
            while let Some(delivery) = deliveries.next().await {
                if let (Some(id), Some(hash)) = (delivery.id(), delivery.hash()) {
                    let mut kept = kept.lock();
                    kept.push((id, hash));
                    if kept.len() > MOST_KEPT {
                        kept.remove(0);
                    }
                }
                match delivery.is_awaited() {
                    true => held.push(delivery),
                    false => drop(delivery.ok()),
                }
            }
        });
        Ok(Self { at: at.clone(), heard })
    }

    /// As soon as a publisher waits for a message that has been heard, says each of these for the first one that was, as by this recipient.
    pub async fn answer_each_once(
        &self,
        publisher: &Context,
        recipient: &Context,
        name: &str,
        forgeries: &[Forgery],
    ) {
        let (id, hash) = loop {
            let is_waiting = publisher.publish_stats().await.is_ok_and(|stats| stats.waiting > 0);
            if let Some(heard) = self.heard.lock().first().filter(|_| is_waiting) {
                break *heard;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        for forgery in forgeries {
            self.say(publisher.id(), recipient, name, (id, hash), forgery);
        }
    }

    /// Messages that were heard, the last one last.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().clone()
    }

    /// Tells a publisher something about a message, as by this recipient.
    pub fn say(
        &self,
        publisher: ContextId,
        recipient: &Context,
        name: &str,
        heard: Heard,
        forgery: &Forgery,
    ) {
        let ack = self.forged(publisher, recipient, name, heard, forgery);
        publisher_of(publisher, &self.at).do_send(ack);
    }

    fn forged(
        &self,
        publisher: ContextId,
        recipient: &Context,
        name: &str,
        (id, hash): Heard,
        forgery: &Forgery,
    ) -> Ack {
        let mut ack = Ack {
            id,
            hash,
            name: name.to_owned(),
            answer: Answer::Reached(AckLevel::Processed),
            signer: recipient.id(),
            certificate: recipient.certificate().into(),
            signature: Bytes::new(),
        };
        let mut key = &self.at;
        match forgery {
            Forgery::Genuine => key = recipient,
            Forgery::Key => {}
            Forgery::Earlier(certificate) => {
                key = recipient;
                ack.certificate = certificate.clone().into();
            }
            Forgery::Hash => ack.hash[0] ^= 1,
            Forgery::Id => ack.id = MessageId::new(ack.id.get() ^ 1),
            Forgery::Stranger => ack.name = "nobody".into(),
            Forgery::OwnName => {
                (ack.signer, ack.certificate) = (key.id(), key.certificate().into());
            }
            Forgery::Certificate(certificate, signer) => {
                (ack.signer, ack.certificate) = (*signer, certificate.clone().into());
            }
        }
        ack.signature = key.sign_claim(DOMAIN, &claim(&ack, publisher)).into();
        ack
    }
}

/// Where a context takes acknowledgements.
fn publisher_of(context: ContextId, by: &Context) -> Remote<Publishing> {
    let (handle, incarnation) = (Handle::PUBLISH, Incarnation::ANY);
    let address = postcard::to_allocvec(&Address { context, handle, incarnation });
    let remote: Remote<Publishing> =
        postcard::from_bytes(&address.expect("an address has a form")).expect("it is an address");
    remote.attach(by)
}

/// What is signed of an acknowledgement.
fn claim(ack: &Ack, publisher: ContextId) -> Vec<u8> {
    let mut claim = ack.id.get().to_le_bytes().to_vec();
    claim.extend_from_slice(&ack.hash);
    claim.extend_from_slice(&publisher.0.to_le_bytes());
    claim.extend_from_slice(&(ack.name.len() as u64).to_le_bytes());
    claim.extend_from_slice(ack.name.as_bytes());
    match &ack.answer {
        Answer::Reached(AckLevel::Received) => claim.push(1),
        Answer::Reached(AckLevel::Durable) => claim.push(2),
        Answer::Reached(AckLevel::Processed) => claim.push(3),
        Answer::Rejected(why) => {
            claim.push(0);
            claim.extend_from_slice(why.as_bytes());
        }
    }
    claim
}
