//! What has no reference: how long a journal takes to recover, what its actors take of the memory, and what a turn costs by the size of the
//! state.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use actogen::prelude::*;
use actogen_journal::{Journal, JournalBuilder, Journaled, JournaledActor, Turn};
use futures_util::future::try_join_all;

use super::{folder, ours};
use crate::{
    allocations,
    failure::Failure,
    report::Report,
    statistics::Summary,
    suite::{Better, Measure, Plan},
};

const fn figure(name: &'static str, unit: &'static str) -> Measure {
    Measure { name, unit, better: Better::Lower, reference: None, floor: None }
}

pub(super) const FIGURES: &[Measure] = &[RECOVERY, PASSIVE, ACTIVE];

/// From a file as a process leaves it that is killed, to the first answer.
const RECOVERY: Measure = figure("recovery", "ms");
const PASSIVE: Measure = figure("passive_actor_bytes", "bytes");
const ACTIVE: Measure = figure("active_actor_bytes", "bytes");

/// A turn, its answer included, one after the other; by the bytes of the state and by how it is kept.
pub(super) const STATES: &[(usize, bool, Measure)] = &[
    (1024, false, figure("turn_1k_snapshot", "us")),
    (1024, true, figure("turn_1k_deltas", "us")),
    (1024 * 1024, false, figure("turn_1m_snapshot", "us")),
    (1024 * 1024, true, figure("turn_1m_deltas", "us")),
];

/// Turns that a recovery has behind it, unless `--messages` says otherwise.
const TURNS: u64 = 1_000_000;

/// Actors that take them.
const ACTORS: usize = 1000;

/// Actors whose memory is measured.
const IDLERS: usize = 10_000;

/// So many of them are asked at once.
const AT_ONCE: usize = 250;

/// How long they have nothing to do before they leave the memory: none does before all have been asked, on a machine that is not busy.
const IDLE: Duration = Duration::from_secs(10);

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Adds one; answers with the sum.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Touch", reply = "u64")]
struct Touch;

macro_rules! sized {
    ($name:ident, $kind:literal, $keep:literal) => {
        /// A sum beside as many bytes as its key says.
        #[derive(Debug, JournaledActor, Serialize, Deserialize)]
        #[journaled(kind = $kind, keep = $keep, messages(Touch), begin = $name::begin)]
        struct $name {
            sum: u64,
            #[serde(with = "serde_bytes")]
            rest: Vec<u8>,
        }

        impl $name {
            fn begin(key: &str) -> Self {
                Self { sum: 0, rest: vec![7; key.parse().unwrap_or_default()] }
            }
        }

        impl Actor for $name {
            type Context = Turn<Self>;
        }

        impl Handler<Touch> for $name {
            type Result = u64;

            fn handle(&mut self, _: Touch, _: &mut Turn<Self>) -> u64 {
                self.sum += 1;
                self.sum
            }
        }
    };
}

sized!(Whole, "whole", "snapshot");
sized!(Changing, "changing", "deltas");

fn put_out(
    report: &mut Report,
    measure: &'static Measure,
    values: &[f64],
    lasts: Duration,
    more: &[(&'static str, u64)],
) -> Result<(), Failure> {
    let nothing = Failure::Nothing { measure: measure.name, seconds: lasts.as_secs_f64() };
    report.result_with(measure, &Summary::alone(values).ok_or(nothing)?, more)
}

pub(super) async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    if plan.wants(&RECOVERY) {
        recovery(plan, report).await?;
    }
    if plan.wants_any([&PASSIVE, &ACTIVE]) {
        memory(plan, report).await?;
    }
    for (bytes, is_changes, measure) in STATES {
        if plan.wants(measure) {
            let context = crate::ours::root(plan.settings).await?;
            match is_changes {
                false => turns::<Whole>(plan, report, &context, *bytes, measure).await?,
                true => turns::<Changing>(plan, report, &context, *bytes, measure).await?,
            }
            context.shutdown().await;
        }
    }
    Ok(())
}

async fn recovery(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let (folder, context) = (folder()?, crate::ours::root(plan.settings).await?);
    let (file, turns) = (folder.path().join("ours.redb"), plan.messages.unwrap_or(TURNS));
    report.progress(&format!("{turns} turns to recover from"));
    let bench = ours::Bench::open(&context, &file, ACTORS).await?;
    while bench.turns() < turns {
        bench.run(64, Duration::from_millis(200)).await?;
    }
    let taken = bench.turns();
    // Nothing is under way: a copy is what a process leaves that is killed now.
    let killed = folder.path().join("killed.redb");
    let copied = |from: &Path, to: &Path| {
        std::fs::copy(from, to).map_err(|error| Failure::System("a copy of a journal", error))
    };
    let bytes = copied(&file, &killed)?;
    bench.close().await;
    let mut times = Vec::new();
    for round in 1..=plan.rounds {
        report.progress(&format!("recovery: round {round} of {}", plan.rounds));
        copied(&killed, &file)?;
        let begun = Instant::now();
        let bench = ours::Bench::open(&context, &file, ACTORS).await?;
        bench.ask(0).await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        bench.close().await;
    }
    context.shutdown().await;
    let more = [("turns", taken), ("actors", ACTORS as u64), ("file_bytes", bytes)];
    put_out(report, &RECOVERY, &times, plan.lasts, &more)
}

async fn memory(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let (mut passive, mut active) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        report.progress(&format!("memory of actors: round {round} of {}", plan.rounds));
        let (folder, context) = (folder()?, crate::ours::root(plan.settings).await?);
        // The store's own cache is in both.
        let builder = Journal::builder(&context, folder.path().join("ours.redb")).idle(IDLE);
        let journal = opened(builder.kind::<Whole>()).await?;
        let client = journal.client();
        allocations::start();
        for first in (0..IDLERS).step_by(AT_ONCE) {
            let touch = async |number: usize| {
                // No number: nothing but the sum is in its state.
                let actor = named::<Whole>(&journal, &format!("idler {number}"))?;
                let touched = client.send(&actor, Touch).await;
                touched.map_err(Failure::ours("asking an actor"))
            };
            try_join_all((first..IDLERS.min(first + AT_ONCE)).map(touch)).await?;
        }
        let (awake, with) = (journal.stats().awake, allocations::held());
        let begun = Instant::now();
        while journal.stats().awake > 0 {
            if begun.elapsed() > PATIENCE {
                return Err(Failure::Nothing { measure: PASSIVE.name, seconds: 60.0 });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let without = allocations::held();
        allocations::stop();
        if awake > 0 {
            active.push((with - without) as f64 / awake as f64);
        }
        passive.push(without as f64 / IDLERS as f64);
        journal.close().await;
        context.shutdown().await;
    }
    let more = [("actors", IDLERS as u64)];
    for (measure, values) in [(&PASSIVE, &passive), (&ACTIVE, &active)] {
        if plan.wants(measure) {
            put_out(report, measure, values, plan.lasts, &more)?;
        }
    }
    Ok(())
}

async fn turns<A: JournaledActor>(
    plan: &Plan,
    report: &mut Report,
    context: &Context,
    bytes: usize,
    measure: &'static Measure,
) -> Result<(), Failure>
where
    Touch: actogen::MessageOf<A>,
{
    let folder = folder()?;
    let builder = Journal::builder(context, folder.path().join("ours.redb"));
    let journal = opened(builder.kind::<A>()).await?;
    let (actor, client) = (named::<A>(&journal, &bytes.to_string())?, journal.client());
    let ask = async || client.send(&actor, Touch).await.map_err(Failure::ours("asking an actor"));
    // The first turn writes the whole, however it is kept.
    ask().await?;
    let mut times = Vec::new();
    let before = journal.stats();
    for round in 1..=plan.rounds {
        report.progress(&format!("{}: round {round} of {}", measure.name, plan.rounds));
        let (begun, mut done) = (Instant::now(), 0_u32);
        while begun.elapsed() < plan.lasts {
            ask().await?;
            done += 1;
        }
        times.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(done.max(1)));
    }
    let after = journal.stats();
    let written = (after.bytes - before.bytes) / (after.turns - before.turns).max(1);
    journal.close().await;
    put_out(report, measure, &times, plan.lasts, &[("bytes_of_a_turn", written)])
}

async fn opened(builder: JournalBuilder) -> Result<Journal, Failure> {
    builder.open().await.map_err(Failure::ours("opening a journal"))
}

fn named<A: JournaledActor>(journal: &Journal, key: &str) -> Result<Journaled<A>, Failure> {
    journal.actor(key).map_err(Failure::ours("naming an actor"))
}
