//! Many workers get many messages each, by turns, and each says when it has done its last.

use actogen::prelude::*;

use super::stage::{Debt, Go, Port, Side, Stage};
use crate::failure::Failure;

/// Messages for each worker in a performance.
pub(super) const SIZE: u32 = 100;

const WORKERS: u32 = 60;

/// Some work, and whether it is the last of this performance.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Fork")]
struct Fork(bool);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Joined")]
struct Joined;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.MeetWorkers")]
struct Meet(Vec<Port<Fork>>);

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.worker", messages(Fork), spawn(Worker))]
struct Worker(Port<Joined>);

impl Actor for Worker {
    type Context = actix::Context<Self>;
}

impl Handler<Fork> for Worker {
    type Result = ();

    fn handle(&mut self, Fork(is_last): Fork, _: &mut Self::Context) {
        // Savina's own work, which is next to none.
        let theta = std::hint::black_box(37.2_f64);
        std::hint::black_box(theta.sin().powi(2));
        if is_last {
            self.0.tell(Joined);
        }
    }
}

#[derive(Default, RemoteActor)]
#[remote(name = "actogen-bench.savina.forker", messages(Meet, Go, Joined))]
struct Forker {
    workers: Vec<Port<Fork>>,
    each: u32,
    joined: u32,
    debt: Debt,
}

impl Actor for Forker {
    type Context = actix::Context<Self>;
}

impl Handler<Meet> for Forker {
    type Result = ();

    fn handle(&mut self, Meet(workers): Meet, _: &mut Self::Context) {
        self.workers = workers;
    }
}

impl Handler<Go> for Forker {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Go(each): Go, _: &mut Self::Context) -> Self::Result {
        (self.each, self.joined) = (each, 0);
        for number in 1..=each {
            for worker in &self.workers {
                worker.tell(Fork(number == each));
            }
        }
        self.debt.begin()
    }
}

impl Handler<Joined> for Forker {
    type Result = ();

    fn handle(&mut self, _: Joined, _: &mut Self::Context) {
        self.joined += 1;
        if self.joined == WORKERS {
            self.debt.pay(Ok(u64::from((self.each + 1) * WORKERS)));
        }
    }
}

pub(super) async fn start(stage: &Stage) -> Result<Port<Go>, Failure> {
    let forker = stage.lead(Forker::default());
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(stage.start(Side::There, Worker(forker.port())).await?.port());
    }
    forker.port().tell(Meet(workers));
    Ok(forker.port())
}
