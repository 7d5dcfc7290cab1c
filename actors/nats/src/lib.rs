//! A bridge between the topics of an Actogen mesh and NATS JetStream, for users whose bus is bigger than one mesh.
//!
//! A [`Bridge`] maps a subtree of topics to a subtree of subjects, in both directions or in one. What is published in the mesh goes into a
//! stream of JetStream, and what is in the stream comes into the mesh, each message with an id that stays the same however often it is
//! sent, so that it is there once.
//!
//! ```no_run
//! # async fn bridge(cx: &actogen::Context) -> Result<(), actogen_nats::BridgeError> {
//! use actogen_nats::{Bridge, Mapping};
//!
//! let mapping = Mapping::new("orders.>", "mesh.orders.>")?;
//! let bridge = Bridge::builder("nats://bus.example:4222", "east", mapping).start(cx).await?;
//! println!("{}", bridge.stats());
//! # Ok(())
//! # }
//! ```
//!
//! | room | concept |
//! |---|---|
//! | `mapping` | topics and subjects |
//! | `builder`, `settings` | how a bridge is set up |
//! | `bridge` | a bridge that runs |
//! | `server` | the connection, the stream and its consumer |
//! | `headers` | what a message's headers say of its origin |
//! | `outward` | from the mesh into the stream |
//! | `inward` | from the stream into the mesh |
//! | `brought` | what has come in lately |
//! | `stats` | what is counted |
//!
//! ```text
//!   mesh ── consumer ──> outward ── publish, PubAck ──> stream      acknowledged in the mesh only with the PubAck
//!   mesh <── publish ──  inward  <── pull, ack ──────── stream      acknowledged to JetStream only when the mesh has it
//! ```

mod bridge;
mod brought;
mod builder;
mod error;
mod headers;
mod inward;
mod mapping;
mod outward;
mod server;
mod settings;
mod stats;

pub use self::{
    bridge::Bridge,
    builder::BridgeBuilder,
    error::BridgeError,
    headers::Origin,
    mapping::{Mapping, MappingError},
    settings::{Foreign, StreamLimits},
    stats::BridgeStats,
};

/// How a client of NATS connects: credentials, TLS, timeouts.
pub use async_nats::ConnectOptions;
