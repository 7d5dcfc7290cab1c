//! A receiver's rate beside another that takes nothing: an actor that sleeps behind the same link, and a process that is stopped behind
//! the same relay.

use std::time::Duration;

use actogen::{MessageOf, prelude::*};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    failure::Failure,
    flood::target::{Drop, MakeSleeper, Wake, Warden},
    note::{Note, SMALL},
    offspring::{Line, Offspring},
    ours::{self, Ours, Tally, Tell},
    report::Report,
    rounds,
    suite::{Better, Measure, Plan},
    workload::Outcome,
};

pub(super) static ALL: &[Measure] = &[
    beside("fast_beside_slow", "its rate alone", 0.90),
    beside("fast_beside_slow_link", "its rate alone, relayed", 0.70),
];

const fn beside(name: &'static str, alone: &'static str, floor: f64) -> Measure {
    let better = Better::Higher;
    Measure { name, unit: "messages/s", better, reference: Some(alone), floor: Some(floor) }
}

/// A process may be stopped for so long and no longer, or it would be taken for lost: half of the detection time.
const STOPPED: Duration = Duration::from_secs(5);

/// Messages between two yields of whoever sends to the one that takes nothing.
const STRIDE: usize = 256;

pub(super) async fn take(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let [actor, link] = ALL else { unreachable!("there are two of them") };
    if plan.wants(actor) {
        beside_actor(plan, report).await?;
    }
    if plan.wants(link) {
        beside_link(plan, report).await?;
    }
    Ok(())
}

/// A task that is ended with this value.
struct Task(tokio::task::JoinHandle<()>);

impl std::ops::Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends to one that takes nothing, whenever there is room on the way.
fn press<A: RemoteActor, M: MessageOf<A>>(to: &Remote<A>, message: fn(Note) -> M) -> Task {
    let to = to.clone();
    Task(tokio::task::spawn_local(async move {
        for number in 0.. {
            if to.tell(message(Note::new(number, SMALL))).await.is_err() {
                return;
            }
            if (number as usize).is_multiple_of(STRIDE) {
                tokio::task::yield_now().await;
            }
        }
    }))
}

async fn beside_actor(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let scene = Ours::start(plan.settings).await?;
    let warden = scene.child.spawn::<Warden>(()).await.map_err(Failure::ours("spawning"))?;
    let alone = async |lasts| {
        let tell = ours::tell(std::slice::from_ref(&scene.sink), SMALL, lasts);
        Ok(Outcome::from(ours::within(lasts, tell).await?.rate))
    };
    let beside = async |lasts| {
        let sleeper = warden.send(MakeSleeper).await.map_err(Failure::ours("making a sleeper"))?;
        let pressed = press(&sleeper, Drop);
        let outcome = alone(lasts).await;
        drop(pressed);
        warden.send(Wake).await.map_err(Failure::ours("waking a sleeper"))?;
        outcome
    };
    rounds::take(plan, report, &ALL[..1], beside, alone).await?;
    scene.end().await;
    Ok(())
}

/// A process that is stopped, until this value is dropped.
struct Stopped(Pid);

impl Stopped {
    fn stop(pid: u32) -> Result<Self, Failure> {
        let no_pid = || Failure::Ours { doing: "stopping a process", why: "it has none".into() };
        let pid = Pid::from_raw(pid as i32).ok_or_else(no_pid)?;
        kill_process(pid, Signal::STOP).map_err(Failure::ours("stopping a process"))?;
        Ok(Self(pid))
    }
}

impl std::ops::Drop for Stopped {
    fn drop(&mut self) {
        // It may have ended.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

async fn beside_link(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let line = Line::start(plan.settings).await?;
    let Offspring { sink: fast, .. } = line.beget().await?;
    let Offspring { sink: slow, pid } = line.beget().await?;
    let plan = Plan { lasts: plan.lasts.min(STOPPED), ..plan.clone() };
    let alone = async |lasts| {
        let tell = ours::tell(std::slice::from_ref(&fast), SMALL, lasts);
        Ok(Outcome::from(ours::within(lasts, tell).await?.rate))
    };
    let beside = async |lasts| {
        let stopped = Stopped::stop(pid)?;
        let pressed = press(&slow, Tell);
        let outcome = alone(lasts).await;
        drop((pressed, stopped));
        // It handles what has waited for it before the other's rate is taken alone.
        slow.send(Tally).await.map_err(Failure::ours("asking for a tally"))?;
        outcome
    };
    rounds::take(&plan, report, &ALL[1..], beside, alone).await?;
    line.end().await;
    Ok(())
}
