//! The directory of one context: speaks for its own actors to the top of the tree, keeps what it is told of the groups that it holds, and
//! is itself the top where nobody stands above it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context as ActixContext, Handler, MessageResult,
    ResponseActFuture, WrapFuture,
};
use actogen_runtime::{
    Ended,
    core::{Address, ContextId, Handle, Incarnation, policy::Origin},
    events::{ContextEvent, ContextEvents},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use super::{
    top::{DirectoryError, Known, Top, Word, Words, check_name},
    view::View,
};
use crate::{Inbound, RemoteActor, RemoteMessage, SendError, address::Remote, context::Context};

/// How soon a word is said again that found no room, and a top asked again that did not answer.
const AGAIN: Duration = Duration::from_millis(200);

/// The most that wait here for one name.
const MOST_WAITING: usize = 1024;

/// What the top is asked for, by the context that it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Claim {
        name: String,
        claimant: Known,
        is_old: bool,
    },
    Release {
        name: String,
        owner: Address,
    },
    Resolve {
        name: String,
        wait: bool,
    },
    Forget {
        name: String,
    },
    Join {
        group: String,
        member: Known,
    },
    Leave {
        group: String,
        member: Address,
    },
    /// The members come as a word, before any change of them.
    Hold {
        group: String,
        kind: String,
    },
    LetGo {
        group: String,
    },
}

#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(
    name = "actogen.AskDirectory",
    reply = "Result<Option<Known>, DirectoryError>",
    crate = crate
)]
pub(super) struct AskTop(Ask);

/// What the top says to those whom it concerns.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.DirectoryWord", crate = crate)]
pub(super) struct Said(Word);

/// A value that never leaves its context.
#[derive(Debug)]
pub(crate) struct Here<T>(pub(crate) T);

impl<T> Serialize for Here<T> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this is for the directory of the same context"))
    }
}

impl<'de, T> Deserialize<'de> for Here<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("this is for the directory of the same context"))
    }
}

/// A name for an actor of this context.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Claim", reply = "Result<(), DirectoryError>", crate = crate)]
pub(super) struct Claim {
    pub(super) name: String,
    pub(super) claimant: Known,
    /// Told who has it, when it is lost to another part of the mesh.
    pub(super) lost: Here<oneshot::Sender<Address>>,
}

/// Whose a name is, perhaps later.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Resolve", reply = "Result<Known, DirectoryError>", crate = crate)]
pub(super) struct Resolve {
    pub(super) name: String,
    /// How long somebody may take to have it; it must be somebody's now where nothing is said.
    pub(super) within: Option<Duration>,
    /// There is no other way to ask than from here.
    pub(super) here: Here<()>,
}

/// Lets an actor of this context join a group, or leave it; or gives a name up.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Change", reply = "Result<(), DirectoryError>", crate = crate)]
pub(super) struct Change {
    pub(super) what: Here<What>,
}

#[derive(Debug)]
pub(super) enum What {
    Join { group: String, member: Known },
    Leave { group: String, member: Address },
    Release { name: String, owner: Address },
}

/// A group to hold.
#[derive(Debug, RemoteMessage, Serialize, Deserialize)]
#[remote(name = "actogen.Hold", reply = "Result<Here<Arc<View>>, DirectoryError>", crate = crate)]
pub(super) struct Hold {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) here: Here<()>,
}

struct Claimed {
    known: Known,
    lost: Option<oneshot::Sender<Address>>,
}

type Waiter = oneshot::Sender<Result<Arc<View>, DirectoryError>>;

/// A group that is held here.
struct Held {
    view: Arc<View>,
    kind: String,
    /// Those who wait for its members; `None` once they are known.
    waiting: Option<Vec<Waiter>>,
}

/// The directory of a context.
#[derive(RemoteActor)]
#[remote(
    name = "actogen.directory",
    inbound(AskTop, Said),
    messages(Claim, Resolve, Change, Hold),
    crate = crate
)]
pub(super) struct Directory {
    cx: Context,
    events: ContextEvents,
    above: Option<ContextId>,
    top: Top,
    claims: BTreeMap<String, Claimed>,
    joined: BTreeMap<(String, Address), Known>,
    held: BTreeMap<String, Held>,
    waiting: BTreeMap<String, Vec<oneshot::Sender<Known>>>,
    /// Words for which there was no room.
    unsaid: Words,
}

impl Directory {
    pub(super) fn new(cx: Context) -> Self {
        Self {
            events: cx.events(),
            above: cx.family().ancestors.last().copied(),
            cx,
            top: Top::default(),
            claims: BTreeMap::new(),
            joined: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting: BTreeMap::new(),
            unsaid: Words::new(),
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
    fn catch_up(&mut self, ctx: &mut ActixContext<Self>) {
        while let Some(event) = self.events.try_next() {
            self.notice(event, ctx);
        }
    }

    fn notice(&mut self, event: Result<ContextEvent, u64>, ctx: &mut ActixContext<Self>) {
        match event {
            Ok(ContextEvent::Down { context, .. }) => self.lose(context, ctx),
            Ok(ContextEvent::Moved { ancestors, .. }) => {
                self.above = ancestors.last().copied();
                if self.above.is_some() {
                    // Whoever was below this one is below that one now, and says so himself.
                    self.top = Top::default();
                }
                self.speak_anew(ctx);
            }
            Ok(_) => {}
            Err(_) => {
                // Some events are lost: whoever cannot be reached now was one of theirs.
                for context in self.top.contexts() {
                    if self.cx.place_of(context).is_none() {
                        self.lose(context, ctx);
                    }
                }
                self.above = self.cx.family().ancestors.last().copied();
                self.speak_anew(ctx);
            }
        }
    }

    fn lose(&mut self, context: ContextId, ctx: &mut ActixContext<Self>) {
        let mut words = Words::new();
        self.top.lose(context, &mut words);
        self.say(words, ctx);
    }

    /// Says to the present top all that this context has to say.
    fn speak_anew(&self, ctx: &mut ActixContext<Self>) {
        let claims = self.claims.iter().map(|(name, Claimed { known, .. })| Ask::Claim {
            name: name.clone(),
            claimant: known.clone(),
            is_old: true,
        });
        let joins = self
            .joined
            .iter()
            .map(|((group, _), member)| Ask::Join { group: group.clone(), member: member.clone() });
        let holds = self
            .held
            .iter()
            .map(|(group, held)| Ask::Hold { group: group.clone(), kind: held.kind.clone() });
        let waits = self.waiting.keys().map(|name| Ask::Resolve { name: name.clone(), wait: true });
        for ask in claims.chain(joins).chain(holds).chain(waits).collect::<Vec<_>>() {
            self.repeat(ask, self.above, ctx);
        }
    }

    /// Asks the top until it answers, or is the top no more.
    fn repeat(&self, ask: Ask, above: Option<ContextId>, ctx: &mut ActixContext<Self>) {
        let asked = self.ask(ask.clone());
        ctx.spawn(asked.map(move |answer, me: &mut Self, ctx| match (answer, ask) {
            (Ok(Some(known)), Ask::Resolve { name, .. }) => me.appeared(&name, &known),
            (Err(DirectoryError::Taken { owner, .. }), Ask::Claim { name, claimant, .. }) => {
                me.lost(&name, claimant.address, owner);
            }
            (Err(DirectoryError::Dead(_)), ask) if me.above == above => {
                ctx.run_later(AGAIN, move |me, ctx| {
                    if me.above == above && me.means(&ask) {
                        me.repeat(ask, above, ctx);
                    }
                });
            }
            (Err(error), ask) => {
                tracing::warn!(context = %me.cx.id(), ?ask, "the directory refuses: {error}");
            }
            (Ok(_), _) => {}
        }));
    }

    /// Whether what was asked for is still wanted.
    fn means(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Claim { name, claimant, .. } => {
                self.claims.get(name).is_some_and(|claim| claim.known == *claimant)
            }
            Ask::Join { group, member } => {
                self.joined.contains_key(&(group.clone(), member.address))
            }
            Ask::Hold { group, .. } => self.held.contains_key(group),
            Ask::Resolve { name, .. } => self.waiting.contains_key(name),
            _ => true,
        }
    }

    /// Asks the top, which may be here.
    fn ask(&self, ask: Ask) -> ResponseActFuture<Self, Result<Option<Known>, DirectoryError>> {
        let top = self.of(self.above.unwrap_or(self.cx.id()));
        let asking = async move { top.send(AskTop(ask)).await };
        Box::pin(asking.into_actor(self).map(|answer, _, _| match answer {
            Ok(answer) => answer,
            Err(error) => Err(DirectoryError::Dead(error.to_string())),
        }))
    }

    fn answer(
        &mut self,
        asker: ContextId,
        ask: Ask,
        words: &mut Words,
    ) -> Result<Option<Known>, DirectoryError> {
        let speaks_for = |address: Address| match address.context == asker {
            true => Ok(()),
            false => Err(DirectoryError::NotHere(address)),
        };
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
                check_name(&name)?;
                return Ok(self.top.resolve(&name, wait.then_some(asker)));
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
        let had_unsaid = !self.unsaid.is_empty();
        for (to, word) in words {
            if to == self.cx.id() {
                self.hear(word);
            } else if self.unsaid.iter().any(|(behind, _)| *behind == to) {
                self.unsaid.push((to, word));
            } else if let Err(error) = self.of(to).try_send(Said(word.clone()))
                && matches!(error, SendError::Full(_))
            {
                self.unsaid.push((to, word));
            }
        }
        if !had_unsaid && !self.unsaid.is_empty() {
            ctx.run_later(AGAIN, |me, ctx| {
                let unsaid = std::mem::take(&mut me.unsaid);
                me.say(unsaid, ctx);
            });
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Lost { name, loser, owner } => self.lost(&name, loser, owner),
            Word::Whole { group, members } => {
                let Some(held) = self.held.get_mut(&group) else { return };
                held.view.replace(members);
                for waiter in held.waiting.take().unwrap_or_default() {
                    // Whoever has given up waiting needs no word.
                    let _ = waiter.send(Ok(held.view.clone()));
                }
            }
            Word::Changed { group, joined, left } => {
                if let Some(held) = self.held.get(&group) {
                    held.view.change(joined, &left);
                }
            }
            Word::Appeared { name, owner } => self.appeared(&name, &owner),
        }
    }

    fn lost(&mut self, name: &str, loser: Address, owner: Address) {
        if self.claims.get(name).is_some_and(|claim| claim.known.address == loser)
            && let Some(claim) = self.claims.remove(name)
        {
            tracing::warn!(context = %self.cx.id(), name, %owner, "a name is lost to another part of the mesh");
            claim.lost.map(|lost| lost.send(owner));
        }
    }

    fn appeared(&mut self, name: &str, known: &Known) {
        for waiter in self.waiting.remove(name).unwrap_or_default() {
            let _ = waiter.send(known.clone());
        }
    }

    /// Hears of the end of an actor that has a name here or is in a group.
    fn watch(&self, actor: Address, ctx: &mut ActixContext<Self>) {
        let watch = self.cx.watch_address(actor).into_actor(self);
        ctx.spawn(watch.map(move |_: Ended, me, ctx| me.actor_ended(actor, ctx)));
    }

    fn actor_ended(&mut self, actor: Address, ctx: &mut ActixContext<Self>) {
        let is_its = |claim: &Claimed| claim.known.address == actor;
        let names: Vec<_> =
            self.claims.iter().filter(|(_, c)| is_its(c)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.claims.remove(&name);
            self.repeat(Ask::Release { name, owner: actor }, self.above, ctx);
        }
        let groups: Vec<_> =
            self.joined.keys().filter(|(_, member)| *member == actor).cloned().collect();
        for key in groups {
            self.joined.remove(&key);
            self.repeat(Ask::Leave { group: key.0, member: actor }, self.above, ctx);
        }
    }

    fn is_known(&self, actor: Address) -> bool {
        self.claims.values().any(|claim| claim.known.address == actor)
            || self.joined.keys().any(|(_, member)| *member == actor)
    }

    /// What only an actor of this context may be given.
    fn check_actor(&self, actor: Address) -> Result<(), DirectoryError> {
        if actor.context != self.cx.id() {
            return Err(DirectoryError::NotHere(actor));
        }
        if self.cx.mailbox(actor.handle).is_none() {
            let how = self.cx.stopped(actor.handle);
            let how = how.map_or_else(|| "it never was".to_owned(), |reason| reason.to_string());
            return Err(DirectoryError::Ended(how));
        }
        Ok(())
    }

    /// Lets go of groups that nobody holds here any more, and of names that nobody waits for.
    fn tidy(&mut self, ctx: &mut ActixContext<Self>) {
        let mut forgotten = Vec::new();
        self.waiting.retain(|name, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            if waiters.is_empty() {
                forgotten.push(name.clone());
            }
            !waiters.is_empty()
        });
        for name in forgotten {
            self.repeat(Ask::Forget { name }, self.above, ctx);
        }
        let unheld = |held: &Held| held.waiting.is_none() && Arc::strong_count(&held.view) == 1;
        let groups: Vec<_> =
            self.held.iter().filter(|(_, held)| unheld(held)).map(|(g, _)| g.clone()).collect();
        for group in groups {
            self.held.remove(&group);
            self.repeat(Ask::LetGo { group }, self.above, ctx);
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
        let mut words = Words::new();
        let answer = self.answer(source, ask, &mut words);
        self.say(words, ctx);
        MessageResult(answer)
    }
}

impl Handler<Inbound<Said>> for Directory {
    type Result = ();

    fn handle(&mut self, said: Inbound<Said>, ctx: &mut ActixContext<Self>) {
        self.catch_up(ctx);
        if Some(said.origin.source) == self.above {
            self.hear(said.message.0);
        }
        self.tidy(ctx);
    }
}

impl Handler<Claim> for Directory {
    type Result = ResponseActFuture<Self, Result<(), DirectoryError>>;

    fn handle(&mut self, claim: Claim, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        let Claim { name, claimant, lost: Here(lost) } = claim;
        if let Err(error) = self.check_actor(claimant.address) {
            return Box::pin(async move { Err(error) }.into_actor(self));
        }
        let asked = Ask::Claim { name: name.clone(), claimant: claimant.clone(), is_old: false };
        Box::pin(self.ask(asked).map(move |answer, me, ctx| {
            answer?;
            if !me.is_known(claimant.address) {
                me.watch(claimant.address, ctx);
            }
            me.claims.insert(name, Claimed { known: claimant, lost: Some(lost) });
            Ok(())
        }))
    }
}

impl Handler<Resolve> for Directory {
    type Result = ResponseActFuture<Self, Result<Known, DirectoryError>>;

    fn handle(&mut self, resolve: Resolve, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        let Resolve { name, within, .. } = resolve;
        let Some(within) = within else {
            let asked = self.ask(Ask::Resolve { name: name.clone(), wait: false });
            return Box::pin(asked.map(|answer, _, _| {
                answer.and_then(|known| known.ok_or(DirectoryError::Unknown(name)))
            }));
        };
        self.tidy(ctx);
        let waiting = self.waiting.entry(name.clone()).or_default();
        if waiting.len() >= MOST_WAITING {
            return Box::pin(async { Err(DirectoryError::Full) }.into_actor(self));
        }
        let (waiter, appears) = oneshot::channel();
        waiting.push(waiter);
        self.repeat(Ask::Resolve { name: name.clone(), wait: true }, self.above, ctx);
        // An answer under way stands until it is there, whether or not somebody still waits for it: so it ends with the asker's time. The next
        // one who asks, or is told, finds the closed channel.
        let appears = async move {
            match tokio::time::timeout(within, appears).await {
                Ok(Ok(known)) => Ok(known),
                Ok(Err(_)) | Err(_) => Err(DirectoryError::Unknown(name)),
            }
        };
        Box::pin(appears.into_actor(self))
    }
}

impl Handler<Change> for Directory {
    type Result = ResponseActFuture<Self, Result<(), DirectoryError>>;

    fn handle(&mut self, change: Change, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        let ask = match change.what.0 {
            What::Join { group, member } => {
                if let Err(error) = self.check_actor(member.address) {
                    return Box::pin(async move { Err(error) }.into_actor(self));
                }
                let ask = Ask::Join { group: group.clone(), member: member.clone() };
                return Box::pin(self.ask(ask).map(move |answer, me, ctx| {
                    answer?;
                    if !me.is_known(member.address) {
                        me.watch(member.address, ctx);
                    }
                    me.joined.insert((group, member.address), member);
                    Ok(())
                }));
            }
            What::Leave { group, member } => {
                self.joined.remove(&(group.clone(), member));
                Ask::Leave { group, member }
            }
            What::Release { name, owner } => {
                let is_its = |claim: &Claimed| claim.known.address == owner;
                if self.claims.get(&name).is_some_and(is_its) {
                    self.claims.remove(&name);
                }
                Ask::Release { name, owner }
            }
        };
        Box::pin(self.ask(ask).map(|answer, _, _| answer.map(drop)))
    }
}

impl Handler<Hold> for Directory {
    type Result = ResponseActFuture<Self, Result<Here<Arc<View>>, DirectoryError>>;

    fn handle(&mut self, hold: Hold, ctx: &mut ActixContext<Self>) -> Self::Result {
        self.catch_up(ctx);
        self.tidy(ctx);
        let Hold { group, kind, .. } = hold;
        let (waiter, known) = oneshot::channel();
        let is_new = !self.held.contains_key(&group);
        let held = self.held.entry(group.clone()).or_insert_with(|| Held {
            view: Arc::default(),
            kind: kind.clone(),
            waiting: Some(Vec::new()),
        });
        if held.kind != kind {
            let error =
                DirectoryError::OtherKind { name: group, kind: held.kind.clone(), asked: kind };
            return Box::pin(async move { Err(error) }.into_actor(self));
        }
        match &mut held.waiting {
            Some(waiting) => waiting.push(waiter),
            None => drop(waiter.send(Ok(held.view.clone()))),
        }
        if is_new {
            let asked = self.ask(Ask::Hold { group: group.clone(), kind });
            ctx.spawn(asked.map(move |answer, me: &mut Self, _| {
                let Err(error) = answer else { return };
                let held = me.held.remove(&group);
                for waiter in held.and_then(|held| held.waiting).unwrap_or_default() {
                    let _ = waiter.send(Err(error.clone()));
                }
            }));
        }
        let gone = || DirectoryError::Dead("the directory has ended".to_owned());
        Box::pin(
            async move { known.await.unwrap_or_else(|_| Err(gone())).map(Here) }.into_actor(self),
        )
    }
}
