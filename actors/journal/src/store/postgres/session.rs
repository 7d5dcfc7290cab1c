//! What is done for one journal, one thing after the other, over one connection at a time.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    pin::pin,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_postgres::Config;

use super::{
    backoff::Backoff,
    fault::Fault,
    hosts::Hosts,
    lease::{self, Held, Taken},
    link::Link,
    rows::{Changes, Desk},
    schema,
    settings::PostgresSettings,
};
use crate::{
    failpoint::FailPoints,
    store::{Asked, Lease, Row, StoreError, Table},
};

/// Of the lease's time this part goes by before it is renewed: two renewals may be lost.
const RENEWALS: u32 = 3;

/// The longest pause between two looks at another's lease.
const WATCH: Duration = Duration::from_secs(1);

/// What the store is asked.
pub(super) enum Job {
    Get(Table, Vec<u8>, Reply<Option<Vec<u8>>>),
    Scan(Table, Vec<u8>, Option<Vec<u8>>, usize, Reply<Vec<Row>>),
    Commit(Changes, Reply<()>),
    Confirm(Reply<()>),
}

/// Where the answer goes: to a thread that waits for it.
pub(super) type Reply<T> = std::sync::mpsc::SyncSender<Result<T, StoreError>>;

/// An open journal.
pub(super) struct Session {
    settings: PostgresSettings,
    hosts: Hosts,
    place: String,
    link: Option<Link>,
    held: Held,
    lease: Lease,
    points: FailPoints,
    renew_at: Instant,
    /// Once something has failed for good nothing more is asked.
    failed: Option<StoreError>,
}

impl Session {
    /// Connects, makes the tables if there are none, and takes the lease, as soon as a holder that has gone does not have it any more.
    pub(super) async fn open(
        settings: PostgresSettings,
        config: Config,
        mark: &str,
        lease: Lease,
        points: FailPoints,
    ) -> Result<Self, StoreError> {
        let (place, renew_at) = (settings.place(&config), Instant::now());
        let (link, held, failed) = (None, Held::default(), None);
        let hosts = Hosts::of(&config);
        let mut session =
            Self { settings, hosts, place, link, held, lease, points, renew_at, failed };
        session.take(mark).await?;
        Ok(session)
    }

    async fn take(&mut self, mark: &str) -> Result<(), StoreError> {
        let mut before: Option<lease::Found> = None;
        loop {
            let take =
                async |desk: Desk<'_>| lease::take(desk.link, desk.journal, mark, desk.time).await;
            match self.attempt(take).await? {
                Taken::Ours(held, asked) => {
                    self.held = held;
                    self.granted(asked);
                    self.points.pass("postgres.lease.taken");
                    return Ok(());
                }
                // A holder that has ended without a word does nothing until its time is over; one that lives does before.
                Taken::Others(found) => {
                    if before.is_some_and(|before| found.is_alive_since(&before)) {
                        return Err(StoreError::InUse { place: self.place.clone() });
                    }
                    before = Some(found);
                    let left = found.left() + Duration::from_millis(1);
                    sleep(left.min(WATCH)).await;
                }
            }
        }
    }

    /// Does what it is asked, and keeps the lease meanwhile, until nobody can ask any more.
    pub(super) async fn serve(mut self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        loop {
            let job = tokio::select! {
                biased;
                () = sleep_until(self.renew_at), if self.failed.is_none() => {
                    match self.keep(&mut jobs).await {
                        Continue(None) => continue,
                        Continue(job) => job,
                        Break(()) => None,
                    }
                }
                job = jobs.recv() => job,
            };
            match job {
                Some(job) => self.act(job).await,
                None => break,
            }
        }
        self.free().await;
    }

    /// Renews the lease; gives what has been asked meanwhile. Ends at once when nobody can ask any more: there is nothing to wait for.
    async fn keep(
        &mut self,
        jobs: &mut mpsc::UnboundedReceiver<Job>,
    ) -> ControlFlow<(), Option<Job>> {
        let mut asked = None;
        let mut renewing = pin!(self.renew());
        loop {
            tokio::select! {
                biased;
                // Whoever asks next is told when it has failed.
                _ = &mut renewing => return Continue(asked),
                job = jobs.recv(), if asked.is_none() => match job {
                    Some(job) => asked = Some(job),
                    None => return Break(()),
                },
            }
        }
    }

    async fn act(&mut self, job: Job) {
        // Whoever asks waits for the answer.
        match job {
            Job::Get(table, key, reply) => {
                let got = self.attempt(async |desk| desk.get(table, &key).await).await;
                let _ = reply.send(got);
            }
            Job::Scan(table, from, to, most, reply) => {
                let scan =
                    async |desk: Desk<'_>| desk.scan(table, &from, to.as_deref(), most).await;
                let _ = reply.send(self.attempt(scan).await);
            }
            Job::Commit(changes, reply) => {
                let _ = reply.send(self.commit(&changes).await);
            }
            Job::Confirm(reply) => {
                let _ = reply.send(self.renew().await);
            }
        }
    }

    async fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let asked = self.attempt(async |desk| desk.commit(changes).await).await?;
        self.held.batch += 1;
        self.granted(asked);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let asked = self.attempt(async |desk| desk.renew().await).await?;
        self.granted(asked);
        Ok(())
    }

    fn granted(&mut self, asked: Asked) {
        let time = self.settings.lease_time();
        self.lease.grant(asked, time);
        self.renew_at = Instant::now() + time / RENEWALS;
    }

    /// Lets a successor in at once. When there is no connection, the lease runs out by itself.
    async fn free(&mut self) {
        if self.failed.is_none()
            && let Some(link) = &self.link
        {
            let freeing = lease::free(link, self.settings.journal(), self.held);
            let freed = timeout(self.settings.lease_time(), freeing).await;
            if !matches!(freed, Ok(Ok(()))) {
                tracing::debug!("{} was closed without giving back its lease", self.place);
            }
        }
        self.lose(StoreError::Failed("it is closed".to_owned()));
    }

    fn lose(&mut self, error: StoreError) {
        self.lease.lose(error.clone());
        self.link = None;
        self.failed = Some(error);
    }

    /// Asks until there is an answer, over other connections when one breaks, as long as the server may be away.
    async fn attempt<T>(
        &mut self,
        mut ask: impl AsyncFnMut(Desk<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let patience = self.settings.patience_time();
        let mut backoff = Backoff::within(patience);
        loop {
            let outcome = self.ask_once(&mut ask).await;
            let why = match outcome {
                Ok(answer) => return Ok(answer),
                Err(Fault::Final(error)) => {
                    self.lose(error.clone());
                    return Err(error);
                }
                Err(Fault::Again(why)) => why,
                Err(Fault::Lost(why)) => {
                    self.link = None;
                    why
                }
            };
            tracing::debug!("{} asks again: {why}", self.place);
            if !backoff.pause().await {
                let text = format!("{} has not answered for {patience:?}: {why}", self.place);
                let error = StoreError::Failed(text);
                self.lose(error.clone());
                return Err(error);
            }
        }
    }

    async fn ask_once<T>(
        &mut self,
        ask: &mut impl AsyncFnMut(Desk<'_>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let limit = self.settings.lease_time();
        let late = |_| Fault::Lost(format!("no answer within {limit:?}"));
        let link = match self.link.take() {
            Some(link) => link,
            None => self.connected().await?,
        };
        let link = self.link.insert(link);
        let (journal, place) = (self.settings.journal(), &*self.place);
        let (held, points) = (self.held, &self.points);
        let desk = Desk { link, journal, place, held, points, time: limit };
        timeout(limit, ask(desk)).await.map_err(late)?
    }

    /// A connection, within the limit.
    async fn connected(&mut self) -> Result<Link, Fault> {
        let (schema, limit) = (self.settings.schema_name(), self.settings.lease_time());
        let (place, points) = (&*self.place, &self.points);
        let connect = |config| async move {
            let mut link = Link::open(&config, limit).await?;
            schema::migrate(&link.client, schema, place).await?;
            link.prepare(schema).await?;
            points.pass("postgres.connected");
            Ok(link)
        };
        self.hosts.connect(limit, connect).await
    }
}
