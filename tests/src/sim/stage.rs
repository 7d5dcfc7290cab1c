//! What the hosts of one simulation share: its plan, its ledger, and who is there.

use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    sync::{Arc, Weak},
};

use actogen::{OffenceKind, Remote, StopReason, prelude::Context};
use tokio::sync::Notify;

use super::{
    clerk::{Clerk, Hand},
    keys::{Kept, Keys},
    ledger::{Ledger, Life},
    plan::Plan,
    wire::Wire,
};

/// What no honest context does. `OldWay` is left out: a message that was under way while its sender moved is refused so.
const OFFENCES: [OffenceKind; OffenceKind::COUNT - 1] = [
    OffenceKind::BadSource,
    OffenceKind::BadAuthority,
    OffenceKind::ForgedWithdrawal,
    OffenceKind::BadSignature,
    OffenceKind::Misplaced,
    OffenceKind::OldAnnouncement,
    OffenceKind::BadCopy,
    OffenceKind::Quota,
    OffenceKind::StrangersAnswer,
    OffenceKind::Malformed,
    OffenceKind::Transit,
    OffenceKind::OldPath,
];

/// How far a simulation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Chance traffic, and whatever goes wrong.
    Chaos,
    /// No more is begun; what is under way ends.
    Settling,
    /// Traffic that must not fail.
    Quiet,
    /// Nothing is sent; everybody checks that nothing is left over.
    Final,
}

/// A context that is there now.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) life: Life,
    pub(crate) context: Context,
    /// The hands that work in it and have not been told to stop by the simulation itself.
    hands: Vec<(u64, Remote<Hand>)>,
}

/// The clerks of all lives of one context, encoded.
type Page = Vec<(Life, Vec<u8>)>;

/// One simulation as its hosts see it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) keys: Arc<Keys>,
    pub(crate) authority: Arc<Kept>,
    pub(crate) ledger: RefCell<Ledger>,
    pub(crate) phase: Cell<Phase>,
    pub(crate) addresses: RefCell<Vec<IpAddr>>,
    /// By context: told to leave.
    pub(crate) leave: Vec<Notify>,
    /// By context: how often its host has tried to begin a life.
    attempts: Vec<Cell<u32>>,
    present: RefCell<Vec<Option<Present>>>,
    /// By context: the clerks of all its lives, as they would be written on paper: addresses that belong to no context.
    book: RefCell<Vec<Page>>,
    /// The sockets of lives that have ended by themselves.
    retired: RefCell<Vec<(Life, Weak<Wire>)>>,
    /// Lives that have done what is to be done in the quiet, and at the end.
    pub(crate) quiet_done: Cell<usize>,
    pub(crate) checked: Cell<usize>,
}

impl Stage {
    pub(crate) fn new(plan: Plan, trace: bool) -> Rc<Self> {
        let (contexts, crowded) = (plan.contexts(), plan.crowded);
        let keys = Keys::shared();
        Rc::new(Self {
            plan,
            authority: Arc::new(Kept::new(keys.clone())),
            keys,
            ledger: RefCell::new(Ledger::new(crowded, trace)),
            phase: Cell::new(Phase::Chaos),
            addresses: RefCell::default(),
            leave: std::iter::repeat_with(Notify::new).take(contexts).collect(),
            attempts: vec![Cell::new(0); contexts],
            present: RefCell::new(std::iter::repeat_with(|| None).take(contexts).collect()),
            book: RefCell::new(vec![Vec::new(); contexts]),
            retired: RefCell::default(),
            quiet_done: Cell::new(0),
            checked: Cell::new(0),
        })
    }

    /// The name of the life that a host tries to begin now.
    pub(crate) fn next_life(&self, slot: usize) -> Life {
        let number = self.attempts[slot].get() + 1;
        self.attempts[slot].set(number);
        let life = Life { slot, number };
        self.ledger.borrow_mut().attempt(life);
        life
    }

    /// A life has begun.
    pub(crate) fn enter(&self, life: Life, context: &Context, clerk: &Remote<Clerk>) {
        let parent = self.plan.parents[life.slot].and_then(|slot| {
            let parent = actogen::ContextId(slot as u64);
            context.place_of(parent).map(|place| (parent.0, place.incarnation))
        });
        self.ledger.borrow_mut().began(life, context.incarnation(), parent);
        let written = postcard::to_stdvec(clerk).expect("an address has a form in postcard");
        self.book.borrow_mut()[life.slot].push((life, written));
        let present = Present { life, context: context.clone(), hands: Vec::new() };
        self.present.borrow_mut()[life.slot] = Some(present);
    }

    /// A life is over.
    pub(crate) fn leave(&self, slot: usize) -> Option<Life> {
        self.present.borrow_mut()[slot].take().map(|present| present.life)
    }

    /// A life has ended by itself, and leaves its socket behind.
    pub(crate) fn retire(&self, life: Life, wire: Weak<Wire>) {
        self.retired.borrow_mut().push((life, wire));
    }

    /// The lives that have ended and still hold something.
    pub(crate) fn undead(&self) -> Vec<Life> {
        let retired = self.retired.borrow();
        retired.iter().filter(|(_, wire)| wire.strong_count() > 0).map(|&(life, _)| life).collect()
    }

    /// The host of a context has crashed: what its lives have left behind is gone by force, not by anybody's care.
    pub(crate) fn forget(&self, slot: usize) {
        self.retired.borrow_mut().retain(|(life, _)| life.slot != slot);
    }

    /// The life that a context lives now.
    pub(crate) fn life_of(&self, slot: usize) -> Option<Life> {
        self.present.borrow()[slot].as_ref().map(|present| present.life)
    }

    /// The lives that a context has lived so far, the present one last.
    pub(crate) fn lives_of(&self, slot: usize) -> Vec<Life> {
        self.book.borrow()[slot].iter().map(|&(life, _)| life).collect()
    }

    /// The clerk of a life, as seen from a context.
    pub(crate) fn clerk(&self, of: Life, from: &Context) -> Remote<Clerk> {
        let book = self.book.borrow();
        let (_, written) = book[of.slot]
            .iter()
            .find(|(life, _)| *life == of)
            .expect("a life that is spoken of has begun");
        let clerk: Remote<Clerk> =
            postcard::from_bytes(written).expect("what was written can be read");
        clerk.attach(from)
    }

    /// A hand has begun to work in a life.
    pub(crate) fn employ(&self, life: Life, number: u64, hand: Remote<Hand>) {
        if let Some(present) = self.present_in(life).as_mut() {
            present.hands.push((number, hand));
        }
    }

    fn present_in(&self, life: Life) -> std::cell::RefMut<'_, Option<Present>> {
        std::cell::RefMut::map(self.present.borrow_mut(), |present| &mut present[life.slot])
    }

    /// Stops the hands that still work in a life.
    pub(crate) fn dismiss(&self, life: Life, context: &Context) {
        let hands = match self.present_in(life).as_mut() {
            Some(present) => std::mem::take(&mut present.hands),
            None => return,
        };
        for (number, hand) in hands {
            if context.stopped(hand.address().handle).is_none() {
                self.ledger.borrow_mut().stops(number, 0, StopReason::Normal);
                context.stop(&hand, StopReason::Normal);
            }
        }
    }

    /// What is not as it should be when everybody has found back; nothing if all is well.
    pub(crate) fn not_recovered(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for slot in 0..self.plan.contexts() {
            let Some((life, context)) = self.present.borrow()[slot]
                .as_ref()
                .map(|present| (present.life, present.context.clone()))
            else {
                wrong.push(format!("context {slot} is not there"));
                continue;
            };
            let known: Vec<_> = context.descendants().into_iter().map(|id| id.0 as usize).collect();
            let expected = self.plan.below(slot);
            if known != expected {
                wrong.push(format!("{life} has routes to {known:?}; below it are {expected:?}"));
            }
            let mut believed: Vec<_> = self.ledger.borrow().believed_up(life);
            let parent = self.plan.parents[slot].map(|parent| parent as u64);
            believed.retain(|id| Some(*id) != parent);
            if believed != expected.iter().map(|&id| id as u64).collect::<Vec<_>>() {
                wrong.push(format!("by its events {life} knows {believed:?}, not {expected:?}"));
            }
        }
        wrong
    }

    /// The counters of all contexts that are there: sent, ended, unknown.
    pub(crate) fn counted(&self) -> (u64, u64, u64) {
        let present = self.present.borrow();
        let stats = present.iter().flatten().map(|present| present.context.stats());
        stats.fold((0, 0, 0), |(sent, ended, unknown), stats| {
            let all = stats.delivered + stats.refused + stats.dead();
            (sent + stats.sent, ended + all, unknown + stats.unknown)
        })
    }

    /// All contexts are honest, so none may have counted an offence of another.
    pub(crate) fn check_honesty(&self, life: Life, context: &Context) {
        let kinds: Vec<_> =
            OFFENCES.into_iter().filter(|&kind| context.offences(kind) > 0).collect();
        if !kinds.is_empty() {
            let text = format!("{life} counts offences of honest peers: {kinds:?}");
            self.ledger.borrow_mut().violation(text);
        }
    }
}
