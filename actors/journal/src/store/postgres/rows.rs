//! Reading rows, and committing batches of them. Each statement holds only for the writer that it comes from.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use futures_util::future::join4;
use tokio_postgres::error::Severity;

use super::{
    fault::Fault,
    lease::{self, Held},
    link::Link,
};
use crate::{
    failpoint::FailPoints,
    store::{Asked, Batch, Row, StoreError, Table},
};

/// A row beside the lease, so that nothing found and no right to look are different answers.
pub(super) const GET: &str = "SELECT r.value FROM {schema}.lease l
    LEFT JOIN {schema}.rows r ON r.journal = l.journal AND r.kind = $4 AND r.key = $5
    WHERE l.journal = $1 AND l.epoch = $2 AND l.batch = $3";

pub(super) const SCAN: &str = "SELECT r.key, r.value FROM {schema}.lease l
    LEFT JOIN (
        SELECT key, value FROM {schema}.rows
        WHERE journal = $1 AND kind = $4 AND key >= $5 ORDER BY key LIMIT $6
    ) r ON true
    WHERE l.journal = $1 AND l.epoch = $2 AND l.batch = $3 ORDER BY r.key";

/// As [`SCAN`], up to a key. One statement for both would read to the table's end and throw away.
pub(super) const SCAN_TO: &str = "SELECT r.key, r.value FROM {schema}.lease l
    LEFT JOIN (
        SELECT key, value FROM {schema}.rows
        WHERE journal = $1 AND kind = $4 AND key >= $5 AND key < $7 ORDER BY key LIMIT $6
    ) r ON true
    WHERE l.journal = $1 AND l.epoch = $2 AND l.batch = $3 ORDER BY r.key";

pub(super) const PUT: &str = "INSERT INTO {schema}.rows (journal, kind, key, value)
    SELECT $1, t.kind, t.key, t.value
    FROM unnest($2::smallint[], $3::bytea[], $4::bytea[]) AS t (kind, key, value)
    ON CONFLICT (journal, kind, key) DO UPDATE SET value = excluded.value";

pub(super) const REMOVE: &str = "DELETE FROM {schema}.rows
    WHERE journal = $1 AND (kind, key) IN
    (SELECT t.kind, t.key FROM unnest($2::smallint[], $3::bytea[]) AS t (kind, key))";

/// A journal's rows as one writer reaches them.
#[derive(Clone, Copy)]
pub(super) struct Desk<'a> {
    pub(super) link: &'a Link,
    pub(super) journal: &'a str,
    pub(super) place: &'a str,
    pub(super) held: Held,
    pub(super) points: &'a FailPoints,
    /// The time of its lease.
    pub(super) time: Duration,
}

/// Changes with one for each row.
#[derive(Debug, Default)]
pub(super) struct Changes {
    rows: BTreeMap<(i16, Vec<u8>), Option<Vec<u8>>>,
}

impl Changes {
    /// Of two changes of a row the later one stands; a statement takes a row only once.
    pub(super) fn of(batch: &Batch) -> Self {
        let mut changes = Self::default();
        for change in batch.changes() {
            let key = (number(change.table), change.key.clone());
            changes.rows.insert(key, change.value.clone());
        }
        changes
    }
}

impl Desk<'_> {
    pub(super) async fn get(self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let Self { link, journal, held: Held { epoch, batch }, .. } = self;
        let get = &link.statements().get;
        let row =
            link.client.query_opt(get, &[&journal, &epoch, &batch, &number(table), &key]).await?;
        match row {
            Some(row) => Ok(row.try_get(0)?),
            None => Err(self.not_ours().await),
        }
    }

    pub(super) async fn scan(
        self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, Fault> {
        let Self { link, journal, held: Held { epoch, batch }, .. } = self;
        let statements = link.statements();
        let (kind, most) = (number(table), i64::try_from(most).unwrap_or(i64::MAX));
        let found = match &to {
            None => {
                let scan = &statements.scan;
                link.client.query(scan, &[&journal, &epoch, &batch, &kind, &from, &most]).await?
            }
            Some(to) => {
                let scan = &statements.scan_to;
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                    [&journal, &epoch, &batch, &kind, &from, &most, to];
                link.client.query(scan, &values).await?
            }
        };
        if found.is_empty() {
            return Err(self.not_ours().await);
        }
        let mut rows = Vec::with_capacity(found.len());
        for row in found {
            // Where there is no row, the lease stands alone.
            if let Some(key) = row.try_get(0)? {
                rows.push((key, row.try_get(1)?));
            }
        }
        Ok(rows)
    }

    /// Makes the lease go on; gives from when.
    pub(super) async fn renew(self) -> Result<Asked, Fault> {
        let asked = Asked::now();
        let Self { link, journal, held, time, .. } = self;
        match lease::hold(link, journal, held, held.batch, time).await? {
            true => Ok(asked),
            false => Err(self.not_ours().await),
        }
    }

    /// Commits the batch with the next number, if the row is still ours. Gives when the lease was asked for that goes on with it.
    pub(super) async fn commit(self, changes: &Changes) -> Result<Asked, Fault> {
        let asked = Asked::now();
        let outcome = self.transaction(changes).await;
        match outcome {
            Ok(true) => Ok(asked),
            Ok(false) => {
                self.roll_back().await?;
                let place = (self.journal, self.place);
                let held = lease::changed(self.link, place, self.held).await?;
                // It was done already: the connection broke before the word came. A server that was stopped in between may show a commit that its
                // standby does not have; one that is made now waits for all before it.
                Desk { held, ..self }.renew().await
            }
            Err(fault @ Fault::Again(_)) => {
                self.roll_back().await?;
                Err(fault)
            }
            Err(fault) => Err(fault),
        }
    }

    /// All but the last word is sent at once: what comes behind an error, or behind a lease that is not ours, is undone with the transaction.
    async fn transaction(self, changes: &Changes) -> Result<bool, Fault> {
        let Self { link: Link { client, .. }, journal, held, time, .. } = self;
        let statements = self.link.statements();
        let (mut put, mut gone) = ((Vec::new(), Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for ((kind, key), value) in &changes.rows {
            if let Some(value) = value {
                put.0.push(*kind);
                put.1.push(key.as_slice());
                put.2.push(value.as_slice());
            } else {
                gone.0.push(*kind);
                gone.1.push(key.as_slice());
            }
        }
        let puts = async {
            match put.0.is_empty() {
                true => Ok(0),
                false => client.execute(&statements.put, &[&journal, &put.0, &put.1, &put.2]).await,
            }
        };
        let removes = async {
            match gone.0.is_empty() {
                true => Ok(0),
                false => client.execute(&statements.remove, &[&journal, &gone.0, &gone.1]).await,
            }
        };
        let hold = lease::hold(self.link, journal, held, held.batch + 1, time);
        let (begun, is_ours, put, removed) =
            join4(client.batch_execute("BEGIN"), hold, puts, removes).await;
        // The first error is the cause of those behind it.
        if let Err(error) = begun {
            return Err(alone(error));
        }
        if !is_ours? {
            return Ok(false);
        }
        put?;
        removed?;
        self.points.pass("postgres.commit.open");
        client.batch_execute("COMMIT").await?;
        self.points.pass("postgres.commit.done");
        Ok(true)
    }

    async fn roll_back(self) -> Result<(), Fault> {
        Ok(self.link.client.batch_execute("ROLLBACK").await?)
    }

    /// Why a statement found no row of the lease. Nothing is under way, so there is no later number to be found.
    async fn not_ours(self) -> Fault {
        match lease::changed(self.link, (self.journal, self.place), self.held).await {
            Ok(_) => Fault::Final(StoreError::Damaged {
                place: self.place.to_owned(),
                what: "its last batch is one that nobody has written".to_owned(),
            }),
            Err(fault) => fault,
        }
    }
}

/// A transaction did not begin. Where the connection lives, what was sent behind it was done without one, perhaps in part: that must not be taken
/// for the batch.
fn alone(error: tokio_postgres::Error) -> Fault {
    let lives = error.as_db_error().is_some_and(|said| {
        !matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
    });
    match Fault::from(error) {
        Fault::Lost(why) | Fault::Again(why) if lives => {
            Fault::Final(StoreError::Failed(format!("no transaction began: {why}")))
        }
        fault => fault,
    }
}

/// The first key that is within a lower bound.
pub(super) fn first(from: Bound<&[u8]>) -> Vec<u8> {
    match from {
        Bound::Unbounded => Vec::new(),
        Bound::Included(key) => key.to_vec(),
        Bound::Excluded(key) => next(key),
    }
}

/// The first key that is beyond an upper bound.
pub(super) fn end(to: Bound<&[u8]>) -> Option<Vec<u8>> {
    match to {
        Bound::Unbounded => None,
        Bound::Included(key) => Some(next(key)),
        Bound::Excluded(key) => Some(key.to_vec()),
    }
}

/// The key behind this one: there is none between them.
fn next(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

fn number(table: Table) -> i16 {
    i16::from(table as u8)
}
