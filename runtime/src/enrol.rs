//! Ids, lives and certificates: asked for on the way up, given by the root alone (protocol rules 1, 23 and 24).
//!
//! A process that a context launches makes its own key and proves, with a secret that it was given on standard input, that it is
//! the one that was launched. The launcher checks that proof, since it made the secret; then it asks the root, under its own
//! authority, for an id and a signature over the newcomer's request. ARCHITECTURE.md says why the root need not see the secret.

use actogen_core::{ContextId, Dead, DeadReason, Handle, Handled, Incarnation};
use serde::{Deserialize, Serialize};

use crate::{
    builtin::{Place, reply, take},
    context::{Context, RootAuthority},
    envelope::Envelope,
    transport::Enrolment,
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
    match allocate_here(context, &request) {
        Ok(admission) => reply(envelope, &admission),
        Err(text) => {
            if let Some(port) = envelope.reply {
                port.failed(&text);
            }
        }
    }
}

fn allocate_here(context: &Context, request: &Allocate) -> Result<Admission, String> {
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
    }
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
            return allocate_here(self, request).map_err(malformed);
        }
        let body =
            postcard::to_extend(request, Vec::new()).expect("a request has a form in postcard");
        let answer = self.ask_root(Handle::ALLOCATE_ID, &body).await?;
        Admission::decode(&answer)
            .ok_or_else(|| malformed("the root's answer does not decode".into()))
    }

    async fn ask_root(&self, handle: Handle, body: &[u8]) -> Result<bytes::Bytes, Dead> {
        let root = Place { context: ContextId::ROOT, incarnation: Incarnation::ANY };
        self.ask(root.address(handle), body).await
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
    let request = take::<EnrolRequest>(request).ok_or_else(stranger)?;
    let launch = context.0.launches.claim(&request).ok_or_else(stranger)?;
    let admission = context
        .allocate(&Allocate::Enrol(request.request))
        .await
        .map_err(|dead| dead.to_string())?;
    let answer =
        postcard::to_extend(&admission, Vec::new()).expect("an answer has a form in postcard");
    context.0.launches.admitted(launch, admission.context);
    Ok(answer)
}
