//! Producers and consumers with a buffer between them, which a manager keeps: who would overfill it waits to be asked again.

use std::collections::VecDeque;

use actogen::prelude::*;

use super::stage::{Debt, Go, Port, Side, Stage};
use crate::failure::Failure;

/// Items in a performance.
pub(super) const SIZE: u32 = 2000;

const PRODUCERS: usize = 40;
const CONSUMERS: usize = 40;

/// From so many on nobody is asked for more: what is under way then still finds room in a buffer of 50.
const HIGH: usize = 50 - PRODUCERS;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Produce")]
struct Produce;

/// An item, with the number of its producer.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Item")]
struct Item(usize, u64);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Consume")]
struct Consume(u64);

/// This consumer has consumed its item.
#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Consumed")]
struct Consumed(usize);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.MeetBoth")]
struct Meet(Vec<Port<Produce>>, Vec<Port<Consume>>);

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.producer", messages(Produce), spawn(Producer))]
struct Producer {
    number: usize,
    made: u64,
    manager: Port<Item>,
}

impl Actor for Producer {
    type Context = actix::Context<Self>;
}

impl Handler<Produce> for Producer {
    type Result = ();

    fn handle(&mut self, _: Produce, _: &mut Self::Context) {
        self.made += 1;
        self.manager.tell(Item(self.number, self.made));
    }
}

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.consumer", messages(Consume), spawn(Consumer))]
struct Consumer {
    number: usize,
    manager: Port<Consumed>,
}

impl Actor for Consumer {
    type Context = actix::Context<Self>;
}

impl Handler<Consume> for Consumer {
    type Result = ();

    fn handle(&mut self, item: Consume, _: &mut Self::Context) {
        std::hint::black_box(item.0);
        self.manager.tell(Consumed(self.number));
    }
}

#[derive(Default, RemoteActor)]
#[remote(name = "actogen-bench.savina.manager", messages(Meet, Go, Item, Consumed))]
struct Manager {
    producers: Vec<Port<Produce>>,
    consumers: Vec<Port<Consume>>,
    buffer: VecDeque<u64>,
    /// Producers that wait to be asked, and consumers that wait for an item.
    parked: VecDeque<usize>,
    idle: Vec<usize>,
    items: u32,
    ordered: u32,
    consumed: u32,
    debt: Debt,
}

impl Actor for Manager {
    type Context = actix::Context<Self>;
}

impl Manager {
    fn order(&mut self, producer: usize) {
        if self.ordered < self.items {
            self.ordered += 1;
            self.producers[producer].tell(Produce);
        }
    }
}

impl Handler<Meet> for Manager {
    type Result = ();

    fn handle(&mut self, Meet(producers, consumers): Meet, _: &mut Self::Context) {
        (self.producers, self.consumers) = (producers, consumers);
        self.idle = (0..CONSUMERS).collect();
    }
}

impl Handler<Go> for Manager {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Go(items): Go, _: &mut Self::Context) -> Self::Result {
        (self.items, self.ordered, self.consumed) = (items, 0, 0);
        self.parked.clear();
        for producer in 0..PRODUCERS {
            self.order(producer);
        }
        self.debt.begin()
    }
}

impl Handler<Item> for Manager {
    type Result = ();

    fn handle(&mut self, Item(producer, item): Item, _: &mut Self::Context) {
        match self.idle.pop() {
            Some(consumer) => self.consumers[consumer].tell(Consume(item)),
            None => self.buffer.push_back(item),
        }
        if self.buffer.len() >= HIGH {
            self.parked.push_back(producer);
        } else {
            self.order(producer);
        }
    }
}

impl Handler<Consumed> for Manager {
    type Result = ();

    fn handle(&mut self, Consumed(consumer): Consumed, _: &mut Self::Context) {
        self.consumed += 1;
        match self.buffer.pop_front() {
            Some(item) => {
                self.consumers[consumer].tell(Consume(item));
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

pub(super) async fn start(stage: &Stage) -> Result<Port<Go>, Failure> {
    let manager = stage.lead(Manager::default());
    let (mut producers, mut consumers) = (Vec::new(), Vec::new());
    for number in 0..PRODUCERS {
        let producer = Producer { number, made: 0, manager: manager.port() };
        producers.push(stage.start(Side::There, producer).await?.port());
    }
    for number in 0..CONSUMERS {
        let consumer = Consumer { number, manager: manager.port() };
        consumers.push(stage.start(Side::There, consumer).await?.port());
    }
    manager.port().tell(Meet(producers, consumers));
    Ok(manager.port())
}
