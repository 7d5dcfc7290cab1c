//! Supervised trees of real processes that are killed again and again.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::{Duration, Instant},
};

use actogen::{
    Backoff, ChildSpec, ChildState, DeadReason, Limits, Mesh, Strategy, Supervised, Supervision,
    prelude::*,
};
use actogen_tests::until::{soon, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

actogen::test_child!();

/// Asks for the number of the process.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "supervised.Pid", reply = "u32")]
struct AskPid;

/// Asks for a tree of processes, and gives their numbers.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "supervised.Tree", reply = "Vec<u32>")]
struct AskTree;

#[derive(RemoteActor)]
#[remote(name = "supervised.worker", messages(AskPid, AskTree), spawn = custom)]
struct Worker(Context);

impl Spawn for Worker {
    type Args = ();
    fn spawn((): (), cx: &Context) -> Self {
        Self(cx.clone())
    }
}

impl Actor for Worker {
    type Context = actix::Context<Self>;
}

impl Handler<AskPid> for Worker {
    type Result = u32;
    fn handle(&mut self, _: AskPid, _: &mut Self::Context) -> u32 {
        std::process::id()
    }
}

impl Handler<AskTree> for Worker {
    type Result = ResponseFuture<Vec<u32>>;
    fn handle(&mut self, _: AskTree, _: &mut Self::Context) -> Self::Result {
        let tree = self.0.supervise(processes());
        Box::pin(async move { pids(&tree).await })
    }
}

const PROCESSES: [&str; 3] = ["a", "b", "c"];
const WORKERS: [&str; 3] = ["worker of a", "worker of b", "worker of c"];

/// Three processes with a worker in each.
fn processes() -> Supervision {
    let backoff = Backoff::new(
        Duration::from_millis(20),
        Duration::from_millis(200),
        Duration::from_secs(60),
    );
    let supervision = Supervision::new(Strategy::OneForOne)
        .backoff(backoff)
        .restarts(1000, Duration::from_secs(3600));
    PROCESSES.into_iter().zip(WORKERS).fold(supervision, |all, (process, worker)| {
        all.child(ChildSpec::context(process, Launch::local))
            .child(ChildSpec::spawned::<Worker>(worker, ()).in_context(process))
    })
}

async fn pids(tree: &Supervised) -> Vec<u32> {
    let mut pids = Vec::new();
    for worker in WORKERS {
        pids.push(pid(tree, worker).await);
    }
    pids
}

/// The process of a worker, once it is up and answers.
async fn pid(tree: &Supervised, worker: &str) -> u32 {
    loop {
        let worker = soon("a worker", tree.child::<Worker>(worker)).await.unwrap();
        match soon("an answer", worker.send(AskPid)).await {
            Ok(pid) => return pid,
            // It was lost this moment; that is known in a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

fn with_root(test: impl AsyncFnOnce(&Context)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let limits = Limits { detection_time: Duration::from_secs(1), ..Limits::default() };
        let mesh = Mesh::fresh("supervised.test").unwrap();
        let builder = Context::builder().limits(limits).mesh(mesh).listen("127.0.0.1:0");
        let root = builder.start().await.unwrap();
        test(&root).await;
        soon("the root shuts down", root.shutdown()).await;
    });
}

/// A number that differs from run to run, unless `SUPERVISED_SEED` says it.
fn seed() -> u64 {
    let given = std::env::var("SUPERVISED_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) << 8 | 1);
    println!("SUPERVISED_SEED={seed}");
    seed
}

/// Xorshift; only which process is killed when hangs on it.
fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// One worker is asked without end: each request ends, well or with a reason that the sender can act upon.
async fn load(tree: Supervised, worker: &'static str, done: Rc<Cell<bool>>, seen: Rc<Seen>) {
    while !done.get() {
        let worker = soon("a worker", tree.child::<Worker>(worker)).await.unwrap();
        if seen.addresses.borrow_mut().insert(worker.address()) {
            seen.watches.set(seen.watches.get() + 1);
            let (watch, seen) = (tree.context().watch(&worker), seen.clone());
            tokio::task::spawn_local(async move {
                watch.await;
                seen.notices.set(seen.notices.get() + 1);
            });
        }
        let requests: Vec<_> = (0..10).map(|_| worker.send(AskPid)).collect();
        for request in requests {
            match soon("an answer", request).await {
                Ok(_) => seen.answers.set(seen.answers.get() + 1),
                Err(error) => assert!(
                    matches!(
                        error.reason(),
                        Some(
                            DeadReason::RouteLost
                                | DeadReason::NoRoute
                                | DeadReason::Stopped
                                | DeadReason::Shutdown
                        )
                    ),
                    "{error}"
                ),
            }
        }
        tokio::task::yield_now().await;
    }
}

#[derive(Default)]
struct Seen {
    answers: Cell<u64>,
    watches: Cell<u64>,
    notices: Cell<u64>,
    addresses: RefCell<BTreeSet<actogen::Address>>,
}

/// Fifty kills at random of the processes under a supervisor, under load: no request hangs, every watch fires once, and all come back.
/// What a killed process had counted is lost with it, so the books of such a mesh are shown by the simulation.
#[test]
fn a_supervised_tree_goes_on_while_its_processes_are_killed() {
    with_root(async |root| {
        let mut state = seed();
        let tree = root.supervise(processes());
        let (done, seen) = (Rc::new(Cell::new(false)), Rc::new(Seen::default()));
        let tasks: Vec<_> = WORKERS
            .into_iter()
            .map(|worker| {
                tokio::task::spawn_local(load(tree.clone(), worker, done.clone(), seen.clone()))
            })
            .collect();
        for _ in 0..50 {
            let worker = WORKERS[draw(&mut state) as usize % 3];
            let victim = pid(&tree, worker).await;
            let before = seen.answers.get();
            kill_process(Pid::from_raw(victim as i32).unwrap(), Signal::KILL).unwrap();
            until("work goes on", || seen.answers.get() > before + draw(&mut state) % 300).await;
        }
        let back = pids(&tree).await;
        assert_eq!(back.iter().collect::<BTreeSet<_>>().len(), 3);
        done.set(true);
        for task in tasks {
            task.await.unwrap();
        }
        let status = tree.status().await.unwrap();
        assert!(status.iter().all(|child| child.state == ChildState::Up), "{status:?}");
        let of_processes = status.iter().filter(|child| PROCESSES.contains(&child.name.as_str()));
        assert_eq!(of_processes.map(|child| child.restarts).sum::<u64>(), 50, "{status:?}");
        // Those that live are watched still.
        let fired = || seen.notices.get() + 3 == seen.watches.get();
        until("every watch of a lost one has fired", fired).await;
        soon("the end", tree.end()).await;
        until("every watch has fired", || seen.notices.get() == seen.watches.get()).await;
        until("no process is left", || back.iter().all(|&pid| is_gone(pid))).await;
        assert!(seen.answers.get() > 500, "{} answers", seen.answers.get());
    });
}

fn is_gone(pid: u32) -> bool {
    test_kill_process(Pid::from_raw(pid as i32).unwrap()).is_err()
}

/// The process above a tree is killed: all of the tree ends by itself.
#[test]
fn a_tree_ends_with_the_process_above_it() {
    with_root(async |root| {
        let top = root.launch(Launch::local()).await.unwrap();
        let worker = top.spawn::<Worker>(()).await.unwrap();
        let below = soon("the tree", worker.send(AskTree)).await.unwrap();
        assert!(below.iter().all(|&pid| !is_gone(pid)));
        top.kill().await;
        let begin = Instant::now();
        until("all are gone", || below.iter().all(|&pid| is_gone(pid))).await;
        let limit = Duration::from_secs(1) + root.limits().shutdown_time;
        assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    });
}
