//! Suite `crowd`: 200 processes below one root, until each has answered a call, and until all have ended.

use std::time::{Duration, Instant};

use actogen::prelude::*;
use futures_util::future::join_all;

use crate::{
    failure::Failure,
    ours::{self, Sizes},
    report::Report,
    statistics::Summary,
    suite::{Better, Measure, Plan, Suite},
};

pub(crate) const SUITE: Suite = Suite {
    name: "crowd",
    about: "200 processes below one root, until each has answered and until all have ended (goals: 5 s each); fails if one ends otherwise than by itself",
    measures: || vec![&READY, &DOWN],
    run,
};

const fn figure(name: &'static str, unit: &'static str) -> Measure {
    Measure { name, unit, better: Better::Lower, reference: None, floor: None }
}

const READY: Measure = figure("crowd_ready", "ms");
const DOWN: Measure = figure("crowd_down", "ms");

const PROCESSES: usize = 200;

/// Launched at once: enough that no core waits.
const AT_ONCE: usize = 16;

/// How long a round may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Says that it is there.
#[actogen::function(name = "actogen-bench.here")]
fn here() {}

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let (mut ready, mut down) = (Vec::new(), Vec::new());
    for number in 1..=plan.rounds {
        report.progress(&format!("round {number} of {}", plan.rounds));
        let round = tokio::time::timeout(PATIENCE, round(plan)).await;
        let late = || Failure::Ours { doing: "a round", why: format!("it took {PATIENCE:?}") };
        let round = round.unwrap_or_else(|_| Err(late()))?;
        ready.push(round.ready.as_secs_f64() * 1e3);
        down.push(round.down.as_secs_f64() * 1e3);
    }
    for (measure, values) in [(&READY, &ready), (&DOWN, &down)] {
        if plan.wants(measure) {
            let nothing = Failure::Nothing { measure: measure.name, seconds: 0.0 };
            report.result(measure, &Summary::alone(values).ok_or(nothing)?)?;
        }
    }
    Ok(())
}

struct Round {
    ready: Duration,
    down: Duration,
}

async fn round(plan: &Plan) -> Result<Round, Failure> {
    let root = ours::root(plan.settings).await?;
    let launch = || ours::launch(plan.settings, Sizes::default());
    let began = Instant::now();
    let mut launching = root.launch_many((0..PROCESSES).map(|_| launch()), AT_ONCE);
    let (mut children, mut calls) = (Vec::new(), Vec::new());
    while let Some((_, child)) = launching.next().await {
        let child = child.map_err(Failure::ours("launching a child"))?;
        calls.push(child.call::<here>(()));
        children.push(child);
    }
    for answer in join_all(calls).await {
        answer.map_err(Failure::ours("calling"))?;
    }
    let ready = began.elapsed();
    let began = Instant::now();
    root.shutdown().await;
    let ends = join_all(children.iter().map(Child::exited)).await;
    if let Some(end) = ends.iter().find(|end| *end != "exit status 0") {
        let why = format!("a child did not end by itself: {end}");
        return Err(Failure::Ours { doing: "the shutdown", why });
    }
    Ok(Round { ready, down: began.elapsed() })
}
