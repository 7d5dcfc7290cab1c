//! One actor counts what another sends, and is asked for the sum at the end.

use std::sync::Arc;

use super::{Behaviour, Debt, Go, Later, Leader, Side, System};
use crate::Error;

/// Messages in a performance.
pub(super) const SIZE: u32 = 4000;

#[derive(Debug)]
enum Count {
    Increment,
    Retrieve,
}

struct Counter<S: System> {
    count: u32,
    producer: S::Address<Producer<S>>,
}

impl<S: System> Behaviour<S> for Counter<S> {
    type Message = Count;

    fn handle(&mut self, message: Count) -> Option<Later> {
        match message {
            Count::Increment => self.count += 1,
            Count::Retrieve => {
                S::tell(&self.producer, Produce::Counted(std::mem::take(&mut self.count)));
            }
        }
        None
    }
}

enum Produce<S: System> {
    Meet(S::Address<Counter<S>>),
    Go(Go),
    Counted(u32),
}

super::opaque!(Produce);

struct Producer<S: System> {
    counter: Option<S::Address<Counter<S>>>,
    sent: u32,
    debt: Debt,
}

impl<S: System> Behaviour<S> for Producer<S> {
    type Message = Produce<S>;

    fn handle(&mut self, message: Produce<S>) -> Option<Later> {
        match (message, &self.counter) {
            (Produce::Meet(counter), _) => self.counter = Some(counter),
            (Produce::Go(Go { size, done }), Some(counter)) => {
                (self.sent, self.debt) = (size, Debt(Some(done)));
                for _ in 0..size {
                    S::tell(counter, Count::Increment);
                }
                S::tell(counter, Count::Retrieve);
            }
            // Whoever waits learns of it: what the answer would go into is gone.
            (Produce::Go(_), None) => {}
            (Produce::Counted(count), _) => self.debt.pay(if count == self.sent {
                Ok(u64::from(count) + 2)
            } else {
                Err(format!("{count} were counted of {}", self.sent))
            }),
        }
        None
    }
}

pub(super) async fn start<S: System>(system: &S) -> Result<Leader, Error> {
    let producer = Producer::<S> { counter: None, sent: 0, debt: Debt::default() };
    let producer = system.start(Side::Here, producer).await?;
    let counter = Counter::<S> { count: 0, producer: producer.clone() };
    let counter = system.start(Side::There, counter).await?;
    S::tell(&producer, Produce::Meet(counter));
    Ok(Arc::new(move |go| S::tell(&producer, Produce::Go(go))))
}
