//! Requests, one at a time, while large messages go the same way between the same two processes.
//!
//! The large ones have threads of their own at both ends, since to encode or decode one takes longer than a request. The requests go to
//! four actors in turn, one for each lane of the link, so that a share of them has the lane of the large messages.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actogen::{Spawn, prelude::*};
use tokio::sync::oneshot;

use super::ping;
use crate::{
    failure::Failure,
    note::{Note, VAST},
    ours::{self, Ours, Sink, Sizes, Tally, Tell},
    reference::Reference,
    report::Report,
    statistics::{Round, Summary, median},
    suite::{Measure, Plan},
    workload::{Outcome, Span, Workload, latencies},
};

/// Large messages of one size.
pub(super) struct Size {
    bytes: usize,
    pub(super) measures: [Measure; 1],
}

pub(super) const SIZES: &[Size] = &[
    Size { bytes: VAST / 10, measures: [ping("ping_p99_under_32mb")] },
    Size { bytes: VAST, measures: [ping("ping_p99_under_320mb")] },
];

/// For this suite only: the largest message, and mailboxes that hold some of them.
const LARGEST: Sizes = Sizes { message: 512 * 1024 * 1024, mailbox: 2 * 1024 * 1024 * 1024 };

/// Large messages that are under way at once.
const AHEAD: usize = 2;

/// How many lanes a link has; the low two bits of a handle name one.
const LANES: usize = 4;

/// Actors that are spawned until each lane has one. That so many do not suffice happens once in 10^12 times.
const TRIES: usize = 100;

/// Asks for a sink on a thread of its own.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.MakeApart", reply = "Result<Remote<Sink>, String>")]
struct MakeApart;

/// Starts sinks on threads of their own.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.yard", messages(MakeApart), spawn = custom)]
struct Yard {
    context: Context,
}

impl Spawn for Yard {
    type Args = ();

    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone() }
    }
}

impl Actor for Yard {
    type Context = actix::Context<Self>;
}

impl Handler<MakeApart> for Yard {
    type Result = ResponseFuture<Result<Remote<Sink>, String>>;

    fn handle(&mut self, _: MakeApart, _: &mut Self::Context) -> Self::Result {
        let context = self.context.clone();
        Box::pin(async move {
            let (tell, told) = oneshot::channel();
            actix::Arbiter::new().spawn_fn(move || drop(tell.send(context.start(Sink::default()))));
            told.await.map_err(|error| error.to_string())
        })
    }
}

/// Two processes, an actor for each lane in the second, and one for large messages.
struct Scene {
    ours: Ours,
    lanes: Vec<Remote<Sink>>,
    apart: Remote<Sink>,
}

impl Scene {
    async fn set(plan: &Plan) -> Result<Self, Failure> {
        let ours = Ours::start_with(plan.settings, LARGEST).await?;
        let yard =
            ours.child.spawn::<Yard>(()).await.map_err(Failure::ours("spawning an actor"))?;
        let apart = yard.send(MakeApart).await.map_err(Failure::ours("starting a sink"))?;
        let apart = apart.map_err(Failure::ours("starting a sink"))?;
        let mut lanes: [Option<Remote<Sink>>; LANES] = Default::default();
        for _ in 0..TRIES {
            let sink = ours.child.spawn::<Sink>(()).await;
            let sink = sink.map_err(Failure::ours("spawning an actor"))?;
            let lane = sink.address().handle.0 as usize % LANES;
            lanes[lane].get_or_insert(sink);
            if lanes.iter().all(Option::is_some) {
                break;
            }
        }
        Ok(Self { ours, lanes: lanes.into_iter().flatten().collect(), apart })
    }

    /// Asks, without anything beside it.
    async fn ask(&self, lasts: Duration) -> Result<Vec<u64>, Failure> {
        ours::within(lasts, ours::ask_in_turn(&self.lanes, lasts)).await
    }

    /// Asks beside messages of so many bytes. The outcome's last figure is the MB a second of those.
    async fn ask_beside_bulk(&self, bytes: usize, lasts: Duration) -> Result<Outcome, Failure> {
        let is_over = Arc::new(AtomicBool::new(false));
        let (tell, told) = oneshot::channel();
        let arbiter = actix::Arbiter::new();
        let (apart, until) = (self.apart.clone(), is_over.clone());
        arbiter.spawn(async move {
            let _ = tell.send(send_bulk(&apart, bytes, &until).await);
        });
        let times = self.ask(lasts).await;
        is_over.store(true, Ordering::Relaxed);
        let rate = ours::within(lasts, async {
            told.await.map_err(Failure::ours("sending large messages"))?
        })
        .await;
        arbiter.stop();
        let mut outcome = latencies(times?);
        outcome.figures.push(rate?);
        Ok(outcome)
    }
}

/// Sends large messages until it is over, [`AHEAD`] at once. MB a second.
async fn send_bulk(to: &Remote<Sink>, bytes: usize, is_over: &AtomicBool) -> Result<f64, Failure> {
    let span = Span::of(Duration::MAX);
    let (mut sent, mut came) = (0, 0);
    let mut tallies = std::collections::VecDeque::new();
    while !is_over.load(Ordering::Relaxed) {
        let message = Tell(Note::new(sent, bytes));
        to.tell(message).await.map_err(Failure::ours("telling"))?;
        sent += 1;
        tallies.push_back(to.send(Tally));
        if tallies.len() >= AHEAD
            && let Some(tally) = tallies.pop_front()
        {
            came += tally.await.map_err(Failure::ours("asking for a tally"))?;
        }
    }
    for tally in tallies {
        came += tally.await.map_err(Failure::ours("asking for a tally"))?;
    }
    let rate = span.rate(sent * bytes as u64) / 1e6;
    Failure::unless_all_came(sent, came)?;
    Ok(rate)
}

pub(super) async fn take(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    let sizes: Vec<_> = SIZES.iter().filter(|size| plan.wants_any(&size.measures)).collect();
    if sizes.is_empty() {
        return Ok(());
    }
    let mut reference = Reference::start(plan.settings).await?;
    reference.check_for(plan, report).await?;
    let scene = Scene::set(plan).await?;
    for Size { bytes, measures: [measure] } in sizes {
        let mut figures = Figures::default();
        for round in 1..=plan.rounds {
            report.progress(&format!("{}: round {round} of {}", measure.name, plan.rounds));
            figures.idle.push(p99(&latencies(scene.ask(plan.lasts).await?))?);
            let alone = scene.ours.run(Workload::Bulk, plan.lasts).await?;
            let value = scene.ask_beside_bulk(*bytes, plan.lasts).await?;
            let reference = reference.ask_beside_bulk(*bytes, plan.lasts).await?;
            figures.rounds.push(Round { value: p99(&value)?, reference: p99(&reference)? });
            figures.bulk.push(rate(&value));
            figures.bulk_alone.push(rate(&alone));
            figures.bulk_of_reference.push(rate(&reference));
        }
        let nothing = Failure::Nothing { measure: measure.name, seconds: plan.lasts.as_secs_f64() };
        let summary = Summary::of(&figures.rounds).ok_or(nothing)?;
        report.result_with(measure, &summary, &figures.more())?;
    }
    scene.ours.end().await;
    reference.end();
    report.reference_is_no_quic();
    Ok(())
}

/// What rounds gave.
#[derive(Default)]
struct Figures {
    rounds: Vec<Round>,
    idle: Vec<f64>,
    bulk: Vec<f64>,
    bulk_alone: Vec<f64>,
    bulk_of_reference: Vec<f64>,
}

impl Figures {
    /// What is told besides: the same percentile with nothing beside it, and what the large messages came to, in MB a second; alone, that
    /// is in messages of 1 MiB.
    fn more(&self) -> [(&'static str, u64); 4] {
        let middle = |figures: &[f64]| median(figures).unwrap_or_default() as u64;
        [
            ("idle_p99_us", middle(&self.idle)),
            ("bulk_mb_s", middle(&self.bulk)),
            ("bulk1m_mb_s", middle(&self.bulk_alone)),
            ("reference_bulk_mb_s", middle(&self.bulk_of_reference)),
        ]
    }
}

/// The 99th percentile of the times in an outcome, in microseconds.
fn p99(outcome: &Outcome) -> Result<f64, Failure> {
    let why = || "no request was answered".to_owned();
    outcome.figures.get(1).copied().ok_or_else(|| Failure::Ours { doing: "asking", why: why() })
}

/// The last figure of an outcome.
fn rate(outcome: &Outcome) -> f64 {
    outcome.figures.last().copied().unwrap_or_default()
}
