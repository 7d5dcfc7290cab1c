//! One actor counts what another sends, and is asked for the sum at the end.

use actogen::prelude::*;

use super::stage::{Debt, Go, Port, Side, Stage};
use crate::failure::Failure;

/// Messages in a performance: well below a third of what a mailbox holds, from which on it pauses its senders.
pub(super) const SIZE: u32 = 4000;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Increment")]
struct Increment;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Retrieve")]
struct Retrieve;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Counted")]
struct Counted(u32);

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.MeetCounter")]
struct Meet(Port<Increment>, Port<Retrieve>);

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.counter", messages(Increment, Retrieve), spawn(Counter))]
struct Counter {
    count: u32,
    producer: Port<Counted>,
}

impl Actor for Counter {
    type Context = actix::Context<Self>;
}

impl Handler<Increment> for Counter {
    type Result = ();

    fn handle(&mut self, _: Increment, _: &mut Self::Context) {
        self.count += 1;
    }
}

impl Handler<Retrieve> for Counter {
    type Result = ();

    fn handle(&mut self, _: Retrieve, _: &mut Self::Context) {
        self.producer.tell(Counted(std::mem::take(&mut self.count)));
    }
}

#[derive(Default, RemoteActor)]
#[remote(name = "actogen-bench.savina.counting", messages(Meet, Go, Counted))]
struct Producer {
    counter: Option<Meet>,
    sent: u32,
    debt: Debt,
}

impl Actor for Producer {
    type Context = actix::Context<Self>;
}

impl Handler<Meet> for Producer {
    type Result = ();

    fn handle(&mut self, counter: Meet, _: &mut Self::Context) {
        self.counter = Some(counter);
    }
}

impl Handler<Go> for Producer {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Go(messages): Go, _: &mut Self::Context) -> Self::Result {
        let Meet(count, retrieve) = self.counter.as_ref().expect("they have met before");
        for _ in 0..messages {
            count.tell(Increment);
        }
        retrieve.tell(Retrieve);
        self.sent = messages;
        self.debt.begin()
    }
}

impl Handler<Counted> for Producer {
    type Result = ();

    fn handle(&mut self, Counted(count): Counted, _: &mut Self::Context) {
        self.debt.pay(if count == self.sent {
            Ok(u64::from(count) + 2)
        } else {
            Err(format!("{count} were counted of {}", self.sent))
        });
    }
}

pub(super) async fn start(stage: &Stage) -> Result<Port<Go>, Failure> {
    let producer = stage.lead(Producer::default());
    let counter = Counter { count: 0, producer: producer.port() };
    let counter = stage.start(Side::There, counter).await?;
    producer.port().tell(Meet(counter.port(), counter.port()));
    Ok(producer.port())
}
