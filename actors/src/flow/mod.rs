//! Flow: how much goes where, and how soon. What stands between a sender and an address, and between producers and consumers.
//!
//! | room | concept |
//! |---|---|
//! | [`RateLimit`], [`Limited`] | so many messages in a second (`bucket`: the tokens) |
//! | [`Breaker`], [`Protected`] | nothing for a while to where too much fails (`circuit`: when; `window`: what is counted) |
//! | [`Sends`], [`FlowError`] | what they have in common, so that one goes around the other |
//!
//! Each is an explicit value around an address: nothing here changes how a plain [`Remote`](crate::Remote) sends.

mod breaker;
mod bucket;
mod circuit;
mod error;
mod limited;
mod sends;
mod window;

pub use self::{
    breaker::{Breaker, Protected},
    circuit::BreakerState,
    error::FlowError,
    limited::{Limited, RateLimit},
    sends::Sends,
};
