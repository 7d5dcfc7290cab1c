//! Everybody with everybody: each of many actors sends to another one by chance, which answers, and then to the next.

use std::sync::Arc;

use super::{Behaviour, Chance, Debt, Go, Later, Leader, Side, System};
use crate::Error;

/// What each sends in a performance.
pub(super) const SIZE: u32 = 20;

const NODES: u32 = 120;

enum Say<S: System> {
    /// Know all of them.
    Meet(Vec<S::Address<Node<S>>>),
    /// Send so many.
    Begin(u32),
    /// One for you, by this one.
    Ping(u32),
    /// It came.
    Pong,
}

super::opaque!(Say);

struct Node<S: System> {
    number: u32,
    left: u32,
    chance: Chance,
    sink: S::Address<Sink<S>>,
    nodes: Vec<S::Address<Node<S>>>,
}

impl<S: System> Node<S> {
    fn ping(&mut self) {
        let other = (self.number + 1 + self.chance.below(NODES as usize - 1) as u32) % NODES;
        S::tell(&self.nodes[other as usize], Say::Ping(self.number));
    }
}

impl<S: System> Behaviour<S> for Node<S> {
    type Message = Say<S>;

    fn handle(&mut self, message: Say<S>) -> Option<Later> {
        match message {
            Say::Meet(nodes) => {
                self.nodes = nodes;
                S::tell(&self.sink, Sunk::Met);
            }
            Say::Begin(messages) => {
                self.left = messages;
                self.ping();
            }
            Say::Ping(from) => S::tell(&self.nodes[from as usize], Say::Pong),
            Say::Pong => {
                self.left -= 1;
                if self.left == 0 {
                    S::tell(&self.sink, Sunk::Through);
                } else {
                    self.ping();
                }
            }
        }
        None
    }
}

enum Sunk<S: System> {
    Meet(Vec<S::Address<Node<S>>>),
    Met,
    Go(Go),
    Through,
}

super::opaque!(Sunk);

struct Sink<S: System> {
    nodes: Vec<S::Address<Node<S>>>,
    /// How many nodes know each other; none begins before all do.
    met: u32,
    waiting: Option<Go>,
    each: u32,
    through: u32,
    debt: Debt,
}

impl<S: System> Sink<S> {
    fn begin(&mut self) {
        if self.met < NODES {
            return;
        }
        if let Some(Go { size, done }) = self.waiting.take() {
            (self.each, self.through, self.debt) = (size, 0, Debt(Some(done)));
            for node in &self.nodes {
                S::tell(node, Say::Begin(size));
            }
        }
    }
}

impl<S: System> Behaviour<S> for Sink<S> {
    type Message = Sunk<S>;

    fn handle(&mut self, message: Sunk<S>) -> Option<Later> {
        match message {
            Sunk::Meet(nodes) => self.nodes = nodes,
            Sunk::Met => {
                self.met += 1;
                self.begin();
            }
            Sunk::Go(go) => {
                self.waiting = Some(go);
                self.begin();
            }
            Sunk::Through => {
                self.through += 1;
                if self.through == NODES {
                    self.debt.pay(Ok(u64::from(NODES * (2 * self.each + 2))));
                }
            }
        }
        None
    }
}

pub(super) async fn start<S: System>(system: &S) -> Result<Leader, Error> {
    let (nodes, debt) = (Vec::new(), Debt::default());
    let sink = Sink::<S> { nodes, met: 0, waiting: None, each: 0, through: 0, debt };
    let sink = system.start(Side::Here, sink).await?;
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let (chance, sink) = (Chance(u64::from(number) + 1), sink.clone());
        let node = Node::<S> { number, left: 0, chance, sink, nodes: Vec::new() };
        nodes.push(system.start(Side::of(number as usize), node).await?);
    }
    S::tell(&sink, Sunk::Meet(nodes.clone()));
    for node in &nodes {
        S::tell(node, Say::Meet(nodes.clone()));
    }
    Ok(Arc::new(move |go| S::tell(&sink, Sunk::Go(go))))
}
