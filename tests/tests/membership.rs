//! A group of a thousand actors in ten processes: who is in it is known to all who hold it, also when a process is lost, and nothing of it is
//! left at the root when all have gone.
//!
//! Processes of one machine have one monotonic clock, by which those who learn say when.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{cell::RefCell, rc::Rc, time::Duration};

use actogen::{Address, Child, DirectoryHoldings, Group, Limits, Mesh, StopReason, prelude::*};
use actogen_tests::until::{soon, until_equal};
use futures_util::future::{join_all, try_join_all};
use rustix::{
    process::{Pid, Signal, kill_process},
    time::{ClockId, clock_gettime},
};

actogen::test_child!();

const PROCESSES: usize = 10;
const MEMBERS_OF_EACH: usize = 100;

/// Shorter ones would find processes silent that only wait for their turn on a busy machine.
const DETECTION: Duration = Duration::from_secs(1);

/// So long after the loss of a process all must know.
const CONVERGENCE: Duration = DETECTION.saturating_add(Duration::from_secs(1));

/// Nanoseconds by the clock that all processes of a machine have in common.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

#[derive(RemoteActor)]
#[remote(name = "membership.member", messages())]
struct Member;

impl Actor for Member {
    type Context = actix::Context<Self>;
}

/// Asks for so many members of the group, which the keeper holds then.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "membership.Join")]
struct Join(usize);

/// Asks for the members as they are known here, and when it came to be so, once there are so many.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "membership.Await", reply = "(Vec<Address>, u64)")]
struct Await(usize);

/// Lets go of the group, and ends the members of this process.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "membership.Leave")]
struct Leave;

/// Keeps the members of a process.
#[derive(RemoteActor)]
#[remote(name = "membership.keeper", messages(Join, Await, Leave), spawn = custom)]
struct Keeper {
    context: Context,
    members: Vec<Remote<Member>>,
    group: Rc<RefCell<Option<Group<Member>>>>,
}

impl Spawn for Keeper {
    type Args = ();
    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone(), members: Vec::new(), group: Rc::default() }
    }
}

impl Actor for Keeper {
    type Context = actix::Context<Self>;
}

impl Handler<Join> for Keeper {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, Join(members): Join, _: &mut Self::Context) -> Self::Result {
        self.members = (0..members).map(|_| self.context.start(Member)).collect();
        let (context, members) = (self.context.clone(), self.members.clone());
        let held = self.group.clone();
        Box::pin(async move {
            let group = context.group("members").await.unwrap();
            try_join_all(members.iter().map(|member| group.join(member))).await.unwrap();
            held.replace(Some(group));
        })
    }
}

impl Handler<Await> for Keeper {
    type Result = ResponseFuture<(Vec<Address>, u64)>;
    fn handle(&mut self, Await(members): Await, _: &mut Self::Context) -> Self::Result {
        let group = self.group.borrow().clone().unwrap();
        Box::pin(known(group, members))
    }
}

impl Handler<Leave> for Keeper {
    type Result = ();
    fn handle(&mut self, _: Leave, _: &mut Self::Context) {
        self.group.replace(None);
        for member in self.members.drain(..) {
            assert!(self.context.stop(&member, StopReason::Normal));
        }
    }
}

/// The members of a group once there are so many, and when that came to be.
async fn known(group: Group<Member>, members: usize) -> (Vec<Address>, u64) {
    let mut events = group.events();
    loop {
        let all = group.members();
        if all.len() == members {
            return (all.iter().map(Remote::address).collect(), now());
        }
        // Missed ones tell as well that something has changed.
        let _ = events.next().await.unwrap();
    }
}

/// The processes of a mesh, and the root's hold on the group that they are in.
struct Everybody {
    children: Vec<Child>,
    keepers: Vec<Remote<Keeper>>,
    group: Group<Member>,
}

impl Everybody {
    async fn join(root: &Context) -> Self {
        let (mut children, mut keepers) = (Vec::new(), Vec::new());
        for _ in 0..PROCESSES {
            let child = root.launch(Launch::local()).await.unwrap();
            keepers.push(soon("a keeper", child.spawn::<Keeper>(())).await.unwrap());
            children.push(child);
        }
        let group = soon("the group", root.group("members")).await.unwrap();
        let joined = join_all(keepers.iter().map(|keeper| keeper.send(Join(MEMBERS_OF_EACH))));
        assert!(soon("all join", joined).await.iter().all(Result::is_ok));
        let everybody = Self { children, keepers, group };
        everybody.agree().await;
        everybody
    }

    fn members(&self) -> usize {
        MEMBERS_OF_EACH * self.children.len()
    }

    /// Asks all who hold the group who is in it, as soon as there are as many as are to be.
    fn ask(&self, members: usize) -> impl Future<Output = Vec<(Vec<Address>, u64)>> + use<> {
        let asked: Vec<_> = self.keepers.iter().map(|keeper| keeper.send(Await(members))).collect();
        let own = known(self.group.clone(), members);
        async move {
            let (own, others) = tokio::join!(own, join_all(asked));
            others.into_iter().map(Result::unwrap).chain([own]).collect()
        }
    }

    /// All see the same members, as many as there are.
    async fn agree(&self) {
        self.agreed(self.ask(self.members())).await;
    }

    /// What they answer is the same, and names members in processes that live only; gives when the last of them knew it.
    async fn agreed(&self, asked: impl Future<Output = Vec<(Vec<Address>, u64)>>) -> u64 {
        let known = soon("all know the members", asked).await;
        let live: Vec<_> = self.children.iter().map(Child::id).collect();
        let (members, _) = &known[0];
        assert!(members.iter().all(|member| live.contains(&member.context)));
        assert!(known.iter().all(|(others, _)| others == members), "all know the same");
        known.iter().map(|(_, when)| *when).max().unwrap()
    }

    /// Sends a signal to one process, and says how long it took until all others knew that its members are gone.
    async fn lose_one(&mut self, signal: Signal) -> Duration {
        let before = self.members();
        let (victim, _) = (self.children.swap_remove(3), self.keepers.swap_remove(3));
        let asked = self.ask(self.members());
        // Each has been asked for what is to come once it has answered what is asked behind that.
        self.agreed_by_others(before).await;
        let begun = now();
        kill_process(Pid::from_raw(victim.pid() as i32).unwrap(), signal).unwrap();
        let took = Duration::from_nanos(self.agreed(asked).await - begun);
        victim.kill().await;
        took
    }

    async fn agreed_by_others(&self, members: usize) {
        let answers = join_all(self.keepers.iter().map(|keeper| keeper.send(Await(members))));
        assert!(soon("answers", answers).await.iter().all(Result::is_ok));
    }

    /// All members end, and nobody holds the group; the processes live on.
    async fn leave(self) -> Vec<Child> {
        let Self { children, keepers, group } = self;
        drop(group);
        let left = join_all(keepers.iter().map(|keeper| keeper.send(Leave)));
        assert!(soon("all leave", left).await.iter().all(Result::is_ok));
        children
    }
}

fn with_root(test: impl AsyncFnOnce(&Context)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let limits = Limits { detection_time: DETECTION, ..Limits::default() };
        let mesh = Mesh::fresh("membership.test").unwrap();
        let builder = Context::builder().limits(limits).mesh(mesh).listen("127.0.0.1:0");
        let root = builder.start().await.unwrap();
        test(&root).await;
        soon("the root shuts down", root.shutdown()).await;
    });
}

async fn holdings(root: &Context) -> DirectoryHoldings {
    soon("the sizes", root.directory_holdings()).await.unwrap()
}

/// All join, one process is lost by a signal, all leave.
async fn a_life_with_a_loss(root: &Context, signal: Signal) {
    let before = holdings(root).await;
    let mut all = Everybody::join(root).await;
    let full = holdings(root).await;
    assert_eq!((full.groups, full.members, full.holders), (1, 1000, PROCESSES + 1), "{full:?}");
    let took = all.lose_one(signal).await;
    println!("all know after {took:?}");
    assert!(took < CONVERGENCE, "{took:?}");
    let children = all.leave().await;
    // But for the number of one that is silent, by which it would be known again.
    let mut after = before;
    after.gone = usize::from(signal == Signal::STOP);
    until_equal("nothing is left", after, async || holdings(root).await).await;
    let ended = join_all(children.iter().map(|child| child.end(Duration::from_secs(5))));
    soon("the processes end", ended).await;
    assert_eq!(holdings(root).await, after);
}

#[test]
fn a_killed_process_is_in_no_group_and_nothing_is_left_of_one_that_all_have_left() {
    with_root(async |root| a_life_with_a_loss(root, Signal::KILL).await);
}

/// Nothing else tells of a process that is stopped than that it is silent.
#[test]
fn a_silent_process_is_in_no_group_after_the_detection_time() {
    with_root(async |root| a_life_with_a_loss(root, Signal::STOP).await);
}
