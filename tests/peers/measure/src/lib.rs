//! What the peers of the comparison have in common.
//!
//! A peer is a program that does works on another actor system. The runner starts it, tells it by lines on its standard input what to
//! do and for how long ([`order`]), and takes its figures from its standard output; it ends when its input does. So the runner can let
//! all of them take turns.
//!
//! | room | concept |
//! |---|---|
//! | [`note`] | the message |
//! | [`work`] | what there is to do, and the measures that it gives |
//! | [`order`] | how the runner and a peer speak |
//! | [`drive`](mod@drive) | a peer's life: orders, one after the other |
//! | [`target`] | the measure loops, for whatever can be told and asked |
//! | [`savina`] | whole programs, for whatever has actors |
//! | [`second`] | a peer's second process |
//! | [`span`] | how long a work lasts; percentiles |
//!
//! The loops are those of `actogen-bench`: a one-way rate is what the *receiver* has handled, over the time until the sender knows of it.

pub mod drive;
pub mod note;
pub mod order;
pub mod savina;
pub mod second;
pub mod span;
pub mod target;
pub mod work;

/// Why a work could not be done.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a peer may take to start, and a work to end after its time.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
