//! The row that says who writes a journal.
//!
//! Whoever opens a journal raises the row's epoch, and may do so only when the lease has run out, by the server's clock. From then on every transaction of
//! an older epoch finds that the row is not what it was, and does nothing: however long a process was paused, and whatever its own clock says, it
//! cannot write over its successor. The row is changed by each commit, so that of two transactions that meet the later one waits for the earlier
//! one and then sees what it did.
//!
//! The row also has the number of the last batch. A commit whose outcome was lost with its connection is asked for again, under the same number: it is done
//! only if the number before it is there, so never twice.

use std::time::Duration;

use tokio_postgres::Row;

use super::{fault::Fault, link::Link};
use crate::store::{Asked, StoreError};

/// A journal that was never opened; its lease has run out.
pub(super) const BEGIN: &str = "INSERT INTO {schema}.lease (journal, epoch, batch, holder, expires)
    VALUES ($1, 0, 0, '', now() - interval '1 second') ON CONFLICT (journal) DO NOTHING";

/// A new epoch, if the lease has run out. Or if we have it: then it was taken before, and only the word was lost.
pub(super) const TAKE: &str = "UPDATE {schema}.lease
    SET epoch = epoch + 1, holder = $2, expires = now() + $3::float8 * interval '1 millisecond'
    WHERE journal = $1 AND (expires <= now() OR holder = $2)
    RETURNING epoch, batch";

/// The row as it is, with the milliseconds that its lease has left.
pub(super) const LOOK: &str = "SELECT epoch, batch,
    extract(epoch FROM expires)::float8, (extract(epoch FROM expires - now()) * 1000)::float8
    FROM {schema}.lease WHERE journal = $1";

/// The lease goes on, and with it the batch's number from the one before.
pub(super) const HOLD: &str = "UPDATE {schema}.lease
    SET batch = $4, expires = now() + $5::float8 * interval '1 millisecond'
    WHERE journal = $1 AND epoch = $2 AND batch = $3";

/// The lease has run out now.
pub(super) const FREE: &str =
    "UPDATE {schema}.lease SET expires = now() WHERE journal = $1 AND epoch = $2";

/// What our row says, as long as nobody else has changed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) epoch: i64,
    /// The number of the last batch.
    pub(super) batch: i64,
}

/// The row as it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    held: Held,
    /// When the lease runs out, in seconds since 1970 by the server's clock.
    expires: f64,
    left: Duration,
}

impl Found {
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// Whether its holder has done something in between.
    pub(super) fn is_alive_since(&self, before: &Self) -> bool {
        (self.held, self.expires) != (before.held, before.expires)
    }
}

/// What came of asking for a lease.
pub(super) enum Taken {
    Ours(Held, Asked),
    Others(Found),
}

/// A lease's time as it is sent.
pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Takes the lease, under a mark that is ours alone.
pub(super) async fn take(
    link: &Link,
    journal: &str,
    mark: &str,
    time: Duration,
) -> Result<Taken, Fault> {
    let (client, statements) = (&link.client, link.statements());
    client.execute(&statements.begin, &[&journal]).await?;
    let asked = Asked::now();
    let taken = client.query_opt(&statements.take, &[&journal, &mark, &millis(time)]).await?;
    if let Some(row) = taken {
        return Ok(Taken::Ours(held(&row)?, asked));
    }
    match look(link, journal).await? {
        Some(found) => Ok(Taken::Others(found)),
        None => Err(Fault::Again("the lease's row has gone".to_owned())),
    }
}

async fn look(link: &Link, journal: &str) -> Result<Option<Found>, Fault> {
    let row = link.client.query_opt(&link.statements().look, &[&journal]).await?;
    let found = |row: Row| {
        let left: f64 = row.try_get(3)?;
        let left = Duration::try_from_secs_f64(left.max(0.0) / 1000.0).unwrap_or(Duration::MAX);
        Ok(Found { held: held(&row)?, expires: row.try_get(2)?, left })
    };
    row.map(found).transpose()
}

fn held(row: &Row) -> Result<Held, Fault> {
    Ok(Held { epoch: row.try_get(0)?, batch: row.try_get(1)? })
}

/// Asks that the lease goes on and that the last batch has this number; whether the row was ours.
pub(super) async fn hold(
    link: &Link,
    journal: &str,
    before: Held,
    batch: i64,
    time: Duration,
) -> Result<bool, Fault> {
    let time = millis(time);
    let Held { epoch, batch: last } = before;
    let hold = &link.statements().hold;
    let rows = link.client.execute(hold, &[&journal, &epoch, &last, &batch, &time]).await?;
    Ok(rows > 0)
}

/// Lets the lease go.
pub(super) async fn free(link: &Link, journal: &str, held: Held) -> Result<(), Fault> {
    link.client.execute(&link.statements().free, &[&journal, &held.epoch]).await?;
    Ok(())
}

/// Why the row was not what it was known to be, or the number that a batch of ours has given it.
pub(super) async fn changed(
    link: &Link,
    (journal, place): (&str, &str),
    before: Held,
) -> Result<Held, Fault> {
    let damaged = |what: &str| {
        let (place, what) = (place.to_owned(), what.to_owned());
        Fault::Final(StoreError::Damaged { place, what })
    };
    let Some(Found { held: now, .. }) = look(link, journal).await? else {
        return Err(damaged("its lease has gone"));
    };
    if now.epoch > before.epoch {
        return Err(Fault::Final(StoreError::Fenced));
    }
    // Only we write under this epoch.
    if now.epoch == before.epoch && now.batch == before.batch + 1 {
        return Ok(now);
    }
    if now == before {
        return Err(Fault::Again("the lease's row is ours again".to_owned()));
    }
    Err(damaged(
        "its server has lost commits that it had acknowledged, or an older copy has taken its place",
    ))
}
