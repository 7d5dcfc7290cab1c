//! Where actors are started on behalf of other contexts, and mailboxes kept that outlive them.
//!
//! ```text
//!  spawn_in, a supervisor ── Ask ──> Door (any thread) ──> serve (the thread that runs actors) ──> Context::start, Kept
//!  the supervisor          <── Over ── a kept mailbox whose life has ended
//! ```
//!
//! Nothing that is code travels: a parent names an actor that the child's own program has registered with `spawn` in its derive, and sends
//! the arguments. A kept mailbox ends with the supervisor that asked for it.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use actogen_runtime::{
    batch::Batch,
    core::{Address, ContextId, DeadReason, Handle, Handled, policy::Policy},
    envelope::Envelope,
    mailbox::{Mailbox, StopReason},
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::{
    RemoteMessage, SendError,
    actor::RemoteActor,
    address::{DecodingScope, Remote},
    context::Context,
    guard::panic_text,
    intake::{Intake, Over},
    linking::Followers,
    message::{Body, Codec},
    spawn::Spawn,
    supervise::Supervisor,
};

/// Requests that wait for the thread that serves them; more are refused.
const BACKLOG: usize = 1024;

/// How long an actor may take to end whose supervisor has.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);

/// Mailboxes that are kept for supervisors elsewhere; more are refused.
const MOST_KEPT: usize = 100_000;

/// An actor registered for being started; written by the derive.
#[doc(hidden)]
#[derive(Debug)]
pub struct Spawnable {
    name: &'static str,
    start: fn(&Context, &[u8]) -> Result<Address, String>,
    open: fn(&Context, Over) -> Kept,
    begin: fn(&Context, &Kept, &[u8]) -> Result<(), String>,
}

impl Spawnable {
    /// The registration of `A`.
    pub const fn new<A: Spawn>() -> Self {
        Self { name: A::NAME, start: start::<A>, open: Kept::open::<A>, begin: begin::<A> }
    }

    fn find(actor: &str) -> Result<&'static Self, String> {
        let mut named =
            inventory::iter::<Self>.into_iter().filter(|spawnable| spawnable.name == actor);
        let Some(found) = named.next() else {
            let known: Vec<_> =
                inventory::iter::<Self>.into_iter().map(|spawnable| spawnable.name).collect();
            return Err(format!(
                "this program has no actor `{actor}` to start; it has {known:?}. Does its derive say `spawn`, and is its crate used in the child's program?"
            ));
        };
        match named.next() {
            None => Ok(found),
            Some(_) => Err(format!("this program has two actors named `{actor}`: rename one")),
        }
    }
}

inventory::collect!(Spawnable);

fn make<A: Spawn>(context: &Context, arguments: &[u8]) -> Result<A, String> {
    let arguments = DecodingScope::of(context)
        .decode(|| A::Args::decode(Codec::Postcard, arguments))
        .map_err(|error| format!("the arguments do not decode: {error}"))?;
    made(|| A::spawn(arguments, context))
}

/// Makes an actor; a panic in that is a text.
pub(crate) fn made<A>(make: impl FnOnce() -> A) -> Result<A, String> {
    catch_unwind(AssertUnwindSafe(make))
        .map_err(|panic| format!("making the actor panicked: {}", panic_text(&*panic)))
}

fn start<A: Spawn>(context: &Context, arguments: &[u8]) -> Result<Address, String> {
    make::<A>(context, arguments).map(|actor| context.start(actor).address())
}

fn begin<A: Spawn>(context: &Context, kept: &Kept, arguments: &[u8]) -> Result<(), String> {
    make::<A>(context, arguments).map(|actor| kept.begin(context, actor))
}

/// A mailbox that outlives its actors, until this is dropped: it ends with the life then, or as the last one did.
pub(crate) struct Kept {
    intake: Arc<Intake>,
    address: Address,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Kept {
    /// A mailbox for actors of this type; `over` is told why each life of one has ended.
    pub(crate) fn open<A: RemoteActor>(context: &Context, over: Over) -> Self {
        let (intake, remote) = context.open_intake::<A>(Policy::Anyone);
        intake.keep(over);
        Self { intake, address: remote.address() }
    }

    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Whether no life goes on in it.
    pub(crate) fn is_vacant(&self) -> bool {
        self.intake.is_vacant()
    }

    /// Begins a life. The last one has ended.
    pub(crate) fn begin<A: RemoteActor>(&self, context: &Context, actor: A) {
        self.intake.begin_life();
        context.attend(actor, self.intake.clone());
    }

    /// Asks the life to end; kills it if it has not within the grace.
    pub(crate) fn end(&self, grace: Duration) {
        self.intake.end(StopReason::Normal);
        let (intake, life) = (Arc::downgrade(&self.intake), self.intake.life());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(grace).await;
            if let Some(intake) = intake.upgrade() {
                intake.kill_life(life);
            }
        });
    }
}

impl Drop for Kept {
    /// An actor that declines to end is killed: nobody is there any more to answer for it.
    fn drop(&mut self) {
        let is_vacant = self.intake.is_vacant();
        self.intake.let_go(StopReason::Error("its supervisor has ended".to_owned()));
        if is_vacant || !self.intake.context().is_running() {
            return;
        }
        let intake = Arc::downgrade(&self.intake);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(ORPHAN_GRACE).await;
            if let Some(intake) = intake.upgrade() {
                actogen_runtime::mailbox::Mailbox::end(&*intake, StopReason::Killed);
            }
        });
    }
}

/// What a context is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Start an actor; the answer is its handle.
    Start { actor: String, arguments: Vec<u8> },
    /// Begin a life of an actor in a mailbox that outlives it; the answer is the mailbox's handle.
    Begin { seat: Seat, actor: String, arguments: Vec<u8> },
    /// End that life, within so many milliseconds; [`LifeOver`] says when it has. Asked at [`Handle::END`].
    End { seat: Seat, grace: u64 },
    /// End this actor when the other one fails.
    Link { follower: Handle, leader: Address, number: u64 },
    /// Let it live on its own again.
    Unlink { number: u64 },
    /// Keep the mailbox no longer.
    Close { seat: Seat },
}

/// A kept mailbox as both sides name it: a number that the supervisor has drawn, and who that is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Seat {
    pub(crate) number: u64,
    pub(crate) supervisor: Remote<Supervisor>,
}

/// Tells a supervisor that a life has ended.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.LifeOver", crate = crate)]
pub(crate) struct LifeOver {
    pub(crate) seat: u64,
    pub(crate) reason: StopReason,
}

/// What is answered.
pub(crate) type Answer = Result<Handle, String>;

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

/// Requests that have come in and wait to be served.
#[derive(Debug)]
pub(crate) struct Requests(mpsc::Receiver<Envelope>);

/// The door for requests, to be opened before anybody can reach the context, and what comes in by it.
pub(crate) fn door() -> (impl FnOnce(&actogen_runtime::Context) + Send + 'static, Requests) {
    let (requests, receiver) = mpsc::channel(BACKLOG);
    let open = move |context: &actogen_runtime::Context| {
        // By the second one, which overtakes what authors send, come words that an actor shall end.
        for handle in [Handle::SPAWN, Handle::END] {
            let door = Door { requests: requests.clone() };
            context.bind_reserved(handle, Arc::new(door), Policy::ParentAuthority);
        }
    };
    (open, Requests(receiver))
}

/// Serves requests, on the thread that calls this, until the context ends.
pub(crate) fn serve(context: &Context, Requests(mut receiver): Requests) {
    let (gone, mut supervisors_gone) = mpsc::unbounded_channel();
    let mut nursery = Nursery {
        context: context.clone(),
        kept: HashMap::new(),
        followers: Followers::default(),
        gone,
    };
    let mut phase = context.phase();
    tokio::task::spawn_local(async move {
        loop {
            let envelope = tokio::select! {
                envelope = receiver.recv() => envelope,
                Some(seat) = supervisors_gone.recv() => {
                    nursery.kept.remove(&seat);
                    continue;
                }
                _ = phase.wait_for(|phase| *phase == actogen_runtime::Phase::Down) => return,
            };
            let Some(envelope) = envelope else { return };
            let answer = nursery.answer(envelope.origin.source, &envelope.body);
            let Some(reply) = envelope.reply else { continue };
            match Codec::Postcard.encode(&answer) {
                Ok(bytes) => reply.value(&bytes),
                Err(error) => reply.failed(&error.to_string()),
            }
        }
    });
}

/// A task that ends with this.
struct Watching(tokio::task::JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The mailboxes that are kept for supervisors elsewhere.
struct Nursery {
    context: Context,
    kept: HashMap<Seat, Held>,
    followers: Followers,
    /// Told of a seat whose supervisor has gone; one word for each seat.
    gone: mpsc::UnboundedSender<Seat>,
}

struct Held {
    kept: Kept,
    actor: &'static Spawnable,
    /// Waits for the supervisor's end; given up with the mailbox.
    _watching: Watching,
}

impl Nursery {
    fn answer(&mut self, asker: ContextId, body: &[u8]) -> Answer {
        let ask: Ask = DecodingScope::of(&self.context)
            .decode(|| Codec::Postcard.decode(body))
            .map_err(|error| format!("the request does not decode: {error}"))?;
        match ask {
            Ask::Start { actor, arguments } => {
                let found = Spawnable::find(&actor)?;
                (found.start)(&self.context, &arguments).map(|address| address.handle)
            }
            Ask::Begin { seat, actor, arguments } => {
                // Or somebody could make this context tell a third one of what it did not ask for.
                if seat.supervisor.context_id() != asker {
                    return Err(format!("the supervisor is not of {asker}, which asks"));
                }
                self.begin(seat, &actor, &arguments)
            }
            Ask::End { seat, grace } => {
                let held = self.kept.get(&seat).ok_or("there is no such mailbox")?;
                held.kept.end(Duration::from_millis(grace));
                Ok(held.kept.address().handle)
            }
            Ask::Link { follower, leader, number } => {
                self.followers.add((asker, number), &self.context, follower, leader)
            }
            Ask::Unlink { number } => {
                self.followers.remove((asker, number));
                Ok(Handle::SPAWN)
            }
            Ask::Close { seat } => {
                let held = self.kept.remove(&seat).ok_or("there is no such mailbox")?;
                Ok(held.kept.address().handle)
            }
        }
    }

    fn begin(&mut self, seat: Seat, actor: &str, arguments: &[u8]) -> Answer {
        if !self.kept.contains_key(&seat) {
            if self.kept.len() >= MOST_KEPT {
                return Err(format!("{MOST_KEPT} mailboxes are kept already"));
            }
            let held = self.keep(&seat, Spawnable::find(actor)?);
            self.kept.insert(seat.clone(), held);
        }
        let Held { kept, actor: known, .. } = &self.kept[&seat];
        if known.name != actor {
            return Err(format!("this mailbox is one of `{}`", known.name));
        }
        if !kept.is_vacant() {
            return Err("a life goes on in this mailbox".to_owned());
        }
        (known.begin)(&self.context, kept, arguments).map(|()| kept.address().handle)
    }

    fn keep(&self, seat: &Seat, actor: &'static Spawnable) -> Held {
        let supervisor = seat.supervisor.clone();
        let number = seat.number;
        let over = move |reason| {
            // Of the end of a whole context its watch tells, and this would find no way.
            if reason == StopReason::Shutdown {
                return;
            }
            let over = LifeOver { seat: number, reason };
            if let Err(SendError::Full(over)) = supervisor.try_send(over) {
                // It would wait for this word for ever.
                let supervisor = supervisor.clone();
                tokio::task::spawn_local(async move { supervisor.tell(over).await });
            }
        };
        let kept = (actor.open)(&self.context, Arc::new(over));
        let watch = self.context.watch(&seat.supervisor);
        let (gone, seat) = (self.gone.clone(), seat.clone());
        let watching = tokio::task::spawn_local(async move {
            watch.await;
            // Without a nursery the mailbox has gone as well.
            let _ = gone.send(seat);
        });
        Held { kept, actor, _watching: Watching(watching) }
    }
}
