//! Everybody with everybody: each of many actors sends to another one by chance, which answers, and then to the next.

use actogen::prelude::*;

use super::stage::{Debt, Go, Port, Side, Stage};
use crate::failure::Failure;

/// What each sends in a performance.
pub(super) const SIZE: u32 = 20;

const NODES: u32 = 120;

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Say")]
enum Say {
    /// Send so many.
    Begin(u32),
    /// One for you, by this one.
    Ping(u32),
    /// It came.
    Pong,
}

#[derive(RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.Through")]
struct Through;

#[derive(Clone, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.MeetNodes")]
struct Meet(Vec<Port<Say>>);

#[derive(RemoteActor, Serialize, Deserialize)]
#[remote(name = "actogen-bench.savina.node", messages(Meet, Say), spawn(Node))]
struct Node {
    number: u32,
    left: u32,
    /// The state of a generator by Lehmer: everybody's sequence is another one, and the same in each run.
    chance: u64,
    sink: Port<Through>,
    nodes: Vec<Port<Say>>,
}

impl Actor for Node {
    type Context = actix::Context<Self>;
}

impl Node {
    fn ping(&mut self) {
        self.chance = self.chance * 48_271 % 0x7fff_ffff;
        let other = (self.number + 1 + (self.chance % u64::from(NODES - 1)) as u32) % NODES;
        self.nodes[other as usize].tell(Say::Ping(self.number));
    }
}

impl Handler<Meet> for Node {
    type Result = ();

    fn handle(&mut self, Meet(nodes): Meet, _: &mut Self::Context) {
        self.nodes = nodes;
    }
}

impl Handler<Say> for Node {
    type Result = ();

    fn handle(&mut self, say: Say, _: &mut Self::Context) {
        match say {
            Say::Begin(messages) => {
                self.left = messages;
                self.ping();
            }
            Say::Ping(from) => self.nodes[from as usize].tell(Say::Pong),
            Say::Pong => {
                self.left -= 1;
                if self.left == 0 {
                    self.sink.tell(Through);
                } else {
                    self.ping();
                }
            }
        }
    }
}

#[derive(Default, RemoteActor)]
#[remote(name = "actogen-bench.savina.sink", messages(Meet, Go, Through))]
struct Sink {
    nodes: Vec<Port<Say>>,
    each: u32,
    through: u32,
    debt: Debt,
}

impl Actor for Sink {
    type Context = actix::Context<Self>;
}

impl Handler<Meet> for Sink {
    type Result = ();

    fn handle(&mut self, Meet(nodes): Meet, _: &mut Self::Context) {
        self.nodes = nodes;
    }
}

impl Handler<Go> for Sink {
    type Result = ResponseFuture<Result<u64, String>>;

    fn handle(&mut self, Go(each): Go, _: &mut Self::Context) -> Self::Result {
        (self.each, self.through) = (each, 0);
        for node in &self.nodes {
            node.tell(Say::Begin(each));
        }
        self.debt.begin()
    }
}

impl Handler<Through> for Sink {
    type Result = ();

    fn handle(&mut self, _: Through, _: &mut Self::Context) {
        self.through += 1;
        if self.through == NODES {
            self.debt.pay(Ok(u64::from(NODES * (2 * self.each + 2))));
        }
    }
}

pub(super) async fn start(stage: &Stage) -> Result<Port<Go>, Failure> {
    let sink = stage.lead(Sink::default());
    let (mut meet, mut nodes) = (Vec::new(), Vec::new());
    for number in 0..NODES {
        let chance = u64::from(number) + 1;
        let node = Node { number, left: 0, chance, sink: sink.port(), nodes: Vec::new() };
        let node = stage.start(Side::of(number as usize), node).await?;
        meet.push(node.port::<Meet>());
        nodes.push(node.port());
    }
    let nodes = Meet(nodes);
    for node in &meet {
        // All know each other before any of them begins.
        let met = node.ask(nodes.clone()).await;
        met.ok_or("a node has ended").map_err(Failure::ours("wiring nodes"))?;
    }
    sink.port().tell(nodes);
    Ok(sink.port())
}
