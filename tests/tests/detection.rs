//! How soon whoever must know learns that a process is dead, or silent. Processes of one machine have one monotonic clock, by which those
//! who learn say when.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{cell::RefCell, path::PathBuf, rc::Rc, time::Duration};

use actogen::{Child, Limits, Mesh, prelude::*};
use actogen_tests::until::{soon, until};
use rustix::{
    process::{Pid, Signal, kill_process},
    time::{ClockId, clock_gettime},
};

actogen::test_child!();

/// Nanoseconds by the clock that all processes of a machine have in common.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// A request that is never answered.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "detection.Never")]
struct Never;

/// Asks how many such requests there are.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "detection.Waiting", reply = "u32")]
struct Waiting;

/// Asks for a child of its own, which notes in this file when it has learned that its parent's worker is lost: the number of its process.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "detection.Launch", reply = "u32")]
struct AskChild(PathBuf, Remote<Worker>);

/// Holds a watch and a request at a worker, and notes in this file when both have ended.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "detection.Note")]
struct Note(PathBuf, Remote<Worker>);

/// Holds a watch and a request at a worker, and answers when each has ended.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "detection.Hold", reply = "(u64, u64)")]
struct Hold(Remote<Worker>);

/// As [`Hold`], by a direct link to the worker's context.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "detection.HoldDirect", reply = "(u64, u64)")]
struct HoldDirect(Remote<Worker>);

#[derive(RemoteActor)]
#[remote(name = "detection.worker", messages(Never, Waiting, AskChild, Note, Hold, HoldDirect), spawn = custom)]
struct Worker {
    context: Context,
    children: Rc<RefCell<Vec<Child>>>,
    waiting: u32,
}

impl Spawn for Worker {
    type Args = ();
    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone(), children: Rc::default(), waiting: 0 }
    }
}

impl Actor for Worker {
    type Context = actix::Context<Self>;
}

impl Handler<Never> for Worker {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Never, _: &mut Self::Context) -> Self::Result {
        self.waiting += 1;
        Box::pin(std::future::pending())
    }
}

impl Handler<Waiting> for Worker {
    type Result = u32;
    fn handle(&mut self, _: Waiting, _: &mut Self::Context) -> u32 {
        self.waiting
    }
}

impl Handler<AskChild> for Worker {
    type Result = ResponseFuture<u32>;
    fn handle(&mut self, AskChild(file, own): AskChild, _: &mut Self::Context) -> Self::Result {
        let (context, children) = (self.context.clone(), self.children.clone());
        Box::pin(async move {
            let child = context.launch(Launch::local()).await.unwrap();
            let pid = child.pid();
            child.spawn::<Self>(()).await.unwrap().send(Note(file, own)).await.unwrap();
            children.borrow_mut().push(child);
            pid
        })
    }
}

impl Handler<Note> for Worker {
    type Result = ();
    fn handle(&mut self, Note(file, worker): Note, _: &mut Self::Context) {
        let context = self.context.clone();
        tokio::task::spawn_local(async move {
            let (watched, asked) = hold(context, worker).await;
            std::fs::write(file, watched.max(asked).to_string()).unwrap();
        });
    }
}

impl Handler<Hold> for Worker {
    type Result = ResponseFuture<(u64, u64)>;
    fn handle(&mut self, Hold(worker): Hold, _: &mut Self::Context) -> Self::Result {
        Box::pin(hold(self.context.clone(), worker))
    }
}

impl Handler<HoldDirect> for Worker {
    type Result = ResponseFuture<(u64, u64)>;
    fn handle(&mut self, HoldDirect(worker): HoldDirect, _: &mut Self::Context) -> Self::Result {
        let context = self.context.clone();
        Box::pin(async move {
            context.connect(worker.address()).await.unwrap();
            let learned = hold(context.clone(), worker.clone()).await;
            until("the link is known to be gone", || !context.is_linked(worker.context_id())).await;
            learned
        })
    }
}

/// When a watch and a request at a worker have ended.
async fn hold(context: Context, worker: Remote<Worker>) -> (u64, u64) {
    let watched = async {
        let down = context.watch(&worker).await;
        assert!(down.lost().is_some(), "{down}");
        now()
    };
    let asked = async {
        worker.send(Never).await.unwrap_err();
        now()
    };
    tokio::join!(watched, asked)
}

const DETECTION: Duration = Duration::from_secs(1);

fn with_root(test: impl AsyncFnOnce(&Context)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let limits = Limits { detection_time: DETECTION, ..Limits::default() };
        let mesh = Mesh::fresh("detection.test").unwrap();
        let builder = Context::builder().limits(limits).mesh(mesh).listen("127.0.0.1:0");
        let root = builder.start().await.unwrap();
        test(&root).await;
        soon("the root shuts down", root.shutdown()).await;
    });
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// Whether a process has ended. Whoever adopts orphans may be long in burying them.
fn has_ended(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    matches!(state, Some('Z' | 'X'))
}

/// Waits until so many requests have come to a worker that it never answers. The watches of those who ask were asked for before them.
async fn all_wait(worker: &Remote<Worker>, count: u32) {
    let all = async {
        while worker.send(Waiting).await.unwrap() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon("the requests", all).await;
}

/// The median and the largest, in milliseconds.
fn spread(times: &mut [u64]) -> (f64, f64) {
    times.sort_unstable();
    let millis = |nanos: u64| nanos as f64 / 1e6;
    (millis(times[times.len() / 2]), millis(times[times.len() - 1]))
}

/// What each of those learns who must know of a process's death, and when.
#[derive(Default)]
struct Learned {
    parent: Vec<u64>,
    holder: Vec<u64>,
    child: Vec<u64>,
    linked: Vec<u64>,
}

impl Learned {
    /// One death: of a process that the root has launched, which has a child of its own, and at which another process holds a watch and a request.
    /// A third does so by a direct link.
    async fn of_one_death(
        &mut self,
        root: &Context,
        holder: &Remote<Worker>,
        linked: &Remote<Worker>,
    ) {
        let victim = root.launch(Launch::local()).await.unwrap();
        let worker = victim.spawn::<Worker>(()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("learned");
        let asked = worker.send(AskChild(note.clone(), worker.clone()));
        let child = soon("a grandchild", asked).await.unwrap();
        let held = tokio::task::spawn_local(holder.send(Hold(worker.clone())));
        let beside = tokio::task::spawn_local(linked.send(HoldDirect(worker.clone())));
        let own = tokio::task::spawn_local(hold(root.clone(), worker.clone()));
        all_wait(&worker, 4).await;
        let begun = now();
        signal(victim.pid(), Signal::KILL);
        let (own, held, beside) = tokio::join!(own, held, beside);
        let beside = beside.unwrap().unwrap();
        self.linked.push(beside.0.max(beside.1) - begun);
        let (own, held) = (own.unwrap(), held.unwrap().unwrap());
        until("the child of a killed process ends", || has_ended(child)).await;
        assert!(
            Duration::from_nanos(now() - begun) < DETECTION,
            "it ends before its link is found silent"
        );
        let learned: u64 = std::fs::read_to_string(note).unwrap().parse().unwrap();
        self.parent.push(own.0.max(own.1) - begun);
        self.holder.push(held.0.max(held.1) - begun);
        self.child.push(learned - begun);
    }
}

/// A hundred times: the parent, another process, one with a direct link, and the child of a launched process know within 100 ms that it was killed, by a watch and by a
/// request that waited.
#[test]
fn r12_the_death_of_a_launched_process_is_known_to_all_within_100_ms() {
    with_root(async |root| {
        let home = root.launch(Launch::local()).await.unwrap();
        let holder = home.spawn::<Worker>(()).await.unwrap();
        let beside = root.launch(Launch::local()).await.unwrap();
        let linked = beside.spawn::<Worker>(()).await.unwrap();
        let mut learned = Learned::default();
        for _ in 0..100 {
            learned.of_one_death(root, &holder, &linked).await;
        }
        for (who, times) in [
            ("parent", learned.parent),
            ("holder", learned.holder),
            ("child", learned.child),
            ("holder of a direct link", learned.linked),
        ] {
            let mut times = times;
            let (median, worst) = spread(&mut times);
            println!("{who}: median {median:.1} ms, worst {worst:.1} ms");
            let late = times.iter().filter(|time| **time > 100_000_000).count();
            assert_eq!(
                late,
                0,
                "{who}: {late} of {} were later than 100 ms: {worst:.1} ms",
                times.len()
            );
        }
    });
}

/// A process that is stopped is silent, and nothing else tells: whoever holds something there knows within the detection time and a fifth.
#[test]
fn r12_a_silent_process_is_known_to_all_within_the_detection_time_and_a_fifth() {
    with_root(async |root| {
        let home = root.launch(Launch::local()).await.unwrap();
        let holder = home.spawn::<Worker>(()).await.unwrap();
        for _ in 0..5 {
            let victim = root.launch(Launch::local()).await.unwrap();
            let worker = victim.spawn::<Worker>(()).await.unwrap();
            let held = tokio::task::spawn_local(holder.send(Hold(worker.clone())));
            let own = tokio::task::spawn_local(hold(root.clone(), worker.clone()));
            all_wait(&worker, 2).await;
            let begun = now();
            signal(victim.pid(), Signal::STOP);
            let (own, held) = tokio::join!(own, held);
            let (own, held) = (own.unwrap(), held.unwrap().unwrap());
            for (who, learned) in [("parent", own), ("holder", held)] {
                let took = Duration::from_nanos(learned.0.max(learned.1) - begun);
                println!("{who}: {took:?}");
                assert!(took < DETECTION * 6 / 5, "{who}: {took:?}");
            }
            signal(victim.pid(), Signal::KILL);
        }
    });
}
