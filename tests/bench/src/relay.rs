//! Suite `relay`: three processes in a line, and what the one in the middle passes on.

use crate::{
    failure::Failure,
    note::SMALL,
    offspring::Line,
    ours,
    reference::Reference,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
    workload::Outcome,
};

pub(crate) const SUITE: Suite = Suite {
    name: "relay",
    about: "one actor tells another in a grandchild process, by way of the child",
    measures: || RELAYED.iter().chain(OF_OWN).collect(),
    run,
};

const RELAYED: &[Measure] = &[Measure {
    name: "relay_tell64",
    unit: "messages/s",
    better: Better::Higher,
    reference: Some("bare quinn, relayed"),
    floor: Some(0.75),
}];

/// The same beside what we tell the process in the middle, without a relay.
const OF_OWN: &[Measure] = &[Measure {
    name: "relay_tell64_of_own",
    unit: "messages/s",
    better: Better::Higher,
    reference: Some("own tell64"),
    floor: Some(0.40),
}];

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let line = Line::start(plan.settings).await?;
    let far = line.beget().await?.sink;
    let tell = async |sink: &_, lasts| {
        let tell = ours::tell(std::slice::from_ref(sink), SMALL, lasts);
        Ok(Outcome::from(ours::within(lasts, tell).await?.rate))
    };
    let relayed = async |lasts| tell(&far, lasts).await;
    if plan.wants_any(RELAYED) {
        let mut reference = Reference::start_relayed(plan.settings).await?;
        reference.check_for(plan, report).await?;
        let bare = async |lasts| reference.relay(SMALL, lasts).await;
        rounds::take(plan, report, RELAYED, relayed, bare).await?;
        reference.end();
        report.reference_is_no_quic();
    }
    if plan.wants_any(OF_OWN) {
        let direct = async |lasts| tell(&line.middle, lasts).await;
        rounds::take(plan, report, OF_OWN, relayed, direct).await?;
    }
    line.end().await;
    Ok(())
}
