//! Suite `journal`: durable turns, beside appending as many bytes to a file and syncing it, and beside bare transactions of the store's engine
//! that write the same rows.

mod bare;
mod figures;
mod ours;

use crate::{
    failure::Failure,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
};

pub(crate) const SUITE: Suite = Suite {
    name: "journal",
    about: "durable turns of journaled actors, beside an appended and synced file, and bare redb",
    measures: || {
        let works = WORKS.iter().flat_map(|work| work.appended.iter().chain(&work.engine));
        let states = figures::STATES.iter().map(|(_, _, measure)| measure);
        works.chain(figures::FIGURES).chain(states).collect()
    },
    run,
};

/// So many actors, so many requests in flight.
struct Work {
    actors: usize,
    in_flight: usize,
    appended: [Measure; 1],
    engine: [Measure; 1],
}

const fn turns(name: &'static str, reference: &'static str, floor: f64) -> [Measure; 1] {
    let (unit, better) = ("turns/s", Better::Higher);
    [Measure { name, unit, better, reference: Some(reference), floor: Some(floor) }]
}

const APPENDED: &str = "append and fdatasync";
const ENGINE: &str = "redb, two-phase, same rows";

const WORKS: &[Work] = &[
    Work {
        actors: 1,
        in_flight: 1,
        appended: turns("turns_1x1", APPENDED, 0.40),
        engine: turns("turns_1x1_of_redb", ENGINE, 0.75),
    },
    Work {
        actors: 1,
        in_flight: 16,
        appended: turns("turns_1x16", APPENDED, 4.5),
        engine: turns("turns_1x16_of_redb", ENGINE, 0.75),
    },
    Work {
        actors: 1000,
        in_flight: 64,
        appended: turns("turns_1000x64", APPENDED, 16.0),
        engine: turns("turns_1000x64_of_redb", ENGINE, 0.75),
    },
];

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    for work in WORKS {
        let Work { actors, in_flight, appended, engine } = work;
        if !plan.wants_any(appended.iter().chain(engine)) {
            continue;
        }
        let folder = folder()?;
        let context = crate::ours::root(plan.settings).await?;
        let bench = ours::Bench::open(&context, &folder.path().join("ours.redb"), *actors).await?;
        let ours = async |lasts| bench.run(*in_flight, lasts).await;
        // So that the reference knows how much a turn writes.
        ours(std::time::Duration::from_millis(100)).await?;
        if plan.wants_any(appended) {
            let file = bare::File::open(&folder.path().join("appended"), bench.bytes_of_a_turn())?;
            rounds::take(plan, report, appended, ours, async |lasts| file.run(lasts)).await?;
            report.progress(&bench.told());
        }
        if plan.wants_any(engine) {
            for is_in_two_phases in [false, true] {
                let path = folder.path().join(format!("bare-{is_in_two_phases}.redb"));
                let bare = bare::Engine::open(&path, *actors, *in_flight, is_in_two_phases)?;
                let reference = async |lasts| bare.run(lasts);
                if is_in_two_phases {
                    rounds::take(plan, report, engine, ours, reference).await?;
                } else {
                    let rate = bare.run(plan.lasts)?;
                    let rate = rate.figures.first().copied().unwrap_or_default();
                    report.progress(&format!("bare redb in one phase: {rate:.0} turns/s"));
                }
            }
        }
        bench.close().await;
        context.shutdown().await;
    }
    figures::measure(plan, report).await
}

/// A folder on a disk: where temporary files lie in memory, syncing them is no measure. `ACTOGEN_BENCH_DIR`, or else the current folder.
fn folder() -> Result<tempfile::TempDir, Failure> {
    let place = std::env::var_os("ACTOGEN_BENCH_DIR").unwrap_or_else(|| ".".into());
    tempfile::Builder::new()
        .prefix("actogen-bench-journal-")
        .tempdir_in(place)
        .map_err(|error| Failure::System("a folder for the journal (ACTOGEN_BENCH_DIR)", error))
}
