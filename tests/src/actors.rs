//! The actors and messages of the scenarios.

use std::{future::ready, sync::Arc, time::Duration};

use actix::dev::{MessageResponse, OneshotSender};
use actogen::prelude::*;
use tokio::sync::Notify;

macro_rules! message {
    ($(#[$doc:meta])* $name:ident($($(#[$how:meta])? $field:ty),*), $tag:literal, $reply:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, RemoteMessage, Serialize, Deserialize)]
        #[remote(name = $tag, reply = $reply)]
        pub struct $name($($(#[$how])? pub $field),*);
    };
}

message!(
    /// Asks for the same bytes.
    Echo(#[serde(with = "serde_bytes")] Vec<u8>), "test.Echo", "Vec<u8>"
);
message!(
    /// Asks for a quotient, or the reason why there is none.
    Divide(i64, i64), "test.Divide", "Result<i64, String>"
);
message!(
    /// Asks for the number plus one, from a future.
    Later(u64), "test.Later", "u64"
);
message!(
    /// Asks for the sum of all such numbers, from an actor future.
    Sum(u64), "test.Sum", "u64"
);
message!(
    /// As [`Sum`], from an atomic response.
    AtomicSum(u64), "test.AtomicSum", "u64"
);
message!(
    /// Asks for the number plus one, from a message result.
    Wrapped(u64), "test.Wrapped", "u64"
);
message!(
    /// Asks who asks: source, authority and the neighbour that brought it.
    WhoAmI(), "test.WhoAmI", "(u64, u64, Option<u64>)"
);
message!(
    /// Is never answered.
    Never(), "test.Never", "()"
);
message!(
    /// Has its reply port dropped.
    Hush(), "test.Hush", "u64"
);
message!(
    /// Asks for so many bytes.
    Produce(u64), "test.Produce", "Vec<u8>"
);
message!(
    /// Asks for an answer that has no encoded form.
    Unwritable(), "test.Unwritable", "NoForm"
);
message!(
    /// One of a sender's messages: who, and the how manieth.
    Note(u64, u64), "test.Note", "()"
);
message!(
    /// As [`Note`], with a body.
    Parcel(u64, u64, #[serde(with = "serde_bytes")] Vec<u8>), "test.Parcel", "()"
);
message!(
    /// Asks for all notes so far.
    Notes(), "test.Notes", "Vec<(u64, u64)>"
);
message!(
    /// Asks a herald to send notes: to whom, from which number, how many.
    Announce(Remote<Recorder>, u64, u64), "test.Announce", "()"
);
message!(
    /// Asks a herald to ask for an echo.
    AskFor(RemoteRecipient<Echo>, Vec<u8>), "test.AskFor", "Result<Vec<u8>, String>"
);
message!(
    /// Asks an actor to end, in some way.
    End(Ending), "test.End", "()"
);
message!(
    /// A message that no actor lists.
    Unlisted(u64), "test.Unlisted", "u64"
);

/// A value that cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct NoForm;

impl Serialize for NoForm {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it has no form"))
    }
}

/// Answers in every way that actix knows.
#[derive(Debug, Default, RemoteActor)]
#[remote(
    name = "test.desk",
    messages(
        Echo, Divide, Later, Sum, AtomicSum, Wrapped, Never, Hush, Produce, Unwritable, Parcel
    ),
    inbound(WhoAmI),
    spawn
)]
pub struct Desk {
    sum: u64,
}

impl Actor for Desk {
    type Context = actix::Context<Self>;
}

impl Handler<Echo> for Desk {
    type Result = Vec<u8>;
    fn handle(&mut self, Echo(bytes): Echo, _: &mut Self::Context) -> Vec<u8> {
        bytes
    }
}

impl Handler<Divide> for Desk {
    type Result = Result<i64, String>;
    fn handle(&mut self, Divide(a, b): Divide, _: &mut Self::Context) -> Self::Result {
        a.checked_div(b).ok_or_else(|| format!("{a} cannot be divided by {b}"))
    }
}

impl Handler<Later> for Desk {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, Later(n): Later, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            tokio::task::yield_now().await;
            n + 1
        })
    }
}

impl Handler<Sum> for Desk {
    type Result = ResponseActFuture<Self, u64>;
    fn handle(&mut self, Sum(n): Sum, _: &mut Self::Context) -> Self::Result {
        let wait = async { tokio::task::yield_now().await };
        Box::pin(wait.into_actor(self).map(move |(), desk, _| {
            desk.sum += n;
            desk.sum
        }))
    }
}

impl Handler<AtomicSum> for Desk {
    type Result = AtomicResponse<Self, u64>;
    fn handle(&mut self, AtomicSum(n): AtomicSum, _: &mut Self::Context) -> Self::Result {
        let before = self.sum;
        let wait = async { tokio::task::yield_now().await };
        AtomicResponse::new(Box::pin(wait.into_actor(self).map(move |(), desk, _| {
            assert_eq!(desk.sum, before, "nothing runs beside an atomic response");
            desk.sum += n;
            desk.sum
        })))
    }
}

impl Handler<Wrapped> for Desk {
    type Result = MessageResult<Wrapped>;
    fn handle(&mut self, Wrapped(n): Wrapped, _: &mut Self::Context) -> Self::Result {
        MessageResult(n + 1)
    }
}

impl Handler<Inbound<WhoAmI>> for Desk {
    type Result = MessageResult<Inbound<WhoAmI>>;
    fn handle(&mut self, who: Inbound<WhoAmI>, _: &mut Self::Context) -> Self::Result {
        let origin = who.origin;
        let neighbour = origin.neighbour.map(|neighbour| neighbour.context.0);
        MessageResult((origin.source.0, origin.authority.0, neighbour))
    }
}

impl Handler<Never> for Desk {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Never, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

/// A result that answers nothing.
#[derive(Clone, Copy, Debug)]
pub struct Silence;

impl MessageResponse<Desk, Hush> for Silence {
    fn handle(self, _: &mut actix::Context<Desk>, answer: Option<OneshotSender<u64>>) {
        drop(answer);
    }
}

impl Handler<Hush> for Desk {
    type Result = Silence;
    fn handle(&mut self, _: Hush, _: &mut Self::Context) -> Silence {
        Silence
    }
}

impl Handler<Produce> for Desk {
    type Result = Vec<u8>;
    fn handle(&mut self, Produce(bytes): Produce, _: &mut Self::Context) -> Vec<u8> {
        pattern(bytes as usize)
    }
}

impl Handler<Unwritable> for Desk {
    type Result = MessageResult<Unwritable>;
    fn handle(&mut self, _: Unwritable, _: &mut Self::Context) -> Self::Result {
        MessageResult(NoForm)
    }
}

impl Handler<Parcel> for Desk {
    type Result = ();
    fn handle(&mut self, _: Parcel, _: &mut Self::Context) {}
}

/// Bytes that show when some are missing or twice there.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Writes down what it gets.
#[derive(Debug, Default, RemoteActor)]
#[remote(name = "test.recorder", messages(Note, Parcel, Notes, End), spawn)]
pub struct Recorder {
    notes: Vec<(u64, u64)>,
}

impl Actor for Recorder {
    type Context = actix::Context<Self>;
}

impl Handler<Note> for Recorder {
    type Result = ();
    fn handle(&mut self, Note(from, number): Note, _: &mut Self::Context) {
        self.notes.push((from, number));
    }
}

impl Handler<Parcel> for Recorder {
    type Result = ();
    fn handle(&mut self, Parcel(from, number, body): Parcel, _: &mut Self::Context) {
        assert!(body == pattern(body.len()), "a body arrives as it was sent");
        self.notes.push((from, number));
    }
}

impl Handler<Notes> for Recorder {
    type Result = Vec<(u64, u64)>;
    fn handle(&mut self, _: Notes, _: &mut Self::Context) -> Vec<(u64, u64)> {
        self.notes.clone()
    }
}

impl Handler<End> for Recorder {
    type Result = ();
    fn handle(&mut self, End(how): End, ctx: &mut Self::Context) {
        how.happen(ctx);
    }
}

/// Sends to, and asks, whomever a message names.
#[derive(Debug, Default, RemoteActor)]
#[remote(name = "test.herald", messages(Announce, AskFor), spawn)]
pub struct Herald;

impl Actor for Herald {
    type Context = actix::Context<Self>;
}

impl Handler<Announce> for Herald {
    type Result = ResponseFuture<()>;
    fn handle(
        &mut self,
        Announce(to, first, count): Announce,
        _: &mut Self::Context,
    ) -> Self::Result {
        Box::pin(async move {
            for number in first..first + count {
                // A note that cannot be sent is missed by whoever counts them.
                let _ = to.tell(Note(0, number)).await;
            }
        })
    }
}

impl Handler<AskFor> for Herald {
    type Result = ResponseFuture<Result<Vec<u8>, String>>;
    fn handle(&mut self, AskFor(whom, bytes): AskFor, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move { whom.send(Echo(bytes)).await.map_err(|error| error.to_string()) })
    }
}

/// How an actor ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It stops.
    Stop,
    /// Its handler panics.
    Panic(String),
    /// A timer of its own panics.
    PanicInTimer(String),
    /// A future that it has spawned panics.
    PanicInFuture(String),
}

impl Ending {
    fn happen<A>(self, ctx: &mut actix::Context<A>)
    where
        A: Actor<Context = actix::Context<A>>,
    {
        match self {
            Self::Stop => ctx.stop(),
            Self::Panic(text) => panic!("{text}"),
            Self::PanicInTimer(text) => {
                ctx.run_later(Duration::from_millis(1), move |_, _| panic!("{text}"));
            }
            Self::PanicInFuture(text) => {
                ctx.spawn(actix::fut::wrap_future(async move { panic!("{text}") }));
            }
        }
    }
}

message!(
    /// Asks a bomb to panic in the future that it answers with.
    PanicInAnswer(String), "test.PanicInAnswer", "()"
);
message!(
    /// As [`PanicInAnswer`], in an actor future.
    PanicInActorAnswer(String), "test.PanicInActorAnswer", "()"
);
message!(
    /// As [`PanicInAnswer`], in an atomic response.
    PanicInAtomicAnswer(String), "test.PanicInAtomicAnswer", "()"
);

/// Panics, where it is told to.
#[derive(Debug, Default, RemoteActor)]
#[remote(
    name = "test.bomb",
    messages(End, PanicInAnswer, PanicInActorAnswer, PanicInAtomicAnswer, Later),
    spawn
)]
pub struct Bomb {
    /// Panics when it starts.
    pub in_started: bool,
    /// Panics when it is to stop.
    pub in_stopping: bool,
    /// Panics when it has stopped.
    pub in_stopped: bool,
}

impl Actor for Bomb {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(!self.in_started, "in started");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        assert!(!self.in_stopping, "in stopping");
        Running::Stop
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        assert!(!self.in_stopped, "in stopped");
    }
}

impl Handler<End> for Bomb {
    type Result = ();
    fn handle(&mut self, End(how): End, ctx: &mut Self::Context) {
        how.happen(ctx);
    }
}

impl Handler<PanicInAnswer> for Bomb {
    type Result = ResponseFuture<()>;
    fn handle(
        &mut self,
        PanicInAnswer(text): PanicInAnswer,
        _: &mut Self::Context,
    ) -> Self::Result {
        Box::pin(async move {
            tokio::task::yield_now().await;
            panic!("{text}")
        })
    }
}

impl Handler<PanicInActorAnswer> for Bomb {
    type Result = ResponseActFuture<Self, ()>;
    fn handle(&mut self, m: PanicInActorAnswer, _: &mut Self::Context) -> Self::Result {
        let wait = async { tokio::task::yield_now().await };
        Box::pin(wait.into_actor(self).map(move |(), _, _| panic!("{}", m.0)))
    }
}

impl Handler<PanicInAtomicAnswer> for Bomb {
    type Result = AtomicResponse<Self, ()>;
    fn handle(&mut self, m: PanicInAtomicAnswer, _: &mut Self::Context) -> Self::Result {
        let wait = async { tokio::task::yield_now().await };
        AtomicResponse::new(Box::pin(wait.into_actor(self).map(move |(), _, _| panic!("{}", m.0))))
    }
}

impl Handler<Later> for Bomb {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, Later(n): Later, _: &mut Self::Context) -> Self::Result {
        Box::pin(ready(n + 1))
    }
}

/// Takes nothing until it is opened, then writes down what it gets.
#[derive(Debug, RemoteActor)]
#[remote(name = "test.gate", messages(Note, Parcel, Notes))]
pub struct Gate {
    open: Arc<Notify>,
    notes: Vec<(u64, u64)>,
}

impl Gate {
    /// A closed gate, and what opens it.
    pub fn closed() -> (Self, Arc<Notify>) {
        let open = Arc::new(Notify::new());
        (Self { open: open.clone(), notes: Vec::new() }, open)
    }
}

impl Actor for Gate {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let open = self.open.clone();
        ctx.wait(async move { open.notified().await }.into_actor(self));
    }
}

impl Handler<Note> for Gate {
    type Result = ();
    fn handle(&mut self, Note(from, number): Note, _: &mut Self::Context) {
        self.notes.push((from, number));
    }
}

impl Handler<Parcel> for Gate {
    type Result = ();
    fn handle(&mut self, Parcel(from, number, _): Parcel, _: &mut Self::Context) {
        self.notes.push((from, number));
    }
}

impl Handler<Notes> for Gate {
    type Result = Vec<(u64, u64)>;
    fn handle(&mut self, _: Notes, _: &mut Self::Context) -> Vec<(u64, u64)> {
        self.notes.clone()
    }
}
