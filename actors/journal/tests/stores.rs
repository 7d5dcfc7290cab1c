//! Stores on this machine do what every store must do.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use actogen::testing::{self, TestMesh};
use actogen_journal::{
    Journal,
    store::{FileStore, MemoryStore},
};

use support::{Account, conformance};

#[test]
fn rows_in_memory() {
    let store = MemoryStore::default();
    conformance::rows(&mut || Box::new(store.clone()));
}

#[test]
fn rows_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    conformance::rows(&mut || Box::new(FileStore::open(folder.path().join("j.redb")).unwrap()));
}

#[test]
fn a_journal_in_a_file() {
    testing::run(async |mesh: &TestMesh| {
        let (root, folder) = (mesh.root().await, tempfile::tempdir()?);
        let of = |name: &str| {
            let file = folder.path().join(name);
            let root = root.clone();
            move || Journal::builder(&root, file.clone()).write_here().node("one").kind::<Account>()
        };
        conformance::what_was_answered_is_there(&root, &of("a")).await?;
        conformance::what_comes_again_is_not_run_again(&root, &of("b")).await?;
        conformance::messages_arrive_once_and_in_order(&root, &of("c")).await?;
        conformance::a_timer_fires_once(&root, &of("d")).await
    });
}
