//! Suite `flood`: far more messages than anybody takes, between two processes. What counts is that memory stays within a bound and that
//! every message is accounted for; how many a second is told as well.

mod accounts;
mod memory;
pub(crate) mod target;

use std::time::{Duration, Instant};

use actogen::prelude::*;

use crate::{
    failure::Failure,
    note::{Note, SMALL},
    report::Report,
    statistics::Summary,
    suite::{Better, Measure, Plan, Suite},
};
use accounts::Accounts;
use memory::Memory;
use target::{Drop, Hear, Heard, MakeDead, MakeSleeper, Sleeper, Wake, Warden};

pub(crate) const SUITE: Suite = Suite {
    name: "flood",
    about: "10,000,000 messages to what does not take them, in a child process on the loopback; --seconds does not apply",
    measures: || FLOODS.iter().map(|(_, measure)| measure).collect(),
    run,
};

const MESSAGES: u64 = 10_000_000;

/// What either process may hold above what it held at rest, in bytes.
const BOUND: u64 = 64 * 1024 * 1024;

/// How long it may take until every message is accounted for, and a sender may wait for room.
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages between two yields of the sender: with inline placement the I/O has its thread.
const STRIDE: u64 = 256;

/// How often a sum is looked at that is not right yet.
const LOOK: Duration = Duration::from_millis(5);

/// What is flooded, and how.
#[derive(Clone, Copy, Debug)]
enum Flood {
    /// An actor that waits while the flood lasts, by `try_send`: what finds no room is handed back, and refused.
    Sleeping,
    /// An actor that has stopped, in the other process, by `tell`: all of it goes there, and dies there.
    DeadAddress,
    /// Two actors that have stopped, one here and one there, in turns by `do_send`, which never waits. All of it becomes dead letters,
    /// here or there, and both processes have a subscriber for them.
    DeadLetters,
}

const FLOODS: &[(Flood, Measure)] = &[
    (Flood::Sleeping, measure("flood_sleeping")),
    (Flood::DeadAddress, measure("flood_dead_address")),
    (Flood::DeadLetters, measure("flood_dead_letters")),
];

const fn measure(name: &'static str) -> Measure {
    Measure { name, unit: "messages/s", better: Better::Higher, reference: None, floor: None }
}

fn run(plan: &Plan, report: &mut Report) -> Result<(), Failure> {
    crate::ours::block_on(async {
        for (flood, measure) in FLOODS {
            if plan.wants(measure) {
                take(plan, report, *flood, measure).await?;
            }
        }
        Ok(())
    })
}

async fn take(
    plan: &Plan,
    report: &mut Report,
    flood: Flood,
    measure: &'static Measure,
) -> Result<(), Failure> {
    let messages = plan.messages.unwrap_or(MESSAGES);
    let scene = Scene::set(plan).await?;
    let (mut rates, mut accounts, mut above) = (Vec::new(), Accounts::default(), 0);
    for round in 1..=plan.rounds {
        let what = format!("{}: round {round} of {}", measure.name, plan.rounds);
        let before = scene.accounts().await?;
        let began = Instant::now();
        let progress = |sent: u64| {
            if sent.is_multiple_of(MESSAGES / 10) {
                report.progress(&format!("{what}, {sent} of {messages} messages"));
            }
        };
        scene.flood(flood, messages, progress).await?;
        let after = scene.settled(before).await?;
        rates.push(messages as f64 / began.elapsed().as_secs_f64());
        accounts = after - before;
        above = above.max(scene.above_rest()?);
        report.progress(&format!("{what}: {accounts}; {above} bytes above rest"));
    }
    scene.end().await;
    hold(measure, above)?;
    let seconds = 0.0;
    let summary =
        Summary::alone(&rates).ok_or(Failure::Nothing { measure: measure.name, seconds })?;
    let Accounts { sent, delivered, refused, dead, unknown } = accounts;
    let more = [
        ("sent", sent),
        ("delivered", delivered),
        ("refused", refused),
        ("dead", dead),
        ("unknown", unknown),
        ("rss_above_idle_bytes", above),
        ("bound_bytes", BOUND),
    ];
    report.result_with(measure, &summary, &more)
}

/// A process may not hold more than the bound above what it held at rest.
fn hold(measure: &Measure, above: u64) -> Result<(), Failure> {
    if above > BOUND {
        return Err(Failure::Bound { measure: measure.name, held: above, bound: BOUND });
    }
    Ok(())
}

/// Both processes, and what they held at rest.
struct Scene {
    context: Context,
    _child: Child,
    warden: Remote<Warden>,
    here: Memory,
    there: Memory,
}

impl Scene {
    async fn set(plan: &Plan) -> Result<Self, Failure> {
        let context = crate::ours::root(plan.settings).await?;
        let child = crate::ours::child(&context, plan.settings).await?;
        let warden = child.spawn::<Warden>(()).await.map_err(Failure::ours("spawning an actor"))?;
        // Both have done something before they rest.
        warden.send(Hear).await.map_err(Failure::ours("subscribing to dead letters"))?;
        let here = Memory::at_rest(std::process::id())?;
        let there = Memory::at_rest(child.pid())?;
        Ok(Self { context, _child: child, warden, here, there })
    }

    /// What has become of all messages so far, in both contexts.
    async fn accounts(&self) -> Result<Accounts, Failure> {
        let there =
            self.warden.send(target::Read).await.map_err(Failure::ours("reading counters"))?;
        Ok(Accounts::of(&self.context.stats()) + there)
    }

    async fn flood(
        &self,
        flood: Flood,
        messages: u64,
        progress: impl Fn(u64),
    ) -> Result<(), Failure> {
        let asking = "asking for an actor to flood";
        match flood {
            Flood::Sleeping => {
                let sleeper = self.warden.send(MakeSleeper).await.map_err(Failure::ours(asking))?;
                self.pour(messages, progress, async |message| {
                    // One that comes back is counted as refused.
                    let _ = sleeper.try_send(message);
                    Ok(())
                })
                .await?;
                self.warden.send(Wake).await.map_err(Failure::ours("waking the sleeper"))?;
                Ok(())
            }
            Flood::DeadAddress => {
                let dead = self.dead_there().await?;
                self.pour(messages, progress, async |message| {
                    let telling = tokio::time::timeout(PATIENCE, dead.tell(message)).await;
                    let told = telling.map_err(Failure::ours("telling a dead address"))?;
                    told.map_err(Failure::ours("telling a dead address"))
                })
                .await
            }
            Flood::DeadLetters => {
                let (here, there) = (self.dead_here().await, self.dead_there().await?);
                let letters = target::Letters::hear(&self.context);
                let before = self.letters(&letters).await?;
                let turn = std::cell::Cell::new(false);
                self.pour(messages, progress, async |message| {
                    let to = if turn.replace(!turn.get()) { &here } else { &there };
                    to.do_send(message);
                    Ok(())
                })
                .await?;
                // What a subscriber was too slow for, it is told of.
                let heard = async || Ok(self.letters(&letters).await? - before);
                self.until(messages, heard).await
            }
        }
    }

    async fn pour(
        &self,
        messages: u64,
        progress: impl Fn(u64),
        send: impl AsyncFn(Drop) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        for sent in 1..=messages {
            send(Drop(Note::new(sent, SMALL))).await?;
            if sent.is_multiple_of(STRIDE) {
                tokio::task::yield_now().await;
                progress(sent);
            }
        }
        Ok(())
    }

    /// Dead letters that the subscribers of both contexts have seen, or were told that they have missed.
    async fn letters(&self, here: &target::Letters) -> Result<u64, Failure> {
        let there =
            self.warden.send(Heard).await.map_err(Failure::ours("asking for dead letters"))?;
        Ok(here.heard() + there)
    }

    /// Waits until so many dead letters were heard.
    async fn until(
        &self,
        messages: u64,
        heard: impl AsyncFn() -> Result<u64, Failure>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        loop {
            let heard = heard().await?;
            if heard == messages {
                return Ok(());
            }
            if heard > messages || began.elapsed() > PATIENCE {
                return Err(Failure::Lost { sent: messages, received: heard });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until every message sent since a reading is accounted for.
    async fn settled(&self, before: Accounts) -> Result<Accounts, Failure> {
        let began = Instant::now();
        loop {
            let after = self.accounts().await?;
            let since = after - before;
            if since.balance() {
                return Ok(after);
            }
            if began.elapsed() > PATIENCE {
                return Err(Failure::Unaccounted { accounts: since.to_string() });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The most that either process has held beyond what it held at rest, in bytes.
    fn above_rest(&self) -> Result<u64, Failure> {
        Ok(self.here.above()?.max(self.there.above()?))
    }

    async fn dead_here(&self) -> Remote<Sleeper> {
        let dead = target::sleeper(&self.context).0;
        let watch = self.context.watch(&dead);
        self.context.stop(&dead, actogen::StopReason::Normal);
        watch.await;
        dead
    }

    async fn dead_there(&self) -> Result<Remote<Sleeper>, Failure> {
        let dead = self.warden.send(MakeDead).await;
        let dead = dead.map_err(Failure::ours("asking for a dead address"))?;
        self.context.watch(&dead).await;
        Ok(dead)
    }

    async fn end(self) {
        self.context.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_beyond_the_bound_is_a_failure() {
        let (_, measure) = &FLOODS[0];
        assert!(hold(measure, BOUND).is_ok());
        let failure = hold(measure, BOUND + 1).unwrap_err().to_string();
        assert!(failure.contains("`flood_sleeping`") && failure.contains("67108865"), "{failure}");
    }
}
