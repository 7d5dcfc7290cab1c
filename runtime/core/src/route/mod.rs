//! Routes: who is where, who is told, and which links may say so.
//!
//! The tree decides. A context knows a route to each context of its own subtree, learnt from announcements that come up from its
//! children; for everything else there is the parent. [`table`] keeps that knowledge. When a route goes, everybody who had
//! addressed the lost context hears of it, once per stream and link, and nobody else does: [`propagate`] keeps who addressed
//! whom, and carries each copy of a route message on the stream where it was read, so that it takes its place behind the last
//! messages that came by the old route and before the first that come by the new.
//!
//! The same tree says what a link may speak for. A child speaks for its own subtree, the parent for everything outside this
//! context's subtree, and nobody for this context itself: [`judge`] applies that to every frame, at every hop.

//!
//! Beside the tree two contexts may have a [`direct`] link, for which one obtains a [`ticket`] from the other, and [`dial`]s. It
//! speaks for its two ends alone. What a source sends to a destination takes one [`path`] at a time, and the [`epochs`] of paths
//! keep what a broken one still brings from coming behind what has overtaken it.

pub mod dial;
pub mod direct;
pub mod epochs;
pub mod judge;
pub mod linger;
pub mod path;
pub mod propagate;
pub mod table;
pub mod ticket;
pub mod tombstones;
