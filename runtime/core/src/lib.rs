//! The pure core of Actogen: ids, the wire codec, the route table's logic, policies, pending calls, and the decisions about
//! what is dead.
//!
//! Nothing here does I/O, reads a clock, takes a lock, awaits or draws randomness: time comes in as a [`time::Moment`], secrets
//! as seeds, signatures through [`router::Credentials`], and what shall happen goes out as [`router::Effect`]s. The crate's
//! dependencies hold no runtime, so the compiler keeps that promise.
//!
//! | room | concept |
//! |---|---|
//! | [`id`] | names: contexts, incarnations, attachments, handles, links, streams |
//! | [`limits`] | every bound |
//! | [`time`] | time as an argument |
//! | [`wire`] | frames, headers, link messages, fragments |
//! | [`dead`] | `IS_DEAD`: reasons and what they say about a request |
//! | [`policy`] | who may do what |
//! | [`congestion`] | what a forwarder holds, and whom it asks to pause |
//! | [`flow`] | pausing those who send more than a mailbox takes |
//! | [`pending`] | calls and watches that wait |
//! | [`allocate`] | ids and incarnations, given out by the root |
//! | [`route`] | the table, who is told, what a link may speak for, and the ways to a context |
//! | [`router`] | the machine that ties them together |
//! | [`offence`] | what peers did that they may not |
//!
//! The rules are those of the protocol page in the project's book; comments give their numbers.

pub mod allocate;
pub mod congestion;
pub mod dead;
pub mod flow;
pub mod id;
pub mod limits;
pub mod offence;
pub mod pending;
pub mod policy;
pub mod route;
pub mod router;
pub mod time;
pub mod wire;

pub use dead::{Dead, DeadReason, Handled};
pub use id::{Address, Attachment, ContextId, Handle, Incarnation, LinkId, StreamId};
pub use limits::Limits;
pub use time::Moment;
