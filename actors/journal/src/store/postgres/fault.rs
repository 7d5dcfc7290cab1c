//! What went wrong with a server, by what there is to do about it.

use std::{error::Error, io};

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// Why the server did not do what it was asked.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection is of no use any more, and whether it was done is not known.
    Lost(String),
    /// It was not done, and may be when it is asked again.
    Again(String),
    /// It was not done, and asking again is no use.
    Final(StoreError),
}

/// Codes of errors after which another connection is needed, or another server. In the last one nobody knows whether a transaction was committed.
const LOST: [&SqlState; 9] = [
    &SqlState::ADMIN_SHUTDOWN,
    &SqlState::CRASH_SHUTDOWN,
    &SqlState::CANNOT_CONNECT_NOW,
    &SqlState::TOO_MANY_CONNECTIONS,
    &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    &SqlState::IDLE_SESSION_TIMEOUT,
    // The primary has become a standby.
    &SqlState::READ_ONLY_SQL_TRANSACTION,
    // What was prepared has gone, as behind a proxy that has changed servers.
    &SqlState::INVALID_SQL_STATEMENT_NAME,
    &SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
];

/// Codes of errors of transactions that met others.
const AGAIN: [&SqlState; 4] = [
    &SqlState::T_R_SERIALIZATION_FAILURE,
    &SqlState::T_R_DEADLOCK_DETECTED,
    // Its time was over.
    &SqlState::LOCK_NOT_AVAILABLE,
    &SqlState::QUERY_CANCELED,
];

/// The class of codes for connections.
const CONNECTION: &str = "08";

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = text(&error);
        if let Some(code) = error.code() {
            return if LOST.contains(&code) || code.code().starts_with(CONNECTION) {
                Self::Lost(text)
            } else if AGAIN.contains(&code) {
                Self::Again(text)
            } else {
                // Such as a disk that is full, or has failed: what comes of asking again is not known.
                Self::Final(StoreError::Failed(text))
            };
        }
        let is_io = error.source().is_some_and(|source| source.is::<io::Error>());
        if is_io || error.is_closed() {
            return Self::Lost(text);
        }
        Self::Final(StoreError::Failed(text))
    }
}

/// An error with its causes. What a server says holds no password, and its details, which may quote rows, are left out.
fn text(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("the database says {:?} ({})", said.message(), said.code().code()),
        None => match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}
