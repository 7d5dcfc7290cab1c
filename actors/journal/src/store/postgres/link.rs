//! A connection to the server, with the statements that are asked over it.

use std::time::Duration;

use futures_util::future::{try_join, try_join5};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::{fault::Fault, schema::within};

/// A connection. It is closed when this is dropped.
pub(super) struct Link {
    pub(super) client: Client,
    /// What it is asked, once it is known that the tables are there.
    statements: Option<Statements>,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What is asked again and again.
pub(super) struct Statements {
    pub(super) begin: Statement,
    pub(super) take: Statement,
    pub(super) look: Statement,
    pub(super) hold: Statement,
    pub(super) free: Statement,
    pub(super) get: Statement,
    pub(super) scan: Statement,
    pub(super) scan_to: Statement,
    pub(super) put: Statement,
    pub(super) remove: Statement,
}

impl Link {
    /// Connects. A transaction that is left open by a connection that breaks is over within the limit, and none waits longer for one.
    pub(super) async fn open(config: &Config, limit: Duration) -> Result<Self, Fault> {
        let (client, connection) = config.connect(NoTls).await?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer is told.
            if let Err(error) = connection.await {
                tracing::debug!("the connection to the journal's database has ended: {error}");
            }
        });
        let link = Self { client, statements: None, driver };
        // A limit for statements would end a commit's wait for its standby, and the commit would be said to be done.
        let limits = format!(
            "SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}",
            (limit / 2).as_millis(),
            limit.as_millis()
        );
        link.client.batch_execute(&limits).await?;
        link.sync().await?;
        Ok(link)
    }

    /// Where a database answers before its disk has, it must not do so here.
    async fn sync(&self) -> Result<(), Fault> {
        let sql = "SELECT setting FROM pg_settings WHERE name = 'synchronous_commit'";
        let found = self.client.query_opt(sql, &[]).await?;
        let setting: Option<String> = found.map(|row| row.try_get(0)).transpose()?;
        // The others wait for the disk here, and for more elsewhere.
        if setting.as_deref() == Some("off") {
            self.client.batch_execute("SET synchronous_commit = on").await?;
        }
        Ok(())
    }

    /// Prepares what will be asked.
    pub(super) async fn prepare(&mut self, schema: &str) -> Result<(), Fault> {
        let client = &self.client;
        let prepare = async |sql: &str| client.prepare(&within(schema, sql)).await;
        // All at once: the way to a server may be long.
        let lease = try_join5(
            prepare(super::lease::BEGIN),
            prepare(super::lease::TAKE),
            prepare(super::lease::LOOK),
            prepare(super::lease::HOLD),
            prepare(super::lease::FREE),
        );
        let rows = try_join5(
            prepare(super::rows::GET),
            prepare(super::rows::SCAN),
            prepare(super::rows::SCAN_TO),
            prepare(super::rows::PUT),
            prepare(super::rows::REMOVE),
        );
        let ((begin, take, look, hold, free), (get, scan, scan_to, put, remove)) =
            try_join(lease, rows).await?;
        self.statements =
            Some(Statements { begin, take, look, hold, free, get, scan, scan_to, put, remove });
        Ok(())
    }

    pub(super) fn statements(&self) -> &Statements {
        self.statements.as_ref().expect("a connection is prepared before it is used")
    }
}
