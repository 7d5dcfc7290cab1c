//! Suite `local`: one process, and plain actix beside it: the same messages and handlers, reached by a `Remote` and by an `Addr`.

mod idle;
mod tell;

use crate::{
    failure::Failure,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
};
use tell::Where;

pub(crate) const SUITE: Suite = Suite {
    name: "local",
    about: "actors of one process, beside plain actix",
    measures: || TELLS.iter().flat_map(|(_, measure)| measure).chain(IDLE).collect(),
    run,
};

const TELLS: &[(Where, [Measure; 1])] = &[
    (
        Where::Same,
        [Measure {
            name: "tell_same_arbiter",
            unit: "messages/s",
            better: Better::Higher,
            reference: Some("actix, do_send"),
            floor: Some(2.0),
        }],
    ),
    (
        Where::Across,
        [Measure {
            name: "tell_cross_arbiter",
            unit: "messages/s",
            better: Better::Higher,
            reference: Some("actix, do_send"),
            floor: Some(4.0),
        }],
    ),
];

const IDLE: &[Measure] = &[Measure {
    name: "idle_actor_bytes",
    unit: "bytes",
    better: Better::Lower,
    reference: Some("actix, started"),
    floor: Some(1.5),
}];

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    for (place, measures) in TELLS {
        if plan.wants_any(measures) {
            let context = context(plan).await?;
            let bench = tell::Bench::start(*place, &context).await?;
            let ours = async |lasts| bench.ours(lasts).await;
            let actix = async |lasts| bench.actix(lasts).await;
            rounds::take(plan, report, measures, ours, actix).await?;
            bench.end();
            context.shutdown().await;
        }
    }
    if plan.wants_any(IDLE) {
        let ours = async |_| idle::ours(context(plan)).await;
        let actix = async |_| idle::actix().await;
        rounds::take(plan, report, IDLE, ours, actix).await?;
    }
    Ok(())
}

/// A root context that is asked for nothing but its actors.
async fn context(plan: &Plan) -> Result<actogen::Context, Failure> {
    crate::ours::root(plan.settings).await
}
