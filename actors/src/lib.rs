//! Actogen: ordinary actix actors, reachable in other processes and on other machines.
//!
//! A [`Context`] is an actor system with an id and an identity. From one binary a context grows a tree of others; they link over
//! QUIC, mutually authenticated, and every bound actor in the tree can be addressed by a [`Remote`]. When a route vanishes,
//! whoever waited is told at once, and why. Nothing is dropped silently.
//!
//! ```no_run
//! use actogen::prelude::*;
//!
//! #[derive(RemoteMessage, Serialize, Deserialize)]
//! #[remote(name = "calc.Add", version = 1, reply = "i64")]
//! struct Add(i64, i64);
//!
//! #[derive(RemoteActor, Default)]
//! #[remote(name = "calc", messages(Add), spawn)]
//! struct Calc;
//!
//! impl Actor for Calc {
//!     type Context = actix::Context<Self>;
//! }
//!
//! impl Handler<Add> for Calc {
//!     type Result = i64;
//!     fn handle(&mut self, m: Add, _: &mut Self::Context) -> i64 {
//!         m.0 + m.1
//!     }
//! }
//!
//! #[actogen::main]
//! async fn main(cx: Context) -> actogen::Result<()> {
//!     let child = cx.launch(Launch::local()).await?;
//!     let calc = child.spawn::<Calc>(()).await?;
//!     println!("{}", calc.send(Add(2, 3)).await?);
//!     let down = cx.watch(&calc);
//!     child.kill().await;
//!     println!("{}", down.await);
//!     Ok(())
//! }
//! ```
//!
//! # Rooms
//!
//! | room | concept |
//! |---|---|
//! | [`Context`], [`ContextBuilder`] | the handle on a context, and its settings |
//! | [`Remote`], [`RemoteRecipient`] | addresses, and sending |
//! | [`RemoteMessage`], [`RemoteActor`] | what travels, and what can be reached |
//! | `intake`, `pump`, `guard` | how envelopes become handler calls, one at a time, and panics become reasons |
//! | [`Function`], [`Functions`], [`Chain`] | functions that others call, by `#[actogen::function]` |
//! | [`Service`], [`macro@service`] | services, started on first use, with a policy for each method |
//! | [`Files`], [`Processes`] | the services that every context has: files to fetch, commands to run |
//! | [`select`], [`gather`], [`scatter`] | several requests or calls at once |
//! | [`Sender`], [`Receiver`], [`Select`] | channels: values one after the other, from near or far |
//! | [`Launch`], [`Child`], [`Launching`], [`Spawn`] | other contexts, and actors started in them (`nursery`: their side) |
//! | [`Claim`], [`Group`] | names and groups of the whole mesh |
//! | [`Subscription`], [`Publish`] | topics |
//! | [`Reliable`], [`Consume`], [`PublishPolicy`] | publishing until all who must have acknowledged |
//! | [`Link`] | actors that end together |
//! | [`Supervision`], [`ChildSpec`], [`Supervised`] | actors and contexts that begin anew when they fail |
//! | [`flow`] | limits, breakers and retries around an address; queues of work; streams with credit |
//! | [`LogRecord`] | what all contexts have to say, at the root |
//! | [`trace`] | one request over many contexts |
//! | [`Mesh`] | identities (feature `quic`) |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `quic` | yes | the QUIC transport, `#[actogen::main]`, `#[actogen::test]`, launching |
//! | `json` | no | `codec = "json"` for messages |
//! | `cbor` | no | `codec = "cbor"` for messages |
//! | `testing` | no | [`testing`](https://docs.rs/actogen/latest/actogen/testing): meshes for tests, in one thread, with faults; over UDP too, with `quic` |

mod actor;
mod address;
mod blob;
mod brief;
mod builder;
mod channel;
mod context;
mod directory;
#[cfg(feature = "quic")]
mod entry;
mod files;
pub mod flow;
mod function;
mod gather;
mod guard;
mod in_flight;
mod intake;
mod launching;
mod linking;
mod logs;
#[cfg(feature = "quic")]
mod mesh;
mod message;
mod nursery;
mod post;
pub mod prelude;
mod processes;
mod publish;
mod pump;
mod respond;
mod scratch;
mod send;
mod send_error;
mod service;
mod spawn;
mod supervise;
#[cfg(feature = "testing")]
pub mod testing;
mod topics;
pub mod trace;
mod turn;
mod values;

pub use actogen_macros::{RemoteActor, RemoteMessage, function, service};
#[cfg(feature = "quic")]
pub use actogen_macros::{main, test};
pub use actogen_runtime::{
    ConnectError, ContextHoldings, DetachError, DisconnectError, Ended, Holdings, Phase, Place,
    Placement, RegisterError, StartError, Stats,
    core::{
        Address, ContextId, Dead, DeadReason, Handle, Handled, Incarnation, Limits,
        offence::OffenceKind,
        policy::{Family, Neighbour, Origin, Policy, Refusal, Side},
        wire::control::{Loss, LossKind},
    },
    dead_letters::{DeadLetter, DeadLetters},
    events::{ContextEvent, ContextEvents},
    launch::cache,
    launch::{Carrier, HostKeys, LastWords, Launch, LaunchError, Reached},
    logs::{Level, LogRecord, LogRecords, Source},
    mailbox::StopReason,
    memory, names, transport,
};
#[cfg(feature = "quic")]
pub use actogen_transport_quic as quic;

#[cfg(feature = "json")]
pub use crate::publish::Json;
/// What a recorder's store is asked: for those who write one. [`actogen-journal`](https://docs.rs/actogen-journal) has one.
pub mod archive {
    pub use crate::publish::{
        Archive, MOST_EARLY, PagedRecord, ReadPage, ReplayAsk, ReplayCursor, ReplayMark,
        ReplayPage, ReplayStart,
    };
}
pub use crate::{
    actor::RemoteActor,
    address::{Remote, RemoteRecipient},
    builder::ContextBuilder,
    channel::{CHANNEL_QUEUE, Item, Key, ReceiveError, Receiver, Select, Sender},
    context::{BindError, Context, Down, LookupError, Watch},
    directory::{
        Choice, Claim, DirectoryError, DirectoryHoldings, Group, GroupEvent, GroupEvents,
        GroupRequest,
    },
    files::{Fetch, Fetched, FileError, Files, FilesCalls, Order, Progress},
    flow::{
        Breaker, BreakerState, Dismiss, Enlist, FlowError, GaveUp, Inflow, InflowError, Job,
        Limited, OpenError, Outflow, Outlet, Protected, RateLimit, ReportWork, Retry, RetryBudget,
        RetryError, Sends, Submit, WorkError, WorkQueue, WorkReport,
    },
    function::{CallError, CallsHeld, Chain, Function, FunctionCall, Functions, RemoteError},
    gather::{Scatter, gather, scatter, select},
    launching::Launching,
    linking::{Link, LinkError},
    message::{Codec, CodecError, Inbound, MessageOf, RemoteMessage, Tag},
    processes::{Command, Exit, Output, ProcessId, Processes, ProcessesCalls},
    publish::{
        AckLevel, CatchUp, Confirmed, Consume, Consumed, Consumer, ConsumerActor, ConsumerStats,
        Consumption, DeadDelivery, Deliveries, Delivery, Encoded, IgnoredAcks, IntoVerdict,
        MemoryWindow, MessageId, NotSent, Partial, Proof, PublishPolicy, PublishStats, Record,
        Recorded, RecorderAt, Recording, Reliable, ReliableError, Remembered, Replay, ReplayError,
        ReplayRange, ReplayRefusal, Replayed, Replays, Sequence, SignedPublish, Text, Verdict,
        Window, WindowKey,
    },
    send::{Request, Tell},
    send_error::SendError,
    service::{Offered, Service, ServiceError, ServiceIn},
    spawn::{Child, Spawn, SpawnError},
    supervise::{
        Backoff, ChildEvent, ChildEvents, ChildSpec, ChildState, ChildStatus, OrderError, Restart,
        Strategy, Supervised, Supervision,
    },
    topics::{
        Missed, Observation, Observed, ObservedSignature, Publish, PublishError, Published,
        Subscription, TopicError,
    },
};
#[cfg(feature = "quic")]
pub use crate::{
    entry::run_as_child,
    mesh::{Mesh, MeshError},
};

/// What a program's `main` may fail with: any error, boxed.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a program's `main`.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Lets a test program be its own child: put it once at the top of each test file that launches contexts.
#[cfg(feature = "quic")]
#[macro_export]
macro_rules! test_child {
    () => {
        #[test]
        fn actogen_child() {
            $crate::__private::test_child();
        }
    };
}

/// What the macros' expansions name; no part of the interface.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "quic")]
    pub use crate::entry::{run_main, run_test, test_child};
    pub use crate::{
        actor::{Attach, no_duplicate_tags},
        function::{Callable, Failure, Fallible, Registered, Run},
        message::Body,
        nursery::Spawnable,
        service::{Method, Mode, RegisteredMethod, RegisteredService, Serving},
        topics::{check_topic, publish_encoded},
        turn::{Envelope, Turn, deliver, deliver_inbound, unknown},
    };
    pub use ::{actix, inventory};
}
