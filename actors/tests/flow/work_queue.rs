//! A queue of work: workers near and far, their credit, their death, and what finds no room.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use actogen::{
    StopReason,
    flow::{Dismiss, Enlist, ReportWork, Submit, WorkError, WorkQueue, WorkReport},
    prelude::*,
    testing::{self, TestMesh},
};
use tokio::sync::Notify;

#[derive(Clone, Debug, PartialEq, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "work.Page", reply = "String")]
struct Page(u32, Vec<u8>);

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "work.Other")]
struct Other(u32);

/// What workers of one test have in common.
#[derive(Clone, Default)]
struct Shop {
    begun: Rc<RefCell<Vec<u32>>>,
    /// Under way now, and the most that were.
    busy: Rc<Cell<(u32, u32)>>,
    /// Nobody gets on before this.
    go: Rc<Notify>,
    waits: bool,
}

impl Shop {
    fn waiting() -> Self {
        Self { waits: true, ..Self::default() }
    }
}

/// Panics at page 13.
#[derive(RemoteActor)]
#[remote(name = "work.printer", messages(Page))]
struct Printer(Shop);

impl Actor for Printer {
    type Context = actix::Context<Self>;
}

impl Handler<Page> for Printer {
    type Result = ResponseFuture<String>;

    fn handle(&mut self, Page(number, _): Page, _: &mut Self::Context) -> Self::Result {
        assert_ne!(number, 13, "no thirteenth page");
        let shop = self.0.clone();
        shop.begun.borrow_mut().push(number);
        let (busy, most) = shop.busy.get();
        shop.busy.set((busy + 1, most.max(busy + 1)));
        Box::pin(async move {
            if shop.waits {
                shop.go.notified().await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            let (busy, most) = shop.busy.get();
            shop.busy.set((busy - 1, most));
            format!("page {number}")
        })
    }
}

fn page(number: u32) -> Submit<Page> {
    Submit(Page(number, vec![0; 90]))
}

fn enlist(worker: &Remote<Printer>, credit: u32) -> Enlist<Page> {
    Enlist { worker: worker.recipient(), credit }
}

/// The report of a queue, once it is so.
async fn until(
    mesh: &TestMesh,
    queue: &Remote<WorkQueue<Page>>,
    what: &str,
    is_so: impl Fn(&WorkReport) -> bool,
) -> WorkReport {
    let mut report = queue.send(ReportWork).await.expect("the queue lives");
    for _ in 0..120_000 {
        if is_so(&report) {
            return report;
        }
        mesh.pass(Duration::from_millis(1)).await;
        report = queue.send(ReportWork).await.expect("the queue lives");
    }
    panic!("{what} does not come: {report:?}");
}

#[test]
fn workers_near_and_far_share_the_jobs_within_their_credit() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let queue = root.start(WorkQueue::<Page>::new(&root));
        let (near, far) = (Shop::default(), Shop::default());
        queue.send(enlist(&root.start(Printer(near.clone())), 2)).await??;
        let from_child = queue.clone().attach(&child);
        from_child.send(enlist(&child.start(Printer(far.clone())), 3)).await??;
        for n in 100..200 {
            from_child.send(page(n)).await??;
        }
        let report = until(mesh, &queue, "the end", |report| report.done == 100).await;
        assert_eq!((report.waiting, report.under_way, report.bytes), (0, 0, 0));
        assert_eq!((report.workers, report.redone, report.given_up, report.refused), (2, 0, 0, 0));
        assert_eq!((near.busy.get(), far.busy.get()), ((0, 2), (0, 3)));
        let begun = [near.begun.take(), far.begun.take()];
        assert!(begun.iter().all(|begun| begun.len() > 20 && begun.is_sorted()), "{begun:?}");
        assert_eq!(begun.into_iter().flatten().collect::<BTreeSet<_>>().len(), 100);
        Ok(())
    });
}

#[test]
fn the_jobs_of_a_worker_that_dies_go_to_another() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (crashed, stopped) = (mesh.child(&root).await, mesh.child(&root).await);
        let queue = root.start(WorkQueue::<Page>::new(&root));
        let shops = [Shop::waiting(), Shop::waiting(), Shop::default()];
        let doomed =
            [crashed.start(Printer(shops[0].clone())), stopped.start(Printer(shops[1].clone()))];
        for worker in &doomed {
            queue.send(enlist(worker, 3)).await??;
        }
        for n in 100..110 {
            queue.send(page(n)).await??;
        }
        while shops[0].begun.borrow().len() + shops[1].begun.borrow().len() < 6 {
            mesh.pass(Duration::from_millis(1)).await;
        }
        mesh.crash(&crashed).await;
        stopped.stop(&doomed[1], StopReason::Killed);
        let report = until(mesh, &queue, "their loss", |report| report.workers == 0).await;
        assert_eq!((report.waiting, report.under_way, report.redone), (10, 0, 6));
        queue.send(enlist(&root.start(Printer(shops[2].clone())), 1)).await??;
        let report = until(mesh, &queue, "the end", |report| report.done == 10).await;
        assert_eq!((report.given_up, report.bytes), (0, 0));
        let again: Vec<u32> = (100..110).collect();
        assert_eq!(*shops[2].begun.borrow(), again, "each has its old place");
        Ok(())
    });
}

#[test]
fn a_worker_that_is_cut_off_is_lost_with_what_it_has_and_may_come_back() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let parents = [root.endpoint().expect("a test mesh has endpoints")];
        let child = mesh.child_with(&root, |child| child.other_parents(parents)).await;
        let queue = root.start(WorkQueue::<Page>::new(&root));
        let shop = Shop::waiting();
        let worker = child.start(Printer(shop.clone()));
        queue.send(enlist(&worker, 1)).await??;
        queue.send(page(100)).await??;
        while shop.begun.borrow().is_empty() {
            mesh.pass(Duration::from_millis(1)).await;
        }
        mesh.partition(&[&root], &[&child]);
        let report = until(mesh, &queue, "its loss", |report| report.workers == 0).await;
        assert_eq!((report.waiting, report.redone), (1, 1));
        mesh.heal();
        let from_child = queue.clone().attach(&child);
        while from_child.send(ReportWork).await.is_err() {
            mesh.pass(Duration::from_millis(100)).await;
        }
        from_child.send(enlist(&worker, 1)).await??;
        while shop.begun.borrow().len() < 2 {
            mesh.pass(Duration::from_millis(1)).await;
        }
        shop.go.notify_waiters();
        until(mesh, &queue, "the end", |report| report.done == 1).await;
        assert_eq!(*shop.begun.borrow(), [100, 100], "at least once");
        Ok(())
    });
}

#[test]
fn what_finds_no_room_is_refused() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let queue = root.start(WorkQueue::<Page>::new(&root).most_jobs(3).most_bytes(250));
        let from_child = queue.clone().attach(&child);
        for n in 0..2 {
            from_child.send(page(n)).await??;
        }
        let refused = from_child.send(page(2)).await?.expect_err("that is too many bytes");
        assert!(matches!(refused, WorkError::Full { jobs: 2, bytes: 180.. }), "{refused}");
        let refused = from_child.send(Submit(Page(3, vec![0; 300]))).await?;
        assert!(matches!(refused, Err(WorkError::TooLarge { most: 250, .. })), "{refused:?}");
        from_child.send(Submit(Page(4, Vec::new()))).await??;
        let refused = from_child.send(Submit(Page(5, Vec::new()))).await?;
        assert!(matches!(refused, Err(WorkError::Full { jobs: 3, .. })), "{refused:?}");
        queue.send(enlist(&child.start(Printer(Shop::default())), 1)).await??;
        let report = until(mesh, &queue, "the end", |report| report.done == 3).await;
        assert_eq!((report.refused, report.bytes), (3, 0));
        from_child.send(page(6)).await??;
        Ok(())
    });
}

#[test]
fn a_job_that_kills_its_workers_is_given_up() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let given_up = Rc::new(RefCell::new(Vec::new()));
        let to = given_up.clone();
        let queue = WorkQueue::<Page>::new(&root).tries(2).on_given_up(move |page: Page, why| {
            to.borrow_mut().push((page.0, why.to_owned()));
        });
        let queue = root.start(queue);
        queue.send(page(13)).await??;
        queue.send(page(14)).await??;
        let mut begun = Vec::new();
        for context in [&root, &child, &child] {
            let shop = Shop::default();
            let worker = context.start(Printer(shop.clone()));
            queue.send(enlist(&worker, 1)).await??;
            if given_up.borrow().is_empty() {
                until(mesh, &queue, "a loss", |report| report.workers == 0).await;
            }
            begun.push(shop.begun);
        }
        let report = until(mesh, &queue, "the end", |report| report.done == 1).await;
        assert_eq!((report.given_up, report.redone, report.workers), (1, 1, 1));
        let (number, why) = given_up.borrow()[0].clone();
        assert!(number == 13 && why.contains("no thirteenth page"), "{why}");
        assert_eq!(begun.iter().map(|begun| begun.borrow().len()).sum::<usize>(), 1);
        Ok(())
    });
}

#[test]
fn who_is_dismissed_ends_what_it_has_and_who_hangs_is_not_waited_for() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let queue = WorkQueue::<Page>::new(&root).job_time(Duration::from_secs(2));
        let queue = root.start(queue);
        let (hangs, works) = (Shop::waiting(), Shop::default());
        let hanging = root.start(Printer(hangs.clone()));
        queue.send(enlist(&hanging, 1)).await??;
        queue.send(page(100)).await??;
        queue.send(Dismiss { worker: hanging.recipient::<Page>() }).await?;
        queue.send(page(101)).await??;
        let report = queue.send(ReportWork).await?;
        assert_eq!((report.workers, report.under_way, report.waiting), (1, 1, 1));
        queue.send(enlist(&root.start(Printer(works.clone())), 1)).await??;
        let report = until(mesh, &queue, "the end", |report| report.done == 2).await;
        assert_eq!((report.workers, report.redone), (1, 1));
        assert_eq!((hangs.begun.take(), works.begun.take()), (vec![100], vec![101, 100]));
        Ok(())
    });
}

#[test]
fn a_queue_that_ends_gives_up_what_it_holds_and_knows_no_other_jobs() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let given_up = Rc::new(Cell::new(0));
        let to = given_up.clone();
        let queue = WorkQueue::<Page>::new(&root).on_given_up(move |_, _| to.set(to.get() + 1));
        let queue = root.start(queue);
        root.register("queue", &queue)?;
        let other = child.lookup_in::<WorkQueue<Other>>(root.place(), "queue").await?;
        let error = other.send(Submit(Other(1))).await.expect_err("it takes pages");
        assert_eq!(error.reason(), Some(actogen::DeadReason::UnknownMessage), "{error}");
        queue.send(page(1)).await??;
        let down = child.watch(&queue);
        root.stop(&queue, StopReason::Normal);
        assert_eq!(down.await.stopped(), Some(&StopReason::Normal));
        assert_eq!(given_up.get(), 1);
        Ok(())
    });
}

#[test]
fn nobody_enlists_or_dismisses_the_actors_of_others() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let (child, other) = (mesh.child(&root).await, mesh.child(&root).await);
        let queue = root.start(WorkQueue::<Page>::new(&root));
        let (from_child, from_other) = (queue.clone().attach(&child), queue.clone().attach(&other));
        let shop = Shop::default();
        let worker = child.start(Printer(shop.clone()));
        let refused = from_other.send(enlist(&worker, 1)).await?;
        assert_eq!(refused, Err(WorkError::NotThere(child.id())));
        let refused = from_other.send(enlist(&root.start(Printer(Shop::default())), 1)).await?;
        assert_eq!(refused, Err(WorkError::NotThere(root.id())));
        assert_eq!(queue.send(ReportWork).await?.workers, 0);
        from_child.send(enlist(&worker, 1)).await??;
        from_other.send(Dismiss { worker: worker.recipient::<Page>() }).await?;
        from_other.send(page(1)).await??;
        let report = until(mesh, &queue, "the end", |report| report.done == 1).await;
        assert_eq!((report.workers, shop.begun.take()), (1, vec![1]));
        from_child.send(Dismiss { worker: worker.recipient::<Page>() }).await?;
        assert_eq!(queue.send(ReportWork).await?.workers, 0);
        Ok(())
    });
}

#[test]
fn one_context_enlists_only_so_many_workers() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let queue = root.start(WorkQueue::<Page>::new(&root));
        let from_child = queue.clone().attach(&child);
        let start = || child.start(Printer(Shop::default()));
        let first = start();
        from_child.send(enlist(&first, 1)).await??;
        for _ in 1..256 {
            from_child.send(enlist(&start(), 1)).await??;
        }
        let refused = from_child.send(enlist(&start(), 1)).await?;
        assert_eq!(refused, Err(WorkError::TooManyWorkers(256)));
        from_child.send(enlist(&first, 2)).await??;
        queue.send(enlist(&start(), 1)).await??;
        Ok(())
    });
}

/// Knows no pages.
#[derive(RemoteActor)]
#[remote(name = "work.idler", messages(Other))]
struct Idler;

impl Actor for Idler {
    type Context = actix::Context<Self>;
}

impl Handler<Other> for Idler {
    type Result = ();

    fn handle(&mut self, _: Other, _: &mut Self::Context) {}
}

#[test]
fn a_worker_that_takes_no_such_jobs_costs_them_nothing_and_is_asked_more_rarely() {
    testing::run(async |mesh: &TestMesh| {
        let root = mesh.root().await;
        let child = mesh.child(&root).await;
        let queue = root.start(WorkQueue::<Page>::new(&root).tries(1));
        let address = postcard::to_stdvec(&child.start(Idler))?;
        let idler = postcard::from_bytes::<RemoteRecipient<Page>>(&address)?.attach(&root);
        queue.send(Enlist { worker: idler, credit: 4 }).await??;
        for n in 0..4 {
            queue.send(page(n)).await??;
        }
        mesh.pass(Duration::from_secs(60)).await;
        let report = queue.send(ReportWork).await?;
        assert_eq!((report.given_up, report.waiting + report.under_way), (0, 4));
        assert!((4..=60).contains(&report.redone), "{report:?}");
        let shop = Shop::default();
        queue.send(enlist(&root.start(Printer(shop.clone())), 1)).await??;
        until(mesh, &queue, "the end", |report| report.done == 4).await;
        assert_eq!(shop.begun.take().len(), 4);
        Ok(())
    });
}
