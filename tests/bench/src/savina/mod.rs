//! Suite `savina`: seven programs of the Savina benchmarks for actors, through `Remote` on one arbiter, on two and over two processes, beside the same actors on
//! plain actix: on two arbiters where ours are on two, and else on one.
//!
//! A program is performed again and again, each time as large as its mailboxes and links have room for, so that nothing is refused and the same back-pressure
//! holds for all: the next performance begins when all messages of the one before have been handled. Sizes are those of Savina where they are numbers of
//! actors; where Savina burns time in an actor, nothing does here.
//!
//! | room | concept |
//! |---|---|
//! | `stage` | where the actors live, how they reach each other, and how a performance is asked for |
//! | the others | a program each |

mod bank;
mod big;
mod bounded_buffer;
mod counting;
mod fork_join;
mod ping_pong;
mod stage;
mod thread_ring;

use std::{pin::Pin, time::Duration};

use crate::{
    failure::Failure,
    ours,
    report::Report,
    rounds,
    suite::{Better, Measure, Plan, Suite},
    workload::{Outcome, Span},
};
use stage::{Go, Port, Stage};

pub(crate) const SUITE: Suite = Suite {
    name: "savina",
    about: "seven programs of the Savina benchmarks, on one arbiter, on two and over two processes, beside plain actix",
    measures: || {
        PROGRAMS
            .iter()
            .flat_map(|one| one.near.iter().chain(one.on_two).chain(&one.apart))
            .collect()
    },
    run,
};

/// Its actors are started and have met; gives their leader.
type Started<'a> = Pin<Box<dyn Future<Output = Result<Port<Go>, Failure>> + 'a>>;

struct Program {
    near: [Measure; 1],
    /// Where it has something to gain by two arbiters.
    on_two: &'static [Measure],
    apart: [Measure; 1],
    /// What one performance has of whatever the program has many of.
    size: u32,
    start: fn(&Stage) -> Started<'_>,
}

macro_rules! program {
    ($name:literal, $room:ident $(, $on_two:literal)?) => {
        Program {
            near: [messages(concat!($name, "_local"), ON_ONE, Some(1.0))],
            on_two: &[$(messages(concat!($name, $on_two), "actix, two arbiters", Some(2.0)))?],
            apart: [messages(concat!($name, "_remote"), ON_ONE, None)],
            size: $room::SIZE,
            start: |stage| Box::pin($room::start(stage)),
        }
    };
}

const ON_ONE: &str = "actix, one arbiter";

const fn messages(name: &'static str, beside: &'static str, floor: Option<f64>) -> Measure {
    let (unit, better) = ("messages/s", Better::Higher);
    Measure { name, unit, better, reference: Some(beside), floor }
}

static PROGRAMS: &[Program] = &[
    program!("pingpong", ping_pong),
    program!("counting", counting),
    program!("forkjoin", fork_join, "_two"),
    program!("threadring", thread_ring),
    program!("big", big, "_two"),
    program!("bank", bank, "_two"),
    program!("boundedbuffer", bounded_buffer),
];

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    ours::block_on(measure(plan, report))
}

async fn measure(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    for program in PROGRAMS {
        if plan.wants_any(&program.near) {
            let stages = (Stage::near(plan.settings).await?, Stage::Plain(None));
            program.beside_actix(stages, &program.near, plan, report).await?;
        }
        if plan.wants_any(program.on_two) {
            let stages = (Stage::on_two(plan.settings).await?, Stage::plain_on_two());
            program.beside_actix(stages, program.on_two, plan, report).await?;
        }
        if plan.wants_any(&program.apart) {
            let stages = (Stage::apart(plan.settings).await?, Stage::Plain(None));
            program.beside_actix(stages, &program.apart, plan, report).await?;
        }
    }
    Ok(())
}

impl Program {
    async fn beside_actix(
        &self,
        (stage, plain): (Stage, Stage),
        measures: &'static [Measure],
        plan: &Plan,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let (ours, actix) = ((self.start)(&stage).await?, (self.start)(&plain).await?);
        let ours = async |lasts| self.perform(&ours, lasts).await;
        let actix = async |lasts| self.perform(&actix, lasts).await;
        rounds::take(plan, report, measures, ours, actix).await?;
        stage.end().await;
        plain.end().await;
        Ok(())
    }

    /// Performs for a while; messages a second.
    async fn perform(&self, leader: &Port<Go>, lasts: Duration) -> Result<Outcome, Failure> {
        let work = async {
            let (span, mut messages) = (Span::of(lasts), 0);
            while !span.is_over() {
                let answer = leader.ask(Go(self.size)).await;
                let answer = answer.unwrap_or_else(|| Err("its leader has ended".into()));
                messages += answer.map_err(Failure::ours("a performance"))?;
            }
            Ok(span.rate(messages).into())
        };
        ours::within(lasts, work).await
    }
}
