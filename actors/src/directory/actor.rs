//! The directory of one context: speaks for its own actors to the top of the tree, keeps what it is told of the groups that it holds, and
//! is itself the top where nobody stands above it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context as ActixContext, Handler, MessageResult,
    ResponseActFuture, WrapFuture,
};
use actogen_runtime::{
    Place,
    core::{Address, ContextId, Handle, Incarnation, policy::Origin, wire::control::LossKind},
    events::{ContextEvent, ContextEvents},
};

use super::{
    asks::{Ask, AskTop, Change, Claim, Hold, Resolve, Said},
    holdings::Count,
    late::Late,
    own::Own,
    top::{DirectoryError, Known, Top, Word, Words},
    wishes::Wishes,
};
use crate::{
    Inbound, RemoteActor, SendError, address::Remote, context::Context, supervise::chance,
};

/// How soon a word is said again that found no room, and a top asked again that did not answer.
pub(super) const AGAIN: Duration = Duration::from_millis(200);

/// How long a context that is on its way to another place keeps its names and memberships.
const MOVES: Duration = Duration::from_secs(5);

/// So many that had something and were lost are remembered, to be asked when they come back.
const MOST_GONE: usize = 4096;

/// The directory of a context.
#[derive(RemoteActor)]
#[remote(
    name = "actogen.directory",
    inbound(AskTop, Said),
    messages(Claim, Resolve, Change, Hold, Count),
    crate = crate
)]
pub(super) struct Directory {
    pub(super) cx: Context,
    events: ContextEvents,
    pub(super) above: Option<ContextId>,
    pub(super) top: Top,
    /// What actors of this context have.
    pub(super) own: Own,
    /// What somebody here wants to know.
    pub(super) wishes: Wishes,
    /// Words for which there was no room.
    pub(super) late: Late,
    /// Those who had something here and were lost: perhaps it is only the way to them that was.
    pub(super) gone: BTreeSet<ContextId>,
    /// Those on their way to another place, with the number of the move.
    moving: BTreeMap<ContextId, u64>,
    moves: u64,
    /// What is asked until it is answered, of the top of this number.
    repeated: BTreeSet<(u64, Ask)>,
    tops: u64,
}

impl Directory {
    pub(super) fn new(cx: Context) -> Self {
        Self {
            events: cx.events(),
            above: cx.family().ancestors.last().copied(),
            cx,
            top: Top::default(),
            own: Own::default(),
            wishes: Wishes::default(),
            late: Late::default(),
            gone: BTreeSet::new(),
            moving: BTreeMap::new(),
            moves: 0,
            repeated: BTreeSet::new(),
            tops: 0,
        }
    }

    fn of(&self, context: ContextId) -> Remote<Self> {
        let incarnation = match context == self.cx.id() {
            true => self.cx.incarnation(),
            false => Incarnation::ANY,
        };
        self.cx.remote(Address { context, handle: Handle::DIRECTORY, incarnation })
    }

    /// What has happened to the tree comes before what is said next: a word from a context that has come back follows its loss.
    pub(super) fn catch_up(&mut self, ctx: &mut ActixContext<Self>) {
        while let Some(event) = self.events.try_next() {
            self.notice(event, ctx);
        }
    }

    fn notice(&mut self, event: Result<ContextEvent, u64>, ctx: &mut ActixContext<Self>) {
        match event {
            Ok(ContextEvent::Up { context, incarnation }) => self.rejoin(context, incarnation, ctx),
            Ok(ContextEvent::Down { context, loss }) if loss.kind == LossKind::Moved => {
                // It comes back by another way, as a rule in a moment, and is what it was.
                self.moves += 1;
                let number = self.moves;
                self.moving.insert(context, number);
                ctx.run_later(MOVES, move |me, ctx| {
                    if me.moving.get(&context) == Some(&number) {
                        me.lose(context, ctx);
                    }
                });
            }
            Ok(ContextEvent::Down { context, loss }) => {
                self.lose(context, ctx);
                if matches!(
                    loss.kind,
                    LossKind::ProcessExited | LossKind::Shutdown | LossKind::Revoked
                ) {
                    self.gone.remove(&context);
                }
            }
            Ok(ContextEvent::Moved { ancestors, .. }) => {
                self.stand_below(ancestors.last().copied());
                self.speak_anew(ctx);
            }
            Ok(_) => {}
            Err(_) => {
                // Some events are lost: whoever cannot be reached now was one of theirs, and others may have moved.
                for context in self.top.contexts().into_iter().chain(self.gone.clone()) {
                    match self.cx.place_of(context) {
                        Some(place) => self.rejoin(context, place.incarnation, ctx),
                        None => self.lose(context, ctx),
                    }
                }
                self.stand_below(self.cx.family().ancestors.last().copied());
                self.speak_anew(ctx);
            }
        }
    }

    fn stand_below(&mut self, above: Option<ContextId>) {
        self.above = above;
        self.tops += 1;
        if above.is_some() {
            // Whoever was below this one is below that one now, and says so himself.
            self.top = Top::default();
            self.late = Late::default();
            self.gone.clear();
            self.moving.clear();
        }
    }

    fn lose(&mut self, context: ContextId, ctx: &mut ActixContext<Self>) {
        let mut words = Words::new();
        self.late.forget(context);
        self.moving.remove(&context);
        if self.top.knows(context) && self.gone.len() < MOST_GONE {
            self.gone.insert(context);
        }
        self.top.lose(context, &mut words);
        self.say(words, ctx);
    }

    /// A context stands, perhaps at another place than before. Words of both sides may be lost with the old way.
    fn rejoin(&mut self, context: ContextId, life: Incarnation, ctx: &mut ActixContext<Self>) {
        self.moving.remove(&context);
        let is_known = self.gone.remove(&context) || self.top.knows(context);
        if context == self.cx.id() || !is_known {
            return;
        }
        let mut words = Words::new();
        self.top.meet(context, life, &mut words);
        self.top.part(context);
        words.push((context, Word::SayAnew));
        self.say(words, ctx);
    }

    /// Says to the present top all that this context has to say.
    fn speak_anew(&mut self, ctx: &mut ActixContext<Self>) {
        let own = self.own.asks().chain(self.wishes.asks());
        for ask in own.collect::<Vec<_>>() {
            self.repeat(ask, ctx);
        }
    }

    /// Asks the top until it answers, or is the top no more, or the answer is wanted no more.
    pub(super) fn repeat(&mut self, ask: Ask, ctx: &mut ActixContext<Self>) {
        if self.repeated.insert((self.tops, ask.clone())) {
            self.ask_on(ask, self.tops, ctx);
        }
    }

    fn ask_on(&self, ask: Ask, top: u64, ctx: &mut ActixContext<Self>) {
        let asked = self.ask(ask.clone());
        ctx.spawn(asked.map(move |answer, me: &mut Self, ctx| {
            if matches!(&answer, Err(DirectoryError::Dead(_))) && me.tops == top && me.means(&ask) {
                // Not all at once that could not be answered at once.
                let pause = AGAIN.mul_f64(1.0 + chance(&me.cx));
                ctx.run_later(pause, move |me, ctx| {
                    if me.tops == top && me.means(&ask) {
                        me.ask_on(ask, top, ctx);
                    } else {
                        me.repeated.remove(&(top, ask));
                    }
                });
                return;
            }
            me.repeated.remove(&(top, ask.clone()));
            if let (Ok(Some(known)), Ask::Resolve { name, .. }) = (&answer, &ask) {
                return me.wishes.appeared(name, known);
            }
            let Err(error) = answer else { return };
            if me.tops != top {
                // The new top has been asked everything that still counts.
                return;
            }
            match (error, ask) {
                (DirectoryError::Taken { owner, .. }, Ask::Claim { name, claimant, .. }) => {
                    me.lost(&name, claimant.address, owner, ctx);
                }
                // What it was asked for is not wanted any more.
                (DirectoryError::Dead(_), _) => {}
                (error, Ask::Hold { group, .. }) => me.wishes.refused(&group, &error),
                (error, ask) => {
                    tracing::warn!(context = %me.cx.id(), ?ask, "the directory refuses: {error}");
                }
            }
        }));
    }

    /// Whether what was asked for is still wanted.
    fn means(&self, ask: &Ask) -> bool {
        self.own.mean(ask) && self.wishes.mean(ask)
    }

    /// Asks the top, which may be here.
    pub(super) fn ask(
        &self,
        ask: Ask,
    ) -> ResponseActFuture<Self, Result<Option<Known>, DirectoryError>> {
        let top = self.of(self.above.unwrap_or(self.cx.id()));
        // Here and not when it is polled: what is asked later arrives later.
        let asking = top.send(AskTop(ask));
        Box::pin(asking.into_actor(self).map(|answer, _, _| match answer {
            Ok(answer) => answer,
            Err(error) => Err(DirectoryError::Dead(error.to_string())),
        }))
    }

    /// What the top answers to one that asks from there.
    fn answer(
        &mut self,
        asker: Place,
        ask: Ask,
        words: &mut Words,
    ) -> Result<Option<Known>, DirectoryError> {
        let speaks_for = |address: Address| {
            let place = Place { context: address.context, incarnation: address.incarnation };
            if place == asker { Ok(()) } else { Err(DirectoryError::NotHere(address)) }
        };
        let asker = asker.context;
        match ask {
            Ask::Claim { name, claimant, is_old } => {
                speaks_for(claimant.address)?;
                self.top.claim(&name, claimant, is_old, words)?;
            }
            Ask::Release { name, owner } => {
                speaks_for(owner)?;
                self.top.release(&name, owner);
            }
            Ask::Resolve { name, wait } => {
                return self.top.resolve(&name, wait.then_some(asker));
            }
            Ask::Forget { name } => self.top.forget_waiter(&name, asker),
            Ask::Join { group, member } => {
                speaks_for(member.address)?;
                self.top.join(&group, member, words)?;
            }
            Ask::Leave { group, member } => {
                speaks_for(member)?;
                self.top.leave(&group, member, words);
            }
            Ask::Hold { group, kind } => self.top.hold(&group, &kind, asker, words)?,
            Ask::LetGo { group } => self.top.let_go(&group, asker),
        }
        Ok(None)
    }

    /// Says words to those whom they concern, in their order.
    fn say(&mut self, words: Words, ctx: &mut ActixContext<Self>) {
        let was_late = !self.late.is_empty();
        for (to, word) in words {
            if to == self.cx.id() {
                self.hear(word, ctx);
            } else if self.late.concerns(to) {
                self.late.add(to, word);
            } else if let Err(SendError::Full(Said(word))) = self.of(to).try_send(Said(word)) {
                self.late.add(to, word);
            }
            // Where there is no way, that is told by an event.
        }
        if !was_late && !self.late.is_empty() {
            ctx.run_later(AGAIN, |me, ctx| {
                let late = me.late.take(&me.top);
                me.say(late, ctx);
            });
        }
    }

    fn hear(&mut self, word: Word, ctx: &mut ActixContext<Self>) {
        match word {
            Word::Lost { name, loser, owner } => self.lost(&name, loser, owner, ctx),
            Word::Whole { group, members } => self.wishes.whole(&group, &members),
            Word::Changed { group, joined, left } => self.wishes.changed(&group, &joined, &left),
            Word::Appeared { name, owner } => self.wishes.appeared(&name, &owner),
            Word::SayAnew => self.speak_anew(ctx),
        }
    }

    /// Lets go of groups that nobody holds here any more, and of names that nobody waits for.
    pub(super) fn tidy(&mut self, ctx: &mut ActixContext<Self>) {
        for ask in self.wishes.tidy() {
            self.repeat(ask, ctx);
        }
    }
}

impl Actor for Directory {
    type Context = ActixContext<Self>;

    fn started(&mut self, ctx: &mut ActixContext<Self>) {
        let events = self.cx.events();
        let following = futures_util::stream::unfold(events, |mut events| async move {
            events.next().await.map(|event| (event.is_err(), events))
        });
        // A wake; what has happened is read in its order with what is said.
        ctx.add_stream(futures_util::StreamExt::map(following, |_| Happened));
    }
}

/// Something has happened to the tree.
struct Happened;

impl actix::StreamHandler<Happened> for Directory {
    fn handle(&mut self, _: Happened, ctx: &mut ActixContext<Self>) {
        self.catch_up(ctx);
        self.tidy(ctx);
    }

    fn finished(&mut self, _: &mut ActixContext<Self>) {}
}

impl Handler<Inbound<AskTop>> for Directory {
    type Result = MessageResult<Inbound<AskTop>>;

    fn handle(&mut self, asked: Inbound<AskTop>, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        let Inbound { message: AskTop(ask), origin: Origin { source, .. } } = asked;
        if self.above.is_some() {
            // Whoever asks will hear of a newer top, and asks that one.
            let above = "there is another context above this one now".to_owned();
            return MessageResult(Err(DirectoryError::Dead(above)));
        }
        let Some(asker) = self.cx.place_of(source) else {
            return MessageResult(Err(DirectoryError::Dead(format!(
                "there is no way to {source}"
            ))));
        };
        let mut words = Words::new();
        self.top.meet(source, asker.incarnation, &mut words);
        let answer = self.answer(asker, ask, &mut words);
        self.top.part(source);
        self.say(words, ctx);
        MessageResult(answer)
    }
}

impl Handler<Inbound<Said>> for Directory {
    type Result = ();

    fn handle(&mut self, said: Inbound<Said>, ctx: &mut ActixContext<Self>) {
        self.catch_up(ctx);
        if Some(said.origin.source) == self.above {
            self.hear(said.message.0, ctx);
        }
        self.tidy(ctx);
    }
}
