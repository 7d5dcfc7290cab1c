//! The journal's one writer: whatever waits for the disk does so here, and one commit serves all that has come meanwhile.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::mpsc as thread_channel,
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    failpoint::FailPoints,
    store::{Batch, Lease, Store, StoreError},
};

/// Bytes of one commit; what is over comes with the next one.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// What the writer is asked.
enum Job {
    /// Make this durable. Tickets grow.
    Commit { ticket: u64, batch: Batch },
    /// Look something up, before what waits to be durable.
    Read(Act),
    /// Do something once all that was asked before is durable.
    Call(Act),
}

/// Something done with the store, which sends its outcome itself.
type Act = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// What the writer says: all up to this ticket is durable, or the store has failed and nothing more will be.
pub(crate) type Word = Result<u64, StoreError>;

/// Where the store is asked.
pub(crate) struct Writer {
    desks: Desks,
    /// Where others can take the store over: until when they have not.
    lease: Option<Lease>,
}

enum Desks {
    /// On a thread of its own.
    Thread(thread_channel::Sender<Job>, thread::JoinHandle<()>),
    /// On this one, when its turn comes: for simulated time.
    Here(Rc<Here>),
    Closed,
}

#[derive(Default)]
struct Here {
    jobs: RefCell<VecDeque<Job>>,
    wake: tokio::sync::Notify,
    /// Nothing more comes; who waits until all is done.
    closed: Cell<Option<oneshot::Sender<()>>>,
}

/// The end of a writer: all that it was asked is done, and its store is closed.
#[derive(Debug)]
pub(crate) enum Closing {
    Thread(thread::JoinHandle<()>),
    Here(oneshot::Receiver<()>),
    Closed,
}

impl Closing {
    pub(crate) async fn wait(self) {
        match self {
            Self::Thread(thread) => {
                let joined = tokio::task::spawn_blocking(move || thread.join()).await;
                if !matches!(joined, Ok(Ok(()))) {
                    tracing::error!("the journal's writer has panicked");
                }
            }
            // Gone with its thread.
            Self::Here(closed) => drop(closed.await),
            Self::Closed => {}
        }
    }
}

/// The store has gone: its thread has ended.
fn gone() -> StoreError {
    StoreError::Failed("its thread has ended".to_owned())
}

impl Writer {
    /// A writer with a thread of its own. It ends when this is dropped, once all that was asked is done.
    pub(crate) fn on_a_thread(
        store: Box<dyn Store>,
        points: FailPoints,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Word>), StoreError> {
        let (sender, jobs) = thread_channel::channel();
        let (words, said) = mpsc::unbounded_channel();
        let lease = store.lease();
        let run = move || {
            let mut desk = Desk::new(store, words, points);
            while let Ok(first) = jobs.recv() {
                let mut taken = VecDeque::from([first]);
                taken.extend(jobs.try_iter());
                desk.serve(taken);
            }
        };
        let spawned = thread::Builder::new().name("actogen-journal".to_owned()).spawn(run);
        let thread =
            spawned.map_err(|error| StoreError::Failed(format!("it got no thread: {error}")))?;
        Ok((Self { desks: Desks::Thread(sender, thread), lease }, said))
    }

    /// A writer on the thread that calls this.
    pub(crate) fn here(
        store: Box<dyn Store>,
        points: FailPoints,
    ) -> (Self, mpsc::UnboundedReceiver<Word>) {
        let here = Rc::new(Here::default());
        let (words, said) = mpsc::unbounded_channel();
        let (served, lease) = (here.clone(), store.lease());
        tokio::task::spawn_local(async move {
            let mut desk = Desk::new(store, words, points);
            loop {
                let taken = std::mem::take(&mut *served.jobs.borrow_mut());
                if !taken.is_empty() {
                    desk.serve(taken);
                } else if let Some(closed) = served.closed.take() {
                    drop(desk);
                    // Whoever closed it need not wait.
                    let _ = closed.send(());
                    return;
                } else {
                    served.wake.notified().await;
                }
                tokio::task::yield_now().await;
            }
        });
        (Self { desks: Desks::Here(here), lease }, said)
    }

    /// The store's lease, where it has one.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Whether nobody else can have written since the last commit.
    pub(crate) fn is_sole(&self) -> bool {
        self.lease.as_ref().is_none_or(Lease::is_held)
    }

    fn ask(&self, job: Job) -> Result<(), StoreError> {
        match &self.desks {
            Desks::Thread(jobs, _) => jobs.send(job).map_err(|_| gone()),
            Desks::Here(here) => {
                here.jobs.borrow_mut().push_back(job);
                here.wake.notify_one();
                Ok(())
            }
            Desks::Closed => Err(gone()),
        }
    }

    /// Takes nothing more; what was asked is done first.
    pub(crate) fn close(&mut self) -> Closing {
        match std::mem::replace(&mut self.desks, Desks::Closed) {
            Desks::Thread(jobs, thread) => {
                drop(jobs);
                Closing::Thread(thread)
            }
            Desks::Here(here) => {
                let (sender, closed) = oneshot::channel();
                here.closed.set(Some(sender));
                here.wake.notify_one();
                Closing::Here(closed)
            }
            Desks::Closed => Closing::Closed,
        }
    }

    pub(crate) fn commit(&self, ticket: u64, batch: Batch) -> Result<(), StoreError> {
        self.ask(Job::Commit { ticket, batch })
    }

    /// Looks something up.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + 'static {
        let (sender, receiver) = oneshot::channel();
        let job = Job::Read(Box::new(move |store| drop(sender.send(look(store)))));
        answered(self.ask(job), receiver)
    }

    /// Does something behind all that has been asked.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + 'static {
        let (sender, receiver) = oneshot::channel();
        let job = Job::Call(Box::new(move |store| drop(sender.send(act(store)))));
        answered(self.ask(job), receiver)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.close());
    }
}

async fn answered<T>(
    asked: Result<(), StoreError>,
    receiver: oneshot::Receiver<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    asked?;
    receiver.await.map_err(|_| gone())?
}

/// Where jobs are done.
struct Desk {
    store: Box<dyn Store>,
    words: mpsc::UnboundedSender<Word>,
    points: FailPoints,
    /// Once a commit has failed nobody knows what is on the disk, and nothing is written any more.
    failed: Option<StoreError>,
}

impl Desk {
    fn new(store: Box<dyn Store>, words: mpsc::UnboundedSender<Word>, points: FailPoints) -> Self {
        Self { store, words, points, failed: None }
    }

    fn serve(&mut self, jobs: VecDeque<Job>) {
        // Nobody reads what waits to be written, so readers need not wait for the disk.
        let (reads, rest): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| matches!(job, Job::Read(_)));
        for job in reads {
            if let Job::Read(look) = job {
                look(&mut *self.store);
            }
        }
        let (mut group, mut last) = (Batch::default(), None);
        for job in rest {
            match job {
                Job::Commit { ticket, batch } => {
                    group.append(batch);
                    last = Some(ticket);
                    if group.bytes() >= GROUP_BYTES {
                        self.commit(&mut group, &mut last);
                    }
                }
                Job::Call(act) => {
                    self.commit(&mut group, &mut last);
                    act(&mut *self.store);
                }
                Job::Read(_) => {}
            }
        }
        self.commit(&mut group, &mut last);
        self.tidy();
    }

    fn tidy(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.store.tidy()
        {
            self.failed = Some(error.clone());
            // A journal that has been dropped asks no more.
            let _ = self.words.send(Err(error));
        }
    }

    fn commit(&mut self, group: &mut Batch, last: &mut Option<u64>) {
        let Some(ticket) = last.take() else { return };
        let batch = std::mem::take(group);
        if self.failed.is_some() {
            return;
        }
        self.points.pass("commit.before");
        let outcome =
            if batch.is_empty() { self.store.confirm() } else { self.store.commit(&batch) };
        self.points.pass("commit.after");
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
        }
        // A journal that has been dropped asks no more.
        let _ = self.words.send(outcome.map(|()| ticket));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Table};

    #[tokio::test]
    async fn a_commit_serves_all_that_has_come_meanwhile() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let (writer, mut said) =
                    Writer::here(Box::new(MemoryStore::default()), FailPoints::default());
                for ticket in 1..=3 {
                    let mut batch = Batch::default();
                    batch.put(Table::State, vec![ticket], vec![ticket]);
                    writer.commit(u64::from(ticket), batch).unwrap();
                }
                assert_eq!(said.recv().await, Some(Ok(3)));
                let row = writer.call(|store| store.get(Table::State, &[2])).await;
                assert_eq!(row, Ok(Some(vec![2])));
            })
            .await;
    }
}
