//! How states are kept: whole, as changes, as events; and states of older versions.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{cell::Cell, rc::Rc, time::Duration};

use actogen::{
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{
    EventSourced, Journal, JournalBuilder, JournaledActor, LoadError, Turn, store::MemoryStore,
};

use support::until;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "keep.Put", reply = "u64")]
struct Put(usize, u8);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "keep.Sum", reply = "u64")]
struct Sum;

/// Puts, and then panics.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "keep.Spill", reply = "u64")]
struct Spill(usize, u8);

macro_rules! page {
    ($name:ident, $kind:literal, $($keep:tt)*) => {
        #[derive(JournaledActor, Serialize, Deserialize)]
        #[journaled(kind = $kind, messages(Put, Sum, Spill), begin = $name::begin, $($keep)*)]
        struct $name {
            bytes: Vec<u8>,
        }

        impl $name {
            fn begin(_: &str) -> Self {
                Self { bytes: vec![0; 20_000] }
            }

            fn sum(&self) -> u64 {
                self.bytes.iter().map(|byte| u64::from(*byte)).sum()
            }
        }

        impl Actor for $name {
            type Context = Turn<Self>;
        }

        impl Handler<Sum> for $name {
            type Result = u64;
            fn handle(&mut self, _: Sum, _: &mut Turn<Self>) -> u64 {
                self.sum()
            }
        }

        impl Handler<Spill> for $name {
            type Result = u64;
            fn handle(&mut self, Spill(at, byte): Spill, turn: &mut Turn<Self>) -> u64 {
                Handler::<Put>::handle(self, Put(at, byte), turn);
                panic!("spilled")
            }
        }
    };
}

macro_rules! plain_page {
    ($name:ident, $kind:literal, $keep:literal) => {
        page!($name, $kind, keep = $keep);

        impl Handler<Put> for $name {
            type Result = u64;
            fn handle(&mut self, Put(at, byte): Put, _: &mut Turn<Self>) -> u64 {
                self.bytes[at] = byte;
                self.sum()
            }
        }
    };
}

plain_page!(Whole, "whole", "snapshot");
plain_page!(Changed, "changed", "deltas");
page!(Told, "told", events = "(usize, u8)");

impl EventSourced for Told {
    type Event = (usize, u8);
    fn apply(&mut self, &(at, byte): &(usize, u8)) {
        self.bytes[at] = byte;
    }
}

impl Handler<Put> for Told {
    type Result = u64;
    fn handle(&mut self, Put(at, byte): Put, turn: &mut Turn<Self>) -> u64 {
        turn.record(self, &(at, byte));
        self.sum()
    }
}

fn builder(context: &actogen::Context, store: &MemoryStore) -> JournalBuilder {
    let builder = Journal::builder(context, "").store(store.clone()).write_here();
    builder.kind::<Whole>().kind::<Changed>().kind::<Told>()
}

async fn kept<A>(mesh: &TestMesh, least: u64, most: u64) -> actogen::Result<()>
where
    A: JournaledActor,
    Put: actogen::MessageOf<A>,
    Sum: actogen::MessageOf<A>,
    Spill: actogen::MessageOf<A>,
{
    let (root, store) = (mesh.root().await, MemoryStore::default());
    let mut written = 0;
    let sum = Rc::new(Cell::new(0));
    for round in 0..4 {
        let journal = builder(&root, &store).open().await?;
        let (page, client) = (journal.actor::<A>("p")?, journal.client());
        assert_eq!(client.send(&page, Sum).await?, sum.get());
        for turn in 0..50 {
            let at = (round * 50 + turn) * 7;
            sum.set(sum.get() + 1 + turn as u64);
            assert_eq!(client.send(&page, Put(at, turn as u8 + 1)).await?, sum.get());
            if turn % 10 == 3 {
                client.send(&page, Spill(at + 1, 9)).await.unwrap_err();
            }
        }
        until("all is rolled back", sum.get(), async || client.send(&page, Sum).await.unwrap())
            .await;
        until("all is durable", 50, async || journal.stats().turns).await;
        written += journal.stats().bytes;
        journal.close().await;
    }
    let bytes = written / 200;
    assert!((least..most).contains(&bytes), "{bytes} bytes a turn, with a state of 20,000");
    Ok(())
}

#[test]
fn a_snapshot_writes_the_state_each_turn() {
    testing::run(async |mesh: &TestMesh| kept::<Whole>(mesh, 20_000, 21_000).await);
}

#[test]
fn deltas_write_what_has_changed() {
    testing::run(async |mesh: &TestMesh| kept::<Changed>(mesh, 100, 1000).await);
}

#[test]
fn events_write_what_was_recorded() {
    testing::run(async |mesh: &TestMesh| kept::<Told>(mesh, 100, 500).await);
}

mod first {
    use super::*;

    #[derive(Default, JournaledActor, Serialize, Deserialize)]
    #[journaled(kind = "counter", messages(Put))]
    pub(crate) struct Counter {
        count: u8,
    }

    impl Actor for Counter {
        type Context = Turn<Self>;
    }

    impl Handler<Put> for Counter {
        type Result = u64;
        fn handle(&mut self, put: Put, _: &mut Turn<Self>) -> u64 {
            self.count += put.1;
            self.count.into()
        }
    }
}

mod second {
    use super::*;

    #[derive(Default, JournaledActor, Serialize, Deserialize)]
    #[journaled(kind = "counter", version = 2, messages(Sum), keep = "deltas", migrate = Counter::older)]
    pub(crate) struct Counter {
        name: String,
        count: u64,
    }

    impl Counter {
        fn older(version: u32, bytes: &[u8]) -> Result<Self, LoadError> {
            match (version, bytes) {
                (1, [count]) => Ok(Self { name: "old".to_owned(), count: (*count).into() }),
                _ => Err(LoadError::new("no such state was ever written")),
            }
        }
    }

    impl Actor for Counter {
        type Context = Turn<Self>;
    }

    impl Handler<Sum> for Counter {
        type Result = u64;
        fn handle(&mut self, _: Sum, _: &mut Turn<Self>) -> u64 {
            self.count += 100;
            self.count
        }
    }
}

#[test]
fn an_older_state_is_migrated_and_a_newer_one_is_kept_and_not_run() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        let open = || Journal::builder(&root, "").store(store.clone()).write_here();
        let journal = open().kind::<first::Counter>().open().await?;
        let counter = journal.actor::<first::Counter>("c")?;
        assert_eq!(journal.client().send(&counter, Put(0, 7)).await?, 7);
        journal.close().await;
        for sum in [107, 207] {
            let journal = open().kind::<second::Counter>().open().await?;
            let counter = journal.actor::<second::Counter>("c")?;
            assert_eq!(journal.client().send(&counter, Sum).await?, sum);
            journal.close().await;
        }
        let journal = open().kind::<first::Counter>().open().await?;
        let counter = journal.actor::<first::Counter>("c")?;
        let refused = journal.client().send(&counter, Put(0, 7)).await.unwrap_err();
        assert!(
            refused.to_string().contains("has version 2, and this build reads up to 1"),
            "{refused}"
        );
        journal.close().await;
        let journal = open().kind::<second::Counter>().open().await?;
        let counter = journal.actor::<second::Counter>("c")?;
        let client = journal.client().within(Duration::from_secs(5));
        assert_eq!(client.send(&counter, Sum).await?, 307, "nothing was touched");
        Ok(())
    });
}

mod loud {
    use super::*;

    thread_local! {
        static IS_MUTE: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether states can be encoded from now on.
    pub(crate) fn mute(is_mute: bool) {
        IS_MUTE.set(is_mute);
    }

    fn unless_mute<S: serde::Serializer>(sum: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        if IS_MUTE.get() {
            return Err(serde::ser::Error::custom("mute"));
        }
        serializer.serialize_u64(*sum)
    }

    /// Its events are so long that a checkpoint is due each turn.
    #[derive(Default, JournaledActor, Serialize, Deserialize)]
    #[journaled(kind = "loud", messages(Put, Sum), events = "(u8, Vec<u8>)")]
    pub(crate) struct Loud {
        #[serde(serialize_with = "unless_mute")]
        sum: u64,
    }

    impl EventSourced for Loud {
        type Event = (u8, Vec<u8>);
        fn apply(&mut self, (byte, _): &(u8, Vec<u8>)) {
            self.sum += u64::from(*byte);
        }
    }

    impl Actor for Loud {
        type Context = Turn<Self>;
    }

    impl Handler<Put> for Loud {
        type Result = u64;
        fn handle(&mut self, Put(_, byte): Put, turn: &mut Turn<Self>) -> u64 {
            turn.record(self, &(byte, vec![0; 10_000]));
            self.sum
        }
    }

    impl Handler<Sum> for Loud {
        type Result = u64;
        fn handle(&mut self, _: Sum, _: &mut Turn<Self>) -> u64 {
            self.sum
        }
    }
}

#[test]
fn a_checkpoint_that_cannot_be_made_loses_no_event() {
    testing::run(async |mesh: &TestMesh| {
        let (root, store) = (mesh.root().await, MemoryStore::default());
        let open =
            || Journal::builder(&root, "").store(store.clone()).write_here().kind::<loud::Loud>();
        let journal = open().open().await?;
        let loud = journal.actor::<loud::Loud>("l")?;
        for (byte, is_mute, sum) in
            [(1, false, 1), (2, true, 3), (4, true, 7), (8, false, 15), (16, true, 31)]
        {
            loud::mute(is_mute);
            assert_eq!(journal.client().send(&loud, Put(0, byte)).await?, sum);
        }
        journal.close().await;
        loud::mute(false);
        let journal = open().open().await?;
        assert_eq!(journal.client().send(&loud, Sum).await?, 31);
        Ok(())
    });
}

mod fickle {
    use super::*;

    thread_local! {
        static CALLS: Cell<u8> = const { Cell::new(0) };
    }

    #[derive(Default, JournaledActor, Serialize, Deserialize)]
    #[journaled(kind = "fickle", messages(Put))]
    pub(crate) struct Fickle {
        count: u8,
    }

    impl Actor for Fickle {
        type Context = Turn<Self>;
    }

    impl Handler<Put> for Fickle {
        type Result = u64;
        fn handle(&mut self, _: Put, _: &mut Turn<Self>) -> u64 {
            // Neither of the state nor of the message.
            self.count = CALLS.replace(CALLS.get() + 1);
            0
        }
    }
}

#[test]
fn j10_a_handler_that_is_not_deterministic_is_caught_when_turns_run_twice() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let journal =
            Journal::in_memory(&root).kind::<fickle::Fickle>().run_twice(true).open().await?;
        let fickle = journal.actor::<fickle::Fickle>("f")?;
        let caught = journal.client().send(&fickle, Put(0, 0)).await.unwrap_err();
        assert!(
            caught
                .to_string()
                .contains("not deterministic: of two runs of one turn, the states differ"),
            "{caught}"
        );
        Ok(())
    });
}
