//! Reliable publishes among faults and forgers: partitions of both ways and of one, crashes at each step of handling, verdicts of every kind, messages
//! that find no room, the same ids again, and acknowledgements that are forged, replayed, doubled, late, or by whoever has been revoked. Not one success
//! may be said that no recipient has signed for.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use actogen::{
    AckLevel, Context, Delivery, IgnoredAcks, MessageId, ReliableError,
    prelude::*,
    testing::{self, TestMesh},
};
use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::dice::Dice;
use crate::rogue_acks::{Forgery, RogueAcks};

const TOPIC: &str = "org.orders";
const NAMES: [&str; 3] = ["audit", "billing", "stock"];

/// The name of a context that is revoked before anything is published, and acknowledges as if it were not.
const REVOKED: &str = "former";

/// So many publishers at a time.
const AT_ONCE: usize = 20;

#[derive(Clone, Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "test.Order")]
struct Order(u64);

/// What came of the publishes under one seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publishes {
    /// Publishes that were confirmed.
    pub confirmed: u64,
    /// Publishes that ran out of time.
    pub timed_out: u64,
    /// Publishes that were rejected.
    pub rejected: u64,
    /// Publishes that were not sent, such as because a recipient could not be asked for.
    pub not_sent: u64,
    /// Publishes of an id that had been published before.
    pub again: u64,
    /// Acknowledgements that did not count, by why.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Messages that found no room at a consumer: each was lost on its way, and others were not.
    pub overflowed: u64,
    /// Links that were cut one way only.
    pub deafened: u64,
    /// Contexts that crashed or were lost.
    pub crashes: u64,
    /// Promises that were broken.
    pub violations: Vec<String>,
}

/// What recipients have given their word for.
type Done = BTreeSet<Key>;

/// A recipient's name, a message's id and its hash.
type Key = (usize, MessageId, [u8; 32]);

/// What all share.
#[derive(Default)]
struct Truth {
    processed: RefCell<Done>,
    stored: RefCell<Done>,
    /// Which order was done.
    orders: RefCell<BTreeMap<Key, u64>>,
    seen: RefCell<Publishes>,
    is_calm: Cell<bool>,
}

impl Publishes {
    fn ignore(&mut self, acks: &IgnoredAcks) {
        for (why, count) in [
            ("other id", acks.other_id),
            ("other hash", acks.other_hash),
            ("stranger", acks.stranger),
            ("weaker", acks.weaker),
            ("forged", acks.forged),
            ("revoked", acks.revoked),
            ("misnamed", acks.misnamed),
            ("duplicate", acks.duplicate),
            ("late", acks.late),
        ] {
            *self.ignored.entry(why).or_default() += count;
        }
    }
}

impl Truth {
    fn violation(&self, text: String) {
        self.seen.borrow_mut().violations.push(text);
    }

    fn note(&self, done: &RefCell<Done>, name: usize, told: &Told) {
        let (Some(id), Some(hash)) = (told.id, told.hash) else { return };
        done.borrow_mut().insert((name, id, hash));
        self.orders.borrow_mut().insert((name, id, hash), told.order);
    }

    /// Whether a recipient has done this order under this id, at this level.
    fn has(&self, name: usize, id: MessageId, order: u64, level: AckLevel) -> bool {
        self.orders.borrow().iter().any(|(key, done)| {
            (key.0, key.1, *done) == (name, id, order)
                && (self.processed.borrow().contains(key)
                    || (level == AckLevel::Durable && self.stored.borrow().contains(key)))
        })
    }
}

/// What a recipient gives its word for.
struct Told {
    id: Option<MessageId>,
    hash: Option<[u8; 32]>,
    order: u64,
}

impl Told {
    fn of(delivery: &Delivery<Order>) -> Self {
        Self { id: delivery.id(), hash: delivery.hash(), order: delivery.message().0 }
    }
}

/// Does something when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How a recipient's consumer ended.
enum End {
    /// It only begins anew.
    Consumer,
    /// Its context crashes with it.
    Context,
}

/// Consumes in one life of a recipient, until a crash.
async fn consume(truth: Rc<Truth>, name: usize, context: Context, mut dice: Dice) -> End {
    let mut handled = BTreeSet::new();
    let mut silent = Vec::new();
    // A small store: what finds no room must come again.
    let consume = context.consume::<Order>(TOPIC).prefetch(8, 1 << 20);
    let consume = consume.within(Duration::from_millis(400)).again_after(Duration::from_millis(50));
    let Ok(mut deliveries) = consume.deliveries() else { return End::Context };
    let consumption = deliveries.consumption();
    let _counted = OnDrop(|| truth.seen.borrow_mut().overflowed += consumption.stats().overflowed);
    while let Some(delivery) = deliveries.next().await {
        let step = if truth.is_calm.get() { 99 } else { dice.below(100) };
        let crashes = |step| if step % 2 == 0 { End::Consumer } else { End::Context };
        match step {
            // Before it is handled,
            0..2 => return crashes(step),
            2..6 => drop(delivery.nack(dice.millis(1, 60))),
            6..9 => drop(delivery.reject("no")),
            9..11 => drop(delivery),
            11..14 => silent.push(delivery),
            14..20 => {
                if delivery.stored() {
                    truth.note(&truth.stored, name, &Told::of(&delivery));
                }
                // after it is stored,
                if step < 16 {
                    // The end comes first: the drop says nothing.
                    drop(deliveries);
                    return crashes(step);
                }
                silent.push(delivery);
            }
            _ => {
                if step < 40 {
                    tokio::time::sleep(dice.millis(0, 500)).await;
                }
                let Some(id) = delivery.id() else { continue };
                // after it is handled and before that is said,
                if (20..22).contains(&step) {
                    drop(deliveries);
                    return crashes(step);
                }
                let told = Told::of(&delivery);
                if delivery.ok() {
                    truth.note(&truth.processed, name, &told);
                    if !handled.insert(id) {
                        truth.violation(format!("{} handled {id} twice in one life", NAMES[name]));
                    }
                }
                // and after that.
                if (22..24).contains(&step) {
                    return crashes(step);
                }
            }
        }
    }
    End::Context
}

/// Publishes, and judges what is said of it.
async fn publish(truth: Rc<Truth>, from: Context, mut dice: Dice, publishes: Rc<Cell<u64>>) {
    let mut last: Option<(MessageId, u64)> = None;
    while let Some(left) = publishes.get().checked_sub(1) {
        publishes.set(left);
        let (mut id, mut order) = (MessageId::fresh(&from), dice.next());
        if let Some(before) = last.take() {
            truth.seen.borrow_mut().again += 1;
            (id, order) = before;
            if dice.percent(10) {
                // Another order under the same id.
                order += 1;
            }
        }
        let first = dice.below(NAMES.len());
        let required = (0..=dice.below(2)).map(|next| (first + next) % NAMES.len());
        let required: BTreeSet<_> = required.collect();
        let level = if dice.percent(20) { AckLevel::Durable } else { AckLevel::Processed };
        let message = Order(order);
        let also = dice.percent(10).then_some(REVOKED);
        let names = required.iter().map(|name| NAMES[*name]).chain(also);
        let publish = from.publish(TOPIC, &message).require(names);
        let outcome = publish.level(level).id(id).within(dice.millis(50, 1500)).await;
        if let Some(partial) = outcome.as_ref().err().and_then(ReliableError::partial) {
            truth.seen.borrow_mut().ignore(&partial.ignored_acks);
        }
        let count = |of: fn(&mut Publishes) -> &mut u64| *of(&mut truth.seen.borrow_mut()) += 1;
        match outcome {
            Ok(confirmed) => {
                count(|seen| &mut seen.confirmed);
                let acked: BTreeSet<_> = confirmed.acked.keys().map(String::as_str).collect();
                let names: BTreeSet<_> = required.iter().map(|name| NAMES[*name]).collect();
                let is_true = required.iter().all(|name| truth.has(*name, id, order, level));
                if acked != names || !is_true || also.is_some() {
                    truth.violation(format!("{id} by {names:?} at {level:?}: {confirmed:?}"));
                }
            }
            Err(ReliableError::Timeout(_)) => {
                count(|seen| &mut seen.timed_out);
                last = dice.percent(60).then_some((id, order));
            }
            Err(ReliableError::Rejected(_)) => count(|seen| &mut seen.rejected),
            Err(_) => {
                count(|seen| &mut seen.not_sent);
                // Whoever has to be asked is away.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Forges and replays, as long as there is something to answer.
async fn forge(
    truth: &Truth,
    rogue: &RogueAcks,
    publishers: &[Context],
    recipients: &RefCell<Vec<Context>>,
    revoked: &Context,
    mut dice: Dice,
) {
    loop {
        tokio::time::sleep(dice.millis(1, 20)).await;
        let heard = rogue.heard();
        if heard.is_empty() || truth.is_calm.get() {
            continue;
        }
        let name = dice.below(NAMES.len());
        let (recipient, third) = {
            let recipients = recipients.borrow();
            (recipients[name].clone(), recipients[(name + 1) % NAMES.len()].clone())
        };
        let about = heard[heard.len() - 1 - dice.below(heard.len().min(AT_ONCE))];
        let publisher = publishers[dice.below(publishers.len())].id();
        if dice.percent(15) {
            rogue.say(publisher, revoked, REVOKED, about, &Forgery::Genuine);
            continue;
        }
        let forgery = match dice.below(7) {
            0 => Forgery::Key,
            1 => Forgery::Hash,
            2 => Forgery::Id,
            3 => Forgery::Stranger,
            4 => Forgery::OwnName,
            5 => Forgery::Certificate(third.certificate(), third.id()),
            _ => Forgery::Genuine,
        };
        // Replayed is only what has been signed; of whichever publish.
        let (id, hash) = about;
        if matches!(forgery, Forgery::Genuine)
            && !truth.processed.borrow().contains(&(name, id, hash))
        {
            continue;
        }
        rogue.say(publisher, &recipient, NAMES[name], about, &forgery);
        if dice.percent(30) {
            // And once more.
            rogue.say(publisher, &recipient, NAMES[name], about, &forgery);
        }
    }
}

/// Keeps recipients alive: begins consumers and contexts anew, and cuts some off.
async fn keep(
    mesh: &TestMesh,
    truth: &Rc<Truth>,
    root: &Context,
    recipients: &RefCell<Vec<Context>>,
    mut dice: Dice,
) {
    let (ended, mut ends) = mpsc::unbounded_channel();
    let begin = |name: usize, context: Context, dice: Dice| {
        let (truth, ended) = (truth.clone(), ended.clone());
        tokio::task::spawn_local(async move {
            let end = consume(truth, name, context, dice).await;
            let _ = ended.send((name, end));
        });
    };
    for (name, context) in recipients.borrow().iter().enumerate() {
        begin(name, context.clone(), Dice::of(dice.next(), &[1]));
    }
    let mut cut = false;
    loop {
        tokio::select! {
            end = ends.recv() => {
                let Some((name, end)) = end else { return };
                let mut context = recipients.borrow()[name].clone();
                if matches!(end, End::Context) || !context.is_running() {
                    mesh.crash(&context).await;
                    // Whoever is cut off does not come back before that is mended.
                    mesh.heal();
                    context = mesh.restart(&context, root).await;
                    recipients.borrow_mut()[name] = context.clone();
                    truth.seen.borrow_mut().crashes += 1;
                }
                begin(name, context, Dice::of(dice.next(), &[1]));
            }
            () = tokio::time::sleep(dice.millis(50, 1000)) => {
                let context = recipients.borrow()[dice.below(NAMES.len())].clone();
                match std::mem::take(&mut cut) || truth.is_calm.get() {
                    true => mesh.heal(),
                    false if dice.percent(40) => mesh.delay(root, &context, dice.millis(0, 300)),
                    false if dice.percent(75) => {
                        // His acknowledgements are lost, or what is sent to him is.
                        match dice.percent(70) {
                            true => mesh.deafen(&context, root),
                            false => mesh.deafen(root, &context),
                        }
                        truth.seen.borrow_mut().deafened += 1;
                        cut = true;
                    }
                    false => {
                        mesh.partition(&[root], &[&context]);
                        cut = true;
                    }
                }
            }
        }
    }
}

/// Runs so many publishes under a seed, then shows that all is well again when nothing fails any more.
///
/// # Panics
/// When the mesh does not start, or does not end.
pub fn publishes(seed: u64, count: u64) -> Publishes {
    let truth = Rc::new(Truth::default());
    let seen = truth.clone();
    testing::run_seeded(seed, async move |mesh: &TestMesh| {
        let root = mesh.root().await;
        let recipients = RefCell::new(Vec::new());
        for name in NAMES {
            let recipient = mesh.named_child(&root, &[name]).await;
            recipients.borrow_mut().push(recipient);
        }
        let publishers = [mesh.child(&root).await, mesh.child(&root).await];
        let revoked = mesh.named_child(&root, &[REVOKED]).await;
        root.revoke(revoked.id())?;
        let forger = mesh.child(&root).await;
        let rogue = RogueAcks::listen(&forger, TOPIC)?;
        let left = Rc::new(Cell::new(count));
        let work = async {
            let publish = |number: usize| {
                let from = publishers[number % publishers.len()].clone();
                publish(truth.clone(), from, Dice::of(seed, &[3, number as u64]), left.clone())
            };
            join_all((0..AT_ONCE).map(publish)).await;
            truth.is_calm.set(true);
            mesh.heal();
            for publisher in &publishers {
                // The lost links take their time, and what is held of before may fill the small stores.
                let publish = publisher.publish(TOPIC, &Order(1)).require(NAMES);
                if let Err(error) = publish.within(Duration::from_secs(120)).await {
                    truth.violation(format!("in the end nothing fails, and yet: {error}"));
                }
                let stats = publisher.publish_stats().await?;
                *truth.seen.borrow_mut().ignored.entry("unknown").or_default() +=
                    stats.acks_unknown;
                if (stats.waiting, stats.waiting_bytes) != (0, 0) {
                    truth.violation(format!("something is left over: {stats:?}"));
                }
            }
            Ok(())
        };
        tokio::select! {
            done = work => done,
            () = keep(mesh, &truth, &root, &recipients, Dice::of(seed, &[1])) => Ok(()),
            () = forge(&truth, &rogue, &publishers, &recipients, &revoked, Dice::of(seed, &[2])) => Ok(()),
        }
    });
    let seen = seen.seen.borrow();
    seen.clone()
}
