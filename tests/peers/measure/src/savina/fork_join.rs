//! Many workers get many messages each, by turns, and each says when it has done its last.

use std::sync::Arc;

use super::{Behaviour, Debt, Go, Later, Leader, Side, System};
use crate::Error;

/// Messages for each worker in a performance.
pub(super) const SIZE: u32 = 100;

const WORKERS: u32 = 60;

/// Some work, and whether it is the last of this performance.
#[derive(Debug)]
struct Fork(bool);

struct Worker<S: System>(S::Address<Forker<S>>);

impl<S: System> Behaviour<S> for Worker<S> {
    type Message = Fork;

    fn handle(&mut self, Fork(is_last): Fork) -> Option<Later> {
        // Savina's own work, which is next to none.
        let theta = std::hint::black_box(37.2_f64);
        std::hint::black_box(theta.sin().powi(2));
        if is_last {
            S::tell(&self.0, Lead::Joined);
        }
        None
    }
}

enum Lead<S: System> {
    Meet(Vec<S::Address<Worker<S>>>),
    Go(Go),
    Joined,
}

super::opaque!(Lead);

struct Forker<S: System> {
    workers: Vec<S::Address<Worker<S>>>,
    each: u32,
    joined: u32,
    debt: Debt,
}

impl<S: System> Behaviour<S> for Forker<S> {
    type Message = Lead<S>;

    fn handle(&mut self, message: Lead<S>) -> Option<Later> {
        match message {
            Lead::Meet(workers) => self.workers = workers,
            Lead::Go(Go { size, done }) => {
                (self.each, self.joined, self.debt) = (size, 0, Debt(Some(done)));
                for number in 1..=size {
                    for worker in &self.workers {
                        S::tell(worker, Fork(number == size));
                    }
                }
            }
            Lead::Joined => {
                self.joined += 1;
                if self.joined == WORKERS {
                    self.debt.pay(Ok(u64::from((self.each + 1) * WORKERS)));
                }
            }
        }
        None
    }
}

pub(super) async fn start<S: System>(system: &S) -> Result<Leader, Error> {
    let forker = Forker::<S> { workers: Vec::new(), each: 0, joined: 0, debt: Debt::default() };
    let forker = system.start(Side::Here, forker).await?;
    let mut workers = Vec::new();
    for _ in 0..WORKERS {
        workers.push(system.start(Side::There, Worker::<S>(forker.clone())).await?);
    }
    S::tell(&forker, Lead::Meet(workers));
    Ok(Arc::new(move |go| S::tell(&forker, Lead::Go(go))))
}
