//! What has been sent and is not acknowledged, by pairs of sender and receiver.

use std::collections::{HashMap, VecDeque};

use super::{
    Engine, Release,
    active::{Arrived, Source},
    courier,
};
use crate::{
    id::{ActorId, Place},
    packed::Packed,
    rows,
    store::{Batch, Table},
    turn::Sending,
};

/// A sender of this node, and where it sends to.
pub(crate) type Pair = (ActorId, Place);

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) message: Packed,
    /// It may have been delivered before.
    pub(crate) again: bool,
}

/// One pair's messages to another node.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) queue: VecDeque<Sent>,
    /// The last acknowledged number; not looked up yet when nothing.
    pub(crate) acknowledged: Option<u64>,
    /// A task sends them.
    pub(crate) is_served: bool,
    /// The receiver has a gap that cannot be filled.
    pub(crate) forced: bool,
    /// Rows of acknowledged messages are being removed.
    pub(crate) trims: usize,
}

/// What one sender has on its way.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    count: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) pairs: HashMap<Pair, Outgoing>,
    loads: HashMap<ActorId, Load>,
    bytes: usize,
}

impl Outbox {
    /// Counts a message that a turn has sent, before it is durable.
    pub(crate) fn charge(&mut self, sender: &ActorId, message: &Packed) {
        let load = self.loads.entry(sender.clone()).or_default();
        load.count += 1;
        load.bytes += message.weight();
        self.bytes += message.weight();
    }

    /// A message has arrived.
    pub(crate) fn discharge(&mut self, sender: &ActorId, message: &Packed) {
        let Some(load) = self.loads.get_mut(sender) else { return };
        load.count -= 1;
        load.bytes -= message.weight();
        self.bytes -= message.weight();
        if load.count == 0 {
            self.loads.remove(sender);
        }
    }

    /// Whether a sender must wait until some of what it has sent has arrived.
    pub(crate) fn is_full(
        &self,
        sender: &ActorId,
        most: usize,
        most_bytes: usize,
        all: usize,
    ) -> bool {
        let own = self.loads.get(sender).copied().unwrap_or_default();
        own.count >= most || own.bytes >= most_bytes || (self.bytes >= all && own.count > 0)
    }

    /// Bytes of all messages on their way.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first messages of a pair, of at most so many bytes, but one at least.
    pub(crate) fn batch(&self, pair: &Pair, most: usize, most_bytes: usize) -> Vec<Sent> {
        let Some(outgoing) = self.pairs.get(pair) else { return Vec::new() };
        let mut bytes = 0;
        let fits = |sent: &&Sent| {
            let is_first = bytes == 0;
            bytes += sent.message.weight();
            is_first || bytes <= most_bytes
        };
        outgoing.queue.iter().take(most).take_while(fits).cloned().collect()
    }
}

impl Engine {
    /// A message of an actor here has arrived: there is room for another.
    pub(super) fn arrived(&mut self, sender: &ActorId, message: &Packed) {
        let most = self.settings.all_outbox_bytes;
        let was_full = self.outbox.bytes() >= most;
        self.outbox.discharge(sender, message);
        if was_full && self.outbox.bytes() < most {
            for id in std::mem::take(&mut self.full) {
                self.is_ready(&id);
            }
        } else if self.full.remove(sender) {
            self.is_ready(sender);
        }
    }

    /// Brings a message that is durable to where it goes.
    pub(super) fn dispatch(&mut self, from: &ActorId, sending: Sending, again: bool) {
        let Sending { to, number, message } = sending;
        if to.node == self.node {
            let from = Place { node: self.node.clone(), actor: from.clone() };
            return self
                .arrive(&to.actor, Arrived::new(Source::Near { from, number }, message, again));
        }
        let pair = (from.clone(), to);
        let outgoing = self.outbox.pairs.entry(pair.clone()).or_default();
        outgoing.queue.push_back(Sent { number, message, again });
        if !outgoing.is_served {
            outgoing.is_served = true;
            courier::serve(self.me.clone(), pair);
        }
    }

    /// Another node has taken a pair's messages; whether that was any progress.
    pub(super) fn acknowledged(&mut self, pair: &Pair, upto: u64) -> bool {
        let Some(outgoing) = self.outbox.pairs.get_mut(pair) else { return false };
        let mut batch = Batch::default();
        let mut gone = Vec::new();
        while outgoing.queue.front().is_some_and(|sent| sent.number <= upto) {
            let Some(sent) = outgoing.queue.pop_front() else { break };
            batch.remove(Table::Out, rows::out(&pair.0, &pair.1, sent.number));
            gone.push(sent.message);
        }
        if gone.is_empty() {
            return false;
        }
        outgoing.acknowledged = Some(upto);
        outgoing.trims += 1;
        batch.put(Table::Pair, rows::pair(&pair.0, &pair.1), upto.to_be_bytes().to_vec());
        self.points.pass("deliver.acknowledged");
        for message in gone {
            self.arrived(&pair.0, &message);
        }
        self.submit(batch, vec![Release::Trimmed(pair.clone())]);
        self.work();
        true
    }
}
