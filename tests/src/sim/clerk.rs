//! The actors of a simulation: a clerk in every context, who answers and listens, and the hands that clerks start and others watch.

use std::{cell::OnceCell, rc::Rc, time::Duration};

use actix::{ActorContext, MessageResult, ResponseFuture};
use actogen::{StopReason, prelude::*};
use bytes::Bytes;

use super::{ledger::Life, stage::Stage};

/// What a hand panics with, so that the report of it can be left out.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// A request. `wait` is how long the answer takes, in milliseconds.
#[derive(RemoteMessage, Clone, Debug, Serialize, Deserialize)]
#[remote(name = "sim.Ask", reply = "Told")]
pub(crate) struct Ask {
    pub(crate) id: u64,
    pub(crate) from: Life,
    pub(crate) to: Life,
    pub(crate) seq: u64,
    pub(crate) wait: u64,
}

/// The answer: which request, and who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) id: u64,
    pub(crate) by: Life,
}

/// A one-way message with a number, and a filling that says whether it has arrived whole.
#[derive(RemoteMessage, Clone, Debug, Serialize, Deserialize)]
#[remote(name = "sim.Note")]
pub(crate) struct Note {
    from: Life,
    to: Life,
    seq: u64,
    filling: Bytes,
}

impl Note {
    pub(crate) fn new(from: Life, to: Life, seq: u64, size: usize) -> Self {
        Self { from, to, seq, filling: Self::filling(seq, size) }
    }

    /// Blocks of a kilobyte, each different from its neighbours and from those of the messages before and after.
    fn filling(seq: u64, size: usize) -> Bytes {
        let mut filling = Vec::with_capacity(size);
        while filling.len() < size {
            let block = (filling.len() as u64 / 1024).wrapping_mul(31) ^ seq;
            filling.resize((filling.len() + 1024).min(size), block as u8);
        }
        filling.into()
    }

    fn is_whole(&self) -> bool {
        self.filling == Self::filling(self.seq, self.filling.len())
    }
}

/// Asks a clerk to do nothing for so many milliseconds, while its mailbox fills.
#[derive(RemoteMessage, Clone, Copy, Debug, Serialize, Deserialize)]
#[remote(name = "sim.Nap")]
pub(crate) struct Nap(pub(crate) u64);

/// Asks a clerk to start a hand that works for `boss`.
#[derive(RemoteMessage, Debug, Serialize, Deserialize)]
#[remote(name = "sim.Hire", reply = "Hired")]
pub(crate) struct Hire {
    pub(crate) boss: Remote<Clerk>,
    pub(crate) life: Life,
}

/// The hand that was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Hired {
    pub(crate) number: u64,
    pub(crate) hand: Remote<Hand>,
}

/// What a hand says before it stops.
#[derive(RemoteMessage, Clone, Copy, Debug, Serialize, Deserialize)]
#[remote(name = "sim.Word")]
pub(crate) struct Word {
    hand: u64,
    number: u32,
}

/// Asks a hand to say so many words and stop.
#[derive(RemoteMessage, Clone, Copy, Debug, Serialize, Deserialize)]
#[remote(name = "sim.Quit")]
pub(crate) struct Quit {
    pub(crate) words: u32,
    pub(crate) how: How,
}

/// How a hand stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum How {
    Normally,
    ByPanic,
    Killed,
}

/// Answers and listens for one life of a context.
#[derive(RemoteActor)]
#[remote(name = "sim.clerk", messages(Ask, Note, Nap, Hire, Word))]
pub(crate) struct Clerk {
    stage: Rc<Stage>,
    life: Life,
    context: Context,
}

impl Clerk {
    pub(crate) fn new(stage: Rc<Stage>, life: Life, context: Context) -> Self {
        Self { stage, life, context }
    }
}

impl Actor for Clerk {
    type Context = actix::Context<Self>;
}

impl Handler<Ask> for Clerk {
    type Result = ResponseFuture<Told>;

    fn handle(&mut self, ask: Ask, _: &mut Self::Context) -> Self::Result {
        self.stage.ledger.borrow_mut().heard_ask(self.life, &ask);
        let told = Told { id: ask.id, by: self.life };
        Box::pin(async move {
            if ask.wait > 0 {
                tokio::time::sleep(Duration::from_millis(ask.wait)).await;
            }
            told
        })
    }
}

impl Handler<Note> for Clerk {
    type Result = ();

    fn handle(&mut self, note: Note, _: &mut Self::Context) {
        let whole = note.is_whole();
        let Note { from, to, seq, .. } = note;
        self.stage.ledger.borrow_mut().heard_note(self.life, from, to, seq, whole);
    }
}

impl Handler<Nap> for Clerk {
    type Result = ();

    fn handle(&mut self, Nap(millis): Nap, ctx: &mut Self::Context) {
        let nap = tokio::time::sleep(Duration::from_millis(millis));
        ctx.wait(nap.into_actor(self));
    }
}

impl Handler<Hire> for Clerk {
    type Result = MessageResult<Hire>;

    fn handle(&mut self, Hire { boss, life }: Hire, _: &mut Self::Context) -> Self::Result {
        let number = self.stage.ledger.borrow_mut().hired(self.life, life);
        let own = Rc::new(OnceCell::new());
        let hand = self.context.start(Hand {
            stage: self.stage.clone(),
            context: self.context.clone(),
            number,
            boss,
            own: own.clone(),
        });
        let _ = own.set(hand.clone());
        self.stage.employ(self.life, number, hand.clone());
        MessageResult(Hired { number, hand })
    }
}

impl Handler<Word> for Clerk {
    type Result = ();

    fn handle(&mut self, Word { hand, number }: Word, _: &mut Self::Context) {
        self.stage.ledger.borrow_mut().heard_word(self.life, hand, number);
    }
}

/// Lives until it is told to quit.
#[derive(RemoteActor)]
#[remote(name = "sim.hand", messages(Quit))]
pub(crate) struct Hand {
    stage: Rc<Stage>,
    context: Context,
    number: u64,
    boss: Remote<Clerk>,
    own: Rc<OnceCell<Remote<Hand>>>,
}

impl Actor for Hand {
    type Context = actix::Context<Self>;
}

impl Handler<Quit> for Hand {
    type Result = ();

    fn handle(&mut self, Quit { words, how }: Quit, ctx: &mut Self::Context) {
        let reason = match how {
            How::Normally => StopReason::Normal,
            How::ByPanic => StopReason::Panic(ON_PURPOSE.to_owned()),
            How::Killed => StopReason::Killed,
        };
        // A context that is ending lets nothing out any more, and says so with a dead letter of its own.
        let words = if self.context.is_running() { words } else { 0 };
        self.stage.ledger.borrow_mut().stops(self.number, words, reason.clone());
        for number in 0..words {
            self.boss.do_send(Word { hand: self.number, number });
        }
        match how {
            How::Normally => ctx.stop(),
            How::ByPanic => panic!("{ON_PURPOSE}"),
            How::Killed => {
                if let Some(own) = self.own.get() {
                    self.context.stop(own, reason);
                }
            }
        }
    }
}

impl std::fmt::Debug for Clerk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clerk({})", self.life)
    }
}

impl std::fmt::Debug for Hand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hand({})", self.number)
    }
}
