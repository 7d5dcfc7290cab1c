//! A token goes round a ring of a hundred actors.

use std::sync::Arc;

use super::{Behaviour, Debt, Go, Later, Leader, Side, System};
use crate::Error;

/// Times that the token goes round in a performance.
pub(super) const SIZE: u32 = 5;

const RING: usize = 100;

enum Pass<S: System> {
    Meet(S::Address<Ringed<S>>),
    Go(Go),
    /// So many hops are left to it.
    Token(u32),
}

super::opaque!(Pass);

/// One of the ring. The token's way begins and ends at the one that is told to go.
struct Ringed<S: System> {
    next: Option<S::Address<Ringed<S>>>,
    hops: u32,
    debt: Debt,
}

impl<S: System> Ringed<S> {
    fn new(next: Option<S::Address<Self>>) -> Self {
        Self { next, hops: 0, debt: Debt::default() }
    }

    fn pass(&self, left: u32) {
        if let Some(next) = &self.next {
            S::tell(next, Pass::Token(left - 1));
        }
    }
}

impl<S: System> Behaviour<S> for Ringed<S> {
    type Message = Pass<S>;

    fn handle(&mut self, message: Pass<S>) -> Option<Later> {
        match message {
            Pass::Meet(next) => self.next = Some(next),
            Pass::Go(Go { size, done }) => {
                (self.hops, self.debt) = (size * RING as u32, Debt(Some(done)));
                self.pass(self.hops);
            }
            Pass::Token(0) => self.debt.pay(Ok(u64::from(self.hops))),
            Pass::Token(left) => self.pass(left),
        }
        None
    }
}

pub(super) async fn start<S: System>(system: &S) -> Result<Leader, Error> {
    let first = system.start(Side::Here, Ringed::<S>::new(None)).await?;
    let mut next = first.clone();
    for number in 1..RING {
        next = system.start(Side::of(number + 1), Ringed::<S>::new(Some(next))).await?;
    }
    S::tell(&first, Pass::Meet(next));
    Ok(Arc::new(move |go| S::tell(&first, Pass::Go(go))))
}
