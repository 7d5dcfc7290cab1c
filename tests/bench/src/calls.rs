//! Suite `calls`: functions called in a child and in a grandchild, and what it takes to launch a context that answers, here and over ssh.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use actogen::{FunctionCall, Functions, Place, prelude::*};

use crate::{
    failure::Failure,
    note::{Note, SMALL},
    offspring::Line,
    ours::{self, Sizes},
    reference::Reference,
    report::Report,
    rounds,
    sshd::Sshd,
    suite::{Better, Measure, Plan, Suite},
    workload::{IN_FLIGHT, Outcome, Span, Workload, latencies},
};

pub(crate) const SUITE: Suite = Suite {
    name: "calls",
    about: "functions called in a child and a grandchild, one by one and 64 in flight, and launching",
    measures: || [ONE_HOP, TWO_HOPS, PIPELINED, LAUNCH, SSH].into_iter().flatten().collect(),
    run,
};

const ONE_HOP: &[Measure] = &[Measure {
    name: "call_1hop",
    unit: "us",
    better: Better::Lower,
    reference: Some("bare quinn, echo"),
    floor: Some(1.3),
}];

const TWO_HOPS: &[Measure] = &[Measure {
    name: "call_2hop",
    unit: "us",
    better: Better::Lower,
    reference: Some("bare quinn, echo over one hop"),
    floor: Some(2.5),
}];

const PIPELINED: &[Measure] = &[Measure {
    name: "calls_pipelined",
    unit: "calls/s",
    better: Better::Higher,
    reference: Some("bare quinn, 64 in flight"),
    floor: Some(0.6),
}];

const LAUNCH: &[Measure] = &[Measure {
    name: "launch_local",
    unit: "us",
    better: Better::Lower,
    reference: Some("bare spawn, quinn and TLS, echo"),
    floor: Some(2.5),
}];

const SSH: &[Measure] = &[Measure {
    name: "launch_ssh",
    unit: "us",
    better: Better::Lower,
    reference: Some("ssh host true"),
    floor: Some(1.3),
}];

/// Gives its argument back.
#[actogen::function(name = "actogen-bench.echo")]
fn echo(note: Note) -> Note {
    note
}

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let mut reference = Reference::start(plan.settings).await?;
    reference.check_for(plan, report).await?;
    let line = Line::start(plan.settings).await?;
    let context = line.context();
    let child = functions_beside(context, &line.middle);
    let grandchild = functions_beside(context, &line.beget().await?.sink);
    let bare_echo = async |lasts| reference.run(Workload::Ask, lasts).await;
    if plan.wants_any(ONE_HOP) {
        let ours = async |lasts| in_turn(&child, lasts).await;
        rounds::take(plan, report, ONE_HOP, ours, bare_echo).await?;
    }
    if plan.wants_any(TWO_HOPS) {
        let ours = async |lasts| in_turn(&grandchild, lasts).await;
        rounds::take(plan, report, TWO_HOPS, ours, bare_echo).await?;
    }
    if plan.wants_any(PIPELINED) {
        let ours = async |lasts| in_flight(&child, lasts).await;
        let bare = async |lasts| reference.run(Workload::AskInFlight, lasts).await;
        rounds::take(plan, report, PIPELINED, ours, bare).await?;
    }
    if plan.wants_any(LAUNCH) {
        let local = || ours::launch(plan.settings, Sizes::default());
        let ours = async |lasts| launches(context, &local, lasts).await;
        let bare = async |lasts| reference.launch(lasts).await;
        rounds::take(plan, report, LAUNCH, ours, bare).await?;
    }
    if plan.wants_any(SSH) {
        match Sshd::start()? {
            Some(sshd) => {
                let launch = || sshd.launch(|ssh| ours::told(ssh, plan.settings, Sizes::default()));
                // The first one brings the program; those that count find it there.
                let ours = async |lasts| launches(context, &launch, lasts).await;
                let bare = async |lasts| sshd.logins(lasts).await;
                rounds::take(plan, report, SSH, ours, bare).await?;
            }
            None => report
                .progress("launch_ssh is skipped: it needs /usr/sbin/sshd, and root to start it"),
        }
    }
    line.end().await;
    reference.end();
    Ok(())
}

/// The functions of an actor's context.
fn functions_beside<A>(context: &Context, actor: &Remote<A>) -> Functions {
    let address = actor.address();
    context.functions_in(Place { context: address.context, incarnation: address.incarnation })
}

/// Calls, each when the one before has been answered.
async fn in_turn(functions: &Functions, lasts: Duration) -> Result<Outcome, Failure> {
    let calls = async {
        let (span, mut times) = (Span::of(lasts), Vec::new());
        while !span.is_over() {
            let began = Instant::now();
            let number = times.len() as u64;
            check(call(functions, number).await, number)?;
            times.push(began.elapsed().as_nanos() as u64);
        }
        Ok(latencies(times))
    };
    ours::within(lasts, calls).await
}

/// Calls, so many under way at once.
async fn in_flight(functions: &Functions, lasts: Duration) -> Result<Outcome, Failure> {
    let calls = async {
        let span = Span::of(lasts);
        let mut calls = VecDeque::with_capacity(IN_FLIGHT);
        let (mut called, mut answered) = (0, 0);
        while !(span.is_over() && calls.is_empty()) {
            while calls.len() < IN_FLIGHT && !span.is_over() {
                calls.push_back(call(functions, called));
                called += 1;
            }
            if let Some(oldest) = calls.pop_front() {
                check(oldest.await, answered)?;
                answered += 1;
            }
        }
        Ok(span.rate(answered).into())
    };
    ours::within(lasts, calls).await
}

/// Launches children, one after the other: how long each takes until its first call is answered.
async fn launches(
    context: &Context,
    launch: &impl Fn() -> Launch,
    lasts: Duration,
) -> Result<Outcome, Failure> {
    let launches = async {
        let (span, mut times) = (Span::of(lasts), Vec::new());
        while !span.is_over() {
            let began = Instant::now();
            let child =
                context.launch(launch()).await.map_err(Failure::ours("launching a child"))?;
            check(child.call::<echo>(Note::new(0, SMALL)).await, 0)?;
            times.push(began.elapsed().as_nanos() as u64);
            child.kill().await;
        }
        Ok(latencies(times))
    };
    ours::within(lasts, launches).await
}

fn call(functions: &Functions, number: u64) -> FunctionCall<echo> {
    functions.call(Note::new(number, SMALL))
}

fn check(answer: Result<Note, actogen::CallError>, number: u64) -> Result<(), Failure> {
    let note = answer.map_err(Failure::ours("calling"))?;
    if note.number == number {
        Ok(())
    } else {
        Err(Failure::Ours { doing: "calling", why: "the value is another call's".into() })
    }
}
