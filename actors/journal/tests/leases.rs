//! Journals in a store that others can take over: what is answered of memory, and what a failed one leaves to its successor.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{ops::Bound, sync::Arc, time::Duration};

use actogen::prelude::*;
use actogen_journal::{
    Journal, JournalBuilder, JournalEvent, JournaledActor, Turn,
    store::{Asked, Batch, Lease, MemoryStore, Row, Store, StoreError, Table},
};
use parking_lot::{Condvar, Mutex};

use support::*;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct State {
    /// Commits are done, and their word does not come.
    is_held: bool,
    /// A commit is held.
    holds: bool,
    /// What each commit comes to.
    fault: Option<StoreError>,
}

/// A store with a lease, which does what a test says.
#[derive(Clone, Default)]
struct Leased {
    rows: MemoryStore,
    lease: Lease,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Leased {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.0.lock());
        self.state.1.notify_all();
    }

    async fn holds(&self) {
        until("a commit is held", true, async || self.state.0.lock().holds).await;
    }

    fn build(&self, cx: &Context) -> JournalBuilder {
        Journal::builder(cx, "").store(self.clone()).node("one").kind::<Account>()
    }
}

impl Store for Leased {
    fn place(&self) -> String {
        "a test".to_owned()
    }

    fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.get(table, key)
    }

    fn scan(
        &mut self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        most: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(table, from, to, most)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut state = self.state.0.lock();
        if let Some(fault) = &state.fault {
            return Err(fault.clone());
        }
        self.rows.commit(batch)?;
        self.lease.grant(Asked::now(), HOUR);
        state.holds = state.is_held;
        while state.is_held {
            self.state.1.wait(&mut state);
        }
        state.holds = false;
        Ok(())
    }

    fn lease(&self) -> Option<Lease> {
        Some(self.lease.clone())
    }

    fn confirm(&mut self) -> Result<(), StoreError> {
        self.commit(&Batch::default())
    }
}

/// The process stands still between a commit and the word of it, longer than its lease.
#[actogen::test]
async fn what_memory_says_behind_a_commit_that_another_writer_has_followed_is_not_answered(
    cx: Context,
) -> actogen::Result<()> {
    let store = Leased::default();
    let journal = store.build(&cx).open().await?;
    let account = journal.actor::<Account>("a")?;
    let (client, mut events) = (journal.client().within(Duration::from_secs(5)), journal.events());
    assert_eq!(client.send(&account, Deposit(5)).await?, 5);
    store.set(|state| state.is_held = true);
    let (writer, reader) = (client.clone(), client.clone());
    let (to, from) = (account.clone(), account.clone());
    let write = tokio::task::spawn_local(async move { writer.send(&to, Deposit(1)).await });
    store.holds().await;
    let reads = journal.stats().reads;
    let read = tokio::task::spawn_local(async move { reader.send(&from, Balance).await });
    until("it has been read", reads + 1, async || journal.stats().reads).await;
    store.lease.grant(Asked::now(), Duration::ZERO);
    store.set(|state| (state.is_held, state.fault) = (false, Some(StoreError::Fenced)));
    assert_eq!(write.await??, 6, "that was before");
    assert!(read.await?.is_err(), "another may have written since");
    assert_eq!(events.recv().await?, JournalEvent::Failed { error: StoreError::Fenced });
    journal.close().await;
    Ok(())
}

/// As before, and nobody has taken it over.
#[actogen::test]
async fn what_memory_says_is_answered_when_the_lease_is_found_to_stand(
    cx: Context,
) -> actogen::Result<()> {
    let store = Leased::default();
    let journal = store.build(&cx).open().await?;
    let (account, client) = (journal.actor::<Account>("a")?, journal.client());
    assert_eq!(client.send(&account, Deposit(5)).await?, 5);
    store.set(|state| state.is_held = true);
    let (writer, reader) = (client.clone(), client.clone());
    let (to, from) = (account.clone(), account.clone());
    let write = tokio::task::spawn_local(async move { writer.send(&to, Deposit(1)).await });
    store.holds().await;
    let before = journal.stats();
    let read = tokio::task::spawn_local(async move { reader.send(&from, Balance).await });
    until("it has been read", before.reads + 1, async || journal.stats().reads).await;
    store.lease.grant(Asked::now(), Duration::ZERO);
    store.set(|state| state.is_held = false);
    assert_eq!((write.await??, read.await??), (6, 6));
    assert_eq!(journal.stats().commits, before.commits + 2, "the second shows it");
    journal.close().await;
    Ok(())
}

/// A mebibyte that is only read.
#[derive(Debug, JournaledActor, Serialize, Deserialize)]
#[journaled(kind = "heap", messages(Deposit, Fetch))]
struct Heap(Vec<u8>);

impl Default for Heap {
    fn default() -> Self {
        Self(vec![0; 1 << 20])
    }
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "heap.Fetch", reply = "Vec<u8>")]
struct Fetch;

impl Actor for Heap {
    type Context = Turn<Self>;
}

impl Handler<Deposit> for Heap {
    type Result = u64;
    fn handle(&mut self, deposit: Deposit, _: &mut Turn<Self>) -> u64 {
        self.0[0] += 1;
        deposit.0
    }
}

impl Handler<Fetch> for Heap {
    type Result = Vec<u8>;
    fn handle(&mut self, _: Fetch, _: &mut Turn<Self>) -> Vec<u8> {
        self.0.clone()
    }
}

#[actogen::test]
async fn answers_that_wait_for_the_store_are_bounded(cx: Context) -> actogen::Result<()> {
    const MOST: u64 = 16;
    let store = Leased::default();
    let journal = store.build(&cx).kind::<Heap>().open().await?;
    let (heap, client) = (journal.actor::<Heap>("a")?, journal.client());
    assert_eq!(client.send(&heap, Fetch).await?.len(), 1 << 20);
    store.set(|state| state.is_held = true);
    let (writer, to) = (client.clone(), heap.clone());
    let write = tokio::task::spawn_local(async move { writer.send(&to, Deposit(1)).await });
    store.holds().await;
    let before = journal.stats().reads;
    let reads: Vec<_> = (0..2 * MOST)
        .map(|_| {
            let (client, heap) = (client.clone(), heap.clone());
            tokio::task::spawn_local(async move { client.send(&heap, Fetch).await })
        })
        .collect();
    // The mebibyte that is written counts as well.
    until("as many as there may be", before + MOST - 1, async || journal.stats().reads).await;
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(journal.stats().reads, before + MOST - 1, "the rest waits");
    store.set(|state| state.is_held = false);
    assert_eq!(write.await??, 1);
    for read in reads {
        assert_eq!(read.await??[0], 1);
    }
    journal.close().await;
    Ok(())
}

/// Whatever it failed of, the one that opens the journal next can be asked.
#[actogen::test]
async fn a_journal_that_has_failed_leaves_its_name_to_its_successor(
    cx: Context,
) -> actogen::Result<()> {
    let store = Leased::default();
    let failed = store.build(&cx).open().await?;
    let account = failed.actor::<Account>("a")?;
    let (client, mut events) = (failed.client().within(Duration::from_secs(20)), failed.events());
    assert_eq!(client.send(&account, Deposit(5)).await?, 5);
    let away = StoreError::Failed("the server has been away for too long".to_owned());
    store.set(|state| state.fault = Some(away.clone()));
    let (asker, to) = (client.clone(), account.clone());
    let asked = tokio::task::spawn_local(async move { asker.send(&to, Deposit(1)).await });
    assert_eq!(events.recv().await?, JournalEvent::Failed { error: away });
    store.set(|state| state.fault = None);
    let successor = store.build(&cx).open().await?;
    assert_eq!(asked.await??, 6);
    assert!(failed.has_failed());
    successor.close().await;
    Ok(())
}
