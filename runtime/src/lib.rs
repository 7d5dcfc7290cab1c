//! The runtime of Actogen: contexts, the Router, the data path beside it, launching, and the transport traits with an in-memory
//! implementation.
//!
//! Application authors use the `actogen` crate, which gives this one its typed face; this one deals in encoded messages and
//! mailboxes. Its rules are those of [`actogen_core`], which it drives.
//!
//! | room | concept |
//! |---|---|
//! | [`Context`] | the handle on a context; `builtin` and `watching` add what can be done with one |
//! | `way`, `send`, `call`, `refuse` | where a message goes, posting it, waiting for its answer, giving it up |
//! | `deadlines` | the limit for requests |
//! | `builder` | settings, and how a context starts |
//! | [`transport`], [`memory`] | what carries bytes |
//! | `opening`, `join`, `broker` | links: how they open, who becomes whose parent, the tasks that serve them |
//! | `lane`, `link` | the way out over one link |
//! | `inbound`, `forward` | the way in, and through |
//! | `flow`, `congestion`, `hold` | pausing senders: for a mailbox, for a way that is full; what waits on such a way |
//! | `routes`, `router` | the table, and the actor that writes it |
//! | [`mailbox`], [`envelope`] | who receives, and what |
//! | `enrol`, [`launch`] | ids and certificates; processes |
//! | `renewal`, `revocation` | certificates that are renewed in time, and those that are good no more |
//! | [`names`], `who_has` | names that the authority binds to contexts, and whose they are |
//! | `claims` | what a context signs for authors, and how that is checked |
//! | `direct` | links beside the tree |
//! | `detach` | leaving a parent, and finding another |
//! | [`dead_letters`], [`events`], [`counters`], [`logs`] | what can be observed |
//! | `shutdown` | the end |

pub mod batch;
mod broker;
mod builder;
mod builtin;
mod call;
mod cancel;
mod claims;
mod congestion;
mod context;
pub mod counters;
pub mod dead_letters;
mod deadlines;
mod detach;
mod direct;
mod enrol;
pub mod envelope;
pub mod events;
mod flow;
mod hash;
mod hold;
mod inbound;
mod join;
mod lane;
pub mod launch;
mod link;
pub mod logs;
pub mod mailbox;
pub mod memory;
pub mod names;
mod opening;
mod refuse;
mod renewal;
mod revocation;
mod router;
mod routes;
mod send;
mod shutdown;
pub mod transport;
mod watching;
mod way;
mod who_has;

pub use actogen_core as core;

pub use builder::{Builder, Placement, StartError, TransportFactory};
pub use builtin::{Place, RegisterError};
pub use call::Call;
pub use context::{Context, ContextHoldings, Phase};
pub use counters::Stats;
pub use detach::DetachError;
pub use direct::{ConnectError, DisconnectError};
pub use enrol::{Admission, EnrolRequest, JoinRequest, Newcomer, ReturnRequest};
pub use join::AdoptError;
pub use renewal::Renewal;
pub use router::Holdings;
pub use send::{Encoded, PostError};
pub use watching::{Ended, Watch};
pub use way::{AwayLink, KnownWay, LocalMailbox, Way};
