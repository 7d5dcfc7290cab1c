//! Ids, lives and certificates: asked for on the way up, given by the root alone (protocol rules 1, 23, 24 and 25).
//!
//! A process that a context launches makes its own key and proves, with a secret that it was given on standard input, that it is
//! the one that was launched. The launcher checks that proof, since it made the secret; then it asks the root, under its own
//! authority, for an id and a signature over the newcomer's request. ARCHITECTURE.md says why the root need not see the secret.
//!
//! A context whose certificate has expired while it was asleep, or cut off, can open no link any more. It asks at a door as well, with its
//! old certificate and its key.
//!
//! A process that nobody launched shows a one-time token instead. Whose door it comes to knows nothing of tokens: the root checks the proof,
//! which is over the request, so that nobody on the way can put another request in its place.

use actogen_core::{ContextId, Dead, DeadReason, Handle, Handled, Incarnation};
use serde::{Deserialize, Serialize};

use crate::{
    builtin::{Place, reply, take},
    context::{Context, RootAuthority},
    envelope::Envelope,
    names::{ContextNames, Holder},
    transport::{Enrolment, IdentityError},
};

/// What a launched process sends over the join protocol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrolRequest {
    /// Which launch it belongs to.
    pub launch: u64,
    /// Its certificate request.
    pub request: Vec<u8>,
    /// Keyed hash of the request under the launch's secret.
    pub proof: [u8; 32],
}

impl EnrolRequest {
    /// The request of a launch, proved with its secret.
    pub fn new(launch: u64, secret: &[u8; 32], request: Vec<u8>) -> Self {
        let proof = *blake3::keyed_hash(secret, &request).as_bytes();
        Self { launch, request, proof }
    }

    /// Whether the proof was made with this secret; takes the same time whether it was or not.
    pub(crate) fn is_proved_by(&self, secret: &[u8; 32]) -> bool {
        blake3::keyed_hash(secret, &self.request) == blake3::Hash::from_bytes(self.proof)
    }

    /// The wire form.
    pub fn encode(self) -> Vec<u8> {
        Newcomer::Launched(self).encode()
    }
}

/// What a process sends over the join protocol that shows a token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which token.
    pub token: u64,
    /// Its certificate request.
    pub request: Vec<u8>,
    /// Keyed hash of the request under a key that is made of the token's secret.
    pub proof: [u8; 32],
}

impl JoinRequest {
    /// The request of one who has a token, proved with its key.
    pub fn new(token: u64, key: &[u8; 32], request: Vec<u8>) -> Self {
        let proof = *blake3::keyed_hash(key, &request).as_bytes();
        Self { token, request, proof }
    }

    /// The wire form.
    pub fn encode(self) -> Vec<u8> {
        Newcomer::Invited(self).encode()
    }
}

/// What a context sends over the join protocol whose certificate has expired. Both parts are public: the request's own signature proves
/// the key, and whoever sends them again gets a certificate for a key that it has not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReturnRequest {
    /// The certificate that has expired.
    pub certificate: Vec<u8>,
    /// A certificate request for the same key.
    pub request: Vec<u8>,
}

impl ReturnRequest {
    /// The wire form.
    pub fn encode(self) -> Vec<u8> {
        Newcomer::Returning(self).encode()
    }
}

/// A newcomer at the door. Variants are only ever appended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Newcomer {
    /// Launched by whoever opens the door.
    Launched(EnrolRequest),
    /// With a token of the root's.
    Invited(JoinRequest),
    /// Known, with a certificate that has expired.
    Returning(ReturnRequest),
}

impl Newcomer {
    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, Vec::new()).expect("a request has a form in postcard")
    }
}

/// What a newcomer gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Its id.
    pub context: ContextId,
    /// Its life.
    pub incarnation: Incarnation,
    /// Its certificate, in the form of the transport's identities; empty when only a life was asked for.
    pub certificate: Vec<u8>,
}

impl Admission {
    /// Reads the wire form.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        take(bytes)
    }
}

/// What the root is asked for.
#[derive(Debug, Serialize, Deserialize)]
enum Allocate {
    /// An id, a life, and a certificate for this request.
    Enrol(Vec<u8>),
    /// Another life of a context that has its id and certificate.
    Admit(ContextId),
    /// As the first, for one who shows a token.
    Join(JoinRequest),
    /// A newer certificate for the context that asks, which has this one.
    Renew { certificate: Vec<u8>, request: Vec<u8> },
    /// A newer certificate for a context whose own has expired, and which asks at the door of another.
    Return(ReturnRequest),
}

/// ALLOCATE_ID at the root.
pub(crate) fn allocate(context: &Context, envelope: Envelope, body: &[u8]) {
    let Some(request) = take::<Allocate>(body) else {
        return context.refuse(
            envelope,
            DeadReason::Malformed,
            Handled::No,
            "the request does not decode",
        );
    };
    match allocate_here(context, envelope.origin.source, &request) {
        Ok(admission) => reply(envelope, &admission),
        Err(text) => {
            if let Some(port) = envelope.reply {
                port.failed(&text);
            }
        }
    }
}

/// What a newcomer with a bad token learns, whatever is bad about it.
const NO_TOKEN: &str = "this token admits nobody: it was used by another, has been revoked, or has expired; ask for a new one";

fn allocate_here(
    context: &Context,
    asker: ContextId,
    request: &Allocate,
) -> Result<Admission, String> {
    let Some(root) = &context.0.root else {
        return Err(format!("{} is not the root: only the root gives out ids", context.id()));
    };
    let mut root = root.lock();
    match request {
        Allocate::Admit(id) => {
            if id.is_root() {
                return Err("the root has its life already".into());
            }
            Ok(Admission {
                context: *id,
                incarnation: root.allocator.admit(),
                certificate: Vec::new(),
            })
        }
        Allocate::Enrol(csr) => {
            reserve(&mut root)?;
            let (id, incarnation) = root.allocator.allocate().ok_or("no id is reserved")?;
            let certificate = root.authority.issue(id, csr).map_err(|error| error.to_string())?;
            Ok(Admission { context: id, incarnation, certificate })
        }
        Allocate::Join(JoinRequest { token, request, proof }) => {
            let known = root.authority.check_token(*token, request, proof).map_err(|error| {
                tracing::warn!(context = %context.id(), door = %asker, "a token is refused: {error}");
                NO_TOKEN.to_owned()
            })?;
            let (id, incarnation) = match known {
                Some(id) => (id, root.allocator.admit()),
                None => {
                    reserve(&mut root)?;
                    root.allocator.allocate().ok_or("no id is reserved")?
                }
            };
            root.authority.bind_token(*token, request, id).map_err(|error| error.to_string())?;
            let certificate =
                root.authority.issue(id, request).map_err(|error| error.to_string())?;
            Ok(Admission { context: id, incarnation, certificate })
        }
        Allocate::Renew { certificate, request } => {
            // Those on the way could ask in its name, but not for a key of theirs.
            let renewed = root.authority.renew(asker, certificate, request);
            let certificate = renewed.map_err(|error| error.to_string())?;
            Ok(Admission { context: asker, incarnation: Incarnation::ANY, certificate })
        }
        Allocate::Return(ReturnRequest { certificate, request }) => {
            // Whoever asks for it, the key is its owner's, and so is the new certificate.
            let renewed = root.authority.renew_expired(certificate, request);
            let (id, certificate) = renewed.map_err(|error| error.to_string())?;
            Ok(Admission { context: id, incarnation: Incarnation::ANY, certificate })
        }
    }
}

/// At the root: enrols a child of its own that is to have names, which are taken from contexts that are in the tree no more.
fn enrol_named(
    context: &Context,
    request: &[u8],
    names: &ContextNames,
) -> Result<Admission, String> {
    let refused = |error: IdentityError| error.to_string();
    // Somebody may have come with one since the launch began.
    context.may_give(names)?;
    let root = context.0.root.as_ref().ok_or("only the root gives names")?;
    let (admission, authority) = {
        let mut root = root.lock();
        reserve(&mut root)?;
        let (id, incarnation) = root.allocator.allocate().ok_or("no id is reserved")?;
        root.authority.bind_names(id, names, Holder::Revoked).map_err(refused)?;
        let certificate = root.authority.issue(id, request).map_err(refused)?;
        (Admission { context: id, incarnation, certificate }, root.authority.clone())
    };
    context.spread_revocations(&*authority).map_err(refused)?;
    Ok(admission)
}

/// Makes the next block of ids durable when it is due. Nothing of it is used when that fails.
fn reserve(root: &mut RootAuthority) -> Result<(), String> {
    let (_, taken_below) = root.authority.reserved();
    if let Some(due) = root.allocator.due(taken_below) {
        root.authority.reserve(due.term, due.ids_below).map_err(|error| error.to_string())?;
        root.allocator.reserved(due);
    }
    Ok(())
}

impl Context {
    async fn allocate(&self, request: &Allocate) -> Result<Admission, Dead> {
        let malformed =
            |text: String| Dead::new(DeadReason::Refused, Handled::Yes, self.id(), text);
        if self.0.root.is_some() {
            return allocate_here(self, self.id(), request).map_err(malformed);
        }
        let body =
            postcard::to_extend(request, Vec::new()).expect("a request has a form in postcard");
        let answer = self.ask_root(Handle::ALLOCATE_ID, &body).await?;
        Admission::decode(&answer)
            .ok_or_else(|| malformed("the root's answer does not decode".into()))
    }

    pub(crate) async fn ask_root(&self, handle: Handle, body: &[u8]) -> Result<bytes::Bytes, Dead> {
        let root = Place { context: ContextId::ROOT, incarnation: Incarnation::ANY };
        self.ask(root.address(handle), body).await
    }

    /// Asks the root for a newer certificate for this context, and gives it.
    pub(crate) async fn ask_renewal(
        &self,
        certificate: Vec<u8>,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, Dead> {
        let ask = Allocate::Renew { certificate, request };
        self.allocate(&ask).await.map(|admission| admission.certificate)
    }

    /// Asks the root for a life for a context that has its id and certificate already.
    pub(crate) async fn admit(&self, peer: ContextId) -> Result<Incarnation, Dead> {
        self.allocate(&Allocate::Admit(peer)).await.map(|admission| admission.incarnation)
    }
}

/// Answers a newcomer at the door.
pub(crate) async fn answer(context: &Context, enrolment: Enrolment) {
    let Enrolment { request, remote, respond } = enrolment;
    let outcome = admit_newcomer(context, &request).await;
    match &outcome {
        Ok(_) => {
            tracing::debug!(context = %context.id(), remote, "a launched process was admitted")
        }
        Err(text) => {
            tracing::warn!(context = %context.id(), remote, "an enrolment is refused: {text}")
        }
    }
    respond(outcome);
}

async fn admit_newcomer(context: &Context, request: &[u8]) -> Result<Vec<u8>, String> {
    // One text for all that a stranger can get wrong: it learns nothing about which launches there are.
    let stranger = || "this context expects no such process".to_owned();
    let (launch, names, ask) = match take::<Newcomer>(request).ok_or_else(stranger)? {
        Newcomer::Launched(request) => {
            let (launch, names) = context.0.launches.claim(&request).ok_or_else(stranger)?;
            (Some(launch), names, Allocate::Enrol(request.request))
        }
        Newcomer::Invited(request) => (None, ContextNames::default(), Allocate::Join(request)),
        Newcomer::Returning(request) => (None, ContextNames::default(), Allocate::Return(request)),
    };
    let admission = match &ask {
        Allocate::Enrol(request) if !names.is_empty() => enrol_named(context, request, &names)?,
        _ => context.allocate(&ask).await.map_err(|dead| dead.text)?,
    };
    if let Some(launch) = launch {
        context.0.launches.admitted(launch, admission.context);
    }
    Ok(postcard::to_extend(&admission, Vec::new()).expect("an answer has a form in postcard"))
}
