//! Seeded simulations of whole meshes: real contexts over the real QUIC transport, on a simulated network and in simulated time.
//!
//! A seed stands for a tree of contexts, its traffic, and its faults: partitions both ways and one way, stalls, crashes, departures.
//! The same seed gives the same timeline. Three phases follow each other: while anything may break, no answer is wrong, no pair is
//! reordered, nothing arrives twice, no notice comes twice, and every request has exactly one outcome within its limit; then all is
//! repaired, and everybody finds back; then everybody reaches everybody, nothing fails, and in the end nothing is left over.
//!
//! | room | concept |
//! |---|---|
//! | `dice` | everything random |
//! | `plan` | what a seed stands for |
//! | `wire`, `keys` | the simulated network as a socket; identities |
//! | `clerk` | the actors and their messages |
//! | `ledger` | sees everything, and judges it by what Actogen promises |
//! | `stage`, `program`, `work` | what hosts share, what each runs, and its traffic |
//! | `drive` | steps through a plan |
//! | `campaign` | many seeds |
//! | `scenes` | plans made for one question |
//! | `replays` | consumers that catch up from a recorder, likewise |
//! | `publishes` | reliable publishes among faults and forgers, on the network of test meshes |

mod campaign;
mod clerk;
mod dice;
mod drive;
mod keys;
mod ledger;
mod plan;
mod program;
mod publishes;
mod replays;
mod scenes;
mod stage;
mod wire;
mod work;

pub use campaign::{Campaign, campaign};
pub use drive::{Report, run};
pub use publishes::{Publishes, publishes};
pub use replays::{Replays, replays};
pub use scenes::{flapping_link, silent_link};
