//! What the tests of Actogen are made of.
//!
//! | room | concept |
//! |---|---|
//! | [`mesh`] | trees of contexts in one process, over whatever carries their links |
//! | [`rogue`] | a peer that speaks the wire by itself and says what it likes |
//! | [`rogue_acks`] | somebody who acknowledges what he should not |
//! | [`actors`] | the actors and messages of the scenarios |
//! | [`until`] | waiting for conditions, never for time |
//! | [`scenarios`] | the conformance suite: what must hold over every kind of link |
//! | [`crashes`] | journaled actors in processes that are killed at every instant |
//! | [`sim`] | seeded simulations of whole meshes, with faults |
//!
//! `conformance!(Fabric)` makes every scenario a test over one kind of link. Multi-process tests stand in `tests/processes.rs`.

pub mod actors;
pub mod crashes;
pub mod mesh;
pub mod rogue;
pub mod rogue_acks;
pub mod scenarios;
pub mod sim;
pub mod until;
