//! What was sent, handled, answered and noticed, by whom and when: it sees everything, and judges every step by what Actogen
//! promises.

use std::{collections::BTreeMap, fmt, time::Duration};

use actogen::{
    ContextEvent, Dead, DeadLetter, DeadReason, Ended, Handled, Incarnation, SendError, StopReason,
};
use serde::{Deserialize, Serialize};

use super::clerk::{Ask, Told};

/// How much later than its limit a request may end: the simulated hosts run one after the other, a tick each.
const SLACK: Duration = Duration::from_millis(20);

/// One life of a context. The number counts all attempts of its host to begin one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) slot: usize,
    pub(crate) number: u32,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.number)
    }
}

/// What is known of a life.
#[derive(Debug)]
struct Fate {
    incarnation: Incarnation,
    /// Its program has begun to end it, or its host has crashed.
    ending: bool,
    /// Its host has crashed: what it waited for is nobody's any more.
    crashed: bool,
    /// Contexts that it has been told are up, and their lives.
    up: BTreeMap<u64, Incarnation>,
    /// The last life of each context that it has been told of.
    latest: BTreeMap<u64, Incarnation>,
}

/// A request.
#[derive(Debug)]
struct Asked {
    from: Life,
    to: Life,
    at: Duration,
    limit: Duration,
    quiet: bool,
    heard: u32,
    /// What its asker was told about whether it was handled.
    outcome: Option<Handled>,
    /// When it ended, and the reason if it is dead.
    ended: Option<(Duration, Option<DeadReason>)>,
}

/// A request that has ended, for those who ask how long it took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) from: Life,
    pub(crate) to: Life,
    pub(crate) begun: Duration,
    pub(crate) ended: Duration,
    /// Why it is dead; `None` when it was answered or ran into its own limit.
    pub(crate) reason: Option<DeadReason>,
}

/// What one mailbox has sent to another.
#[derive(Debug, Default)]
struct Flow {
    sent: u64,
    heard: u64,
    quiet_sent: u64,
    quiet_heard: u64,
}

/// An actor that is watched.
#[derive(Debug)]
struct Hand {
    host: Life,
    boss: Life,
    words_sent: u32,
    words_heard: u32,
    stopped: Option<StopReason>,
    noticed: bool,
}

/// The whole of one simulation.
pub(crate) struct Ledger {
    crowded: bool,
    now: Duration,
    quiet: bool,
    trace: bool,
    digest: u64,
    /// By context: the last life that its host has tried to begin.
    attempts: BTreeMap<usize, u32>,
    lives: BTreeMap<Life, Fate>,
    asks: Vec<Asked>,
    flows: BTreeMap<(Life, Life), Flow>,
    hands: Vec<Hand>,
    watches: u64,
    envelopes: u64,
    learned: Vec<(Duration, Life, ContextEvent)>,
    violations: Vec<String>,
}

impl Ledger {
    /// In a crowded simulation messages may be refused for want of room, as long as it is not quiet.
    pub(crate) fn new(crowded: bool, trace: bool) -> Self {
        Self {
            crowded,
            now: Duration::ZERO,
            quiet: false,
            trace,
            // FNV-1a's offset basis.
            digest: 0xcbf2_9ce4_8422_2325,
            attempts: BTreeMap::new(),
            lives: BTreeMap::new(),
            asks: Vec::new(),
            flows: BTreeMap::new(),
            hands: Vec::new(),
            watches: 0,
            envelopes: 0,
            learned: Vec::new(),
            violations: Vec::new(),
        }
    }

    pub(crate) fn set_now(&mut self, now: Duration) {
        self.now = now;
    }

    /// From now on nothing may fail.
    pub(crate) fn begin_quiet(&mut self) {
        self.quiet = true;
        self.note(|| "nothing may fail from here on".into());
    }

    pub(crate) fn envelopes(&self) -> u64 {
        self.envelopes
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Puts an event on the timeline.
    pub(crate) fn note(&mut self, event: impl FnOnce() -> String) {
        let event = event();
        let millis = self.now.as_millis() as u64;
        for byte in millis.to_le_bytes().iter().chain(event.as_bytes()) {
            self.digest = (self.digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if self.trace {
            eprintln!("{:>7.3} {event}", self.now.as_secs_f64());
        }
    }

    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        let text = format!("at {:.3} s: {}", self.now.as_secs_f64(), what.into());
        self.note(|| format!("VIOLATION {text}"));
        self.violations.push(text);
    }

    // Lives.

    /// A host tries to begin a life.
    pub(crate) fn attempt(&mut self, life: Life) {
        self.attempts.insert(life.slot, life.number);
    }

    /// A life has begun. Its parent was up before there was anybody to be told.
    pub(crate) fn began(
        &mut self,
        life: Life,
        incarnation: Incarnation,
        parent: Option<(u64, Incarnation)>,
    ) {
        let before = self.lives_of(life.slot).map(|(_, fate)| fate.incarnation).max();
        if before.is_some_and(|before| before >= incarnation) {
            self.violation(format!(
                "{life} was given the life {incarnation}, not above {before:?}"
            ));
        }
        let fate = Fate {
            incarnation,
            ending: false,
            crashed: false,
            up: parent.into_iter().collect(),
            latest: parent.into_iter().collect(),
        };
        self.lives.insert(life, fate);
        self.note(|| format!("{life} begins, incarnation {incarnation}"));
    }

    pub(crate) fn ending(&mut self, life: Life, why: &str) {
        if let Some(fate) = self.lives.get_mut(&life) {
            fate.ending = true;
        }
        self.note(|| format!("{life} ends: {why}"));
    }

    pub(crate) fn crashed(&mut self, life: Life) {
        if let Some(fate) = self.lives.get_mut(&life) {
            fate.ending = true;
            fate.crashed = true;
        }
    }

    fn lives_of(&self, slot: usize) -> impl Iterator<Item = (&Life, &Fate)> {
        self.lives.range(Life { slot, number: 0 }..=Life { slot, number: u32::MAX })
    }

    fn is_ending(&self, life: Life) -> bool {
        self.lives.get(&life).is_none_or(|fate| fate.ending)
    }

    /// A life has ended by itself: nothing that it asked for may still be under way.
    pub(crate) fn nothing_waits(&mut self, life: Life) {
        let waiting: Vec<_> = self
            .asks
            .iter()
            .enumerate()
            .filter(|(_, ask)| ask.from == life && ask.outcome.is_none())
            .map(|(id, ask)| format!("request {id} to {} since {:?}", ask.to, ask.at))
            .collect();
        for text in waiting {
            self.violation(format!("{life} has shut down, and {text} has no outcome"));
        }
    }

    // What contexts are told of others.

    pub(crate) fn event(&mut self, life: Life, event: &ContextEvent) {
        self.note(|| format!("{life} learns {event:?}"));
        self.learned.push((self.now, life, event.clone()));
        let Some(fate) = self.lives.get_mut(&life) else { return };
        let problem = match event {
            ContextEvent::Up { context, incarnation } => {
                let twice = fate.up.insert(context.0, *incarnation).is_some();
                let before = fate.latest.insert(context.0, *incarnation);
                if twice {
                    Some(format!("{context} came up while it was up"))
                } else if before.is_some_and(|before| before > *incarnation) {
                    Some(format!("{context} came up in the life {incarnation} after {before:?}"))
                } else {
                    None
                }
            }
            ContextEvent::Down { context, .. } => fate
                .up
                .remove(&context.0)
                .is_none()
                .then(|| format!("{context} went down while it was down")),
            _ => None,
        };
        if let Some(problem) = problem {
            self.violation(format!("{life} was told that {problem}"));
        }
    }

    /// What the lives of a context have learned of others, and when.
    pub(crate) fn learned(&self, slot: usize) -> impl Iterator<Item = (Duration, &ContextEvent)> {
        let of = move |(_, life, _): &&(_, Life, _)| life.slot == slot;
        self.learned.iter().filter(of).map(|(at, _, event)| (*at, event))
    }

    /// The contexts that a life believes up, by its events.
    pub(crate) fn believed_up(&self, life: Life) -> Vec<u64> {
        self.lives.get(&life).map(|fate| fate.up.keys().copied().collect()).unwrap_or_default()
    }

    /// A message has died in a context, with nobody waiting for an answer or with one.
    pub(crate) fn buried(&mut self, life: Life, letter: &DeadLetter) {
        let DeadLetter { to, from, dead, .. } = letter;
        self.note(|| format!("{life} buries a message from {} to {to}: {dead}", from.source));
        if self.quiet {
            self.violation(format!("a message from {} to {to} died: {dead}", from.source));
        }
    }

    // Requests.

    /// A request is about to be sent. One that may have to wait for room keeps no place among the messages of its pair.
    pub(crate) fn ask(
        &mut self,
        from: Life,
        to: Life,
        wait: u64,
        limit: Duration,
        ordered: bool,
    ) -> Ask {
        let id = self.asks.len() as u64;
        let (at, quiet) = (self.now, self.quiet);
        let asked = Asked { from, to, at, limit, quiet, heard: 0, outcome: None, ended: None };
        self.asks.push(asked);
        let seq = if ordered { self.next_of(from, to) } else { 0 };
        self.note(|| format!("{from} asks {to}: request {id}"));
        Ask { id, from, to, seq, wait }
    }

    /// A handler has got a request.
    pub(crate) fn heard_ask(&mut self, by: Life, ask: &Ask) {
        self.note(|| format!("{by} handles request {}", ask.id));
        if ask.seq > 0 {
            self.in_order(by, ask.from, ask.to, ask.seq);
        }
        let Some(asked) = self.asks.get_mut(ask.id as usize) else {
            return self.violation(format!("{by} got request {}, which nobody sent", ask.id));
        };
        asked.heard += 1;
        if asked.heard > 1 {
            self.violation(format!("{by} got request {} a second time", ask.id));
        }
    }

    /// A request has ended.
    pub(crate) fn answered(&mut self, id: u64, outcome: Result<Told, SendError<Ask>>) {
        self.note(|| format!("request {id} ends: {outcome:?}"));
        let now = self.now;
        let ask = &mut self.asks[id as usize];
        let (from, to, at, limit, quiet) = (ask.from, ask.to, ask.at, ask.limit, ask.quiet);
        let told_twice = ask.outcome.is_some();
        let handled = match &outcome {
            Ok(_) => Handled::Yes,
            Err(error) => error.handled(),
        };
        ask.outcome = Some(handled);
        ask.ended = Some((now, outcome.as_ref().err().and_then(SendError::reason)));
        let heard = ask.heard;
        let request = format!("request {id} from {from} to {to} of {at:?}");
        if told_twice {
            self.violation(format!("{request} ended twice"));
        }
        if now > at + limit + SLACK {
            self.violation(format!("{request} took {:?}, its limit is {limit:?}", now - at));
        }
        match outcome {
            Ok(told) if told != (Told { id, by: to }) => {
                self.violation(format!("{request} got a wrong answer: {told:?}"));
            }
            Ok(_) if heard == 0 => {
                self.violation(format!("{request} was answered, and nobody had it"));
            }
            Ok(_) => {}
            Err(error) if quiet => self.violation(format!("{request} failed: {error}")),
            Err(SendError::Timeout(_)) if now + SLACK < at + limit => {
                self.violation(format!("{request} timed out early, at {now:?}"));
            }
            Err(SendError::Timeout(_)) => {}
            Err(SendError::Dead(dead) | SendError::Unsent(_, dead))
                if self.may_be(&dead, to, from) => {}
            Err(error) => {
                self.violation(format!("{request} ended with what cannot be: {error}"));
            }
        }
    }

    /// Whether a message to this life may be dead for this reason, as far as the simulation knows.
    fn may_be(&self, dead: &Dead, to: Life, from: Life) -> bool {
        match dead.reason {
            DeadReason::RouteLost | DeadReason::NoRoute => true,
            DeadReason::Stale => {
                self.attempts.get(&to.slot).is_some_and(|&latest| latest > to.number)
            }
            DeadReason::Stopped | DeadReason::NoAnswer => self.is_ending(to),
            // A context knows of its own end before its program does.
            DeadReason::Shutdown => self.is_ending(to) || dead.by.0 == from.slot as u64,
            DeadReason::Congested | DeadReason::MailboxFull => self.crowded,
            _ => false,
        }
    }

    /// The requests that have ended, in the order in which they were sent.
    pub(crate) fn waits(&self) -> impl Iterator<Item = Wait> {
        self.asks.iter().filter_map(|ask| {
            let (ended, reason) = ask.ended?;
            Some(Wait { from: ask.from, to: ask.to, begun: ask.at, ended, reason })
        })
    }

    // One-way messages. They share their numbers with the requests of their pair: both go the same way.

    fn next_of(&mut self, from: Life, to: Life) -> u64 {
        self.envelopes += 1;
        let flow = self.flows.entry((from, to)).or_default();
        flow.sent += 1;
        flow.sent
    }

    pub(crate) fn tell(&mut self, from: Life, to: Life) -> u64 {
        let seq = self.next_of(from, to);
        if self.quiet
            && let Some(flow) = self.flows.get_mut(&(from, to))
        {
            flow.quiet_sent += 1;
        }
        self.note(|| format!("{from} tells {to}: message {seq}"));
        seq
    }

    pub(crate) fn heard_note(&mut self, by: Life, from: Life, to: Life, seq: u64, whole: bool) {
        self.note(|| format!("{by} hears message {seq} of {from}"));
        self.in_order(by, from, to, seq);
        if !whole {
            self.violation(format!("{by} got message {seq} of {from} with another content"));
        }
        if self.quiet
            && let Some(flow) = self.flows.get_mut(&(from, to))
        {
            flow.quiet_heard += 1;
        }
    }

    fn in_order(&mut self, by: Life, from: Life, to: Life, seq: u64) {
        if by != to {
            self.violation(format!("{by} got message {seq} of {from}, which was for {to}"));
        }
        let flow = self.flows.entry((from, to)).or_default();
        let (heard, sent) = (flow.heard, flow.sent);
        flow.heard = heard.max(seq);
        if seq <= heard {
            self.violation(format!("{by} got message {seq} of {from} after message {heard}"));
        } else if seq > sent {
            self.violation(format!("{by} got message {seq} of {from}, of {sent} that were sent"));
        }
    }

    // Actors that are watched.

    pub(crate) fn hired(&mut self, host: Life, boss: Life) -> u64 {
        self.envelopes += 1;
        let (words_sent, words_heard) = (0, 0);
        let hand = Hand { host, boss, words_sent, words_heard, stopped: None, noticed: false };
        self.hands.push(hand);
        self.hands.len() as u64 - 1
    }

    /// An actor is about to say its last words and stop.
    pub(crate) fn stops(&mut self, hand: u64, words: u32, reason: StopReason) {
        self.note(|| format!("hand {hand} stops: {reason}"));
        let record = &mut self.hands[hand as usize];
        if record.stopped.is_some() {
            return self.violation(format!("hand {hand} was asked to stop twice"));
        }
        record.stopped = Some(reason);
        record.words_sent = words;
        self.envelopes += 1 + u64::from(words);
    }

    pub(crate) fn heard_word(&mut self, by: Life, hand: u64, number: u32) {
        self.note(|| format!("{by} hears word {number} of hand {hand}"));
        let record = &mut self.hands[hand as usize];
        let (boss, noticed, expected) = (record.boss, record.noticed, record.words_heard);
        record.words_heard = number + 1;
        if by != boss {
            self.violation(format!("{by} got a word of hand {hand}, which works for {boss}"));
        }
        if noticed {
            self.violation(format!("hand {hand} spoke to {by} after its end was noticed there"));
        }
        if number < expected {
            self.violation(format!(
                "{by} got word {number} of hand {hand} after {expected} others"
            ));
        }
    }

    pub(crate) fn watched(&mut self) -> u64 {
        self.envelopes += 1;
        self.watches += 1;
        self.watches
    }

    /// A watch has ended. `ordered` says that it was held for the hand's boss, so that no word of the hand is still to come.
    pub(crate) fn noticed(
        &mut self,
        by: Life,
        watch: u64,
        hand: u64,
        ended: &Ended,
        ordered: bool,
    ) {
        self.note(|| format!("{by} notices by watch {watch}: hand {hand} {ended:?}"));
        let quiet = self.quiet;
        let record = &mut self.hands[hand as usize];
        let (host, stopped) = (record.host, record.stopped.clone());
        let (sent, heard) = (record.words_sent, record.words_heard);
        // A sleeper hears the words that came before when it wakes up.
        record.noticed |= ordered && !self.crowded;
        match ended {
            Ended::Stopped(StopReason::Shutdown) if self.is_ending(host) => {}
            Ended::Stopped(reason) if stopped.as_ref() == Some(reason) => {
                // Who is ending hears nothing any more.
                if ordered && heard < sent && !self.is_ending(by) && !self.crowded {
                    self.violation(format!(
                        "the end of hand {hand} was noticed by {by} before {sent} last words: {heard}"
                    ));
                }
            }
            Ended::Stopped(reason) => self.violation(format!(
                "{by} was told that hand {hand} of {host} ended `{reason}`; in truth {stopped:?}"
            )),
            Ended::ContextLost(dead) if quiet || !self.may_be(dead, host, by) => {
                self.violation(format!("{by} was told what cannot be of hand {hand}: {dead}"));
            }
            Ended::ContextLost(_) => {}
            other => self.violation(format!("a notice of a kind that is not known: {other:?}")),
        }
    }

    pub(crate) fn noticed_twice(&mut self, by: Life, watch: u64) {
        self.violation(format!("watch {watch} of {by} gave a second notice"));
    }

    /// What must hold when everything is over.
    pub(crate) fn close(&mut self) {
        let mut found = Vec::new();
        for (id, ask) in self.asks.iter().enumerate() {
            let crashed = self.lives.get(&ask.from).is_some_and(|fate| fate.crashed);
            let request = format!("request {id} from {} to {} of {:?}", ask.from, ask.to, ask.at);
            match ask.outcome {
                None if !crashed => found.push(format!("{request} has no outcome")),
                Some(Handled::No) if ask.heard > 0 => {
                    found.push(format!("{request} was handled; its asker was told it was not"));
                }
                Some(Handled::Yes) if ask.heard == 0 => {
                    found.push(format!("{request} was not handled; its asker was told it was"));
                }
                _ => {}
            }
        }
        for ((from, to), flow) in &self.flows {
            if flow.quiet_heard < flow.quiet_sent {
                found.push(format!(
                    "of {} messages from {from} to {to} sent when nothing was broken {} arrived",
                    flow.quiet_sent, flow.quiet_heard
                ));
            }
        }
        for text in found {
            self.violation(text);
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("now", &self.now)
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}
