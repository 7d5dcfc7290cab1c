//! Producers and consumers with a buffer between them, which a manager keeps: who would overfill it waits to be asked again.

use std::{collections::VecDeque, sync::Arc};

use super::{Behaviour, Debt, Go, Later, Leader, Side, System};
use crate::Error;

/// Items in a performance.
pub(super) const SIZE: u32 = 2000;

const PRODUCERS: usize = 40;
const CONSUMERS: usize = 40;

/// From so many on nobody is asked for more: what is under way then still finds room in a buffer of 50.
const HIGH: usize = 50 - PRODUCERS;

#[derive(Debug)]
struct Produce;

struct Producer<S: System> {
    number: usize,
    made: u64,
    manager: S::Address<Manager<S>>,
}

impl<S: System> Behaviour<S> for Producer<S> {
    type Message = Produce;

    fn handle(&mut self, _: Produce) -> Option<Later> {
        self.made += 1;
        S::tell(&self.manager, Manage::Item(self.number, self.made));
        None
    }
}

#[derive(Debug)]
struct Consume(u64);

struct Consumer<S: System> {
    number: usize,
    manager: S::Address<Manager<S>>,
}

impl<S: System> Behaviour<S> for Consumer<S> {
    type Message = Consume;

    fn handle(&mut self, Consume(item): Consume) -> Option<Later> {
        std::hint::black_box(item);
        S::tell(&self.manager, Manage::Consumed(self.number));
        None
    }
}

enum Manage<S: System> {
    Meet(Vec<S::Address<Producer<S>>>, Vec<S::Address<Consumer<S>>>),
    Go(Go),
    /// An item, with the number of its producer.
    Item(usize, u64),
    /// This consumer has consumed its item.
    Consumed(usize),
}

super::opaque!(Manage);

struct Manager<S: System> {
    producers: Vec<S::Address<Producer<S>>>,
    consumers: Vec<S::Address<Consumer<S>>>,
    buffer: VecDeque<u64>,
    /// Producers that wait to be asked, and consumers that wait for an item.
    parked: VecDeque<usize>,
    idle: Vec<usize>,
    items: u32,
    ordered: u32,
    consumed: u32,
    debt: Debt,
}

impl<S: System> Manager<S> {
    fn order(&mut self, producer: usize) {
        if self.ordered < self.items {
            self.ordered += 1;
            S::tell(&self.producers[producer], Produce);
        }
    }

    fn item(&mut self, producer: usize, item: u64) {
        match self.idle.pop() {
            Some(consumer) => S::tell(&self.consumers[consumer], Consume(item)),
            None => self.buffer.push_back(item),
        }
        if self.buffer.len() >= HIGH {
            self.parked.push_back(producer);
        } else {
            self.order(producer);
        }
    }

    fn consumed(&mut self, consumer: usize) {
        self.consumed += 1;
        match self.buffer.pop_front() {
            Some(item) => {
                S::tell(&self.consumers[consumer], Consume(item));
                if let Some(producer) = self.parked.pop_front() {
                    self.order(producer);
                }
            }
            None => self.idle.push(consumer),
        }
        if self.consumed == self.items {
            // To ask for an item, to give it, to hand it on, and to say that it was consumed.
            self.debt.pay(Ok(4 * u64::from(self.items)));
        }
    }
}

impl<S: System> Behaviour<S> for Manager<S> {
    type Message = Manage<S>;

    fn handle(&mut self, message: Manage<S>) -> Option<Later> {
        match message {
            Manage::Meet(producers, consumers) => {
                (self.producers, self.consumers) = (producers, consumers);
                self.idle = (0..CONSUMERS).collect();
            }
            Manage::Go(Go { size, done }) => {
                (self.items, self.ordered, self.consumed) = (size, 0, 0);
                self.debt = Debt(Some(done));
                self.parked.clear();
                (0..PRODUCERS).for_each(|producer| self.order(producer));
            }
            Manage::Item(producer, item) => self.item(producer, item),
            Manage::Consumed(consumer) => self.consumed(consumer),
        }
        None
    }
}

pub(super) async fn start<S: System>(system: &S) -> Result<Leader, Error> {
    let manager = Manager::<S> {
        producers: Vec::new(),
        consumers: Vec::new(),
        buffer: VecDeque::new(),
        parked: VecDeque::new(),
        idle: Vec::new(),
        items: 0,
        ordered: 0,
        consumed: 0,
        debt: Debt::default(),
    };
    let manager = system.start(Side::Here, manager).await?;
    let (mut producers, mut consumers) = (Vec::new(), Vec::new());
    for number in 0..PRODUCERS {
        let producer = Producer::<S> { number, made: 0, manager: manager.clone() };
        producers.push(system.start(Side::There, producer).await?);
    }
    for number in 0..CONSUMERS {
        let consumer = Consumer::<S> { number, manager: manager.clone() };
        consumers.push(system.start(Side::There, consumer).await?);
    }
    S::tell(&manager, Manage::Meet(producers, consumers));
    Ok(Arc::new(move |go| S::tell(&manager, Manage::Go(go))))
}
