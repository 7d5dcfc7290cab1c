//! An actor that is awake: its state, what waits for it, and how far it has taken what others send.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};

use crate::{
    actor::Instance,
    id::Place,
    packed::Packed,
    rows::Seen,
    turn::TimerId,
    wire::{Refusal, Taken},
};

/// Senders and askers that an actor that is awake remembers.
const OTHERS: usize = 4096;

/// Whom the answer to a request goes to.
pub(crate) type Asker = oneshot::Sender<Result<Bytes, Refusal>>;

/// Who is told that a batch of another node's messages has been taken.
pub(crate) type Courier = oneshot::Sender<Taken>;

/// Where a message is from.
pub(crate) enum Source {
    /// A request from outside.
    Client { client: u128, number: u64, settled: u64, asker: Asker },
    /// Another journaled actor of this node.
    Near { from: Place, number: u64 },
    /// A journaled actor of another node. Only the last of a batch has its courier.
    Far { from: Place, epoch: u64, after: u64, number: u64, forced: bool, courier: Option<Courier> },
    /// A timer of its own.
    Timer(TimerId),
    /// The result of what it has published under this number.
    Published(u64),
}

impl Source {
    /// Which message it is, for counting how often it was tried.
    pub(crate) fn key(&self) -> Vec<u8> {
        let numbered = |kind: u8, name: String, number: u64| {
            let mut key = vec![kind];
            key.extend_from_slice(name.as_bytes());
            key.push(0);
            key.extend_from_slice(&number.to_be_bytes());
            key
        };
        match self {
            Self::Client { client, number, .. } => {
                numbered(b'c', format!("{client:032x}"), *number)
            }
            Self::Near { from, number } | Self::Far { from, number, .. } => {
                numbered(b'p', from.to_string(), *number)
            }
            Self::Timer(timer) => numbered(b't', timer.due.0.to_string(), timer.number),
            Self::Published(number) => numbered(b'r', String::new(), *number),
        }
    }

    pub(crate) fn place(&self) -> Option<&Place> {
        match self {
            Self::Near { from, .. } | Self::Far { from, .. } => Some(from),
            Self::Client { .. } | Self::Timer(_) | Self::Published(_) => None,
        }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Client { client, number, .. } => format!("asker {client:032x}, request {number}"),
            Self::Near { from, number } | Self::Far { from, number, .. } => {
                format!("{from}, message {number}")
            }
            Self::Timer(timer) => format!("timer {}", timer.number),
            Self::Published(number) => format!("result of publish {number}"),
        }
    }
}

/// What is known of a message that may have killed the process, or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    /// Nothing speaks against it.
    Fresh,
    /// It comes again: how often it was tried is to be looked up and written down first.
    Suspect,
    /// It has been tried so often.
    Known(u32),
    /// That it is tried for the so-manieth time is being written down.
    Noting(u32),
    /// That is written down.
    Noted(u32),
}

impl Trial {
    pub(crate) fn noted(self) -> Self {
        match self {
            Self::Noting(count) => Self::Noted(count),
            other => other,
        }
    }

    /// How often it has been tried, this time included.
    pub(crate) fn count(self) -> u32 {
        match self {
            Self::Noted(count) | Self::Noting(count) => count,
            Self::Known(count) => count + 1,
            Self::Fresh | Self::Suspect => 1,
        }
    }
}

/// A message that waits for its turn.
pub(crate) struct Arrived {
    pub(crate) source: Source,
    pub(crate) message: Packed,
    pub(crate) trial: Trial,
    /// After a failure: when it is tried again.
    pub(crate) not_before: Option<Instant>,
}

impl Arrived {
    pub(crate) fn new(source: Source, message: Packed, again: bool) -> Self {
        let trial = if again { Trial::Suspect } else { Trial::Fresh };
        Self { source, message, trial, not_before: None }
    }
}

/// What one asker from outside has been answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// It asks for nothing below this any more.
    pub(crate) settled: u64,
    /// Its answers from there on, with the tickets of the turns that they belong to.
    pub(crate) known: BTreeMap<u64, (Bytes, u64)>,
}

impl Answers {
    /// Whether so many are kept that its asker has not settled.
    pub(crate) fn is_full(&self, settled: u64, most: usize) -> bool {
        self.known.len() >= most && self.known.range(settled..).count() >= most
    }
}

/// Whether an actor can take a turn.
pub(crate) enum Phase {
    /// Its rows are being read.
    Waking,
    Awake(Box<dyn Instance>),
    /// It cannot be run, for this reason. What waits for it is kept.
    Broken(Arc<str>),
}

pub(crate) struct Active {
    pub(crate) phase: Phase,
    pub(crate) inbox: VecDeque<Arrived>,
    pub(crate) inbox_bytes: usize,
    /// Messages of senders that are paused; the front one is the one that failed.
    pub(crate) held: BTreeMap<Place, VecDeque<Arrived>>,
    /// Timers and results that are paused. Each waits alone: it is behind nobody, and in front of nobody.
    pub(crate) held_timers: Vec<Arrived>,
    /// The state as it was last encoded; for actors that are kept as events, their checkpoint. Nothing before the first turn.
    pub(crate) saved: Option<Bytes>,
    /// Events since the checkpoint.
    pub(crate) events: Vec<Bytes>,
    /// Turns and bytes since the checkpoint.
    pub(crate) since_checkpoint: (u64, usize),
    pub(crate) turn: u64,
    pub(crate) numbered: u64,
    pub(crate) born: u64,
    /// How far each sender's messages have been taken, as far as it has been looked up.
    pub(crate) seen: HashMap<Place, Seen>,
    pub(crate) answers: HashMap<u128, Answers>,
    /// The last turn's ticket.
    pub(crate) ticket: u64,
    /// A row is being read for the message in front.
    pub(crate) reads: bool,
    /// It is in the line of those that have something to do.
    pub(crate) is_ready: bool,
    pub(crate) sleeps: bool,
    pub(crate) used: Instant,
}

impl Active {
    pub(crate) fn waking() -> Self {
        Self {
            phase: Phase::Waking,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            held: BTreeMap::new(),
            held_timers: Vec::new(),
            saved: None,
            events: Vec::new(),
            since_checkpoint: (0, 0),
            turn: 0,
            numbered: 0,
            born: 0,
            seen: HashMap::new(),
            answers: HashMap::new(),
            ticket: 0,
            reads: false,
            is_ready: false,
            sleeps: false,
            used: Instant::now(),
        }
    }

    /// Whether messages wait for an operator.
    pub(crate) fn is_paused(&self) -> bool {
        !self.held.is_empty() || !self.held_timers.is_empty()
    }

    /// Takes a timer that has fired out of what waits.
    pub(crate) fn forget_timer(&mut self, timer: TimerId) {
        let is_it =
            |arrived: &Arrived| matches!(arrived.source, Source::Timer(fired) if fired == timer);
        self.held_timers.retain(|arrived| !is_it(arrived));
        if let Some(arrived) =
            self.inbox.iter().position(is_it).and_then(|at| self.inbox.remove(at))
        {
            self.inbox_bytes -= arrived.message.weight();
        }
    }

    /// Bounds what is known of others: what is durable can be read again.
    pub(crate) fn forget_some(&mut self, durable: u64) {
        if self.seen.len() + self.answers.len() > OTHERS && self.ticket <= durable {
            self.seen.clear();
            self.answers.clear();
        }
    }

    pub(crate) fn push(&mut self, arrived: Arrived) {
        self.inbox_bytes += arrived.message.weight();
        self.inbox.push_back(arrived);
        self.used = Instant::now();
    }

    pub(crate) fn pop(&mut self) -> Option<Arrived> {
        let arrived = self.inbox.pop_front()?;
        self.inbox_bytes -= arrived.message.weight();
        Some(arrived)
    }

    /// Puts a message back in front.
    pub(crate) fn unpop(&mut self, arrived: Arrived) {
        self.inbox_bytes += arrived.message.weight();
        self.inbox.push_front(arrived);
    }
}
