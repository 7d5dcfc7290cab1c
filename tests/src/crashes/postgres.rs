//! The server that the tests of the store start, for campaigns.

#[path = "../../../actors/journal/tests/support/postgres/server.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "this is all test code, shared with the store's own tests, which use more of it"
)]
mod server;

/// A server on the loopback that ends when this is dropped.
pub struct Server(server::Server);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Server")
    }
}

impl Server {
    /// Starts one; nothing where PostgreSQL is not installed, which is said for this test, or is a failure where everything must run.
    pub fn start(test: &str) -> Option<Self> {
        Some(Self(server::Server::start(test)?))
    }

    /// The URL of its database.
    pub fn direct(&self) -> String {
        self.0.direct()
    }
}
