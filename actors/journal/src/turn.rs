//! A turn: one message, its handler, and everything that comes of it, captured until it is durable.

use std::{
    fmt,
    marker::PhantomData,
    time::{Duration, SystemTime},
};

use actix::{ActorContext, ActorState};
use actogen::{MessageOf, RemoteMessage};
use serde::{Deserialize, Serialize};

use crate::{
    actor::{EventSourced, JournaledActor},
    id::{ActorId, Journaled, NodeName, Place},
    packed::Packed,
    publication::Publication,
    time::Millis,
};

/// What a turn begins with.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Where the actor is.
    pub(crate) own: Place,
    /// When it runs.
    pub(crate) at: Millis,
    /// What its random numbers are made of.
    pub(crate) seed: [u8; 16],
    /// How many messages and timers the actor has numbered so far.
    pub(crate) numbered: u64,
}

/// A durable timer, to be taken back with [`Turn::cancel`]. May be kept in the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimerId {
    pub(crate) due: Millis,
    pub(crate) number: u64,
}

/// A message that a turn has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) to: Place,
    pub(crate) number: u64,
    pub(crate) message: Packed,
}

/// What comes of a turn beside the state and the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) sent: Vec<Sending>,
    pub(crate) timers: Vec<(TimerId, Packed)>,
    pub(crate) cancelled: Vec<TimerId>,
    pub(crate) events: Vec<Vec<u8>>,
    /// What is published, each with its number.
    pub(crate) published: Vec<(u64, Publication)>,
    pub(crate) numbered: u64,
    /// The actor leaves the memory.
    pub(crate) sleeps: bool,
    /// The actor and its state are gone.
    pub(crate) ends: bool,
}

/// The context of a journaled actor, for one turn. Whatever a handler asks of it happens once the turn is durable, or never.
pub struct Turn<A> {
    given: Given,
    drawn: u64,
    effects: Effects,
    failure: Option<String>,
    _actor: PhantomData<fn(A)>,
}

impl<A> fmt::Debug for Turn<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("actor", &self.given.own).finish_non_exhaustive()
    }
}

impl<A> Turn<A> {
    pub(crate) fn new(given: Given) -> Self {
        let effects = Effects { numbered: given.numbered, ..Effects::default() };
        Self { given, drawn: 0, effects, failure: None, _actor: PhantomData }
    }

    pub(crate) fn finish(self) -> Result<Effects, String> {
        self.failure.map_or(Ok(self.effects), Err)
    }

    /// The actor's own name.
    pub fn id(&self) -> &ActorId {
        &self.given.own.actor
    }

    /// The node that it lives at.
    pub fn node(&self) -> &NodeName {
        &self.given.own.node
    }

    /// When this turn runs, by the node's clock: the same however often it is asked.
    pub fn now(&self) -> SystemTime {
        self.given.at.into()
    }

    /// A random number. Where nobody may guess it, use [`Self::random_bytes`].
    pub fn random(&mut self) -> u64 {
        u64::from_le_bytes(self.random_bytes())
    }

    /// Random bytes, made of a seed from the system's generator.
    pub fn random_bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"actogen journal random");
        hasher.update(&self.given.seed);
        hasher.update(&self.drawn.to_le_bytes());
        self.drawn += 1;
        let mut bytes = [0; N];
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Sends a message to a journaled actor, here or at another node: it is handled once, whatever is killed in between, and behind all that
    /// this actor has sent there before.
    pub fn send<B: JournaledActor, M: MessageOf<B>>(&mut self, to: &Journaled<B>, message: M) {
        let Some(message) = self.packed(&message) else { return };
        let number = self.number();
        self.effects.sent.push(Sending { to: to.place().clone(), number, message });
    }

    pub(crate) fn packed<M: RemoteMessage>(&mut self, message: &M) -> Option<Packed> {
        match Packed::of(message) {
            Ok(packed) => Some(packed),
            Err(error) => {
                self.fail(format!("a `{}` cannot be encoded: {error}", M::NAME));
                None
            }
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.effects.numbered += 1;
        self.effects.numbered
    }

    pub(crate) fn own(&self) -> &Place {
        &self.given.own
    }

    pub(crate) fn at(&self) -> Millis {
        self.given.at
    }

    pub(crate) fn effects_mut(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Takes a timer back. One that has fired already, and whose message waits, is taken back as well.
    pub fn cancel(&mut self, timer: TimerId) {
        match self.effects.timers.iter().position(|(id, _)| *id == timer) {
            Some(index) => drop(self.effects.timers.remove(index)),
            None => self.effects.cancelled.push(timer),
        }
    }

    /// Makes this turn come to nothing: the state is as it was before the message, nothing is sent, and the asker gets this text. A message
    /// of another journaled actor, or of a timer, is tried again, some times.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.failure.get_or_insert(why.into());
    }

    /// Ends the actor with this turn: its state and its timers are gone, and it hears no result of what it has published. The next message
    /// begins it anew.
    pub fn end(&mut self) {
        self.effects.ends = true;
    }
}

impl<A: JournaledActor> Turn<A> {
    /// The actor's own address.
    pub fn address(&self) -> Journaled<A> {
        Journaled::new(self.given.own.node.clone(), self.given.own.actor.clone())
    }

    /// Sends a message to the actor itself after some time. The timer is durable: if the node is down when it is due, it fires when it is up
    /// again. In steps of a millisecond.
    pub fn send_after<M: MessageOf<A>>(&mut self, delay: Duration, message: M) -> TimerId {
        let timer = TimerId { due: self.given.at.after(delay), number: self.number() };
        if let Some(message) = self.packed(&message) {
            self.effects.timers.push((timer, message));
        }
        timer
    }
}

impl<A: EventSourced> Turn<A> {
    /// Changes the state by an event, which is what this turn is kept as.
    pub fn record(&mut self, actor: &mut A, event: &A::Event) {
        match A::CODEC.encode(event) {
            Ok(bytes) => self.effects.events.push(bytes),
            Err(error) => self.fail(format!("an event cannot be encoded: {error}")),
        }
        actor.apply(event);
    }
}

/// Stopping a journaled actor lets it leave the memory after this turn; its state stays, and the next message wakes it. To remove it use
/// [`Turn::end`].
impl<A> ActorContext for Turn<A> {
    fn stop(&mut self) {
        self.effects.sleeps = true;
    }

    fn terminate(&mut self) {
        self.effects.sleeps = true;
    }

    fn state(&self) -> ActorState {
        ActorState::Running
    }
}
