//! Many actors that are told one after the other, in one child process or in one each.

use std::time::Duration;

use actogen::{Spawn, prelude::*};

use super::{BYTES, costs};
use crate::{
    failure::Failure,
    ours::{self, Sink},
    settings::Settings,
    workload::Outcome,
};

/// Asks for so many sinks.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.MakeSinks", reply = "Vec<Remote<Sink>>")]
struct MakeSinks(u32);

/// Starts sinks in its own context: to spawn each from elsewhere is a round trip.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.nursery", messages(MakeSinks), spawn = custom)]
struct Nursery {
    context: Context,
}

impl Spawn for Nursery {
    type Args = ();

    fn spawn((): (), context: &Context) -> Self {
        Self { context: context.clone() }
    }
}

impl Actor for Nursery {
    type Context = actix::Context<Self>;
}

impl Handler<MakeSinks> for Nursery {
    type Result = MessageResult<MakeSinks>;

    fn handle(&mut self, MakeSinks(number): MakeSinks, _: &mut Self::Context) -> Self::Result {
        MessageResult((0..number).map(|_| self.context.start(Sink::default())).collect())
    }
}

/// The actors, and whatever processes they live in.
pub(super) struct Crowd {
    context: Context,
    _children: Vec<Child>,
    sinks: Vec<Remote<Sink>>,
}

impl Crowd {
    /// So many actors in one child process.
    pub(super) async fn in_one_process(settings: Settings, actors: usize) -> Result<Self, Failure> {
        let context = ours::root(settings).await?;
        let child = ours::child(&context, settings).await?;
        let nursery =
            child.spawn::<Nursery>(()).await.map_err(Failure::ours("spawning an actor"))?;
        let sinks = nursery.send(MakeSinks(actors as u32)).await;
        let sinks = sinks.map_err(Failure::ours("starting actors"))?;
        Ok(Self { context, _children: vec![child], sinks })
    }

    /// One actor in each of so many child processes.
    pub(super) async fn in_processes(settings: Settings, children: usize) -> Result<Self, Failure> {
        let context = ours::root(settings).await?;
        let mut crowd = Self { context, _children: Vec::new(), sinks: Vec::new() };
        for _ in 0..children {
            let child = ours::child(&crowd.context, settings).await?;
            let sink = child.spawn::<Sink>(()).await;
            crowd.sinks.push(sink.map_err(Failure::ours("spawning an actor"))?);
            crowd._children.push(child);
        }
        Ok(crowd)
    }

    /// Tells so many of them, and says what a message costs.
    pub(super) async fn tell(&self, number: usize, lasts: Duration) -> Result<Outcome, Failure> {
        let told = ours::within(lasts, ours::tell(&self.sinks[..number], BYTES, lasts)).await?;
        Ok(costs(told.rate.into()))
    }

    pub(super) async fn end(self) {
        self.context.shutdown().await;
    }
}
