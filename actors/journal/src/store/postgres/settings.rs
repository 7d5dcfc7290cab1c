//! Where a journal's database is, and how long its lease is.

use std::{fmt, str::FromStr, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, TargetSessionAttrs},
};

use crate::store::StoreError;

/// The time of a lease unless another is set: what a successor waits at most behind a process that was killed.
const LEASE: Duration = Duration::from_secs(15);

/// The shortest and the longest one: a shorter one is lost to every pause of a busy machine, and a longer one keeps successors out for nothing.
const LEASES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(3600));

/// Times of the lease that a server may be away. What it still does for a connection that is gone is over in the first.
const PATIENCE: u32 = 4;

/// Bytes of a journal's name.
const NAME_BYTES: usize = 255;

/// Bytes that PostgreSQL keeps of an identifier.
const IDENTIFIER_BYTES: usize = 63;

/// Where a journal's PostgreSQL database is; see [`Journal::postgres`](crate::Journal::postgres).
///
/// The URL is shown by no message, no log and no `Debug`, since it may hold a password.
#[derive(Clone)]
pub struct PostgresSettings {
    url: String,
    journal: String,
    schema: String,
    lease: Duration,
    patience: Option<Duration>,
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings")
            .field("journal", &self.journal)
            .field("schema", &self.schema)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl PostgresSettings {
    /// A journal of this name, in the database at this URL: `postgresql://user:password@host:port/database`, with several hosts
    /// separated by commas where there are several, which are tried in turns, or `host=/var/run/postgresql user=...` for a socket. Many journals may be in one
    /// database, under different names.
    ///
    /// The connection is not encrypted. Over a network that others can read, put a tunnel below it; a URL that asks for
    /// `sslmode=require` is refused.
    pub fn new(url: impl Into<String>, journal: impl Into<String>) -> Self {
        let (url, journal) = (url.into(), journal.into());
        Self { url, journal, schema: "actogen".to_owned(), lease: LEASE, patience: None }
    }

    /// The schema in which the tables are, and are made where they are not: `actogen` by default. Lower-case letters, digits and `_`.
    #[must_use]
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How long nobody else may take the journal over without having heard of it: 15 s by default, and between half a second and an hour. It
    /// is renewed after a third of that. A process that is killed keeps its successor out for so long at most.
    #[must_use]
    pub fn lease(mut self, time: Duration) -> Self {
        self.lease = time.clamp(LEASES.0, LEASES.1);
        self
    }

    /// How long the server may be away, at opening as well, before the journal fails. Meanwhile turns wait. Four times the lease by default,
    /// and at least twice.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.patience = Some(time);
        self
    }

    /// The journal's name.
    pub(crate) fn journal(&self) -> &str {
        &self.journal
    }

    pub(super) fn schema_name(&self) -> &str {
        &self.schema
    }

    pub(super) fn lease_time(&self) -> Duration {
        self.lease
    }

    pub(super) fn patience_time(&self) -> Duration {
        let least = self.lease * 2;
        self.patience.map_or(self.lease * PATIENCE, |time| time.max(least))
    }

    /// What the URL says, if it and the names are right.
    pub(super) fn config(&self) -> Result<Config, StoreError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let schema = self.schema.as_bytes();
        if !(1..=IDENTIFIER_BYTES).contains(&schema.len())
            || !schema.iter().copied().all(fits)
            || schema[0].is_ascii_digit()
        {
            let text = format!(
                "{:?} is no schema: use up to {IDENTIFIER_BYTES} lower-case letters, digits and `_`",
                self.schema
            );
            return Err(StoreError::Failed(text));
        }
        if !(1..=NAME_BYTES).contains(&self.journal.len()) || self.journal.contains('\0') {
            let text =
                format!("a journal's name has 1 to {NAME_BYTES} bytes, none of which is zero");
            return Err(StoreError::Failed(text));
        }
        // What the parser says may quote the URL.
        let mut config = Config::from_str(&self.url).map_err(|_| {
            let text = "the database's URL cannot be read: write postgresql://user:password@host:port/database";
            StoreError::Failed(text.to_owned())
        })?;
        if config.get_application_name().is_none() {
            config.application_name("actogen-journal");
        }
        // A standby takes no commits; of several hosts the primary is looked for.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(config)
    }

    /// Where the journal is, for messages.
    pub(super) fn place(&self, config: &Config) -> String {
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<_> = hosts.collect();
        let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
        format!("journal {:?} in {database}.{} at {}", self.journal, self.schema, hosts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "pass-of-the-day";

    #[test]
    fn nothing_shows_the_password() {
        let urls = [
            format!("postgresql://me:{SECRET}@localhost/db"),
            format!("postgre://me:{SECRET}@localhost/db?a=1"),
            format!("postgresql://me:{SECRET}@localhost:port/db"),
            format!("password={SECRET} {SECRET}={SECRET}"),
        ];
        for url in urls {
            let settings = PostgresSettings::new(&url, "j");
            let mut shown = format!("{settings:?}");
            match settings.config() {
                Ok(config) => shown += &format!("{config:?} {}", settings.place(&config)),
                Err(error) => shown += &error.to_string(),
            }
            assert!(!shown.contains(SECRET), "{url} gives {shown}");
        }
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let settings = |schema: &str, journal: &str| {
            PostgresSettings::new("postgresql://localhost", journal).schema(schema)
        };
        settings("bank_2", "Main street").config().unwrap();
        for (schema, journal) in [("", "a"), ("2a", "a"), ("a\"b", "a"), ("A", "a"), ("a", "")] {
            let refused = settings(schema, journal).config();
            assert!(matches!(refused, Err(StoreError::Failed(_))), "{schema:?} {journal:?}");
        }
        settings("a", "a\0").config().unwrap_err();
        settings(&"a".repeat(64), "a").config().unwrap_err();
    }

    #[test]
    fn times_are_bounded() {
        let settings = PostgresSettings::new("", "j").lease(Duration::ZERO);
        assert_eq!(settings.lease_time(), LEASES.0);
        assert_eq!(settings.clone().patience_time(), LEASES.0 * 4);
        assert_eq!(settings.patience(Duration::ZERO).patience_time(), LEASES.0 * 2);
    }
}
