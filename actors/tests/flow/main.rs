//! Flow: backpressure, and what can be put around an address or between producers and consumers.

mod backpressure;
mod breaker;
mod limited;
mod retry;
mod streams;
mod work_queue;
