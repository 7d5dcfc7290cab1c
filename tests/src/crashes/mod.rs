//! The crash campaign: two nodes in processes of their own, under load from outside, killed at every instant that has a name and at random
//! ones, and opened again. Whoever is outside must not be able to tell.
//!
//! Each asker takes one step after the other at a counter of one node, which tells a counter of the other node. All steps have numbers, so
//! the counters notice what is lost and what comes twice by themselves, and the asker notices when an answer is not that of its step.

mod counter;
mod node;
pub mod postgres;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::{Duration, Instant},
};

use actogen::{Child, prelude::*};
use actogen_journal::{Client, Journaled};
use serde::{Deserialize, Serialize};

pub use counter::Counts;
use counter::{Count, Counter, Step};
pub use node::{DieLater, Hello, Mortal, Stores, open_mortal};
use node::{Order, open_node};

/// Askers for each node.
const ASKERS: usize = 4;

/// How long a process may live that is to end itself; then it is killed from outside, at whatever it does.
const LONGEST_LIFE: Duration = Duration::from_millis(400);

/// The how-manieth time that a process comes by an instant is the last one, at most.
const PASSES: u64 = 24;

/// How long an asker waits: through many ends.
const PATIENCE: Duration = Duration::from_secs(120);

/// The names of the nodes.
const NODES: [&str; 2] = ["left", "right"];

/// What a campaign is.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What chance is made of.
    pub seed: u64,
    /// How often a process is killed and opened again.
    pub recoveries: u64,
    /// The instants at which it is killed; all, if there are none.
    pub points: Vec<&'static str>,
}

/// What a campaign has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Processes that were killed and opened again.
    pub recoveries: u64,
    /// Steps that were acknowledged to their askers.
    pub acked: u64,
    /// Acknowledged steps, messages and timers that are missing in the end.
    pub lost: u64,
    /// What has come twice.
    pub duplicated: u64,
    /// Instants at which a process ended itself.
    pub failpoints_hit: usize,
    /// Instants at which it was to.
    pub failpoints_total: usize,
    /// How often at each; `killed` are those that were killed from outside.
    pub hits: BTreeMap<String, u64>,
}

impl Outcome {
    /// Whether nobody outside could tell, and all instants have been tried.
    pub fn holds(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.failpoints_hit == self.failpoints_total
    }
}

/// A small generator: what it gives depends on the seed alone.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What an asker has been answered.
#[derive(Default)]
struct Asked {
    acknowledged: Cell<u64>,
    wrong: Cell<u64>,
}

/// Runs a campaign in a root context whose program can be its own child.
///
/// # Errors
/// When a process cannot be launched, or does not become what it should within its time.
pub async fn run(
    context: &Context,
    stores: &Stores,
    plan: &Plan,
    mut progress: impl FnMut(&Outcome),
) -> actogen::Result<Outcome> {
    let all = if plan.points.is_empty() { stores.points() } else { plan.points.clone() };
    let mut outcome =
        Outcome { seed: plan.seed, failpoints_total: all.len(), ..Outcome::default() };
    let mut chance = Chance(plan.seed);
    let mut nodes = Vec::new();
    for node in NODES {
        nodes.push(Node::launch(context, stores, node, None).await?.0);
    }
    let is_over = Rc::new(Cell::new(false));
    let mut askers = Vec::new();
    for asker in 0..ASKERS * NODES.len() {
        let (here, there) = (counter(asker, 0)?, counter(asker, 1)?);
        let client = Client::new(context).within(PATIENCE);
        let (asked, is_over) = (Rc::new(Asked::default()), is_over.clone());
        let task = tokio::task::spawn_local(ask(client, here, there, asked.clone(), is_over));
        askers.push((asked, task));
    }
    let mut hit = BTreeSet::new();
    while outcome.recoveries < plan.recoveries {
        let which = chance.below(NODES.len() as u64) as usize;
        // Those that have not been tried yet come first.
        let open: Vec<_> = all.iter().filter(|point| !hit.contains(*point)).copied().collect();
        let among = if open.is_empty() { &all } else { &open };
        let point = among[chance.below(among.len() as u64) as usize];
        // A journal is opened once.
        let is_once = ["open.", "postgres.connected", "postgres.lease"];
        let passes = if is_once.iter().any(|once| point.starts_with(once)) { 1 } else { PASSES };
        let pass = 1 + chance.below(passes) as u32;
        nodes[which].kill().await;
        let dies_at = Some((point.to_owned(), pass));
        let (node, opened) = Node::launch(context, stores, NODES[which], dies_at).await?;
        nodes[which] = node;
        let life = Duration::from_micros(chance.below(LONGEST_LIFE.as_micros() as u64));
        let has_ended = if opened { nodes[which].ends_within(life).await } else { true };
        let what = if has_ended { point } else { "killed" };
        if has_ended {
            hit.insert(point);
        }
        *outcome.hits.entry(what.to_owned()).or_default() += 1;
        outcome.recoveries += 1;
        outcome.failpoints_hit = hit.len();
        outcome.acked = askers.iter().map(|(asked, _)| asked.acknowledged.get()).sum();
        progress(&outcome);
        // One that has given up was not answered for as long as it has patience: nobody works any more.
        if let Some(given_up) = askers.iter().position(|(_, task)| task.is_finished()) {
            let (_, task) = askers.swap_remove(given_up);
            task.await??;
        }
    }
    for (which, node) in NODES.into_iter().enumerate() {
        nodes[which].kill().await;
        nodes[which] = Node::launch(context, stores, node, None).await?.0;
    }
    is_over.set(true);
    outcome.acked = 0;
    for (number, (asked, task)) in askers.into_iter().enumerate() {
        task.await??;
        outcome.acked += asked.acknowledged.get();
        outcome.duplicated += asked.wrong.get();
        settle(context, number, asked.acknowledged.get(), &mut outcome).await?;
    }
    for node in nodes {
        node.kill().await;
    }
    Ok(outcome)
}

/// The counter of an asker at its own node, or at the other one.
fn counter(asker: usize, other: usize) -> actogen::Result<Journaled<Counter>> {
    let node = NODES[(asker + other) % NODES.len()];
    Ok(Journaled::at(node, &format!("{asker}"))?)
}

/// Takes one step after the other until it is over.
async fn ask(
    client: Client,
    here: Journaled<Counter>,
    there: Journaled<Counter>,
    asked: Rc<Asked>,
    is_over: Rc<Cell<bool>>,
) -> actogen::Result<()> {
    let mut number = 0;
    while !is_over.get() {
        number += 1;
        let answer = client.send(&here, Step { number, next: there.clone() }).await?;
        if answer != number {
            asked.wrong.set(asked.wrong.get() + 1);
        }
        asked.acknowledged.set(number);
    }
    Ok(())
}

/// Waits until all that an asker's steps have caused has come to an end, and counts what is wrong with it.
async fn settle(
    context: &Context,
    asker: usize,
    acknowledged: u64,
    outcome: &mut Outcome,
) -> actogen::Result<()> {
    let client = Client::new(context).within(PATIENCE);
    let (here, there) = (counter(asker, 0)?, counter(asker, 1)?);
    let end = Instant::now() + PATIENCE;
    loop {
        let (own, other) = (client.send(&here, Count).await?, client.send(&there, Count).await?);
        let is_settled = other.heard >= acknowledged && own.fired >= own.set;
        if is_settled || Instant::now() > end {
            outcome.lost += own.lost + other.lost;
            outcome.lost += acknowledged.saturating_sub(own.steps);
            outcome.lost += acknowledged.saturating_sub(other.heard);
            outcome.lost += own.set.saturating_sub(own.fired);
            outcome.duplicated += own.twice + other.twice;
            outcome.duplicated += own.steps.saturating_sub(acknowledged);
            outcome.duplicated += other.heard.saturating_sub(acknowledged);
            outcome.duplicated += own.fired.saturating_sub(own.set);
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A node's process.
struct Node(Child);

impl Node {
    /// Launches a process and lets it open a node's journal; whether it has, or has ended while it did.
    async fn launch(
        context: &Context,
        stores: &Stores,
        node: &str,
        dies_at: Option<(String, u32)>,
    ) -> actogen::Result<(Self, bool)> {
        let child = context.launch(Launch::local()).await?;
        let is_to_end = dies_at.is_some();
        let order = Order { stores: stores.clone(), node: node.to_owned(), dies_at };
        let opened = child.call::<open_node>(order).await;
        match opened {
            Ok(()) => Ok((Self(child), true)),
            Err(_) if is_to_end && !is_alive(&child) => Ok((Self(child), false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the process ends itself within this time.
    async fn ends_within(&self, life: Duration) -> bool {
        tokio::time::timeout(life, self.0.exited()).await.is_ok()
    }

    /// Kills the process, if it lives, and waits until it has ended.
    async fn kill(&self) {
        if let Some(process) = pid(&self.0) {
            node::die(process);
        }
        self.0.exited().await;
    }
}

fn pid(child: &Child) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(child.pid().try_into().ok()?)
}

fn is_alive(child: &Child) -> bool {
    pid(child).is_some_and(|process| rustix::process::test_kill_process(process).is_ok())
}
