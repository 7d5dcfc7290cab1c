//! Suite `mixed`: work of one kind beside work of another, which must not hold it up.

mod beside;
mod bulk;

use crate::{
    failure::Failure,
    report::Report,
    suite::{Better, Measure, Plan, Suite},
};

pub(crate) const SUITE: Suite = Suite {
    name: "mixed",
    about: "requests beside messages of 32 MB and 320 MB, and a fast receiver beside one that takes nothing",
    measures: || bulk::SIZES.iter().flat_map(|size| &size.measures).chain(beside::ALL).collect(),
    run,
};

/// The 99th percentile of requests beside large messages.
const fn ping(name: &'static str) -> Measure {
    Measure {
        name,
        unit: "us",
        better: Better::Lower,
        reference: Some("bare quinn, by priority"),
        floor: Some(1.5),
    }
}

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(async {
        bulk::take(plan, report).await?;
        beside::take(plan, report).await
    })
}
