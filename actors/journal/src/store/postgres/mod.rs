//! A PostgreSQL database, or one that speaks its protocol, as a store.
//!
//! | room | concept |
//! |---|---|
//! | here | [`PostgresStore`]: the store, as the journal's writer asks it |
//! | `settings` | [`PostgresSettings`]: where the database is |
//! | `session` | what is done one after the other, and asked again when a connection breaks |
//! | `lease` | the row that lets one writer in, and keeps its predecessors out |
//! | `rows` | reading rows, and committing batches of them |
//! | `link` | a connection |
//! | `hosts` | where it may lead to |
//! | `schema` | the tables |
//! | `fault`, `backoff` | what went wrong, and how long until it is tried again |
//!
//! A connection lives on a thread of its own: it must answer the server, and the lease must go on, while the writer has nothing to do or waits.
//!
//! # A commit whose outcome is not known
//!
//! ```text
//!  BEGIN ─> lease row: epoch 7, batch 41 -> 42 ─> rows ─> COMMIT ─┬─> said to be done
//!                                                                  └─> connection broken: done, or not?
//!           lease row: epoch 7, batch 41 -> 42 ─> rows ─> COMMIT     it was not, and is now
//!           lease row: epoch 7, batch 42 -> 42                       it was: only the lease goes on, and a standby has all before that
//!           lease row: epoch 8                                       another writer has taken over: nothing is said
//! ```
//!
//! The first transaction may still be under way when the second one comes. It has the lease's row then, and the second one waits until it is known what
//! becomes of it.

mod backoff;
mod fault;
mod hosts;
mod lease;
mod link;
mod rows;
mod schema;
mod session;
mod settings;

use std::{fmt, ops::Bound, sync::mpsc::sync_channel, thread};

use tokio::sync::mpsc;

pub use self::settings::PostgresSettings;
use self::{
    rows::Changes,
    session::{Job, Reply, Session},
};
use super::{Batch, Lease, Row, Store, StoreError, Table};
use crate::failpoint::FailPoints;

/// A journal in a PostgreSQL database. One process has it open at a time: others are kept out by a lease, and what a process commits that was taken for dead and
/// replaced is [refused](StoreError::Fenced).
///
/// When it is dropped the lease is given back, which waits for the server, for the lease's time at most.
pub struct PostgresStore {
    place: String,
    lease: Lease,
    /// None of them any more when it is being closed. At most one waits in it.
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.place).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, makes the tables if there are none, and takes the journal's lease. Waits, on this thread: for a server that is not there yet
    /// for its [patience](PostgresSettings::patience), and for the rest of a lease whose holder was killed.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has the journal open, and others.
    pub fn open(settings: PostgresSettings) -> Result<Self, StoreError> {
        Self::open_with(settings, FailPoints::default())
    }

    /// As [`Self::open`], with instants at which a test ends the process.
    pub(crate) fn open_with(
        settings: PostgresSettings,
        points: FailPoints,
    ) -> Result<Self, StoreError> {
        let config = settings.config()?;
        let (place, lease) = (settings.place(&config), Lease::default());
        let mut mark = [0; 16];
        getrandom::fill(&mut mark).map_err(|error| {
            StoreError::Failed(format!("the system gives no random numbers: {error}"))
        })?;
        // The process is for whoever looks into the table.
        let mark = format!("{:032x} of process {}", u128::from_be_bytes(mark), std::process::id());
        let (sender, jobs) = mpsc::unbounded_channel();
        let (opened, outcome) = sync_channel(1);
        let held = lease.clone();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    let text = format!("its thread cannot wait for the network: {error}");
                    // Whoever opens it waits for this.
                    let _ = opened.send(Err(StoreError::Failed(text)));
                    return;
                }
            };
            runtime.block_on(async {
                match Session::open(settings, config, &mark, held, points).await {
                    Ok(session) => {
                        let _ = opened.send(Ok(()));
                        session.serve(jobs).await;
                    }
                    Err(error) => drop(opened.send(Err(error))),
                }
            });
        };
        let spawned = thread::Builder::new().name("actogen-postgres".to_owned()).spawn(run);
        let thread =
            spawned.map_err(|error| StoreError::Failed(format!("it got no thread: {error}")))?;
        let store = Self { place, lease, jobs: Some(sender), thread: Some(thread) };
        outcome.recv().map_err(|_| ended())??;
        Ok(store)
    }

    /// Asks, and waits for the answer.
    fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = sync_channel(1);
        let jobs = self.jobs.as_ref().ok_or_else(ended)?;
        jobs.send(job(reply)).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

/// Its thread has panicked.
fn ended() -> StoreError {
    StoreError::Failed("the thread of its connection has ended".to_owned())
}

impl Store for PostgresStore {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(|reply| Job::Get(table, key.to_vec(), reply))
    }

    fn scan(
        &mut self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.ask(|reply| Job::Scan(table, rows::first(from), rows::end(to), most, reply))
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.ask(|reply| Job::Commit(Changes::of(batch), reply))
    }

    fn lease(&self) -> Option<Lease> {
        Some(self.lease.clone())
    }

    fn confirm(&mut self) -> Result<(), StoreError> {
        self.ask(Job::Confirm)
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of {} has panicked", self.place);
        }
    }
}
