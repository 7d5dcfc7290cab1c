//! The actor of each context that drives its [`Hub`]: hears its neighbours, and hands on what is published.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use actix::{Actor, ActorFutureExt, AsyncContext, Context as ActixContext, Handler, WrapFuture};
use actogen_runtime::{
    core::{Address, ContextId, Dead, DeadReason, Handle, Handled, Incarnation, policy::Origin},
    events::{ContextEvent, ContextEvents},
};
use bytes::Bytes;
use futures_util::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{
    gate::{Admitted, Gate, Refused},
    hub::{Hub, Interest, News, Who},
    inbox::{Arrived, Inbox},
    outbox::Outbox,
};
use crate::{
    Inbound, RemoteActor, RemoteMessage, SendError, Tell,
    address::Remote,
    context::Context,
    directory::Here,
    publish::{Checked, Feeder, PublishPolicy, Recorded, Signed},
};

/// How soon a word is said again that found no room.
const AGAIN: Duration = Duration::from_millis(100);

/// The most patterns in one word.
const PATTERNS: usize = 1000;

/// So many words may wait for room on the way to one neighbour; when there are more, all is said anew instead.
const MOST_LATE: usize = 256;

/// What is wanted on the sender's side.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Interest", crate = crate)]
pub(super) struct Wanted(Interest);

/// What somebody has published, on its way.
#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Carried", crate = crate)]
pub(crate) struct Carried {
    pub(crate) topic: String,
    pub(crate) from: ContextId,
    pub(crate) tag: u64,
    pub(crate) codec: u8,
    pub(crate) body: Bytes,
    /// Its publisher's signature, and what is signed beside the rest; none for a plain message.
    pub(crate) signed: Option<Signed>,
}

impl Carried {
    /// About how many bytes it takes to hold it.
    pub(crate) fn charge(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.body.len()
    }
}

/// Somebody here publishes something, subscribes, or ends that.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Topics", crate = crate)]
pub(crate) struct FromHere(pub(crate) Here<Does>);

pub(crate) enum Does {
    Publish(Carried),
    /// Who may publish what here, from now on.
    Policy(Option<PublishPolicy>),
    /// Told when all neighbours have said what they want.
    Ask(oneshot::Sender<()>),
    /// What was refused here so far.
    Refused(oneshot::Sender<Refused>),
    /// Whether what a recorder took at these times may come in.
    Admit {
        recorded: Vec<(Carried, SystemTime)>,
        to: oneshot::Sender<Vec<Option<RecordedSignature>>>,
    },
    Subscribe {
        number: u64,
        pattern: String,
        to: To,
    },
    Unsubscribe {
        number: u64,
    },
}

impl std::fmt::Debug for Does {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Publish(_) => "Publish",
            Self::Policy(_) => "Policy",
            Self::Ask(_) => "Ask",
            Self::Refused(_) => "Refused",
            Self::Admit { .. } => "Admit",
            Self::Subscribe { .. } => "Subscribe",
            Self::Unsubscribe { .. } => "Unsubscribe",
        })
    }
}

/// What holds of the signature of a message that may come in, if it has one.
pub(crate) type RecordedSignature = Option<Arc<Checked>>;

/// Hands a message to an actor, if it is one that the actor takes.
type HandOver = Box<dyn Fn(&Arrived) + Send>;

/// Where a subscription's messages go.
pub(crate) enum To {
    /// Where somebody takes them out.
    Inbox { inbox: Weak<Inbox>, tag: Option<u64> },
    /// To an actor, until it ends.
    Actor { address: Address, hand_over: HandOver },
    /// To a consumer, which gives verdicts.
    Consumer(Feeder),
    /// To a recorder, as it has come.
    Recorder(Weak<Inbox<Recorded>>),
}

/// What is published, and who wants it, as one context sees it.
#[derive(RemoteActor)]
#[remote(name = "actogen.topics", inbound(Wanted, Carried), messages(FromHere), crate = crate)]
pub(crate) struct Topics {
    cx: Context,
    events: ContextEvents,
    hub: Hub,
    parent: Option<ContextId>,
    subscriptions: BTreeMap<u64, To>,
    gate: Gate,
    outbox: Outbox,
    /// Messages that cannot come from the neighbour that brought them.
    misplaced: u64,
    /// What neighbours could not be told yet, in order.
    late: BTreeMap<ContextId, VecDeque<Interest>>,
    /// Those who wait until all neighbours have said what they want.
    asking: Vec<oneshot::Sender<()>>,
}

fn topics_of(context: ContextId) -> Address {
    Address { context, handle: Handle::TOPICS, incarnation: Incarnation::ANY }
}

impl Topics {
    pub(super) fn new(cx: Context) -> Self {
        Self {
            events: cx.events(),
            cx,
            hub: Hub::default(),
            parent: None,
            subscriptions: BTreeMap::new(),
            gate: Gate::default(),
            outbox: Outbox::default(),
            misplaced: 0,
            late: BTreeMap::new(),
            asking: Vec::new(),
        }
    }

    fn at(&self, neighbour: ContextId) -> Remote<Self> {
        self.cx.remote(topics_of(neighbour))
    }

    /// What has happened to the links comes before what comes by them.
    fn catch_up(&mut self, ctx: &mut ActixContext<Self>) {
        while let Some(event) = self.events.try_next() {
            let mut news = News::new();
            match event {
                Ok(ContextEvent::Up { context, .. }) => {
                    if self.cx.next_hop(context) == Some(context) {
                        self.hub.link_up(context, &mut news);
                    }
                }
                Ok(ContextEvent::Down { context, .. }) => self.hub.link_down(context, &mut news),
                Ok(ContextEvent::Moved { .. }) => self.find_parent(&mut news),
                // Some are lost: all links are looked at.
                Err(_) => {
                    let children = self.children();
                    for gone in self.hub.neighbours() {
                        if !children.contains(&gone) && self.parent != Some(gone) {
                            self.hub.link_down(gone, &mut news);
                        }
                    }
                    for child in children {
                        self.hub.link_up(child, &mut news);
                    }
                    self.find_parent(&mut news);
                }
                Ok(_) => {}
            }
            self.tell(news, ctx);
        }
    }

    fn children(&self) -> Vec<ContextId> {
        let is_child = |context: &ContextId| self.cx.next_hop(*context) == Some(*context);
        self.cx.descendants().into_iter().filter(is_child).collect()
    }

    /// Looks who stands above. It may be the same one by another link.
    fn find_parent(&mut self, news: &mut News) {
        let parent = self.cx.family().ancestors.first().copied();
        if let Some(before) = self.parent
            && parent != Some(before)
        {
            self.hub.link_down(before, news);
        }
        self.parent = parent;
        if let Some(parent) = parent {
            self.hub.link_up(parent, news);
            if !self.asking.is_empty() {
                self.hub.ask(news);
            }
        }
    }

    fn tell(&mut self, news: News, ctx: &mut ActixContext<Self>) {
        // A link to a parent stands before its word of who stands above: that it is the parent is known then.
        let is_coming = self.parent.is_none() && self.cx.parent().is_some();
        if !is_coming && !self.hub.is_asking() {
            for asker in self.asking.drain(..) {
                // Whoever has given up needs no word.
                let _ = asker.send(());
            }
        }
        let was_late = !self.late.is_empty();
        for (neighbour, mut interest) in news {
            let late = self.late.entry(neighbour).or_default();
            if interest.anew {
                interest.asks |= late.iter().any(|late| late.asks);
                late.clear();
            }
            late.extend(interest.into_parts(PATTERNS));
        }
        self.tell_late();
        if !was_late && !self.late.is_empty() {
            ctx.run_later(AGAIN, Self::tell_again);
        }
    }

    fn tell_late(&mut self) {
        for (neighbour, mut late) in std::mem::take(&mut self.late) {
            while let Some(interest) = late.pop_front() {
                // Where the link is lost, that is told by an event.
                if let Err(SendError::Full(Wanted(interest))) =
                    self.at(neighbour).try_send(Wanted(interest))
                {
                    late.push_front(interest);
                    break;
                }
            }
            if late.len() > MOST_LATE {
                let mut news = News::new();
                self.hub.tell_all(neighbour, &mut news);
                let asks = late.iter().any(|late| late.asks);
                let all = news.into_values().map(|all| Interest { asks, ..all });
                late = all.flat_map(|all| all.into_parts(PATTERNS)).collect();
            }
            if !late.is_empty() {
                self.late.insert(neighbour, late);
            }
        }
    }

    fn tell_again(&mut self, ctx: &mut ActixContext<Self>) {
        self.tell_late();
        if !self.late.is_empty() {
            ctx.run_later(AGAIN, Self::tell_again);
        }
    }

    fn carry(&mut self, carried: Carried, by: Option<ContextId>, ctx: &mut ActixContext<Self>) {
        let (mut gone, mut here) = (Vec::new(), Vec::new());
        for who in self.hub.route(&carried.topic, by) {
            match who {
                Who::Behind(neighbour) => self.send_on(neighbour, carried.clone(), ctx),
                Who::Here(number) => here.push(number),
            }
        }
        // Where nobody wants it, it is passed on as it is: who gets it checks it.
        if !here.is_empty() {
            let consumes = |number: &u64| {
                matches!(self.subscriptions.get(number), Some(To::Consumer(_) | To::Recorder(_)))
            };
            self.record_once(&mut here);
            let is_consumed = here.iter().any(consumes);
            let admitted = self.gate.admit(&self.cx, &carried, is_consumed);
            if let Some(Admitted { signed, is_again }) = admitted {
                here.retain(|number| !is_again || consumes(number));
                here.retain(|number| !self.deliver(*number, &carried, signed.as_ref()));
                gone = here;
            }
        }
        for number in gone {
            self.unsubscribe(number, ctx);
        }
    }

    /// Sends something on to a neighbour. What finds no room now waits, and all that comes behind it; where nothing more may wait it becomes a dead
    /// letter.
    fn send_on(&mut self, neighbour: ContextId, carried: Carried, ctx: &mut ActixContext<Self>) {
        if self.outbox.is_busy(neighbour) {
            if !self.outbox.push(neighbour, carried) {
                let text = "too much that was published waits for room on the way there";
                let dead = Dead::new(DeadReason::Congested, Handled::No, self.cx.id(), text);
                self.cx.count_sent(1);
                self.cx.dead_letter(topics_of(neighbour), Carried::TAG.get(), &dead);
            }
            return;
        }
        let mut told = self.at(neighbour).tell(carried);
        // One that has no way is counted as refused; that the link is lost is told by an event.
        if (&mut told).now_or_never().is_none() {
            self.outbox.begin(neighbour);
            self.go_on_behind(neighbour, told, ctx);
        }
    }

    /// Sends what waits for a neighbour, one behind the other.
    fn go_on_behind(
        &self,
        neighbour: ContextId,
        told: Tell<Carried>,
        ctx: &mut ActixContext<Self>,
    ) {
        ctx.spawn(told.into_actor(self).map(move |_, me, ctx| {
            if let Some(next) = me.outbox.next(neighbour) {
                let told = me.at(neighbour).tell(next);
                me.go_on_behind(neighbour, told, ctx);
            }
        }));
    }

    /// False when nobody takes this subscription's messages out any more.
    fn deliver(&self, number: u64, carried: &Carried, signed: Option<&Arc<Checked>>) -> bool {
        let Carried { topic, from, tag, codec, body, signed: _ } = carried;
        let arrived = || Arrived {
            topic: topic.clone(),
            from: *from,
            tag: *tag,
            codec: *codec,
            body: body.clone(),
            signed: signed.cloned(),
        };
        match self.subscriptions.get(&number) {
            Some(To::Inbox { inbox, tag: wanted }) => {
                let Some(inbox) = inbox.upgrade() else { return false };
                if wanted.is_none_or(|wanted| wanted == *tag) {
                    inbox.push(arrived());
                }
            }
            Some(To::Actor { hand_over, .. }) => hand_over(&arrived()),
            Some(To::Consumer(feeder)) => return feeder.put(arrived()),
            Some(To::Recorder(inbox)) => {
                let Some(inbox) = inbox.upgrade() else { return false };
                inbox.push(Recorded::new(&self.cx, carried.clone(), signed.cloned()));
            }
            None => {}
        }
        true
    }

    /// Of a recorder's patterns that match one message, one gets it.
    fn record_once(&self, here: &mut Vec<u64>) {
        let mut recorders: Vec<&Weak<Inbox<Recorded>>> = Vec::new();
        here.retain(|number| match self.subscriptions.get(number) {
            Some(To::Recorder(inbox)) => {
                let is_first = !recorders.iter().any(|other| other.ptr_eq(inbox));
                recorders.push(inbox);
                is_first
            }
            _ => true,
        });
    }

    fn unsubscribe(&mut self, number: u64, ctx: &mut ActixContext<Self>) {
        let mut news = News::new();
        self.subscriptions.remove(&number);
        self.hub.unsubscribe(number, &mut news);
        self.tell(news, ctx);
    }

    /// Whether a neighbour may bring what this context has published: children what is below them, the parent what is outside.
    fn may_bring(&self, neighbour: ContextId, from: ContextId) -> bool {
        let way = self.cx.next_hop(from);
        match Some(neighbour) == self.parent {
            true => way.is_none() && from != self.cx.id(),
            false => way == Some(neighbour),
        }
    }
}

impl Actor for Topics {
    type Context = ActixContext<Self>;

    fn started(&mut self, ctx: &mut ActixContext<Self>) {
        let mut news = News::new();
        // Links that stood before anybody listened.
        for child in self.children() {
            self.hub.link_up(child, &mut news);
        }
        self.find_parent(&mut news);
        self.tell(news, ctx);
        let events = self.cx.events();
        let following = futures_util::stream::unfold(events, |mut events| async move {
            events.next().await.map(|_| (Happened, events))
        });
        // A wake; what has happened is read in its order with what comes.
        ctx.add_stream(following);
    }
}

/// Something has happened to the links.
struct Happened;

impl actix::StreamHandler<Happened> for Topics {
    fn handle(&mut self, _: Happened, ctx: &mut ActixContext<Self>) {
        self.catch_up(ctx);
    }

    fn finished(&mut self, _: &mut ActixContext<Self>) {}
}

/// The neighbour that has said something of its own.
fn neighbour(origin: &Origin) -> Option<ContextId> {
    origin.neighbour.map(|neighbour| neighbour.context).filter(|context| *context == origin.source)
}

impl Handler<Inbound<Wanted>> for Topics {
    type Result = ();

    fn handle(&mut self, wanted: Inbound<Wanted>, ctx: &mut ActixContext<Self>) {
        self.catch_up(ctx);
        let Some(neighbour) = neighbour(&wanted.origin) else { return };
        let mut news = News::new();
        if !self.hub.hear(neighbour, wanted.message.0, &mut news) {
            tracing::warn!(context = %self.cx.id(), %neighbour, "wants more than it may, or what is no pattern");
        }
        self.tell(news, ctx);
    }
}

impl Handler<Inbound<Carried>> for Topics {
    type Result = ();

    fn handle(&mut self, carried: Inbound<Carried>, ctx: &mut ActixContext<Self>) {
        self.catch_up(ctx);
        let Some(neighbour) = neighbour(&carried.origin) else {
            self.misplaced += 1;
            return;
        };
        let carried = carried.message;
        if self.may_bring(neighbour, carried.from)
            && super::pattern::check_topic(&carried.topic).is_ok()
        {
            self.carry(carried, Some(neighbour), ctx);
        } else {
            self.misplaced += 1;
            tracing::warn!(context = %self.cx.id(), %neighbour, from = %carried.from, "a publication that cannot come from there is refused");
        }
    }
}

impl Handler<FromHere> for Topics {
    type Result = ();

    fn handle(&mut self, FromHere(Here(does)): FromHere, ctx: &mut ActixContext<Self>) {
        self.catch_up(ctx);
        match does {
            Does::Publish(carried) => self.carry(carried, None, ctx),
            Does::Ask(done) => {
                let mut news = News::new();
                self.asking.retain(|asker| !asker.is_closed());
                self.asking.push(done);
                self.hub.ask(&mut news);
                self.tell(news, ctx);
            }
            Does::Policy(policy) => self.gate.set_policy(policy),
            Does::Refused(to) => {
                let (no_room, misplaced) = (self.outbox.dropped(), self.misplaced);
                let _ = to.send(Refused { no_room, misplaced, ..self.gate.refused() });
            }
            Does::Admit { recorded, to } => {
                let mut admit = |(carried, at): &(Carried, SystemTime)| {
                    self.gate.admit_recorded(&self.cx, carried, *at)
                };
                let _ = to.send(recorded.iter().map(&mut admit).collect());
            }
            Does::Unsubscribe { number } => self.unsubscribe(number, ctx),
            Does::Subscribe { number, pattern, to } => {
                if let To::Actor { address, .. } = to {
                    let ends = self.cx.watch_address(address).into_actor(self);
                    ctx.spawn(ends.map(move |_, me, ctx| me.unsubscribe(number, ctx)));
                }
                let mut news = News::new();
                self.subscriptions.insert(number, to);
                self.hub.subscribe(number, &pattern, &mut news);
                self.tell(news, ctx);
            }
        }
    }
}
