//! Suite `groups`: what a group costs as it grows, with its members spread over ten processes: a message to all of them beside as many messages
//! without a group, one more that joins, and a context that has to find out who is in it.

mod keeper;
mod spread;

use crate::{
    failure::Failure,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
};
use spread::Spread;

pub(crate) const SUITE: Suite = Suite {
    name: "groups",
    about: "a message to all of a group beside one to each, joining, and finding the members, over numbers of members",
    measures: || SIZES.iter().flat_map(Size::measures).collect(),
    run,
};

/// A group of so many members, and what is measured of it.
struct Size {
    members: usize,
    broadcast: [Measure; 1],
    join: [Measure; 1],
    lookup: [Measure; 1],
}

impl Size {
    fn measures(&self) -> impl Iterator<Item = &Measure> {
        self.broadcast.iter().chain(&self.join).chain(&self.lookup)
    }
}

macro_rules! size {
    ($members:literal) => {
        Size {
            members: $members,
            broadcast: [cost(
                concat!("group_broadcast_", $members),
                "ns/member",
                "`try_send` to each, no group",
            )],
            join: [cost(concat!("group_join_", $members), "us/join", "group of 10")],
            lookup: [cost(concat!("group_lookup_", $members), "us/lookup", "group of 10")],
        }
    };
}

const fn cost(name: &'static str, unit: &'static str, reference: &'static str) -> Measure {
    Measure { name, unit, better: Better::Lower, reference: Some(reference), floor: None }
}

static SIZES: &[Size] = &[size!(10), size!(100), size!(1000)];

/// What joining and looking up are compared with.
const BASE: usize = 10;

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    report.progress("launching the processes");
    let mut spread = Spread::launch(plan.settings).await?;
    let base = spread.group_of(BASE).await?;
    for size in SIZES.iter().filter(|size| plan.wants_any(size.measures())) {
        let group =
            if size.members == BASE { base.clone() } else { spread.group_of(size.members).await? };
        if plan.wants_any(&size.broadcast) {
            let ours = async |lasts| spread.broadcast(&group, lasts).await;
            let each = async |lasts| spread.send_to_each(&group, lasts).await;
            rounds::take(plan, report, &size.broadcast, ours, each).await?;
        }
        if plan.wants_any(&size.join) {
            let ours = async |lasts| spread.join(&group, lasts).await;
            let base = async |lasts| spread.join(&base, lasts).await;
            rounds::take(plan, report, &size.join, ours, base).await?;
        }
        if plan.wants_any(&size.lookup) {
            let ours = async |lasts| spread.look_up(&group, lasts).await;
            let base = async |lasts| spread.look_up(&base, lasts).await;
            rounds::take(plan, report, &size.lookup, ours, base).await?;
        }
    }
    spread.end().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_is_named_by_its_members() {
        for size in SIZES {
            for measure in size.measures() {
                assert!(measure.name.ends_with(&format!("_{}", size.members)), "{}", measure.name);
            }
        }
        assert_eq!(SIZES[0].members, BASE);
    }
}
