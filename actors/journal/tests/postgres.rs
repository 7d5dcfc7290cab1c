//! Journals in a PostgreSQL database: connections that break, servers that are killed, and nodes that fight for one journal.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

mod support;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use actogen::{
    prelude::*,
    testing::{self, TestMesh},
};
use actogen_journal::{
    Client, Journal, JournalEvent, NodeName, ShardMap, Shards,
    store::{PostgresSettings, PostgresStore, Store, StoreError, Table},
};
use parking_lot::Mutex;

use support::{
    conformance::{self, last_turn, turn},
    postgres::{
        proxy::{Proxy, Verdict},
        server::{PASSWORD, Server},
    },
    *,
};

/// As short as a busy machine allows: a holder that lives must not lose it.
const LEASE: Duration = Duration::from_secs(2);

fn settings(url: String) -> PostgresSettings {
    PostgresSettings::new(url, "bank").lease(LEASE).patience(Duration::from_secs(60))
}

fn open(url: String) -> PostgresStore {
    PostgresStore::open(settings(url)).unwrap()
}

/// Waits until a condition holds.
fn wait(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// From now on the server writes down the number of each turn whose rows it writes.
fn note_turns(server: &Server) {
    server.rows(
        "CREATE TABLE done (turn bigint);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO done VALUES (('x' || encode(NEW.value, 'hex'))::bit(64)::bigint);
            RETURN NEW;
        END $$;
        CREATE TRIGGER note AFTER INSERT OR UPDATE ON actogen.rows FOR EACH ROW
            WHEN (NEW.key = 'one'::bytea) EXECUTE FUNCTION note()",
    );
}

/// Each turn from the first to this one has been done, and none twice.
fn all_done(server: &Server, turns: u64) {
    let numbers =
        "SELECT concat_ws(' ', count(*), count(DISTINCT turn), min(turn), max(turn)) FROM done";
    assert_eq!(server.rows(numbers), [format!("{turns} {turns} 1 {turns}")]);
}

#[test]
fn rows_and_journals_in_a_database() {
    let Some(server) = Server::start("rows_and_journals_in_a_database") else { return };
    conformance::rows(&mut || Box::new(open(server.direct())));
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        // Beside each other in one schema.
        let of = |journal: &str| {
            let settings = PostgresSettings::new(server.socket(), journal).schema("banks");
            let root = root.clone();
            move || {
                Journal::postgres(&root, settings.clone())
                    .write_here()
                    .node("one")
                    .kind::<Account>()
            }
        };
        conformance::what_was_answered_is_there(&root, &of("a")).await?;
        conformance::what_comes_again_is_not_run_again(&root, &of("b")).await?;
        conformance::messages_arrive_once_and_in_order(&root, &of("c")).await?;
        conformance::a_timer_fires_once(&root, &of("d")).await
    });
    assert_eq!(server.rows("SELECT count(*) FROM banks.lease WHERE expires <= now()"), ["4"]);
}

#[test]
fn what_cannot_be_opened_says_why_and_never_the_password() {
    let Some(server) = Server::start("what_cannot_be_opened") else { return };
    // Two at once make the tables, and both find them.
    thread::scope(|scope| {
        for journal in ["one", "two"] {
            let settings = PostgresSettings::new(server.direct(), journal);
            scope.spawn(|| drop(PostgresStore::open(settings).unwrap()));
        }
    });
    let refused_with = |settings: PostgresSettings| {
        let error = PostgresStore::open(settings).unwrap_err();
        assert!(!error.to_string().contains(PASSWORD), "{error}");
        error
    };
    let refused = |url: String| refused_with(settings(url));
    let wrong = refused(server.direct().replace(PASSWORD, "correct-horse-not"));
    assert!(wrong.to_string().contains("password authentication failed"), "{wrong}");
    let encrypted = refused(server.direct() + "?sslmode=require");
    assert!(encrypted.to_string().contains("TLS"), "{encrypted}");
    let closed = Proxy::to(1);
    let hasty = settings(server.url(closed.port())).lease(Duration::ZERO);
    let nobody = refused_with(hasty.patience(Duration::ZERO));
    assert!(nobody.to_string().contains("has not answered for 1s"), "{nobody}");
    server.rows("UPDATE actogen.format SET version = 7");
    let newer = refused(server.direct());
    assert!(matches!(newer, StoreError::Newer { found: 7, known: 1, .. }), "{newer}");
    let store = format!("{:?}", settings(server.direct()));
    assert!(!store.contains(PASSWORD), "{store}");
}

#[test]
fn a_host_that_is_silent_hides_no_other() {
    let Some(server) = Server::start("a_host_that_is_silent") else { return };
    let proxies = [Proxy::to(server.port()), Proxy::to(server.port())];
    let [first, second] = proxies.each_ref().map(|proxy| format!("127.0.0.1:{}", proxy.port()));
    let url = server.url(1).replace("127.0.0.1:1", &format!("{first},{second}"));
    proxies[0].freeze(true);
    let mut store = PostgresStore::open(settings(url).patience(LEASE)).unwrap();
    store.commit(&turn(1)).unwrap();
    // Another one has taken its place.
    proxies[0].freeze(false);
    proxies[1].freeze(true);
    store.commit(&turn(2)).unwrap();
    assert_eq!(last_turn(&mut store), 2);
}

#[test]
fn a_commit_whose_connection_breaks_is_done_once_and_said_to_be_done() {
    let Some(server) = Server::start("a_commit_whose_connection_breaks") else { return };
    let proxy = Proxy::to(server.port());
    let mut store = open(server.url(proxy.port()));
    note_turns(&server);
    let verdicts = [Verdict::CutBefore, Verdict::CutAfter, Verdict::Pass];
    let mut count = 0;
    proxy.judge(move || {
        count += 1;
        verdicts[count % verdicts.len()]
    });
    for number in 1..=12 {
        store.commit(&turn(number)).unwrap();
        assert_eq!(last_turn(&mut store), number);
        all_done(&server, number);
    }
}

/// Its connection ends while it waits for a standby that is not there: then others see it, and it is not safe.
#[test]
fn a_commit_that_its_standby_does_not_have_is_not_said_to_be_done() {
    let Some(server) = Server::start("a_commit_that_its_standby_does_not_have") else { return };
    let mut store = open(server.direct());
    note_turns(&server);
    server.rows("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    server.rows("SELECT pg_reload_conf()");
    server.until("SHOW synchronous_standby_names", "nobody");
    let waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    thread::scope(|scope| {
        let commit = scope.spawn(|| store.commit(&turn(1)));
        for _ in 0..3 {
            wait("it waits for the standby", || {
                assert!(!commit.is_finished(), "nobody else has it");
                let ended = format!("SELECT (pg_terminate_backend(pid))::text {waiting}");
                !server.rows(&ended).is_empty()
            });
        }
        assert_eq!(server.rows("SELECT batch::text FROM actogen.lease"), ["1"], "others see it");
        server.rows("ALTER SYSTEM RESET synchronous_standby_names");
        server.rows("SELECT pg_reload_conf()");
        commit.join().unwrap().unwrap();
    });
    assert_eq!(last_turn(&mut store), 1);
    all_done(&server, 1);
}

/// The server may do what it was asked over the old connection after it is asked again over the new one.
#[test]
fn a_commit_that_comes_late_is_not_done_again() {
    let Some(server) = Server::start("a_commit_that_comes_late") else { return };
    let proxy = Proxy::to(server.port());
    // The server gives up on the old connection after a lease's time: longer than this takes.
    let patient = settings(server.url(proxy.port())).lease(Duration::from_secs(20));
    let mut store = PostgresStore::open(patient).unwrap();
    note_turns(&server);
    let hold = || {
        let mut verdict = Some(Verdict::Hold);
        proxy.judge(move || verdict.take().unwrap_or(Verdict::Pass));
    };
    hold();
    thread::scope(|scope| {
        let commit = scope.spawn(|| store.commit(&turn(1)));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        server.until(waiting, "1");
        proxy.release();
        commit.join().unwrap().unwrap();
    });
    assert_eq!(last_turn(&mut store), 1);
    all_done(&server, 1);
    drop(store);
    // One that never comes is given up by the server.
    let proxy = Proxy::to(server.port());
    let mut store = open(server.url(proxy.port()));
    let mut verdict = Some(Verdict::Hold);
    proxy.judge(move || verdict.take().unwrap_or(Verdict::Pass));
    store.commit(&turn(2)).unwrap();
    assert_eq!(last_turn(&mut store), 2);
    all_done(&server, 2);
}

#[test]
fn a_server_that_is_killed_in_commits_loses_nothing_and_does_nothing_twice() {
    let Some(server) = Server::start("a_server_that_is_killed_in_commits") else { return };
    let server = Arc::new(server);
    let proxy = Proxy::to(server.port());
    let mut store = open(server.url(proxy.port()));
    note_turns(&server);
    let (killing, mut count) = (Arc::new(Mutex::new(None::<thread::JoinHandle<()>>)), 0);
    let (killed, killer) = (killing.clone(), server.clone());
    proxy.judge(move || {
        count += 1;
        if count % 4 != 0 {
            return Verdict::Pass;
        }
        let mut killing = killing.lock();
        if let Some(restarted) = killing.take() {
            restarted.join().unwrap();
        }
        let is_before = count % 12 == 4;
        if is_before {
            killer.kill();
        }
        let server = killer.clone();
        *killing = Some(thread::spawn(move || {
            if !is_before {
                // While the commit is under way, or just behind it.
                server.kill();
            }
            server.restart();
        }));
        if count % 12 == 0 { Verdict::CutAfter } else { Verdict::Pass }
    });
    for number in 1..=24 {
        store.commit(&turn(number)).unwrap();
    }
    if let Some(restarted) = killed.lock().take() {
        restarted.join().unwrap();
    }
    assert_eq!(last_turn(&mut store), 24);
    drop(store);
    assert_eq!(last_turn(&mut open(server.direct())), 24);
    all_done(&server, 24);
}

#[test]
fn a_server_that_has_lost_commits_is_not_written_to() {
    let Some(server) = Server::start("a_server_that_has_lost_commits") else { return };
    for lose in ["batch = batch - 1", "epoch = epoch - 1"] {
        let mut store = open(server.direct());
        store.commit(&turn(1)).unwrap();
        server.rows(&format!("UPDATE actogen.lease SET {lose}"));
        let lost = store.commit(&turn(2)).unwrap_err();
        assert!(matches!(lost, StoreError::Damaged { .. }), "{lost}");
        assert_eq!(store.get(Table::State, b"one").unwrap_err(), lost, "nothing more is asked");
        drop(store);
        assert_eq!(last_turn(&mut open(server.direct())), 1);
    }
}

#[test]
fn j15_a_second_writer_is_refused_or_takes_over_and_the_first_is_fenced() {
    let Some(server) = Server::start("j15_a_second_writer") else { return };
    let proxy = Proxy::to(server.port());
    let mut first = open(server.url(proxy.port()));
    first.commit(&turn(1)).unwrap();
    let refused = PostgresStore::open(settings(server.direct())).unwrap_err();
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    assert_eq!(last_turn(&mut first), 1);
    let lease = first.lease().unwrap();
    wait("it is held", || lease.is_held());
    // Its process stands still, in the middle of a commit.
    proxy.freeze(true);
    thread::scope(|scope| {
        let late = scope.spawn(|| first.commit(&turn(99)));
        let mut second = open(server.direct());
        assert!(!lease.is_held(), "two have it");
        second.commit(&turn(2)).unwrap();
        proxy.freeze(false);
        assert_eq!(late.join().unwrap(), Err(StoreError::Fenced));
        assert_eq!(last_turn(&mut second), 2);
        drop(second);
    });
    assert_eq!(first.get(Table::State, b"one"), Err(StoreError::Fenced));
    assert_eq!(first.confirm(), Err(StoreError::Fenced));
    drop(first);
    // Whoever gives it back keeps nobody waiting.
    let long = settings(server.direct()).lease(Duration::from_secs(3600));
    for number in 3..=5 {
        let mut store = PostgresStore::open(long.clone()).unwrap();
        store.commit(&turn(number)).unwrap();
    }
}

/// A store that is only read finds out as well, and a lease goes on by itself.
#[test]
fn a_lease_goes_on_while_nothing_is_asked() {
    let Some(server) = Server::start("a_lease_goes_on") else { return };
    let mut store = open(server.direct());
    let lease = store.lease().unwrap();
    let expires = || server.rows("SELECT extract(epoch FROM expires)::text FROM actogen.lease");
    for _ in 0..4 {
        let before = expires();
        wait("the lease is renewed", || expires() != before && lease.is_held());
    }
    store.commit(&turn(1)).unwrap();
    server.rows("UPDATE actogen.lease SET epoch = epoch + 1");
    assert_eq!(store.get(Table::State, b"one"), Err(StoreError::Fenced));
    let idle = open_other(&server);
    let lease = idle.lease().unwrap();
    server.rows("UPDATE actogen.lease SET epoch = epoch + 1 WHERE journal = 'other'");
    // For good, and not because its time is over.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let lost = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(60), lease.lost()).await });
    assert_eq!(lost, Ok(StoreError::Fenced));
}

#[test]
fn closing_does_not_wait_for_a_server_that_is_away() {
    let Some(server) = Server::start("closing_does_not_wait") else { return };
    let proxy = Proxy::to(server.port());
    let patient = settings(server.url(proxy.port())).patience(Duration::from_secs(3600));
    let store = PostgresStore::open(patient).unwrap();
    let lease = store.lease().unwrap();
    proxy.freeze(true);
    wait("the lease runs out", || !lease.is_held());
    let begun = Instant::now();
    drop(store);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    // Nor does whoever comes next, for longer than the lease.
    open(server.direct());
}

fn open_other(server: &Server) -> PostgresStore {
    let settings = PostgresSettings::new(server.direct(), "other").lease(LEASE);
    PostgresStore::open(settings).unwrap()
}

#[actogen::test]
async fn requests_are_answered_once_though_the_server_is_killed(
    cx: Context,
) -> actogen::Result<()> {
    let Some(server) = Server::start("requests_are_answered_once") else { return Ok(()) };
    let server = Arc::new(server);
    let build = || Journal::postgres(&cx, settings(server.direct())).kind::<Account>();
    let journal = build().open().await?;
    let account = journal.actor::<Account>("a")?;
    let client = journal.client().within(Duration::from_secs(60));
    let mut killing = None::<thread::JoinHandle<()>>;
    for balance in 1..=60 {
        if balance % 20 == 7 {
            if let Some(restarted) = killing.take() {
                restarted.join().unwrap();
            }
            let server = server.clone();
            killing = Some(thread::spawn(move || {
                server.kill();
                server.restart();
            }));
        }
        assert_eq!(client.send(&account, Deposit(1)).await?, balance);
    }
    killing.take().unwrap().join().unwrap();
    journal.close().await;
    let journal = build().open().await?;
    assert_eq!(journal.client().send(&account, Balance).await?, 60);
    journal.close().await;
    Ok(())
}

#[actogen::test]
async fn j15_a_node_whose_journal_is_taken_over_stops_before_it_answers(
    cx: Context,
) -> actogen::Result<()> {
    let Some(server) = Server::start("j15_a_node_whose_journal_is_taken_over") else {
        return Ok(());
    };
    let proxy = Proxy::to(server.port());
    let build = |url: String| Journal::postgres(&cx, settings(url)).kind::<Account>();
    let old = build(server.url(proxy.port())).open().await?;
    let (a, b) = (old.actor::<Account>("a")?, old.actor::<Account>("b")?);
    let (client, mut events) = (old.client().within(Duration::from_secs(60)), old.events());
    assert_eq!(client.send(&a, Deposit(5)).await?, 5);
    assert_eq!(client.send(&b, Balance).await?, 0);
    proxy.freeze(true);
    let new = build(server.direct()).open().await?;
    assert_eq!(new.client().send(&a, Deposit(7)).await?, 12);
    // The old one knows the balance by heart, and has a turn that it cannot commit.
    let reads = old.stats().reads;
    let (reader, writer) = (client.clone(), client.clone());
    let (account, other) = (a.clone(), b.clone());
    let read = tokio::task::spawn_local(async move { reader.send(&account, Balance).await });
    let write = tokio::task::spawn_local(async move { writer.send(&other, Deposit(1)).await });
    until("both have run", (reads + 1, 2), async || (old.stats().reads, old.stats().turns)).await;
    proxy.freeze(false);
    let event = events.recv().await?;
    assert_eq!(event, JournalEvent::Failed { error: StoreError::Fenced });
    // The successor gets the name, and those that were asked of the old one ask it.
    assert_eq!(read.await??, 12, "not 5, which the old one has in memory");
    assert_eq!(write.await??, 1);
    assert_eq!(new.client().send(&b, Balance).await?, 1, "once");
    old.close().await;
    new.close().await;
    Ok(())
}

#[actogen::test]
async fn j15_a_node_that_has_nothing_to_do_finds_out_that_it_was_taken_over(
    cx: Context,
) -> actogen::Result<()> {
    let Some(server) = Server::start("j15_a_node_that_has_nothing_to_do") else { return Ok(()) };
    let journal = Journal::postgres(&cx, settings(server.direct())).open().await?;
    let mut events = journal.events();
    server.rows("UPDATE actogen.lease SET epoch = epoch + 1");
    assert_eq!(events.recv().await?, JournalEvent::Failed { error: StoreError::Fenced });
    journal.close().await;
    Ok(())
}

#[actogen::test]
async fn shards_of_a_process_that_is_gone_are_taken_over_when_their_leases_have_run_out(
    cx: Context,
) -> actogen::Result<()> {
    let Some(server) = Server::start("shards_of_a_process_that_is_gone") else { return Ok(()) };
    let proxy = Proxy::to(server.port());
    let map = ShardMap::new("bank", 4)?;
    let part = async |url: String| {
        let context = cx.clone();
        let open = move |node: &NodeName| {
            let settings = PostgresSettings::new(url.clone(), node.as_str());
            let settings = settings.lease(LEASE).patience(Duration::from_secs(60));
            Journal::postgres(&context, settings).kind::<Account>()
        };
        Shards::open(&cx, &map, open).await
    };
    let first = part(server.url(proxy.port())).await?;
    until("all shards", vec![0, 1, 2, 3], async || first.held()).await;
    let client = Client::new(&cx).within(Duration::from_secs(60));
    for key in 0..8 {
        let account = map.actor::<Account>(&key.to_string())?;
        assert_eq!(client.send(&account, Deposit(key)).await?, key);
    }
    // It is cut off and ends without a word: its leases stand.
    proxy.freeze(true);
    drop(first);
    let second = part(server.direct()).await?;
    for key in 0..8 {
        let account = map.actor::<Account>(&key.to_string())?;
        assert_eq!(client.send(&account, Deposit(1)).await?, key + 1);
    }
    assert_eq!(second.held(), [0, 1, 2, 3]);
    second.close().await;
    Ok(())
}
