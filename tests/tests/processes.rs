//! Real processes that are started, killed, stopped and flooded.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{
    fs,
    time::{Duration, Instant},
};

use actogen::{
    Child, ContextEvent, ContextId, DeadReason, Handled, Incarnation, LaunchError, Limits,
    LossKind, Mesh, Place, StartError, StopReason, prelude::*,
};
use actogen_tests::{
    actors::{Desk, Echo, Gate, Never, Parcel},
    until::{soon, until, until_equal},
};
use rustix::process::{Pid, Signal, kill_process};

actogen::test_child!();

/// What an agent says of its process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    pid: u32,
    id: u64,
    incarnation: Incarnation,
    /// The most memory that it has held, in KiB.
    peak: u64,
    sent: u64,
    /// Delivered, refused, dead and unknown.
    ended: u64,
}

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "processes.Tell", reply = "Report")]
struct TellMe;

/// Asks an agent for a child process with an agent.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "processes.Grow", reply = "Result<(Place, Remote<Agent>), String>")]
struct Grow;

/// Asks for an actor that takes nothing.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "processes.CloseGate", reply = "Remote<Gate>")]
struct CloseGate;

/// Ends the actors that take nothing.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "processes.EndGates")]
struct EndGates;

/// Asks an agent to send so many messages of 64 bytes one way, without waiting for room.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "processes.Flood")]
struct Flood(Remote<Gate>, u64);

/// Somebody in a process who can say how it fares.
#[derive(RemoteActor)]
#[remote(
    name = "processes.agent",
    messages(TellMe, Grow, CloseGate, EndGates, Flood, Never),
    spawn = custom
)]
struct Agent {
    cx: Context,
    children: Vec<Child>,
    gates: Vec<Remote<Gate>>,
}

impl Actor for Agent {
    type Context = actix::Context<Self>;
}

impl Spawn for Agent {
    type Args = ();
    fn spawn((): (), cx: &Context) -> Self {
        Self { cx: cx.clone(), children: Vec::new(), gates: Vec::new() }
    }
}

impl Handler<TellMe> for Agent {
    type Result = actix::MessageResult<TellMe>;
    fn handle(&mut self, _: TellMe, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(report(&self.cx))
    }
}

impl Handler<Grow> for Agent {
    type Result = ResponseActFuture<Self, Result<(Place, Remote<Agent>), String>>;
    fn handle(&mut self, _: Grow, _: &mut Self::Context) -> Self::Result {
        let cx = self.cx.clone();
        let growing = async move {
            let child = cx.launch(Launch::local()).await.map_err(|error| error.to_string())?;
            let agent = child.spawn::<Agent>(()).await.map_err(|error| error.to_string())?;
            Ok((child, agent))
        };
        Box::pin(growing.into_actor(self).map(|grown, agent, _| {
            grown.map(|(child, remote)| {
                let place = child.place();
                agent.children.push(child);
                (place, remote)
            })
        }))
    }
}

impl Handler<CloseGate> for Agent {
    type Result = actix::MessageResult<CloseGate>;
    fn handle(&mut self, _: CloseGate, _: &mut Self::Context) -> Self::Result {
        let gate = self.cx.start(Gate::closed().0);
        self.gates.push(gate.clone());
        actix::MessageResult(gate)
    }
}

impl Handler<EndGates> for Agent {
    type Result = ();
    fn handle(&mut self, _: EndGates, _: &mut Self::Context) {
        for gate in self.gates.drain(..) {
            self.cx.stop(&gate, StopReason::Killed);
        }
    }
}

impl Handler<Flood> for Agent {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, Flood(gate, count): Flood, _: &mut Self::Context) -> Self::Result {
        Box::pin(async move {
            for number in 0..count {
                // Sender, number, length and content together have 64 bytes.
                gate.do_send(Parcel(0, number, vec![0; 62 - varint_len(number)]));
                if number % 1000 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    }
}

/// Bytes that a number takes in postcard.
fn varint_len(number: u64) -> usize {
    (64 - number.leading_zeros() as usize).div_ceil(7).max(1)
}

impl Handler<Never> for Agent {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Never, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

fn report(cx: &Context) -> Report {
    let stats = cx.stats();
    Report {
        pid: std::process::id(),
        id: cx.id().0,
        incarnation: cx.incarnation(),
        peak: peak_memory(),
        sent: stats.sent,
        ended: stats.delivered + stats.refused + stats.dead() + stats.unknown,
    }
}

/// The most memory that this process has held, in KiB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the system tells of this process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse().ok()).expect("the system says VmHWM in kB")
}

/// The detection time of these tests.
const DETECTION: Duration = Duration::from_secs(1);

/// A root that launches processes, which it outlives; a test in a runtime of its own.
fn with_root(test: impl AsyncFnOnce(&Context) -> actogen::Result<()>) {
    with_roots_mesh(Mesh::fresh("processes.test").unwrap(), test);
}

fn with_roots_mesh(mesh: Mesh, test: impl AsyncFnOnce(&Context) -> actogen::Result<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let limits = Limits { detection_time: DETECTION, ..Limits::default() };
        let root = Context::builder()
            .limits(limits)
            .mesh(mesh)
            .listen("127.0.0.1:0")
            .start()
            .await
            .unwrap();
        let outcome = tokio::time::timeout(Duration::from_secs(60), test(&root)).await;
        soon("the root shuts down", root.shutdown()).await;
        outcome.expect("the test ends in time").unwrap();
    });
}

async fn child_with_agent(root: &Context) -> actogen::Result<(Child, Remote<Agent>)> {
    let child = root.launch(Launch::local()).await?;
    let agent = child.spawn::<Agent>(()).await?;
    Ok((child, agent))
}

async fn grow(agent: &Remote<Agent>) -> actogen::Result<(Place, Remote<Agent>)> {
    Ok(agent.send(Grow).await??)
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// Whether a process has ended; one that nobody has reaped yet has.
fn has_ended(pid: u32) -> bool {
    match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => {
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            matches!(state, Some('Z' | 'X'))
        }
        Err(_) => true,
    }
}

/// Requests that wait at each of these agents, and have arrived there.
async fn wait_at(
    agents: &[Remote<Agent>],
) -> actogen::Result<Vec<tokio::task::JoinHandle<Result<(), SendError<Never>>>>> {
    let mut waiting = Vec::new();
    for agent in agents {
        for _ in 0..5 {
            let agent = agent.clone();
            waiting.push(tokio::task::spawn_local(async move { agent.send(Never()).await }));
        }
        tokio::task::yield_now().await;
        agent.send(TellMe).await?;
    }
    Ok(waiting)
}

#[test]
fn m06_a_killed_process_wakes_all_who_wait_for_it_and_beyond_it_at_once() {
    with_root(async |root| {
        let (child, agent) = child_with_agent(root).await?;
        let (_, beyond) = grow(&agent).await?;
        let (_, sibling) = child_with_agent(root).await?;
        let waiting = wait_at(&[agent.clone(), beyond.clone()]).await?;
        let beyond_pid = beyond.send(TellMe).await?.pid;
        let begun = Instant::now();
        signal(child.pid(), Signal::KILL);
        for waiter in waiting {
            let dead = soon("a waiter is woken", waiter).await?.expect_err("it was killed");
            assert_eq!(
                (dead.reason(), dead.handled()),
                (Some(DeadReason::RouteLost), Handled::Maybe)
            );
            let expected = format!("{} lost: process exited (signal 9)", child.id());
            assert!(dead.to_string().contains(&expected), "{dead}");
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(900), "it took {took:?}");
        until("the process below it ends", || has_ended(beyond_pid)).await;
        sibling.send(TellMe).await?;
        Ok(())
    });
}

#[test]
fn r12_a_stopped_process_is_found_within_the_detection_time() {
    with_root(async |root| {
        let (child, agent) = child_with_agent(root).await?;
        let (_, beyond) = grow(&agent).await?;
        let waiting = wait_at(&[agent.clone(), beyond]).await?;
        let watch = root.watch(&agent);
        root.ping(child.place()).await?;
        let begun = Instant::now();
        signal(child.pid(), Signal::STOP);
        for waiter in waiting {
            let dead = soon("a waiter is woken", waiter).await?.expect_err("it is stopped");
            assert_eq!(
                (dead.reason(), dead.handled()),
                (Some(DeadReason::RouteLost), Handled::Maybe)
            );
            let expected = format!("{} lost: silent for 1s", child.id());
            assert!(dead.to_string().contains(&expected), "{dead}");
        }
        let took = begun.elapsed();
        assert!(took < DETECTION + Duration::from_millis(1_500), "it took {took:?}");
        let down = soon("the notice", watch).await;
        assert_eq!(down.lost(), Some(DeadReason::RouteLost), "{down}");
        child.kill().await;
        Ok(())
    });
}

#[test]
fn r13_a_process_comes_and_goes_with_its_reason() {
    with_root(async |root| {
        let mut events = root.events();
        let (child, _) = child_with_agent(root).await?;
        let up = soon("an event", events.next()).await;
        let expected = (child.id(), child.incarnation());
        assert!(
            matches!(up, Some(Ok(ContextEvent::Up { context, incarnation })) if (context, incarnation) == expected),
            "{up:?}"
        );
        child.kill().await;
        let down = soon("an event", events.next()).await;
        let Some(Ok(ContextEvent::Down { context, loss })) = down else { panic!("{down:?}") };
        assert_eq!((context, loss.kind), (child.id(), LossKind::ProcessExited));
        assert_eq!(loss.text, "process exited (signal 9)");
        assert_eq!(child.exited().await, "signal 9");
        Ok(())
    });
}

#[test]
fn m18_a_child_ends_when_its_parent_is_killed() {
    with_root(async |root| {
        let (child, agent) = child_with_agent(root).await?;
        let (_, below) = grow(&agent).await?;
        let (_, far_below) = grow(&below).await?;
        let pids = [below.send(TellMe).await?.pid, far_below.send(TellMe).await?.pid];
        assert!(!pids.iter().any(|&pid| has_ended(pid)));
        signal(child.pid(), Signal::KILL);
        for pid in pids {
            until("a process whose parent was killed ends", || has_ended(pid)).await;
        }
        Ok(())
    });
}

#[test]
fn m18_a_shutdown_leaves_no_process() {
    let mut pids = Vec::new();
    let all = &mut pids;
    with_root(async |root| {
        for _ in 0..2 {
            let (child, agent) = child_with_agent(root).await?;
            let (_, below) = grow(&agent).await?;
            all.extend([child.pid(), below.send(TellMe).await?.pid]);
        }
        Ok(())
    });
    assert_eq!(pids.len(), 4);
    let left: Vec<_> = pids.into_iter().filter(|&pid| !has_ended(pid)).collect();
    assert!(left.is_empty(), "{left:?} are left");
}

#[test]
fn m18_a_hung_child_is_ended_by_force() {
    let mut pid = 0;
    let stopped = &mut pid;
    with_root(async |root| {
        let (child, _) = child_with_agent(root).await?;
        *stopped = child.pid();
        signal(child.pid(), Signal::STOP);
        Ok(())
    });
    assert!(has_ended(pid));
}

#[test]
fn m19_launch_errors_are_each_their_own_kind() {
    with_root(async |root| {
        let missing = root.launch(Launch::local().program("/no/such/program")).await;
        let Err(error @ LaunchError::Spawn { .. }) = missing else { panic!("{missing:?}") };
        assert!(error.to_string().contains("/no/such/program"), "{error}");
        let exits = root.launch(Launch::local().program("/bin/false")).await;
        let Err(LaunchError::Exited { status, .. }) = exits else { panic!("{exits:?}") };
        assert_eq!(status, "exit status 1");
        let within = Duration::from_millis(300);
        let sleeps = Launch::local().program("/bin/sleep").arguments(["100"]).within(within);
        let begun = Instant::now();
        let Err(LaunchError::Timeout { pid, within: limit, .. }) = root.launch(sleeps).await else {
            panic!("a program that never answers")
        };
        assert_eq!(limit, within);
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert!(has_ended(pid), "it is not left behind");
        assert_eq!(root.descendants(), []);
        let (_, agent) = child_with_agent(root).await?;
        agent.send(TellMe).await?;
        Ok(())
    });
}

#[test]
fn m11_ids_through_several_levels_are_unique() {
    with_root(async |root| {
        let mut agents = Vec::new();
        for _ in 0..2 {
            let (_, agent) = child_with_agent(root).await?;
            let (_, below) = grow(&agent).await?;
            let (_, far_below) = grow(&below).await?;
            agents.extend([agent, below, far_below]);
        }
        let mut ids = vec![root.id().0];
        let mut lives = vec![root.incarnation()];
        for agent in &agents {
            let report = agent.send(TellMe).await?;
            assert_eq!(report.id, agent.context_id().0);
            ids.push(report.id);
            lives.push(report.incarnation);
        }
        for count in [(ids.sort_unstable(), ids.dedup(), ids.len()).2, {
            lives.sort_unstable();
            lives.dedup();
            lives.len()
        }] {
            assert_eq!(count, 7, "{ids:?} {lives:?}");
        }
        let known: Vec<_> = ids[1..].iter().copied().map(ContextId).collect();
        assert_eq!(root.descendants(), known);
        Ok(())
    });
}

#[test]
fn m11_a_reserved_block_survives_the_roots_restart() {
    let folder = tempfile::tempdir().unwrap();
    Mesh::create_authority("processes.test", folder.path()).unwrap();
    let mut given = Vec::new();
    for _ in 0..3 {
        let given = &mut given;
        with_roots_mesh(Mesh::root(folder.path()).unwrap(), async |root| {
            for _ in 0..2 {
                let (child, _) = child_with_agent(root).await?;
                given.push((root.incarnation().term, child.id(), child.incarnation()));
            }
            Ok(())
        });
    }
    let terms: Vec<_> = given.iter().map(|&(term, ..)| term).collect();
    assert_eq!(terms, [1, 1, 2, 2, 3, 3]);
    assert!(given.is_sorted_by(|a, b| a.1 < b.1 && a.2 < b.2), "never again: {given:?}");
}

#[test]
fn r22_contexts_of_different_meshes_refuse_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, identity) = (folder.path().join("ca"), folder.path().join("one"));
    Mesh::create_authority("strangers.test", &authority).unwrap();
    Mesh::issue(&authority, &identity, ContextId(5), Duration::from_secs(3600)).unwrap();
    with_root(async |root| {
        let stranger = Context::builder().mesh(Mesh::from_pem(&identity)?);
        let endpoint = root.endpoint().ok_or("the root listens")?;
        let refused = stranger.connect(endpoint).start().await;
        let Err(error @ StartError::Dial(_)) = refused else { panic!("{refused:?}") };
        let text = error.to_string();
        assert!(text.contains("strangers.test") && text.contains("processes.test"), "{text}");
        assert_eq!(root.descendants(), []);
        Ok(())
    });
}

#[test]
fn m09_a_launched_child_inherits_the_limit() {
    with_root(async |root| {
        let child = root.launch(Launch::local()).await?;
        let desk = child.spawn::<Desk>(()).await?;
        let over = vec![7; root.max_message() + 1];
        let dead = desk.send(Echo(over)).await.map(|body| body.len()).expect_err("too large");
        assert_eq!(dead.reason(), Some(DeadReason::TooLarge));
        let body = vec![7; 1 << 20];
        assert!(desk.send(Echo(body.clone())).await? == body);
        Ok(())
    });
}

/// Messages of a flood.
const FLOOD: u64 = 1_000_000;

/// How much memory a flood may cost a process, in KiB.
const FLOOD_BOUND: u64 = 32 * 1024;

#[test]
fn a_flood_of_an_actor_that_never_runs_is_bounded_and_counted() {
    with_root(async |root| {
        // Neither process does anything else.
        let (_, flooder) = child_with_agent(root).await?;
        let (_, flooded) = grow(&flooder).await?;
        let gate = flooded.send(CloseGate).await?;
        let idle = [flooder.send(TellMe).await?, flooded.send(TellMe).await?];
        flooder.send(Flood(gate, FLOOD)).within(Duration::from_secs(50)).await?;
        let after = [flooder.send(TellMe).await?, flooded.send(TellMe).await?];
        for (idle, after) in idle.iter().zip(&after) {
            let above = after.peak.saturating_sub(idle.peak);
            assert!(above <= FLOOD_BOUND, "process {} held {above} KiB above idle", after.id);
        }
        flooded.send(EndGates).await?;
        until_equal("every message is accounted for", 0, async || {
            let there = [flooder.send(TellMe).await, flooded.send(TellMe).await];
            let [Ok(flooder), Ok(flooded)] = there else { return u64::MAX };
            let all = [report(root), flooder, flooded];
            let sent: u64 = all.iter().map(|report| report.sent).sum();
            sent.abs_diff(all.iter().map(|report| report.ended).sum())
        })
        .await;
        // A few more say to the log what became of it.
        let sent = flooder.send(TellMe).await?.sent;
        assert!((FLOOD..FLOOD + 100).contains(&sent), "{sent}");
        Ok(())
    });
}

#[test]
fn m06_a_flooded_link_that_is_cut_accounts_for_every_message() {
    with_root(async |root| {
        let (child, agent) = child_with_agent(root).await?;
        let gate = agent.send(CloseGate).await?;
        for number in 0..50_000 {
            gate.do_send(Parcel(0, number, vec![0; 54]));
        }
        let before = agent.send(TellMe).await?;
        child.kill().await;
        until("it is gone", || root.place_of(child.id()).is_none()).await;
        root.holdings().await;
        let here = report(root);
        // What the child had ended went with it; what was in flight is unknown here, and may be counted too high, never too low.
        assert!(here.ended <= here.sent + before.ended, "{here:?} {before:?}");
        Ok(())
    });
}

/// Leaves its parent.
#[actogen::function(name = "processes.detach")]
async fn detach(cx: Context) -> actogen::Result<()> {
    // Its parent's answer to this call goes with the link.
    Ok(cx.detach().await?)
}

/// Attaches below the context at an endpoint a while after it has been detached, when somebody who can see it asks for that by a file.
#[actogen::function(name = "processes.attach_when")]
async fn attach_when(cx: Context, file: std::path::PathBuf) -> actogen::Result<()> {
    let attaching = cx.clone();
    cx.spawn(async move {
        attaching.detached().await;
        let endpoint = loop {
            match fs::read_to_string(&file) {
                Ok(endpoint) if endpoint.ends_with('\n') => break endpoint,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        println!("nobody hears this");
        let attached = attaching.attach_to(endpoint.trim(), None).await;
        let _ = fs::write(&file, format!("{attached:?}"));
    });
    Ok(())
}

#[test]
fn m18_a_detached_child_survives_its_killed_parent() {
    with_root(async |root| {
        let (parent, agent) = child_with_agent(root).await?;
        let (place, low) = grow(&agent).await?;
        let pid = low.send(TellMe).await?.pid;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoint");
        root.call_in::<attach_when>(place, file.clone()).await.unwrap();
        let lost = root.call_in::<detach>(place, ()).await.unwrap_err();
        assert_eq!(lost.reason(), Some(DeadReason::RouteLost), "{lost}");
        parent.kill().await;
        // Its old address is dead, and stays so until it has found another parent.
        let error = low.send(TellMe).await.unwrap_err();
        assert_eq!(error.reason(), Some(DeadReason::RouteLost), "{error}");
        assert!(fs::metadata(format!("/proc/{pid}")).is_ok());
        fs::write(&file, format!("{}\n", root.endpoint().unwrap())).unwrap();
        until("it has found the root", || root.place_of(place.context) == Some(place)).await;
        assert_eq!(low.send(TellMe).await?.pid, pid);
        Ok(())
    });
}
