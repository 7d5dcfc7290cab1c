//! Disks as they are: they lose what was not synced, tear what was being written, and fail.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{io, ops::Bound, sync::Arc};

use actogen::testing::{self, TestMesh};
use actogen_journal::{
    AskError, Journal, JournalEvent,
    store::{FileStore, Store, StoreError, Table},
};
use parking_lot::Mutex;
use proptest::prelude::*;
use redb::StorageBackend;

use support::{
    conformance::{last_turn, turn},
    *,
};

/// A change of the disk that has not been synced.
#[derive(Clone, Debug)]
enum Unsynced {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct Platter {
    /// What is read: all changes.
    now: Vec<u8>,
    /// What survives the loss of power for certain.
    synced: Vec<u8>,
    unsynced: Vec<Unsynced>,
    syncs: u64,
    /// The sync that fails, and all that follow.
    fails_at: Option<u64>,
}

fn apply(bytes: &mut Vec<u8>, change: &Unsynced) {
    match change {
        Unsynced::Write(at, data) => {
            let at = *at as usize;
            bytes.resize(bytes.len().max(at + data.len()), 0);
            bytes[at..at + data.len()].copy_from_slice(data);
        }
        Unsynced::Length(length) => bytes.resize(*length as usize, 0),
    }
}

/// A disk in memory; clones are the same one.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Disk {
    fn of(bytes: Vec<u8>) -> Self {
        let platter = Platter { now: bytes.clone(), synced: bytes, ..Platter::default() };
        Self(Arc::new(Mutex::new(platter)))
    }

    /// The disk as it is after a loss of power: of what was not synced, those changes are there that `survives` says, and the one that was
    /// being written is torn.
    fn after_power_loss(&self, mut survives: impl FnMut() -> bool, torn: usize) -> Self {
        let platter = self.0.lock();
        let mut bytes = platter.synced.clone();
        for change in &platter.unsynced {
            if survives() {
                apply(&mut bytes, change);
            }
        }
        if let Some(Unsynced::Write(at, data)) = platter.unsynced.last() {
            let torn = data[..torn % (data.len() + 1)].to_vec();
            apply(&mut bytes, &Unsynced::Write(*at, torn));
        }
        Self::of(bytes)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let platter = self.0.lock();
        let at = offset as usize;
        let bytes = platter.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut platter = self.0.lock();
        let change = Unsynced::Length(len);
        apply(&mut platter.now, &change);
        platter.unsynced.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.0.lock();
        platter.syncs += 1;
        if platter.fails_at.is_some_and(|at| platter.syncs >= at) {
            return Err(io::Error::other("the disk is broken"));
        }
        platter.synced = platter.now.clone();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut platter = self.0.lock();
        let change = Unsynced::Write(offset, data.to_vec());
        apply(&mut platter.now, &change);
        platter.unsynced.push(change);
        Ok(())
    }
}

/// A disk that loses power in the middle: what comes after so many changes never reaches it.
#[derive(Clone, Debug)]
struct Cut {
    disk: Disk,
    left: Arc<Mutex<u64>>,
}

impl Cut {
    fn goes_on(&self) -> io::Result<()> {
        let mut left = self.left.lock();
        *left = left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        Ok(())
    }
}

impl StorageBackend for Cut {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.goes_on()?;
        self.disk.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.goes_on()?;
        self.disk.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.goes_on()?;
        self.disk.write(offset, data)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(debug_assertions) { 96 } else { 2000 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// However often power is lost, and whatever of the unsynced changes survives: each turn is there whole or not at all, and one that was
    /// acknowledged is there.
    #[test]
    fn turns_survive_the_loss_of_power(
        losses in proptest::collection::vec((1u64..60, any::<u64>(), any::<usize>()), 1..6),
    ) {
        // A file gets its name when it is whole.
        let mut disk = Disk::default();
        drop(FileStore::over(disk.clone()).unwrap());
        let mut turns = 0;
        for (changes, chance, torn) in losses {
            let cut = Cut { disk: disk.clone(), left: Arc::new(Mutex::new(changes)) };
            let mut acknowledged = turns;
            let mut begun = turns;
            if let Ok(mut store) = FileStore::over(cut) {
                prop_assert_eq!(last_turn(&mut store), turns);
                loop {
                    begun = acknowledged + 1;
                    if store.commit(&turn(begun)).is_err() {
                        break;
                    }
                    acknowledged = begun;
                }
                // A process that ends tidies nothing up.
                std::mem::forget(store);
            }
            let mut chance = chance;
            let survives = || {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                chance >> 63 == 1
            };
            disk = disk.after_power_loss(survives, torn);
            let mut store = FileStore::over(disk.clone()).unwrap();
            turns = last_turn(&mut store);
            prop_assert!(turns == acknowledged || turns == begun, "{} of {}..={}", turns, acknowledged, begun);
        }
    }
}

/// The last commit's changes, cut off at each of their bytes (each 97th, unless `ACTOGEN_EACH_BYTE` is set) and at each of their ends.
#[test]
fn a_commit_that_is_cut_off_at_any_byte_is_there_whole_or_not_at_all() {
    let disk = Disk::default();
    let mut store = FileStore::over(disk.clone()).unwrap();
    for number in 1..=5 {
        store.commit(&turn(number)).unwrap();
    }
    let before = disk.0.lock().now.clone();
    let written = Recorded { disk: Disk::of(before.clone()), all: Arc::default() };
    std::mem::forget(store);
    let mut store = FileStore::over(written.clone()).unwrap();
    written.all.lock().clear();
    let before = written.disk.0.lock().now.clone();
    store.commit(&turn(6)).unwrap();
    std::mem::forget(store);
    let step = if std::env::var_os("ACTOGEN_EACH_BYTE").is_some() { 1 } else { 97 };
    let (mut found, all) = ([0, 0], written.all.lock().clone());
    let mut bytes = before;
    for change in &all {
        if let Unsynced::Write(at, data) = change {
            for end in (0..data.len()).step_by(step) {
                let mut torn = bytes.clone();
                apply(&mut torn, &Unsynced::Write(*at, data[..end].to_vec()));
                let mut store = FileStore::over(Disk::of(torn)).unwrap();
                found[(last_turn(&mut store) - 5) as usize] += 1;
            }
        }
        apply(&mut bytes, change);
    }
    assert_eq!(last_turn(&mut FileStore::over(Disk::of(bytes)).unwrap()), 6);
    assert!(found[0] > 0, "{found:?}");
}

/// A disk that writes down what is done to it.
#[derive(Clone, Debug)]
struct Recorded {
    disk: Disk,
    all: Arc<Mutex<Vec<Unsynced>>>,
}

impl StorageBackend for Recorded {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.all.lock().push(Unsynced::Length(len));
        self.disk.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.all.lock().push(Unsynced::Write(offset, data.to_vec()));
        self.disk.write(offset, data)
    }
}

#[test]
fn j14_a_sync_that_fails_acknowledges_nothing_and_stops_the_actor() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let disk = Disk::default();
        let store = FileStore::over(disk.clone())?;
        let open = |store| Journal::builder(&root, "").store(store).write_here().kind::<Account>();
        let journal = open(store).open().await?;
        let (account, mut events) = (journal.actor::<Account>("a")?, journal.events());
        let client = journal.client().within(std::time::Duration::from_millis(200));
        assert_eq!(client.send(&account, Deposit(5)).await?, 5);
        let syncs = disk.0.lock().syncs;
        disk.0.lock().fails_at = Some(syncs + 1);
        let failed = client.send(&account, Deposit(7)).await.unwrap_err();
        assert!(
            matches!(failed, AskError::Timeout { .. }),
            "what became of it shows later: {failed}"
        );
        let event = events.recv().await?;
        assert!(matches!(event, JournalEvent::Failed { .. }), "{event}");
        // A disk that has come back changes nothing: a failed commit is never tried again.
        disk.0.lock().fails_at = None;
        let stopped = client.send(&account, Balance).await.unwrap_err();
        let AskError::Timeout { last, .. } = stopped else { panic!("{stopped}") };
        assert!(last.contains("store has failed"), "{last}");
        journal.close().await;
        // What was synced is the last turn that was acknowledged.
        let disk = disk.after_power_loss(|| false, 0);
        let journal =
            open(FileStore::over(disk)?).node(account.place().node.as_str()).open().await?;
        let balance = journal.client().send(&account, Balance).await?;
        assert_eq!(balance, 5);
        Ok(())
    });
}

/// The log is emptied and the rows are rewritten on the way.
#[test]
fn rows_are_there_however_much_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("j.redb");
    let mut store = FileStore::open(&file).unwrap();
    for number in 1..=300 {
        let mut batch = turn(number);
        batch.put(Table::History, number.to_be_bytes().to_vec(), vec![number as u8; 40_000]);
        store.commit(&batch).unwrap();
        store.tidy().unwrap();
    }
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = FileStore::open(&file).unwrap();
        }
        assert_eq!(last_turn(&mut store), 300);
        let all = store.scan(Table::History, Bound::Unbounded, Bound::Unbounded, 1000).unwrap();
        assert_eq!(all.len(), 300);
        assert!(all.iter().all(|(key, value)| value[..] == [key[7]; 40_000]));
    }
}

#[test]
fn j15_a_second_opener_of_one_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.redb");
    let first = FileStore::open(&file).unwrap();
    let second = FileStore::open(&file).unwrap_err();
    assert!(matches!(second, StoreError::InUse { .. }), "{second}");
    drop(first);
    FileStore::open(&file).unwrap();
}

#[test]
fn a_file_that_was_broken_off_while_it_was_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (file, unfinished) = (folder.path().join("j.redb"), folder.path().join("j.redb.new"));
    std::fs::write(&unfinished, vec![0; 5000]).unwrap();
    let mut store = FileStore::open(&file).unwrap();
    store.commit(&turn(1)).unwrap();
    drop(store);
    assert!(!unfinished.exists());
    // Nor does what was left over come back in the place of a journal that was taken away.
    std::fs::hard_link(&file, &unfinished).unwrap();
    drop(FileStore::open(&file).unwrap());
    assert!(!unfinished.exists());
    assert_eq!(last_turn(&mut FileStore::open(&file).unwrap()), 1);
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("letter.txt");
    std::fs::write(&file, "Dear all, this is no database.").unwrap();
    let error = FileStore::open(&file).unwrap_err();
    assert!(error.to_string().contains("letter.txt"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"Dear all, this is no database.");
}
