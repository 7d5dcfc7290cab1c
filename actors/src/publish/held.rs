//! What a consumer holds: what has come and is not done with, within bounds, and what it owes to publishers. A pure machine; time is passed in.
//!
//! ```text
//!   arrive ──> waiting ── take ──> out ── ok, reject ──> window (remembered, answered)
//!                 ^                 │
//!                 └──── later <─────┴── nack, lost, time over ──> dead letters, after so many deliveries
//! ```
//!
//! A message that was held before under the same id is no second one: it asks for the answer again, and gets it as soon as there is one.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use actogen_runtime::core::{ContextId, Moment};

use super::{
    acknowledgement::Answer,
    checked::Checked,
    dead::{DeadDeliveries, DeadDelivery},
    gaps::{Before, Gaps},
    message::{AckLevel, MessageHash, MessageId},
    options::Options,
    replay::ReplayMark,
    seam::{Joined, Resigned, Seam},
    stats::ConsumerStats,
    window::{Remembered, WindowKey},
};
use crate::topics::Arrived;

/// So many forms of one message ask for its answer at a time: each publish of the same id is one.
const MOST_ASKS: usize = 8;

/// An answer that a publisher is to get, under each of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) to: ContextId,
    pub(super) id: MessageId,
    pub(super) hash: MessageHash,
    pub(super) names: Vec<String>,
    pub(super) answer: Answer,
}

impl Owed {
    pub(super) fn of(from: ContextId, checked: &Checked, answer: Answer) -> Option<Self> {
        let names = checked.owed_by.clone();
        let owed = Self { to: from, id: checked.id, hash: checked.hash, names, answer };
        (!owed.names.is_empty()).then_some(owed)
    }
}

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Ok,
    Nack(Duration),
    Reject(String),
    /// Whoever had it is gone.
    Lost,
}

/// One form in which a message asks for its answer.
struct Ask {
    checked: std::sync::Arc<Checked>,
    is_answered: bool,
}

struct Entry {
    arrived: Arrived,
    asks: VecDeque<Ask>,
    reached: Option<AckLevel>,
    deliveries: u32,
    /// Until when the delivery that is under way may take.
    until: Option<Moment>,
}

impl Entry {
    fn key(&self) -> Option<WindowKey> {
        key(&self.arrived)
    }

    /// What is owed to those who ask for this level, or a lower one.
    fn reach(&mut self, level: AckLevel, owed: &mut Vec<Owed>) {
        self.reached = self.reached.max(Some(level));
        for ask in self.asks.iter_mut().filter(|ask| !ask.is_answered && ask.checked.level <= level)
        {
            ask.is_answered = true;
            owed.extend(Owed::of(self.arrived.from, &ask.checked, Answer::Reached(level)));
        }
    }

    fn reject(&self, why: &str, owed: &mut Vec<Owed>) {
        for ask in self.asks.iter().filter(|ask| !ask.is_answered) {
            owed.extend(Owed::of(self.arrived.from, &ask.checked, Answer::rejected(why)));
        }
    }
}

fn key(arrived: &Arrived) -> Option<WindowKey> {
    let (publisher, id) = arrived.signed.as_ref()?.key(arrived.from);
    Some(WindowKey::new(publisher, id))
}

/// A message whose turn it is.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) number: u64,
    pub(super) arrived: Arrived,
    /// The how manieth delivery of it this is, from 1.
    pub(super) attempt: u32,
}

pub(super) struct Held {
    options: Options,
    entries: HashMap<u64, Entry>,
    by_key: HashMap<WindowKey, u64>,
    waiting: VecDeque<u64>,
    later: BTreeSet<(Moment, u64)>,
    /// Deliveries that are under way, and the entry of each.
    out: HashMap<u64, u64>,
    due: BTreeSet<(Moment, u64)>,
    bytes: usize,
    next: u64,
    gaps: Gaps,
    /// Where there is a recorder.
    seam: Option<Seam>,
    dead: DeadDeliveries,
    stats: ConsumerStats,
}

impl Held {
    pub(super) fn new(options: Options) -> Self {
        let seam = options.catches_up.then(|| Seam::new(options.most, options.most_bytes));
        Self {
            options,
            seam,
            entries: HashMap::new(),
            by_key: HashMap::new(),
            waiting: VecDeque::new(),
            later: BTreeSet::new(),
            out: HashMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
            next: 0,
            gaps: Gaps::default(),
            dead: DeadDeliveries::default(),
            stats: ConsumerStats::default(),
        }
    }

    pub(super) fn stats(&self) -> ConsumerStats {
        ConsumerStats {
            held: self.entries.len(),
            missed: self.gaps.missed(),
            dead_dropped: self.dead.dropped(),
            ..self.stats
        }
    }

    pub(super) fn take_dead(&mut self) -> Vec<DeadDelivery> {
        self.dead.take()
    }

    pub(super) fn time(&self) -> Duration {
        self.options.time
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes a message that has come, and says what is owed for it at once.
    pub(super) fn arrive(&mut self, arrived: Arrived) -> Vec<Owed> {
        let mut owed = Vec::new();
        let is_taken = self.options.takes(&arrived);
        self.stats.filtered += u64::from(!is_taken);
        if is_taken
            && let Some(signed) = arrived.signed.clone()
            && self.is_known(&arrived, signed, &mut owed)
        {
            // While something is missing its place is noted with those that wait.
            if self.seam.as_ref().is_none_or(|seam| !seam.is_catching) {
                self.note(&arrived);
            }
            return owed;
        }
        let is_full = is_taken && self.is_full(&arrived);
        let is_missing = self.before(&arrived) != Before::Known;
        if let Some(seam) = &mut self.seam
            && (seam.is_catching || is_missing || (is_full && arrived.signed.is_some()))
        {
            self.stats.overflowed += u64::from(!seam.put(arrived, is_taken));
            return owed;
        }
        self.note(&arrived);
        if is_full {
            self.stats.overflowed += 1;
        } else if is_taken {
            self.accept(arrived, &mut owed);
        }
        owed
    }

    fn note(&mut self, arrived: &Arrived) {
        if let Some(signed) = &arrived.signed {
            self.gaps.note(arrived.from, &arrived.topic, signed.series, signed.sequence);
        }
    }

    fn before(&self, arrived: &Arrived) -> Before {
        let place = arrived.signed.as_ref().map(|signed| signed.place());
        place.map_or(Before::Known, |place| self.gaps.before(arrived.from, &arrived.topic, place))
    }

    /// One that is larger than the bound is taken when nothing else is held.
    fn is_full(&self, arrived: &Arrived) -> bool {
        self.entries.len() >= self.options.most
            || (self.bytes > 0 && self.bytes + arrived.charge() > self.options.most_bytes)
    }

    /// Whether a recorder is to be asked for what is missing.
    pub(super) fn wants_round(&self) -> bool {
        self.seam.as_ref().is_some_and(|seam| seam.is_catching || seam.is_behind)
    }

    /// A recorder is asked: what comes from now on waits aside. Gives what is here already.
    pub(super) fn begin_round(&mut self) -> Vec<ReplayMark> {
        self.stats.catch_ups += 1;
        if let Some(seam) = &mut self.seam {
            (seam.is_catching, seam.is_behind) = (true, false);
        }
        self.gaps.marks()
    }

    pub(super) fn has_failed(&mut self) {
        self.stats.catch_ups_failed += 1;
    }

    pub(super) fn not_kept(&mut self) {
        self.stats.not_kept += 1;
    }

    /// Takes a message that a recorder has given; gives it back when there is no room. One without a signature is not taken: nobody could tell whether it has
    /// come before.
    pub(super) fn replayed(&mut self, arrived: Arrived, owed: &mut Vec<Owed>) -> Option<Arrived> {
        let signed = arrived.signed.clone()?;
        let is_new = self.options.takes(&arrived) && !self.is_known(&arrived, signed, owed);
        if is_new && self.is_full(&arrived) {
            return Some(arrived);
        }
        self.note(&arrived);
        if is_new {
            self.stats.replayed += 1;
            self.accept(arrived, owed);
        }
        None
    }

    /// Takes over what waits aside, as far as nothing is missing.
    pub(super) fn join(&mut self, resigned: Resigned, owed: &mut Vec<Owed>) -> Joined {
        loop {
            let Some(seam) = &mut self.seam else { return Joined::Live };
            if seam.is_behind && !resigned.all {
                return Joined::Behind;
            }
            let Some((arrived, is_taken)) = seam.first().cloned() else {
                (seam.is_catching, seam.is_behind) = (false, false);
                return Joined::Live;
            };
            match self.before(&arrived) {
                Before::Beginning if !resigned.beginnings => return Joined::Gap,
                Before::Gap if !resigned.gaps => return Joined::Gap,
                _ => {}
            }
            let signed = arrived.signed.clone();
            let is_new =
                is_taken && !signed.is_some_and(|signed| self.is_known(&arrived, signed, owed));
            if is_new && self.is_full(&arrived) {
                return Joined::Full;
            }
            if let Some(seam) = &mut self.seam {
                seam.take();
            }
            self.note(&arrived);
            if is_new {
                self.accept(arrived, owed);
            }
        }
    }

    fn accept(&mut self, arrived: Arrived, owed: &mut Vec<Owed>) {
        self.bytes += arrived.charge();
        let id = self.fresh();
        if let Some(key) = key(&arrived) {
            self.by_key.insert(key, id);
        }
        let asks = arrived.signed.iter().cloned();
        let asks = asks.map(|checked| Ask { checked, is_answered: false }).collect();
        let mut entry = Entry { arrived, asks, reached: None, deliveries: 0, until: None };
        entry.reach(AckLevel::Received, owed);
        self.entries.insert(id, entry);
        self.waiting.push_back(id);
    }

    /// Whether a message has been here before under its id; then it is answered as far as there is an answer.
    fn is_known(
        &mut self,
        arrived: &Arrived,
        checked: std::sync::Arc<Checked>,
        owed: &mut Vec<Owed>,
    ) -> bool {
        let (publisher, id) = checked.key(arrived.from);
        let key = WindowKey::new(publisher, id);
        let reused = "the id stands for another message already";
        if let Some(entry) = self.by_key.get(&key).and_then(|id| self.entries.get_mut(id)) {
            if !entry.asks.iter().any(|ask| ask.checked.content == checked.content) {
                self.stats.reused_ids += 1;
                owed.extend(Owed::of(arrived.from, &checked, Answer::rejected(reused)));
                return true;
            }
            self.stats.duplicates += 1;
            entry.asks.retain(|ask| ask.checked.hash != checked.hash);
            let checked = std::sync::Arc::new(checked.for_answer());
            entry.asks.push_back(Ask { checked, is_answered: false });
            if entry.asks.len() > MOST_ASKS {
                entry.asks.pop_front();
            }
            if let Some(reached) = entry.reached {
                // The answer may have been lost on its way.
                entry.reach(reached, owed);
            }
            return true;
        }
        let Some(known) = self.options.window.recall(&key) else { return false };
        let answer = if known.content != checked.content {
            self.stats.reused_ids += 1;
            Answer::rejected(reused)
        } else {
            self.stats.duplicates += 1;
            match &known.rejected {
                None => Answer::Reached(AckLevel::Processed),
                Some(why) => Answer::rejected(why),
            }
        };
        owed.extend(Owed::of(arrived.from, &checked, answer));
        true
    }

    /// The next message whose turn it is. Deliveries whose time is over are lost before that.
    pub(super) fn take(&mut self, now: Moment, owed: &mut Vec<Owed>) -> Option<Taken> {
        while let Some(&(until, number)) = self.due.first()
            && until <= now
        {
            self.stats.expired += 1;
            self.settle(now, number, Settled::Lost, owed);
        }
        while let Some(&(at, id)) = self.later.first()
            && at <= now
        {
            self.later.pop_first();
            self.waiting.push_back(id);
        }
        let id = self.waiting.pop_front()?;
        let (number, until) = (self.fresh(), now + self.options.time);
        let entry = self.entries.get_mut(&id).expect("what waits is held");
        entry.deliveries += 1;
        entry.until = Some(until);
        self.out.insert(number, id);
        self.due.insert((until, number));
        self.stats.delivered += 1;
        Some(Taken { number, arrived: entry.arrived.clone(), attempt: entry.deliveries })
    }

    /// When to look again although nothing has come.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        let (due, later) = (self.due.first(), self.later.first());
        due.into_iter().chain(later).map(|(at, _)| *at).min()
    }

    /// Gives a delivery more time from now on.
    pub(super) fn extend(&mut self, now: Moment, number: u64, time: Duration) -> bool {
        let entry = self.out.get(&number).and_then(|id| self.entries.get_mut(id));
        let Some(until) = entry.and_then(|entry| entry.until.as_mut()) else {
            self.stats.late_verdicts += 1;
            return false;
        };
        self.due.remove(&(*until, number));
        *until = now + time;
        self.due.insert((*until, number));
        true
    }

    /// Whoever has the delivery has stored it.
    pub(super) fn stored(&mut self, number: u64, owed: &mut Vec<Owed>) -> bool {
        match self.out.get(&number).and_then(|id| self.entries.get_mut(id)) {
            Some(entry) => {
                entry.reach(AckLevel::Durable, owed);
                true
            }
            None => {
                self.stats.late_verdicts += 1;
                false
            }
        }
    }

    /// Ends a delivery. False when its time was over already: it has been, or will be, delivered anew.
    pub(super) fn settle(
        &mut self,
        now: Moment,
        number: u64,
        how: Settled,
        owed: &mut Vec<Owed>,
    ) -> bool {
        let Some(id) = self.out.remove(&number) else {
            self.stats.late_verdicts += 1;
            return false;
        };
        let entry = self.entries.get_mut(&id).expect("what is out is held");
        let until = entry.until.take().expect("it is out");
        self.due.remove(&(until, number));
        let wait = match how {
            Settled::Ok => {
                self.stats.handled += 1;
                self.finish(id, None, owed);
                return true;
            }
            Settled::Reject(why) => {
                self.stats.rejected += 1;
                self.finish(id, Some(why), owed);
                return true;
            }
            Settled::Nack(wait) => {
                self.stats.nacked += 1;
                wait
            }
            Settled::Lost => {
                self.stats.lost += 1;
                self.options.again
            }
        };
        if entry.deliveries >= self.options.deliveries {
            self.stats.dead += 1;
            let why = format!("it was delivered {} times without success", entry.deliveries);
            self.dead.add(DeadDelivery::of(&entry.arrived, entry.deliveries));
            self.finish(id, Some(why), owed);
        } else {
            self.later.insert((now + wait, id));
        }
        true
    }

    /// Remembers what has become of a message, and answers.
    fn finish(&mut self, id: u64, rejected: Option<String>, owed: &mut Vec<Owed>) {
        let Some(mut entry) = self.entries.remove(&id) else { return };
        self.bytes -= entry.arrived.charge();
        if let Some(key) = entry.key() {
            self.by_key.remove(&key);
            let content = entry.asks.front().map_or([0; 32], |ask| ask.checked.content);
            let what = Remembered::new(content, rejected.clone());
            if let Err(why) = self.options.window.remember(key, what) {
                // Not acknowledged: when it comes again it is handled again.
                tracing::warn!(id = %key.id, "a message is not remembered: {why}");
                self.stats.unremembered += 1;
                return;
            }
        }
        match rejected {
            None => entry.reach(AckLevel::Processed, owed),
            Some(why) => entry.reject(&why, owed),
        }
    }
}

#[cfg(test)]
mod tests;
