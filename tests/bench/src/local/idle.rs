//! What actors take that do nothing: bytes of the heap, by the bench's own allocator.
//!
//! All of it is in there: the actor, its task, its context, what makes it reachable, and its share of the tables.

use std::{cell::Cell, rc::Rc, time::Duration};

use actogen::prelude::*;

use crate::{allocations, failure::Failure, workload::Outcome};

/// Enough for tables to be as full as they usually are.
const ACTORS: usize = 10_000;

/// How long all of them may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.Nothing")]
struct Nothing;

/// Says that it has started, and waits.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen-bench.idler", messages(Nothing))]
struct Idler {
    started: Rc<Cell<usize>>,
}

impl Actor for Idler {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.started.set(self.started.get() + 1);
    }
}

impl Handler<Nothing> for Idler {
    type Result = ();

    fn handle(&mut self, _: Nothing, _: &mut Self::Context) {}
}

/// Actors that can be reached from anywhere, in a context of their own, whose tables are empty.
pub(super) async fn ours(
    context: impl Future<Output = Result<Context, Failure>>,
) -> Result<Outcome, Failure> {
    // From before the context on, so that it is known when all of that is gone again.
    allocations::start();
    let context = context.await?;
    let held = Held::by(|idler| context.start(idler)).await?;
    context.shutdown().await;
    drop(context);
    held.given_back().await
}

/// Plain actors, which end with their addresses.
pub(super) async fn actix() -> Result<Outcome, Failure> {
    allocations::start();
    Held::by(Actor::start).await?.given_back().await
}

/// Bytes that the actors took together.
struct Held(i64);

impl Held {
    async fn by<T>(start: impl Fn(Idler) -> T) -> Result<Self, Failure> {
        let started = Rc::new(Cell::new(0));
        let mut addresses = Vec::with_capacity(ACTORS);
        let before = allocations::held();
        addresses.extend((0..ACTORS).map(|_| start(Idler { started: started.clone() })));
        until("starting idle actors", || started.get() == ACTORS).await?;
        Ok(Self(allocations::held() - before))
    }

    /// Waits until nearly all that has been counted is free again, or the next count would see it go.
    async fn given_back(self) -> Result<Outcome, Failure> {
        let all = until("ending idle actors", || allocations::held() < self.0 / 20).await;
        allocations::stop();
        all?;
        Ok((self.0 as f64 / ACTORS as f64).into())
    }
}

/// Lets the actors run until a condition holds.
async fn until(doing: &'static str, holds: impl Fn() -> bool) -> Result<(), Failure> {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let why = || format!("not all had within {PATIENCE:?}; {} bytes are held", allocations::held());
    tokio::time::timeout(PATIENCE, wait).await.map_err(|_| Failure::Ours { doing, why: why() })
}
