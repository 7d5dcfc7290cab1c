//! Suite `publish`: what it costs to be certain that a message was handled, beside a bare loop that signs and checks as often; and what it
//! costs to reach many behind one link.

mod pair;
mod subscribers;

use crate::{
    failure::Failure,
    reference::Reference,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
    workload::{IN_FLIGHT, Workload},
};
use pair::Pair;

pub(crate) const SUITE: Suite = Suite {
    name: "publish",
    about: "messages that are signed and acknowledged with a signature, 64 in flight, and one message to many behind one link",
    measures: || {
        RELIABLE.iter().chain(REQUESTS).chain(FANS.iter().flat_map(|fan| &fan.cost)).collect()
    },
    run,
};

const RELIABLE: &[Measure] = &[Measure {
    name: "publish_reliable_x64",
    unit: "confirmed/s",
    better: Better::Higher,
    reference: Some("bare quinn, both ends sign and check, 64 in flight"),
    floor: Some(0.6),
}];

/// What certainty costs: nobody expects the signatures for nothing.
const REQUESTS: &[Measure] = &[Measure {
    name: "publish_reliable_of_requests",
    unit: "confirmed/s",
    better: Better::Higher,
    reference: Some("plain requests, 64 in flight"),
    floor: None,
}];

/// So many subscribers behind one link, and what a message costs for each.
struct Fan {
    subscribers: usize,
    cost: [Measure; 1],
}

macro_rules! fan {
    ($subscribers:literal) => {
        Fan {
            subscribers: $subscribers,
            cost: [Measure {
                name: concat!("publish_fanout_", $subscribers),
                unit: "ns/subscriber",
                better: Better::Lower,
                reference: Some("`try_send` to each, no topic"),
                floor: None,
            }],
        }
    };
}

static FANS: &[Fan] = &[fan!(1), fan!(10), fan!(100), fan!(1000)];

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let pair = Pair::start(plan.settings).await?;
    let reliable = async |lasts| pair.publish_reliably(lasts).await;
    if plan.wants_any(RELIABLE) {
        let mut reference = Reference::start(plan.settings).await?;
        reference.check_for(plan, report).await?;
        let bare = async |lasts| reference.publish(IN_FLIGHT, crate::note::SMALL, lasts).await;
        rounds::take(plan, report, RELIABLE, reliable, bare).await?;
        reference.end();
    }
    if plan.wants_any(REQUESTS) {
        let requests = async |lasts| pair.ours().run(Workload::AskInFlight, lasts).await;
        rounds::take(plan, report, REQUESTS, reliable, requests).await?;
    }
    for Fan { subscribers, cost } in FANS.iter().filter(|fan| plan.wants_any(&fan.cost)) {
        let fan = pair.fan(*subscribers).await?;
        let published = async |lasts| pair.publish_to(&fan, lasts).await;
        let each = async |lasts| pair.send_to_each(&fan, lasts).await;
        rounds::take(plan, report, cost, published, each).await?;
    }
    pair.end().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fan_is_named_by_its_subscribers() {
        for Fan { subscribers, cost } in FANS {
            assert!(cost[0].name.ends_with(&format!("_{subscribers}")), "{}", cost[0].name);
        }
    }
}
