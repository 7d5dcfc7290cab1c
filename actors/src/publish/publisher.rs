//! The actor of each context that signs what it publishes, sends it until it is acknowledged, and takes the acknowledgements.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use actix::{Actor, AsyncContext, Context as ActixContext, Handler, SpawnHandle};
use actogen_runtime::core::{ContextId, Moment};
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time::Instant};

use super::{
    acknowledgement::{self, Acknowledgement},
    message::{self, AckLevel, DOMAIN, MessageHash, MessageId, Signed},
    outcome::{Confirmed, NotSent, ReliableError},
    stats::PublishStats,
    waiter::{Step, Waiter, Worthless},
};
use crate::{
    Inbound, RemoteActor, RemoteMessage, SendError,
    context::Context,
    directory::Here,
    supervise::chance,
    topics::{Carried, PublishError, publish_here},
};

/// So many publishes wait for acknowledgements at a time,
const MOST_WAITING: usize = 10_000;

/// and so many bytes of their messages.
const MOST_BYTES: usize = 256 * 1024 * 1024;

/// Under so many topics this context counts its messages; for a new one the oldest count is forgotten, and begins anew if it is needed.
const MOST_TOPICS: usize = 10_000;

/// How a reliable publish ends.
pub(super) type Outcome = Result<Confirmed, ReliableError>;

/// Somebody here publishes, or gives that up.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Publishing", crate = crate)]
pub(super) struct FromHere(pub(super) Here<Does>);

#[derive(Debug)]
pub(super) enum Does {
    Reliable(Box<Reliably>),
    Signed { carried: Box<Carried>, id: MessageId, done: oneshot::Sender<Result<(), PublishError>> },
    GiveUp { number: u64 },
    Stats(oneshot::Sender<PublishStats>),
}

#[derive(Debug)]
pub(super) struct Reliably {
    pub(super) number: u64,
    pub(super) carried: Carried,
    pub(super) id: MessageId,
    pub(super) level: AckLevel,
    pub(super) required: Vec<(String, ContextId)>,
    pub(super) deadline: Instant,
    pub(super) done: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct Waiting {
    waiter: Waiter,
    carried: Carried,
    bytes: usize,
    done: oneshot::Sender<Outcome>,
    timer: Option<SpawnHandle>,
}

/// What this context publishes and signs.
#[derive(Debug, RemoteActor)]
#[remote(name = "actogen.publishing", inbound(Acknowledgement), messages(FromHere), crate = crate)]
pub(super) struct Publishing {
    cx: Context,
    begun: Instant,
    waiting: HashMap<u64, Waiting>,
    by_hash: HashMap<MessageHash, u64>,
    by_id: HashMap<MessageId, Vec<u64>>,
    /// The series under each topic, and the last number in it.
    series: HashMap<String, (u64, u64)>,
    topics: VecDeque<String>,
    stats: PublishStats,
}

impl Publishing {
    pub(super) fn new(cx: Context) -> Self {
        Self {
            cx,
            begun: Instant::now(),
            waiting: HashMap::new(),
            by_hash: HashMap::new(),
            by_id: HashMap::new(),
            series: HashMap::new(),
            topics: VecDeque::new(),
            stats: PublishStats::default(),
        }
    }

    fn at(&self, instant: Instant) -> Moment {
        Moment::after_start(instant.saturating_duration_since(self.begun))
    }

    fn now(&self) -> Moment {
        self.at(Instant::now())
    }

    /// The next place under a topic.
    fn count(&mut self, topic: &str) -> (u64, u64) {
        if let Some((series, last)) = self.series.get_mut(topic) {
            *last += 1;
            return (*series, *last);
        }
        if self.topics.len() >= MOST_TOPICS
            && let Some(oldest) = self.topics.pop_front()
        {
            self.series.remove(&oldest);
        }
        let first = (self.cx.fresh_number(), 1);
        self.topics.push_back(topic.to_owned());
        self.series.insert(topic.to_owned(), first);
        first
    }

    fn unsigned(
        &mut self,
        carried: &Carried,
        id: MessageId,
        level: AckLevel,
        required: Vec<String>,
    ) -> Signed {
        let (series, sequence) = self.count(&carried.topic);
        let (certificate, signature) = Default::default();
        Signed { id, series, sequence, level, required, certificate, signature }
    }

    /// Signs with the key and the certificate that the context has now: both may be others than when it was sent before.
    fn sign(&self, signed: &mut Signed, hash: &MessageHash) {
        signed.certificate = self.cx.certificate().into();
        signed.signature = self.cx.sign_claim(DOMAIN, hash).into();
    }

    fn begin(&mut self, reliably: Reliably, ctx: &mut ActixContext<Self>) {
        let Reliably { number, mut carried, id, level, required, deadline, done } = reliably;
        if done.is_closed() {
            return;
        }
        let bytes = carried.charge();
        if self.waiting.len() >= MOST_WAITING || self.stats.waiting_bytes + bytes > MOST_BYTES {
            self.stats.refused_full += 1;
            let full = NotSent::Full(self.waiting.len());
            let _ = done.send(Err(ReliableError::NotSent(full)));
            return;
        }
        let names = required.iter().map(|(name, _)| name.clone()).collect();
        let signed = self.unsigned(&carried, id, level, names);
        let hash = message::hash(&carried, &signed);
        carried.signed = Some(signed);
        let waiter = Waiter::new((id, hash), level, required, self.now(), self.at(deadline));
        self.stats.waiting_bytes += bytes;
        self.by_hash.insert(hash, number);
        self.by_id.entry(id).or_default().push(number);
        self.waiting.insert(number, Waiting { waiter, carried, bytes, done, timer: None });
        self.go_on(number, ctx);
    }

    /// Does what is to be done now for one that waits.
    fn go_on(&mut self, number: u64, ctx: &mut ActixContext<Self>) {
        loop {
            let (now, chance) = (self.now(), chance(&self.cx));
            let Some(waiting) = self.waiting.get_mut(&number) else { return };
            if let Some(timer) = waiting.timer.take() {
                ctx.cancel_future(timer);
            }
            match waiting.waiter.step(now, chance) {
                Step::Send => {
                    if let Err(error) = self.send(number) {
                        let failed = NotSent::Publish(error);
                        return self.finish(number, Err(ReliableError::NotSent(failed)), ctx);
                    }
                }
                Step::Wait(until) => {
                    // Timers count in milliseconds, and must not be early.
                    let wait = (until - now).max(Duration::from_millis(1));
                    let timer = ctx.run_later(wait, move |me, ctx| me.go_on(number, ctx));
                    waiting.timer = Some(timer);
                    return;
                }
                Step::Done(outcome) => return self.finish(number, outcome, ctx),
            }
        }
    }

    /// Sends the message once, if there is room.
    fn send(&mut self, number: u64) -> Result<(), PublishError> {
        let Some(waiting) = self.waiting.get(&number) else { return Ok(()) };
        let (mut carried, hash) = (waiting.carried.clone(), *waiting.waiter.hash());
        if let Some(signed) = &mut carried.signed {
            self.sign(signed, &hash);
        }
        match publish_here(&self.cx, carried) {
            Ok(()) => {
                self.stats.sent += 1;
                if let Some(waiting) = self.waiting.get_mut(&number) {
                    waiting.waiter.has_left();
                }
                Ok(())
            }
            // It is tried again with the next sending.
            Err(SendError::Full(_)) => Ok(()),
            Err(error) => Err(PublishError::Dead(error.to_string())),
        }
    }

    fn finish(&mut self, number: u64, outcome: Outcome, ctx: &mut ActixContext<Self>) {
        let Some(waiting) = self.waiting.remove(&number) else { return };
        let Waiting { waiter, bytes, done, timer, .. } = waiting;
        if let Some(timer) = timer {
            ctx.cancel_future(timer);
        }
        self.stats.waiting_bytes -= bytes;
        self.by_hash.remove(waiter.hash());
        if let Some(same) = self.by_id.get_mut(&waiter.id()) {
            same.retain(|other| *other != number);
            if same.is_empty() {
                self.by_id.remove(&waiter.id());
            }
        }
        if self.waiting.is_empty() {
            // After a burst, its room is given back.
            self.waiting.shrink_to_fit();
            self.by_hash.shrink_to_fit();
            self.by_id.shrink_to_fit();
        }
        let _ = done.send(outcome);
    }

    fn take(&mut self, ack: &Acknowledgement, ctx: &mut ActixContext<Self>) {
        let by_id = || self.by_id.get(&ack.id).and_then(|same| same.first());
        let number = self.by_hash.get(&ack.hash).or_else(by_id).copied();
        let now = self.now();
        let Some(number) = number.filter(|_| ack.is_bounded()) else {
            self.stats.acks_unknown += 1;
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&number) else { return };
        let cx = &self.cx;
        if waiting.waiter.take(now, ack, |ack| judge(cx, ack)) {
            self.stats.acks_taken += 1;
            self.go_on(number, ctx);
        } else {
            self.stats.acks_ignored += 1;
        }
    }
}

/// Whether an acknowledgement's signature and certificate hold here and now.
fn judge(cx: &Context, ack: &Acknowledgement) -> Result<Vec<String>, Worthless> {
    if cx.is_revoked(ack.signer) {
        return Err(Worthless::Revoked);
    }
    let claim = acknowledgement::claim(ack.id, &ack.hash, cx.id(), &ack.name, &ack.answer);
    let domain = acknowledgement::DOMAIN;
    let judged = cx.verify_claim(domain, ack.signer, &ack.certificate, &claim, &ack.signature);
    judged.map_err(|_| Worthless::Forged)
}

impl Actor for Publishing {
    type Context = ActixContext<Self>;
}

impl Handler<Inbound<Acknowledgement>> for Publishing {
    type Result = ();

    fn handle(&mut self, ack: Inbound<Acknowledgement>, ctx: &mut ActixContext<Self>) {
        self.take(&ack.message, ctx);
    }
}

impl Handler<FromHere> for Publishing {
    type Result = ();

    fn handle(&mut self, FromHere(Here(does)): FromHere, ctx: &mut ActixContext<Self>) {
        match does {
            Does::Reliable(reliably) => self.begin(*reliably, ctx),
            Does::Signed { mut carried, id, done } => {
                let mut signed = self.unsigned(&carried, id, AckLevel::default(), Vec::new());
                let hash = message::hash(&carried, &signed);
                self.sign(&mut signed, &hash);
                carried.signed = Some(signed);
                self.stats.sent += 1;
                let published = publish_here(&self.cx, *carried);
                let _ = done.send(published.map_err(|error| match error {
                    SendError::Full(()) => PublishError::Full,
                    error => PublishError::Dead(error.to_string()),
                }));
            }
            Does::GiveUp { number } => {
                if let Some(waiting) = self.waiting.get(&number) {
                    let given_up = ReliableError::Timeout(Box::new(waiting.waiter.partial()));
                    self.finish(number, Err(given_up), ctx);
                }
            }
            Does::Stats(to) => {
                let _ = to.send(PublishStats { waiting: self.waiting.len(), ..self.stats });
            }
        }
    }
}
