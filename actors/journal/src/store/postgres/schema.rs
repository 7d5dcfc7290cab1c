//! The tables, and how they are made and changed.
//!
//! Plain SQL that PostgreSQL, CockroachDB and YugabyteDB all take. Each statement stands for itself and may be run again, since not each of them can undo
//! a change of tables: what was broken off is taken up by the next opening.

use tokio_postgres::{Client, error::SqlState};

use super::fault::Fault;
use crate::store::StoreError;

/// What leads from each version to the next one. The first is that of an empty database, 0. A step that was released is never changed.
///
/// | table | row |
/// |---|---|
/// | `lease` | a journal: who writes it and until when, and the number of its last batch |
/// | `rows` | a row of a journal; `kind` is the number of its table |
const STEPS: [&[&str]; 1] = [&[
    "CREATE TABLE IF NOT EXISTS {schema}.lease (
        journal text NOT NULL PRIMARY KEY,
        epoch bigint NOT NULL,
        batch bigint NOT NULL,
        holder text NOT NULL,
        expires timestamptz NOT NULL
    )",
    "CREATE TABLE IF NOT EXISTS {schema}.rows (
        journal text NOT NULL,
        kind smallint NOT NULL,
        key bytea NOT NULL,
        value bytea NOT NULL,
        PRIMARY KEY (journal, kind, key)
    )",
]];

/// Where the version is.
const BEGIN: [&str; 3] = [
    "CREATE SCHEMA IF NOT EXISTS {schema}",
    "CREATE TABLE IF NOT EXISTS {schema}.format (id smallint NOT NULL PRIMARY KEY, version integer NOT NULL)",
    "INSERT INTO {schema}.format (id, version) VALUES (1, 0) ON CONFLICT (id) DO NOTHING",
];

/// Codes of errors of whoever makes a table while another one makes it.
const MADE: [&SqlState; 5] = [
    &SqlState::DUPLICATE_SCHEMA,
    &SqlState::DUPLICATE_TABLE,
    &SqlState::DUPLICATE_OBJECT,
    &SqlState::UNIQUE_VIOLATION,
    &SqlState::INTERNAL_ERROR,
];

/// A statement with the schema's name in its places.
pub(super) fn within(schema: &str, sql: &str) -> String {
    // The name has been looked at: it holds nothing that could end the quotes.
    sql.replace("{schema}", &format!("\"{schema}\""))
}

/// Brings the tables to this build's version.
///
/// # Errors
/// [`Fault::Again`] when another process does so at the same time, and [`StoreError::Newer`] when a newer build has done so.
pub(super) async fn migrate(client: &Client, schema: &str, place: &str) -> Result<(), Fault> {
    let known = STEPS.len() as i32;
    // Whoever may not make a schema can still use one that is there.
    if version(client, schema).await?.is_none() {
        for sql in BEGIN {
            made(client.batch_execute(&within(schema, sql)).await)?;
        }
    }
    loop {
        let Some(found) = version(client, schema).await? else {
            return Err(Fault::Again("the version of its tables is not there yet".to_owned()));
        };
        if found == known {
            return Ok(());
        }
        let Some(step) = usize::try_from(found).ok().and_then(|found| STEPS.get(found)) else {
            let (place, found) = (place.to_owned(), u32::try_from(found).unwrap_or_default());
            return Err(Fault::Final(StoreError::Newer { place, found, known: known as u32 }));
        };
        for sql in *step {
            made(client.batch_execute(&within(schema, sql)).await)?;
        }
        let next = "UPDATE {schema}.format SET version = $1 + 1 WHERE id = 1 AND version = $1";
        client.execute(&within(schema, next), &[&found]).await?;
    }
}

/// The version that the tables have, if there are any.
async fn version(client: &Client, schema: &str) -> Result<Option<i32>, Fault> {
    let sql = within(schema, "SELECT version FROM {schema}.format WHERE id = 1");
    match client.query_opt(&sql, &[]).await {
        Ok(None) => Ok(None),
        Ok(Some(row)) => Ok(Some(row.try_get(0)?)),
        Err(error) => match error.code() {
            Some(code)
                if [&SqlState::UNDEFINED_TABLE, &SqlState::INVALID_SCHEMA_NAME].contains(&code) =>
            {
                Ok(None)
            }
            _ => Err(error.into()),
        },
    }
}

fn made(outcome: Result<(), tokio_postgres::Error>) -> Result<(), Fault> {
    match outcome {
        Err(error) if error.code().is_some_and(|code| MADE.contains(&code)) => {
            Err(Fault::Again("another process makes its tables".to_owned()))
        }
        outcome => Ok(outcome?),
    }
}
