//! Journaled actors: killed at any instant, and nobody outside can tell.
//!
//! A journaled actor's whole state is a value. It changes only in turns: one message, its handler, and everything that comes of it, made
//! durable in one commit before anybody hears of it. After a crash it goes on from its last turn; what it had sent is sent again until it is
//! acknowledged, and what comes again is not handled again.
//!
//! ```no_run
//! use actogen_journal::{Journal, JournaledActor, Turn};
//! use actogen::prelude::*;
//!
//! #[derive(RemoteMessage, Serialize, Deserialize)]
//! #[remote(name = "bank.Deposit", reply = "u64")]
//! struct Deposit(u64);
//!
//! #[derive(JournaledActor, Default, Serialize, Deserialize)]
//! #[journaled(kind = "account", messages(Deposit))]
//! struct Account {
//!     balance: u64,
//! }
//!
//! impl Actor for Account {
//!     type Context = Turn<Self>;
//! }
//!
//! impl Handler<Deposit> for Account {
//!     type Result = u64;
//!     fn handle(&mut self, deposit: Deposit, _: &mut Turn<Self>) -> u64 {
//!         self.balance += deposit.0;
//!         self.balance
//!     }
//! }
//!
//! # async fn example(cx: Context) -> actogen::Result<()> {
//! let journal = Journal::builder(&cx, "bank.redb").node("bank").kind::<Account>().open().await?;
//! let account = journal.actor::<Account>("42")?;
//! println!("{}", journal.client().send(&account, Deposit(5)).await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//!
//! | room | concept |
//! |---|---|
//! | [`Journal`], [`JournalBuilder`] | a journal that is open in this process, and its settings |
//! | [`JournaledActor`], [`EventSourced`], [`Keep`] | what can be journaled, and how its state is kept |
//! | [`Turn`] | what a handler is given: time, randomness, sending, timers |
//! | [`TurnPublish`], [`PublishResult`] | publishing from a turn, and what comes of it |
//! | [`Journal::consume`], [`StoreWindow`] | handling what is published once, over restarts |
//! | [`Journaled`], [`ActorId`], [`NodeName`] | addresses that outlive processes |
//! | [`Shards`], [`ShardMap`] | actors spread over several journals, which move when processes come and go |
//! | [`Client`] | asking from outside, once however often it must be sent |
//! | `engine` | whose turn it is, what comes of it, and when the outside learns |
//! | `keeper`, `wire` | how a journal is reached, and what nodes say to each other |
//! | `writer` | one commit for all that has come meanwhile |
//! | [`store`] | where turns are made durable |
//! | `rows` | what is stored |
//! | [`Recorder`] | keeping what is published, for consumers that were away |
//! | [`inspect`] | looking into a store that no journal has open |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `json` | no | states and messages as JSON |
//! | `failpoints` | no | instants at which a test may kill the process |
//! | `postgres` | no | journals in a PostgreSQL database: `Journal::postgres` |

mod actor;
mod client;
mod consume;
mod engine;
mod events;
mod failpoint;
mod id;
pub mod inspect;
mod journal;
mod keeper;
mod packed;
mod publication;
mod recorder;
mod rows;
mod settings;
mod shards;
pub mod store;
mod time;
mod turn;
mod window;
mod wire;
mod writer;

pub use actogen_macros::JournaledActor;

#[doc(hidden)]
pub use crate::failpoint::FailPoints;
pub use crate::{
    actor::{EventSourced, JournaledActor, Keep, LoadError},
    client::{AskError, Client},
    consume::ConsumeError,
    engine::JournalStats,
    events::JournalEvent,
    id::{ActorId, Journaled, NAME_BYTES, NODE_BYTES, NameError, NodeName, Place},
    journal::{Journal, JournalBuilder, OpenError},
    publication::{PublishOutcome, PublishResult, TurnPublish, TurnReliable, Unconfirmed},
    recorder::{Keep as KeepRecords, Recorder, RecorderBuilder, RecorderError, RecorderStats},
    settings::Poison,
    shards::{ShardMap, Shards},
    turn::{TimerId, Turn},
    window::StoreWindow,
    wire::Refusal,
};

/// What the derive's expansion names; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use actogen;

    use crate::{JournaledActor, LoadError};
    pub use crate::{
        actor::{Fault, run},
        packed::Packed,
    };

    /// The error where a kind says nothing of older versions.
    pub fn no_migration<A: JournaledActor>(version: u32) -> LoadError {
        LoadError::new(format!(
            "the kind {:?} has version {} and does not say how to read version {version}: give it `migrate = path`",
            A::KIND,
            A::VERSION
        ))
    }
}
