//! Starting registered actors in other contexts.
//!
//! Nothing that is code travels: a parent names an actor that the child's own program has registered with `spawn` in its derive,
//! and sends the arguments.

use std::sync::Arc;

use actogen_runtime::{
    Place,
    batch::Batch,
    core::{Address, ContextId, Dead, DeadReason, Handle, Handled, Incarnation, policy::Policy},
    envelope::Envelope,
    launch::{self, Carrier},
    mailbox::Mailbox,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    actor::RemoteActor,
    address::{DecodingScope, Remote},
    context::{Context, LookupError},
    function::Functions,
    message::{Body, Codec, CodecError},
};

/// Requests to start an actor that wait for the thread that starts them; more are refused.
const BACKLOG: usize = 1024;

/// An actor that a parent can start in another context: `spawn` in the derive implements it by `Default`, `spawn(Args)` by
/// `From<Args>`, and with `spawn = custom` the author does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be started from another context",
    note = "add `spawn` to `#[remote(...)]` of `{Self}`: by `Default`, `spawn(Args)` by `From<Args>`, or `spawn = custom`"
)]
pub trait Spawn: RemoteActor {
    /// What it is made of.
    type Args: Body;

    /// Makes the actor, in the context where it will live: with `spawn = custom` it may keep a handle on that, to send by it or
    /// to register a name.
    fn spawn(arguments: Self::Args, cx: &Context) -> Self;
}

/// An actor registered for being started; written by the derive.
#[doc(hidden)]
#[derive(Debug)]
pub struct Spawnable {
    name: &'static str,
    start: fn(&Context, &[u8]) -> Result<Address, String>,
}

impl Spawnable {
    /// The registration of `A`.
    pub const fn new<A: Spawn>() -> Self {
        Self { name: A::NAME, start: start::<A> }
    }
}

inventory::collect!(Spawnable);

fn start<A: Spawn>(context: &Context, arguments: &[u8]) -> Result<Address, String> {
    let arguments = DecodingScope::of(context)
        .decode(|| A::Args::decode(Codec::Postcard, arguments))
        .map_err(|error| format!("the arguments do not decode: {error}"))?;
    let actor =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| A::spawn(arguments, context)))
            .map_err(|panic| {
                format!("making the actor panicked: {}", crate::guard::panic_text(&*panic))
            })?;
    Ok(context.start(actor).address())
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    actor: String,
    arguments: Vec<u8>,
}

/// Receives requests on whatever thread and hands them to the one that runs actors.
struct Door {
    requests: mpsc::Sender<Envelope>,
}

impl Mailbox for Door {
    fn push(&self, context: &actogen_runtime::Context, batch: Batch) {
        for envelope in batch.into_envelopes(context) {
            if let Err(
                mpsc::error::TrySendError::Full(envelope)
                | mpsc::error::TrySendError::Closed(envelope),
            ) = self.requests.try_send(envelope)
            {
                let text = "too many actors are being started";
                context.refuse(envelope, DeadReason::MailboxFull, Handled::No, text);
            }
        }
    }
}

/// Requests to start actors that have come in and wait to be served.
#[derive(Debug)]
pub(crate) struct Requests(mpsc::Receiver<Envelope>);

/// The door for requests to start actors, to be opened before anybody can reach the context, and what comes in by it.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Requests) {
    let (requests, receiver) = mpsc::channel(BACKLOG);
    let open = |context: &actogen_runtime::Context| {
        context.bind_reserved(Handle::SPAWN, Arc::new(Door { requests }), Policy::ParentAuthority);
    };
    (open, Requests(receiver))
}

/// Serves requests to start actors, on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, Requests(mut receiver): Requests) {
    let context = context.clone();
    let mut phase = context.phase();
    tokio::task::spawn_local(async move {
        loop {
            let envelope = tokio::select! {
                envelope = receiver.recv() => envelope,
                _ = phase.wait_for(|phase| *phase == actogen_runtime::Phase::Down) => return,
            };
            let Some(envelope) = envelope else { return };
            let outcome = start_named(&context, &envelope.body);
            let Some(reply) = envelope.reply else { continue };
            let bytes = Codec::Postcard.encode(&outcome.map(|address| address.handle));
            match bytes {
                Ok(bytes) => reply.value(&bytes),
                Err(error) => reply.failed(&error.to_string()),
            }
        }
    });
}

fn start_named(context: &Context, body: &[u8]) -> Result<Address, String> {
    let request: Request = Codec::Postcard
        .decode(body)
        .map_err(|error| format!("the request does not decode: {error}"))?;
    let mut named = inventory::iter::<Spawnable>
        .into_iter()
        .filter(|spawnable| spawnable.name == request.actor);
    let Some(found) = named.next() else {
        let known: Vec<_> =
            inventory::iter::<Spawnable>.into_iter().map(|spawnable| spawnable.name).collect();
        return Err(format!(
            "this program has no actor `{}` to start; it has {known:?}. Does its derive say `spawn`, and is its crate used in the child's program?",
            request.actor
        ));
    };
    if named.next().is_some() {
        return Err(format!("this program has two actors named `{}`: rename one", request.actor));
    }
    (found.start)(context, &request.arguments)
}

/// Why an actor could not be started in another context.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The other context could not start it; its text.
    #[error("{context} could not start `{actor}`: {why}")]
    Refused {
        /// The context.
        context: ContextId,
        /// The actor's name.
        actor: &'static str,
        /// What it says.
        why: String,
    },
    /// The other context could not be asked.
    #[error("{0}")]
    Dead(Dead),
    /// The arguments have no form in postcard.
    #[error("the arguments of `{actor}` cannot be encoded: {why}")]
    Arguments {
        /// The actor's name.
        actor: &'static str,
        /// What the codec says.
        why: String,
    },
}

impl Context {
    /// Starts a registered actor in another context, which must lie below this one.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn spawn_in<A: Spawn>(
        &self,
        place: Place,
        arguments: A::Args,
    ) -> Result<Remote<A>, SpawnError> {
        let unencodable =
            |error: CodecError| SpawnError::Arguments { actor: A::NAME, why: error.to_string() };
        let mut encoded = Vec::new();
        arguments.encode(Codec::Postcard, &mut encoded).map_err(unencodable)?;
        let request = Request { actor: A::NAME.to_owned(), arguments: encoded };
        let body = Codec::Postcard.encode(&request).map_err(unencodable)?;
        let refused =
            |why: String| SpawnError::Refused { context: place.context, actor: A::NAME, why };
        let answer =
            self.ask(place.address(Handle::SPAWN), &body).await.map_err(SpawnError::Dead)?;
        let outcome: Result<Handle, String> =
            Codec::Postcard.decode(&answer).map_err(|error| refused(error.to_string()))?;
        outcome.map(|handle| self.remote(place.address(handle))).map_err(refused)
    }
}

/// A context that this one has launched.
#[derive(Debug)]
pub struct Child {
    context: Context,
    child: launch::Child,
    functions: Functions,
}

impl From<&Child> for Place {
    fn from(child: &Child) -> Self {
        child.place()
    }
}

impl Child {
    pub(crate) fn over(context: Context, child: launch::Child) -> Self {
        let functions = context.functions_in(child.place());
        Self { context, child, functions }
    }

    /// The context that asked for it.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Its functions.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// The child's id.
    pub fn id(&self) -> ContextId {
        self.child.id()
    }

    /// The child's life.
    pub fn incarnation(&self) -> Incarnation {
        self.child.incarnation()
    }

    /// Where the child is.
    pub fn place(&self) -> Place {
        self.child.place()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Starts a registered actor in the child.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn spawn<A: Spawn>(&self, arguments: A::Args) -> Result<Remote<A>, SpawnError> {
        self.context.spawn_in(self.child.place(), arguments).await
    }

    /// Finds an actor in the child by its name.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn lookup<A: RemoteActor>(&self, name: &str) -> Result<Remote<A>, LookupError> {
        self.context.lookup_in(self.child.place(), name).await
    }

    /// What carries the link to its parent.
    pub fn carrier(&self) -> Carrier {
        self.child.carrier()
    }

    /// Its parent in the tree: the context that launched it.
    pub fn parent(&self) -> Place {
        self.child.parent()
    }

    /// Kills the child's process group with SIGKILL, or that of the tool by which it runs, and waits until it is gone. Does nothing when it is
    /// gone already.
    pub async fn kill(&self) {
        self.child.kill().await;
    }

    /// Waits until the process has ended; says how, such as `exit status 0` or `signal 9`.
    pub async fn exited(&self) -> String {
        self.child.exited().await
    }
}
