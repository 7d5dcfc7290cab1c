//! What an author's file begins with: `use actogen::prelude::*;`.
//!
//! It holds actix's own names for authors too, but not `actix::Context`: then `type Context = actix::Context<Self>` and
//! `cx: Context` both read well.

pub use ::actix;
pub use ::actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, AtomicResponse, Handler, Message,
    MessageResult, Recipient, ResponseActFuture, ResponseFuture, Running, WrapFuture,
};
pub use serde::{Deserialize, Serialize};

pub use crate::{
    Child, Context, DeadReason, Down, Inbound, Launch, Policy, Remote, RemoteActor, RemoteMessage,
    RemoteRecipient, SendError, Spawn, StopReason,
};
