//! Flow: how much goes where, and how soon. What stands between a sender and an address, and between producers and consumers.
//!
//! | room | concept |
//! |---|---|
//! | [`RateLimit`], [`Limited`] | so many messages in a second (`bucket`: the tokens) |
//! | [`Breaker`], [`Protected`] | nothing for a while to where too much fails (`circuit`: when; `window`: what is counted) |
//! | [`Retry`], [`RetryBudget`] | once more, when that is safe and affordable |
//! | [`WorkQueue`] | jobs for whoever has credit, at least once (`jobs`: who gets the next; `work`: what it is asked) |
//! | [`Inflow`], [`Outlet`], [`Outflow`] | streams from afar, by credit (`ledger`: the books of the receiving end; `mouth`, `feeder`: the actors of both ends) |
//! | [`Sends`], [`FlowError`] | what they have in common, so that one goes around the other |
//!
//! Each is an explicit value around an address: nothing here changes how a plain [`Remote`](crate::Remote) sends.

mod breaker;
mod bucket;
mod budget;
mod circuit;
mod error;
mod feeder;
mod jobs;
mod ledger;
mod limited;
mod mouth;
mod outlet;
mod retry;
mod sends;
mod stream;
mod window;
mod work;
mod work_queue;

pub use self::{
    breaker::{Breaker, Protected},
    budget::RetryBudget,
    circuit::BreakerState,
    error::FlowError,
    limited::{Limited, RateLimit},
    outlet::{OpenError, Outflow, Outlet},
    retry::{GaveUp, Retry, RetryError},
    sends::Sends,
    stream::{Inflow, InflowError},
    work::{Dismiss, Enlist, Job, ReportWork, Submit, WorkError, WorkReport},
    work_queue::WorkQueue,
};
