//! A recorder: keeps what is published, as it is and with its signatures, and replays it.
//!
//! | room | concept |
//! |---|---|
//! | here | [`Recorder`], and its settings |
//! | `keeping` | messages within bounds: a few functions over a store |
//! | `pages` | reads a range page by page |
//! | `rows` | what is stored |
//!
//! ```text
//!   topics ── Recording ──> group ── one commit ──> acknowledged
//!                                        │
//!   reader <── ReplayPage ── pages <── store
//! ```
//!
//! It stands in this crate because its store is the journal's, with the file's lock, its repair and the thread that waits for the disk;
//! with journaled actors it has nothing to do.

mod keeping;
mod pages;
mod rows;

use std::{
    cell::{Cell, RefCell},
    fmt,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use actogen::{
    Context, Phase, PublishError, PublishPolicy, Recorded, Recording, Remote, ReplayRefusal,
    Replays,
    archive::{Archive, ReadPage, ReplayAsk},
};
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::keeping::Keep;
use self::keeping::{Incoming, Keeping, Outcome};
pub(crate) use self::rows::{ABOUT, Kept as KeptRow, Place as PlaceRow};
use crate::{
    failpoint::FailPoints,
    store::{FileStore, Store, StoreError},
    time::Clock,
    writer::{Closing, Writer},
};

/// Messages of one commit,
const GROUP: usize = 4096;

/// and bytes after which none is added.
const GROUP_BYTES: usize = 4 << 20;

/// How often it is looked at least whether something is too old.
const AGE: Duration = Duration::from_secs(60);

/// Why a recorder is not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its patterns, or its context.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What a recorder has, and has had since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderStats {
    /// Messages that are kept.
    pub messages: u64,
    /// Their bytes, as [`Keep::bytes`] counts them.
    pub bytes: u64,
    /// Messages recorded.
    pub recorded: u64,
    /// Messages that came again, and were there.
    pub again: u64,
    /// Messages dropped because of a bound, the oldest first.
    pub dropped: u64,
    /// Messages that were not recorded, because more came than the disk takes. Nobody has acknowledged them.
    pub missed: u64,
}

enum Where {
    File(PathBuf),
    Store(Box<dyn Store>),
}

/// A recorder to be; [`Self::open`] makes it.
#[must_use = "nothing is recorded before `open`"]
pub struct RecorderBuilder {
    context: Context,
    place: Where,
    patterns: Vec<String>,
    name: String,
    keep: Keep,
    readers: Option<PublishPolicy>,
    is_here: bool,
}

impl fmt::Debug for RecorderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderBuilder")
            .field("patterns", &self.patterns)
            .field("name", &self.name)
            .field("keep", &self.keep)
            .finish_non_exhaustive()
    }
}

impl RecorderBuilder {
    /// Also messages under topics that match this pattern are recorded.
    pub fn topic(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// The name by which readers find it, `recorder` unless this says otherwise. One recorder in the mesh has a name; whom publishers
    /// [require](actogen::Publish::require) is the context, by a name in its certificate.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How much it keeps.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Who may replay what: a message goes to contexts that this policy would let publish under its topic. All in the mesh may unless it is
    /// given. Names do not count in it.
    pub fn readers(mut self, policy: PublishPolicy) -> Self {
        self.readers = Some(policy);
        self
    }

    /// Keeps messages in this store instead of a file.
    pub fn store(mut self, store: impl Store) -> Self {
        self.place = Where::Store(Box::new(store));
        self
    }

    /// Writes on the context's own thread, which waits for the disk then: for simulated time.
    pub fn write_here(mut self) -> Self {
        self.is_here = true;
        self
    }

    /// Opens the store, which goes on where it was, and begins to record.
    ///
    /// # Errors
    /// [`RecorderError`].
    ///
    /// # Panics
    /// Outside of a `LocalSet` or actix `System`.
    pub async fn open(self) -> Result<Recorder, RecorderError> {
        let Self { context, place, patterns, name, keep, readers, is_here } = self;
        let store: Box<dyn Store> = match place {
            Where::Store(store) => store,
            Where::File(path) if is_here => Box::new(FileStore::open(path)?),
            Where::File(path) => {
                let opened = tokio::task::spawn_blocking(move || FileStore::open(path)).await;
                Box::new(opened.map_err(|error| StoreError::Failed(error.to_string()))??)
            }
        };
        let (writer, words) = match is_here {
            true => Writer::here(store, FailPoints::default()),
            false => Writer::on_a_thread(store, FailPoints::default())?,
        };
        // Commits are made within calls, which say themselves what came of them.
        drop(words);
        let clock = Clock::start();
        let now = clock.now();
        let keeping = writer.call(move |store| Keeping::open(store, keep, now)).await?;
        let recording = context.record(&patterns)?;
        let (failed, _) = watch::channel(None);
        let core = Rc::new(Core {
            writer: RefCell::new(writer),
            keeping: Arc::new(Mutex::new(keeping)),
            clock,
            stats: Cell::default(),
            failed,
        });
        let replays = context.serve_replays(&name, Pages(core.clone()), readers);
        let age = AGE.min(keep.time / 8).max(Duration::from_millis(10));
        let (run_in, ends) = (context.clone(), replays.clone());
        let runs = run(run_in, core.clone(), recording, age, ends);
        let runs = Some(tokio::task::spawn_local(runs));
        Ok(Recorder { context, core, replays, runs })
    }
}

struct Core {
    writer: RefCell<Writer>,
    keeping: Arc<Mutex<Keeping>>,
    clock: Clock,
    stats: Cell<RecorderStats>,
    failed: watch::Sender<Option<StoreError>>,
}

impl Core {
    fn count(&self, change: impl FnOnce(&mut RecorderStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    async fn append(&self, incoming: Vec<Incoming>) -> Result<Outcome, StoreError> {
        let (keeping, now) = (self.keeping.clone(), self.clock.now());
        let appended =
            self.writer.borrow().call(move |store| keeping.lock().append(store, incoming, now));
        let outcome = appended.await?;
        self.count(|stats| {
            stats.recorded += outcome.recorded;
            stats.again += outcome.again;
            stats.dropped += outcome.dropped;
        });
        Ok(outcome)
    }

    fn close(&self) -> Closing {
        self.writer.borrow_mut().close()
    }
}

/// What replays are read from.
struct Pages(Rc<Core>);

impl Archive for Pages {
    fn page(&self, ask: ReplayAsk) -> ReadPage {
        let keeping = self.0.keeping.clone();
        let read = self.0.writer.borrow().read(move |store| {
            let about = keeping.lock().about.clone();
            pages::page(store, &about, ask)
        });
        Box::pin(
            async move { read.await.map_err(|error| ReplayRefusal::Failed(error.to_string())) },
        )
    }
}

/// Records until the context ends or the store fails.
async fn run(
    context: Context,
    core: Rc<Core>,
    mut recording: Recording,
    age: Duration,
    replays: Remote<Replays>,
) {
    let mut phase = context.phase();
    let failed = loop {
        let first = tokio::select! {
            first = recording.next() => Some(first),
            () = tokio::time::sleep(age) => None,
            _ = phase.wait_for(|phase| *phase == Phase::Down) => break None,
        };
        if let Err(error) = record(&core, first, &mut recording).await {
            break Some(error);
        }
    };
    context.unbind(&replays);
    core.close().wait().await;
    if let Some(error) = failed {
        tracing::error!(context = %context.id(), "nothing is recorded any more: {error}");
        core.failed.send_replace(Some(error));
    }
}

/// Makes durable what has come meanwhile, in one commit, and says so to those who wait for that.
async fn record(
    core: &Core,
    first: Option<Result<Recorded, u64>>,
    recording: &mut Recording,
) -> Result<(), StoreError> {
    let (mut group, mut incoming, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut next = first;
    while let Some(came) = next.take() {
        match came {
            Ok(recorded) => {
                let record = recorded.record();
                let signed = record.sequence().zip(record.hash());
                let signed = signed.map(|(place, hash)| (record.publisher(), place, hash));
                // What has come over the wire has a form.
                if let Ok(record) = record.to_bytes() {
                    bytes += record.len();
                    incoming.push(Incoming { record, signed });
                    group.push(recorded);
                }
            }
            Err(missed) => {
                tracing::warn!(missed, "more is published than the recorder's disk takes");
                core.count(|stats| stats.missed += missed);
            }
        }
        if group.len() < GROUP && bytes < GROUP_BYTES {
            next = recording.try_next();
        }
    }
    core.append(incoming).await?;
    for recorded in &group {
        recorded.stored();
    }
    // A bound that was lowered, and what is too old, in steps: messages are not kept waiting.
    let is_over = core.keeping.lock().is_over(core.clock.now());
    if is_over && group.is_empty() {
        while core.append(Vec::new()).await?.dropped > 0 {}
    }
    Ok(())
}

/// A recorder that runs. It ends with its context, or by [`Self::close`]; dropping this ends nothing.
pub struct Recorder {
    context: Context,
    core: Rc<Core>,
    replays: Remote<Replays>,
    runs: Option<tokio::task::JoinHandle<()>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder in this context, which keeps messages in a file.
    ///
    /// The file is one of [redb](FileStore)'s, which one process has open at a time. Messages are made durable by groups: one sync of the disk for all that has
    /// come during the one before. A crash loses what has come since the last one, of which nothing has been acknowledged: a publisher that
    /// [requires](actogen::Publish::require) the recorder's context at [`Durable`](actogen::AckLevel::Durable) sends it again.
    pub fn builder(context: &Context, file: impl Into<PathBuf>) -> RecorderBuilder {
        RecorderBuilder {
            context: context.clone(),
            place: Where::File(file.into()),
            patterns: Vec::new(),
            name: "recorder".to_owned(),
            keep: Keep::default(),
            readers: None,
            is_here: false,
        }
    }

    /// The address at which it is asked for replays.
    pub fn replays(&self) -> &Remote<Replays> {
        &self.replays
    }

    /// What it has, and has had.
    pub fn stats(&self) -> RecorderStats {
        let keeping = self.core.keeping.lock();
        let (messages, bytes) = (keeping.about.count(), keeping.about.bytes);
        RecorderStats { messages, bytes, ..self.core.stats.get() }
    }

    /// When the oldest message that is not kept any more was recorded, if some have been dropped.
    pub fn dropped_until(&self) -> Option<SystemTime> {
        self.core.keeping.lock().about.dropped.map(SystemTime::from)
    }

    /// Waits until it records no more, and says why: `None` when it was closed, or its context has ended.
    pub async fn ended(&mut self) -> Option<StoreError> {
        if let Some(runs) = self.runs.take() {
            // One that was closed has been aborted.
            let _ = runs.await;
        }
        self.core.failed.borrow().clone()
    }

    /// Ends it; its file is free when this returns. What it has acknowledged is there.
    pub async fn close(mut self) {
        if let Some(runs) = self.runs.take() {
            runs.abort();
        }
        self.context.unbind(&self.replays);
        self.core.close().wait().await;
    }
}
