//! Meshes of pure router cores: random trees under losses, moves, rejoins, reorderings and forgeries, and the same harness
//! driven by hand for the scenarios that parity rows name.
//!
//! Nothing here has a clock or a thread. A link is ten queues of frames in their wire form, five in each direction, and a test
//! or a seed decides which one moves next. `PROPTEST_CASES` and `PROPTEST_RNG_SEED` widen the search; a failing case is printed
//! with its actions and kept in `proptest-regressions/`; `MESH_TRACE=1` prints what every core was told and answered.

mod beside;
mod check;
mod forge;
mod letters;
mod node;
mod random;
mod scenarios;
mod wire;
mod words;
mod world;
