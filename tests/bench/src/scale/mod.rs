//! Suite `scale`: what one item costs when there are more actors, links, bytes or contexts.

mod contexts;
mod crowd;

use crate::{
    failure::Failure,
    note::{HUGE, SMALL},
    ours::{Ours, Sizes},
    reference::Reference,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
    workload::{Outcome, Workload},
};
use crowd::Crowd;

pub(crate) const SUITE: Suite = Suite {
    name: "scale",
    about: "costs over numbers of actors, of links, of bytes and, simulated, of contexts",
    measures: || ALL.iter().flat_map(|points| *points).flat_map(|point| &point.measures).collect(),
    run,
};

/// A measure for one number.
struct Point {
    number: usize,
    measures: [Measure; 1],
}

/// Points of one series: what stands before the number, the unit, what the cost is compared with, the goal at the largest number.
macro_rules! points {
    ($name:literal, $unit:literal, $reference:literal, $goal:expr, [$($number:literal)*]) => {
        &[$(Point {
            number: $number,
            measures: [Measure {
                name: concat!($name, "_", $number),
                unit: $unit,
                better: Better::Lower,
                reference: Some($reference),
                floor: if $number == 10000 { $goal } else { None },
            }],
        }),*]
    };
}

/// Messages of 64 bytes to so many actors of another process, one after the other.
static ACTORS: &[Point] =
    points!("scale_actors", "ns/message", "100 actors", Some(2.0), [1 10 100 1000 10000]);
/// Messages of 64 bytes to one actor in each of so many child processes, one after the other.
static LINKS: &[Point] = points!("scale_links", "ns/message", "1 link", None, [1 2 4 8 16 32 64]);
/// Messages of so many bytes to one actor of another process.
static PAYLOAD: &[Point] = points!(
    "scale_payload", "ns/message", "bare quinn, framed", None,
    [0 64 1024 16384 65536 262144 1048576 16777216]
);
/// Contexts that come and go at the edge of a tree of so many.
static CONTEXTS: &[Point] =
    points!("scale_contexts", "ns/change", "100 contexts", Some(2.0), [10 100 1000 10000]);

static ALL: [&[Point]; 4] = [ACTORS, LINKS, PAYLOAD, CONTEXTS];

/// What costs of actors and contexts are compared with.
const BASE: usize = 100;

/// What mailboxes hold that are sent messages of any size, in bytes. By default one of the largest fills a mailbox by itself, and the
/// request that follows it, by which a run learns what has been handled, is refused.
const MAILBOX: usize = 4 * HUGE;

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(async {
        actors(plan, report).await?;
        links(plan, report).await?;
        payload(plan, report).await?;
        contexts(plan, report).await
    })
}

/// The points that are asked for.
fn wanted(plan: &Plan, points: &'static [Point]) -> Vec<&'static Point> {
    points.iter().filter(|point| plan.wants_any(&point.measures)).collect()
}

async fn actors(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let points = wanted(plan, ACTORS);
    let Some(most) = points.iter().map(|point| point.number.max(BASE)).max() else { return Ok(()) };
    let crowd = Crowd::in_one_process(plan.settings, most).await?;
    for point in points {
        let ours = async |lasts| crowd.tell(point.number, lasts).await;
        let base = async |lasts| crowd.tell(BASE, lasts).await;
        rounds::take(plan, report, &point.measures, ours, base).await?;
    }
    crowd.end().await;
    Ok(())
}

async fn links(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let points = wanted(plan, LINKS);
    let Some(most) = points.iter().map(|point| point.number).max() else { return Ok(()) };
    report.progress(&format!("launching {most} child processes"));
    let crowd = Crowd::in_processes(plan.settings, most).await?;
    for point in points {
        let ours = async |lasts| crowd.tell(point.number, lasts).await;
        let base = async |lasts| crowd.tell(1, lasts).await;
        rounds::take(plan, report, &point.measures, ours, base).await?;
    }
    crowd.end().await;
    Ok(())
}

async fn payload(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let points = wanted(plan, PAYLOAD);
    if points.is_empty() {
        return Ok(());
    }
    let mut reference = Reference::start(plan.settings).await?;
    reference.check_for(plan, report).await?;
    let sizes = Sizes { mailbox: MAILBOX, ..Sizes::default() };
    let ours = Ours::start_with(plan.settings, sizes).await?;
    for point in points {
        // A message's number is the least that it has.
        let tell = Workload::Tell(point.number.max(size_of::<u64>()));
        let cost = async |lasts| Ok(costs(ours.run(tell, lasts).await?));
        let base = async |lasts| Ok(costs(reference.run(tell, lasts).await?));
        rounds::take(plan, report, &point.measures, cost, base).await?;
    }
    ours.end().await;
    reference.end();
    report.reference_is_no_quic();
    Ok(())
}

async fn contexts(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    for point in wanted(plan, CONTEXTS) {
        let trees =
            std::cell::RefCell::new((contexts::Tree::of(point.number), contexts::Tree::of(BASE)));
        let ours = async |lasts| Ok(trees.borrow_mut().0.change(lasts).into());
        let base = async |lasts| Ok(trees.borrow_mut().1.change(lasts).into());
        rounds::take(plan, report, &point.measures, ours, base).await?;
        let (tree, base) = trees.into_inner();
        report.progress(&format!(
            "{}: a change is {:.1} inputs to machines; {:.1} among {BASE} contexts",
            point.measures[0].name,
            tree.inputs_per_change(),
            base.inputs_per_change()
        ));
    }
    Ok(())
}

/// Nanoseconds that each message takes, of messages a second.
fn costs(rates: Outcome) -> Outcome {
    let figures = rates.figures.into_iter().map(|rate| 1e9 / rate).collect();
    Outcome { figures, ..rates }
}

/// Bytes of each message of a crowd.
const BYTES: usize = SMALL;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_is_named_by_its_number() {
        for point in ALL.into_iter().flatten() {
            let [measure] = &point.measures;
            assert!(measure.name.ends_with(&format!("_{}", point.number)), "{}", measure.name);
        }
        for points in [ACTORS, CONTEXTS] {
            assert!(points.iter().any(|point| point.number == BASE));
            assert_eq!(points.last().and_then(|point| point.measures[0].floor), Some(2.0));
        }
    }

    #[test]
    fn a_cost_is_the_time_of_one() {
        assert_eq!(costs(4e6.into()), 250.0.into());
    }
}
