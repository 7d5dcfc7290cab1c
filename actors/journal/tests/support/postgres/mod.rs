//! A PostgreSQL server of a test's own, and a way to it that breaks when it is asked to.

pub(crate) mod proxy;
pub(crate) mod server;
