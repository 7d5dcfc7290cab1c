//! Suite `remote`: two processes on the loopback, Actogen's and the reference's in turns.

use std::time::Duration;

use crate::{
    failure::Failure,
    note::{MEDIUM, SMALL},
    ours::Ours,
    reference::{Check, Reference},
    report::Report,
    statistics::{Round, Summary},
    suite::{Better, Measure, Plan, Step, Suite},
    workload::Workload,
};

pub(crate) const SUITE: Suite = Suite {
    name: "remote",
    about: "one actor tells and asks another, in a child process on the loopback",
    steps: STEPS,
    run,
};

const FRAMED: &str = "bare quinn, framed";

const STEPS: &[Step] = &[
    Step {
        workload: Workload::Tell(SMALL),
        measures: &[Measure {
            name: "tell64",
            unit: "messages/s",
            better: Better::Higher,
            reference: FRAMED,
        }],
    },
    Step {
        workload: Workload::Tell(MEDIUM),
        measures: &[Measure {
            name: "tell1k",
            unit: "messages/s",
            better: Better::Higher,
            reference: FRAMED,
        }],
    },
    Step {
        workload: Workload::Ask,
        measures: &[
            Measure {
                name: "ask64_p50",
                unit: "us",
                better: Better::Lower,
                reference: "bare quinn, echo",
            },
            Measure {
                name: "ask64_p99",
                unit: "us",
                better: Better::Lower,
                reference: "bare quinn, echo",
            },
        ],
    },
    Step {
        workload: Workload::AskInFlight,
        measures: &[Measure {
            name: "ask64_x64",
            unit: "requests/s",
            better: Better::Higher,
            reference: "bare quinn, 64 in flight",
        }],
    },
    Step {
        workload: Workload::Bulk,
        measures: &[Measure {
            name: "bulk1m",
            unit: "MB/s",
            better: Better::Higher,
            reference: "bare quinn, owned MiB",
        }],
    },
    Step {
        workload: Workload::Allocations,
        measures: &[Measure {
            name: "allocs_per_tell",
            unit: "allocations",
            better: Better::Lower,
            reference: FRAMED,
        }],
    },
];

/// How many passes the reference's check has at most: they only choose and guard.
const CHECK_PASSES: usize = 3;

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let mut reference = Reference::start(plan.settings).await?;
    let check = reference.check(plan.rounds.min(CHECK_PASSES), plan.lasts / 4).await?;
    let Check { of_tcp, write, mtu } = check;
    report.progress(&format!(
        "bare quinn carries {of_tcp:.2} of what bare TCP does; {} KiB a write, datagrams of {mtu} bytes",
        write / 1024
    ));
    check.enforce()?;
    let ours = Ours::start(plan.settings).await?;
    for step in SUITE.steps {
        if step.measures.iter().any(|measure| plan.wants(measure)) {
            take(plan, report, step, &ours, &reference, of_tcp).await?;
        }
    }
    ours.end().await;
    reference.end();
    Ok(())
}

async fn take(
    plan: &Plan,
    report: &mut Report,
    step: &Step,
    ours: &Ours,
    reference: &Reference,
    of_tcp: f64,
) -> Result<(), Failure> {
    let Step { workload, measures } = step;
    let names: Vec<_> = measures.iter().map(|measure| measure.name).collect();
    let names = names.join(", ");
    let warm_up = (plan.lasts / 4).max(Duration::from_millis(50));
    ours.run(*workload, warm_up).await?;
    reference.run(*workload, warm_up).await?;
    let mut rounds = vec![Vec::with_capacity(plan.rounds); workload.figures()];
    for round in 1..=plan.rounds {
        report.progress(&format!("{names}: round {round} of {}", plan.rounds));
        let values = ours.run(*workload, plan.lasts).await?;
        let references = reference.run(*workload, plan.lasts).await?;
        for (measure, (value, reference)) in
            rounds.iter_mut().zip(values.into_iter().zip(references))
        {
            measure.push(Round { value, reference });
        }
    }
    for (measure, rounds) in measures.iter().zip(&rounds) {
        let summary = Summary::of(rounds).filter(|summary| summary.n == plan.rounds);
        let seconds = plan.lasts.as_secs_f64();
        let summary = summary.ok_or(Failure::Nothing { measure: measure.name, seconds })?;
        if plan.wants(measure) {
            report
                .result(measure, &summary, of_tcp)
                .map_err(|error| Failure::System("standard output", error))?;
        }
    }
    Ok(())
}
