//! What every store must do: the same for each of them.

use std::{
    collections::BTreeMap,
    ops::{
        Bound::{self, Excluded, Included, Unbounded},
        RangeBounds,
    },
    time::Duration,
};

use actogen::Context;
use actogen_journal::{
    AskError, Client, JournalBuilder, Refusal,
    store::{Batch, Row, Store, Table},
};

use super::*;

/// The `number`th turn of a test: it writes its number in two places, and what only it writes.
pub(crate) fn turn(number: u64) -> Batch {
    let mut batch = Batch::default();
    batch.put(Table::State, b"one".to_vec(), number.to_be_bytes().to_vec());
    batch.put(Table::Seen, b"two".to_vec(), number.to_be_bytes().to_vec());
    batch.put(Table::Out, number.to_be_bytes().to_vec(), vec![number as u8; 300]);
    batch.remove(Table::Out, number.saturating_sub(3).to_be_bytes().to_vec());
    batch
}

/// The last turn that is in a store, which must be there whole.
pub(crate) fn last_turn(store: &mut dyn Store) -> u64 {
    let number =
        |row: Option<Vec<u8>>| row.map_or(0, |row| u64::from_be_bytes(row.try_into().unwrap()));
    let one = number(store.get(Table::State, b"one").unwrap());
    let two = number(store.get(Table::Seen, b"two").unwrap());
    assert_eq!(one, two, "half a turn is there");
    let out = store.scan(Table::Out, Bound::Unbounded, Bound::Unbounded, 10).unwrap();
    let expected: Vec<u64> = (one.saturating_sub(2).max(1)..=one).collect();
    let found: Vec<u64> =
        out.iter().map(|(key, _)| u64::from_be_bytes(key[..].try_into().unwrap())).collect();
    assert_eq!(found, expected);
    assert!(out.iter().all(|(key, value)| value == &vec![key[7]; 300]));
    one
}

/// Opens the store anew; the one before is gone then.
pub(crate) type Open<'a> = &'a mut dyn FnMut() -> Box<dyn Store>;

/// What a store does with rows, from an empty one on.
pub(crate) fn rows(open: Open<'_>) {
    nothing_is_found_in_an_empty_store(&mut *open());
    the_last_change_of_a_row_stands(open);
    rows_are_as_a_map_has_them(open);
    a_large_batch_is_there_whole(open);
}

fn nothing_is_found_in_an_empty_store(store: &mut dyn Store) {
    for table in Table::ALL {
        assert_eq!(store.get(table, b"").unwrap(), None);
        assert_eq!(store.scan(table, Unbounded, Unbounded, 9).unwrap(), []);
        assert_eq!(store.scan(table, Excluded(b"a"), Included(b"b"), 9).unwrap(), []);
    }
    store.commit(&Batch::default()).unwrap();
    store.confirm().unwrap();
}

fn the_last_change_of_a_row_stands(open: Open<'_>) {
    let mut store = open();
    let mut batch = Batch::default();
    batch.put(Table::Dead, b"stays".to_vec(), vec![1]);
    batch.remove(Table::Dead, b"stays".to_vec());
    batch.put(Table::Dead, b"stays".to_vec(), Vec::new());
    batch.put(Table::Dead, b"goes".to_vec(), vec![1]);
    batch.remove(Table::Dead, b"goes".to_vec());
    batch.remove(Table::Dead, b"was never there".to_vec());
    store.commit(&batch).unwrap();
    drop(store);
    let found = open().scan(Table::Dead, Unbounded, Unbounded, 9).unwrap();
    assert_eq!(found, [(b"stays".to_vec(), Vec::new())]);
    let mut batch = Batch::default();
    batch.remove(Table::Dead, b"stays".to_vec());
    open().commit(&batch).unwrap();
    assert_eq!(open().get(Table::Dead, b"stays").unwrap(), None);
}

/// The next of a row of numbers that depends on nothing but the first (xorshift, 64 bits).
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// Few keys that differ in what bytes may be taken for: zero, the highest, a text's end.
fn key(seed: &mut u64) -> Vec<u8> {
    let length = next(seed) % 4;
    (0..length).map(|_| [0, 1, b'a', b'\'', 0x7f, 0x80, 0xff][next(seed) as usize % 7]).collect()
}

fn rows_are_as_a_map_has_them(open: Open<'_>) {
    let tables = [Table::Meta, Table::Out, Table::Pair, Table::Epoch];
    let mut model: BTreeMap<(Table, Vec<u8>), Vec<u8>> = BTreeMap::new();
    let (mut seed, mut store) = (0x2545_F491_4F6C_DD1D, open());
    for round in 0..60 {
        let mut batch = Batch::default();
        for _ in 0..next(&mut seed) % 20 {
            let table = tables[next(&mut seed) as usize % tables.len()];
            let key = key(&mut seed);
            if next(&mut seed).is_multiple_of(3) {
                model.remove(&(table, key.clone()));
                batch.remove(table, key);
            } else {
                let value = next(&mut seed).to_be_bytes()[..next(&mut seed) as usize % 9].to_vec();
                model.insert((table, key.clone()), value.clone());
                batch.put(table, key, value);
            }
        }
        store.commit(&batch).unwrap();
        store.tidy().unwrap();
        if round % 20 == 19 {
            drop(store);
            store = open();
        }
        for _ in 0..10 {
            let table = tables[next(&mut seed) as usize % tables.len()];
            let (one, two) = (key(&mut seed), key(&mut seed));
            assert_eq!(
                store.get(table, &one).unwrap(),
                model.get(&(table, one.clone())).cloned(),
                "{table:?} {one:?}"
            );
            let bound = |key: &'_ _, seed: &mut u64| -> Bound<Vec<u8>> {
                match next(seed) % 3 {
                    0 => Unbounded,
                    1 => Included(Vec::clone(key)),
                    _ => Excluded(Vec::clone(key)),
                }
            };
            let (from, to) =
                (bound((&one).min(&two), &mut seed), bound((&one).max(&two), &mut seed));
            let range = (from.clone(), to.clone());
            let is_within = |key| RangeBounds::<Vec<u8>>::contains(&range, key);
            let most = 1 + next(&mut seed) as usize % 20;
            let expected: Vec<Row> = model
                .iter()
                .filter(|((of, key), _)| *of == table && is_within(key))
                .map(|((_, key), value)| (key.clone(), value.clone()))
                .take(most)
                .collect();
            let found = store
                .scan(table, from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice), most)
                .unwrap();
            assert_eq!(found, expected, "{table:?} {from:?} {to:?} {most}");
        }
    }
}

fn a_large_batch_is_there_whole(open: Open<'_>) {
    let mut store = open();
    let mut batch = Batch::default();
    for number in 0..3000u64 {
        batch.put(Table::History, number.to_be_bytes().to_vec(), vec![number as u8; 100]);
    }
    batch.put(Table::State, vec![7; 600], vec![8; 3 << 20]);
    store.commit(&batch).unwrap();
    drop(store);
    let mut store = open();
    assert_eq!(store.get(Table::State, &[7; 600]).unwrap(), Some(vec![8; 3 << 20]));
    let (mut last, mut count) = (None::<Vec<u8>>, 0);
    loop {
        let from = last.as_deref().map_or(Unbounded, Excluded);
        let page = store.scan(Table::History, from, Unbounded, 1024).unwrap();
        let Some((key, _)) = page.last() else { break };
        last = Some(key.clone());
        for (key, value) in page {
            assert_eq!((&key[..], &value[..]), (&u64::to_be_bytes(count)[..], &[key[7]; 100][..]));
            count += 1;
        }
    }
    assert_eq!(count, 3000);
    let mut batch = Batch::default();
    for number in 0..3000u64 {
        batch.remove(Table::History, number.to_be_bytes().to_vec());
    }
    store.commit(&batch).unwrap();
    let all = store.scan(Table::History, Unbounded, Unbounded, usize::MAX).unwrap();
    assert_eq!(all, []);
}

/// Settings for a journal of accounts over the same store each time.
pub(crate) type Build<'a> = &'a dyn Fn() -> JournalBuilder;

pub(crate) async fn what_was_answered_is_there(
    _: &Context,
    build: Build<'_>,
) -> actogen::Result<()> {
    for round in 1..=3 {
        let journal = build().open().await?;
        let account = journal.actor::<Account>("a")?;
        let client = journal.client();
        assert_eq!(client.send(&account, Balance).await?, (round - 1) * 5);
        assert_eq!((journal.stats().turns, journal.stats().bytes), (0, 0), "it has only read");
        assert_eq!(client.send(&account, Deposit(5)).await?, round * 5);
        assert_eq!(client.send(&account, Balance).await?, round * 5);
        assert_eq!((journal.stats().turns, journal.stats().reads), (1, 2));
        journal.close().await;
    }
    Ok(())
}

pub(crate) async fn what_comes_again_is_not_run_again(
    root: &Context,
    build: Build<'_>,
) -> actogen::Result<()> {
    let journal = build().open().await?;
    let account = journal.actor::<Account>("a")?;
    let client = journal.client();
    let number = client.next_number();
    assert_eq!(client.send(&account, Deposit(5)).await?, 5);
    // The asker has ended before it kept the answer, and asks under the same number again.
    let again = Client::resumed(root, client.id(), number);
    assert_eq!(again.send(&account, Deposit(5)).await?, 5);
    journal.close().await;
    let journal = build().open().await?;
    let again = Client::resumed(root, client.id(), number);
    assert_eq!(again.send(&account, Deposit(5)).await?, 5);
    assert_eq!(again.send(&account, Deposit(5)).await?, 10, "the next number is another request");
    let late = Client::resumed(root, client.id(), number);
    let settled = late.send(&account, Deposit(5)).await;
    assert_eq!(settled, Err(AskError::Refused(Refusal::Settled)));
    assert_eq!(journal.stats().duplicates, 1);
    Ok(())
}

pub(crate) async fn messages_arrive_once_and_in_order(
    _: &Context,
    build: Build<'_>,
) -> actogen::Result<()> {
    let journal = build().open().await?;
    let (a, b) = (journal.actor::<Account>("a")?, journal.actor::<Account>("b")?);
    let client = journal.client();
    client.send(&a, Deposit(1000)).await?;
    for amount in 1..=20 {
        assert!(client.send(&a, Transfer { to: b.clone(), amount }).await?);
    }
    let all: Vec<u64> = (1..=20).collect();
    until("all credits", all, async || client.send(&b, Credits).await.unwrap()).await;
    assert_eq!(client.send(&a, Balance).await?, 1000 - 210);
    until("nothing on its way", 0, async || journal.stats().outbox_bytes).await;
    Ok(())
}

pub(crate) async fn a_timer_fires_once(_: &Context, build: Build<'_>) -> actogen::Result<()> {
    let journal = build().open().await?;
    let account = journal.actor::<Account>("a")?;
    let client = journal.client();
    client.send(&account, Later(Duration::from_millis(30), 1)).await?;
    let cancelled = client.send(&account, Later(Duration::from_millis(30), 2)).await?;
    client.send(&account, Cancel(cancelled)).await?;
    client.send(&account, Later(Duration::from_secs(3600), 3)).await?;
    until("the first", vec![1], async || client.send(&account, Credits).await.unwrap()).await;
    client.send(&account, Later(Duration::from_millis(1), 4)).await?;
    journal.close().await;
    let journal = build().open().await?;
    let client = journal.client();
    until("the fourth", vec![1, 4], async || client.send(&account, Credits).await.unwrap()).await;
    Ok(())
}
