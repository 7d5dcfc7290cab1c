//! Suite `remote`: two processes on the loopback, Actogen's and the reference's in turns.

use crate::{
    failure::Failure,
    note::{MEDIUM, SMALL},
    ours::Ours,
    reference::Reference,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
    workload::Workload,
};

pub(crate) const SUITE: Suite = Suite {
    name: "remote",
    about: "one actor tells and asks another, in a child process on the loopback",
    measures: || STEPS.iter().flat_map(|step| step.measures).collect(),
    run,
};

/// A work, and the measures that its figures are, in their order.
struct Step {
    workload: Workload,
    measures: &'static [Measure],
}

const FRAMED: &str = "bare quinn, framed";

const STEPS: &[Step] = &[
    Step {
        workload: Workload::Tell(SMALL),
        measures: &[Measure {
            name: "tell64",
            unit: "messages/s",
            better: Better::Higher,
            reference: Some(FRAMED),
            floor: None,
        }],
    },
    Step {
        workload: Workload::Tell(MEDIUM),
        measures: &[Measure {
            name: "tell1k",
            unit: "messages/s",
            better: Better::Higher,
            reference: Some(FRAMED),
            floor: None,
        }],
    },
    Step {
        workload: Workload::Ask,
        measures: &[
            Measure {
                name: "ask64_p50",
                unit: "us",
                better: Better::Lower,
                reference: Some("bare quinn, echo"),
                floor: None,
            },
            Measure {
                name: "ask64_p99",
                unit: "us",
                better: Better::Lower,
                reference: Some("bare quinn, echo"),
                floor: None,
            },
        ],
    },
    Step {
        workload: Workload::AskInFlight,
        measures: &[Measure {
            name: "ask64_x64",
            unit: "requests/s",
            better: Better::Higher,
            reference: Some("bare quinn, 64 in flight"),
            floor: None,
        }],
    },
    Step {
        workload: Workload::Bulk,
        measures: &[Measure {
            name: "bulk1m",
            unit: "MB/s",
            better: Better::Higher,
            reference: Some("bare quinn, owned MiB"),
            floor: None,
        }],
    },
    Step {
        workload: Workload::Allocations,
        measures: &[Measure {
            name: "allocs_per_tell",
            unit: "allocations",
            better: Better::Lower,
            reference: Some(FRAMED),
            floor: None,
        }],
    },
];

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let mut reference = Reference::start(plan.settings).await?;
    reference.check_for(plan, report).await?;
    let ours = Ours::start(plan.settings).await?;
    for Step { workload, measures } in STEPS {
        if plan.wants_any(*measures) {
            let ours = async |lasts| ours.run(*workload, lasts).await;
            let reference = async |lasts| reference.run(*workload, lasts).await;
            rounds::take(plan, report, measures, ours, reference).await?;
        }
    }
    ours.end().await;
    reference.end();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_measure() {
        for Step { workload, measures } in STEPS {
            let figures = if *workload == Workload::Ask { 2 } else { 1 };
            assert_eq!(measures.len(), figures, "{workload:?}");
        }
    }
}
