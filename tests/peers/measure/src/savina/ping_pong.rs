//! One ball between two actors.

use std::sync::Arc;

use super::{Behaviour, Debt, Go, Later, Leader, Side, System};
use crate::Error;

/// Balls in a performance, one after the other.
pub(super) const SIZE: u32 = 250;

#[derive(Debug)]
struct Ping;

struct Ponger<S: System>(S::Address<Pinger<S>>);

impl<S: System> Behaviour<S> for Ponger<S> {
    type Message = Ping;

    fn handle(&mut self, _: Ping) -> Option<Later> {
        S::tell(&self.0, Play::Pong);
        None
    }
}

enum Play<S: System> {
    Meet(S::Address<Ponger<S>>),
    Go(Go),
    Pong,
}

super::opaque!(Play);

struct Pinger<S: System> {
    ponger: Option<S::Address<Ponger<S>>>,
    balls: u32,
    left: u32,
    debt: Debt,
}

impl<S: System> Pinger<S> {
    fn ping(&self) {
        if let Some(ponger) = &self.ponger {
            S::tell(ponger, Ping);
        }
    }
}

impl<S: System> Behaviour<S> for Pinger<S> {
    type Message = Play<S>;

    fn handle(&mut self, message: Play<S>) -> Option<Later> {
        match message {
            Play::Meet(ponger) => self.ponger = Some(ponger),
            Play::Go(Go { size, done }) => {
                (self.balls, self.left, self.debt) = (size, size, Debt(Some(done)));
                self.ping();
            }
            Play::Pong => {
                self.left -= 1;
                if self.left == 0 {
                    self.debt.pay(Ok(2 * u64::from(self.balls)));
                } else {
                    self.ping();
                }
            }
        }
        None
    }
}

pub(super) async fn start<S: System>(system: &S) -> Result<Leader, Error> {
    let pinger = Pinger::<S> { ponger: None, balls: 0, left: 0, debt: Debt::default() };
    let pinger = system.start(Side::Here, pinger).await?;
    let ponger = system.start(Side::There, Ponger::<S>(pinger.clone())).await?;
    S::tell(&pinger, Play::Meet(ponger));
    Ok(Arc::new(move |go| S::tell(&pinger, Play::Go(go))))
}
